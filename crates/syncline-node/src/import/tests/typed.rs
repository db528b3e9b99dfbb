//! Parquet and Arrow sources.

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow_array::{Array as _, ArrayRef, Float64Array, Int64Array, StringArray};
use syncline_tree::schema::{Field, Type, Unit};

use super::*;

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn wide(ids: Vec<i64>) -> RecordBatch {
    let text: Vec<String> = ids.iter().map(|id| format!("text {id}")).collect();
    let floats = Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 / 4.0));
    batch(vec![
        ("v", Arc::new(StringArray::from(text))),
        ("id", Arc::new(Int64Array::from(ids))),
        ("x", Arc::new(floats)),
    ])
}

#[test]
fn parquet_in_order_goes_straight_through() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<Input> = [(0..5000).collect(), (5000..9000).collect::<Vec<i64>>()]
        .into_iter()
        .enumerate()
        .map(|(i, ids)| {
            let path = dir.path().join(format!("{i}.parquet"));
            std::fs::write(&path, parquet(&wide(ids))).unwrap();
            Input::Path(path)
        })
        .collect();
    let options = Options { sort_bytes: 1, batch_rows: 700, ..options() };
    let got = run(paths, &options, None, &["id"]).unwrap();
    assert!(got.report.in_order);
    assert_eq!((got.report.spilled_bytes, got.report.rows), (0, 9000));
    assert_eq!(got.rows()[7001], json!({"v": "text 7001", "id": 7001, "x": 1750.25}));
    let out = total(&got.batches.iter().map(|batch| batch.rows.clone()).collect::<Vec<_>>());
    assert_eq!(out, 9000);
}

#[test]
fn parquet_out_of_order_is_sorted() {
    let ids: Vec<i64> = (0..5003).map(|i| i * 7919 % 5003).collect();
    let options = Options { sort_bytes: 1 << 16, batch_rows: 500, ..options() };
    let got = run(vec![stream("t.parquet", parquet(&wide(ids)))], &options, None, &["id"]).unwrap();
    assert_eq!(got.rows()[5002], json!({"v": "text 5002", "id": 5002, "x": 1250.5}));
    assert!(!got.report.in_order && got.report.spilled_bytes > 0);
}

/// pandas writes such columns for what is empty throughout.
#[test]
fn a_column_without_a_type_is_null_in_every_row() {
    let empty = || Arc::new(arrow_array::NullArray::new(3)) as ArrayRef;
    let source = batch(vec![("id", Arc::new(Int64Array::from(vec![1, 2, 3]))), ("n", empty()), ("m", empty())]);
    let known = text("t.csv", "id,n,m\n1,2,2024-01-01\n", &options(), None, &["id"]).unwrap().schema;
    for existing in [None, Some(&known)] {
        let got = run(vec![stream("t.parquet", parquet(&source))], &options(), existing, &["id"]).unwrap();
        assert_eq!(got.rows()[2], json!({"id": 3, "n": null, "m": null}));
        assert_eq!(
            (got.report.rejected, type_of(&got, "n").as_str()),
            (0, if existing.is_some() { "Int64" } else { "Utf8" })
        );
    }
}

/// What becomes of these cells in a table that has them as `ty`, or the rows that do not fit and why.
pub(super) fn nested(cells: ArrayRef, ty: Type) -> std::result::Result<Vec<Value>, Vec<(u64, String)>> {
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("v", ty, true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let ids = Int64Array::from_iter_values(0..cells.len() as i64);
    let bytes = ipc("t.arrows", &[batch(vec![("id", Arc::new(ids)), ("v", cells)])]);
    match run(vec![stream("t.arrows", bytes)], &options(), Some(&schema), &[]) {
        Ok(got) => Ok(got.rows().into_iter().map(|mut row| row["v"].take()).collect()),
        Err(Error::BadRows(report)) => {
            Err(report.bad_rows.into_iter().map(|bad| (bad.place.row.unwrap(), bad.reason)).collect())
        }
        Err(other) => Err(vec![(0, other.to_string())]),
    }
}

pub(super) fn list_of(item: Type, nullable: bool) -> Type {
    Type::List(Box::new(Field::new("item", item, nullable)))
}

#[test]
fn values_inside_of_lists_structs_and_maps_are_kept_or_refused() {
    use arrow_array::types::{Decimal128Type, Float64Type, TimestampNanosecondType};
    use arrow_array::{ListArray, builder};
    let floats = |cells: Vec<Option<Vec<Option<f64>>>>| {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(cells)) as ArrayRef
    };
    let cells = floats(vec![Some(vec![Some(1.0), None]), Some(vec![]), None, Some(vec![Some(2.0), Some(1.5)])]);
    let misfit = |row: u64, text: &str| Err(vec![(row, format!("column `v`: {text}"))]);
    assert_eq!(nested(cells.clone(), list_of(Type::Int64, true)), misfit(4, "1.5 does not fit Int64"));
    assert_eq!(
        nested(cells.slice(0, 3), list_of(Type::Int64, true)),
        Ok(vec![json!([1, null]), json!([]), json!(null)])
    );
    assert_eq!(nested(cells.slice(3, 1), list_of(Type::Int64, true)), misfit(1, "1.5 does not fit Int64"));
    assert_eq!(nested(cells.slice(0, 2), list_of(Type::Int64, false)), misfit(1, "its `item` may not be null"));
    assert_eq!(nested(cells.slice(1, 3), list_of(Type::Float32, false)).unwrap()[2], json!([2.0, 1.5]));
    assert_eq!(
        nested(floats(vec![Some(vec![Some(0.1)])]), list_of(Type::Float32, true)),
        Ok(vec![json!([0.1])]),
        "floats are rounded"
    );
    let lists = |item: Type| list_of(list_of(item, true), true);
    let item = Arc::new(arrow_schema::Field::new("item", cells.data_type().clone(), true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([1, 3]);
    let deep: ArrayRef = Arc::new(ListArray::new(item, offsets, cells.clone(), None));
    assert_eq!(nested(deep, lists(Type::Int8)), misfit(2, "1.5 does not fit Int8"));

    let fixed = Arc::new(arrow_schema::Field::new("item", arrow_schema::DataType::Float64, true));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.5]));
    let pairs: ArrayRef = Arc::new(arrow_array::FixedSizeListArray::new(fixed, 2, numbers.clone(), None));
    let pair = |item: Type| Type::FixedSizeList(Box::new(Field::new("item", item, true)), 2);
    assert_eq!(nested(pairs, pair(Type::Int16)), misfit(2, "4.5 does not fit Int16"));
    let member = Arc::new(arrow_schema::Field::new("a", arrow_schema::DataType::Float64, true));
    let structs: ArrayRef = Arc::new(arrow_array::StructArray::from(vec![(member, numbers)]));
    let members = Type::Struct(vec![Field::new("a", Type::Int8, true)]);
    assert_eq!(nested(structs.clone(), members.clone()), misfit(4, "4.5 does not fit Int8"));
    assert_eq!(nested(structs.slice(0, 1), members), Ok(vec![json!({"a": 1})]));
    let mut maps = builder::MapBuilder::new(None, builder::StringBuilder::new(), builder::Float64Builder::new());
    for value in [1.0, 1.5] {
        maps.keys().append_value("k");
        maps.values().append_value(value);
        maps.append(true).unwrap();
    }
    let (key, value) = (Field::new("key", Type::Utf8, false), Field::new("value", Type::Int64, true));
    let map = Type::Map { key: Box::new(key), value: Box::new(value) };
    assert_eq!(nested(Arc::new(maps.finish()), map), misfit(2, "1.5 does not fit Int64"));

    let halves = floats(vec![Some(vec![Some(2.0), Some(-0.5), Some(1.001)])]);
    assert_eq!(nested(halves, list_of(Type::BFloat16, true)), Ok(vec![json!([2.0, -0.5, 1.0])]));
    let one: ArrayRef = Arc::new(Int64Array::from(vec![256, 257]));
    assert_eq!(nested(one, Type::BFloat16), misfit(2, "257 does not fit bfloat16"));

    let nanos = |nanos: i64| {
        let cells = [Some(vec![Some(nanos)])];
        Arc::new(ListArray::from_iter_primitive::<TimestampNanosecondType, _, _>(cells)) as ArrayRef
    };
    let at = |zone: Option<&str>| list_of(Type::Timestamp { unit: Unit::Us, zone: zone.map(Into::into) }, true);
    assert_eq!(nested(nanos(5000), at(None)), Ok(vec![json!(["1970-01-01T00:00:00.000005"])]));
    assert_eq!(nested(nanos(5000), at(Some("UTC"))), Ok(vec![json!(["1970-01-01T00:00:00.000005Z"])]));
    let fine = nested(nanos(5001), at(None)).unwrap_err().remove(0);
    assert!(fine.0 == 1 && fine.1.contains("does not fit Timestamp"), "{fine:?}");
    let zone = nested(nanos(5000), at(Some("Europe/Berlin"))).unwrap_err().remove(0);
    assert!(zone.1.contains("one has a zone and the other has none"), "{zone:?}");
    let decimal = |unscaled: i128| {
        let cells = [Some(vec![Some(unscaled)])];
        Arc::new(ListArray::from_iter_primitive::<Decimal128Type, _, _>(cells)) as ArrayRef
    };
    let money = list_of(Type::Decimal128 { precision: 10, scale: 2 }, true);
    assert_eq!(nested(decimal(12_300_000_000), money.clone()), Ok(vec![json!([1.23])]));
    let fine = nested(decimal(12_340_000_000), money).unwrap_err().remove(0);
    assert!(fine.0 == 1 && fine.1.contains("does not fit Decimal128"), "{fine:?}");
}

/// Row groups have 1000 rows here: order may break within one, or between two that are in order each.
#[test]
fn parquet_out_of_order_anywhere_is_noticed() {
    let plain: Vec<i64> = (0..9000).collect();
    let swapped = |a: usize, b: usize| {
        let mut ids = plain.clone();
        ids.swap(a, b);
        ids
    };
    let turned = |at: usize| {
        let mut ids = plain.clone();
        ids.rotate_left(at);
        ids
    };
    for ids in [swapped(8998, 8999), swapped(0, 1), swapped(3999, 4000), turned(1000), turned(8000)] {
        let got = run(vec![stream("t.parquet", parquet(&wide(ids)))], &options(), None, &["id"]).unwrap();
        assert!(!got.report.in_order);
        assert_eq!((got.report.rows, &got.rows()[4000]["id"]), (9000, &json!(4000)));
    }
}

#[test]
fn cells_that_do_not_fit_the_table_are_bad_rows() {
    let schema = text("t.csv", "id,n,d\n1,2,2024-01-01\n", &options(), None, &["id"]).unwrap().schema;
    let source = batch(vec![
        ("id", Arc::new(Float64Array::from(vec![Some(1.0), Some(2.5), None, Some(4.0), Some(5.0)]))),
        ("n", Arc::new(Float64Array::from(vec![Some(1.0), Some(1.0), Some(1.0), Some(1.5), None]))),
        ("d", Arc::new(StringArray::from(vec!["2024-01-01", "2024-01-01", "2024-01-01", "x", "y"]))),
    ]);
    let error = run(vec![stream("t.parquet", parquet(&source))], &options(), Some(&schema), &[]).expect_err("bad rows");
    let Error::BadRows(report) = error else { panic!("{error}") };
    let bad: Vec<(u64, &str)> =
        report.bad_rows.iter().map(|bad| (bad.place.row.unwrap(), bad.reason.as_str())).collect();
    assert_eq!(
        bad,
        [
            (2, "column `id`: 2.5 does not fit Int64"),
            (3, "column `id` may not be null"),
            (4, "column `n`: 1.5 does not fit Int64"),
            (5, "column `d`: \"y\" is not a date (YYYY-MM-DD)"),
        ]
    );
}

#[test]
fn sources_that_disagree_are_named() {
    let text = batch(vec![("id", Arc::new(StringArray::from(vec!["a"])))]);
    let inputs = vec![stream("a.parquet", parquet(&wide(vec![1]))), stream("b.parquet", parquet(&text))];
    let error = run(inputs, &options(), None, &["id"]).expect_err("two types").to_string();
    assert_eq!(error, "column `id` is utf8 in b.parquet and int64 in a.parquet; declare its type with --schema");
}

#[test]
fn rows_with_keys_that_are_too_long_do_not_spoil_the_order() {
    let keys: Vec<String> = ["a".to_owned(), "z".repeat(70_000), "b".to_owned(), "c".to_owned()].to_vec();
    let source = batch(vec![("id", Arc::new(StringArray::from(keys)))]);
    let error = run(vec![stream("t.parquet", parquet(&source))], &options(), None, &["id"]).expect_err("a long key");
    let Error::BadRows(report) = error else { panic!("{error}") };
    assert_eq!((report.rejected, report.bad_rows[0].place.row), (1, Some(2)));
    assert!(report.bad_rows[0].reason.starts_with("its key takes 70002 bytes"));
    assert!(report.in_order);
}

/// An Arrow file whose buffers are compressed.
pub(super) fn compressed_ipc(batch: &RecordBatch) -> Vec<u8> {
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
    let options = IpcWriteOptions::default().try_with_compression(Some(arrow_ipc::CompressionType::ZSTD)).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn ipc(name: &str, batches: &[RecordBatch]) -> Vec<u8> {
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    let schema = batches[0].schema();
    if name.ends_with(".arrows") {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        return writer.into_inner().unwrap();
    }
    let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

#[test]
fn ipc_in_order_goes_straight_through() {
    let dir = tempfile::tempdir().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let options = Options { sort_bytes: 1, batch_rows: 700, temp_dir: temp.path().to_owned(), ..options() };
    for (first, second) in [("a.arrow", "b.arrow"), ("a.arrows", "b.arrows"), ("a.arrow", "b.parquet")] {
        let batches = [wide((0..5000).collect()), wide((5000..5001).collect())];
        let later = wide((5001..9000).collect());
        std::fs::write(dir.path().join(first), ipc(first, &batches)).unwrap();
        let bytes =
            if second.ends_with(".parquet") { parquet(&later) } else { ipc(second, std::slice::from_ref(&later)) };
        std::fs::write(dir.path().join(second), bytes).unwrap();
        let paths: Vec<Input> = [first, second].into_iter().map(|name| Input::Path(dir.path().join(name))).collect();
        let got = run(paths, &options, None, &["id"]).unwrap();
        assert!(got.report.in_order, "{first}");
        assert_eq!((got.report.spilled_bytes, got.report.rows), (0, 9000), "{first}");
        assert_eq!(got.rows()[7001], json!({"v": "text 7001", "id": 7001, "x": 1750.25}));
        assert!(got.batches.iter().all(|batch| batch.rows.num_rows() <= 700));
    }
    let size = std::fs::metadata(dir.path().join("a.arrow")).unwrap().len();
    let got = run(vec![Input::Path(dir.path().join("a.arrow"))], &options, None, &["id"]).unwrap();
    assert_eq!(got.report.bytes_read, size);
}

#[test]
fn ipc_out_of_order_is_sorted_in_runs_of_the_budget() {
    let ids: Vec<i64> = (0..50_000).map(|i| i * 7919 % 50_000).collect();
    for name in ["t.arrow", "t.arrows"] {
        let bytes = ipc(name, &[wide(ids.clone())]);
        // Counted as what they are, the rows take about 4 MiB: they fit, though each part of the one batch is small.
        let options = Options { sort_bytes: 16 << 20, batch_rows: 500, ..options() };
        let got = run(vec![stream(name, bytes.clone())], &options, None, &["id"]).unwrap();
        assert_eq!((got.report.spilled_bytes, got.report.in_order), (0, false), "{name}");
        assert_eq!(got.rows()[33], json!({"v": "text 33", "id": 33, "x": 8.25}));
        let options = Options { sort_bytes: 1 << 20, batch_rows: 500, ..options };
        let got = run(vec![stream(name, bytes)], &options, None, &["id"]).unwrap();
        assert!(got.report.spilled_bytes > 0, "{name}");
        assert_eq!(got.rows()[49_999]["id"], 49_999);
    }
}

#[test]
fn a_stream_that_is_read_once_is_collected() {
    let bytes = ipc("t.arrows", &[wide((0..3000).collect())]);
    let got = run(vec![stream("t.arrows", bytes)], &options(), None, &["id"]).unwrap();
    assert_eq!((got.report.rows, got.report.in_order), (3000, true));
}

#[test]
fn timestamps_in_named_zones_are_instants() {
    use arrow_array::TimestampNanosecondArray;
    let table = |zone: Option<&str>| {
        let ty = zone.map_or_else(|| "timestamp(us)".to_owned(), |zone| format!("timestamp(us, {zone})"));
        let fields = format!(
            "[{{\"name\":\"id\",\"type\":\"int64\",\"nullable\":false}},{{\"name\":\"at\",\"type\":\"{ty}\"}}]"
        );
        Schema::new(read_schema(&fields).unwrap(), &["id"]).unwrap()
    };
    let source = |zone: Option<&str>, nanos: i64| {
        let at = TimestampNanosecondArray::from(vec![1_700_000_000_000_000_000 + nanos]).with_timezone_opt(zone);
        vec![stream(
            "t.parquet",
            parquet(&batch(vec![("id", Arc::new(Int64Array::from(vec![1]))), ("at", Arc::new(at))])),
        )]
    };
    let (berlin, utc) = (Some("Europe/Berlin"), Some("UTC"));
    for (from, to, text) in [
        (berlin, utc, "2023-11-14T22:13:20.000000Z"),
        (utc, berlin, "2023-11-14T22:13:20.000000Z"),
        (Some("+05:30"), berlin, "2023-11-14T22:13:20.000000Z"),
        (None, utc, "2023-11-14T22:13:20.000000Z"),
        (None, None, "2023-11-14T22:13:20.000000"),
    ] {
        let got = run(source(from, 0), &options(), Some(&table(to)), &[]).unwrap();
        assert_eq!(got.rows(), [json!({"id": 1, "at": text})], "{from:?} {to:?}");
    }
    for (from, to) in [(berlin, None), (utc, None), (None, berlin)] {
        let error = run(source(from, 0), &options(), Some(&table(to)), &[]).expect_err("a zone").to_string();
        assert!(error.contains("one has a zone and the other has none"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let reject = dir.path().join("rejects");
    let options = Options { reject: Some(reject.clone()), ..options() };
    let got = run(source(berlin, 1), &options, Some(&table(berlin)), &[]).unwrap();
    assert_eq!(got.report.rejected, 1);
    let line = std::fs::read_to_string(reject).unwrap();
    assert!(line.contains("2023-11-14T22:13:20.000000001Z"), "{line}");
}

#[test]
fn decimals_with_more_digits_than_their_type_are_bad_rows() {
    use arrow_array::builder::{Decimal128Builder, ListBuilder};
    use arrow_array::{ArrowNativeTypeOp as _, Decimal128Array, Decimal256Array};
    use arrow_buffer::i256;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let (long, longest) =
        ([Some(99_999), Some(-99_999), None, Some(123_456_789)], i256::from_i128(10).pow_wrapping(50));
    let short = Decimal128Array::from(long.to_vec()).with_precision_and_scale(5, 2).unwrap();
    let wide = [Some(longest - i256::ONE), Some(longest), None, None];
    let wide = Decimal256Array::from(wide.to_vec()).with_precision_and_scale(50, 2).unwrap();
    let mut lists = ListBuilder::new(Decimal128Builder::new().with_precision_and_scale(5, 2).unwrap());
    for item in [1, 2, 123_456_789, 4] {
        lists.values().append_value(item);
        lists.append(true);
    }
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", ids), ("d", Arc::new(short)), ("w", Arc::new(wide)), ("l", Arc::new(lists.finish()))];
    let batch = batch(columns);
    let mut arrow = ::arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    for (name, bytes) in [("t.arrow", arrow.into_inner().unwrap()), ("t.parquet", parquet(&batch))] {
        let Err(Error::BadRows(report)) = run(vec![stream(name, bytes)], &options(), None, &["id"]) else {
            panic!("{name}")
        };
        let bad: Vec<_> = report.bad_rows.iter().map(|bad| (bad.place.row.unwrap(), bad.reason.as_str())).collect();
        let most =
            "column `w`: 1000000000000000000000000000000000000000000000000.00 has more digits than decimal256(50, 2)";
        let expected = [
            (2, most),
            (3, "column `l`: 1234567.89 has more digits than decimal(5, 2)"),
            (4, "column `d`: 1234567.89 has more digits than decimal(5, 2)"),
        ];
        assert_eq!(bad, expected, "{name}");
    }
}

#[test]
fn text_that_does_not_fit_a_nested_type_is_one_bad_row() {
    let declared = r#"[{"name":"id","type":"int64"},
        {"name":"l","type":{"list":{"name":"item","ty":"int64","nullable":false}}},
        {"name":"f","type":{"fixed_size_list":[{"name":"item","ty":"float32","nullable":false},2]}},
        {"name":"s","type":{"struct":[{"name":"a","ty":"int64","nullable":false}]}}]"#;
    let texts = |cells: [Option<&str>; 5]| -> ArrayRef { Arc::new(StringArray::from(cells.to_vec())) };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    let batch = batch(vec![
        ("id", ids),
        ("l", texts([Some("[1]"), Some("[1,null]"), Some("[]"), None, Some("[2]")])),
        ("f", texts([Some("[1,2]"), Some("[1,2]"), Some("[1,null]"), None, Some("[3,4]")])),
        ("s", texts([Some("{\"a\":1}"), Some("{\"a\":1}"), Some("{\"a\":1}"), None, Some("{\"a\":null}")])),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let reject = Some(dir.path().join("rejected"));
    let options = Options { schema: Some(read_schema(declared).unwrap()), reject, ..options() };
    let got = run(vec![stream("t.parquet", parquet(&batch))], &options, None, &["id"]).unwrap();
    let rows: Vec<u64> = got.report.bad_rows.iter().map(|bad| bad.place.row.unwrap()).collect();
    assert_eq!((got.report.rows, rows), (2, vec![2, 3, 5]));
    assert_eq!(
        got.rows(),
        [json!({"id": 1, "l": [1], "f": [1.0, 2.0], "s": {"a": 1}}), json!({"id": 4, "l": null, "f": null, "s": null})]
    );
}
