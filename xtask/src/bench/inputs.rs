//! Inputs, all of them from seeds: tables, trees of files, and one large file.
//!
//! An input is a pure function of its parameters; the cache keeps it under a name that holds them all. Whoever changes
//! what is generated raises [`VERSION`].

pub(super) mod blob;
pub(super) mod lineitem;
pub(super) mod prose;
pub(super) mod rows;
pub(super) mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use syncline_base::rng::Rng;

/// Part of every cached input's name.
pub(super) const VERSION: u32 = 1;

/// A Parquet writer with the settings of all inputs: zstd at level 1.
fn parquet(path: &Path, schema: SchemaRef) -> Result<ArrowWriter<File>> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let compression = Compression::ZSTD(ZstdLevel::try_new(1).context("zstd has a level 1")?);
    let properties = WriterProperties::builder().set_compression(compression).build();
    Ok(ArrowWriter::try_new(file, schema, Some(properties))?)
}

/// Writes a Parquet file of one batch.
fn parquet_of(path: &Path, batch: &RecordBatch) -> Result<()> {
    let mut writer = parquet(path, batch.schema())?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

/// `count` different numbers below `bound`, none of `taken`.
fn pick(rng: &mut Rng, bound: u64, count: usize, taken: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut picked = BTreeSet::new();
    while picked.len() < count {
        let candidate = rng.below(bound);
        if !taken.contains(&candidate) {
            picked.insert(candidate);
        }
    }
    picked
}
