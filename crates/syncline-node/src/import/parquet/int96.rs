//! Timestamps of the old kind (INT96: a day and nanoseconds, as Spark, Hive and Impala write them). They reach beyond the
//! years 1677 to 2262 that nanoseconds in 64 bits have, and the library wraps those around: so they are read once before
//! everything else, and a column that has such takes microseconds.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type as Physical;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use syncline_base::task;

use super::super::guard::guarded;
use super::super::positioned::Positioned;
use super::{Error, Result, damaged};

/// Timestamps that are looked at together.
const STEP: usize = 8192;

const JULIAN_DAY_OF_EPOCH: i128 = 2_440_588;
const NANOS_OF_DAY: i128 = 86_400_000_000_000;

/// What the timestamps of a column need.
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    /// Some lie outside of what nanoseconds have.
    wide: bool,
    /// Some are finer than a microsecond.
    fine: bool,
    /// Some lie outside of what microseconds have.
    beyond: bool,
}

impl Needs {
    fn see(&mut self, value: &Int96) {
        let [low, high, day] = value.data() else { return };
        // As the library takes them: both are signed.
        let (day, nanos) = (i128::from(*day as i32), i128::from((i64::from(*high) << 32) + i64::from(*low)));
        let value = (day - JULIAN_DAY_OF_EPOCH) * NANOS_OF_DAY + nanos;
        self.wide |= i64::try_from(value).is_err();
        self.fine |= value % 1000 != 0;
        self.beyond |= i64::try_from(value / 1000).is_err();
    }

    fn join(&mut self, other: Self) {
        self.wide |= other.wide;
        self.fine |= other.fine;
        self.beyond |= other.beyond;
    }
}

/// The schema under which no such timestamp changes; `None` when it is the one that the file has already.
pub(super) fn schema(name: &str, file: &Positioned, metadata: &ArrowReaderMetadata) -> Result<Option<Schema>> {
    let leaves = metadata.parquet_schema().columns();
    let old: Vec<usize> = (0..leaves.len()).filter(|leaf| leaves[*leaf].physical_type() == Physical::INT96).collect();
    if old.is_empty() {
        return Ok(None);
    }
    let mut needs = vec![Needs::default(); leaves.len()];
    let groups = (0..metadata.metadata().num_row_groups()).collect();
    let seen = task::try_map(groups, |group| guarded(name, || see(file, metadata.metadata(), group, &old)))?;
    for (leaf, seen) in seen.into_iter().flatten() {
        needs[leaf].join(seen);
    }
    let mut retyped = Retyped { name, needs: &needs, leaf: 0 };
    let schema = metadata.schema();
    let fields = schema.fields().iter().map(|field| retyped.field(field)).collect::<Result<Fields>>()?;
    if retyped.leaf != leaves.len() {
        return Err(damaged(name, "its two schemas have different numbers of columns"));
    }
    Ok((fields != *schema.fields()).then(|| Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// What these columns of a row group need.
fn see(
    file: &Positioned,
    metadata: &ParquetMetaData,
    group: usize,
    leaves: &[usize],
) -> parquet::errors::Result<Vec<(usize, Needs)>> {
    let reader = SerializedFileReader::new(file.clone())?;
    let group = reader.get_row_group(group)?;
    let columns = metadata.file_metadata().schema_descr().columns();
    let mut seen = Vec::new();
    for leaf in leaves {
        let mut column = parquet::column::reader::get_typed_column_reader::<Int96Type>(group.get_column_reader(*leaf)?);
        let (mut needs, mut values) = (Needs::default(), Vec::with_capacity(STEP));
        let (mut defined, mut repeated) = (Vec::new(), Vec::new());
        // A record of a column without lists is one value; of others it has as many as it has.
        let step = if columns[*leaf].max_rep_level() == 0 { STEP } else { STEP / 8 };
        while column.read_records(step, Some(&mut defined), Some(&mut repeated), &mut values)?.0 > 0 {
            values.iter().for_each(|value| needs.see(value));
            values.clear();
            defined.clear();
            repeated.clear();
        }
        seen.push((*leaf, needs));
    }
    Ok(seen)
}

/// Walks over a schema with the number of the leaf that comes next.
struct Retyped<'a> {
    name: &'a str,
    needs: &'a [Needs],
    leaf: usize,
}

impl Retyped<'_> {
    fn field(&mut self, field: &FieldRef) -> Result<FieldRef> {
        let ty = match field.data_type() {
            DataType::Struct(fields) => {
                DataType::Struct(fields.iter().map(|field| self.field(field)).collect::<Result<Fields>>()?)
            }
            DataType::List(item) => DataType::List(self.field(item)?),
            DataType::LargeList(item) => DataType::LargeList(self.field(item)?),
            DataType::ListView(item) => DataType::ListView(self.field(item)?),
            DataType::LargeListView(item) => DataType::LargeListView(self.field(item)?),
            DataType::FixedSizeList(item, size) => DataType::FixedSizeList(self.field(item)?, *size),
            DataType::Map(entries, sorted) => DataType::Map(self.field(entries)?, *sorted),
            leaf => {
                let needs = self.needs.get(self.leaf).copied().unwrap_or_default();
                self.leaf += 1;
                self.leaf_type(field, leaf, needs)?
            }
        };
        let same = ty == *field.data_type();
        Ok(if same { field.clone() } else { Arc::new(Field::clone(field).with_data_type(ty)) })
    }

    fn leaf_type(&self, field: &Field, is: &DataType, needs: Needs) -> Result<DataType> {
        let refuse = |why: &str| Err(Error::source(self.name, format!("its column `{}` has {why}", field.name())));
        match is {
            DataType::Timestamp(..) if needs.beyond => {
                refuse("timestamps (INT96) outside of the years -290307 to 294246, which no table can hold")
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) if needs.wide && needs.fine => refuse(
                "timestamps (INT96) outside of the years 1677 to 2262 and others that are finer than a microsecond: no \
                 unit has both; write it again with timestamps in microseconds",
            ),
            DataType::Timestamp(TimeUnit::Nanosecond, zone) if needs.wide => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            is => Ok(is.clone()),
        }
    }
}
