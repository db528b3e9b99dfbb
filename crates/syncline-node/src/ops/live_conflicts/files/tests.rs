use syncline_base::Kind;
use syncline_sync::live::Context;

use super::super::{Request, run};
use super::*;
use crate::replica::Env;

struct Place {
    _dir: tempfile::TempDir,
    replica: Replica,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let replica = Replica::init(&dir.path().join("r"), true, Env::default()).expect("a new directory");
        Self { _dir: dir, replica }
    }

    /// Writes a file as somebody who has read nothing. Gives the transaction.
    fn write(&self, given: Given) -> String {
        let engine = self.replica.live().expect("live tables");
        let mut files = Files::of([given]).expect("a file");
        files.store(&engine.contents().expect("a store"), true).expect("room");
        let writes = engine.read(|node| files.writes(node)).expect("rows").expect("they fit");
        token::of_dot(&engine.commit(Some(Context::default()), writes).expect("it is written").dot)
    }

    fn text(&self, file: &str, text: &str) -> String {
        self.write(Given { file: file.into(), text: Some(text.into()), ..Given::default() })
    }

    fn ask(&self, request: &Request) -> Result<Report> {
        run(&self.replica, request)
    }

    fn show(&self, file: &str) -> Result<Report> {
        self.ask(&Request::ShowFile { file: file.into() })
    }

    fn open(&self) -> u64 {
        let counted = self.ask(&Request::Count).expect("it can be counted").open_files;
        let listed = self.ask(&Request::ListFiles { limit: 9 }).expect("it can be listed");
        assert_eq!((counted, counted), (listed.open_files, listed.files.len() as u64));
        counted
    }

    fn resolve(&self, file: &str, decision: Decision, read: Option<&str>) -> Result<put::Report> {
        super::resolve(&self.replica, &Resolve { file: file.into(), decision, read: read.map(Into::into) })
    }

    /// What is written at a path, each once.
    fn held(&self, file: &str) -> Vec<FileRow> {
        let engine = self.replica.live().expect("live tables");
        let row = engine.read(|node| node.view(&key(file))).expect("rows");
        row.siblings().iter().map(|sibling| FileRow::decode(&sibling.value).expect("a file")).collect()
    }

    fn held_text(&self, file: &str) -> Vec<String> {
        let text = |row: FileRow| match row.content {
            Content::Inline(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Content::Chunks(content) => format!("{} bytes", content.len),
        };
        self.held(file).into_iter().map(text).collect()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind, words: &str) {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn what_was_written_at_once_is_shown_and_taken() {
    let place = Place::new();
    assert_eq!(place.open(), 0);
    refused(place.show("a.txt"), Kind::NotFound, "there is no such file");
    let first = place.text("a.txt", "first");
    refused(place.show("a.txt"), Kind::NotFound, "one thing is written");
    let second = place.write(Given {
        file: "a.txt".into(),
        text: Some("x".repeat(5000)),
        executable: Some(true),
        ..Given::default()
    });
    place.text("b/same.txt", "same");
    place.text("b/same.txt", "same");
    refused(place.show("b/same.txt"), Kind::NotFound, "all that was written to it is the same");
    assert_eq!(place.open(), 1);
    let report = place.show("a.txt").expect("it is in conflict");
    let [conflict] = &report.files[..] else { panic!("{report:?}") };
    let [winner, loser] = &conflict.siblings[..] else { panic!("{conflict:?}") };
    assert_eq!((&winner.transaction, winner.visible, winner.shown.as_deref()), (&second, true, Some("a.txt")));
    assert_eq!((winner.bytes, winner.executable, winner.on_its_way), (5000, true, false));
    assert!(winner.content.is_some() && winner.text.is_none());
    assert_eq!((&loser.transaction, loser.visible, loser.text.as_deref()), (&first, false, Some("first")));
    let beside = loser.shown.clone().expect("it is shown beside it");
    assert!(beside.starts_with("a.txt.conflict-"), "{beside}");
    refused(place.resolve("a.txt", Decision::Take("00000000".into()), None), Kind::NotFound, "there are");
    refused(place.resolve("a.txt", Decision::Take(first[..7].into()), None), Kind::NotFound, "there are");
    refused(place.resolve("a.txt", Decision::Take(first[..32].into()), None), Kind::Invalid, "may be several");
    assert_eq!(place.open(), 1);
    place.resolve("a.txt", Decision::Take(beside), None).expect("it is decided");
    assert_eq!((place.held_text("a.txt"), place.open()), (vec!["first".into()], 0));
    refused(place.resolve("a.txt", Decision::Delete, None), Kind::NotFound, "nothing has to be decided");
}

#[test]
fn what_came_after_the_look_is_not_decided_about() {
    let place = Place::new();
    place.text("a", "1");
    place.text("a", "2");
    let seen = place.show("a").expect("it is in conflict").position;
    place.text("a", "3");
    for decision in [Decision::Delete, Decision::With(Box::new(Given { text: Some("4".into()), ..Given::default() }))] {
        refused(place.resolve("a", decision, Some(&seen)), Kind::Conflict, "1 of its 3 values came after");
    }
    assert_eq!(place.held("a").len(), 3);
    let seen = place.show("a").expect("it is still").position;
    let given = Given { text: Some("4".into()), executable: Some(true), ..Given::default() };
    let report = place.resolve("a", Decision::With(Box::new(given)), Some(&seen)).expect("it is decided");
    assert_eq!((report.rows, report.files), (0, 1));
    assert_eq!(place.held_text("a"), ["4"]);
    assert!(place.held("a")[0].executable);
    place.text("a", "5");
    place.resolve("a", Decision::Delete, None).expect("it is decided");
    assert_eq!((place.held("a").len(), place.open()), (0, 0));
}

#[test]
fn a_file_where_a_folder_has_to_be_is_in_conflict_by_itself() {
    let place = Place::new();
    let engine = place.replica.live().expect("live tables");
    place.text("a", "a file");
    // As another replica may have written it meanwhile.
    let row = FileRow { kind: FileKind::File, executable: false, content: Content::Inline("in it".into()) };
    let write = Write { row: key("a/b/c"), value: Some(row.encode()) };
    engine.commit(Some(Context::default()), vec![write]).expect("it is written");
    assert_eq!(place.open(), 1);
    let report = place.show("a").expect("it is in conflict");
    assert_eq!(report.files[0].below.as_deref(), Some("a/b/c"));
    let [only] = &report.files[0].siblings[..] else { panic!("{report:?}") };
    assert!(!only.visible && only.shown.as_ref().is_some_and(|shown| shown.starts_with("a.conflict-")), "{only:?}");
    refused(place.resolve("a", Decision::Take(only.transaction.clone()), None), Kind::Invalid, "a/b/c is in");
    let with = Decision::With(Box::new(Given { text: Some("x".into()), ..Given::default() }));
    refused(place.resolve("a", with, None), Kind::Invalid, "a/b/c is in");
    place.resolve("a", Decision::Delete, None).expect("it is decided");
    assert_eq!((place.open(), place.held("a").len(), place.held("a/b/c").len()), (0, 0, 1));
}

#[test]
fn an_empty_folder_that_lost_is_no_conflict() {
    let place = Place::new();
    place.write(Given { file: "a".into(), folder: true, ..Given::default() });
    place.text("a", "a file");
    assert_eq!((place.open(), place.held("a").len()), (0, 2));
    let listed = place.ask(&Request::List { table: None, limit: 9 }).expect("it can be listed");
    assert_eq!((listed.open, listed.open_files), (0, 0));
    refused(place.show("../a"), Kind::Invalid, "the file");
}
