use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, LargeStringArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field as ArrowField, Schema as ArrowSchema};
use proptest::prelude::*;
use syncline_base::Kind;

use super::*;
use crate::leaf::arbitrary;

fn two() -> Schema {
    Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("name", Type::Utf8, true)], &["id"]).unwrap()
}

proptest! {
    #[test]
    fn canonical_bytes_and_arrow_come_back(seed: u64) {
        let schema = arbitrary::schema(&mut arbitrary::rng(seed));
        prop_assert_eq!(&Schema::decode(&schema.encode()).unwrap(), &schema);
        let key = ["id".to_owned()];
        prop_assert_eq!(Schema::from_arrow(&schema.arrow(), &key).unwrap(), schema);
    }

    #[test]
    fn noise_is_refused(noise: Vec<u8>) {
        prop_assert!(Schema::decode(&[&MAGIC[..], &[VERSION], &noise].concat()).is_err());
        prop_assert!(Schema::decode(&noise).is_err());
    }
}

#[test]
fn only_the_canonical_form_is_read() {
    let bytes = two().encode();
    let text = String::from_utf8(bytes[5..].to_vec()).unwrap();
    for other in [
        text.replace(':', ": "),
        text.replace("\"leaf_rows\":", "\"more\":1,\"leaf_rows\":"),
        text.replace("\"id\":1", "\"id\":0"),
        text.replace("\"name\":\"name\"", "\"name\":\"id\""),
        text.replace("\"key\":[0]", "\"key\":[]"),
        text.replace("\"key\":[0]", "\"key\":[1]"),
        text.replace("\"key\":[0]", "\"key\":[7]"),
    ] {
        assert_ne!(other, text);
        let error = Schema::decode(&[&bytes[..5], other.as_bytes()].concat()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{other}");
    }
    let mut newer = bytes.to_vec();
    newer[4] = 2;
    assert!(Schema::decode(&newer).unwrap_err().to_string().contains("use a newer one"));
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let mut ty = Type::Bool;
    for _ in 0..40 {
        ty = Type::List(Box::new(Field::new("item", ty, true)));
    }
    let error = Schema::new(vec![Field::new("id", Type::Int8, false), Field::new("x", ty, true)], &["id"]);
    assert_eq!(error.unwrap_err().kind(), Kind::Invalid);
    let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Schema::decode(&[&MAGIC[..], &[VERSION], json.as_bytes()].concat()).is_err());
}

#[test]
fn batches_are_conformed_by_name_with_casts() {
    let names: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("a"), None]));
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("name", names), ("id", ids.clone())]).unwrap();
    let conformed = two().conform(&batch).unwrap();
    assert_eq!(conformed.schema(), two().arrow());
    let without = two().conform(&RecordBatch::try_from_iter([("id", ids.clone())]).unwrap()).unwrap();
    assert_eq!(without.column(1).null_count(), 2);
    let extra = RecordBatch::try_from_iter([("id", ids.clone()), ("more", ids)]).unwrap();
    assert_eq!(two().conform(&extra).unwrap_err().kind(), Kind::NotFound);
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let error = two().conform(&RecordBatch::try_from_iter([("id", nulls)]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("row 1"), "{error}");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "x"]));
    assert!(two().conform(&RecordBatch::try_from_iter([("id", text)]).unwrap()).is_err());
}

#[test]
fn dictionaries_are_stored_as_what_they_hold() {
    let array: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
    let arrow = ArrowSchema::new(vec![ArrowField::new("k", array.data_type().clone(), false)]);
    let schema = Schema::from_arrow(&arrow, &["k".to_owned()]).unwrap();
    assert_eq!(schema.columns[0].ty, Type::Utf8);
    let batch = RecordBatch::try_new(Arc::new(arrow), vec![Arc::new(array)]).unwrap();
    assert_eq!(schema.conform(&batch).unwrap().column(0).data_type(), &DataType::Utf8);
}

#[test]
fn columns_come_go_and_change() {
    let schema = two().add_column("age", Type::Int16).unwrap();
    assert_eq!((schema.columns[2].id, schema.leaf_rows), (2, two().leaf_rows));
    let schema = schema.rename_column("age", "years").unwrap();
    assert!(schema.rename_column("years", "id").is_err());
    assert_eq!(schema.rename_column("no", "x").unwrap_err().kind(), Kind::NotFound);
    let wide = schema.widen_column("years", Type::Int64, true).unwrap();
    assert!(wide.widen_column("years", Type::Int32, true).is_err());
    assert!(wide.drop_column("id").is_err());
    let less = wide.drop_column("name").unwrap();
    assert_eq!(less.columns.iter().map(|column| column.id).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((less.position(2), less.position(1)), (Some(1), None));
}

#[test]
fn the_id_of_a_column_that_went_is_not_given_again() {
    let with_age = two().add_column("age", Type::Int16).unwrap();
    assert_eq!(with_age, Schema { next_id: None, ..with_age.clone() }, "nothing went yet");
    // What a later command finds is what the bytes say.
    let later = |schema: &Schema| Schema::decode(&schema.encode()).unwrap();
    let without = later(&with_age.drop_column("age").unwrap());
    assert_eq!((without.next_id, without.next_id()), (Some(3), 3));
    let other = later(&without.add_column("weight", Type::Int16).unwrap());
    assert_eq!(other.columns.iter().map(|column| column.id).collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(other.next_id, None, "the ids say it again");
    let none = other.drop_column("weight").unwrap().drop_column("name").unwrap();
    assert_eq!((none.next_id, none.add_column("name", Type::Utf8).unwrap().columns[1].id), (Some(4), 4));
    assert_eq!(with_age.drop_column("name").unwrap().next_id, None, "a larger id is there");
}

#[test]
fn a_next_id_that_says_nothing_is_not_canonical() {
    let schema = Schema { next_id: Some(2), ..two() };
    assert_eq!(schema.check().unwrap_err().kind(), Kind::Invalid);
    for next in 0..3 {
        assert_eq!(
            Schema::decode(&Schema { next_id: Some(next), ..two() }.encode()).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
    assert!(Schema::decode(&Schema { next_id: Some(3), ..two() }.encode()).is_ok());
}

#[test]
fn widening_never_loses() {
    assert!(Type::UInt32.widens_to(&Type::Int64));
    assert!(!Type::UInt64.widens_to(&Type::Int64));
    assert!(!Type::Int8.widens_to(&Type::UInt16));
    let small = Type::Decimal128 { precision: 10, scale: 2 };
    assert!(small.widens_to(&Type::Decimal128 { precision: 12, scale: 4 }));
    assert!(!small.widens_to(&Type::Decimal128 { precision: 11, scale: 4 }));
}

#[test]
fn golden() {
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("at", Type::Timestamp { unit: Unit::Us, zone: Some("UTC".to_owned()) }, true),
        Field::new("price", Type::Decimal128 { precision: 15, scale: 2 }, true),
        Field::new("vector", Type::FixedSizeList(Box::new(Field::new("item", Type::Float32, false)), 4), true),
        Field::new("tags", Type::List(Box::new(Field::new("item", Type::Utf8, true))), true),
        Field::new("when", Type::Time { unit: Unit::Ms }, true),
        Field::new("uuid", Type::Uuid, true),
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    arbitrary::golden("schema-v1.bin", &schema.encode());
    let less = schema.drop_column("uuid").unwrap();
    arbitrary::golden("schema-next-id-v1.bin", &less.encode());
    assert_eq!(Schema::decode(&arbitrary::golden_file("schema-next-id-v1.bin")).unwrap(), less);
}

#[test]
fn portable_types_are_restored_where_their_mark_fits() {
    use arrow_schema::TimeUnit;
    let seconds = |zone: Option<&str>| Type::Timestamp { unit: Unit::S, zone: zone.map(Into::into) };
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("at", seconds(None), true),
        Field::new("there", seconds(Some("Europe/Berlin")), false),
        Field::new("time", Type::Time { unit: Unit::S }, true),
        Field::new("tens", Type::Decimal128 { precision: 10, scale: -2 }, true),
        Field::new("wide", Type::Decimal128 { precision: 38, scale: -38 }, true),
        Field::new("tens2", Type::Decimal256 { precision: 10, scale: -2 }, true),
        Field::new("list", Type::List(Box::new(Field::new("item", seconds(None), false))), true),
    ];
    let pair = |item: Type| Type::FixedSizeList(Box::new(Field::new("item", item, false)), 2);
    let lists = |nullable: bool| {
        Type::Struct(vec![
            Field::new("whole", pair(Type::Float32), false),
            Field::new("missing", pair(pair(seconds(None))), nullable),
        ])
    };
    let fields = fields.into_iter().chain([
        Field::new("whole", pair(pair(Type::Float32)), false),
        Field::new("embedding", pair(Type::BFloat16), true),
        Field::new("parts", lists(true), false),
        Field::new("under", lists(false), true),
        Field::new("each", Type::List(Box::new(Field::new("item", pair(Type::Int8), false))), false),
    ]);
    let schema = Schema::new(fields.collect(), &["id"]).unwrap();
    let found = portable(&schema.arrow()).unwrap().unwrap();
    assert_eq!(found.field_with_name("whole").unwrap(), schema.arrow().field_with_name("whole").unwrap());
    let of_any_size =
        ["embedding", "parts", "under", "each"].map(|name| found.field_with_name(name).unwrap().to_string());
    let fixed = of_any_size.map(|text| text.matches("FixedSizeList").count());
    assert_eq!(fixed, [0, 1, 0, 0], "{found}");
    assert_eq!(*found.field(1).data_type(), DataType::Timestamp(TimeUnit::Millisecond, None));
    assert_eq!(*found.field(4).data_type(), DataType::Decimal128(12, 0));
    assert_eq!(*found.field(5).data_type(), DataType::Decimal256(76, 0));
    assert_eq!(*found.field(6).data_type(), DataType::Decimal256(12, 0));
    assert_eq!(Schema::from_arrow(&found, &["id".to_owned()]).unwrap(), schema);
    assert_eq!(portable(&found).unwrap(), None);
    // Whoever changed the column and kept the metadata gets the column as it is.
    for (mark, ty) in [
        ("timestamp(s)", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("timestamp(s)", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("time(s)", DataType::Int32),
        ("decimal(10, -2)", DataType::Decimal128(13, 0)),
        ("decimal(10, 2)", DataType::Decimal128(12, 0)),
        ("fixed_size_list(float32, 2)", DataType::new_list(DataType::Float64, true)),
        ("fixed_size_list(float64, )", DataType::new_list(DataType::Float64, true)),
        ("list(float64)", DataType::new_list(DataType::Float64, true)),
    ] {
        let field = |name: &str| ArrowField::new(name, ty.clone(), true);
        let marked = field("v").with_metadata([("syncline.type".to_owned(), mark.to_owned())].into());
        let type_of = |field: ArrowField| {
            let key = ArrowField::new("id", DataType::Int64, false);
            let schema = Schema::from_arrow(&ArrowSchema::new(vec![key, field]), &["id".to_owned()]).unwrap();
            schema.columns[1].ty.clone()
        };
        assert_eq!(type_of(marked), type_of(field("v")), "{mark} {ty}");
    }
}

#[test]
fn a_column_that_no_leaf_could_hold_is_refused() {
    let list = |length| Type::FixedSizeList(Box::new(Field::new("item", Type::Float64, false)), length);
    let narrow = Schema::new(vec![Field::new("id", Type::Int64, false)], &["id"]).unwrap();
    narrow.add_column("e", list(768)).expect("an embedding");
    let error = narrow.add_column("e", list(1 << 20)).expect_err("64 GiB").to_string();
    assert!(error.contains("too long for a table of short rows"), "{error}");
    // In a new table leaves have fewer rows.
    Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("e", list(1 << 20), true)], &["id"]).unwrap();
}
