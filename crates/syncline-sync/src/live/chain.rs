//! Which transactions of an origin are known, and how they hang together.
//!
//! An origin's transactions are a chain: each holds the tag of the one before. When a node was copied, two transactions
//! follow on one: the origin has forked, and both branches are kept here, because a writer on one of them has not read the
//! other.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::id::{Dot, Origin, Tag, read_nth};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// The transactions of one origin that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Tags of the branch that came first, seq 1 onwards.
    tags: Vec<Tag>,
    /// The others, each with the tag of the one before.
    others: BTreeMap<(u64, Tag), Tag>,
}

/// What became of a transaction that was shown to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It follows on one that is known, as the first to do so.
    Next,
    /// It is known.
    Known,
    /// Another is known with the same number, or in the place that it claims.
    Fork,
    /// The one before it is not known.
    Gap,
}

impl Chain {
    fn main(&self, seq: u64) -> Option<Tag> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.tags.get(at).copied()
    }

    /// Whether a transaction is known.
    #[must_use]
    pub fn knows(&self, seq: u64, tag: Tag) -> bool {
        self.main(seq) == Some(tag) || self.others.contains_key(&(seq, tag))
    }

    /// The newest of the branch that came first.
    #[must_use]
    pub fn head(&self) -> Option<(u64, Tag)> {
        Some((self.tags.len() as u64, *self.tags.last()?))
    }

    /// Whether two branches are known.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether the origin has forked, or would have with this transaction.
    pub(super) fn excludes(&self, seq: u64, tag: Tag) -> bool {
        self.is_forked() || self.main(seq).is_some_and(|is| is != tag)
    }

    /// Where a transaction would stand.
    #[must_use]
    pub fn place(&self, seq: u64, tag: Tag, prev: Tag) -> Place {
        if self.knows(seq, tag) {
            return Place::Known;
        }
        if self.main(seq).is_some() {
            return Place::Fork;
        }
        match seq {
            1 => Place::Next,
            _ if self.main(seq - 1) == Some(prev) => Place::Next,
            _ if self.knows(seq - 1, prev) => Place::Fork,
            _ => Place::Gap,
        }
    }

    /// Adds a transaction that is [`Place::Next`] or on another branch whose earlier part is known.
    pub fn add(&mut self, seq: u64, tag: Tag, prev: Tag) {
        match self.place(seq, tag, prev) {
            Place::Next => self.tags.push(tag),
            Place::Fork => {
                self.others.insert((seq, tag), prev);
            }
            Place::Known | Place::Gap => {}
        }
    }

    /// Takes back the newest of a branch.
    pub(super) fn forget(&mut self, dot: &Dot) {
        if self.head() == Some((dot.seq, dot.tag)) {
            self.tags.pop();
        }
        self.others.remove(&(dot.seq, dot.tag));
    }

    /// Whether `old` is `new` or one before it in its branch. Both are known.
    #[must_use]
    pub fn is_before_or_at(&self, old: (u64, Tag), new: (u64, Tag)) -> bool {
        if old.0 > new.0 {
            return false;
        }
        if self.others.is_empty() {
            return true;
        }
        let (mut seq, mut tag) = new;
        while seq > old.0 {
            // Off the first branch the link says where it goes; on it the number does.
            tag = match self.others.get(&(seq, tag)) {
                Some(prev) => *prev,
                None => match self.main(seq - 1) {
                    Some(tag) => tag,
                    None => return false,
                },
            };
            seq -= 1;
        }
        tag == old.1
    }

    /// Adds everything that another copy of the chain knows.
    pub fn join(&mut self, other: &Self) {
        for (at, tag) in other.tags.iter().enumerate() {
            let prev = at.checked_sub(1).map_or(Tag::NONE, |at| other.tags[at]);
            self.add(at as u64 + 1, *tag, prev);
        }
        other.others.iter().for_each(|((seq, tag), prev)| self.add(*seq, *tag, *prev));
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        put_uint(out, self.tags.len() as u64);
        self.tags.iter().for_each(|tag| tag.put(out));
        put_uint(out, self.others.len() as u64);
        for ((seq, tag), prev) in &self.others {
            put_uint(out, *seq);
            tag.put(out);
            prev.put(out);
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let mut chain = Self::default();
        for _ in 0..r.uint("chain")? {
            chain.tags.push(Tag::read(r)?);
        }
        for _ in 0..r.uint("branches")? {
            let (seq, tag, prev) = (read_nth(r, "seq")?, Tag::read(r)?, Tag::read(r)?);
            if (seq == 1) != (prev == Tag::NONE) || chain.place(seq, tag, prev) != Place::Fork {
                return Err(Error::protocol("chain", "a branch that hangs on nothing"));
            }
            if chain.others.last_key_value().is_some_and(|(last, _)| *last >= (seq, tag)) {
                return Err(Error::protocol("chain", "branches out of order"));
            }
            chain.others.insert((seq, tag), prev);
        }
        Ok(chain)
    }
}

/// Whether the writer of `newest` had the transaction `dot` before it in its chain, or it is that one.
pub(super) fn has_read(chain: Option<&Chain>, dot: &Dot, newest: &Dot) -> bool {
    dot.origin == newest.origin
        && chain.is_none_or(|chain| chain.is_before_or_at((dot.seq, dot.tag), (newest.seq, newest.tag)))
        && dot.seq <= newest.seq
}

/// Whether a transaction is in one of these.
pub(super) fn knows(chains: &Chains, dot: &Dot) -> bool {
    chains.get(&dot.origin).is_some_and(|chain| chain.knows(dot.seq, dot.tag))
}

/// Chains by origin.
pub type Chains = BTreeMap<Origin, Chain>;

#[cfg(test)]
mod tests;
