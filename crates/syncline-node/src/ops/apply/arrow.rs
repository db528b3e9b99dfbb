//! Rows that come as an Arrow stream: its batches become transactions, as lines of changes.
//!
//! Owns the batch at hand and the lines of a transaction that goes on in the next one. Nothing is durable here. Memory: a batch of the
//! stream, and a transaction.
//!
//! Invariant: a row is one line, so the lines of a transaction are its rows, in their order.
//!
//! Not here: which rows fit a table (`live::rows`).

use std::collections::VecDeque;
use std::io::Read;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Schema as ArrowSchema};
use bytes::Bytes;
use syncline_tree::schema::{Field, Type};

use crate::ops::put;
use crate::{Error, Result, export, import};

/// The column that says what becomes of a row.
const OP: &str = "_op";
/// The column that says which transaction a row is of.
const TXN: &str = "_txn";
/// What the stream is called in messages.
const SOURCE: &str = "the Arrow stream";
/// A batch of more rows is several transactions, unless a column says which rows belong together.
const MOST_ROWS: u64 = 1 << 16;
/// And one of more bytes, as lines.
const MOST_BYTES: usize = 16 << 20;

/// A transaction of an Arrow stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its changes, as `apply` takes them.
    pub changes: Bytes,
    /// How many rows they are.
    pub rows: u64,
}

/// The transactions of an Arrow stream, one after another.
///
/// Each batch is one, and a large one is several; with a column `_txn` rows that follow each other with the same cell there are one, over
/// the ends of batches, too. A column `_op` says `set`, which is what null means, or `delete`. All other columns are the table's, by name.
pub struct Transactions {
    batches: Box<dyn Iterator<Item = import::Result<RecordBatch>> + Send>,
    columns: Vec<Column>,
    op: Option<usize>,
    txn: Option<usize>,
    /// Rows that were read.
    read: u64,
    /// Of the transaction at hand: its lines, its rows, and the cell that they have in common.
    lines: Vec<u8>,
    rows: u64,
    of: Option<String>,
    ready: VecDeque<Transaction>,
    ended: bool,
}

/// A column of the table.
struct Column {
    at: usize,
    ty: Type,
    /// With the colon behind it.
    name: String,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").field("read", &self.read).finish_non_exhaustive()
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::invalid(format!("applying {SOURCE}"), why)
}

impl Transactions {
    /// Reads what comes before the first batch.
    ///
    /// # Errors
    /// `invalid` when it is no Arrow stream, has a column of a type that no table has, or no column but those that are not the table's.
    pub fn new(input: Box<dyn Read + Send>) -> Result<Self> {
        let (schema, batches) = import::arrow_stream(SOURCE, input).map_err(|error| refused(error.to_string()))?;
        let place = |name: &str| schema.fields().iter().position(|field| field.name() == name);
        let (op, txn) = (place(OP), place(TXN));
        Ok(Self {
            batches: Box::new(batches),
            columns: columns(&schema)?,
            op,
            txn,
            read: 0,
            lines: Vec::new(),
            rows: 0,
            of: None,
            ready: VecDeque::new(),
            ended: false,
        })
    }

    /// Ends the transaction at hand.
    fn end(&mut self) {
        if self.rows > 0 {
            let (changes, rows) = (std::mem::take(&mut self.lines).into(), std::mem::take(&mut self.rows));
            self.ready.push_back(Transaction { changes, rows });
        }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|column| whole(batch.column(column.at), &column.ty.arrow(), &column.name))
            .collect::<Result<_>>()?;
        let text = |at: Option<usize>, name| at.map(|at| whole(batch.column(at), &DataType::Utf8, name)).transpose();
        let (ops, txns) = (text(self.op, OP)?, text(self.txn, TXN)?);
        let (ops, txns) =
            (ops.as_ref().map(|ops| ops.as_string::<i32>()), txns.as_ref().map(|txns| txns.as_string::<i32>()));
        for row in 0..batch.num_rows() {
            let nth = self.read + 1;
            if let Some(txns) = txns {
                if txns.is_null(row) {
                    return Err(refused(format!("row {nth} has no cell in {TXN}")));
                }
                if self.of.as_deref() != Some(txns.value(row)) {
                    self.end();
                    self.of = Some(txns.value(row).to_owned());
                }
            } else if self.rows == MOST_ROWS || self.lines.len() >= MOST_BYTES {
                self.end();
            }
            let deletes = match ops.filter(|ops| ops.is_valid(row)).map(|ops| ops.value(row)) {
                None | Some("set") => false,
                Some("delete") => true,
                Some(other) => {
                    return Err(refused(format!("row {nth} has {other:?} in {OP}, where there are set and delete")));
                }
            };
            self.line(deletes, &cells, row);
            if self.lines.len() > MOST_BYTES {
                // Only where a column keeps the rows together.
                put::check_size(self.lines.len())?;
            }
        }
        if self.txn.is_none() {
            self.end();
        }
        Ok(())
    }

    /// Adds a row.
    fn line(&mut self, deletes: bool, cells: &[ArrayRef], row: usize) {
        let begin: &[u8] = if deletes { b"{\"op\":\"delete\",\"key\":" } else { b"{\"op\":\"set\",\"row\":" };
        self.lines.extend_from_slice(begin);
        for (nth, (column, array)) in self.columns.iter().zip(cells).enumerate() {
            self.lines.push(if nth == 0 { b'{' } else { b',' });
            self.lines.extend_from_slice(column.name.as_bytes());
            export::write_json(&column.ty, array, row, &mut self.lines);
        }
        self.lines.extend_from_slice(b"}}\n");
        (self.rows, self.read) = (self.rows + 1, self.read + 1);
    }
}

/// The columns that are the table's.
fn columns(schema: &ArrowSchema) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if [OP, TXN].contains(&&field.name()[..]) {
            continue;
        }
        let Field { name, ty, .. } = Field::from_arrow(field)?;
        let name = format!("{}:", serde_json::Value::String(name));
        columns.push(Column { at, ty, name });
    }
    if columns.is_empty() {
        return Err(refused("it has no column of a table"));
    }
    Ok(columns)
}

/// The array as it is in a table: without dictionaries and the like.
fn whole(array: &ArrayRef, ty: &DataType, name: &str) -> Result<ArrayRef> {
    if array.data_type() == ty {
        return Ok(array.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, ty, &strict).map_err(|error| refused(format!("its column {name} {error}")))
}

impl Iterator for Transactions {
    type Item = Result<Transaction>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            let outcome = match self.batches.next() {
                Some(Ok(batch)) => self.batch(&batch),
                Some(Err(error)) => Err(refused(error.to_string())),
                None => {
                    self.ended = true;
                    self.end();
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                // What came before the row is not all of its transaction.
                (self.ended, self.rows) = (true, 0);
                self.ready.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests;
