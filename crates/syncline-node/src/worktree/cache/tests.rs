use proptest::prelude::*;
use syncline_base::Hash;

use super::*;

fn table() -> TableRef {
    TableRef { schema: Hash::of(b"s"), root: Hash::of(b"r"), rows: 3, height: 1 }
}

fn seen(path: &str, time: i64, racy: bool) -> Seen {
    let stat = Stat { kind: FileKind::File, executable: true, size: 300, mtime: time, ctime: time + 1, inode: 1 << 40 };
    Seen { found: Found { path: path.to_owned(), stat }, racy }
}

fn write(meta: &Path, all: &[Seen], before: i64) {
    let mut writer = Writer::begin(meta).expect("there is room");
    all.iter().for_each(|seen| writer.push(seen).expect("there is room"));
    writer.finish(&table(), before).expect("there is room");
}

fn read(meta: &Path) -> Option<Vec<Seen>> {
    let mut reader = Reader::open(meta)?;
    assert_eq!(reader.table, table());
    Some(std::iter::from_fn(|| reader.next().expect("it was checked")).collect())
}

#[test]
fn what_is_written_comes_back_over_many_blocks() {
    let dir = tempfile::tempdir().expect("there is room");
    assert_eq!(Reader::open(dir.path()).map(|reader| reader.table), None);
    let all: Vec<Seen> = (0..5000).map(|n| seen(&format!("folder/é{n:05}"), n, n % 7 == 0)).collect();
    write(dir.path(), &all, i64::MAX);
    assert_eq!(read(dir.path()), Some(all));
    write(dir.path(), &[], i64::MAX);
    assert_eq!(read(dir.path()), Some(Vec::new()));
}

#[test]
fn an_unfinished_cache_is_not_seen() {
    let dir = tempfile::tempdir().expect("there is room");
    write(dir.path(), &[seen("a", 1, false)], i64::MAX);
    let mut writer = Writer::begin(dir.path()).expect("there is room");
    writer.push(&seen("b", 1, false)).expect("there is room");
    drop(writer);
    assert_eq!(read(dir.path()), Some(vec![seen("a", 1, false)]));
}

#[test]
fn entries_near_the_time_of_writing_are_racy() {
    let dir = tempfile::tempdir().expect("there is room");
    let second = 1_000_000_000;
    let now = 1000 * second + 1;
    let all = [seen("a", now - second, false), seen("b", now - TICK / 2, false), seen("c", now + second, false)];
    write(dir.path(), &all, now);
    let racy: Vec<bool> = read(dir.path()).expect("it is whole").into_iter().map(|seen| seen.racy).collect();
    assert_eq!(racy, [false, true, true]);
    // Times in whole seconds come from file systems that have no finer ones.
    let mut stat = seen("d", 0, false).found.stat;
    (stat.mtime, stat.ctime) = (999 * second, 999 * second);
    assert!(is_racy(&stat, now));
    assert!(!is_racy(&stat, now + 2 * second));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_anywhere_is_noticed_before_anything_is_read(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let dir = tempfile::tempdir().expect("there is room");
        let all: Vec<Seen> = (0..2000).map(|n| seen(&format!("{n:05}"), n, false)).collect();
        write(dir.path(), &all, i64::MAX);
        let file = dir.path().join(FILE);
        let mut bytes = std::fs::read(&file).expect("it was written");
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(&file, &bytes).expect("there is room");
        prop_assert_eq!(read(dir.path()), None);
        std::fs::write(&file, &bytes[..at]).expect("there is room");
        prop_assert_eq!(read(dir.path()), None);
    }
}
