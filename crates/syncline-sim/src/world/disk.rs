//! A machine's disk: the product's log on a simulated one that tears what it was not told to keep, and fails when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::live::{Group, Reading, Record, RunPlace, Signer};
use syncline_sync::log::memory::{Failure, MemoryDisk};
use syncline_sync::log::{Disk as _, Log, Options, Position, Ticket};
use syncline_sync::{Error, Result};

/// Small segments, so that logs have several.
const OPTIONS: Options = Options { segment_bytes: 4 << 10, buffer_bytes: 1 << 10, max_record: 1 << 20 };
/// Bytes that reach a disk together or not at all.
const UNIT: u32 = 64;

/// Signatures that anybody could make, and that cost next to nothing: nobody forges any here.
#[derive(Debug)]
struct Cheap([u8; 32]);

fn cheap(public: &[u8; 32], bytes: &[u8]) -> [u8; 64] {
    let hash = Hash::of_both(public, bytes);
    std::array::from_fn(|at| hash.as_bytes()[at % 32])
}

impl Signer for Cheap {
    fn public(&self) -> [u8; 32] {
        self.0
    }

    fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        cheap(&self.0, bytes)
    }

    fn verify(&self, public: &[u8; 32], bytes: &[u8], signature: &[u8; 64]) -> bool {
        cheap(public, bytes) == *signature
    }
}

/// A log on a disk.
#[derive(Debug)]
pub(super) struct Disk {
    key: [u8; 32],
    memory: MemoryDisk,
    /// Where rows lie. It does not fail, and loses at a crash what it was not told to keep.
    runs: MemoryDisk,
    /// `None` once it has failed, until it is opened again.
    log: Option<Log<MemoryDisk>>,
    /// A sync that is under way.
    ticket: Option<Ticket>,
    /// Records that go into the log together: so many, or fewer before a sync.
    group: Group,
    most: u64,
    /// Those that went there and that nobody was told to be durable: the position after them, and how many. A log that begins a new
    /// segment makes the one before durable on its own.
    groups: VecDeque<(Position, u64)>,
    /// The first position of a checkpoint that is not known to be durable, and the one after it; and whether one has become so.
    checkpoint: Option<(Position, Position)>,
    checkpointed: bool,
}

/// What a disk had that was durable when it was copied.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// The secret key: a copy has the same.
    key: [u8; 32],
    /// The log's records.
    records: Vec<Bytes>,
    /// Files of rows.
    runs: BTreeMap<String, Vec<u8>>,
}

fn failed() -> Error {
    Error::Invalid("the log has failed and was not opened again".to_owned())
}

impl Image {
    /// A disk with nothing on it but a key.
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key, records: Vec::new(), runs: BTreeMap::new() }
    }

    /// Who signs for what is written there.
    pub(super) fn signer(&self) -> Arc<dyn Signer> {
        Arc::new(Cheap(self.key))
    }

    /// Its files of rows on a disk of their own.
    pub(super) fn place(&self) -> Result<RunPlace> {
        Ok(RunPlace::new(self.on_disk(0)?))
    }

    fn on_disk(&self, seed: u64) -> Result<MemoryDisk> {
        let disk = MemoryDisk::new(Rng::from_seed(seed), UNIT);
        for (name, bytes) in &self.runs {
            let put = disk.create(name, 0).and_then(|()| disk.write(name, 0, bytes)).and_then(|()| disk.sync(name));
            put.and_then(|()| disk.sync_names()).map_err(|error| Error::Invalid(error.to_string()))?;
        }
        Ok(disk)
    }
}

impl Disk {
    /// A disk that is a copy of another one.
    pub(super) fn new(rng: &mut Rng, image: &Image) -> Result<Self> {
        let seed = rng.next_u64();
        let memory = MemoryDisk::new(Rng::from_seed(seed), UNIT);
        let mut id = [0; 16];
        rng.fill(&mut id);
        let mut log = Log::create(memory.clone(), id, 0, OPTIONS)?;
        for record in &image.records {
            log.append(record)?;
        }
        log.sync()?;
        let most = [1, 1, 3, u64::MAX][(seed >> 32) as usize % 4];
        let runs = image.on_disk(seed ^ 1)?;
        let key = image.key;
        Ok(Self {
            key,
            memory,
            runs,
            log: Some(log),
            ticket: None,
            group: Group::default(),
            most,
            groups: VecDeque::new(),
            checkpoint: None,
            checkpointed: false,
        })
    }

    /// Where rows lie.
    pub(super) fn place(&self) -> RunPlace {
        RunPlace::new(self.runs.clone())
    }

    fn log(&mut self) -> Result<&mut Log<MemoryDisk>> {
        self.log.as_mut().ok_or_else(failed)
    }

    /// Appends a record, whose bytes may have to do with those before it.
    pub(super) fn append(&mut self, record: &Record, see: impl FnOnce(&[u8])) -> Result<()> {
        self.log()?;
        if self.group.is_full_for(record) {
            self.gather()?;
        }
        see(self.group.push(record));
        if self.group.len() >= self.most { self.gather() } else { Ok(()) }
    }

    fn gather(&mut self) -> Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        let records = self.group.len();
        let appended = self.log.as_mut().ok_or_else(failed).and_then(|log| log.append(self.group.as_bytes()));
        // Whatever became of it.
        self.group.clear();
        let position = appended?;
        self.groups.push_back((position + 1, records));
        Ok(())
    }

    /// How many records are not known to be durable.
    pub(super) fn unsynced(&self) -> u64 {
        self.group.len() + self.groups.iter().map(|(_, records)| records).sum::<u64>()
    }

    /// Makes everything durable. Returns how many records became so since somebody was told.
    pub(super) fn sync(&mut self) -> Result<u64> {
        if let Some(ticket) = self.ticket.take() {
            self.end(ticket)?;
        }
        self.gather()?;
        let durable = self.log()?.sync()?;
        self.cut(durable)?;
        Ok(self.tell(durable))
    }

    fn tell(&mut self, durable: Position) -> u64 {
        let mut told = 0;
        while let Some((_, records)) = self.groups.pop_front_if(|(position, _)| *position <= durable) {
            told += records;
        }
        told
    }

    fn end(&mut self, ticket: Ticket) -> Result<Position> {
        let outcome: io::Result<()> = self.memory.sync(ticket.file());
        self.log()?.finish_sync(ticket, outcome)
    }

    /// Begins to make durable what is there; what is appended meanwhile is not part of it.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.ticket.is_none() {
            self.gather()?;
            self.ticket = self.log()?.start_sync()?;
        }
        Ok(())
    }

    /// Ends what was begun. Returns how many records became durable since somebody was told.
    pub(super) fn finish(&mut self) -> Result<u64> {
        let Some(ticket) = self.ticket.take() else { return Ok(0) };
        let durable = self.end(ticket)?;
        self.cut(durable)?;
        Ok(self.tell(durable))
    }

    /// A checkpoint is appended, and is to take the place of what comes before it once it is durable. Everything else must be. False when one is on its way.
    pub(super) fn checkpoint(&mut self, records: impl Iterator<Item = Record>) -> Result<bool> {
        if self.checkpoint.is_some() {
            return Ok(false);
        }
        self.gather()?;
        let log = self.log()?;
        let at: Position = log.next();
        for record in records {
            log.append(&record.encode())?;
        }
        self.checkpoint = Some((at, log.next()));
        Ok(true)
    }

    /// Gives up what is before a checkpoint that is durable.
    fn cut(&mut self, durable: Position) -> Result<()> {
        if let Some((at, _)) = self.checkpoint.take_if(|(_, end)| *end <= durable) {
            self.log()?.truncate_before(at)?;
            self.checkpointed = true;
        }
        Ok(())
    }

    /// Whether a checkpoint has become durable since this was asked.
    pub(super) const fn has_checkpoint(&mut self) -> bool {
        std::mem::replace(&mut self.checkpointed, false)
    }

    /// Whether one is on its way.
    pub(super) const fn awaits_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// From some call on, some calls fail.
    pub(super) fn fail(&self, rng: &mut Rng) {
        let failure = if rng.below(2) == 0 { Failure::Broken } else { Failure::Full };
        self.memory.fail(rng.below(8), 1 + rng.below(4), failure);
    }

    /// The power fails: of what was not durable, anything may have come through. The log is opened again. Returns how many
    /// records are gone.
    pub(super) fn crash(&mut self) -> Result<u64> {
        (self.log, self.ticket) = (None, None);
        (self.checkpoint, self.checkpointed) = (None, false);
        self.memory.crash();
        self.runs.crash();
        let (log, recovered) = Log::open(self.memory.clone(), None, OPTIONS)?;
        self.log = Some(log);
        let in_memory = std::mem::take(&mut self.group).len();
        let groups = std::mem::take(&mut self.groups).into_iter();
        Ok(in_memory
            + groups.filter(|(position, _)| *position > recovered.next).map(|(_, records)| records).sum::<u64>())
    }

    /// What a copy of the disk has that is made now, of what is durable.
    pub(super) fn image(&mut self) -> Result<Image> {
        let to = self.log()?.durable();
        self.records(to)
    }

    /// Everything that was appended.
    pub(super) fn all(&mut self) -> Result<Image> {
        self.memory.heal();
        self.gather()?;
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
        let (mut at, mut records) = (log.first(), Vec::new());
        while at < to {
            let some = log.read(at..to, 1 << 20)?;
            records.extend(some.iter().map(|(_, bytes)| bytes));
            at = log.first() + records.len() as u64;
        }
        Ok(Image { key: self.key, records, runs: self.runs.contents() })
    }
}

/// Records as they were read first: nodes have most of theirs in common, and every disk is read again and again.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    known: BTreeMap<Bytes, Arc<Vec<Record>>>,
    reading: Reading,
}

impl Decoded {
    /// Records, for a node to start from.
    pub(super) fn of<'a>(&'a mut self, image: &'a Image) -> impl Iterator<Item = Result<Record>> + 'a {
        image.records.iter().flat_map(|bytes| {
            let (records, error) = match self.one(bytes) {
                Ok(records) => (records, None),
                Err(error) => (Arc::default(), Some(Err(error))),
            };
            (0..records.len()).map(move |at| Ok(records[at].clone())).chain(error)
        })
    }

    fn one(&mut self, bytes: &Bytes) -> Result<Arc<Vec<Record>>> {
        if let Some(records) = self.known.get(bytes) {
            return Ok(records.clone());
        }
        let records = Arc::new(self.reading.records(bytes.clone())?);
        self.known.insert(bytes.clone(), records.clone());
        Ok(records)
    }
}
