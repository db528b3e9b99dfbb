//! Transactions on strict tables: what their writers have read, and how they get to the replica that certifies them.
//!
//! What a transaction has read stands in its request, or in a first line `begin` of its changes, which goes along wherever it goes.
//!
//! Owns nothing. Not here: what is compared (`live::engine`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use syncline_base::rng::Rng;
use syncline_sync::live::Context;

use super::apply;
use crate::live::definition::{Definition, Writers};
use crate::live::engine::{Committed, Outgoing, Reads, two_certifiers};
use crate::live::files::Given;
use crate::live::{Engine, token};
use crate::{Error, Result};

/// So many replicas a transaction passes at the most.
pub(super) const MAX_HOPS: usize = 8;
/// The longest identity.
const MAX_ONCE: usize = 64;
/// The most rows and tables that a transaction names as read.
const MAX_READS: usize = 65_536;

/// Something that was read: a row, or, without a key, all of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadKey {
    /// The table; else that of changes that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The key: as text, or an object with its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
}

/// What the line says with which a transaction begins, where it says more than that it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The position that its writer had read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// What it depends on beside the rows that it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<ReadKey>,
    /// The identity that its writer gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// The table of changes that name none.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "default_table")]
    pub table: Option<String>,
    /// The replica that it is on its way to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifier: Option<String>,
    /// The replicas that it has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// How many more replicas it may be sent on to: who gets it with 0 sends it no further. Any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u8>,
}

#[derive(Serialize, Deserialize)]
struct Begin {
    op: String,
    #[serde(flatten)]
    header: Header,
}

impl Header {
    /// What the first line says.
    ///
    /// # Errors
    /// `invalid` when it begins a transaction and cannot be read.
    pub fn of(text: &[u8]) -> Result<Self> {
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        match lines.next().map(Self::of_line) {
            Some(Some(header)) => header,
            _ => Ok(Self::default()),
        }
    }

    /// What a line says, if it begins a transaction.
    fn of_line(line: &[u8]) -> Option<Result<Self>> {
        #[derive(Deserialize)]
        struct Op<'a> {
            op: &'a str,
        }
        memchr::memmem::find(line, b"begin")?;
        serde_json::from_slice::<Op<'_>>(line).ok().filter(|line| line.op == "begin")?;
        Some(serde_json::from_slice(line).map(|Begin { header, .. }| header).map_err(|error| {
            Error::invalid("reading the line that begins a transaction", format!("{error}; nothing was written"))
        }))
    }

    /// Whether it says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As a line.
    fn line(self) -> Result<Vec<u8>> {
        let begin = Begin { op: "begin".to_owned(), header: self };
        let line = serde_json::to_vec(&begin);
        let mut line = line.map_err(|error| Error::invalid("forwarding a transaction", error.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Whether a line begins a transaction and says more than that: then it belongs to what follows.
#[must_use]
pub fn is_header(line: &[u8]) -> bool {
    Header::of_line(line).is_some_and(|header| header.map_or(true, |header| !header.is_empty()))
}

/// What a transaction says of itself, understood.
pub(super) struct Asked {
    pub(super) header: Header,
    pub(super) reads: Reads,
    /// The strict tables that it touches, with who certifies them.
    strict: BTreeMap<Arc<str>, String>,
}

impl Asked {
    /// What the request says, and what the transaction's first line says, which goes before.
    pub(super) fn of(engine: &Engine, request: &apply::Request, text: &[u8]) -> Result<Self> {
        let mut header = Header::of(text)?;
        header.read = header.read.or_else(|| request.read.clone());
        header.table = header.table.or_else(|| request.table.clone());
        header.once = header.once.or_else(|| request.once.clone());
        header.reads.extend(request.reads.iter().cloned());
        check(&header)?;
        let at = header.read.as_deref().map(token::parse).transpose()?;
        let reads = Reads { at, once: header.once.clone(), ..Reads::default() };
        let mut asked = Self { header, reads, strict: BTreeMap::new() };
        if asked.on_its_way(engine)?.is_none() {
            asked.find_reads(engine)?;
        }
        Ok(asked)
    }

    fn find_reads(&mut self, engine: &Engine) -> Result<()> {
        for ReadKey { table, key } in self.header.reads.clone() {
            let name = table.or_else(|| self.header.table.clone());
            let name = name.ok_or_else(|| {
                Error::invalid(
                    "reading what the writer had read",
                    "a row that it names has no table; nothing was written",
                )
            })?;
            let table = engine.table(&name)?;
            self.note(&table);
            match key {
                Some(Value::String(text)) => self.reads.rows.push(table.key_of(&text)?),
                Some(key) => self.reads.rows.push(table.key_of(&key.to_string())?),
                None => self.reads.tables.push(name.into()),
            }
        }
        Ok(())
    }

    /// Who it is on its way to, if not to this replica.
    fn on_its_way(&self, engine: &Engine) -> Result<Option<&String>> {
        match &self.header.certifier {
            Some(certifier) if *certifier != engine.id()? => Ok(Some(certifier)),
            _ => Ok(None),
        }
    }

    /// It touches a table. Whether that is strict.
    pub(super) fn note(&mut self, table: &Definition) -> bool {
        let Writers::Strict(certifier) = &table.settings().writers else { return false };
        self.strict.insert(table.name().into(), certifier.clone());
        true
    }

    /// The other replica that certifies it, as far as its tables were noted.
    pub(super) fn elsewhere(&self, engine: &Engine) -> Result<Option<String>> {
        if let Some(certifier) = self.on_its_way(engine)? {
            return Ok(Some(certifier.clone()));
        }
        let mut certifiers = self.strict.values();
        let Some(first) = certifiers.next() else { return Ok(None) };
        if certifiers.any(|other| other != first) {
            return Err(two_certifiers(&self.strict));
        }
        if *first == engine.id()? {
            return Ok(None);
        }
        if self.header.certifier.is_some() {
            let why = format!(
                "it was sent to this replica as the certifier of its tables, and here replica {first} is: repeat it once the change of the \
                 table has come to where it was written; nothing was written"
            );
            return Err(Error::conflict("certifying a transaction", why));
        }
        Ok(Some(first.clone()))
    }

    /// What takes it there.
    ///
    /// # Errors
    /// `unavailable` when it has come by here before, or is not to be sent on; `denied` when this replica's key is revoked; the log's.
    pub(super) fn forward(&self, engine: &Engine, certifier: String, text: &[u8]) -> Result<Forward> {
        let (mut header, me) = (self.header.clone(), engine.id()?);
        let comes = header.via.is_empty();
        engine.check_not_revoked()?;
        if header.left == Some(0) || header.via.contains(&me) || header.via.len() >= MAX_HOPS {
            let why = format!("replica {me} has no way to it but the one that the transaction came by");
            return Err(Error::Unavailable { what: format!("reaching replica {certifier}"), why });
        }
        header.via.push(me);
        let read = match &self.reads.at {
            Some(read) => read.clone(),
            None => engine.read(syncline_sync::live::Node::context)?,
        };
        header.read = Some(token::of_context(&read));
        header.certifier = Some(certifier.clone());
        let once = header.once.get_or_insert_with(identity).clone();
        let begin = |left| Header { left, ..header.clone() }.line();
        let changes = Outgoing {
            left: header.left,
            begins: [begin(Some(0))?, begin(Some(1))?, begin(None)?],
            text: Bytes::copy_from_slice(text),
        };
        let changes = Box::new(changes);
        Ok(Forward { certifier, once, read: comes.then_some(read), said: self.reads.at.is_some(), changes })
    }
}

fn check(header: &Header) -> Result<()> {
    if header.reads.len() > MAX_READS {
        let why = format!("it names more than {MAX_READS} rows: name tables, without keys");
        return Err(Error::invalid("reading what the writer had read", why));
    }
    header.once.as_deref().map_or(Ok(()), check_once)
}

/// Refuses an identity that is none.
pub(super) fn check_once(once: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if once.is_empty() || once.len() > MAX_ONCE || !once.bytes().all(plain) {
        let why =
            format!("an identity is 1 to {MAX_ONCE} letters, digits and -_.: and should be given to nothing else");
        return Err(Error::invalid(format!("the transaction's identity {once:?}"), why));
    }
    Ok(())
}

fn identity() -> String {
    let mut rng = Rng::from_os();
    format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
}

/// A transaction that another replica certifies.
#[derive(Debug)]
pub struct Forward {
    certifier: String,
    once: String,
    /// What its writer had read here; nothing when it came from elsewhere.
    read: Option<Context>,
    /// Whether its writer has said what it had read. Else it counts as having read all that is here, and has not looked at it.
    said: bool,
    changes: Box<Outgoing>,
}

impl Forward {
    /// Has it written there. Returns when it is durable there and, where its writer is, has come back. Blocks for long.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn run(&self, engine: &Engine) -> Result<Committed> {
        if let Some(read) = &self.read {
            engine.wait_taken(read)?;
        }
        let committed = engine.forward(&self.certifier, &self.once, &self.changes, self.read.is_some())?;
        let read = committed.read.filter(|_| self.said);
        Ok(Committed { read, ..committed })
    }
}

/// Rows of one table as lines of changes.
///
/// # Errors
/// `invalid` with the line when one is no JSON.
pub(super) fn sets(text: &[u8]) -> Result<Vec<u8>> {
    lines(text, |line| {
        let row: &RawValue = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        Ok(format!("{{\"op\":\"set\",\"row\":{row}}}"))
    })
}

/// Adds files as lines of changes.
///
/// # Errors
/// None that can happen: they came as JSON.
pub(super) fn set_files(changes: &mut Vec<u8>, files: &[Given]) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        op: &'static str,
        #[serde(flatten)]
        given: &'a Given,
    }
    for given in files {
        let line = serde_json::to_string(&Line { op: "set", given });
        changes.extend_from_slice(
            line.map_err(|error| Error::invalid("forwarding a file", error.to_string()))?.as_bytes(),
        );
        changes.push(b'\n');
    }
    Ok(())
}

/// Keys of one table, a line each, as lines of changes.
///
/// # Errors
/// `invalid` with the line when one is no key.
pub(super) fn deletes(text: &[u8]) -> Result<Vec<u8>> {
    lines(text, |line| {
        let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
        if text.trim_start().starts_with('{') {
            let key: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
            return Ok(format!("{{\"op\":\"delete\",\"key\":{key}}}"));
        }
        Ok(format!("{{\"op\":\"delete\",\"key\":{}}}", Value::from(text.trim_end_matches('\r'))))
    })
}

fn lines(text: &[u8], make: impl Fn(&[u8]) -> Result<String, String>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line = make(line).map_err(|why| Error::invalid(format!("reading line {}", at + 1), why))?;
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
