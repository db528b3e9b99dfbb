//! The end of a run: the world heals, has a bounded time to agree, and every node is what its disk says.
//!
//! Not here: the fate of what was written, which the oracle knows.

use syncline_sync::live::{Chain, Node, State};

use super::machine::Machine;
use super::{Failure, Unfinished, World};
use crate::oracle::Audit;
use crate::sights::Sight;

/// Rounds in which a healed world must have become quiet, and for how many steps there is one more: windows may be as small as a row.
/// In each everything arrives, every disk syncs, and time passes once: not at all when connections lost nothing.
const ROUNDS: usize = 40;
const STEPS_A_ROUND: usize = 1;
/// The most messages in one round, in which nothing becomes durable.
const MESSAGES: usize = 100_000;

impl World {
    /// Everything runs, everybody is connected; then there is a bounded time to agree.
    pub(super) fn heal(&mut self) -> Result<Audit, Failure> {
        self.tell(|| "the world heals".to_owned());
        for at in 0..self.machines.len() {
            self.machines[at].disk.heal();
            if self.machines[at].node.is_none() {
                self.start(at)?;
            }
        }
        if self.machines.iter().all(|machine| machine.node.as_ref().is_some_and(|node| !node.is_hub())) {
            self.change_role(0)?;
        }
        self.connect_all()?;
        // Ticks make up for what connections lose: who lost nothing gets along without. But for who holds a part and was put off by a hub that
        // had less: it sends that nothing, so it does not hear when that has more.
        // And for who takes rows anew and dropped meanwhile what others sent.
        let ticks = self.net.is_unreliable() || self.profile.scopes || self.sights.of(Sight::Rotten) > 0;
        // Who holds a part is sent a whole state, maybe row by row, when hubs have come together: that takes as long once more.
        let rounds = (ROUNDS + self.profile.steps / STEPS_A_ROUND) * (1 + usize::from(self.profile.scopes));
        let mut anew = false;
        for round in 0..rounds {
            if round == rounds / 2 {
                self.give_up_damaged()?;
            }
            let mut messages = 0;
            while let Some((from, to)) = self.net.any() {
                self.deliver(from, to)?;
                messages += 1;
                if messages > MESSAGES {
                    let (unfinished, standing) = (Unfinished::Busy, self.standing());
                    return Err(Failure::NeverQuiet { rounds, ticks, unfinished, standing });
                }
            }
            for at in 0..self.machines.len() {
                self.sync_all(at)?;
                if ticks {
                    self.tick(at)?;
                }
            }
            if self.unfinished().is_none() {
                // A head that came before what it is of is not kept: it comes again with the next connection.
                match self.attested() {
                    Err(_) if !anew => {
                        anew = true;
                        self.connect_anew()?;
                        continue;
                    }
                    attested => attested?,
                }
                self.reopen()?;
                self.close_strict()?;
                return self.close();
            }
        }
        let unfinished = self.unfinished().unwrap_or(Unfinished::Busy);
        Err(Failure::NeverQuiet { rounds, ticks, unfinished, standing: self.standing() })
    }

    fn connect_all(&mut self) -> Result<(), Failure> {
        for at in 0..self.machines.len() {
            for other in 0..at {
                self.connect(at, other)?;
            }
        }
        Ok(())
    }

    fn connect_anew(&mut self) -> Result<(), Failure> {
        for at in 0..self.machines.len() {
            for other in 0..at {
                self.cut(at, other)?;
            }
        }
        self.connect_all()
    }

    /// A machine with damaged rows that nobody else has all of is left with what its own log gives.
    fn give_up_damaged(&mut self) -> Result<(), Failure> {
        for at in 0..self.machines.len() {
            let Some(node) = self.machines[at].node.as_ref().filter(|node| node.renews()) else { continue };
            let has = |other: &Machine| {
                let whole = other.node.as_ref().filter(|other| !other.renews() && other.scope().is_empty());
                whole.is_some_and(|other| other.state().coverage().includes(node.appended()))
            };
            if !self.machines.iter().any(has) {
                self.crash(at)?;
                self.start(at)?;
                self.connect_all()?;
            }
        }
        Ok(())
    }

    fn unfinished(&self) -> Option<Unfinished> {
        let mut states = self.machines.iter().map(|machine| machine.node.as_ref().map(Node::state));
        let first = self.machines[0].node.as_ref().map(|node| node.state().coverage());
        if states.clone().any(|state| state.map(State::coverage) != first) {
            Some(Unfinished::Coverage)
        } else if states.any(|state| state.is_some_and(|state| state.pending().len() > 0)) {
            Some(Unfinished::Waiting)
        } else {
            let busy = |machine: &Machine| machine.disk.unsynced() > 0 || machine.renews();
            (self.net.any().is_some() || self.machines.iter().any(busy)).then_some(Unfinished::Busy)
        }
    }

    fn standing(&self) -> String {
        let of = |machine: &Machine| {
            let state = machine.node.as_ref().map(|node| node.state());
            let hub = machine.node.as_ref().is_some_and(|node| node.is_hub());
            let waiting = |state: &State| state.pending().cloned().collect::<Vec<_>>();
            state
                .map(|state| format!("hub {hub} {:?} + waiting {:?}", state.coverage(), waiting(state)))
                .unwrap_or_default()
        };
        self.machines.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// Everybody has signed what it can under its name, and hubs have it. What was signed under a name that is given up may be unknown to who
    /// was told of a later transaction in a state; and of two histories of one name each hub has the one that came first there.
    fn attested(&self) -> Result<(), Failure> {
        let nodes = || self.machines.iter().enumerate().filter_map(|(at, machine)| Some((at, machine.node.as_ref()?)));
        if let Some((at, node)) = nodes().find(|(_, node)| !node.unsigned().is_empty()) {
            return Err(Failure::Unattested(at, format!("not signed by itself: {:?}", node.unsigned())));
        }
        let chain =
            |node: &Node, name| node.origins().find(|(origin, _)| *origin == name).map(|(_, chain)| chain.clone());
        let signed = |chain: Option<&Chain>| chain.and_then(Chain::signed).map_or(0, |head| head.seq());
        for (_, node) in nodes() {
            let own = chain(node, node.name());
            for (at, hub) in nodes().filter(|(_, node)| node.is_hub()) {
                let there = chain(hub, node.name());
                let frozen = own.iter().chain(&there).any(Chain::is_frozen);
                let (here, there) = (signed(own.as_ref()), signed(there.as_ref()));
                if here > there && !frozen {
                    return Err(Failure::Unattested(at, format!("{there} of {} and not {here}", node.name())));
                }
            }
        }
        Ok(())
    }

    /// Who is started from a disk now is who runs on it: nothing is in memory alone.
    fn reopen(&mut self) -> Result<(), Failure> {
        for (at, machine) in self.machines.iter_mut().enumerate() {
            let image = machine.disk.all()?;
            let again = machine.node_of(&mut self.decoded, &image)?;
            if let Some((what, both)) = machine.node.as_ref().and_then(|node| difference(node, &again)) {
                return Err(Failure::Reopened(at, what, both));
            }
        }
        Ok(())
    }
}

/// In what two nodes that should be one differ. Their clocks may: what a node was told of the time is not in its log.
fn difference(node: &Node, again: &Node) -> Option<(&'static str, String)> {
    let (Some(is), Some(was)) = (node.holds(), again.holds()) else {
        return Some(("records on their way to the log", "all are durable".to_owned()));
    };
    let (now, then) = (is.closing(), was.closing());
    let fields = [
        ("names", (now.name, now.hub) == (then.name, then.hub)),
        ("newest transactions", now.own == then.own),
        ("coverage", is.snapshot().coverage == was.snapshot().coverage),
        ("rows", is.snapshot().rows == was.snapshot().rows),
        ("scopes", is.scope() == was.scope()),
        ("known transactions", is.snapshot().chains == was.snapshot().chains),
        ("waiting transactions", is.waiting() == was.waiting()),
    ];
    let (what, _) = fields.into_iter().find(|(_, same)| !same)?;
    Some((what, format!("{is:?} and {was:?}")))
}
