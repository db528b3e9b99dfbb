//! Keys as people write and read them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow_buffer::i256;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::KeyEncoder;
use crate::schema::{Column, Schema, Type, Unit};
use crate::{Error, Result, scalar};

/// A key as a JSON object of the key's columns. Values are as [`to_text`] has them: numbers and bools bare, all others text.
///
/// # Errors
/// `corrupt` when the bytes are not a key of this schema.
pub fn to_json(schema: &Schema, key: &[u8]) -> Result<Map<String, Value>> {
    let encoder = KeyEncoder::new(schema)?;
    let batch = encoder.decode([key])?;
    let cells = encoder.columns.iter().zip(batch.columns());
    Ok(cells.map(|((_, column), array)| (column.name.clone(), cell_json(&column.ty, array))).collect())
}

/// A key as text that [`parse_key`] takes for the same key: the values as text files have them, separated by commas.
///
/// # Errors
/// `corrupt` when the bytes are not a key of this schema.
pub fn to_text(schema: &Schema, key: &[u8]) -> Result<String> {
    let members = to_json(schema, key)?;
    let several = members.len() > 1;
    let values = members.into_iter().map(|(_, value)| match value {
        Value::String(text) if several => text.replace('\\', "\\\\").replace(',', "\\,"),
        Value::String(text) => text,
        other => other.to_string(),
    });
    let text = values.collect::<Vec<_>>().join(",");
    // Else it might be read as a JSON array.
    Ok(if several && text.starts_with('[') { format!("\\{text}") } else { text })
}

fn cell_json(ty: &Type, array: &ArrayRef) -> Value {
    let mut text = Vec::new();
    match ty {
        Type::Bool => return Value::from(array.as_boolean().value(0)),
        Type::Int8 => return Value::from(value::<Int8Type>(array)),
        Type::Int16 => return Value::from(value::<Int16Type>(array)),
        Type::Int32 => return Value::from(value::<Int32Type>(array)),
        Type::Int64 => return Value::from(value::<Int64Type>(array)),
        Type::UInt8 => return Value::from(value::<UInt8Type>(array)),
        Type::UInt16 => return Value::from(value::<UInt16Type>(array)),
        Type::UInt32 => return Value::from(value::<UInt32Type>(array)),
        Type::UInt64 => return Value::from(value::<UInt64Type>(array)),
        Type::Decimal128 { scale, .. } => {
            scalar::write_decimal(&mut text, &value::<Decimal128Type>(array).to_string(), *scale);
        }
        Type::Decimal256 { scale, .. } => {
            scalar::write_decimal(&mut text, &value::<Decimal256Type>(array).to_string(), *scale);
        }
        Type::Utf8 => return Value::from(array.as_string::<i32>().value(0)),
        Type::Binary => {
            text.extend_from_slice(b"0x");
            scalar::write_hex(&mut text, array.as_binary::<i32>().value(0));
        }
        Type::Date32 => scalar::write_date(&mut text, value::<Date32Type>(array).into()),
        Type::Time { unit } => {
            let value: i64 = match unit {
                Unit::S => value::<Time32SecondType>(array).into(),
                Unit::Ms => value::<Time32MillisecondType>(array).into(),
                Unit::Us => value::<Time64MicrosecondType>(array),
                Unit::Ns => value::<Time64NanosecondType>(array),
            };
            scalar::write_time(&mut text, value, *unit);
        }
        Type::Timestamp { unit, zone } => {
            let value: i64 = match unit {
                Unit::S => value::<TimestampSecondType>(array),
                Unit::Ms => value::<TimestampMillisecondType>(array),
                Unit::Us => value::<TimestampMicrosecondType>(array),
                Unit::Ns => value::<TimestampNanosecondType>(array),
            };
            scalar::write_timestamp(&mut text, value, *unit, zone.is_some());
        }
        Type::Uuid => scalar::write_uuid(&mut text, array.as_fixed_size_binary().value(0)),
        // `Schema::check` lets no other type into a key.
        _ => return Value::Null,
    }
    Value::from(String::from_utf8_lossy(&text))
}

fn value<T: ArrowPrimitiveType>(array: &ArrayRef) -> T::Native {
    array.as_primitive::<T>().value(0)
}

/// A key from text: the value itself for a one-column key, else values separated by commas (`\,` is a comma inside a
/// value, `\\` a backslash, and what begins with `\[` is no JSON), or a JSON array. Values are read as text files' are; a timestamp with a
/// zone is in UTC unless it says otherwise.
///
/// # Errors
/// `invalid` when there are too few or too many values or one does not fit its column.
pub fn parse_key(schema: &Schema, text: &str) -> Result<Vec<u8>> {
    let encoder = KeyEncoder::new(schema)?;
    let values = if encoder.columns.len() == 1 { vec![text.to_owned()] } else { split(text) };
    if values.len() != encoder.columns.len() {
        let names: Vec<_> = encoder.columns.iter().map(|(_, column)| column.name.as_str()).collect();
        let (has, names) = (values.len(), names.join(", "));
        let several = if has > 1 && encoder.columns.len() > 1 { "; write \\, for a comma inside a value" } else { "" };
        let why = format!("the key '{text}' has {has} values, this table's key is ({names}){several}");
        return Err(Error::invalid(why));
    }
    let cells = encoder.columns.iter().zip(&values).map(|((_, column), value)| parse_cell(column, value));
    let batch = RecordBatch::try_new(encoder.arrow.clone(), cells.collect::<Result<_>>()?)
        .map_err(|error| Error::invalid(format!("the key {text:?} does not fit the table: {error}")))?;
    Ok(encoder.encode_key_columns(&batch)?.get(0).to_vec())
}

fn split(text: &str) -> Vec<String> {
    if text.starts_with('[')
        && let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text)
    {
        // Numbers as they are written: a reader of JSON rounds them.
        let plain = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
        return values.into_iter().map(plain).collect();
    }
    let mut values = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => values.push(String::new()),
            _ => {
                let next = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                values.last_mut().expect("it starts with one value").push(next);
            }
        }
    }
    values
}

fn parse_cell(column: &Column, value: &str) -> Result<ArrayRef> {
    let wrong = |why: &str| {
        let (name, ty) = (&column.name, &column.ty);
        Error::invalid(format!("{value:?} is not a value of key column {name:?} ({ty}){why}"))
    };
    let (ty, text) = (&column.ty, value.trim().as_bytes());
    let array = match ty {
        Type::Bool => scalar::boolean(text).map(|value| Arc::new(BooleanArray::from(vec![value])) as ArrayRef),
        Type::Int8 => int::<Int8Type>(ty, text),
        Type::Int16 => int::<Int16Type>(ty, text),
        Type::Int32 => int::<Int32Type>(ty, text),
        Type::Int64 => int::<Int64Type>(ty, text),
        Type::UInt8 => int::<UInt8Type>(ty, text),
        Type::UInt16 => int::<UInt16Type>(ty, text),
        Type::UInt32 => int::<UInt32Type>(ty, text),
        Type::UInt64 => int::<UInt64Type>(ty, text),
        // Of any precision: a table may have been given more digits than its type says.
        Type::Decimal128 { scale, .. } => {
            one::<Decimal128Type>(ty, scalar::unscaled(text, *scale).and_then(|digits| digits.parse().ok()))
        }
        Type::Decimal256 { scale, .. } => {
            one::<Decimal256Type>(ty, scalar::unscaled(text, *scale).and_then(|digits| i256::from_string(&digits)))
        }
        Type::Utf8 => return Ok(Arc::new(StringArray::from(vec![value]))),
        Type::Binary => {
            let bytes = match value.strip_prefix("0x") {
                Some(digits) => {
                    let mut bytes = Vec::new();
                    let read = scalar::unhex(digits.as_bytes(), &mut bytes);
                    read.map(|()| bytes).ok_or_else(|| wrong(": expected hex digits after 0x"))?
                }
                None => value.as_bytes().to_vec(),
            };
            return Ok(Arc::new(BinaryArray::from(vec![bytes.as_slice()])));
        }
        Type::Date32 => one::<Date32Type>(ty, scalar::date32(text)),
        Type::Time { unit } => {
            let value = scalar::time(text, *unit);
            let short = value.and_then(|value| i32::try_from(value).ok());
            match unit {
                Unit::S => one::<Time32SecondType>(ty, short),
                Unit::Ms => one::<Time32MillisecondType>(ty, short),
                Unit::Us => one::<Time64MicrosecondType>(ty, value),
                Unit::Ns => one::<Time64NanosecondType>(ty, value),
            }
        }
        Type::Timestamp { unit, zone } => {
            // A zone says how an instant is shown, not which one it is: keys are shown and read in UTC.
            let value = scalar::timestamp(text, *unit, zone.as_ref().map(|_| "UTC"));
            let value =
                Some(value.map_err(|why| wrong(&if why.is_empty() { String::new() } else { format!(": it {why}") }))?);
            match unit {
                Unit::S => one::<TimestampSecondType>(ty, value),
                Unit::Ms => one::<TimestampMillisecondType>(ty, value),
                Unit::Us => one::<TimestampMicrosecondType>(ty, value),
                Unit::Ns => one::<TimestampNanosecondType>(ty, value),
            }
        }
        Type::Uuid => {
            let bytes = scalar::uuid(text).ok_or_else(|| wrong(": expected 32 hex digits"))?;
            let array = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).map_err(|_| wrong(""))?;
            return Ok(Arc::new(array));
        }
        // `Schema::check` lets no other type into a key.
        _ => None,
    };
    array.ok_or_else(|| wrong(""))
}

fn int<T: ArrowPrimitiveType<Native: TryFrom<i128>>>(ty: &Type, text: &[u8]) -> Option<ArrayRef> {
    one::<T>(ty, scalar::int(text).and_then(|value| T::Native::try_from(value).ok()))
}

/// An array of one value of this type.
fn one<T: ArrowPrimitiveType>(ty: &Type, value: Option<T::Native>) -> Option<ArrayRef> {
    Some(Arc::new(PrimitiveArray::<T>::from_value(value?, 1).with_data_type(ty.arrow())))
}
