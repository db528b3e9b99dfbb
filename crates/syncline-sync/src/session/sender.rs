//! The side that sends objects.
//!
//! Works off a stack of tasks, so that memory is bounded by the height of the trees times the size of a batch and not by
//! what there is to send. Objects go out after everything they refer to.
//!
//! State: which addresses the receiver is known to have: the last ones, see [`crate::seen`]. Once some were forgotten the
//! receiver is asked again before anything is sent. Nothing is written.

mod compare;
mod delta;
mod walk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::hash::{IdMap, IdSet};
use syncline_store::Store;
use syncline_tree::walk::ObjectKind;
use syncline_tree::{Commit, DatasetRoot, GivenUp, TableRef, TreeName};

use super::{Local, Moved, Part, PushRequest, Pushed, Served, Session, TAGS, unexpected};
use crate::error::{Error, Result};
use crate::graph;
use crate::history::{self, Ours, Plan, Theirs};
use crate::seen::Seen;
use crate::squeeze;
use crate::wire::{self, Left, Message, Move, Step, Want, Welcome};

/// An object and what it is.
type Item = (Hash, ObjectKind);

/// What there is to do, the next thing on top.
enum Task {
    /// Ask which of these the receiver lacks (or take it that it lacks all), and open those.
    Ask { items: Vec<Item>, ask: bool },
    /// Send what these refer to, then these.
    Open { items: Vec<Item>, ask: bool },
    /// Send these: everything they refer to has been sent.
    Send { items: Vec<Item> },
    /// Let the receiver compare these trees with what it has.
    Propose { trees: Vec<(TreeName, TableRef)> },
    /// Send the row delta of a tree.
    Delta { tree: String, frames: VecDeque<Bytes> },
    /// Send the records of the commits that are given up here, from this one on.
    Past(usize),
    /// Begin the commit of this number.
    Commit(usize),
    /// Send the commit of this number: everything under it has been sent.
    Step(usize),
    /// Say that it was all.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A client waits for the server's first message.
    Welcome,
    /// Waits for older commits of the receiver.
    Haves,
    Stream,
    /// All is said.
    Finished,
    Over,
}

/// What is sent for.
enum Purpose {
    /// We are the server and are pulled from.
    Pull,
    /// We are the client and push.
    Push { request: PushRequest, refs: Vec<Moved>, left: Vec<Left> },
}

/// The sending side.
pub struct Sender {
    store: Store,
    purpose: Purpose,
    phase: Phase,
    scope: Option<BTreeSet<TreeName>>,
    /// The file tree goes without the contents of files.
    outline: bool,
    /// What is here, when that is not everything.
    part: Option<Part>,
    depth: Option<u32>,
    /// Commits whose data is not here any more.
    gone: GivenUp,
    /// Commits that came here without all of their parents.
    shallow: IdSet,
    /// Whatever a tag here leads to can be sent with all of its history.
    complete: bool,
    /// Commits that the receiver lacks although it has some that follow from them.
    lacks: IdSet,
    wants: Vec<Hash>,
    /// The receiver has nothing: nothing needs to be asked, and nothing is sent as a delta.
    empty: bool,
    plan: Plan,
    /// The place of each commit in the plan.
    position: IdMap<usize>,
    /// What the receiver has.
    sent: Seen,
    /// Steps that are sent as objects because their delta gave something else.
    redone: BTreeSet<usize>,
    stack: Vec<Task>,
    /// What the receiver was asked about.
    asked: Option<Vec<Item>>,
    /// Trees that the receiver compares with what it has.
    proposed: Option<Vec<(TreeName, TableRef)>>,
    outbox: VecDeque<Message>,
    objects: u64,
    bytes: u64,
    deltas: u64,
    /// About the length of the longest objects that were sent lately, or 0.
    longest: usize,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("phase", &self.phase).field("objects", &self.objects).finish_non_exhaustive()
    }
}

impl Sender {
    /// The client's side of a push.
    ///
    /// # Errors
    /// `Invalid` for a request without moves.
    pub fn push(local: &dyn Local, request: PushRequest) -> Result<Self> {
        if request.moves.is_empty() {
            return Err(Error::Invalid("nothing to push: name a branch or a tag".into()));
        }
        let moves = request.moves.iter().map(|step| Move {
            name: step.name.clone(),
            expected: step.expected,
            target: step.target,
            flags: (if step.force { wire::FORCE } else { 0 })
                | (if step.allow_mass_delete { wire::MASS_DELETE } else { 0 })
                | (if step.only_new { wire::NEW } else { 0 }),
        });
        let hello = Message::Hello { version: wire::VERSION, want: Want::Push { moves: moves.collect() } };
        let wants = request.moves.iter().filter(|step| !step.only_new).filter_map(|step| step.target).collect();
        let mut this = Self::new(local, Purpose::Push { request, refs: Vec::new(), left: Vec::new() }, wants)?;
        this.complete = this.part.is_none() && this.gone.is_empty() && this.shallow.is_empty();
        // A tree that is not here is as it was in a version that the peer has: nobody can have changed it here.
        this.scope = this.part.as_ref().and_then(Part::trees);
        this.phase = Phase::Welcome;
        this.outbox.push_back(hello);
        Ok(this)
    }

    /// The server's side of a pull.
    pub(super) fn pull(local: &dyn Local, want: Want) -> Result<Self> {
        let Want::Pull { refs: names, tables, depth, heads, lacks, empty, outline, follow } = want else {
            return Err(Error::protocol("hello", "it is not a pull"));
        };
        let all = local.refs()?;
        let mut refs = Vec::new();
        let follow = follow && names.is_empty();
        if names.is_empty() {
            refs = all;
        } else {
            let by_name: BTreeMap<String, Hash> = all.into_iter().collect();
            for name in names {
                let Some(id) = by_name.get(&name) else {
                    let there: Vec<_> = by_name.keys().take(10).cloned().collect();
                    return Err(Error::NotFound(format!("there is no {name} here; there is {there:?}")));
                };
                refs.push((name, *id));
            }
        }
        if refs.len() > wire::MAX_NAMES {
            return Err(Error::Invalid(format!("{} refs are more than one session takes: name some", refs.len())));
        }
        let wanted = refs.iter().filter(|(name, _)| !(follow && name.starts_with(TAGS))).map(|(_, id)| *id);
        let mut this = Self::new(local, Purpose::Pull, wanted.collect())?;
        this.outline = outline;
        if let Some(tables) = tables {
            this.scope = Some(tables.iter().map(|name| graph::tree_of_text(name)).collect::<Result<_>>()?);
        }
        this.check_part()?;
        this.depth = Some(depth).filter(|depth| *depth > 0);
        let head = local.head()?.unwrap_or_default();
        this.outbox.push_back(Message::Welcome(Welcome { refs, head, ..Welcome::default() }));
        this.lacks = lacks.into_iter().collect();
        this.begin(&heads, empty)?;
        Ok(this)
    }

    fn new(local: &dyn Local, purpose: Purpose, wants: Vec<Hash>) -> Result<Self> {
        Ok(Self {
            store: local.store().clone(),
            purpose,
            phase: Phase::Stream,
            scope: None,
            outline: false,
            part: local.part()?,
            depth: None,
            gone: local.given_up()?,
            shallow: local.shallow()?.into_iter().collect(),
            complete: false,
            lacks: IdSet::default(),
            wants,
            empty: false,
            plan: Plan::default(),
            position: IdMap::default(),
            sent: Seen::default(),
            redone: BTreeSet::new(),
            stack: Vec::new(),
            asked: None,
            proposed: None,
            outbox: VecDeque::new(),
            objects: 0,
            longest: 0,
            bytes: 0,
            deltas: 0,
        })
    }

    /// Refuses to send what is not here.
    fn check_part(&self) -> Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        let trees_are_here = match (part.trees(), &self.scope) {
            (None, _) => true,
            (Some(here), Some(wanted)) => wanted.is_subset(&here),
            (Some(_), None) => false,
        };
        let files_wanted = self.scope.as_ref().is_none_or(|wanted| wanted.contains(&TreeName::Files));
        if trees_are_here && (self.outline || !part.outline || !files_wanted) {
            return Ok(());
        }
        Err(Error::Invalid(
            "the replica there holds only a part of the dataset, and more than that part was asked for: use the one that \
             it was cloned from"
                .into(),
        ))
    }

    /// Says what a missing object means where objects may be missing.
    fn explain(&self, error: Error) -> Error {
        if self.part.is_none() || error.kind() != syncline_base::Kind::NotFound {
            return error;
        }
        Error::NotFound(format!(
            "the other side lacks something that this replica does not hold either, because it holds only a part of the \
             dataset: exchange with the one that it was cloned from ({error})"
        ))
    }

    /// Remembers at most twice so many addresses of leaves, lists and chunks instead of the usual 400,000.
    #[must_use]
    pub fn remembering(mut self, addresses: usize) -> Self {
        self.sent = Seen::with(addresses);
        self
    }

    /// What the push did, once it is over.
    #[must_use]
    pub fn pushed(&self) -> Option<Pushed> {
        let Purpose::Push { refs, left, .. } = &self.purpose else { return None };
        (self.phase == Phase::Over).then(|| Pushed {
            refs: refs.clone(),
            left: left.clone(),
            commits: self.plan.commits.len() as u64,
            objects: self.objects,
            deltas: self.deltas,
        })
    }

    /// What was served, once it is over.
    pub(super) fn served(&self) -> Option<Served> {
        (self.phase == Phase::Over)
            .then_some(Served::Pulled { commits: self.plan.commits.len() as u64, objects: self.objects })
    }

    /// Finds out what is missing, now that some of the receiver's commits are known.
    fn begin(&mut self, heads: &[Hash], empty: bool) -> Result<()> {
        let theirs = Theirs { heads, lacks: &self.lacks };
        let ours = Ours { store: &self.store, shallow: &self.shallow };
        self.plan = history::plan(ours, &self.wants, theirs, self.depth, &mut self.gone)?;
        self.position = self.plan.commits.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        self.empty = empty;
        if self.plan.common.is_empty()
            && !heads.is_empty()
            && !self.plan.commits.is_empty()
            && self.phase != Phase::Haves
        {
            self.phase = Phase::Haves;
            self.outbox.push_back(Message::AskHaves);
            return Ok(());
        }
        self.phase = Phase::Stream;
        if !self.plan.commits.is_empty() {
            self.outbox.push_back(Message::Plan { commits: self.plan.commits.len() as u64 });
        }
        self.stack.push(Task::Commit(0));
        self.stack.push(Task::Past(0));
        Ok(())
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<()> {
        let Purpose::Push { request, refs, .. } = &mut self.purpose else {
            return Err(unexpected(&Message::Welcome(Welcome::default()), "being pulled from"));
        };
        let there: BTreeMap<&str, Hash> = welcome.refs.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        for step in &request.moves {
            let old = there.get(step.name.as_str()).copied();
            if step.only_new {
                // Nothing is sent for a tag that the receiver has, wherever it is.
                if let (None, Some(target)) = (old, step.target) {
                    refs.push(Moved { name: step.name.clone(), old, new: step.target });
                    self.wants.extend(Some(target).filter(|_| self.complete));
                }
                continue;
            }
            // The server refuses this too, but only after everything has been sent.
            if let (Some(old), Some(new), false) = (old, step.target, step.force)
                && !history::reaches(&self.store, &[new], old)?
            {
                return Err(Error::Moved { name: step.name.clone(), expected: Some(new), theirs: Some(old) });
            }
            refs.push(Moved { name: step.name.clone(), old, new: step.target });
        }
        let mut heads: Vec<Hash> = welcome.refs.iter().map(|(_, id)| *id).collect();
        heads.extend(&welcome.heads);
        self.lacks = welcome.lacks.iter().copied().collect();
        self.begin(&heads, welcome.empty)
    }

    /// The receiver has ended the session; tags of ours that it names were not made.
    fn done(&mut self, told: Vec<Left>) -> Result<()> {
        if let Purpose::Push { request, refs, left } = &mut self.purpose {
            let asked: BTreeSet<&str> =
                request.moves.iter().filter(|step| step.only_new).map(|step| step.name.as_str()).collect();
            if let Some((name, _)) = told.iter().find(|(name, _)| !asked.contains(name.as_str())) {
                return Err(Error::protocol("done", format!("{name:?} was not to be made")));
            }
            let not_made: BTreeSet<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
            refs.retain(|step| !not_made.contains(step.name.as_str()));
            *left = told;
        } else if !told.is_empty() {
            return Err(Error::protocol("done", "nothing was to be made"));
        }
        self.phase = Phase::Over;
        Ok(())
    }

    fn lack(&mut self, bits: &[u8]) -> Result<()> {
        let Some(items) = self.asked.take() else {
            return Err(unexpected(&Message::Lack(Bytes::new()), "nothing was asked"));
        };
        if bits.len() != items.len().div_ceil(8) {
            return Err(Error::protocol("lack", format!("{} bytes for {} questions", bits.len(), items.len())));
        }
        let mut lacking = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            if bits[i / 8] >> (i % 8) & 1 == 1 {
                lacking.push(item);
            } else {
                self.sent.insert(item.0, item.1);
            }
        }
        self.stack.push(Task::Open { items: lacking, ask: true });
        Ok(())
    }

    /// The receiver's delta gave something else: that step again, as objects.
    fn redo(&mut self, step: u64) -> Result<()> {
        let wrong = || Error::protocol("redo", format!("step {step} was not sent, or has been sent again already"));
        let step_at = usize::try_from(step).map_err(|_| wrong())?;
        if step_at >= self.plan.commits.len() || !self.redone.insert(step_at) {
            return Err(wrong());
        }
        self.phase = Phase::Stream;
        self.stack.clear();
        self.outbox.clear();
        self.asked = None;
        self.proposed = None;
        // What was sent after that step was passed over: nothing of it may be counted on.
        self.sent.clear();
        self.outbox.push_back(Message::Restart { step });
        self.stack.push(Task::Commit(step_at));
        Ok(())
    }

    fn work(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Ask { items, ask } => self.ask(items, ask),
            Task::Open { items, ask } => self.open(items, ask),
            Task::Send { items } => self.send(items),
            Task::Propose { trees } => {
                self.propose(trees);
                Ok(())
            }
            Task::Delta { tree, mut frames } => {
                if let Some(frame) = frames.pop_front() {
                    self.bytes += frame.len() as u64;
                    self.outbox.push_back(Message::Delta { tree: tree.clone(), frame });
                    self.stack.push(Task::Delta { tree, frames });
                }
                Ok(())
            }
            Task::Past(at) => self.past(at),
            Task::Commit(at) => self.commit(at),
            Task::Step(at) => self.step(at),
            Task::Finish => {
                self.phase = Phase::Finished;
                self.outbox.push_back(Message::Finish);
                Ok(())
            }
        }
    }

    /// Which of a commit's parents both sides have when the commit arrives. None for what is sent again: that the receiver
    /// has the data of its parent may be what was wrong.
    fn base_of(&mut self, at: usize, commit: &Commit) -> Result<Option<Hash>> {
        if self.redone.contains(&at) {
            return Ok(None);
        }
        let sent = |id: &Hash| self.position.get(id).is_some_and(|position| *position < at);
        let known = |id: &Hash| self.plan.common.contains(id) || sent(id);
        for id in commit.parents.iter().filter(|id| known(id)) {
            let gone = !self.gone.is_empty() && self.gone.contains(id, Commit::load(&self.store, id)?.generation)?;
            if !gone {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    fn past(&mut self, at: usize) -> Result<()> {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, at);
        while let Some(id) =
            self.plan.past.get(next).filter(|_| bytes < wire::FRAME_BYTES && records.len() < wire::MAX_IDS)
        {
            let record = self.store.get(id)?;
            bytes += record.len();
            records.push(record);
            next += 1;
        }
        if !records.is_empty() {
            self.outbox.push_back(Message::Past(records));
            self.stack.push(Task::Past(next));
        }
        Ok(())
    }

    fn commit(&mut self, at: usize) -> Result<()> {
        let Some(id) = self.plan.commits.get(at) else {
            self.stack.push(Task::Finish);
            return Ok(());
        };
        let commit = Commit::load(&self.store, id)?;
        let root = DatasetRoot::load(&self.store, &commit.root)?;
        let base = match self.base_of(at, &commit)? {
            Some(base) => Some(DatasetRoot::load(&self.store, &Commit::load(&self.store, &base)?.root)?),
            None => None,
        };
        self.stack.push(Task::Step(at));
        let mut whole = Vec::new();
        let (mut tasks, mut elsewhere) = (Vec::new(), Vec::new());
        let mut room = delta::DELTAS_MAX;
        // What the receiver has under other commits may be nearly the same: let it compare, once per tree.
        let compare = !self.empty && base.is_none() && !self.redone.contains(&at);
        for (name, tree) in root.trees() {
            let old = base.as_ref().and_then(|base| base.tree(&name));
            if old == Some(tree) {
                continue;
            }
            if self.scope.as_ref().is_some_and(|scope| !scope.contains(&name)) {
                // Only the receiver can have it: if it lacks it, that is found out before anything is sent.
                if matches!(self.purpose, Purpose::Push { .. }) {
                    elsewhere.extend(graph::roots(&name, tree, self.outline));
                }
                continue;
            }
            let by_delta = !self.empty && !self.redone.contains(&at);
            match old.filter(|_| by_delta) {
                Some(old) if self.plan_delta(&name, (old, tree), &mut room, &mut tasks)? => {}
                _ => whole.push((name, *tree)),
            }
        }
        if compare && whole.iter().any(|(_, tree)| tree.height > 1) {
            tasks.push(Task::Propose { trees: whole });
        } else if !whole.is_empty() {
            let items = whole.iter().flat_map(|(name, tree)| graph::roots(name, tree, self.outline)).collect();
            tasks.push(Task::Ask { items, ask: !self.empty });
        }
        self.stack.extend(tasks.into_iter().rev());
        if !elsewhere.is_empty() {
            self.stack.push(Task::Ask { items: elsewhere, ask: true });
        }
        Ok(())
    }

    fn step(&mut self, at: usize) -> Result<()> {
        let id = self.plan.commits[at];
        let bytes = self.store.get(&id)?;
        let commit = Commit::decode(&bytes)?;
        let root_bytes = self.store.get(&commit.root)?;
        let base = self.base_of(at, &commit)?;
        let (base_bytes, base_root) = match base {
            Some(base) => {
                let bytes = self.store.get(&base)?;
                let root = self.store.get(&Commit::decode(&bytes)?.root)?;
                (Some(bytes), Some(root))
            }
            None => (None, None),
        };
        let root = squeeze::squeeze(&root_bytes, &squeeze::root_prefix(base_root.as_deref()))?;
        let prefix = squeeze::commit_prefix(base.zip(base_bytes.as_deref()), commit.root);
        let commit = squeeze::squeeze(&bytes, &prefix)?;
        self.outbox.push_back(Message::Step(Step { base, root, commit }));
        self.stack.push(Task::Commit(at + 1));
        Ok(())
    }
}

impl Session for Sender {
    fn receive(&mut self, message: Message) -> Result<()> {
        match (self.phase, message) {
            (_, Message::Fault(fault)) => Err(super::of_fault(fault)),
            (Phase::Welcome, Message::Welcome(welcome)) => self.welcome(&welcome),
            (Phase::Haves, Message::Haves(haves)) => {
                let empty = self.empty;
                self.begin(&haves, empty)
            }
            (Phase::Stream, Message::Lack(bits)) => self.lack(&bits),
            (Phase::Stream, Message::Query { tree, body }) => self.answer(tree, &body),
            (Phase::Stream, Message::Settled { trees, need }) => self.settled(&trees, &need),
            (Phase::Stream | Phase::Finished, Message::Ack { .. }) => Ok(()),
            (Phase::Stream | Phase::Finished, Message::Redo { step }) => self.redo(step),
            (Phase::Finished, Message::Done { left }) => self.done(left),
            (phase, message) => Err(unexpected(&message, &format!("{phase:?}").to_lowercase())),
        }
    }

    fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some(message) = self.outbox.pop_front() {
                return Ok(Some(message));
            }
            if self.phase != Phase::Stream || self.asked.is_some() || self.proposed.is_some() {
                return Ok(None);
            }
            let Some(task) = self.stack.pop() else { return Ok(None) };
            self.work(task).map_err(|error| self.explain(error))?;
        }
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn progress(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }
}
