use proptest::prelude::*;

use super::arbitrary::{rng, rows, schema};
use arrow_array::Array;

use super::*;

fn round_trip(seed: u64) {
    let mut rng = rng(seed);
    let schema = schema(&mut rng);
    let count = rng.below(70) as usize;
    let batch = rows(&mut rng, &schema, count, 0, 1);
    let bytes = encode(&schema, &batch, &[]).unwrap();
    let leaf = Leaf::parse(bytes.clone()).unwrap();
    let back = leaf.batch(&schema, None).unwrap();
    assert_eq!(back, batch, "rows");
    assert_eq!(encode(&schema, &back, &[]).unwrap(), bytes, "canonical");
    leaf.check_canonical(&schema).unwrap();
    let ids: Vec<u32> = schema.columns.iter().rev().map(|column| column.id).collect();
    let some = leaf.batch(&schema, Some(&ids)).unwrap();
    assert_eq!(some.column(0), batch.column(batch.num_columns() - 1));
}

proptest! {
    #[test]
    fn rows_come_back_and_encode_to_the_same_bytes(seed: u64) {
        round_trip(seed);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(seed: u64) {
        let mut rng = rng(seed);
        let schema = schema(&mut rng);
        let batch = rows(&mut rng, &schema, 20, 0, 1);
        let mut bytes = encode(&schema, &batch, &[]).unwrap().to_vec();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len().min(200) as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        if rng.below(4) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        }
        if let Ok(leaf) = Leaf::parse(bytes.into()) {
            let _ = leaf.batch(&schema, None);
        }
    }
}

fn texts() -> Schema {
    use crate::schema::{Field, Type};
    Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Utf8, true)], &["id"]).unwrap()
}

fn text_rows(cells: &[Option<&str>]) -> RecordBatch {
    let ids = arrow_array::Int64Array::from_iter_values(0..cells.len() as i64);
    let text = arrow_array::StringArray::from(cells.to_vec());
    RecordBatch::try_new(texts().arrow(), vec![std::sync::Arc::new(ids), std::sync::Arc::new(text)]).unwrap()
}

#[test]
fn large_cells_go_out_and_come_back() {
    let long = "é".repeat(INLINE_MAX);
    let batch = text_rows(&[Some("a"), Some(&long), None, Some("b")]);
    let mut stored = Vec::new();
    let (small, externals) = externalise(&texts(), &batch, |bytes| {
        stored.push(Bytes::copy_from_slice(bytes));
        Ok(ContentRef { root: Hash::of(bytes), len: bytes.len() as u64, height: 0 })
    })
    .unwrap();
    assert_eq!((stored.len(), externals.len(), externals[0].column, externals[0].row), (1, 1, 1, 1));
    let leaf = Leaf::parse(encode(&texts(), &small, &externals).unwrap()).unwrap();
    assert_eq!(leaf.externals(), externals);
    leaf.check_canonical(&texts()).unwrap();
    let read = leaf.batch(&texts(), Some(&[1])).unwrap();
    let whole = internalise(&texts(), &read, Some(&[1]), &externals, |content| {
        assert_eq!(content.root, Hash::of(&stored[0]));
        Ok(stored[0].clone())
    })
    .unwrap();
    assert_eq!(whole.column(0), batch.column(1));
    let none = externalise(&texts(), &small, |_| panic!("nothing is long")).unwrap();
    assert_eq!(none.0, small);
}

/// Lists of texts under a map or alone; `dirt`: what lies under nulls.
fn nested(dirt: &str) -> (Schema, RecordBatch) {
    use crate::schema::{Field, Type};
    use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::cast::AsArray;
    let text = || Box::new(Field::new("item", Type::Utf8, true));
    let pair = |name: &str| Box::new(Field::new(name, Type::Utf8, name == "value"));
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("list", Type::List(text()), true),
        Field::new("map", Type::Map { key: pair("key"), value: pair("value") }, true),
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let (mut ids, mut list) = (Int64Builder::new(), ListBuilder::new(StringBuilder::new()));
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (id, count) in [(0, 3), (1, 4_000), (2, 0), (3, 2_500), (4, 1)] {
        ids.append_value(id);
        for n in 0..count {
            list.values().append_value(if n % 9 == 1 { dirt.to_owned() } else { format!("{id} {n}") });
            map.keys().append_value(format!("{n}"));
            map.values().append_value("value");
        }
        list.append(id != 2);
        map.append(id != 4).unwrap();
    }
    let list = list.finish();
    // Every ninth item is null, with the dirt still under it.
    let items = list.values().as_string::<i32>();
    let valid: arrow_buffer::NullBuffer = items.iter().map(|item| item != Some(dirt)).collect();
    let items = arrow_array::StringArray::new(items.offsets().clone(), items.values().clone(), Some(valid));
    let arrow = schema.arrow();
    let arrow_schema::DataType::List(item) = arrow.field(1).data_type() else { panic!("it is a list") };
    let nulls = list.nulls().cloned();
    let list = arrow_array::ListArray::new(item.clone(), list.offsets().clone(), std::sync::Arc::new(items), nulls);
    let map = arrow_cast::cast(&map.finish(), arrow.field(2).data_type()).unwrap();
    let columns: Vec<ArrayRef> = vec![std::sync::Arc::new(ids.finish()), std::sync::Arc::new(list), map];
    (schema, RecordBatch::try_new(arrow, columns).unwrap())
}

#[test]
fn long_lists_and_maps_go_out_and_come_back_whatever_lies_under_nulls() {
    let mut forms = Vec::new();
    for dirt in ["", "something that nobody sees"] {
        let (schema, batch) = nested(dirt);
        let mut stored = std::collections::BTreeMap::new();
        let (small, externals) = externalise(&schema, &batch, |bytes| {
            assert!(bytes.len() > INLINE_MAX);
            stored.insert(Hash::of(bytes), Bytes::copy_from_slice(bytes));
            Ok(ContentRef { root: Hash::of(bytes), len: bytes.len() as u64, height: 0 })
        })
        .unwrap();
        let places: Vec<_> = externals.iter().map(|external| (external.column, external.row)).collect();
        assert_eq!(places, [(1, 1), (1, 3), (2, 1), (2, 3)]);
        let bytes = encode(&schema, &small, &externals).unwrap();
        assert!(bytes.len() < 2_000, "{} bytes", bytes.len());
        let leaf = Leaf::parse(bytes.clone()).unwrap();
        leaf.check_canonical(&schema).unwrap();
        let read = leaf.batch(&schema, None).unwrap();
        let whole = internalise(&schema, &read, None, &externals, |content| Ok(stored[&content.root].clone())).unwrap();
        assert_eq!(whole, batch);
        // Bytes that are no such cell are an error, not a panic.
        for other in [Bytes::new(), bytes.clone(), encode(&texts(), &text_rows(&[None]), &[]).unwrap()] {
            assert!(internalise(&schema, &read, None, &externals, |_| Ok(other.clone())).is_err());
        }
        forms.push((bytes, stored));
    }
    assert_eq!(forms[0], forms[1], "equal rows are equal bytes");
}

/// The cell of a nested column that was moved out and not a blank one in its place is as it was before; equal cells are outside or
/// inside whatever stands beside them and lies under nulls.
/// What was outside or nearly so, by the first word of its type.
fn around_the_threshold(seed: u64) -> Vec<(String, bool)> {
    let mut rng = rng(seed);
    let schema = schema(&mut rng);
    let batch = arbitrary::long_rows(&mut rng, &schema, 12, 0, 1);
    let stored = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let out = |batch: &RecordBatch| {
        externalise(&schema, batch, |bytes| {
            stored.borrow_mut().insert(Hash::of(bytes), Bytes::copy_from_slice(bytes));
            Ok(ContentRef { root: Hash::of(bytes), len: bytes.len() as u64, height: 0 })
        })
        .unwrap()
    };
    let mut seen = Vec::new();
    let (small, externals) = out(&batch);
    let bytes = encode(&schema, &small, &externals).unwrap();
    let leaf = Leaf::parse(bytes.clone()).unwrap();
    leaf.check_canonical(&schema).unwrap();
    // What is read has other bits under nulls and other offsets.
    let read = leaf.batch(&schema, None).unwrap();
    for row in 0..batch.num_rows() {
        let (alone, cells) = out(&batch.slice(row, 1));
        assert_eq!(alone, read.slice(row, 1), "row {row}");
        let mine = externals.iter().filter(|external| external.row as usize == row);
        assert_eq!(cells, mine.map(|external| External { row: 0, ..*external }).collect::<Vec<_>>(), "row {row}");
        for (column, array) in schema.columns.iter().zip(batch.columns()) {
            let outside = cells.iter().any(|cell| cell.column == column.id);
            let over = check_length(column, &array.slice(row, 1), outside);
            if over.abs_diff(INLINE_MAX) < 1000 {
                let name = column.ty.to_string();
                seen.push((name[..name.find('(').unwrap_or(name.len())].to_owned(), outside));
            }
        }
    }
    let get = |content: &ContentRef| Ok(stored.borrow()[&content.root].clone());
    let whole = internalise(&schema, &read, None, &externals, get).unwrap();
    assert_eq!(whole, batch);
    assert_eq!(out(&whole), (read, externals));
    seen
}

/// A cell is outside when its form is so much longer than that of a blank one; bounds are not below that. By how much it is longer.
fn check_length(column: &crate::schema::Column, cell: &ArrayRef, outside: bool) -> usize {
    let len = |node| assemble(1, &[(0, node)], &[]).unwrap().len();
    if cell.is_null(0) || !nested::is_nested(&column.ty) {
        return 0;
    }
    let over = len(node_with_nulls(column, cell).unwrap()) - len(nested::blank(&column.ty, 1));
    assert_eq!(over > INLINE_MAX, outside, "{:?} is longer by {over}", column.ty);
    let (bound, most) = (bound::together(cell, 0..1, false), bound::longest(cell, 0..1));
    assert!(over <= bound && over <= most, "{:?}: {over} bytes, not {bound} or {most}", column.ty);
    over
}

#[test]
fn cells_of_every_nested_type_are_tried_on_both_sides_of_the_threshold() {
    let seen: std::collections::BTreeSet<_> = (0..300).flat_map(around_the_threshold).collect();
    for ty in ["list", "map", "struct", "fixed_size_list"] {
        assert!([false, true].iter().all(|outside| seen.contains(&(ty.to_owned(), *outside))), "{ty}: {seen:?}");
    }
}

proptest! {
    #[test]
    fn cells_around_the_threshold_go_out_and_come_back(seed: u64) {
        let _ = around_the_threshold(seed);
    }
}

#[test]
fn externals_must_name_empty_cells() {
    let content = ContentRef { root: Hash::of(b"x"), len: 20_000, height: 0 };
    let batch = text_rows(&[Some("a"), Some(""), None]);
    for (column, row, good) in [(1, 1, true), (1, 0, false), (1, 2, false), (1, 3, false), (0, 1, false), (2, 1, false)]
    {
        let bytes = encode(&texts(), &batch, &[External { column, row, content }]).unwrap();
        assert_eq!(Leaf::parse(bytes).is_ok(), good, "{column} {row}");
    }
}

#[test]
fn externals_of_structs_must_name_blank_cells() {
    use crate::schema::{Field, Type};
    use arrow_array::builder::{Int32Builder, StringBuilder};
    use arrow_array::{BooleanArray, FixedSizeListArray, Int64Array, StructArray};
    let content = ContentRef { root: Hash::of(b"x"), len: 20_000, height: 0 };
    let (n, t) = (Field::new("n", Type::Int32, true), Field::new("t", Type::Utf8, true));
    let flags = Type::FixedSizeList(Box::new(Field::new("item", Type::Bool, true)), 2);
    let cell = Type::Struct(vec![n, t, Field::new("b", flags, false)]);
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("s", cell, true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let arrow = schema.arrow();
    let arrow_schema::DataType::Struct(parts) = arrow.field(1).data_type() else { panic!("it is a struct") };
    let arrow_schema::DataType::FixedSizeList(item, _) = parts[2].data_type() else { panic!("it is a fixed list") };
    // Blank; another number, no number, another text, no text, another flag, no flag, nothing at all.
    let (mut numbers, mut texts, mut flags) = (Int32Builder::new(), StringBuilder::new(), Vec::new());
    for row in 0..8 {
        numbers.append_option(if row == 2 { None } else { Some(i32::from(row == 1)) });
        texts.append_option(if row == 4 { None } else { Some(if row == 3 { "x" } else { "" }) });
        flags.extend([Some(false), if row == 6 { None } else { Some(row == 5) }]);
    }
    let flags = FixedSizeListArray::new(item.clone(), 2, std::sync::Arc::new(BooleanArray::from(flags)), None);
    let columns: Vec<ArrayRef> =
        vec![std::sync::Arc::new(numbers.finish()), std::sync::Arc::new(texts.finish()), std::sync::Arc::new(flags)];
    let cells = StructArray::new(parts.clone(), columns, Some((0..8).map(|row| row != 7).collect()));
    let ids = Int64Array::from_iter_values(0..8);
    let batch =
        RecordBatch::try_new(arrow.clone(), vec![std::sync::Arc::new(ids), std::sync::Arc::new(cells)]).unwrap();
    for row in 0..9 {
        let bytes = encode(&schema, &batch, &[External { column: 1, row, content }]).unwrap();
        assert_eq!(Leaf::parse(bytes).is_ok(), row == 0, "{row}");
    }
    let of_id = encode(&schema, &batch, &[External { column: 0, row: 0, content }]).unwrap();
    assert!(Leaf::parse(of_id).is_err(), "a number is never outside");
}

#[test]
fn floats_keep_their_bits() {
    use crate::schema::{Field, Type};
    let fields = ["id", "f", "h", "b"].into_iter().zip([Type::Int64, Type::Float64, Type::Float16, Type::BFloat16]);
    let schema = Schema::new(fields.map(|(name, ty)| Field::new(name, ty, false)).collect(), &["id"]).unwrap();
    let doubles = [0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001, 1 << 63].map(f64::from_bits);
    let halves = [0x7e01, 0xfc01, 0x8000].map(half::f16::from_bits);
    let columns: Vec<ArrayRef> = vec![
        std::sync::Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3])),
        std::sync::Arc::new(arrow_array::Float64Array::from(doubles.to_vec())),
        std::sync::Arc::new(arrow_array::Float16Array::from(halves.to_vec())),
        std::sync::Arc::new(arrow_array::UInt16Array::from(vec![0x7fc1, 0xff81, 0x8000])),
    ];
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let bytes = encode(&schema, &batch, &[]).unwrap();
    let stored = crate::codec::encode(&bytes).unwrap();
    let back = Leaf::parse(crate::codec::decode(&stored, bytes.len()).unwrap()).unwrap().batch(&schema, None).unwrap();
    for i in 0..4 {
        assert_eq!(back.column(i).to_data().buffers()[0].as_slice(), batch.column(i).to_data().buffers()[0].as_slice());
    }
}

#[test]
fn an_added_column_reads_as_nulls_and_rewrites_nothing() {
    let batch = text_rows(&[Some("a"), None]);
    let bytes = encode(&texts(), &batch, &[]).unwrap();
    let wider = texts().add_column("more", crate::schema::Type::Float32).unwrap();
    let leaf = Leaf::parse(bytes.clone()).unwrap();
    let read = leaf.batch(&wider, None).unwrap();
    assert_eq!(read.column(2).null_count(), 2);
    assert_eq!(encode(&wider, &read, &[]).unwrap(), bytes);
}

#[test]
fn a_leaf_of_another_schema_is_refused() {
    let bytes = encode(&texts(), &text_rows(&[Some("a")]), &[]).unwrap();
    let leaf = Leaf::parse(bytes).unwrap();
    use crate::schema::{Field, Type};
    let other = Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Int32, true)], &["id"])
        .unwrap();
    assert_eq!(leaf.batch(&other, None).unwrap_err().kind(), syncline_base::Kind::Corrupt);
}

/// A leaf that never changes, with every kind of node.
pub(crate) fn fixed() -> (Schema, RecordBatch) {
    let mut rng = rng(20);
    use crate::schema::{Field, Type};
    let item = |ty| Box::new(Field::new("item", ty, true));
    let types = [
        Type::Int64,
        Type::Bool,
        Type::Utf8,
        Type::Binary,
        Type::Float32,
        Type::Decimal128 { precision: 20, scale: 2 },
        Type::Uuid,
        Type::List(item(Type::Utf8)),
        Type::FixedSizeList(item(Type::Int16), 3),
        Type::Struct(vec![Field::new("a", Type::Int8, true), Field::new("b", Type::Utf8, false)]),
    ];
    let fields = types.into_iter().enumerate().map(|(i, ty)| Field::new(format!("c{i}"), ty, i > 0)).collect();
    let schema = Schema::new(fields, &["c0"]).unwrap();
    let batch = rows(&mut rng, &schema, 24, 0, 10);
    (schema, batch)
}

#[test]
fn golden_leaf_with_cells_outside_and_one_of_them() {
    use crate::schema::{Field, Type};
    use arrow_array::builder::{Float32Builder, ListBuilder};
    let item = || Box::new(Field::new("item", Type::Float32, true));
    let parts = vec![Field::new("n", Type::Int16, true), Field::new("v", Type::List(item()), true)];
    let pairs = Type::FixedSizeList(Box::new(Field::new("item", Type::Struct(parts), true)), 2);
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("p", pairs, true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let arrow = schema.arrow();
    let arrow_schema::DataType::FixedSizeList(pair, _) = arrow.field(1).data_type() else { panic!("a fixed list") };
    let arrow_schema::DataType::Struct(members) = pair.data_type() else { panic!("of structs") };
    let arrow_schema::DataType::List(of) = members[1].data_type() else { panic!("with a list") };
    let numbers = arrow_array::Int16Array::from(vec![Some(1), None, Some(-3), Some(4), Some(5), Some(6)]);
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(of.clone());
    for count in [2, 0, 5_000, 3, 1, 0_u16] {
        (0..count).for_each(|n| lists.values().append_option((n % 10 != 9).then(|| f32::from(n))));
        lists.append(count > 0);
    }
    let structs = arrow_array::StructArray::new(
        members.clone(),
        vec![std::sync::Arc::new(numbers), std::sync::Arc::new(lists.finish())],
        None,
    );
    let pairs = arrow_array::FixedSizeListArray::new(pair.clone(), 2, std::sync::Arc::new(structs), None);
    let ids = arrow_array::Int64Array::from(vec![1, 2, 3]);
    let batch =
        RecordBatch::try_new(arrow.clone(), vec![std::sync::Arc::new(ids), std::sync::Arc::new(pairs)]).unwrap();
    let store = crate::tests_support::memory_store();
    let mut form = Vec::new();
    let (small, externals) = externalise(&schema, &batch, |bytes| {
        form.push(Bytes::copy_from_slice(bytes));
        crate::content::write_bytes(&store, bytes, None)
    })
    .unwrap();
    assert_eq!(form.len(), 1);
    arbitrary::golden("cell-v1.bin", &form[0]);
    arbitrary::golden("leaf-outside-v1.bin", &encode(&schema, &small, &externals).unwrap());
    let leaf = Leaf::parse(arbitrary::golden_file("leaf-outside-v1.bin").into()).unwrap();
    let get = |_: &ContentRef| Ok(arbitrary::golden_file("cell-v1.bin").into());
    let read = leaf.batch(&schema, None).unwrap();
    assert_eq!(internalise(&schema, &read, None, leaf.externals(), get).unwrap(), batch);
}

#[test]
fn golden_leaf_and_stored_form() {
    let (schema, batch) = fixed();
    let bytes = encode(&schema, &batch, &[]).unwrap();
    arbitrary::golden("leaf-v1.bin", &bytes);
    // Writers may get better; what was written once must be read for ever.
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        arbitrary::golden("leaf-stored-v1.bin", &crate::codec::encode(&bytes).unwrap());
    }
    let stored = arbitrary::golden_file("leaf-stored-v1.bin");
    assert_eq!(crate::codec::decode(&stored, bytes.len()).unwrap(), bytes);
}
