//! Lists, structs and maps of typed sources, level by level: each level's children are converted as a column is.
//!
//! Owns nothing. What does not fit is told by the row that it is in, and only when that row is there.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use syncline_tree::schema::Type;

use super::OnBad;

type Converted = Result<ArrayRef, ArrowError>;

/// An array where one of the two types has levels.
pub(super) fn convert(
    array: &ArrayRef,
    from: &Type,
    to: &DataType,
    ty: &Type,
    name: &str,
    bad: &mut OnBad<'_>,
) -> Converted {
    match (ty, from, to) {
        (Type::List(item), from, DataType::List(field)) if may_be_list(array.data_type()) => {
            let list = strict(array, &DataType::List(item_of(array.data_type())))?;
            let list = list.as_list::<i32>();
            let (offsets, reached) = reached(list.offsets(), list.values());
            let mut tell = |child: usize, reason| tell(list.nulls(), owner(list.offsets(), child), reason, bad);
            let values = child(&reached, items(from), field, &item.ty, name, &mut tell)?;
            Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?))
        }
        (Type::FixedSizeList(item, _), from, DataType::FixedSizeList(field, size))
            if may_be_list(array.data_type()) =>
        {
            let list = strict(array, &DataType::FixedSizeList(item_of(array.data_type()), *size))?;
            let list = list.as_fixed_size_list();
            let width = usize::try_from(*size).unwrap_or(0).max(1);
            let mut tell = |child: usize, reason| tell(list.nulls(), child / width, reason, bad);
            let values = child(list.values(), items(from), field, &item.ty, name, &mut tell)?;
            Ok(Arc::new(FixedSizeListArray::try_new(field.clone(), *size, values, list.nulls().cloned())?))
        }
        (Type::Struct(members), Type::Struct(from), DataType::Struct(to)) => {
            let pack = array.as_struct();
            let place = |to: &FieldRef| from.iter().position(|from| from.name == *to.name());
            // By name; by order where the names are others, as casts do.
            let places: Option<Vec<usize>> = to.iter().map(place).collect();
            let places = places.unwrap_or_else(|| (0..from.len().min(to.len())).collect());
            let arrays = places.iter().zip(to).zip(members).map(|((at, field), member)| {
                let mut tell = |row: usize, reason| tell(pack.nulls(), row, reason, bad);
                child(pack.column(*at), &from[*at].ty, field, &member.ty, name, &mut tell)
            });
            let arrays = arrays.collect::<Result<_, _>>()?;
            Ok(Arc::new(StructArray::try_new(to.clone(), arrays, pack.nulls().cloned())?))
        }
        (Type::Map { key, value }, Type::Map { key: from_key, value: from_value }, DataType::Map(entries, sorted)) => {
            let DataType::Struct(fields) = entries.data_type() else { return strict(array, to) };
            let map = array.as_map();
            let mut tell = |child: usize, reason| tell(map.nulls(), owner(map.offsets(), child), reason, bad);
            let (offsets, keys) = reached(map.offsets(), map.keys());
            let keys = child(&keys, &from_key.ty, &fields[0], &key.ty, name, &mut tell)?;
            let values = reached(map.offsets(), map.values()).1;
            let values = child(&values, &from_value.ty, &fields[1], &value.ty, name, &mut tell)?;
            let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, map.nulls().cloned(), *sorted)?))
        }
        _ => strict(array, to),
    }
}

/// Whether a list can be made of it without looking inside: another kind of list, or one value that becomes a list.
fn may_be_list(from: &DataType) -> bool {
    !matches!(from, DataType::Struct(_) | DataType::Map(..) | DataType::Union(..))
}

/// What a list's items are; one value is its own.
fn items(from: &Type) -> &Type {
    match from {
        Type::List(item) | Type::FixedSizeList(item, _) => &item.ty,
        scalar => scalar,
    }
}

fn item_of(from: &DataType) -> FieldRef {
    match from {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item.clone(),
        scalar => Arc::new(Field::new("item", scalar.clone(), true)),
    }
}

fn strict(array: &ArrayRef, to: &DataType) -> Converted {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The children that offsets reach, and offsets into them.
fn reached(offsets: &OffsetBuffer<i32>, values: &ArrayRef) -> (OffsetBuffer<i32>, ArrayRef) {
    let count = offsets.lengths().sum();
    (OffsetBuffer::from_lengths(offsets.lengths()), values.slice(usize::try_from(offsets[0]).unwrap_or(0), count))
}

/// The row that a reached child is in.
fn owner(offsets: &OffsetBuffer<i32>, child: usize) -> usize {
    offsets.partition_point(|end| (end - offsets[0]) as usize <= child).saturating_sub(1)
}

fn tell(nulls: Option<&NullBuffer>, row: usize, reason: String, bad: &mut OnBad<'_>) {
    if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
        bad(row, reason);
    }
}

/// The children of one level as the type wants them. Where it has no nulls, their rows are bad, and zeros stand for them until
/// those rows are out.
fn child(array: &ArrayRef, from: &Type, field: &Field, ty: &Type, name: &str, bad: &mut OnBad<'_>) -> Converted {
    let converted = if super::is_same(from, array.data_type(), ty, field.data_type()) {
        array.clone()
    } else {
        super::convert(array, from, field.data_type(), ty, name, bad)?
    };
    if field.is_nullable() || converted.logical_null_count() == 0 {
        return Ok(converted);
    }
    for row in (0..converted.len()).filter(|row| converted.is_null(*row)) {
        bad(row, format!("column `{name}`: its `{}` may not be null", field.name()));
    }
    super::without_nulls(&converted, field)
}
