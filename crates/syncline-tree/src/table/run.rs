//! Putting changed leaves together, in order: where an edit moved a boundary, the rows that follow are cut anew until a
//! boundary falls on an old one.
//!
//! Owns: the stretch being cut anew. Memory: some leaves.

use bytes::Bytes;
use syncline_base::{Hash, task};

use super::apply::{Done, Touch};
use super::build::{Cutter, Slice, Stored};
use super::change::{Applied, Op, Rows};
use super::cursor::{Cursor, Place};
use super::edit::{Outcome, keep, keys_of, merge, rows_of};
use super::levels::Splice;
use super::{Shared, Table};
use crate::Result;
use crate::key::Keys;
use crate::leaf::{self, Leaf};
use crate::node::Entry;
use crate::patch::Edited;

/// A new leaf is looked for in so many old ones.
const BASES: usize = 3;
/// So many leaves are encoded side by side.
const TOGETHER: usize = 16;

/// Collects what became of the leaves of a table.
#[derive(Debug)]
pub(crate) struct Assembler<'a> {
    shared: &'a Shared,
    cursor: Cursor<'a>,
    rows: u64,
    run: Option<Run>,
    /// A leaf whose changes come in parts.
    parted: Option<Parted>,
    pub(crate) splices: Vec<Splice>,
    pub(crate) applied: Applied,
}

#[derive(Debug)]
struct Run {
    start: u64,
    end: u64,
    cutter: Cutter,
    slices: Vec<Slice>,
    entries: Vec<Entry>,
    /// The last old leaves, newest first.
    bases: Vec<(Hash, Leaf)>,
}

#[derive(Debug)]
struct Parted {
    leaf: Leaf,
    keys: Keys,
    /// Rows before this one are done.
    at: usize,
}

impl<'a> Assembler<'a> {
    pub(crate) fn new(table: &'a Table) -> Result<Self> {
        let shared = &*table.shared;
        Ok(Self {
            shared,
            cursor: Cursor::new(shared, &table.root, table.height, 0)?,
            rows: table.rows,
            run: None,
            parted: None,
            splices: Vec::new(),
            applied: Applied::default(),
        })
    }

    /// Takes the next leaf that changes were for.
    pub(crate) fn take(&mut self, done: Done) -> Result<()> {
        while let Some(run) = &self.run
            && run.end < done.touch.place.start
        {
            self.feed_old(run.end)?;
        }
        let Done { touch, changed } = done;
        let Some(changed) = changed else { return self.take_part(&touch) };
        self.applied.add(&changed.applied);
        let adjoins = self.run.is_some();
        match changed.outcome {
            Outcome::Same if !adjoins => Ok(()),
            Outcome::Leaves(stored) if !adjoins => {
                let entries = self.put(stored)?;
                self.splices.push(Splice { rows: touch.place.start..touch.place.end(), entries });
                Ok(())
            }
            _ => {
                let kept = match changed.kept {
                    Some(kept) => kept,
                    None => keep(self.shared, &touch.place, &touch.segments)?,
                };
                self.begin(&touch.place);
                self.remember(touch.place.id, kept.base);
                if let Some(merged) = kept.merged {
                    self.feed_leaf(&Leaf::parse(merged)?)?;
                }
                self.end_of(&touch.place)
            }
        }
    }

    /// Whatever is open ends where it must.
    pub(crate) fn finish(&mut self) -> Result<()> {
        while let Some(run) = &self.run {
            self.feed_old(run.end)?;
        }
        Ok(())
    }

    /// Takes the untouched leaf that starts at row `start` into the run.
    fn feed_old(&mut self, start: u64) -> Result<()> {
        self.cursor.seek_row(start)?;
        let place = self.cursor.place(self.rows);
        let leaf = self.shared.leaf(&place.id, place.rows)?;
        self.remember(place.id, leaf.clone());
        self.feed_leaf(&leaf)?;
        self.end_of(&place)
    }

    fn begin(&mut self, place: &Place) {
        self.run.get_or_insert_with(|| Run {
            start: place.start,
            end: place.start,
            cutter: Cutter::default(),
            slices: Vec::new(),
            entries: Vec::new(),
            bases: Vec::new(),
        });
    }

    fn remember(&mut self, id: Hash, leaf: Leaf) {
        if let Some(run) = &mut self.run {
            run.bases.truncate(BASES - 1);
            run.bases.insert(0, (id, leaf));
        }
    }

    fn feed_leaf(&mut self, leaf: &Leaf) -> Result<()> {
        self.feed(&rows_of(self.shared, leaf)?, &keys_of(self.shared, leaf)?)
    }

    fn feed(&mut self, rows: &Rows, keys: &Keys) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let Run { cutter, slices, bases, .. } = run;
        cutter.push(&self.shared.leaf_rule, rows, keys, |slice| {
            slices.push(slice.with_bases(bases.clone()));
        });
        if slices.len() >= TOGETHER { self.encode() } else { Ok(()) }
    }

    /// The run has taken all of an old leaf: it ends here when its last row ends a leaf.
    fn end_of(&mut self, place: &Place) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        run.end = place.end();
        if place.is_last {
            run.slices.extend(run.cutter.finish().map(|slice| slice.with_bases(run.bases.clone())));
        }
        if run.cutter.is_aligned() {
            self.encode()?;
            if let Some(run) = self.run.take() {
                self.splices.push(Splice { rows: run.start..run.end, entries: run.entries });
            }
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let slices = std::mem::take(&mut run.slices);
        let stored = task::try_map(slices, |slice| slice.encode(self.shared))?;
        let entries = self.put(stored)?;
        if let Some(run) = &mut self.run {
            run.entries.extend(entries);
        }
        Ok(())
    }

    fn put(&self, stored: Vec<Stored>) -> Result<Vec<Entry>> {
        let put = |stored: Stored| {
            self.shared.store.put_encoded(stored.object)?;
            Ok(stored.entry)
        };
        stored.into_iter().map(put).collect()
    }

    /// Takes a part of the changes for one leaf, with the leaf's rows up to the part's last key.
    fn take_part(&mut self, touch: &Touch) -> Result<()> {
        let place = &touch.place;
        if touch.first {
            let leaf = self.shared.leaf(&place.id, place.rows)?;
            self.begin(place);
            self.remember(place.id, leaf.clone());
            self.parted = Some(Parted { keys: keys_of(self.shared, &leaf)?, leaf, at: 0 });
        }
        let Some(mut parted) = self.parted.take() else { return Ok(()) };
        let to = match touch.segments.last() {
            Some((batch, range)) if !touch.last => {
                let last = batch.keys.get(range.end - 1);
                let at = super::edit::lower_bound(&parted.keys, parted.at, last);
                at + usize::from(at < parted.keys.len() && parted.keys.get(at) == last)
            }
            _ => parted.leaf.rows(),
        };
        let rows = rows_of(self.shared, &parted.leaf)?.slice(parted.at, to - parted.at);
        parted.at = to;
        self.merge_part(&rows, touch)?;
        if touch.last {
            return self.end_of(place);
        }
        self.parted = Some(parted);
        Ok(())
    }

    fn merge_part(&mut self, rows: &Rows, touch: &Touch) -> Result<()> {
        if touch.segments.is_empty() {
            return self.feed(rows, &self.shared.encoder.encode(&rows.batch)?);
        }
        let only_new = |op: &Op| matches!(op, Op::Upsert | Op::Insert | Op::Merge(_));
        if rows.batch.num_rows() == 0 && touch.segments.iter().all(|(batch, _)| batch.ops.iter().all(only_new)) {
            // Nothing to merge with, as when rows are appended.
            for (batch, range) in &touch.segments {
                self.applied.inserted += range.len() as u64;
                let keys = range.clone().map(|i| batch.keys.get(i)).collect();
                self.feed(&batch.rows.slice(range.start, range.len()), &keys)?;
            }
            return Ok(());
        }
        let bytes: Bytes = leaf::encode(&self.shared.schema, &rows.batch, &rows.externals)?;
        let base = Leaf::parse(bytes)?;
        let (edited, applied) = merge(self.shared, &base, &touch.segments)?;
        self.applied.add(&applied);
        match edited {
            Edited::Empty => Ok(()),
            Edited::Unchanged => self.feed_leaf(&base),
            Edited::Changed { leaf, .. } => self.feed_leaf(&Leaf::parse(leaf)?),
        }
    }
}
