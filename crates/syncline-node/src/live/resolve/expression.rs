//! Expressions that rank siblings: each sibling is given the value of the expression for its row, and the greatest is seen.
//!
//! The language is a part of CEL (Common Expression Language) that has no loops and no floats, with rules of its own where that leaves
//! something open; it belongs to the format (`docs/format/live-row.md`), so that every node, of whatever version, comes to the same.
//! An expression has a value for every row: what cannot be computed is nothing, and ranks below all that can. Its cost is
//! bounded by its length and that of the cells that it may look at.
//!
//! Owns nothing. Not here: which sibling of equal rank is seen (`super`).

mod parse;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use syncline_sync::live::Sibling;

use super::super::cells::{CellId, Cells};
use super::super::definition::Definition;
pub(in crate::live) use parse::parse;
use value::Value;

/// The longest cell that an expression looks at.
const MAX_CELL: usize = 64 << 10;

/// An expression, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::live) enum Expr {
    Literal(Value),
    /// A column of the row.
    Column(String),
    /// When the sibling was written, in milliseconds.
    Time,
    /// Who wrote it.
    Writer,
    /// A member of json.
    Member(Box<Expr>, String),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    /// How many characters, items or members.
    Size(Box<Expr>),
    /// Whether there is a value.
    Has(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// What is done with two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Op {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Add,
    Subtract,
    Multiply,
    Divide,
    Rest,
}

impl Expr {
    /// The columns that it looks at.
    pub(in crate::live) fn columns(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![self];
        while let Some(next) = open.pop() {
            match next {
                Self::Column(name) => {
                    found.insert(&name[..]);
                }
                Self::Literal(_) | Self::Time | Self::Writer => {}
                Self::Member(a, _) | Self::Not(a) | Self::Minus(a) | Self::Size(a) | Self::Has(a) => open.push(a),
                Self::Binary(_, a, b) => open.extend([&**a, b]),
                Self::If(a, b, c) => open.extend([&**a, b, c]),
            }
        }
        found
    }

    /// Its value; nothing where there is none.
    fn value(&self, row: &Ranked<'_>) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Column(name) => row.cell(name),
            Self::Time => Some(Value::int(row.sibling.time.ms().into())),
            Self::Writer => Some(Value::Text(row.sibling.dot.origin.to_string())),
            Self::Member(of, name) => of.value(row)?.member(name),
            Self::Not(of) => Some(Value::Bool(!of.value(row)?.truth()?)),
            Self::Minus(of) => Value::int(0).computed(Op::Subtract, &of.value(row)?),
            Self::Size(of) => of.value(row)?.size(),
            Self::Has(of) => Some(Value::Bool(of.value(row).is_some())),
            Self::Binary(Op::Or, a, b) => either(a.value(row), b.value(row), true),
            Self::Binary(Op::And, a, b) => either(a.value(row), b.value(row), false),
            Self::Binary(op, a, b) => {
                let (a, b) = (a.value(row), b.value(row));
                match op {
                    Op::Equal => Some(Value::Bool(a == b)),
                    Op::NotEqual => Some(Value::Bool(a != b)),
                    _ => a?.computed(*op, &b?),
                }
            }
            Self::If(test, yes, no) => {
                if test.value(row)?.truth()? {
                    yes.value(row)
                } else {
                    no.value(row)
                }
            }
        }
    }
}

/// One of the two decides when it is `decides`, whatever the other is.
fn either(a: Option<Value>, b: Option<Value>, decides: bool) -> Option<Value> {
    match (a.and_then(|a| a.truth()), b.and_then(|b| b.truth())) {
        (Some(one), _) | (_, Some(one)) if one == decides => Some(Value::Bool(decides)),
        (Some(_), Some(_)) => Some(Value::Bool(!decides)),
        _ => None,
    }
}

/// A sibling that is ranked.
struct Ranked<'a> {
    table: &'a Definition,
    sibling: &'a Sibling,
    cells: BTreeMap<CellId, &'a [u8]>,
}

impl Ranked<'_> {
    fn cell(&self, name: &str) -> Option<Value> {
        let text = self.cells.get(&self.table.column(name)?.cell)?;
        Value::read(text).filter(|_| text.len() <= MAX_CELL)
    }
}

impl Definition {
    /// Where an expression ranks a sibling; nothing is below everything.
    pub(super) fn rank_by(&self, expr: &Expr, sibling: &Sibling) -> Option<Value> {
        let cells = Cells::read(&sibling.value).and_then(Cells::all).ok()?.into_iter().collect();
        expr.value(&Ranked { table: self, sibling, cells }).filter(Value::has_order)
    }
}

#[cfg(test)]
mod tests;
