//! Rows of a strict table: of what clients read anywhere and ask for later, the first machine lets in what is so still.
//!
//! In some worlds the first two rows are of such a table, and nobody writes them otherwise. Requests come late, in any order, or never. The first
//! machine certifies for as long as it is the hub that it was in the beginning: a disk of yesterday, or another role, and it does so no more.
//!
//! What is right is said in stamps: no transaction that was let in was stamped after what another one had read, and before it, and wrote a row that
//! this one had read or writes.

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_sync::live::{Context, Node, Origin, RowKey, Write};

use super::clients::{Asked, row};
use super::{Failure, World, scopes};
use crate::oracle::Snapshot;
use crate::sights::Sight;

/// The strict rows.
pub(super) const ROWS: u8 = 2;
/// So many requests are on their way at the most.
const REQUESTS: usize = 8;

/// Who lets transactions in, and what it has let in.
#[derive(Debug)]
pub(super) struct Strict {
    /// Chance of its own: what else a seed does is as it was without strict tables.
    rng: Rng,
    name: Option<Origin>,
    requests: Vec<Request>,
    /// Stamps of transactions that were let in, with the rows that they wrote.
    accepted: Vec<(u64, Vec<u8>)>,
}

/// What somebody has read, and wants written.
#[derive(Debug)]
struct Request {
    read: (Context, Snapshot),
    reads: Vec<u8>,
    writes: Vec<u8>,
    whole: bool,
}

impl Strict {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::from_seed(seed ^ 0x7374_7263), name: None, requests: Vec::new(), accepted: Vec::new() }
    }

    /// Some of the rows, one at least.
    fn draw(&mut self) -> Vec<u8> {
        let first = self.rng.below(u64::from(ROWS)) as u8;
        if self.rng.below(2) == 0 { (0..ROWS).collect() } else { vec![first] }
    }
}

impl World {
    /// A client reads and asks, or a request comes to the certifier.
    pub(super) fn certify_some(&mut self) -> Result<(), Failure> {
        if self.strict.name.is_none() {
            self.strict.name = self.machines[0].node.as_ref().map(Node::name);
        }
        match self.strict.rng.below(8) {
            0 | 1 => self.request(),
            2..5 => self.certify(),
            _ => Ok(()),
        }
    }

    fn request(&mut self) -> Result<(), Failure> {
        let at = self.strict.rng.below(self.machines.len() as u64) as usize;
        let Some(node) = self.machines[at].node.as_ref().filter(|node| !node.renews()) else { return Ok(()) };
        // Who holds a part has not seen what it was not shown.
        if scopes::held(node).is_some() || self.strict.requests.len() >= REQUESTS {
            return Ok(());
        }
        let read = (node.context(), self.judge.read(at, node)?);
        let (reads, writes) = (self.strict.draw(), self.strict.draw());
        let whole = self.strict.rng.below(4) == 0;
        self.tell(|| {
            format!("a client has read rows {reads:?} at {at}, all of them {whole}, and asks to write {writes:?}")
        });
        self.strict.requests.push(Request { read, reads, writes, whole });
        Ok(())
    }

    fn certify(&mut self) -> Result<(), Failure> {
        let now = self.now(0);
        let (Some(name), false) = (self.strict.name, self.strict.requests.is_empty()) else { return Ok(()) };
        let nth = self.strict.rng.below(self.strict.requests.len() as u64) as usize;
        let Some(node) = &self.machines[0].node else { return Ok(()) };
        if !node.is_hub() || node.name() != name || node.waiting().next().is_some() {
            return Ok(());
        }
        let request = self.strict.requests.swap_remove(nth);
        let touched: Vec<u8> = match request.whole {
            true => (0..ROWS).collect(),
            false => (0..ROWS).filter(|key| request.reads.contains(key) || request.writes.contains(key)).collect(),
        };
        let (context, read) = &request.read;
        if !node.shows(context) || touched.iter().any(|key| node.is_in_flight(row(*key))) {
            // It comes again.
            self.strict.requests.push(request);
            return Ok(());
        }
        let rows: Vec<&RowKey> = request.reads.iter().chain(&request.writes).map(|key| row(*key)).collect();
        let table: Option<&Arc<str>> = request.whole.then(|| &row(0).table);
        if let Err(clash) = node.certify(context, rows, table) {
            self.sights.saw(Sight::Uncertified);
            self.tell(|| format!("it is not let in: {clash:?}"));
            return Ok(());
        }
        let ticket = self.next_value;
        let writes = self.draw_strict(&request.writes);
        let Some(node) = &mut self.machines[0].node else { return Ok(()) };
        let Ok(dot) = node.commit(now, ticket, context.clone(), writes) else { return self.absorb(0, None) };
        let n = node.appended().of(name);
        self.sights.saw(Sight::Certified);
        self.tell(|| format!("{dot:?} is let in, after {context:?}"));
        self.machines[0].note(dot);
        let had = context.seen.of(name);
        let lost = |(stamp, wrote): &&(u64, Vec<u8>)| *stamp > had && wrote.iter().any(|key| touched.contains(key));
        if let Some((lost, _)) = self.strict.accepted.iter().find(lost) {
            return Err(Failure::LostUpdate(*lost, n));
        }
        self.strict.accepted.push((n, request.writes));
        self.absorb(0, Some(&Asked { read: read.clone() }))
    }

    fn draw_strict(&mut self, keys: &[u8]) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in keys {
            let deletes = self.strict.rng.below(4) == 0;
            self.next_value += 1;
            let value = (!deletes).then(|| Bytes::copy_from_slice(&self.next_value.to_le_bytes()));
            writes.push(Write { row: row(*key).clone(), value });
        }
        writes
    }

    /// What a crash took was never let in.
    pub(super) fn forget_strict(&mut self, at: usize, node: &Node) {
        if let Some(name) = self.strict.name.filter(|_| at == 0) {
            let kept = node.state().coverage().of(name);
            self.strict.accepted.retain(|(n, _)| *n <= kept);
        }
    }

    /// In the end a strict row has no siblings, if the certifier was one all the time.
    pub(super) fn close_strict(&self) -> Result<(), Failure> {
        let only = self.strict.name.is_some_and(|name| self.machines[0].names == [name]);
        let conflict = |node: &Node| (0..ROWS).any(|key| node.look(row(key)).siblings().len() > 1);
        match self.machines.iter().filter_map(|machine| machine.node.as_ref()).find(|node| conflict(node)) {
            Some(_) if only => Err(Failure::StrictConflict),
            _ => Ok(()),
        }
    }
}
