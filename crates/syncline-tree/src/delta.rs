//! Row deltas: what changed between two versions of a table, for a peer that has the first one.
//!
//! A delta is a sequence of frames, each self-contained: keys, operations and changed cells as columns, compressed.
//! Format: `docs/format/delta.md`. The receiver rebuilds the table and compares roots: history independence makes that exact.
//! Owns nothing. Not here: content of long cells (the frames have references; fetch what is missing by address).

mod frame;

use bytes::Bytes;
use syncline_base::task;

pub use frame::{decode_frame, encode_frame};

use crate::diff;
use crate::table::stream::{Stream, stream};
use crate::table::{Applied, Changes, Rows, Table, concat};
use crate::{Error, Result};

/// The longest frame a receiver accepts, in bytes on the wire.
pub const MAX_FRAME: usize = 8 << 20;
/// The most memory that a frame may ask for, as `docs/format/delta.md` counts it.
pub const MAX_WEIGHT: usize = 64 << 20;
/// Frames are closed at about so many bytes of rows.
const FRAME: usize = 256 << 10;

/// The frames that make `new` out of `base`, which may be an empty table. When the schema has changed, the receiver first brings
/// its base under the new one with [`Table::with_schema`].
///
/// # Errors
/// `invalid` when the tables have different keys; the store's.
pub fn encode(base: &Table, new: &Table) -> Result<Stream<Bytes>> {
    let (changes, new) = (diff::changes(base, new)?, new.clone());
    stream("delta", 4, Bytes::len, move |sink| {
        let work = |changes: Changes| encode_frame(new.schema(), &changes);
        task::pipeline(Portions::new(changes), 2 * task::width(), work, sink)
    })
}

/// Applies frames in order. The caller compares the new table's ref with what the sender said.
///
/// # Errors
/// `corrupt` when a frame cannot be read; those of `frames`; as [`Table::apply`].
pub fn apply(base: &Table, frames: impl IntoIterator<Item = Result<Bytes>>) -> Result<(Table, Applied)> {
    let changes = frames.into_iter().map(|frame| decode_frame(base.schema(), &frame?));
    base.apply(changes).map_err(|error| match error {
        // The sender made the changes from what it says we have.
        Error::Conflict(why) | Error::Invalid(why) => {
            Error::Conflict(format!("applying a delta: it is not for this version of the table: {why}"))
        }
        other => other,
    })
}

/// Brings changes into portions of about [`FRAME`] bytes.
struct Portions<I> {
    changes: I,
    /// Taken from `changes`, with the number of rows done.
    current: Option<(Changes, usize)>,
    pending: Vec<Changes>,
    bytes: usize,
}

impl<I: Iterator<Item = Result<Changes>>> Portions<I> {
    fn new(changes: I) -> Self {
        Self { changes, current: None, pending: Vec::new(), bytes: 0 }
    }

    fn portion(&mut self) -> Result<Option<Changes>> {
        while self.bytes < FRAME {
            let (changes, at) = match self.current.take() {
                Some(current) => current,
                None => match self.changes.next().transpose()? {
                    Some(changes) => (changes, 0),
                    None => break,
                },
            };
            let rows = changes.ops.len();
            let each = changes.rows.get_array_memory_size() / rows.max(1) + 1;
            let take = ((FRAME - self.bytes) / each + 1).min(rows - at);
            self.bytes += take * each;
            self.pending.push(part(&changes, at, take));
            if at + take < rows {
                self.current = Some((changes, at + take));
            }
        }
        self.bytes = 0;
        joined(std::mem::take(&mut self.pending)).transpose()
    }
}

impl<I: Iterator<Item = Result<Changes>>> Iterator for Portions<I> {
    type Item = Result<Changes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.portion().transpose()
    }
}

fn part(changes: &Changes, from: usize, count: usize) -> Changes {
    let rows = Rows { batch: changes.rows.clone(), externals: changes.externals.clone() }.slice(from, count);
    Changes { rows: rows.batch, ops: changes.ops[from..from + count].to_vec(), externals: rows.externals }
}

fn joined(mut parts: Vec<Changes>) -> Option<Result<Changes>> {
    if parts.len() < 2 {
        return parts.pop().map(Ok);
    }
    let ops = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.ops)).collect();
    let rows: Vec<_> = parts.into_iter().map(|part| Rows { batch: part.rows, externals: part.externals }).collect();
    Some(concat(&rows).map(|rows| Changes { rows: rows.batch, ops, externals: rows.externals }))
}

#[cfg(test)]
mod tests;
