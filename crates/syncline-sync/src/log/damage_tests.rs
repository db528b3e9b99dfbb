//! Damage to what was durable: it is found, and never taken for what a crash leaves where the format says so.

use syncline_base::Kind;
use syncline_base::rng::Rng;

use super::memory::MemoryDisk;
use super::tests::{ID, all, record, small};
use super::*;

/// A log whose last group was synced and not said to be durable, unless it was closed; and where the last group begins.
fn filled(unit: u32, closed: bool, preallocating: bool) -> (MemoryDisk, Position, Position) {
    let disk = MemoryDisk::new(Rng::from_seed(3), unit);
    disk.set_preallocating(preallocating);
    let mut log = Log::create(disk.clone(), ID, 0, small()).unwrap();
    let mut last = 0;
    for size in [3, 1, 20, 30, 7, 1, 9] {
        last = log.next();
        super::tests::fill(&mut log, size);
        assert_eq!(log.sync().unwrap(), last + size);
    }
    let next = log.next();
    assert!(log.segments.len() >= 2 && !log.is_fresh());
    if closed {
        log.close().unwrap();
    }
    (disk, last, next)
}

/// What became of the log: where it ends now, or that it is told to be damaged.
fn opened(disk: &MemoryDisk, next: Position) -> Option<Position> {
    let before = disk.contents();
    match Log::open(disk.clone(), Some(ID), small()) {
        Ok((mut log, recovered)) => {
            assert!(recovered.next <= next);
            if let Err(error) = log.verify() {
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                return None;
            }
            assert_eq!(all(&mut log, 0, 5000), (0..recovered.next).map(record).collect::<Vec<_>>());
            Some(recovered.next)
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            assert!(matches!(error, Error::LogDamaged { .. }), "{error}");
            assert_eq!(disk.contents(), before, "something was changed");
            None
        }
    }
}

/// Changes a file and sees what becomes of the log; then everything is as it was.
fn with(disk: &MemoryDisk, name: &str, next: Position, change: impl FnOnce(&mut Vec<u8>)) -> Option<Position> {
    let mut before = Vec::new();
    disk.change(name, |bytes| {
        before.clone_from(bytes);
        change(bytes);
    });
    let outcome = opened(disk, next);
    disk.change(name, |bytes| *bytes = before);
    outcome
}

#[test]
fn no_flipped_bit_is_taken_for_a_torn_tail() {
    for (closed, preallocating) in [(false, false), (true, false), (false, true), (true, true)] {
        let (disk, _, next) = filled(512, closed, preallocating);
        let mut told = 0;
        for (name, bytes) in disk.contents() {
            for bit in (0..bytes.len() * 8).step_by(3) {
                match with(&disk, &name, next, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)) {
                    None => told += 1,
                    Some(end) => assert_eq!(end, next, "{name}: bit {bit} shortened the log"),
                }
            }
        }
        assert!(told > 10_000, "{told}");
    }
}

/// With nothing known about the place, the last group may be taken for torn, and nothing before it, and nothing at all
/// once a mark says so.
#[test]
fn below_a_mark_no_change_is_taken_for_a_torn_tail() {
    for unit in [1, 512] {
        for closed in [false, true] {
            let (disk, last, next) = filled(unit, closed, false);
            let least = if closed { next } else { last };
            let mut rng = Rng::from_seed(u64::from(unit));
            let mut shortened = 0;
            for (name, bytes) in disk.contents() {
                for _ in 0..600 {
                    let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
                    let len = usize::try_from(rng.below(600)).unwrap().min(bytes.len() - at);
                    // Nothing is below a mark that is gone itself.
                    let mark = bytes.windows(4).rposition(|tag| tag == format::TAG).unwrap();
                    if at < mark + MARK && at + len > mark {
                        continue;
                    }
                    let zeros = rng.below(2) == 0;
                    let end = with(&disk, &name, next, |bytes| match zeros {
                        true => bytes[at..at + len].fill(0),
                        false => rng.fill(&mut bytes[at..at + len]),
                    });
                    if let Some(end) = end {
                        assert!(end >= least, "{name}: {len} bytes at {at} shortened the log to {end}");
                        shortened += u64::from(end < next);
                    }
                }
            }
            assert_eq!(shortened > 0, !closed, "{shortened}");
        }
    }
}

#[test]
fn the_place_of_damage_is_named() {
    let (disk, ..) = filled(512, false, false);
    let names: Vec<String> = disk.contents().into_keys().collect();
    // An old segment is not read when the log is opened, but when records are.
    disk.change(&names[0], |bytes| bytes[HEADER + MARK + FRAME + 1] ^= 1);
    let (mut log, _) = Log::open(disk.clone(), None, small()).unwrap();
    for error in [log.verify().unwrap_err(), log.read(0..1, 1).unwrap_err()] {
        let Error::LogDamaged { segment, offset, position, .. } = &error else { panic!("{error}") };
        assert_eq!((segment, *offset, *position), (&names[0], (HEADER + MARK) as u64, 0));
    }
    let behind = log.segments[1].first;
    assert_eq!(log.read(behind..behind + 1, 1).unwrap().iter().next().unwrap().1, record(behind));
    drop(log);
    let newest = names.last().unwrap();
    disk.change(newest, |bytes| bytes[HEADER + 1] ^= 1);
    let error = Log::open(disk, None, small()).unwrap_err();
    let Error::LogDamaged { segment, offset, .. } = &error else { panic!("{error}") };
    assert_eq!((segment, *offset), (newest, HEADER as u64));
}

#[test]
fn a_missing_segment_is_told_unless_it_was_removed() {
    let (disk, ..) = filled(512, true, false);
    let contents = disk.contents();
    for name in contents.keys().rev().skip(1) {
        disk.remove(name).unwrap();
        let error = Log::open(disk.clone(), None, small()).unwrap_err();
        let Error::LogDamaged { segment, why, .. } = &error else { panic!("{error}") };
        assert_eq!((segment, why.as_str()), (name, "the file is missing"));
        disk.create(name, 0).unwrap();
        disk.change(name, |bytes| bytes.clone_from(&contents[name]));
    }
    let (mut log, _) = Log::open(disk.clone(), None, small()).unwrap();
    let first = log.truncate_before(u64::MAX).unwrap();
    drop(log);
    // What was removed comes back, all of it or some.
    for (name, bytes) in contents.iter().take(contents.len() - 1).step_by(2) {
        disk.create(name, 0).unwrap();
        disk.change(name, |contents| contents.clone_from(bytes));
    }
    let (_, recovered) = Log::open(disk.clone(), None, small()).unwrap();
    assert_eq!(recovered.first, first);
    assert_eq!(disk.contents().len(), 1);
}

/// A cut group's records, found again behind a new tail, stay cut.
#[test]
fn what_was_cut_stays_cut_whatever_is_appended() {
    let disk = MemoryDisk::new(Rng::from_seed(9), 512);
    let mut log = Log::create(disk.clone(), ID, 0, small()).unwrap();
    log.append(b"kept").unwrap();
    log.sync().unwrap();
    log.append(&[1; 600]).unwrap();
    log.flush().unwrap();
    log.append(&[2; 600]).unwrap();
    log.flush().unwrap();
    drop(log);
    // The first of the two did not survive, the second did.
    let name = disk.contents().into_keys().next().unwrap();
    disk.change(&name, |bytes| bytes[512..1024].fill(0));
    let (mut log, recovered) = Log::open(disk.clone(), None, small()).unwrap();
    assert_eq!(recovered.next, 1);
    assert!(recovered.cut_bytes > 1200);
    // The same length as the group that was lost: in the same file it would lead to the second one.
    log.append(&[3; 600]).unwrap();
    log.sync().unwrap();
    drop(log);
    let (mut log, recovered) = Log::open(disk.clone(), None, small()).unwrap();
    assert_eq!((recovered.next, recovered.cut_bytes), (2, 0));
    assert_eq!(all(&mut log, 0, 5000), [b"kept".to_vec(), vec![3; 600]]);
}

/// Whoever gave up on a damaged log makes a new one in its place.
#[test]
fn a_damaged_log_can_be_started_over() {
    let (disk, ..) = filled(512, true, false);
    for name in disk.contents().into_keys() {
        disk.change(&name, |bytes| bytes[70] ^= 1);
    }
    assert_eq!(opened(&disk, 1000), None);
    let mut log = Log::start_over(disk.clone(), *b"another log.....", 500, small()).unwrap();
    log.append(b"new").unwrap();
    log.close().unwrap();
    assert_eq!(disk.contents().len(), 1);
    let (log, recovered) = Log::open(disk, Some(*b"another log....."), small()).unwrap();
    assert_eq!((recovered.first, log.next()), (500, 501));
}

/// A full disk stops appends; removing segments works without space, and then appends go on.
#[test]
fn a_full_disk_is_emptied_by_the_log_itself() {
    let disk = super::tests::disk(1);
    disk.set_preallocating(true);
    let mut log = Log::create(disk.clone(), ID, 0, small()).unwrap();
    super::tests::fill(&mut log, 300);
    disk.fail(0, u64::MAX, super::memory::Failure::Full);
    let error = (0..).find_map(|_| log.append(&record(log.next())).err()).unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(log.append(&record(log.next())).unwrap_err().kind(), Kind::Unavailable);
    let next = log.sync().unwrap();
    assert_eq!((next, log.truncate_before(200).unwrap() > 100), (log.next(), true));
    disk.heal();
    super::tests::fill(&mut log, 100);
    log.close().unwrap();
    let (mut log, recovered) = Log::open(disk, None, small()).unwrap();
    assert_eq!(recovered.next, next + 100);
    assert_eq!(all(&mut log, recovered.first, 999), (recovered.first..next + 100).map(record).collect::<Vec<_>>());
}
