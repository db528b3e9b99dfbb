//! What happened before what: sessions, and reads from writes, and what follows from these.
//!
//! Each transaction gets a vector: of each chain, how many of its transactions came before. A session is a chain. A transaction whose
//! fate its client does not know is a chain of its own, after what its session did before, for it may take effect later than what the
//! session did next; one that nobody ever saw is left out. That keeps the vectors short, and looking up what came before cheap.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fate, History, Row, Step, TOLD, Txn, Written};

/// A transaction by its place in [`Order::nodes`].
pub(super) type Id = usize;

/// One transaction that took effect, or one look.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) txn: &'a Txn,
    pub(super) chain: usize,
    /// Place in its chain.
    pub(super) at: usize,
    /// Who came right before it in its session.
    pub(super) before: Option<Id>,
    /// Session and place in it, for people.
    name: (usize, usize),
}

/// A history in its causal order.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Who wrote a value, and of which row.
    pub(super) writer: BTreeMap<Written, (Id, Row)>,
    /// Who wrote a row: by chain, in the chain's order.
    pub(super) writers: BTreeMap<Row, BTreeMap<usize, Vec<Id>>>,
    /// Of each transaction, how many of each chain came before it. Chains that are not there: none.
    past: Vec<Vec<u32>>,
}

impl<'a> Order<'a> {
    /// Puts a history in order. What cannot be ordered, or was read and never written, is said.
    pub(super) fn of(history: &'a History, end: &BTreeMap<Row, Vec<Written>>) -> Result<Self, Vec<String>> {
        let seen = seen(history, end);
        let mut order = Self { nodes: Vec::new(), writer: BTreeMap::new(), writers: BTreeMap::new(), past: Vec::new() };
        let mut chains = history.sessions.len();
        for (session, txns) in history.sessions.iter().enumerate() {
            let (mut last, mut length) = (None, 0);
            for (place, txn) in txns.iter().enumerate() {
                let shown = txn.writes.iter().any(|write| seen.contains(&write.value));
                match txn.fate {
                    Fate::Done => {
                        order.add(Node { txn, chain: session, at: length, before: last, name: (session, place) });
                        last = Some(order.nodes.len() - 1);
                        length += 1;
                    }
                    Fate::Unknown if shown => {
                        order.add(Node { txn, chain: chains, at: 0, before: last, name: (session, place) });
                        chains += 1;
                    }
                    Fate::Unknown | Fate::Refused => {}
                }
            }
        }
        order.known(history)?;
        order.walk(chains)?;
        Ok(order)
    }

    fn add(&mut self, node: Node<'a>) {
        let id = self.nodes.len();
        for write in &node.txn.writes {
            self.writer.insert(write.value, (id, write.row));
            self.writers.entry(write.row).or_default().entry(node.chain).or_default().push(id);
        }
        self.nodes.push(node);
    }

    /// Every value that was read was written, to that row, by somebody who was not told that it was refused.
    fn known(&self, history: &History) -> Result<(), Vec<String>> {
        let refused = |value: Written| {
            let mut all = history.sessions.iter().flatten().filter(|txn| txn.fate == Fate::Refused);
            all.any(|txn| txn.writes.iter().any(|write| write.value == value))
        };
        let mut wrong = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            for read in &node.txn.reads {
                for value in read.siblings.iter().chain(&read.visible) {
                    match self.writer.get(value) {
                        Some((_, row)) if *row == read.row => {}
                        Some((by, _)) => wrong.push(format!(
                            "{} read the value {value} in row {}, and {} wrote it to another one",
                            self.name(id),
                            read.row,
                            self.name(*by)
                        )),
                        None if refused(*value) => {
                            wrong.push(format!("{} read the value {value}, whose writer was refused", self.name(id)));
                        }
                        None => wrong.push(format!("{} read the value {value}, which nobody wrote", self.name(id))),
                    }
                }
            }
        }
        wrong.truncate(TOLD);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Who came right before a transaction: in its session, and those that it read from.
    pub(super) fn direct(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let node = &self.nodes[id];
        let read = node.txn.reads.iter().flat_map(|read| &read.siblings);
        node.before.into_iter().chain(read.filter_map(|value| Some(self.writer.get(value)?.0)))
    }

    /// Fills in the vectors, from the beginning on; what is left over goes round in a circle.
    fn walk(&mut self, chains: usize) -> Result<(), Vec<String>> {
        let edges: Vec<(Id, Id)> =
            (0..self.nodes.len()).flat_map(|to| self.direct(to).map(move |from| (from, to))).collect();
        let sorted = sorted(self.nodes.len(), &edges)
            .map_err(|circle| vec![format!("reads and sessions go round in a circle: {}", self.names(&circle))])?;
        self.past = vec![Vec::new(); self.nodes.len()];
        for id in sorted {
            let mut past = vec![0; chains];
            for from in self.direct(id) {
                for (mine, theirs) in past.iter_mut().zip(&self.past[from]) {
                    *mine = (*mine).max(*theirs);
                }
                let node = &self.nodes[from];
                past[node.chain] = past[node.chain].max(u32::try_from(node.at + 1).unwrap_or(u32::MAX));
            }
            self.past[id] = past;
        }
        Ok(())
    }

    /// Whether the first came before the second, by sessions and reads.
    pub(super) fn before(&self, first: Id, second: Id) -> bool {
        let node = &self.nodes[first];
        self.past[second][node.chain] as usize > node.at
    }

    /// The last of these, which are of one chain, that came before `id`.
    pub(super) fn last(&self, chain: usize, of: &[Id], id: Id) -> Option<Id> {
        let bound = self.past[id][chain] as usize;
        of[..of.partition_point(|one| self.nodes[*one].at < bound)].last().copied()
    }

    /// How many of those that have no answer took effect.
    pub(super) fn unknown_seen(&self) -> usize {
        self.nodes.iter().filter(|node| node.txn.fate == Fate::Unknown).count()
    }

    /// A transaction for people.
    pub(super) fn name(&self, id: Id) -> String {
        let node = &self.nodes[id];
        let (session, place) = node.name;
        let mut text = format!("session {session} #{place} [");
        for read in &node.txn.reads {
            let values: Vec<String> = read.siblings.iter().map(ToString::to_string).collect();
            text += &format!("r{}={} ", read.row, values.join("|"));
        }
        for write in &node.txn.writes {
            text += &format!("w{}:={} ", write.row, write.value);
        }
        text.trim_end().to_owned() + "]"
    }

    /// Several of them, each before the next.
    pub(super) fn names(&self, ids: &[Id]) -> String {
        ids.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(" < ")
    }
}

/// All values that somebody saw: in a look, by following a node, or in the end.
fn seen(history: &History, end: &BTreeMap<Row, Vec<Written>>) -> BTreeSet<Written> {
    let read = |txn: &Txn| txn.reads.iter().flat_map(|read| read.siblings.clone()).collect::<Vec<_>>();
    let told = history.watchers.iter().flatten().flat_map(|step| match step {
        Step::Txn(values) | Step::State(values) => values.iter().map(|(_, value)| *value),
    });
    let looks = history.sessions.iter().flatten().flat_map(read);
    looks.chain(told).chain(end.values().flatten().copied()).collect()
}

/// All of `0..n` with each edge's first before its second; or a circle.
pub(super) fn sorted(n: usize, edges: &[(Id, Id)]) -> Result<Vec<Id>, Vec<Id>> {
    let mut after: Vec<Vec<Id>> = vec![Vec::new(); n];
    let mut waits = vec![0_usize; n];
    for (from, to) in edges {
        after[*from].push(*to);
        waits[*to] += 1;
    }
    let mut sorted: Vec<Id> = (0..n).filter(|id| waits[*id] == 0).collect();
    let mut next = 0;
    while let Some(id) = sorted.get(next).copied() {
        next += 1;
        for to in &after[id] {
            waits[*to] -= 1;
            if waits[*to] == 0 {
                sorted.push(*to);
            }
        }
    }
    if sorted.len() == n { Ok(sorted) } else { Err(circle(edges, &waits)) }
}

/// One circle among those that still wait: each of them waits for another one of them.
fn circle(edges: &[(Id, Id)], waits: &[usize]) -> Vec<Id> {
    let mut before: BTreeMap<Id, Id> = BTreeMap::new();
    for (from, to) in edges {
        if waits[*from] > 0 && waits[*to] > 0 {
            before.entry(*to).or_insert(*from);
        }
    }
    let Some(start) = before.keys().next().copied() else { return Vec::new() };
    let (mut path, mut at) = (vec![start], start);
    while let Some(from) = before.get(&at).copied() {
        if let Some(place) = path.iter().position(|one| *one == from) {
            path.drain(..place);
            break;
        }
        path.push(from);
        at = from;
    }
    path.reverse();
    path
}
