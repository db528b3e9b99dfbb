//! Rows that give some columns only, of tables whose other columns may not be null.

use std::collections::BTreeSet;

use syncline_tree::key::KeyEncoder;

use super::*;

/// `v`, `tags` and `at` may not be null, `w` may.
fn table() -> Schema {
    let fields = read_schema(
        r#"[{"name": "id", "type": "int64", "nullable": false}, {"name": "v", "type": "utf8", "nullable": false},
            {"name": "w", "type": "int32"}, {"name": "at", "type": "date", "nullable": false},
            {"name": "tags", "type": {"list": {"name": "item", "ty": "utf8", "nullable": false}}, "nullable": false}]"#,
    );
    Schema::new(fields.unwrap(), &["id"]).unwrap()
}

/// Options for a table that has these rows.
fn having(ids: impl IntoIterator<Item = i64>) -> Options {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let encoder = KeyEncoder::new(&table()).unwrap();
    let known: Known = Arc::new(move |keys| {
        use arrow_array::cast::AsArray as _;
        assert!((1..keys.len()).all(|i| keys.get(i - 1) < keys.get(i)), "keys ascend");
        let batch = encoder.decode(keys.iter())?;
        let asked = batch.column(0).as_primitive::<arrow_array::types::Int64Type>();
        Ok(asked.values().iter().map(|id| ids.contains(id)).collect())
    });
    Options { known: Some(known), ..options() }
}

fn bad(error: Error) -> Vec<(u64, String)> {
    let Error::BadRows(report) = error else { panic!("{error}") };
    assert_eq!(report.rejected, report.bad_rows.len() as u64);
    report.bad_rows.into_iter().map(|bad| (bad.place.line.unwrap(), bad.reason)).collect()
}

#[test]
fn rows_that_exist_may_lack_columns_that_may_not_be_null() {
    let got = text("t.csv", "w,id\n5,2\n6,1\n", &having([1, 2, 3]), Some(&table()), &[]).unwrap();
    let given: Vec<Option<&[u32]>> = (0..2).map(|row| got.batches[0].given.of(row)).collect();
    assert_eq!(given, [Some(&[0, 2][..]), Some(&[0, 2])]);
    let cells: Vec<(Value, Value)> = got.rows().iter().map(|row| (row["id"].clone(), row["w"].clone())).collect();
    assert_eq!(cells, [(json!(1), json!(6)), (json!(2), json!(5))]);
    let content = "{\"id\":3,\"tags\":[\"x\"]}\n{\"id\":1,\"v\":\"b\"}\n\
                   {\"id\":9,\"v\":\"c\",\"at\":\"2024-01-01\",\"tags\":[]}\n";
    let got = text("t.ndjson", content, &having([1, 2, 3]), Some(&table()), &[]).unwrap();
    let given: Vec<Option<&[u32]>> = (0..3).map(|row| got.batches[0].given.of(row)).collect();
    assert_eq!(given, [Some(&[0, 1][..]), Some(&[0, 4]), Some(&[0, 1, 3, 4])]);
    assert_eq!((&got.rows()[1]["tags"], &got.rows()[2]["v"]), (&json!(["x"]), &json!("c")));
}

#[test]
fn new_rows_that_lack_such_columns_are_bad_rows() {
    let content = "w,at,id\n5,2024-01-01,9\n6,2024-01-01,1\n7,2024-01-01,8\nx,2024-01-01,7\n";
    let error = text("t.csv", content, &having([1]), Some(&table()), &[]).expect_err("new rows");
    assert_eq!(
        bad(error),
        [(5, "column `w`: \"x\" is not an int32".to_owned()),],
        "rows that do not fit anyway are named first, and then nothing is looked up"
    );
    let content = content.replace("x,2024-01-01,7\n", "");
    let error = text("t.csv", &content, &having([1]), Some(&table()), &[]).expect_err("new rows");
    let lacks = "is new and lacks the columns `v`, `tags`, which may not be null";
    assert_eq!(
        bad(error),
        [(4, format!("the row {{\"id\":8}} {lacks}")), (2, format!("the row {{\"id\":9}} {lacks}"))]
    );
}

#[test]
fn new_rows_that_lack_such_columns_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let reject = dir.path().join("rejects");
    let options = Options { reject: Some(reject.clone()), ..having([1]) };
    let content = "{\"id\":1,\"v\":null}\n{\"id\":1,\"w\":4}\n{\"id\":2,\"v\":\"b\",\"at\":\"2024-01-01\"}\n";
    let got = run(vec![stream("t.ndjson", content)], &options, Some(&table()), &[]).unwrap();
    assert_eq!((got.report.rows_read, got.report.rejected, got.report.rows), (3, 2, 1));
    let lines = std::fs::read_to_string(reject).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["line"], &lines[0]["reason"]), (&json!(1), &json!("column `v` may not be null")));
    let reason = "the row {\"id\":2} is new and lacks the column `tags`, which may not be null";
    assert_eq!((&lines[1]["line"], &lines[1]["reason"]), (&json!(3), &json!(reason)));
    assert_eq!(lines[1]["row"], "{\"id\":2,\"v\":\"b\",\"at\":\"2024-01-01\"}");
}

#[test]
fn bad_rows_are_found_in_an_import_that_is_sorted_on_disk() {
    let rows: String = (0..50_000u64).map(|i| format!("{},{i}\n", i * 7919 % 50_000)).collect();
    let options = Options { sort_bytes: 1 << 20, batch_rows: 500, ..having((0..50_000).filter(|id| *id != 33)) };
    let got = run(vec![stream("t.csv", format!("id,w\n{rows}"))], &options, Some(&table()), &[]);
    let Err(Error::BadRows(report)) = got else { panic!("{got:?}") };
    assert!(report.spilled_bytes > 0);
    assert_eq!((report.rejected, report.rows_read), (1, 50_000));
    let line = 2 + (0..50_000u64).find(|i| i * 7919 % 50_000 == 33).unwrap();
    assert_eq!(report.bad_rows[0].place.line, Some(line));
}

#[test]
fn other_modes_and_new_tables_need_all_such_columns() {
    for mode in [Mode::Replace, Mode::Append] {
        let options = Options { mode, ..having([1]) };
        let error = text("t.csv", "id,w\n1,2\n", &options, Some(&table()), &[]).expect_err("columns are missing");
        assert_eq!(error.to_string(), "t.csv: it has no column `v`, which may not be null");
        let error = text("t.ndjson", "{\"id\":1,\"w\":2}\n", &options, Some(&table()), &[]).expect_err("no column");
        assert_eq!(bad(error), [(1, "column `v` may not be null".to_owned())]);
    }
    let fields = table().columns.into_iter().map(|c| Field { name: c.name, ty: c.ty, nullable: c.nullable });
    let options = Options { schema: Some(fields.collect()), ..options() };
    let error = text("t.ndjson", "{\"id\":1,\"w\":2}\n", &options, None, &["id"]).expect_err("no column");
    assert_eq!(bad(error), [(1, "column `v` may not be null".to_owned())]);
}

#[test]
fn the_key_is_always_needed() {
    let error = text("t.csv", "v,w\na,2\n", &having([1]), Some(&table()), &[]).expect_err("no key");
    assert_eq!(error.to_string(), "t.csv: it has no column `id`, which is part of the key");
    let error = text("t.ndjson", "{\"w\":2}\n", &having([1]), Some(&table()), &[]).expect_err("no key");
    assert_eq!(bad(error), [(1, "column `id` may not be null".to_owned())]);
}
