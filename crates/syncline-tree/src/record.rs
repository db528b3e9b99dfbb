//! Records: the small objects that are canonical JSON (commit, dataset root, refs, conflict list).
//!
//! A record's first member is `"syncline": "KIND/VERSION"`, so that an object dumped by hand says what it is and a
//! version from the future is refused by name. Layout: `docs/format/records.md`.
//!
//! Invariant: decoding refuses bytes that do not encode back to themselves. Otherwise one meaning could have two ids.
//!
//! Not here: what the records mean (`commit`, `dataset`, `refs`), where they are stored (`syncline-store`).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A larger record is refused before it is parsed. The largest real one, a list of refs, stays far below.
pub const MAX_LEN: usize = 64 << 20;

/// A type that is stored as a record.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is, for example `commit`.
    const KIND: &'static str;
    /// The version that this program writes, and the newest that it reads.
    const VERSION: u32;
}

/// The canonical bytes of a record.
///
/// # Panics
/// Never for the records of this crate: their members are strings, numbers, lists and maps with string keys.
pub fn encode<R: Record>(record: &R) -> Vec<u8> {
    let body = serde_json::to_vec(record).expect("records hold nothing that JSON cannot express");
    let mut bytes = format!("{{\"syncline\":\"{}/{}\"", R::KIND, R::VERSION).into_bytes();
    if body.len() > 2 {
        bytes.push(b',');
    }
    bytes.extend_from_slice(&body[1..]);
    bytes
}

/// Reads a record and checks that its bytes are canonical.
///
/// # Errors
/// `corrupt` when the bytes are not a canonical record of this kind; `invalid` when a newer program wrote them.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    let corrupt = |why: String| Error::corrupt(format!("reading a {} record: {why}", R::KIND));
    if bytes.len() > MAX_LEN {
        return Err(corrupt(format!("{} bytes is more than the limit of {MAX_LEN}", bytes.len())));
    }
    check_header::<R>(bytes)?;
    // Unknown members are dropped by serde and therefore caught by the comparison below.
    let record: R = serde_json::from_slice(bytes).map_err(|e| corrupt(e.to_string()))?;
    if encode(&record) != bytes {
        return Err(corrupt("its bytes are not in canonical form".into()));
    }
    Ok(record)
}

fn check_header<R: Record>(bytes: &[u8]) -> Result<()> {
    let corrupt = |why: String| Error::corrupt(format!("reading a {} record: {why}", R::KIND));
    let head = &bytes[..bytes.len().min(80)];
    let header = head
        .strip_prefix(b"{\"syncline\":\"")
        .and_then(|rest| rest.split(|&b| b == b'"').next())
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| corrupt("it does not start with its kind and version".into()))?;
    let Some((kind, version)) = header.split_once('/') else {
        return Err(corrupt(format!("{header:?} is not a kind and a version")));
    };
    if kind != R::KIND {
        return Err(corrupt(format!("it is a {kind:?} record")));
    }
    match version.parse::<u32>() {
        Ok(version) if version == R::VERSION => Ok(()),
        Ok(version) if version > R::VERSION => Err(Error::invalid(format!(
            "reading a {kind} record: it is of version {version} and this program knows versions up to {}; \
                 a newer version of syncline can read it",
            R::VERSION
        ))),
        _ => Err(corrupt(format!("{version:?} is not a version of it"))),
    }
}
