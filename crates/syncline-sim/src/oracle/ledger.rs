//! Everything that has happened, and the rules of the document as sets.
//!
//! A transaction is a small number; what a node holds, what a writer had read, who wrote a row are sets of them. For each
//! stamp the set of what its hub had taken in by then is kept, so that a coverage becomes a set with one union a hub.
//!
//! Facts are never taken out: a transaction that its writer lost stays known as forgotten. Not here: which events are
//! allowed when (`events`, `loss`), and what is known of single nodes (`watch`).

use super::facts::{Claim, Snapshot, Stamp, TxnId};
use super::set::Set;
use super::violation::Violation;

/// All facts.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// How much after the attested time a writer's clock may be.
    pub(super) ahead: u64,
    pub(super) txns: Vec<Txn>,
    pub(super) hubs: Vec<Hub>,
    pub(super) origins: Vec<Origin>,
    /// Ascending by key.
    pub(super) keys: Vec<Key>,
    /// Lost by their writers and known to nobody.
    pub(super) forgotten: Set,
    /// Told to somebody: sent, or shown to a reader.
    pub(super) told: Set,
    /// Their writers know that they are durable.
    pub(super) acknowledged: Set,
    /// Gone with a disk.
    pub(super) lost: Set,
    /// Written again under another identity.
    pub(super) rewritten: Set,
}

#[derive(Debug, Clone)]
pub(super) struct Txn {
    pub(super) id: TxnId,
    pub(super) prev: Option<u32>,
    /// The transaction, and all before it in its chain.
    pub(super) chain: Set,
    pub(super) read: Snapshot,
    pub(super) hlc: u64,
    pub(super) writes: Vec<(u32, Option<u64>)>,
    /// Hub and number.
    pub(super) stamps: Vec<(usize, u64)>,
    /// The next transaction with the same dot.
    pub(super) twin: Option<u32>,
    /// As what it was written again: once for each copy of its writer at most.
    pub(super) again: Vec<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct Hub {
    pub(super) name: u128,
    /// Entry n is at n − 1.
    pub(super) entries: Vec<Entry>,
    /// Up to where somebody else, or a reader, knows its entries.
    pub(super) told: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) txn: u32,
    pub(super) attested: u64,
    /// The hub's coverage just before, a number for each hub; those after the end are zero.
    pub(super) deps: Vec<u64>,
    /// What the hub had taken in by then, with this one.
    pub(super) taken: Set,
}

#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) name: u128,
    /// The first transaction known with sequence number n is at n − 1; the others are its twins.
    pub(super) dots: Vec<u32>,
    /// Its node was copied or rolled back, so that a dot may be used twice.
    pub(super) may_fork: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) key: u32,
    /// The how-manieth key it is in order of appearance.
    pub(super) slot: usize,
    /// Who wrote it, setting or deleting.
    pub(super) writers: Set,
    /// Who set it.
    pub(super) setters: Set,
}

impl Txn {
    /// What it did to a row: nothing, delete it or set it.
    pub(super) fn write(&self, key: u32) -> Option<Option<u64>> {
        self.writes.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }
}

impl Ledger {
    pub(super) fn txn(&self, number: u32) -> &Txn {
        &self.txns[number as usize]
    }

    pub(super) fn id(&self, number: u32) -> TxnId {
        self.txn(number).id
    }

    /// The transactions that were ever known by the dot of `id`.
    pub(super) fn dot(&self, id: TxnId) -> impl Iterator<Item = u32> {
        let origin = self.origins.iter().find(|origin| origin.name == id.origin);
        let place = usize::try_from(id.seq.wrapping_sub(1)).unwrap_or(usize::MAX);
        let first = origin.and_then(|origin| origin.dots.get(place)).copied();
        std::iter::successors(first, |number| self.txn(*number).twin)
    }

    /// The transaction of this identity, were it forgotten.
    pub(super) fn find(&self, id: TxnId) -> Option<u32> {
        self.dot(id).find(|number| self.txn(*number).id.tag == id.tag)
    }

    /// The transaction of this identity, which must be known and not forgotten.
    pub(super) fn live(&self, id: TxnId) -> Result<u32, Violation> {
        let number = self.find(id).ok_or(Violation::UnknownTransaction { id })?;
        if self.forgotten.has(number) { Err(Violation::Forgotten { id }) } else { Ok(number) }
    }

    pub(super) fn hub(&self, name: u128) -> Option<usize> {
        self.hubs.iter().position(|hub| hub.name == name)
    }

    /// The transactions that have a stamp in `coverage`.
    pub(super) fn covered(&self, coverage: &[(u128, u64)]) -> Result<Set, Violation> {
        let mut held = Set::default();
        for &(name, n) in coverage.iter().filter(|(_, n)| *n > 0) {
            self.add_covered(name, n, &mut held)?;
        }
        Ok(held)
    }

    /// The pending transactions of a node that covers `covered`.
    pub(super) fn pending(&self, pending: &[TxnId], covered: &Set) -> Result<Set, Violation> {
        let mut held = Set::default();
        for &id in pending {
            let number = self.live(id)?;
            if covered.has(number) {
                return Err(Violation::PendingCovered { id });
            }
            let follows = self.txn(number).prev.is_none_or(|prev| covered.has(prev) || held.has(prev));
            if !held.insert(number) || !follows {
                return Err(Violation::PendingOutOfOrder { id });
            }
        }
        Ok(held)
    }

    /// What somebody who sees this node's coverage with its pending transactions holds.
    pub(super) fn held(&self, claim: Claim<'_>) -> Result<Set, Violation> {
        let mut held = self.covered(claim.coverage)?;
        if !claim.pending.is_empty() {
            held.unite(&self.pending(claim.pending, &held)?);
        }
        Ok(held)
    }

    /// The document's *therefore*: those that are held and set the row, such that none that is held and wrote the row
    /// had read them.
    pub(super) fn siblings(&self, key: &Key, held: &Set) -> Set {
        let mut siblings = key.setters.both(held);
        let mut oldest = siblings.first();
        for writer in key.writers.both(held).descending() {
            // Nobody has read what was written later: who is older than all that is left takes nothing away.
            if oldest.is_none_or(|oldest| writer <= oldest) {
                break;
            }
            siblings.subtract(&self.txn(writer).read.held);
            oldest = siblings.first();
        }
        siblings
    }

    /// The first that is held, wrote the row and had read `number`.
    pub(super) fn overwriter(&self, key: &Key, held: &Set, number: u32) -> Option<u32> {
        key.writers.both(held).iter().find(|writer| self.txn(*writer).read.held.has(number))
    }

    /// The stamps of a transaction inside a coverage.
    pub(super) fn stamps(&self, txn: &Txn, coverage: &[(u128, u64)]) -> impl Iterator<Item = (&Hub, u64)> {
        let known = txn.stamps.iter().map(|(hub, n)| (&self.hubs[*hub], *n));
        known.filter(|(hub, n)| coverage.iter().any(|(name, to)| *name == hub.name && n <= to))
    }

    /// The time of a sibling on a node with this coverage.
    pub(super) fn time(&self, txn: &Txn, coverage: &[(u128, u64)]) -> u64 {
        let attested = self.stamps(txn, coverage).map(|(hub, n)| hub.attested(n).saturating_add(self.ahead));
        attested.fold(txn.hlc, u64::min)
    }

    pub(super) fn key(&self, key: u32) -> Option<&Key> {
        self.keys.binary_search_by_key(&key, |k| k.key).ok().map(|at| &self.keys[at])
    }

    /// A coverage as a number for each hub, into `dense`; and what it covers.
    pub(super) fn resolve(&self, coverage: &[(u128, u64)], dense: &mut Vec<u64>) -> Result<Set, Violation> {
        dense.clear();
        dense.resize(self.hubs.len(), 0);
        let mut held = Set::default();
        for &(name, n) in coverage.iter().filter(|(_, n)| *n > 0) {
            let hub = self.add_covered(name, n, &mut held)?;
            dense[hub] = dense[hub].max(n);
        }
        Ok(held)
    }

    /// Adds what a hub had taken in by its n-th stamp; gives the hub's number.
    fn add_covered(&self, name: u128, n: u64, held: &mut Set) -> Result<usize, Violation> {
        let hub = self.hub(name);
        let entries = hub.map_or(&[][..], |hub| &self.hubs[hub].entries);
        let entry = usize::try_from(n - 1).ok().and_then(|place| entries.get(place));
        let (Some(hub), Some(entry)) = (hub, entry) else {
            return Err(Violation::UnknownStamp { stamp: Stamp { hub: name, n }, last: entries.len() as u64 });
        };
        held.unite(&entry.taken);
        Ok(hub)
    }
}

impl Hub {
    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The entry with a number that is known to be there.
    pub(super) fn entry(&self, n: u64) -> &Entry {
        let place = usize::try_from(n - 1).expect("numbers of entries in memory fit");
        &self.entries[place]
    }

    fn attested(&self, n: u64) -> u64 {
        self.entry(n).attested
    }
}
