//! The rows of a node that lie on a disk, in *runs*: files of rows by key that are written once and never changed.
//!
//! A node holds in memory only the rows that have changed since they were last written to a run ([`Rows`](super::table::Rows)). A run that is
//! newer hides what older ones say of its rows. Runs of about one size are merged, so there are few of them, and a row is written again only
//! as often as the whole doubles (log-structured merge tree: O'Neil, Cheng, Gawlick, O'Neil, 1996).
//!
//! State: which runs there are; a few of their blocks. After a crash: the log's last checkpoint names the runs that count; all others
//! are removed. What cannot be read is remembered ([`Runs::trouble`]): whoever drives the node asks for it before it believes what
//! it was shown.
//!
//! Format: `docs/format/run.md`. Not here: when runs are made and merged (whoever drives the node).

mod file;
mod scan;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use file::{Run, RunName};
pub(super) use scan::Merged;

use syncline_base::Kind;

use super::row::Row;
use super::txn::RowKey;
use crate::error::{Error, Result};
use crate::log::Disk;

/// A run is merged with those before it when they are together at most so many times as long.
const GROWTH: u64 = 2;

/// Where runs lie. Their files end in `.rows`; whoever gives the place keeps others' files apart from those.
#[derive(Clone)]
pub struct Place(Arc<dyn Disk + Send + Sync>);

impl Place {
    /// On this disk.
    pub fn new(disk: impl Disk + Send + Sync + 'static) -> Self {
        Self(Arc::new(disk))
    }

    /// Removes the runs that are not among these: what a crash left behind.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep_only(&self, named: &[RunName]) -> Result<()> {
        let files = self.0.list().map_err(|error| Error::disk("listing", "the rows of live tables", &error))?;
        for (name, _) in files {
            if name.ends_with(file::SUFFIX) && !named.iter().any(|run| run.file() == name) {
                self.0.remove(&name).map_err(|error| Error::disk("removing", &name, &error))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// What could not be read, once something could not.
pub(super) type Trouble = Arc<OnceLock<String>>;

/// Runs, the oldest first. A copy costs little, and stays what it is while others are made and merged.
#[derive(Debug, Clone)]
pub struct Runs {
    place: Place,
    runs: Vec<Arc<Run>>,
    trouble: Trouble,
}

impl Runs {
    /// None yet.
    #[must_use]
    pub fn none(place: Place) -> Self {
        Self { place, runs: Vec::new(), trouble: Trouble::default() }
    }

    /// Those that a checkpoint names.
    ///
    /// # Errors
    /// `corrupt` when one is not there, or is not what was written.
    pub fn open(place: Place, names: &[RunName]) -> Result<Self> {
        let trouble = Trouble::default();
        let open = |name: &RunName| Run::open(&place, *name, &trouble).map(Arc::new);
        let runs = names.iter().map(open).collect::<Result<_>>()?;
        Ok(Self { place, runs, trouble })
    }

    /// Those of them that can be opened, apart from others that lie in the same files: what cannot be read of these is no trouble of those.
    #[must_use]
    pub(super) fn open_some(place: Place, names: &[RunName]) -> Self {
        let trouble = Trouble::default();
        let runs = names.iter().filter_map(|name| Run::open(&place, *name, &trouble).ok().map(Arc::new)).collect();
        Self { place, runs, trouble }
    }

    /// In the place of those that could not be opened: they say nothing, and that.
    #[must_use]
    pub(super) fn lost(place: Place, why: &Error) -> Self {
        let runs = Self::none(place);
        // Nobody else has it.
        let _ = runs.trouble.set(why.to_string());
        runs
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What a checkpoint calls them.
    #[must_use]
    pub fn names(&self) -> Vec<RunName> {
        self.runs.iter().map(|run| run.name()).collect()
    }

    /// How many bytes each has, the oldest first.
    #[must_use]
    pub fn sizes(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.name().bytes).collect()
    }

    /// Why what they say cannot be believed, if it cannot: something was not read.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    /// A row, if it exists.
    pub(super) fn get(&self, key: &RowKey) -> Option<Arc<Row>> {
        // What the newest run says of it counts.
        self.runs.iter().rev().find_map(|run| run.get(key)).filter(|row| !row.is_empty())
    }

    /// The rows that exist, from a key on.
    pub(super) fn scan(&self, from: &RowKey) -> Merged {
        Merged::new(self.runs.iter().map(|run| run.scan(from)).collect(), true)
    }

    /// Which of them are to be merged into one, if some are.
    #[must_use]
    pub fn due(&self) -> Option<Range<usize>> {
        let end = self.runs.len();
        let (mut from, mut bytes) = (end, 0);
        for (at, run) in self.runs.iter().enumerate().rev() {
            let is = run.name().bytes;
            if from < end && is > GROWTH * bytes {
                break;
            }
            (from, bytes) = (at, bytes + is);
        }
        (end - from > 1).then_some(from..end)
    }

    /// Writes one run that says what some of these say.
    ///
    /// # Errors
    /// The disk's; what one of them could not be read with.
    pub fn merge(&self, id: u64, of: &Range<usize>) -> Result<Arc<Run>> {
        let start = RowKey::first();
        let runs = self.runs.get(of.clone()).unwrap_or_default();
        // What the oldest hides nothing of need not be said to be gone.
        let rows = Merged::new(runs.iter().map(|run| run.scan(&start)).collect(), of.start == 0);
        self.write(id, rows)
    }

    /// Writes a run of these rows, which come by key; one without siblings is gone. It is durable then, and nothing names it.
    ///
    /// # Errors
    /// The disk's, and what rows could not be read with.
    pub fn write(&self, id: u64, rows: impl Iterator<Item = (RowKey, Arc<Row>)>) -> Result<Arc<Run>> {
        let name = write::write(&self.place, id, rows)?;
        let run = Run::open(&self.place, name, &self.trouble);
        match (self.trouble(), run) {
            (None, run) => run.map(Arc::new),
            (Some(why), run) => {
                run.iter().for_each(Run::retire);
                Err(Error::Local { kind: Kind::Corrupt, message: why.to_owned() })
            }
        }
    }

    /// These and a newer one.
    #[must_use]
    pub fn with(&self, run: Arc<Run>) -> Self {
        let mut more = self.clone();
        more.runs.push(run);
        more
    }

    /// These with one in the place of some that it was merged of. `None` when they are not all there, next to each other.
    #[must_use]
    pub fn with_merged(&self, of: &[RunName], run: &Arc<Run>) -> Option<Self> {
        let at =
            self.runs.windows(of.len()).position(|runs| runs.iter().map(|run| run.name()).eq(of.iter().copied()))?;
        let mut less = self.clone();
        less.runs.splice(at..at + of.len(), [run.clone()]);
        Some(less)
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter()
    }

    /// Some of them.
    pub(super) fn some(&self, of: &Range<usize>) -> Vec<Arc<Run>> {
        self.runs.get(of.clone()).unwrap_or_default().to_vec()
    }
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Runs {}

/// What has to hold of any bytes that lie where a block or an index should be.
#[cfg(any(test, fuzzing))]
pub(super) fn any_bytes(bytes: &bytes::Bytes) {
    if let Ok(rows) = file::read_block(bytes.clone()) {
        assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{rows:?}");
    }
    for end in [0, bytes.len() as u64] {
        if let Ok(slots) = file::read_index(bytes.clone(), end) {
            assert_eq!(slots.iter().map(|slot| u64::from(slot.len)).sum::<u64>(), end);
        }
    }
}

#[cfg(test)]
mod tests;
