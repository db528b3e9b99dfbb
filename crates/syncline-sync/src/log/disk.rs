//! What the log asks of the place where its files are.
//!
//! State: none. Not here: a directory (the layer above), a disk that crashes when told to ([`memory`](super::memory)).

use std::io;

/// A place for files, as little of one as the log needs. Calls block.
///
/// **Durability.** Bytes are durable once a [`sync`](Self::sync) of their file that began after they were written has
/// returned `Ok`; a file's name, and its absence once it is removed, once a [`sync_names`](Self::sync_names) has. At a
/// crash any subset of what is not durable survives, in any order: of bytes in aligned [units](Self::unit), each of which
/// is as it was when it was last durable or after any write to it since; of names each for itself. Bytes of a file that were never written, or whose write did not survive, read as zeros or lie
/// beyond the end of the file. What is durable is not changed by a write to other bytes, in the same unit or not.
///
/// **Faults.** Any call may fail at any time, having done nothing, all or some of its work: a write may have put down
/// any number of its first bytes. A sync that failed says nothing about any byte that was not durable before, not even
/// when the next one succeeds: the log writes such bytes again before it relies on them. Who implements this sees to it
/// that a failure to put down any byte is told by the sync that was to make it durable (some systems tell it only
/// to descriptors that were open when the byte was written, and once): one descriptor stays open from the first
/// write to the sync.
///
/// The log is the only one who changes files that have names of its segments. Others' files may lie beside them.
pub trait Disk {
    /// All files with their lengths, in any order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Makes a file that reads as zeros. About `size` bytes will be written to it: where it spares work later, their
    /// space is taken now (zeros written now let a sync of data leave the file's metadata alone). The file may be shorter
    /// than that or as long, and grows when it is written beyond its end. A name that is taken is an error.
    fn create(&self, name: &str, size: u64) -> io::Result<()>;

    /// Writes all of `bytes`; a gap before them reads as zeros.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads at most `into.len()` bytes into the start of `into`, and says how many. Fewer are fine; none means that
    /// the file ends here.
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written to the file durable, and as much of its metadata as reading it back takes.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are.
    fn sync_names(&self) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// In what units unsynced bytes survive a crash or do not: a power of two. 512 for files of an ordinary file
    /// system, whose disk writes sectors whole; 1, with which the log tells less damage from a torn tail, when nothing
    /// is known.
    fn unit(&self) -> u32 {
        1
    }
}

macro_rules! forward {
    ($of:ty) => {
        impl<D: Disk + ?Sized> Disk for $of {
            fn list(&self) -> io::Result<Vec<(String, u64)>> {
                (**self).list()
            }
            fn create(&self, name: &str, size: u64) -> io::Result<()> {
                (**self).create(name, size)
            }
            fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
                (**self).write(name, offset, bytes)
            }
            fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
                (**self).read(name, offset, into)
            }
            fn sync(&self, name: &str) -> io::Result<()> {
                (**self).sync(name)
            }
            fn sync_names(&self) -> io::Result<()> {
                (**self).sync_names()
            }
            fn remove(&self, name: &str) -> io::Result<()> {
                (**self).remove(name)
            }
            fn unit(&self) -> u32 {
                (**self).unit()
            }
        }
    };
}

forward!(&D);
forward!(std::sync::Arc<D>);
