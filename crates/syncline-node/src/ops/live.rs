//! `live`: how a replica's live part is.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::live::engine::Status;
use crate::live::files;
use crate::replica::Replica;

/// How a replica's live part is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// `hub` when it takes transactions in, `spoke` when it takes its own to one.
    pub role: String,
    /// Who it is, whatever name it writes under.
    pub id: String,
    /// The name that it writes under.
    pub name: String,
    /// The node that it takes its transactions to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What a reader here has read.
    pub position: String,
    /// How many transactions it has, of all hubs.
    pub transactions: u64,
    /// Its own transactions that no hub has taken in, as far as it knows.
    pub unsent: u64,
    /// How many replicas are connected.
    pub connected: u64,
    /// How many transactions others that are connected have said to have and it has not.
    pub behind: u64,
    /// Records in its log, and the log's bytes.
    pub log_records: u64,
    /// See `log_records`.
    pub log_bytes: u64,
    /// The replica root: equal on replicas that have the same transactions.
    pub root: String,
    /// How many files live rows name.
    #[serde(default)]
    pub files: u64,
    /// Its tables, with their rows.
    pub tables: Vec<(String, u64)>,
    /// How many rows are in conflict.
    pub conflicts: u64,
}

/// Says how a replica's live part is; `None` when it has none.
///
/// # Errors
/// As opening it.
pub fn run(replica: &Replica) -> Result<Option<Report>> {
    let Some(engine) = replica.live_if_there()? else { return Ok(None) };
    let Status { name, hub, upstream, position, coverage, pending, peers, behind, log, .. } = engine.status()?;
    let (root, conflicts, counts, files) = engine.read(|node| {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        let mut conflicts = 0;
        for (key, row) in node.state().rows().filter(|(key, _)| !key.table.starts_with('.')) {
            conflicts += u64::from(row.is_in_conflict());
            match counts.get_mut(&*key.table) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(key.table.to_string(), 1);
                }
            }
        }
        let files = node.state().rows().filter(|(key, _)| &*key.table == files::TABLE).count() as u64;
        (node.state().root(), conflicts, counts, files)
    })?;
    let names = engine.table_names()?;
    let tables = names.into_iter().map(|name| {
        let rows = counts.get(&name).copied().unwrap_or(0);
        (name, rows)
    });
    Ok(Some(Report {
        role: if hub { "hub" } else { "spoke" }.to_owned(),
        id: engine.id()?,
        name,
        upstream,
        position,
        transactions: coverage.iter().map(|(_, n)| n).sum(),
        unsent: pending,
        connected: peers,
        behind,
        log_records: log.next - log.first,
        log_bytes: log.bytes,
        root: root.to_string(),
        files,
        tables: tables.collect(),
        conflicts,
    }))
}
