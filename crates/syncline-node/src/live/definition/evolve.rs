//! Steps from one definition of a table to the next. Each gives a new one; `changes` says what that writes.
//!
//! Owns nothing. What rows hold already is not touched: a step is refused when their cells would mean something else after it.

use std::collections::BTreeSet;

use syncline_tree::schema::Type;

use super::super::cells::CellId;
use super::super::resolve::expression;
use super::{Column, Definition, Resolver, Settings, State, Writers};
use crate::{Error, Result};

/// The longest id of an owner, in digits.
const MAX_OWNER: usize = 128;

impl Definition {
    fn invalid(&self, doing: &str, why: impl Into<String>) -> Error {
        Error::invalid(format!("{doing} of table {:?}", self.name()), why)
    }

    /// The same with these columns.
    fn with(&self, columns: Vec<Column>) -> Result<Self> {
        Self::of(&self.name, columns, self.key.clone(), self.settings.clone())
    }

    fn position(&self, name: &str) -> Result<usize> {
        let found = self.columns.iter().position(|column| column.is_there() && column.name == name);
        found.ok_or_else(|| {
            let there = self.columns.iter().filter(|column| column.is_there()).take(20);
            let names = there.map(|column| &column.name[..]).collect::<Vec<_>>().join(", ");
            Error::not_found(format!("column {name:?}"), format!("table {:?} has {names}", self.name()))
        })
    }

    fn changed(&self, name: &str, change: impl FnOnce(&mut Column)) -> Result<Self> {
        let (at, mut columns) = (self.position(name)?, self.columns.clone());
        change(&mut columns[at]);
        self.with(columns)
    }

    /// With one more column, which is null in every row.
    ///
    /// # Errors
    /// `invalid` when the name is taken, or the table cannot have such a column.
    pub fn add_column(&self, name: &str, ty: Type) -> Result<Self> {
        // All that a table of the versioned tree asks of a new column.
        self.schema.add_column(name, ty.clone())?;
        let taken = |origin: &str| self.columns.iter().any(|column| column.origin == origin);
        let others = (2_u64..).map(|n| format!("{name}#{n}"));
        // Cells of a column that was dropped may still be there: one of its name is another one.
        let origin = std::iter::once(name.to_owned()).chain(others).find(|origin| !taken(origin)).unwrap_or_default();
        let ordinal = self.columns.iter().map(|column| column.ordinal).max().map_or(0, |last| last.saturating_add(1));
        let mut columns = self.columns.clone();
        columns.push(Column {
            cell: CellId::of(&origin),
            origin,
            name: name.to_owned(),
            stored_name: name.to_owned(),
            ty,
            nullable: true,
            ordinal,
            state: State::Live,
        });
        let made = self.with(columns)?;
        made.check_cells()?;
        Ok(made)
    }

    /// With a column under another name.
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the new name is taken.
    pub fn rename_column(&self, from: &str, to: &str) -> Result<Self> {
        self.position(from)?;
        self.schema.rename_column(from, to)?;
        self.check_not_mentioned("renaming", from)?;
        let mut made = self.changed(from, |column| {
            to.clone_into(&mut column.name);
            to.clone_into(&mut column.stored_name);
        })?;
        if made.settings.resolver.column() == Some(from) {
            made.settings.resolver = made.settings.resolver.with_column(to);
        }
        Ok(made)
    }

    /// Without a column. Its cells stay in rows until these are written anew, and nothing shows them.
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the key has it or conflicts are resolved by it.
    pub fn drop_column(&self, name: &str) -> Result<Self> {
        self.position(name)?;
        self.schema.drop_column(name)?;
        if self.settings.resolver.column() == Some(name) {
            let why = format!("conflicts are resolved by it ({}): set another resolver first", self.settings.resolver);
            return Err(self.invalid(&format!("dropping column {name:?}"), why));
        }
        self.check_not_mentioned("dropping", name)?;
        self.changed(name, |column| column.state = State::Dropped)
    }

    fn check_not_mentioned(&self, doing: &str, name: &str) -> Result<()> {
        if !self.settings.resolver.mentions(name) {
            return Ok(());
        }
        let why = format!("conflicts are resolved by it ({}): set another resolver first", self.settings.resolver);
        Err(self.invalid(&format!("{doing} column {name:?}"), why))
    }

    /// With a column marked as one that will be dropped, or no longer.
    ///
    /// # Errors
    /// `not-found` when there is no such column, `invalid` when the key has it.
    pub fn deprecate_column(&self, name: &str, deprecated: bool) -> Result<Self> {
        let at = self.position(name)?;
        if self.key.contains(&self.columns[at].origin) {
            return Err(
                self.invalid(&format!("deprecating column {name:?}"), "the key has it, so it cannot be dropped")
            );
        }
        self.changed(name, |column| column.state = if deprecated { State::Deprecated } else { State::Live })
    }

    /// With a column's type widened, or made nullable.
    ///
    /// # Errors
    /// `not-found` when there is no such column; `invalid` when the key has it, or cells would not mean the same under the new type.
    pub fn widen_column(&self, name: &str, ty: Type, nullable: bool) -> Result<Self> {
        let at = self.position(name)?;
        self.schema.widen_column(name, ty.clone(), nullable)?;
        let from = &self.columns[at].ty;
        if !reads_the_same(from, &ty) {
            let why = format!(
                "its cells are kept as text, which reads as another value when it is {ty} and was written as {from}: add a column \
                 of that type instead"
            );
            return Err(self.invalid(&format!("widening column {name:?}"), why));
        }
        self.changed(name, |column| (column.ty, column.nullable) = (ty, nullable))
    }

    /// With other settings.
    ///
    /// # Errors
    /// `invalid` when they do not fit the table.
    pub fn set(&self, settings: Settings) -> Result<Self> {
        let wrong = |why: String| self.invalid("changing the settings", why);
        if let Writers::One(owner) | Writers::Strict(owner) = &settings.writers {
            let digits = owner.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !digits || owner.is_empty() || owner.len() > MAX_OWNER {
                return Err(wrong(format!(
                    "the replica {owner:?} is not 1 to {MAX_OWNER} lowercase hexadecimal digits; `syncline status` shows its id"
                )));
            }
        }
        if let Some(why) = settings.resolver.fault().or_else(|| settings.fault()) {
            return Err(wrong(why));
        }
        if let Resolver::Expression { text } = &settings.resolver {
            let expr = expression::parse(text)
                .map_err(|why| wrong(format!("{} is no expression: {why}", settings.resolver)))?;
            for name in expr.columns() {
                if self.key.contains(&self.columns[self.position(name)?].origin) {
                    return Err(wrong(format!(
                        "column {name:?} is of the key: it is the same in all siblings of a row"
                    )));
                }
            }
        }
        if let Some(name) = settings.resolver.column() {
            let column = &self.columns[self.position(name)?];
            if self.key.contains(&column.origin) {
                return Err(wrong(format!("column {name:?} is of the key: it is the same in all siblings of a row")));
            }
            if let Some(why) = settings.resolver.refuses(&column.ty) {
                return Err(wrong(format!("the resolver {} cannot look at column {name:?}: {why}", settings.resolver)));
            }
        }
        Ok(Self { settings, ..self.clone() })
    }

    /// Refuses columns, dropped ones too, whose cells could be taken for each other's.
    pub(super) fn check_cells(&self) -> Result<()> {
        let mut cells = BTreeSet::new();
        match self.columns.iter().find(|column| !cells.insert(column.cell)) {
            None => Ok(()),
            Some(twice) => {
                let why = "its number is that of another column that the table has or had: choose another name";
                Err(self.invalid(&format!("making column {:?}", twice.name), why))
            }
        }
    }
}

/// Whether a cell's text that was written as one type is the same value as the other.
fn reads_the_same(from: &Type, to: &Type) -> bool {
    let exact = |ty: &Type| {
        let signed = matches!(ty, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64);
        let unsigned = matches!(ty, Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64);
        signed || unsigned || matches!(ty, Type::Decimal128 { .. } | Type::Decimal256 { .. } | Type::Date32)
    };
    // The text of a float has the digits that its own width needs; bytes are in another notation than text.
    from == to || exact(from)
}
