//! Reading rows in key order: whole leaves, decoded ahead of the reader on all cores, only the columns wanted.
//!
//! Owns: a thread for each scan of more than a few leaves; it ends when the reader goes away. Memory: some leaves for
//! each core.

use std::ops::{Bound, Range};

use arrow_array::RecordBatch;
use syncline_base::task;
use syncline_store::Encoded;

use super::build::{batch_bytes, concat};
use super::cursor::{Cursor, Place};
use super::edit::{keys_of, lower_bound, rows_of};
use super::stream::{collected, stream};
use super::{FLIGHT_BYTES, Rows, Shared, Table, leaf_with};
use crate::codec::{Columns, LEAF};
use crate::key::Keys;
use crate::{Error, Result};

/// Rows that one task reads, in whole leaves, and that come as one batch: enough that what a batch costs does not count.
const BATCH_ROWS: u32 = 4096;
/// Bytes of leaves that one task reads, about.
const GROUP_BYTES: usize = 4 << 20;
/// A batch has at most so many bytes of long cells, or one row.
const LONG_BYTES: u64 = 2 << 20;
/// Leaves that one task reads at most.
const GROUP: usize = 16;
/// A scan of so many leaves needs no thread.
const SMALL: u64 = 4;

/// An iterator over batches of rows.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
/// An iterator over rows with long cells left outside.
pub type RowBatches = Box<dyn Iterator<Item = Result<Rows>> + Send>;

/// What to read from a table. `Default` is everything.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Names of the columns to return, in this order; `None`: all.
    pub columns: Option<Vec<String>>,
    /// Bounds on the encoded key.
    pub range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// Only leaves that may have rows within all of these are read. A filter on leaves, not on rows.
    pub prune: Vec<Prune>,
    /// Rows to skip at the start of the range.
    pub offset: u64,
    /// At most so many rows.
    pub limit: Option<u64>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { columns: None, range: (Bound::Unbounded, Bound::Unbounded), prune: Vec::new(), offset: 0, limit: None }
    }
}

/// A leaf is wanted if this column may have a value between `min` and `max` (both included). For integer-like columns.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The column's name.
    pub column: String,
    /// Smallest value wanted, as the column's integer (decimal without point, days, units since 1970).
    pub min: i128,
    /// Largest value wanted.
    pub max: i128,
}

/// A scan in terms of the tree.
#[derive(Debug)]
struct Plan {
    table: Table,
    /// Ids of the columns.
    columns: Option<Vec<u32>>,
    /// Column ids and wanted values.
    prune: Vec<(u32, i128, i128)>,
    /// Row numbers.
    rows: Range<u64>,
    limit: u64,
}

impl Table {
    /// Reads rows in key order, leaf by leaf, ahead of the caller. Long cells are read from where they are stored.
    ///
    /// # Errors
    /// `not-found` when there is no such column; the store's.
    #[expect(clippy::needless_pass_by_value, reason = "a scan is made for one call")]
    pub fn scan(&self, scan: Scan) -> Result<Batches> {
        let plan = self.plan(&scan)?;
        let (table, columns) = (self.clone(), plan.columns.clone());
        let parts = plan.start()?.flat_map(|rows| match rows {
            Ok(rows) => rows.parts(LONG_BYTES).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        Ok(Box::new(parts.map(move |rows| rows?.resolve(&table, columns.as_deref()))))
    }

    /// As `scan`, but long cells stay outside.
    ///
    /// # Errors
    /// As `scan`.
    #[expect(clippy::needless_pass_by_value, reason = "a scan is made for one call")]
    pub fn scan_rows(&self, scan: Scan) -> Result<RowBatches> {
        self.plan(&scan)?.start()
    }

    /// The row with this encoded key, as a batch of one row. A long cell is read from where it is stored.
    ///
    /// # Errors
    /// The store's.
    pub fn get(&self, key: &[u8]) -> Result<Option<RecordBatch>> {
        self.get_rows(key)?.map(|rows| rows.resolve(self, None)).transpose()
    }

    /// As `get`, but long cells stay outside.
    ///
    /// # Errors
    /// The store's.
    pub fn get_rows(&self, key: &[u8]) -> Result<Option<Rows>> {
        if self.height == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.shared, &self.root, self.height, 0)?;
        cursor.seek_key(key)?;
        let place = cursor.place(self.rows);
        if place.last_key.as_ref().is_some_and(|last| &last[..] < key) {
            return Ok(None);
        }
        let leaf = self.shared.leaf(&place.id, place.rows)?;
        let keys = keys_of(&self.shared, &leaf)?;
        let row = lower_bound(&keys, 0, key);
        let found = row < keys.len() && keys.get(row) == key;
        if found { Ok(Some(rows_of(&self.shared, &leaf)?.slice(row, 1))) } else { Ok(None) }
    }

    /// The rows with these encoded keys, which ascend, in their order. Each leaf is read once.
    ///
    /// # Errors
    /// The store's.
    pub fn get_many(&self, keys: &Keys) -> Result<Vec<Option<Rows>>> {
        let mut out = Vec::with_capacity(keys.len());
        if self.height == 0 {
            out.resize_with(keys.len(), || None);
            return Ok(out);
        }
        let mut cursor = Cursor::new(&self.shared, &self.root, self.height, 0)?;
        let mut open: Option<(u64, Keys, Rows)> = None;
        for key in keys.iter() {
            cursor.seek_key(key)?;
            let place = cursor.place(self.rows);
            if open.as_ref().is_none_or(|(start, ..)| *start != place.start) {
                let leaf = self.shared.leaf(&place.id, place.rows)?;
                open = Some((place.start, keys_of(&self.shared, &leaf)?, rows_of(&self.shared, &leaf)?));
            }
            out.push(open.as_ref().and_then(|(_, have, rows)| {
                let row = lower_bound(have, 0, key);
                (row < have.len() && have.get(row) == key).then(|| rows.slice(row, 1))
            }));
        }
        Ok(out)
    }

    /// Which of these encoded keys, which ascend, have a row. Each leaf is read once, and of it the key only.
    ///
    /// # Errors
    /// The store's.
    pub fn contains(&self, keys: &Keys) -> Result<Vec<bool>> {
        if self.height == 0 {
            return Ok(vec![false; keys.len()]);
        }
        let mut cursor = Cursor::new(&self.shared, &self.root, self.height, 0)?;
        let (mut places, mut at) = (Vec::new(), 0);
        while at < keys.len() {
            cursor.seek_key(keys.get(at))?;
            let place = cursor.place(self.rows);
            let end = match &place.last_key {
                Some(last) if !place.is_last => {
                    let end = lower_bound(keys, at, last);
                    end + usize::from(end < keys.len() && keys.get(end) == &last[..])
                }
                _ => keys.len(),
            };
            places.push((place, at..end));
            at = end;
        }
        let found = task::try_map(places, |(place, range)| {
            let have = self.leaf_keys(&place)?;
            let mut row = 0;
            let found = range.map(|i| {
                row = lower_bound(&have, row, keys.get(i));
                row < have.len() && have.get(row) == keys.get(i)
            });
            Ok::<_, Error>(found.collect::<Vec<_>>())
        })?;
        Ok(found.concat())
    }

    fn leaf_keys(&self, place: &Place) -> Result<Keys> {
        let shared = &*self.shared;
        let object = shared.store.get_encoded(&place.id)?;
        if object.codec != LEAF {
            return keys_of(shared, &leaf_with(&place.id, shared.store.get(&place.id)?, place.rows)?);
        }
        let stored = columns_with(place, object.payload)?;
        shared.encoder.encode_key_columns(&stored.batch(&shared.schema, Some(&shared.schema.key))?)
    }

    /// The number of rows whose key is below `key`: the place of that key in the table.
    ///
    /// # Errors
    /// The store's.
    pub fn rank(&self, key: &[u8]) -> Result<u64> {
        if self.height == 0 {
            return Ok(0);
        }
        let mut cursor = Cursor::new(&self.shared, &self.root, self.height, 0)?;
        cursor.seek_key(key)?;
        let place = cursor.place(self.rows);
        let leaf = self.shared.leaf(&place.id, place.rows)?;
        Ok(place.start + lower_bound(&keys_of(&self.shared, &leaf)?, 0, key) as u64)
    }

    fn plan(&self, scan: &Scan) -> Result<Plan> {
        let id = |name: &String| match self.shared.schema.column(name) {
            Some(column) => Ok(column.id),
            None => Err(Error::NotFound(format!("reading column {name:?}: the table has no such column"))),
        };
        let columns =
            scan.columns.as_ref().map(|names| names.iter().map(id).collect::<Result<Vec<_>>>()).transpose()?;
        let prune = scan.prune.iter().map(|prune| Ok((id(&prune.column)?, prune.min, prune.max)));
        let prune = prune.collect::<Result<Vec<_>>>()?;
        // A key's successor in byte order is the key and a zero.
        let after = |key: &[u8]| self.rank(&[key, &[0]].concat());
        let start = match &scan.range.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.rank(key)?,
            Bound::Excluded(key) => after(key)?,
        };
        let end = match &scan.range.1 {
            Bound::Unbounded => self.rows,
            Bound::Included(key) => after(key)?,
            Bound::Excluded(key) => self.rank(key)?,
        };
        let limit = scan.limit.unwrap_or(u64::MAX);
        let start = start.saturating_add(scan.offset).min(end);
        // Leaves left out do not count towards the limit, so with pruning it is not known where to stop.
        let end = if prune.is_empty() { end.min(start.saturating_add(limit)) } else { end };
        Ok(Plan { table: self.clone(), columns, prune, rows: start..end, limit })
    }
}

impl Plan {
    fn start(self) -> Result<RowBatches> {
        let few = SMALL * u64::from(self.table.shared.schema.leaf_rows);
        if self.rows.end - self.rows.start <= few || self.limit <= few && self.prune.is_empty() {
            return collected(|sink| self.run(sink));
        }
        let weigh = |rows: &Rows| batch_bytes(&rows.batch);
        stream("scan", 2 * task::width(), weigh, move |sink| self.run(sink))
    }

    /// Reads everything and gives it to `sink`, in order.
    fn run(&self, sink: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let shared = &*self.table.shared;
        let mut cursor = Cursor::new(shared, &self.table.root, self.table.height, 0)?;
        cursor.seek_row(self.rows.start)?;
        let (mut more, mut left) = (true, self.limit);
        let (leaves, few) = self.leaves_at_once(&cursor.place(self.table.rows))?;
        let groups = std::iter::from_fn(|| {
            let leaves = if few { leaves } else { shared.leaf_size.fit(GROUP_BYTES, leaves) };
            let mut group = Vec::with_capacity(leaves);
            while more && group.len() < leaves {
                let place = cursor.place(self.table.rows);
                more = place.end() < self.rows.end;
                group.push(place);
                if more {
                    match cursor.next() {
                        Ok(true) => {}
                        Ok(false) => more = false,
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
            let weight = shared.leaf_size.weight(group.len());
            (!group.is_empty()).then_some(Ok((group, weight)))
        });
        task::pipeline_within(
            groups,
            (2 * task::width(), FLIGHT_BYTES),
            |group| self.read_group(shared, &group),
            |rows| {
                let Some(rows) = rows else { return Ok(()) };
                let count = left.min(rows.batch.num_rows() as u64);
                left -= count;
                match count {
                    0 => Ok(()),
                    _ if count == rows.batch.num_rows() as u64 => sink(rows),
                    _ => sink(rows.slice(0, count as usize)),
                }
            },
        )
    }

    /// How many leaves one task reads at most, and whether that is all of the scan. When it is not, the first leaf is read, to
    /// know how long they are.
    fn leaves_at_once(&self, first: &Place) -> Result<(usize, bool)> {
        let leaves = (BATCH_ROWS / self.table.shared.schema.leaf_rows).clamp(1, GROUP as u32) as usize;
        let few = self.rows.end - self.rows.start <= first.rows * leaves as u64;
        if !few {
            self.table.shared.leaf(&first.id, first.rows)?;
        }
        Ok((leaves, few))
    }

    /// The wanted rows of neighbouring leaves as one batch; `None` when there are none.
    fn read_group(&self, shared: &Shared, group: &[Place]) -> Result<Option<Rows>> {
        let ids: Vec<_> = group.iter().map(|place| place.id).collect();
        let objects = shared.store.get_encoded_many(&ids)?;
        objects.iter().for_each(|object| shared.leaf_size.note(object.raw_len as usize));
        let mut parts = Vec::with_capacity(group.len());
        for (place, object) in group.iter().zip(objects) {
            parts.extend(self.read(shared, place, object)?);
        }
        match parts.len() {
            0 | 1 => Ok(parts.pop()),
            _ => concat(&parts).map(Some),
        }
    }

    /// The wanted rows of a leaf; `None` when it cannot have any.
    fn read(&self, shared: &Shared, place: &Place, object: Encoded) -> Result<Option<Rows>> {
        let columns = self.columns.as_deref();
        let rows = if object.codec == LEAF {
            let stored = columns_with(place, object.payload)?;
            let outside = |(id, min, max): &(u32, i128, i128)| {
                stored.range(*id).is_some_and(|(low, high)| high < *min || low > *max)
            };
            if self.prune.iter().any(outside) {
                return Ok(None);
            }
            Rows { batch: stored.batch(&shared.schema, columns)?, externals: wanted(stored.externals(), columns) }
        } else {
            let leaf = leaf_with(&place.id, shared.store.get(&place.id)?, place.rows)?;
            Rows { batch: leaf.batch(&shared.schema, columns)?, externals: wanted(leaf.externals(), columns) }
        };
        let from = self.rows.start.saturating_sub(place.start);
        let to = self.rows.end.min(place.end()) - place.start;
        let all = from == 0 && to == place.rows;
        Ok(Some(if all { rows } else { rows.slice(from as usize, (to - from) as usize) }))
    }
}

/// The stored columns of a leaf, which must have the rows that its parent says.
fn columns_with(place: &Place, payload: bytes::Bytes) -> Result<Columns> {
    let stored = Columns::open(payload)?;
    if stored.rows() as u64 != place.rows {
        let (id, has, says) = (place.id, stored.rows(), place.rows);
        return Err(Error::corrupt(format!("leaf {id} has {has} rows, its parent says {says}")));
    }
    Ok(stored)
}

fn wanted(externals: &[crate::leaf::External], columns: Option<&[u32]>) -> Vec<crate::leaf::External> {
    let wanted = |external: &&crate::leaf::External| columns.is_none_or(|ids| ids.contains(&external.column));
    externals.iter().filter(wanted).copied().collect()
}
