//! Crashes and faults at every kind of place: what was durable must be there, in its order, and nothing that was cut
//! may come back.

use proptest::prelude::*;
use syncline_base::Kind;
use syncline_base::rng::Rng;

use super::memory::{Failure, MemoryDisk};
use super::tests::ID;
use super::*;

/// What the log is to hold. Every record that was ever appended is another one, so that none can pass for another.
#[derive(Debug, Clone, Default)]
struct Model {
    /// The position of the first of `records`, which may be gone from the log's start already.
    base: Position,
    records: Vec<Vec<u8>>,
    durable: Position,
    /// The log's first record is not before the one and not behind the other.
    first: (Position, Position),
}

impl Model {
    fn new(at: Position) -> Self {
        Self { base: at, records: Vec::new(), durable: at, first: (at, at) }
    }

    fn next(&self) -> Position {
        self.base + self.records.len() as u64
    }

    /// Whether a log that was opened holds this; then what is not there counts as cut.
    fn admits(&mut self, log: &mut Log<MemoryDisk>) -> Result<(), String> {
        if log.first() < self.first.0 || log.first() > self.first.1 {
            return Err(format!("begins at {}, not within {:?}", log.first(), self.first));
        }
        if log.next() < self.durable || log.next() > self.next() {
            return Err(format!("ends at {}, not within {}..={}", log.next(), self.durable, self.next()));
        }
        self.records.truncate(usize::try_from(log.next() - self.base).unwrap());
        (self.durable, self.first) = (log.next(), (log.first(), log.first()));
        self.compare(log, log.first(), 700)
    }

    fn compare(&self, log: &mut Log<MemoryDisk>, from: Position, max_bytes: usize) -> Result<(), String> {
        let mut at = from;
        loop {
            let records = log.read(at..u64::MAX, max_bytes).map_err(|error| error.to_string())?;
            if records.is_empty() {
                break;
            }
            for (position, record) in records.iter() {
                if self.records.get(usize::try_from(position - self.base).unwrap()).is_none_or(|ours| *ours != record) {
                    return Err(format!("record {position} is not what was appended"));
                }
            }
            at = records.next();
        }
        if at == log.next() { Ok(()) } else { Err(format!("reading ends at {at}, the log at {}", log.next())) }
    }
}

/// A log with its disk, and all that it may hold.
struct World {
    disk: MemoryDisk,
    options: Options,
    rng: Rng,
    /// One, but for a reset whose outcome is not known: that gives two.
    models: Vec<Model>,
    appended: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let unit = [1, 16, 512, 512][usize::try_from(rng.below(4)).unwrap()];
        let disk = MemoryDisk::new(Rng::from_seed(rng.next_u64()), unit);
        disk.set_short_reads(rng.below(3) == 0);
        disk.set_preallocating(rng.below(2) == 0);
        let options = Options {
            segment_bytes: 1500 + rng.below(6000),
            buffer_bytes: 300 + place(rng.below(3000)),
            max_record: 4096,
        };
        Self { disk, options, rng, models: Vec::new(), appended: 0 }
    }

    /// A record that there was not before; short and long ones, and some that are mostly zeros.
    fn record(&mut self) -> Vec<u8> {
        self.appended += 1;
        let mut bytes = self.appended.to_le_bytes().to_vec();
        let len = if self.rng.below(20) == 0 { self.rng.below(4000) } else { self.rng.below(150) };
        bytes.resize(8 + place(len), 0);
        if self.rng.below(4) > 0 {
            self.rng.fill(&mut bytes[8..]);
        }
        bytes
    }

    fn model(&mut self) -> &mut Model {
        assert_eq!(self.models.len(), 1);
        &mut self.models[0]
    }

    /// Opens the log, or makes it when it never was, through whatever fails and crashes on the way.
    fn open(&mut self) -> Log<MemoryDisk> {
        loop {
            match Log::open(self.disk.clone(), Some(ID), self.options) {
                Ok((mut log, recovered)) => {
                    assert_eq!((recovered.first, recovered.next, log.durable()), (log.first(), log.next(), log.next()));
                    self.disk.heal();
                    let whys: Vec<String> =
                        self.models.iter_mut().filter_map(|model| model.admits(&mut log).err()).collect();
                    assert!(whys.len() < self.models.len(), "{whys:?}");
                    self.models.retain(|model| model.next() == log.next() && model.first.0 == log.first());
                    self.models.truncate(1);
                    log.verify().unwrap();
                    return log;
                }
                Err(error) if error.kind() == Kind::NotFound => {
                    assert!(self.models.iter().all(|model| model.durable == 0 && model.records.is_empty()), "{error}");
                    self.models = vec![Model::new(0)];
                    match Log::create(self.disk.clone(), ID, 0, self.options) {
                        Ok(log) => return log,
                        Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error}"),
                    }
                }
                Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error}"),
            }
            self.fate();
        }
    }

    /// After a fault, or just so: the power goes or does not, and what comes next fails or does not.
    fn fate(&mut self) {
        if self.rng.below(3) > 0 {
            self.disk.crash();
        }
        self.disk.heal();
        if self.rng.below(2) == 0 {
            let times = [1, 3, u64::MAX][place(self.rng.below(3))];
            let failure = if self.rng.below(3) == 0 { Failure::Full } else { Failure::Broken };
            self.disk.fail(self.rng.below(40), times.min(50), failure);
        }
    }

    /// One random thing.
    fn step(&mut self, log: &mut Log<MemoryDisk>) -> crate::Result<()> {
        match self.rng.below(100) {
            0..60 => {
                let record = self.record();
                let position = log.append(&record)?;
                let model = self.model();
                assert_eq!(position, model.next());
                model.records.push(record);
                model.durable = model.durable.max(log.durable());
            }
            60..75 => {
                let durable = log.sync()?;
                assert_eq!(durable, self.model().next());
                self.model().durable = durable;
            }
            75..82 => log.flush()?,
            82..86 => log.settle()?,
            86..91 => {
                let span = log.next() - log.first() + 2;
                let before = log.first() + self.rng.below(span);
                self.model().first.1 = before.min(self.model().next()).max(log.first());
                let first = log.truncate_before(before)?;
                self.model().first = (first, first);
            }
            91..94 => {
                if let Some(ticket) = log.start_sync()? {
                    let position = self.model().next();
                    let outcome = self.disk.sync(ticket.file());
                    let record = self.record();
                    let appended = log.append(&record).map(|_| self.model().records.push(record));
                    self.model().durable = self.model().durable.max(log.durable());
                    assert!(log.finish_sync(ticket, outcome)? >= position);
                    self.model().durable = self.model().durable.max(position);
                    appended?;
                }
            }
            94..95 => {
                let at = self.rng.below(1000);
                self.models.push(Model::new(at));
                log.reset(at)?;
                self.models.remove(0);
            }
            _ => {
                let from = log.first() + self.rng.below(log.next() - log.first() + 1);
                let max_bytes = place(self.rng.below(1000));
                match self.model().compare(log, from, max_bytes) {
                    Ok(()) => {}
                    // A fault of the disk; what it is shows the log's next call.
                    Err(why) => assert!(why.contains("of the log failed"), "{why}"),
                }
            }
        }
        Ok(())
    }

    /// Does random things until something fails.
    fn live(&mut self, log: &mut Log<MemoryDisk>, steps: u64) {
        for _ in 0..steps {
            let Err(error) = self.step(log) else { continue };
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            if log.broken.is_some() {
                assert!(log.append(b"").is_err() && log.sync().is_err() && log.reset(0).is_err());
                // What is durable can still be read.
                self.disk.heal();
                let known = self.models[0].durable.min(log.durable());
                if self.models.len() == 1 && log.first() < known {
                    assert!(!log.read(log.first()..known, 1).unwrap().is_empty());
                }
                return;
            }
            // Nothing happened then, and the log goes on.
            self.models.truncate(1);
        }
    }
}

/// How many cases are run: more when there is time.
fn cases(usual: u32) -> u32 {
    if std::env::var_os("SYNCLINE_LONG").is_some() { usual * 100 } else { usual }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn run(seed: u64, rounds: u64) {
    let mut world = World::new(seed);
    world.models = vec![Model::new(0)];
    for _ in 0..rounds {
        world.fate();
        let mut log = world.open();
        if world.rng.below(2) == 0 {
            let after = world.rng.below(200);
            let times = [1, 2, 100][place(world.rng.below(3))];
            let failure = if world.rng.below(3) == 0 { Failure::Full } else { Failure::Broken };
            world.disk.fail(after, times, failure);
        }
        let steps = world.rng.below(150);
        world.live(&mut log, steps);
    }
    world.disk.crash();
    world.open();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    #[test]
    fn what_was_durable_survives_and_nothing_cut_returns(seed in any::<u64>()) {
        run(seed, 8);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(60)))]

    /// Whatever a log went through, once it was closed no bit of it can change unseen.
    #[test]
    fn no_bit_of_a_closed_log_changes_unseen(seed in any::<u64>()) {
        let mut world = World::new(seed);
        world.models = vec![Model::new(0)];
        for _ in 0..3 {
            let mut log = world.open();
            world.disk.fail(world.rng.below(300), 1, Failure::Broken);
            world.live(&mut log, 80);
            world.fate();
        }
        world.disk.crash();
        let mut log = world.open();
        log.append(b"last").unwrap();
        world.model().records.push(b"last".to_vec());
        let next = log.next();
        log.close().unwrap();
        for (name, bytes) in world.disk.contents() {
            for _ in 0..40 {
                let bit = place(world.rng.below(bytes.len() as u64 * 8));
                let disk = world.disk.copy(Rng::from_seed(0));
                disk.change(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                match Log::open(disk, Some(ID), world.options) {
                    Err(error) => prop_assert_eq!(error.kind(), Kind::Corrupt),
                    Ok((log, _)) if log.verify().is_err() => {}
                    Ok((mut log, recovered)) => {
                        prop_assert_eq!(recovered.next, next, "{}: bit {}", name, bit);
                        prop_assert_eq!(world.models[0].compare(&mut log, recovered.first, 999), Ok(()));
                    }
                }
            }
        }
    }
}

/// The same life, with a fault in each of its calls.
#[test]
fn every_call_may_fail() {
    for (seed, failure, times) in
        [(1, Failure::Broken, 1), (2, Failure::Full, 1), (3, Failure::Broken, 1000), (4, Failure::Full, 5)]
    {
        let mut at = 0;
        loop {
            let mut world = World::new(seed);
            world.models = vec![Model::new(0)];
            let mut log = world.open();
            let (before, ..) = world.disk.counts();
            world.disk.fail(at, times, failure);
            world.live(&mut log, 120);
            let (after, ..) = world.disk.counts();
            let done = after - before <= at;
            drop(log);
            for _ in 0..2 {
                if at % 2 == 0 {
                    world.disk.crash();
                }
                world.disk.heal();
                let mut log = world.open();
                world.live(&mut log, 20);
            }
            if done {
                break;
            }
            at += 1;
        }
        assert!(at > 50, "{at}");
    }
}

/// Opening after a crash, with a fault or the end of power in each of its calls.
#[test]
fn opening_may_fail_anywhere() {
    for seed in 0..30 {
        for at in 0..25 {
            let mut world = World::new(seed);
            world.models = vec![Model::new(0)];
            let mut log = world.open();
            world.live(&mut log, 100);
            drop(log);
            world.disk.crash();
            world.disk.fail(at, 100, Failure::Broken);
            let opened = Log::open(world.disk.clone(), None, world.options);
            if let Err(error) = opened {
                assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            }
            world.disk.crash();
            let mut log = world.open();
            world.live(&mut log, 30);
            drop(log);
            world.disk.crash();
            world.open();
        }
    }
}

/// A failed sync says nothing about what is on the disk, not even when the next one succeeds.
#[test]
fn what_a_failed_sync_left_is_written_again() {
    for seed in 0..50 {
        let disk = MemoryDisk::new(Rng::from_seed(seed), 512);
        let mut log = Log::create(disk.clone(), ID, 0, Options::default()).unwrap();
        log.append(b"one").unwrap();
        disk.fail(1, 1, Failure::Broken);
        assert_eq!(log.sync().unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(log.durable(), 0);
        let error = log.sync().unwrap_err();
        assert!(error.to_string().contains("open it again"), "{error}");
        assert!(log.read(0..1, 10).unwrap().is_empty());
        let (log, recovered) = Log::open(disk.clone(), None, Options::default()).unwrap();
        assert_eq!(recovered.next, 1);
        drop(log);
        disk.crash();
        let (_, recovered) = Log::open(disk, None, Options::default()).unwrap();
        assert_eq!(recovered.next, 1);
    }
}

/// Making the next segment fails somewhere, and the machine goes on: what is opened then is durable, names too, and what
/// was not finished does not stay.
#[test]
fn a_segment_that_was_not_finished_is_finished_or_removed() {
    for at in 0..5 {
        for seed in 0..20 {
            let disk = MemoryDisk::new(Rng::from_seed(seed), 512);
            let mut log = Log::create(disk.clone(), ID, 0, super::tests::small()).unwrap();
            log.append(&[1; 3500]).unwrap();
            disk.fail(1 + at, 1, Failure::Broken);
            assert_eq!(log.append(&[2; 3500]).unwrap_err().kind(), Kind::Unavailable);
            drop(log);
            let (mut log, recovered) = Log::open(disk.clone(), None, super::tests::small()).unwrap();
            assert_eq!((recovered.next, disk.contents().len()), (1, log.segments.len()));
            log.append(&[3; 100]).unwrap();
            log.sync().unwrap();
            drop(log);
            disk.crash();
            let (log, recovered) = Log::open(disk, None, super::tests::small()).unwrap();
            assert_eq!(recovered.next, 2);
            log.verify().unwrap();
        }
    }
}
