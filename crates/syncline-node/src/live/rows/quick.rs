//! Whole rows of plain columns, from JSON to writes in one pass, without a look at the rows that are there.
//!
//! What a write of a row is does not depend on the row before it when every column is given, nothing of it is merged, and what is there has no
//! cell that the table's definition does not know. Such rows are most of what programs write, and what large transactions are made of.
//!
//! Owns what it has read so far. Invariant: it gives what [`Definition::writes`] and [`Definition::deletes`] would give, or nothing; then
//! those are asked, who read all of JSON and say what is wrong. So there are no messages here.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use syncline_sync::live::{Node, Write};
use syncline_tree::key::MAX_KEY;
use syncline_tree::scalar;
use syncline_tree::schema::{Schema, Type};

use super::super::cells::{self, CellId, Cells};
use super::super::definition::{Definition, Writers};
use super::scan::{Raw, Scan};

/// What is made of a table's columns.
#[derive(Debug)]
pub(super) struct Plan {
    columns: Vec<Plain>,
    /// Positions of the key's columns, most significant first.
    key: Vec<usize>,
    /// The others, by the number of their cells, with their positions.
    values: Vec<(CellId, usize)>,
}

#[derive(Debug)]
struct Plain {
    name: Box<str>,
    ty: Type,
    nullable: bool,
}

impl Plan {
    /// For a schema; `values` are its columns that are not of the key, by the number of their cells.
    pub(super) fn new(schema: &Schema, values: Vec<(CellId, usize)>) -> Self {
        let plain = schema.columns.iter().map(|column| Plain {
            name: column.name.as_str().into(),
            ty: column.ty.clone(),
            nullable: column.nullable,
        });
        Self { columns: plain.collect(), key: schema.key_positions(), values }
    }
}

/// A row that was read.
#[derive(Debug)]
struct Made {
    /// Among the tables.
    table: usize,
    key: Range<usize>,
    /// None is a deletion.
    value: Option<Range<usize>>,
}

/// Reads rows of some tables, none of them twice.
#[derive(Debug, Default)]
pub(crate) struct Quick<'a> {
    tables: Vec<Arc<Definition>>,
    keys: Vec<u8>,
    values: Vec<u8>,
    made: Vec<Made>,
    /// The cells of the row at hand.
    cells: Vec<Option<Raw<'a>>>,
    /// Which column each member of the row before was: the next row has them in the same order nearly always.
    order: Vec<usize>,
}

impl<'a> Quick<'a> {
    /// For about so many bytes of JSON.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { keys: Vec::with_capacity(bytes / 8), values: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// The number of a table here, under which its rows are given.
    pub(crate) fn table(&mut self, name: &[u8], find: impl FnOnce(&str) -> Option<Arc<Definition>>) -> Option<usize> {
        // The last one is meant nearly always.
        let known = self.tables.iter().rposition(|table| table.name().as_bytes() == name);
        if known.is_some() {
            return known;
        }
        let table = find(std::str::from_utf8(name).ok()?)?;
        if table.has_marks() {
            return None;
        }
        self.tables.push(table);
        Some(self.tables.len() - 1)
    }

    /// Reads the row that a table is to have, whole.
    pub(crate) fn set(&mut self, table: usize, scan: &mut Scan<'a>) -> Option<()> {
        let definition = Arc::clone(&self.tables[table]);
        let plan = &definition.layout().plan;
        self.members(plan, false, scan)?;
        let key = self.key(plan)?;
        let start = self.values.len();
        cells::begin(&mut self.values);
        for (cell, at) in &plan.values {
            let Plain { ty, nullable, .. } = &plan.columns[*at];
            match self.cells[*at]? {
                Raw::Null if *nullable && *ty != Type::Json => {}
                raw => {
                    let mut fits = None;
                    cells::put(&mut self.values, *cell, |out| fits = put(out, ty, raw));
                    fits?;
                }
            }
        }
        self.made.push(Made { table, key, value: Some(start..self.values.len()) });
        Some(())
    }

    /// Reads the key of a row that a table is not to have any more.
    pub(crate) fn delete(&mut self, table: usize, scan: &mut Scan<'a>) -> Option<()> {
        let definition = Arc::clone(&self.tables[table]);
        let plan = &definition.layout().plan;
        self.members(plan, true, scan)?;
        let key = self.key(plan)?;
        self.made.push(Made { table, key, value: None });
        Some(())
    }

    /// Finds the cells of an object; those of columns that it does not have are none.
    fn members(&mut self, plan: &Plan, others: bool, scan: &mut Scan<'a>) -> Option<()> {
        let Self { cells, order, .. } = self;
        cells.clear();
        cells.resize(plan.columns.len(), None);
        let mut nth = 0;
        scan.object(|scan, name| {
            let is = |at: &usize| plan.columns.get(*at).is_some_and(|column| column.name.as_bytes() == name);
            let at = match order.get(nth).copied().filter(is) {
                Some(at) => at,
                None => {
                    let Some(at) = (0..plan.columns.len()).find(is) else {
                        return if others { scan.pass() } else { None };
                    };
                    order.truncate(nth);
                    order.push(at);
                    at
                }
            };
            nth += 1;
            cells[at].replace(scan.raw()?).is_none().then_some(())
        })
    }

    fn key(&mut self, plan: &Plan) -> Option<Range<usize>> {
        let start = self.keys.len();
        for at in &plan.key {
            put_key(&mut self.keys, &plan.columns[*at].ty, self.cells[*at]?)?;
        }
        (self.keys.len() - start <= MAX_KEY).then_some(start..self.keys.len())
    }

    /// What was read, as the writes of one transaction: by row, each once. Nothing when there is nothing.
    pub(crate) fn finish(self) -> Option<Writes> {
        let Self { tables, keys, values, mut made, .. } = self;
        let order = |a: &Made, b: &Made| {
            let names = || tables[a.table].name().cmp(tables[b.table].name());
            let tables = if a.table == b.table { Ordering::Equal } else { names() };
            tables.then_with(|| keys[a.key.clone()].cmp(&keys[b.key.clone()]))
        };
        if !made.is_sorted_by(|a, b| order(a, b).is_lt()) {
            made.sort_unstable_by(&order);
            // Of several writes of one row each builds on the one before.
            if !made.is_sorted_by(|a, b| order(a, b).is_lt()) {
                return None;
            }
        }
        let (keys, values) = (Bytes::from(keys), Bytes::from(values));
        let write = |Made { table, key, value }: Made| Write {
            row: tables[table].row(keys.slice(key)),
            value: value.map(|value| values.slice(value)),
        };
        let writes: Vec<Write> = made.into_iter().map(write).collect();
        (!writes.is_empty()).then_some(Writes { tables, writes })
    }
}

/// What whole rows write, whatever the rows are that they are written over, unless these have cells that nobody knows here. This replica may
/// write to the tables.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) tables: Vec<Arc<Definition>>,
    pub(crate) writes: Vec<Write>,
}

impl Writes {
    /// Whether what is there has nothing in it that a write would have to keep. Rows that this replica alone writes need no look: what is in
    /// them was known here when they were written, as long as the tables are the same. `same` is whether they are.
    pub(crate) fn hold(&self, node: &Node, same: bool) -> bool {
        let mut table = &self.tables[0];
        self.writes.iter().filter(|write| write.value.is_some()).all(|write| {
            if table.name() != &*write.row.table
                && let Some(found) = self.tables.iter().find(|table| table.name() == &*write.row.table)
            {
                table = found;
            }
            let ours = same && matches!(table.settings().writers, Writers::One(_));
            ours || node.look(&write.row).siblings().iter().all(|sibling| table.knows_all_of(&sibling.value))
        })
    }
}

impl Definition {
    /// The same as [`Self::writes`], for lines that are whole rows of plain columns.
    pub(crate) fn quick_writes(self: &Arc<Self>, ndjson: &[u8]) -> Option<Writes> {
        std::str::from_utf8(ndjson).ok()?;
        let mut quick = Quick::with_capacity(ndjson.len());
        let table = quick.table(self.name().as_bytes(), |_| Some(Arc::clone(self)))?;
        for line in lines(ndjson) {
            let mut scan = Scan::new(line);
            quick.set(table, &mut scan)?;
            scan.end()?;
        }
        quick.finish()
    }

    /// Whether a value is nothing but cells of columns that are known here.
    pub(super) fn knows_all_of(&self, value: &[u8]) -> bool {
        if value.first() != Some(&cells::VERSION) {
            return false;
        }
        let Ok(mut cells) = Cells::read(value) else { return false };
        let mut values = self.layout().plan.values.iter().peekable();
        loop {
            let Ok(next) = cells.next() else { return false };
            let Some((cell, _)) = next else { return true };
            while values.next_if(|(known, _)| *known < cell).is_some() {}
            if values.next_if(|(known, _)| *known == cell).is_none() && !self.is_dropped(cell) {
                return false;
            }
        }
    }
}

/// The lines of a text that are not empty.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// Writes a cell as it is kept, if it is plainly one of the type.
fn put(out: &mut Vec<u8>, ty: &Type, raw: Raw<'_>) -> Option<()> {
    match (ty, raw) {
        (Type::Utf8, Raw::Text(text)) => quoted(out, |out| out.extend_from_slice(text)),
        (Type::Bool, Raw::Bool(value)) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        (Type::Float64, Raw::Number(text, _)) => {
            scalar::write_float(out, scalar::float64(text).filter(|value| value.is_finite())?);
        }
        (Type::Decimal128 { precision, scale }, Raw::Number(text, _)) => {
            let value = scalar::decimal128(text, *precision, *scale)?;
            scalar::write_decimal(out, &value.to_string(), *scale);
        }
        (Type::Date32, Raw::Text(text)) => {
            let days = scalar::date32(text)?;
            quoted(out, |out| scalar::write_date(out, days.into()));
        }
        (Type::Timestamp { unit, zone }, Raw::Text(text)) => {
            let value = scalar::timestamp(text, *unit, zone.as_deref()).ok()?;
            quoted(out, |out| scalar::write_timestamp(out, value, *unit, zone.is_some()));
        }
        (Type::Uuid, Raw::Text(text)) => {
            let value = scalar::uuid(text)?;
            quoted(out, |out| scalar::write_uuid(out, &value));
        }
        (ty, Raw::Number(text, true)) if text != b"-0" => {
            let (bytes, signed) = width(ty)?;
            integer(text, bytes, signed)?;
            out.extend_from_slice(text);
        }
        _ => return None,
    }
    Some(())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Writes a part of a key, if it is plainly one of the type: `docs/format/key.md`.
fn put_key(out: &mut Vec<u8>, ty: &Type, raw: Raw<'_>) -> Option<()> {
    match (ty, raw) {
        // No zero byte is in there, which would have to be told from the end.
        (Type::Utf8, Raw::Text(text)) => {
            out.extend_from_slice(text);
            out.extend_from_slice(&[0, 0]);
        }
        (Type::Uuid, Raw::Text(text)) => out.extend_from_slice(&scalar::uuid(text)?),
        (Type::Bool, Raw::Bool(value)) => out.push(u8::from(value)),
        (Type::Date32, Raw::Text(text)) => put_int(out, i64::from(scalar::date32(text)?).cast_unsigned(), 4, true),
        (Type::Timestamp { unit, zone }, Raw::Text(text)) => {
            let value = scalar::timestamp(text, *unit, zone.as_deref()).ok()?;
            put_int(out, value.cast_unsigned(), 8, true);
        }
        (ty, Raw::Number(text, true)) => {
            let (bytes, signed) = width(ty)?;
            put_int(out, integer(text, bytes, signed)?, bytes, signed);
        }
        _ => return None,
    }
    Some(())
}

fn put_int(out: &mut Vec<u8>, value: u64, bytes: usize, signed: bool) {
    let flipped = if signed { value ^ 1 << (bytes * 8 - 1) } else { value };
    out.extend_from_slice(&flipped.to_be_bytes()[8 - bytes..]);
}

/// How many bytes an integer of the type has, and whether it has a sign.
const fn width(ty: &Type) -> Option<(usize, bool)> {
    Some(match ty {
        Type::Int8 => (1, true),
        Type::Int16 => (2, true),
        Type::Int32 => (4, true),
        Type::Int64 => (8, true),
        Type::UInt8 => (1, false),
        Type::UInt16 => (2, false),
        Type::UInt32 => (4, false),
        Type::UInt64 => (8, false),
        _ => return None,
    })
}

/// An integer that fits, as its bits.
fn integer(text: &[u8], bytes: usize, signed: bool) -> Option<u64> {
    let unused = 64 - bytes * 8;
    if signed {
        let value = scalar::int64(text)?;
        return (value << unused >> unused == value).then_some(value.cast_unsigned());
    }
    let value = u64::try_from(scalar::int(text)?).ok()?;
    (value << unused >> unused == value).then_some(value)
}
