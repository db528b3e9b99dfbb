//! Lists, structs and maps of typed sources, level by level: each level's children are converted as a column is.
//!
//! Owns nothing. What does not fit is told by the row that it is in, and only when that row is there.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray, UInt32Array, new_null_array};
use arrow_buffer::{NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use syncline_tree::schema::Type;

use super::super::csv::count;
use super::{Converted, OnBad, Unfit};

/// An array of one type with levels as one of its like.
pub(super) fn convert(
    array: &ArrayRef,
    from: &Type,
    to: &DataType,
    ty: &Type,
    name: &str,
    bad: &mut OnBad<'_>,
) -> Converted {
    match (ty, from, to) {
        (Type::List(item), Type::List(from) | Type::FixedSizeList(from, _), DataType::List(field)) => {
            let list = strict(array, &DataType::List(item_of(array.data_type())))?;
            let list = list.as_list::<i32>();
            let (offsets, reached) = reached(list.offsets(), list.values());
            let mut tell = |child: usize, reason| tell(list.nulls(), owner(list.offsets(), child), reason, bad);
            let values = child(&reached, &from.ty, field, &item.ty, name, &mut tell)?;
            Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?))
        }
        (
            Type::FixedSizeList(item, _),
            Type::List(from) | Type::FixedSizeList(from, _),
            DataType::FixedSizeList(field, size),
        ) => {
            let list = cut(array, *size, name, bad)?;
            let list = list.as_fixed_size_list();
            let width = usize::try_from(*size).unwrap_or(0).max(1);
            let mut tell = |child: usize, reason| tell(list.nulls(), child / width, reason, bad);
            let values = child(list.values(), &from.ty, field, &item.ty, name, &mut tell)?;
            Ok(Arc::new(FixedSizeListArray::try_new(field.clone(), *size, values, list.nulls().cloned())?))
        }
        (Type::Struct(members), Type::Struct(from), DataType::Struct(to)) => {
            let pack = array.as_struct();
            // By name and never by order: what else is called as it is, is something else.
            if let Some(unknown) = from.iter().find(|from| members.iter().all(|member| member.name != from.name)) {
                return Err(Unfit(format!("the table has no `{}` in it", unknown.name)));
            }
            let arrays = to.iter().zip(members).map(|(field, member)| {
                let mut tell = |row: usize, reason| tell(pack.nulls(), row, reason, bad);
                match from.iter().position(|from| from.name == member.name) {
                    Some(at) => child(pack.column(at), &from[at].ty, field, &member.ty, name, &mut tell),
                    None if member.nullable => Ok(new_null_array(field.data_type(), pack.len())),
                    None => Err(Unfit(format!("it has no `{}`, which may not be null", member.name))),
                }
            });
            let arrays = arrays.collect::<Result<_, _>>()?;
            Ok(Arc::new(StructArray::try_new(to.clone(), arrays, pack.nulls().cloned())?))
        }
        (Type::Map { key, value }, Type::Map { key: from_key, value: from_value }, DataType::Map(entries, sorted)) => {
            let DataType::Struct(fields) = entries.data_type() else { return Ok(strict(array, to)?) };
            let map = array.as_map();
            let mut tell = |child: usize, reason| tell(map.nulls(), owner(map.offsets(), child), reason, bad);
            let (offsets, keys) = reached(map.offsets(), map.keys());
            let keys = child(&keys, &from_key.ty, &fields[0], &key.ty, name, &mut tell)?;
            let values = reached(map.offsets(), map.values()).1;
            let values = child(&values, &from_value.ty, &fields[1], &value.ty, name, &mut tell)?;
            let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, map.nulls().cloned(), *sorted)?))
        }
        _ => Ok(strict(array, to)?),
    }
}

fn item_of(from: &DataType) -> FieldRef {
    match from {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item.clone(),
        other => Arc::new(Field::new("item", other.clone(), true)),
    }
}

/// Lists of any length as lists of one; those of another are told, and null.
fn cut(array: &ArrayRef, size: i32, name: &str, bad: &mut OnBad<'_>) -> Converted {
    if matches!(array.data_type(), DataType::FixedSizeList(_, is) if *is == size) {
        return Ok(array.clone());
    }
    let item = item_of(array.data_type());
    let list = strict(array, &DataType::List(item.clone()))?;
    let list = list.as_list::<i32>();
    let width = usize::try_from(size).unwrap_or(0);
    let mut nulls = NullBufferBuilder::new(list.len());
    let mut places: Vec<Option<u32>> = Vec::new();
    for (row, length) in list.offsets().lengths().enumerate() {
        let fits = list.is_valid(row) && length == width;
        if list.is_valid(row) && !fits {
            bad(row, format!("column `{name}`: has {}, the type wants {size}", count(length, "item")));
        }
        let start = list.offsets()[row].unsigned_abs();
        places.extend((0..size.unsigned_abs()).map(|at| fits.then_some(start + at)));
        nulls.append(fits);
    }
    let values = arrow_select::take::take(list.values(), &UInt32Array::from(places), None)?;
    let item = Arc::new(item.as_ref().clone().with_nullable(true));
    Ok(Arc::new(FixedSizeListArray::try_new(item, size, values, nulls.finish())?))
}

fn strict(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The children that offsets reach, and offsets into them.
pub(super) fn reached(offsets: &OffsetBuffer<i32>, values: &ArrayRef) -> (OffsetBuffer<i32>, ArrayRef) {
    let count = offsets.lengths().sum();
    (OffsetBuffer::from_lengths(offsets.lengths()), values.slice(usize::try_from(offsets[0]).unwrap_or(0), count))
}

/// The row that a reached child is in.
pub(super) fn owner(offsets: &OffsetBuffer<i32>, child: usize) -> usize {
    offsets.partition_point(|end| (end - offsets[0]) as usize <= child).saturating_sub(1)
}

pub(super) fn tell(nulls: Option<&NullBuffer>, row: usize, reason: String, bad: &mut OnBad<'_>) {
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
    Ok(super::without_nulls(&converted, field)?)
}
