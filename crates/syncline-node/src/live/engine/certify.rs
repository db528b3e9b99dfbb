//! Strict tables at their certifier: whether a transaction is let in, and that one that is sent again is written once.
//!
//! Everything here happens under the engine's lock, right before the transaction goes to the log, so the log's order is the order in which
//! transactions were let in. What they had read is compared with what is durable; who has read a row that is on its way to the disk waits until
//! it is there, as writers of it do.
//!
//! A replica that goes on under a new name may be a copy, or have been brought back from a backup: the other one may certify, or what was certified
//! last may be missing here. It certifies nothing until somebody says that it is the one.
//!
//! Owns: which tables are strict, and the identities that were given last, as of rows; the name under which it certifies, in a file. After a crash:
//! rows say the first two.
//!
//! Not here: the comparison (`syncline_sync::live::Node::certify`), how transactions come here from other replicas (`ways`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use syncline_sync::live::{Clash, Context, Refusal, RowKey, Write};

use super::super::definition::Writers;
use super::super::tables;
use super::core::Core;
use super::submit::{Begun, Flight};
use super::{Engine, replica_of, unavailable};
use crate::live::token;
use crate::{Error, Result};

/// The table of identities that writers gave to transactions: rows without a value of their own, written together with the rest of the
/// transaction. `docs/format/live-row.md`.
pub(crate) const ONCE: &str = ".once";
/// So many of them are kept.
const KEPT: usize = 10_000;
/// The value of such a row: a version.
const ONCE_VALUE: &[u8] = &[1];

/// What the writer of a transaction has read.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    /// At which position; `None`: everything that is here.
    pub at: Option<Context>,
    /// Rows that what is written depends on, beside those that are written. Only for strict tables.
    pub rows: Vec<RowKey>,
    /// Tables of which all rows were read.
    pub tables: Vec<Arc<str>>,
    /// The transaction's identity, given by its writer: of several with one identity the first is written.
    pub once: Option<String>,
}

impl From<Option<Context>> for Reads {
    fn from(at: Option<Context>) -> Self {
        Self { at, ..Self::default() }
    }
}

impl Reads {
    fn is_plain(&self) -> bool {
        self.rows.is_empty() && self.tables.is_empty() && self.once.is_none()
    }
}

/// The row that an identity is kept as.
pub(super) fn once_row(once: &str) -> RowKey {
    RowKey { table: ONCE.into(), key: Bytes::copy_from_slice(once.as_bytes()) }
}

/// What is known of strict tables.
#[derive(Debug, Default)]
pub(super) struct Strict {
    /// What tables were like when that was looked up.
    version: u64,
    /// Who certifies them; nobody those that are not strict.
    certifiers: BTreeMap<Arc<str>, Option<String>>,
    /// The name under which it certifies, once that was looked up.
    certifies: Option<String>,
    /// Identities, the oldest first, once they were looked up.
    given: Option<VecDeque<RowKey>>,
}

impl Core {
    /// Whether a transaction has to wait for what it has read, or was written before.
    pub(super) fn before(&self, reads: &Reads) -> Option<Begun> {
        if reads.is_plain() {
            return None;
        }
        let once = reads.once.as_deref().map(once_row);
        let rows = reads.rows.iter().chain(&once).map(Flight::row);
        let hashes: Vec<u64> = rows.chain(reads.tables.iter().map(|table| Flight::table(table))).collect();
        if self.flight.has_any(&hashes, self.told) {
            return Some(Begun::Waits);
        }
        let before = self.node.look(&once?);
        before.siblings().first().map(|sibling| Begun::Before(self.receipt(sibling.dot, None)))
    }

    /// Refuses a transaction on strict tables whose writer has not read what is here, or that another replica certifies. Adds its identity to
    /// what it writes; `hashes` are what stands for its rows in flight. Whether it can be told: `false` while something that another replica
    /// wrote to what it names is on its way to the disk.
    pub(super) fn certify(&mut self, reads: &Reads, writes: &mut Vec<Write>, hashes: &mut Vec<u64>) -> Result<bool> {
        let strict = self.strict_tables(reads, writes)?;
        let Some(certifier) = self.only_certifier(reads, &strict)? else { return Ok(true) };
        self.check_certifier(&certifier)?;
        if let Some(at) = &reads.at {
            if !self.node.shows(at) {
                let why = "the writer has read what has not come to the table's certifier yet: repeat it in a moment";
                return Err(Error::Stale { what: "certifying a transaction".to_owned(), why: why.to_owned() });
            }
            let written = writes.iter().map(|write| &write.row).filter(|row| !row.table.starts_with('.'));
            let rows: BTreeSet<&RowKey> = written.chain(&reads.rows).collect();
            let touches = |row: &RowKey| rows.contains(row) || reads.tables.contains(&row.table);
            if self.node.writes_in_flight(touches) {
                return Ok(false);
            }
            self.node.certify(at, rows, &reads.tables).map_err(|clash| self.refusal(&clash, at))?;
        } else if !(reads.rows.is_empty() && reads.tables.is_empty()) {
            let why = "it names what was read, and not when: give the position of the read as well (`get` prints it)";
            return Err(Error::invalid("certifying a transaction", why));
        }
        hashes.extend(strict.keys().map(|table| Flight::table(table)));
        if let Some(once) = &reads.once {
            let row = once_row(once);
            hashes.push(Flight::row(&row));
            self.give(row, writes);
        }
        Ok(true)
    }

    /// The strict tables among those that a transaction writes or has read, with who certifies them.
    fn strict_tables(&mut self, reads: &Reads, writes: &[Write]) -> Result<BTreeMap<Arc<str>, String>> {
        let version = self.tables_version.now();
        if self.strict.version != version {
            self.strict.version = version;
            self.strict.certifiers.clear();
        }
        let mut strict = BTreeMap::new();
        let mut last: Option<&Arc<str>> = None;
        let rows = writes.iter().map(|write| &write.row).chain(&reads.rows);
        for table in rows.map(|row| &row.table).chain(&reads.tables) {
            // Rows of one table follow each other.
            if last.is_some_and(|last| *last == *table) || table.starts_with('.') {
                continue;
            }
            last = Some(table);
            if !self.strict.certifiers.contains_key(table) {
                let certifier = match tables::load(&self.node, table)?.map(|table| table.settings().writers.clone()) {
                    Some(Writers::Strict(certifier)) => Some(certifier),
                    _ => None,
                };
                self.strict.certifiers.insert(table.clone(), certifier);
            }
            if let Some(Some(certifier)) = self.strict.certifiers.get(table) {
                strict.insert(table.clone(), certifier.clone());
            }
        }
        Ok(strict)
    }

    /// Who certifies them all.
    fn only_certifier(&self, reads: &Reads, strict: &BTreeMap<Arc<str>, String>) -> Result<Option<String>> {
        let certifiers: BTreeSet<&String> = strict.values().collect();
        match certifiers.first() {
            None if reads.is_plain() => Ok(None),
            None => {
                let why = "it names what was read, or an identity of its own, and touches no strict table: nobody would look at that; leave it \
                           out, or make the table strict with `syncline table set TABLE --writers strict`";
                Err(Error::invalid("writing a transaction", why))
            }
            Some(_) if certifiers.len() > 1 => Err(two_certifiers(strict)),
            Some(one) => Ok(Some((*one).clone())),
        }
    }

    /// Whether it has certified under the name that it has now, or never.
    pub(super) fn may_certify(&mut self) -> Result<bool> {
        let name = self.node.name().to_string();
        if self.strict.certifies.is_none() {
            self.strict.certifies = self.home.certifies()?;
        }
        Ok(self.strict.certifies.as_ref().is_none_or(|certifies| *certifies == name))
    }

    /// It certifies under the name that it has now.
    pub(super) fn certify_from_now(&mut self) -> Result<()> {
        let name = self.node.name().to_string();
        self.home.set_certifies(&name)?;
        self.strict.certifies = Some(name);
        Ok(())
    }

    fn check_certifier(&mut self, certifier: &str) -> Result<()> {
        if certifier != replica_of(&self.home) {
            let why = format!("its tables are strict, and replica {certifier} certifies them: write there (--on URL)");
            return Err(Error::conflict("writing a transaction here", why));
        }
        if !self.may_certify()? {
            let why = "this replica certified the table before, and goes on under a new name since: it was copied, moved or brought back from a \
                     backup, and another one may certify beside it, or know more; write there; if it is gone, or this is the one that is to go on, \
                     say so here with `syncline table set TABLE --take-over`, or let another replica certify with --certifier ID";
            return Err(Error::conflict("certifying a transaction", why));
        }
        if !self.node.is_hub() {
            let why = "this replica certifies the table and is no hub any more, so its log gives no order: serve it without --upstream, or let \
                       another one certify (`syncline table set TABLE --certifier ID`)";
            return Err(Error::conflict("certifying a transaction", why));
        }
        if self.node.waiting().next().is_some() {
            let why =
                "this replica has become a hub just now, and takes in what it wrote before: repeat it in a moment";
            return Err(unavailable("certifying a transaction", why));
        }
        if self.strict.certifies.is_none() {
            self.certify_from_now()?;
        }
        Ok(())
    }

    fn refusal(&self, clash: &Clash, at: &Context) -> Error {
        let text = |row: &RowKey| {
            let table = tables::load(&self.node, &row.table).ok().flatten();
            let key = table.and_then(|table| table.key_text(&row.key).ok());
            format!("row {} of table {}", key.unwrap_or_else(|| "(its key cannot be shown)".to_owned()), row.table)
        };
        let why = match clash {
            Clash::Row(row, dot) => {
                format!(
                    "{} was changed by transaction {}, which the writer had not read",
                    text(row),
                    token::of_dot(dot)
                )
            }
            Clash::Forgotten(row) => {
                format!("{} is not there, and it is not known any more whether it was when the writer read", text(row))
            }
            Clash::Table(table) => {
                format!("the writer had read all of table {table}, of which something was changed, or may have been")
            }
        };
        let read = token::of_context(at);
        let why = format!("{why} (it had read up to {read}): read again and repeat it; nothing was written");
        Error::conflict("certifying a transaction", why)
    }

    /// Writes down an identity, and gives up the oldest when there are many.
    fn give(&mut self, row: RowKey, writes: &mut Vec<Write>) {
        let node = &self.node;
        let given = self.strict.given.get_or_insert_with(|| {
            let all = node.rows_from(&once_row(""));
            let mut all: Vec<_> = all.map(|(key, row)| (row.siblings().iter().map(|is| is.time).min(), key)).collect();
            all.sort();
            all.into_iter().map(|(_, key)| key).collect()
        });
        given.push_back(row.clone());
        writes.push(Write { row, value: Some(Bytes::from_static(ONCE_VALUE)) });
        // Two, so that what another certifier left is given up in time, too.
        for _ in 0..2 {
            if given.len() > KEPT
                && let Some(oldest) = given.pop_front()
            {
                writes.push(Write { row: oldest, value: None });
            }
        }
        writes.sort_by(|a, b| a.row.cmp(&b.row));
    }
}

impl Engine {
    /// Whether this replica certifies the tables that it is named for: not under a new name, before somebody has said so.
    ///
    /// # Errors
    /// The file system's.
    pub fn may_certify(&self) -> Result<bool> {
        self.lock()?.may_certify()
    }

    /// It certifies from now on, whoever did before.
    ///
    /// # Errors
    /// The file system's.
    pub fn certify_from_now(&self) -> Result<()> {
        self.lock()?.certify_from_now()
    }

    /// Refuses what is to be written elsewhere on behalf of this replica when its key is revoked.
    ///
    /// # Errors
    /// `denied`.
    pub(crate) fn check_not_revoked(&self) -> Result<()> {
        let core = self.lock()?;
        if core.node.is_revoked(&core.node.key()) {
            return Err(super::refused(Refusal::Revoked));
        }
        Ok(())
    }
}

/// What a transaction on tables of several certifiers is refused with.
pub(crate) fn two_certifiers(strict: &BTreeMap<Arc<str>, String>) -> Error {
    let tables: Vec<String> = strict.iter().map(|(table, by)| format!("{table} by replica {by}")).collect();
    let why = format!(
        "its strict tables are certified by different replicas ({}), which cannot decide together: write them in several transactions, or let \
         one certify all (`syncline table set TABLE --certifier ID`)",
        tables.join(", ")
    );
    Error::invalid("writing a transaction", why)
}
