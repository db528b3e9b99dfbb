//! Whether a source's keys come in order: its key columns are read ahead of everything else, as a row that has been
//! handed out cannot be taken back.

use arrow_array::RecordBatch;
use syncline_tree::key::Keys;

use super::Result;
use super::fit::FitPlan;
use crate::sort;

/// Whether keys come in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) in_order: bool,
    /// The first and the last key.
    pub(super) ends: Option<(Vec<u8>, Vec<u8>)>,
}

impl Order {
    /// Of no keys.
    pub(super) const fn new() -> Self {
        Self { in_order: true, ends: None }
    }

    /// Takes in the keys that come after these.
    pub(super) fn join(&mut self, next: Self) {
        self.in_order &= next.in_order;
        match (&mut self.ends, next.ends) {
            (Some((_, end)), Some((first, last))) => {
                self.in_order &= *end <= first;
                *end = last;
            }
            (ends @ None, next) => *ends = next,
            (Some(_), None) => {}
        }
    }

    /// Of batches of the key's columns, which `plan` fits. Ends with the first batch that breaks the order.
    pub(super) fn of(batches: impl Iterator<Item = Result<RecordBatch>>, plan: &FitPlan) -> Result<Self> {
        let mut order = Self::new();
        for batch in batches {
            let keys = plan.fit_key(&batch?)?;
            if keys.num_rows() > 0 && !order.add(&plan.encoder.encode_key_columns(&keys)?) {
                break;
            }
        }
        Ok(order)
    }

    /// Takes in the next keys; says whether the order still holds.
    fn add(&mut self, keys: &Keys) -> bool {
        let (first, last) = (keys.get(0), keys.get(keys.len() - 1));
        self.in_order &= sort::in_order(keys);
        match &mut self.ends {
            None => self.ends = Some((first.to_vec(), last.to_vec())),
            Some((_, end)) => {
                self.in_order &= end.as_slice() <= first;
                end.clear();
                end.extend_from_slice(last);
            }
        }
        self.in_order
    }
}
