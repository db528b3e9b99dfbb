//! A disk is a directory like others for programs, until its power is cut. Where there is no FUSE, nothing of this can be tried, and that is said.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use super::*;
use crate::machine::disk::Syncs;

/// A disk in a directory, if this machine can have one.
fn mounted(seed: u64) -> Option<(tempfile::TempDir, Mounted)> {
    let dir = tempfile::tempdir().unwrap();
    let wall = Wall::new(&dir.path().join("clock")).unwrap();
    match Mounted::new(&dir.path().join("disk"), wall, Rng::from_seed(seed)) {
        Ok(mounted) => Some((dir, mounted)),
        // Tests run as anybody, and as such one that may not mount.
        Err(why) => {
            eprintln!("NOT RUN: {why:#}");
            None
        }
    }
}

#[test]
fn programs_find_a_directory_like_others() {
    let Some((_dir, mounted)) = mounted(1) else { return };
    let at = mounted.at();
    fs::create_dir_all(at.join("a/b")).unwrap();
    fs::write(at.join("a/b/file"), b"text").unwrap();
    fs::rename(at.join("a/b/file"), at.join("file")).unwrap();
    assert_eq!(fs::read(at.join("file")).unwrap(), b"text");
    fs::hard_link(at.join("file"), at.join("same")).unwrap();
    assert_eq!(fs::metadata(at.join("same")).unwrap().nlink(), 2);
    symlink("file", at.join("way")).unwrap();
    assert_eq!(fs::read_link(at.join("way")).unwrap(), Path::new("file"));
    let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "file", "same", "way"]);
    // Large, at places, cut off, and appended to.
    let mut file = File::options().read(true).write(true).create_new(true).open(at.join("large")).unwrap();
    file.write_all(&vec![7; 3 << 20]).unwrap();
    file.write_all_at(b"here", 1_000_000).unwrap();
    file.set_len(2 << 20).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"end").unwrap();
    let mut bytes = Vec::new();
    File::open(at.join("large")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), (2 << 20) + 3);
    assert_eq!((&bytes[1_000_000..1_000_004], bytes[0], &bytes[2 << 20..]), (&b"here"[..], 7, &b"end"[..]));
    // Locks are the kernel's.
    let other = File::open(at.join("large")).unwrap();
    file.try_lock().unwrap();
    assert!(other.try_lock().is_err());
    fs::remove_file(at.join("same")).unwrap();
    assert_eq!(fs::metadata(at.join("file")).unwrap().nlink(), 1);
    assert!(fs::remove_dir(at.join("a")).is_err());
    fs::remove_dir_all(at.join("a")).unwrap();
    assert!(!at.join("a").exists());
}

/// What is there after a power cut of what was written, synced and renamed by calls of the system.
fn survivors(syncs: Syncs, seed: u64) -> Option<[Option<Vec<u8>>; 3]> {
    let (_dir, mut mounted) = mounted(seed)?;
    mounted.set_syncs(syncs);
    let at = mounted.at().to_owned();
    let mut file = File::create(at.join("kept")).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_data().unwrap();
    fs::write(at.join("old"), b"old").unwrap();
    File::open(at.join("old")).unwrap().sync_all().unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    let before = fs::metadata(at.join("kept")).unwrap();
    file.write_all(b", and not").unwrap();
    fs::rename(at.join("old"), at.join("new")).unwrap();
    drop(file);
    mounted.cut().unwrap();
    if let Ok(after) = fs::metadata(at.join("kept")) {
        assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "another file");
    }
    let read = |name: &str| fs::read(at.join(name)).ok();
    Some(["kept", "old", "new"].map(read))
}

#[test]
fn what_programs_synced_survives_a_cut_and_what_they_did_not_may_not() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let Some([kept, old, new]) = survivors(Syncs::Kept, seed) else { return };
        let kept = kept.expect("its name and its bytes were synced");
        assert!(kept.starts_with(b"synced"), "{kept:?}");
        assert!(old.is_some() != new.is_some(), "a rename is whole: {old:?} and {new:?}");
        assert_eq!(old.or(new.clone()).unwrap(), b"old");
        seen.insert((kept.len() > 6, new.is_some()));
    }
    assert_eq!(seen.len(), 4, "of a write and of a rename without a sync, each is lost and kept: {seen:?}");
    let lost = |[kept, ..]: [Option<Vec<u8>>; 3]| kept.is_some_and(|kept| !kept.starts_with(b"synced"));
    let lied = (0..40).any(|seed| survivors(Syncs::Lie, seed).is_some_and(lost));
    assert!(lied, "a disk that lies loses what was synced");
}

#[test]
fn threads_that_are_told_that_their_mount_is_gone_did_not_fail() {
    let number = |number: nix::errno::Errno| Err(std::io::Error::from_raw_os_error(number as i32));
    ended(Ok(())).unwrap();
    ended(number(nix::errno::Errno::ECONNABORTED)).unwrap();
    ended(number(nix::errno::Errno::ENODEV)).unwrap();
    assert!(ended(number(nix::errno::Errno::EIO)).is_err());
    assert!(ended(Err(std::io::Error::other("a thread panicked"))).is_err());
}
