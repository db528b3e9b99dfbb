//! Telling the desk which rows change: what hubs have given a number, and what this replica has written and no hub has taken in yet.
//!
//! Owns: a cursor, in memory. After a crash: the desk looks at all rows when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use syncline_base::Clock as _;
use syncline_sync::live::{Node, Origin};

use super::paths_of;
use super::worker::News;
use crate::Result;
use crate::live::Engine;
use crate::live::engine::Cursor;

/// Transactions that are taken in one go.
const BATCH: usize = 256;
/// How long is waited for news before it is asked whether to stop, and after a fault.
const PATIENCE: Duration = Duration::from_millis(300);

/// Follows rows from a moment on.
pub(super) struct Following {
    engine: Engine,
    cursor: Cursor,
    /// The last of this replica's own transactions that no hub has taken in, by the name that it wrote under, as they were told.
    own: BTreeMap<Origin, u64>,
    /// What the engine said of rows of files when they were looked at last.
    looked: u64,
    /// The scope that was held, by its bytes.
    scope: Option<Bytes>,
}

impl Following {
    /// From now on.
    ///
    /// # Errors
    /// The log's.
    pub(super) fn from_now(engine: &Engine) -> Result<Self> {
        let (coverage, own) = engine.read(|node| (node.state().coverage().clone(), waiting(node)))?;
        Ok(Self { engine: engine.clone(), cursor: Cursor::new(coverage), own, looked: 0, scope: None })
    }

    /// Tells what changes, until it is to stop.
    pub(super) fn run(mut self, news: &Sender<News>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match self.next() {
                Ok(all) => {
                    if all.into_iter().any(|what| news.send(what).is_err()) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "rows cannot be followed just now");
                    syncline_base::SystemClock.sleep(PATIENCE);
                }
            }
        }
    }

    /// What has changed since it was asked last; waits a little until something has.
    fn next(&mut self) -> Result<Vec<News>> {
        let mut news = Vec::new();
        self.looked = self.engine.wait_for_files(self.looked, PATIENCE)?;
        let now = self.engine.read(|node| node.scope().clone())?;
        let is_all = now.is_empty();
        if self.scope.replace(now.clone()).is_some_and(|before| before != now) {
            news.push(News::Part);
        }
        let mut paths = self.own()?;
        match self.engine.entries_after(&mut self.cursor, BATCH, Duration::ZERO)? {
            Some(entries) => {
                if entries.len() == BATCH {
                    self.looked = 0;
                }
                let of_entries = entries.iter().flat_map(|entry| paths_of(&entry.txn.body().writes));
                paths.extend(of_entries.map(ToOwned::to_owned));
                // Of what is outside of a scope it is only told that there was something: what waited for it may go now.
                if !paths.is_empty() || !(entries.is_empty() || is_all) {
                    news.push(News::Rows(paths.into_iter().collect()));
                }
            }
            None => {
                self.cursor = Cursor::new(self.engine.read(|node| node.state().coverage().clone())?);
                news.push(News::AllRows);
            }
        }
        Ok(news)
    }

    /// Paths of what was written here, by whomever, since this was asked last.
    fn own(&mut self) -> Result<BTreeSet<String>> {
        let before = &self.own;
        let (paths, now) = self.engine.read(|node| {
            let now = waiting(node);
            if now == *before {
                return (BTreeSet::new(), now);
            }
            let dots = node.state().pending().map(|txn| (txn.dot(), txn));
            let new = dots.filter(|(dot, _)| before.get(&dot.origin).is_none_or(|told| dot.seq > *told));
            let paths = new.flat_map(|(_, txn)| paths_of(&txn.body().writes)).map(ToOwned::to_owned).collect();
            (paths, now)
        })?;
        self.own = now;
        Ok(paths)
    }
}

/// The last transaction of each name that no hub has taken in.
fn waiting(node: &Node) -> BTreeMap<Origin, u64> {
    node.context().own.iter().map(|dot| (dot.origin, dot.seq)).collect()
}
