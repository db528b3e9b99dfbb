//! What goes wrong: crashes, disks from yesterday, disks from somebody else, connections.

use std::collections::BTreeMap;

use syncline_sync::live::{Dot, Message, Node, Origin};

use super::disk::{Disk, Image};
use super::judge::{hub, id};
use super::{Failure, World, scopes};
use crate::oracle::{Loss, Violation};
use crate::sights::Sight;

impl World {
    pub(super) fn connect_some(&mut self, at: usize) -> Result<(), Failure> {
        let other = self.pick(self.machines.len());
        self.connect(at, other)
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> Result<(), Failure> {
        if a == b || self.net.is_up(a, b) || self.machines[a].node.is_none() || self.machines[b].node.is_none() {
            return Ok(());
        }
        self.tell(|| format!("{a} and {b} are connected"));
        self.net.set(a, b, true);
        for (at, other) in [(a, b), (b, a)] {
            let wants = self.machines[other].wants;
            if let Some(node) = &mut self.machines[at].node {
                match wants {
                    Some(wants) => node.connected_within(other as u64, scopes::scope(wants)),
                    None => node.connected(other as u64),
                }
                if node.renews() {
                    node.may_renew_from(other as u64);
                }
            }
            self.absorb(at, None)?;
        }
        Ok(())
    }

    pub(super) fn cut_some(&mut self) -> Result<(), Failure> {
        let (a, b) = (self.pick(self.machines.len()), self.pick(self.machines.len()));
        self.cut(a, b)
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) -> Result<(), Failure> {
        if a == b || !self.net.is_up(a, b) {
            return Ok(());
        }
        self.tell(|| format!("{a} and {b} are cut off from each other"));
        self.net.set(a, b, false);
        for (at, other) in [(a, b), (b, a)] {
            if let Some(node) = &mut self.machines[at].node {
                node.disconnected(other as u64);
            }
        }
        Ok(())
    }

    pub(super) fn deliver_some(&mut self) -> Result<(), Failure> {
        match self.net.some(&mut self.rng) {
            Some((from, to)) => self.deliver(from, to),
            None => Ok(()),
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        let Some(mut message) = self.net.take(from, to) else { return Ok(()) };
        let now = self.now(to);
        // As bytes now and then, which must say the same.
        if self.rng.below(16) == 0 {
            self.sights.saw(Sight::AsBytes);
            message = Message::decode(message.encode())?;
        }
        let Some(node) = &mut self.machines[to].node else { return Ok(()) };
        node.receive(now, from as u64, message);
        self.absorb(to, None)?;
        self.show_some(to)
    }

    /// A process dies. What its disk was not told to keep may be gone.
    pub(super) fn crash(&mut self, at: usize) -> Result<(), Failure> {
        let Some(node) = self.machines[at].node.take() else { return Ok(()) };
        self.judge.goes_back(at, &node)?;
        if node.durable_coverage() != *node.state().coverage() {
            self.sights.saw(Sight::WentBack);
        }
        (self.machines[at].folded, self.machines[at].merged) = (None, None);
        for other in 0..self.machines.len() {
            self.cut(at, other)?;
        }
        let at_risk = self.machines[at].disk.unsynced();
        let lost = self.machines[at].disk.crash()?;
        if lost > 0 {
            self.sights.saw(Sight::RecordsLost);
        } else if at_risk > 0 {
            self.sights.saw(Sight::RecordsKept);
        }
        self.tell(|| format!("{at} crashes and loses {lost} records"));
        Ok(())
    }

    pub(super) fn back_up(&mut self, at: usize) -> Result<(), Failure> {
        self.tell(|| format!("the disk of {at} is copied"));
        Ok(self.machines[at].back_up()?)
    }

    pub(super) fn start_some(&mut self, at: usize) -> Result<(), Failure> {
        if self.machines[at].node.is_some() { Ok(()) } else { self.start(at) }
    }

    pub(super) fn start(&mut self, at: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[at];
        let image = machine.disk.all()?;
        let node = machine.start(&mut self.decoded, &image)?;
        // Of what it wrote last, some may not have come through: nobody may have heard of it.
        self.judge.oracle.restarted(at);
        self.forget(at, &node)?;
        self.forget_strict(at, &node);
        let machine = &mut self.machines[at];
        if !machine.names.contains(&node.name()) {
            machine.names.push(node.name());
        }
        machine.names.sort_by_key(|name| *name == node.name());
        machine.node = Some(node);
        self.settle_role(at);
        self.tell(|| format!("{at} starts"));
        self.absorb(at, None)?;
        self.observe(at)
    }

    /// What a crash took.
    fn forget(&mut self, at: usize, node: &Node) -> Result<(), Failure> {
        let machine = &mut self.machines[at];
        for name in &machine.took {
            let kept = node.state().coverage().of(*name);
            self.judge.oracle.forget_stamps(hub(*name), kept, Loss::Crash)?;
        }
        for name in machine.names.clone() {
            let wrote = &self.machines[at].wrote;
            let Some(newest) = wrote.iter().rfind(|dot| dot.origin == name).copied() else { continue };
            let has = |dot: &Dot| node.has(dot);
            let survives = |dot: &&Dot| dot.origin == name && self.judge.any_name(dot, &has);
            let kept = wrote.iter().rfind(survives).copied();
            if kept != Some(newest) {
                self.forget_own(at, newest, kept)?;
            }
        }
        Ok(())
    }

    /// A crash took what a machine wrote under a name after `kept`. It is gone, unless somebody else wrote the very same: two
    /// copies of a disk may make one transaction, byte for byte.
    fn forget_own(&mut self, at: usize, newest: Dot, kept: Option<Dot>) -> Result<(), Failure> {
        let stays = |dot: &Dot| dot.origin != newest.origin || kept.is_some_and(|kept| dot.seq <= kept.seq);
        let (stay, lost): (Vec<Dot>, Vec<Dot>) = self.machines[at].wrote.iter().partition(|dot| stays(dot));
        self.machines[at].wrote = stay;
        let elsewhere = match lost.iter().any(|dot| self.judge.is_written_twice(dot)) {
            true => self.disks()?,
            false => Vec::new(),
        };
        let there = |dot: &Dot| self.judge.is_written_twice(dot) && self.is_there(&elsewhere, dot);
        let kept = lost.iter().rfind(|dot| self.judge.any_name(dot, &there)).copied().or(kept);
        if kept != Some(newest) {
            self.judge.unwrite(lost.iter().filter(|dot| kept.is_none_or(|kept| dot.seq > kept.seq)));
            self.judge.oracle.forget_chain(id(newest), kept.map(id), Loss::Crash)?;
        }
        Ok(())
    }

    /// The nodes that disks and their copies would give.
    fn disks(&mut self) -> Result<Vec<Node>, Failure> {
        let mut all: Vec<Node> = Vec::new();
        for machine in &mut self.machines {
            let (appended, durable) = (machine.disk.all()?, machine.disk.image()?);
            all.push(machine.node_of(&mut self.decoded, &appended)?);
            // What is being written again is not gone before that is durable.
            all.push(machine.node_of(&mut self.decoded, &durable)?);
            if let Some(backup) = machine.backup.clone() {
                all.push(machine.node_of(&mut self.decoded, &backup)?);
            }
        }
        Ok(all)
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.machines.iter().filter_map(|machine| machine.node.as_ref())
    }

    /// Whether a transaction is on one of these disks, in a node that runs, or in a message.
    fn is_there(&self, disks: &[Node], dot: &Dot) -> bool {
        disks.iter().chain(self.running()).any(|node| node.has(dot))
            || self.net.messages().any(|message| names_dot(message, dot))
    }

    /// A disk is replaced by an older copy of itself.
    pub(super) fn restore(&mut self, at: usize) -> Result<(), Failure> {
        if self.is_for_good(at) {
            return Ok(());
        }
        let Some(backup) = self.machines[at].backup.clone() else { return Ok(()) };
        self.tell(|| format!("{at} is restored from a backup"));
        self.sights.saw(Sight::Restored);
        self.replace(at, backup, at)
    }

    /// A disk is replaced by what another node's has now.
    pub(super) fn copy(&mut self, at: usize) -> Result<(), Failure> {
        let from = self.pick(self.machines.len());
        if from == at || self.is_for_good(at) {
            return Ok(());
        }
        self.tell(|| format!("{at} becomes a copy of {from}"));
        self.sights.saw(Sight::Copied);
        let image = self.machines[from].disk.image()?;
        self.replace(at, image, from)
    }

    /// Whether what a machine has given out is not to be lost: parts of it could not be given back.
    fn is_for_good(&self, at: usize) -> bool {
        self.profile.scopes && !self.machines[at].may_scope
    }

    fn replace(&mut self, at: usize, records: Image, from: usize) -> Result<(), Failure> {
        self.crash(at)?;
        let disk = Disk::new(&mut self.rng, &records)?;
        let machine = &mut self.machines[at];
        machine.disk = disk;
        machine.took.clear();
        let names = machine.names.clone();
        let image = machine.node_of(&mut self.decoded, &records)?;
        if at != from {
            self.machines[at].names = self.machines[from].names.clone();
            let ever = self.machines[from].ever.clone();
            let ours = &mut self.machines[at].ever;
            // Once each, in the order in which they were written: what a crash left is found from the end.
            let new: Vec<Dot> = ever.into_iter().filter(|dot| !ours.contains(dot)).collect();
            ours.extend(new);
        }
        for name in names.iter().chain(&self.machines[at].names) {
            self.judge.oracle.may_fork(hub(*name));
        }
        self.judge.oracle.restored(at);
        self.excuse()?;
        self.forget_disk()?;
        // A hub notices on its own that its disk is another one. Others may, or are told by whom they meet.
        self.machines[at].moved = image.is_hub() || self.rng.below(2) == 0;
        self.start_moved(at)
    }

    fn start_moved(&mut self, at: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[at];
        let image = machine.disk.all()?;
        let node = machine.start(&mut self.decoded, &image)?;
        machine.wrote = machine.ever.iter().copied().filter(|dot| node.has(dot)).collect();
        let name = node.name();
        if !node.has_outputs() && !machine.names.contains(&name) {
            machine.names.push(name);
        }
        machine.names.sort_by_key(|is| *is == name);
        machine.node = Some(node);
        self.settle_role(at);
        let outputs = self.machines[at].node.as_ref().is_some_and(Node::has_outputs);
        if outputs {
            self.absorb(at, None)?;
        }
        self.observe(at)
    }

    /// Transactions that are durable nowhere now may never be seen again, and nobody is to blame.
    fn excuse(&mut self) -> Result<(), Failure> {
        let mut disks: Vec<Node> = Vec::new();
        for machine in &mut self.machines {
            let image = machine.disk.image()?;
            disks.push(machine.node_of(&mut self.decoded, &image)?);
        }
        let written: Vec<Dot> = self.judge.written_ever().map(|(dot, _)| dot).collect();
        for dot in written.iter().filter(|dot| !disks.iter().any(|node| node.has(dot))) {
            match self.judge.oracle.lost(id(*dot)) {
                Ok(()) | Err(Violation::Forgotten { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// What no node, no message, no backup has at all is gone for good.
    fn forget_disk(&mut self) -> Result<(), Failure> {
        let all = self.disks()?;
        for name in &self.hubs {
            let in_nodes = all.iter().chain(self.running()).map(|node| node.appended().of(*name)).max();
            let kept = in_nodes.max(self.net.messages().map(|message| of_message(message, *name)).max());
            self.judge.oracle.forget_stamps(hub(*name), kept.unwrap_or_default(), Loss::Disk)?;
        }
        let there = |dot: &Dot| self.is_there(&all, dot);
        let before: BTreeMap<Dot, Option<Dot>> = self.judge.written_ever().collect();
        let gone: Vec<Dot> = before.keys().copied().filter(|dot| !self.judge.any_name(dot, &there)).collect();
        // The last of each branch, and the last before it that is still somewhere.
        let ends = gone.iter().filter(|dot| !gone.iter().any(|other| before[other] == Some(**dot)));
        for end in ends {
            let mut kept = before[end];
            while let Some(dot) = kept.filter(|dot| gone.contains(dot)) {
                kept = before[&dot];
            }
            match self.judge.oracle.forget_chain(id(*end), kept.map(id), Loss::Disk) {
                Ok(()) | Err(Violation::Forgotten { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        for machine in &mut self.machines {
            machine.wrote.retain(|dot| !gone.contains(dot));
        }
        self.judge.unwrite(gone.iter());
        Ok(())
    }
}

fn of_message(message: &Message, name: Origin) -> u64 {
    match message {
        Message::Entries { entries, .. } => {
            entries.iter().filter(|entry| entry.stamp.hub == name).map(|entry| entry.stamp.n).max().unwrap_or_default()
        }
        Message::Hello { coverage, .. } => coverage.of(name),
        Message::Close { closing, .. } => closing.coverage.of(name),
        _ => 0,
    }
}

fn names_dot(message: &Message, dot: &Dot) -> bool {
    match message {
        Message::Entries { entries, .. } => entries.iter().any(|entry| entry.txn.dot() == *dot),
        Message::Hello { newest, .. } => *newest == Some(*dot),
        Message::Push(txns, _) => txns.iter().any(|txn| txn.dot() == *dot),
        Message::Part { part, .. } => part.names(dot),
        Message::Known(known) | Message::Later(known) | Message::Refused(known) | Message::Denied(known, _) => {
            known == dot
        }
        Message::Close { .. } | Message::Here(_) | Message::Ask | Message::Heads(_) => false,
        Message::Offer(_) | Message::Lacks(_) => false,
    }
}
