//! `reach`: how far the replica is that decides what a table holds, so that a reader elsewhere can wait for that much.
//!
//! A strict table's certifier decides; of another table a hub does: the reader's own replica when it is one, else its upstream. Who is asked and is not the one
//! asks on, over the ways that transactions to certifiers take.
//!
//! What is answered was there, durable, after the question was asked. So whoever reads once all of it has come reads everything that was acknowledged at that
//! replica before: a linearizable read, as one there would be.
//!
//! Owns nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_base::Kind;
use syncline_sync::live::{Context, Node};

use super::strict::MAX_HOPS;
use crate::live::definition::{Definition, Writers};
use crate::live::{Engine, token};
use crate::replica::Replica;
use crate::{Error, Result};

/// What `reach` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The replica whose answer is wanted; without it, the first hub's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifier: Option<String>,
    /// The replicas that the question has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// How many more replicas it may be sent on to: who gets it with 0 asks no further. Any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u8>,
    /// For how long the reader waits, in milliseconds: a hint to who asks on. A node that is there and does not answer is waited for as long as its
    /// connection is alive.
    pub wait_ms: u64,
}

/// How far a replica is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Everything that is there.
    pub position: String,
}

/// Answers, or asks on.
///
/// # Errors
/// `unavailable` when who would know is not reached.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    ask(&replica.live()?, request)
}

pub(super) fn ask(engine: &Engine, request: &Request) -> Result<Report> {
    let me = engine.id()?;
    let (here, hub) = engine.read(|node| (node.context(), node.is_hub()))?;
    if request.certifier.as_ref().map_or(hub, |certifier| *certifier == me) {
        return Ok(Report { position: token::of_context(&here) });
    }
    if request.left == Some(0) || request.via.contains(&me) || request.via.len() >= MAX_HOPS {
        let why = format!("replica {me} has no way to it but the one that the question came by");
        return Err(unreached(request.certifier.as_deref(), &why));
    }
    let mut on = request.clone();
    on.via.push(me);
    engine.reach(&on).map_err(|error| match error.kind() {
        Kind::Unavailable => unreached(request.certifier.as_deref(), &error.to_string()),
        _ => error,
    })
}

fn unreached(certifier: Option<&str>, why: &str) -> Error {
    let who =
        certifier.map_or_else(|| "the upstream".to_owned(), |is| format!("replica {is}, which certifies the table"));
    Error::Unavailable {
        what: format!("reading as it is at {who}"),
        why: format!("{why}; nothing older is shown: leave out --strict, or read there (--on URL)"),
    }
}

/// Waits until everything is here that the replica has which decides what the table holds.
pub(super) fn wait(engine: &Engine, table: &Definition, patience: Duration) -> Result<()> {
    let certifier = match &table.settings().writers {
        Writers::Strict(certifier) => Some(certifier.clone()),
        _ => None,
    };
    let wait_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let there = ask(engine, &Request { certifier, wait_ms, ..Request::default() })?.position;
    // What only waits at that replica nobody else can have yet.
    let Context { seen, .. } = token::parse(&there)?;
    engine.read_at(&Context { seen, ..Context::default() }, patience, |_: &Node| ())
}
