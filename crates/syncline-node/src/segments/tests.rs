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

/// Names of files that are no segments.
fn spares(path: &Path) -> usize {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("spare-")).count()
}

#[test]
fn segments_are_made_before_they_are_needed_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Directory::create(dir.path()).unwrap();
    let size = 2 << 20;
    disk.create("first", size).unwrap();
    assert_eq!(spares(dir.path()), 0, "a log of one segment has no need of it");
    disk.create("second", size).unwrap();
    let clock = syncline_base::SystemClock;
    let ready = |disk: &Directory| {
        for _ in 0..2000 {
            if disk.spare.is_ready() {
                return;
            }
            syncline_base::Clock::sleep(&clock, std::time::Duration::from_millis(5));
        }
        panic!("it is never made");
    };
    ready(&disk);
    assert_eq!(spares(dir.path()), 1);
    // A name that is taken stays taken, and a size that is not its own is made.
    assert_eq!(disk.create("second", size).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    disk.create("small", 10).unwrap();
    assert_eq!((disk.list().unwrap().len(), spares(dir.path())), (4, 1));
    disk.write("second", 5, b"written").unwrap();
    disk.create("third", size).unwrap();
    let mut bytes = vec![1; 2 << 20];
    assert_eq!(disk.read("third", 0, &mut bytes).unwrap(), 2 << 20);
    assert!(bytes.iter().all(|byte| *byte == 0), "it reads as zeros");
    disk.write("third", 7, b"x").unwrap();
    disk.sync("third").unwrap();
    assert_eq!(std::fs::read(dir.path().join("third")).unwrap()[7], b'x');
    ready(&disk);
    drop(disk);
    assert_eq!(spares(dir.path()), 0);
    std::fs::write(dir.path().join("spare-of-a-crash"), "x").unwrap();
    let disk = Directory::create(dir.path()).unwrap();
    assert_eq!((disk.list().unwrap().len(), spares(dir.path())), (4, 0));
}

#[test]
fn the_name_of_a_long_file_is_free_when_it_is_removed_and_soon_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Directory::create(dir.path()).unwrap();
    for size in [2 << 20, 10] {
        disk.create("file", size).unwrap();
        disk.remove("file").unwrap();
        assert!(!dir.path().join("file").exists());
        assert_eq!(disk.remove("file").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.read("file", 0, &mut [0]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    disk.create("file", 10).unwrap();
    let clock = syncline_base::SystemClock;
    let left = || std::fs::read_dir(dir.path()).unwrap().count();
    for _ in 0..2000 {
        if left() == 1 {
            return;
        }
        syncline_base::Clock::sleep(&clock, std::time::Duration::from_millis(5));
    }
    panic!("{} files are left", left());
}
