//! Counters: what several added to a number, added up.
//!
//! A counter is kept as what each origin has added in all, up to which of its transactions (a PN-counter). An origin's transactions
//! are one after the other, so of two entries of one origin the later includes the earlier, and siblings are joined by taking
//! the later of each. Nothing is counted twice and nothing is lost, in whatever order they come. Owns nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use syncline_sync::live::Origin;
use syncline_tree::scalar;
use syncline_tree::schema::Type;

use super::super::cells::CellId;
use super::super::marks::Counter;
use super::order::{self, Rank};
use super::views::View;

/// What was added to a counter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::live) struct Sum {
    /// By each origin, up to which of its transactions.
    by: BTreeMap<Origin, (u64, i128)>,
    /// By the transaction that is being made.
    own: i128,
    /// Whether there is a number at all, and not null.
    pub(in crate::live) any: bool,
}

impl Sum {
    /// Of all siblings of a row.
    pub(in crate::live) fn of<'a>(views: impl IntoIterator<Item = &'a View<'a>>, cell: CellId, ty: &Type) -> Self {
        let mut all = Self::default();
        for view in views {
            let one = Self::of_one(view, cell, ty);
            all.any |= one.any;
            all.own = all.own.saturating_add(one.own);
            for (origin, new) in one.by {
                let entry = all.by.entry(origin).or_insert(new);
                *entry = (*entry).max(new);
            }
        }
        all
    }

    fn of_one(view: &View<'_>, cell: CellId, ty: &Type) -> Self {
        let read = |text: &[u8]| number(ty, text).unwrap_or(0);
        let (own, by, any) = match view.marks.counters.get(&cell) {
            Some(Counter { own, others }) => {
                let others = others.iter().map(|(origin, (seq, sum))| (*origin, (*seq, read(sum))));
                (read(own), others.collect(), true)
            }
            // A value without marks says what its transaction set a new row to.
            None => {
                let text = view.cells.get(&cell);
                (text.map_or(0, |text| read(text)), BTreeMap::new(), text.is_some())
            }
        };
        let mut sum = Self { by, own, any };
        if let Some(dot) = view.dot.filter(|_| own != 0) {
            let before = sum.by.get(&dot.origin).map_or(0, |(_, sum)| *sum);
            sum.by.insert(dot.origin, (dot.seq, before.saturating_add(own)));
            sum.own = 0;
        }
        sum
    }

    /// The number, of whatever type.
    pub(in crate::live) fn total(&self) -> i128 {
        self.by.values().fold(self.own, |total, (_, sum)| total.saturating_add(*sum))
    }

    /// With something more, added by the transaction that is being made.
    pub(in crate::live) fn plus(mut self, more: i128) -> Self {
        self.own = self.own.saturating_add(more);
        self.any = true;
        self
    }

    /// As a cell: the number, or the nearest that the type has.
    pub(in crate::live) fn text(&self, ty: &Type) -> Option<Vec<u8>> {
        let (min, max) = range(ty);
        self.any.then(|| text(ty, self.total().clamp(min, max)))
    }

    /// As marks.
    pub(in crate::live) fn marks(&self, ty: &Type) -> Counter {
        let text = |sum: i128| Bytes::from(text(ty, sum));
        let others = self.by.iter().map(|(origin, (seq, sum))| (*origin, (*seq, text(*sum))));
        Counter { own: text(self.own), others: others.collect() }
    }
}

/// A cell as a whole number, of hundredths for a decimal with two digits behind the point.
pub(in crate::live) fn number(ty: &Type, text: &[u8]) -> Option<i128> {
    match (ty, order::rank(&wide(ty), text)) {
        (_, Some(Rank::Number(number))) => Some(number),
        _ => None,
    }
}

/// The type that holds what is added, whatever the sum is.
fn wide(ty: &Type) -> Type {
    match ty {
        Type::Decimal128 { scale, .. } => Type::Decimal128 { precision: 38, scale: *scale },
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => Type::Decimal128 { precision: 38, scale: 0 },
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => Type::Decimal128 { precision: 38, scale: 0 },
        other => other.clone(),
    }
}

/// The least and the greatest that a type holds.
pub(in crate::live) fn range(ty: &Type) -> (i128, i128) {
    match ty {
        Type::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Type::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Type::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Type::Int64 => (i64::MIN.into(), i64::MAX.into()),
        Type::UInt8 => (0, u8::MAX.into()),
        Type::UInt16 => (0, u16::MAX.into()),
        Type::UInt32 => (0, u32::MAX.into()),
        Type::UInt64 => (0, u64::MAX.into()),
        Type::Decimal128 { precision, .. } => {
            let end = 10_i128.saturating_pow(u32::from(*precision)) - 1;
            (-end, end)
        }
        _ => (i128::MIN, i128::MAX),
    }
}

/// A number as a cell of its type.
pub(in crate::live) fn text(ty: &Type, number: i128) -> Vec<u8> {
    let scale = if let Type::Decimal128 { scale, .. } = ty { *scale } else { 0 };
    let mut out = Vec::new();
    scalar::write_decimal(&mut out, &number.to_string(), scale);
    out
}
