//! The oracle against the text taken by its word: ordered sets of names, contexts as the document has them, and rows
//! made by applying one entry after another.
//!
//! That also tries the document itself: what applying gives is compared with what *therefore* says, and so is what a
//! join gives.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Coverage = BTreeMap<u128, u64>;
type Table = BTreeMap<u32, BTreeMap<TxnId, BTreeSet<Stamp>>>;

/// A transaction with its context.
#[derive(Debug)]
struct Told {
    prev: Option<TxnId>,
    seen: Coverage,
    own: Option<TxnId>,
    hlc: u64,
    writes: Vec<Write>,
}

/// All that was ever written and stamped.
#[derive(Debug, Default)]
struct Text {
    txns: BTreeMap<TxnId, Told>,
    entries: Vec<(Stamp, TxnId, u64)>,
}

impl Text {
    fn stamps(&self, id: TxnId) -> impl Iterator<Item = &(Stamp, TxnId, u64)> {
        self.entries.iter().filter(move |(_, of, _)| *of == id)
    }

    fn is_in(stamp: Stamp, coverage: &Coverage) -> bool {
        coverage.get(&stamp.hub).is_some_and(|n| stamp.n <= *n)
    }

    /// *A transaction covers another.*
    fn covers(&self, t: TxnId, x: TxnId) -> bool {
        let told = &self.txns[&t];
        let chain = std::iter::successors(told.own, |id| self.txns[id].prev);
        self.stamps(x).any(|(stamp, ..)| Self::is_in(*stamp, &told.seen)) || chain.into_iter().any(|id| id == x)
    }

    fn covered(&self, coverage: &Coverage) -> BTreeSet<TxnId> {
        self.entries.iter().filter(|(stamp, ..)| Self::is_in(*stamp, coverage)).map(|(_, id, _)| *id).collect()
    }

    /// *Therefore.*
    fn rows(&self, held: &BTreeSet<TxnId>) -> BTreeMap<u32, BTreeSet<TxnId>> {
        let mut rows: BTreeMap<u32, BTreeSet<TxnId>> = BTreeMap::new();
        for x in held {
            for (key, value) in &self.txns[x].writes {
                let wrote = |t: &&TxnId| self.txns[*t].writes.iter().any(|(k, _)| k == key);
                if value.is_some() && !held.iter().filter(wrote).any(|t| self.covers(*t, *x)) {
                    rows.entry(*key).or_default().insert(*x);
                }
            }
        }
        rows
    }

    fn time(&self, id: TxnId, known: &BTreeSet<Stamp>) -> u64 {
        let attested = self.stamps(id).filter(|(stamp, ..)| known.contains(stamp)).map(|(.., at)| at + 1000);
        attested.chain([self.txns[&id].hlc]).min().expect("there is the writer's clock")
    }

    fn value(&self, id: TxnId, key: u32) -> u64 {
        let write = self.txns[&id].writes.iter().find(|(k, _)| *k == key);
        write.and_then(|(_, value)| *value).expect("a sibling was set")
    }

    /// A table as facts, without the sibling of `without`, with one of `with`.
    fn facts(&self, table: &Table, without: Option<(u32, TxnId)>, with: Option<(u32, TxnId)>) -> Rows {
        let mut lines: BTreeMap<(u32, TxnId), BTreeSet<Stamp>> = BTreeMap::new();
        for (key, row) in table {
            lines.extend(row.iter().map(|(id, stamps)| ((*key, *id), stamps.clone())));
        }
        if let Some(line) = without {
            lines.remove(&line);
        }
        if let Some(line) = with {
            lines.insert(line, BTreeSet::new());
        }
        let mut rows = Rows::new();
        for ((key, id), stamps) in &lines {
            rows.push(*key, *id, self.time(*id, stamps), self.value(*id, *key), stamps.iter().copied());
        }
        rows
    }
}

/// A node that does what the text says.
#[derive(Debug, Clone, Default)]
struct Replica {
    origin: u128,
    hub: bool,
    newest: Option<TxnId>,
    coverage: Coverage,
    pending: Vec<TxnId>,
    table: Table,
    /// What a slow client read here: seen, own, and the oracle's word for it.
    slow: Option<(Coverage, Option<TxnId>, Snapshot)>,
}

impl Replica {
    /// *Applying.*
    fn write(&mut self, text: &Text, id: TxnId, stamps: &BTreeSet<Stamp>) {
        for (key, value) in &text.txns[&id].writes {
            let row = self.table.entry(*key).or_default();
            row.retain(|x, _| !text.covers(id, *x));
            if value.is_some() {
                row.insert(id, stamps.clone());
            }
        }
    }

    fn apply(&mut self, text: &Text, (stamp, id): (Stamp, TxnId)) {
        if text.covered(&self.coverage).contains(&id) {
            for row in self.table.values_mut() {
                row.entry(id).and_modify(|stamps| _ = stamps.insert(stamp));
                row.retain(|_, stamps| !stamps.is_empty());
            }
        } else {
            self.write(text, id, &BTreeSet::from([stamp]));
        }
        self.coverage.insert(stamp.hub, stamp.n);
        self.pending.retain(|own| *own != id);
    }

    /// Takes over what another has, entry by entry.
    fn follow(&mut self, text: &Text, other: &Self) {
        for (stamp, id, _) in &text.entries {
            if Text::is_in(*stamp, &other.coverage) && !Text::is_in(*stamp, &self.coverage) {
                self.apply(text, (*stamp, *id));
            }
        }
    }

    /// Takes over the rows of another at once: the siblings that both have, and those of each whose transaction the
    /// other does not cover.
    fn join(&mut self, text: &Text, other: &Self) {
        let (here, there) = (text.covered(&self.coverage), text.covered(&other.coverage));
        for (key, theirs) in &other.table {
            let row = self.table.entry(*key).or_default();
            row.retain(|id, _| theirs.contains_key(id) || !there.contains(id));
            for (id, stamps) in theirs {
                if row.contains_key(id) || !here.contains(id) {
                    row.entry(*id).or_default().extend(stamps);
                }
            }
        }
        for (key, row) in &mut self.table {
            if !other.table.contains_key(key) {
                row.retain(|id, _| !there.contains(id));
            }
        }
        for (hub, n) in &other.coverage {
            let reach = self.coverage.entry(*hub).or_default();
            *reach = (*reach).max(*n);
        }
        let covered = text.covered(&self.coverage);
        self.pending.retain(|own| !covered.contains(own));
    }

    fn coverage(&self) -> Vec<(u128, u64)> {
        self.coverage.iter().map(|(hub, n)| (*hub, *n)).collect()
    }
}

/// The text, four nodes that keep to it, and the oracle.
struct World {
    text: Text,
    oracle: Oracle,
    nodes: Vec<Replica>,
    tags: u64,
}

impl World {
    /// Two hubs and two spokes; the spokes may be copies of each other.
    fn new(copies: bool) -> Self {
        let mut oracle = Oracle::new(1000);
        if copies {
            oracle.may_fork(A);
        }
        let second = if copies { A } else { B };
        let node = |origin, hub| Replica { origin, hub, ..Replica::default() };
        let nodes = vec![node(G, true), node(H, true), node(A, false), node(second, false)];
        Self { text: Text::default(), oracle, nodes, tags: 0 }
    }

    fn step(&mut self, (kind, a, b, x): (u8, usize, usize, u64)) {
        let other = (a + 1 + b) % 4;
        match kind {
            0..=4 => self.write(a, x),
            5..=7 => {
                let from = self.nodes[other].clone();
                self.nodes[a].follow(&self.text, &from);
            }
            8 => {
                let from = self.nodes[other].clone();
                self.nodes[a].join(&self.text, &from);
            }
            9..=11 => self.push(2 + a % 2, b % 2, x),
            _ => self.nodes[a].slow = Some(self.read(a)),
        }
        for node in 0..4 {
            self.judge(node, x);
        }
    }

    fn read(&mut self, node: usize) -> (Coverage, Option<TxnId>, Snapshot) {
        let at = &self.nodes[node];
        let claim = Claim { coverage: &at.coverage(), pending: &at.pending };
        let read = self.oracle.read(node, claim).expect("the node is right");
        (at.coverage.clone(), at.pending.last().copied(), read)
    }

    fn write(&mut self, node: usize, x: u64) {
        let slow = self.nodes[node].slow.clone().filter(|_| x.is_multiple_of(3));
        let (seen, own, read) = slow.unwrap_or_else(|| self.read(node));
        self.tags += 1;
        let at = &self.nodes[node];
        let (origin, hub, prev) = (at.origin, at.hub, at.newest);
        let id = TxnId { origin, seq: prev.map_or(1, |prev| prev.seq + 1), tag: self.tags };
        let write = |bits: u64| ((bits % 3) as u32, Some(bits / 16 % 3).filter(|_| !(bits / 4).is_multiple_of(4)));
        let mut writes = vec![write(x >> 8)];
        writes.extend(Some(write(x >> 16)).filter(|second| second.0 != writes[0].0));
        let hlc = x % 5000;
        let claim = Claim { coverage: &at.coverage(), pending: &at.pending };
        let written = Written { id, prev, read: &read, hlc, writes: &writes, at: claim };
        assert_eq!(self.oracle.written(&written), Ok(()));
        self.text.txns.insert(id, Told { prev, seen, own, hlc, writes });
        self.nodes[node].newest = Some(id);
        self.nodes[node].pending.push(id);
        if hub {
            self.take_in(node, id, x);
        }
    }

    /// A spoke gives a hub what it has pending, and does not hear what became of it.
    fn push(&mut self, spoke: usize, hub: usize, x: u64) {
        for id in self.nodes[spoke].pending.clone() {
            self.take_in(hub, id, x);
        }
    }

    /// A hub takes a transaction in if it may; the oracle says the same.
    fn take_in(&mut self, hub: usize, id: TxnId, x: u64) {
        let at = &self.nodes[hub];
        let stamp = Stamp { hub: at.origin, n: at.coverage.get(&at.origin).map_or(1, |n| n + 1) };
        let (told, held) = (&self.text.txns[&id], self.text.covered(&at.coverage));
        let same_dot = |other: &&TxnId| other.origin == id.origin && other.seq == id.seq;
        let of_origin = || held.iter().filter(|other| other.origin == id.origin);
        let forked = of_origin().any(|one| of_origin().any(|other| one.seq == other.seq && one.tag != other.tag));
        let reads = told.seen.iter().all(|(hub, n)| *n == 0 || at.coverage.get(hub).is_some_and(|has| has >= n));
        let may = !held.iter().any(|other| same_dot(&other))
            && !forked
            && reads
            && told.own.iter().chain(&told.prev).all(|x| held.contains(x));
        let mut oracle = self.oracle.clone();
        let taken = oracle.stamped(stamp, id, x % 4000, &at.coverage());
        if may {
            assert_eq!(taken, Ok(()));
            self.oracle = oracle;
            self.text.entries.push((stamp, id, x % 4000));
            self.nodes[hub].apply(&self.text, (stamp, id));
        } else {
            assert!(taken.is_err(), "{id} was taken in by {stamp}");
        }
    }

    /// The node's rows are what *therefore* says, and the oracle takes them and nothing else.
    fn judge(&mut self, node: usize, x: u64) {
        let at = &self.nodes[node];
        let coverage = at.coverage();
        let claim = Claim { coverage: &coverage, pending: &at.pending };
        let mut held = self.text.covered(&at.coverage);
        let names = |table: &Table| -> BTreeMap<u32, BTreeSet<TxnId>> {
            let rows = table.iter().filter(|(_, row)| !row.is_empty());
            rows.map(|(key, row)| (*key, row.keys().copied().collect())).collect()
        };
        assert_eq!(names(&at.table), self.text.rows(&held), "applying and the text differ");
        let rows = self.text.facts(&at.table, None, None);
        assert_eq!(self.oracle.observe(node, claim, &rows), Ok(()));

        let mut view = at.clone();
        for id in &at.pending {
            view.write(&self.text, *id, &BTreeSet::new());
            held.insert(*id);
        }
        assert_eq!(names(&view.table), self.text.rows(&held), "the view and the text differ");
        assert_eq!(self.oracle.check_view(claim, &self.text.facts(&view.table, None, None)), Ok(()));
        for key in 0..3 {
            self.judge_winner(claim, key, view.table.get(&key));
        }

        for (key, row) in &view.table {
            let gone = row.keys().nth((x >> 24) as usize % row.len().max(1)).map(|id| (*key, *id));
            if gone.is_some() {
                assert!(self.oracle.check_view(claim, &self.text.facts(&view.table, gone, None)).is_err());
            }
            let set = |told: &Told| told.writes.iter().any(|(k, value)| k == key && value.is_some());
            for id in self.text.txns.iter().filter(|(id, told)| set(told) && !row.contains_key(id)).map(|(id, _)| *id) {
                let more = self.text.facts(&view.table, None, Some((*key, id)));
                assert!(self.oracle.check_view(claim, &more).is_err());
            }
        }
    }

    /// Everybody hears of everything, and the books are closed.
    fn end(&mut self, x: u64) {
        for spoke in [2, 3] {
            for hub in [0, 1] {
                self.push(spoke, hub, x);
                for (to, from) in [(0, 1), (1, 0), (2, 0), (3, 0)] {
                    let from = self.nodes[from].clone();
                    self.nodes[to].follow(&self.text, &from);
                    self.judge(to, x);
                }
            }
        }
        for id in self.text.txns.keys() {
            assert_eq!(self.oracle.acknowledged(*id), Ok(()));
        }
        let coverages: Vec<_> = self.nodes.iter().map(Replica::coverage).collect();
        let rows: Vec<_> = self.nodes.iter().map(|node| self.text.facts(&node.table, None, None)).collect();
        let nodes: Vec<_> = coverages.iter().zip(&rows).map(|(c, rows)| (covers(c), rows)).collect();
        let audit = self.oracle.fates(&nodes).expect("all have all");
        let writes = || self.text.txns.values().flat_map(|told| &told.writes);
        let table = &self.nodes[0].table;
        assert_eq!(audit.acknowledged, self.text.txns.len());
        assert_eq!(audit.deletions, writes().filter(|(_, value)| value.is_none()).count());
        assert_eq!(audit.visible, table.values().filter(|row| !row.is_empty()).count());
        assert_eq!(audit.visible + audit.outvoted, table.values().map(BTreeMap::len).sum::<usize>());
        assert_eq!(audit.visible + audit.outvoted + audit.overwritten + audit.deletions, writes().count());
    }

    fn judge_winner(&self, claim: Claim<'_>, key: u32, row: Option<&BTreeMap<TxnId, BTreeSet<Stamp>>>) {
        let siblings = row.into_iter().flatten().map(|(id, stamps)| (self.text.time(*id, stamps), *id));
        let values: BTreeSet<u64> = row.into_iter().flatten().map(|(id, _)| self.text.value(*id, key)).collect();
        let winner = siblings.max().map(|(time, id)| {
            let value = self.text.value(id, key);
            Winner { id, time, value, conflict: values.len() > 1 }
        });
        assert_eq!(self.oracle.check_winner(claim, key, winner), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_oracle_says_what_the_text_says(
        copies in any::<bool>(),
        steps in prop::collection::vec((0u8..14, 0usize..4, 0usize..3, any::<u64>()), 1..80),
    ) {
        let mut world = World::new(copies);
        for step in steps {
            world.step(step);
        }
        // Copies refuse each other's transactions for ever, until they take another name.
        if !copies {
            world.end(7);
        }
    }
}
