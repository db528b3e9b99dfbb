//! The contract of [`Disk`] as a test, as far as it can be tested without crashes. Every disk passes it; a new one is
//! tested by one call.
//!
//! State: none. Not here: what survives a crash, which takes a machine that crashes.

use std::io::ErrorKind;

use super::disk::Disk;

/// Checks a disk on an empty place. Panics, saying what it found, when the contract is broken.
///
/// # Panics
/// When the disk does not keep the contract.
pub fn check(disk: &dyn Disk) {
    assert!(disk.unit().is_power_of_two(), "a unit of {} bytes", disk.unit());
    assert!(names(disk).is_empty(), "a place that is not empty");
    disk.create("a", 1000).expect("a file is made");
    let taken = disk.create("a", 1000).expect_err("a name that is taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    disk.create("b.c-0", 0).expect("a file without space is made");
    assert_eq!(names(disk), ["a", "b.c-0"]);
    assert!(all(disk, "a").iter().all(|byte| *byte == 0), "a new file is not zeros");

    disk.write("a", 0, b"start").expect("the start is written");
    disk.write("a", 5000, b"behind a gap").expect("what lies beyond the end is written");
    disk.write("a", 2, b"AR").expect("written bytes are written again");
    disk.write("a", 5012, b"").expect("nothing is written");
    let mut expected = b"stARt".to_vec();
    expected.resize(5000, 0);
    expected.extend_from_slice(b"behind a gap");
    let synced = |when: &str| {
        let mut found = all(disk, "a");
        // A file may be longer than what was written.
        while found.len() > expected.len() && found.last() == Some(&0) {
            found.pop();
        }
        assert!(found == expected, "{when} other bytes come back than were written");
    };
    synced("before a sync");
    disk.sync("a").expect("a file is synced");
    disk.sync("a").expect("a synced file is synced");
    disk.sync_names().expect("names are synced");
    synced("after a sync");
    let listed = disk.list().expect("files are listed");
    let len = listed.iter().find(|file| file.0 == "a").expect("the file is listed").1;
    assert!(len >= 5012, "a file of 5012 bytes is listed with {len}");
    assert_eq!(disk.read("a", len + 100, &mut [0; 8]).expect("reading beyond the end"), 0);
    assert_eq!(disk.read("a", 0, &mut []).expect("reading nothing"), 0);

    for (what, outcome) in [
        ("reading", disk.read("no", 0, &mut [0; 8]).map(drop)),
        ("writing", disk.write("no", 0, b"x")),
        ("syncing", disk.sync("no")),
        ("removing", disk.remove("no")),
    ] {
        let error = outcome.expect_err("a file that is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{what} a file that is not there");
    }
    disk.remove("a").expect("a file is removed");
    disk.remove("b.c-0").expect("a file is removed");
    disk.sync_names().expect("names are synced");
    assert!(names(disk).is_empty(), "files that were removed");
    disk.create("a", 10).expect("a name is used again");
    assert!(all(disk, "a").iter().all(|byte| *byte == 0), "a new file has an old one's bytes");
    disk.remove("a").expect("a file is removed");
}

fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names: Vec<String> = disk.list().expect("files are listed").into_iter().map(|file| file.0).collect();
    names.sort();
    names
}

/// Everything in a file, however little comes at a time.
fn all(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0xEE; 700];
    loop {
        let got = disk.read(name, all.len() as u64, &mut piece).expect("a file is read");
        if got == 0 {
            return all;
        }
        all.extend_from_slice(&piece[..got]);
    }
}
