//! Rows by key, of which a copy costs little: it shares what neither side has changed since.
//!
//! Rows that have changed lately are in memory, in leaves of some hundred; the others lie in [runs](super::runs), if there are some. A copy
//! counts leaves; a write after that copies the one leaf that it falls into, once. So a snapshot for a slow peer, or a checkpoint, is taken at
//! once and is consistent, and costs memory only for what changes meanwhile.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::row::Row;
use super::runs::{Merged, Run, Runs};
use super::txn::{RowKey, Write};

/// A leaf that would have more rows is cut in two.
const MOST: usize = 128;

type Leaf = Vec<(RowKey, Arc<Row>)>;

/// A row that does not exist.
static NONE: LazyLock<Arc<Row>> = LazyLock::new(Arc::default);

/// Rows by key.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Those that are not in the runs, or not as they are there. One without siblings is gone.
    over: Over,
    runs: Option<Arc<Runs>>,
    counts: Counts,
    /// The run that is being written of what was here. Rows that are gone are to be remembered in any case: it may have them.
    folds: Option<u64>,
}

/// How many rows there are of each table that has some.
pub type Counts = BTreeMap<Arc<str>, Count>;

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// All.
    pub rows: u64,
    /// Those with more than one sibling.
    pub open: u64,
}

impl Count {
    fn of(row: &Row) -> Self {
        Self { rows: u64::from(!row.is_empty()), open: u64::from(row.siblings().len() > 1) }
    }

    /// Together with those of others.
    pub(super) const fn add(&mut self, others: Self) {
        self.rows += others.rows;
        self.open += others.open;
    }
}

/// Of one table a row was so and is so now.
fn count(counts: &mut Counts, table: &Arc<str>, was: Count, is: Count) {
    if was == is {
        return;
    }
    if !counts.contains_key(table) {
        counts.insert(table.clone(), Count::default());
    }
    if let Some(count) = counts.get_mut(table) {
        // What is below cannot be read any more when this would be less than nothing.
        count.rows = (count.rows + is.rows).saturating_sub(was.rows);
        count.open = (count.open + is.open).saturating_sub(was.open);
        if count.rows == 0 {
            counts.remove(table);
        }
    }
}

/// Rows in memory.
#[derive(Debug, Clone, Default)]
struct Over {
    /// By a key that is after all of the leaf before and not after the first of theirs. None is empty.
    leaves: BTreeMap<RowKey, Arc<Leaf>>,
    len: usize,
}

impl Rows {
    /// Those of some runs, with others that are not there, or not as they are there, and without some. All come by key.
    pub(super) fn over_runs(
        runs: Arc<Runs>,
        counts: Counts,
        rows: Vec<(RowKey, Arc<Row>)>,
        gone: impl Iterator<Item = RowKey>,
    ) -> Self {
        let (mut rows, mut gone) = (rows.into_iter().peekable(), gone.peekable());
        let both = std::iter::from_fn(|| match (rows.peek(), gone.peek()) {
            (Some((key, _)), Some(is)) if key < is => rows.next(),
            (_, Some(_)) => gone.next().map(|key| (key, NONE.clone())),
            (_, None) => rows.next(),
        });
        Self { over: both.collect(), runs: Some(runs), counts, folds: None }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.counts.values().map(|count| count.rows).sum()
    }

    /// How many there are of each table.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether there is nothing here that says something of a row.
    pub(super) fn is_nothing(&self) -> bool {
        self.over.len == 0 && self.runs.as_ref().is_none_or(|runs| runs.is_empty() && runs.trouble().is_none())
    }

    /// How many are in memory, those that are gone from the runs included.
    #[must_use]
    pub const fn in_memory(&self) -> usize {
        self.over.len
    }

    /// Where the others lie.
    #[must_use]
    pub const fn runs(&self) -> Option<&Arc<Runs>> {
        self.runs.as_ref()
    }

    /// Why what is read here cannot be believed, if it cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.runs.as_ref().and_then(|runs| runs.trouble())
    }

    /// The row under a key.
    #[must_use]
    pub fn get(&self, key: &RowKey) -> Option<Arc<Row>> {
        match self.over.get(key) {
            Some(row) => Some(row.clone()).filter(|row| !row.is_empty()),
            None => self.runs.as_ref().and_then(|runs| runs.get(key)),
        }
    }

    /// The rows, by key.
    pub fn iter(&self) -> impl Iterator<Item = (RowKey, Arc<Row>)> + '_ {
        self.from(&RowKey::first())
    }

    /// The rows from a key on.
    pub fn from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (RowKey, Arc<Row>)> + use<'a> {
        let runs = self.runs.as_ref().map(|runs| runs.scan(key));
        Both { over: self.over.from(key).peekable(), runs: runs.map(Iterator::peekable) }
    }

    /// Those in memory, from a key on. One without siblings is gone from the runs.
    pub(super) fn over_from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (&'a RowKey, &'a Arc<Row>)> + use<'a> {
        self.over.from(key)
    }

    /// Changes the row under a key, which is an empty one until then if there is none. An empty one is none.
    pub(super) fn change(&mut self, key: &RowKey, change: impl FnOnce(&mut Row)) {
        let below = |runs: &Option<Arc<Runs>>| runs.as_ref().and_then(|runs| runs.get(key));
        let (runs, folds) = (&self.runs, self.folds);
        let (mut was, mut is) = (Count::default(), Count::default());
        let change = |row: Option<&mut Arc<Row>>| match row {
            Some(row) => {
                was = Count::of(row);
                let changed = Arc::make_mut(row);
                change(changed);
                is = Count::of(changed);
                (was.rows > 0, is.rows > 0, None)
            }
            None => {
                let mut row = below(runs).unwrap_or_default();
                was = Count::of(&row);
                change(Arc::make_mut(&mut row));
                is = Count::of(&row);
                (was.rows > 0, is.rows > 0, Some(row))
            }
        };
        self.over.change(key, change, || folds.is_some() || below(runs).is_some());
        count(&mut self.counts, &key.table, was, is);
    }

    /// Changes rows by what a transaction writes to them, which comes by row. Rows that lie next to each other in memory are found at once.
    pub(super) fn change_each(&mut self, writes: &[Write], mut change: impl FnMut(&Write, &mut Row)) {
        let mut rest = writes;
        while let Some(first) = rest.first() {
            let changed = self.change_in_leaf(rest, &mut change);
            rest = &rest[changed..];
            if changed == 0 {
                self.change(&first.row, |row| change(first, row));
                rest = &rest[1..];
            }
        }
    }

    /// Changes the first rows of these by what is put into them, as long as they are in one leaf; how many those are.
    fn change_in_leaf(&mut self, writes: &[Write], change: &mut impl FnMut(&Write, &mut Row)) -> usize {
        let Some(leaf) = writes.first().and_then(|first| self.over.leaf_mut(&first.row)) else { return 0 };
        let has = |leaf: &Leaf, from: usize, write: &Write| {
            // Most often it is the next one. What is deleted may leave the leaf.
            match leaf.get(from).filter(|_| write.value.is_some()).map(|(is, _)| is.cmp(&write.row)) {
                Some(Ordering::Equal) => Some(from),
                Some(Ordering::Less) => {
                    leaf[from..].binary_search_by(|(is, _)| is.cmp(&write.row)).ok().map(|at| from + at)
                }
                _ => None,
            }
        };
        let Some(mut at) = has(leaf, 0, &writes[0]) else { return 0 };
        let leaf = Arc::make_mut(leaf);
        let mut changed = 0;
        loop {
            let write = &writes[changed];
            let row = Arc::make_mut(&mut leaf[at].1);
            let was = Count::of(row);
            change(write, row);
            let is = Count::of(row);
            count(&mut self.counts, &write.row.table, was, is);
            changed += 1;
            match writes.get(changed).and_then(|next| has(leaf, at + 1, next)) {
                Some(next) => at = next,
                None => break,
            }
        }
        changed
    }

    /// Puts a row there, as it is to be. One without siblings is none.
    pub(super) fn set(&mut self, key: &RowKey, row: Arc<Row>) {
        self.change(key, |is| *is = Arc::unwrap_or_clone(row));
    }

    /// A run with this number will be made of what is here now.
    pub(super) const fn begin_fold(&mut self, id: u64) {
        self.folds = Some(id);
    }

    /// Whether these have come of those of which the run with this number was made. Others, which took their place, have nothing in it.
    pub(super) fn folds(&self, id: u64) -> bool {
        self.folds == Some(id)
    }

    /// The same rows on other runs, in which those are that were in memory in `since`, which these have come of: they need not be in memory
    /// any more, if they have not changed since.
    #[must_use]
    pub(super) fn on(&self, runs: Arc<Runs>, since: &Self) -> Self {
        Self { over: self.over.without(&since.over), runs: Some(runs), counts: self.counts.clone(), folds: None }
    }

    /// These, all of which are in memory, and those of some runs, which are others; so many there are of each table.
    #[must_use]
    pub(super) fn above(mut self, runs: Runs, counts: &Counts) -> Self {
        for (table, more) in counts {
            self.counts.entry(table.clone()).or_default().add(*more);
        }
        Self { runs: Some(Arc::new(runs)), ..self }
    }

    /// The same rows, some of whose runs have been merged into one.
    #[must_use]
    pub(super) fn on_merged(&self, runs: Arc<Runs>) -> Self {
        Self { runs: Some(runs), ..self.clone() }
    }

    /// Writes those that are in memory to a run. It is durable then, and nothing names it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&self, runs: &Runs, id: u64) -> crate::error::Result<Arc<Run>> {
        // What nothing is below of need not be said to be gone.
        let hides = !runs.is_empty();
        let rows = self.over.from(&RowKey::first()).filter(|(_, row)| hides || !row.is_empty());
        runs.write(id, rows.map(|(key, row)| (key.clone(), row.clone())))
    }
}

impl Over {
    /// The leaf in which a key is, if it is.
    fn leaf(&self, key: &RowKey) -> Option<&Arc<Leaf>> {
        self.leaves.range(..=key).next_back().map(|(_, leaf)| leaf)
    }

    fn leaf_mut(&mut self, key: &RowKey) -> Option<&mut Arc<Leaf>> {
        self.leaves.range_mut(..=key).next_back().map(|(_, leaf)| leaf)
    }

    fn get(&self, key: &RowKey) -> Option<&Arc<Row>> {
        let leaf = self.leaf(key)?;
        let at = leaf.binary_search_by(|(is, _)| is.cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    fn from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (&'a RowKey, &'a Arc<Row>)> + use<'a> {
        let first = self.leaves.range(..=key).next_back();
        let skip = first.map_or(0, |(_, leaf)| leaf.partition_point(|(is, _)| is < key));
        let after = self.leaves.range::<RowKey, _>((Bound::Excluded(key), Bound::Unbounded)).map(|(_, leaf)| leaf);
        let rows = first.into_iter().flat_map(move |(_, leaf)| &leaf[skip..]);
        rows.chain(after.flat_map(|leaf| leaf.iter())).map(|(key, row)| (key, row))
    }

    /// Changes a row that is here, or puts the one here that `change` makes. It says whether there was one and whether there is, and an empty
    /// one stays if it hides one below.
    fn change(
        &mut self,
        key: &RowKey,
        change: impl FnOnce(Option<&mut Arc<Row>>) -> (bool, bool, Option<Arc<Row>>),
        below: impl FnOnce() -> bool,
    ) {
        let Some((first, leaf)) = self.leaves.range_mut(..=key).next_back() else {
            let (was, is, row) = change(None);
            if is || was {
                // A key before all others: the first leaf begins with it now.
                let mut leaf = self.leaves.pop_first().map_or_else(Arc::default, |(_, leaf)| leaf);
                let key = kept(key, leaf.first());
                Arc::make_mut(&mut leaf).insert(0, (key.clone(), row.filter(|_| is).unwrap_or_else(|| NONE.clone())));
                self.leaves.insert(key.clone(), leaf);
                self.len += 1;
                self.split(&key);
            }
            return;
        };
        match leaf.binary_search_by(|(is, _)| is.cmp(key)) {
            Ok(at) => {
                let leaf = Arc::make_mut(leaf);
                let (_, is, _) = change(Some(&mut leaf[at].1));
                if !is && below() {
                    leaf[at].1 = NONE.clone();
                } else if !is {
                    leaf.remove(at);
                    self.len -= 1;
                    if leaf.is_empty() {
                        let first = first.clone();
                        self.leaves.remove(&first);
                    }
                }
            }
            Err(at) => {
                let (was, is, row) = change(None);
                if is || was {
                    let leaf = Arc::make_mut(leaf);
                    let key = kept(key, leaf.get(at.saturating_sub(1)));
                    leaf.insert(at, (key, row.filter(|_| is).unwrap_or_else(|| NONE.clone())));
                    self.len += 1;
                    if leaf.len() > MOST {
                        let first = first.clone();
                        self.split(&first);
                    }
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

    /// What is not as it is in `other`, which this has come of.
    fn without(&self, other: &Self) -> Self {
        let new = |(first, leaf): (&RowKey, &Arc<Leaf>)| {
            // Most leaves nobody has touched since.
            if other.leaves.get(first).is_some_and(|is| Arc::ptr_eq(is, leaf)) {
                return Vec::new();
            }
            let mut was = other.from(&leaf[0].0).peekable();
            let mut same = |(key, row): &&(RowKey, Arc<Row>)| {
                while was.next_if(|(was, _)| *was < key).is_some() {}
                was.next_if(|(was, _)| *was == key).is_some_and(|(_, is)| Arc::ptr_eq(is, row))
            };
            leaf.iter().filter(|row| !same(row)).cloned().collect()
        };
        self.leaves.iter().flat_map(new).collect()
    }
}

/// What is in memory and what is in runs, by key.
struct Both<'a, O: Iterator<Item = (&'a RowKey, &'a Arc<Row>)>> {
    over: std::iter::Peekable<O>,
    runs: Option<std::iter::Peekable<Merged>>,
}

impl<'a, O: Iterator<Item = (&'a RowKey, &'a Arc<Row>)>> Iterator for Both<'a, O> {
    type Item = (RowKey, Arc<Row>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let below = self.runs.as_mut().and_then(|runs| runs.peek());
            match (self.over.peek(), below) {
                (Some((key, _)), Some((below, _))) if *key > below => return self.runs.as_mut()?.next(),
                (Some((key, _)), Some((below, _))) if *key == below => {
                    self.runs.as_mut()?.next();
                }
                (Some(_), _) => {}
                (None, _) => return self.runs.as_mut()?.next(),
            }
            let (key, row) = self.over.next()?;
            if !row.is_empty() {
                return Some((key.clone(), row.clone()));
            }
        }
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
        self.counts == other.counts && self.iter().eq(other.iter())
    }
}

impl Eq for Rows {}

/// Rows that come by key, none twice.
impl FromIterator<(RowKey, Arc<Row>)> for Over {
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

/// Rows that exist and come by key, none twice. All of them are in memory.
impl FromIterator<(RowKey, Arc<Row>)> for Rows {
    fn from_iter<T: IntoIterator<Item = (RowKey, Arc<Row>)>>(rows: T) -> Self {
        let mut all = Self::default();
        // Those of one table follow each other.
        let mut last: Option<(Arc<str>, Count)> = None;
        let over = rows.into_iter().inspect(|(key, row)| {
            let (is, count) = (Count::of(row), last.take_if(|(table, _)| *table != key.table));
            all.counts.extend(count);
            let (_, count) = last.get_or_insert_with(|| (key.table.clone(), Count::default()));
            count.rows += is.rows;
            count.open += is.open;
        });
        let over = over.collect();
        all.counts.extend(last);
        Self { over, ..all }
    }
}

#[cfg(test)]
mod tests;
