//! Opening a log: which segments count, where the end is, and making all of it durable.
//!
//! State: none of its own. A crash at any point leaves what opening again makes the same of. Nothing is removed but files
//! that durably count no more or never came to count, and nothing that is found is written over but with the same bytes.

use std::collections::{BTreeMap, VecDeque};

use super::disk::Disk;
use super::format::{self, HEADER, Header};
use super::segments::{list, remove};
use super::tail::{self, Start, Tail};
use super::walk::{WIDE, Window};
use super::{Error, Log, LogId, MAX_SEGMENT, Options, Position, Result, Segment, damaged, failed, read};

/// What opening a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The position of the oldest record that is kept.
    pub first: Position,
    /// The position after the last record. Everything before it is durable now.
    pub next: Position,
    /// How many bytes at the end were there in part only and never had become durable.
    pub cut_bytes: u64,
}

/// The files with names of segments, and their lengths.
type Files = BTreeMap<(u32, Position), u64>;

impl<D: Disk> Log<D> {
    /// Opens the log that is there, after a crash or not. Given an `id`, a log with another one is refused.
    ///
    /// # Errors
    /// `not-found` when there is none, or its making never ended; `invalid` when segments of several logs, or such of a
    /// newer format, lie there; `corrupt` when records that were durable are missing or changed, naming the place; the
    /// disk's. After an error everything is as it was.
    pub fn open(disk: D, id: Option<LogId>, options: Options) -> Result<(Self, Recovered)> {
        options.check()?;
        let mut files: Files =
            list(&disk)?.into_iter().filter_map(|(name, len)| Some((format::parse_name(&name)?, len))).collect();
        let Some(newest) = newest(&disk, &files)? else {
            return Err(Error::NotFound("there is no log here: make one".to_owned()));
        };
        let name = format::name(newest.serial, newest.first);
        if id.is_some_and(|id| id != newest.id) {
            return Err(Error::Invalid(format!(
                "segment {name} is of another log than the one that was asked for: put the right files in place"
            )));
        }
        let tail = tail::find(&disk, &name, &newest, files[&(newest.serial, newest.first)])?;
        let segments = chain(&disk, &mut files, &newest, &tail)?;
        let leftovers = others(&disk, &files, &newest, segments[0].serial)?;
        confirm(&disk, &name, &tail)?;
        let recovered =
            Recovered { first: segments[0].first, next: tail.next, cut_bytes: tail.cut.unwrap_or_default() };
        let mut log = Self {
            disk,
            id: newest.id,
            options,
            segments,
            leftovers,
            offset: tail.len,
            synced: tail.len,
            marked: tail.proven,
            sealed: tail.cut.is_some() || tail.len > MAX_SEGMENT,
            syncing: false,
            buffer: Vec::new(),
            durable: tail.next,
            flushed: tail.next,
            next: tail.next,
            broken: None,
            index: tail.index,
            reads: read::Reads::default(),
        };
        log.try_sweep();
        Ok((log, recovered))
    }
}

/// The header of the newest segment that was finished.
fn newest<D: Disk>(disk: &D, files: &Files) -> Result<Option<Header>> {
    for (&(serial, first), &len) in files.iter().rev() {
        if let Start::Header(header) = start(disk, serial, first, len)? {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// The start of a segment that is where it belongs.
fn start<D: Disk>(disk: &D, serial: u32, first: Position, len: u64) -> Result<Start> {
    let name = format::name(serial, first);
    let start = tail::start(disk, &name, first, len)?;
    if let Start::Header(header) = &start
        && (header.serial, header.first) != (serial, first)
    {
        let is = format::name(header.serial, header.first);
        return Err(Error::Invalid(format!("segment {is} of the log has the name {name}: give it its own name again")));
    }
    Ok(start)
}

/// The segments that count, taken out of the files.
fn chain<D: Disk>(disk: &D, files: &mut Files, newest: &Header, tail: &Tail) -> Result<VecDeque<Segment>> {
    let segment = |header: &Header, len| Segment {
        name: format::name(header.serial, header.first),
        serial: header.serial,
        first: header.first,
        seed: header.seed(),
        len,
    };
    files.remove(&(newest.serial, newest.first));
    let mut segments = VecDeque::from([segment(newest, tail.len)]);
    let mut after = *newest;
    while after.serial > tail.oldest {
        let (serial, first) = (after.serial - 1, after.previous_first);
        let name = format::name(serial, first);
        let Some(file) = files.remove(&(serial, first)) else {
            return Err(damaged(&name, 0, first, "the file is missing"));
        };
        let Start::Header(header) = start(disk, serial, first, file)? else {
            return Err(damaged(&name, 0, first, "its header is missing"));
        };
        if header.id != newest.id {
            return Err(mixed(&name, newest));
        }
        let len = u64::from(after.previous_len);
        if first > after.first || len < HEADER as u64 || len > file {
            return Err(damaged(&name, file, first, "the file is shorter than what was durable of it"));
        }
        segments.push_front(segment(&header, len));
        after = header;
    }
    Ok(segments)
}

/// What is there beside the segments that count: removes what was never finished, and gives the names of what counts
/// no more. Anything else is not of this log.
fn others<D: Disk>(disk: &D, files: &Files, newest: &Header, oldest: u32) -> Result<Vec<String>> {
    let mut leftovers = Vec::new();
    let mut unfinished = Vec::new();
    for (&(serial, first), &len) in files {
        let name = format::name(serial, first);
        if serial < oldest {
            leftovers.push(name);
        } else if matches!(start(disk, serial, first, len)?, Start::Unfinished) {
            unfinished.push(name);
        } else {
            return Err(mixed(&name, newest));
        }
    }
    // A later segment may get such a name.
    unfinished.iter().try_for_each(|name| remove(disk, name))?;
    Ok(leftovers)
}

/// Makes durable what was found: the bytes may come from a cache, and a sync of theirs may have failed.
fn confirm<D: Disk>(disk: &D, name: &str, tail: &Tail) -> Result<()> {
    let mut at = tail.proven;
    let mut window = Window::new(disk, name, tail.len, WIDE);
    while at < tail.len {
        let bytes = window.get(at, WIDE)?;
        if bytes.is_empty() {
            return Err(damaged(name, at, tail.next, "the file became shorter while it was read"));
        }
        disk.write(name, at, bytes).map_err(|error| failed("writing", name, &error))?;
        at += bytes.len() as u64;
    }
    disk.sync(name).map_err(|error| failed("syncing", name, &error))?;
    disk.sync_names().map_err(|error| failed("syncing the names of", "the files", &error))
}

fn mixed(one: &str, newest: &Header) -> Error {
    let other = format::name(newest.serial, newest.first);
    Error::Invalid(format!(
        "{one} and {other} are segments of different logs: leave only those of one log in this place"
    ))
}
