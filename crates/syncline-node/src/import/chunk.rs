//! A chunk: some rows of a source in the table's schema, before they are in key order.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use syncline_tree::key::{KeyEncoder, MAX_KEY};

use super::report::Bad;
use super::{Error, Result};

/// Where the rows of a chunk are (see `report::position`).
#[derive(Debug, Clone)]
pub(crate) enum Places {
    /// One after the other from here.
    From(u64),
    /// Each on its own.
    Each(Vec<u64>),
}

impl Places {
    pub(crate) fn get(&self, row: usize) -> u64 {
        match self {
            Self::From(first) => first + row as u64,
            Self::Each(places) => places[row],
        }
    }

    pub(crate) fn to_vec(&self, rows: usize) -> Vec<u64> {
        (0..rows).map(|row| self.get(row)).collect()
    }
}

/// Which columns the rows' source gave: indices into [`Shapes`].
#[derive(Debug, Clone)]
pub(crate) enum RowShapes {
    One(u32),
    Each(Vec<u32>),
}

impl RowShapes {
    pub(crate) fn get(&self, row: usize) -> u32 {
        match self {
            Self::One(shape) => *shape,
            Self::Each(shapes) => shapes[row],
        }
    }
}

/// The sets of columns that rows were given with. The first is always "all of them".
#[derive(Debug, Default)]
pub(crate) struct Shapes(Mutex<Vec<Option<Arc<[u32]>>>>);

/// More different sets than that are not a table.
const SHAPES_MAX: usize = 1 << 16;

impl Shapes {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(vec![None]))
    }

    /// The number of a set of column ids.
    pub(crate) fn intern(&self, ids: &[u32]) -> Result<u32> {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shapes.iter().position(|known| known.as_deref() == Some(ids));
        let index = match found {
            Some(index) => index,
            None if shapes.len() >= SHAPES_MAX => {
                return Err(Error::invalid("the records have more than 65,536 different sets of keys"));
            }
            None => {
                shapes.push(Some(ids.into()));
                shapes.len() - 1
            }
        };
        Ok(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The sets known so far.
    pub(crate) fn snapshot(&self) -> Vec<Option<Arc<[u32]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Some rows.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// In the table's schema; only rows that fit.
    pub(crate) rows: RecordBatch,
    pub(crate) places: Places,
    pub(crate) shapes: RowShapes,
    /// Rows that do not fit.
    pub(crate) bad: Vec<Bad>,
}

impl Chunk {
    /// Takes the rows out whose keys are too long; `text` gives the row at a position as it is in the source.
    pub(crate) fn without_long_keys(mut self, encoder: &KeyEncoder, text: impl Fn(u64) -> String) -> Result<Self> {
        let long = encoder.too_long(&self.rows)?;
        if long.is_empty() {
            return Ok(self);
        }
        let mut keep = vec![true; self.rows.num_rows()];
        for (row, bytes) in long {
            keep[row] = false;
            let position = self.places.get(row);
            let reason = format!("its key takes {bytes} bytes, and a key may have {MAX_KEY}");
            self.bad.push(Bad { position, reason, text: text(position) });
        }
        self.bad.sort_by_key(|bad| bad.position);
        self.filter(&keep.into())?;
        Ok(self)
    }

    /// Keeps only some rows.
    pub(crate) fn filter(&mut self, keep: &BooleanArray) -> Result<()> {
        let kept: Vec<usize> = keep.values().set_indices().collect();
        self.rows = filter_record_batch(&self.rows, keep).map_err(Error::arrow("take bad rows out"))?;
        self.places = Places::Each(kept.iter().map(|row| self.places.get(*row)).collect());
        if let RowShapes::Each(shapes) = &self.shapes {
            self.shapes = RowShapes::Each(kept.iter().map(|row| shapes[*row]).collect());
        }
        Ok(())
    }
}
