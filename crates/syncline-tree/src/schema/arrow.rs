//! Table schemas from and to Arrow's, and batches brought into a schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};

use super::{Column, Field, Schema, Type, Unit};
use crate::{Error, Result};

/// Metadata key on an Arrow field that says which logical type it holds.
pub(super) const TYPE_KEY: &str = "syncline.type";
const EXTENSION_KEY: &str = "ARROW:extension:name";

impl Unit {
    const fn arrow(self) -> TimeUnit {
        match self {
            Self::S => TimeUnit::Second,
            Self::Ms => TimeUnit::Millisecond,
            Self::Us => TimeUnit::Microsecond,
            Self::Ns => TimeUnit::Nanosecond,
        }
    }

    const fn from_arrow(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::S,
            TimeUnit::Millisecond => Self::Ms,
            TimeUnit::Microsecond => Self::Us,
            TimeUnit::Nanosecond => Self::Ns,
        }
    }
}

impl Type {
    /// The Arrow type cells have in batches.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 | Self::BFloat16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float16 => DataType::Float16,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Utf8 | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date32 => DataType::Date32,
            Self::Time { unit } if unit.is_coarse() => DataType::Time32(unit.arrow()),
            Self::Time { unit } => DataType::Time64(unit.arrow()),
            Self::Timestamp { unit, zone } => DataType::Timestamp(unit.arrow(), zone.as_deref().map(Arc::from)),
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::List(item) => DataType::List(Arc::new(item.arrow())),
            Self::FixedSizeList(item, size) => DataType::FixedSizeList(Arc::new(item.arrow()), *size as i32),
            Self::Struct(fields) => DataType::Struct(fields.iter().map(Field::arrow).collect()),
            Self::Map { key, value } => {
                let pair = DataType::Struct([key.arrow(), value.arrow()].into_iter().collect());
                DataType::Map(Arc::new(ArrowField::new("entries", pair, false)), false)
            }
        }
    }

    /// Whether `is` is the Arrow type of this type. Costs nothing for types that are not nested.
    pub(crate) fn is_arrow(&self, is: &DataType) -> bool {
        self.arrow() == *is
    }

    fn mark(&self) -> Option<&'static str> {
        match self {
            Self::BFloat16 => Some("bfloat16"),
            Self::Uuid => Some("uuid"),
            Self::Json => Some("json"),
            _ => None,
        }
    }

    /// The type of an Arrow field.
    pub(super) fn from_arrow(field: &ArrowField) -> Result<Self> {
        let mark = field.metadata().get(TYPE_KEY).or_else(|| field.metadata().get(EXTENSION_KEY)).map(String::as_str);
        let plain = Self::from_data_type(field.data_type())
            .map_err(|fault| Error::invalid(format!("column {:?} cannot be stored: {fault}", field.name())))?;
        Ok(match (mark, &plain, field.data_type()) {
            (Some("bfloat16"), Self::UInt16, _) => Self::BFloat16,
            (Some("uuid" | "arrow.uuid"), _, DataType::FixedSizeBinary(16)) => Self::Uuid,
            (Some("json" | "arrow.json"), Self::Utf8, _) => Self::Json,
            (Some(mark), ..) => super::portable::restored(mark, &plain).unwrap_or(plain),
            _ => plain,
        })
    }

    fn from_data_type(ty: &DataType) -> Result<Self, String> {
        let inner = |field: &ArrowField| Field::from_arrow(field).map_err(|error| error.to_string());
        // `item`, `element`, `array`, `entries.key`, `keys`: whoever wrote it, it is the same type.
        let part = |field: &ArrowField, name: &str| inner(field).map(|field| Field { name: name.to_owned(), ..field });
        Ok(match ty {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 | DataType::Duration(_) => Self::Int64,
            DataType::UInt8 => Self::UInt8,
            DataType::UInt16 => Self::UInt16,
            DataType::UInt32 => Self::UInt32,
            DataType::UInt64 => Self::UInt64,
            DataType::Float16 => Self::Float16,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => Self::Decimal128 { precision: *precision, scale: *scale },
            DataType::Decimal256(precision, scale) => Self::Decimal256 { precision: *precision, scale: *scale },
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Utf8,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            DataType::Date32 => Self::Date32,
            DataType::Date64 => Self::Timestamp { unit: Unit::Ms, zone: None },
            DataType::Time32(unit) | DataType::Time64(unit) => Self::Time { unit: Unit::from_arrow(*unit) },
            DataType::Timestamp(unit, zone) => {
                Self::Timestamp { unit: Unit::from_arrow(*unit), zone: zone.as_deref().map(str::to_owned) }
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => Self::List(Box::new(part(item, "item")?)),
            DataType::FixedSizeList(item, size) => {
                let size = u32::try_from(*size).map_err(|_| format!("it has lists of {size} items"))?;
                Self::FixedSizeList(Box::new(part(item, "item")?), size)
            }
            DataType::Struct(fields) => {
                Self::Struct(fields.iter().map(|field| inner(field)).collect::<Result<_, _>>()?)
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => {
                    let key = Field { nullable: false, ..part(&pair[0], "key")? };
                    Self::Map { key: Box::new(key), value: Box::new(part(&pair[1], "value")?) }
                }
                other => return Err(format!("its map has entries of type {other}")),
            },
            DataType::Dictionary(_, value) => Self::from_data_type(value)?,
            DataType::RunEndEncoded(_, values) => Self::from_data_type(values.data_type())?,
            other => return Err(format!("there is no type for {other}")),
        })
    }
}

impl Field {
    fn arrow(&self) -> ArrowField {
        arrow_field(&self.name, &self.ty, self.nullable)
    }

    /// The field of a table for an Arrow field.
    ///
    /// # Errors
    /// `invalid` when its type has no counterpart.
    pub fn from_arrow(field: &ArrowField) -> Result<Self> {
        let nullable = field.is_nullable() || *field.data_type() == DataType::Null;
        Ok(Self { name: field.name().clone(), ty: Type::from_arrow(field)?, nullable })
    }
}

fn arrow_field(name: &str, ty: &Type, nullable: bool) -> ArrowField {
    let field = ArrowField::new(name, ty.arrow(), nullable);
    match ty.mark() {
        None => field,
        Some(mark) => field.with_metadata([(TYPE_KEY.to_owned(), mark.to_owned())].into()),
    }
}

impl Schema {
    /// The Arrow schema batches of this table have. Cheap enough per batch, but keep it when you can.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        self.arrow_of(&(0..self.columns.len()).collect::<Vec<_>>())
    }

    /// The Arrow schema of some columns (positions in `columns`).
    #[must_use]
    pub fn arrow_of(&self, positions: &[usize]) -> SchemaRef {
        let fields = positions.iter().map(|position| {
            let Column { name, ty, nullable, .. } = &self.columns[*position];
            arrow_field(name, ty, *nullable)
        });
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
    }

    /// The table schema for batches of an Arrow schema.
    ///
    /// # Errors
    /// `invalid` when a type has no counterpart or the key cannot be one; `not-found` when a key column is missing.
    pub fn from_arrow(arrow: &ArrowSchema, key: &[String]) -> Result<Self> {
        let fields = arrow.fields().iter().map(|field| Field::from_arrow(field)).collect::<Result<Vec<_>>>()?;
        Self::new(fields, &key.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Brings a batch into this schema: columns by name, casts, missing nullable columns as nulls.
    ///
    /// # Errors
    /// `invalid` when a column is unknown, missing or null where it may not be, or a value does not fit its type.
    pub fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let given = batch.schema();
        let mut places = BTreeMap::new();
        for (i, field) in given.fields().iter().enumerate() {
            self.column(field.name()).ok_or_else(|| self.no_column(field.name()))?;
            if places.insert(field.name().as_str(), i).is_some() {
                return Err(Error::invalid(format!("a batch has two columns {:?}", field.name())));
            }
        }
        let arrow = self.arrow();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(arrow.fields()) {
            arrays.push(match places.get(column.name.as_str()) {
                Some(i) => conform_column(column, field.data_type(), batch.column(*i))?,
                None if column.nullable => new_null_array(field.data_type(), batch.num_rows()),
                None => {
                    let text = format!("a batch has no column {:?}, which may not be null", column.name);
                    return Err(Error::invalid(text));
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(arrow, arrays, &options)
            .map_err(|error| Error::invalid(format!("a batch does not fit the schema: {error}")))
    }
}

fn conform_column(column: &Column, want: &DataType, array: &ArrayRef) -> Result<ArrayRef> {
    let array = if array.data_type() == want {
        array.clone()
    } else {
        // Checked casts: a value that does not fit is an error, never a null.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, want, &options).map_err(|error| {
            let (name, from) = (&column.name, array.data_type());
            Error::invalid(format!("column {name:?}: {from} does not become {want}: {error}"))
        })?
    };
    if !column.nullable && array.logical_null_count() > 0 {
        let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
        return Err(Error::invalid(format!("column {:?} may not be null, row {row} of a batch is", column.name)));
    }
    Ok(array)
}
