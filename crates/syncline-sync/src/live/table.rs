//! Rows by key, of which a copy costs little: it shares what neither side has changed since.
//!
//! Rows lie in leaves of some hundred. A copy counts leaves; a write after that copies the one leaf that it falls into, once. So a
//! snapshot for a slow peer, or a checkpoint, is taken at once and is consistent, and costs memory only for what changes meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::row::Row;
use super::txn::RowKey;

/// A leaf that would have more rows is cut in two.
const MOST: usize = 128;

type Leaf = Vec<(RowKey, Arc<Row>)>;

/// Rows by key.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// By a key that is after all of the leaf before and not after the first of theirs. None is empty.
    leaves: BTreeMap<RowKey, Arc<Leaf>>,
    len: usize,
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The leaf in which a key is, if it is.
    fn leaf(&self, key: &RowKey) -> Option<&Arc<Leaf>> {
        self.leaves.range(..=key).next_back().map(|(_, leaf)| leaf)
    }

    /// The row under a key.
    #[must_use]
    pub fn get(&self, key: &RowKey) -> Option<&Arc<Row>> {
        let leaf = self.leaf(key)?;
        let at = leaf.binary_search_by(|(is, _)| is.cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    /// The rows, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Arc<Row>)> {
        self.leaves.values().flat_map(|leaf| leaf.iter()).map(|(key, row)| (key, row))
    }

    /// The rows from a key on.
    pub fn from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (&'a RowKey, &'a Arc<Row>)> + use<'a> {
        let first = self.leaves.range(..=key).next_back();
        let skip = first.map_or(0, |(_, leaf)| leaf.partition_point(|(is, _)| is < key));
        let after = self.leaves.range((Bound::Excluded(key.clone()), Bound::Unbounded)).map(|(_, leaf)| leaf);
        let rows = first.into_iter().flat_map(move |(_, leaf)| &leaf[skip..]);
        rows.chain(after.flat_map(|leaf| leaf.iter())).map(|(key, row)| (key, row))
    }

    /// Changes the row under a key, which is an empty one until then if there is none. An empty one is none.
    pub(super) fn change(&mut self, key: &RowKey, change: impl FnOnce(&mut Row)) {
        let Some((first, leaf)) = self.leaves.range_mut(..=key).next_back() else {
            let mut row = Row::default();
            change(&mut row);
            if !row.is_empty() {
                // A key before all others: the first leaf begins with it now.
                let mut leaf = self.leaves.pop_first().map_or_else(Arc::default, |(_, leaf)| leaf);
                let key = kept(key, leaf.first());
                Arc::make_mut(&mut leaf).insert(0, (key.clone(), Arc::new(row)));
                self.leaves.insert(key.clone(), leaf);
                self.len += 1;
                self.split(&key);
            }
            return;
        };
        let found = leaf.binary_search_by(|(is, _)| is.cmp(key));
        match found {
            Ok(at) => {
                let leaf = Arc::make_mut(leaf);
                let row = Arc::make_mut(&mut leaf[at].1);
                change(row);
                if row.is_empty() {
                    leaf.remove(at);
                    self.len -= 1;
                    if leaf.is_empty() {
                        let first = first.clone();
                        self.leaves.remove(&first);
                    }
                }
            }
            Err(at) => {
                let mut row = Row::default();
                change(&mut row);
                if row.is_empty() {
                    return;
                }
                let leaf = Arc::make_mut(leaf);
                let key = kept(key, leaf.get(at.saturating_sub(1)));
                leaf.insert(at, (key, Arc::new(row)));
                self.len += 1;
                if leaf.len() > MOST {
                    let first = first.clone();
                    self.split(&first);
                }
            }
        }
    }

    /// Cuts a leaf in two that has become too long.
    fn split(&mut self, first: &RowKey) {
        let Some(leaf) = self.leaves.get_mut(first).filter(|leaf| leaf.len() > MOST) else { return };
        // Keys often come in their order: the leaf that is left behind stays well filled.
        let upper = Arc::make_mut(leaf).split_off(MOST * 3 / 4);
        self.leaves.insert(upper[0].0.clone(), Arc::new(upper));
    }
}

/// A copy of a key, to keep: what is given is a piece of a transaction or of a message, which would stay in memory with it. The name of its
/// table is the one that the row beside it has, if it is the same.
fn kept(key: &RowKey, beside: Option<&(RowKey, Arc<Row>)>) -> RowKey {
    let table = beside.map(|(beside, _)| &beside.table).filter(|table| **table == key.table).unwrap_or(&key.table);
    RowKey { table: table.clone(), key: Bytes::copy_from_slice(&key.key) }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Rows {}

/// Rows that come by key, none twice.
impl FromIterator<(RowKey, Arc<Row>)> for Rows {
    fn from_iter<T: IntoIterator<Item = (RowKey, Arc<Row>)>>(rows: T) -> Self {
        let mut all = Self::default();
        let mut leaf = Leaf::new();
        let mut close = |leaf: Leaf| {
            if let Some((first, _)) = leaf.first() {
                all.len += leaf.len();
                all.leaves.insert(first.clone(), Arc::new(leaf));
            }
        };
        for row in rows {
            leaf.push(row);
            if leaf.len() == MOST * 3 / 4 {
                close(std::mem::take(&mut leaf));
            }
        }
        close(leaf);
        all
    }
}

#[cfg(test)]
mod tests;
