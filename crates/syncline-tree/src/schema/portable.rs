//! Columns of types that Parquet does not have, as the nearest that it has: seconds as milliseconds, decimals of a
//! negative scale as whole numbers, lists of a fixed size as lists where one of them may be missing (Parquet knows lists
//! of any size only, and widespread readers fail on a missing one that is to have a size). The field's metadata keeps the
//! type, so that reading it back makes the same of it.
//!
//! Not here: the values, which a cast brings along.

use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, FieldRef, Schema as ArrowSchema, SchemaRef, TimeUnit};

use super::arrow::TYPE_KEY;
use super::{Type, Unit};
use crate::{Error, Result};

/// Digits that the widest decimal has.
const MAX_DIGITS: u8 = 76;

/// A table's Arrow schema (`Schema::arrow`) as every reader of Parquet understands it; `None` when it is already.
///
/// # Errors
/// `invalid` when a column has a decimal that no decimal of scale 0 can hold.
pub fn portable(schema: &ArrowSchema) -> Result<Option<SchemaRef>> {
    let fields = schema.fields().iter().map(|is| {
        field(is, true).map_err(|fault| Error::invalid(format!("column {:?} has no counterpart: {fault}", is.name())))
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let same = fields.iter().eq(schema.fields());
    Ok((!same).then(|| Arc::new(ArrowSchema::new_with_metadata(fields, schema.metadata().clone()))))
}

/// `whole`: every row has a value of the level above, so that only this level can be missing.
fn field(is: &FieldRef, whole: bool) -> Result<FieldRef, String> {
    let whole = whole && !is.is_nullable();
    let inner = |inner: &FieldRef| field(inner, false);
    let ty = match is.data_type() {
        DataType::List(item) => DataType::List(inner(item)?),
        DataType::FixedSizeList(item, size) if whole => DataType::FixedSizeList(field(item, true)?, *size),
        DataType::FixedSizeList(item, _) => return Ok(marked(is, DataType::List(inner(item)?), type_of(is)?)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|member| field(member, whole)).collect::<Result<_, _>>()?)
        }
        DataType::Map(entries, sorted) => DataType::Map(inner(entries)?, *sorted),
        _ => return leaf(is),
    };
    Ok(if ty == *is.data_type() { is.clone() } else { Arc::new(is.as_ref().clone().with_data_type(ty)) })
}

/// A field of another type, with a note of the one that it had.
fn marked(is: &ArrowField, ty: DataType, was: Type) -> FieldRef {
    let mut metadata = is.metadata().clone();
    metadata.insert(TYPE_KEY.to_owned(), was.to_string());
    Arc::new(ArrowField::new(is.name(), ty, is.is_nullable()).with_metadata(metadata))
}

fn leaf(is: &FieldRef) -> Result<FieldRef, String> {
    let ty = match is.data_type() {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if *scale < 0 => {
            let digits = precision.saturating_add(scale.unsigned_abs());
            if digits > MAX_DIGITS {
                let fault = format!(
                    "a {} can have {digits} digits before the point, and a decimal has at most {MAX_DIGITS}; export it \
                     to arrow, csv or ndjson",
                    type_of(is)?
                );
                return Err(fault);
            }
            let narrow = matches!(is.data_type(), DataType::Decimal128(..)) && digits <= 38;
            if narrow { DataType::Decimal128(digits, 0) } else { DataType::Decimal256(digits, 0) }
        }
        _ => return Ok(is.clone()),
    };
    Ok(marked(is, ty, type_of(is)?))
}

fn type_of(is: &ArrowField) -> Result<Type, String> {
    Type::from_arrow(is).map_err(|error| error.to_string())
}

/// The type that [`portable`] made this one of, when the mark on its field says so.
pub(super) fn restored(mark: &str, found: &Type) -> Option<Type> {
    let is_marked = |ty: &Type| ty.to_string() == mark;
    match found {
        Type::Timestamp { unit: Unit::Ms, zone } => {
            Some(Type::Timestamp { unit: Unit::S, zone: zone.clone() }).filter(is_marked)
        }
        Type::Time { unit: Unit::Ms } => Some(Type::Time { unit: Unit::S }).filter(is_marked),
        Type::Decimal128 { precision, scale: 0 } | Type::Decimal256 { precision, scale: 0 } => {
            let of = |scale: u8| (precision - scale, -(scale as i8));
            (1..*precision).map(of).find_map(|(precision, scale)| {
                let narrow = Some(Type::Decimal128 { precision, scale }).filter(|_| precision <= 38);
                let wide = Type::Decimal256 { precision, scale };
                narrow.into_iter().chain([wide]).find(|ty| is_marked(ty))
            })
        }
        Type::List(item) => {
            let size = mark.strip_suffix(')')?.rsplit(", ").next()?.parse().ok()?;
            Some(Type::FixedSizeList(item.clone(), size)).filter(is_marked)
        }
        _ => None,
    }
}
