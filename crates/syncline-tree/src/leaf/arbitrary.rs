//! Random schemas and rows for tests: every type, nulls, slices, dirt in null slots.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, ListArray, MapArray, RecordBatch, StructArray, make_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use syncline_base::rng::Rng;

use crate::schema::{Field, Schema, Type, Unit};

/// A generator from a seed.
pub(crate) fn rng(seed: u64) -> Rng {
    Rng::from_seed(seed)
}

/// The style of arrays some of whose cells are about as long as a cell in a leaf may be.
const LONG: u64 = 5;

fn pick<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize].clone()
}

/// A random type; nested ones at most `depth` deep.
pub(crate) fn ty(rng: &mut Rng, depth: u32) -> Type {
    let unit = pick(rng, &[Unit::S, Unit::Ms, Unit::Us, Unit::Ns]);
    let flat = [
        Type::Bool,
        Type::Int8,
        Type::Int16,
        Type::Int32,
        Type::Int64,
        Type::UInt8,
        Type::UInt16,
        Type::UInt32,
        Type::UInt64,
        Type::Float16,
        Type::BFloat16,
        Type::Float32,
        Type::Float64,
        Type::Decimal128 { precision: 38, scale: 2 },
        Type::Decimal256 { precision: 76, scale: 5 },
        Type::Utf8,
        Type::Binary,
        Type::Date32,
        Type::Time { unit },
        Type::Timestamp { unit, zone: None },
        Type::Timestamp { unit, zone: Some("UTC".to_owned()) },
        Type::Uuid,
        Type::Json,
    ];
    if depth == 0 || rng.below(3) > 0 {
        return pick(rng, &flat);
    }
    match rng.below(4) {
        0 => Type::List(Box::new(field(rng, "item", depth - 1))),
        1 => Type::FixedSizeList(Box::new(field(rng, "item", depth - 1)), 1 + rng.below(5) as u32),
        2 => Type::Struct((0..1 + rng.below(3)).map(|i| field(rng, &format!("f{i}"), depth - 1)).collect()),
        _ => Type::Map {
            key: Box::new(Field::new("key", Type::Utf8, false)),
            value: Box::new(field(rng, "value", depth - 1)),
        },
    }
}

fn field(rng: &mut Rng, name: &str, depth: u32) -> Field {
    let ty = ty(rng, depth);
    Field::new(name, ty, rng.below(2) == 0)
}

/// A key column and some others.
pub(crate) fn schema(rng: &mut Rng) -> Schema {
    let mut fields = vec![Field::new("id", Type::Int64, false)];
    for i in 0..1 + rng.below(5) {
        fields.push(field(rng, &format!("c{i}"), 2));
    }
    Schema::new(fields, &["id"]).unwrap()
}

/// Rows of a schema. The first column counts from `first` by `step`.
pub(crate) fn rows(rng: &mut Rng, schema: &Schema, rows: usize, first: i64, step: i64) -> RecordBatch {
    styled(rng, schema, rows, (first, step), |rng| rng.below(LONG))
}

/// As [`rows`], some with cells that are about as long as a cell in a leaf may be.
#[cfg(test)]
pub(crate) fn long_rows(rng: &mut Rng, schema: &Schema, rows: usize, first: i64, step: i64) -> RecordBatch {
    styled(rng, schema, rows, (first, step), |_| LONG)
}

fn styled(
    rng: &mut Rng,
    schema: &Schema,
    rows: usize,
    (first, step): (i64, i64),
    style: impl Fn(&mut Rng) -> u64,
) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (i, column) in schema.columns.iter().enumerate() {
        if i == 0 {
            let ids = (0..rows as i64).map(|row| first + row * step).collect::<Vec<_>>();
            columns.push(Arc::new(arrow_array::Int64Array::from(ids)));
            continue;
        }
        let style = style(rng);
        // Sliced out of a longer array, so that offsets do not start at 0.
        let before = rng.below(4) as usize;
        let array = array(rng, &column.ty, column.nullable, rows + before, style);
        columns.push(array.slice(before, rows));
    }
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// Lengths of lists: short, but for some of [`LONG`] style, whose items then have style 2 and are `width` bytes or so.
fn lengths(rng: &mut Rng, len: usize, below: u64, width: usize, style: u64) -> OffsetBuffer<i32> {
    let long = crate::leaf::INLINE_MAX / width;
    OffsetBuffer::from_lengths((0..len).map(|_| {
        if style == LONG && rng.below(6) == 0 { long - 40 + rng.below(80) as usize } else { rng.below(below) as usize }
    }))
}

/// `style`: 0 all null where that is allowed, 1 constant, 2 small values, else anything.
pub(crate) fn array(rng: &mut Rng, ty: &Type, nullable: bool, len: usize, style: u64) -> ArrayRef {
    let nulls = (nullable && rng.below(3) > 0).then(|| {
        let every = if style == 0 { 1 } else { 2 + rng.below(8) };
        NullBuffer::new(BooleanBuffer::collect_bool(len, |_| rng.below(every) > 0))
    });
    let data_type = ty.arrow();
    match (ty, &data_type) {
        (Type::Bool, _) => Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(len, |_| rng.below(3) == 0), nulls)),
        (Type::Utf8 | Type::Json, _) => {
            let mut out = StringBuilder::new();
            (0..len).for_each(|_| out.append_value(text(rng, style)));
            let array = out.finish();
            Arc::new(arrow_array::StringArray::new(array.offsets().clone(), array.values().clone(), nulls))
        }
        (Type::Binary, _) => {
            let mut out = BinaryBuilder::new();
            (0..len).for_each(|_| out.append_value(text(rng, style)));
            let array = out.finish();
            Arc::new(arrow_array::BinaryArray::new(array.offsets().clone(), array.values().clone(), nulls))
        }
        (Type::List(item), DataType::List(field)) => {
            let width = super::import::kind_of(&item.ty).width().unwrap_or(6);
            let offsets = lengths(rng, len, 4, width, style);
            let style = if style == LONG { 2 } else { style };
            let child = array(rng, &item.ty, item.nullable, *offsets.last().unwrap() as usize, style);
            Arc::new(ListArray::new(field.clone(), offsets, child, nulls))
        }
        (Type::Map { key, value }, DataType::Map(entries, sorted)) => {
            let offsets = lengths(rng, len, 3, 50, style);
            let style = if style == LONG { 2 } else { style };
            let count = *offsets.last().unwrap() as usize;
            let DataType::Struct(pair) = entries.data_type() else { unreachable!() };
            let columns =
                vec![array(rng, &key.ty, false, count, 3), array(rng, &value.ty, value.nullable, count, style)];
            let child = StructArray::new(pair.clone(), columns, None);
            Arc::new(MapArray::new(entries.clone(), offsets, child, nulls, *sorted))
        }
        (Type::FixedSizeList(item, size), DataType::FixedSizeList(field, _)) => {
            let child = array(rng, &item.ty, item.nullable, len * *size as usize, style);
            Arc::new(FixedSizeListArray::new(field.clone(), *size as i32, child, nulls))
        }
        (Type::Struct(fields), DataType::Struct(arrow)) => {
            let columns = fields.iter().map(|field| array(rng, &field.ty, field.nullable, len, style)).collect();
            Arc::new(StructArray::new(arrow.clone(), columns, nulls))
        }
        (ty, _) => plain(rng, ty, len, style, nulls),
    }
}

/// Cells of fixed width.
fn plain(rng: &mut Rng, ty: &Type, len: usize, style: u64, nulls: Option<NullBuffer>) -> ArrayRef {
    let width = super::import::kind_of(ty).width().unwrap();
    let mut values = vec![0; len * width];
    rng.fill(&mut values);
    for slot in values.chunks_exact_mut(width) {
        match style {
            1 => slot.fill(7),
            2 => slot[1.min(width)..].fill(0),
            _ => {}
        }
    }
    if let Type::Decimal128 { .. } | Type::Decimal256 { .. } = ty {
        // Within the precision: the upper bytes repeat the sign.
        for slot in values.chunks_exact_mut(width) {
            let sign = if slot[width - 2] & 0x80 == 0 { 0 } else { 0xff };
            slot[width - 2..].fill(sign);
        }
    }
    let data = ArrayData::builder(ty.arrow()).len(len).nulls(nulls);
    let data = data.add_buffer(Buffer::from_slice_ref(&values)).align_buffers(true);
    make_array(data.build().unwrap())
}

fn text(rng: &mut Rng, style: u64) -> String {
    match style {
        1 => "always the same".to_owned(),
        2 => pick(rng, &["AIR", "MAIL", "SHIP", "é", ""]).to_owned(),
        LONG if rng.below(6) == 0 => "l".repeat(crate::leaf::INLINE_MAX - 40 + rng.below(80) as usize),
        3 => format!("row {} of many, all in plain words", rng.below(1 << 40)),
        _ => (0..rng.below(12)).map(|_| char::from_u32(rng.below(0xd000) as u32).unwrap_or('x')).collect(),
    }
}

/// Compares bytes with a committed file; `UPDATE_GOLDENS=1` writes it. Formats never change: a new version gets a new file.
pub(crate) fn golden(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tree").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let want = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(bytes == want, "{name} is not what is committed: this format has changed");
}

/// A committed file.
pub(crate) fn golden_file(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tree").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
