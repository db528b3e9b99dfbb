//! Tells the oracle what happens, in its words.

use std::collections::{BTreeMap, BTreeSet};

use syncline_base::Hash;
use syncline_sync::live::{Coverage, Dot, Entry, Message, Node, Output, Record, Row, Tag, Txn, Zoo};

use super::clients::{Asked, row};
use super::scopes::held;
use super::{Failure, World};
use crate::oracle::{Audit, Claim, Oracle, Rows, Snapshot, Stamp, TxnId, Winner, Written};
use crate::profile::KEYS;
use crate::sights::Sight;

/// The oracle, and room for what it is told.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) oracle: Oracle,
    rows: Rows,
    coverage: Vec<(u128, u64)>,
    pending: Vec<TxnId>,
    clocks: BTreeMap<Dot, u64>,
    before: BTreeMap<Dot, Option<Dot>>,
    /// Written on two machines, byte for byte, or once more by one that had been rolled back.
    twice: BTreeSet<Dot>,
    /// What some hub has taken in.
    taken: BTreeSet<Dot>,
    /// What was written again, and as what.
    again: Vec<(Dot, Dot)>,
}

pub(super) fn id(dot: Dot) -> TxnId {
    TxnId { origin: u128::from_be_bytes(*dot.origin.as_bytes()), seq: dot.seq, tag: dot.tag.as_u64() }
}

fn stamp(is: syncline_sync::live::Stamp) -> Stamp {
    Stamp { hub: u128::from_be_bytes(*is.hub.as_bytes()), n: is.n }
}

pub(super) fn hub(name: syncline_sync::live::Origin) -> u128 {
    u128::from_be_bytes(*name.as_bytes())
}

fn prev(txn: &Txn) -> Option<Dot> {
    let body = txn.body();
    (body.prev != Tag::NONE).then(|| Dot { origin: body.origin, seq: body.seq - 1, tag: body.prev })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

fn of_coverage(coverage: &Coverage, into: &mut Vec<(u128, u64)>) {
    into.clear();
    into.extend(coverage.iter().map(|(name, n)| (hub(name), n)));
}

fn push(rows: &mut Rows, key: u32, row: &Row) {
    for sibling in row.siblings() {
        let stamps = sibling.stamps.iter().map(|is| stamp(*is));
        rows.push(key, id(sibling.dot), sibling.time.as_u64(), number(&sibling.value), stamps);
    }
}

impl Judge {
    pub(super) fn new(oracle: Oracle) -> Self {
        let (rows, coverage, pending) = (Rows::new(), Vec::new(), Vec::new());
        Self {
            oracle,
            rows,
            coverage,
            pending,
            clocks: BTreeMap::new(),
            before: BTreeMap::new(),
            twice: BTreeSet::new(),
            taken: BTreeSet::new(),
            again: Vec::new(),
        }
    }

    fn claim(&mut self, node: &Node) {
        of_coverage(node.state().coverage(), &mut self.coverage);
        self.pending.clear();
        self.pending.extend(node.state().pending().map(|txn| id(txn.dot())));
    }

    /// A node goes down: what it showed and had not made durable may be gone.
    pub(super) fn goes_back(&mut self, at: usize, node: &Node) -> Result<(), Failure> {
        of_coverage(&node.durable_coverage(), &mut self.coverage);
        Ok(self.oracle.may_go_back(at, &self.coverage)?)
    }

    pub(super) fn read(&mut self, at: usize, node: &Node) -> Result<Snapshot, Failure> {
        self.claim(node);
        Ok(self.oracle.read(at, Claim { coverage: &self.coverage, pending: &self.pending })?)
    }

    pub(super) fn observe(&mut self, at: usize, node: &Node) -> Result<(), Failure> {
        // What is on these disks can be read.
        if let Some(why) = node.trouble() {
            return Err(Failure::Unreadable(why.to_owned()));
        }
        self.claim(node);
        self.begin_rows(node);
        for (key, row) in node.state().rows() {
            push(&mut self.rows, u32::from(key.key[0]), &row);
        }
        let claim = Claim { coverage: &self.coverage, pending: &self.pending };
        Ok(self.oracle.observe(at, claim, &self.rows)?)
    }

    pub(super) fn view(&mut self, node: &Node) -> Result<(), Failure> {
        self.claim(node);
        self.begin_rows(node);
        for key in held(node).unwrap_or_else(|| (0..KEYS).collect()) {
            push(&mut self.rows, u32::from(key), &node.look(row(key)));
        }
        Ok(self.oracle.check_view(Claim { coverage: &self.coverage, pending: &self.pending }, &self.rows)?)
    }

    /// Whether the row is in conflict.
    pub(super) fn winner(&mut self, node: &Node, key: u8, zoo: Zoo) -> Result<bool, Failure> {
        self.claim(node);
        let view = node.look(row(key));
        let shown = view.visible(zoo).map(|sibling| Winner {
            id: id(sibling.dot),
            time: sibling.time.as_u64(),
            value: number(&sibling.value),
            conflict: view.is_in_conflict(),
        });
        let claim = Claim { coverage: &self.coverage, pending: &self.pending };
        self.oracle.check_winner(claim, u32::from(key), shown)?;
        Ok(view.is_in_conflict())
    }

    fn begin_rows(&mut self, node: &Node) {
        self.rows.clear();
        if let Some(held) = held(node) {
            self.rows.only(held.into_iter().map(u32::from));
        }
    }

    pub(super) fn root(&mut self, node: &Node) -> Result<(), Failure> {
        let scope = held(node).and_then(|held| held.first().copied()).map_or(0, |first| 1 + u64::from(first));
        self.root_within(node, scope, node.state().root())
    }

    /// What a node holds inside a scope, by number, hashes to this; 0 is everything.
    pub(super) fn root_within(&mut self, node: &Node, scope: u64, root: Hash) -> Result<(), Failure> {
        of_coverage(node.state().coverage(), &mut self.coverage);
        Ok(self.oracle.root_within(&self.coverage, scope, *root.as_bytes())?)
    }

    /// What a node builds on when it writes: what is on its way to the log, too, as it comes before in there.
    fn builds_on(&mut self, coverage: &Coverage, node: &Node, dot: Dot) {
        of_coverage(coverage, &mut self.coverage);
        self.pending.clear();
        self.pending.extend(node.waiting().map(|txn| txn.dot()).take_while(|before| *before != dot).map(id));
    }

    fn written(
        &mut self,
        at: usize,
        (coverage, node): (&Coverage, &Node),
        txn: &Txn,
        read: &Snapshot,
    ) -> Result<(), Failure> {
        self.clock(at, txn)?;
        self.before.insert(txn.dot(), prev(txn));
        self.builds_on(coverage, node, txn.dot());
        let write = |write: &syncline_sync::live::Write| {
            (u32::from(write.row.key[0]), write.value.as_ref().map(|value| number(value)))
        };
        let writes: Vec<_> = txn.body().writes.iter().map(write).collect();
        let written = Written {
            id: id(txn.dot()),
            prev: prev(txn).map(id),
            read,
            hlc: txn.body().hlc.as_u64(),
            writes: &writes,
            at: Claim { coverage: &self.coverage, pending: &self.pending },
        };
        Ok(self.oracle.written(&written)?)
    }

    fn rewritten(&mut self, old: Dot, txn: &Txn) -> Result<(), Failure> {
        let hlc = txn.body().hlc.as_u64();
        self.clocks.insert(txn.dot(), hlc);
        self.before.insert(txn.dot(), prev(txn));
        self.again.push((old, txn.dot()));
        Ok(self.oracle.rewritten(id(old), id(txn.dot()), prev(txn).map(id), hlc)?)
    }

    /// Whether something is so of a transaction under its name, or under one that it got later.
    pub(super) fn any_name(&self, dot: &Dot, is: &impl Fn(&Dot) -> bool) -> bool {
        is(dot) || self.again.iter().any(|(old, new)| old == dot && self.any_name(new, is))
    }

    /// These were lost before anybody heard of them: they may be written once more.
    pub(super) fn unwrite<'a>(&mut self, dots: impl Iterator<Item = &'a Dot>) {
        for dot in dots {
            self.clocks.remove(dot);
            self.twice.remove(dot);
        }
    }

    /// Whether it was written by two, so that it is not gone when one of them loses it.
    pub(super) fn is_written_twice(&self, dot: &Dot) -> bool {
        self.twice.contains(dot)
    }

    /// Every transaction that was written, and the one before it.
    pub(super) fn written_ever(&self) -> impl Iterator<Item = (Dot, Option<Dot>)> + '_ {
        self.before.iter().map(|(dot, before)| (*dot, *before))
    }

    fn clock(&mut self, at: usize, txn: &Txn) -> Result<(), Failure> {
        let hlc = txn.body().hlc.as_u64();
        if prev(txn).is_some_and(|prev| self.clocks.get(&prev).is_some_and(|before| *before >= hlc)) {
            return Err(Failure::ClockWentBack(at));
        }
        if self.clocks.insert(txn.dot(), hlc).is_some() {
            self.twice.insert(txn.dot());
        }
        Ok(())
    }

    fn stamped(&mut self, entry: &Entry) -> Result<(), Failure> {
        of_coverage(&entry.deps, &mut self.coverage);
        let id = id(entry.txn.dot());
        Ok(self.oracle.stamped(stamp(entry.stamp), id, entry.attested.as_u64(), &self.coverage)?)
    }

    fn sent(&mut self, at: usize, message: &Message) -> Result<(), Failure> {
        self.pending.clear();
        self.coverage.clear();
        match message {
            Message::Hello { coverage, newest, .. } => {
                of_coverage(coverage, &mut self.coverage);
                self.pending.extend(newest.map(id));
            }
            Message::Entries { entries, .. } => {
                for Stamp { hub, n } in entries.iter().map(|entry| stamp(entry.stamp)) {
                    match self.coverage.iter_mut().find(|(is, _)| *is == hub) {
                        Some((_, most)) => *most = n.max(*most),
                        None => self.coverage.push((hub, n)),
                    }
                }
            }
            Message::Push(txns, _) => self.pending.extend(txns.iter().map(|txn| id(txn.dot()))),
            Message::Close { closing, .. } => of_coverage(&closing.coverage, &mut self.coverage),
            // Of parts nothing counts before they are closed.
            Message::Part { .. } | Message::Ask | Message::Known(_) | Message::Here(_) | Message::Later(_) => {
                return Ok(());
            }
            Message::Refused(_) | Message::Denied(..) | Message::Heads(_) => return Ok(()),
            Message::Offer(_) | Message::Lacks(_) => return Ok(()),
        }
        Ok(self.oracle.sent(at, Claim { coverage: &self.coverage, pending: &self.pending })?)
    }
}

impl World {
    pub(super) fn judge_output(&mut self, at: usize, output: &Output, asked: Option<&Asked>) -> Result<(), Failure> {
        let machine = &mut self.machines[at];
        let Some(node) = &machine.node else { return Ok(()) };
        match output {
            Output::Append(Record::Own(txn)) => match asked {
                Some(asked) => self.judge.written(at, (node.appended(), node), txn, &asked.read),
                None => Err(Failure::WrittenByMachine(at)),
            },
            // The node made it: nobody else counts under its name.
            Output::Append(Record::Entry(entry)) if machine.names.last() == Some(&entry.stamp.hub) => {
                if entry.txn.dot().origin == entry.stamp.hub && !self.judge.clocks.contains_key(&entry.txn.dot()) {
                    let asked = asked.ok_or(Failure::WrittenByMachine(at))?;
                    self.judge.written(at, (&entry.deps, node), &entry.txn, &asked.read)?;
                }
                if !machine.took.contains(&entry.stamp.hub) {
                    machine.took.push(entry.stamp.hub);
                }
                if !self.hubs.contains(&entry.stamp.hub) {
                    self.hubs.push(entry.stamp.hub);
                }
                if !self.judge.taken.insert(entry.txn.dot()) {
                    self.sights.saw(Sight::SecondStamp);
                }
                self.judge.stamped(entry)
            }
            Output::Append(Record::Rewritten(rewritten)) => {
                for (old, txn) in rewritten.refused.iter().zip(&rewritten.again) {
                    self.judge.rewritten(*old, txn)?;
                    machine.note(txn.dot());
                }
                Ok(())
            }
            Output::Send(_, message) => self.judge.sent(at, message),
            Output::Committed(_, dot) => Ok(self.judge.oracle.acknowledged(id(*dot))?),
            Output::Append(_) | Output::Renamed(_) | Output::Rewritten(_) => Ok(()),
            Output::Denied(..) | Output::Doubted(..) | Output::Contradicted(..) => Ok(()),
        }
    }

    pub(super) fn observe(&mut self, at: usize) -> Result<(), Failure> {
        match &self.machines[at].node {
            Some(node) if !node.renews() => self.judge.observe(at, node),
            _ => Ok(()),
        }
    }

    /// The books are closed: one state everywhere, and the fate of every acknowledged write.
    pub(super) fn close(&mut self) -> Result<Audit, Failure> {
        let mut all: Vec<(Vec<(u128, u64)>, Rows)> = Vec::new();
        for at in 0..self.machines.len() {
            let Some(node) = &self.machines[at].node else { continue };
            self.judge.observe(at, node)?;
            self.judge.view(node)?;
            self.judge.root(node)?;
            self.judge_parts(at)?;
            let Some(node) = &self.machines[at].node else { continue };
            for key in held(node).unwrap_or_else(|| (0..KEYS).collect()) {
                self.judge.winner(node, key, self.zoo)?;
            }
            self.judge.observe(at, node)?;
            all.push((self.judge.coverage.clone(), self.judge.rows.clone()));
        }
        let nodes: Vec<_> = all.iter().map(|(coverage, rows)| (Claim { coverage, pending: &[] }, rows)).collect();
        Ok(self.judge.oracle.fates(&nodes)?)
    }
}
