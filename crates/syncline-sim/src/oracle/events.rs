//! What happens to transactions: they are written, taken in, sent and acknowledged.

use super::Oracle;
use super::facts::{Claim, Snapshot, Stamp, TxnId, Write, Written};
use super::ledger::{Entry, Hub, Key, Ledger, Origin, Txn};
use super::set::Set;
use super::violation::Violation;

impl Oracle {
    /// A client wrote a transaction on a node.
    ///
    /// The same transaction may be told again, and may come again after it was forgotten: an identity stands for one
    /// content, for ever.
    ///
    /// # Errors
    ///
    /// `ContentDiffers`, `BadPrev`, `WroteTwice`, `DotReused` (unless [`may_fork`](Self::may_fork) was said of the
    /// origin, or the earlier one was forgotten), `WriteAhead`, and what is wrong with the claim.
    pub fn written(&mut self, written: &Written<'_>) -> Result<(), Violation> {
        let Written { id, prev, read, hlc, writes, at } = *written;
        let held = self.ledger.held(at)?;
        let content = Content { id, prev: self.prev(id, prev)?, read, hlc, writes };
        let past = content.prev.filter(|prev| !held.has(*prev));
        if let Some(missing) = past.or_else(|| read.held.first_outside(&held)) {
            return Err(Violation::WriteAhead { id, missing: self.ledger.id(missing) });
        }
        self.ledger.write(&content).map(|_| ())
    }

    /// A node that learned that its chain was forked wrote a transaction again under its new origin: the same writes,
    /// by somebody who had read the same. What of that the node had to write again too was read under its new identity.
    ///
    /// Told in chain order, once for each transaction; `hlc` is that of the new one.
    ///
    /// # Errors
    ///
    /// `RewrittenTwice` when it was written again under the new origin before, and that was not copied; `BadPrev`, `DotReused`, `ContentDiffers`,
    /// `UnknownTransaction`, `Forgotten`.
    pub fn rewritten(&mut self, old: TxnId, new: TxnId, prev: Option<TxnId>, hlc: u64) -> Result<(), Violation> {
        let number = self.ledger.live(old)?;
        let was = self.ledger.txn(number);
        let first = was.again.iter().map(|again| self.ledger.id(*again)).find(|again| again.origin == new.origin);
        let copied = self.ledger.origins.iter().any(|origin| origin.name == new.origin && origin.may_fork);
        if let Some(first) = first.filter(|first| *first != new && !copied) {
            return Err(Violation::RewrittenTwice { old, first, second: new });
        }
        let branch = match self.prev(new, prev)? {
            Some(prev) => self.ledger.txn(prev).chain.clone(),
            None => Set::default(),
        };
        let under_new = |read| self.ledger.again(read).into_iter().find(|again| branch.has(*again));
        let held = was.read.held.iter().map(|read| under_new(read).unwrap_or(read)).collect();
        let (read, writes) = (Snapshot { held, seen: was.read.seen.clone() }, was.writes.clone());
        let content = Content { id: new, prev: self.prev(new, prev)?, read: &read, hlc, writes: &writes };
        let again = self.ledger.write(&content)?;
        let known = &mut self.ledger.txns[number as usize].again;
        if !known.contains(&again) {
            known.push(again);
        }
        self.ledger.rewritten.insert(number);
        Ok(())
    }

    /// A hub took a transaction in, attesting the time; `coverage` is the hub's just before.
    ///
    /// # Errors
    ///
    /// `StampGap`, `StampReused`, `TakenTwice`, `ForkTaken`, `ForkedOriginTaken`, `ChainGap`, `ReadNotCovered`,
    /// `SeenNotCovered`, and what is wrong with the claim or the transaction.
    pub fn stamped(
        &mut self,
        stamp: Stamp,
        id: TxnId,
        attested: u64,
        coverage: &[(u128, u64)],
    ) -> Result<(), Violation> {
        let number = self.ledger.live(id)?;
        let hub = self.ledger.hub_or_new(stamp.hub);
        let covered = self.ledger.resolve(coverage, &mut self.dense)?;
        self.follows(hub, stamp, number)?;
        self.may_take(stamp, number, &covered)?;
        let mut taken = self.ledger.hubs[hub].entries.last().map(|last| last.taken.clone()).unwrap_or_default();
        taken.insert(number);
        self.ledger.txns[number as usize].stamps.push((hub, stamp.n));
        self.ledger.hubs[hub].entries.push(Entry { txn: number, attested, deps: self.dense.clone(), taken });
        Ok(())
    }

    /// A node sent a message that tells of entries up to these, and of these transactions.
    ///
    /// They are durable from here on: a hub that loses such a stamp, a writer that loses such a transaction, and a node
    /// that comes back with less than it has told of are violations.
    ///
    /// # Errors
    ///
    /// What is wrong with the claim. It need not be closed: a message may be a part.
    pub fn sent(&mut self, node: usize, message: Claim<'_>) -> Result<(), Violation> {
        let covered = self.ledger.resolve(message.coverage, &mut self.dense)?;
        for &id in message.pending {
            let number = self.ledger.live(id)?;
            self.ledger.told.insert(number);
        }
        self.ledger.tell(&self.dense, &covered);
        self.raise(node);
        Ok(())
    }

    /// The writer of a transaction was told that it is durable.
    ///
    /// # Errors
    ///
    /// `UnknownTransaction`, `Forgotten`.
    pub fn acknowledged(&mut self, id: TxnId) -> Result<(), Violation> {
        let number = self.ledger.live(id)?;
        self.ledger.acknowledged.insert(number);
        Ok(())
    }

    /// The number of the transaction before `id`, which must be one link before it.
    fn prev(&self, id: TxnId, prev: Option<TxnId>) -> Result<Option<u32>, Violation> {
        match prev {
            None if id.seq == 1 => Ok(None),
            Some(before) if before.origin == id.origin && before.seq.checked_add(1) == Some(id.seq) => {
                self.ledger.live(before).map(Some)
            }
            _ => Err(Violation::BadPrev { id, prev }),
        }
    }

    /// Whether `stamp` is the hub's next, of which `self.dense` is the coverage.
    fn follows(&self, hub: usize, stamp: Stamp, number: u32) -> Result<(), Violation> {
        let entries = &self.ledger.hubs[hub];
        let last = entries.last();
        if (1..=last).contains(&stamp.n) {
            let (was, now) = (self.ledger.id(entries.entry(stamp.n).txn), self.ledger.id(number));
            return Err(Violation::StampReused { stamp, was, now });
        }
        let covers = self.dense[hub];
        if stamp.n != last + 1 || covers != last {
            return Err(Violation::StampGap { stamp, last: last.min(covers) });
        }
        Ok(())
    }

    /// Whether a hub that covers this may take the transaction in.
    fn may_take(&self, stamp: Stamp, number: u32, covered: &Set) -> Result<(), Violation> {
        let ledger = &self.ledger;
        let txn = ledger.txn(number);
        let id = txn.id;
        if let Some(&(hub, n)) = txn.stamps.iter().find(|(hub, n)| self.dense[*hub] >= *n) {
            return Err(Violation::TakenTwice { stamp, id, had: Stamp { hub: ledger.hubs[hub].name, n } });
        }
        if let Some(other) = ledger.dot(id).find(|other| covered.has(*other)) {
            return Err(Violation::ForkTaken { stamp, id, other: ledger.id(other) });
        }
        if let Some(fork) = ledger.fork(id.origin, covered) {
            return Err(Violation::ForkedOriginTaken { stamp, id, fork: ledger.id(fork) });
        }
        if let Some(prev) = txn.prev.filter(|prev| !covered.has(*prev)) {
            return Err(Violation::ChainGap { stamp, id, prev: ledger.id(prev) });
        }
        if let Some(missing) = txn.read.held.first_outside(covered) {
            return Err(Violation::ReadNotCovered { stamp, id, missing: ledger.id(missing) });
        }
        // Who takes this in under a stamp must bring along the stamps by which it was read: elsewhere they may be all
        // that is known of what was read.
        if let Some((hub, n)) = txn.read.seen.iter().enumerate().find(|(hub, n)| self.dense[*hub] < **n) {
            let missing = Stamp { hub: ledger.hubs[hub].name, n: *n };
            return Err(Violation::SeenNotCovered { stamp, id, missing });
        }
        Ok(())
    }
}

/// What an identity stands for.
struct Content<'a> {
    id: TxnId,
    prev: Option<u32>,
    read: &'a Snapshot,
    hlc: u64,
    writes: &'a [Write],
}

impl Ledger {
    /// All as what a transaction was written again, those too as what these were.
    pub(super) fn again(&self, number: u32) -> Vec<u32> {
        let mut all = self.txn(number).again.clone();
        let mut done = 0;
        while let Some(next) = all.get(done) {
            all.extend(&self.txn(*next).again);
            done += 1;
        }
        all
    }

    /// Marks a coverage as known to others.
    pub(super) fn tell(&mut self, dense: &[u64], covered: &Set) {
        for (hub, n) in self.hubs.iter_mut().zip(dense) {
            hub.told = hub.told.max(*n);
        }
        self.told.unite(covered);
    }

    fn hub_or_new(&mut self, name: u128) -> usize {
        self.hub(name).unwrap_or_else(|| {
            self.hubs.push(Hub { name, entries: Vec::new(), told: 0 });
            self.hubs.len() - 1
        })
    }

    /// One of two transactions of an origin that have one dot, when both are covered.
    fn fork(&self, origin: u128, covered: &Set) -> Option<u32> {
        let origin = self.origins.iter().find(|o| o.name == origin)?;
        let mut firsts = origin.dots.iter().copied().filter(|first| self.txn(*first).twin.is_some());
        firsts.find_map(|first| {
            let mut both = self.dot(self.id(first)).filter(|number| covered.has(*number));
            both.next().and_then(|_| both.next())
        })
    }

    /// Writes down a transaction.
    fn write(&mut self, content: &Content<'_>) -> Result<u32, Violation> {
        let id = content.id;
        if let Some(number) = self.find(id) {
            return self.write_again(number, content);
        }
        let twice =
            |(at, (key, _)): (usize, &Write)| content.writes[..at].iter().any(|(k, _)| k == key).then_some(*key);
        if let Some(key) = content.writes.iter().enumerate().find_map(twice) {
            return Err(Violation::WroteTwice { id, key });
        }
        let origin = self.origin_or_new(id.origin);
        if let Some(other) = self.dot(id).find(|other| !self.forgotten.has(*other))
            && !self.origins[origin].may_fork
        {
            return Err(Violation::DotReused { id, other: self.id(other) });
        }
        let number = u32::try_from(self.txns.len()).expect("a run has fewer than 2^32 transactions");
        let mut chain = content.prev.map(|prev| self.txn(prev).chain.clone()).unwrap_or_default();
        chain.insert(number);
        let last = self.dot(id).last();
        match last {
            Some(twin) => self.txns[twin as usize].twin = Some(number),
            // The one before it is known, so that this is the next that has no dot.
            None => self.origins[origin].dots.push(number),
        }
        self.txns.push(Txn {
            id,
            prev: content.prev,
            chain,
            read: content.read.clone(),
            hlc: content.hlc,
            writes: content.writes.to_vec(),
            stamps: Vec::new(),
            twin: None,
            again: Vec::new(),
        });
        for (key, value) in content.writes {
            let key = self.key_or_new(*key);
            key.writers.insert(number);
            if value.is_some() {
                key.setters.insert(number);
            }
        }
        Ok(number)
    }

    /// Compares a transaction with what was written under its identity before.
    fn write_again(&mut self, number: u32, content: &Content<'_>) -> Result<u32, Violation> {
        let was = self.txn(number);
        let same = [
            ("prev", was.prev == content.prev),
            ("read", was.read == *content.read),
            ("hlc", was.hlc == content.hlc),
            ("writes", was.writes == content.writes),
        ];
        if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Violation::ContentDiffers { id: content.id, what });
        }
        self.forgotten.remove(number);
        Ok(number)
    }

    pub(super) fn origin_or_new(&mut self, name: u128) -> usize {
        self.origins.iter().position(|origin| origin.name == name).unwrap_or_else(|| {
            self.origins.push(Origin { name, dots: Vec::new(), may_fork: false });
            self.origins.len() - 1
        })
    }

    fn key_or_new(&mut self, key: u32) -> &mut Key {
        let at = self.keys.binary_search_by_key(&key, |k| k.key).unwrap_or_else(|at| {
            let slot = self.keys.len();
            self.keys.insert(at, Key { key, slot, writers: Set::default(), setters: Set::default() });
            at
        });
        &mut self.keys[at]
    }
}
