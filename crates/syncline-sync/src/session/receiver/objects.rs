//! Objects as they arrive: checked in parallel, stored in order.

use std::iter::Peekable;
use std::vec::IntoIter;

use bytes::Bytes;
use syncline_base::hash::IdSet;
use syncline_base::{Hash, task};
use syncline_store::codec::Encoded;
use syncline_tree::walk::ObjectKind;

use super::Receiver;
use crate::error::{Error, Result};
use crate::graph;
use crate::wire::{self, Object};

/// A large object whose parts are still coming.
pub(super) struct Assembly {
    object: Object,
    payload: Vec<u8>,
}

/// Objects are decoded side by side as long as they are not longer than this together. One alone may be longer.
const RUN_BYTES: usize = 32 << 20;

/// The objects of a message in runs: what is decoded at once is bounded, and an object that is a patch on one in the same
/// message waits until that one is stored. A kind's longest object is checked before anything is decoded.
struct Runs {
    rest: Peekable<IntoIter<Object>>,
}

impl Iterator for Runs {
    type Item = Result<Vec<Object>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut run: Vec<Object> = Vec::new();
        let mut in_run = IdSet::default();
        let mut bytes = 0;
        while let Some(object) = self.rest.peek() {
            if let Err(error) = graph::check_length(object) {
                return Some(Err(error));
            }
            bytes += object.raw_len as usize;
            let waits = bytes > RUN_BYTES || object.bases.iter().any(|base| in_run.contains(base));
            if waits && !run.is_empty() {
                break;
            }
            in_run.insert(object.id);
            run.extend(self.rest.next());
        }
        (!run.is_empty()).then_some(Ok(run))
    }
}

/// An object that has been checked.
struct Checked {
    object: Object,
    kind: ObjectKind,
    canonical: Bytes,
    children: Vec<(Hash, ObjectKind)>,
}

impl Receiver<'_> {
    pub(super) fn objects(&mut self, mut objects: Vec<Object>) -> Result<()> {
        let last = objects.pop();
        if objects.iter().any(|object| object.rest > 0) {
            return Err(Error::protocol("objects", "only the last one may have parts to come"));
        }
        match last {
            Some(last) if last.rest > 0 => {
                let whole = last.payload.len() as u64 + u64::from(last.rest);
                // No encoded form is longer than the longest object by more than a little.
                if whole > syncline_store::codec::MAX_OBJECT as u64 + (1 << 20) {
                    return Err(Error::protocol("objects", format!("an object of {whole} bytes")));
                }
                self.assembly = Some(Assembly { payload: last.payload.to_vec(), object: last });
            }
            Some(last) => objects.push(last),
            None => {}
        }
        self.take(objects)
    }

    pub(super) fn part(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(assembly) = &mut self.assembly else {
            return Err(Error::protocol("part", "no object waits for one"));
        };
        let left = assembly.object.rest as usize;
        if bytes.is_empty() || bytes.len() > left || (bytes.len() < left && bytes.len() < wire::PART_BYTES) {
            return Err(Error::protocol("part", format!("{} bytes while {left} are missing", bytes.len())));
        }
        assembly.payload.extend_from_slice(bytes);
        assembly.object.rest -= u32::try_from(bytes.len()).expect("at most `rest`, which has 32 bits");
        if assembly.object.rest > 0 {
            return Ok(());
        }
        let Some(Assembly { mut object, payload }) = self.assembly.take() else { return Ok(()) };
        object.payload = Bytes::from(payload);
        self.take(vec![object])
    }

    fn take(&mut self, objects: Vec<Object>) -> Result<()> {
        let mut runs = Runs { rest: objects.into_iter().peekable() };
        while let Some(run) = runs.next().transpose()? {
            self.take_run(run)?;
        }
        Ok(())
    }

    fn take_run(&mut self, run: Vec<Object>) -> Result<()> {
        let (store, registry) = (&self.store, &self.registry);
        let checked = task::try_map(run, |object| -> Result<Checked> {
            let kind = graph::kind_of_byte(object.kind)?;
            let canonical = graph::verify(store, registry, &object)?;
            let children = graph::children(kind, &canonical)
                .map_err(|error| Error::Damaged { id: object.id, why: error.to_string() })?;
            Ok(Checked { object, kind, canonical, children })
        })?;
        for object in checked {
            self.store_object(object)?;
        }
        Ok(())
    }

    fn store_object(&mut self, checked: Checked) -> Result<()> {
        let Checked { object, kind, canonical, children } = checked;
        if !self.have.has_all(&children)? {
            return Err(Error::Lacking { what: format!("object {}", object.id.short()) });
        }
        let bytes = object.payload.len();
        // The patch fitted the sender's chain; ours may be longer already.
        let fits = object.bases.is_empty() || self.store.patch_room(&object.bases, bytes, canonical.len());
        let encoded = if fits {
            Encoded {
                id: object.id,
                codec: object.codec,
                bases: object.bases,
                depth: u8::from(!object.bases.is_empty()),
                raw_len: object.raw_len,
                payload: object.payload,
            }
        } else {
            graph::encode_whole(object.id, kind, &canonical)?
        };
        self.store.put_encoded(encoded)?;
        self.have.note(object.id, kind);
        self.objects += 1;
        self.bytes += bytes as u64;
        self.stored(bytes)
    }
}

#[cfg(test)]
mod tests;
