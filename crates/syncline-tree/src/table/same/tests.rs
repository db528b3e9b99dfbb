use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use syncline_base::Hash;

use super::*;
use crate::leaf::External;
use crate::schema::{Field, Type, Unit};

/// A table with a key and these columns.
fn schema(columns: &[(&str, Type)]) -> Schema {
    let columns = columns.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true));
    Schema::new(std::iter::once(Field::new("id", Type::Int64, false)).chain(columns).collect(), &["id"]).unwrap()
}

fn row(schema: &Schema, cells: Vec<ArrayRef>) -> Rows {
    let columns = std::iter::once(Arc::new(Int64Array::from(vec![1])) as ArrayRef).chain(cells).collect();
    Rows { batch: RecordBatch::try_new(schema.arrow(), columns).unwrap(), externals: Vec::new() }
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn names(old: (&Schema, &Rows), new: (&Schema, &Rows)) -> Vec<String> {
    differing(old, new).unwrap().into_iter().map(|column| column.name.clone()).collect()
}

#[test]
fn cells_that_only_look_alike_differ() {
    let schema = schema(&[("f", Type::Float64), ("doc", Type::Json)]);
    let of = |f: f64, doc: &str| row(&schema, vec![Arc::new(Float64Array::from(vec![f])), text(doc)]);
    let differ = |a: (f64, &str), b: (f64, &str)| names((&schema, &of(a.0, a.1)), (&schema, &of(b.0, b.1)));
    assert_eq!(differ((0.0, "1.0"), (-0.0, "1.00")), ["f", "doc"]);
    assert_eq!(differ((0.1, r#"{"a":1,"b":2}"#), (0.1_f64.next_up(), r#"{"b":2,"a":1}"#)), ["f", "doc"]);
    assert!(differ((f64::NAN, "[1]"), (f64::NAN, "[1]")).is_empty());
}

#[test]
fn columns_are_told_by_their_origin() {
    let old = schema(&[("a", Type::Utf8), ("b", Type::Utf8)]);
    let new = old.rename_column("a", "c").unwrap().add_column("a", Type::Utf8).unwrap();
    let was = row(&old, vec![text("x"), text("y")]);
    let null: ArrayRef = Arc::new(StringArray::new_null(1));
    let is = |added: ArrayRef| row(&new, vec![text("x"), text("y"), added]);
    assert!(names((&old, &was), (&new, &is(null.clone()))).is_empty());
    assert!(names((&new, &is(null)), (&old, &was)).is_empty());
    assert_eq!(names((&old, &was), (&new, &is(text("x")))), ["a"]);
    // What went was something only where there was a cell.
    let without = old.drop_column("b").unwrap();
    let less = row(&without, vec![text("x")]);
    assert_eq!(names((&old, &was), (&without, &less)), ["b"]);
    assert_eq!(names((&without, &less), (&old, &was)), ["b"]);
    let empty = row(&old, vec![text("x"), Arc::new(StringArray::new_null(1))]);
    assert!(names((&old, &empty), (&without, &less)).is_empty());
}

#[test]
fn a_value_is_the_same_under_a_wider_type() {
    let pairs = [
        (Type::Int8, Type::Int64, "7"),
        (Type::UInt8, Type::Int32, "200"),
        (Type::Float16, Type::Float64, "0.5"),
        (Type::Float32, Type::Float64, "0.1"),
        (Type::Decimal128 { precision: 4, scale: 1 }, Type::Decimal256 { precision: 40, scale: 3 }, "-12.5"),
        (Type::Json, Type::Utf8, "{\"a\": 1}"),
        (Type::Utf8, Type::Binary, "é"),
        (Type::Date32, Type::Timestamp { unit: Unit::Ms, zone: None }, "1969-12-31"),
    ];
    for (narrow, wide, value) in pairs {
        let (old, new) = (schema(&[("v", narrow.clone())]), schema(&[("v", wide.clone())]));
        let cell = arrow_cast::cast(&text(value), &narrow.arrow()).unwrap();
        let was = row(&old, vec![cell.clone()]);
        let is = row(&new, vec![arrow_cast::cast(&cell, &wide.arrow()).unwrap()]);
        assert!(names((&old, &was), (&new, &is)).is_empty(), "{narrow} to {wide}");
        assert!(names((&new, &is), (&old, &was)).is_empty(), "{wide} to {narrow}");
    }
    let (old, new) = (schema(&[("v", Type::Int8)]), schema(&[("v", Type::Int64)]));
    let was = row(&old, vec![Arc::new(arrow_array::Int8Array::from(vec![7]))]);
    let is = row(&new, vec![Arc::new(Int64Array::from(vec![263]))]);
    assert_eq!(names((&old, &was), (&new, &is)), ["v"]);
    assert_eq!(names((&new, &is), (&old, &was)), ["v"]);
}

#[test]
fn cells_outside_of_their_leaves_are_told_by_their_content() {
    let schema = schema(&[("v", Type::Utf8)]);
    let long = |of: &[u8]| {
        let content = ContentRef { root: Hash::of(of), len: 20_000, height: 0 };
        Rows { externals: vec![External { column: 1, row: 0, content }], ..row(&schema, vec![text("")]) }
    };
    assert_eq!(names((&schema, &long(b"a")), (&schema, &long(b"b"))), ["v"]);
    assert_eq!(names((&schema, &long(b"a")), (&schema, &row(&schema, vec![text("")]))), ["v"]);
    assert!(names((&schema, &long(b"a")), (&schema, &long(b"a"))).is_empty());
}
