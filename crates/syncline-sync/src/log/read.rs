//! Reading records back, for those who follow.
//!
//! State: where groups begin in the segments that were read lately, and where recent reads stopped, so that who reads
//! on goes on there. Both are of bounded size and only speed things up.
//!
//! Not here: whether what is read may be shown to anybody (records at and after [`Log::durable`] may be lost yet).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::disk::Disk;
use super::format::{FRAME, HEADER, MARK};
use super::walk::{Place, Step, WIDE, Walk, Window};
use super::{Error, Log, Position, Result, damaged};

/// Bytes between two entries of an index.
const SPACING: u64 = 64 << 10;
/// Segments whose index is kept, besides the newest.
const INDEXES: usize = 8;
/// Places where reads stopped that are kept.
const STOPS: usize = 16;

/// Where some groups of a segment begin: the first in every 64 KiB.
#[derive(Debug, Clone, Default)]
pub(super) struct Index(Vec<(Position, u64)>);

impl Index {
    /// Takes note of a group, if it is far enough from the one before.
    pub(super) fn note(&mut self, first: Position, offset: u64) {
        if self.0.last().is_none_or(|last| offset >= last.1 + SPACING) {
            self.0.push((first, offset));
        }
    }

    /// The last known group that begins at or before a position.
    fn find(&self, position: Position) -> Option<Place> {
        let (position, offset) = *self.0[..self.0.partition_point(|group| group.0 <= position)].last()?;
        Some(Place { position, offset, group: None })
    }
}

/// What makes reading fast.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Of older segments, by serial; the one that was used last is the last.
    indexes: VecDeque<(u32, Index)>,
    /// Where reads stopped, by serial; the newest is the last.
    stops: VecDeque<(u32, Place)>,
}

impl Reads {
    pub(super) fn keep(&mut self, serial: u32, index: Index) {
        if self.indexes.len() == INDEXES {
            self.indexes.pop_front();
        }
        self.indexes.push_back((serial, index));
    }

    fn stop(&mut self, serial: u32, place: Place) {
        if self.stops.len() == STOPS {
            self.stops.pop_front();
        }
        self.stops.push_back((serial, place));
    }

    fn take_stop(&mut self, serial: u32, position: Position) -> Option<Place> {
        let at = self.stops.iter().position(|stop| stop.0 == serial && stop.1.position == position)?;
        self.stops.remove(at).map(|stop| stop.1)
    }
}

/// Records that were read, one after another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    first: Position,
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Records {
    /// The position of the first record.
    #[must_use]
    pub fn first(&self) -> Position {
        self.first
    }

    /// The position after the last record: where to read on.
    #[must_use]
    pub fn next(&self) -> Position {
        self.first + self.ends.len() as u64
    }

    /// How many records these are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The records with their positions. They share one allocation.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Position, Bytes)> + '_ {
        self.ends.iter().enumerate().map(|(nth, &end)| {
            let start = if nth == 0 { 0 } else { self.ends[nth - 1] };
            (self.first + nth as u64, self.bytes.slice(start..end))
        })
    }
}

/// Records on their way out.
struct Taken {
    wanted: Range<Position>,
    max_bytes: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Taken {
    /// Whether a record of this length still goes in. The first always does.
    fn has_room(&self, len: usize) -> bool {
        let taken = self.bytes.len() + FRAME * self.ends.len();
        self.ends.is_empty() || taken.saturating_add(FRAME + len) <= self.max_bytes
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        self.wanted.start += 1;
    }
}

impl<D: Disk> Log<D> {
    /// The records of `wanted`, from its start on, up to `max_bytes` of them (each counts for 12 more) but at least one.
    /// Fewer come when the log ends before, and none when it ends at or before the start.
    ///
    /// Records that were appended and not yet made durable are among them: who must not show these to anybody asks for
    /// what is before [`durable`](Self::durable).
    ///
    /// # Errors
    /// `not-found` for what has been removed from the log's start; `corrupt` for what was changed since it was
    /// written, naming the place; the disk's.
    pub fn read(&mut self, wanted: Range<Position>, max_bytes: usize) -> Result<Records> {
        let first = wanted.start;
        if first < self.first() {
            return Err(Error::NotFound(format!(
                "record {first} is no longer in the log, which starts at {}: take the state from another replica",
                self.first()
            )));
        }
        // What was written before a failed sync may be gone from the disk although it can still be read.
        let end = if self.broken.is_some() { self.durable } else { self.next };
        let wanted = first..wanted.end.min(end);
        let bytes = Vec::with_capacity(max_bytes.min(1 << 10));
        let mut taken = Taken { wanted, max_bytes, bytes, ends: Vec::with_capacity(16) };
        let mut full = false;
        while !full && taken.wanted.start < taken.wanted.end.min(self.flushed) {
            full = self.read_segment(&mut taken)?;
        }
        if !full && taken.wanted.start < taken.wanted.end {
            self.read_buffer(&mut taken);
        }
        Ok(Records { first, bytes: taken.bytes.into(), ends: taken.ends })
    }

    /// Walks over every record on the disk.
    ///
    /// # Errors
    /// `corrupt` for the first that was changed since it was written; the disk's.
    pub fn verify(&self) -> Result<()> {
        for nth in 0..self.segments.len() {
            let limit = self.limit(nth);
            let segment = &self.segments[nth];
            let start = Place { position: segment.first, offset: HEADER as u64, group: None };
            let window = Window::new(&self.disk, &segment.name, limit, WIDE);
            let mut walk = Walk::new(window, segment.seed, start);
            loop {
                match walk.step()? {
                    Step::Bad(why) => return Err(damaged(&segment.name, walk.at.offset, walk.at.position, why)),
                    Step::End => break,
                    Step::Group(_) | Step::Record(_) => {}
                }
            }
            let next = self.segments.get(nth + 1).map_or(self.flushed, |next| next.first);
            if walk.at.position != next {
                return Err(damaged(&segment.name, walk.at.offset, walk.at.position, "records are missing at its end"));
            }
        }
        Ok(())
    }

    /// How many bytes of a segment count.
    fn limit(&self, nth: usize) -> u64 {
        if nth + 1 == self.segments.len() { self.offset } else { self.segments[nth].len }
    }

    /// Takes records from the segment that has the next one. Says whether no more go in.
    fn read_segment(&mut self, taken: &mut Taken) -> Result<bool> {
        let from = taken.wanted.start;
        // Segments without records begin where the next one does.
        let nth = self.segments.partition_point(|segment| segment.first <= from) - 1;
        let limit = self.limit(nth);
        let serial = self.segments[nth].serial;
        let place = match self.reads.take_stop(serial, from) {
            Some(place) => place,
            None => self.seek(nth, from)?,
        };
        let segment = &self.segments[nth];
        let chunk = taken.max_bytes.saturating_sub(taken.bytes.len()).clamp(4 << 10, WIDE);
        let mut walk = Walk::new(Window::new(&self.disk, &segment.name, limit, chunk), segment.seed, place);
        let (mut full, mut stop) = (false, walk.at);
        while !full && walk.at.position < taken.wanted.end {
            match walk.step()? {
                Step::Bad(why) => return Err(damaged(&segment.name, walk.at.offset, walk.at.position, why)),
                Step::End => break,
                Step::Group(_) => {}
                Step::Record(_) if walk.at.position <= from => {}
                Step::Record(range) => {
                    let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    if taken.has_room(len) {
                        taken.push(walk.window.get(range.start, len)?);
                    } else {
                        full = true;
                        continue;
                    }
                }
            }
            stop = walk.at;
        }
        if !full && walk.at.position <= from {
            return Err(damaged(&segment.name, stop.offset, from, "records are missing at its end"));
        }
        self.reads.stop(serial, stop);
        Ok(full)
    }

    /// A place in a segment from which on a position is found.
    fn seek(&mut self, nth: usize, position: Position) -> Result<Place> {
        let segment = &self.segments[nth];
        let start = Place { position: segment.first, offset: HEADER as u64, group: None };
        if nth + 1 == self.segments.len() {
            return Ok(self.index.find(position).unwrap_or(start));
        }
        let serial = segment.serial;
        let index = match self.reads.indexes.iter().position(|known| known.0 == serial) {
            Some(at) => self.reads.indexes.remove(at).expect("it was just found").1,
            None => self.index_of(nth)?,
        };
        let place = index.find(position).unwrap_or(start);
        self.reads.keep(serial, index);
        Ok(place)
    }

    /// Goes over the marks of an older segment.
    fn index_of(&self, nth: usize) -> Result<Index> {
        let segment = &self.segments[nth];
        let mut index = Index::default();
        let mut at = HEADER as u64;
        let mut window = Window::new(&self.disk, &segment.name, segment.len, WIDE);
        while at < segment.len {
            let mark = super::format::Mark::decode(window.get(at, MARK)?, segment.seed, at);
            // What is behind a mark that does not verify is looked for from the one before.
            let Some(mark) = mark else { break };
            index.note(mark.first, at);
            at = mark.end();
        }
        Ok(index)
    }

    /// Takes records that are not on the disk yet.
    fn read_buffer(&self, taken: &mut Taken) {
        let mut position = self.flushed;
        let mut rest = self.buffer.get(MARK..).unwrap_or_default();
        while let Some((len, _)) = super::format::frame(rest)
            && position < taken.wanted.end
        {
            let record = &rest[FRAME..FRAME + len];
            if position >= taken.wanted.start {
                if !taken.has_room(len) {
                    return;
                }
                taken.push(record);
            }
            position += 1;
            rest = &rest[FRAME + len..];
        }
    }
}
