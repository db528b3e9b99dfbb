//! Which transactions of an origin are known, and how they hang together.
//!
//! An origin's transactions are a chain: each holds the tag of the one before. When a node was copied, two transactions
//! follow on one: the origin has forked, and both branches are kept here, because a writer on one of them has not read the
//! other.
//!
//! A copy of a chain costs little however long it is: its tags lie in runs that copies share and that are never changed.
//!
//! Beside that a chain has what its origin's key has signed of it: the newest head that fits, and one that does not, if one came. Chains are
//! equal when they have the same transactions, whoever has signed them.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_base::Hash;

use super::head::{Head, Sums};
use super::id::{Dot, MAX_COUNT, Origin, Tag, read_nth};
use super::part::Attested;
use super::txn::Txn;
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// How many tags lie in a run.
const RUN: usize = 256;
/// About as much as one of another branch takes in bytes.
const OTHER_BYTES: usize = 26;

/// Tags in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tags {
    /// All of the same length.
    runs: Vec<Arc<[Tag]>>,
    /// Always shorter than a run.
    rest: Vec<Tag>,
}

impl Tags {
    const fn len(&self) -> usize {
        self.runs.len() * RUN + self.rest.len()
    }

    fn get(&self, at: usize) -> Option<Tag> {
        match self.runs.get(at / RUN) {
            Some(run) => run.get(at % RUN).copied(),
            None => self.rest.get(at.checked_sub(self.runs.len() * RUN)?).copied(),
        }
    }

    fn push(&mut self, tag: Tag) {
        self.rest.push(tag);
        if self.rest.len() == RUN {
            self.runs.push(std::mem::take(&mut self.rest).into());
        }
    }

    fn pop(&mut self) {
        if self.rest.is_empty()
            && let Some(run) = self.runs.pop()
        {
            self.rest = run.to_vec();
        }
        self.rest.pop();
    }

    fn iter_from(&self, at: usize) -> impl Iterator<Item = Tag> + '_ {
        (at..self.len()).map_while(|at| self.get(at))
    }
}

/// The transactions of one origin that are known.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Tags of the branch that came first, seq 1 onwards.
    tags: Tags,
    /// The others, each with the tag of the one before.
    others: BTreeMap<(u64, Tag), Tag>,
    /// Hashes over the branch that came first.
    sums: Sums,
    /// The newest signed head that is one of that branch.
    signed: Option<Arc<Head>>,
    /// One that contradicts it: the origin has two histories.
    against: Option<Arc<Head>>,
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        (&self.tags, &self.others) == (&other.tags, &other.others)
    }
}

impl Eq for Chain {}

/// What a signed head says to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing new.
    Known,
    /// It is about more than has come.
    Ahead,
    /// It is a head of this chain.
    Fits,
    /// It is one of another chain of that name.
    Contradicts,
    /// Nobody here knows the hash over the chain up to there.
    Unknown,
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
        self.tags.get(at)
    }

    /// Whether a transaction is known.
    #[must_use]
    pub fn knows(&self, seq: u64, tag: Tag) -> bool {
        self.main(seq) == Some(tag) || self.others.contains_key(&(seq, tag))
    }

    /// Whether a transaction is on the branch that came first.
    pub(super) fn is_first(&self, seq: u64, tag: Tag) -> bool {
        self.main(seq) == Some(tag)
    }

    /// The newest of the branch that came first.
    #[must_use]
    pub fn head(&self) -> Option<(u64, Tag)> {
        let len = self.tags.len();
        Some((len as u64, self.tags.get(len.checked_sub(1)?)?))
    }

    /// Whether two branches are known.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether no hub takes in anything further of it: two branches are known, or signed.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.is_forked() || self.against.is_some()
    }

    /// The newest signed head that is one of the branch that came first.
    #[must_use]
    pub const fn signed(&self) -> Option<&Arc<Head>> {
        self.signed.as_ref()
    }

    /// A signed head that contradicts that branch.
    #[must_use]
    pub const fn against(&self) -> Option<&Arc<Head>> {
        self.against.as_ref()
    }

    /// The hash over the branch that came first up to a transaction, if that is one of the newest.
    pub(super) fn sum(&self, seq: u64) -> Option<Hash> {
        self.sums.at(seq)
    }

    /// What a head, whose signature is right, says.
    pub(super) fn judge(&self, head: &Head) -> Verdict {
        if let Some(signed) = self.signed.as_ref().filter(|signed| signed.seq() >= head.seq()) {
            let same = signed.seq() > head.seq() || signed.sum() == head.sum();
            return if same { Verdict::Known } else { Verdict::Contradicts };
        }
        if head.seq() > self.tags.len() as u64 {
            return Verdict::Ahead;
        }
        match self.sums.at(head.seq()) {
            None => Verdict::Unknown,
            Some(_) if head.seq() == 0 => Verdict::Known,
            Some(sum) if sum == head.sum() => Verdict::Fits,
            Some(_) => Verdict::Contradicts,
        }
    }

    /// Keeps a head that fits or contradicts. Whether it does and is new.
    pub(super) fn sign(&mut self, head: &Arc<Head>) -> bool {
        match self.judge(head) {
            Verdict::Fits => self.signed = Some(head.clone()),
            Verdict::Contradicts if self.against.is_none() => self.against = Some(head.clone()),
            _ => return false,
        }
        true
    }

    /// A head is durable: hashes from before it are not asked for again.
    pub(super) fn trim(&mut self, seq: u64) {
        self.sums.trim(seq);
    }

    /// What to tell of it beside its tags.
    pub(super) fn attested(&self, origin: Origin) -> Option<Attested> {
        let len = self.tags.len() as u64;
        let (signed, against) = (self.signed.clone().filter(|head| head.seq() <= len), self.against.clone());
        let sum = self.sums.at(len).filter(|_| len > 0);
        let told = sum.is_some() || signed.is_some() || against.is_some();
        told.then_some(Attested { origin, sum, signed, against })
    }

    /// Takes that, when all tags have come. Whether it can be.
    pub(super) fn attest(&mut self, told: &Attested) -> bool {
        let len = self.tags.len() as u64;
        let fits =
            |head: &Arc<Head>| head.seq() < len || (head.seq() == len && told.sum.is_none_or(|sum| sum == head.sum()));
        if len == 0 || !told.signed.as_ref().is_none_or(fits) {
            return false;
        }
        self.sums = Sums::told(len, told.sum);
        (self.signed, self.against) = (told.signed.clone(), told.against.clone());
        true
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
            Place::Next => {
                self.tags.push(tag);
                self.sums.push_unknown();
            }
            Place::Fork => {
                self.others.insert((seq, tag), prev);
            }
            Place::Known | Place::Gap => {}
        }
    }

    /// The same of one whose bytes are here.
    pub(super) fn add_txn(&mut self, txn: &Txn) {
        let (Dot { seq, tag, .. }, prev) = (txn.dot(), txn.body().prev);
        if self.place(seq, tag, prev) == Place::Next {
            self.tags.push(tag);
            // Of one that was sent within a scope the bytes are not known that its tag was made of.
            if txn.is_whole() {
                self.sums.push(|before| txn.sum_after(before));
            } else {
                self.sums.push_unknown();
            }
        } else {
            self.add(seq, tag, prev);
        }
    }

    /// Takes back the newest of a branch.
    pub(super) fn forget(&mut self, dot: &Dot) {
        if self.head() == Some((dot.seq, dot.tag)) {
            self.tags.pop();
            self.sums.pop();
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
        let (mut prev, had) = (Tag::NONE, self.tags.len());
        for (tag, seq) in other.tags.iter_from(0).zip(1..) {
            self.add(seq, tag, prev);
            prev = tag;
        }
        other.others.iter().for_each(|((seq, tag), prev)| self.add(*seq, *tag, *prev));
        let same = self.head() == other.head();
        if same && (self.tags.len() > had || self.sums.at(had as u64).is_none()) {
            self.sums = other.sums.clone();
        }
        for head in other.signed.iter().chain(&other.against) {
            self.sign(head);
        }
        // Of the same branch, it fits here as it did there.
        let newer = |head: &&Arc<Head>| self.signed.as_ref().is_none_or(|signed| signed.seq() < head.seq());
        if let Some(head) = other.signed.as_ref().filter(newer).filter(|_| same) {
            self.signed = Some(head.clone());
        }
    }

    /// How many of it have been told: of the branch that came first, and of the others.
    pub(super) fn told(&self) -> (usize, usize) {
        (self.tags.len(), self.others.len())
    }

    /// What comes after what was told, in not much more than so many bytes; something, if there is something.
    pub(super) fn piece(&self, origin: Origin, (main, others): (usize, usize), room: usize) -> ChainPiece {
        let tags: Vec<Tag> = self.tags.iter_from(main).take((room / size_of::<Tag>()).max(1)).collect();
        let room = room.saturating_sub(tags.len() * size_of::<Tag>()) / OTHER_BYTES;
        // Others hang on the first branch: all of that comes first.
        let most = if main + tags.len() < self.tags.len() { 0 } else { room.max(usize::from(tags.is_empty())) };
        let others = self.others.iter().skip(others).take(most);
        let others = others.map(|((seq, tag), prev)| (*seq, *tag, *prev)).collect();
        ChainPiece { origin, after: main as u64, main: tags, others }
    }

    /// So many of the branch that came first, after so many, if there are as many.
    pub(super) fn span(&self, origin: Origin, after: u64, len: u64) -> Option<ChainPiece> {
        let (from, most) = (usize::try_from(after).ok()?, usize::try_from(len).ok()?);
        let main: Vec<Tag> = self.tags.iter_from(from).take(most).collect();
        (main.len() == most).then(|| ChainPiece { origin, after, main, others: Vec::new() })
    }

    /// Adds what comes next of a chain that is told in pieces. Whether it does.
    pub(super) fn extend(&mut self, piece: &ChainPiece) -> bool {
        if piece.after != self.tags.len() as u64 || (self.is_forked() && !piece.main.is_empty()) {
            return false;
        }
        for tag in &piece.main {
            self.tags.push(*tag);
            self.sums.push_unknown();
        }
        piece.others.iter().all(|(seq, tag, prev)| {
            let ascends = self.others.last_key_value().is_none_or(|(last, _)| *last < (*seq, *tag));
            let hangs = ascends && self.place(*seq, *tag, *prev) == Place::Fork;
            if hangs {
                self.others.insert((*seq, *tag), *prev);
            }
            hangs
        })
    }
}

/// Part of a chain, to be sent or to be kept in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPiece {
    /// Whose.
    pub(super) origin: Origin,
    /// How many of the branch that came first came in the pieces before.
    pub(super) after: u64,
    /// What follows of that branch.
    pub(super) main: Vec<Tag>,
    /// Then the others: seq, tag and the tag of the one before.
    pub(super) others: Vec<(u64, Tag, Tag)>,
}

impl ChainPiece {
    /// Whether it names a transaction.
    #[must_use]
    pub fn names(&self, dot: &Dot) -> bool {
        let at = dot.seq.checked_sub(self.after + 1).and_then(|at| usize::try_from(at).ok());
        self.origin == dot.origin
            && (at.and_then(|at| self.main.get(at)) == Some(&dot.tag)
                || self.others.iter().any(|(seq, tag, _)| (*seq, *tag) == (dot.seq, dot.tag)))
    }

    /// About how many bytes it takes.
    pub(super) const fn size(&self) -> usize {
        30 + self.main.len() * size_of::<Tag>() + self.others.len() * OTHER_BYTES
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.origin.put(out);
        put_uint(out, self.after);
        put_uint(out, self.main.len() as u64);
        self.main.iter().for_each(|tag| tag.put(out));
        put_uint(out, self.others.len() as u64);
        for (seq, tag, prev) in &self.others {
            put_uint(out, *seq);
            tag.put(out);
            prev.put(out);
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let (origin, after) = (Origin::read(r)?, r.uint("chain")?);
        let mut main = Vec::new();
        for _ in 0..r.uint("chain")? {
            main.push(Tag::read(r)?);
        }
        let mut others: Vec<(u64, Tag, Tag)> = Vec::new();
        for _ in 0..r.uint("branches")? {
            let (seq, tag, prev) = (read_nth(r, "seq")?, Tag::read(r)?, Tag::read(r)?);
            let ascends = others.last().is_none_or(|(last, of, _)| (*last, *of) < (seq, tag));
            if (seq == 1) != (prev == Tag::NONE) || !ascends {
                return Err(Error::protocol("chain", "branches out of order, or one that hangs on nothing"));
            }
            others.push((seq, tag, prev));
        }
        if after > MAX_COUNT || (main.is_empty() && others.is_empty()) {
            return Err(Error::protocol("chain", "a piece of nothing"));
        }
        Ok(Self { origin, after, main, others })
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
