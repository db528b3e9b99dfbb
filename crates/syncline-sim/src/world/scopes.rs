//! Spokes that hold a part of the rows, and change their minds about which.
//!
//! In some worlds some machines that begin as spokes are such. They are never hubs, and only their disks are replaced by older or others':
//! what a hub has given out and lost for good, a part of the rows cannot give back.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use syncline_sync::live::{Node, RowKey, Scope};

use super::clients::row;
use super::{Failure, World};
use crate::profile::KEYS;

/// The rows with even numbers, or with odd ones.
#[derive(Debug)]
struct Parity(Bytes);

impl Scope for Parity {
    fn id(&self) -> &Bytes {
        &self.0
    }

    fn includes(&self, row: &RowKey) -> bool {
        row.key[0] % 2 == self.0[0] % 2
    }
}

/// The scopes that there are.
fn scopes() -> &'static [Arc<Parity>; 2] {
    static SCOPES: LazyLock<[Arc<Parity>; 2]> =
        LazyLock::new(|| [b"0", b"1"].map(|id| Arc::new(Parity(Bytes::from_static(id)))));
    &SCOPES
}

/// A scope by its number.
pub(super) fn scope(at: usize) -> Arc<dyn Scope> {
    scopes()[at % 2].clone()
}

/// The rows that a node holds; `None` when it holds all.
pub(super) fn held(node: &Node) -> Option<Vec<u8>> {
    let scope = scopes().iter().find(|scope| scope.id() == node.scope())?;
    Some((0..KEYS).filter(|key| scope.includes(row(*key))).collect())
}

impl World {
    /// A machine that may hold a part wants another one, or everything.
    pub(super) fn change_scope(&mut self, at: usize) -> Result<(), Failure> {
        let wants = [None, Some(0), Some(1)][self.pick(3)];
        let machine = &mut self.machines[at];
        if !machine.may_scope || wants == machine.wants {
            return Ok(());
        }
        machine.wants = wants;
        self.tell(|| format!("{at} wants {wants:?} from now on"));
        for other in 0..self.machines.len() {
            self.cut(at, other)?;
        }
        Ok(())
    }

    /// A node on a disk that was a hub's is none here.
    pub(super) fn settle_role(&mut self, at: usize) {
        let (now, machine) = (self.now(at), &mut self.machines[at]);
        if let Some(node) = machine.node.as_mut().filter(|node| machine.may_scope && node.is_hub()) {
            node.set_hub(now, false);
        }
    }

    /// What two nodes that cover the same hold inside the scopes that there are hashes to the same, whoever holds more than that.
    pub(super) fn judge_parts(&mut self, at: usize) -> Result<(), Failure> {
        let Some(node) = self.machines[at].node.as_ref().filter(|node| node.scope().is_empty()) else { return Ok(()) };
        for scope in 0..2 {
            let root = node.state().frozen().digest_within(&*self::scope(scope)).root;
            self.judge.root_within(node, 1 + scope as u64, root)?;
        }
        Ok(())
    }
}
