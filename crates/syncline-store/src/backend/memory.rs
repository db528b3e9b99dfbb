//! The memory backend: for tests, simulations and throw-away stores.
//!
//! Owns: every byte object, in a map. Survives nothing but the `Store`s opened on it: keep the `Arc` to reopen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use syncline_base::{Hash, Kind};

use super::{Backend, Caps, Guard, Upload, Version};
use crate::error::{Error, Result};

/// Byte objects in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Mutex<BTreeMap<String, BytesMut>>,
    locks: Mutex<BTreeSet<String>>,
    /// Pretends to be a place without append, as object stores are.
    no_append: bool,
}

const PLACE: &str = "memory";

impl Memory {
    /// An empty place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty place that cannot append, as object stores cannot.
    #[must_use]
    pub fn without_append() -> Self {
        Self { shared: Arc::new(Shared { no_append: true, ..Shared::default() }) }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, BytesMut>> {
        self.shared.objects.lock().expect("no code panics while it holds the objects")
    }
}

fn slice(action: &'static str, name: &str, bytes: &[u8], range: &Range<u64>) -> Result<Bytes> {
    let part = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    part.and_then(|(start, end)| bytes.get(start..end)).map(Bytes::copy_from_slice).ok_or_else(|| {
        Error::backend(Kind::Corrupt, action, name, PLACE, format!("{range:?} is not within its {} bytes", bytes.len()))
    })
}

fn missing(action: &'static str, name: &str) -> Error {
    Error::backend(Kind::NotFound, action, name, PLACE, "there is nothing of that name")
}

fn taken(action: &'static str, name: &str) -> Error {
    Error::backend(Kind::Conflict, action, name, PLACE, "the name is taken")
}

fn version(bytes: &[u8]) -> Version {
    Version(Hash::of(bytes).to_string())
}

impl Backend for Memory {
    fn describe(&self) -> String {
        PLACE.to_owned()
    }

    fn caps(&self) -> Caps {
        Caps { append: !self.shared.no_append }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let objects = self.objects();
        let bytes = objects.get(name).ok_or_else(|| missing("reading", name))?;
        slice("reading", name, bytes, &range)
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.objects().get(name).map(|bytes| bytes.len() as u64))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        Ok(Arc::new(MemoryUpload { to: self.clone(), name: name.to_owned(), bytes: Mutex::default() }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        match self.objects().entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => Err(taken("writing", name)),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(BytesMut::from(&bytes[..]));
                Ok(())
            }
        }
    }

    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()> {
        if self.shared.no_append {
            return Err(Error::backend(Kind::Invalid, "appending to", name, PLACE, "this place cannot append"));
        }
        let mut objects = self.objects();
        if at > 0 && !objects.contains_key(name) {
            return Err(missing("appending to", name));
        }
        let bytes = objects.entry(name.to_owned()).or_default();
        let keep = usize::try_from(at).ok().filter(|&at| at <= bytes.len()).ok_or_else(|| {
            let reason = format!("it has {} bytes, {at} were expected", bytes.len());
            Error::backend(Kind::Corrupt, "appending to", name, PLACE, reason)
        })?;
        bytes.truncate(keep);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let objects = self.objects();
        let from = objects.range(prefix.to_owned()..);
        Ok(from
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, bytes)| (name.clone(), bytes.len() as u64))
            .collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.objects().remove(name);
        Ok(())
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        Ok(self.objects().get(name).map(|bytes| (Bytes::copy_from_slice(bytes), version(bytes))))
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        let mut objects = self.objects();
        let now = objects.get(name).map(|bytes| version(bytes));
        let next = version(&bytes);
        if now.as_ref() != expect && now.as_ref() != Some(&next) {
            return Err(Error::backend(Kind::Conflict, "replacing", name, PLACE, "somebody else has changed it"));
        }
        objects.insert(name.to_owned(), BytesMut::from(&bytes[..]));
        Ok(next)
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>> {
        let mut locks = self.shared.locks.lock().expect("no code panics while it holds the locks");
        if !locks.insert(name.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryGuard { shared: Arc::clone(&self.shared), name: name.to_owned() })))
    }
}

#[derive(Debug)]
struct MemoryGuard {
    shared: Arc<Shared>,
    name: String,
}

impl Guard for MemoryGuard {}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.shared.locks.lock().expect("no code panics while it holds the locks").remove(&self.name);
    }
}

#[derive(Debug)]
struct MemoryUpload {
    to: Memory,
    name: String,
    bytes: Mutex<BytesMut>,
}

impl MemoryUpload {
    fn bytes(&self) -> MutexGuard<'_, BytesMut> {
        self.bytes.lock().expect("no code panics while it holds the bytes")
    }
}

impl Upload for MemoryUpload {
    fn write(&self, parts: &[Bytes]) -> Result<()> {
        let mut bytes = self.bytes();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        slice("reading", &self.name, &self.bytes(), &range)
    }

    fn publish(&self) -> Result<()> {
        let bytes = self.bytes();
        if self.to.objects().get(&self.name).is_some_and(|there| *there == *bytes) {
            return Ok(());
        }
        self.to.put(&self.name, Bytes::copy_from_slice(&bytes))
    }
}
