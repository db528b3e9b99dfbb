//! Whom a node believes: what it signs of its own, what it asks of others' signatures, and whose keys are revoked.
//!
//! An origin's transactions are a chain, and the key that made the origin's name signs the chain's head now and then (`head`): once for
//! all that became durable together. A hub takes from a spoke only what such a head attests. What hubs have taken in, others take from
//! them before its head has come, and hold it against the head when that comes: a head that does not fit is a proof that somebody
//! altered the chain, or that its origin has two histories. It is kept, and the origin is frozen: hubs take in nothing further of it.
//!
//! Owns: the newest heads of the node's own names, hashes over what waits, and which keys are revoked. Heads go to the log when time passes,
//! of each origin the newest: one that a crash loses is signed again or sent again. After a crash: the log's records give them back.
//!
//! Not here: bytes (`head`), who keeps the secret key, and what people are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;

use super::super::chain::{Chain, Place, Verdict};
use super::super::head::{Head, Unsigned};
use super::super::id::{Dot, Origin, Tag};
use super::super::message::{Denial, Message};
use super::super::record::Record;
use super::super::txn::{Body, RowKey, Txn, Write};
use super::{Node, Output, PeerId};

/// The reserved table that says which keys are revoked: a row for each, its key the 32 bytes of the public key.
pub const KEYS: &str = ".keys";

/// What a node knows of keys, beside what is signed of the chains.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The newest signed heads of the node's own names; one of seq 0 from the beginning.
    heads: BTreeMap<Origin, Arc<Head>>,
    /// Hashes over the chains of its own names up to each transaction that waits.
    sums: BTreeMap<Dot, Hash>,
    /// Heads that are not in the log yet.
    unlogged: Vec<Arc<Head>>,
    /// Heads that came, to be sent on once so many records are durable, all that they attest among them; and who sent them.
    relayed: VecDeque<(u64, Arc<Head>, PeerId)>,
    /// Keys that are revoked.
    revoked: BTreeSet<[u8; 32]>,
    /// Somebody else asks what is to be signed, and signs.
    signed_elsewhere: bool,
}

/// A place in an origin's transactions while a push is looked at.
struct Walk {
    last: (u64, Tag),
    sum: Option<Hash>,
    /// The first that no head has attested so far.
    open: Option<Dot>,
}

impl Node {
    /// Whoever drives the node signs for it from here on: [`Self::unsigned`], then [`Self::signed`]. Else it signs when
    /// something becomes durable.
    pub const fn sign_elsewhere(&mut self) {
        self.trust.signed_elsewhere = true;
    }

    /// What is to be signed: the newest durable transactions of the node's own names.
    #[must_use]
    pub fn unsigned(&self) -> Vec<Unsigned> {
        let mut all: Vec<Unsigned> = Vec::new();
        let own = self.newest.filter(|dot| dot.origin == self.name);
        for dot in self.state.pending.newest().chain(own) {
            let Some(head) = self.trust.heads.get(&dot.origin).filter(|head| head.seq() < dot.seq) else { continue };
            if let Some(sum) = self.sum_of(&dot) {
                let unsigned = head.next(dot.seq, sum);
                if !all.contains(&unsigned) {
                    all.push(unsigned);
                }
            }
        }
        all
    }

    /// What [`Self::unsigned`] asked for.
    pub fn signed(&mut self, heads: Vec<Head>) {
        for head in heads {
            let newer = |last: &Arc<Head>| last.seq() < head.seq();
            if *head.key() == self.signer.public() && self.trust.heads.get(&head.origin()).is_some_and(newer) {
                let head = Arc::new(head);
                let fits = self.keep_head(&head);
                if fits {
                    self.kept.push_head(head.clone(), None);
                }
                self.log_later(head);
            }
        }
        self.pump_all();
    }

    pub(super) fn sign(&mut self) {
        if !self.trust.signed_elsewhere {
            let signer = self.signer.clone();
            let heads: Vec<Head> = self.unsigned().iter().map(|unsigned| unsigned.sign(&*signer)).collect();
            if !heads.is_empty() {
                self.signed(heads);
            }
        }
    }

    /// The first head of a name, which attests nothing: from now on what is written under the name can be signed.
    pub(super) fn sign_name(&mut self, nonce: [u8; 16]) {
        let head = Unsigned { nonce, seq: 0, sum: Hash::ZERO }.sign(&*self.signer);
        self.append(Record::Signed(Arc::new(head)), None);
    }

    fn log_later(&mut self, head: Arc<Head>) {
        let origin = head.origin();
        self.trust.unlogged.retain(|other| other.origin() != origin || other.seq() > head.seq());
        self.trust.unlogged.push(head);
    }

    /// Appends the heads that are not in the log yet. To be called now and then.
    pub fn log_heads(&mut self) {
        for head in std::mem::take(&mut self.trust.unlogged) {
            self.append(Record::Signed(head), None);
        }
    }

    /// What heads that came attest has become durable: others are sent them.
    pub(super) fn relay_heads(&mut self) {
        while let Some((_, head, from)) = self.trust.relayed.pop_front_if(|(records, ..)| *records <= self.durable) {
            if let Some(chain) = self.chains.get_mut(&head.origin()) {
                chain.trim(head.seq());
            }
            self.kept.push_head(head, Some(from));
        }
    }

    /// Remembers a head. Whether it is news of a chain that is here.
    pub(super) fn keep_head(&mut self, head: &Arc<Head>) -> bool {
        let origin = head.origin();
        if *head.key() == self.signer.public() {
            let last = self.trust.heads.entry(origin).or_insert_with(|| head.clone());
            if last.seq() < head.seq() {
                *last = head.clone();
            }
        }
        self.chains.get_mut(&origin).is_some_and(|chain| chain.sign(head))
    }

    /// A head that is in the log is durable, and so is what it attests.
    pub(super) fn head_applied(&mut self, head: &Arc<Head>) {
        if let Some(chain) = self.chains.get_mut(&head.origin()) {
            chain.trim(head.seq());
        }
    }

    /// The heads that a checkpoint has to say: of the node's name, and of those under which something waits.
    pub(super) fn own_heads(&self) -> Vec<Arc<Head>> {
        let mut names: BTreeSet<Origin> = self.state.pending.newest().map(|dot| dot.origin).collect();
        names.insert(self.name);
        names.iter().filter_map(|name| self.trust.heads.get(name)).cloned().collect()
    }

    /// What tells apart which heads nodes have.
    pub(super) fn heads_digest(&self) -> u64 {
        let signed = self.chains.values().filter_map(Chain::signed);
        signed.fold(0, |digest, head| digest.wrapping_add(first_eight(&head.sum())))
    }

    fn sum_of(&self, dot: &Dot) -> Option<Hash> {
        self.trust.sums.get(dot).copied().or_else(|| {
            let chain = self.chains.get(&dot.origin)?;
            if chain.is_first(dot.seq, dot.tag) { chain.sum(dot.seq) } else { None }
        })
    }

    /// One of the node's own waits from here on.
    pub(super) fn note_waiting(&mut self, txn: &Txn) {
        let (dot, Body { origin, seq, prev, .. }) = (txn.dot(), txn.body());
        let before = match seq - 1 {
            0 => Some(Hash::ZERO),
            seq => self.sum_of(&Dot { origin: *origin, seq, tag: *prev }),
        };
        if let Some(before) = before {
            self.trust.sums.insert(dot, txn.sum_after(&before));
        }
    }

    /// One of them waits no more.
    pub(super) fn note_gone(&mut self, dot: &Dot) {
        self.trust.sums.remove(dot);
    }

    /// The chain of one of the node's own names has come as far as its newest head, by the record that is appended next: whoever is sent that
    /// is sent the head.
    pub(super) fn attest_own(&mut self, dot: &Dot) {
        let head = self.trust.heads.get(&dot.origin).filter(|head| head.seq() == dot.seq).cloned();
        if let Some(head) = head
            && self.keep_head(&head)
        {
            // Nobody sent it: no connection has this number.
            self.trust.relayed.push_back((self.records + 1, head, PeerId::MAX));
        }
    }

    /// Everything anew, from what waits and from the rows: another node's state, or a checkpoint, has taken effect.
    pub(super) fn trust_anew(&mut self) {
        let waiting: Vec<Arc<Txn>> = self.waiting.iter().cloned().collect();
        self.trust.sums.retain(|dot, _| self.waiting.contains(dot));
        for txn in waiting {
            if !self.trust.sums.contains_key(&txn.dot()) {
                self.note_waiting(&txn);
            }
        }
        let from = RowKey { table: KEYS.into(), key: Bytes::new() };
        for (row, _) in self.view_from(&from, usize::MAX) {
            self.trust.revoked.extend(<[u8; 32]>::try_from(&row.key[..]));
        }
    }

    /// What a transaction says about keys holds for the records after it.
    pub(super) fn note_keys(&mut self, writes: &[Write]) {
        let revokes = writes.iter().filter(|write| &*write.row.table == KEYS && write.value.is_some());
        self.trust.revoked.extend(revokes.filter_map(|write| <[u8; 32]>::try_from(&write.row.key[..]).ok()));
    }

    /// Whether a key is revoked, as far as it is known here.
    #[must_use]
    pub fn is_revoked(&self, key: &[u8; 32]) -> bool {
        self.trust.revoked.contains(key)
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.signer.public()
    }

    /// What is known of each origin's transactions and of who signed them, what is on its way to the log among it.
    pub fn origins(&self) -> impl Iterator<Item = (Origin, &Chain)> {
        self.chains.iter().map(|(origin, chain)| (*origin, chain))
    }

    /// Whether the signature of a head would be asked for: it says something that is not known here.
    #[must_use]
    pub fn is_news(&self, head: &Head) -> bool {
        self.chains.get(&head.origin()).is_none_or(|chain| chain.judge(head) != Verdict::Known)
    }

    /// A spoke shows a hub its own heads again: what came with a push, and was not logged yet, a crash of the hub has lost.
    pub(super) fn offer_heads(&mut self, to: PeerId) {
        if !self.hub {
            let heads: Vec<Arc<Head>> = self.trust.heads.values().filter(|head| head.seq() > 0).cloned().collect();
            let most = (self.limits.message_bytes / Head::SIZE).max(1);
            for heads in heads.chunks(most) {
                self.send(to, Message::Heads(heads.to_vec()));
            }
        }
    }

    /// Heads from a peer.
    pub(super) fn heads_came(&mut self, from: PeerId, heads: &[Arc<Head>]) {
        for head in heads {
            let verdict = self.chains.get(&head.origin()).map(|chain| chain.judge(head));
            if matches!(verdict, Some(Verdict::Fits | Verdict::Contradicts)) {
                if !head.is_valid(&*self.signer) {
                    self.doubt(from, head.origin(), head.seq(), Denial::Forged);
                    continue;
                }
                self.head_came(from, head);
            }
        }
        self.pump_all();
    }

    /// A head whose signature is right.
    fn head_came(&mut self, from: PeerId, head: &Arc<Head>) {
        let contradicts =
            self.chains.get(&head.origin()).is_some_and(|chain| chain.judge(head) == Verdict::Contradicts);
        if !self.keep_head(head) {
            return;
        }
        if contradicts {
            // The one that it contradicts is half of the evidence.
            self.log_heads();
            self.append(Record::Signed(head.clone()), None);
            self.out.push(Output::Contradicted(from, head.clone()));
        } else {
            self.log_later(head.clone());
        }
        self.trust.relayed.push_back((self.records, head.clone(), from));
        self.relay_heads();
    }

    fn doubt(&mut self, from: PeerId, origin: Origin, seq: u64, why: Denial) {
        self.out.push(Output::Doubted(from, Dot { origin, seq, tag: Tag::NONE }, why));
    }

    /// Whether everything new among transactions that a spoke pushes is signed, by keys that are not revoked.
    pub(super) fn vouched(&mut self, from: PeerId, txns: &[Arc<Txn>], heads: &[Arc<Head>]) -> bool {
        let Err((dot, why)) = self.look_at(txns, heads) else { return true };
        self.doubt(from, dot.origin, dot.seq, why);
        self.send(from, Message::Denied(dot, why));
        false
    }

    fn look_at(&self, txns: &[Arc<Txn>], heads: &[Arc<Head>]) -> Result<(), (Dot, Denial)> {
        let heads: BTreeMap<Origin, &Arc<Head>> = heads.iter().map(|head| (head.origin(), head)).collect();
        let mut walks: BTreeMap<Origin, Walk> = BTreeMap::new();
        let nothing = Chain::default();
        for txn in txns {
            let (dot, Body { origin, seq, prev, .. }) = (txn.dot(), txn.body());
            let chain = self.chains.get(origin).unwrap_or(&nothing);
            // What is here stays; what would be a branch is refused by whoever looks next.
            if matches!(chain.place(*seq, dot.tag, *prev), Place::Known | Place::Fork) {
                continue;
            }
            let walk = walks.entry(*origin).or_insert_with(|| {
                let last = chain.head().unwrap_or((0, Tag::NONE));
                Walk { last, sum: chain.sum(last.0), open: None }
            });
            if (seq - 1, *prev) != walk.last {
                // It does not follow, and cannot be taken in yet.
                continue;
            }
            walk.last = (*seq, dot.tag);
            walk.sum = walk.sum.map(|sum| txn.sum_after(&sum));
            let first = *walk.open.get_or_insert(dot);
            let Some(head) = heads.get(origin) else { continue };
            if !head.is_valid(&*self.signer) {
                return Err((first, Denial::Forged));
            }
            if self.is_revoked(head.key()) {
                return Err((first, Denial::Revoked));
            }
            if head.seq() == *seq {
                match walk.sum {
                    Some(sum) if sum == head.sum() => walk.open = None,
                    Some(_) => return Err((first, Denial::Forged)),
                    None => {}
                }
            }
        }
        let open = walks.values().find_map(|walk| walk.open);
        open.map_or(Ok(()), |dot| Err((dot, Denial::Unsigned)))
    }

    /// The heads of a push, once what they attest has been taken in.
    pub(super) fn pushed_heads(&mut self, from: PeerId, heads: &[Arc<Head>]) {
        for head in heads {
            let verdict = self.chains.get(&head.origin()).map(|chain| chain.judge(head));
            if matches!(verdict, Some(Verdict::Fits | Verdict::Contradicts)) && head.is_valid(&*self.signer) {
                self.head_came(from, head);
            }
        }
    }

    /// Whether a waiting transaction can be pushed: it is signed, or never will be.
    pub(super) fn may_push(&self, txn: &Txn) -> bool {
        let dot = txn.dot();
        let head = self.trust.heads.get(&dot.origin);
        head.is_none_or(|head| head.seq() >= dot.seq || self.sum_of(&dot).is_none())
    }

    /// The heads to push with these, which are all signed: of each origin that with the last of them.
    pub(super) fn heads_of(&self, txns: &[Arc<Txn>]) -> Vec<Arc<Head>> {
        // A node writes under few names, and one after the other.
        let mut last: Vec<Dot> = Vec::new();
        for dot in txns.iter().map(|txn| txn.dot()) {
            match last.iter_mut().find(|is| is.origin == dot.origin) {
                Some(is) => *is = dot,
                None => last.push(dot),
            }
        }
        last.sort_unstable();
        let head = |dot: &Dot| {
            let newest = self.trust.heads.get(&dot.origin)?;
            let sum = self.sum_of(dot)?;
            // Else more waits than goes into one message; or the newest is of a copy of this node, on another branch.
            let is_it = newest.seq() == dot.seq && newest.sum() == sum;
            Some(if is_it { newest.clone() } else { Arc::new(newest.next(dot.seq, sum).sign(&*self.signer)) })
        };
        last.iter().filter_map(head).collect()
    }

    /// A hub does not take this in, as it is.
    pub(super) fn denied(&mut self, from: PeerId, dot: Dot, why: Denial) {
        if !self.state.pending.contains(&dot) {
            return;
        }
        if why == Denial::Unsigned {
            // Of a name that it cannot sign for.
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.pushed = 0;
            }
            self.refused(dot);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.denied = true;
        }
        self.out.push(Output::Denied(from, dot, why));
    }
}

fn first_eight(hash: &Hash) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(eight)
}
