//! The hubs of one dataset, as one of its replicas sees them.
//!
//! A hub that others can connect to is a member: it gossips. One that nobody can connect to, and a spoke, gossip with nobody: hubs that they are
//! connected to tell them which hubs there are.
//!
//! Hubs that know of each other are a *mesh*, and have its id. Whoever was given a peer's address joins that one's mesh; when both have one, the
//! meshes become one, with the lower id. Nobody else comes in: an address at which another node listens by now leads nowhere.
//!
//! Owns: what is known of the hubs. After a crash: `file` says what was known before.
//!
//! Not here: connections (`links`), the protocol (`swim`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use syncline_api::v1::{self, GossipReply, GossipRequest, HubAt};
use syncline_api::{Kind, Target};
use syncline_base::rng::Rng;
use syncline_node::live::Engine;
use syncline_node::live::engine::{Member, MemberState};
use tokio::sync::{Notify, Semaphore};

use super::address::{Address, Way};
use super::file::{MeshId, Remembered};
use super::links::Links;
use super::swim::{FORGOTTEN, LONGEST, MOST, Swim};
use super::{Meshes, refused};
use crate::Result;

/// Hubs that do not answer are told of this one so often, a few at a time.
const ANNOUNCE: Duration = Duration::from_secs(10);
/// Peers that were given are told so often at first, and so many times: an answer may be lost, or come before this node knows from whom.
const AT_FIRST: (Duration, u32) = (Duration::from_secs(1), 10);
const AT_A_TIME: usize = 3;
/// A message is given up after so long, and so many are on their way.
const PATIENCE: Duration = Duration::from_secs(2);
const ON_THEIR_WAY: usize = 64;
/// What is remembered is written at least so often.
const WRITE: Duration = Duration::from_secs(60 * 60);
/// Nobody has answered a hub that was let in for so long: it cannot be reached.
const UNHEARD: Duration = Duration::from_secs(30);

/// What a replica is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A hub among hubs.
    Hub,
    /// It takes its transactions to a hub.
    Spoke,
}

/// See the module.
pub(crate) struct Group {
    meshes: Weak<Meshes>,
    pub(crate) dataset: String,
    pub(super) part: Part,
    pub(super) engine: Engine,
    /// Where others connect to it, if they can.
    pub(super) me: Option<Address>,
    state: Mutex<State>,
    wake: Notify,
    sends: Arc<Semaphore>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("dataset", &self.dataset).field("me", &self.me).finish_non_exhaustive()
    }
}

/// A hub, as it was last known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) state: MemberState,
    since_ms: u64,
    /// When it was last known to be there.
    seen_ms: u64,
}

pub(super) struct State {
    swim: Option<Swim>,
    pub(super) mesh: Option<MeshId>,
    /// Other hubs.
    pub(super) known: BTreeMap<Address, Seen>,
    /// Peers that somebody gave, and where they say that they are.
    pub(super) given: BTreeMap<String, (Target, Option<Address>)>,
    /// Those of them that take no part.
    deaf: BTreeSet<String>,
    pub(super) links: Links,
    rng: Rng,
    /// When others are told of this one again, and since when they were told in vain.
    announce: Duration,
    /// How often peers that were given were told in vain, at first.
    tries: u32,
    unheard: Option<Duration>,
    /// What was written last, and when.
    written: (Remembered, Duration),
    members: Vec<Member>,
    since_ms: u64,
}

/// A hub is connected here, as long as this is there.
#[derive(Debug)]
pub(crate) struct Inbound {
    group: Arc<Group>,
    from: Address,
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.group.lock().links.disconnected(&self.from);
        self.group.wake.notify_one();
    }
}

impl Group {
    pub(super) fn new(
        meshes: &Arc<Meshes>,
        (dataset, part): (&str, Part),
        engine: Engine,
        me: Option<Address>,
        remembered: Remembered,
    ) -> Self {
        let (now, now_ms) = (meshes.clock.monotonic(), meshes.clock.now_ms());
        // Later than in its last life, whatever the clock says.
        let turn = now_ms.max(remembered.turn + 1);
        let swim = me.clone().map(|me| Swim::new(me, turn, Rng::from_os()));
        let gone = |seen_ms| Seen { state: MemberState::Gone, since_ms: seen_ms, seen_ms };
        let others = remembered.hubs.iter().filter(|(address, _)| Some(address) != me.as_ref());
        let known = others.map(|(address, seen_ms)| (address.clone(), gone(*seen_ms))).collect();
        let state = State {
            swim,
            mesh: remembered.mesh,
            known,
            given: BTreeMap::new(),
            deaf: BTreeSet::new(),
            links: Links::default(),
            rng: Rng::from_os(),
            announce: Duration::ZERO,
            tries: 0,
            unheard: None,
            written: (remembered, now),
            members: Vec::new(),
            since_ms: now_ms,
        };
        Self {
            meshes: Arc::downgrade(meshes),
            dataset: dataset.to_owned(),
            part,
            engine,
            me,
            state: Mutex::new(state),
            wake: Notify::new(),
            sends: Arc::new(Semaphore::new(ON_THEIR_WAY)),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody gave this peer's address.
    pub(super) fn is_given(&self, peer: &Target) {
        let mut state = self.lock();
        state.given.entry(peer.to_string()).or_insert_with(|| (peer.clone(), None));
        state.announce = Duration::ZERO;
        self.wake.notify_one();
    }

    /// Where others connect to it, if they can.
    pub(crate) fn at(&self) -> Option<String> {
        self.me.as_ref().map(ToString::to_string)
    }

    /// The mesh that it is in.
    pub(crate) fn mesh(&self) -> Option<MeshId> {
        self.lock().mesh
    }

    /// The safest of the ways over which addresses come.
    pub(super) fn way(&self, state: &State) -> Way {
        let me = self.me.as_ref().map(Address::target);
        let at = match self.part {
            // Hubs that cannot be reached are as safe as their peers.
            Part::Hub => me,
            Part::Spoke => None,
        };
        Way::of(at.iter().chain(state.given.values().map(|(target, _)| target)))
    }

    /// Goes on until the node ends.
    pub(super) async fn run(self: Arc<Self>) {
        let Some(mut stopped) = self.meshes.upgrade().map(|meshes| meshes.stopped.clone()) else { return };
        loop {
            let pause = match self.meshes.upgrade() {
                Some(meshes) => self.step(&meshes),
                None => break,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
                // An error means that the node is gone.
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        self.lock().links.end();
    }

    /// Does what is due. Says for how long nothing is.
    fn step(self: &Arc<Self>, meshes: &Arc<Meshes>) -> Duration {
        let (now, now_ms) = (meshes.clock.monotonic(), meshes.clock.now_ms());
        let mut state = self.lock();
        if let Some(swim) = &mut state.swim {
            swim.tick(now);
        }
        if self.part == Part::Hub && now >= state.announce {
            let jitter = u64::try_from(ANNOUNCE.as_millis() / 4).unwrap_or(u64::MAX);
            state.announce = now + ANNOUNCE + Duration::from_millis(state.rng.below(jitter));
            if self.announce(&mut state, meshes, now) && state.tries < AT_FIRST.1 {
                state.tries += 1;
                state.announce = now + AT_FIRST.0;
            }
        }
        self.send_all(&mut state, meshes);
        state.look(now_ms);
        let told = self.tell(&mut state, meshes);
        if self.part == Part::Hub {
            Links::settle(self, &mut state, meshes, now);
        }
        self.remember(&mut state, meshes, (now, now_ms), told);
        let due = state.swim.as_ref().and_then(Swim::due).unwrap_or(now + ANNOUNCE);
        due.min(state.announce.max(now)).saturating_sub(now).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Tells hubs of this one that may not know of it. Whether peers are among them that were given.
    fn announce(self: &Arc<Self>, state: &mut State, meshes: &Arc<Meshes>, now: Duration) -> bool {
        let active = |state: &State, address: &Address| {
            state.known.get(address).is_some_and(|seen| seen.state != MemberState::Gone)
        };
        let joins = state.given.values().filter(|(_, at)| at.as_ref().is_none_or(|at| !active(state, at)));
        let joins: Vec<Target> = joins.map(|(target, _)| target.clone()).collect();
        let mut silent: Vec<Address> =
            state.known.iter().filter(|(_, seen)| seen.state == MemberState::Gone).map(|(at, _)| at.clone()).collect();
        let alone = state.known.values().all(|seen| seen.state == MemberState::Gone);
        let some = if alone { silent.len() } else { AT_A_TIME.min(silent.len()) };
        for nth in 0..some {
            let other = nth + usize::try_from(state.rng.below((silent.len() - nth) as u64)).unwrap_or(0);
            silent.swap(nth, other);
        }
        let joining = !joins.is_empty();
        let Some(swim) = &mut state.swim else { return false };
        silent.iter().take(some).for_each(|address| swim.announce(now, address));
        let others = swim.sends();
        let mut first = Vec::new();
        for target in joins {
            let Some(address) = Address::of(&target) else { continue };
            swim.announce(now, &address);
            first.extend(swim.sends().into_iter().map(|(_, body)| (target.clone(), body)));
        }
        for (address, body) in others {
            self.send(state, meshes, address.target(), (body, false));
        }
        for (target, body) in first {
            self.send(state, meshes, target, (body, true));
        }
        if state.unheard.is_some_and(|since| now > since + UNHEARD) && alone {
            // Once.
            state.unheard = Some(Duration::MAX.saturating_sub(UNHEARD));
            let me = self.me.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(
                dataset = self.dataset,
                "a peer takes what this node tells it, and nobody answers at {me}: can others connect there? (--advertise)"
            );
        }
        joining
    }

    /// Sends what the protocol wants sent.
    fn send_all(self: &Arc<Self>, state: &mut State, meshes: &Arc<Meshes>) {
        let sends = state.swim.as_mut().map(Swim::sends).unwrap_or_default();
        for (address, body) in sends {
            self.send(state, meshes, address.target(), (body, false));
        }
    }

    /// Sends a message, or does not when too many are on their way: it would not be the first to be lost.
    fn send(self: &Arc<Self>, state: &State, meshes: &Arc<Meshes>, to: Target, (body, join): (Bytes, bool)) {
        let Ok(permit) = Arc::clone(&self.sends).try_acquire_owned() else { return };
        let mesh = state.mesh.map(|mesh| Bytes::copy_from_slice(&mesh)).unwrap_or_default();
        let request = GossipRequest { dataset: to.dataset.clone(), mesh, join, body, ..GossipRequest::default() };
        let (group, teller) = (Arc::clone(self), meshes.teller(&to));
        meshes.runtime.spawn(async move {
            let _permit = permit;
            let told = match teller {
                Ok(teller) => teller.gossip(request, PATIENCE).await,
                Err(error) => return tracing::warn!(%error, "a hub cannot be told of this one"),
            };
            match told {
                Ok(reply) if join => group.joined(&to, &reply),
                Ok(_) => {}
                Err(error) if join && error.kind() == Kind::Invalid => group.not_joined(&to, &error),
                Err(error) => tracing::debug!(hub = %to, %error, "a hub was not told"),
            }
        });
    }

    /// A peer that was given has let this one in.
    fn joined(&self, peer: &Target, reply: &GossipReply) {
        let mut state = self.lock();
        let at = Address::parse(&reply.url);
        if let (Some((_, is)), Some(at)) = (state.given.get_mut(&peer.to_string()), at) {
            *is = Some(at);
        }
        if let Ok(theirs) = MeshId::try_from(&reply.mesh[..]) {
            state.mesh = Some(state.mesh.map_or(theirs, |mine| mine.min(theirs)));
        }
        if let Some(meshes) = self.meshes.upgrade() {
            state.unheard.get_or_insert(meshes.clock.monotonic());
        }
        self.wake.notify_one();
    }

    /// A peer that was given wants to be told nothing: of no other hub is learned by it. Said once.
    fn not_joined(&self, peer: &Target, why: &syncline_api::Error) {
        if self.lock().deaf.insert(peer.to_string()) {
            tracing::warn!(dataset = self.dataset, %peer, %why, "a peer takes no part in what hubs tell each other of hubs");
        }
    }

    /// Another hub tells something.
    ///
    /// # Errors
    /// `Conflict` when it is of another mesh; `Invalid` when it tells nothing.
    pub(super) fn told(self: &Arc<Self>, meshes: &Arc<Meshes>, request: &GossipRequest) -> Result<GossipReply> {
        let now = meshes.clock.monotonic();
        let mut guard = self.lock();
        let state = &mut *guard;
        let way = self.way(state);
        let Some(swim) = &mut state.swim else {
            return Err(refused(Kind::Invalid, "others cannot connect to this node, so it is no member"));
        };
        if request.body.len() > LONGEST {
            return Err(refused(Kind::Invalid, "the message is too long"));
        }
        let left = |left: super::swim::Left| refused(Kind::Invalid, &left.to_string());
        let from = Swim::sender(&request.body).map_err(left)?;
        let theirs = match MeshId::try_from(&request.mesh[..]) {
            Ok(mesh) => Some(mesh),
            Err(_) if request.mesh.is_empty() => None,
            Err(_) => return Err(refused(Kind::Invalid, "a mesh has an id of 8 bytes")),
        };
        // What a peer tells may come before its answer, which says where it is: then it is where it was said to be, or not known yet.
        let is = |(target, at): &(Target, Option<Address>)| match at {
            Some(at) => *at == from,
            None => Address::of(target).as_ref() == Some(&from),
        };
        let friend = state.known.contains_key(&from) || state.given.values().any(is);
        state.mesh = Some(match (state.mesh, theirs) {
            (Some(mine), Some(theirs)) if mine == theirs => mine,
            (Some(mine), Some(theirs)) if request.join || friend => mine.min(theirs),
            (None, Some(theirs)) if request.join || friend => theirs,
            (Some(mine), None) if request.join => mine,
            (None, None) if request.join => state.rng.next_u64().to_be_bytes(),
            _ => {
                let why = "the sender is of another mesh of hubs, and nobody gave it this node's address";
                return Err(refused(Kind::Conflict, why));
            }
        });
        let done = swim.receive(now, &request.body, request.join, |address| way.admits(address));
        self.send_all(state, meshes);
        self.wake.notify_one();
        done.map_err(left)?;
        let url = self.me.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(GossipReply { url, mesh: state.mesh.map(|mesh| Bytes::copy_from_slice(&mesh)).unwrap_or_default() })
    }

    /// A hub that this one is connected to at `from` tells where it says that it is, and which hubs there are. Members know the latter better.
    pub(crate) fn heard(&self, from: &Target, hubs: &v1::Hubs) {
        let Some(meshes) = self.meshes.upgrade() else { return };
        let now_ms = meshes.clock.now_ms();
        let mut state = self.lock();
        if let (Some((_, at)), Some(is)) = (state.given.get_mut(&from.to_string()), Address::parse(&hubs.at)) {
            *at = Some(is);
        }
        if self.me.is_some() {
            return;
        }
        let way = self.way(&state);
        if let Ok(mesh) = MeshId::try_from(&hubs.mesh[..]) {
            state.mesh = Some(mesh);
        }
        let told: BTreeMap<Address, MemberState> = hubs
            .hubs
            .iter()
            .take(MOST)
            .filter_map(|hub| {
                let state = match hub.state {
                    0 => MemberState::Alive,
                    1 => MemberState::Suspect,
                    _ => MemberState::Gone,
                };
                Address::parse(&hub.url).filter(|address| way.admits(address)).map(|address| (address, state))
            })
            .collect();
        if self.part == Part::Spoke {
            state.known.retain(|address, _| told.contains_key(address));
        }
        for (address, is) in told {
            state.saw(&address, is, now_ms);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// A hub has connected here that others can connect to at `from`.
    pub(super) fn connected(self: &Arc<Self>, from: Address, given: bool) -> Inbound {
        let is_mine = self.me.as_ref().is_none_or(|me| *me < from);
        self.lock().links.connected(&from, given || !is_mine);
        self.wake.notify_one();
        Inbound { group: Arc::clone(self), from }
    }

    /// Other hubs than the one at `home`, those that are there first, else in no order.
    pub(crate) fn others(&self, home: &Target) -> Vec<Address> {
        let mut state = self.lock();
        let home = home.to_string();
        let known: Vec<(Address, bool)> = state
            .known
            .iter()
            .filter(|(address, _)| address.as_str() != home)
            .map(|(address, seen)| (address.clone(), seen.state == MemberState::Gone))
            .collect();
        let mut order: Vec<(bool, u64, Address)> =
            known.into_iter().map(|(address, gone)| (gone, state.rng.next_u64(), address)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, address)| address).collect()
    }

    /// Tells replicas that are connected, and `status`, which hubs there are. Says whether something has changed.
    fn tell(&self, state: &mut State, meshes: &Meshes) -> bool {
        let here = self.me.iter().map(|me| Member {
            url: me.to_string(),
            state: MemberState::Alive,
            since_ms: state.since_ms,
            here: true,
        });
        let others = state.known.iter().map(|(address, seen)| Member {
            url: address.to_string(),
            state: seen.state,
            since_ms: seen.since_ms,
            here: false,
        });
        let mut members: Vec<Member> = others.collect();
        if !members.is_empty() {
            members.extend(here);
            members.sort_by(|a, b| a.url.cmp(&b.url));
        }
        if self.part == Part::Hub {
            let code = |state| match state {
                MemberState::Alive => 0,
                MemberState::Suspect => 1,
                MemberState::Gone => 2,
            };
            let hubs = members.iter().map(|one| HubAt { url: one.url.clone(), state: code(one.state) }).collect();
            let mesh = state.mesh.filter(|_| !members.is_empty());
            let mesh = mesh.map(|mesh| Bytes::copy_from_slice(&mesh)).unwrap_or_default();
            let at = self.at().filter(|_| !members.is_empty()).unwrap_or_default();
            meshes.publish(&self.dataset, v1::Hubs { mesh, hubs, at });
        }
        let changed = state.members != members;
        if changed {
            for one in &members {
                if !state.members.iter().any(|was| was.url == one.url && was.state == one.state) && !one.here {
                    tracing::info!(dataset = self.dataset, hub = one.url, state = ?one.state, "a hub");
                }
            }
            self.engine.tell_members(members.clone());
            state.members = members;
        }
        changed
    }

    /// Writes down which hubs there are, when that has changed or it was long ago.
    fn remember(&self, state: &mut State, meshes: &Meshes, (now, now_ms): (Duration, u64), changed: bool) {
        let hubs = state.known.iter().map(|(address, seen)| match seen.state {
            MemberState::Gone => (address.clone(), seen.seen_ms),
            _ => (address.clone(), now_ms),
        });
        let turn = state.swim.as_ref().map_or(state.written.0.turn, Swim::turn);
        let remembered = Remembered { mesh: state.mesh, turn, hubs: hubs.collect() };
        let was = &state.written.0;
        let same = was.mesh == remembered.mesh
            && was.hubs.iter().map(|(at, _)| at).eq(remembered.hubs.iter().map(|(at, _)| at));
        let nobody = remembered.hubs.is_empty() && was.hubs.is_empty();
        if nobody || (same && !changed && now < state.written.1 + WRITE) {
            return;
        }
        let text = remembered.write();
        state.written = (remembered, now);
        let (engine, dataset) = (self.engine.clone(), self.dataset.clone());
        meshes.runtime.spawn_blocking(move || {
            if let Err(error) = engine.remember_members(&text) {
                tracing::warn!(dataset, %error, "which hubs there are could not be written down");
            }
        });
    }
}

impl State {
    /// A hub is so, as far as is known.
    fn saw(&mut self, address: &Address, is: MemberState, now_ms: u64) {
        let seen = self.known.entry(address.clone()).or_insert(Seen { state: is, since_ms: now_ms, seen_ms: now_ms });
        if seen.state != is {
            (seen.state, seen.since_ms) = (is, now_ms);
        }
        if is != MemberState::Gone {
            seen.seen_ms = now_ms;
        }
    }

    /// Takes over what the protocol has found out, and forgets who is gone for long.
    fn look(&mut self, now_ms: u64) {
        let members: Vec<(Address, MemberState)> =
            self.swim.iter().flat_map(Swim::members).map(|(address, is)| (address.clone(), is)).collect();
        for (address, is) in &members {
            // Who is gone already when it is first heard of, or again once it was forgotten, is nobody.
            if *is != MemberState::Gone || self.known.contains_key(address) {
                self.saw(address, *is, now_ms);
            }
        }
        let long = u64::try_from(FORGOTTEN.as_millis()).unwrap_or(u64::MAX);
        let gone = |seen: &Seen| seen.state == MemberState::Gone;
        self.known.retain(|_, seen| !gone(seen) || now_ms.saturating_sub(seen.seen_ms) < long);
        // One of them is this one.
        while self.known.len() + 1 > MOST {
            let oldest = self.known.iter().filter(|(_, seen)| gone(seen)).min_by_key(|(_, seen)| seen.seen_ms);
            let Some(oldest) = oldest.map(|(address, _)| address.clone()) else { break };
            self.known.remove(&oldest);
        }
    }
}
