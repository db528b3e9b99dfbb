//! `key`: whose transactions a replica has, up to where they are signed, and whose are taken in no more.
//!
//! Revoked keys are rows of a reserved live table, so they come to every replica, and hubs have them in the order of their logs: what a hub
//! had taken in of a key stays, and nothing further is taken in.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{KEYS, RowKey, Write, Zoo};

use crate::live::Engine;
use crate::live::engine::OriginTrust;
use crate::live::home::{hex, unhex};
use crate::replica::Replica;
use crate::{Error, Result};

/// The fewest digits that name a key.
const PREFIX: usize = 8;

/// What `key` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// All keys.
    Ls,
    /// One key with its origins, or this replica's.
    Show {
        /// Its hex digits, or enough of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Nothing further of a key is taken in by any hub.
    Revoke {
        /// Its hex digits, or enough of them.
        key: String,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Who revoked a key, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The key of the replica on which it was revoked.
    #[serde(default)]
    pub by: String,
    /// When, by its clock, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub time_ms: u64,
    /// What was given as a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The public key, hex; none for transactions of which no signature has come.
    pub key: Option<String>,
    /// Whether it is this replica's.
    pub ours: bool,
    /// Whether it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
    /// How many transactions of it are here.
    pub transactions: u64,
    /// How many of them are signed.
    pub attested: u64,
    /// The names that it has written under; only when it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginTrust>,
}

/// What `key` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Keys: this replica's first, those that are not known last.
    pub keys: Vec<Key>,
    /// Whether a hub has taken the revocation in: from then on it takes in nothing further of the key. Only after `revoke`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<bool>,
}

/// Does it.
///
/// # Errors
/// `invalid` for a key that is none, or this replica's own; `not-found` for one that is not known here.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let engine = replica.live()?;
    let keys = keys(&engine)?;
    match request {
        Request::Ls => {
            let bare = keys.into_iter().map(|key| Key { origins: Vec::new(), ..key });
            Ok(Report { keys: bare.collect(), taken: None })
        }
        Request::Show { key } => {
            let found = match key {
                Some(text) => find(&keys, text)?,
                None => keys.iter().find(|key| key.ours).cloned(),
            };
            match (found, key) {
                (Some(found), _) => Ok(Report { keys: vec![found], taken: None }),
                (None, key) => Err(Error::not_found(format!("key {}", key.as_deref().unwrap_or_default()), UNKNOWN)),
            }
        }
        Request::Revoke { key, reason } => revoke(replica, &engine, &keys, key, reason.as_deref()),
    }
}

const UNKNOWN: &str = "nothing of it has come here; `syncline key ls` lists those of which something has";

fn revoke(replica: &Replica, engine: &Engine, keys: &[Key], text: &str, reason: Option<&str>) -> Result<Report> {
    let what = || format!("revoking the key {text}");
    // One of which nothing has come yet can be revoked, too, if it is given whole.
    let found = find(keys, text)?;
    let Some(hex) = found.as_ref().and_then(|key| key.key.clone()).or_else(|| unhex(text).map(|key| hex(&key))) else {
        return Err(Error::not_found(format!("key {text}"), UNKNOWN));
    };
    if found.as_ref().is_some_and(|key| key.ours) {
        let why =
            "it is this replica's own: no hub would take in anything that is written here; run it at another replica";
        return Err(Error::invalid(what(), why));
    }
    let known = found.unwrap_or(Key {
        key: Some(hex.clone()),
        ours: false,
        revoked: None,
        transactions: 0,
        attested: 0,
        origins: Vec::new(),
    });
    if known.revoked.is_some() {
        return Ok(Report { keys: vec![known], taken: None });
    }
    let by = keys.iter().find(|key| key.ours).and_then(|key| key.key.clone()).unwrap_or_default();
    let revoked = Revoked { by, time_ms: replica.clock().now_ms(), reason: reason.map(ToOwned::to_owned) };
    let value = serde_json::to_vec(&revoked).map_err(|error| Error::invalid(what(), error.to_string()))?;
    let key = unhex(&hex).ok_or_else(|| Error::invalid(what(), "it is not 64 hex digits"))?;
    let row = RowKey { table: KEYS.into(), key: Bytes::copy_from_slice(&key) };
    let done = engine.commit(None, vec![Write { row, value: Some(value.into()) }])?;
    Ok(Report { keys: vec![Key { revoked: Some(revoked), ..known }], taken: Some(done.taken) })
}

/// The key that these digits name, if it is known.
fn find(keys: &[Key], text: &str) -> Result<Option<Key>> {
    let what = || format!("the key {text:?}");
    let digits = text.to_ascii_lowercase();
    if digits.len() < PREFIX || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why =
            format!("a key is 64 hex digits, or the first {PREFIX} or more of them; `syncline key ls` lists keys");
        return Err(Error::invalid(what(), why));
    }
    let mut found = keys.iter().filter(|key| key.key.as_ref().is_some_and(|key| key.starts_with(&digits)));
    let first = found.next();
    if found.next().is_some() {
        return Err(Error::invalid(what(), "several keys begin like this; give more of its digits"));
    }
    Ok(first.cloned())
}

/// All keys of which something is here, and those that are revoked.
fn keys(engine: &Engine) -> Result<Vec<Key>> {
    let trust = engine.trust()?;
    let revoked = revoked(engine)?;
    let mut all: BTreeMap<Option<String>, Vec<OriginTrust>> = BTreeMap::new();
    all.entry(Some(trust.key.clone())).or_default();
    for key in revoked.keys() {
        all.entry(Some(key.clone())).or_default();
    }
    for origin in trust.origins {
        all.entry(origin.key.clone()).or_default().push(origin);
    }
    let mut keys: Vec<Key> = all
        .into_iter()
        .map(|(key, origins)| Key {
            ours: key.as_ref() == Some(&trust.key),
            revoked: key.as_ref().and_then(|key| revoked.get(key)).cloned(),
            transactions: origins.iter().map(|origin| origin.transactions).sum(),
            attested: origins.iter().map(|origin| origin.attested).sum(),
            key,
            origins,
        })
        .collect();
    keys.sort_by_key(|key| (!key.ours, key.key.is_none()));
    Ok(keys)
}

/// Keys that are revoked. What their rows say beside the key is for people: whatever it is, the key is revoked.
pub(super) fn revoked(engine: &Engine) -> Result<BTreeMap<String, Revoked>> {
    let from = RowKey { table: KEYS.into(), key: Bytes::new() };
    let rows = engine.read(|node| node.view_from(&from, usize::MAX))?;
    let said = |row: &syncline_sync::live::Row| {
        let value = row.visible(Zoo::default()).map(|sibling| sibling.value.clone()).unwrap_or_default();
        serde_json::from_slice(&value).unwrap_or(Revoked { by: String::new(), time_ms: 0, reason: None })
    };
    Ok(rows.iter().filter(|(row, _)| row.key.len() == 32).map(|(row, held)| (hex(&row.key), said(held))).collect())
}
