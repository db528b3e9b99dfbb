//! Schema changes: every one gives a new schema, ids stay with their columns.

use super::{Column, Schema, Type, Unit};
use crate::leaf::layout::MAX_LEAF;
use crate::{Error, Result};

impl Schema {
    /// With one more nullable column at the end. Rewrites no leaf.
    ///
    /// # Errors
    /// `invalid` when the name is taken, when a leaf of the table could not hold such a column, or when the table has had all the columns that there are ids for.
    pub fn add_column(&self, name: &str, ty: Type) -> Result<Self> {
        let mut schema = self.clone();
        // Leaves keep their number of rows, so that nothing is rewritten.
        let leaf = (ty.estimated_bits() / 8).saturating_mul(self.leaf_rows as usize);
        if leaf > MAX_LEAF {
            return Err(Error::invalid(format!(
                "column {name:?}: its cells are too long for a table of short rows, whose leaves of about {} rows would take {leaf} \
                 bytes, over {MAX_LEAF}: make a new table with that column, or use lists of variable length",
                self.leaf_rows
            )));
        }
        let id = self.next_id();
        let born = self.free_origin(name);
        schema.columns.push(Column { id, name: name.to_owned(), ty, nullable: true, born });
        schema.set_next_id(id.saturating_add(1));
        schema.check()?;
        Ok(schema)
    }

    /// With a column renamed. Rewrites no leaf.
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the new name is taken.
    pub fn rename_column(&self, from: &str, to: &str) -> Result<Self> {
        let mut schema = self.clone();
        let position = self.place(from)?;
        let column = &mut schema.columns[position];
        let origin = column.origin().to_owned();
        column.born = Some(origin).filter(|origin| origin != to);
        column.name = to.to_owned();
        schema.check()?;
        Ok(schema)
    }

    /// Without a column (not of the key). Leaves are rewritten with [`crate::patch::drop_columns`].
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the key has it.
    pub fn drop_column(&self, name: &str) -> Result<Self> {
        let mut schema = self.clone();
        let position = self.place(name)?;
        if self.key.contains(&self.columns[position].id) {
            return Err(Error::invalid(format!("column {name:?} cannot be dropped: the key has it")));
        }
        schema.columns.remove(position);
        schema.set_next_id(self.next_id());
        schema.check()?;
        Ok(schema)
    }

    /// With a column's type widened without loss, or made nullable. Leaves are rewritten when the type changes.
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the new type does not hold every value of the old, or when the
    /// column is of the key: rows are found by how it is encoded.
    pub fn widen_column(&self, name: &str, ty: Type, nullable: bool) -> Result<Self> {
        let mut schema = self.clone();
        let position = self.place(name)?;
        let column = &mut schema.columns[position];
        if self.key.contains(&column.id) {
            let why = "the key has it, and a key's type cannot change; make a new table of an export";
            return Err(Error::invalid(format!("column {name:?} cannot be widened: {why}")));
        }
        if !column.ty.widens_to(&ty) || column.nullable && !nullable {
            let from = &column.ty;
            return Err(Error::invalid(format!("column {name:?} cannot go from {from} to {ty} without loss")));
        }
        column.ty = ty;
        column.nullable = nullable;
        schema.check()?;
        Ok(schema)
    }

    fn place(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| self.no_column(name))
    }
}

impl Type {
    /// Whether every value of this type is a value of `other`, unchanged.
    #[must_use]
    pub fn widens_to(&self, other: &Self) -> bool {
        use Type as T;
        if self == other {
            return true;
        }
        match (self, other) {
            (
                T::Decimal128 { precision: p, scale: s },
                T::Decimal128 { precision, scale } | T::Decimal256 { precision, scale },
            )
            | (T::Decimal256 { precision: p, scale: s }, T::Decimal256 { precision, scale }) => {
                scale >= s && i16::from(*precision) - i16::from(*scale) >= i16::from(*p) - i16::from(*s)
            }
            (T::Float16 | T::BFloat16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => {
                !matches!(self, T::BFloat16)
            }
            (T::Date32, T::Timestamp { unit, zone: None }) => matches!(unit, Unit::S | Unit::Ms),
            (T::Utf8, T::Binary) | (T::Json, T::Utf8) => true,
            _ => match (self.integer(), other.integer()) {
                (Some((bits, true)), Some((more, true))) => more >= bits,
                (Some((bits, false)), Some((more, signed))) => {
                    if signed {
                        more > bits
                    } else {
                        more >= bits
                    }
                }
                _ => false,
            },
        }
    }

    /// Bits and signedness of a plain integer.
    const fn integer(&self) -> Option<(u8, bool)> {
        Some(match self {
            Self::Int8 => (8, true),
            Self::Int16 => (16, true),
            Self::Int32 => (32, true),
            Self::Int64 => (64, true),
            Self::UInt8 => (8, false),
            Self::UInt16 => (16, false),
            Self::UInt32 => (32, false),
            Self::UInt64 => (64, false),
            _ => return None,
        })
    }
}
