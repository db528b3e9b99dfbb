//! Values that are not nested, from one type to another, by batch. What would change is told by its row.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt16Type};
use arrow_array::{Array, ArrayRef, Date32Array, Float32Array, UInt16Array, make_array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use half::bf16;
use syncline_tree::schema::{Type, Unit};

use super::super::scalar;
use super::{OnBad, cell_text};

/// The days of a timestamp, or the values of any other pair that [`super::pairs`] lists.
pub(super) fn convert(
    array: &ArrayRef,
    from: &Type,
    to: &DataType,
    ty: &Type,
    name: &str,
    bad: &mut OnBad<'_>,
) -> Result<ArrayRef, ArrowError> {
    let array = match from {
        Type::BFloat16 => &widened(array),
        // Of a fixed size, maybe.
        Type::Binary => &cast(array, &DataType::Binary)?,
        _ => array,
    };
    match (from, ty) {
        (_, Type::BFloat16) => halves(array, name, bad),
        (Type::Binary, _) => checked_cast(array, to, name, bad),
        (_, Type::Utf8 | Type::Json) => {
            let from = if *from == Type::BFloat16 { &Type::Float32 } else { from };
            let same = array.data_type() == &from.arrow();
            Ok(written(&if same { array.clone() } else { checked_cast(array, &from.arrow(), name, bad)? }, from))
        }
        (Type::Timestamp { .. }, Type::Date32) => days(array, name, bad),
        (Type::Date32, Type::Timestamp { zone, .. }) => in_zone(&midnights(array, to, name, bad)?, zone.as_deref()),
        // Both are instants, or none is: what is left to convert is the unit.
        (_, Type::Timestamp { zone, .. }) => {
            let array = in_zone(array, zone.as_deref())?;
            if array.data_type() == to { Ok(array) } else { checked_cast(&array, to, name, bad) }
        }
        _ => checked_cast(array, to, name, bad),
    }
}

fn refuse(array: &ArrayRef, row: usize, to: &DataType, name: &str, bad: &mut OnBad<'_>) {
    let value = cell_text(array, row).unwrap_or_default();
    bad(row, format!("column `{name}`: {value} does not fit {to}"));
}

/// A cast that tells what it would change. Floats may be rounded to narrower floats, and end where those do.
fn checked_cast(array: &ArrayRef, to: &DataType, name: &str, bad: &mut OnBad<'_>) -> Result<ArrayRef, ArrowError> {
    let converted = cast(array, to)?;
    if array.data_type().is_floating() && to.is_floating() {
        if to.primitive_width() < array.data_type().primitive_width() {
            let (was, is) = (cast(array, &DataType::Float64)?, cast(&converted, &DataType::Float64)?);
            let (was, is) = (was.as_primitive::<Float64Type>().values(), is.as_primitive::<Float64Type>().values());
            let lost = |row: usize| is[row].is_infinite() && was[row].is_finite();
            if is.iter().any(|value| value.is_infinite()) {
                let rows = (0..array.len()).filter(|row| lost(*row) && array.is_valid(*row));
                rows.for_each(|row| refuse(array, row, to, name, bad));
            }
        }
        return Ok(converted);
    }
    let back = cast(&converted, array.data_type())?;
    let same = arrow_ord::cmp::not_distinct(&back, array)?;
    (0..same.len()).filter(|row| !same.value(*row)).for_each(|row| refuse(array, row, to, name, bad));
    Ok(converted)
}

/// The numbers that the bits of bfloat16 are.
fn widened(bits: &ArrayRef) -> ArrayRef {
    let number = |bits| bf16::from_bits(bits).to_f32();
    let numbers: Float32Array = bits.as_primitive::<UInt16Type>().unary::<_, Float32Type>(number);
    Arc::new(numbers)
}

/// Numbers as bfloat16. A table has the bits of these, and a cast would take a number for them.
fn halves(array: &ArrayRef, name: &str, bad: &mut OnBad<'_>) -> Result<ArrayRef, ArrowError> {
    let rounds = array.data_type().is_floating();
    let wide = checked_cast(array, &DataType::Float64, name, bad)?;
    let half = |(row, value): (usize, Option<f64>)| {
        let value = value?;
        let half = bf16::from_f64(value);
        let kept = half.to_f64() == value || rounds && (half.is_finite() || !value.is_finite());
        if !kept {
            bad(row, format!("column `{name}`: {value} does not fit bfloat16"));
        }
        Some(half.to_bits())
    };
    let halves: UInt16Array = wide.as_primitive::<Float64Type>().iter().enumerate().map(half).collect();
    Ok(Arc::new(halves))
}

/// The text that an export would write of the cells.
fn written(array: &ArrayRef, ty: &Type) -> ArrayRef {
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = Vec::new();
    for row in 0..array.len() {
        text.clear();
        if array.is_valid(row) {
            crate::export::write_cell(ty, array, row, &mut text);
            texts.append_value(String::from_utf8_lossy(&text));
        } else {
            texts.append_null();
        }
    }
    Arc::new(texts.finish())
}

/// Timestamps under another zone: the numbers stay.
pub(super) fn in_zone(array: &ArrayRef, zone: Option<&str>) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return Ok(array.clone()) };
    let ty = DataType::Timestamp(*unit, zone.map(Arc::from));
    Ok(make_array(array.to_data().into_builder().data_type(ty).build()?))
}

const DAY: i64 = 86_400;

/// Timestamps that are midnights, as days. The library knows only some of all years.
fn days(array: &ArrayRef, name: &str, bad: &mut OnBad<'_>) -> Result<ArrayRef, ArrowError> {
    let unit = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => Unit::S,
        DataType::Timestamp(TimeUnit::Millisecond, _) => Unit::Ms,
        DataType::Timestamp(TimeUnit::Microsecond, _) => Unit::Us,
        _ => Unit::Ns,
    };
    let (ticks, per_day) = (cast(array, &DataType::Int64)?, DAY * scalar::per_second(unit));
    let day = |(row, ticks): (usize, Option<i64>)| {
        let ticks = ticks?;
        let day = i32::try_from(ticks / per_day).ok().filter(|_| ticks % per_day == 0);
        if day.is_none() {
            refuse(array, row, &DataType::Date32, name, bad);
        }
        day
    };
    let days: Date32Array = ticks.as_primitive::<Int64Type>().iter().enumerate().map(day).collect();
    Ok(Arc::new(days))
}

/// The midnights that days begin with, in the unit of the type.
fn midnights(array: &ArrayRef, to: &DataType, name: &str, bad: &mut OnBad<'_>) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = to else { return cast(array, to) };
    let midnights = cast(array, &DataType::Timestamp(*unit, None))?;
    if midnights.null_count() > array.null_count() {
        let lost = (0..array.len()).filter(|row| midnights.is_null(*row) && array.is_valid(*row));
        lost.for_each(|row| refuse(array, row, to, name, bad));
    }
    Ok(midnights)
}
