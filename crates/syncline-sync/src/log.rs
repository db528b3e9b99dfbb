//! The log of a replica: records in one order, on disk, in segments.
//!
//! A record is bytes and has a position: 0, 1, 2… [`Log::append`] collects records in memory, [`Log::flush`] writes all of them
//! at once as a *group*, [`Log::sync`] makes them durable. [`Log::read`] gives them back, [`Log::truncate_before`] takes the oldest
//! segments away, [`Log::reset`] starts anew elsewhere. The format is `docs/format/log.md`. Files come through [`Disk`]: nothing here
//! opens one.
//!
//! State: the files, of which the log is the only writer; in memory the group that is being collected and the list of
//! segments.
//!
//! After a crash: [`Log::open`] finds all records that were durable, in their order, and possibly some that were appended
//! after them; of those that it does not find none ever comes back. What was durable and is damaged is never taken for
//! what a crash left, as far as the two can be told apart ("The end" in the format).
//!
//! After a failed write or sync the log takes nothing more until it is opened again: whether bytes that a failed sync was to
//! make durable are on the disk cannot be asked, so opening writes all that was not known to be durable once more.
//!
//! Not here: what records mean, when to sync, what to keep, and which records other replicas have.

pub mod conformance;
mod disk;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod memory;
mod open;
mod read;
mod salvage;
mod segments;
mod tail;
mod walk;

use std::collections::VecDeque;
use std::io;

use syncline_base::Kind;

use crate::error::{Error, Result};
pub use disk::Disk;
use format::{END, FRAME, HEADER, MARK, Mark};
pub use open::Recovered;
pub use read::Records;
pub use salvage::{Salvaged, salvage};

/// The number of a record: how many were appended before it.
pub type Position = u64;

/// What tells a log from all others. Drawn at random when the log is made, and again when it is copied or restored.
pub type LogId = [u8; 16];

/// A segment is not gone on with beyond this, so that all its offsets fit in 32 bits.
const MAX_SEGMENT: u64 = 3 << 30;

/// How a log is kept. Not stored: every opening may choose anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment that would become longer than this is not gone on with. At most 1 GiB.
    pub segment_bytes: u64,
    /// A group that would become longer than this is written. At most 64 MiB.
    pub buffer_bytes: usize,
    /// The longest record that is taken. At most 64 MiB.
    pub max_record: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Options {
    /// What it is unless somebody says otherwise.
    pub const DEFAULT: Self = Self { segment_bytes: 64 << 20, buffer_bytes: 1 << 20, max_record: format::MAX_RECORD };

    /// Room that every segment keeps for marks, so that a full disk can still be told what to remove.
    fn reserve(&self) -> u64 {
        (self.segment_bytes / 16).min(1 << 10)
    }

    fn check(&self) -> Result<()> {
        let fits = self.segment_bytes <= 1 << 30 && self.buffer_bytes <= 64 << 20;
        if fits && self.max_record <= format::MAX_RECORD {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the log cannot be kept with {self:?}: a segment has at most 1 GiB, a buffer and a record at most 64 MiB"
        )))
    }
}

/// A segment that counts.
#[derive(Debug)]
struct Segment {
    name: String,
    serial: u32,
    first: Position,
    seed: u64,
    /// So many bytes count. Of the newest: see [`Log::offset`].
    len: u64,
}

/// What a sync that somebody else carries out will make durable.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "records become durable by a sync whose outcome is told to `finish_sync`"]
pub struct Ticket {
    name: String,
    offset: u64,
    position: Position,
}

impl Ticket {
    /// The file to sync.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.name
    }
}

/// An ordered log of records on a disk.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    id: LogId,
    options: Options,
    /// All that count, the newest last; never empty.
    segments: VecDeque<Segment>,
    /// Names that count no more and are still there.
    leftovers: Vec<String>,
    /// So many bytes of the newest segment were written, and so many are durable.
    offset: u64,
    synced: u64,
    /// So many bytes of it a mark says to be durable.
    marked: u64,
    /// Nothing more goes into the newest segment: what lies behind its end never became durable.
    sealed: bool,
    /// A ticket is out.
    syncing: bool,
    /// The group that is being collected: room for a mark, then frames. Empty when there is none.
    buffer: Vec<u8>,
    /// The position after the last durable record, after the last written one, and after the last one.
    durable: Position,
    flushed: Position,
    next: Position,
    /// Why nothing more is taken.
    broken: Option<String>,
    /// Of the newest segment.
    index: read::Index,
    reads: read::Reads,
}

impl<D: Disk> Log<D> {
    /// The log's id.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.id
    }

    /// The position of the oldest record that is kept; [`next`](Self::next) when there is none.
    #[must_use]
    pub fn first(&self) -> Position {
        self.segments[0].first
    }

    /// All records before this position are durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// The position that the next record gets.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// How many bytes are appended and not written yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The segments, the oldest first: the position of each one's first record, and how many bytes it has. For who decides what
    /// to [remove](Self::truncate_before).
    pub fn segments(&self) -> impl Iterator<Item = (Position, u64)> + '_ {
        let newest = self.segments.len() - 1;
        let len = move |(nth, segment): (usize, &Segment)| if nth == newest { self.offset } else { segment.len };
        self.segments.iter().enumerate().map(move |(nth, segment)| (segment.first, len((nth, segment))))
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Adds a record at the end, in memory; when the buffer or the segment is full, what was appended before is written
    /// first. Whether it is durable [`sync`](Self::sync) says.
    ///
    /// # Errors
    /// `invalid` for a record that is too long; the disk's. The record is not in the log then.
    pub fn append(&mut self, record: &[u8]) -> Result<Position> {
        self.check_usable()?;
        if record.len() > self.options.max_record {
            return Err(Error::Invalid(format!(
                "a record of {} bytes cannot be appended: the log takes at most {}",
                record.len(),
                self.options.max_record
            )));
        }
        let frame = FRAME + record.len();
        let group = self.buffer.len().max(MARK) + frame + 1;
        let fits = self.offset + group as u64 + self.options.reserve() <= self.options.segment_bytes;
        if !self.buffer.is_empty() && (group > self.options.buffer_bytes || !(fits || self.syncing)) {
            self.flush()?;
        }
        if self.buffer.is_empty() {
            let alone = (HEADER + MARK + frame + 1) as u64 + self.options.reserve();
            let full = self.offset + alone - HEADER as u64 > self.options.segment_bytes && !self.is_fresh();
            // A segment is begun behind one that is durable, which is not known while a ticket is out: it may grow then.
            if self.sealed || (full && !self.syncing) || self.offset > MAX_SEGMENT {
                self.check_idle()?;
                self.next_segment(alone.max(self.options.segment_bytes))?;
            }
            self.buffer.resize(MARK, 0);
        }
        let (position, seed) = (self.next, self.newest().seed);
        format::push(&mut self.buffer, seed, position, record);
        self.next += 1;
        Ok(position)
    }

    /// Writes what was appended, in one piece.
    ///
    /// # Errors
    /// The disk's; the log takes nothing more then.
    pub fn flush(&mut self) -> Result<()> {
        self.check_usable()?;
        if self.buffer.is_empty() { Ok(()) } else { self.write_group() }
    }

    /// Makes everything that was appended durable, and says up to where everything is.
    ///
    /// # Errors
    /// The disk's; the log takes nothing more then, and must be opened again to find out what is durable.
    pub fn sync(&mut self) -> Result<Position> {
        self.check_idle()?;
        self.flush()?;
        if self.durable < self.flushed {
            self.sync_newest()?;
        }
        Ok(self.durable)
    }

    /// The first half of [`sync`](Self::sync), for who wants to append while the disk is busy: writes what was appended,
    /// and says which file is to be synced. `None` when everything is durable.
    ///
    /// One ticket is out at a time, because a disk may tell a failure only once, to whichever sync comes first. Until it comes
    /// back, what needs a sync itself is refused as `unavailable`; appending, writing and reading go on.
    ///
    /// # Errors
    /// `unavailable` while another ticket is out; the disk's, and the log takes nothing more then.
    pub fn start_sync(&mut self) -> Result<Option<Ticket>> {
        self.check_idle()?;
        self.flush()?;
        if self.durable == self.flushed {
            return Ok(None);
        }
        self.syncing = true;
        Ok(Some(Ticket { name: self.newest().name.clone(), offset: self.offset, position: self.flushed }))
    }

    /// The second half of [`sync`](Self::sync): takes in how the sync of the ticket's file went, which must have begun after the
    /// ticket was given, and says up to where everything is durable.
    ///
    /// # Errors
    /// When the sync failed; the log takes nothing more then.
    pub fn finish_sync(&mut self, ticket: Ticket, outcome: io::Result<()>) -> Result<Position> {
        self.syncing = false;
        self.check_usable()?;
        if let Err(error) = outcome {
            return Err(self.break_off("syncing", &ticket.name, &error));
        }
        debug_assert_eq!(ticket.name, self.newest().name, "no segment is begun while a ticket is out");
        (self.synced, self.durable) = (ticket.offset, ticket.position);
        Ok(self.durable)
    }

    /// Writes down that what is durable is so, if no mark says it yet. Every group says it of those before; this is for the
    /// last one (or of the segment's header), when nothing follows for a while. Needs no sync: whatever of it survives a
    /// crash tells the truth.
    ///
    /// # Errors
    /// The disk's; the log takes nothing more then.
    pub fn settle(&mut self) -> Result<()> {
        self.flush()?;
        if self.sealed || self.marked >= self.synced {
            return Ok(());
        }
        self.write_group()
    }

    /// Makes everything durable and says so on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        self.settle()?;
        let newest = &self.segments[self.segments.len() - 1].name;
        self.disk.sync(newest).map_err(|error| failed("syncing", newest, &error))
    }

    /// Writes the buffer as a group; an empty one when nothing was appended.
    fn write_group(&mut self) -> Result<()> {
        self.buffer.resize(self.buffer.len().max(MARK), 0);
        self.buffer.push(END);
        let small = |number: u64| u32::try_from(number).expect("a segment's offsets fit in 32 bits");
        let mark = Mark {
            len: small(self.buffer.len() as u64),
            offset: small(self.offset),
            durable: small(self.synced),
            first: self.flushed,
            oldest: self.segments[0].serial,
        };
        let newest = &self.segments[self.segments.len() - 1];
        self.buffer[..MARK].copy_from_slice(&mark.encode(newest.seed));
        if let Err(error) = self.disk.write(&newest.name, self.offset, &self.buffer) {
            let name = newest.name.clone();
            return Err(self.break_off("writing", &name, &error));
        }
        self.index.note(self.flushed, self.offset);
        self.offset += self.buffer.len() as u64;
        self.marked = self.synced;
        self.flushed = self.next;
        self.buffer.clear();
        // One long record does not keep its memory.
        self.buffer.shrink_to(2 * self.options.buffer_bytes);
        Ok(())
    }

    fn newest(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// Whether the newest segment has no group yet.
    fn is_fresh(&self) -> bool {
        self.offset == HEADER as u64
    }

    /// Refuses what needs a sync while somebody else carries one out.
    fn check_idle(&self) -> Result<()> {
        if !self.syncing {
            return Ok(());
        }
        let message = "the log is being synced: wait for the outcome, then try again".to_owned();
        Err(Error::Local { kind: Kind::Unavailable, message })
    }

    fn check_usable(&self) -> Result<()> {
        let Some(why) = &self.broken else { return Ok(()) };
        let message = format!("the log takes nothing more because {why}: open it again to find out what is durable");
        Err(Error::Local { kind: Kind::Unavailable, message })
    }

    /// Takes nothing more from now on.
    fn break_off(&mut self, what: &str, name: &str, error: &io::Error) -> Error {
        self.broken = Some(format!("{what} {name} failed: {error}"));
        failed(what, name, error)
    }
}

/// The error of a call to the disk.
fn failed(what: &str, name: &str, error: &io::Error) -> Error {
    let kind = match Kind::of_io(error) {
        // The log knows what is damaged; the disk only knows that it failed.
        Kind::Corrupt => Kind::Unavailable,
        kind => kind,
    };
    let message = format!(
        "{what} {name} of the log failed: {error}; nothing that was durable is lost: mend the disk or make room"
    );
    Error::Local { kind, message }
}

/// The error for bytes that are not what was made durable.
fn damaged(segment: &str, offset: u64, position: Position, why: &str) -> Error {
    Error::LogDamaged { segment: segment.to_owned(), offset, position, why: why.to_owned() }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
