//! TPC-H `lineitem`: the table, and three sets of random edits to it that share no row.
//!
//! An edit changes the extended price and the comment. One pass over the generator writes every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, Decimal128Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use syncline_base::rng::Rng;
use tpchgen::csv::LineItemCsv;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

const SEED: u64 = 0x11ae_17e8;
/// The columns of the primary key.
pub(in super::super) const KEY: &str = "l_orderkey,l_linenumber";
const PRICE: &str = "l_extendedprice";
const COMMENT: &str = "l_comment";

/// The table with nothing edited.
pub(in super::super) const BASE: &str = "lineitem.parquet";
/// The table with the first set of edits.
pub(in super::super) const EDITED: &str = "lineitem-edited.parquet";
/// The sets of edits: rows whole, in key order.
pub(in super::super) const EDITS: [&str; 3] = ["edits-1.parquet", "edits-2.parquet", "edits-3.parquet"];

/// Writes the files into `dir`: scale factor `scale`, `count` edits in each set.
pub(in super::super) fn write(dir: &Path, scale: f64, count: usize) -> Result<()> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scale factors are small and positive")]
    let bound = (5_990_000.0 * scale) as u64;
    let mut rng = Rng::from_seed(SEED);
    let mut taken = BTreeSet::new();
    let sets = EDITS.map(|_| {
        let set = super::pick(&mut rng, bound, count, &taken);
        taken.extend(&set);
        set
    });
    let schema = schema();
    let mut base = super::parquet(&dir.join(BASE), Arc::clone(&schema))?;
    let mut edited = super::parquet(&dir.join(EDITED), Arc::clone(&schema))?;
    let mut edits: Vec<ArrowWriter<File>> = Vec::new();
    for name in EDITS {
        edits.push(super::parquet(&dir.join(name), Arc::clone(&schema))?);
    }
    let mut first = 0;
    for batch in LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).with_batch_size(65_536) {
        let batch = plain(&batch?, &schema)?;
        let rows = first..first + batch.num_rows() as u64;
        base.write(&batch)?;
        for (at, set) in sets.iter().enumerate() {
            let here: BTreeSet<u64> = set.range(rows.clone()).map(|row| row - rows.start).collect();
            let changed = change(&batch, &here, rows.start)?;
            let indices =
                here.iter().map(|&row| u32::try_from(row).context("a batch is small")).collect::<Result<Vec<_>>>()?;
            edits[at].write(&arrow_select::take::take_record_batch(&changed, &UInt32Array::from(indices))?)?;
            if at == 0 {
                edited.write(&changed)?;
            }
        }
        first = rows.end;
    }
    for writer in edits.into_iter().chain([base, edited]) {
        writer.close()?;
    }
    Ok(())
}

/// The table as CSV.
pub(in super::super) const CSV: &str = "lineitem.csv";
/// Its columns, as `import --schema` takes them.
pub(in super::super) const SCHEMA: &str = "schema.json";

/// Writes the table with nothing edited as CSV, and its schema, into `dir`.
pub(in super::super) fn write_csv(dir: &Path, scale: f64) -> Result<()> {
    let path = dir.join(CSV);
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    writeln!(out, "{}", LineItemCsv::header())?;
    for item in LineItemGenerator::new(scale, 1, 1).iter() {
        writeln!(out, "{}", LineItemCsv::new(item))?;
    }
    out.flush()?;
    let columns = schema().fields().iter().map(|field| declared(field)).collect::<Result<Vec<_>>>()?;
    let path = dir.join(SCHEMA);
    std::fs::write(&path, serde_json::to_vec(&columns)?).with_context(|| format!("writing {}", path.display()))
}

/// A column as a schema file declares it.
fn declared(field: &Field) -> Result<Value> {
    let ty = match field.data_type() {
        DataType::Int64 => "int64".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Utf8 => "utf8".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        other => bail!("lineitem has a column of type {other}"),
    };
    Ok(json!({"name": field.name(), "type": ty, "nullable": field.is_nullable()}))
}

/// How many rows a file of the table has.
pub(in super::super) fn rows(path: &Path) -> Result<u64> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let reader = parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, Default::default())?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).context("a negative number of rows")
}

/// The generator's string views as plain strings: every peer reads those.
fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| arrow_cast::cast(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<ArrayRef>, _>>()?)?)
}

fn schema() -> SchemaRef {
    let fields = LineItemArrow::schema_ref();
    let fields = fields.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8View => Field::new(field.name(), DataType::Utf8, false),
        ty => Field::new(field.name(), ty.clone(), false),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batch with the given rows edited; `first` is the number of its first row in the table.
fn change(batch: &RecordBatch, rows: &BTreeSet<u64>, first: u64) -> Result<RecordBatch> {
    let fresh: BTreeMap<u64, (i128, String)> = rows.iter().map(|&row| (row, cells(first + row))).collect();
    let place = |name: &str| batch.schema().index_of(name);
    let (price, comment) = (place(PRICE)?, place(COMMENT)?);
    let old_price = batch.column(price).as_primitive::<Decimal128Type>();
    let old_comment = batch.column(comment).as_string::<i32>();
    let all = || 0..batch.num_rows();
    let prices = all().map(|row| fresh.get(&(row as u64)).map_or_else(|| old_price.value(row), |cells| cells.0));
    let prices = Decimal128Array::from_iter_values(prices).with_data_type(old_price.data_type().clone());
    let comments =
        all().map(|row| fresh.get(&(row as u64)).map_or_else(|| old_comment.value(row), |cells| cells.1.as_str()));
    let mut columns = batch.columns().to_vec();
    columns[price] = Arc::new(prices);
    columns[comment] = Arc::new(StringArray::from_iter_values(comments));
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn cells(row: u64) -> (i128, String) {
    let mut rng = Rng::from_seed(SEED.wrapping_add(row));
    let price = i128::from(rng.below(10_000_000)) + 90_000;
    (price, format!("corrected by hand, slip {:07}", rng.below(10_000_000)))
}

#[cfg(test)]
mod tests;
