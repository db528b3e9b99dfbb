//! The order of cells: what is larger, by the column's type.
//!
//! Cells are compared by what they say, not by how it is written. Owns nothing.

use arrow_buffer::i256;
use syncline_tree::scalar;
use syncline_tree::schema::Type;

/// A cell in the order of its column. Cells of one column are of one variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Integers, booleans, dates, times, timestamps, floats and decimals of up to 38 digits.
    Number(i128),
    /// Decimals of more.
    Wide(i256),
    /// Texts and bytes.
    Bytes(Vec<u8>),
}

/// Reads the text of a cell; nothing when it is no value of the type.
pub(super) fn rank(ty: &Type, text: &[u8]) -> Option<Rank> {
    let number = |value: i128| Some(Rank::Number(value));
    let int = |min: i128, max: i128| scalar::int(bare(text)?).filter(|n| (min..=max).contains(n)).and_then(number);
    match ty {
        Type::Bool => match text {
            b"false" => number(0),
            b"true" => number(1),
            _ => None,
        },
        Type::Int8 => int(i8::MIN.into(), i8::MAX.into()),
        Type::Int16 => int(i16::MIN.into(), i16::MAX.into()),
        Type::Int32 => int(i32::MIN.into(), i32::MAX.into()),
        Type::Int64 => int(i64::MIN.into(), i64::MAX.into()),
        Type::UInt8 => int(0, u8::MAX.into()),
        Type::UInt16 => int(0, u16::MAX.into()),
        Type::UInt32 => int(0, u32::MAX.into()),
        Type::UInt64 => int(0, u64::MAX.into()),
        Type::Float16 | Type::BFloat16 | Type::Float32 | Type::Float64 => number(total(float(text)?).into()),
        Type::Decimal128 { precision, scale } => number(scalar::decimal128(bare(text)?, *precision, *scale)?),
        Type::Decimal256 { precision, scale } => scalar::decimal256(bare(text)?, *precision, *scale).map(Rank::Wide),
        Type::Utf8 => serde_json::from_slice::<String>(text).ok().map(|text| Rank::Bytes(text.into_bytes())),
        Type::Binary => {
            let mut bytes = Vec::with_capacity(text.len() / 2);
            scalar::unhex(quoted(text)?, &mut bytes)?;
            Some(Rank::Bytes(bytes))
        }
        Type::Uuid => scalar::uuid(quoted(text)?).map(|bytes| Rank::Bytes(bytes.to_vec())),
        Type::Date32 => number(scalar::date32(quoted(text)?)?.into()),
        Type::Time { unit } => number(scalar::time(quoted(text)?, *unit)?.into()),
        Type::Timestamp { unit, zone } => number(scalar::timestamp(quoted(text)?, *unit, zone.as_deref()).ok()?.into()),
        Type::Json | Type::List(_) | Type::FixedSizeList(..) | Type::Struct(_) | Type::Map { .. } => None,
    }
}

/// A number as JSON has it begins with a digit or a minus.
fn bare(text: &[u8]) -> Option<&[u8]> {
    text.first().is_some_and(|first| *first == b'-' || first.is_ascii_digit()).then_some(text)
}

/// What stands between quotes. None of the texts that are looked for has anything that JSON would escape.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn float(text: &[u8]) -> Option<f64> {
    match text {
        br#""NaN""# => Some(f64::NAN),
        br#""inf""# => Some(f64::INFINITY),
        br#""-inf""# => Some(f64::NEG_INFINITY),
        _ => scalar::float64(bare(text)?).filter(|value| value.is_finite()),
    }
}

/// The total order of IEEE 754: −inf, …, −0, 0, …, inf, NaN.
fn total(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    // Negative ones count downwards.
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}
