//! Rows against a model that does nothing but read the rules: any order, any joins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::Hlc;
use syncline_base::rng::Rng;

use super::super::*;

/// A sibling, as the model says it.
type Said = (Dot, Vec<Stamp>, Hlc, Bytes);

/// A replica of the product: a state, and which transactions came.
#[derive(Debug, Clone)]
struct Replica {
    state: State,
    chains: Chains,
}

impl Replica {
    fn new() -> Self {
        Self { state: State::new(Zoo::none()), chains: Chains::new() }
    }

    fn lacks(&self, entry: &Entry) -> bool {
        !self.state.coverage().has(entry.stamp)
    }

    /// The rule of delivery.
    fn is_ready(&self, entry: &Entry) -> bool {
        let coverage = self.state.coverage();
        entry.stamp.n == coverage.of(entry.stamp.hub) + 1 && coverage.includes(&entry.deps)
    }

    fn apply(&mut self, entry: &Arc<Entry>) {
        let (dot, prev) = (entry.txn.dot(), entry.txn.body().prev);
        let chain = self.chains.entry(dot.origin).or_default();
        let new = !chain.knows(dot.seq, dot.tag);
        chain.add(dot.seq, dot.tag, prev);
        self.state.apply(entry, new, &self.chains);
    }

    fn join(&mut self, other: &Self) {
        let rows = other.state.rows.clone();
        let snapshot = Snapshot { coverage: other.state.coverage().clone(), rows, chains: other.chains.clone() };
        self.state.join(&self.chains, &snapshot);
        for (origin, chain) in &snapshot.chains {
            self.chains.entry(*origin).or_default().join(chain);
        }
    }

    fn joined(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.join(other);
        both
    }

    fn said(&self) -> BTreeMap<RowKey, Vec<Said>> {
        let said = |sibling: &Sibling| (sibling.dot, sibling.stamps.clone(), sibling.time, sibling.value.clone());
        self.state.rows().map(|(key, row)| (key.clone(), row.siblings().iter().map(said).collect())).collect()
    }
}

/// Somebody who writes away from hubs; a copy of him goes on under the same name.
#[derive(Debug, Clone)]
struct Spoke {
    origin: Origin,
    last: Option<Dot>,
    waiting: Vec<Arc<Txn>>,
}

/// Hubs with replicas, spokes, and every entry that was ever made.
struct World {
    rng: Rng,
    hubs: Vec<(Origin, Replica)>,
    spokes: Vec<Spoke>,
    entries: Vec<Arc<Entry>>,
    /// What somebody could have read.
    read: Vec<Coverage>,
    now: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let hubs = (1..=3).map(|n| (Origin::from_bytes([n; 16]), Replica::new())).collect();
        let spoke = |n| Spoke { origin: Origin::from_bytes([n; 16]), last: None, waiting: Vec::new() };
        let spokes = (11..=13).map(spoke).collect();
        let (rng, read) = (Rng::from_seed(seed), vec![Coverage::new()]);
        Self { rng, hubs, spokes, entries: Vec::new(), read, now: 10_000 }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n as u64)).unwrap()
    }

    /// The clocks of writers and hubs agree now and then.
    fn clock(&mut self) -> Hlc {
        Hlc::from_ms(self.now + self.rng.below(5) * 700)
    }

    fn step(&mut self) {
        self.now += self.rng.below(300);
        match self.below(12) {
            0..4 => self.write(),
            4..7 => self.push(),
            7 => {
                let copy = self.below(self.spokes.len());
                if self.spokes.len() < 5 && self.below(3) == 0 {
                    self.spokes.push(self.spokes[copy].clone());
                }
            }
            _ => self.pull(),
        }
    }

    fn write(&mut self) {
        let at = self.below(self.spokes.len());
        // The newest or anything older.
        let newest = self.read.len() - 1;
        let seen = if self.below(2) == 0 { newest } else { self.below(newest + 1) };
        let seen = self.read[seen].clone();
        let hlc = self.clock();
        let mut writes = Vec::new();
        for key in 0..3u8 {
            if self.below(2) == 0 {
                let row = RowKey { table: "t".into(), key: Bytes::from(vec![key]) };
                let value = (self.below(4) > 0).then(|| Bytes::from(vec![self.entries.len() as u8, at as u8]));
                writes.push(Write { row, value });
            }
        }
        let own = self.below(4) > 0;
        let spoke = &mut self.spokes[at];
        let own = spoke.last.filter(|_| own).into_iter().collect();
        let (seq, prev) = spoke.last.map_or((1, Tag::NONE), |dot| (dot.seq + 1, dot.tag));
        let body = Body { origin: spoke.origin, seq, prev, read: Context { seen, own }, hlc, writes };
        let txn = Arc::new(Txn::new(body).unwrap());
        spoke.last = Some(txn.dot());
        spoke.waiting.push(txn);
    }

    /// A spoke offers one that it never knows the end of to a hub.
    fn push(&mut self) {
        let (at, to, attested) = (self.below(self.spokes.len()), self.below(self.hubs.len()), self.clock());
        let (hub, replica) = &mut self.hubs[to];
        let nothing = Chain::default();
        let chain = replica.chains.get(&self.spokes[at].origin).unwrap_or(&nothing);
        let follows = |txn: &&Arc<Txn>| {
            let (Dot { seq, tag, .. }, body) = (txn.dot(), txn.body());
            let own = |dot: &Dot| replica.chains.get(&dot.origin).is_some_and(|chain| chain.knows(dot.seq, dot.tag));
            chain.place(seq, tag, body.prev) == Place::Next
                && !chain.is_forked()
                && replica.state.coverage().includes(&body.read.seen)
                && body.read.own.iter().all(own)
        };
        let Some(txn) = self.spokes[at].waiting.iter().find(follows).cloned() else { return };
        let deps = replica.state.coverage().clone();
        let stamp = Stamp { hub: *hub, n: deps.of(*hub) + 1 };
        let entry = Arc::new(Entry { stamp, deps, attested, txn });
        replica.apply(&entry);
        self.entries.push(entry);
        self.read.push(self.hubs[to].1.state.coverage().clone());
    }

    /// A hub hears of something.
    fn pull(&mut self) {
        let to = self.below(self.hubs.len());
        let replica = &self.hubs[to].1;
        let ready: Vec<_> = self.entries.iter().filter(|entry| replica.is_ready(entry)).cloned().collect();
        if !ready.is_empty() {
            let entry = ready[self.below(ready.len())].clone();
            self.hubs[to].1.apply(&entry);
            self.read.push(self.hubs[to].1.state.coverage().clone());
        }
    }

    /// Gives a replica entries until it has them all or, where it need not, until a die says so.
    fn feed(&mut self, replica: &mut Replica, all: bool) {
        loop {
            let ready: Vec<_> = self.entries.iter().filter(|entry| replica.is_ready(entry)).cloned().collect();
            if ready.is_empty() || (!all && self.below(12) == 0) {
                return;
            }
            replica.apply(&ready[self.below(ready.len())]);
            assert_eq!(replica.said(), self.says(replica.state.coverage()));
        }
    }

    /// What the rules say of a coverage: the siblings of a row are what was set by a transaction in it that no transaction in
    /// it which wrote the row covers.
    fn says(&self, coverage: &Coverage) -> BTreeMap<RowKey, Vec<Said>> {
        let entries: Vec<&Arc<Entry>> = self.entries.iter().filter(|entry| coverage.has(entry.stamp)).collect();
        let txns: BTreeMap<Dot, &Arc<Txn>> = entries.iter().map(|entry| (entry.txn.dot(), &entry.txn)).collect();
        let mut rows: BTreeMap<RowKey, Vec<Said>> = BTreeMap::new();
        for (dot, txn) in &txns {
            let mine: Vec<&&Arc<Entry>> = entries.iter().filter(|entry| entry.txn.dot() == *dot).collect();
            let stamps: BTreeSet<Stamp> = mine.iter().map(|entry| entry.stamp).collect();
            let clocks = mine.iter().map(|entry| Hlc::from_ms(entry.attested.ms() + 1_000));
            let time = clocks.chain([txn.body().hlc]).min().unwrap();
            for Write { row, value } in &txn.body().writes {
                let wrote = |by: &&&Arc<Txn>| by.body().writes.iter().any(|write| write.row == *row);
                let covered = txns.values().filter(wrote).any(|by| self.covers(by, dot));
                if let (Some(value), false) = (value, covered) {
                    let said = (*dot, stamps.iter().copied().collect(), time, value.clone());
                    rows.entry(row.clone()).or_default().push(said);
                }
            }
        }
        rows
    }

    fn covers(&self, by: &Txn, dot: &Dot) -> bool {
        let read = &by.body().read;
        let stamped = |entry: &Arc<Entry>| entry.txn.dot() == *dot && read.seen.has(entry.stamp);
        self.entries.iter().any(stamped) || read.own.iter().any(|newest| self.chain_of(*newest).contains(dot))
    }

    /// A transaction and those before it, by what each says of the one before.
    fn chain_of(&self, newest: Dot) -> Vec<Dot> {
        let mut chain = vec![newest];
        while let Some(entry) = self.entries.iter().find(|entry| entry.txn.dot() == chain[chain.len() - 1]) {
            let Body { origin, seq, prev, .. } = *entry.txn.body();
            if seq == 1 {
                break;
            }
            chain.push(Dot { origin, seq: seq - 1, tag: prev });
        }
        chain
    }
}

fn same(a: &Replica, b: &Replica) {
    assert_eq!(a.said(), b.said());
    assert_eq!(a.state.root(), b.state.root());
    let known = |replica: &Replica, by: &Replica| {
        let knows = |entry: &Dot| by.chains.get(&entry.origin).is_some_and(|chain| chain.knows(entry.seq, entry.tag));
        replica.chains.values().count() == by.chains.values().count()
            && replica.said().values().flatten().all(|said| knows(&said.0))
    };
    assert!(known(a, b) && known(b, a));
}

fn grown(seed: u64) -> World {
    let mut world = World::new(seed);
    (0..90).for_each(|_| world.step());
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_order_of_causes_gives_what_the_rules_say(seed: u64) {
        let mut world = grown(seed);
        for at in 0..world.hubs.len() {
            prop_assert_eq!(world.hubs[at].1.said(), world.says(world.hubs[at].1.state.coverage()));
        }
        let mut all = [Replica::new(), Replica::new(), Replica::new()];
        for replica in &mut all {
            world.feed(replica, true);
            prop_assert!(!world.entries.iter().any(|entry| replica.lacks(entry)));
        }
        same(&all[0], &all[1]);
        same(&all[0], &all[2]);
    }

    #[test]
    fn joins_give_what_the_rules_say_whatever_is_joined_first(seed: u64) {
        let mut world = grown(seed);
        let mut parts = [Replica::new(), Replica::new(), Replica::new()];
        parts.iter_mut().for_each(|part| world.feed(part, false));
        let [a, b, c] = &parts;
        same(&a.joined(a), a);
        same(&a.joined(&Replica::new()), a);
        same(&Replica::new().joined(a), a);
        let ab = a.joined(b);
        prop_assert_eq!(ab.said(), world.says(ab.state.coverage()));
        prop_assert!(ab.state.coverage().includes(a.state.coverage()) && ab.state.coverage().includes(b.state.coverage()));
        same(&ab, &b.joined(a));
        same(&ab.joined(b), &ab);
        same(&ab.joined(c), &a.joined(&b.joined(c)));
        // And on from there.
        let mut on = ab.joined(c);
        world.feed(&mut on, true);
        let mut straight = Replica::new();
        world.feed(&mut straight, true);
        same(&on, &straight);
    }
}

/// What the tests above are worth: their worlds have conflicts, deletes, second stamps and forks.
#[test]
fn the_worlds_are_not_dull() {
    let (mut conflicts, mut twice, mut forks, mut covered) = (0, 0, 0, 0);
    for seed in 0..50 {
        let mut world = grown(seed);
        let mut replica = Replica::new();
        world.feed(&mut replica, true);
        conflicts += replica.state.rows().filter(|(_, row)| row.is_in_conflict()).count();
        twice += replica.said().values().flatten().filter(|said| said.1.len() > 1).count();
        forks += replica.chains.values().filter(|chain| chain.is_forked()).count();
        let txns = world.entries.iter().map(|entry| entry.txn.dot()).collect::<BTreeSet<_>>();
        covered += txns.len();
    }
    assert!(conflicts > 20 && twice > 20 && forks > 5 && covered > 300, "{conflicts} {twice} {forks} {covered}");
}

/// The order of rows is that of their bytes, however that is found out.
#[test]
fn keys_are_ordered_as_their_bytes_are() {
    let mut rng = Rng::from_seed(3);
    let names: [Arc<str>; 3] = ["a".into(), "a".into(), "ab".into()];
    let mut draw = |below: u64| usize::try_from(rng.below(below)).expect("small");
    let keys: Vec<RowKey> = (0..300)
        .map(|_| {
            let key: Vec<u8> = (0..draw(12)).map(|at| if at < 6 { 7 } else { [0, 1, 0x7f, 0xff][draw(4)] }).collect();
            RowKey { table: names[draw(3)].clone(), key: key.into() }
        })
        .collect();
    for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
        assert_eq!(a.cmp(b), (&*a.table, &a.key[..]).cmp(&(&*b.table, &b.key[..])), "{a:?} {b:?}");
    }
}
