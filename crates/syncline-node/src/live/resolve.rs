//! Which sibling of a row readers see, and which resolvers this version has.
//!
//! A pure function of the table's definition and the *set* of siblings: the same on every node, whatever came first; no clock, no
//! locale, no arithmetic of floats. Where it picks one sibling, that is the greatest of a total order, so it picks the same when siblings
//! come one by one; where it merges them ([`Definition::seen`]), no sibling is lost in it. Its result is never written back. Rules:
//! `docs/format/live-row.md`. Owns nothing.
//!
//! Not here: what a writer has to say so that its row can be merged (`super::rows`).

pub(super) mod expression;
mod lists;
mod order;
mod seen;
pub(super) mod sums;
mod txn;
pub(super) mod views;

use std::cmp::{Ordering, Reverse};

use syncline_sync::live::{Origin, Sibling};
use syncline_tree::schema::Type;

use super::cells::{CellId, Cells};
use super::definition::{Definition, Resolver};
use order::Rank;
pub(crate) use seen::differ;
pub use seen::{Rival, Seen};
pub use txn::Picks;

/// So many of the first digits of a writer's name have to be given.
const MIN_PREFIX: usize = 8;
/// So many it has.
const DIGITS: usize = 32;

impl Definition {
    /// Which of a row's siblings, in any order, readers see where nothing is merged; none when the row is deleted.
    #[must_use]
    pub fn pick<'a>(&self, siblings: &'a [Sibling]) -> Option<&'a Sibling> {
        if let [] | [_] = siblings {
            return siblings.first();
        }
        match &self.settings().resolver {
            Resolver::FirstWriter => siblings.iter().min_by(|a, b| a.later(b)),
            Resolver::Origin { order } => best(siblings, |sibling| Reverse(place(order, sibling.dot.origin))),
            Resolver::Max { column } => {
                let column = self.cells_of(column);
                best(siblings, |sibling| rank(column, sibling))
            }
            Resolver::Min { column } => {
                let column = self.cells_of(column);
                best(siblings, |sibling| rank(column, sibling).map(Reverse))
            }
            Resolver::Expression { text } => match expression::parse(text) {
                Ok(expr) => best(siblings, |sibling| self.rank_by(&expr, sibling)),
                Err(_) => siblings.iter().max_by(|a, b| a.later(b)),
            },
            // Until somebody decides, readers have to see something; so they do where nothing is decided by siblings as a whole.
            Resolver::LastWriter
            | Resolver::Ask
            | Resolver::Union { .. }
            | Resolver::Counter { .. }
            | Resolver::Columns => siblings.iter().max_by(|a, b| a.later(b)),
        }
    }

    /// Whether rows in conflict wait for somebody who decides.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.settings().resolver == Resolver::Ask
    }

    fn cells_of(&self, column: &str) -> Option<(CellId, &Type)> {
        self.column(column).map(|column| (column.cell, &column.ty))
    }
}

/// The greatest by `of`; of several, the last written.
fn best<K: Ord>(siblings: &[Sibling], of: impl Fn(&Sibling) -> K) -> Option<&Sibling> {
    let ranked = siblings.iter().map(|sibling| (of(sibling), sibling));
    let later = |a: &(K, &Sibling), b: &(K, &Sibling)| -> Ordering { a.0.cmp(&b.0).then_with(|| a.1.later(b.1)) };
    ranked.max_by(later).map(|(_, sibling)| sibling)
}

/// Where a writer stands in a list of writers; behind its end when no part of it names the writer.
fn place(order: &[String], writer: Origin) -> usize {
    let name = writer.to_string();
    let names = |prefix: &String| is_name(prefix) && name.starts_with(&prefix.to_ascii_lowercase());
    order.iter().position(names).unwrap_or(order.len())
}

/// Whether a text is the name of a writer, or enough of its beginning.
fn is_name(text: &str) -> bool {
    (MIN_PREFIX..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where the cell that decides stands among others. Null, and what is no value of the column's type, is below all.
fn rank(column: Option<(CellId, &Type)>, sibling: &Sibling) -> Option<Rank> {
    let (cell, ty) = column?;
    let mut found = None;
    let mut cells = Cells::read(&sibling.value).ok()?;
    // To the end: of a value that is damaged anywhere nothing is believed.
    while let Some((is, text)) = cells.next().ok()? {
        if is == cell {
            found = Some(text);
        }
    }
    order::rank(ty, found?)
}

/// Why this version does not resolve conflicts by a resolver, if it does not.
#[must_use]
pub fn refuses(resolver: &Resolver) -> Option<String> {
    match resolver {
        Resolver::LastWriter
        | Resolver::FirstWriter
        | Resolver::Max { .. }
        | Resolver::Min { .. }
        | Resolver::Union { .. }
        | Resolver::Counter { .. }
        | Resolver::Ask => None,
        Resolver::Origin { order } => {
            let wrong = order.iter().find(|name| !is_name(name))?;
            Some(format!(
                "{wrong:?} is no writer: give the {DIGITS} hexadecimal digits of a name that a replica writes under, or at least the \
                 first {MIN_PREFIX}; its transactions begin with them, and `syncline status --json` has them as live.name"
            ))
        }
        Resolver::Columns => {
            Some("not in this version: it is what `--granularity column` does with `--resolver last-writer`".to_owned())
        }
        Resolver::Expression { text } => {
            expression::parse(text).err().map(|why| format!("it is no expression that this version knows: {why}"))
        }
    }
}

#[cfg(test)]
mod tests;
