use syncline_sync::log::{Log, Options};

use super::*;

#[test]
fn a_directory_keeps_the_contract_of_disks() {
    let dir = tempfile::tempdir().unwrap();
    syncline_sync::log::conformance::check(&Directory::create(dir.path()).unwrap());
}

#[test]
fn a_log_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = Options { segment_bytes: 16 << 10, ..Options::default() };
    let record = |n: u64| format!("record {n} {}", "x".repeat((n % 300) as usize)).into_bytes();
    let mut log = Log::create(Directory::create(&path).unwrap(), [7; 16], 0, options).unwrap();
    for n in 0..500 {
        log.append(&record(n)).unwrap();
        if n % 7 == 0 {
            log.sync().unwrap();
        }
    }
    let synced = log.sync().unwrap();
    assert_eq!(synced, 500);
    // Like a process that dies: nothing is closed.
    std::mem::forget(log);
    std::fs::write(path.join("README"), "somebody else's").unwrap();
    let (mut log, recovered) = Log::open(Directory::create(&path).unwrap(), Some([7; 16]), options).unwrap();
    assert_eq!((recovered.first, recovered.next), (0, 500));
    let mut at = 0;
    while at < 500 {
        let records = log.read(at..500, 4096).unwrap();
        for (position, bytes) in records.iter() {
            assert_eq!((position, bytes.to_vec()), (at, record(at)));
            at += 1;
        }
    }
    let first = log.truncate_before(300).unwrap();
    assert!(first > 0 && first <= 300 && log.segments().count() > 1);
    assert!(path.join("README").exists());
}
