use bytes::Bytes;
use syncline_base::Hash;

use super::{Edit, changes, entries, schema};
use crate::Table;
use crate::content::ContentRef;
use crate::files::{Content, Entry, FileKind, differences, get, paths};
use crate::table::Scan;
use crate::tests_support::memory_store;

fn file(path: &str, text: &str) -> Entry {
    let content = Content::Inline(Bytes::copy_from_slice(text.as_bytes()));
    Entry { path: path.into(), kind: FileKind::File, executable: false, content }
}

#[test]
fn the_schema_is_frozen() {
    let golden = "a files table of another schema has another root: this hash may only change with the format";
    let id = Hash::of(&schema().encode()).to_string();
    assert_eq!(id, include_str!("../../../fixtures/files-schema.hash").trim_end(), "{golden}");
}

#[test]
fn entries_come_back_as_they_went_in() {
    let store = memory_store();
    let big = ContentRef { root: Hash::of(b"big"), len: 1 << 30, height: 2 };
    let all = [
        Entry { executable: true, ..file("bin/run", "#!") },
        Entry { content: Content::Chunks(big), ..file("big.bin", "") },
        Entry { kind: FileKind::Folder, ..file("empty", "") },
        Entry { kind: FileKind::Symlink, ..file("link", "../elsewhere") },
        file("z.txt", "text"),
    ];
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let edits: Vec<Edit> = sorted.iter().cloned().map(Edit::Put).collect();
    let empty = Table::create(&store, schema()).expect("the schema is good");
    let (table, applied) = empty.apply([changes(&edits)]).expect("the edits are sorted");
    assert_eq!(applied.inserted, 5);
    let rows = table.scan_rows(Scan::default()).expect("it can be read");
    let back: Vec<Entry> =
        rows.flat_map(|rows| entries(&rows.expect("it can be read")).expect("they are files")).collect();
    assert_eq!(back, sorted);
    assert_eq!(get(&table, "link").expect("it can be read").as_ref(), sorted.iter().find(|e| e.path == "link"));
    assert_eq!(get(&table, "nothing").expect("it can be read"), None);
    assert_eq!(paths(&table).expect("it can be read"), ["big.bin", "bin/run", "empty", "link", "z.txt"]);
}

#[test]
fn differences_are_paths_with_both_sides() {
    let store = memory_store();
    let empty = Table::create(&store, schema()).expect("the schema is good");
    let first = [Edit::Put(file("a", "1")), Edit::Put(file("b", "1"))];
    let (one, _) = empty.apply([changes(&first)]).expect("the edits are sorted");
    let second = [Edit::Remove("a".into()), Edit::Put(file("b", "2")), Edit::Put(file("c", "1"))];
    let (two, _) = one.apply([changes(&second)]).expect("the edits are sorted");
    let mut seen = Vec::new();
    differences(&store, Some(&one), Some(&two), &mut |path, old, new| {
        seen.push((path.to_owned(), old.is_some(), new.is_some()));
        Ok(())
    })
    .expect("both can be read");
    assert_eq!(seen, [("a".into(), true, false), ("b".into(), true, true), ("c".into(), false, true)]);
}

#[test]
fn paths_that_could_hurt_are_refused() {
    for bad in ["../x", "/x", "a//b", "", ".syncline/x", "a/\0"] {
        assert!(changes(&[Edit::Put(file(bad, ""))]).is_err(), "{bad:?}");
    }
}
