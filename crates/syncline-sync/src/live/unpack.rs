//! Reads the short form of entries, transactions and rows in lists: the other end of `pack`.
//!
//! Trusts nothing: what is made of a list has a bound of its own, because little can be told of it and much be made of that; what could
//! have been told in another way is refused.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use syncline_base::Hlc;

use super::context::{Context, Coverage, MAX_HUBS, MAX_OWN};
use super::id::{Dot, MAX_COUNT, Origin, Stamp, Tag, read_nth};
use super::pack::{CHAINED, DEPS, ENTRY, FOLLOWS, ONE, Past, READ, SAME, TIMELY, unzigzag};
use super::row::{MAX_SIBLINGS, Row, Sibling};
use super::shape::read_key;
use super::txn::{Body, Entry, MAX_TXN_BYTES, MAX_WRITES, RowKey, Txn, Write, put_head, too_long};
use crate::error::{Error, Result};
use crate::wire::fields::{put_bytes, put_text, put_uint};
use crate::wire::reader::Reader;

/// About as much as a transaction takes in memory beside its bytes.
const EACH: usize = 256;

/// A transaction of so many bytes is small.
const SMALL: usize = 16 << 10;

/// Where a write lies in the bytes of its transaction.
struct Spot {
    table: Arc<str>,
    key: Range<usize>,
    value: Option<Range<usize>>,
}

fn wrong<T>(what: &'static str, why: &str) -> Result<T> {
    Err(Error::protocol(what, why))
}

impl Past {
    /// So many bytes are made of what is read.
    fn spend(&mut self, bytes: usize) -> Result<()> {
        match self.room.checked_sub(bytes) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => wrong("list", "more is made of it than of any list that is written"),
        }
    }

    fn spend_coverage(&mut self, hubs: usize) -> Result<()> {
        self.spend(hubs * size_of::<(Origin, u64)>())
    }

    pub(super) fn read_origin(&mut self, r: &mut Reader) -> Result<Origin> {
        let at = usize::try_from(r.uint("origin")?).unwrap_or(usize::MAX);
        if let Some(seat) = self.seats.get(at) {
            return Ok(seat.origin);
        }
        if at > self.seats.len() {
            return wrong("origin", "one that was not named before");
        }
        let origin = Origin::read(r)?;
        if self.place(origin).is_some() {
            return wrong("origin", "one that was named before");
        }
        self.seat_new(origin);
        Ok(origin)
    }

    fn read_table(&mut self, r: &mut Reader) -> Result<usize> {
        let at = usize::try_from(r.uint("table")?).unwrap_or(usize::MAX);
        if at < self.tables.len() {
            return Ok(at);
        }
        if at > self.tables.len() {
            return wrong("table", "one that was not named before");
        }
        let name = r.shared_text("table")?;
        if self.table_place(&name).is_some() {
            return wrong("table", "one that was named before");
        }
        Ok(self.table_new(name))
    }

    /// Hubs and numbers that are not zero, by hub.
    fn read_hubs(&mut self, r: &mut Reader) -> Result<Vec<(Origin, u64)>> {
        let mut hubs: Vec<(Origin, u64)> = Vec::new();
        for _ in 0..r.count("coverage", MAX_HUBS)? {
            let (hub, n) = (self.read_origin(r)?, read_nth(r, "coverage")?);
            if hubs.last().is_some_and(|(last, _)| *last >= hub) {
                return wrong("coverage", "hubs out of order");
            }
            hubs.push((hub, n));
        }
        Ok(hubs)
    }

    /// Reads an entry of which something was left out.
    pub(super) fn read_partial(&mut self, r: &mut Reader) -> Result<Arc<Entry>> {
        self.partial = Some(Tag::read(r)?);
        match r.u8("entry")? {
            first if first & ENTRY != 0 => self.read_entry(first, r),
            _ => wrong("entry", "something that is no entry"),
        }
    }

    /// Reads an entry whose first byte was `first`.
    pub(super) fn read_entry(&mut self, first: u8, r: &mut Reader) -> Result<Arc<Entry>> {
        let flags = first & !ENTRY;
        let stamp = self.read_stamp(flags, r)?;
        // Twice: for what is covered has to be looked at, too.
        self.spend_coverage(2 * self.covered.len())?;
        let deps = match flags & DEPS {
            0 => self.covered.clone(),
            3 => Coverage::of_one(stamp.hub, stamp.n - 1),
            _ => match self.idle(stamp.hub, stamp.n) {
                Some(idle) => idle,
                None => return wrong("entry", "it comes after one of its hub that has a greater number"),
            },
        };
        let deps = if flags & DEPS >= 2 { deps.plus(&self.read_hubs(r)?) } else { Some(deps) };
        let fits = |deps: &Coverage| deps.len() <= MAX_HUBS && deps.of(stamp.hub) == stamp.n - 1;
        let Some(deps) = deps.filter(fits) else {
            return wrong("entry", "a stamp that does not follow on what its hub covered");
        };
        self.spend_coverage(deps.len())?;
        let attested = read_time(r, self.attested(stamp.hub))?;
        if self.entry_flags(stamp, &deps) != flags {
            return wrong("entry", "it could have been told in fewer bytes");
        }
        let txn = self.read_txn(r, Some((&deps, attested)))?;
        let entry = Arc::new(Entry { stamp, deps, attested, txn });
        self.note_entry(&entry);
        Ok(entry)
    }

    fn read_stamp(&mut self, flags: u8, r: &mut Reader) -> Result<Stamp> {
        let (hub, n) = if flags & FOLLOWS == 0 {
            let hub = self.read_origin(r)?;
            let last = self.place(hub).and_then(|at| self.seats[at].entry.as_ref()).map(|entry| entry.stamp.n);
            let n = match last {
                // Of numbers up to 2^62 the difference is one; of others the sum is none.
                Some(last) => (last as i64 + 1).checked_add(unzigzag(r.uint("stamp")?)),
                None => i64::try_from(r.uint("stamp")?).ok(),
            };
            (hub, n.and_then(|n| u64::try_from(n).ok()))
        } else {
            let Some(last) = self.entry.as_ref().map(|entry| entry.stamp) else {
                return wrong("entry", "it follows on one that is not there");
            };
            (last.hub, Some(last.n + 1))
        };
        match n {
            Some(n @ 1..=MAX_COUNT) => Ok(Stamp { hub, n }),
            _ => wrong("stamp", "its number is not one from 1 to 2^62"),
        }
    }

    /// Reads a transaction; `of` the entry that it is in, if it is in one.
    pub(super) fn read_txn(&mut self, r: &mut Reader, of: Option<(&Coverage, Hlc)>) -> Result<Arc<Txn>> {
        let flags = r.u8("transaction")?;
        if flags & READ == READ {
            return wrong("transaction", "flags that this program does not know: update it");
        }
        let origin = match &self.txn {
            Some(txn) if flags & SAME != 0 => txn.body().origin,
            _ if flags & SAME == 0 => self.read_origin(r)?,
            _ => return wrong("transaction", "it is of the origin of one that is not there"),
        };
        let before = self.place(origin).and_then(|at| self.seats[at].txn.as_ref()).map(|txn| txn.dot());
        let (seq, prev) = match before {
            Some(before) if flags & CHAINED != 0 => (before.seq + 1, before.tag),
            None if flags & CHAINED != 0 => return wrong("transaction", "it follows on one that is not there"),
            _ => {
                let seq = read_nth(r, "seq")?;
                (seq, if seq == 1 { Tag::NONE } else { Tag::read(r)? })
            }
        };
        if seq > MAX_COUNT || (seq == 1) != (prev == Tag::NONE) {
            return wrong("transaction", "a place in its chain that cannot be");
        }
        let seen = self.read_seen((flags & READ) / 3, origin, of, r)?;
        let own = match (flags & READ) % 3 {
            0 => Vec::new(),
            1 => vec![Dot { origin, seq: read_before(seq)?, tag: prev }],
            _ => self.read_own(r)?,
        };
        let (likely, from) = self.times(origin, of);
        let hlc = if flags & TIMELY == 0 { read_time(r, from)? } else { likely };
        let body = Body { origin, seq, prev, read: Context { seen, own }, hlc, writes: Vec::new() };
        if self.txn_flags(&body, of) != flags & !ONE {
            return wrong("transaction", "it could have been told in fewer bytes");
        }
        let txn = Arc::new(self.read_writes(r, body, flags & ONE != 0)?);
        self.note_txn(&txn);
        Ok(txn)
    }

    fn read_seen(
        &mut self,
        mode: u8,
        origin: Origin,
        of: Option<(&Coverage, Hlc)>,
        r: &mut Reader,
    ) -> Result<Coverage> {
        let nothing = Coverage::new();
        let deps = of.map_or(&nothing, |(deps, _)| deps);
        let last = self.likely(origin).cloned();
        let last = last.as_ref().map_or(&nothing, |txn| &txn.body().read.seen);
        let differs = if mode >= 2 { self.read_hubs(r)? } else { Vec::new() };
        self.spend_coverage(deps.len().max(last.len()) + differs.len())?;
        let seen = match mode {
            0 => Some(deps.clone()),
            1 => Some(last.clone()),
            2 => last.plus(&differs),
            3 => deps.minus(&differs),
            _ => nothing.plus(&differs),
        };
        match seen {
            Some(seen) => Ok(seen),
            None => wrong("transaction", "it has read less than nothing, or more than can be"),
        }
    }

    fn read_own(&mut self, r: &mut Reader) -> Result<Vec<Dot>> {
        let mut own: Vec<Dot> = Vec::new();
        for _ in 0..r.count("own", MAX_OWN)? {
            let dot = self.read_dot(r)?;
            if own.last().is_some_and(|last| last.origin >= dot.origin) {
                return wrong("own", "origins out of order");
            }
            own.push(dot);
        }
        Ok(own)
    }

    pub(super) fn read_dot(&mut self, r: &mut Reader) -> Result<Dot> {
        let (origin, seq) = (self.read_origin(r)?, r.uint("seq")?);
        let (seq, came) = (seq >> 1, seq & 1 == 1);
        if !(1..=MAX_COUNT).contains(&seq) {
            return wrong("seq", "it is counted from 1 to 2^62");
        }
        let known = self.tag(origin, seq);
        match (came, known) {
            (true, Some(tag)) => Ok(Dot { origin, seq, tag }),
            (true, None) => wrong("transaction", "its tag is left out, and it did not come before"),
            (false, known) => match Tag::read(r)? {
                tag if known == Some(tag) => wrong("transaction", "its tag was known and could be left out"),
                tag => Ok(Dot { origin, seq, tag }),
            },
        }
    }

    /// Reads the writes of a transaction and makes its bytes.
    fn read_writes(&mut self, r: &mut Reader, mut body: Body, one: bool) -> Result<Txn> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        // Most heads and some writes.
        out.reserve(256);
        put_head(&mut out, &body);
        let was = self.table;
        let tables = if one { 1 } else { r.count("tables", MAX_WRITES)? };
        put_uint(&mut out, tables as u64);
        let mut spots: Vec<Spot> = Vec::new();
        for _ in 0..tables {
            let (at, rows) = match was {
                Some(at) if one => (at, 1),
                None if one => return wrong("transaction", "it writes the table of one that is not there"),
                _ => (self.read_table(r)?, r.count("rows", MAX_WRITES)?),
            };
            let name = self.tables[at].name.clone();
            if rows == 0 || spots.last().is_some_and(|last| last.table >= name) || spots.len() + rows > MAX_WRITES {
                return wrong("transaction", "tables out of order, without rows, or with too many");
            }
            put_text(&mut out, &name);
            put_uint(&mut out, rows as u64);
            for nth in 0..rows {
                let spot = self.read_write(r, at, &mut out)?;
                let before = spots.last().filter(|_| nth > 0);
                if before.is_some_and(|before| out[before.key.clone()] >= out[spot.key.clone()]) {
                    return wrong("transaction", "rows out of order");
                }
                spots.push(spot);
            }
            self.table = Some(at);
        }
        if !one && spots.len() == 1 && was == self.table {
            return wrong("transaction", "it could have been told in fewer bytes");
        }
        self.spend(EACH + out.len())?;
        // Small ones are copied: what they are made in is used again, and none takes more than it needs.
        let bytes = if out.len() <= SMALL { Bytes::copy_from_slice(&out) } else { std::mem::take(&mut out).into() };
        self.scratch = out;
        let write = |spot: Spot| Write {
            row: RowKey { table: spot.table, key: bytes.slice(spot.key) },
            value: spot.value.map(|value| bytes.slice(value)),
        };
        body.writes = spots.into_iter().map(write).collect();
        Ok(Txn::assembled(body, bytes, self.partial.take()))
    }

    fn read_write(&mut self, r: &mut Reader, at: usize, out: &mut Vec<u8>) -> Result<Spot> {
        let room = self.room.min(MAX_TXN_BYTES);
        let table = &mut self.tables[at];
        let key = read_key(r, &table.key, room.saturating_sub(out.len()))?;
        put_bytes(out, &key);
        let end = out.len();
        let key_at = end - key.len()..end;
        table.key = key;
        let value = table.shapes.read(r, room.saturating_sub(end))?;
        out.put_u8(u8::from(value.is_some()));
        let value = value.map(|value| {
            put_bytes(out, &value);
            out.len() - value.len()..out.len()
        });
        if out.len() > MAX_TXN_BYTES {
            return Err(Error::protocol("transaction", too_long(out.len(), MAX_TXN_BYTES)));
        }
        Ok(Spot { table: table.name.clone(), key: key_at, value })
    }

    /// Reads a row of a state.
    pub(super) fn read_row(&mut self, r: &mut Reader) -> Result<(RowKey, Row)> {
        let (at, key) = self.read_place(r)?;
        // Most rows have one with one stamp: room for more is what a table would mostly consist of.
        let mut siblings: Vec<Sibling> = Vec::with_capacity(1);
        for _ in 0..r.count("siblings", MAX_SIBLINGS)? {
            let dot = self.read_dot(r)?;
            let mut stamps: Vec<Stamp> = Vec::with_capacity(1);
            for _ in 0..r.count("stamps", MAX_HUBS)? {
                stamps.push(Stamp { hub: self.read_origin(r)?, n: read_nth(r, "stamp")? });
            }
            if stamps.is_empty() {
                return wrong("row", "a sibling that no hub took in");
            }
            if !stamps.is_sorted_by(|a, b| a < b) || siblings.last().is_some_and(|last| last.dot >= dot) {
                return wrong("row", "siblings or stamps out of order");
            }
            let time = read_time(r, self.time)?;
            self.time = time;
            let Some(value) = self.tables[at].shapes.read(r, self.room)? else {
                return wrong("row", "a sibling without a value");
            };
            self.spend(value.len())?;
            siblings.push(Sibling { dot, stamps, time, value });
        }
        Ok((RowKey { table: self.tables[at].name.clone(), key }, Row::of(siblings)))
    }

    /// Reads where a row is.
    pub(super) fn read_row_key(&mut self, r: &mut Reader) -> Result<RowKey> {
        let (at, key) = self.read_place(r)?;
        Ok(RowKey { table: self.tables[at].name.clone(), key })
    }

    /// The number of a table in the list, and a key of it.
    fn read_place(&mut self, r: &mut Reader) -> Result<(usize, Bytes)> {
        let at = self.read_table(r)?;
        // A copy, which does not keep all that it came with.
        let key = Bytes::copy_from_slice(&read_key(r, &self.tables[at].key, self.room)?);
        self.spend(key.len())?;
        self.tables[at].key = key.clone();
        self.table = Some(at);
        Ok((at, key))
    }
}

fn read_before(seq: u64) -> Result<u64> {
    match seq {
        0 | 1 => wrong("transaction", "it has read the one before the first of its origin"),
        seq => Ok(seq - 1),
    }
}

/// Reads a time that differs from another.
fn read_time(r: &mut Reader, from: Hlc) -> Result<Hlc> {
    let ms = unzigzag(r.uint("time")?);
    let at = (from.ms() as i64).checked_add(ms).and_then(|ms| u64::try_from(ms).ok()).filter(|ms| ms >> 48 == 0);
    let counter = r.uint("time")?;
    let counter = if ms == 0 {
        let counter = i64::from(from.counter()).checked_add(unzigzag(counter));
        counter.and_then(|counter| u16::try_from(counter).ok())
    } else {
        u16::try_from(counter).ok()
    };
    match (at, counter) {
        (Some(at), Some(counter)) => Ok(Hlc::from_u64(at << 16 | u64::from(counter))),
        _ => wrong("time", "one that no clock has"),
    }
}
