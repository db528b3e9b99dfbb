//! Runs: what is read is what was written, whatever becomes of the disk; golden bytes.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::Hlc;
use syncline_base::rng::Rng;

use super::super::row::Sibling;
use super::super::{Dot, Origin, Stamp, Tag};
use super::*;
use crate::log::memory::{Failure, MemoryDisk};

fn row(n: u32) -> (RowKey, Arc<Row>) {
    let table = if n.is_multiple_of(3) { "a" } else { "b" };
    let key = RowKey { table: table.into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) };
    let sibling = |of: u64| Sibling {
        dot: Dot { origin: Origin::from_bytes([of as u8; 16]), seq: u64::from(n) + 1, tag: Tag::of(&n.to_le_bytes()) },
        stamps: vec![Stamp { hub: Origin::from_bytes([9; 16]), n: u64::from(n) + of }],
        time: Hlc::from_ms(1_700_000_000_000 + u64::from(n)),
        value: Bytes::from(vec![n as u8; (n % 40) as usize]),
    };
    (key, Arc::new(Row::of((1..=u64::from(n % 3)).map(sibling).collect())))
}

fn rows(n: u32) -> Vec<(RowKey, Arc<Row>)> {
    let mut rows: Vec<_> = (0..n).map(row).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn disk() -> MemoryDisk {
    MemoryDisk::new(Rng::from_seed(7), 64)
}

#[test]
fn a_run_says_what_was_written() {
    let (disk, all) = (disk(), rows(5000));
    let none = Runs::none(Place::new(disk.clone()));
    let run = none.write(1, all.iter().cloned()).unwrap();
    assert_eq!(run.rows(), 5000);
    let again = Runs::open(Place::new(disk.clone()), &[run.name()]).unwrap();
    for (key, row) in &all {
        assert_eq!(run.get(key).as_ref(), Some(row));
        assert_eq!(again.get(key), Some(row.clone()).filter(|row| !row.is_empty()));
    }
    assert_eq!(run.get(&RowKey { table: "c".into(), key: Bytes::new() }), None);
    assert_eq!(run.get(&RowKey::first()), None);
    assert!(run.scan(&RowKey::first()).eq(all.iter().cloned()));
    for at in [0, 1, 2499, 4999] {
        assert!(run.scan(&all[at].0).eq(all[at..].iter().cloned()));
    }
    // Nobody has it any more.
    run.retire();
    drop((run, again));
    assert_eq!(disk.contents().len(), 0);
}

#[test]
fn a_run_of_nothing() {
    let none = Runs::none(Place::new(disk()));
    let run = none.write(1, std::iter::empty()).unwrap();
    assert_eq!((run.rows(), run.scan(&RowKey::first()).count(), run.get(&row(1).0)), (0, 0, None));
}

#[test]
fn a_few_rows_for_many_are_written_seldom() {
    let mut runs = Runs::none(Place::new(disk()));
    let mut written = 0;
    for nth in 0..64_u64 {
        let run = runs.write(nth, (0..100).map(|n| row(nth as u32 * 1000 + n * 3)).filter(|(_, row)| row.is_empty()));
        runs = runs.with(run.unwrap());
        while let Some(of) = runs.due() {
            let names = runs.names()[of.clone()].to_vec();
            let run = runs.merge(1000 + nth, &of).unwrap();
            written += run.name().bytes;
            runs = runs.with_merged(&names, &run).unwrap();
        }
        assert!(runs.names().len() <= 8, "{:?}", runs.sizes());
    }
    // Rows that are gone, and hide nothing, are told by nobody.
    assert_eq!(runs.scan(&RowKey::first()).count(), 0);
    assert!(written < 40 * 64 * 2000, "{written}");
}

/// Every byte of a run counts: whichever is changed, nothing wrong is read, and that something is wrong is known.
#[test]
fn a_changed_byte_is_found() {
    let all = rows(300);
    let clean = disk();
    let run = Runs::none(Place::new(clean.clone())).write(1, all.iter().cloned()).unwrap();
    let (name, bytes) = (run.name(), run.name().bytes as usize);
    for at in (0..bytes).step_by(7).chain(bytes - file::FOOTER..bytes) {
        let disk = clean.copy(Rng::from_seed(at as u64));
        disk.change(&name.file(), |bytes| bytes[at] ^= 1 << (at % 8));
        match Runs::open(Place::new(disk), &[name]) {
            Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
            Ok(runs) => {
                for (key, row) in &all {
                    let read = runs.get(key);
                    assert!(read.is_none() || read.as_ref() == Some(row));
                }
                let scanned: Vec<_> = runs.scan(&RowKey::first()).collect();
                assert!(scanned.iter().all(|row| all.contains(row)));
                assert!(runs.trouble().is_some(), "byte {at}");
                assert!(runs.merge(2, &(0..1)).is_err(), "what cannot be read is not written again");
            }
        }
    }
    for len in [0, 1, bytes / 2, bytes - 1] {
        let disk = clean.copy(Rng::from_seed(len as u64));
        disk.change(&name.file(), |bytes| bytes.truncate(len));
        assert_eq!(Runs::open(Place::new(disk), &[name]).unwrap_err().kind(), Kind::Corrupt);
    }
    assert_eq!(Runs::open(Place::new(disk()), &[name]).unwrap_err().kind(), Kind::Corrupt, "it is not there");
}

/// Whatever call of a disk fails, a run is there whole or an error is; after a crash, too.
#[test]
fn a_disk_that_fails() {
    let all = rows(3000);
    let (mut failed, mut written) = (0, 0);
    for nth in 0..60 {
        let disk = MemoryDisk::new(Rng::from_seed(nth), 64);
        disk.set_short_reads(nth % 2 == 0);
        disk.fail(nth / 4, 1 + nth % 3, if nth % 2 == 0 { Failure::Broken } else { Failure::Full });
        match Runs::none(Place::new(disk.clone())).write(nth, all.iter().cloned()) {
            Err(_) => failed += 1,
            Ok(run) => {
                written += 1;
                let name = run.name();
                drop(run);
                disk.crash();
                let runs = Runs::open(Place::new(disk), &[name]).unwrap();
                let exist = all.iter().filter(|(_, row)| !row.is_empty());
                assert!(runs.scan(&RowKey::first()).eq(exist.cloned()));
                assert_eq!(runs.trouble(), None);
            }
        }
    }
    assert!(failed > 5 && written > 5, "{failed} {written}");
}

#[test]
fn what_a_crash_left_is_removed() {
    let disk = disk();
    let place = Place::new(disk.clone());
    let none = Runs::none(place.clone());
    let [a, b] = [1, 2].map(|id| none.write(id, rows(10).into_iter()).unwrap().name());
    put(&disk, "0000.log");
    place.keep_only(&[b]).unwrap();
    let left: Vec<String> = disk.contents().into_keys().collect();
    assert_eq!(left, ["0000.log".to_owned(), b.file()]);
    assert!(Runs::open(place, &[a]).is_err());
}

fn put(disk: &MemoryDisk, name: &str) {
    use crate::log::Disk as _;
    disk.create(name, 0).and_then(|()| disk.write(name, 0, b"x")).unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_a_block_or_not(bytes: Vec<u8>) {
        any_bytes(&Bytes::from(bytes));
    }
}

/// The committed run: what is written today is the same, bit for bit.
#[test]
fn a_run_is_that_of_the_format() {
    let disk = disk();
    let mut rows: BTreeMap<RowKey, Arc<Row>> = rows(200).into_iter().collect();
    let (first, gone) = (row(1).0, row(4).0);
    rows.insert(gone, Arc::default());
    rows.remove(&first);
    let run = Runs::none(Place::new(disk.clone())).write(0x0102_0304_0506_0708, rows.into_iter()).unwrap();
    let written = disk.contents().remove(&run.name().file()).unwrap();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/live/run/1.rows");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, &written).unwrap();
    }
    let golden = std::fs::read(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    assert!(golden == written, "a run is not what is committed: this format has changed");
}
