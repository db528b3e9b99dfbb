//! What becomes of a value of one type in a column of another, in Parquet and Arrow sources.

use arrow_array::types::{Float64Type, UInt16Type};
use arrow_array::{
    Array as _, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, StructArray,
    UInt16Array,
};
use half::{bf16, f16};
use syncline_tree::schema::{Field, Type};

use super::typed::{batch, list_of, nested, parquet};
use super::*;

fn misfit(row: u64, text: &str) -> std::result::Result<Vec<Value>, Vec<(u64, String)>> {
    Err(vec![(row, format!("column `v`: {text}"))])
}

/// The same as [`nested`], through a file that our own export wrote of a column of the type `from`.
fn exported(name: &str, cells: ArrayRef, from: Type, to: Type) -> std::result::Result<Vec<Value>, Vec<(u64, String)>> {
    let schema =
        |ty| Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("v", ty, true)], &["id"]).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..cells.len() as i64));
    let rows = RecordBatch::try_new(schema(from).arrow(), vec![ids, cells]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let target = crate::export::Target::Path(path.clone());
    let batches = [Ok::<_, crate::export::Error>(rows.clone())].into_iter();
    crate::export::write(&rows.schema(), batches, &target, &crate::export::Options::default()).unwrap();
    match run(vec![Input::Path(path)], &options(), Some(&schema(to)), &[]) {
        Ok(got) => Ok(got.rows().into_iter().map(|mut row| row["v"].take()).collect()),
        Err(Error::BadRows(report)) => {
            Err(report.bad_rows.into_iter().map(|bad| (bad.place.row.unwrap(), bad.reason)).collect())
        }
        Err(other) => Err(vec![(0, other.to_string())]),
    }
}

#[test]
fn floats_that_a_narrower_float_cannot_hold_are_bad_rows() {
    let floats = |cells: &[f64]| Arc::new(Float64Array::from(cells.to_vec())) as ArrayRef;
    assert_eq!(nested(floats(&[1.5, 1e300]), Type::Float32), misfit(2, "1e300 does not fit Float32"));
    assert_eq!(nested(floats(&[65504.0, 65520.0]), Type::Float16), misfit(2, "65520.0 does not fit Float16"));
    assert_eq!(nested(floats(&[-1e10]), Type::Float16), misfit(1, "-10000000000.0 does not fit Float16"));
    assert_eq!(nested(floats(&[1e300]), Type::BFloat16).unwrap_err()[0].0, 1);
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![Some(1e10), None]));
    assert_eq!(nested(narrow, Type::Float16), misfit(1, "10000000000.0 does not fit Float16"));
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(0.1), None]),
        Some(vec![Some(1.0), Some(1e300)]),
    ]));
    assert_eq!(nested(list.clone(), list_of(Type::Float32, true)), misfit(2, "1e300 does not fit Float32"));
    // What is infinite stays so, and what is small is rounded.
    let kept = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-300, 0.1];
    assert_eq!(
        nested(floats(&kept), Type::Float32),
        Ok(vec![json!("inf"), json!("-inf"), json!("NaN"), json!(0.0), json!(0.1)])
    );
    assert_eq!(nested(floats(&kept[..2]), Type::Float16), Ok(vec![json!("inf"), json!("-inf")]));
    // The cell of a slot that is null says nothing.
    let null = Float64Array::new(vec![1e300, 2.0].into(), Some(vec![false, true].into()));
    assert_eq!(nested(Arc::new(null), Type::Float32), Ok(vec![json!(null), json!(2.0)]));
}

#[test]
fn numbers_are_never_taken_for_the_bits_of_bfloat16() {
    let integers: ArrayRef = Arc::new(UInt16Array::from(vec![2, 16256]));
    assert_eq!(nested(integers.clone(), Type::BFloat16), Ok(vec![json!(2.0), json!(16256.0)]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let file = parquet(&batch(vec![("id", ids), ("v", integers)]));
    let schema = [Field::new("id", Type::Int64, false), Field::new("v", Type::BFloat16, true)];
    let schema = Schema::new(schema.to_vec(), &["id"]).unwrap();
    let got = run(vec![stream("t.parquet", file)], &options(), Some(&schema), &[]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 0, "v": 2.0}), json!({"id": 1, "v": 16256.0})]);
    let lists = || {
        let cells = [Some(vec![Some(2), Some(3)]), None];
        Arc::new(ListArray::from_iter_primitive::<UInt16Type, _, _>(cells)) as ArrayRef
    };
    assert_eq!(nested(lists(), list_of(Type::BFloat16, true)), Ok(vec![json!([2.0, 3.0]), json!(null)]));
    let large: ArrayRef = Arc::new(UInt16Array::from(vec![257]));
    assert_eq!(nested(large, Type::BFloat16), misfit(1, "257 does not fit bfloat16"));
}

#[test]
fn the_bits_of_bfloat16_are_never_taken_for_numbers() {
    let bits = |cells: &[f32]| cells.iter().map(|cell| bf16::from_f32(*cell).to_bits()).collect::<Vec<_>>();
    let halves = |cells: &[f32]| Arc::new(UInt16Array::from(bits(cells))) as ArrayRef;
    let money = Type::Decimal128 { precision: 10, scale: 2 };
    for name in ["t.parquet", "t.arrow", "t.arrows"] {
        let both = |to: Type| exported(name, halves(&[1.5, 2.0]), Type::BFloat16, to);
        for (to, one, two) in [
            (Type::Float16, json!(1.5), json!(2.0)),
            (Type::Float32, json!(1.5), json!(2.0)),
            (Type::Float64, json!(1.5), json!(2.0)),
            (Type::BFloat16, json!(1.5), json!(2.0)),
            (Type::Utf8, json!("1.5"), json!("2.0")),
            (money.clone(), json!("1.50"), json!("2.00")),
        ] {
            assert_eq!(both(to.clone()), Ok(vec![one, two]), "{name} {to}");
        }
        for to in [Type::Int32, Type::UInt16] {
            let whole = exported(name, halves(&[4.0, 2.0]), Type::BFloat16, to.clone());
            assert_eq!(whole, Ok(vec![json!(4), json!(2)]), "{name} {to}");
            assert_eq!(both(to.clone()), misfit(1, &format!("1.5 does not fit {}", to.arrow())), "{name} {to}");
        }
        let list = |item: Type| {
            let field = Arc::new(list_of(item, true).arrow());
            let arrow_schema::DataType::List(field) = field.as_ref() else { unreachable!() };
            let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 0]);
            Arc::new(ListArray::new(field.clone(), offsets, halves(&[1.5, 2.0]), None)) as ArrayRef
        };
        let was = list_of(Type::BFloat16, true);
        for to in [Type::Float32, Type::BFloat16] {
            let got = exported(name, list(Type::BFloat16), was.clone(), list_of(to, true));
            assert_eq!(got, Ok(vec![json!([1.5, 2.0]), json!([])]), "{name}");
        }
        let got = exported(name, list(Type::BFloat16), was.clone(), list_of(Type::UInt16, true));
        assert_eq!(got, misfit(1, "1.5 does not fit UInt16"), "{name}");
    }
    let large = exported("t.parquet", halves(&[1e30]), Type::BFloat16, Type::Float16);
    assert_eq!(large.unwrap_err()[0].0, 1);
    assert!(f16::from_f32(1e30).is_infinite());
}

fn members(fields: &[(&str, bool)]) -> Type {
    Type::Struct(fields.iter().map(|(name, nullable)| Field::new(*name, Type::Int64, *nullable)).collect())
}

#[test]
fn members_of_structs_are_matched_by_name_only() {
    let cells = |names: &[&str]| {
        let of = |(at, name): (usize, &&str)| {
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![at as i64 + 1]));
            (Arc::new(arrow_schema::Field::new(*name, arrow_schema::DataType::Int64, true)), numbers)
        };
        Arc::new(StructArray::from(names.iter().enumerate().map(of).collect::<Vec<_>>())) as ArrayRef
    };
    let refused = |names: &[&str], to: Type| nested(cells(names), to).unwrap_err().remove(0).1;
    let (a, b, c) = (("a", true), ("b", true), ("c", true));
    assert_eq!(nested(cells(&["b"]), members(&[a, b])), Ok(vec![json!({"a": null, "b": 1})]));
    assert_eq!(nested(cells(&["b", "c"]), members(&[a, b, c])), Ok(vec![json!({"a": null, "b": 1, "c": 2})]));
    assert_eq!(nested(cells(&["b", "a"]), members(&[a, b])), Ok(vec![json!({"a": 2, "b": 1})]));
    for to in [members(&[a, b]), members(&[b]), members(&[a])] {
        let error = refused(&["b", "c"], to.clone());
        let name = if to == members(&[a]) { "b" } else { "c" };
        assert_eq!(
            error,
            format!(
                "t.arrows: column `v` of type struct(b: int64, c: int64) cannot become {to}: the table has no `{name}` in it"
            )
        );
    }
    let error = refused(&["b"], members(&[("a", false), b]));
    assert!(error.ends_with("it has no `a`, which may not be null"), "{error}");
    // Inside of lists, too.
    let item = cells(&["b", "c"]);
    let field = Arc::new(arrow_schema::Field::new("item", item.data_type().clone(), true));
    let list = |length| {
        let offsets = arrow_buffer::OffsetBuffer::from_lengths([length]);
        Arc::new(ListArray::new(field.clone(), offsets, item.clone(), None)) as ArrayRef
    };
    assert_eq!(nested(list(1), list_of(members(&[a, b, c]), true)), Ok(vec![json!([{"a": null, "b": 1, "c": 2}])]));
    assert!(nested(list(1), list_of(members(&[b]), true)).unwrap_err()[0].1.ends_with("the table has no `c` in it"));

    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("s", members(&[b, c]), true)], &["id"]);
    let schema = schema.unwrap();
    let line = "{\"id\":1,\"s\":{\"b\":1,\"b\":2}}\n";
    let error = text("t.ndjson", line, &options(), Some(&schema), &[]).expect_err("one key twice").to_string();
    assert!(error.contains("t.ndjson:1: column `s`: has the key `b` twice"), "{error}");
}

#[test]
fn numbers_are_no_dates_and_dates_no_numbers_in_typed_sources_either() {
    use arrow_array::{Date32Array, Int32Array, Time64MicrosecondArray, TimestampMicrosecondArray};
    use syncline_tree::schema::Unit;
    let refused = |cells: &ArrayRef, to: &Type, why: &str| {
        let error = nested(cells.clone(), to.clone()).unwrap_err().remove(0).1;
        assert!(error.starts_with("t.arrows: column `v` of type ") && error.ends_with(why), "{to}: {error}");
    };
    let numbers: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![5])),
        Arc::new(Int32Array::from(vec![5])),
        Arc::new(Float64Array::from(vec![5.0])),
    ];
    let unit = Unit::Us;
    let instant = Type::Timestamp { unit, zone: Some("UTC".to_owned()) };
    let clock = Type::Timestamp { unit, zone: None };
    for cells in &numbers {
        for to in [&Type::Date32, &Type::Time { unit }, &clock, &instant] {
            refused(cells, to, "bare numbers are never dates or times");
        }
    }
    let at = || TimestampMicrosecondArray::from(vec![86_400_000_000]);
    let times: [ArrayRef; 4] = [
        Arc::new(Date32Array::from(vec![5])),
        Arc::new(Time64MicrosecondArray::from(vec![5])),
        Arc::new(at()),
        Arc::new(at().with_timezone("UTC")),
    ];
    for cells in &times {
        for to in [Type::Int64, Type::Int32, Type::Float64, Type::Decimal128 { precision: 30, scale: 0 }] {
            refused(cells, &to, "dates and times are never bare numbers");
        }
    }
    refused(&times[3], &Type::Date32, "an instant is another day from zone to zone");
    refused(&times[0], &Type::Time { unit }, "no value of the one is a value of the other");
    let berlin = Type::Timestamp { unit, zone: Some("Europe/Berlin".to_owned()) };
    refused(&times[0], &berlin, "only a column in UTC takes timestamps without one");
    refused(&numbers[0], &list_of(Type::Int64, true), "a list, a struct or a map becomes its like only");
    // What the text of one is for the other.
    assert_eq!(nested(times[0].clone(), clock), Ok(vec![json!("1970-01-06T00:00:00.000000")]));
    assert_eq!(nested(times[0].clone(), instant), Ok(vec![json!("1970-01-06T00:00:00.000000Z")]));
    assert_eq!(nested(times[2].clone(), Type::Date32), Ok(vec![json!("1970-01-02")]));
    let noon: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(1), Some(i64::MAX)]));
    let found = nested(noon, Type::Date32).unwrap_err();
    assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(found[0].1, "column `v`: 1970-01-01T00:00:00.000001 does not fit Date32");
    let far: ArrayRef = Arc::new(Date32Array::from(vec![Some(i32::MAX), None, Some(0)]));
    let nanos = Type::Timestamp { unit: Unit::Ns, zone: None };
    assert_eq!(nested(far.clone(), nanos).unwrap_err().len(), 1);
    let seconds = Type::Timestamp { unit: Unit::S, zone: None };
    assert_eq!(nested(far, seconds).unwrap()[0], json!("+5881580-07-11T00:00:00"));
}

#[test]
fn every_value_has_its_text() {
    use arrow_array::{BinaryArray, Date32Array, FixedSizeBinaryArray, TimestampSecondArray};
    let one = |cells: ArrayRef| nested(cells, Type::Utf8).unwrap().remove(0);
    let id = "00112233-4455-6677-8899-aabbccddeeff";
    let bytes = || FixedSizeBinaryArray::try_from_iter([(0..16).map(|i| i * 0x11).collect::<Vec<u8>>()].into_iter());
    let uuid: ArrayRef = Arc::new(bytes().unwrap());
    for name in ["t.parquet", "t.arrow"] {
        assert_eq!(exported(name, uuid.clone(), Type::Uuid, Type::Utf8), Ok(vec![json!(id)]));
        assert_eq!(exported(name, uuid.clone(), Type::Uuid, Type::Uuid), Ok(vec![json!(id)]));
        let hex = id.replace('-', "");
        assert_eq!(exported(name, uuid.clone(), Type::Uuid, Type::Binary), Ok(vec![json!(hex)]));
    }
    assert_eq!(one(Arc::new(Float64Array::from(vec![1e20]))), json!("1e20"));
    assert_eq!(one(Arc::new(Date32Array::from(vec![i32::MAX]))), json!("+5881580-07-11"));
    assert_eq!(
        one(Arc::new(TimestampSecondArray::from(vec![0]).with_timezone("Europe/Berlin"))),
        json!("1970-01-01T00:00:00Z")
    );
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"text".as_slice(), &[0xff]]));
    assert_eq!(nested(bytes.clone(), Type::Utf8), misfit(2, "ff does not fit Utf8"));
    assert_eq!(nested(bytes.slice(0, 1), Type::Utf8), Ok(vec![json!("text")]));
    assert_eq!(nested(Arc::new(Int64Array::from(vec![7])), Type::Json), Ok(vec![json!(7)]));
    let refused = nested(Arc::new(Date32Array::from(vec![0])), Type::Json).unwrap_err().remove(0).1;
    assert!(refused.ends_with("no value of the one is a value of the other"), "{refused}");
}

#[test]
fn lists_of_the_wrong_length_are_bad_rows() {
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(3.0)]),
        None,
        Some(vec![]),
        Some(vec![Some(4.0), Some(5.0)]),
    ]));
    let pair = |item: Type, nullable| Type::FixedSizeList(Box::new(Field::new("item", item, nullable)), 2);
    for to in [pair(Type::Float32, true), pair(Type::Int8, false)] {
        let wrong = |row, items: &str| (row, format!("column `v`: has {items}, the type wants 2"));
        assert_eq!(nested(lists.clone(), to.clone()), Err(vec![wrong(2, "1 item"), wrong(4, "0 items")]), "{to}");
        let two = nested(lists.slice(4, 1), to.clone()).unwrap();
        assert_eq!(two[0].as_array().unwrap()[1].as_f64(), Some(5.0), "{to}");
        assert_eq!(nested(lists.slice(2, 1), to), Ok(vec![json!(null)]));
    }
    let item = Arc::new(arrow_schema::Field::new("item", arrow_schema::DataType::Float64, true));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let three: ArrayRef = Arc::new(FixedSizeListArray::new(item, 3, numbers, None));
    assert_eq!(nested(three.clone(), pair(Type::Float64, true)), misfit(1, "has 3 items, the type wants 2"));
    assert_eq!(nested(three, list_of(Type::Int8, false)), Ok(vec![json!([1, 2, 3])]));
}
