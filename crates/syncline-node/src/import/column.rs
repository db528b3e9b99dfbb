//! A column of text cells becomes an Arrow array, or says which records do not fit and why.
//!
//! Works on one column at a time, so that the type is looked at once per block and not once per cell. Records that do
//! not fit get a null here and are taken out afterwards by the caller.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use half::{bf16, f16};
use syncline_tree::schema::{Type, Unit};

use super::grid::{Grid, Kind};
use super::infer::{self, Origin};
use super::scalar::{self, Offset};
use super::{json, nested};

/// Told about records that do not fit.
pub(super) type OnBad<'a> = dyn FnMut(usize, String) + 'a;

/// Where a column's cells are and what they must become.
pub(super) struct Source<'a> {
    pub(super) grid: &'a Grid,
    pub(super) column: usize,
    pub(super) name: &'a str,
    pub(super) nullable: bool,
    /// Whether a record may lack the column although it may not be null.
    pub(super) may_lack: bool,
    /// What the type is taken from.
    pub(super) origin: Origin,
}

impl<'a> Source<'a> {
    fn cells(&self) -> impl ExactSizeIterator<Item = (Kind, &'a [u8])> {
        self.grid.column(self.column)
    }

    fn refuse(&self, bad: &mut OnBad<'_>, record: usize, kind: Kind, text: &[u8], what: &str) {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        let dots = if text.len() > 60 { "…" } else { "" };
        let quote = if kind == Kind::Json { "" } else { "\"" };
        bad(record, format!("column `{}`: {quote}{shown}{dots}{quote} {what}", self.name));
    }

    /// A cell that is null, or not there.
    pub(super) fn null(&self, bad: &mut OnBad<'_>, record: usize, kind: Kind) {
        let allowed = self.nullable || self.may_lack && kind == Kind::Absent;
        if !allowed {
            bad(record, format!("column `{}` may not be null", self.name));
        }
    }
}

/// Builds the array of a column.
pub(super) fn build(source: &Source<'_>, ty: &Type, bad: &mut OnBad<'_>) -> ArrayRef {
    let inferred = source.origin != Origin::Declared;
    if inferred && source.grid.null_is_json {
        refuse_strings(source, ty, bad);
    }
    match ty {
        Type::Bool => boolean(source, bad),
        Type::Int64 if inferred => typed(explained::<Int64Type, _>(source, bad, infer::int64)),
        Type::Float64 if inferred => typed(explained::<Float64Type, _>(source, bad, infer::float64)),
        Type::Int8 => int::<Int8Type>(source, bad, "int8"),
        Type::Int16 => int::<Int16Type>(source, bad, "int16"),
        Type::Int32 => int::<Int32Type>(source, bad, "int32"),
        Type::Int64 => parsed::<Int64Type>(source, bad, "is not an int64", scalar::int64),
        Type::UInt8 => int::<UInt8Type>(source, bad, "uint8"),
        Type::UInt16 => int::<UInt16Type>(source, bad, "uint16"),
        Type::UInt32 => int::<UInt32Type>(source, bad, "uint32"),
        Type::UInt64 => int::<UInt64Type>(source, bad, "uint64"),
        Type::Float16 => parsed::<Float16Type>(source, bad, "is not a float16", |text| {
            let (exact, value) = scalar::float64(text).map(|wide| (wide, f16::from_f64(wide)))?;
            (value.is_finite() || !exact.is_finite()).then_some(value)
        }),
        Type::BFloat16 => parsed::<UInt16Type>(source, bad, "is not a bfloat16", |text| {
            let (exact, value) = scalar::float64(text).map(|wide| (wide, bf16::from_f64(wide)))?;
            (value.is_finite() || !exact.is_finite()).then_some(value.to_bits())
        }),
        Type::Float32 => parsed::<Float32Type>(source, bad, "is not a float32", |text| {
            let value: f32 = std::str::from_utf8(text).ok()?.parse().ok()?;
            (value.is_finite() || !text.iter().any(u8::is_ascii_digit)).then_some(value)
        }),
        Type::Float64 => parsed::<Float64Type>(source, bad, "is not a float64", scalar::float64),
        Type::Decimal128 { precision, scale } => {
            let what = format!("is not a decimal({precision}, {scale})");
            let array =
                parsed_array::<Decimal128Type>(source, bad, &what, |t| scalar::decimal128(t, *precision, *scale));
            typed(array.with_data_type(arrow_schema::DataType::Decimal128(*precision, *scale)))
        }
        Type::Decimal256 { precision, scale } => {
            let what = format!("is not a decimal({precision}, {scale})");
            let array =
                parsed_array::<Decimal256Type>(source, bad, &what, |t| scalar::decimal256(t, *precision, *scale));
            typed(array.with_data_type(arrow_schema::DataType::Decimal256(*precision, *scale)))
        }
        Type::Utf8 => strings(source, bad),
        Type::Json => json(source, bad),
        Type::Binary => binary(source, bad),
        Type::Uuid => uuids(source, bad),
        Type::Date32 => parsed::<Date32Type>(source, bad, "is not a date (YYYY-MM-DD)", scalar::date32),
        Type::Time { unit } => times(source, bad, *unit),
        Type::Timestamp { unit, zone } => timestamps(source, bad, *unit, zone.as_deref()),
        Type::List(_) | Type::FixedSizeList(..) | Type::Struct(_) | Type::Map { .. } => nested::build(source, ty, bad),
    }
}

/// JSON says itself what is text: that is none of the values which JSON or other text have made this type of.
fn refuse_strings(source: &Source<'_>, ty: &Type, bad: &mut OnBad<'_>) {
    if !matches!(ty, Type::Bool | Type::Int64 | Type::Float64 | Type::Date32 | Type::Timestamp { .. }) {
        return;
    }
    let strings = source.cells().enumerate().filter(|(_, (kind, _))| *kind == Kind::Text);
    strings.for_each(|(record, (kind, text))| source.refuse(bad, record, kind, text, infer::NOT_KEPT));
}

fn typed<T: ArrowPrimitiveType>(array: PrimitiveArray<T>) -> ArrayRef {
    Arc::new(array)
}

fn int<T: ArrowPrimitiveType>(source: &Source<'_>, bad: &mut OnBad<'_>, name: &str) -> ArrayRef
where
    T::Native: TryFrom<i128>,
{
    parsed::<T>(source, bad, &format!("is not an {name}"), |text| T::Native::try_from(scalar::int(text)?).ok())
}

fn parsed<T: ArrowPrimitiveType>(
    source: &Source<'_>,
    bad: &mut OnBad<'_>,
    what: &str,
    parse: impl Fn(&[u8]) -> Option<T::Native>,
) -> ArrayRef {
    typed(parsed_array::<T>(source, bad, what, parse))
}

fn parsed_array<T: ArrowPrimitiveType>(
    source: &Source<'_>,
    bad: &mut OnBad<'_>,
    what: &str,
    parse: impl Fn(&[u8]) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    explained::<T, _>(source, bad, |text| parse(text).ok_or(what))
}

/// Parses every cell; the error says what the cell is not.
fn explained<T: ArrowPrimitiveType, E: Display>(
    source: &Source<'_>,
    bad: &mut OnBad<'_>,
    parse: impl Fn(&[u8]) -> Result<T::Native, E>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(source.grid.len());
    let mut nulls = NullBufferBuilder::new(source.grid.len());
    for (record, (kind, text)) in source.cells().enumerate() {
        let text = text.trim_ascii();
        let value = if is_null(kind, text) {
            source.null(bad, record, kind);
            None
        } else {
            match parse(text) {
                Ok(value) => Some(value),
                Err(what) => {
                    source.refuse(bad, record, kind, text, &what.to_string());
                    None
                }
            }
        };
        nulls.append(value.is_some());
        values.push(value.unwrap_or_default());
    }
    PrimitiveArray::new(ScalarBuffer::from(values), nulls.finish())
}

/// For everything but text: an empty field is null even when it is quoted, as many programs quote every field.
fn is_null(kind: Kind, text: &[u8]) -> bool {
    kind.is_null() || kind == Kind::Quoted && text.is_empty()
}

fn boolean(source: &Source<'_>, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut values = BooleanBufferBuilder::new(source.grid.len());
    let mut nulls = NullBufferBuilder::new(source.grid.len());
    for (record, (kind, text)) in source.cells().enumerate() {
        let text = text.trim_ascii();
        let value = if is_null(kind, text) {
            source.null(bad, record, kind);
            None
        } else {
            let inferred = source.origin != Origin::Declared;
            let value = if inferred { infer::boolean(text) } else { scalar::boolean(text).ok_or("is not a boolean") };
            value.map_err(|what| source.refuse(bad, record, kind, text, what)).ok()
        };
        nulls.append(value.is_some());
        values.append(value.unwrap_or_default());
    }
    Arc::new(BooleanArray::new(values.finish(), nulls.finish()))
}

fn times(source: &Source<'_>, bad: &mut OnBad<'_>, unit: Unit) -> ArrayRef {
    let what = "is not a time of day (HH:MM:SS), or is finer than the column's unit";
    let short = |text: &[u8]| i32::try_from(scalar::time(text, unit)?).ok();
    let long = |text: &[u8]| scalar::time(text, unit);
    match unit {
        Unit::S => parsed::<Time32SecondType>(source, bad, what, short),
        Unit::Ms => parsed::<Time32MillisecondType>(source, bad, what, short),
        Unit::Us => parsed::<Time64MicrosecondType>(source, bad, what, long),
        Unit::Ns => parsed::<Time64NanosecondType>(source, bad, what, long),
    }
}

fn timestamps(source: &Source<'_>, bad: &mut OnBad<'_>, unit: Unit, zone: Option<&str>) -> ArrayRef {
    let wants_offset = source.origin != Origin::Declared && zone.is_some();
    let parse = |text: &[u8]| {
        if wants_offset && matches!(scalar::iso_timestamp(text, unit), Some((_, Offset::Missing))) {
            return Err(infer::NOT_KEPT);
        }
        scalar::timestamp(text, unit, zone).map_err(|why| match why {
            "" if unit == Unit::Ns && scalar::iso_timestamp(text, Unit::Us).is_some() => {
                "is outside of the years 1677 to 2262, which is all that nanoseconds reach"
            }
            "" => "is not a timestamp (YYYY-MM-DDTHH:MM:SS), or is finer than the column's unit",
            why => why,
        })
    };
    let zone = zone.map(Arc::<str>::from);
    match unit {
        Unit::S => typed(explained::<TimestampSecondType, _>(source, bad, parse).with_timezone_opt(zone)),
        Unit::Ms => typed(explained::<TimestampMillisecondType, _>(source, bad, parse).with_timezone_opt(zone)),
        Unit::Us => typed(explained::<TimestampMicrosecondType, _>(source, bad, parse).with_timezone_opt(zone)),
        Unit::Ns => typed(explained::<TimestampNanosecondType, _>(source, bad, parse).with_timezone_opt(zone)),
    }
}

/// Offsets, bytes and nulls of a column of variable length.
struct Bytes {
    offsets: Vec<i32>,
    values: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Bytes {
    fn new(source: &Source<'_>) -> Self {
        let records = source.grid.len();
        let mut offsets = Vec::with_capacity(records + 1);
        offsets.push(0);
        // Made to measure: what a buffer that grows leaves behind is more than the texts, when they are long.
        let bytes = source.grid.column_bytes(source.column);
        Self { offsets, values: Vec::with_capacity(bytes), nulls: NullBufferBuilder::new(records) }
    }

    fn end(&mut self, valid: bool) {
        // A block is far smaller than 2 GiB, so its cells are too.
        self.offsets.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
        self.nulls.append(valid);
    }

    fn finish(mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        (OffsetBuffer::new(ScalarBuffer::from(self.offsets)), Buffer::from_vec(self.values), self.nulls.finish())
    }
}

fn strings(source: &Source<'_>, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut bytes = Bytes::new(source);
    for (record, (kind, text)) in source.cells().enumerate() {
        let valid = match kind {
            // Text can be empty without being null; where null is not allowed, that is what an empty field is.
            Kind::Null if !source.nullable && source.grid.empty_is_text => true,
            Kind::Null | Kind::NullText | Kind::Absent => {
                source.null(bad, record, kind);
                false
            }
            Kind::Json if matches!(text.first(), Some(b'{' | b'[')) => {
                source.refuse(bad, record, kind, text, "is not text");
                false
            }
            Kind::Json if source.origin == Origin::Json && !infer::is_text(text) => {
                source.refuse(bad, record, kind, text, infer::NOT_KEPT);
                false
            }
            Kind::Json | Kind::Text | Kind::Quoted => {
                bytes.values.extend_from_slice(text);
                true
            }
        };
        bytes.end(valid);
    }
    let (offsets, values, nulls) = bytes.finish();
    // One check of the whole buffer is far cheaper than one per cell.
    match StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
        Ok(array) => Arc::new(array),
        Err(_) => Arc::new(checked_strings(source, bad, &BinaryArray::new(offsets, values, nulls))),
    }
}

/// Finds the cells that are not UTF-8.
fn checked_strings(source: &Source<'_>, bad: &mut OnBad<'_>, cells: &BinaryArray) -> StringArray {
    let check = |(record, cell): (usize, Option<&[u8]>)| {
        let text = std::str::from_utf8(cell?);
        if text.is_err() {
            bad(record, format!("column `{}` is not UTF-8", source.name));
        }
        text.ok().map(str::to_owned)
    };
    cells.iter().enumerate().map(check).collect()
}

/// See [`super::json`] for what is kept.
fn json(source: &Source<'_>, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut bytes = Bytes::new(source);
    for (record, (kind, text)) in source.cells().enumerate() {
        let text = if kind == Kind::Null && source.grid.null_is_json && !source.nullable { json::NULL } else { text };
        let nothing = text.is_empty() && kind != Kind::Text && kind != Kind::Json;
        let mut valid = false;
        match json::check(text) {
            _ if nothing => source.null(bad, record, kind),
            Ok(json::NULL) if source.nullable => {}
            Ok(text) => {
                valid = true;
                bytes.values.extend(json::on_one_line(text));
            }
            Err(reason) => source.refuse(bad, record, kind, text, &reason),
        }
        bytes.end(valid);
    }
    let (offsets, values, nulls) = bytes.finish();
    match StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
        Ok(array) => Arc::new(array),
        Err(_) => Arc::new(checked_strings(source, bad, &BinaryArray::new(offsets, values, nulls))),
    }
}

fn binary(source: &Source<'_>, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut bytes = Bytes::new(source);
    for (record, (kind, text)) in source.cells().enumerate() {
        let null = kind.is_null();
        if null {
            source.null(bad, record, kind);
        } else if scalar::unhex(text, &mut bytes.values).is_none() {
            source.refuse(bad, record, kind, text, "is not hexadecimal bytes");
        }
        bytes.end(!null);
    }
    let (offsets, values, nulls) = bytes.finish();
    Arc::new(BinaryArray::new(offsets, values, nulls))
}

fn uuids(source: &Source<'_>, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut values = Vec::with_capacity(source.grid.len() * 16);
    let mut nulls = NullBufferBuilder::new(source.grid.len());
    for (record, (kind, text)) in source.cells().enumerate() {
        let text = text.trim_ascii();
        let mut value = None;
        if is_null(kind, text) {
            source.null(bad, record, kind);
        } else {
            value = scalar::uuid(text);
            if value.is_none() {
                source.refuse(bad, record, kind, text, "is not a uuid");
            }
        }
        nulls.append(value.is_some());
        values.extend(value.unwrap_or_default());
    }
    Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(values), nulls.finish()))
}
