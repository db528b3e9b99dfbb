//! What a row's value says beside its cells, so that siblings can be merged: who wrote which column, and what was added to counters.
//!
//! A value knows its own transaction by no name: that is given to it when it is committed, and may change when it has to be written
//! again. So *own* stands for whichever transaction the value is of. A value without marks is own in all of its columns.
//! Format: `docs/format/live-row.md`. Owns nothing.
//!
//! Invariants: equal marks are equal bytes; no bytes make the reader panic or take memory that they do not have.
//!
//! Not here: what marks mean for readers (`super::resolve`), who makes them (`super::rows`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Origin, Stamp, Tag};

use super::cells::{CellId, Fault, put_len, read_len};

/// So many origins are remembered in [`Marks::history`], the newest first.
pub const MAX_HISTORY: usize = 64;

/// A transaction that wrote a column before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its time, as far as hubs believed it then.
    pub time: Hlc,
    /// Where a hub has taken it in, if that was known.
    pub stamp: Option<Stamp>,
    /// Whether the writer of the value had read it. Else it is carried along only so that the row is whole.
    pub read: bool,
}

/// Whose a column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// One transaction's, `None` for the value's own: its cell is among the cells, or null.
    One(Option<Dot>),
    /// Several, none of whose writers had read the other, and nobody has decided; with what each wrote. Ascending.
    Several(Vec<(Option<Dot>, Option<Bytes>)>),
}

/// What had been read of an origin: this transaction and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whose.
    pub origin: Origin,
    /// Up to which.
    pub seq: u64,
    /// Where a hub has taken that one in, if that was known.
    pub stamp: Option<Stamp>,
}

/// A number that several add to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// What the value's own transaction added, as the text of a cell.
    pub own: Bytes,
    /// What each origin had added, in all up to one of its transactions.
    pub others: BTreeMap<Origin, (u64, Bytes)>,
}

/// The marks of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Transactions that columns are of, other than its own.
    pub writers: BTreeMap<Dot, Past>,
    /// Whose the columns are that have a cell and are not in [`Self::columns`].
    pub rest: Option<Dot>,
    /// Whose the other columns are.
    pub columns: BTreeMap<CellId, Mark>,
    /// What had been read of this row beside its writers, the newest first; each origin once.
    pub history: Vec<Known>,
    /// Counters.
    pub counters: BTreeMap<CellId, Counter>,
}

impl Marks {
    /// Whether a value is all its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the writer of the value had read a transaction that wrote its row. Its own is not asked for.
    #[must_use]
    pub fn knows(&self, dot: &Dot) -> bool {
        let before = |origin: Origin, seq: u64| origin == dot.origin && dot.seq <= seq;
        self.history.iter().any(|known| before(known.origin, known.seq))
            || self.writers.iter().any(|(writer, past)| past.read && before(writer.origin, writer.seq))
    }

    /// Its bytes.
    ///
    /// # Panics
    /// When a column is of a transaction that is not among the writers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer { out: Vec::new(), names: self.names(), place: self.writers.keys().zip(1..).collect() };
        out.uint(out.names.len() as u64);
        out.out.extend(out.names.iter().flat_map(Origin::as_bytes));
        out.uint(self.writers.len() as u64);
        for (dot, past) in &self.writers {
            out.name(&dot.origin);
            out.uint(dot.seq);
            out.out.extend_from_slice(&dot.tag.as_u64().to_le_bytes());
            out.out.extend_from_slice(&past.time.as_u64().to_le_bytes());
            out.out.push(u8::from(past.read) | u8::from(past.stamp.is_some()) << 1);
            out.stamp(past.stamp.as_ref());
        }
        out.writer(self.rest.as_ref());
        out.uint(self.columns.len() as u64);
        for (cell, mark) in &self.columns {
            out.out.extend_from_slice(&cell.as_u32().to_le_bytes());
            out.mark(mark);
        }
        out.uint(self.history.len() as u64);
        for known in &self.history {
            out.name(&known.origin);
            out.uint(known.seq);
            out.out.push(u8::from(known.stamp.is_some()));
            out.stamp(known.stamp.as_ref());
        }
        out.uint(self.counters.len() as u64);
        for (cell, Counter { own, others }) in &self.counters {
            out.out.extend_from_slice(&cell.as_u32().to_le_bytes());
            out.text(own);
            out.uint(others.len() as u64);
            for (origin, (seq, sum)) in others {
                out.name(origin);
                out.uint(*seq);
                out.text(sum);
            }
        }
        out.out
    }

    /// All origins and hubs that are named.
    fn names(&self) -> Vec<Origin> {
        let mut names = BTreeSet::new();
        for (dot, past) in &self.writers {
            names.insert(dot.origin);
            names.extend(past.stamp.map(|stamp| stamp.hub));
        }
        for known in &self.history {
            names.insert(known.origin);
            names.extend(known.stamp.map(|stamp| stamp.hub));
        }
        names.extend(self.counters.values().flat_map(|counter| counter.others.keys()));
        names.into_iter().collect()
    }

    /// Reads marks.
    ///
    /// # Errors
    /// When the bytes are not the one form of some.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let marks = Reader { rest: bytes, names: Vec::new(), writers: Vec::new() }.marks()?;
        if marks.encode() != bytes {
            return Err(Fault::Damaged("its marks are not in their one form"));
        }
        Ok(marks)
    }
}

struct Writer<'a> {
    out: Vec<u8>,
    names: Vec<Origin>,
    /// Writers by their number, from 1.
    place: BTreeMap<&'a Dot, u64>,
}

impl Writer<'_> {
    fn uint(&mut self, value: u64) {
        put_len(&mut self.out, value);
    }

    fn name(&mut self, origin: &Origin) {
        let at = self.names.binary_search(origin).expect("all names were gathered");
        self.uint(at as u64);
    }

    fn stamp(&mut self, stamp: Option<&Stamp>) {
        if let Some(stamp) = stamp {
            self.name(&stamp.hub);
            self.uint(stamp.n);
        }
    }

    fn writer(&mut self, dot: Option<&Dot>) {
        let at = dot.map_or(0, |dot| *self.place.get(dot).expect("a column is of one of the writers"));
        self.uint(at);
    }

    fn text(&mut self, text: &[u8]) {
        self.uint(text.len() as u64);
        self.out.extend_from_slice(text);
    }

    fn mark(&mut self, mark: &Mark) {
        match mark {
            Mark::One(dot) => {
                self.uint(1);
                self.writer(dot.as_ref());
            }
            Mark::Several(all) => {
                self.uint(all.len() as u64);
                for (dot, text) in all {
                    self.writer(dot.as_ref());
                    self.text(text.as_deref().unwrap_or_default());
                }
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    names: Vec<Origin>,
    writers: Vec<Dot>,
}

impl Reader<'_> {
    fn marks(mut self) -> Result<Marks, Fault> {
        let mut marks = Marks::default();
        for _ in 0..self.uint()? {
            let name = Origin::from_bytes(self.array()?);
            self.names.push(name);
        }
        for _ in 0..self.uint()? {
            let (origin, seq) = (self.name()?, self.uint()?);
            let dot = Dot { origin, seq, tag: Tag::from_u64(u64::from_le_bytes(self.array()?)) };
            let time = Hlc::from_u64(u64::from_le_bytes(self.array()?));
            let [flags] = self.array()?;
            let stamp = if flags & 2 == 0 { None } else { Some(self.stamp()?) };
            marks.writers.insert(dot, Past { time, stamp, read: flags & 1 != 0 });
            self.writers.push(dot);
        }
        marks.rest = self.writer()?;
        for _ in 0..self.uint()? {
            let cell = CellId::from_u32(u32::from_le_bytes(self.array()?));
            let mark = self.mark()?;
            marks.columns.insert(cell, mark);
        }
        for _ in 0..self.uint()? {
            let (origin, seq, [flag]) = (self.name()?, self.uint()?, self.array()?);
            let stamp = if flag == 0 { None } else { Some(self.stamp()?) };
            marks.history.push(Known { origin, seq, stamp });
        }
        let origins: BTreeSet<Origin> = marks.history.iter().map(|known| known.origin).collect();
        if origins.len() < marks.history.len() {
            return Err(Fault::Damaged("its history names an origin twice"));
        }
        for _ in 0..self.uint()? {
            let cell = CellId::from_u32(u32::from_le_bytes(self.array()?));
            let (own, mut others) = (self.text()?, BTreeMap::new());
            for _ in 0..self.uint()? {
                let (origin, seq) = (self.name()?, self.uint()?);
                others.insert(origin, (seq, self.text()?));
            }
            marks.counters.insert(cell, Counter { own, others });
        }
        Ok(marks)
    }

    fn mark(&mut self) -> Result<Mark, Fault> {
        let count = self.uint()?;
        if count == 1 {
            return Ok(Mark::One(self.writer()?));
        }
        let mut all = Vec::new();
        for _ in 0..count {
            let (dot, text) = (self.writer()?, self.text()?);
            all.push((dot, Some(text).filter(|text| !text.is_empty())));
        }
        if count == 0 || !all.is_sorted_by(|a, b| a < b) {
            return Err(Fault::Damaged("the writers of a column are out of order"));
        }
        Ok(Mark::Several(all))
    }

    fn uint(&mut self) -> Result<u64, Fault> {
        let (value, rest) = read_len(self.rest)?;
        self.rest = rest;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Damaged("its marks end early"))?;
        self.rest = rest;
        Ok(*array)
    }

    fn text(&mut self) -> Result<Bytes, Fault> {
        let len = usize::try_from(self.uint()?).unwrap_or(usize::MAX);
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Fault::Damaged("its marks end early"))?;
        self.rest = rest;
        Ok(Bytes::copy_from_slice(text))
    }

    fn name(&mut self) -> Result<Origin, Fault> {
        let at = usize::try_from(self.uint()?).unwrap_or(usize::MAX);
        self.names.get(at).copied().ok_or(Fault::Damaged("its marks name an origin that they do not have"))
    }

    fn stamp(&mut self) -> Result<Stamp, Fault> {
        Ok(Stamp { hub: self.name()?, n: self.uint()? })
    }

    fn writer(&mut self) -> Result<Option<Dot>, Fault> {
        let Some(at) = usize::try_from(self.uint()?).unwrap_or(usize::MAX).checked_sub(1) else { return Ok(None) };
        let writer = self.writers.get(at).copied();
        writer.map(Some).ok_or(Fault::Damaged("a column is of a writer that its marks do not have"))
    }
}

#[cfg(test)]
mod tests;
