//! Live tables of a node, for programs in Rust: put, delete, get, transactions, and following what is written.
//!
//! ```no_run
//! use syncline_api::live::{Live, Since};
//!
//! # fn main() -> syncline_api::Result<()> {
//! let shop = Live::connect("http://127.0.0.1:7070/shop", None)?;
//! let written = shop.put("prices", &[serde_json::json!({"sku": "A-1", "price": 9.5})])?;
//! let row = shop.get::<serde_json::Value>("prices", &serde_json::json!({"sku": "A-1"}))?;
//! println!("{} at {}", row.row, row.position);
//! for transaction in shop.watch(Some("prices"), Since::Position(written.position)) {
//!     println!("{:?}", transaction?.changes);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is promised is the same for every way to a node: `docs/consistency.md`. Rows are whatever serializes as a JSON object whose members
//! are columns; a column that is left out keeps its cell, null empties it.
//!
//! Owns one connection for requests, made anew when it was lost, and one for each [`Watch`]. Every method blocks; call none of them from
//! async code. After a crash: nothing is left here, and nothing has to be. A write that failed as `unavailable` may have become durable: look
//! before you write it again.
//!
//! Not here: streams of many transactions that wait for the disk together ([`crate::client::write`]).

mod watch;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::watch::{Change, Since, Transaction as Seen, Watch};
use crate::client::{Client, Options, Reply};
use crate::{Error, Result, Target};

/// The live tables of a dataset on a node.
#[derive(Debug)]
pub struct Live {
    client: Client,
    options: Options,
}

/// A transaction that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Written {
    /// Its identity.
    pub transaction: String,
    /// For waiting: who gives it as [`Bounds::after`], at any node, sees what was written.
    pub position: String,
    /// What the writer has read now, its own write among it: for the next write. Only for who said what it had read before, and when a
    /// position can say it.
    #[serde(default)]
    pub read: Option<String>,
    /// Rows that were written or deleted.
    pub rows: u64,
    /// Whether a hub has taken it in; else it is durable on a node that has not reached its hub yet.
    pub taken: bool,
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<R> {
    /// What readers see of it.
    pub row: R,
    /// Whether it has values that nobody has decided between.
    pub conflict: bool,
    /// What has been read: for [`Transaction::read`], so that only what was seen is overwritten, and for [`Bounds::after`].
    pub position: String,
}

/// Rows that were read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<R> {
    /// By key.
    pub rows: Vec<R>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// As [`Row::position`].
    pub position: String,
}

/// What is asked of what is read. Nothing: what the node has.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Bounds {
    /// Everything in this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Everything that the node's upstream had acknowledged so many milliseconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_staleness_ms: Option<u64>,
    /// As it is at the replica that decides what the table holds: the certifier of a strict table, else the node's hub.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// It is waited for so long; then the read fails as `stale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// What `get` answers.
#[derive(Debug, Deserialize)]
struct Got {
    rows: Vec<Found>,
    more: bool,
    position: String,
}

#[derive(Debug, Deserialize)]
struct Found {
    row: Value,
    conflict: bool,
}

/// A line of a transaction.
#[derive(Debug, Serialize)]
struct Line<'a, R> {
    op: &'static str,
    table: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a R>,
}

impl Live {
    /// Connects to a dataset, `http(s)://HOST:PORT/DATASET`, with the node's token if it asks for one.
    ///
    /// # Errors
    /// `invalid` when the address is none or names no dataset, `unavailable` when nothing answers.
    pub fn connect(url: &str, token: Option<&str>) -> Result<Self> {
        Self::open(Target::parse(url)?, Options { token: token.map(str::to_owned), ..Options::default() })
    }

    /// As [`Self::connect`], with all settings of a connection.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn open(target: Target, options: Options) -> Result<Self> {
        if target.dataset.is_empty() {
            return Err(Error::Settings(format!("{target} names no dataset; write {target}DATASET")));
        }
        Ok(Self { client: Client::connect(target, options.clone())?, options })
    }

    /// Writes rows, all in one transaction. The writer counts as having read everything that the node has; [`Self::transaction`] says it
    /// exactly.
    ///
    /// # Errors
    /// `invalid` when a row does not fit, `not-found` when there is no such table, `conflict` when somebody else is its writer: nothing was
    /// written. `unavailable`: it may have been.
    pub fn put<R: Serialize>(&self, table: &str, rows: &[R]) -> Result<Written> {
        self.write("put", table, rows)
    }

    /// Deletes rows, given as objects with the columns of the key, all in one transaction. Rows that are not there are no error.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn delete<K: Serialize>(&self, table: &str, keys: &[K]) -> Result<Written> {
        self.write("delete", table, keys)
    }

    fn write<R: Serialize>(&self, verb: &str, table: &str, rows: &[R]) -> Result<Written> {
        let mut lines = Vec::new();
        rows.iter().try_for_each(|row| put_line(&mut lines, row))?;
        self.ask(verb, &serde_json::json!({ "table": table }), Some(&lines))
    }

    /// Begins a transaction of any rows of any tables.
    pub const fn transaction(&self) -> Transaction<'_> {
        Transaction { live: self, lines: Vec::new(), read: None, reads: Vec::new(), once: None }
    }

    /// Reads the row with this key, an object with its columns.
    ///
    /// # Errors
    /// `not-found` when there is no such row or table; `invalid` when it is no `R`; the node's fault.
    pub fn get<R: DeserializeOwned>(&self, table: &str, key: &impl Serialize) -> Result<Row<R>> {
        self.get_within(table, key, &Bounds::default())
    }

    /// As [`Self::get`], of what holds these bounds.
    ///
    /// # Errors
    /// As [`Self::get`]; `stale` when they do not come to hold in time.
    pub fn get_within<R: DeserializeOwned>(
        &self,
        table: &str,
        key: &impl Serialize,
        bounds: &Bounds,
    ) -> Result<Row<R>> {
        let key = serde_json::to_string(key).map_err(|error| refused("a key", &error))?;
        let got = self.read(table, &[key], None, bounds)?;
        let found = got.rows.into_iter().next();
        let Found { row, conflict } = found.ok_or_else(|| self.odd("get", "an answer without the row"))?;
        Ok(Row { row: typed(row)?, conflict, position: got.position })
    }

    /// Reads the first rows of a table, at most so many.
    ///
    /// # Errors
    /// As [`Self::get_within`], but for rows that are not there.
    pub fn rows<R: DeserializeOwned>(&self, table: &str, limit: usize, bounds: &Bounds) -> Result<Rows<R>> {
        let Got { rows, more, position } = self.read(table, &[], Some(limit), bounds)?;
        let rows = rows.into_iter().map(|found| typed(found.row)).collect::<Result<_>>()?;
        Ok(Rows { rows, more, position })
    }

    fn read(&self, table: &str, keys: &[String], limit: Option<usize>, bounds: &Bounds) -> Result<Got> {
        #[derive(Serialize)]
        struct Request<'a> {
            table: &'a str,
            keys: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            limit: Option<usize>,
            #[serde(flatten)]
            bounds: &'a Bounds,
        }
        self.ask("get", &Request { table, keys, limit, bounds }, None)
    }

    /// Follows what is written, to one table or to all, transaction by transaction. It connects with the first one that is asked for.
    #[must_use]
    pub fn watch(&self, table: Option<&str>, since: Since) -> Watch<'_> {
        Watch::new(self, table, since)
    }

    /// Asks the node.
    fn ask<T: DeserializeOwned>(&self, verb: &str, request: &impl Serialize, input: Option<&[u8]>) -> Result<T> {
        let request = serde_json::to_string(request).map_err(|error| refused("a request", &error))?;
        let (mut report, mut input) = (String::new(), input);
        let dataset = &self.client.target().dataset;
        let input = input.as_mut().map(|input| input as &mut dyn std::io::Read);
        self.client.call(dataset, verb, &request, input, &mut |reply| {
            if let Reply::Report(json) = reply {
                report = json;
            }
            Ok(())
        })?;
        serde_json::from_str(&report).map_err(|error| self.odd(verb, &error.to_string()))
    }

    /// The node answered what this program does not understand.
    fn odd(&self, verb: &str, why: &str) -> Error {
        let message =
            format!("{} answered {verb} with what cannot be read: {why}; update this program", self.client.target());
        Error::Peer { kind: syncline_base::Kind::Invalid, message }
    }
}

/// Changes that are written together, or not at all.
#[derive(Debug)]
#[must_use = "nothing is written before `commit`"]
pub struct Transaction<'a> {
    live: &'a Live,
    lines: Vec<u8>,
    read: Option<String>,
    reads: Vec<Value>,
    once: Option<String>,
}

impl Transaction<'_> {
    /// Says what was read before: a position of [`Row`], [`Rows`] or [`Seen`], or [`Written::read`]. What others wrote since is not
    /// overwritten then, but kept beside.
    pub fn read(mut self, position: &str) -> Self {
        self.read = Some(position.to_owned());
        self
    }

    /// Names a row that was read at the position given to [`Self::read`], beside those that are written, by an object with the columns of its
    /// key. On strict tables: the transaction fails as a `conflict`, and nothing is written, unless the row is as it was then.
    ///
    /// # Errors
    /// `invalid` when it cannot be JSON.
    pub fn read_key<K: Serialize>(mut self, table: &str, key: &K) -> Result<Self> {
        let key = serde_json::to_value(key).map_err(|error| refused("a key", &error))?;
        self.reads.push(serde_json::json!({ "table": table, "key": key }));
        Ok(self)
    }

    /// As [`Self::read_key`], of all rows of a table: those that were not there, too.
    pub fn read_table(mut self, table: &str) -> Self {
        self.reads.push(serde_json::json!({ "table": table }));
        self
    }

    /// Gives it an identity of its own. On strict tables, of several transactions of one identity the first is written, and the others are
    /// answered as it was: so one whose answer did not come can be given again.
    pub fn once(mut self, identity: &str) -> Self {
        self.once = Some(identity.to_owned());
        self
    }

    /// Sets a row.
    ///
    /// # Errors
    /// `invalid` when it cannot be JSON.
    pub fn put<R: Serialize>(mut self, table: &str, row: &R) -> Result<Self> {
        put_line(&mut self.lines, &Line { op: "set", table, key: None, row: Some(row) })?;
        Ok(self)
    }

    /// Deletes a row, given as an object with the columns of its key.
    ///
    /// # Errors
    /// `invalid` when it cannot be JSON.
    pub fn delete<K: Serialize>(mut self, table: &str, key: &K) -> Result<Self> {
        put_line(&mut self.lines, &Line { op: "delete", table, key: Some(key), row: None })?;
        Ok(self)
    }

    /// Writes it; returns when it is durable.
    ///
    /// # Errors
    /// As [`Live::put`]; `conflict` when what was read has not come to the node yet, or, on strict tables, is otherwise now.
    pub fn commit(self) -> Result<Written> {
        #[derive(Serialize)]
        struct Request {
            #[serde(skip_serializing_if = "Option::is_none")]
            read: Option<String>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            reads: Vec<Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            once: Option<String>,
        }
        let request = Request { read: self.read, reads: self.reads, once: self.once };
        self.live.ask("apply", &request, Some(&self.lines))
    }
}

fn put_line(lines: &mut Vec<u8>, line: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *lines, line).map_err(|error| refused("a row", &error))?;
    lines.push(b'\n');
    Ok(())
}

fn typed<R: DeserializeOwned>(row: Value) -> Result<R> {
    serde_json::from_value(row).map_err(|error| refused("a row that was read", &error))
}

/// What is the caller's does not fit.
fn refused(what: &str, error: &serde_json::Error) -> Error {
    Error::Settings(format!("{what} does not fit its type: {error}"))
}
