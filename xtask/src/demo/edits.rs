//! Random edits of rows, as the files that a user would import.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use syncline_base::rng::Rng;

use super::tpch::Table;

/// Keys of random rows of `lineitem`: order and line, each row once, in order.
pub(super) fn random_keys(lineitem: &Table, rng: &mut Rng, count: u64) -> Result<Vec<(i64, i32)>> {
    ensure!(
        lineitem.rows >= 2 * count,
        "lineitem has {} rows, too few for this demo: use a larger --sf",
        lineitem.rows
    );
    let mut wanted = BTreeSet::new();
    while (wanted.len() as u64) < count {
        wanted.insert(rng.below(lineitem.rows));
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&lineitem.path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["l_orderkey", "l_linenumber"]);
    let mut keys = Vec::with_capacity(wanted.len());
    let mut first = 0;
    for batch in builder.with_projection(mask).with_batch_size(8_192).build()? {
        let batch = batch?;
        let rows = batch.num_rows() as u64;
        let orders = batch.column(0).as_primitive_opt::<Int64Type>().context("l_orderkey is no 64-bit integer")?;
        let lines = batch.column(1).as_primitive_opt::<Int32Type>().context("l_linenumber is no 32-bit integer")?;
        for row in wanted.range(first..first + rows) {
            let at = usize::try_from(row - first).context("a batch is too large")?;
            keys.push((orders.value(at), lines.value(at)));
        }
        first += rows;
    }
    Ok(keys)
}

/// New quantities and comments for these rows; the other cells stay.
pub(super) fn updates(path: &Path, keys: &[(i64, i32)], rng: &mut Rng, who: &str) -> Result<()> {
    lines(
        path,
        keys.iter().map(|(order, line)| {
            json!({
                "l_orderkey": order,
                "l_linenumber": line,
                "l_quantity": format!("{}.00", 1 + rng.below(50)),
                "l_comment": format!("checked by {who}, lot {}", rng.below(10_000)),
            })
        }),
    )
}

/// Whole new rows, with lines that no order has.
pub(super) fn inserts(path: &Path, keys: &[(i64, i32)], rng: &mut Rng) -> Result<()> {
    lines(
        path,
        keys.iter().map(|(order, line)| {
            json!({
                "l_orderkey": order,
                "l_linenumber": 100 + line,
                "l_partkey": 1 + rng.below(1_000),
                "l_suppkey": 1 + rng.below(10),
                "l_quantity": "1.00",
                "l_extendedprice": format!("{}.{:02}", 900 + rng.below(90_000), rng.below(100)),
                "l_discount": "0.05",
                "l_tax": "0.02",
                "l_returnflag": "N",
                "l_linestatus": "O",
                "l_shipdate": "1998-11-02",
                "l_commitdate": "1998-10-15",
                "l_receiptdate": "1998-11-20",
                "l_shipinstruct": "NONE",
                "l_shipmode": "RAIL",
                "l_comment": "added on edge-1",
            })
        }),
    )
}

/// Only keys: rows to delete.
pub(super) fn keys(path: &Path, keys: &[(i64, i32)]) -> Result<()> {
    lines(path, keys.iter().map(|(order, line)| json!({ "l_orderkey": order, "l_linenumber": line })))
}

/// One column of these rows, the same everywhere.
pub(super) fn one_cell(path: &Path, keys: &[(i64, i32)], column: &str, value: &str) -> Result<()> {
    lines(path, keys.iter().map(|(order, line)| json!({ "l_orderkey": order, "l_linenumber": line, column: value })))
}

fn lines(path: &Path, rows: impl Iterator<Item = serde_json::Value>) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "{row}")?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
