//! Putting objects: encoding, framing, and spilling to packs.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use syncline_base::{Hash, task};

use super::open_pack::OpenPack;
use super::{Inner, Store};
use crate::bases::Bases;
use crate::codec::{Encoded, MAX_OBJECT, RAW, ZSTD, ZSTD_PREFIX, zstd_encode};
use crate::error::{Error, Result};
use crate::frame::{self, Built, MAX_DEPTH, MAX_SLOTS, SHARED, Stored};
use crate::index::Place;

/// How much of a long object is tried before all of it is compressed.
const PROBE: usize = 8 << 10;

/// What was put and is in no file, or in a pack that is not published.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Small objects that will share the next frame.
    small: Vec<Stored>,
    small_bytes: usize,
    /// Frames that are ready.
    pub(super) frames: Vec<Built>,
    pub(super) frame_bytes: usize,
    /// The pack that frames spill to.
    pub(super) pack: Option<OpenPack>,
    /// The pack before it, on its way to be published.
    pub(super) publishing: Option<JoinHandle<Published>>,
    /// Packs that could not be published yet, oldest first.
    pub(super) failed: Vec<(OpenPack, Error)>,
    /// The packs of a copier: they hold what lies elsewhere, which no work has put.
    copies: Option<BTreeSet<u32>>,
}

/// How publishing on the side ended: with the pack back when it failed.
type Published = std::result::Result<(), Box<(OpenPack, Error)>>;
/// What publishes a pack on the side.
type Publish = Box<dyn FnOnce() -> Published + Send>;

impl Store {
    /// Stores an object, compressed when that pays. It is readable here at once; after `flush` it is durable and visible to others.
    ///
    /// # Errors
    /// `Invalid` for more than 256 MiB, or the backend's.
    pub fn put(&self, bytes: &[u8]) -> Result<Hash> {
        self.go_on()?;
        let id = Hash::of(bytes);
        if !self.holds(&id)? {
            self.put_new(Self::encode_as(id, bytes, || Bytes::copy_from_slice(bytes))?)?;
        }
        Ok(id)
    }

    /// As `put`, with `base` as compression prefix when that pays and the base's chain has room. The base need not be there.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_with_base(&self, bytes: &[u8], base: &Hash) -> Result<Hash> {
        self.put_with_bases(bytes, Bases::one(*base))
    }

    /// As `put_with_base`, on one base after the other; on one of them when there is no room for both.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_with_bases(&self, bytes: &[u8], bases: Bases) -> Result<Hash> {
        self.go_on()?;
        let id = Hash::of(bytes);
        if self.holds(&id)? {
            return Ok(id);
        }
        let whole = Self::encode_as(id, bytes, || Bytes::copy_from_slice(bytes))?;
        let singly = bases.iter().filter(|_| bases.len() > 1).map(|base| Bases::one(*base));
        for bases in std::iter::once(bases).chain(singly) {
            if let Some(patch) = self.encode_on(bytes, bases, &whole)? {
                self.put_new(patch)?;
                return Ok(id);
            }
        }
        self.put_new(whole)?;
        Ok(id)
    }

    /// An object as a patch on `bases`, or below them; `None` when that does not pay or there is no room.
    fn encode_on(&self, bytes: &[u8], bases: Bases, whole: &Encoded) -> Result<Option<Encoded>> {
        let len = whole.payload.len();
        // A base that cannot be read is no reason not to store an object.
        let Ok(prefix) = self.joined(&bases) else { return Ok(None) };
        let Some(payload) = compress_with(bytes, &prefix).filter(|payload| payload.len() < len - len / 8) else {
            return Ok(None);
        };
        if self.patch_room(&bases, payload.len(), bytes.len()) {
            return Ok(Some(Encoded::patch(whole.id, ZSTD_PREFIX, bases, whole.raw_len, payload.into())));
        }
        let Some(base) = bases.only() else { return Ok(None) };
        let below = self.encode_below(&Bytes::copy_from_slice(bytes), base)?;
        Ok(below.filter(|patch| patch.payload.len() < len / 2))
    }

    /// The canonical bytes of all bases, one after the other.
    pub(super) fn joined(&self, bases: &Bases) -> Result<Bytes> {
        if let Some(only) = bases.only() {
            return self.get(only);
        }
        let ids: Vec<Hash> = bases.iter().copied().collect();
        Ok(self.get_many(&ids)?.concat().into())
    }

    /// Whether a patch of `patch_len` bytes may be stacked on `bases` for an object of `raw_len` canonical bytes: at most 16
    /// patches to be applied in all, of together at most half the object's length. False when a base is not there.
    #[must_use]
    pub fn patch_room(&self, bases: &Bases, patch_len: usize, raw_len: usize) -> bool {
        // A patch on what a collection is about to take would be lost with it.
        let stay = |base: &Hash| self.inner.index.healing(|| self.counts_on(base)).is_ok_and(|stays| stays);
        if !bases.iter().all(stay) {
            return false;
        }
        let Ok(Some((depth, chain))) = self.inner.chains_of(bases) else { return false };
        depth < MAX_DEPTH && (chain as usize).saturating_add(patch_len) <= raw_len / 2
    }

    /// Stores an object that the caller has encoded (and hashed). Nothing happens when it is there already. A patch whose chain
    /// has no room is refused: ask `patch_room` first.
    ///
    /// # Errors
    /// `NotFound` when the base is not there, `Invalid` when the chain has no room or the codec is unknown, or the
    /// backend's.
    pub fn put_encoded(&self, object: Encoded) -> Result<()> {
        self.go_on()?;
        if self.holds(&object.id)? { Ok(()) } else { self.put_new(object) }
    }

    /// Encodes canonical bytes as `put` would, without storing: for callers that encode on many threads and store in order.
    ///
    /// # Errors
    /// `Invalid` for more than 256 MiB.
    pub fn encode(bytes: &Bytes) -> Result<Encoded> {
        Self::encode_as(Hash::of(bytes), bytes, || bytes.clone())
    }

    fn encode_as(id: Hash, bytes: &[u8], raw: impl FnOnce() -> Bytes) -> Result<Encoded> {
        let raw_len = raw_len(bytes.len())?;
        Ok(match compress(bytes) {
            Some(payload) => Encoded::whole(id, ZSTD, raw_len, payload.into()),
            None => Encoded::whole(id, RAW, raw_len, raw()),
        })
    }

    /// Stores an object whether it is there or not.
    pub(super) fn put_new(&self, object: Encoded) -> Result<()> {
        let stored = self.stored(object)?;
        self.work.puts();
        let mut writer = self.writer();
        if self.inner.index.write().pending.insert(stored.id, stored.clone()).is_some() {
            return Ok(());
        }
        writer.add(stored)?;
        if writer.frame_bytes >= self.inner.options.spill_bytes {
            writer.spill(self)?;
        }
        Ok(())
    }

    pub(super) fn stored(&self, object: Encoded) -> Result<Stored> {
        let invalid = |reason: String| Error::Invalid { action: "storing an encoded object", reason };
        let Encoded { id, codec, bases, raw_len, payload, .. } = object;
        let needs = self.inner.registry.needs_base(codec);
        let needs = needs.ok_or_else(|| invalid(format!("codec {codec} is not known here: use a newer program")))?;
        if needs == bases.is_empty() {
            return Err(invalid(format!("codec {codec} {} a base", if needs { "needs" } else { "takes no" })));
        }
        if raw_len as usize > MAX_OBJECT || payload.len() > MAX_OBJECT {
            return Err(invalid(format!("{raw_len} bytes are more than an object may have")));
        }
        if bases.is_empty() {
            return Ok(Stored { id, codec, depth: 0, bases: Bases::none(), chain: 0, raw_len, payload });
        }
        for base in bases.iter() {
            self.inner.chain_of(base)?.ok_or_else(|| self.inner.missing(base))?;
            if !self.inner.index.healing(|| self.counts_on(base))?
                && let Some(Place::At(loc)) = self.inner.index.find(base)?
            {
                // It is about to go: then the patch must not be named.
                self.work.relies_on(loc.file);
            }
        }
        let chains = self.inner.chains_of(&bases)?;
        let more = u32::try_from(payload.len()).ok();
        let chain = chains.zip(more).and_then(|((depth, chain), more)| Some((depth, chain.checked_add(more)?)));
        match chain.filter(|&(depth, chain)| depth < MAX_DEPTH && chain <= raw_len / 2) {
            Some((depth, chain)) => {
                let bases = bases.try_map(|base| Ok::<_, Error>(base.prefix_u64()))?;
                Ok(Stored { id, codec, depth: depth + 1, bases, chain, raw_len, payload })
            }
            None => Err(invalid("the chains of its bases have no room for another patch".to_owned())),
        }
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().expect("no code panics while it holds the writer")
    }
}

impl Inner {
    /// Whether all bases of an object are there. A crash or a collection must not leave patches without them, but an object that
    /// is put now must be readable even if one did.
    pub(super) fn chain_is_whole(&self, id: &Hash) -> bool {
        // A lowest object has no chain; so many patches, each with two bases, are the most that a chain can have.
        let mut left = vec![*id];
        for _ in 0..=2 * usize::from(MAX_DEPTH) {
            let Some(id) = left.pop() else { return true };
            match self.chain_of(&id) {
                Ok(Some((0, _))) => {}
                Ok(Some(_)) => match self.load_one(&id).and_then(|object| self.bases_of(&object)) {
                    Ok(bases) => left.extend(bases.iter()),
                    Err(_) => return false,
                },
                _ => return false,
            }
        }
        left.is_empty()
    }

    /// Depth and patch bytes of an object's chain.
    fn chain_of(&self, id: &Hash) -> Result<Option<(u8, u32)>> {
        Ok(match self.index.healing(|| self.index.find(id))? {
            None => None,
            Some(Place::Pending(object)) => Some((object.depth, object.chain)),
            Some(Place::At(loc)) if loc.depth == 0 => Some((0, 0)),
            Some(Place::At(_)) => {
                let object = self.load_one(id)?;
                Some((object.depth, object.chain))
            }
        })
    }

    /// Depth and patch bytes of all bases together. `None` when one is not there, or numbers overflow.
    fn chains_of(&self, bases: &Bases) -> Result<Option<(u8, u32)>> {
        let mut all = (0_u8, 0_u32);
        for base in bases.iter() {
            let Some((depth, chain)) = self.chain_of(base)? else { return Ok(None) };
            let Some(sum) = all.0.checked_add(depth).zip(all.1.checked_add(chain)) else { return Ok(None) };
            all = sum;
        }
        Ok(Some(all))
    }
}

impl Writer {
    fn add(&mut self, object: Stored) -> Result<()> {
        if !object.is_small() {
            if object.depth > 0 {
                // Its base may be among the small ones, and must not come after it: a torn write would leave it hanging.
                self.close_small()?;
            }
            let built = frame::build(&[object])?;
            self.push(built);
            return Ok(());
        }
        self.small_bytes += object.payload.len() + 48;
        if self.small.capacity() == 0 {
            // At once: each step of growing would touch fresh memory.
            self.small.reserve(MAX_SLOTS);
        }
        self.small.push(object);
        if self.small_bytes >= SHARED || self.small.len() == MAX_SLOTS { self.close_small() } else { Ok(()) }
    }

    fn close_small(&mut self) -> Result<()> {
        if !self.small.is_empty() {
            let built = frame::build(&self.small)?;
            self.push(built);
            self.small.clear();
            self.small_bytes = 0;
        }
        Ok(())
    }

    fn push(&mut self, built: Built) {
        self.frame_bytes += built.len as usize;
        self.frames.push(built);
    }

    /// Moves all ready frames to the open pack. After an error they are still here, or in a pack that waits to be published.
    pub(super) fn spill(&mut self, store: &Store) -> Result<()> {
        // A full pack may lie in memory: there is never more than the one that could not be published and the one after it.
        self.publish_failed(store)?;
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(OpenPack::start(store)?),
        };
        let from = pack.entries.len();
        pack.write(store, &self.frames)?;
        if let Some(copies) = &mut self.copies {
            copies.insert(pack.file);
        } else {
            let mut state = store.inner.index.write();
            for (id, _) in &pack.entries[from..] {
                state.pending.remove(id);
            }
            drop(state);
            store.inner.note_written(pack.file);
        }
        self.frames.clear();
        self.frame_bytes = 0;
        if pack.len >= store.inner.options.pack_bytes {
            self.wait_published();
            let pack = self.pack.take().expect("it was there a line above");
            if !self.failed.is_empty() {
                // In order: a pack must not become visible before those that hold its bases.
                let error = self.failed[0].1.clone();
                self.failed.push((pack, error));
                return self.publish_failed(store);
            }
            return self.publish_beside(store, pack, |publish| task::spawn("publish-pack", publish));
        }
        Ok(())
    }

    /// Publishes a pack while the next one is filled; at once where no thread can be had. It holds what others have put, whose
    /// flush must not say that it is durable because the pack is forgotten.
    pub(super) fn publish_beside(
        &mut self,
        store: &Store,
        pack: OpenPack,
        spawn: impl FnOnce(Publish) -> io::Result<JoinHandle<Published>>,
    ) -> Result<()> {
        let (slot, shared) = (Arc::new(Mutex::new(Some(pack))), Arc::clone(&store.inner));
        let take = |slot: &Mutex<Option<OpenPack>>| {
            let pack = slot.lock().expect("no code panics while it holds the pack").take();
            pack.expect("it is taken once: by the thread, or because there is none")
        };
        let publish = {
            let slot = Arc::clone(&slot);
            move || {
                let mut pack = take(&slot);
                pack.publish(&shared.index).map_err(|error| Box::new((pack, error)))
            }
        };
        match spawn(Box::new(publish)) {
            Ok(thread) => {
                self.publishing = Some(thread);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "no thread to publish a pack with: putting waits for it");
                self.publish_now(store, take(&slot))
            }
        }
    }

    fn publish_now(&mut self, store: &Store, mut pack: OpenPack) -> Result<()> {
        pack.publish(&store.inner.index).inspect_err(|error| self.failed.push((pack, error.clone())))
    }

    /// Waits for the pack that is being published on the side.
    fn wait_published(&mut self) {
        if let Some(thread) = self.publishing.take()
            && let Err(failed) = thread.join().expect("publishing does not panic")
        {
            self.failed.push(*failed);
        }
    }

    /// Publishes the packs that could not be published before, in order.
    fn publish_failed(&mut self, store: &Store) -> Result<()> {
        while let Some((pack, _)) = self.failed.first_mut() {
            pack.publish(&store.inner.index)?;
            self.failed.remove(0);
        }
        Ok(())
    }

    /// Publishes all packs, in order, after everything that is ready has been written to the last one.
    pub(super) fn finish_packs(&mut self, store: &Store) -> Result<()> {
        self.wait_published();
        self.publish_failed(store)?;
        match self.pack.take() {
            Some(pack) => self.publish_now(store, pack),
            None => Ok(()),
        }
    }

    /// Closes the frame of small objects, and says whether what is ready goes into packs.
    pub(super) fn close(&mut self) -> Result<bool> {
        self.close_small()?;
        Ok(self.pack.is_some() || self.publishing.is_some() || !self.failed.is_empty())
    }
}

/// Copies stored objects to new packs, which become visible as they are full.
#[derive(Debug)]
pub(super) struct Copier {
    writer: Writer,
}

impl Default for Copier {
    fn default() -> Self {
        Self { writer: Writer { copies: Some(BTreeSet::new()), ..Writer::default() } }
    }
}

impl Copier {
    /// Whether a file is one of its packs.
    pub(super) fn writes(&self, file: u32) -> bool {
        self.writer.copies.as_ref().is_some_and(|files| files.contains(&file))
    }

    /// Copies one object, as it is encoded.
    pub(super) fn add(&mut self, store: &Store, object: Stored) -> Result<()> {
        self.writer.add(object)?;
        if self.writer.frame_bytes >= store.inner.options.spill_bytes { self.writer.spill(store) } else { Ok(()) }
    }

    /// Makes all copies durable and visible.
    pub(super) fn finish(mut self, store: &Store) -> Result<()> {
        self.writer.close()?;
        if !self.writer.frames.is_empty() {
            self.writer.spill(store)?;
        }
        self.writer.finish_packs(store)
    }
}

pub(super) fn raw_len(length: usize) -> Result<u32> {
    let short = u32::try_from(length).ok().filter(|_| length <= MAX_OBJECT);
    short.ok_or_else(|| Error::Invalid {
        action: "storing an object",
        reason: format!("{length} bytes are more than an object may have ({MAX_OBJECT}): cut it into chunks"),
    })
}

/// The bytes compressed; `None` when that would not save an eighth.
fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let worth = |packed: &Vec<u8>, of: usize| packed.len() < of - of / 8;
    if bytes.len() < 64 {
        return None;
    }
    if bytes.len() >= 4 * PROBE {
        // The middle says more about the rest than the start, which often is a header.
        let middle = bytes.len() / 2 - PROBE / 2;
        let probe = zstd_encode(&bytes[middle..middle + PROBE])?;
        if !worth(&probe, PROBE) {
            return None;
        }
    }
    let mut packed = zstd_encode(bytes).filter(|packed| worth(packed, bytes.len()))?;
    packed.shrink_to_fit();
    Some(packed)
}

/// The bytes compressed with another object's bytes as prefix.
pub(super) fn compress_with(bytes: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
    use zstd::zstd_safe::{CCtx, CParameter, compress_bound};
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(3)).ok()?;
    let window = (bytes.len() + prefix.len()).max(1024).next_power_of_two().trailing_zeros().min(27);
    context.set_parameter(CParameter::WindowLog(window)).ok()?;
    context.set_parameter(CParameter::EnableLongDistanceMatching(bytes.len() > 1 << 20)).ok()?;
    context.ref_prefix(prefix).ok()?;
    let mut out = Vec::with_capacity(compress_bound(bytes.len()));
    context.compress2(&mut out, bytes).ok()?;
    out.shrink_to_fit();
    Some(out)
}
