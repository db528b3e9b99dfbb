//! A tree as its row delta against the version that the receiver has.

use std::collections::VecDeque;

use syncline_base::Kind;
use syncline_tree::content::ContentRef;
use syncline_tree::key::KeyEncoder;
use syncline_tree::leaf::External;
use syncline_tree::walk::ObjectKind;
use syncline_tree::{Changes, Table, TableRef, TreeName, delta, diff};

use super::{Sender, Task};
use crate::error::Result;
use crate::graph;
use crate::session::{DELTA_BYTES, frame_cost};

/// A longer delta is not worth it: the receiver is faster with the nodes themselves.
pub(super) const DELTA_MAX: usize = if cfg!(test) { 24 << 10 } else { 24 << 20 };
/// The deltas of one commit are not longer together: both sides hold them, and a receiver refuses more than
/// [`DELTA_BYTES`].
pub(super) const DELTAS_MAX: usize = 2 * DELTA_MAX;
const _: () = assert!(DELTAS_MAX < DELTA_BYTES, "what is sent has to be taken");
/// New content up to this size is sent without asking whether the receiver has it under another name.
const UNASKED_MAX: u64 = 256 << 10;
/// The most chunks of an old file that are remembered as known to the receiver.
const KNOWN_CONTENT_MAX: u64 = 256 << 30;

impl Sender {
    /// Plans to send `new` as a delta on `old`, of at most `room` bytes, and takes those from it. False when objects are
    /// the better way.
    pub(super) fn plan_delta(
        &mut self,
        name: &TreeName,
        (old, new): (&TableRef, &TableRef),
        room: &mut usize,
        tasks: &mut Vec<Task>,
    ) -> Result<bool> {
        match self.try_delta(name, (old, new), room, tasks) {
            // The old version may have been given up here, or a frame have become too large.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt | Kind::Invalid) => Ok(false),
            planned => planned,
        }
    }

    fn try_delta(
        &mut self,
        name: &TreeName,
        (old, new): (&TableRef, &TableRef),
        room: &mut usize,
        tasks: &mut Vec<Task>,
    ) -> Result<bool> {
        if old.rows == 0 || new.rows == 0 {
            return Ok(false);
        }
        let new_table = Table::open(&self.store, new)?;
        let mut base = Table::open(&self.store, old)?;
        if old.schema != new.schema {
            base = match base.with_schema(new_table.schema().clone()) {
                Ok(base) => base,
                // A schema that does not follow from the old one: the receiver could not follow either.
                Err(_) => return Ok(false),
            };
        }
        let mut frames = VecDeque::new();
        let mut bytes = 0;
        let mut long = Vec::new();
        for changes in diff::changes(&base, &new_table)? {
            let changes = changes?;
            let left_out = self.outline && *name == TreeName::Files;
            if !changes.externals.is_empty() && !left_out {
                self.long_cells(&base, &changes, &mut long)?;
            }
            let frame = delta::encode_frame(new_table.schema(), &changes)?;
            bytes += frame_cost(&frame);
            if bytes > DELTA_MAX.min(*room) {
                return Ok(false);
            }
            frames.push_back(frame);
        }
        if old.schema != new.schema {
            tasks.push(Task::Ask { items: vec![(new.schema, ObjectKind::Schema)], ask: false });
        }
        tasks.append(&mut long);
        self.deltas += 1;
        *room -= bytes;
        tasks.push(Task::Delta { tree: graph::tree_to_text(name), frames });
        Ok(true)
    }

    /// Plans to send the content of long cells in `changes` that the receiver lacks.
    fn long_cells(&mut self, base: &Table, changes: &Changes, tasks: &mut Vec<Task>) -> Result<()> {
        let keys = KeyEncoder::new(base.schema())?.encode(&changes.rows)?;
        let (mut send, mut ask) = (Vec::new(), Vec::new());
        for cell in changes.externals.iter().filter(|cell| cell.content.len > 0) {
            let item = (cell.content.root, ObjectKind::Content { height: cell.content.height });
            let old = old_content(base, keys.get(cell.row as usize), cell)?;
            // In a partial replica a content may be elsewhere: then the receiver had better have it.
            let here = self.part.is_none() || self.store.contains(&cell.content.root)?;
            match old.filter(|_| here) {
                // Most of it is in the version that the receiver has: what is not, it lacks.
                Some(old) if old.len <= KNOWN_CONTENT_MAX => {
                    self.note_content(&old)?;
                    send.push(item);
                }
                _ if here && cell.content.len <= UNASKED_MAX => send.push(item),
                _ => ask.push(item),
            }
        }
        if !send.is_empty() {
            tasks.push(Task::Ask { items: send, ask: false });
        }
        if !ask.is_empty() {
            tasks.push(Task::Ask { items: ask, ask: true });
        }
        Ok(())
    }

    /// The receiver has everything in this content.
    fn note_content(&mut self, content: &ContentRef) -> Result<()> {
        let mut stack = vec![(content.root, ObjectKind::Content { height: content.height })];
        while let Some((id, kind)) = stack.pop() {
            if self.part.is_some() && !self.store.contains(&id)? {
                continue;
            }
            if self.sent.insert(id, kind) && !graph::is_end(kind) {
                stack.extend(graph::children(kind, &self.store.get(&id)?)?);
            }
        }
        Ok(())
    }
}

/// What the same cell held in the version that the receiver has.
fn old_content(base: &Table, key: &[u8], cell: &External) -> Result<Option<ContentRef>> {
    let Some(row) = base.get_rows(key)? else { return Ok(None) };
    Ok(row.externals.iter().find(|old| old.column == cell.column).map(|old| old.content).filter(|old| old.len > 0))
}
