//! Rows put together from cells of many small sources: columns are filled cell by cell, then copied at once.
//!
//! Owns: the sources until `finish`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_select::interleave::interleave;

use crate::leaf::External;
use crate::schema::Schema;
use crate::table::Rows;
use crate::{Error, Result};

/// Arrays to take cells from, by position in the schema.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) arrays: Vec<Option<ArrayRef>>,
    /// Cells of `arrays` that lie outside, sorted by (column, row).
    pub(crate) externals: Vec<External>,
}

impl Source {
    /// All columns of some rows.
    pub(crate) fn of(rows: &Rows) -> Self {
        Self { arrays: rows.batch.columns().iter().cloned().map(Some).collect(), externals: rows.externals.clone() }
    }

    /// The columns of a key, which are at `positions` of `width` columns.
    pub(crate) fn keys(width: usize, positions: &[usize], keys: &RecordBatch) -> Self {
        let mut source = Self { arrays: vec![None; width], externals: Vec::new() };
        for (position, array) in positions.iter().zip(keys.columns()) {
            source.arrays[*position] = Some(Arc::clone(array));
        }
        source
    }
}

/// Builds a batch.
#[derive(Debug)]
pub(crate) struct Gather<'a> {
    schema: &'a Schema,
    sources: Vec<Source>,
    /// For each column and row: source + 1 and row in it; source 0 is a null.
    picks: Vec<Vec<(usize, usize)>>,
    externals: Vec<External>,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        Self { schema, sources: Vec::new(), picks: vec![Vec::new(); schema.columns.len()], externals: Vec::new() }
    }

    /// Adds a source; its number.
    pub(crate) fn source(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// The next cell of a column; null when the source does not have the column.
    pub(crate) fn cell(&mut self, position: usize, source: usize, row: usize) {
        if self.sources[source].arrays[position].is_none() {
            return self.null(position);
        }
        let out = self.picks[position].len() as u32;
        self.picks[position].push((source + 1, row));
        let externals = &self.sources[source].externals;
        if !externals.is_empty() {
            let column = self.schema.columns[position].id;
            if let Ok(i) = externals.binary_search_by_key(&(column, row as u32), |e| (e.column, e.row)) {
                self.externals.push(External { row: out, ..externals[i] });
            }
        }
    }

    /// The next cell of a column is not there.
    pub(crate) fn null(&mut self, position: usize) {
        self.picks[position].push((0, 0));
    }

    /// The next row, all from one source.
    pub(crate) fn row(&mut self, source: usize, row: usize) {
        (0..self.picks.len()).for_each(|position| self.cell(position, source, row));
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.picks.first().map_or(0, Vec::len)
    }

    /// The batch; every column may be null.
    pub(crate) fn finish(mut self) -> Result<Rows> {
        let rows = self.rows();
        let arrow = self.schema.arrow();
        let fields: Vec<_> = arrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let columns = (0..fields.len()).map(|i| self.column(i, fields[i].data_type())).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), columns, &options)
            .map_err(|error| Error::corrupt(format!("putting rows together: {error}")))?;
        self.externals.sort_unstable();
        Ok(Rows { batch, externals: self.externals })
    }

    fn column(&mut self, position: usize, data_type: &arrow_schema::DataType) -> Result<ArrayRef> {
        let mut picks = std::mem::take(&mut self.picks[position]);
        if picks.iter().all(|(source, _)| *source == 0) {
            return Ok(new_null_array(data_type, picks.len()));
        }
        let null = new_null_array(data_type, 1);
        let mut arrays: Vec<&dyn Array> = vec![&null];
        let mut number = vec![0; self.sources.len() + 1];
        for (i, source) in self.sources.iter().enumerate() {
            if let Some(array) = source.arrays.get(position).and_then(Option::as_ref) {
                number[i + 1] = arrays.len();
                arrays.push(array);
            }
        }
        picks.iter_mut().for_each(|(source, _)| *source = number[*source]);
        if arrays.iter().any(|array| array.data_type() != data_type)
            || picks.iter().any(|(source, row)| *row >= arrays[*source].len())
        {
            return Err(Error::corrupt(format!(
                "column {:?}: cells are not what the schema says",
                self.schema.columns[position].name
            )));
        }
        interleave(&arrays, &picks).map_err(|error| Error::corrupt(format!("putting cells together: {error}")))
    }
}
