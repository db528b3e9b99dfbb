//! A machine's disk: the product's log on a simulated one that tears what it was not told to keep, and fails when told to.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_sync::live::Record;
use syncline_sync::log::memory::{Failure, MemoryDisk};
use syncline_sync::log::{Disk as _, Log, Options, Position, Ticket};
use syncline_sync::{Error, Result};

/// Small segments, so that logs have several.
const OPTIONS: Options = Options { segment_bytes: 4 << 10, buffer_bytes: 1 << 10, max_record: 1 << 20 };
/// Bytes that reach a disk together or not at all.
const UNIT: u32 = 64;

/// A log on a disk.
#[derive(Debug)]
pub(super) struct Disk {
    memory: MemoryDisk,
    /// `None` once it has failed, until it is opened again.
    log: Option<Log<MemoryDisk>>,
    /// A sync that is under way.
    ticket: Option<Ticket>,
    /// The node has been told that everything before this is durable. A log that begins a new segment makes the one before
    /// durable on its own.
    told: Position,
}

/// The records of a disk that were durable when it was copied.
pub(super) type Image = Vec<Bytes>;

impl Disk {
    /// A disk with a log of these records.
    pub(super) fn new(rng: &mut Rng, records: &Image) -> Result<Self> {
        let memory = MemoryDisk::new(Rng::from_seed(rng.next_u64()), UNIT);
        let mut id = [0; 16];
        rng.fill(&mut id);
        let mut log = Log::create(memory.clone(), id, 0, OPTIONS)?;
        for record in records {
            log.append(record)?;
        }
        let told = log.sync()?;
        Ok(Self { memory, log: Some(log), ticket: None, told })
    }

    fn log(&mut self) -> Result<&mut Log<MemoryDisk>> {
        self.log.as_mut().ok_or_else(|| Error::Invalid("the log has failed and was not opened again".to_owned()))
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.log()?.append(bytes).map(drop)
    }

    /// How many records are not known to be durable.
    pub(super) fn unsynced(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.next() - self.told)
    }

    /// Makes everything durable. Returns how many records became so since somebody was told.
    pub(super) fn sync(&mut self) -> Result<u64> {
        if let Some(ticket) = self.ticket.take() {
            self.end(ticket)?;
        }
        let durable = self.log()?.sync()?;
        Ok(self.tell(durable))
    }

    fn tell(&mut self, durable: Position) -> u64 {
        durable - std::mem::replace(&mut self.told, durable)
    }

    fn end(&mut self, ticket: Ticket) -> Result<Position> {
        let outcome: io::Result<()> = self.memory.sync(ticket.file());
        self.log()?.finish_sync(ticket, outcome)
    }

    /// Begins to make durable what is there; what is appended meanwhile is not part of it.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.ticket.is_none() {
            self.ticket = self.log()?.start_sync()?;
        }
        Ok(())
    }

    /// Ends what was begun. Returns how many records became durable since somebody was told.
    pub(super) fn finish(&mut self) -> Result<u64> {
        let Some(ticket) = self.ticket.take() else { return Ok(0) };
        let durable = self.end(ticket)?;
        Ok(self.tell(durable))
    }

    /// A checkpoint takes the place of what comes before it. Everything must be durable.
    pub(super) fn checkpoint(&mut self, records: impl Iterator<Item = Record>) -> Result<()> {
        let log = self.log()?;
        let at: Position = log.next();
        for record in records {
            log.append(&record.encode())?;
        }
        let durable = log.sync()?;
        log.truncate_before(at)?;
        self.told = durable;
        Ok(())
    }

    /// From some call on, some calls fail.
    pub(super) fn fail(&self, rng: &mut Rng) {
        let failure = if rng.below(2) == 0 { Failure::Broken } else { Failure::Full };
        self.memory.fail(rng.below(8), 1 + rng.below(4), failure);
    }

    /// The power fails: of what was not durable, anything may have come through. The log is opened again. Returns how many
    /// records are gone.
    pub(super) fn crash(&mut self) -> Result<u64> {
        let before = self.log.take().map(|log| log.next());
        self.ticket = None;
        self.memory.crash();
        let (log, recovered) = Log::open(self.memory.clone(), None, OPTIONS)?;
        self.log = Some(log);
        self.told = recovered.next;
        Ok(before.unwrap_or_default().saturating_sub(recovered.next))
    }

    /// What a copy of the disk has that is made now, of what is durable.
    pub(super) fn image(&mut self) -> Result<Image> {
        let to = self.log()?.durable();
        self.records(to)
    }

    /// Everything that was appended.
    pub(super) fn all(&mut self) -> Result<Image> {
        let to = self.log()?.next();
        self.records(to)
    }

    /// No call fails any longer.
    pub(super) fn heal(&self) {
        self.memory.heal();
    }

    fn records(&mut self, to: Position) -> Result<Image> {
        // Who looks at a disk from outside is not hindered.
        self.memory.heal();
        let log = self.log()?;
        let (mut at, mut records) = (log.first(), Image::new());
        while at < to {
            let some = log.read(at..to, 1 << 20)?;
            records.extend(some.iter().map(|(_, bytes)| bytes));
            at = log.first() + records.len() as u64;
        }
        Ok(records)
    }
}

/// Records as they were read first: nodes have most of theirs in common, and every disk is read again and again.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    known: BTreeMap<Bytes, Record>,
}

impl Decoded {
    /// Records, for a node to start from.
    pub(super) fn of<'a>(&'a mut self, image: &'a Image) -> impl Iterator<Item = Result<Record>> + 'a {
        image.iter().map(|bytes| {
            if let Some(record) = self.known.get(bytes) {
                return Ok(record.clone());
            }
            let record = Record::decode(bytes.clone())?;
            self.known.insert(bytes.clone(), record.clone());
            Ok(record)
        })
    }
}
