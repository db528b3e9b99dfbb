//! Codecs: how the canonical bytes of an object become stored bytes.
//!
//! An object's identity is the hash of its canonical bytes; the codec only decides how they lie on disk and on the
//! wire, so codecs may differ between replicas. This module has the three that know nothing of the content; layers
//! above register their own for what they understand.
//!
//! Not here: choosing bases, bounding chains (`crate::store`).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;
use zstd::zstd_safe::{self, CCtx, DCtx, DParameter};

use crate::bases::Bases;
use crate::buffers;
use crate::error::{Error, Result};

/// Stored as it is.
pub const RAW: u8 = 0;
/// One zstd frame.
pub const ZSTD: u8 = 1;
/// One zstd frame that refers to the canonical bytes of the bases, one after the other, as a prefix.
pub const ZSTD_PREFIX: u8 = 2;

/// The longest object, in canonical bytes.
pub const MAX_OBJECT: usize = 256 << 20;

/// Turns stored bytes back into canonical bytes.
///
/// A codec never panics and never allocates much more than `raw_len`, whatever the bytes: they come from disks and peers. It need
/// not detect every damage; the caller compares the hash.
pub trait Codec: Send + Sync {
    /// The byte that names this codec on disk. 0..=15 belong to this crate.
    fn tag(&self) -> u8;

    /// Whether `decode` needs the canonical bytes of other objects.
    fn needs_base(&self) -> bool;

    /// The canonical bytes: exactly `raw_len` of them. There are one or two `bases` if [`Codec::needs_base`], else none.
    ///
    /// # Errors
    /// What is wrong with the payload, or that there are two bases where this codec has one.
    fn decode(&self, payload: &[u8], bases: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String>;
}

/// An object as it is stored or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The hash of the canonical bytes.
    pub id: Hash,
    /// How `payload` was made.
    pub codec: u8,
    /// The objects that `payload` is a patch against, when the codec needs any.
    pub bases: Bases,
    /// How many patches must be applied to get the canonical bytes, those of both bases counted; 0 without a base. Set by the
    /// store: on its way in it is ignored.
    pub depth: u8,
    /// Length of the canonical bytes.
    pub raw_len: u32,
    /// The encoded bytes.
    pub payload: Bytes,
}

impl Encoded {
    /// An object that stands on its own.
    #[must_use]
    pub fn whole(id: Hash, codec: u8, raw_len: u32, payload: Bytes) -> Self {
        Self { id, codec, bases: Bases::none(), depth: 0, raw_len, payload }
    }

    /// An object that is a patch against `bases`.
    #[must_use]
    pub fn patch(id: Hash, codec: u8, bases: Bases, raw_len: u32, payload: Bytes) -> Self {
        Self { id, codec, bases, depth: 1, raw_len, payload }
    }
}

/// The codecs that a store knows, by tag.
#[derive(Clone)]
pub struct Registry {
    codecs: BTreeMap<u8, Arc<dyn Codec>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.codecs.keys()).finish()
    }
}

impl Registry {
    /// The built-in codecs and `more`.
    ///
    /// # Errors
    /// `Invalid` when two codecs have one tag.
    pub fn new(more: &[Arc<dyn Codec>]) -> Result<Self> {
        let own: [Arc<dyn Codec>; 3] = [Arc::new(Raw), Arc::new(Zstd), Arc::new(ZstdPrefix)];
        let mut codecs = BTreeMap::new();
        for codec in own.into_iter().chain(more.iter().cloned()) {
            let tag = codec.tag();
            if codecs.insert(tag, codec).is_some() {
                return Err(Error::Invalid {
                    action: "registering codecs",
                    reason: format!("tag {tag} is given twice"),
                });
            }
        }
        Ok(Self { codecs })
    }

    /// Whether the codec of this tag needs a base; `None` when there is no such codec.
    #[must_use]
    pub fn needs_base(&self, tag: u8) -> Option<bool> {
        Some(self.codecs.get(&tag)?.needs_base())
    }

    /// Decodes a payload and checks its length. The hash is not checked here.
    ///
    /// # Errors
    /// What is wrong with the payload, or that the codec is unknown.
    pub fn decode(
        &self,
        tag: u8,
        payload: &[u8],
        bases: &[&[u8]],
        raw_len: usize,
    ) -> std::result::Result<Bytes, String> {
        let codec =
            self.codecs.get(&tag).ok_or_else(|| format!("codec {tag} is not known here: use a newer program"))?;
        if raw_len > MAX_OBJECT {
            return Err(format!("it claims {raw_len} bytes, more than any object has"));
        }
        if codec.needs_base() == bases.is_empty() {
            return Err(format!("codec {tag} {} a base", if bases.is_empty() { "needs" } else { "takes no" }));
        }
        let bytes = codec.decode(payload, bases, raw_len)?;
        if bytes.len() != raw_len {
            return Err(format!("it decodes to {} bytes instead of {raw_len}", bytes.len()));
        }
        Ok(bytes)
    }
}

#[derive(Debug)]
struct Raw;

impl Codec for Raw {
    fn tag(&self) -> u8 {
        RAW
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn decode(&self, payload: &[u8], _: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String> {
        if payload.len() != raw_len {
            return Err(format!("{} raw bytes instead of {raw_len}", payload.len()));
        }
        Ok(Bytes::copy_from_slice(payload))
    }
}

#[derive(Debug)]
struct Zstd;

impl Codec for Zstd {
    fn tag(&self) -> u8 {
        ZSTD
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn decode(&self, payload: &[u8], _: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String> {
        zstd_decode(payload, None, raw_len)
    }
}

#[derive(Debug)]
struct ZstdPrefix;

impl Codec for ZstdPrefix {
    fn tag(&self) -> u8 {
        ZSTD_PREFIX
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn decode(&self, payload: &[u8], bases: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String> {
        zstd_decode(payload, Some(&joined(bases)), raw_len)
    }
}

/// The bytes of all bases, one after the other.
pub(crate) fn joined<'a>(bases: &[&'a [u8]]) -> Cow<'a, [u8]> {
    match bases {
        [only] => Cow::Borrowed(only),
        _ => Cow::Owned(bases.concat()),
    }
}

pub(crate) fn zstd_decode(payload: &[u8], prefix: Option<&[u8]>, raw_len: usize) -> std::result::Result<Bytes, String> {
    // A payload cannot make us reserve more than zstd could have made of it: runs shrink by about 1 : 32 Ki at most.
    if raw_len / (128 << 10) > payload.len() {
        return Err(format!("{} bytes cannot hold {raw_len}", payload.len()));
    }
    let mut out = buffers::take(raw_len);
    let wrong = |code| zstd_safe::get_error_name(code).to_owned();
    match prefix {
        None => DECODER.with_borrow_mut(|context| context.decompress(&mut out, payload)).map_err(wrong)?,
        Some(prefix) => {
            // A context keeps a reference to its prefix, so it lives no longer than this call.
            let mut context = DCtx::create();
            context.set_parameter(DParameter::WindowLogMax(30)).map_err(wrong)?;
            context.ref_prefix(prefix).map_err(wrong)?;
            context.decompress(&mut out, payload).map_err(wrong)?
        }
    };
    Ok(buffers::freeze(out))
}

/// One zstd frame at a low level; `None` only when the library fails.
pub(crate) fn zstd_encode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    ENCODER.with_borrow_mut(|context| context.compress(&mut out, bytes, LEVEL)).ok()?;
    Some(out)
}

/// The store is on the path of every import and commit.
const LEVEL: i32 = 1;

thread_local! {
    // Making a context costs more than compressing a small object with it.
    static ENCODER: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECODER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}
