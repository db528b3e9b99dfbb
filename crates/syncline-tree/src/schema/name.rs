//! Types as people write them: `decimal(12, 2)`, `timestamp(us, UTC)`, `list(int64)`.

use std::fmt::{Display, Formatter, Result};

use super::{Field, Type, Unit};

impl Display for Unit {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
        })
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let name = match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
            Self::Binary => "binary",
            Self::Date32 => "date",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Decimal128 { precision, scale } => return write!(f, "decimal({precision}, {scale})"),
            // The width is what tells it from the other decimal, whose precision ends at 38.
            Self::Decimal256 { precision, scale } => return write!(f, "decimal256({precision}, {scale})"),
            Self::Time { unit } => return write!(f, "time({unit})"),
            Self::Timestamp { unit, zone: None } => return write!(f, "timestamp({unit})"),
            Self::Timestamp { unit, zone: Some(zone) } => return write!(f, "timestamp({unit}, {zone})"),
            Self::List(item) => return write!(f, "list({})", item.ty),
            Self::FixedSizeList(item, size) => return write!(f, "fixed_size_list({}, {size})", item.ty),
            Self::Map { key, value } => return write!(f, "map({}, {})", key.ty, value.ty),
            Self::Struct(fields) => return parts(f, fields),
        };
        f.write_str(name)
    }
}

fn parts(f: &mut Formatter<'_>, fields: &[Field]) -> Result {
    f.write_str("struct(")?;
    for (i, field) in fields.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        write!(f, "{comma}{}: {}", field.name, field.ty)?;
    }
    f.write_str(")")
}
