//! Formats and faults, end to end through [`open`].

mod faults;
mod order;
mod pairs;
mod partial;
mod typed;

use std::io::Cursor;
use std::path::Path;

use arrow_array::RecordBatch;
use serde_json::{Value, json};

use super::*;

/// What an import gave.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) schema: Schema,
    pub(super) batches: Vec<Sorted>,
    pub(super) report: Report,
}

impl Got {
    pub(super) fn rows(&self) -> Vec<Value> {
        let rows = self.batches.iter().flat_map(|batch| crate::export::json_rows(&batch.rows).unwrap());
        rows.map(|row| serde_json::to_value(row).unwrap()).collect()
    }
}

pub(super) fn run(inputs: Vec<Input>, options: &Options, existing: Option<&Schema>, key: &[&str]) -> Result<Got> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let mut prepared = open(inputs, options, existing, &key)?;
    let batches = (&mut prepared.rows).collect::<Result<Vec<_>>>()?;
    let report = prepared.rows.report();
    assert_eq!(report.rows, batches.iter().map(|batch| batch.rows.num_rows() as u64).sum::<u64>());
    Ok(Got { schema: prepared.schema, batches, report })
}

pub(super) fn options() -> Options {
    Options::new(std::env::temp_dir())
}

/// A stream of these bytes.
pub(super) fn stream(name: &str, bytes: impl Into<Vec<u8>>) -> Input {
    Input::Reader { name: name.to_owned(), reader: Box::new(Cursor::new(bytes.into())) }
}

/// Imports text both as a stream and as a file, and checks that both give the same.
pub(super) fn text(name: &str, text: &str, options: &Options, existing: Option<&Schema>, key: &[&str]) -> Result<Got> {
    let streamed = run(vec![stream(name, text)], options, existing, key);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let read = run(vec![Input::Path(path)], options, existing, key);
    match (&streamed, &read) {
        (Ok(a), Ok(b)) => assert_eq!((a.rows(), &a.schema), (b.rows(), &b.schema)),
        (Err(a), Err(b)) => {
            let dir = format!("{}/", dir.path().display());
            assert_eq!(a.to_string(), b.to_string().replace(&dir, ""));
        }
        (a, b) => panic!("a stream gives {a:?}, a file {b:?}"),
    }
    streamed
}

pub(super) fn refused(name: &str, content: &str, key: &[&str]) -> String {
    text(name, content, &options(), None, key).expect_err("it must be refused").to_string()
}

fn type_of(got: &Got, column: &str) -> String {
    format!("{:?}", got.schema.column(column).unwrap().ty)
}

#[test]
fn csv_infers_sorts_and_keeps_text_apart_from_null() {
    let content = "id,name,n,x,day,at,zip,flag\n\
                   3,\"\",1,1.5,2024-02-29,2024-01-01T10:00:00Z,00123,true\n\
                   1,,,,,,,\n\
                   2,\"a \"\"q\"\", b\",9007199254740993,2,1969-12-31,2024-01-01 10:00:00+02:00,99999,FALSE\n";
    let got = text("t.csv", content, &options(), None, &["id"]).unwrap();
    let types: Vec<String> = ["id", "name", "n", "x", "day", "zip", "flag"].map(|c| type_of(&got, c)).to_vec();
    assert_eq!(types, ["Int64", "Utf8", "Int64", "Float64", "Date32", "Utf8", "Bool"]);
    assert_eq!(type_of(&got, "at"), "Timestamp { unit: Us, zone: Some(\"UTC\") }");
    assert_eq!(
        got.rows(),
        [
            json!({"id": 1, "name": null, "n": null, "x": null, "day": null, "at": null, "zip": null, "flag": null}),
            json!({"id": 2, "name": "a \"q\", b", "n": 9_007_199_254_740_993_i64, "x": 2.0, "day": "1969-12-31",
                "at": "2024-01-01T08:00:00.000000Z", "zip": "99999", "flag": false}),
            json!({"id": 3, "name": "", "n": 1, "x": 1.5, "day": "2024-02-29",
                "at": "2024-01-01T10:00:00.000000Z", "zip": "00123", "flag": true}),
        ]
    );
    assert_eq!((got.report.rows_read, got.report.rejected, got.report.duplicates), (3, 0, 0));
    assert!(!got.report.in_order);
    assert_eq!(got.report.bytes_read, content.len() as u64);
}

#[test]
fn csv_with_bom_crlf_blank_lines_and_no_last_line_end() {
    let plain = text("t.csv", "id,v\n1,a\n2,b\n", &options(), None, &["id"]).unwrap();
    for content in [
        "\u{feff}id,v\r\n1,a\r\n2,b\r\n",
        "id,v\n\n1,a\n\n\n2,b",
        "\n\nid,v\r\n2,b\r\n1,a",
        "\"id\",\"v\"\n\"1\",\"a\"\n2,b\n",
    ] {
        let got = text("t.csv", content, &options(), None, &["id"]).unwrap();
        assert_eq!((got.rows(), got.schema), (plain.rows(), plain.schema.clone()), "{content:?}");
    }
    assert!(plain.report.in_order);
}

#[test]
fn tsv_without_header_and_with_a_text_for_null() {
    let options = Options { header: false, null: Some("\\N".to_owned()), ..options() };
    let got = text("t.tsv", "2\tb,c\t\\N\n1\t\"\\N\"\t7\n", &options, None, &["column_1"]).unwrap();
    assert_eq!(
        got.rows(),
        [
            json!({"column_1": 1, "column_2": "\\N", "column_3": 7}),
            json!({"column_1": 2, "column_2": "b,c", "column_3": null})
        ]
    );
}

#[test]
fn the_text_for_null_is_never_an_empty_text() {
    let null = Options { null: Some("NA".to_owned()), ..options() };
    let error = text("t.csv", "code,name\nDE,Germany\nNA,Namibia\n", &null, None, &["code"]).unwrap_err().to_string();
    assert!(error.contains("t.csv:3: column `code` may not be null"), "{error}");
    let declared =
        read_schema(r#"[{"name":"id","type":"int64","nullable":false},{"name":"v","type":"utf8","nullable":false}]"#);
    let strict = Options { schema: Some(declared.unwrap()), ..null.clone() };
    let error = text("t.csv", "id,v\n1,\n2,NA\n", &strict, None, &["id"]).unwrap_err().to_string();
    assert!(error.contains("t.csv:3: column `v` may not be null"), "{error}");
    // An empty field is an empty text there, and a quoted one is what it says.
    let got = text("t.csv", "id,v\n1,\n2,\"NA\"\n", &strict, None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 1, "v": ""}), json!({"id": 2, "v": "NA"})]);
    let got = text("t.csv", "id,v\n1,\n2,NA\n", &null, None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 1, "v": null}), json!({"id": 2, "v": null})]);
}

#[test]
fn ndjson_infers_and_keeps_json() {
    let content = r#"{"id":"b","n":1,"f":1,"tags":["x","y"],"o":{"a":[1,{"b":null}]},"esc":"a\"\u00e9\n"}
{"id":"a","f":2.5,"tags":[],"o":[1],"extra":true}
"#;
    let got = text("t.ndjson", content, &options(), None, &["id"]).unwrap();
    assert_eq!(type_of(&got, "o"), "Json");
    assert_eq!(type_of(&got, "f"), "Float64");
    assert_eq!(
        got.rows(),
        [
            json!({"id": "a", "n": null, "f": 2.5, "tags": [], "o": [1], "esc": null, "extra": true}),
            json!({"id": "b", "n": 1, "f": 1.0, "tags": ["x", "y"], "o": {"a": [1, {"b": null}]}, "esc": "a\"é\n", "extra": null}),
        ]
    );
}

#[test]
fn compressed_text_is_read_by_extension() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"id,v\n1,a\n").unwrap();
    let zstd = zstd::encode_all(&b"{\"id\":1,\"v\":\"a\"}\n"[..], 1).unwrap();
    for input in [stream("t.csv.gz", gzip.finish().unwrap()), stream("t.ndjson.zst", zstd)] {
        let got = run(vec![input], &options(), None, &["id"]).unwrap();
        assert_eq!(got.rows(), [json!({"id": 1, "v": "a"})]);
    }
    // What the name does not say, the first bytes do.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"id,v\n1,a\n").unwrap();
    let zstd = zstd::encode_all(&b"{\"id\":1,\"v\":\"a\"}\n"[..], 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("t.csv", gzip.finish().unwrap()), ("t.ndjson", zstd)] {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        for input in [stream(name, bytes), Input::Path(path)] {
            let got = run(vec![input], &options(), None, &["id"]).unwrap();
            assert_eq!(got.rows(), [json!({"id": 1, "v": "a"})]);
        }
    }
    let cut = run(vec![stream("t.csv.gz", vec![0x1f, 0x8b, 8, 0])], &options(), None, &["id"]);
    assert_eq!(cut.expect_err("a cut file").kind(), syncline_base::Kind::Invalid);
}

#[test]
fn sources_may_lie_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all");
    let texts = ["id,v\n5,e\n1,x\n", "{\"id\":3,\"v\":\"c\"}\n", "", "id,v\n4,d\nx,y\n"];
    let names = ["a.csv", "b.ndjson", "c.ndjson", "d.csv"];
    std::fs::write(&file, texts.concat()).unwrap();
    let parts = |count: usize| -> Vec<Input> {
        let part = |i: usize| Input::Part {
            name: names[i].to_owned(),
            file: file.clone(),
            start: texts[..i].concat().len() as u64,
            bytes: texts[i].len() as u64,
        };
        (0..count).map(part).collect()
    };
    let got = run(parts(3), &options(), None, &["id"]).unwrap();
    assert_eq!(got.rows().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 3, 5]);
    let error = run(parts(4), &options(), Some(&got.schema), &[]).expect_err("a bad row").to_string();
    assert!(error.contains("d.csv:3: column `id`: \"x\" is not an int64"), "{error}");
}

#[test]
fn many_sources_become_one_table() {
    let inputs = vec![
        stream("a.csv", "id,v\n5,e\n1,a\n"),
        stream("b.ndjson", "{\"id\":3,\"w\":2}\n"),
        stream("c.csv", "v,id\nx,4\n"),
    ];
    let got = run(inputs, &options(), None, &["id"]).unwrap();
    assert_eq!(
        got.rows(),
        [
            json!({"id": 1, "v": "a", "w": null}),
            json!({"id": 3, "v": null, "w": 2}),
            json!({"id": 4, "v": "x", "w": null}),
            json!({"id": 5, "v": "e", "w": null}),
        ]
    );
    let given: Vec<Option<&[u32]>> = (0..4).map(|row| got.batches[0].given.of(row)).collect();
    assert_eq!(given, [Some(&[0, 1][..]), Some(&[0, 2]), Some(&[0, 1]), Some(&[0, 1])]);
}

#[test]
fn columns_that_are_not_given_are_named_for_updates() {
    let schema = text("t.csv", "id,v,w\n1,a,2\n", &options(), None, &["id"]).unwrap().schema;
    let got = text("t.csv", "v,id\nb,1\n", &options(), Some(&schema), &[]).unwrap();
    assert_eq!(got.batches[0].given, Given::Same([0, 1].into()));
    let content = "{\"id\":2,\"w\":1}\n{\"id\":1,\"v\":null,\"w\":null}\n";
    let got = text("t.ndjson", content, &options(), Some(&schema), &[]).unwrap();
    assert_eq!(got.batches[0].given, Given::PerRow(vec![None, Some([0, 2].into())]));
    let replace = Options { mode: Mode::Replace, ..options() };
    let got = text("t.csv", "v,id\nb,1\n", &replace, Some(&schema), &[]).unwrap();
    assert_eq!(got.batches[0].given, Given::All);
    let delete = Options { mode: Mode::Delete, ..options() };
    for (name, content) in [("t.csv", "other,id\nz,1\n"), ("t.ndjson", "{\"id\":1,\"other\":[]}\n")] {
        let got = text(name, content, &delete, Some(&schema), &[]).unwrap();
        assert_eq!(got.rows(), [json!({"id": 1, "v": null, "w": null})]);
    }
}

#[test]
fn a_declared_schema_decides() {
    let fields = read_schema(
        r#"{"columns": [{"name": "id", "type": "uuid", "nullable": false}, {"name": "d", "type": "decimal(10, 2)"},
            {"name": "e", "type": "fixed_size_list(bf16, 2)"}, {"name": "m", "type": {"struct": [{"name": "a", "ty": "int8", "nullable": false}]}}]}"#,
    );
    let options = Options { schema: Some(fields.unwrap()), ..options() };
    let id = "00112233-4455-6677-8899-aabbccddeeff";
    let content = format!("id,d,e,m\n{id},1.5,\"[1, 2.5]\",\"{{\"\"a\"\": 3}}\"\n");
    let got = text("t.csv", &content, &options, None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": id, "d": "1.50", "e": [1.0, 2.5], "m": {"a": 3}})]);
    for wrong in [
        "[{\"name\": \"a\"}]",
        "[{\"name\": \"a\", \"type\": \"nothing\"}]",
        "3",
        "[{\"name\":\"a\",\"type\":\"list(\"}]",
    ] {
        let error = read_schema(wrong).expect_err(wrong).to_string();
        assert!(error.starts_with("read the schema: "), "{error}");
    }
}

pub(super) fn empty_dir(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

pub(super) fn total(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn another_separator_is_guessed_at() {
    let error = text("t.csv", "id;name\n1;a\n", &options(), None, &["id"]).unwrap_err().to_string();
    assert!(error.contains("they have id;name; is that more than one column? give --delimiter ';'"), "{error}");
    let error = text("t.csv", "id\tname\n1\ta\n", &options(), None, &["id"]).unwrap_err().to_string();
    assert!(error.ends_with("is that more than one column? give --format tsv"), "{error}");
    let error = text("t.csv", "nr,name\n1,a\n", &options(), None, &["id"]).unwrap_err().to_string();
    assert!(error.ends_with("they have nr, name"), "{error}");
}

#[test]
fn types_are_written_as_they_are_read() {
    for text in [
        "bool",
        "uint64",
        "bfloat16",
        "decimal(12, -2)",
        "decimal256(12, 2)",
        "decimal256(60, 2)",
        "date",
        "time(ms)",
        "timestamp(ns)",
        "timestamp(us, UTC)",
        "list(fixed_size_list(float32, 768))",
    ] {
        assert_eq!(parse_type(text).unwrap().to_string(), text);
    }
}
