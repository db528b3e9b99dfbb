//! A node stored as an edit of another node: about 34 bytes for each changed child.
//!
//! Format: `docs/format/tree.md`, part "node patches". Steps come first, then all new ids, then row counts and keys, so
//! that ids lie next to each other as they do in the table of the frame that holds the children.

use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::Codec;

use super::{Entry, MAX_ENTRIES, Node, encode};
use crate::Result;
use crate::leaf::wire::{Fault, Reader, put_varint, unzigzag, zigzag};

/// Codec tag of an inner node stored as a patch on another inner node.
pub const NODE_PATCH: u8 = 18;

/// One step: after `keep` entries of the base, `drop` of them are replaced by `put` new ones.
struct Step {
    keep: usize,
    drop: usize,
    put: usize,
}

/// The payload that makes `new` (a node at the base's level) out of `base`.
#[must_use]
pub fn encode_patch(base: &Node, new: &[Entry]) -> Vec<u8> {
    let steps = steps(base, new);
    let mut out = Vec::new();
    put_varint(&mut out, steps.len() as u64);
    for step in &steps {
        put_varint(&mut out, step.keep as u64);
        // Most steps replace entries one for one.
        put_varint(&mut out, (step.drop as u64) << 1 | u64::from(step.drop != step.put));
        if step.drop != step.put {
            put_varint(&mut out, step.put as u64);
        }
    }
    let (mut tail, mut old_at, mut new_at) = (Vec::new(), 0, 0);
    for step in &steps {
        old_at += step.keep;
        new_at += step.keep;
        for i in 0..step.put {
            let entry = &new[new_at + i];
            out.extend_from_slice(entry.id.as_bytes());
            let twin = (i < step.drop).then_some(old_at + i);
            let same_key = twin.is_some_and(|old| base.last(old) == &entry.last[..]);
            let delta = i128::from(entry.rows) - twin.map_or(0, |old| i128::from(base.rows(old)));
            // 66 bits at most, and a real table's counts never come near: saturate rather than overflow.
            let delta = u64::try_from(zigzag(delta)).unwrap_or(u64::MAX >> 1).min(u64::MAX >> 1);
            put_varint(&mut tail, delta << 1 | u64::from(!same_key));
            if !same_key {
                put_varint(&mut tail, entry.last.len() as u64);
                tail.extend_from_slice(&entry.last);
            }
        }
        old_at += step.drop;
        new_at += step.put;
    }
    out.extend_from_slice(&tail);
    out
}

/// Where two entry lists differ. Entries are matched by key: both lists ascend.
fn steps(base: &Node, new: &[Entry]) -> Vec<Step> {
    let (mut steps, mut old_at, mut new_at) = (Vec::<Step>::new(), 0, 0);
    let (mut kept, mut dropped, mut put) = (0, 0, 0);
    while old_at < base.len() || new_at < new.len() {
        let equal = old_at < base.len()
            && new_at < new.len()
            && base.id(old_at) == new[new_at].id
            && base.last(old_at) == &new[new_at].last[..]
            && base.rows(old_at) == new[new_at].rows;
        if equal {
            if dropped + put > 0 {
                steps.push(Step { keep: kept, drop: dropped, put });
                (kept, dropped, put) = (0, 0, 0);
            }
            kept += 1;
            old_at += 1;
            new_at += 1;
            continue;
        }
        let order = match (old_at < base.len(), new_at < new.len()) {
            (true, true) => base.last(old_at).cmp(&new[new_at].last[..]),
            (true, false) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        if order.is_le() {
            old_at += 1;
            dropped += 1;
        }
        if order.is_ge() {
            new_at += 1;
            put += 1;
        }
    }
    if dropped + put > 0 {
        steps.push(Step { keep: kept, drop: dropped, put });
    }
    steps
}

/// The canonical bytes of the node that a payload makes out of `base`.
///
/// # Errors
/// `corrupt`, with what is wrong.
pub fn decode_patch(payload: &[u8], base: &Node) -> Result<Bytes> {
    let entries =
        patched(payload, base).map_err(|why| crate::Error::corrupt(format!("reading a node patch: {why}")))?;
    encode(base.level(), &entries)
}

fn patched(payload: &[u8], base: &Node) -> Result<Vec<Entry>, Fault> {
    let mut reader = Reader::new(payload);
    let count = reader.count(base.len() + 1)?;
    let (mut steps, mut old_at, mut total) = (Vec::with_capacity(count), 0, 0);
    for _ in 0..count {
        let keep = reader.count(base.len() - old_at)?;
        old_at += keep;
        let drop = reader.count(2 * (base.len() - old_at) + 1)?;
        let (drop, uneven) = (drop >> 1, drop & 1 == 1);
        let put = if uneven { reader.count(MAX_ENTRIES)? } else { drop };
        old_at = Some(old_at + drop).filter(|at| *at <= base.len()).ok_or("a step goes beyond the base")?;
        total += put;
        steps.push(Step { keep, drop, put });
    }
    let ids = reader.take(total.checked_mul(Hash::LEN).ok_or("too many entries")?)?;
    let mut ids = ids.chunks_exact(Hash::LEN).filter_map(Hash::from_slice);
    let mut entries = Vec::with_capacity(base.len() + total);
    let mut old_at = 0;
    for step in &steps {
        entries.extend((old_at..old_at + step.keep).map(|i| base.entry(i)));
        old_at += step.keep;
        for i in 0..step.put {
            let twin = (i < step.drop).then_some(old_at + i);
            let id = ids.next().ok_or("an id is missing")?;
            entries.push(entry(&mut reader, base, twin, id)?);
        }
        old_at += step.drop;
    }
    if reader.left() > 0 {
        return Err("bytes are left over".to_owned());
    }
    entries.extend((old_at..base.len()).map(|i| base.entry(i)));
    Ok(entries)
}

fn entry(reader: &mut Reader<'_>, base: &Node, twin: Option<usize>, id: Hash) -> Result<Entry, Fault> {
    let head = reader.varint()?;
    let rows = twin.map_or(0, |old| i128::from(base.rows(old))) + unzigzag(u128::from(head >> 1));
    let rows = u64::try_from(rows).map_err(|_| "a row count is impossible")?;
    let last = match twin {
        Some(old) if head & 1 == 0 => base.entry(old).last,
        None if head & 1 == 0 => return Err("a key is missing".to_owned()),
        _ => {
            let len = reader.count(reader.left())?;
            Bytes::copy_from_slice(reader.take(len)?)
        }
    };
    Ok(Entry { id, rows, last })
}

/// [`NODE_PATCH`] for the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodePatchCodec;

impl Codec for NodePatchCodec {
    fn tag(&self) -> u8 {
        NODE_PATCH
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn decode(&self, payload: &[u8], bases: &[&[u8]], _: usize) -> std::result::Result<Bytes, String> {
        let [base] = bases else { return Err("a node patch has one base".to_owned()) };
        let base = Node::parse(Bytes::copy_from_slice(base)).map_err(|e| e.to_string())?;
        decode_patch(payload, &base).map_err(|e| e.to_string())
    }
}
