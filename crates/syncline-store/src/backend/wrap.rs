//! Wrappers: what can be put around any backend.
//!
//! [`Retry`], [`Limit`] and [`Meter`] are one struct, [`Wrapped`], around a [`Layer`] that sees every call. [`Faults`] and
//! [`Ahead`] need to know what calls do and stand by themselves.

mod ahead;
mod faults;
mod limit;
mod meter;
mod retry;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Backend, Caps, Guard, Upload, Version};
use crate::error::Result;

pub use ahead::Ahead;
pub use faults::{Fault, Faults};
pub use limit::Limit;
pub use meter::{Counts, Meter};
pub use retry::Retry;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `read`, `read_many`, `read_versioned`, `Upload::read`.
    Read,
    /// `size`, `list`, `list_many`.
    List,
    /// `put`, `append`, `swap`, `Upload::write`.
    Write,
    /// `Upload::publish`, `create`.
    Publish,
    /// `delete`, `clean`.
    Delete,
    /// `lock`.
    Lock,
}

/// One call of a backend.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What it does.
    pub op: Op,
    /// To which object.
    pub name: &'a str,
    /// Bytes that are sent, or asked for.
    pub bytes: u64,
}

/// Something that happens around every call.
pub trait Layer: Send + Sync + Debug + 'static {
    /// Runs a call, once or more often or not at all.
    ///
    /// # Errors
    /// The call's, or the layer's own.
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> Result<T>) -> Result<T>;
}

/// A backend with a layer around it.
#[derive(Debug)]
pub struct Wrapped<L> {
    inner: Arc<dyn Backend>,
    layer: Arc<L>,
}

impl<L: Layer> Wrapped<L> {
    /// Puts a layer around a backend.
    pub fn new(inner: Arc<dyn Backend>, layer: Arc<L>) -> Self {
        Self { inner, layer }
    }
}

fn total(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

fn span(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

impl<L: Layer> Backend for Wrapped<L> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let call = Call { op: Op::Read, name, bytes: span(&range) };
        self.layer.around(call, &|| self.inner.read(name, range.clone()))
    }

    fn read_many(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let call = Call { op: Op::Read, name, bytes: ranges.iter().map(span).sum() };
        self.layer.around(call, &|| self.inner.read_many(name, ranges))
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.layer.around(Call { op: Op::List, name, bytes: 0 }, &|| self.inner.size(name))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        let inner = self.layer.around(Call { op: Op::Publish, name, bytes: 0 }, &|| self.inner.create(name))?;
        Ok(Arc::new(WrappedUpload { inner, layer: Arc::clone(&self.layer), name: name.to_owned() }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let call = Call { op: Op::Write, name, bytes: bytes.len() as u64 };
        self.layer.around(call, &|| self.inner.put(name, bytes.clone()))
    }

    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()> {
        self.layer.around(Call { op: Op::Write, name, bytes: total(parts) }, &|| self.inner.append(name, at, parts))
    }

    fn sync_name(&self, name: &str) -> Result<()> {
        self.layer.around(Call { op: Op::Write, name, bytes: 0 }, &|| self.inner.sync_name(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        self.layer.around(Call { op: Op::List, name: prefix, bytes: 0 }, &|| self.inner.list(prefix))
    }

    fn list_many(&self, prefixes: &[&str]) -> Result<Vec<Vec<(String, u64)>>> {
        self.layer.around(Call { op: Op::List, name: "", bytes: 0 }, &|| self.inner.list_many(prefixes))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.layer.around(Call { op: Op::Delete, name, bytes: 0 }, &|| self.inner.delete(name))
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        self.layer.around(Call { op: Op::Read, name, bytes: 0 }, &|| self.inner.read_versioned(name))
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        let call = Call { op: Op::Write, name, bytes: bytes.len() as u64 };
        self.layer.around(call, &|| self.inner.swap(name, expect, bytes.clone()))
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>> {
        self.layer.around(Call { op: Op::Lock, name, bytes: 0 }, &|| self.inner.lock(name))
    }

    fn clean(&self, age_ms: u64) -> Result<()> {
        self.layer.around(Call { op: Op::Delete, name: "", bytes: 0 }, &|| self.inner.clean(age_ms))
    }
}

#[derive(Debug)]
struct WrappedUpload<L> {
    inner: Arc<dyn Upload>,
    layer: Arc<L>,
    name: String,
}

impl<L: Layer> WrappedUpload<L> {
    fn call(&self, op: Op, bytes: u64) -> Call<'_> {
        Call { op, name: &self.name, bytes }
    }
}

impl<L: Layer> Upload for WrappedUpload<L> {
    fn write(&self, parts: &[Bytes]) -> Result<()> {
        self.layer.around(self.call(Op::Write, total(parts)), &|| self.inner.write(parts))
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.layer.around(self.call(Op::Read, span(&range)), &|| self.inner.read(range.clone()))
    }

    fn publish(&self) -> Result<()> {
        self.layer.around(self.call(Op::Publish, 0), &|| self.inner.publish())
    }
}
