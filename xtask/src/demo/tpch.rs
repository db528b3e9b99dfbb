//! TPC-H tables as Parquet files, made by the `tpchgen` crates: the same bytes for the same scale factor, everywhere.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tpchgen::generators as make;
use tpchgen_arrow as arrow;

/// A table and its key.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: &'static str,
    pub key: &'static str,
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
}

/// Writes the eight tables into `dir`.
pub(super) fn write_all(dir: &Path, sf: f64) -> Result<Vec<Table>> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let write = |name: &'static str, key: &'static str, batches: &mut dyn Iterator<Item = RecordBatch>| {
        write(dir, name, key, batches).with_context(|| format!("writing the table {name}"))
    };
    // Only `part` 1 of 1: the whole table.
    macro_rules! table {
        ($name:literal, $key:literal, $make:ident, $arrow:ident) => {
            write(
                $name,
                $key,
                &mut arrow::$arrow::new(make::$make::new(sf, 1, 1))
                    .map(|batch| batch.expect("its rows fit its schema")),
            )
        };
    }
    Ok(vec![
        table!("region", "r_regionkey", RegionGenerator, RegionArrow)?,
        table!("nation", "n_nationkey", NationGenerator, NationArrow)?,
        table!("supplier", "s_suppkey", SupplierGenerator, SupplierArrow)?,
        table!("customer", "c_custkey", CustomerGenerator, CustomerArrow)?,
        table!("part", "p_partkey", PartGenerator, PartArrow)?,
        table!("partsupp", "ps_partkey,ps_suppkey", PartSuppGenerator, PartSuppArrow)?,
        table!("orders", "o_orderkey", OrderGenerator, OrderArrow)?,
        table!("lineitem", "l_orderkey,l_linenumber", LineItemGenerator, LineItemArrow)?,
    ])
}

fn write(
    dir: &Path,
    name: &'static str,
    key: &'static str,
    batches: &mut dyn Iterator<Item = RecordBatch>,
) -> Result<Table> {
    let path = dir.join(format!("{name}.parquet"));
    let first = batches.next().context("the generator gives no rows")?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(&path)?, first.schema(), Some(properties))?;
    let mut rows = 0;
    for batch in std::iter::once(first).chain(batches) {
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.close()?;
    let bytes = std::fs::metadata(&path)?.len();
    Ok(Table { name, key, path, rows, bytes })
}
