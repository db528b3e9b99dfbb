//! Cells as text and as JSON. The reading side is [`scalar`] and `crate::import::column`.

use std::io::Write as _;

use arrow_array::cast::AsArray as _;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType};
use half::bf16;
use syncline_tree::scalar;
use syncline_tree::schema::{Field, Type, Unit};

/// What a cell's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A number, boolean, date or the like: nothing in it needs quotes in CSV.
    Plain,
    /// Bytes of the user's.
    Free,
}

fn value<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}

/// Writes a valid cell as text; nested ones as JSON.
pub(super) fn text(ty: &Type, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Shape {
    match ty {
        Type::Bool => display(out, array.as_boolean().value(row)),
        Type::Int8 => display(out, value::<Int8Type>(array, row)),
        Type::Int16 => display(out, value::<Int16Type>(array, row)),
        Type::Int32 => display(out, value::<Int32Type>(array, row)),
        Type::Int64 => display(out, value::<Int64Type>(array, row)),
        Type::UInt8 => display(out, value::<UInt8Type>(array, row)),
        Type::UInt16 => display(out, value::<UInt16Type>(array, row)),
        Type::UInt32 => display(out, value::<UInt32Type>(array, row)),
        Type::UInt64 => display(out, value::<UInt64Type>(array, row)),
        Type::Float16 => scalar::write_float32(out, value::<Float16Type>(array, row).to_f32()),
        Type::BFloat16 => scalar::write_float32(out, bf16::from_bits(value::<UInt16Type>(array, row)).to_f32()),
        Type::Float32 => scalar::write_float32(out, value::<Float32Type>(array, row)),
        Type::Float64 => scalar::write_float(out, value::<Float64Type>(array, row)),
        Type::Decimal128 { scale, .. } => {
            scalar::write_decimal(out, &value::<Decimal128Type>(array, row).to_string(), *scale);
        }
        Type::Decimal256 { scale, .. } => {
            scalar::write_decimal(out, &value::<Decimal256Type>(array, row).to_string(), *scale);
        }
        Type::Date32 => scalar::write_date(out, i64::from(value::<Date32Type>(array, row))),
        Type::Time { unit } => scalar::write_time(out, time(array, row, *unit), *unit),
        Type::Timestamp { unit, zone } => {
            scalar::write_timestamp(out, timestamp(array, row, *unit), *unit, zone.is_some());
        }
        Type::Uuid => scalar::write_uuid(out, array.as_fixed_size_binary().value(row)),
        Type::Binary => {
            scalar::write_hex(out, array.as_binary::<i32>().value(row));
            return Shape::Free;
        }
        Type::Utf8 | Type::Json => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            return Shape::Free;
        }
        Type::List(_) | Type::FixedSizeList(..) | Type::Struct(_) | Type::Map { .. } => {
            json(ty, array, row, out);
            return Shape::Free;
        }
    }
    Shape::Plain
}

fn time(array: &dyn Array, row: usize, unit: Unit) -> i64 {
    match unit {
        Unit::S => i64::from(value::<Time32SecondType>(array, row)),
        Unit::Ms => i64::from(value::<Time32MillisecondType>(array, row)),
        Unit::Us => value::<Time64MicrosecondType>(array, row),
        Unit::Ns => value::<Time64NanosecondType>(array, row),
    }
}

fn timestamp(array: &dyn Array, row: usize, unit: Unit) -> i64 {
    match unit {
        Unit::S => value::<TimestampSecondType>(array, row),
        Unit::Ms => value::<TimestampMillisecondType>(array, row),
        Unit::Us => value::<TimestampMicrosecondType>(array, row),
        Unit::Ns => value::<TimestampNanosecondType>(array, row),
    }
}

/// Writes a cell as JSON on one line.
pub(super) fn json(ty: &Type, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match ty {
        Type::Utf8 => string(array.as_string::<i32>().value(row), out),
        Type::Json => match array.as_string::<i32>().value(row) {
            // No JSON: of a cell that lies outside of its leaf, or of a part of one, there is an empty text.
            "" => out.extend_from_slice(b"null"),
            // Line ends in JSON are between its tokens, never inside text. An import leaves none.
            text => out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })),
        },
        Type::List(item) => list(item, &array.as_list::<i32>().value(row), out),
        Type::FixedSizeList(item, _) => list(item, &array.as_fixed_size_list().value(row), out),
        Type::Struct(fields) => {
            let columns = array.as_struct().columns();
            members(
                out,
                fields.iter().zip(columns),
                |(field, column), out| {
                    string(&field.name, out);
                    out.push(b':');
                    json(&field.ty, column, row, out);
                },
                (b'{', b'}'),
            );
        }
        Type::Map { key, value } => map(key, value, &array.as_map().value(row), out),
        _ => {
            let start = out.len();
            text(ty, array, row, out);
            // Numbers as they are; everything else (dates, bytes, NaN) is text.
            let bare = match ty {
                Type::Bool => true,
                Type::Float16 | Type::BFloat16 | Type::Float32 | Type::Float64 => {
                    out[start..].iter().any(u8::is_ascii_digit)
                }
                Type::Date32 | Type::Time { .. } | Type::Timestamp { .. } | Type::Uuid | Type::Binary => false,
                _ => true,
            };
            if !bare {
                out.insert(start, b'"');
                out.push(b'"');
            }
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Neither text nor a vector can fail.
    let _ = serde_json::to_writer(out, text);
}

fn members<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
    (open, close): (u8, u8),
) {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

fn list(item: &Field, values: &dyn Array, out: &mut Vec<u8>) {
    members(out, 0..values.len(), |row, out| json(&item.ty, values, row, out), (b'[', b']'));
}

/// An object where keys are text, else an array of pairs.
fn map(key: &Field, value: &Field, entries: &arrow_array::StructArray, out: &mut Vec<u8>) {
    let (keys, values) = (entries.column(0), entries.column(1));
    if key.ty == Type::Utf8 {
        let write = |row: usize, out: &mut Vec<u8>| {
            json(&key.ty, keys, row, out);
            out.push(b':');
            json(&value.ty, values, row, out);
        };
        return members(out, 0..entries.len(), write, (b'{', b'}'));
    }
    let write = |row: usize, out: &mut Vec<u8>| {
        out.push(b'[');
        json(&key.ty, keys, row, out);
        out.push(b',');
        json(&value.ty, values, row, out);
        out.push(b']');
    };
    members(out, 0..entries.len(), write, (b'[', b']'));
}
