//! The head: one mutable document, changed by compare-and-swap.
//!
//! On disk it is 8 bytes of magic, a checksum, a write id that makes every state unique, then the document.

use bytes::{BufMut, Bytes};
use syncline_base::Kind;

use super::{HeadVersion, Store};
#[cfg(test)]
use crate::backend::Version;
use crate::error::{Error, Result};
use crate::frame::checksum;

const NAME: &str = "head";
const MAGIC: [u8; 8] = *b"SLHEAD1\n";
const PREFIX: usize = 32;
/// The document is read whole, often: it is for references, not for data.
const MAX: usize = 64 << 20;

impl Store {
    /// The head document and its version. Before the first swap it is empty.
    ///
    /// # Errors
    /// `Corrupt`, or the backend's.
    pub fn head(&self) -> Result<(Bytes, HeadVersion)> {
        match self.inner.backend.read_versioned(NAME)? {
            None => Ok((Bytes::new(), HeadVersion(None))),
            Some((bytes, version)) => Ok((parse(&bytes)?, HeadVersion(Some(version)))),
        }
    }

    /// Replaces the head if nobody else has since `expect` was read. Flush first what it points to: the head is durable when this
    /// returns, and must not be so before its objects.
    ///
    /// # Errors
    /// `Conflict` when somebody else was quicker: read it again, decide, retry. `Unavailable` may mean either outcome.
    pub fn swap_head(&self, expect: &HeadVersion, bytes: &[u8]) -> Result<HeadVersion> {
        if bytes.len() > MAX {
            let reason = format!("{} bytes are more than the {MAX} that it may have", bytes.len());
            return Err(Error::Invalid { action: "replacing the head", reason });
        }
        let mut id = [0; 16];
        self.inner.names.lock().expect("no code panics while it draws a name").fill(&mut id);
        let document = build(id, bytes);
        let swapped = self.inner.backend.swap(NAME, expect.0.as_ref(), document);
        swapped.map(|version| HeadVersion(Some(version))).map_err(|error| match error {
            Error::Backend { kind: Kind::Conflict, action, name, place, .. } => {
                let reason = "somebody else has moved the head since it was read: read it again".to_owned();
                Error::Backend { kind: Kind::Conflict, action, name, place, reason }
            }
            other => other,
        })
    }
}

fn build(id: [u8; 16], bytes: &[u8]) -> Bytes {
    let mut summed = Vec::with_capacity(16 + bytes.len());
    summed.put_slice(&id);
    summed.put_slice(bytes);
    let mut document = Vec::with_capacity(PREFIX + bytes.len());
    document.put_slice(&MAGIC);
    document.put_u64_le(checksum(&summed));
    document.put_slice(&summed);
    document.into()
}

pub(super) fn parse(bytes: &Bytes) -> Result<Bytes> {
    let wrong = |reason: &str| Error::format("the head", reason);
    if bytes.len() < PREFIX || bytes[..8] != MAGIC {
        return Err(wrong("it does not start as a head does"));
    }
    let sum = u64::from_le_bytes(*bytes[8..].first_chunk().expect("checked to be long enough"));
    if sum != checksum(&bytes[16..]) {
        return Err(wrong("its checksum is wrong: take it from a backup, or from another replica"));
    }
    Ok(bytes.slice(PREFIX..))
}

/// A version that no head ever has.
#[cfg(test)]
pub(super) fn never() -> HeadVersion {
    HeadVersion(Some(Version("never".to_owned())))
}
