use syncline_base::{Hash, Kind};
use syncline_sync::live::RowKey;

use super::super::contents;
use super::*;
use crate::live::Engine;
use crate::ops::{apply, put};
use crate::replica::{Env, Replica};

struct Place {
    _dir: tempfile::TempDir,
    replica: Replica,
    engine: Engine,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let replica = Replica::init(&dir.path().join("r"), true, Env::default()).expect("a new directory");
        let engine = replica.live().expect("live tables");
        let place = Self { _dir: dir, replica, engine };
        place.put("t", r#"{"id":1}"#, Some("id"), &[]).expect("a table");
        place
    }

    fn put(&self, table: &str, rows: &str, key: Option<&str>, files: &[Given]) -> Result<put::Report> {
        let key = key.map(|key| vec![key.to_owned()]);
        let request = put::Request { table: table.into(), key, files: files.to_vec(), ..put::Request::default() };
        put::run(&self.replica, &request, &mut rows.as_bytes())
    }

    fn apply(&self, lines: &str) -> Result<put::Report> {
        apply::run(&self.replica, &apply::Request::default(), &mut lines.as_bytes())
    }

    fn send(&self, bytes: &[u8]) -> contents::Put {
        contents::put(&self.replica, &mut &*bytes).expect("it is stored")
    }

    /// All rows of tables and files, and how many transactions there are.
    fn all(&self) -> (Vec<(String, String)>, u64) {
        let all = self.engine.read(|node| {
            let from = RowKey { table: "".into(), key: Bytes::new() };
            let rows =
                node.state().rows_from(&from).map(|(key, row)| (format!("{key:?}"), format!("{row:?}"))).collect();
            (rows, node.state().coverage().iter().map(|(_, n)| n).sum())
        });
        all.expect("rows")
    }

    /// What a file holds.
    fn held(&self, path: &str) -> Option<FileRow> {
        self.engine.read(|node| shown::row_at(node, path)).expect("rows")
    }

    fn bytes(&self, path: &str) -> Bytes {
        match self.held(path).expect("a file").content {
            Content::Inline(bytes) => bytes,
            Content::Chunks(content) => {
                content::read_all(self.replica.store(), &content, 1 << 20).expect("its content")
            }
        }
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut rng = syncline_base::rng::Rng::from_seed(5);
    (0..len).map(|_| rng.below(256) as u8).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind, words: &str) {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn rows_and_files_are_one_transaction() {
    let place = Place::new();
    let before = place.all().1;
    let long = noise(5000);
    let long64 = base64::encode(&long);
    let lines = format!(
        r#"{{"op":"set","table":"t","row":{{"id":2}}}}
           {{"op":"set","file":"dir/text.txt","text":"hello\n","executable":true}}
           {{"op":"set","file":"bytes","base64":"AAEC"}}
           {{"op":"delete","table":"t","key":1}}
           {{"op":"set","file":"long","base64":"{long64}"}}
           {{"op":"set","file":"link","link":"dir/text.txt"}}
           {{"op":"set","file":"empty","folder":true}}
           {{"op":"set","file":"twice","text":"first"}}
           {{"op":"set","file":"twice","text":"second"}}"#
    );
    let report = place.apply(&lines).expect("it is written");
    assert_eq!((report.rows, report.files, &report.table[..]), (2, 6, "t"));
    assert_eq!(place.all().1, before + 1);
    assert_eq!((&place.bytes("dir/text.txt")[..], &place.bytes("bytes")[..]), (&b"hello\n"[..], &[0_u8, 1, 2][..]));
    assert_eq!((&place.bytes("long")[..], &place.bytes("twice")[..]), (&long[..], &b"second"[..]));
    assert!(place.held("long").expect("a file").stored().is_some(), "no row is that long");
    let kinds = ["link", "empty"].map(|path| place.held(path).expect("it is there").kind);
    assert_eq!(kinds, [FileKind::Symlink, FileKind::Folder]);
    // The bit stays when nothing is said of it.
    assert!(place.held("dir/text.txt").expect("a file").executable);
    let lines = r#"{"op":"set","file":"dir/text.txt","text":"more"}
                   {"op":"delete","file":"bytes"}
                   {"op":"delete","file":"was/never/there"}"#;
    let report = place.apply(lines).expect("it is written");
    assert_eq!((report.rows, report.files, &report.table[..]), (0, 3, ""));
    assert!(place.held("dir/text.txt").expect("a file").executable && place.held("bytes").is_none());
    place.apply(r#"{"op":"set","file":"dir/text.txt","text":"x","executable":false}"#).expect("it is written");
    assert!(!place.held("dir/text.txt").expect("a file").executable);
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let place = Place::new();
    place.apply(r#"{"op":"set","file":"a/b","text":"x"}"#).expect("a file");
    let before = place.all();
    let bad = [
        (r#"{"op":"set","file":"../x","text":""}"#, "writing the file"),
        (r#"{"op":"set","file":"","text":""}"#, "applying line 2"),
        (r#"{"op":"set","file":".syncline/x","text":""}"#, "applying line 2"),
        (r#"{"op":"delete","file":"/x"}"#, "deleting the file"),
        (r#"{"op":"set","file":"x"}"#, "it needs one of"),
        (r#"{"op":"set","file":"x","text":"","folder":true}"#, "it needs one of"),
        (r#"{"op":"set","file":"x","base64":"*"}"#, "`base64` is none"),
        (r#"{"op":"set","file":"x","from":"/etc/passwd"}"#, "only `syncline` reads"),
        (r#"{"op":"set","file":"x","text":7}"#, "applying line 2"),
        (r#"{"op":"set","file":"x","link":""}"#, "link's target"),
        (r#"{"op":"set","file":"x","link":"a","executable":true}"#, "only a file can be"),
        (r#"{"op":"set","file":"x","text":"","table":"t","row":{"id":3}}"#, "a file and a row"),
        (r#"{"op":"set","table":"t","row":{"id":3},"file":"x"}"#, "a file and a row"),
        (r#"{"op":"set","file":"a","text":""}"#, "a/b is in"),
        (r#"{"op":"delete","file":"a"}"#, "a/b is in"),
        (r#"{"op":"set","file":"a/b/c","text":""}"#, "a/b is a file"),
        (r#"{"op":"set","table":"t","row":{"id":"text"}}"#, "applying line 2"),
    ];
    for (line, words) in bad {
        let good = r#"{"op":"set","table":"t","row":{"id":9}}"#;
        let more = r#"{"op":"set","file":"good","text":"good"}"#;
        refused(place.apply(&format!("{good}\n{line}\n{more}")), Kind::Invalid, words);
        assert_eq!(place.all(), before, "{line}");
    }
    // A row that does not fit takes files with it, and a file a new table.
    let file = Given { file: "x".into(), text: Some("x".into()), ..Given::default() };
    refused(place.put("t", r#"{"id":"text"}"#, None, std::slice::from_ref(&file)), Kind::Invalid, "id");
    refused(place.put("", "", None, &[]), Kind::Invalid, "neither a table nor a file");
    refused(place.put("", "", Some("id"), std::slice::from_ref(&file)), Kind::Invalid, "there is none");
    let below = Given { file: "a/b/c".into(), ..file };
    refused(place.put("new", r#"{"id":1}"#, Some("id"), &[below]), Kind::Invalid, "a/b is a file");
    assert_eq!(place.all(), before);
}

#[test]
fn a_tree_can_change_its_shape_in_one_transaction() {
    let place = Place::new();
    place.apply(r#"{"op":"set","file":"a","text":"x"}"#).expect("a file");
    place
        .apply("{\"op\":\"delete\",\"file\":\"a\"}\n{\"op\":\"set\",\"file\":\"a/b/c\",\"text\":\"y\"}")
        .expect("a folder");
    place
        .apply("{\"op\":\"set\",\"file\":\"a\",\"text\":\"z\"}\n{\"op\":\"delete\",\"file\":\"a/b/c\"}")
        .expect("a file again");
    assert_eq!(&place.bytes("a")[..], b"z");
    place.apply("{\"op\":\"set\",\"file\":\"e\",\"folder\":true}").expect("a folder");
    place.apply("{\"op\":\"set\",\"file\":\"e/f\",\"text\":\"\"}").expect("something in it");
    place.apply("{\"op\":\"delete\",\"file\":\"e\"}").expect("its row is none of what is in it");
    assert_eq!(&place.bytes("e/f")[..], b"");
}

#[test]
fn contents_are_here_before_anything_names_them() {
    let place = Place::new();
    let long = noise(300_000);
    let sent = place.send(&long).content.expect("a long one");
    let short = place.send(&long[..INLINE]);
    assert!(short.content.is_none(), "a short one goes along");
    assert_eq!(place.send(&[]).base64.as_deref(), Some(""));
    let before = place.all();
    let given = |content: ContentRef| Given { file: "x".into(), content: Some(content), ..Given::default() };
    let absent = ContentRef { root: Hash::of(b"nobody has it"), ..sent };
    refused(place.put("t", r#"{"id":7}"#, None, &[given(absent)]), Kind::NotFound, "contents-put");
    for wrong in
        [ContentRef { len: sent.len + 1, ..sent }, ContentRef { height: 0, ..sent }, ContentRef { len: 5, ..sent }]
    {
        let error = place.put("t", r#"{"id":7}"#, None, &[given(wrong)]).expect_err("it is refused");
        assert!(matches!(error.kind(), Kind::Invalid | Kind::NotFound), "{error}");
    }
    assert_eq!(place.all(), before);
    let beside = Given { file: "short".into(), base64: short.base64, ..Given::default() };
    let report = place.put("t", r#"{"id":7}"#, None, &[given(sent), beside]).expect("it is written");
    assert_eq!((report.rows, report.files), (1, 2));
    assert_eq!((&place.bytes("x")[..], &place.bytes("short")[..]), (&long[..], &long[..INLINE]));
    // The same bytes in any way are the same row.
    let way = Given { file: "x2".into(), base64: Some(base64::encode(&long)), ..Given::default() };
    place.put("", "", None, &[way]).expect("it is written");
    assert_eq!(place.held("x2"), place.held("x"));
}
