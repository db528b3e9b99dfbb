use arrow_array::RecordBatchOptions;
use arrow_ord::sort::{LexicographicalComparator, SortColumn};
use proptest::prelude::*;

use super::*;
use crate::leaf::arbitrary::{self, golden, rng};
use crate::schema::{Field, Type, Unit};

/// What means something in a key as text, or in JSON.
const PIECES: [&str; 14] = ["[", "]", ",", "\\", "\"", "{", "}", "1", "null", "0x", " ", "é", "\n", "'"];

/// Every type that a key may have, with all units, zones and signs of scales.
fn key_types() -> Vec<Type> {
    let mut types = vec![Type::Bool, Type::Utf8, Type::Binary, Type::Date32, Type::Uuid];
    types.extend([Type::Int8, Type::Int16, Type::Int32, Type::Int64]);
    types.extend([Type::UInt8, Type::UInt16, Type::UInt32, Type::UInt64]);
    for unit in [Unit::S, Unit::Ms, Unit::Us, Unit::Ns] {
        let zones = [None, Some("UTC".to_owned()), Some("Europe/Berlin".to_owned())];
        types.push(Type::Time { unit });
        types.extend(zones.map(|zone| Type::Timestamp { unit, zone }));
    }
    for (precision, scale) in [(38, 0), (38, 38), (5, 2), (10, -3), (38, -38)] {
        types.push(Type::Decimal128 { precision, scale });
        types.push(Type::Decimal256 { precision, scale });
    }
    types.push(Type::Decimal256 { precision: 76, scale: 76 });
    assert!(types.iter().all(Type::can_be_key));
    types
}

/// A table of key columns only.
fn keyed(types: &[Type]) -> Schema {
    let names: Vec<String> = (0..types.len()).map(|i| format!("k{i}")).collect();
    let fields = types.iter().zip(&names).map(|(ty, name)| Field::new(name, ty.clone(), false)).collect();
    Schema::new(fields, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

fn random(seed: u64) -> (Schema, RecordBatch) {
    let mut rng = rng(seed);
    let mut types = Vec::new();
    while types.len() < 1 + (seed % 3) as usize {
        let ty = arbitrary::ty(&mut rng, 0);
        if ty.can_be_key() {
            types.push(ty);
        }
    }
    let schema = keyed(&types);
    let arrays = schema.columns.iter().map(|column| {
        let style = 2 + rng.below(3);
        arbitrary::array(&mut rng, &column.ty, false, 40, style)
    });
    let arrays = arrays.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(40));
    let batch = RecordBatch::try_new_with_options(schema.arrow(), arrays, &options).unwrap();
    (schema, batch)
}

proptest! {
    #[test]
    fn order_of_bytes_is_order_of_values(seed: u64) {
        let (schema, batch) = random(seed);
        let keys = KeyEncoder::new(&schema).unwrap().encode(&batch).unwrap();
        let columns: Vec<_> =
            batch.columns().iter().map(|values| SortColumn { values: values.clone(), options: None }).collect();
        let order = LexicographicalComparator::try_new(&columns).unwrap();
        for i in 0..keys.len() {
            for j in 0..keys.len() {
                prop_assert_eq!(keys.get(i).cmp(keys.get(j)), order.compare(i, j), "rows {} and {}", i, j);
                prop_assert!(keys.get(i) == keys.get(j) || !keys.get(i).starts_with(keys.get(j)));
            }
        }
    }

    #[test]
    fn keys_come_back(seed: u64) {
        let (schema, batch) = random(seed);
        let encoder = KeyEncoder::new(&schema).unwrap();
        let keys = encoder.encode(&batch).unwrap();
        prop_assert_eq!(&encoder.decode(keys.iter()).unwrap(), &batch);
        prop_assert_eq!(encoder.encode_key_columns(&batch).unwrap(), keys.clone());
        for key in keys.iter() {
            let text = to_text(&schema, key).unwrap();
            prop_assert_eq!(parse_key(&schema, &text).unwrap(), key, "{}", text);
        }
    }

    #[test]
    fn texts_of_all_sorts_read_back(cells in prop::collection::vec(prop::collection::vec(0..PIECES.len(), 0..6), 1..4)) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.iter().map(|piece| PIECES[*piece]).collect()).collect();
        let columns: Vec<ArrayRef> =
            cells.iter().map(|cell| Arc::new(arrow_array::StringArray::from(vec![cell.as_str()])) as ArrayRef).collect();
        let schema = keyed(&vec![Type::Utf8; cells.len()]);
        let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
        let keys = KeyEncoder::new(&schema).unwrap().encode(&batch).unwrap();
        let text = to_text(&schema, keys.get(0)).unwrap();
        prop_assert_eq!(parse_key(&schema, &text).unwrap(), keys.get(0), "{}", text);
    }

    #[test]
    fn noise_is_no_key_or_one_that_comes_back(seed: u64, noise: Vec<u8>) {
        let (schema, _) = random(seed);
        let encoder = KeyEncoder::new(&schema).unwrap();
        if let Ok(batch) = encoder.decode([&noise[..]]) {
            let keys = encoder.encode(&batch).unwrap();
            prop_assert_eq!(keys.get(0), &noise[..]);
        }
    }
}

#[test]
fn golden_bytes() {
    let types = [
        Type::Bool,
        Type::Int8,
        Type::UInt16,
        Type::Int32,
        Type::Int64,
        Type::Date32,
        Type::Time { unit: Unit::S },
        Type::Timestamp { unit: Unit::Ns, zone: None },
        Type::Decimal128 { precision: 38, scale: 2 },
        Type::Utf8,
        Type::Binary,
        Type::Uuid,
    ];
    let schema = keyed(&types);
    let text = "true,-1,258,-2,3,2020-01-02,01:02:03,2020-01-02T03:04:05,-1.25,a\\,b,0x0001ff00,00112233-4455-6677-8899-aabbccddeeff";
    let key = parse_key(&schema, text).unwrap();
    golden("key-v1.bin", &key);
    let json = serde_json::Value::Object(to_json(&schema, &key).unwrap());
    assert_eq!(json["k1"], -1);
    assert_eq!(json["k9"], "a,b");
    assert_eq!(json["k10"], "0x0001ff00");
    assert_eq!(json["k11"], "00112233-4455-6677-8899-aabbccddeeff");
}

#[test]
fn text_is_read_by_the_keys_types() {
    let one = keyed(&[Type::Utf8]);
    assert_eq!(parse_key(&one, "[a,b").unwrap(), b"[a,b\0\0");
    let two = keyed(&[Type::Int32, Type::Utf8]);
    let key = parse_key(&two, "7,x").unwrap();
    assert_eq!(parse_key(&two, "[7,\"x\"]").unwrap(), key);
    assert_eq!(key, b"\x80\0\0\x07x\0\0");
    for wrong in ["7", "7,x,y", "seven,x", "99999999999,x", ",x"] {
        assert!(parse_key(&two, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn keys_of_every_type_read_back_from_end_to_end() {
    for ty in key_types() {
        let schema = keyed(std::slice::from_ref(&ty));
        let width = kind_of(&ty).width().unwrap_or(1);
        let mut keys = vec![vec![0; width], vec![0xff; width], [&[0x80][..], &vec![0; width - 1]].concat()];
        // Those next to the middle: 0 is encoded so.
        keys.push([&[0x7f][..], &vec![0xff; width - 1]].concat());
        match ty {
            Type::Bool => keys = vec![vec![0], vec![1]],
            Type::Utf8 => keys = vec![b"\0\0".to_vec(), b"0x\0\xff[\0\0".to_vec()],
            Type::Binary => keys = vec![b"\0\0".to_vec(), b"\xfe\0\xff\0\0".to_vec(), b"0x\0\0".to_vec()],
            _ => {}
        }
        for key in keys {
            let text = to_text(&schema, &key).unwrap();
            assert_eq!(parse_key(&schema, &text).unwrap(), key, "{ty}: {text}");
            let several = keyed(&[ty.clone(), Type::Utf8, ty.clone()]);
            let key = [&key[..], b"[,\0\0", &key].concat();
            let text = to_text(&several, &key).unwrap();
            assert_eq!(parse_key(&several, &text).unwrap(), key, "{ty}: {text}");
        }
    }
}

#[test]
fn keys_are_shown_as_exports_have_them() {
    let shown = |ty: Type, key: &[u8]| to_text(&keyed(&[ty]), key).unwrap();
    assert_eq!(shown(Type::Date32, &[0; 4]), "-5877641-06-23");
    assert_eq!(shown(Type::Decimal128 { precision: 5, scale: -2 }, &[&[0x80][..], &[0; 14], &[7]].concat()), "700");
    let instant = Type::Timestamp { unit: Unit::Us, zone: Some("Europe/Berlin".to_owned()) };
    assert_eq!(shown(instant, &[0x80, 0, 0, 0, 0, 0, 0, 1]), "1970-01-01T00:00:00.000001Z");
    let two = keyed(&[Type::Utf8, Type::Utf8]);
    let key = parse_key(&two, r"\[1,2]").unwrap();
    assert_eq!(key, b"[1\0\x002]\0\0");
    assert_eq!(to_text(&two, &key).unwrap(), r"\[1,2]");
}

#[test]
fn nothing_in_a_key_is_rounded() {
    let decimal = Type::Decimal128 { precision: 38, scale: 2 };
    let one = keyed(std::slice::from_ref(&decimal));
    assert!(parse_key(&one, "1.005").is_err());
    let two = keyed(&[decimal, Type::Utf8]);
    let long = "12345678901234567890123.45";
    assert_eq!(parse_key(&two, &format!("[{long},\"x\"]")).unwrap(), parse_key(&two, &format!("{long},x")).unwrap());
}

#[test]
fn keys_that_are_too_long_are_refused() {
    let schema = keyed(&[Type::Utf8]);
    let long: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["x".repeat(MAX_KEY)]));
    let batch = RecordBatch::try_new(schema.arrow(), vec![long]).unwrap();
    assert!(KeyEncoder::new(&schema).unwrap().encode(&batch).is_err());
}

#[test]
fn zoned_timestamps_are_read_and_shown_in_utc() {
    let schema = keyed(&[Type::Timestamp { unit: Unit::Ms, zone: Some("Europe/Berlin".to_owned()) }]);
    let key = parse_key(&schema, "2020-01-02T03:04:05+01:00").unwrap();
    assert_eq!(to_json(&schema, &key).unwrap()["k0"], "2020-01-02T02:04:05.000Z");
    assert_eq!(parse_key(&schema, "2020-01-02T02:04:05Z").unwrap(), key);
    assert_eq!(parse_key(&schema, "2020-01-02 02:04:05").unwrap(), key);
}

#[test]
fn keys_that_are_too_long_are_named() {
    let schema = keyed(&[Type::Int32, Type::Utf8, Type::Binary]);
    let zeroes = vec![0_u8; MAX_KEY / 2];
    let texts = ["a".repeat(MAX_KEY - 4 - 2 - 2), "b".repeat(MAX_KEY - 4 - 2 - 2 + 1), String::new(), "c".to_owned()];
    let bytes: [&[u8]; 4] = [b"", b"", &zeroes, &zeroes[..10]];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::Int32Array::from(vec![1, 2, 3, 4])),
        Arc::new(arrow_array::StringArray::from(texts.to_vec())),
        Arc::new(arrow_array::BinaryArray::from(bytes.to_vec())),
    ];
    let batch = RecordBatch::try_new(schema.arrow(), arrays).unwrap();
    let encoder = KeyEncoder::new(&schema).unwrap();
    let long = [(1, MAX_KEY as u32 + 1), (2, MAX_KEY as u32 + 8)];
    assert_eq!(encoder.too_long(&batch).unwrap(), long);
    assert_eq!(encoder.too_long_key_columns(&batch).unwrap(), long);
    assert!(encoder.encode(&batch).is_err());
    assert_eq!(encoder.encode(&batch.slice(0, 1)).unwrap().get(0).len(), MAX_KEY);
    assert!(encoder.too_long(&batch.slice(3, 1)).unwrap().is_empty());
}
