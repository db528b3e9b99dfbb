//! What somebody holds who holds a part of a dataset: a scope, and what is left of a transaction inside it.
//!
//! A scope is a function of a row's key, so that a row is inside for as long as the scope is what it is, whatever is written to it. Whoever
//! drives a node gives it the scopes of those that it sends to; the node that is sent to knows its own by its bytes alone.
//!
//! Owns nothing. Not here: what scopes say and how they are called (whoever drives the node), when somebody changes his (`node/scope`).

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::row::{Row, Sibling};
use super::txn::{Body, Entry, RowKey, Txn, Write};
use crate::error::{Error, Result};
use crate::wire::fields::put_bytes;
use crate::wire::reader::Reader;

/// The longest that a scope may be in bytes.
pub const MAX_SCOPE_BYTES: usize = 1 << 20;

/// Which rows somebody holds, and what of them. A pure function: the same row is the same answer, for ever.
pub trait Scope: fmt::Debug + Send + Sync {
    /// What it says: scopes of equal bytes are the same. Not empty, and not longer than [`MAX_SCOPE_BYTES`].
    fn id(&self) -> &Bytes;

    /// Whether a row is inside.
    fn includes(&self, row: &RowKey) -> bool;

    /// What is inside of the value of a row that is.
    fn project(&self, row: &RowKey, value: &Bytes) -> Bytes {
        let _ = row;
        value.clone()
    }
}

/// What a hello says of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Within {
    /// The scope inside which the sender sends to the receiver, by its bytes; empty if it sends everything.
    pub scope: Bytes,
    /// Whether the sender holds another part than the receiver sends, and wants all of that.
    pub whole: bool,
}

impl Within {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.scope);
        out.put_u8(u8::from(self.whole));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let within = Self { scope: read_scope(r)?, whole: r.flag("whole")? };
        if within == Self::default() {
            return Err(Error::protocol("hello", "it could have been told in fewer bytes"));
        }
        Ok(within)
    }
}

pub(super) fn read_scope(r: &mut Reader) -> Result<Bytes> {
    let scope = r.bytes("scope")?;
    if scope.len() > MAX_SCOPE_BYTES {
        let text = format!("it has {} bytes; {MAX_SCOPE_BYTES} are the most", scope.len());
        return Err(Error::protocol("scope", text));
    }
    // A copy: it stays for long, and what it came in does not.
    Ok(Bytes::copy_from_slice(&scope))
}

impl Txn {
    /// What is inside a scope, under the same name; `None` when all of it is. Of one that has nothing there, what its writer had read and
    /// when is left out, too: it covers nothing there.
    fn within(&self, scope: &dyn Scope, entry: &Entry) -> Option<Self> {
        let body = self.body();
        let mut whole = self.is_whole();
        let mut writes: Vec<Write> = Vec::new();
        for Write { row, value } in &body.writes {
            if !scope.includes(row) {
                whole = false;
                continue;
            }
            let projected = value.as_ref().map(|value| scope.project(row, value));
            whole &= projected == *value;
            writes.push(Write { row: row.clone(), value: projected });
        }
        if whole {
            return None;
        }
        let Body { origin, seq, prev, .. } = *body;
        let (mut read, mut hlc) = (body.read.clone(), body.hlc);
        if writes.is_empty() {
            // What takes no bytes in a list.
            (read.seen, hlc) =
                (entry.deps.clone(), syncline_base::Hlc::from_u64(entry.attested.as_u64().wrapping_sub(1)));
            read.own.clear();
        }
        Some(Self::partial(Body { origin, seq, prev, read, hlc, writes }, self.dot().tag))
    }
}

impl Entry {
    /// What is inside a scope; `None` when all of it is.
    pub(super) fn within(&self, scope: &dyn Scope) -> Option<Self> {
        let txn = self.txn.within(scope, self)?;
        let Self { stamp, deps, attested, .. } = self;
        Some(Self { stamp: *stamp, deps: deps.clone(), attested: *attested, txn: txn.into() })
    }

    /// Without anything that it writes. Only in the zoo.
    pub(super) fn emptied(&self) -> Self {
        let Self { stamp, deps, attested, txn } = self;
        let txn = Txn::partial(Body { writes: Vec::new(), ..txn.body().clone() }, txn.dot().tag);
        Self { stamp: *stamp, deps: deps.clone(), attested: *attested, txn: txn.into() }
    }
}

/// What is inside a scope of a row that is.
pub(super) fn row_within(scope: Option<&dyn Scope>, key: &RowKey, row: &Arc<Row>) -> Option<Arc<Row>> {
    let Some(scope) = scope else { return Some(row.clone()) };
    if !scope.includes(key) {
        return None;
    }
    let projected = |sibling: &Sibling| Sibling { value: scope.project(key, &sibling.value), ..sibling.clone() };
    match row.siblings().iter().all(|sibling| scope.project(key, &sibling.value) == sibling.value) {
        true => Some(row.clone()),
        false => Some(Arc::new(Row::of(row.siblings().iter().map(projected).collect()))),
    }
}
