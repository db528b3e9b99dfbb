//! Keys as people write and read them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray, make_array};
use arrow_cast::display::array_value_to_string;
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{ArrowError, DataType};
use serde_json::{Map, Value};

use super::KeyEncoder;
use crate::schema::{Column, Schema, Type};
use crate::{Error, Result};

/// A key as a person would write it: a JSON object of the key's columns. Binary is `0x` and hex digits; decimals,
/// dates, times and uuids are text.
///
/// # Errors
/// `corrupt` when the bytes are not a key of this schema.
pub fn to_json(schema: &Schema, key: &[u8]) -> Result<Map<String, Value>> {
    let encoder = KeyEncoder::new(schema)?;
    let batch = encoder.decode([key])?;
    let cells = encoder.columns.iter().zip(batch.columns());
    cells.map(|((_, column), array)| Ok((column.name.clone(), cell_json(column, array)?))).collect()
}

fn cell_json(column: &Column, array: &ArrayRef) -> Result<Value> {
    let wrong = |error| Error::corrupt(format!("column {:?} of a key cannot be shown: {error}", column.name));
    Ok(match &column.ty {
        Type::Bool => Value::from(array.as_boolean().value(0)),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => {
            Value::from(cast(array, &DataType::Int64).map_err(wrong)?.as_primitive::<Int64Type>().value(0))
        }
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => {
            Value::from(cast(array, &DataType::UInt64).map_err(wrong)?.as_primitive::<UInt64Type>().value(0))
        }
        Type::Binary => Value::from(format!("0x{}", hex(array.as_binary::<i32>().value(0)))),
        Type::Uuid => {
            let digits = hex(array.as_fixed_size_binary().value(0));
            let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            Value::from(parts.join("-"))
        }
        Type::Timestamp { unit, zone: Some(_) } => {
            let plain = relabel(array, &Type::Timestamp { unit: *unit, zone: None }).map_err(wrong)?;
            Value::from(format!("{}Z", array_value_to_string(&plain, 0).map_err(wrong)?))
        }
        _ => Value::from(array_value_to_string(array, 0).map_err(wrong)?),
    })
}

/// The same values under another type of the same layout. A zone says how an instant is shown, not which one it is; so keys
/// are shown and read in UTC, and no table of zones is needed.
fn relabel(array: &ArrayRef, ty: &Type) -> Result<ArrayRef, ArrowError> {
    Ok(make_array(array.to_data().into_builder().data_type(ty.arrow()).build()?))
}

/// A key from text: the value itself for a one-column key, else values separated by commas (`\,` is a comma inside a
/// value, `\\` a backslash), or a JSON array.
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
        && let Ok(Value::Array(values)) = serde_json::from_str(text)
    {
        let plain = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
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
        let (name, ty) = (&column.name, column.ty.arrow());
        Error::invalid(format!("{value:?} is not a value of key column {name:?} ({ty}){why}"))
    };
    match &column.ty {
        Type::Utf8 => Ok(Arc::new(StringArray::from(vec![value]))),
        Type::Binary => {
            let bytes = match value.strip_prefix("0x") {
                Some(digits) => unhex(digits).ok_or_else(|| wrong(": expected hex digits after 0x"))?,
                None => value.as_bytes().to_vec(),
            };
            Ok(Arc::new(BinaryArray::from(vec![bytes.as_slice()])))
        }
        Type::Uuid => {
            let bytes = unhex(&value.replace('-', "")).filter(|bytes| bytes.len() == 16);
            let bytes = bytes.ok_or_else(|| wrong(": expected 32 hex digits"))?;
            let array = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).map_err(|_| wrong(""))?;
            Ok(Arc::new(array))
        }
        ty => {
            let text: ArrayRef = Arc::new(StringArray::from(vec![value.trim()]));
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let plain = match ty {
                Type::Timestamp { unit, .. } => Type::Timestamp { unit: *unit, zone: None },
                other => other.clone(),
            };
            let array = cast_with_options(&text, &plain.arrow(), &options).and_then(|array| relabel(&array, ty));
            let array = array.map_err(|error| wrong(&format!(": {error}")))?;
            if array.null_count() > 0 {
                return Err(wrong(": a key is never null"));
            }
            Ok(array)
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).ok()).collect()
}
