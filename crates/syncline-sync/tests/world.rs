//! Replicas in memory, and a pump that carries messages between two sessions and can stop at any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use syncline_base::{Hash, Hlc, SystemClock};
use syncline_store::Store;
use syncline_store::backend::memory::Memory;
use syncline_sync::session::{Receiver, Sender, Server, Session};
use syncline_sync::{
    Error, Local, PullRequest, Pulled, PushRequest, Pushed, RefMove, Result, TAGS,
    wire::{self, Left, Message},
};
use syncline_tree::{Commit, DatasetRoot, GivenUp, Refs};

/// One replica.
pub(crate) struct World {
    backend: Memory,
    pub(crate) store: Store,
    refs: Mutex<BTreeMap<String, Hash>>,
    shallow: Mutex<Vec<Hash>>,
    given_up: Mutex<BTreeSet<Hash>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let backend = Memory::new();
        let store = syncline_tree::open_store(Arc::new(backend.clone()), true, Arc::new(SystemClock)).unwrap();
        Self { backend, store, refs: Mutex::default(), shallow: Mutex::default(), given_up: Mutex::default() }
    }

    /// What is left after the process was killed: refs (they are durable when they move) and flushed objects.
    pub(crate) fn killed(self) -> Self {
        let Self { backend, store, refs, shallow, given_up } = self;
        drop(store);
        let store = syncline_tree::open_store(Arc::new(backend.clone()), false, Arc::new(SystemClock)).unwrap();
        Self { backend, store, refs, shallow, given_up }
    }

    pub(crate) fn at(&self, name: &str) -> Option<Hash> {
        self.refs.lock().unwrap().get(name).copied()
    }

    pub(crate) fn set(&self, name: &str, id: Hash) {
        self.store.flush().unwrap();
        self.refs.lock().unwrap().insert(name.to_owned(), id);
    }

    /// Marks a commit and what is before it.
    pub(crate) fn give_up(&self, id: Hash) {
        self.given_up.lock().unwrap().insert(id);
    }

    /// A commit with this content.
    pub(crate) fn commit(&self, parents: &[Hash], root: &DatasetRoot, message: &str) -> Hash {
        let of = |id: &Hash| Commit::load(&self.store, id).unwrap().generation;
        let generation = parents.iter().map(of).max().unwrap_or(0) + 1;
        let commit = Commit {
            parents: parents.to_vec(),
            generation,
            root: root.put(&self.store).unwrap(),
            author: "ada <ada@example>".into(),
            hlc: Hlc::from_ms(1_700_000_000_000 + generation * 1000),
            message: message.into(),
            meta: BTreeMap::new(),
        };
        commit.put(&self.store).unwrap()
    }

    /// `n` commits without content on top of `parent`; the last one.
    pub(crate) fn chain(&self, parent: Option<Hash>, n: usize, label: &str) -> Hash {
        let mut at = parent;
        for i in 0..n {
            let parents: Vec<Hash> = at.into_iter().collect();
            at = Some(self.commit(&parents, &DatasetRoot::default(), &format!("{label} {i}")));
        }
        at.unwrap()
    }

    /// Checks that everything under every ref is here.
    pub(crate) fn check_whole(&self) {
        self.check(syncline_tree::Log::new);
    }

    /// As [`Self::check_whole`], for what is here of the history.
    pub(crate) fn check_shallow(&self) {
        self.check(syncline_tree::Log::of_what_is_here);
    }

    fn check(&self, log: impl Fn(&Store, [Hash; 1]) -> syncline_tree::Log) {
        for (name, id) in self.refs.lock().unwrap().iter() {
            for step in log(&self.store, [*id]) {
                let (id, commit) = step.unwrap_or_else(|error| panic!("{name}: {error}"));
                let root = DatasetRoot::load(&self.store, &commit.root).unwrap();
                for (tree, table) in root.trees() {
                    let mut stack = syncline_tree::walk::roots(table);
                    while let Some((child, kind)) = stack.pop() {
                        let bytes = self.store.get(&child).unwrap_or_else(|e| panic!("{name} {id:?} {tree}: {e}"));
                        stack.extend(syncline_sync::graph::children(kind, &bytes).unwrap());
                    }
                }
            }
        }
    }
}

impl Local for World {
    fn store(&self) -> &Store {
        &self.store
    }

    fn refs(&self) -> Result<Vec<(String, Hash)>> {
        Ok(self.refs.lock().unwrap().iter().map(|(name, id)| (name.clone(), *id)).collect())
    }

    fn head(&self) -> Result<Option<String>> {
        Ok(self.at("branches/main").map(|_| "branches/main".to_owned()))
    }

    fn given_up(&self) -> Result<GivenUp> {
        let mut refs = Refs::new("main");
        refs.dropped.extend(self.given_up.lock().unwrap().iter());
        Ok(GivenUp::new(&self.store, &refs)?)
    }

    fn shallow(&self) -> Result<Vec<Hash>> {
        Ok(self.shallow.lock().unwrap().clone())
    }

    fn keep_shallow(&self, shallow: &[Hash]) -> Result<()> {
        self.shallow.lock().unwrap().extend(shallow);
        Ok(())
    }

    fn move_ref(&self, request: &RefMove, _: &[Hash]) -> Result<()> {
        let mut refs = self.refs.lock().unwrap();
        let theirs = refs.get(&request.name).copied();
        if theirs != request.expected {
            return Err(Error::Moved { name: request.name.clone(), expected: request.expected, theirs });
        }
        match request.target {
            Some(id) => refs.insert(request.name.clone(), id),
            None => refs.remove(&request.name),
        };
        Ok(())
    }

    fn make_tags(&self, tags: &[(String, Hash)], _: &[Hash]) -> Result<Vec<Left>> {
        let mut refs = self.refs.lock().unwrap();
        let mut left = Vec::new();
        for (name, id) in tags {
            let at = *refs.entry(name.clone()).or_insert(*id);
            left.extend((at != *id).then(|| (name.clone(), Some(at))));
        }
        Ok(left)
    }
}

/// A request for a tag.
pub(crate) fn new_tag(name: &str, target: Hash) -> RefMove {
    let name = format!("{TAGS}{name}");
    RefMove { name, expected: None, target: Some(target), force: false, allow_mass_delete: false, only_new: true }
}

/// What passed between two sessions.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) object_bytes: usize,
    pub(crate) round_trips: usize,
}

/// Carries messages until both sessions are over, one of them fails, or `cut` messages have passed.
pub(crate) fn pump(client: &mut dyn Session, server: &mut dyn Session, cut: Option<usize>) -> (Passed, Result<bool>) {
    pump_with(client, server, cut, &mut |_| {})
}

/// As [`pump`]; `change` sees every message on its way and may change it.
pub(crate) fn pump_with(
    client: &mut dyn Session,
    server: &mut dyn Session,
    cut: Option<usize>,
    change: &mut dyn FnMut(&mut Message),
) -> (Passed, Result<bool>) {
    let mut passed = Passed::default();
    let outcome = (|| {
        loop {
            let mut quiet = true;
            for client_speaks in [true, false] {
                let mut asked = false;
                loop {
                    let (client_over, server_over) = (client.is_over(), server.is_over());
                    let (from, to): (&mut dyn Session, &mut dyn Session) =
                        if client_speaks { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
                    if cut == Some(passed.messages) {
                        return Ok(client_over && server_over);
                    }
                    let Some(mut message) = from.next()? else { break };
                    change(&mut message);
                    passed.messages += 1;
                    quiet = false;
                    if let Message::Objects(objects) = &message {
                        passed.object_bytes += objects.iter().map(|object| object.payload.len()).sum::<usize>();
                    }
                    asked |= client_speaks && message.asks();
                    let frame = wire::encode_frame(&[message]);
                    passed.bytes += frame.len();
                    for message in wire::decode_frame(frame)? {
                        if let Err(error) = to.receive(message) {
                            // As the driver does: the other side is told.
                            let fault = Message::Fault(syncline_sync::session::to_fault(&error));
                            let _ = from.receive(fault);
                            return Err(error);
                        }
                    }
                }
                passed.round_trips += usize::from(asked);
            }
            if client.is_over() && server.is_over() {
                return Ok(true);
            }
            assert!(!quiet, "both sides wait for each other");
        }
    })();
    (passed, outcome)
}

/// Pulls everything from `server` and moves the refs.
pub(crate) fn pull(client: &World, server: &World, request: &PullRequest) -> Result<(Pulled, Passed)> {
    let mut ours = Receiver::pull(client, request)?;
    let mut theirs = Server::new(server);
    let (passed, outcome) = pump(&mut ours, &mut theirs, None);
    outcome?;
    let pulled = ours.pulled().unwrap();
    for (name, id) in &pulled.refs {
        client.set(name, *id);
    }
    Ok((pulled, passed))
}

pub(crate) fn request(name: &str, target: Hash) -> PushRequest {
    PushRequest {
        moves: vec![RefMove {
            name: name.into(),
            expected: None,
            target: Some(target),
            force: false,
            allow_mass_delete: false,
            only_new: false,
        }],
    }
}

/// Pushes one branch.
pub(crate) fn push(client: &World, server: &World, name: &str) -> Result<(Pushed, Passed)> {
    push_as(client, server, &request(name, client.at(name).unwrap()))
}

pub(crate) fn push_as(client: &World, server: &World, request: &PushRequest) -> Result<(Pushed, Passed)> {
    let mut ours = Sender::push(client, request.clone())?;
    let mut theirs = Server::new(server);
    let (passed, outcome) = pump(&mut ours, &mut theirs, None);
    outcome?;
    Ok((ours.pushed().unwrap(), passed))
}
