//! Which sibling of a row readers see.
//!
//! A pure function of the table's definition and the set of siblings: the same on every node, whatever came first. Its result is
//! never written back. Owns nothing.

use syncline_sync::live::{Row, Sibling, Zoo};

use super::definition::{Definition, Resolver};

impl Definition {
    /// The sibling of a row of this table that readers see; none when the row is deleted.
    #[must_use]
    pub fn winner<'a>(&self, row: &'a Row) -> Option<&'a Sibling> {
        match self.settings().resolver {
            Resolver::FirstWriter => row.siblings().iter().min_by(|a, b| a.later(b)),
            _ => row.visible(Zoo::default()),
        }
    }
}
