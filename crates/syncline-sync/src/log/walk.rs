//! Walking over a segment, group by group and record by record, with everything verified.
//!
//! State: a window of the segment's bytes. It grows only by what was read, so that no length that stands in a file
//! sizes it. Not here: what bytes that do not verify mean ([`tail`](super::tail)).

use std::ops::Range;

use super::disk::Disk;
use super::format::{self, END, FRAME, MARK, MAX_RECORD, Mark};
use super::{Position, Result, failed};

/// Bytes read at a time where the whole segment is walked.
pub(super) const WIDE: usize = 256 << 10;

/// A stretch of a file in memory that follows where one looks.
#[derive(Debug)]
pub(super) struct Window<'a, D> {
    disk: &'a D,
    name: &'a str,
    /// Nothing from here on counts.
    limit: u64,
    chunk: usize,
    base: u64,
    bytes: Vec<u8>,
}

impl<'a, D: Disk> Window<'a, D> {
    pub(super) fn new(disk: &'a D, name: &'a str, limit: u64, chunk: usize) -> Self {
        Self { disk, name, limit, chunk, base: 0, bytes: Vec::new() }
    }

    /// The next `len` bytes from `offset` on, or as many as there are up to the limit and the end of the file.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let held = self.base + self.bytes.len() as u64;
        if offset < self.base || offset > held {
            self.bytes.clear();
            self.base = offset;
        }
        let mut from = usize::try_from(offset - self.base).expect("it lies within the window");
        if from + len > self.bytes.len() {
            self.bytes.drain(..from);
            (self.base, from) = (offset, 0);
            self.fill(len)?;
        }
        Ok(&self.bytes[from..self.bytes.len().min(from + len)])
    }

    /// Reads on until the window has `len` bytes or there are no more.
    fn fill(&mut self, len: usize) -> Result<()> {
        while self.bytes.len() < len {
            let (old, at) = (self.bytes.len(), self.base + self.bytes.len() as u64);
            let left = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
            let more = left.min(self.chunk);
            if more == 0 {
                break;
            }
            self.bytes.resize(old + more, 0);
            let read = self.disk.read(self.name, at, &mut self.bytes[old..]);
            let got = read.as_ref().map_or(0, |got| *got).min(more);
            self.bytes.truncate(old + got);
            read.map_err(|error| failed("reading", self.name, &error))?;
            if got == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Where a walk stands: enough to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The position of the next record.
    pub(super) position: Position,
    /// Where it, or the mark before it, is.
    pub(super) offset: u64,
    /// The group that it is in: where that starts and ends.
    pub(super) group: Option<(u64, u64)>,
}

/// What a step of a walk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A group begins. Its records follow.
    Group(Mark),
    /// The next record is here.
    Record(Range<u64>),
    /// The limit was reached at a place where a segment may end.
    End,
    /// What is here does not verify.
    Bad(&'static str),
}

/// Walks over a segment.
#[derive(Debug)]
pub(super) struct Walk<'a, D> {
    pub(super) window: Window<'a, D>,
    pub(super) at: Place,
    seed: u64,
}

impl<'a, D: Disk> Walk<'a, D> {
    pub(super) fn new(window: Window<'a, D>, seed: u64, at: Place) -> Self {
        Self { window, at, seed }
    }

    /// Goes one step on. A step that fails or is bad leaves the walk where it is.
    pub(super) fn step(&mut self) -> Result<Step> {
        loop {
            if self.at.offset == self.window.limit {
                return Ok(Step::End);
            }
            let Some((_, end)) = self.at.group else { return self.mark() };
            if self.at.offset + 1 < end {
                return self.record(end);
            }
            if self.window.get(self.at.offset, 1)? != [END] {
                return Ok(Step::Bad("the last byte of a group is not what it should be"));
            }
            self.at.offset = end;
            self.at.group = None;
        }
    }

    fn mark(&mut self) -> Result<Step> {
        let offset = self.at.offset;
        let Some(mark) = Mark::decode(self.window.get(offset, MARK)?, self.seed, offset) else {
            return Ok(Step::Bad("no group begins where one should"));
        };
        if mark.first != self.at.position {
            return Ok(Step::Bad("a group does not begin with the next position"));
        }
        self.at.group = Some((offset, mark.end()));
        self.at.offset += MARK as u64;
        Ok(Step::Group(mark))
    }

    fn record(&mut self, end: u64) -> Result<Step> {
        let offset = self.at.offset;
        let room = end - 1 - offset;
        let Some((len, check)) = format::frame(self.window.get(offset, FRAME)?) else {
            return Ok(Step::Bad("a record is cut short"));
        };
        if len > MAX_RECORD || (FRAME + len) as u64 > room {
            return Ok(Step::Bad("a record is longer than its group"));
        }
        let start = offset + FRAME as u64;
        let bytes = self.window.get(start, len)?;
        if bytes.len() < len {
            return Ok(Step::Bad("a record is cut short"));
        }
        if format::check(self.seed, self.at.position, bytes) != check {
            return Ok(Step::Bad("a record's checksum does not match"));
        }
        self.at.offset = start + len as u64;
        self.at.position += 1;
        Ok(Step::Record(start..self.at.offset))
    }
}
