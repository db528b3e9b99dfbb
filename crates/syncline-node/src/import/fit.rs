//! Batches of typed sources (Parquet, Arrow) brought into the table's schema without losing anything silently.
//!
//! Which types become which is settled first ([`pairs`]). Then a cell that its conversion would change (a float with a
//! fraction into an integer, an integer that is too large, nanoseconds into microseconds) makes its row a bad row
//! ([`scalars`]). Text goes through the same rules as text formats. Lists, structs and maps are taken apart
//! ([`levels`]), so that all this holds inside of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, RecordBatch, StructArray, make_array, new_null_array,
};
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use arrow_select::interleave::interleave;
use syncline_tree::key::KeyEncoder;
use syncline_tree::schema::{Schema, Type};

use super::chunk::{Chunk, Places, RowShapes};
use super::column::OnBad;
use super::grid::{Grid, Kind};
use super::infer::Origin;
use super::report::{self, Bad};
use super::{Error, Result, column, json};

mod decimals;
mod levels;
mod pairs;
mod scalars;

/// A column nobody gave: nulls, or zeros where null is not allowed.
pub(super) fn filler(field: &Field, rows: usize) -> ArrayRef {
    if field.is_nullable() {
        return new_null_array(field.data_type(), rows);
    }
    match field.data_type() {
        DataType::Struct(fields) => {
            let parts = fields.iter().map(|field| filler(field, rows)).collect();
            Arc::new(StructArray::new(fields.clone(), parts, None))
        }
        DataType::FixedSizeList(item, size) => {
            let items = filler(item, rows * usize::try_from(*size).unwrap_or(0));
            Arc::new(FixedSizeListArray::new(item.clone(), *size, items, None))
        }
        plain => {
            let data = new_null_array(plain, rows).into_data().into_builder().nulls(None).build();
            make_array(data.expect("zeroed buffers are valid for every type that is not nested"))
        }
    }
}

/// The array with zeros for its nulls, of the field's type. For columns that may not be null: rows that lack them are
/// there to have their other cells replaced, and nobody looks at these.
pub(super) fn zeroed(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    without_nulls(array, field).map_err(Error::arrow("fill in cells that are not given"))
}

fn without_nulls(array: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let valid = (0..array.len()).map(|row| Some(array.is_valid(row))).collect();
    with_zeros(array, &valid, field)
}

/// The array as the field wants it, with zeros in the rows that are not to be kept.
fn with_zeros(array: &ArrayRef, valid: &BooleanArray, field: &Field) -> Result<ArrayRef, ArrowError> {
    // What is there takes its type first: a null inside of a nested cell that is not there would not fit it.
    let given = arrow_select::filter::filter(array, valid)?;
    let given = if given.data_type() == field.data_type() { given } else { cast(&given, field.data_type())? };
    let mut next = 0;
    let places = valid.values().iter().map(|is_given| {
        next += usize::from(is_given);
        if is_given { (0, next - 1) } else { (1, 0) }
    });
    let places: Vec<_> = places.collect();
    interleave(&[&given, &filler(field, 1)], &places)
}

/// How batches of one source become chunks.
#[derive(Debug, Clone)]
pub(super) struct FitPlan {
    pub(super) source: u32,
    pub(super) name: String,
    pub(super) schema: Arc<Schema>,
    pub(super) arrow: SchemaRef,
    pub(super) encoder: KeyEncoder,
    /// Per column of the schema: where it is in the batches.
    pub(super) columns: Vec<Option<usize>>,
    /// Per column of the schema: what the source has it as. Arrow's type does not tell: two types have the same.
    pub(super) types: Vec<Option<Type>>,
    /// The set of columns the source gives.
    pub(super) shape: u32,
}

impl FitPlan {
    /// The source's columns it uses (ascending), and the plan for batches that have only them.
    pub(super) fn narrowed(&self) -> (Vec<usize>, Self) {
        let mut used: Vec<usize> = self.columns.iter().flatten().copied().collect();
        used.sort_unstable();
        let columns = self.columns.iter().map(|at| at.and_then(|at| used.binary_search(&at).ok())).collect();
        (used, Self { columns, ..self.clone() })
    }

    /// The plan that reads the key's columns only.
    pub(super) fn key_only(&self) -> Self {
        let keys = self.schema.columns.iter().map(|column| self.schema.key.contains(&column.id));
        let columns = self.columns.iter().zip(keys).map(|(at, is_key)| at.filter(|_| is_key)).collect();
        Self { columns, ..self.clone() }
    }

    /// The key's columns of a narrowed batch, in key order, without bad rows.
    pub(super) fn fit_key(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        let positions = self.schema.key_positions();
        let mut arrays = Vec::with_capacity(positions.len());
        for at in &positions {
            let place = self.columns[*at].ok_or_else(|| Error::source(&self.name, "it lacks columns of the key"))?;
            arrays.push(self.column(batch.column(place), *at, &mut reasons)?);
        }
        if !reasons.is_empty() {
            let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(!reasons.contains_key(&row))).collect();
            let kept = arrays.iter().map(|array| arrow_select::filter::filter(array, &keep)).collect::<Result<_, _>>();
            arrays = kept.map_err(Error::arrow("take bad rows out"))?;
        }
        let keys = RecordBatch::try_new(self.schema.arrow_of(&positions), arrays)
            .map_err(Error::arrow("put key columns together"))?;
        let long = self.encoder.too_long_key_columns(&keys)?;
        if long.is_empty() {
            return Ok(keys);
        }
        let keep: BooleanArray =
            (0..keys.num_rows()).map(|row| Some(long.iter().all(|(other, _)| *other != row))).collect();
        filter_record_batch(&keys, &keep).map_err(Error::arrow("take bad rows out"))
    }

    /// Fits a batch whose first row has this number (from 1).
    pub(super) fn fit(&self, batch: &RecordBatch, first: u64) -> Result<Chunk> {
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (at, place) in self.columns.iter().enumerate() {
            let field = self.arrow.field(at);
            arrays.push(match place {
                Some(place) => self.column(batch.column(*place), at, &mut reasons)?,
                None => filler(field, batch.num_rows()),
            });
        }
        let places = Places::From(report::position(self.source, first));
        let text = |position: u64| row_text(batch, usize::try_from(position - places.get(0)).unwrap_or(0));
        if reasons.is_empty() {
            let rows =
                RecordBatch::try_new(self.arrow.clone(), arrays).map_err(Error::arrow("put columns together"))?;
            let chunk = Chunk { rows, places: places.clone(), shapes: RowShapes::One(self.shape), bad: Vec::new() };
            return chunk.without_long_keys(&self.encoder, text);
        }
        let bad = reasons.iter().map(|(row, reason)| Bad {
            position: places.get(*row),
            reason: reason.clone(),
            text: row_text(batch, *row),
        });
        let bad = bad.collect();
        let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(!reasons.contains_key(&row))).collect();
        let kept: Vec<usize> = keep.values().set_indices().collect();
        let arrays = arrays.iter().map(|array| arrow_select::filter::filter(array, &keep)).collect::<Result<_, _>>();
        let arrays = arrays.map_err(Error::arrow("take bad rows out"))?;
        let rows = RecordBatch::try_new(self.arrow.clone(), arrays).map_err(Error::arrow("put columns together"))?;
        let kept = Places::Each(kept.iter().map(|row| places.get(*row)).collect());
        Chunk { rows, places: kept, shapes: RowShapes::One(self.shape), bad }.without_long_keys(&self.encoder, text)
    }

    fn column(&self, array: &ArrayRef, at: usize, reasons: &mut BTreeMap<usize, String>) -> Result<ArrayRef> {
        let (field, column) = (self.arrow.field(at), &self.schema.columns[at]);
        let from = self.types[at].as_ref().unwrap_or(&column.ty);
        let array = if is_same(from, array.data_type(), &column.ty, field.data_type()) {
            array.clone()
        } else {
            self.convert(array, from, field, &column.ty, reasons)?
        };
        let array = json::checked(&array, &column.ty, column.nullable, &mut |row, reason| {
            reasons.entry(row).or_insert_with(|| format!("column `{}`: {reason}", column.name));
        });
        decimals::check(&array, &column.ty, &column.name, &mut |row, reason| {
            reasons.entry(row).or_insert(reason);
        });
        if array.logical_null_count() > 0 && (!column.nullable || self.schema.key.contains(&column.id)) {
            for row in (0..array.len()).filter(|row| array.is_null(*row)) {
                reasons.entry(row).or_insert_with(|| format!("column `{}` may not be null", column.name));
            }
        }
        Ok(array)
    }

    fn convert(
        &self,
        array: &ArrayRef,
        from: &Type,
        field: &Field,
        ty: &Type,
        reasons: &mut BTreeMap<usize, String>,
    ) -> Result<ArrayRef> {
        let failed = |Unfit(why)| {
            let reason = format!("column `{}` of type {from} cannot become {ty}: {why}", field.name());
            Error::source(&self.name, reason)
        };
        let mut bad = |row: usize, reason: String| {
            reasons.entry(row).or_insert(reason);
        };
        convert(array, from, field.data_type(), ty, field.name(), &mut bad).map_err(failed)
    }
}

/// Whether cells of one type are cells of the other as they are.
fn is_same(from: &Type, is: &DataType, ty: &Type, to: &DataType) -> bool {
    // The bits of a bfloat16 are a `UInt16` to Arrow. Inside of nested types the fields' metadata tells.
    is == to && (*from == Type::BFloat16) == (*ty == Type::BFloat16)
}

/// Why no value of a column can be one of the table's.
struct Unfit(String);

impl From<ArrowError> for Unfit {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

type Converted = Result<ArrayRef, Unfit>;

/// An array of the column `name`, of the type `from`, as one of another type; what does not fit is told by its place in
/// the array.
fn convert(array: &ArrayRef, from: &Type, to: &DataType, ty: &Type, name: &str, bad: &mut OnBad<'_>) -> Converted {
    let plain = unpacked(array)?;
    if is_same(from, plain.data_type(), ty, to) {
        return Ok(plain);
    }
    // What writes a column without a single value often knows no type for it either.
    if plain.data_type() == &DataType::Null {
        return Ok(new_null_array(to, plain.len()));
    }
    if let Some(why) = pairs::refusal(from, ty) {
        return Err(Unfit(why.to_owned()));
    }
    if plain.data_type() == &DataType::Utf8 {
        return Ok(from_text(&plain, to, ty, name, bad)?);
    }
    if to.is_nested() {
        return levels::convert(&plain, from, to, ty, name, bad);
    }
    Ok(scalars::convert(&plain, from, to, ty, name, bad)?)
}

/// The same values without an encoding (dictionary, run ends, views, 64-bit offsets), in an array of a kind that tables
/// have.
fn unpacked(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values)?,
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type())?,
        _ => array.clone(),
    };
    match plain.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Interval(_) => cast(&plain, &DataType::Utf8),
        DataType::LargeBinary | DataType::BinaryView => cast(&plain, &DataType::Binary),
        DataType::Duration(_) => cast(&plain, &DataType::Int64),
        DataType::Date64 => cast(&plain, &DataType::Timestamp(TimeUnit::Millisecond, None)),
        _ => Ok(plain),
    }
}

fn from_text(
    array: &ArrayRef,
    to: &DataType,
    ty: &Type,
    name: &str,
    bad: &mut OnBad<'_>,
) -> Result<ArrayRef, ArrowError> {
    let mut grid = Grid::new(Vec::new(), 1);
    for cell in array.as_string::<i32>() {
        match cell {
            Some(text) => grid.push_bytes(text.as_bytes(), Kind::Text),
            None => grid.push_empty(Kind::Null),
        }
    }
    let source =
        column::Source { grid: &grid, column: 0, name, nullable: true, may_lack: true, origin: Origin::Declared };
    let mut refused = BTreeSet::new();
    let built = column::build(&source, ty, &mut |row, reason| {
        refused.insert(row);
        bad(row, reason);
    });
    if built.data_type() == to {
        return Ok(built);
    }
    if refused.is_empty() {
        return cast(&built, to);
    }
    // Bad rows may have left nulls where a nested type has none; such rows must not reach the strict cast.
    let kept = (0..built.len()).map(|row| Some(!refused.contains(&row))).collect();
    with_zeros(&built, &kept, &Field::new(name, to.clone(), false))
}

/// A cell as text, for people. The library knows no names of zones, so a timestamp with one is shown in UTC.
fn cell_text(array: &ArrayRef, row: usize) -> Option<String> {
    if matches!(array.data_type(), DataType::Timestamp(_, Some(_))) {
        return array_value_to_string(&scalars::in_zone(&array.slice(row, 1), Some("+00:00")).ok()?, 0).ok();
    }
    array_value_to_string(array, row).ok()
}

/// A row as JSON text, for the reject file.
fn row_text(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
        let text = array.is_valid(row).then(|| cell_text(array, row)).flatten();
        (field.name().clone(), text.map_or(serde_json::Value::Null, serde_json::Value::String))
    });
    serde_json::Value::Object(cells.collect()).to_string()
}
