//! Every type, through every format, and back.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use half::{bf16, f16};
use proptest::prelude::*;
use syncline_tree::schema::{Field, Schema, Type, Unit};
use syncline_tree::{Changes, Table, TableRef};

use super::*;
use crate::import::{self, Input};

const FORMATS: [(&str, Format); 6] = [
    ("t.csv", Format::Csv),
    ("t.tsv", Format::Tsv),
    ("t.ndjson", Format::Ndjson),
    ("t.parquet", Format::Parquet),
    ("t.arrow", Format::Arrow),
    ("t.arrows", Format::ArrowStream),
];

fn boxed(ty: Type, nullable: bool) -> Box<Field> {
    Box::new(Field { name: "item".to_owned(), ty, nullable })
}

/// All types, the nested ones with parts that may not be null too.
fn types() -> Vec<(&'static str, Type)> {
    let member = |name: &str, ty: Type, nullable| Field { name: name.to_owned(), ty, nullable };
    let units = [Unit::S, Unit::Ms, Unit::Us, Unit::Ns];
    let mut types = vec![
        ("bool", Type::Bool),
        ("i8", Type::Int8),
        ("i16", Type::Int16),
        ("i32", Type::Int32),
        ("i64", Type::Int64),
        ("u8", Type::UInt8),
        ("u16", Type::UInt16),
        ("u32", Type::UInt32),
        ("u64", Type::UInt64),
        ("f16", Type::Float16),
        ("bf16", Type::BFloat16),
        ("f32", Type::Float32),
        ("f64", Type::Float64),
        ("dec", Type::Decimal128 { precision: 30, scale: 7 }),
        ("dec2", Type::Decimal256 { precision: 60, scale: 20 }),
        ("tens", Type::Decimal128 { precision: 10, scale: -2 }),
        ("wide", Type::Decimal128 { precision: 30, scale: -20 }),
        ("tens2", Type::Decimal256 { precision: 50, scale: -10 }),
        ("seconds", Type::List(boxed(Type::Timestamp { unit: Unit::S, zone: Some("UTC".to_owned()) }, true))),
        ("dozens", Type::FixedSizeList(boxed(Type::Decimal128 { precision: 5, scale: -3 }, false), 2)),
        (
            "late",
            Type::Struct(vec![
                member("at", Type::Timestamp { unit: Unit::S, zone: None }, true),
                member("time", Type::Time { unit: Unit::S }, false),
            ]),
        ),
        (
            "smap",
            Type::Map {
                key: Box::new(member("key", Type::Int16, false)),
                value: Box::new(member("value", Type::Timestamp { unit: Unit::S, zone: None }, true)),
            },
        ),
        ("text", Type::Utf8),
        ("bytes", Type::Binary),
        ("day", Type::Date32),
        ("uuid", Type::Uuid),
        ("json", Type::Json),
        ("list", Type::List(boxed(Type::Utf8, true))),
        ("strict", Type::List(boxed(Type::Int32, false))),
        ("vector", Type::FixedSizeList(boxed(Type::Float32, false), 3)),
        ("pair", Type::Struct(vec![member("a", Type::Int64, false), member("b", Type::Json, true)])),
        (
            "map",
            Type::Map {
                key: Box::new(member("key", Type::Utf8, false)),
                value: Box::new(member("value", Type::Date32, true)),
            },
        ),
        (
            "imap",
            Type::Map {
                key: Box::new(member("key", Type::Int16, false)),
                value: Box::new(member("value", Type::Utf8, true)),
            },
        ),
    ];
    for (unit, (time, naive, zoned)) in
        units.into_iter().zip([("ts", "ns", "zs"), ("tms", "nms", "zms"), ("tus", "nus", "zus"), ("tns", "nns", "zns")])
    {
        types.push((time, Type::Time { unit }));
        types.push((naive, Type::Timestamp { unit, zone: None }));
        types.push((zoned, Type::Timestamp { unit, zone: Some("Europe/Berlin".to_owned()) }));
    }
    types
}

/// Small numbers, all bits, and the ends.
fn seeds() -> impl Strategy<Value = Vec<Option<u64>>> {
    let one = prop_oneof![any::<u64>(), 0u64..300, Just(0), Just(u64::MAX), Just(1 << 63), Just((1 << 63) - 1)];
    proptest::collection::vec(proptest::option::weighted(0.8, one), 1..12)
}

const TEXTS: [&str; 16] = [
    "",
    " ",
    "a",
    "a,b\tc",
    "\"",
    "\"\"x\"",
    "line\nline\r\n",
    "null",
    "\\N",
    "é\u{1F600}",
    "{\"a\":1}",
    "-1.5e3",
    "\u{feff}bom",
    "\0\u{b}",
    "\r",
    "\u{a0}\u{2028}",
];
const JSONS: [&str; 7] = ["1", "\"a\\n\\\"b\"", "[1, {\"a\": null}]", "{\"k\":\"v,w\"}", "true", "-1.50", "{}"];

fn text(seed: u64) -> String {
    let at = usize::try_from(seed % 16).unwrap();
    if seed < 300 { TEXTS[at].to_owned() } else { format!("{}{seed}", TEXTS[at]) }
}

fn day(seed: u64) -> i32 {
    if seed.is_multiple_of(3) { seed as i32 } else { (seed % 40_000) as i32 - 10_000 }
}

fn primitive<T: ArrowPrimitiveType>(seeds: &[Option<u64>], f: impl Fn(u64) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter(seeds.iter().map(|seed| seed.map(&f))))
}

/// A canonical NaN: text has no bits for another.
fn number(seed: u64) -> f64 {
    let value = f64::from_bits(seed);
    if value.is_nan() { f64::NAN } else { value }
}

fn timestamp<T: ArrowTimestampType>(seeds: &[Option<u64>], zone: Option<&String>) -> ArrayRef {
    let values = seeds.iter().map(|seed| seed.map(|seed| seed as i64));
    let array = PrimitiveArray::<T>::from_iter(values);
    Arc::new(array.with_timezone_opt(zone.map(String::as_str)))
}

fn offsets(seeds: &[Option<u64>]) -> (OffsetBuffer<i32>, Vec<Option<u64>>, NullBuffer) {
    let lengths: Vec<usize> =
        seeds.iter().map(|seed| seed.map_or(0, |seed| usize::try_from(seed % 4).unwrap())).collect();
    let children = seeds.iter().zip(&lengths).flat_map(|(seed, n)| {
        (0..*n).map(move |i| seed.map(|seed| seed.wrapping_add(i as u64)).filter(|seed| seed % 5 != 4))
    });
    let children = children.collect();
    (OffsetBuffer::from_lengths(lengths), children, seeds.iter().map(Option::is_some).collect::<Vec<_>>().into())
}

fn filled(seeds: &[Option<u64>]) -> Vec<Option<u64>> {
    seeds.iter().map(|seed| Some(seed.unwrap_or(7))).collect()
}

fn array(ty: &Type, seeds: &[Option<u64>]) -> ArrayRef {
    let strings = |f: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter(seeds.iter().map(|seed| seed.map(f))))
    };
    match ty {
        Type::Bool => Arc::new(BooleanArray::from_iter(seeds.iter().map(|seed| seed.map(|seed| seed % 2 == 0)))),
        Type::Int8 => primitive::<Int8Type>(seeds, |seed| seed as i8),
        Type::Int16 => primitive::<Int16Type>(seeds, |seed| seed as i16),
        Type::Int32 => primitive::<Int32Type>(seeds, |seed| seed as i32),
        Type::Int64 => primitive::<Int64Type>(seeds, |seed| seed as i64),
        Type::UInt8 => primitive::<UInt8Type>(seeds, |seed| seed as u8),
        Type::UInt16 => primitive::<UInt16Type>(seeds, |seed| seed as u16),
        Type::UInt32 => primitive::<UInt32Type>(seeds, |seed| seed as u32),
        Type::UInt64 => primitive::<UInt64Type>(seeds, |seed| seed),
        Type::Float16 => primitive::<Float16Type>(seeds, |seed| {
            let value = f16::from_bits(seed as u16);
            if value.is_nan() { f16::NAN } else { value }
        }),
        Type::BFloat16 => primitive::<UInt16Type>(seeds, |seed| {
            let value = bf16::from_bits(seed as u16);
            if value.is_nan() { bf16::NAN.to_bits() } else { value.to_bits() }
        }),
        Type::Float32 => primitive::<Float32Type>(seeds, |seed| {
            let value = f32::from_bits(seed as u32);
            if value.is_nan() { f32::NAN } else { value }
        }),
        Type::Float64 => primitive::<Float64Type>(seeds, number),
        Type::Decimal128 { precision, scale } => {
            let value = |seed: u64| i128::from(seed as i64) * 10_000_000_019 % 10i128.pow(u32::from(*precision));
            let values = seeds.iter().map(|seed| seed.map(value));
            Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(*precision, *scale).unwrap())
        }
        Type::Decimal256 { precision, scale } => {
            let value = |seed: u64| {
                let wide = i256::from_i128(i128::from(seed as i64)).wrapping_mul(i256::from_i128(10i128.pow(35)));
                wide.wrapping_rem(i256::from_i128(10).wrapping_pow(u32::from(*precision)))
            };
            let values = seeds.iter().map(|seed| seed.map(value));
            Arc::new(Decimal256Array::from_iter(values).with_precision_and_scale(*precision, *scale).unwrap())
        }
        Type::Utf8 => strings(&text),
        Type::Json => strings(&|seed| JSONS[usize::try_from(seed % 7).unwrap()].to_owned()),
        Type::Binary => Arc::new(BinaryArray::from_iter(
            seeds.iter().map(|seed| seed.map(|seed| seed.to_le_bytes()[..usize::try_from(seed % 9).unwrap()].to_vec())),
        )),
        Type::Date32 => primitive::<Date32Type>(seeds, day),
        Type::Uuid => {
            let values =
                seeds.iter().map(|seed| seed.map(|seed| u128::from(seed).wrapping_mul(u128::MAX / 7).to_be_bytes()));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
        }
        Type::Time { unit: Unit::S } => primitive::<Time32SecondType>(seeds, |seed| (seed % 86_400) as i32),
        Type::Time { unit: Unit::Ms } => primitive::<Time32MillisecondType>(seeds, |seed| (seed % 86_400_000) as i32),
        Type::Time { unit: Unit::Us } => {
            primitive::<Time64MicrosecondType>(seeds, |seed| (seed % 86_400_000_000) as i64)
        }
        Type::Time { unit: Unit::Ns } => {
            primitive::<Time64NanosecondType>(seeds, |seed| (seed % 86_400_000_000_000) as i64)
        }
        Type::Timestamp { unit: Unit::S, zone } => {
            // Parquet has their milliseconds.
            let seeds: Vec<_> = seeds.iter().map(|seed| seed.map(|seed| (seed as i64 / 1000) as u64)).collect();
            timestamp::<TimestampSecondType>(&seeds, zone.as_ref())
        }
        Type::Timestamp { unit: Unit::Ms, zone } => timestamp::<TimestampMillisecondType>(seeds, zone.as_ref()),
        Type::Timestamp { unit: Unit::Us, zone } => timestamp::<TimestampMicrosecondType>(seeds, zone.as_ref()),
        Type::Timestamp { unit: Unit::Ns, zone } => timestamp::<TimestampNanosecondType>(seeds, zone.as_ref()),
        nested => nested_array(nested, seeds),
    }
}

fn nested_array(ty: &Type, seeds: &[Option<u64>]) -> ArrayRef {
    let (offsets, children, valid) = offsets(seeds);
    let arrow = ty.arrow();
    match (ty, &arrow) {
        (Type::List(item), arrow_schema::DataType::List(field)) => {
            let children = if item.nullable { children } else { filled(&children) };
            Arc::new(ListArray::new(field.clone(), offsets, array(&item.ty, &children), Some(valid)))
        }
        (Type::FixedSizeList(item, size), arrow_schema::DataType::FixedSizeList(field, arrow_size)) => {
            let children: Vec<_> =
                seeds.iter().flat_map(|seed| vec![Some(seed.unwrap_or(3)); *size as usize]).collect();
            Arc::new(FixedSizeListArray::new(field.clone(), *arrow_size, array(&item.ty, &children), Some(valid)))
        }
        (Type::Struct(fields), arrow_schema::DataType::Struct(arrow_fields)) => {
            let parts = fields.iter().map(|field| {
                let odd: Vec<_> = seeds.iter().map(|seed| seed.filter(|seed| seed % 2 == 1)).collect();
                array(&field.ty, &if field.nullable { odd } else { filled(seeds) })
            });
            Arc::new(StructArray::new(arrow_fields.clone(), parts.collect(), Some(valid)))
        }
        (Type::Map { key, value }, arrow_schema::DataType::Map(entries, _)) => {
            // Keys of one map differ.
            let keys: Vec<_> = (0..children.len() as u64).map(|i| Some(i + 1000)).collect();
            let arrow_schema::DataType::Struct(fields) = entries.data_type() else { unreachable!() };
            let pairs =
                StructArray::new(fields.clone(), vec![array(&key.ty, &keys), array(&value.ty, &children)], None);
            Arc::new(MapArray::new(entries.clone(), offsets, pairs, Some(valid), false))
        }
        _ => unreachable!("{ty:?} is not nested"),
    }
}

fn table(seeds: &[Option<u64>]) -> (Schema, RecordBatch) {
    let mut fields = vec![Field { name: "id \"1\",".to_owned(), ty: Type::Int64, nullable: false }];
    fields.extend(types().into_iter().map(|(name, ty)| Field { name: name.to_owned(), ty, nullable: true }));
    let schema = Schema::new(fields, &["id \"1\","]).unwrap();
    let ids = Int64Array::from_iter_values(0..seeds.len() as i64);
    let columns =
        std::iter::once(Arc::new(ids) as ArrayRef).chain(types().into_iter().map(|(_, ty)| array(&ty, seeds)));
    let batch = RecordBatch::try_new(schema.arrow(), columns.collect()).unwrap();
    (schema, batch)
}

fn export(batch: &RecordBatch, path: &std::path::Path) -> Report {
    let batches = vec![Ok::<_, Error>(batch.clone())];
    write(&batch.schema(), batches.into_iter(), &Target::Path(path.to_owned()), &Options::default()).unwrap()
}

fn back(path: &std::path::Path, existing: Option<&Schema>, key: &[String]) -> (Schema, RecordBatch) {
    let options = import::Options::new(std::env::temp_dir());
    let prepared = import::open(vec![Input::Path(path.to_owned())], &options, existing, key).unwrap();
    let batches: Vec<RecordBatch> = prepared.rows.map(|sorted| sorted.unwrap().rows).collect();
    (prepared.schema.clone(), arrow_select::concat::concat_batches(&prepared.schema.arrow(), &batches).unwrap())
}

/// The root of a table of these rows.
fn root(schema: &Schema, batch: &RecordBatch) -> TableRef {
    let memory = Arc::new(syncline_store::backend::memory::Memory::new());
    let store = syncline_tree::open_store(memory, true, Arc::new(SystemClock)).unwrap();
    let table = Table::create(&store, schema.clone()).unwrap();
    table.apply([Ok(Changes::upsert(batch.clone()))]).unwrap().0.to_ref()
}

/// Cells equal by their canonical text (NaN is NaN, and buffers under nulls do not matter), and the same root.
fn check(seeds: &[Option<u64>]) {
    let (schema, batch) = table(seeds);
    let dir = tempfile::tempdir().unwrap();
    for (name, format) in FORMATS {
        let path = dir.path().join(name);
        let report = export(&batch, &path);
        assert_eq!((report.rows, report.bytes), (seeds.len() as u64, path.metadata().unwrap().len()));
        let (_, read) = back(&path, Some(&schema), &[]);
        for (i, field) in batch.schema().fields().iter().enumerate() {
            let (was, is) = (batch.column(i), read.column(i));
            let same = match field.data_type() {
                arrow_schema::DataType::Float16 | arrow_schema::DataType::Float32 | arrow_schema::DataType::Float64 => {
                    format!("{was:?}") == format!("{is:?}")
                }
                _ => was == is,
            };
            assert!(same, "{format:?} `{}`:\n{was:?}\n{is:?}", field.name());
        }
        assert_eq!(root(&schema, &read), root(&schema, &batch), "{format:?}");
        if matches!(format, Format::Parquet | Format::Arrow | Format::ArrowStream) {
            let (found, _) = back(&path, None, &["id \"1\",".to_owned()]);
            assert_eq!(found, schema, "{format:?} keeps the types");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_is_exported_imports_as_the_same_rows(seeds in seeds()) {
        check(&seeds);
    }
}

/// What a user gives as JSON, in a column that may be null and in one that may not, and inside of nested cells.
#[test]
fn json_cells_have_one_form_whatever_the_format() {
    let item = Field { name: "item".to_owned(), ty: Type::Json, nullable: false };
    let member = |name: &str, nullable| Field { name: name.to_owned(), ty: Type::Json, nullable };
    let fields = vec![
        Field { name: "id".to_owned(), ty: Type::Int64, nullable: false },
        member("may", true),
        member("must", false),
        Field { name: "list".to_owned(), ty: Type::List(Box::new(item.clone())), nullable: true },
        Field { name: "fixed".to_owned(), ty: Type::FixedSizeList(Box::new(item), 1), nullable: true },
        Field {
            name: "pack".to_owned(),
            ty: Type::Struct(vec![member("a", true), member("b", false)]),
            nullable: true,
        },
        Field {
            name: "map".to_owned(),
            ty: Type::Map {
                key: Box::new(Field { name: "key".to_owned(), ty: Type::Utf8, nullable: false }),
                value: Box::new(member("value", true)),
            },
            nullable: true,
        },
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let cells = [
        ("null", None, "null"),
        (" null\n", None, "null"),
        (
            "{ \"b\" : 1.50,\r\n \"a\":null, \"a\":\"x\\ny\" }",
            Some("{ \"b\" : 1.50,   \"a\":null, \"a\":\"x\\ny\" }"),
            "",
        ),
        ("\n[1,\n\t2]\n", Some("[1, \t2]"), ""),
        ("\"null\"", Some("\"null\""), ""),
    ];
    let mut text = "id,may,must,list,fixed,pack,map\n".to_owned();
    for (id, (cell, ..)) in cells.iter().enumerate() {
        let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
        let nested = [
            format!("[{cell}, 1]"),
            format!("[{cell}]"),
            format!("{{\"a\":{cell},\"b\":{cell}}}"),
            format!("{{\"k\":{cell}}}"),
        ];
        let nested = nested.map(|cell| quoted(&cell)).join(",");
        text.push_str(&format!("{id},{0},{0},{nested}\n", quoted(cell)));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("given.csv");
    std::fs::write(&path, text).unwrap();
    let (_, batch) = back(&path, Some(&schema), &[]);
    let strings = |array: &ArrayRef| array.as_string::<i32>().iter().map(|s| s.map(str::to_owned)).collect::<Vec<_>>();
    for (row, (_, may, must)) in cells.iter().enumerate() {
        let must = Some(may.unwrap_or(must).to_owned());
        let may = may.map(str::to_owned);
        assert_eq!((&strings(batch.column(1))[row], &strings(batch.column(2))[row]), (&may, &must));
        assert_eq!(strings(&batch.column(3).as_list::<i32>().value(row))[0], must);
        assert_eq!(strings(&batch.column(4).as_fixed_size_list().value(row))[0], must);
        let pack = batch.column(5).as_struct();
        assert_eq!((&strings(pack.column(0))[row], &strings(pack.column(1))[row]), (&may, &must));
        assert_eq!(strings(batch.column(6).as_map().value(row).column(1))[0], may);
    }
    for (name, format) in FORMATS {
        let path = dir.path().join(name);
        export(&batch, &path);
        assert_eq!(root(&schema, &back(&path, Some(&schema), &[]).1), root(&schema, &batch), "{format:?}");
    }
    // Typed sources are held to the same form: this file has the cells as they were given.
    let raw: ArrayRef = Arc::new(StringArray::from_iter_values(cells.iter().map(|(cell, ..)| *cell)));
    let items = |array: &ArrayRef, field: &arrow_schema::Field| match field.data_type() {
        arrow_schema::DataType::List(field) => {
            let offsets = OffsetBuffer::from_lengths(vec![1; cells.len()]);
            Arc::new(ListArray::new(field.clone(), offsets, array.clone(), None)) as ArrayRef
        }
        arrow_schema::DataType::FixedSizeList(field, _) => {
            Arc::new(FixedSizeListArray::new(field.clone(), 1, array.clone(), None))
        }
        arrow_schema::DataType::Struct(fields) => {
            Arc::new(StructArray::new(fields.clone(), vec![array.clone(), array.clone()], None))
        }
        arrow_schema::DataType::Map(entries, _) => {
            let arrow_schema::DataType::Struct(fields) = entries.data_type() else { unreachable!() };
            let keys: ArrayRef = Arc::new(StringArray::from_iter_values(cells.iter().map(|_| "k")));
            let pairs = StructArray::new(fields.clone(), vec![keys, array.clone()], None);
            let offsets = OffsetBuffer::from_lengths(vec![1; cells.len()]);
            Arc::new(MapArray::new(entries.clone(), offsets, pairs, None, false))
        }
        _ => array.clone(),
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..cells.len() as i64));
    let arrow = schema.arrow();
    let columns =
        arrow.fields().iter().enumerate().map(|(i, field)| if i == 0 { ids.clone() } else { items(&raw, field) });
    let given = RecordBatch::try_new(arrow.clone(), columns.collect()).unwrap();
    for name in ["t.parquet", "t.arrow"] {
        let path = dir.path().join(name);
        export(&given, &path);
        let (_, read) = back(&path, Some(&schema), &[]);
        for column in [1, 2, 4, 5, 6] {
            assert_eq!(read.column(column), batch.column(column), "{name} {column}");
        }
    }
}

#[test]
fn json_that_is_none_is_a_bad_row_in_typed_sources_too() {
    let fields = vec![
        Field { name: "id".to_owned(), ty: Type::Int64, nullable: false },
        Field { name: "list".to_owned(), ty: Type::List(boxed(Type::Json, false)), nullable: true },
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let items: ArrayRef = Arc::new(StringArray::from(vec!["x", "1", "{", "2"]));
    let arrow = schema.arrow();
    let arrow_schema::DataType::List(field) = arrow.field(1).data_type() else { unreachable!() };
    let valid = NullBuffer::from(vec![false, true, true]);
    let lists: ArrayRef =
        Arc::new(ListArray::new(field.clone(), OffsetBuffer::from_lengths([1, 2, 1]), items, Some(valid)));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_new(arrow, vec![ids, lists]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.arrow");
    export(&batch, &path);
    let options = import::Options::new(std::env::temp_dir());
    let prepared = import::open(vec![Input::Path(path.clone())], &options, Some(&schema), &[]).unwrap();
    let Err(import::Error::BadRows(report)) = prepared.rows.collect::<Result<Vec<_>, _>>() else { panic!("bad JSON") };
    assert_eq!((report.rejected, report.bad_rows[0].place.row), (1, Some(2)));
    assert!(report.bad_rows[0].reason.starts_with("column `list`: is not valid JSON"), "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Formats with bits keep the bits of every NaN.
    #[test]
    fn typed_formats_keep_every_bit(bits in proptest::collection::vec(any::<u64>(), 1..50)) {
        let field = |name: &str, ty| Field { name: name.to_owned(), ty, nullable: true };
        let mut fields = vec![Field { name: "id".to_owned(), ty: Type::Int64, nullable: false }];
        fields.extend([field("f16", Type::Float16), field("b16", Type::BFloat16), field("f32", Type::Float32), field("f64", Type::Float64)]);
        let schema = Schema::new(fields, &["id"]).unwrap();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..bits.len() as i64)),
            Arc::new(Float16Array::from_iter_values(bits.iter().map(|bits| f16::from_bits(*bits as u16 | 0x7c00)))),
            Arc::new(UInt16Array::from_iter_values(bits.iter().map(|bits| *bits as u16 | 0x7f80))),
            Arc::new(Float32Array::from_iter_values(bits.iter().map(|bits| f32::from_bits(*bits as u32 | 0x7f80_0000)))),
            Arc::new(Float64Array::from_iter_values(bits.iter().map(|bits| f64::from_bits(*bits | 0x7ff << 52)))),
        ];
        let batch = RecordBatch::try_new(schema.arrow(), arrays).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (name, _) in FORMATS.into_iter().skip(3) {
            let path = dir.path().join(name);
            export(&batch, &path);
            prop_assert_eq!(root(&schema, &back(&path, Some(&schema), &[]).1), root(&schema, &batch), "{}", name);
        }
    }
}

/// What readers without our metadata make of it.
#[test]
fn parquet_has_types_that_other_readers_know() {
    let (schema, batch) = table(&[Some(1), Some(2_000_000), None]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    export(&batch, &path);
    let file = std::fs::File::open(&path).unwrap();
    let options = parquet::arrow::arrow_reader::ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, options).unwrap();
    let found = |name: &str| metadata.schema().field_with_name(name).unwrap().data_type().to_string();
    assert_eq!(found("ns"), "Timestamp(ms)");
    assert_eq!(found("zs"), "Timestamp(ms, \"UTC\")");
    assert_eq!(found("ts"), "Time32(ms)");
    assert_eq!(found("tens"), "Decimal128(12, 0)");
    assert_eq!(found("wide"), "Decimal256(50, 0)");
    assert!(found("late").contains("Timestamp(ms)") && found("late").contains("Time32(ms)"), "{}", found("late"));
    let (again, read) = back(&path, None, &["id \"1\",".to_owned()]);
    assert_eq!((root(&again, &read), again), (root(&schema, &batch), schema));
    // Who keeps to the types that the file notes (Arrow's own readers) is not told of a fixed size that a missing list has not.
    let noted = parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, Default::default()).unwrap();
    let vector = noted.schema().field_with_name("vector").unwrap();
    assert!(matches!(vector.data_type(), arrow_schema::DataType::List(_)), "{vector}");
}

#[test]
fn what_parquet_cannot_hold_is_refused_and_named() {
    let tried = |ty: Type, value: ArrayRef, name: &str| {
        let fields = vec![Field::new("id", Type::Int64, false), Field::new("v", ty, true)];
        let schema = Schema::new(fields, &["id"]).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_new(schema.arrow(), vec![ids, value]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let target = Target::Path(dir.path().join(name));
        write(&batch.schema(), [Ok::<_, Error>(batch.clone())].into_iter(), &target, &Options::default())
    };
    let (seconds, late) = (Type::Timestamp { unit: Unit::S, zone: None }, TimestampSecondArray::from(vec![i64::MAX]));
    let error = tried(seconds.clone(), Arc::new(late.clone()), "t.parquet").expect_err("too late").to_string();
    assert!(error.contains("column \"v\" has a value that Timestamp(ms) cannot hold"), "{error}");
    let decimal = Type::Decimal256 { precision: 76, scale: -2 };
    let one: ArrayRef =
        Arc::new(Decimal256Array::from(vec![i256::from_i128(1)]).with_precision_and_scale(76, -2).unwrap());
    let error = tried(decimal.clone(), one.clone(), "t.parquet").expect_err("too wide");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("column \"v\" has no counterpart: a decimal256(76, -2) can have 78"), "{error}");
    for name in ["t.arrow", "t.csv", "t.ndjson"] {
        assert!(tried(seconds.clone(), Arc::new(late.clone()), name).is_ok(), "{name}");
        assert!(tried(decimal.clone(), one.clone(), name).is_ok(), "{name}");
    }
}

#[test]
fn no_rows_at_all() {
    let (schema, batch) = table(&[Some(1)]);
    let dir = tempfile::tempdir().unwrap();
    for (name, _) in FORMATS {
        let path = dir.path().join(name);
        export(&batch.slice(0, 0), &path);
        assert_eq!(back(&path, Some(&schema), &[]).1.num_rows(), 0, "{name}");
    }
}

#[test]
fn a_failing_source_publishes_nothing_and_keeps_the_old_file() {
    let (_, batch) = table(&[Some(1), None]);
    let dir = tempfile::tempdir().unwrap();
    for (name, _) in FORMATS {
        let path = dir.path().join(name);
        std::fs::write(&path, "old").unwrap();
        let batches = vec![Ok(batch.clone()), Err(Error::Invalid("the source failed".to_owned()))];
        let target = Target::Path(path.clone());
        let error = write(&batch.schema(), batches.into_iter(), &target, &Options::default()).expect_err(name);
        assert_eq!(error.to_string(), "the source failed");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), FORMATS.len(), "no temporary file is left");
}

#[test]
fn content_defined_chunking_keeps_most_bytes_after_an_insert() {
    let ids: Vec<i64> = (0..200_000).collect();
    let make = |ids: &[i64]| {
        let numbers =
            Int64Array::from_iter_values(ids.iter().map(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)));
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
            ("n", Arc::new(numbers)),
        ])
    };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, ids: &[i64]| {
        let path = dir.path().join(name);
        let batch = make(ids).unwrap();
        let options = Options { content_defined_chunking: true, ..Options::default() };
        write(&batch.schema(), [Ok::<_, Error>(batch)].into_iter(), &Target::Path(path.clone()), &options).unwrap();
        std::fs::read(path).unwrap()
    };
    let mut more = ids.clone();
    more.insert(50_000, -1);
    let (before, after) = (file("a.parquet", &ids), file("b.parquet", &more));
    let tail = 256 << 10;
    let page = &before[before.len() / 2..before.len() / 2 + tail / 8];
    assert!(memchr::memmem::find(&after, page).is_some(), "pages behind the insert stay byte for byte");
}

#[test]
fn a_target_says_its_format_or_is_refused() {
    let (_, batch) = table(&[Some(1)]);
    let tried = |target: Target| {
        write(&batch.schema(), [Ok::<_, Error>(batch.clone())].into_iter(), &target, &Options::default())
    };
    assert!(tried(Target::Path("x.txt".into())).expect_err("no format").to_string().contains("--format"));
    assert!(tried(Target::Path("x.csv.gz".into())).expect_err("compressed").to_string().contains("compressed"));
    assert!(tried(Target::Stdout).expect_err("no format").to_string().contains("--format"));
    let error = tried(Target::Path("/nowhere/x.csv".into())).expect_err("no directory");
    assert_eq!(error.kind(), Kind::NotFound);
}
