//! `repair`: replace what is damaged or missing by good copies from another replica, and get rid of damage that no version
//! needs.
//!
//! A copy is good when its hash is the object's id, so it does not matter where it comes from or who carries it. When every
//! version is whole again, files of the store with damage in them are rewritten without it, so that what was repaired verifies
//! clean. A damaged object that no version needs and nobody has is given up then.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::{Hash, hash::IdSet};
use syncline_tree::conflicts::{from_hex, to_hex};

use super::verify;
use crate::progress::Progress;
use crate::replica::Replica;
use crate::{Error, Result};

/// How many objects are asked for at once.
const BATCH: usize = 32;
/// The longest answer of [`objects`], in bytes of objects.
const ANSWER_MAX: usize = 8 << 20;
/// A missing node hides what is missing below it, so repair goes level by level; no tree is as high as this.
const ROUNDS: usize = 64;

/// What `repair` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Objects that were replaced.
    pub repaired: u64,
    /// Objects that the other replica does not have whole either.
    pub lost: Vec<Hash>,
    /// Files of the store that were rewritten without their damage.
    #[serde(default)]
    pub rewritten: u64,
    /// What is still wrong.
    pub left: verify::Report,
}

/// Brings objects by id, in the order asked for; `None` for one that is not there.
pub type Fetch<'a> = dyn FnMut(&[Hash]) -> Result<Vec<Option<Bytes>>> + 'a;

/// Brings nothing: for a repair with what is here. Damage that no version needs is got rid of, the rest is named.
pub fn nobody() -> impl FnMut(&[Hash]) -> Result<Vec<Option<Bytes>>> {
    |ids| Ok(vec![None; ids.len()])
}

/// Verifies every byte and replaces what is damaged or missing by what `fetch` brings. It is not asked for anything while no
/// version needs what is damaged.
///
/// # Errors
/// Those of `fetch` and of the store. What was repaired before stays repaired.
pub fn run(replica: &Replica, fetch: &mut Fetch<'_>, progress: &dyn Progress) -> Result<Report> {
    let deep = verify::Request { deep: true };
    let left = verify::run(replica, &deep, progress)?;
    let mut report = Report { repaired: 0, lost: Vec::new(), rewritten: 0, left };
    let mut lost = IdSet::default();
    for _ in 0..ROUNDS {
        let wanted = wanted(&report.left, &lost);
        if wanted.is_empty() || report.left.touched.is_empty() {
            break;
        }
        for batch in wanted.chunks(BATCH) {
            let found = fetch(batch)?;
            if found.len() != batch.len() {
                let why = format!("asked for {} objects and got {} answers", batch.len(), found.len());
                return Err(Error::Corrupt { what: "the other replica's answer".into(), why });
            }
            let mut good = Vec::new();
            for (id, bytes) in batch.iter().zip(found) {
                match bytes.filter(|bytes| Hash::of(bytes) == *id) {
                    Some(bytes) => good.push(bytes),
                    None => drop(lost.insert(*id)),
                }
            }
            report.repaired += replica.store().replace(&good)?.len() as u64;
        }
        report.left = verify::run(replica, &deep, progress)?;
    }
    let damaged: BTreeSet<String> = report.left.damage.iter().map(|damage| damage.file.clone()).collect();
    if !damaged.is_empty() {
        // While a version lacks something, what is left of it may still be of use to another repair.
        let forget = report.left.touched.is_empty();
        report.rewritten = replica.store().mend(&damaged, forget)?.files;
        report.left = verify::run(replica, &deep, progress)?;
    }
    report.lost = lost.into_iter().collect();
    report.lost.sort_unstable();
    Ok(report)
}

fn wanted(found: &verify::Report, lost: &IdSet) -> Vec<Hash> {
    let stored = found.damage.iter().flat_map(|damage| damage.objects.iter().copied());
    let reached = found.touched.iter().map(|touched| touched.object);
    let mut ids: Vec<Hash> = stored.chain(reached).filter(|id| *id != Hash::ZERO && !lost.contains(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// An object in an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Object {
    /// Its id.
    pub id: Hash,
    /// Its canonical bytes in hex; absent when it is not here, not whole, or does not fit in the answer any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}

/// The other side of a repair: objects by id, as far as they are here and whole. An answer is bounded; what does not
/// fit is asked for again.
#[must_use]
pub fn objects(replica: &Replica, ids: &[Hash]) -> Vec<Object> {
    let mut room = ANSWER_MAX;
    ids.iter()
        .take(BATCH)
        .map(|id| {
            let bytes = replica.store().get(id).ok().filter(|bytes| bytes.len() <= room);
            room -= bytes.as_ref().map_or(0, Bytes::len);
            Object { id: *id, hex: bytes.map(|bytes| to_hex(&bytes)) }
        })
        .collect()
}

/// Reads an answer of [`objects`] back into what [`Fetch`] gives, in the order of `ids`.
///
/// # Errors
/// `corrupt` when the answer is not for these ids.
pub fn read_objects(ids: &[Hash], answer: &[Object]) -> Result<Vec<Option<Bytes>>> {
    if answer.len() != ids.len() || ids.iter().zip(answer).any(|(id, object)| *id != object.id) {
        let why = "it does not name the objects that were asked for".into();
        return Err(Error::Corrupt { what: "the other replica's answer".into(), why });
    }
    Ok(answer.iter().map(|object| object.hex.as_deref().and_then(from_hex).map(Bytes::from)).collect())
}
