//! Transactions, and the entries that hubs make of them. Bytes: `docs/format/replication.md`; those of lists are in `pack`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::{BufMut, Bytes};
use syncline_base::{Hash, Hlc};

use super::context::{Context, Coverage};
use super::head::sum_with;
use super::id::{Dot, Origin, Stamp, Tag, read_nth};
use super::pack::{ENTRY, PARTIAL, Past};
use crate::error::{Error, Result};
use crate::wire::MAX_TEXT;
use crate::wire::fields::{put_bytes, put_text, put_uint};
use crate::wire::reader::Reader;

const VERSION: u8 = 1;
/// The most rows that one transaction writes.
pub const MAX_WRITES: usize = 1 << 20;
/// The most bytes that one transaction has: with all that is said of it, it fits into a record of a log.
pub const MAX_TXN_BYTES: usize = 63 << 20;

/// Where a row is: its table and its encoded key. Ordered by table, then key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Name of the table.
    pub table: Arc<str>,
    /// Encoded so that the order of bytes is that of keys (`docs/format/key.md`).
    pub key: Bytes,
}

impl RowKey {
    /// Before or at every other.
    #[must_use]
    pub fn first() -> Self {
        static NO_TABLE: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
        Self { table: NO_TABLE.clone(), key: Bytes::new() }
    }
}

// Finding a row is little but comparing such: names that lie in one place are equal, and most keys differ in their first bytes.
impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let same = Arc::ptr_eq(&self.table, &other.table);
        let tables = if same { Ordering::Equal } else { self.table.cmp(&other.table) };
        tables.then_with(|| match (self.key.split_first_chunk::<8>(), other.key.split_first_chunk::<8>()) {
            (Some((a, more)), Some((b, other))) => {
                u64::from_be_bytes(*a).cmp(&u64::from_be_bytes(*b)).then_with(|| more.cmp(other))
            }
            _ => self.key.cmp(&other.key),
        })
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.table, self.key)
    }
}

/// One row set or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which row.
    pub row: RowKey,
    /// Its encoded value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// What a transaction says, without the name that its bytes give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Whose.
    pub origin: Origin,
    /// Which, from 1.
    pub seq: u64,
    /// Tag of the one before it in its origin.
    pub prev: Tag,
    /// What its writer had read.
    pub read: Context,
    /// The writer's clock.
    pub hlc: Hlc,
    /// By row, each row once.
    pub writes: Vec<Write>,
}

/// Writes of one origin that take effect together. Never changed once made: its bytes are its identity.
#[derive(Clone)]
pub struct Txn {
    body: Body,
    bytes: Bytes,
    tag: Tag,
    /// Whether something was left out.
    partial: bool,
    /// The hash over the chain up to here, and that up to the one before which it was asked after first.
    sum: OnceLock<(Hash, Hash)>,
}

/// The bytes say all.
impl PartialEq for Txn {
    fn eq(&self, other: &Self) -> bool {
        (self.tag, self.partial, &self.bytes) == (other.tag, other.partial, &other.bytes)
    }
}

impl Eq for Txn {}

impl Txn {
    /// A transaction of these writes.
    ///
    /// # Errors
    /// `invalid` when a row is written twice, when too many are, or when a table's name, what was read or all of it is too long.
    pub fn new(mut body: Body) -> Result<Self> {
        body.read.settle().map_err(Error::Invalid)?;
        // They come by row from those who write many.
        if !body.writes.is_sorted_by(|a, b| a.row < b.row) {
            body.writes.sort_by(|a, b| a.row.cmp(&b.row));
        }
        if let Some(twice) =
            body.writes.windows(2).find(|pair| pair[0].row.key == pair[1].row.key && pair[0].row == pair[1].row)
        {
            let text = format!("a transaction writes the row {:?} twice; keep the last of the writes", twice[0].row);
            return Err(Error::Invalid(text));
        }
        if body.writes.len() > MAX_WRITES {
            let text = format!("a transaction writes {} rows; {MAX_WRITES} are the most", body.writes.len());
            return Err(Error::Invalid(text));
        }
        if let Some(long) = body.writes.iter().find(|write| write.row.table.len() > MAX_TEXT) {
            let text = format!("the name of a table has {} bytes; {MAX_TEXT} are the most", long.row.table.len());
            return Err(Error::Invalid(text));
        }
        let mut ends = Vec::with_capacity(2 * body.writes.len());
        let bytes = encode(&body, |end| ends.push(end));
        if bytes.len() > MAX_TXN_BYTES {
            return Err(Error::Invalid(too_long(bytes.len(), MAX_TXN_BYTES)));
        }
        // Keys and values lie in memory once, as pieces of the bytes, as long as the transaction does.
        let mut ends = ends.into_iter();
        let mut piece = |of: &mut Bytes| {
            if let Some(end) = ends.next() {
                *of = bytes.slice(end - of.len()..end);
            }
        };
        for write in &mut body.writes {
            piece(&mut write.row.key);
            if let Some(value) = &mut write.value {
                piece(value);
            }
        }
        Ok(Self::made(body, Tag::of(&bytes), bytes, false))
    }

    const fn made(body: Body, tag: Tag, bytes: Bytes, partial: bool) -> Self {
        Self { body, bytes, tag, partial, sum: OnceLock::new() }
    }

    /// What is left of one with this tag of which something was left out.
    pub(super) fn partial(body: Body, tag: Tag) -> Self {
        let bytes = encode(&body, |_| ());
        Self::made(body, tag, bytes, true)
    }

    /// Reads a transaction.
    ///
    /// # Errors
    /// `invalid` when the bytes are not the one form of a transaction.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        if bytes.len() > MAX_TXN_BYTES {
            return Err(Error::protocol("transaction", too_long(bytes.len(), MAX_TXN_BYTES)));
        }
        let mut r = Reader::new(bytes.clone());
        let version = r.u8("transaction")?;
        if version != VERSION {
            let text = format!("version {version} of transactions; this program knows {VERSION}: update it");
            return Err(Error::protocol("transaction", text));
        }
        let body = decode(&mut r)?;
        r.end("transaction")?;
        Ok(Self::made(body, Tag::of(&bytes), bytes, false))
    }

    /// One whose parts and bytes say the same; `partial` the tag of one of which something was left out.
    pub(super) fn assembled(body: Body, bytes: Bytes, partial: Option<Tag>) -> Self {
        debug_assert_eq!(encode(&body, |_| ()), bytes, "bytes that are not those of the transaction");
        Self::made(body, partial.unwrap_or_else(|| Tag::of(&bytes)), bytes, partial.is_some())
    }

    /// Whether it is as its writer made it: nothing was left out that is not in the scope of whom it was sent to.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.partial
    }

    /// Its identity.
    #[must_use]
    pub const fn dot(&self) -> Dot {
        Dot { origin: self.body.origin, seq: self.body.seq, tag: self.tag }
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The hash over its chain up to it, after that up to the one before. Who takes it in asks as often as it is looked at, put into a chain
    /// and signed for, and there is one answer unless two histories of its origin meet: it is computed once.
    pub(super) fn sum_after(&self, before: &Hash) -> Hash {
        let (after, sum) = self.sum.get_or_init(|| (*before, sum_with(before, &self.bytes)));
        if after == before { *sum } else { sum_with(before, &self.bytes) }
    }

    /// Its bytes; of one that is not whole, of what is left.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { read, hlc, writes, .. } = &self.body;
        write!(f, "{:?}(read {read:?}, hlc {}, {writes:?})", self.dot(), hlc.as_u64())
    }
}

/// What to say of a transaction that is too long.
pub(super) fn too_long(bytes: usize, most: usize) -> String {
    format!("a transaction has {bytes} bytes; {most} are the most: write its rows in several transactions")
}

/// Writes what comes before a transaction's writes.
pub(super) fn put_head(out: &mut Vec<u8>, body: &Body) {
    out.put_u8(VERSION);
    body.origin.put(out);
    put_uint(out, body.seq);
    body.prev.put(out);
    body.read.put(out);
    put_uint(out, body.hlc.as_u64());
}

/// The bytes of a transaction; `ends` is told where in them each key and each value ends.
fn encode(body: &Body, mut ends: impl FnMut(usize)) -> Bytes {
    // Of each the lengths of key and value and a flag come to it.
    let write = |write: &Write| 11 + write.row.key.len() + write.value.as_ref().map_or(0, Bytes::len);
    let writes: usize = body.writes.iter().map(write).sum();
    let mut out = Vec::with_capacity(128 + writes);
    put_head(&mut out, body);
    // Rows of one table follow each other: its name is said once.
    let tables = body.writes.chunk_by(|a, b| a.row.table == b.row.table);
    put_uint(&mut out, tables.clone().count() as u64);
    for writes in tables {
        put_text(&mut out, &writes[0].row.table);
        put_uint(&mut out, writes.len() as u64);
        for write in writes {
            put_bytes(&mut out, &write.row.key);
            ends(out.len());
            out.put_u8(u8::from(write.value.is_some()));
            if let Some(value) = &write.value {
                put_bytes(&mut out, value);
                ends(out.len());
            }
        }
    }
    out.into()
}

fn decode(r: &mut Reader) -> Result<Body> {
    let (origin, seq, prev) = (Origin::read(r)?, read_nth(r, "seq")?, Tag::read(r)?);
    let (read, hlc) = (Context::read(r)?, Hlc::from_u64(r.uint("clock")?));
    let mut writes: Vec<Write> = Vec::new();
    for _ in 0..r.count("tables", MAX_WRITES)? {
        let table: Arc<str> = r.text("table")?.into();
        let n = r.count("rows", MAX_WRITES)?;
        if n == 0 || writes.last().is_some_and(|last| last.row.table >= table) || writes.len() + n > MAX_WRITES {
            return Err(Error::protocol("transaction", "tables out of order, without rows, or with too many"));
        }
        for i in 0..n {
            let row = RowKey { table: table.clone(), key: r.bytes("key")? };
            if i > 0 && writes.last().is_some_and(|last| last.row >= row) {
                return Err(Error::protocol("transaction", "rows out of order"));
            }
            let value = if r.flag("value")? { Some(r.bytes("value")?) } else { None };
            writes.push(Write { row, value });
        }
    }
    if (seq == 1) != (prev == Tag::NONE) {
        return Err(Error::protocol("transaction", "a place in its chain that cannot be"));
    }
    Ok(Body { origin, seq, prev, read, hlc, writes })
}

/// A transaction that a hub took in. In a hub's log its entries stand in an order in which each comes after all that it builds on.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The hub, and its count.
    pub stamp: Stamp,
    /// What the hub covered just before, itself included.
    pub deps: Coverage,
    /// The hub's clock when it took it in.
    pub attested: Hlc,
    /// What it took in.
    pub txn: Arc<Txn>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={:?}", self.stamp, self.txn)
    }
}

impl Entry {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        40 + self.deps.len() * 20 + self.txn.bytes().len()
    }
}

/// Entries that go out together, to one peer or to thousands: their bytes are made once.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    entries: Vec<Arc<Entry>>,
    bytes: OnceLock<Bytes>,
}

impl Batch {
    /// These.
    #[must_use]
    pub const fn new(entries: Vec<Arc<Entry>>) -> Self {
        Self { entries, bytes: OnceLock::new() }
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> &Bytes {
        self.bytes.get_or_init(|| {
            let values: usize = self.entries.iter().map(|entry| entry.txn.bytes().len()).sum();
            let mut out = Vec::with_capacity(64 + values);
            put_uint(&mut out, self.entries.len() as u64);
            let mut past = Past::default();
            self.entries.iter().for_each(|entry| past.put_entry(&mut out, entry));
            out.into()
        })
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let (mut entries, mut past) = (Vec::new(), Past::default());
        for _ in 0..r.uint("entries")? {
            match r.u8("entry")? {
                first if first & ENTRY != 0 => entries.push(past.read_entry(first, r)?),
                PARTIAL => entries.push(past.read_partial(r)?),
                _ => return Err(Error::protocol("entries", "something that is no entry")),
            }
        }
        Ok(Self::new(entries))
    }
}

impl Deref for Batch {
    type Target = [Arc<Entry>];

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Batch {}
