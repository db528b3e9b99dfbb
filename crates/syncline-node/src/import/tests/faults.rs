//! What does not fit is named, counted, and never quietly changed.

use super::*;

/// Rows of a column that is looked at, and a last one behind what is.
fn behind(first: &str, last: &str, json: bool) -> Result<Got> {
    let row = |id: usize, cell: &str| match json {
        true => format!("{{\"id\":{id},\"v\":{cell},\"pad\":\"{}\"}}\n", "x".repeat(200)),
        false => format!("{id},{cell},{}\n", "x".repeat(200)),
    };
    // Text is looked at in blocks of a mebibyte.
    let rows: String = (1..=6000).map(|id| row(id, first)).chain([row(6001, last)]).collect();
    let (name, head) = if json { ("t.ndjson", "") } else { ("t.csv", "id,v,pad\n") };
    text(name, &(head.to_owned() + &rows), &Options { infer_bytes: 1, ..options() }, None, &["id"])
}

#[test]
fn a_number_behind_the_sample_is_kept_as_it_is_or_refused() {
    for (first, good, bad) in [
        ("12345", ["-7", "0", "9007199254740993", "-0"], ["01234", "+1", "-01", "00"]),
        (
            "1.5",
            ["-0.25", "0", "9007199254740992", "NaN"],
            ["9007199254740993", "01.5", "+1.5", "12345678901234567890"],
        ),
    ] {
        for last in good {
            let got = behind(first, last, false).unwrap();
            assert_eq!(got.report.rows, 6001, "{first} {last}");
        }
        for last in bad {
            let error = behind(first, last, false).unwrap_err().to_string();
            let line = format!("t.csv:6002: column `v`: \"{last}\" would not be kept as it is written");
            assert!(error.contains(&line), "{error}");
        }
    }
    for (first, last) in [("1.5", "9007199254740993"), ("[1.5]", "[2, 9007199254740993]"), ("1", "\"01\"")] {
        let error = behind(first, last, true).unwrap_err().to_string();
        assert!(error.contains("t.ndjson:6001: ") && error.contains("would not be kept"), "{error}");
    }
    // A declared type takes what is a number.
    let declared = read_schema(r#"[{"name":"id","type":"int64"},{"name":"v","type":"float64"}]"#).unwrap();
    let declared = Options { schema: Some(declared), ..options() };
    let got = text("t.csv", "id,v\n01,+1.5\n", &declared, None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 1, "v": 1.5})]);
}

#[test]
fn a_value_behind_the_sample_that_would_have_made_another_type_is_refused() {
    let utc = "2024-01-01T00:00:00Z";
    for (first, good, bad) in [
        ("true", &["FALSE", "false", ""][..], &["1", "t", "F", "0"][..]),
        (utc, &["2024-01-02T00:00:00+02:00"], &["2024-01-02T00:00:00", "2024-01-03"]),
        ("2024-01-01T00:00:00", &["2024-01-03"], &["2024-01-02T00:00:00Z"]),
        ("a", &["5", "true"], &[]),
    ] {
        for last in good {
            assert_eq!(behind(first, last, false).unwrap().report.rows, 6001, "{first} {last}");
        }
        for last in bad {
            let error = behind(first, last, false).unwrap_err().to_string();
            assert!(error.contains("t.csv:6002: column `v`: "), "{first} {last}: {error}");
        }
    }
    for (first, good, bad) in [
        ("true", &["false", "null"][..], &["1", "\"f\"", "\"true\""][..]),
        ("1", &["8"], &["\"8\"", "true"]),
        ("1.5", &["8"], &["\"8.5\""]),
        ("\"x\"", &["\"5\"", "123456789012345678901234567890"], &["5", "true", "1.50"]),
        ("null", &["\"x\""], &["5", "false"]),
        ("[]", &["[null]", "[\"x\"]"], &["[1]", "[true]"]),
        ("[1]", &["[8]"], &["[\"8\"]"]),
        ("{}", &["5", "[true]", "\"x\""], &[]),
    ] {
        for last in good {
            assert_eq!(behind(first, last, true).unwrap().report.rows, 6001, "{first} {last}");
        }
        for last in bad {
            let error = behind(first, last, true).unwrap_err().to_string();
            assert!(error.contains("t.ndjson:6001: column `v`: "), "{first} {last}: {error}");
        }
    }
}

fn reasons(name: &str, content: &str, existing: Option<&Schema>) -> Vec<(u64, String)> {
    match text(name, content, &options(), existing, &["id"]) {
        Err(Error::BadRows(report)) => {
            assert_eq!(report.rejected, report.bad_rows.len() as u64);
            report.bad_rows.into_iter().map(|bad| (bad.place.line.unwrap(), bad.reason)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn table() -> Schema {
    text("t.csv", "id,n,t\n1,2,x\n", &options(), None, &["id"]).unwrap().schema
}

#[test]
fn bad_rows_have_the_right_lines() {
    let content = "id,n,t\n1,2,\"two\nlines\"\nx,1,a\n2,,\"\n\n\"\n3,1.5,b\n,1,c\n4,1\n5,1,c,d\n6,7,\"e\"f\n7,1,ok\n";
    assert_eq!(
        reasons("t.csv", content, Some(&table())),
        [
            (4, "column `id`: \"x\" is not an int64".to_owned()),
            (8, "column `n`: \"1.5\" is not an int64".to_owned()),
            (9, "column `id` may not be null".to_owned()),
            (10, "has 2 fields, not 3".to_owned()),
            (11, "has 4 fields, not 3".to_owned()),
            (12, "has text behind a closing quote".to_owned()),
        ]
    );
}

#[test]
fn bad_ndjson_rows_have_the_right_lines() {
    let content = "{\"id\":1}\n\n{\"id\":2,\"n\":1.5}\n[1]\n{\"id\":3,\"nn\":1}\n{\"id\":4,\"id\":5}\n{\"n\":1}\n{\"id\":9,\"t\":{}}\n{\"id\":\n";
    let got = reasons("t.ndjson", content, Some(&table()));
    let lines: Vec<u64> = got.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9], "{got:?}");
    assert_eq!(got[0].1, "column `n`: 1.5 is not an int64");
    assert!(got[1].1.contains("is not valid JSON"), "{got:?}");
    assert!(got[2].1.contains("key `nn`") && got[3].1.contains("key `id` twice"), "{got:?}");
}

#[test]
fn a_quote_that_is_never_closed() {
    let got = reasons("t.csv", "id,n,t\n1,2,x\n2,3,\"abc\n3,4,y\n", Some(&table()));
    assert_eq!(got, [(3, "a quote is opened and never closed".to_owned())]);
}

#[test]
fn the_message_lists_ten_and_counts_all() {
    let rows: String = (0..30).map(|i| format!("{i},x,y\n")).collect();
    let options = Options { infer_bytes: 1, ..options() };
    let error = text("t.csv", &format!("id,n,t\n{rows}"), &options, Some(&table()), &[]).expect_err("bad rows");
    let message = error.to_string();
    assert!(message.starts_with("30 of 30 rows do not fit; nothing was imported\n  t.csv:2: column `n`"), "{message}");
    assert!(message.contains("… and 20 more") && message.contains("--reject"), "{message}");
    assert_eq!(error.kind(), syncline_base::Kind::Invalid);
}

#[test]
fn rejects_go_to_a_file_and_the_rest_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let reject = dir.path().join("rejects.ndjson");
    let options = Options { reject: Some(reject.clone()), ..options() };
    let got = run(vec![stream("t.csv", "id,n,t\n1,x,\"a\nb\"\n2,3,y\n4\n")], &options, Some(&table()), &[]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 2, "n": 3, "t": "y"})]);
    assert_eq!((got.report.rows_read, got.report.rejected), (3, 2));
    let lines: Vec<Value> =
        std::fs::read_to_string(reject).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["row"], "1,x,\"a\nb\"");
    assert_eq!((&lines[0]["file"], &lines[0]["line"]), (&json!("t.csv"), &json!(2)));
    assert_eq!(lines[1], json!({"file": "t.csv", "line": 5, "reason": "has 1 field, not 3", "row": "4"}));
}

#[test]
fn values_that_inference_did_not_see_are_bad_rows() {
    let rows: String = (0..200_000).map(|i| format!("{i},{i}\n")).collect();
    let content = format!("id,n\n{rows}200000,late\n");
    let inferred = Options { infer_bytes: 1, ..options() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, &content).unwrap();
    let error = run(vec![Input::Path(path.clone())], &inferred, None, &["id"]).expect_err("a bad row").to_string();
    assert!(error.contains("t.csv:200002: column `n`: \"late\" is not an int64"), "{error}");
    let got = run(vec![Input::Path(path)], &options(), None, &["id"]).unwrap();
    assert_eq!(type_of(&got, "n"), "Utf8", "the whole of a small file is looked at");
}

#[test]
fn empty_and_headless_sources() {
    assert!(refused("t.csv", "", &["id"]).contains("t.csv: is empty"));
    assert!(refused("t.ndjson", "", &["id"]).contains("no columns"));
    let got = text("t.csv", "id,v\n", &options(), None, &["id"]);
    assert_eq!(got.unwrap().rows(), Vec::<Value>::new());
    let got = text("t.ndjson", "", &options(), Some(&table()), &[]).unwrap();
    assert_eq!((got.rows().len(), got.report.in_order), (0, true));
}

#[test]
fn headers_that_make_no_sense() {
    assert!(refused("t.csv", "a,b,a\n1,2,3\n", &["a"]).contains("has column `a` twice"));
    assert!(refused("t.csv", "a,b\n1,2\n", &["c"]).contains("key column `c` is not in the sources; they have a, b"));
    assert!(refused("t.csv", "a,b\n1.5,2\n", &["a"]).contains("looks like float64"));
    assert!(refused("t.csv", "a,b\n1.5,2\n", &[]).contains("--key"));
    assert!(refused("t.txt", "a,b\n", &["a"]).contains("--format"));
    assert!(refused("t.csv", "\"a,b\n1,2\n", &["a"]).contains("never closed"));
}

/// What is left of files of old programs: to a reader of lines the whole of them is one header.
#[test]
fn lines_that_end_with_cr_alone() {
    let why = "its first line has a carriage return (CR) that no line feed (LF) follows";
    for content in
        ["id,a\r1,2\r3,4\r", "id,a\r1,2\r3,4", "\"id\",\"a\"\r1,2\r", "id,a\r\r\n1,2\r\r\n", "id,a\r1,2\n3,4\n"]
    {
        assert!(refused("t.csv", content, &["id"]).contains(why), "{content:?}");
        if !content.contains('\n') {
            let plain = Options { header: false, ..options() };
            let error = text("t.csv", content, &plain, None, &["column_1"]).expect_err(content).to_string();
            assert!(error.contains(why), "{content:?}: {error}");
        }
    }
    // In a record it is a part of a text.
    let plain = Options { header: false, ..options() };
    assert_eq!(text("t.csv", "1,a\rb\n", &plain, None, &["column_1"]).unwrap().rows()[0]["column_2"], "a\rb");
    // In quotes it is a part of a name, or of a text.
    let got = text("t.csv", "id,\"a\rb\"\r\n1,\"c\rd\"\r\n", &options(), None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 1, "a\rb": "c\rd"})]);
}

#[test]
fn unknown_and_missing_columns() {
    let unknown =
        text("t.csv", "id,n,t,zz\n1,1,1,1\n", &options(), Some(&table()), &[]).expect_err("unknown").to_string();
    assert!(unknown.contains("`zz` is not in the table; add it first with `alter --add zz:TYPE`"), "{unknown}");
    let missing = text("t.csv", "n,t\n1,1\n", &options(), Some(&table()), &[]).expect_err("missing").to_string();
    assert!(missing.contains("no column `id`, which is part of the key"), "{missing}");
    let key =
        text("t.csv", "id,n,t\n1,1,1\n", &options(), Some(&table()), &["n"]).expect_err("another key").to_string();
    assert_eq!(key, "the table's key is id, not n");
}

#[test]
fn a_record_that_is_too_long() {
    let options = Options { max_record_bytes: 4 << 20, ..options() };
    let long = "x".repeat(9 << 20);
    let error = text("t.csv", &format!("id,v\n1,a\n2,\"{long}\"\n"), &options, None, &["id"]).expect_err("too long");
    assert!(error.to_string().contains("the record that begins on line 3 is longer than 4194304 bytes"), "{error}");
    let fits = "x".repeat(3 << 20);
    let got = text("t.csv", &format!("id,v\n1,a\n2,\"{fits}\"\n"), &options, None, &["id"]).unwrap();
    assert_eq!(got.rows()[1]["v"].as_str().map(str::len), Some(3 << 20));
}

#[test]
fn bytes_that_are_no_text() {
    let mut content = b"id,v\n1,ok\n2,".to_vec();
    content.extend([0xff, 0xfe, b'\n']);
    let error = run(vec![stream("t.csv", content)], &options(), None, &["id"]).expect_err("not UTF-8").to_string();
    assert!(error.contains("t.csv:3: column `v` is not UTF-8"), "{error}");
    let error = run(vec![stream("t.csv", vec![0xff, 0xfe, b'a', 0])], &options(), None, &["id"]).expect_err("UTF-16");
    assert!(error.to_string().contains("UTF-16"));
    for name in ["t.parquet", "t.arrow", "t.arrows"] {
        let error = run(vec![stream(name, "not this")], &options(), None, &["id"]).expect_err(name);
        assert_eq!(error.kind(), syncline_base::Kind::Invalid);
    }
    let error = run(vec![Input::Path("/nowhere/t.csv".into())], &options(), None, &["id"]).expect_err("no file");
    assert_eq!(error.kind(), syncline_base::Kind::NotFound);
}

/// Whatever bytes of it are changed or cut: what cannot be read is said to be damaged, and nothing panics.
#[test]
fn damaged_files_are_refused() {
    use arrow_array::{ArrayRef, BooleanArray, Int64Array, ListArray, StringArray};
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(
        (0..100).map(|i| Some((0..i % 3).map(Some).collect::<Vec<_>>())),
    );
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..100))),
        ("t", Arc::new(StringArray::from_iter((0..100).map(|i| (i % 7 > 0).then(|| format!("text {i}")))))),
        ("b", Arc::new(BooleanArray::from_iter((0..100).map(|i| (i % 5 > 0).then_some(i % 2 == 0))))),
        ("l", Arc::new(list)),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut damaged = 0;
    for name in ["t.parquet", "t.arrow", "t.arrows"] {
        let path = dir.path().join(name);
        let batches = [Ok::<_, crate::export::Error>(rows.clone())].into_iter();
        let target = crate::export::Target::Path(path.clone());
        crate::export::write(&rows.schema(), batches, &target, &crate::export::Options::default()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for round in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = u8::try_from(random(256)).unwrap();
            }
            if round % 10 == 0 {
                bytes.truncate(random(whole.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            match run(vec![Input::Path(path.clone())], &options(), None, &["id"]) {
                Ok(got) => assert!(got.report.rows == 100 || name != "t.parquet", "{round}: {} rows", got.report.rows),
                Err(error) => {
                    let text = error.to_string();
                    damaged += usize::from(text.contains("is damaged: its bytes contradict each other"));
                    assert_eq!(error.kind(), syncline_base::Kind::Invalid, "{name} {round}: {text}");
                }
            }
        }
    }
    // Lengths that no machine has room for.
    let few = |name: &str| super::typed::ipc(name, &[rows.slice(0, 4)]);
    let packed = ("t.arrow", super::typed::compressed_ipc(&rows));
    for (name, bytes) in [("t.arrow", few("t.arrow")), ("t.arrows", few("t.arrows")), packed] {
        let path = dir.path().join(name);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] = 0x3f;
            std::fs::write(&path, &bytes).unwrap();
            if let Err(error) = run(vec![Input::Path(path.clone())], &options(), None, &["id"]) {
                assert_eq!(error.kind(), syncline_base::Kind::Invalid, "{name} {at}: {error}");
            }
        }
    }
    assert!(damaged > 8, "{damaged}: readers do not panic any more, and need no guard");
}

#[test]
fn keys_that_are_too_long_are_bad_rows() {
    let long = "k".repeat(70_000);
    let table = text("t.csv", "id,v\na,1\n", &options(), None, &["id"]).unwrap().schema;
    let reason = "its key takes 70002 bytes, and a key may have 65536".to_owned();
    for mode in [Mode::Upsert, Mode::Replace, Mode::Append, Mode::Delete] {
        let options = Options { mode, ..options() };
        for (name, content) in [
            ("t.csv", format!("id,v\na,1\n{long},2\nb,x\nc,3\n")),
            ("t.ndjson", format!("{{\"id\":\"a\"}}\n{{\"id\":\"{long}\"}}\n{{\"id\":\"b\",\"v\":[]}}\n")),
        ] {
            let Err(Error::BadRows(report)) = text(name, &content, &options, Some(&table), &[]) else {
                panic!("{name} {mode:?} must be refused")
            };
            let bad: Vec<(u64, String)> =
                report.bad_rows.into_iter().map(|bad| (bad.place.line.unwrap(), bad.reason)).collect();
            assert_eq!(bad[0], (if name == "t.csv" { 3 } else { 2 }, reason.clone()));
            assert_eq!(bad.len(), if mode == Mode::Delete { 1 } else { 2 }, "the other bad row is found too: {bad:?}");
        }
    }
    // As long as a key can be.
    let longest = "k".repeat(65_534);
    let got = text("t.csv", &format!("id,v\n{longest},1\n"), &options(), Some(&table), &[]).unwrap();
    assert_eq!(got.rows()[0]["id"], longest);
    let dir = tempfile::tempdir().unwrap();
    let reject = dir.path().join("rejects");
    let options = Options { reject: Some(reject.clone()), ..options() };
    let got = run(vec![stream("t.csv", format!("id,v\n{long},2\nb,3\n"))], &options, Some(&table), &[]).unwrap();
    assert_eq!(got.rows(), [json!({"id": "b", "v": 3})]);
    let line: Value = serde_json::from_str(std::fs::read_to_string(reject).unwrap().trim()).unwrap();
    assert_eq!(line, json!({"file": "t.csv", "line": 2, "reason": reason, "row": format!("{long},2")}));
}

#[test]
fn types_that_no_key_can_have() {
    for (ty, value) in [("float64", "1.5"), ("json", "{}"), ("list(int32)", "[]")] {
        let fields = read_schema(&format!("[{{\"name\":\"id\",\"type\":\"{ty}\",\"nullable\":false}}]")).unwrap();
        let options = Options { schema: Some(fields), ..options() };
        let error = text("t.csv", &format!("id\n{value}\n"), &options, None, &["id"]).expect_err(ty).to_string();
        assert!(error.contains("\"id\" cannot be in the key: a key column is not null and is a bool"), "{error}");
    }
}

#[test]
fn null_keys_are_bad_rows_in_every_format() {
    let got = reasons("t.csv", "id,n,t\n,1,x\n\"\",2,y\n", Some(&table()));
    let null = |line| (line, "column `id` may not be null".to_owned());
    assert_eq!(got, [null(2), null(3)]);
    let got = reasons("t.ndjson", "{\"id\":null}\n{\"n\":1}\n", Some(&table()));
    assert_eq!(got, [null(1), null(2)]);
}

#[test]
fn without_a_header_columns_are_the_tables_in_order() {
    let plain = Options { header: false, ..options() };
    let got = text("t.csv", "2,7,b\n1,,\"a\"\n", &plain, Some(&table()), &[]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 1, "n": null, "t": "a"}), json!({"id": 2, "n": 7, "t": "b"})]);
    let error = text("t.tsv", "2\t7\n", &plain, Some(&table()), &[]).expect_err("two columns").to_string();
    assert_eq!(
        error,
        "t.tsv: without a header its 2 columns are the table's in order, and the table has 3: id, n, t; give all of \
         them, or a header that names those that are there"
    );
    let delete = Options { mode: Mode::Delete, ..plain.clone() };
    for content in ["2\n1\n", "2,7,b\n1,,x\n"] {
        let got = text("t.csv", content, &delete, Some(&table()), &[]).unwrap();
        assert_eq!(got.rows()[1]["id"], 2, "{content}");
    }
    let fields =
        read_schema("[{\"name\":\"id\",\"type\":\"utf8\",\"nullable\":false},{\"name\":\"n\",\"type\":\"int8\"}]");
    let declared = Options { schema: Some(fields.unwrap()), ..plain };
    let got = text("t.csv", "007,1\n", &declared, None, &["id"]).unwrap();
    assert_eq!(got.rows(), [json!({"id": "007", "n": 1})]);
    let error = text("t.csv", "007\n", &declared, None, &["id"]).expect_err("one column").to_string();
    assert!(error.starts_with("t.csv: without a header its 1 column are the schema's"), "{error}");
}

/// A number in a Parquet footer that is wrong: rows must not go without a word.
#[test]
fn parquet_files_that_lose_rows_are_damaged() {
    use ::parquet::arrow::ArrowWriter;
    use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
    use ::parquet::file::properties::WriterProperties;
    use arrow_array::{ArrayRef, Int64Array};
    let numbers = |salt: i64| Arc::new(Int64Array::from_iter_values((0..16_384).map(move |i| i * salt))) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("id", numbers(1)), ("v", numbers(7_919))]).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_data_page_row_count_limit(1024);
    let properties = properties.set_write_batch_size(1024).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
    let footer = usize::try_from(u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap())).unwrap();
    let with = |metadata: &ParquetMetaData| {
        let mut bytes = bytes[..bytes.len() - 8 - footer].to_vec();
        ParquetMetaDataWriter::new(&mut bytes, metadata).finish().unwrap();
        let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        run(vec![Input::Path(file.path().to_owned())], &options(), None, &["id"])
    };
    let plain = || metadata.clone().into_builder().set_column_index(None).set_offset_index(None);
    assert_eq!(with(&plain().build()).unwrap().report.rows, 16_384);
    let shorter = {
        let mut plain = plain();
        let groups = plain.take_row_groups().into_iter().map(|group| {
            let mut columns = group.columns().to_vec();
            let (size, start) = (columns[1].compressed_size(), columns[1].data_page_offset());
            let cut = columns[1].clone().into_builder().set_total_compressed_size(size / 2).set_data_page_offset(start);
            columns[1] = cut.build().unwrap();
            group.into_builder().set_column_metadata(columns).build().unwrap()
        });
        let groups = groups.collect();
        plain.set_row_groups(groups).build()
    };
    let error = with(&shorter).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(error.kind(), syncline_base::Kind::Invalid);
}

#[test]
fn a_column_that_comes_twice_is_refused() {
    use arrow_array::{ArrayRef, Int64Array};
    let numbers = || Arc::new(Int64Array::from_iter_values(0..3)) as ArrayRef;
    let twice = RecordBatch::try_from_iter([("id", numbers()), ("n", numbers()), ("n", numbers())]).unwrap();
    let table = table();
    let input = stream("t.arrows", super::typed::ipc("t.arrows", &[twice]));
    let error = run(vec![input], &options(), Some(&table), &["id"]).unwrap_err().to_string();
    assert!(error.contains("`n` more than once"), "{error}");
}

#[test]
fn nesting_without_end_is_no_type() {
    let deep = format!("{{\"id\":1,\"v\":{}{}}}\n", "[".repeat(50_000), "]".repeat(50_000));
    let got = run(vec![stream("t.ndjson", deep)], &options(), None, &["id"]).unwrap();
    assert_eq!(type_of(&got, "v"), "Json");
    let ty = format!("{}int64{}", "list(".repeat(100_000), ")".repeat(100_000));
    let error = parse_type(&ty).unwrap_err().to_string();
    assert!(error.len() < 300 && error.contains("bytes long"), "{error}");
}

#[test]
fn mixed_json_keeps_what_it_is() {
    let rows =
        "{\"id\":1,\"a\":1,\"l\":[1,\"a\"],\"n\":9007199254740993}\n{\"id\":2,\"a\":\"1\",\"l\":[true],\"n\":1.5}\n";
    let got = text("t.ndjson", rows, &options(), None, &["id"]).unwrap();
    assert_eq!(["a", "l", "n"].map(|column| type_of(&got, column)), ["Json"; 3].map(str::to_owned));
    let only = text("t.ndjson", "{\"id\":1,\"s\":\"1\",\"d\":\"2024-01-01\"}\n", &options(), None, &["id"]).unwrap();
    assert_eq!(["s", "d"].map(|column| type_of(&only, column)), ["Utf8"; 2].map(str::to_owned));
}

/// Fails when its bytes have been read.
struct Failing(std::io::Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::ErrorKind::ConnectionReset.into()),
            read => Ok(read),
        }
    }
}

#[test]
fn damaged_compressed_text_is_invalid_and_what_cannot_be_read_is_not() {
    use std::io::Write as _;

    use syncline_base::Kind;
    let text: String = "id,a\n"
        .chars()
        .chain((0..5000).flat_map(|id| format!("{id},{}\n", id * 7).into_bytes()).map(char::from))
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(text.as_bytes()).unwrap();
    for (name, bytes) in [("t.csv.gz", gzip.finish().unwrap()), ("t.csv.zst", zstd.finish().unwrap())] {
        assert_eq!(run(vec![stream(name, bytes.clone())], &options(), None, &["id"]).unwrap().report.rows, 5000);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 0x55;
        for damaged in [flipped, bytes[..bytes.len() / 2].to_vec(), bytes[..12].to_vec()] {
            let error = run(vec![stream(name, damaged)], &options(), None, &["id"]).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(error.to_string().contains(&format!("{name}: is damaged: ")), "{error}");
        }
        let reader = Box::new(Failing(std::io::Cursor::new(bytes[..bytes.len() / 2].to_vec())));
        let unread = run(vec![Input::Reader { name: name.to_owned(), reader }], &options(), None, &["id"]).unwrap_err();
        assert_eq!(unread.kind(), Kind::Unavailable, "{unread}");
    }
}

#[test]
fn more_columns_than_a_table_has_are_refused_at_once() {
    let names: Vec<String> = (0..200_000).map(|i| format!("c{i}")).collect();
    let header = format!("{}\n", names.join(","));
    let error = refused("t.csv", &header, &["c0"]);
    assert!(error.starts_with("t.csv: its first line has 200000 fields, and a table at most 4096 columns"), "{error}");
    let error = text("t.csv", &header, &Options { header: false, ..options() }, None, &["c0"]).unwrap_err().to_string();
    assert!(error.contains("its first line has 200000 fields"), "{error}");
    let line: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    let error = refused("t.ndjson", &format!("{{\"c0\":1}}\n{{{}}}\n", line.join(",")), &["c0"]);
    assert!(error.starts_with("t.ndjson: the records up to line 2 have more different keys than the 4096"), "{error}");
    let most: String = names[..4096].join(",");
    let error = refused("t.csv", &format!("{most},c5\n"), &["c0"]);
    assert!(error.contains("4097 fields"), "{error}");
    // And the most are not too many, on every way.
    let ids: Vec<&str> = most.split(',').map(|_| "1").collect();
    let got = text("t.csv", &format!("{most}\n{}\n", ids.join(",")), &options(), None, &["c0"]).unwrap();
    let bytes = typed::parquet(&got.batches[0].rows);
    let again = run(vec![stream("t.parquet", bytes)], &options(), None, &["c0"]).unwrap();
    assert_eq!((again.rows(), again.schema), (got.rows(), got.schema));
    // Records with too many fields are counted, not kept.
    let error = refused("t.csv", &format!("a,b\n{}\n", ",".repeat(100_000)), &["a"]);
    assert!(error.contains("t.csv:2: has 100001 fields, not 2"), "{error}");
}

#[test]
fn timestamps_that_no_unit_holds_together_are_text() {
    let type_of = |cells: &[&str]| {
        let rows: String = cells.iter().enumerate().map(|(id, cell)| format!("{id},{cell}\n")).collect();
        let got = text("t.csv", &format!("id,t\n{rows}"), &options(), None, &["id"]).unwrap();
        assert_eq!(got.report.rows, cells.len() as u64);
        got.schema.column("t").unwrap().ty.to_string()
    };
    assert_eq!(type_of(&["2024-01-01T00:00:00.123456789", "2024-01-01"]), "timestamp(ns)");
    assert_eq!(type_of(&["2024-01-01T00:00:00.123456", "9999-12-31T00:00:00"]), "timestamp(us)");
    assert_eq!(type_of(&["2024-01-01T00:00:00.123456789", "9999-12-31T00:00:00"]), "utf8");
    assert_eq!(type_of(&["2024-01-01T00:00:00.123456789", "9999-12-31"]), "utf8");
    assert_eq!(type_of(&["2024-01-01T00:00:00.123456789Z", "0001-01-01T00:00:00Z"]), "utf8");
    assert_eq!(type_of(&["2024-01-01", "9999-12-31"]), "date");
    let table = text("t.csv", "id,t\n1,2024-01-01T00:00:00.123456789\n", &options(), None, &["id"]).unwrap().schema;
    let reasons = reasons("t.csv", "id,t\n1,9999-12-31T00:00:00\n2,x\n", Some(&table));
    let outside = "is outside of the years 1677 to 2262, which is all that nanoseconds reach";
    assert!(reasons[0].1.ends_with(outside), "{reasons:?}");
    assert!(reasons[1].1.contains("is not a timestamp"), "{reasons:?}");
}

#[test]
fn a_reject_file_of_before_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rejected");
    let options = Options { reject: Some(path.clone()), ..options() };
    text("t.csv", "id,v\n1,a\n", &options, None, &["id"]).unwrap();
    assert!(!path.exists());
    text("t.csv", "id,v\n1,a\n2\n", &options, None, &["id"]).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 0);
    text("t.csv", "id,v\n1,a\n", &options, None, &["id"]).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}
