//! What is decided about a live table beside its columns.
//!
//! Owns nothing. Not here: what a resolver does with siblings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use syncline_tree::schema::Type;

use super::super::resolve::expression::parse;
use crate::{Error, Result};

/// Decisions about a table. Columns go by the names that they have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Who may write.
    pub writers: Writers,
    /// What is in conflict.
    pub granularity: Granularity,
    /// What stands or falls together.
    pub scope: Scope,
    /// How siblings become one row.
    pub resolver: Resolver,
}

impl Settings {
    /// Why these decisions do not go together.
    pub(super) fn fault(&self) -> Option<String> {
        let resolver = &self.resolver;
        let by_writer =
            matches!(resolver, Resolver::LastWriter | Resolver::FirstWriter | Resolver::Origin { .. } | Resolver::Ask);
        if self.scope == Scope::Txn && self.granularity == Granularity::Column {
            return Some("where columns are each for itself, transactions cannot stand or fall as a whole: choose granularity row or scope row".to_owned());
        }
        if self.scope == Scope::Txn && !by_writer {
            return Some(format!(
                "transactions that stand or fall as a whole are ranked by who wrote them or when, not by {resolver}: choose \
                 last-writer, first-writer, origin:A,B or ask, or scope row"
            ));
        }
        if self.granularity == Granularity::Column && matches!(resolver, Resolver::Expression { .. }) {
            return Some("an expression looks at whole rows: choose granularity row".to_owned());
        }
        None
    }
}

/// Who may write to a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writers {
    /// Everybody.
    #[default]
    Many,
    /// The owner with this id, in hexadecimal digits.
    One(String),
    /// Everybody, whom the replica with this id lets: it certifies each transaction in its own log.
    Strict(String),
}

/// Whether concurrent writes of different columns of a row are in conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// They are.
    #[default]
    Row,
    /// They are not: each column is for itself.
    Column,
}

/// Whether the rows that a transaction wrote are resolved each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// They are.
    #[default]
    Row,
    /// All or none of them stand.
    Txn,
}

/// How a row with siblings becomes one value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resolver {
    /// The last write.
    #[default]
    LastWriter,
    /// The first write.
    FirstWriter,
    /// The write of the writer that stands first in a list.
    Origin {
        /// The writers, best first.
        order: Vec<String>,
    },
    /// The row with the largest cell in a column.
    Max {
        /// The column.
        column: String,
    },
    /// The row with the smallest cell in a column.
    Min {
        /// The column.
        column: String,
    },
    /// The items of all lists in a column.
    Union {
        /// The column.
        column: String,
    },
    /// The sum of what everybody added to a number.
    Counter {
        /// The column.
        column: String,
    },
    /// Each column's last write.
    Columns,
    /// What an expression says.
    Expression {
        /// The expression.
        text: String,
    },
    /// Nobody decides but the user.
    Ask,
}

/// The longest expression.
const MAX_TEXT: usize = 4096;

impl Resolver {
    /// The column that it looks at.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Max { column } | Self::Min { column } | Self::Union { column } | Self::Counter { column } => {
                Some(column)
            }
            _ => None,
        }
    }

    /// Whether version 1 has no rules for it.
    pub(in crate::live) const fn is_merge(&self) -> bool {
        matches!(self, Self::Union { .. } | Self::Counter { .. } | Self::Columns | Self::Expression { .. })
    }

    /// Whether it is an expression that looks at a column.
    pub(super) fn mentions(&self, name: &str) -> bool {
        let Self::Expression { text } = self else { return false };
        parse(text).is_ok_and(|expr| expr.columns().contains(name))
    }

    /// The same that looks at a column of another name.
    #[must_use]
    pub(super) fn with_column(mut self, name: &str) -> Self {
        if let Self::Max { column } | Self::Min { column } | Self::Union { column } | Self::Counter { column } =
            &mut self
        {
            name.clone_into(column);
        }
        self
    }

    /// Why it cannot be used by itself, whatever the table.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Origin { order } if order.is_empty() || order.iter().any(String::is_empty) => {
                Some("`origin` needs the writers, best first: origin:A,B".to_owned())
            }
            Self::Expression { text } if text.trim().is_empty() || text.len() > MAX_TEXT => {
                Some(format!("`expression` needs 1 to {MAX_TEXT} bytes of text"))
            }
            _ => None,
        }
    }

    /// Why it cannot look at a column of this type.
    pub(super) fn refuses(&self, ty: &Type) -> Option<String> {
        let integer = |ty: &Type| {
            let ints = matches!(ty, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64);
            ints || matches!(ty, Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64)
        };
        let decimal = |ty: &Type| matches!(ty, Type::Decimal128 { .. });
        let nested = |ty: &Type| {
            let lists = matches!(ty, Type::List(_) | Type::FixedSizeList(..));
            lists || matches!(ty, Type::Struct(_) | Type::Map { .. } | Type::Json)
        };
        match self {
            Self::Max { .. } | Self::Min { .. } if nested(ty) => Some(format!("{ty} has no order")),
            Self::Union { .. } if !matches!(ty, Type::List(_) | Type::Json) => {
                Some(format!("{ty} is neither a list nor json, which may hold an array"))
            }
            Self::Counter { .. } if !integer(ty) && !decimal(ty) => Some(format!(
                "{ty} is neither an integer nor a decimal of at most 38 digits, which alone are added up without loss"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastWriter => f.write_str("last-writer"),
            Self::FirstWriter => f.write_str("first-writer"),
            Self::Origin { order } => write!(f, "origin:{}", order.join(",")),
            Self::Max { column } => write!(f, "max:{column}"),
            Self::Min { column } => write!(f, "min:{column}"),
            Self::Union { column } => write!(f, "union:{column}"),
            Self::Counter { column } => write!(f, "counter:{column}"),
            Self::Columns => f.write_str("columns"),
            Self::Expression { text } => write!(f, "expression:{text}"),
            Self::Ask => f.write_str("ask"),
        }
    }
}

impl FromStr for Resolver {
    type Err = Error;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self> {
        let (word, argument) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let column =
            |make: fn(String) -> Self| argument.filter(|name| !name.is_empty()).map(|name| make(name.to_owned()));
        let plain = |resolver: Self| argument.is_none().then_some(resolver);
        let resolver = match word {
            "last-writer" => plain(Self::LastWriter),
            "first-writer" => plain(Self::FirstWriter),
            "columns" => plain(Self::Columns),
            "ask" => plain(Self::Ask),
            "max" => column(|column| Self::Max { column }),
            "min" => column(|column| Self::Min { column }),
            "union" => column(|column| Self::Union { column }),
            "counter" => column(|column| Self::Counter { column }),
            "origin" => argument.map(|names| Self::Origin { order: names.split(',').map(str::to_owned).collect() }),
            "expression" => argument.map(|text| Self::Expression { text: text.trim().to_owned() }),
            _ => None,
        };
        let what = || format!("reading the resolver {text:?}");
        let resolver = resolver.ok_or_else(|| {
            // Others are kept and read, but nothing is decided by them yet.
            let why = "there are last-writer, first-writer, origin:A,B, max:COLUMN, min:COLUMN, union:COLUMN, counter:COLUMN, \
                       expression:TEXT and ask";
            Error::invalid(what(), why)
        })?;
        match resolver.fault() {
            None => Ok(resolver),
            Some(why) => Err(Error::invalid(what(), why)),
        }
    }
}
