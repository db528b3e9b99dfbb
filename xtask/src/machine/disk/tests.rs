//! What is synced stays, whatever chance does; what is not is sometimes there, sometimes not, and sometimes in part. A disk that lies loses what
//! was synced: that is how it is known that the others do not.

use super::*;

fn at(name: &str) -> (Number, &OsStr) {
    (ROOT, OsStr::new(name))
}

fn file(disk: &mut Disk, name: &str, text: &[u8]) -> Number {
    let number = disk.make(at(name), Kind::File, 0o600, (0, 0)).unwrap();
    disk.write(number, 0, text).unwrap();
    number
}

fn sync(disk: &mut Disk, number: Number) {
    let so_far = disk.so_far(number).unwrap();
    disk.sync(number, so_far).unwrap();
}

fn text(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let number = disk.find(ROOT, OsStr::new(name)).ok()?;
    Some(disk.read(number, 0, 1 << 20).unwrap())
}

/// What came of it, over many cuts.
fn cuts<T: Ord>(syncs: Syncs, mut run: impl FnMut(&mut Disk, &mut Rng) -> T) -> BTreeSet<T> {
    let one = |seed| {
        let mut disk = Disk::new();
        disk.set_syncs(syncs);
        run(&mut disk, &mut Rng::from_seed(seed))
    };
    (0..200).map(one).collect()
}

#[test]
fn what_was_synced_is_there_after_every_cut_unless_the_disk_lies() {
    let run = |disk: &mut Disk, rng: &mut Rng| {
        let number = file(disk, "a", b"first");
        sync(disk, number);
        sync(disk, ROOT);
        disk.cut(rng);
        text(disk, "a")
    };
    assert_eq!(cuts(Syncs::Kept, run), BTreeSet::from([Some(b"first".to_vec())]));
    assert!(cuts(Syncs::Lie, run).contains(&Some(Vec::new())));
}

#[test]
fn what_was_not_synced_may_be_lost_kept_or_torn_and_the_rest_stays() {
    let run = |disk: &mut Disk, rng: &mut Rng| {
        let number = file(disk, "a", &[1; 2048]);
        sync(disk, number);
        sync(disk, ROOT);
        disk.write(number, 0, &[2; 1024]).unwrap();
        disk.write(number, 2048, &[3; 100]).unwrap();
        disk.cut(rng);
        let text = text(disk, "a").unwrap();
        assert!(text[1024..2048].iter().all(|byte| *byte == 1), "nobody has written there");
        for sector in text.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
        }
        (text[0], text[512], text.get(2048).copied())
    };
    let found = cuts(Syncs::Kept, run);
    let (old, new) = ((1, 1, None), (2, 2, Some(3)));
    // Lost, kept; torn; the last write without the first one; the length without the bytes.
    for expected in [old, new, (2, 1, None), (1, 1, Some(3)), (1, 1, Some(0))] {
        assert!(found.contains(&expected), "{expected:?} is not among {found:?}");
    }
    assert!(found.contains(&(1, 2, None)) || found.contains(&(1, 2, Some(3))), "no order but theirs: {found:?}");
}

#[test]
fn a_name_is_durable_when_its_directory_was_synced_and_not_by_syncing_the_file() {
    let run = |with_directory: bool| {
        move |disk: &mut Disk, rng: &mut Rng| {
            let old = file(disk, "a", b"old");
            sync(disk, old);
            sync(disk, ROOT);
            let new = file(disk, "next", b"new");
            sync(disk, new);
            disk.rename(at("next"), at("a"), true).unwrap();
            if with_directory {
                sync(disk, ROOT);
            }
            disk.cut(rng);
            (text(disk, "a").unwrap(), text(disk, "next"))
        }
    };
    let (old, new) = (b"old".to_vec(), b"new".to_vec());
    assert_eq!(cuts(Syncs::Kept, run(true)), BTreeSet::from([(new.clone(), None)]));
    let lost = cuts(Syncs::Kept, run(false));
    // Never nothing, and never at both places.
    assert_eq!(lost, BTreeSet::from([(old.clone(), None), (old, Some(new.clone())), (new, None)]));
}

#[test]
fn a_rename_that_was_synced_without_its_contents_may_name_an_empty_file() {
    let found = cuts(Syncs::Kept, |disk, rng| {
        file(disk, "next", b"new");
        disk.rename(at("next"), at("a"), true).unwrap();
        sync(disk, ROOT);
        disk.cut(rng);
        text(disk, "a").unwrap()
    });
    assert!(found.contains(&Vec::new()) && found.contains(b"new".as_slice()), "{found:?}");
}

#[test]
fn what_goes_to_another_directory_is_at_one_of_them() {
    let found = cuts(Syncs::Kept, |disk, rng| {
        let inside = disk.make(at("d"), Kind::Directory, 0o700, (0, 0)).unwrap();
        sync(disk, ROOT);
        let number = disk.make((inside, OsStr::new("x")), Kind::File, 0o600, (0, 0)).unwrap();
        disk.rename((inside, OsStr::new("x")), at("y"), true).unwrap();
        sync(disk, ROOT);
        disk.cut(rng);
        assert_eq!(disk.facts(number).unwrap().links, 1);
        (disk.find(inside, OsStr::new("x")).is_ok(), disk.find(ROOT, OsStr::new("y")).is_ok())
    });
    assert_eq!(found, BTreeSet::from([(false, true)]));
}

#[test]
fn removed_files_come_back_until_the_directory_was_synced_and_are_forgotten_then() {
    let run = |with_directory: bool| {
        move |disk: &mut Disk, rng: &mut Rng| {
            let number = file(disk, "a", b"text");
            sync(disk, number);
            sync(disk, ROOT);
            disk.remove(at("a"), false).unwrap();
            assert_eq!(text(disk, "a"), None);
            if with_directory {
                sync(disk, ROOT);
            }
            disk.cut(rng);
            (text(disk, "a").is_some(), disk.nodes.len())
        }
    };
    assert_eq!(cuts(Syncs::Kept, run(true)), BTreeSet::from([(false, 1)]));
    assert_eq!(cuts(Syncs::Kept, run(false)), BTreeSet::from([(false, 1), (true, 2)]));
}

#[test]
fn a_sync_covers_what_was_done_before_it_began() {
    let found = cuts(Syncs::Kept, |disk, rng| {
        let number = file(disk, "a", b"first");
        sync(disk, ROOT);
        let so_far = disk.so_far(number).unwrap();
        disk.write(number, 0, b"later").unwrap();
        disk.sync(number, so_far).unwrap();
        disk.cut(rng);
        text(disk, "a").unwrap()
    });
    assert_eq!(found, BTreeSet::from([b"first".to_vec(), b"later".to_vec()]));
}

#[test]
fn the_usual_errors() {
    let mut disk = Disk::new();
    let inside = disk.make(at("d"), Kind::Directory, 0o700, (0, 0)).unwrap();
    let number = file(&mut disk, "a", b"text");
    disk.make((inside, OsStr::new("b")), Kind::File, 0o600, (0, 0)).unwrap();
    assert_eq!(disk.make(at("a"), Kind::File, 0o600, (0, 0)), Err(Errno::EEXIST));
    assert_eq!(disk.rename(at("a"), (inside, OsStr::new("b")), false), Err(Errno::EEXIST));
    assert_eq!(disk.rename(at("a"), at("d"), true), Err(Errno::EISDIR));
    assert_eq!(disk.rename(at("d"), at("a"), true), Err(Errno::ENOTDIR));
    assert_eq!(disk.remove(at("d"), true), Err(Errno::ENOTEMPTY));
    assert_eq!(disk.remove(at("d"), false), Err(Errno::EISDIR));
    assert_eq!(disk.remove(at("a"), true), Err(Errno::ENOTDIR));
    assert_eq!(disk.find(number, OsStr::new("x")), Err(Errno::ENOTDIR));
    // Open files outlive their names.
    disk.open(number).unwrap();
    disk.remove(at("a"), false).unwrap();
    disk.forget_unreachable();
    assert_eq!(disk.read(number, 0, 10), Ok(b"text".to_vec()));
    assert_eq!(disk.list(ROOT).unwrap().len(), 1);
}
