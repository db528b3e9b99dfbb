//! What the log does as long as nothing crashes, and its bytes.

use syncline_base::Kind;
use syncline_base::rng::Rng;

use super::memory::MemoryDisk;
use super::*;

pub(super) const ID: LogId = *b"the log of tests";

/// Segments of four kilobytes, groups of one.
pub(super) fn small() -> Options {
    Options { segment_bytes: 4 << 10, buffer_bytes: 1 << 10, max_record: 8 << 10 }
}

pub(super) fn disk(seed: u64) -> MemoryDisk {
    MemoryDisk::new(Rng::from_seed(seed), 512)
}

/// The record that the tests append at a position.
pub(super) fn record(position: Position) -> Vec<u8> {
    let mut rng = Rng::from_seed(position);
    let len = usize::try_from(rng.below(200)).unwrap();
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

pub(super) fn fill(log: &mut Log<MemoryDisk>, count: u64) {
    for _ in 0..count {
        let position = log.next();
        assert_eq!(log.append(&record(position)).unwrap(), position);
    }
}

/// Everything from a position on, in pieces of about `max_bytes`.
pub(super) fn all(log: &mut Log<MemoryDisk>, from: Position, max_bytes: usize) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let records = log.read(from + out.len() as u64..u64::MAX, max_bytes).unwrap();
        if records.is_empty() {
            return out;
        }
        for (position, bytes) in records.iter() {
            assert_eq!(position, from + out.len() as u64);
            out.push(bytes.to_vec());
        }
    }
}

fn expected(positions: std::ops::Range<Position>) -> Vec<Vec<u8>> {
    positions.map(record).collect()
}

#[test]
fn records_come_back_from_buffer_and_disk_in_their_order() {
    let mut log = Log::create(disk(1), ID, 0, small()).unwrap();
    fill(&mut log, 500);
    assert!(log.segments.len() > 10 && log.buffered_bytes() > 0);
    for max_bytes in [0, 1, 300, 5000, usize::MAX] {
        assert_eq!(all(&mut log, 0, max_bytes), expected(0..500));
        assert_eq!(all(&mut log, 321, max_bytes), expected(321..500));
    }
    assert_eq!(
        log.read(7..9, 1 << 20).unwrap().iter().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>(),
        expected(7..9)
    );
    assert!(log.read(500..600, 100).unwrap().is_empty());
    log.verify().unwrap();
    assert_eq!((log.sync().unwrap(), log.durable()), (500, 500));
    assert_eq!(all(&mut log, 0, 1000), expected(0..500));
}

#[test]
fn a_group_is_one_write_and_one_sync() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 0, Options::default()).unwrap();
    let (calls, ..) = memory.counts();
    fill(&mut log, 64);
    assert_eq!(memory.counts().0, calls);
    assert_eq!(log.sync().unwrap(), 64);
    assert_eq!(memory.counts().0, calls + 2);
    assert_eq!(log.sync().unwrap(), 64);
    log.flush().unwrap();
    assert_eq!(memory.counts().0, calls + 2);
    log.settle().unwrap();
    log.settle().unwrap();
    assert_eq!(log.sync().unwrap(), 64);
    assert_eq!(memory.counts().0, calls + 3);
}

#[test]
fn an_opened_log_goes_on_where_it_was() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 1000, small()).unwrap();
    for round in 0..10 {
        fill(&mut log, 37);
        log.sync().unwrap();
        if round % 3 == 0 {
            log.close().unwrap();
        }
        let recovered;
        (log, recovered) = Log::open(memory.clone(), Some(ID), small()).unwrap();
        let next = 1000 + 37 * (round + 1);
        assert_eq!(recovered, Recovered { first: 1000, next, cut_bytes: 0 });
        assert_eq!((log.id(), log.first(), log.durable(), log.next()), (ID, 1000, next, next));
    }
    assert_eq!(all(&mut log, 1000, 500), expected(1000..1370));
}

#[test]
fn the_start_is_removed_in_whole_segments() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 0, small()).unwrap();
    fill(&mut log, 300);
    log.sync().unwrap();
    let before = memory.contents().len();
    let first = log.truncate_before(150).unwrap();
    assert!(first > 100 && first <= 150 && log.first() == first);
    let lens: Vec<u64> = memory.contents().values().map(|bytes| bytes.len() as u64).collect();
    assert_eq!(log.segments().map(|segment| segment.1).collect::<Vec<_>>(), lens);
    assert_eq!(log.segments().next().unwrap().0, first);
    assert!(memory.contents().len() < before);
    assert_eq!(log.read(first - 1..first, 1).unwrap_err().kind(), Kind::NotFound);
    let copy = memory.copy(Rng::from_seed(0));
    copy.crash();
    assert_eq!(copy.contents(), memory.contents());
    assert_eq!(log.truncate_before(first).unwrap(), first);
    drop(log);
    let (mut log, recovered) = Log::open(memory, None, small()).unwrap();
    assert_eq!((recovered.first, recovered.next), (first, 300));
    assert_eq!(all(&mut log, first, 999), expected(first..300));
    assert_eq!(log.truncate_before(u64::MAX).unwrap(), log.first());
    assert!(log.first() < 300 && log.segments.len() == 1);
}

#[test]
fn a_reset_log_starts_anew_anywhere() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 0, small()).unwrap();
    for at in [5, 5, 1 << 40, 0] {
        fill(&mut log, 100);
        log.sync().unwrap();
        log.reset(at).unwrap();
        assert_eq!((log.first(), log.durable(), log.next()), (at, at, at));
        assert_eq!(memory.contents().len(), 1);
        let (opened, recovered) = Log::open(memory.clone(), Some(ID), small()).unwrap();
        assert_eq!(recovered, Recovered { first: at, next: at, cut_bytes: 0 });
        log = opened;
    }
    assert_eq!(log.reset(u64::MAX).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_cannot_be_is_refused() {
    let memory = disk(1);
    assert_eq!(Log::open(memory.clone(), None, small()).unwrap_err().kind(), Kind::NotFound);
    let mut log = Log::create(memory.clone(), ID, 0, small()).unwrap();
    assert_eq!(log.append(&vec![1; (8 << 10) + 1]).unwrap_err().kind(), Kind::Invalid);
    fill(&mut log, 200);
    log.close().unwrap();
    assert_eq!(Log::create(memory.clone(), ID, 0, small()).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(Log::open(memory.clone(), Some([0; 16]), small()).unwrap_err().kind(), Kind::Invalid);
    let wide = Options { segment_bytes: 2 << 30, ..small() };
    assert_eq!(Log::open(memory.clone(), None, wide).unwrap_err().kind(), Kind::Invalid);
    // Two logs in one place.
    let other = disk(2);
    let mut log = Log::create(other.clone(), *b"some other log..", 0, small()).unwrap();
    fill(&mut log, 200);
    log.close().unwrap();
    let newest = other.contents().into_iter().next_back().unwrap();
    let place = memory.contents().into_keys().next_back().unwrap();
    memory.create("0000ffff-0000000000000000.log", 0).unwrap();
    memory.change("0000ffff-0000000000000000.log", |bytes| bytes.clone_from(&newest.1));
    assert_eq!(Log::open(memory.clone(), None, small()).unwrap_err().kind(), Kind::Invalid);
    memory.remove("0000ffff-0000000000000000.log").unwrap();
    memory.remove(&place).unwrap();
    memory.create(&newest.0, 0).unwrap();
    memory.change(&newest.0, |bytes| bytes.clone_from(&newest.1));
    assert_ne!(Log::open(memory, None, small()).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn another_version_of_the_format_is_refused_with_what_to_do() {
    let memory = disk(1);
    Log::create(memory.clone(), ID, 0, small()).unwrap().close().unwrap();
    memory.change("00000001-0000000000000000.log", |bytes| {
        bytes[8] = 2;
        let check = xxhash_rust::xxh3::xxh3_64(&bytes[..56]);
        bytes[56..64].copy_from_slice(&check.to_le_bytes());
    });
    let error = Log::open(memory, None, small()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("version 2") && error.to_string().contains("use the program"), "{error}");
}

#[test]
fn long_records_have_segments_of_their_own_and_leave_no_memory_behind() {
    let options = Options { segment_bytes: 4 << 10, buffer_bytes: 1 << 10, max_record: 1 << 20 };
    let mut log = Log::create(disk(1), ID, 0, options).unwrap();
    let long = vec![7; 1 << 20];
    for _ in 0..3 {
        log.append(b"short").unwrap();
        log.append(&long).unwrap();
    }
    log.sync().unwrap();
    assert!(log.buffer.capacity() <= 2 << 10);
    let lens: Vec<usize> = all(&mut log, 0, 10).iter().map(Vec::len).collect();
    assert_eq!(lens, [5, 1 << 20, 5, 1 << 20, 5, 1 << 20]);
}

#[test]
fn appends_go_on_while_somebody_syncs() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 0, small()).unwrap();
    fill(&mut log, 3);
    let ticket = log.start_sync().unwrap().unwrap();
    fill(&mut log, 2);
    log.flush().unwrap();
    let outcome = memory.sync(ticket.file());
    assert_eq!(log.finish_sync(ticket, outcome).unwrap(), 3);
    // The segment grows until the ticket is back; what needs a sync of its own waits.
    let ticket = log.start_sync().unwrap().unwrap();
    fill(&mut log, 200);
    assert_eq!(log.segments.len(), 1);
    for refused in [log.sync().err(), log.start_sync().err(), log.reset(0).err(), log.truncate_before(9).err()] {
        assert_eq!(refused.unwrap().kind(), Kind::Unavailable);
    }
    assert_eq!(log.finish_sync(ticket, Ok(())).unwrap(), 5);
    fill(&mut log, 20);
    assert_eq!(log.segments.len(), 2);
    assert_eq!(log.sync().unwrap(), 225);
    assert_eq!(all(&mut log, 0, 999), expected(0..225));
    assert_eq!(log.start_sync().unwrap(), None);
}

#[test]
fn the_disk_in_memory_keeps_the_contract() {
    for unit in [1, 512] {
        let memory = MemoryDisk::new(Rng::from_seed(1), unit);
        conformance::check(&memory);
        memory.set_preallocating(true);
        memory.set_short_reads(true);
        conformance::check(&memory);
        memory.crash();
        conformance::check(&memory);
    }
}

/// The committed log of version 1: what is written today is the same, bit for bit, and it is still read.
#[test]
fn the_bytes_are_those_of_the_format() {
    let memory = disk(1);
    let mut log = Log::create(memory.clone(), ID, 40, small()).unwrap();
    for group in 0..12u64 {
        fill(&mut log, group * 3);
        log.sync().unwrap();
    }
    log.append(b"").unwrap();
    log.flush().unwrap();
    log.append(&[0; 2000]).unwrap();
    log.truncate_before(80).unwrap();
    log.close().unwrap();
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/log/1");
    let contents = memory.contents();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::create_dir_all(&place).unwrap();
        for (name, bytes) in &contents {
            std::fs::write(place.join(name), bytes).unwrap();
        }
    }
    let entries = place.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let golden: std::collections::BTreeMap<String, Vec<u8>> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    assert!(golden == contents, "the log's bytes are not what is committed: this format has changed");

    let memory = disk(2);
    for (name, bytes) in &golden {
        memory.create(name, 0).unwrap();
        memory.change(name, |contents| contents.clone_from(bytes));
    }
    let (mut log, recovered) = Log::open(memory, Some(ID), small()).unwrap();
    assert_eq!((recovered.next, recovered.cut_bytes, log.segments.len()), (240, 0, golden.len()));
    assert!(recovered.first == 71 && golden.len() > 2);
    let mut records = expected(recovered.first..238);
    records.extend([Vec::new(), vec![0; 2000]]);
    assert_eq!(all(&mut log, recovered.first, 3000), records);
}
