//! Row deltas: what changed between two versions of a table, for a peer that has the first one.
//!
//! A delta is a sequence of frames, each self-contained: keys, operations and changed cells as columns, compressed.
//! Format: `docs/format/delta.md`. The receiver rebuilds the table and compares roots: history independence makes that exact.
//! Owns nothing. Not here: content of long cells (the frames have references; fetch what is missing by address).
#![allow(clippy::unimplemented, unused_variables, reason = "signatures first")]

use bytes::Bytes;

use crate::Result;
use crate::schema::Schema;
use crate::table::{Applied, Changes, Table};

/// The longest frame a receiver accepts, in bytes on the wire.
pub const MAX_FRAME: usize = 8 << 20;

/// The frames that make `new` out of `base`. `base` may be an empty table. Both have one schema; ship the schema first and use
/// [`Table::with_schema`] on the base when it changed.
pub fn encode(base: &Table, new: &Table) -> Result<Box<dyn Iterator<Item = Result<Bytes>> + Send>> {
    unimplemented!()
}

/// The frame for some changes.
pub fn encode_frame(schema: &Schema, changes: &Changes) -> Result<Bytes> {
    unimplemented!()
}

/// The changes in a frame. Never panics and never allocates much more than the frame says and may say.
pub fn decode_frame(schema: &Schema, frame: &Bytes) -> Result<Changes> {
    unimplemented!()
}

/// Applies frames in order. The caller compares the new table's ref with what the sender said.
pub fn apply(base: &Table, frames: impl IntoIterator<Item = Result<Bytes>>) -> Result<(Table, Applied)> {
    let _ = frames.into_iter();
    unimplemented!()
}
