//! The short form of what comes in lists: entries, transactions and rows, each told by what differs from those before in its list.
//!
//! A list is a message or a record of a log. It is read from its beginning and needs nothing that came before it. What a transaction *is*
//! are its bytes in full ([`Txn::bytes`]), which the reader makes again and which its tag is over: how it lies in a list, and next to
//! which others, has no part in its name.
//!
//! [`Past`] is what both ends know of a list so far. This is the end that writes, and what both do with an entry or a transaction once it
//! is known; the end that reads is `unpack`. Each value has one form: flags say what can be left out, and are what they have to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use syncline_base::Hlc;

use super::context::{Coverage, MAX_HUBS};
use super::id::{Dot, Origin, Stamp, Tag};
use super::row::Row;
use super::shape::{Shapes, put_key};
use super::txn::{Body, Entry, MAX_TXN_BYTES, RowKey, Txn};
use crate::wire::fields::{put_text, put_uint};

/// How much may come of one list, in memory: what is left out of it is not free. What a writer puts in one is far less, or one thing alone.
const ROOM: usize = MAX_TXN_BYTES + (3 << 20);

/// An item of a list that is an entry has this bit in its first byte; the others are its flags.
pub(super) const ENTRY: u8 = 0x80;
/// What comes before one of which something was left out, with its tag, which cannot be computed.
pub(super) const PARTIAL: u8 = 9;
/// The hub and the number follow on those of the entry before.
pub(super) const FOLLOWS: u8 = 4;
/// How `deps` is told.
pub(super) const DEPS: u8 = 3;

/// `seen` and `own` of a transaction: three times the one, and the other.
pub(super) const READ: u8 = 15;
/// It follows on the transaction before of its origin.
pub(super) const CHAINED: u8 = 16;
/// It is of the origin of the one before.
pub(super) const SAME: u8 = 32;
/// Its time is the one that it is likely to have.
pub(super) const TIMELY: u8 = 64;
/// It writes one row, of the table that was written last.
pub(super) const ONE: u8 = 128;

/// So many names are looked through; more are looked up.
const FEW: usize = 8;

/// What is known of an origin.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) origin: Origin,
    /// The last entry that it made as a hub.
    pub(super) entry: Option<Arc<Entry>>,
    /// Its last transaction, and the tags of those that it follows on.
    pub(super) txn: Option<Arc<Txn>>,
    before: Vec<Tag>,
}

/// What is known of a table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: Arc<str>,
    /// The last key of it.
    pub(super) key: Bytes,
    pub(super) shapes: Shapes,
}

/// What has been told in a list so far.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) seats: Vec<Seat>,
    places: BTreeMap<Origin, usize>,
    /// What the entries and all that they build on cover.
    pub(super) covered: Coverage,
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) txn: Option<Arc<Txn>>,
    pub(super) tables: Vec<Table>,
    names: BTreeMap<Arc<str>, usize>,
    /// The one that was written last.
    pub(super) table: Option<usize>,
    /// Of the last sibling.
    pub(super) time: Hlc,
    /// How much may still come.
    pub(super) room: usize,
    /// The tag of the next transaction, if something of it was left out.
    pub(super) partial: Option<Tag>,
    /// What bytes of transactions are made in.
    pub(super) scratch: Vec<u8>,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            seats: Vec::new(),
            places: BTreeMap::new(),
            covered: Coverage::new(),
            entry: None,
            txn: None,
            tables: Vec::new(),
            names: BTreeMap::new(),
            table: None,
            time: Hlc::default(),
            room: ROOM,
            partial: None,
            scratch: Vec::new(),
        }
    }
}

impl Past {
    /// Of a list that this program wrote itself, and that is as it was: it may be of anything.
    pub(super) fn of_own() -> Self {
        Self { room: usize::MAX, ..Self::default() }
    }

    /// Becomes what is known before a list, in the room that it has.
    pub(super) fn clear(&mut self) {
        self.seats.clear();
        self.places.clear();
        self.covered.clear();
        (self.entry, self.txn, self.table, self.partial) = (None, None, None, None);
        self.tables.clear();
        self.names.clear();
        (self.time, self.room) = (Hlc::default(), ROOM);
    }

    pub(super) fn place(&self, origin: Origin) -> Option<usize> {
        let few = self.seats.iter().take(FEW).position(|seat| seat.origin == origin);
        few.or_else(|| if self.seats.len() > FEW { self.places.get(&origin).copied() } else { None })
    }

    fn seat(&self, origin: Origin) -> Option<&Seat> {
        self.place(origin).map(|at| &self.seats[at])
    }

    /// Gives an origin that was not named before its place.
    pub(super) fn seat_new(&mut self, origin: Origin) -> usize {
        let at = self.seats.len();
        self.seats.push(Seat { origin, entry: None, txn: None, before: Vec::new() });
        if at >= FEW {
            self.places.insert(origin, at);
        }
        at
    }

    pub(super) fn put_origin(&mut self, out: &mut Vec<u8>, origin: Origin) {
        match self.place(origin) {
            Some(at) => put_uint(out, at as u64),
            None => {
                put_uint(out, self.seat_new(origin) as u64);
                origin.put(out);
            }
        }
    }

    pub(super) fn table_place(&self, name: &str) -> Option<usize> {
        let few = self.tables.iter().take(FEW).position(|table| *table.name == *name);
        few.or_else(|| if self.tables.len() > FEW { self.names.get(name).copied() } else { None })
    }

    pub(super) fn table_new(&mut self, name: Arc<str>) -> usize {
        let at = self.tables.len();
        if at >= FEW {
            self.names.insert(name.clone(), at);
        }
        self.tables.push(Table { name, key: Bytes::new(), shapes: Shapes::default() });
        at
    }

    fn put_table(&mut self, out: &mut Vec<u8>, name: &Arc<str>) -> usize {
        if let Some(at) = self.table_place(name) {
            put_uint(out, at as u64);
            return at;
        }
        let at = self.table_new(name.clone());
        put_uint(out, at as u64);
        put_text(out, name);
        at
    }

    /// The last transaction of an origin before the one at hand, or else the last of all.
    pub(super) fn likely(&self, origin: Origin) -> Option<&Arc<Txn>> {
        self.seat(origin).and_then(|seat| seat.txn.as_ref()).or(self.txn.as_ref())
    }

    /// What `deps` of the `n`-th entry of a hub would be if nothing else had come to that hub since its entry before.
    pub(super) fn idle(&self, hub: Origin, n: u64) -> Option<Coverage> {
        let before = self.seat(hub).and_then(|seat| seat.entry.as_ref());
        let mut deps = before.map(|entry| entry.deps.clone()).unwrap_or_default();
        deps.raise(hub, n.saturating_sub(1));
        (deps.of(hub) == n.saturating_sub(1)).then_some(deps)
    }

    /// The time from which an entry's is counted.
    pub(super) fn attested(&self, hub: Origin) -> Hlc {
        let before = self.seat(hub).and_then(|seat| seat.entry.as_ref()).or(self.entry.as_ref());
        before.map_or(Hlc::default(), |entry| entry.attested)
    }

    /// The time that a transaction is likely to have, and the one from which it is counted else.
    pub(super) fn times(&self, origin: Origin, of: Option<(&Coverage, Hlc)>) -> (Hlc, Hlc) {
        let own = self.seat(origin).and_then(|seat| seat.txn.as_ref()).map(|txn| txn.body().hlc);
        let last = own.or_else(|| self.txn.as_ref().map(|txn| txn.body().hlc)).unwrap_or_default();
        match of {
            // A hub's clock ticks twice for what it takes in from its own clients.
            Some((_, attested)) => (Hlc::from_u64(attested.as_u64().wrapping_sub(1)), own.unwrap_or(attested)),
            None => (Hlc::from_u64(last.as_u64().wrapping_add(1)), last),
        }
    }

    /// The flags of an entry.
    pub(super) fn entry_flags(&self, stamp: Stamp, deps: &Coverage) -> u8 {
        let last = self.entry.as_ref().map(|entry| entry.stamp);
        let follows = last.is_some_and(|last| last.hub == stamp.hub && last.n + 1 == stamp.n);
        let mode = if *deps == self.covered {
            0
        } else {
            // As `idle` says, which need not be made for that.
            let (before, nothing) = (stamp.n.saturating_sub(1), Coverage::new());
            let last = self.seat(stamp.hub).and_then(|seat| seat.entry.as_ref()).map_or(&nothing, |entry| &entry.deps);
            let idle = (last.of(stamp.hub) <= before).then(|| deps.more_than_raised(last, (stamp.hub, before)));
            match idle.flatten() {
                Some(false) => 1,
                Some(true) => 2,
                None => 3,
            }
        };
        mode | if follows { FOLLOWS } else { 0 }
    }

    /// The flags of a transaction but for [`ONE`]; `of` the entry that it is in, if it is in one.
    pub(super) fn txn_flags(&self, body: &Body, of: Option<(&Coverage, Hlc)>) -> u8 {
        let seat = self.seat(body.origin).and_then(|seat| seat.txn.as_ref());
        let chained = seat.is_some_and(|txn| txn.dot().seq + 1 == body.seq && txn.dot().tag == body.prev);
        let same = self.txn.as_ref().is_some_and(|txn| txn.body().origin == body.origin);
        let timely = self.times(body.origin, of).0 == body.hlc;
        let before = Dot { origin: body.origin, seq: body.seq.saturating_sub(1), tag: body.prev };
        let own = match &body.read.own[..] {
            [] => 0,
            [one] if *one == before => 1,
            _ => 2,
        };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        (3 * self.seen_mode(body, of) + own) | flag(chained, CHAINED) | flag(same, SAME) | flag(timely, TIMELY)
    }

    fn seen_mode(&self, body: &Body, of: Option<(&Coverage, Hlc)>) -> u8 {
        let (seen, nothing) = (&body.read.seen, Coverage::new());
        let deps = of.map_or(&nothing, |(deps, _)| deps);
        let last = self.likely(body.origin).map_or(&nothing, |txn| &txn.body().read.seen);
        if seen == deps {
            return 0;
        }
        if seen == last {
            return 1;
        }
        match (deps.hubs_above(seen), seen.hubs_above(last)) {
            (Some(below), Some(above)) if below <= above => 3,
            (_, Some(_)) => 2,
            (Some(_), None) => 3,
            (None, None) => 4,
        }
    }

    fn put_hubs(&mut self, out: &mut Vec<u8>, hubs: &[(Origin, u64)]) {
        put_uint(out, hubs.len() as u64);
        for (hub, n) in hubs {
            self.put_origin(out, *hub);
            put_uint(out, *n);
        }
    }

    /// Writes an entry.
    pub(super) fn put_entry(&mut self, out: &mut Vec<u8>, entry: &Arc<Entry>) {
        let (stamp, flags) = (entry.stamp, self.entry_flags(entry.stamp, &entry.deps));
        if !entry.txn.is_whole() {
            out.put_u8(PARTIAL);
            entry.txn.dot().tag.put(out);
        }
        out.put_u8(ENTRY | flags);
        let from = self.attested(stamp.hub);
        if flags & FOLLOWS == 0 {
            let last = self.seat(stamp.hub).and_then(|seat| seat.entry.as_ref()).map(|entry| entry.stamp.n);
            self.put_origin(out, stamp.hub);
            match last {
                Some(last) => put_uint(out, zigzag(stamp.n as i64 - last as i64 - 1)),
                None => put_uint(out, stamp.n),
            }
        }
        let base = match flags & DEPS {
            2 => self.idle(stamp.hub, stamp.n),
            3 => Some(Coverage::of_one(stamp.hub, stamp.n.saturating_sub(1))),
            _ => None,
        };
        if let Some(base) = base {
            let above = entry.deps.above(&base).unwrap_or_default();
            self.put_hubs(out, &above);
        }
        put_time(out, from, entry.attested);
        self.put_txn(out, &entry.txn, Some((&entry.deps, entry.attested)));
        self.note_entry(entry);
    }

    /// Writes a transaction.
    pub(super) fn put_txn(&mut self, out: &mut Vec<u8>, txn: &Arc<Txn>, of: Option<(&Coverage, Hlc)>) {
        let body = txn.body();
        let one = match &body.writes[..] {
            [write] => self.table.is_some_and(|at| self.tables[at].name == write.row.table),
            _ => false,
        };
        let flags = self.txn_flags(body, of);
        out.put_u8(flags | if one { ONE } else { 0 });
        let (likely, (_, from)) = (self.likely(body.origin).cloned(), self.times(body.origin, of));
        if flags & SAME == 0 {
            self.put_origin(out, body.origin);
        }
        if flags & CHAINED == 0 {
            put_uint(out, body.seq);
            if body.seq > 1 {
                body.prev.put(out);
            }
        }
        let (seen, nothing) = (&body.read.seen, Coverage::new());
        let differs = match (flags & READ) / 3 {
            2 => seen.above(likely.as_ref().map_or(&nothing, |txn| &txn.body().read.seen)),
            3 => of.map_or(&nothing, |(deps, _)| deps).above(seen),
            4 => seen.above(&nothing),
            _ => None,
        };
        if let Some(differs) = differs {
            self.put_hubs(out, &differs);
        }
        if (flags & READ) % 3 == 2 {
            put_uint(out, body.read.own.len() as u64);
            body.read.own.iter().for_each(|dot| self.put_dot(out, dot));
        }
        if flags & TIMELY == 0 {
            put_time(out, from, body.hlc);
        }
        self.put_writes(out, txn, one);
        self.note_txn(txn);
    }

    /// Whether a transaction came in the list, as the last of its origin or one that this follows on.
    pub(super) fn came(&self, dot: &Dot) -> bool {
        self.tag(dot.origin, dot.seq) == Some(dot.tag)
    }

    pub(super) fn tag(&self, origin: Origin, seq: u64) -> Option<Tag> {
        let seat = self.seat(origin)?;
        let last = seat.txn.as_ref()?.dot();
        match usize::try_from(last.seq.checked_sub(seq)?).ok()? {
            0 => Some(last.tag),
            back => seat.before.get(seat.before.len().checked_sub(back)?).copied(),
        }
    }

    /// Writes a name; without the tag when the transaction came in the list.
    pub(super) fn put_dot(&mut self, out: &mut Vec<u8>, dot: &Dot) {
        let came = self.came(dot);
        self.put_origin(out, dot.origin);
        put_uint(out, dot.seq << 1 | u64::from(came));
        if !came {
            dot.tag.put(out);
        }
    }

    fn put_writes(&mut self, out: &mut Vec<u8>, txn: &Txn, one: bool) {
        let tables = txn.body().writes.chunk_by(|a, b| a.row.table == b.row.table);
        if !one {
            put_uint(out, tables.clone().count() as u64);
        }
        for writes in tables {
            let at = match self.table.filter(|_| one) {
                Some(at) => at,
                None => {
                    let at = self.put_table(out, &writes[0].row.table);
                    put_uint(out, writes.len() as u64);
                    at
                }
            };
            let table = &mut self.tables[at];
            for write in writes {
                put_key(out, &table.key, &write.row.key);
                table.key = write.row.key.clone();
                table.shapes.put(out, write.value.as_deref());
            }
            self.table = Some(at);
        }
    }

    /// Writes where a row is.
    pub(super) fn put_row_key(&mut self, out: &mut Vec<u8>, key: &RowKey) -> usize {
        let at = self.put_table(out, &key.table);
        put_key(out, &self.tables[at].key, &key.key);
        self.tables[at].key = key.key.clone();
        self.table = Some(at);
        at
    }

    /// Writes a row of a state.
    pub(super) fn put_row(&mut self, out: &mut Vec<u8>, key: &RowKey, row: &Row) {
        let at = self.put_row_key(out, key);
        put_uint(out, row.siblings().len() as u64);
        for sibling in row.siblings() {
            self.put_dot(out, &sibling.dot);
            put_uint(out, sibling.stamps.len() as u64);
            for stamp in &sibling.stamps {
                self.put_origin(out, stamp.hub);
                put_uint(out, stamp.n);
            }
            put_time(out, self.time, sibling.time);
            self.time = sibling.time;
            self.tables[at].shapes.put(out, Some(&sibling.value));
        }
    }

    pub(super) fn note_entry(&mut self, entry: &Arc<Entry>) {
        let stamp = entry.stamp;
        if entry.deps != self.covered {
            self.covered.join(&entry.deps);
        }
        self.covered.raise(stamp.hub, stamp.n);
        if self.covered.len() > MAX_HUBS {
            // No entry builds on so many.
            self.covered = entry.deps.clone();
        }
        let at = self.place(stamp.hub).unwrap_or_else(|| self.seat_new(stamp.hub));
        self.seats[at].entry = Some(entry.clone());
        self.entry = Some(entry.clone());
    }

    pub(super) fn note_txn(&mut self, txn: &Arc<Txn>) {
        let Body { origin, seq, prev, .. } = *txn.body();
        let at = self.place(origin).unwrap_or_else(|| self.seat_new(origin));
        let seat = &mut self.seats[at];
        match seat.txn.as_ref().map(|last| last.dot()) {
            Some(last) if last.seq + 1 == seq && last.tag == prev => seat.before.push(last.tag),
            _ => seat.before.clear(),
        }
        seat.txn = Some(txn.clone());
        self.txn = Some(txn.clone());
    }
}

pub(super) const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(super) const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Writes a time by what differs from another: milliseconds, then the counter, which begins anew with each.
pub(super) fn put_time(out: &mut Vec<u8>, from: Hlc, time: Hlc) {
    let ms = time.ms() as i64 - from.ms() as i64;
    put_uint(out, zigzag(ms));
    if ms == 0 {
        put_uint(out, zigzag(i64::from(time.counter()) - i64::from(from.counter())));
    } else {
        put_uint(out, u64::from(time.counter()));
    }
}
