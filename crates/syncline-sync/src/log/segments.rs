//! Making segments and taking them away.
//!
//! State: none of its own. A segment is begun once the one before is durable, and used once its header and its name are.
//! What is to go is first durably said to count no more, then removed: a crash in between leaves files that the next
//! opening removes.

use std::io::ErrorKind;

use syncline_base::Kind;

use super::disk::Disk;
use super::format::{self, HEADER, Header};
use super::tail::{Start, start};
use super::{Error, Log, LogId, Options, Position, Result, Segment, failed, read};

impl<D: Disk> Log<D> {
    /// Makes a log whose first record will have the position `at`.
    ///
    /// # Errors
    /// `conflict` when there is one; the disk's.
    pub fn create(disk: D, id: LogId, at: Position, options: Options) -> Result<Self> {
        for (name, file) in list(&disk)? {
            let Some((_, first)) = format::parse_name(&name) else { continue };
            match start(&disk, &name, first, file) {
                Ok(Start::Unfinished) => {}
                // It cannot be read, but there is one.
                Ok(Start::Header(_)) | Err(Error::LogDamaged { .. } | Error::Invalid(_)) => {
                    let message =
                        format!("a log cannot be made where {name} is one already: open it, or start it over");
                    return Err(Error::Local { kind: Kind::Conflict, message });
                }
                Err(error) => return Err(error),
            }
        }
        Self::start_over(disk, id, at, options)
    }

    /// Makes a log whose first record will have the position `at`, in place of whatever log is there, even a damaged one.
    /// A crash leaves the old one or the new one.
    ///
    /// # Errors
    /// The disk's.
    pub fn start_over(disk: D, id: LogId, at: Position, options: Options) -> Result<Self> {
        options.check()?;
        check_position(at)?;
        let mut newest = 0;
        let mut leftovers = Vec::new();
        for (name, _) in list(&disk)? {
            let Some((serial, _)) = format::parse_name(&name) else { continue };
            newest = newest.max(serial);
            leftovers.push(name);
        }
        let serial = after(newest)?;
        let header = Header { id, serial, oldest: serial, first: at, previous_first: 0, previous_len: 0 };
        let segment = make(&disk, &header, options.segment_bytes).map_err(|unmade| unmade.error)?;
        let mut log = Self {
            disk,
            id,
            options,
            segments: [segment].into(),
            leftovers,
            offset: HEADER as u64,
            synced: HEADER as u64,
            marked: 0,
            sealed: false,
            syncing: false,
            buffer: Vec::new(),
            durable: at,
            flushed: at,
            next: at,
            broken: None,
            index: read::Index::default(),
            reads: read::Reads::default(),
        };
        log.try_sweep();
        Ok(log)
    }

    /// Forgets everything and goes on at the position `at`, whatever the log's end was. A crash leaves the old
    /// log or the new one.
    ///
    /// # Errors
    /// The disk's. The old log is still there then; unless it was the space for a new segment that was missing, it takes
    /// nothing more.
    pub fn reset(&mut self, at: Position) -> Result<()> {
        self.check_usable()?;
        self.check_idle()?;
        check_position(at)?;
        let serial = after(self.newest().serial)?;
        let header = Header { id: self.id, serial, oldest: serial, first: at, previous_first: 0, previous_len: 0 };
        let segment = self.make(&header, self.options.segment_bytes)?;
        let old = std::mem::replace(&mut self.segments, [segment].into());
        self.leftovers.extend(old.into_iter().map(|segment| segment.name));
        self.buffer.clear();
        (self.durable, self.flushed, self.next) = (at, at, at);
        self.begin_segment();
        self.try_sweep();
        Ok(())
    }

    /// Removes the segments all of whose records are before `position`, but not the newest, and says what the first
    /// record is now.
    ///
    /// # Errors
    /// The disk's. Files that could not be removed are tried again the next time.
    pub fn truncate_before(&mut self, position: Position) -> Result<Position> {
        self.check_usable()?;
        self.check_idle()?;
        let gone = self.segments.iter().skip(1).take_while(|segment| segment.first <= position).count();
        if gone > 0 {
            self.flush()?;
            if self.sealed {
                // Little space, as more will be had only after this.
                self.next_segment(self.options.reserve())?;
            }
            let old: Vec<Segment> = self.segments.drain(..gone).collect();
            // From here on they do not count, be it that this cannot be said: then nothing more is taken.
            self.leftovers.extend(old.into_iter().map(|segment| segment.name));
            self.write_group()?;
            self.sync_newest()?;
        }
        if !self.leftovers.is_empty() {
            self.sweep()?;
        }
        Ok(self.first())
    }

    /// Begins the next segment, with room for about `size` bytes.
    pub(super) fn next_segment(&mut self, size: u64) -> Result<()> {
        debug_assert!(self.buffer.is_empty(), "what was collected has this segment's checksums");
        if self.synced < self.offset {
            self.sync_newest()?;
        }
        let newest = self.newest();
        let header = Header {
            id: self.id,
            serial: after(newest.serial)?,
            oldest: self.segments[0].serial,
            first: self.flushed,
            previous_first: newest.first,
            previous_len: u32::try_from(self.offset).expect("a segment's offsets fit in 32 bits"),
        };
        let segment = self.make(&header, size)?;
        let newest = self.segments.back_mut().expect("there is always one");
        newest.len = self.offset;
        self.reads.keep(newest.serial, std::mem::take(&mut self.index));
        self.segments.push_back(segment);
        self.begin_segment();
        Ok(())
    }

    /// Makes a segment. Unless it was not even begun, the log takes nothing more when this fails: what is on the disk
    /// would have to be found out.
    fn make(&mut self, header: &Header, size: u64) -> Result<Segment> {
        make(&self.disk, header, size).map_err(|unmade| {
            if unmade.begun {
                self.broken = Some(format!("segment {} could not be made", format::name(header.serial, header.first)));
            }
            unmade.error
        })
    }

    fn begin_segment(&mut self) {
        (self.offset, self.synced, self.marked) = (HEADER as u64, HEADER as u64, 0);
        self.sealed = false;
        self.index = read::Index::default();
    }

    /// Makes all that was written to the newest segment durable.
    pub(super) fn sync_newest(&mut self) -> Result<()> {
        let newest = self.newest();
        if let Err(error) = self.disk.sync(&newest.name) {
            let name = newest.name.clone();
            return Err(self.break_off("syncing", &name, &error));
        }
        self.synced = self.offset;
        self.durable = self.flushed;
        Ok(())
    }

    /// Removes what does not count, as far as that works: it takes space and does no harm.
    pub(super) fn try_sweep(&mut self) {
        let _ = self.sweep();
    }

    /// Removes what does not count.
    fn sweep(&mut self) -> Result<()> {
        if self.leftovers.is_empty() {
            return Ok(());
        }
        while let Some(name) = self.leftovers.last() {
            remove(&self.disk, name)?;
            self.leftovers.pop();
        }
        self.disk.sync_names().map_err(|error| failed("syncing the names of", "the files", &error))
    }
}

/// A segment that could not be made.
struct Unmade {
    error: Error,
    /// Whether there may be a file with something in it.
    begun: bool,
}

/// Makes a segment with nothing in it, durably.
fn make<D: Disk>(disk: &D, header: &Header, size: u64) -> Result<Segment, Unmade> {
    let name = format::name(header.serial, header.first);
    let unmade = |begun| move |error| Unmade { error, begun };
    create(disk, &name, header.first, size).map_err(unmade(false))?;
    disk.write(&name, 0, &header.encode()).map_err(|error| unmade(true)(failed("writing", &name, &error)))?;
    disk.sync(&name).map_err(|error| unmade(true)(failed("syncing", &name, &error)))?;
    disk.sync_names().map_err(|error| unmade(true)(failed("syncing the name of", &name, &error)))?;
    Ok(Segment { name, serial: header.serial, first: header.first, seed: header.seed(), len: HEADER as u64 })
}

/// Makes the file of a segment.
fn create<D: Disk>(disk: &D, name: &str, first: Position, size: u64) -> Result<()> {
    let mut made = disk.create(name, size);
    if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
        // It is of an attempt that failed; or else somebody else writes to this log.
        if !matches!(start(disk, name, first, u64::MAX)?, Start::Unfinished) {
            let message = format!("{name} of the log was made by another program: let only one use the log at a time");
            return Err(Error::Local { kind: Kind::Conflict, message });
        }
        remove(disk, name)?;
        disk.sync_names().map_err(|error| failed("syncing the names of", "the files", &error))?;
        made = disk.create(name, size);
    }
    made.map_err(|error| {
        // It may be there and take space. When it stays, the next opening removes it.
        let _ = disk.remove(name);
        failed("making", name, &error)
    })
}

/// Removes a file, if it is there.
pub(super) fn remove<D: Disk>(disk: &D, name: &str) -> Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("removing", name, &error)),
        _ => Ok(()),
    }
}

pub(super) fn list<D: Disk>(disk: &D) -> Result<Vec<(String, u64)>> {
    disk.list().map_err(|error| failed("listing", "the files", &error))
}

fn check_position(at: Position) -> Result<()> {
    if at <= format::MAX_FIRST {
        return Ok(());
    }
    Err(Error::Invalid(format!("a log cannot begin at {at}: the greatest position is {}", format::MAX_FIRST)))
}

fn after(serial: u32) -> Result<u32> {
    serial.checked_add(1).ok_or_else(|| {
        Error::Invalid("the log has had all the segments that its format can count: make a new log".to_owned())
    })
}
