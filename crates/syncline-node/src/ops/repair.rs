//! `repair`: replace what is damaged or missing by good copies from another replica, and get rid of damage that no version
//! needs.
//!
//! A copy is good when its hash is the object's id, so it does not matter where it comes from or who carries it. When every
//! version is whole again, files of the store with damage in them are rewritten without it, so that what was repaired verifies
//! clean. A damaged object that no version needs and nobody has is given up then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::hash::{IdMap, IdSet};
use syncline_base::{Hash, Kind};
use syncline_store::codec::MAX_OBJECT;
use syncline_tree::conflicts::{from_hex, to_hex};
use syncline_tree::{Commit, Refs, refs};

use super::verify;
use crate::progress::Progress;
use crate::replica::Replica;
use crate::{Error, Result};

/// How many objects are asked for at once.
const BATCH: usize = 32;
/// The longest answer of [`objects`], in bytes of objects.
const ANSWER_MAX: usize = 8 << 20;
/// What names lead to in a copy, for a replica that has lost its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Names {
    /// The current branch.
    pub head: String,
    /// Branches: name to commit.
    pub branches: BTreeMap<String, Hash>,
    /// Tags: name to commit.
    #[serde(default)]
    pub tags: BTreeMap<String, Hash>,
    /// Commits that came without all of their parents.
    #[serde(default)]
    pub shallow: BTreeSet<Hash>,
}

impl Names {
    /// Those of a replica.
    ///
    /// # Errors
    /// The store's.
    pub fn of(replica: &Replica) -> Result<Self> {
        let Refs { head, branches, tags, shallow, .. } = replica.refs()?;
        Ok(Self { head, branches, tags, shallow })
    }

    /// Gives them to a replica whose head is damaged or gone. False when it has a good one, which stays as it is.
    ///
    /// # Errors
    /// `invalid` when they are none or are not allowed; the store's.
    pub fn give(&self, replica: &Replica) -> Result<bool> {
        let Some(lost) = refs::lost(replica.store())? else { return Ok(false) };
        if self.branches.is_empty() {
            let why = "the other copy has no branch: name one that has";
            return Err(Error::invalid("taking branches and tags for a head that is lost", why));
        }
        std::iter::once(&self.head)
            .chain(self.branches.keys())
            .chain(self.tags.keys())
            .try_for_each(|n| refs::check_name(n))?;
        let mut given = Refs::new(&self.head);
        (given.branches, given.tags, given.shallow) = (self.branches.clone(), self.tags.clone(), self.shallow.clone());
        refs::restore(replica.store(), &lost, &given)?;
        Ok(true)
    }
}

/// Whether the head of a replica is damaged or gone, so that nothing says which versions it has.
///
/// # Errors
/// The store's.
pub fn lacks_head(replica: &Replica) -> Result<bool> {
    Ok(refs::lost(replica.store())?.is_some())
}

/// What `repair` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How many branches and tags were taken from the other replica, because the head was damaged or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<u64>,
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

/// Objects that somebody who asks for a repair sends along, in a file: of each its length (u32, little endian) and its
/// canonical bytes. A node repairs its datasets with these: it opens no address for its callers.
#[derive(Debug, Default)]
pub struct Brought {
    file: Option<(PathBuf, File)>,
    /// Where each of them lies, by its hash.
    places: IdMap<(u64, u32)>,
}

impl Brought {
    /// Reads what was sent; nothing when there is no file.
    ///
    /// # Errors
    /// `invalid` when it is cut off or an object is longer than any may be; the file system's.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let cut = || Error::invalid("reading objects for a repair", "they end in the middle of one: send them again");
        let failed = || Error::io("reading", path);
        let file = File::open(path).map_err(failed())?;
        let total = file.metadata().map_err(failed())?.len();
        let (mut input, mut places, mut at) = (BufReader::new(&file), IdMap::default(), 0u64);
        while at < total {
            let mut len = [0; 4];
            input.read_exact(&mut len).map_err(|_| cut())?;
            let len = u32::from_le_bytes(len);
            if len as usize > MAX_OBJECT {
                let why = format!("one is said to have {len} bytes, and none has more than {MAX_OBJECT}");
                return Err(Error::invalid("reading objects for a repair", why));
            }
            let mut bytes = Vec::new();
            input.by_ref().take(u64::from(len)).read_to_end(&mut bytes).map_err(failed())?;
            if bytes.len() != len as usize {
                return Err(cut());
            }
            places.insert(Hash::of(&bytes), (at + 4, len));
            at += 4 + u64::from(len);
        }
        drop(input);
        Ok(Self { file: Some((path.to_owned(), file)), places })
    }

    /// Those of these objects that were sent.
    ///
    /// # Errors
    /// The file system's.
    pub fn fetch(&mut self, ids: &[Hash]) -> Result<Vec<Option<Bytes>>> {
        ids.iter().map(|id| self.object(id)).collect()
    }

    fn object(&mut self, id: &Hash) -> Result<Option<Bytes>> {
        let (Some((path, file)), Some((at, len))) = (&mut self.file, self.places.get(id)) else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(*at)).and_then(|_| file.take(u64::from(*len)).read_to_end(&mut bytes));
        read.map_err(Error::io("reading", path))?;
        Ok(Some(bytes.into()))
    }
}

/// Objects as [`Brought`] reads them, brought from elsewhere while they are read.
pub struct Bringing<'a> {
    ids: VecDeque<Hash>,
    fetch: &'a mut Fetch<'a>,
    bytes: Cursor<Vec<u8>>,
    asked: IdSet,
    /// How many more commits before those that were asked for are brought along.
    along: usize,
    /// Why nothing more could be brought.
    failed: Option<Error>,
}

impl std::fmt::Debug for Bringing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bringing").field("ids", &self.ids.len()).finish_non_exhaustive()
    }
}

impl<'a> Bringing<'a> {
    /// Brings those of these objects that `fetch` has.
    pub fn new(ids: impl IntoIterator<Item = Hash>, fetch: &'a mut Fetch<'a>) -> Self {
        let ids: VecDeque<Hash> = ids.into_iter().collect();
        let asked = ids.iter().copied().collect();
        Self { ids, fetch, bytes: Cursor::default(), asked, along: 0, failed: None }
    }

    /// Brings at most so many ancestors of the commits among them, too: when one was lost, what came before it may be, and only
    /// who has the one can tell what that is.
    #[must_use]
    pub fn with_ancestors(self, most: usize) -> Self {
        Self { along: most, ..self }
    }

    fn follow(&mut self, object: &[u8]) {
        let Some(commit) = Some(()).filter(|()| self.along > 0).and_then(|()| Commit::decode(object).ok()) else {
            return;
        };
        for parent in commit.parents {
            if self.along > 0 && self.asked.insert(parent) {
                self.along -= 1;
                self.ids.push_back(parent);
            }
        }
    }

    /// Why it ended early, if it did: the fault of `fetch`.
    pub fn failed(&mut self) -> Option<Error> {
        self.failed.take()
    }
}

impl Read for Bringing<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.bytes.read(out)?;
            if read > 0 || out.is_empty() || self.ids.is_empty() {
                return Ok(read);
            }
            let batch: Vec<Hash> = self.ids.drain(..BATCH.min(self.ids.len())).collect();
            let found = (self.fetch)(&batch).map_err(|error| {
                let told = std::io::Error::other(error.to_string());
                self.failed = Some(error);
                told
            })?;
            let mut bytes = Vec::new();
            for object in batch.iter().zip(found).filter_map(|(id, bytes)| bytes.filter(|b| Hash::of(b) == *id)) {
                let Ok(len) = u32::try_from(object.len()) else { continue };
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(&object);
                self.follow(&object);
            }
            self.bytes = Cursor::new(bytes);
        }
    }
}

/// Verifies every byte and replaces what is damaged or missing by what `fetch` brings. It is not asked for anything while no
/// version needs what is damaged, and for nothing twice.
///
/// # Errors
/// Those of `fetch` and of the store. What was repaired before stays repaired.
pub fn run(replica: &Replica, fetch: &mut Fetch<'_>, progress: &dyn Progress) -> Result<Report> {
    run_with(replica, None, fetch, progress)
}

/// As [`run`]; a replica whose head is damaged or gone is given these names first. Without, nothing of it is touched: what is
/// needed cannot be told.
///
/// # Errors
/// As [`run`] and [`Names::give`].
pub fn run_with(
    replica: &Replica,
    names: Option<&Names>,
    fetch: &mut Fetch<'_>,
    progress: &dyn Progress,
) -> Result<Report> {
    let given = names.map(|names| names.give(replica).map(|given| given.then_some(names))).transpose()?.flatten();
    let named = given.map(|names| (names.branches.len() + names.tags.len()) as u64);
    let deep = verify::Request { deep: true };
    let store = replica.store();
    let mut left = verify::run(replica, &deep, progress)?;
    if left.lacks_head() {
        return Ok(Report { named, repaired: 0, lost: Vec::new(), rewritten: 0, left });
    }
    let mut damaged: IdSet = left.damage.iter().flat_map(|damage| damage.objects.iter().copied()).collect();
    let mut work = Work { replica, fetch, asked: IdSet::default(), lost: IdSet::default(), repaired: 0 };
    let mut touched = std::mem::take(&mut left.touched);
    // What is missing hides what is missing below it, so this goes level by level. All of the store was read once: what
    // has come since is whole.
    while !touched.is_empty() {
        if !work.round(&damaged, &touched)? {
            break;
        }
        damaged.retain(|id| store.get(id).is_err());
        touched = verify::touched_by(replica, &damaged, &work.asked, progress)?;
    }
    let Work { mut lost, asked, repaired, .. } = work;
    let mut report = Report { named, repaired, lost: Vec::new(), rewritten: 0, left };
    let files: BTreeSet<String> = report.left.damage.iter().map(|damage| damage.file.clone()).collect();
    if !files.is_empty() {
        // While a version lacks something, what is left of it may still be of use to another repair.
        let forget = verify::touched_by(replica, &damaged, &IdSet::default(), progress)?.is_empty();
        report.rewritten = store.mend(&files, forget)?.files;
    }
    // Nothing was touched that was not asked for.
    if !files.is_empty() || !asked.is_empty() {
        report.left = verify::run(replica, &deep, progress)?;
    }
    // On a base that was brought it can be read again.
    lost.retain(|id| store.get(id).is_err());
    report.lost = lost.into_iter().collect();
    report.lost.sort_unstable();
    Ok(report)
}

/// The objects that a repair asks for.
struct Work<'a, 'f> {
    replica: &'a Replica,
    fetch: &'a mut Fetch<'f>,
    /// Nothing is asked for twice: who does not have it now does not have it later.
    asked: IdSet,
    /// Of those, the ones that nobody brought.
    lost: IdSet,
    repaired: u64,
}

impl Work<'_, '_> {
    /// Asks for what is damaged and what that was seen to touch. False when there was nothing to ask for.
    fn round(&mut self, damaged: &IdSet, touched: &[verify::Touched]) -> Result<bool> {
        // The record of a commit, which leads to others.
        let record = |touched: &&verify::Touched| touched.commit == touched.object;
        let mut records: IdSet = touched.iter().filter(record).map(|touched| touched.object).collect();
        let ids = damaged.iter().copied().chain(touched.iter().map(|touched| touched.object));
        let mut ids: Vec<Hash> = ids.filter(|id| *id != Hash::ZERO && !self.asked.contains(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(false);
        }
        let shallow = self.replica.refs()?.shallow;
        self.asked.extend(ids.iter().copied());
        let mut open: VecDeque<Hash> = ids.into();
        let (mut good, mut bytes) = (Vec::new(), 0);
        while !open.is_empty() {
            let batch: Vec<Hash> = open.drain(..BATCH.min(open.len())).collect();
            let found = match self.bring(&batch) {
                Ok(found) => found,
                Err(error) => {
                    self.keep(&mut good)?;
                    return Err(error);
                }
            };
            for (id, object) in batch.iter().zip(found) {
                let Some(object) = object else {
                    self.lost.insert(*id);
                    continue;
                };
                // A line of commits that was lost is followed here: every walk would find one of them only.
                if records.contains(id) && !shallow.contains(id) {
                    for parent in self.lost_parents(&object)? {
                        self.asked.insert(parent);
                        records.insert(parent);
                        open.push_back(parent);
                    }
                }
                bytes += object.len();
                good.push(object);
            }
            if bytes >= ANSWER_MAX {
                self.keep(&mut good)?;
                bytes = 0;
            }
        }
        self.keep(&mut good)?;
        Ok(true)
    }

    fn bring(&mut self, ids: &[Hash]) -> Result<Vec<Option<Bytes>>> {
        let found = (self.fetch)(ids)?;
        if found.len() != ids.len() {
            let why = format!("asked for {} objects and got {} answers", ids.len(), found.len());
            return Err(Error::Corrupt { what: "the other replica's answer".into(), why });
        }
        Ok(ids.iter().zip(found).map(|(id, bytes)| bytes.filter(|bytes| Hash::of(bytes) == *id)).collect())
    }

    fn keep(&mut self, good: &mut Vec<Bytes>) -> Result<()> {
        self.repaired += self.replica.store().replace(good)?.len() as u64;
        good.clear();
        Ok(())
    }

    /// The parents of a commit that are not here, or not whole, and were not asked for.
    fn lost_parents(&self, record: &[u8]) -> Result<Vec<Hash>> {
        let mut lost = Vec::new();
        for parent in Commit::decode(record).map_or_else(|_| Vec::new(), |commit| commit.parents) {
            if self.asked.contains(&parent) {
                continue;
            }
            match Commit::load(self.replica.store(), &parent) {
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => lost.push(parent),
                other => drop(other?),
            }
        }
        Ok(lost)
    }
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
