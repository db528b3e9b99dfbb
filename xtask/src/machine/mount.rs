//! A disk (`disk`) as a directory of this machine, by FUSE.
//!
//! A sync takes a while, as those of disks do: what is written meanwhile is not covered by it, and a power cut meets what waits for one.
//!
//! Owns: a mount and its threads, until the value is dropped. Every cut makes a new mount, so that the kernel has nothing of the old one.
//!
//! Not here: `syncfs`, which the kernel does not tell such file systems, and memory that is mapped for writing: nothing of ours writes so.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use super::clock::Wall;
use super::disk::{Disk, Facts, Kind, Lost, Number, Syncs};

const NEEDS: &str = "disks that lose their power are file systems of this program: that needs /dev/fuse, which everybody may open or root \
                     (on Debian: `mknod -m 666 /dev/fuse c 10 229`, or apt install fuse3)";
/// Nothing changes a disk but what goes through its mount.
const ALWAYS: Duration = Duration::from_secs(3600);
/// So many things are done at once on a disk: syncs wait.
const WIDTH: usize = 4;
/// A disk has so many blocks, as far as it says: more than anybody writes.
const BLOCKS: u64 = 1 << 20;
const BLOCK: u32 = 4096;

/// A disk that is mounted.
#[derive(Debug)]
pub(super) struct Mounted {
    at: PathBuf,
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
    wall: Wall,
    rng: Rng,
}

impl Mounted {
    /// An empty disk, mounted at a directory that is made.
    pub(super) fn new(at: &Path, wall: Wall, rng: Rng) -> Result<Self> {
        std::fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
        let disk = Arc::new(Mutex::new(Disk::new()));
        let mut mounted = Self { at: at.to_owned(), disk, session: None, wall, rng };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Where it is.
    pub(super) fn at(&self) -> &Path {
        &self.at
    }

    /// Its syncs do this from now on.
    pub(super) fn set_syncs(&self, syncs: Syncs) {
        lock(&self.disk).set_syncs(syncs);
    }

    /// Cuts its power, which comes back at once. Nobody uses it any more.
    pub(super) fn cut(&mut self) -> Result<Lost> {
        self.unmount()?;
        // What the old mount has to say still, it says of a disk that is nobody's.
        let mut disk = std::mem::replace(&mut *lock(&self.disk), Disk::new());
        let lost = disk.cut(&mut self.rng);
        self.disk = Arc::new(Mutex::new(disk));
        self.mount()?;
        Ok(lost)
    }

    fn mount(&mut self) -> Result<()> {
        let rng = Mutex::new(Rng::from_seed(self.rng.next_u64()));
        let face = Face { disk: Arc::clone(&self.disk), wall: self.wall.clone(), rng };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("syncline-try".to_owned())];
        config.n_threads = Some(WIDTH);
        let session = fuser::spawn_mount(face, &self.at, &config);
        self.session = Some(session.with_context(|| format!("mounting a disk at {}: {NEEDS}", self.at.display()))?);
        Ok(())
    }

    /// Takes it away. Who was killed a moment ago may have it for a moment longer.
    fn unmount(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let begun = SystemClock.monotonic();
        while let Err(error) = nix::mount::umount(&self.at) {
            if SystemClock.monotonic() - begun > Duration::from_secs(5) {
                self.session = Some(session);
                return Err(error).with_context(|| format!("unmounting {}", self.at.display()));
            }
            SystemClock.sleep(Duration::from_millis(10));
        }
        ended(session.join()).with_context(|| format!("unmounting {}", self.at.display()))
    }
}

/// How the threads of a mount ended that was taken away. Who reads from the kernel at that moment is told that there is nothing any more, by
/// either of two errors: it depends on whether something was on its way to a thread.
fn ended(threads: std::io::Result<()>) -> std::io::Result<()> {
    let is_gone = |error: &std::io::Error| {
        let number = error.raw_os_error();
        [nix::errno::Errno::ECONNABORTED, nix::errno::Errno::ENODEV].into_iter().any(|gone| number == Some(gone as i32))
    };
    threads.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{error:#}");
        }
    }
}

/// What the kernel asks.
struct Face {
    disk: Arc<Mutex<Disk>>,
    wall: Wall,
    rng: Mutex<Rng>,
}

type Done<T> = std::result::Result<T, Errno>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A disk is whole between two operations, and these do not panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no(error: nix::errno::Errno) -> Errno {
    Errno::from_i32(error as i32)
}

impl Face {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        let mut disk = lock(&self.disk);
        disk.tell(self.wall.now());
        disk
    }

    fn facts(&self, number: Number) -> Done<FileAttr> {
        self.disk().facts(number).map(|facts| attributes(&facts)).map_err(no)
    }

    fn make(&self, at: (INodeNo, &OsStr), kind: Kind, mode: u32, req: &Request) -> Done<FileAttr> {
        let mut disk = self.disk();
        let number = disk.make((at.0.0, at.1), kind, mode & 0o7777, (req.uid(), req.gid())).map_err(no)?;
        disk.facts(number).map(|facts| attributes(&facts)).map_err(no)
    }

    /// Some milliseconds, now and then more.
    fn wait(&self) {
        let micros = {
            let mut rng = lock(&self.rng);
            let most = if rng.below(32) == 0 { 30_000 } else { 4_000 };
            500 + rng.below(most)
        };
        SystemClock.sleep(Duration::from_micros(micros));
    }

    fn sync(&self, number: INodeNo) -> Done<()> {
        let so_far = self.disk().so_far(number.0).map_err(no)?;
        self.wait();
        self.disk().sync(number.0, so_far).map_err(no)
    }
}

fn attributes(facts: &Facts) -> FileAttr {
    let kind = file_type(&facts.kind);
    FileAttr {
        ino: INodeNo(facts.number),
        size: facts.size,
        blocks: facts.size.div_ceil(512),
        atime: facts.changed,
        mtime: facts.changed,
        ctime: facts.changed,
        crtime: facts.changed,
        kind,
        perm: u16::try_from(facts.mode & 0o7777).unwrap_or(0o600),
        nlink: facts.links,
        uid: facts.owner.0,
        gid: facts.owner.1,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Link(_) => FileType::Symlink,
    }
}

fn entry(done: Done<FileAttr>, reply: ReplyEntry) {
    match done {
        Ok(attributes) => reply.entry(&ALWAYS, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attr(done: Done<FileAttr>, reply: ReplyAttr) {
    match done {
        Ok(attributes) => reply.attr(&ALWAYS, &attributes),
        Err(error) => reply.error(error),
    }
}

fn empty(done: Done<()>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn opened(done: Done<()>, reply: ReplyOpen) {
    match done {
        Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Face {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.disk().find(parent.0, name).map_err(no);
        entry(found.and_then(|number| self.facts(number)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(self.facts(ino.0), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => self.wall.now(),
        });
        let done = {
            let mut disk = self.disk();
            let resized = size.map_or(Ok(()), |size| disk.resize(ino.0, size));
            resized.and_then(|()| disk.set(ino.0, mode.map(|mode| mode & 0o7777), changed)).map_err(no)
        };
        attr(done.and_then(|()| self.facts(ino.0)), reply);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.disk().facts(ino.0).map(|facts| facts.kind) {
            Ok(Kind::Link(to)) => reply.data(to.as_encoded_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(no(error)),
        }
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        entry(self.make((parent, name), Kind::Directory, mode & !umask, req), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry(self.make((parent, name), Kind::Link(target.into()), 0o777, req), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().remove((parent.0, name), false).map_err(no), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().remove((parent.0, name), true).map_err(no), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let replace = flags.is_empty();
        empty(self.disk().rename((parent.0, name), (to.0, new), replace).map_err(no), reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, to: INodeNo, new: &OsStr, reply: ReplyEntry) {
        let done = self.disk().link(ino.0, (to.0, new)).map_err(no);
        entry(done.and_then(|()| self.facts(ino.0)), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        opened(self.disk().open(ino.0).map_err(no), reply);
    }

    fn create(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.make((parent, name), Kind::File, mode & !umask, req);
        let made = made.and_then(|facts| self.disk().open(facts.ino.0).map(|()| facts).map_err(no));
        match made {
            Ok(facts) => reply.created(&ALWAYS, &facts, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.disk().read(ino.0, offset, size as usize);
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(no(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.disk().write(ino.0, offset, data);
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(no(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.disk().close(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.sync(ino), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.sync(ino), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = match self.disk().list(ino.0) {
            Ok(list) => list,
            Err(error) => return reply.error(no(error)),
        };
        let dots = [".", ".."].map(|name| (OsString::from(name), ino.0, FileType::Directory));
        let list = list.into_iter().map(|(name, facts)| (name, facts.number, file_type(&facts.kind)));
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (nth, (name, number, kind)) in dots.into_iter().chain(list).enumerate().skip(first) {
            if reply.add(INodeNo(number), nth as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}

#[cfg(test)]
mod tests;
