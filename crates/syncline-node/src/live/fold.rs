//! Live tables as tables of a version.
//!
//! What readers see of a live table becomes a table of the versioned tree: the same rows under the same definition give the same root on
//! every replica, whatever their history. Owns no state. Not here: what a version is (`crate::ops::commit`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use syncline_store::Store;
use syncline_tree::{Changes, Table, TableRef};

use super::definition::Definition;
use super::engine::sound;
use super::tables::Look;
use super::{Engine, token};
use crate::{Error, Result};

/// Live tables at one moment.
#[derive(Debug)]
pub struct Folded {
    /// By name.
    pub tables: BTreeMap<String, TableRef>,
    /// What the rows follow from.
    pub position: String,
}

/// Stores all live tables of a replica as they are at one moment: what hubs have taken in, without what waits for one.
///
/// # Errors
/// `conflict` when a row does not fit its table's columns any more; the store's; the log's.
pub fn fold(engine: &Engine, store: &Store) -> Result<Folded> {
    let names = engine.table_names()?;
    let definitions = names.iter().map(|name| engine.table(name)).collect::<Result<Vec<Arc<Definition>>>>()?;
    // Nobody waits while all rows are read.
    let frozen = engine.frozen()?;
    let mut tables = BTreeMap::new();
    for table in &definitions {
        tables.insert(table.name().to_owned(), store_table(table, Look::of(table, &frozen).all(), store)?);
    }
    sound(frozen.trouble())?;
    Ok(Folded { tables, position: token::of_coverage(frozen.coverage()) })
}

fn store_table(table: &Definition, rows: impl Iterator<Item = (Bytes, Bytes)>, store: &Store) -> Result<TableRef> {
    let batches = table.batches(rows);
    let mut refused = None;
    let changes = batches.map_while(|folded| {
        let folded = match folded {
            Ok(folded) => folded,
            Err(error) => {
                refused = Some(error);
                return None;
            }
        };
        if let Some(unfit) = folded.unfit.first() {
            let key = table.key_text(&unfit.key).unwrap_or_else(|_| format!("of {} bytes", unfit.key.len()));
            refused = Some(Error::conflict(
                format!("making a version of live table {:?}", table.name()),
                format!("row {key} does not fit its columns: {}; put the row again", unfit.why),
            ));
            return None;
        }
        Some(Ok(Changes::upsert(folded.rows)))
    });
    let made = Table::create(store, table.schema().clone())?.apply(changes.collect::<Vec<_>>());
    match refused {
        Some(error) => Err(error),
        None => Ok(made?.0.to_ref()),
    }
}
