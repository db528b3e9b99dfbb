//! A node's name, and what happens when it turns out to be somebody else's too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::chain::{Chain, Place, knows};
use super::super::context::{Context, Coverage};
use super::super::id::{Dot, Origin, Stamp};
use super::super::record::{Record, Rewritten};
use super::super::txn::{Body, Txn};
use super::super::zoo::Bug;
use super::Node;

impl Node {
    /// Takes a name that nobody has had.
    pub(super) fn rename(&mut self) {
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let name = Origin::new(&self.signer.public(), nonce);
        self.append(Record::Named(name), None);
        self.sign_name(nonce);
    }

    /// A peer knows this of the node's name. If the node does not, it is older than it was, or not the only one.
    pub(super) fn known_elsewhere(&mut self, dot: Dot) {
        let foreign = dot.origin != self.name || self.knows(&dot);
        if !foreign && !self.zoo.has(Bug::SameNameAfterRestore) {
            self.rename();
        }
    }

    /// Somebody who has more of this node's entries than it gave has met it when it was younger.
    pub(super) fn stamped_elsewhere(&mut self, coverage: &Coverage) {
        if coverage.of(self.name) > self.coverage.of(self.name) && !self.zoo.has(Bug::SameHubAfterRestore) {
            self.rename();
        }
    }

    /// The same of one entry.
    pub(super) fn stamped_once(&mut self, stamp: Stamp) {
        if stamp.hub == self.name && !self.coverage.has(stamp) && !self.zoo.has(Bug::SameHubAfterRestore) {
            self.rename();
        }
    }

    /// A hub has another transaction under this name. What waits from there on, and what was written after reading it, is written
    /// again as it was meant: with what it had read then, under a name that is this node's alone.
    pub(super) fn refused(&mut self, dot: Dot) {
        let waits = self.state.pending.contains(&dot) && !self.rewriting.contains(&dot);
        if !waits || self.zoo.has(Bug::SameNameAfterRestore) {
            return;
        }
        let (from, again) = self.builds_on(dot);
        if again.is_empty() {
            return;
        }
        // Always a fresh one: whoever reads one of a chain reads all before it, so nothing else may stand between.
        self.rename();
        let (mut seq, mut prev) = self.own;
        let mut names = Names { from: &from, again: again.iter().map(|txn| txn.dot()).collect(), new: BTreeMap::new() };
        let mut txns: Vec<Arc<Txn>> = Vec::new();
        for old in &again {
            let read = names.reread(old);
            let body = Body { origin: self.name, seq: seq + 1, prev, read, ..old.body().clone() };
            // The same writes made a transaction before. What could not be written again waits on: it is not dropped.
            let Ok(txn) = Txn::new(body) else { break };
            (seq, prev) = (txn.dot().seq, txn.dot().tag);
            let Dot { origin, seq: was, .. } = old.dot();
            names.new.insert((origin, was), txn.dot());
            txns.push(Arc::new(txn));
        }
        let mut old: Vec<Dot> = again.iter().map(|txn| txn.dot()).take(txns.len()).collect();
        if self.zoo.has(Bug::RefusedDropped) {
            old = again.iter().map(|txn| txn.dot()).collect();
            txns.clear();
        }
        self.append_rewritten(&old, txns);
    }

    /// In records of a bounded length, which take effect together.
    fn append_rewritten(&mut self, mut refused: &[Dot], mut again: Vec<Arc<Txn>>) {
        loop {
            let mut bytes = 0;
            let fits = |txn: &&Arc<Txn>| {
                let first = bytes == 0;
                bytes += 64 + txn.bytes().len();
                first || bytes <= self.limits.message_bytes
            };
            let count = again.iter().take_while(fits).count();
            let rest = again.split_off(count);
            let more = !rest.is_empty();
            let (these, those) = refused.split_at(if more { count } else { refused.len() });
            let rewritten = Rewritten { more, refused: these.to_vec(), again: std::mem::replace(&mut again, rest) };
            self.append(Record::Rewritten(Arc::new(rewritten)), None);
            if !more {
                return;
            }
            refused = those;
        }
    }

    /// Waiting transactions that stand on a refused one: the first of each origin, and all.
    fn builds_on(&self, dot: Dot) -> (Vec<Arc<Txn>>, Vec<Arc<Txn>>) {
        let (mut from, mut all): (Vec<Arc<Txn>>, Vec<Arc<Txn>>) = (Vec::new(), Vec::new());
        let mut dots: BTreeSet<Dot> = BTreeSet::new();
        for txn in self.waiting.iter() {
            // Somebody else's branch under the same name stands.
            let follows = from.iter().any(|first| is_from(&txn.dot(), &first.dot()));
            if txn.dot() == dot || follows || txn.body().read.own.iter().any(|dot| dots.contains(dot)) {
                if !follows {
                    from.push(txn.clone());
                }
                dots.insert(txn.dot());
                all.push(txn.clone());
            }
        }
        (from, all)
    }

    /// A transaction for this hub: taken in, or what to tell its writer.
    pub(super) fn offer(&mut self, now_ms: u64, txn: &Arc<Txn>) -> Answer {
        let Dot { origin, seq, tag } = txn.dot();
        let nothing = Chain::default();
        let chain = self.chains.get(&origin).unwrap_or(&nothing);
        let by_number = self.zoo.has(Bug::DotWithoutTag) && chain.head().is_some_and(|(head, _)| seq <= head);
        let place = if by_number { Place::Known } else { chain.place(seq, tag, txn.body().prev) };
        match place {
            Place::Known if self.zoo.has(Bug::TakenInTwice) => {}
            Place::Known => return Answer::Taken,
            Place::Fork => return Answer::Refused,
            Place::Next if chain.is_frozen() => return Answer::Refused,
            Place::Gap => return Answer::Later,
            Place::Next => {}
        }
        // What only waits here is not taken in: others could not tell what was read.
        let read = &txn.body().read;
        if !self.coverage.includes(&read.seen) || !read.own.iter().all(|dot| knows(&self.chains, dot)) {
            return Answer::Later;
        }
        // One more hub could not be counted.
        if !self.coverage.has_room(self.name) {
            return Answer::Later;
        }
        if self.zoo.has(Bug::SkewRefused) && txn.body().hlc.ms() > now_ms.saturating_add(500) {
            return Answer::Taken;
        }
        self.take_in(now_ms, txn.clone(), None);
        Answer::Taken
    }
}

fn is_from(dot: &Dot, first: &Dot) -> bool {
    dot.origin == first.origin && dot.seq >= first.seq
}

/// What is written again, and what it is called then.
struct Names<'a> {
    /// The first of each origin.
    from: &'a [Arc<Txn>],
    /// All of it.
    again: BTreeSet<Dot>,
    /// The new name of what has been written again so far, by the old origin and number.
    new: BTreeMap<(Origin, u64), Dot>,
}

impl Names<'_> {
    /// What the writer of a transaction had read, in the names that his own writes have now. What they stand on stays.
    fn reread(&self, old: &Txn) -> Context {
        let mut read = old.body().read.clone();
        let mut own: Vec<Dot> = Vec::new();
        for dot in read.own {
            let first = self.from.iter().find(|first| is_from(&dot, &first.dot()));
            let Some(first) = first.filter(|_| self.again.contains(&dot)) else {
                own.push(dot);
                continue;
            };
            if let Some(seq) = first.body().seq.checked_sub(1).filter(|seq| *seq > 0) {
                own.push(Dot { origin: dot.origin, seq, tag: first.body().prev });
            }
            // The last of this origin that was written again up to there: it names those before it.
            own.extend(self.new.range((dot.origin, 0)..=(dot.origin, dot.seq)).next_back().map(|(_, new)| *new));
        }
        own.sort();
        // Of each origin the newest.
        own.reverse();
        own.dedup_by_key(|dot| dot.origin);
        own.reverse();
        read.own = own;
        read
    }
}

/// What a hub says to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it, or will once its log is durable.
    Taken,
    /// Not yet.
    Later,
    /// Never.
    Refused,
}
