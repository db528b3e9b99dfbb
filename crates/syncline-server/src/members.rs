//! The hubs of datasets: who they are, which of them answer, and connections to those that nobody gave.
//!
//! A node that serves a dataset as a hub tells the other hubs of it where it can be connected to, learns where they can, and connects to those that
//! it is not connected with; a spoke is told by its hub which hubs there are. It is about who can be reached, and about nothing else: what replicas
//! hold, and that they come to hold the same, depends on none of it.
//!
//! Owns: for each dataset that has other hubs, a [`group::Group`]. After a crash: what was remembered of the hubs (`file`).
//!
//! Not here: the protocol (`swim`), what is replicated (`crate::live`).

pub(crate) mod address;
pub(crate) mod file;
pub(crate) mod group;
mod links;
pub(crate) mod swim;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncline_api::client::Options;
use syncline_api::gossip::Teller;
use syncline_api::v1::{self, GossipReply, GossipRequest};
use syncline_api::{Kind, Target};
use syncline_base::Clock;
use syncline_node::live::Engine;
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::address::Address;
use self::file::{MeshId, Remembered};
use self::group::{Group, Part};
use crate::contents::Exchanges;
use crate::hub::Hub;
use crate::live::{Role, Upstream};
use crate::{Error, Result};

/// How a node takes part in meshes of hubs.
#[derive(Clone)]
pub struct Membership {
    /// `http(s)://HOST:PORT` of this node as others reach it, if that is not where it listens.
    pub advertise: Option<Target>,
    /// How to connect to hubs that others have told of.
    pub options: Options,
    /// Whether a spoke whose upstream cannot be reached goes to another hub.
    pub rehome: bool,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("Membership").field("advertise", &self.advertise).finish_non_exhaustive()
    }
}

impl Membership {
    /// Refuses what could not work.
    ///
    /// # Errors
    /// `Invalid`, with why.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(target) = &self.advertise else { return Ok(()) };
        let refused = |why: &str| Err(Error::Settings(format!("--advertise {target}: {why}")));
        if !target.dataset.is_empty() {
            return refused("it names a dataset; name the node alone, http(s)://HOST:PORT");
        }
        if Address::of(&Target { dataset: "d".to_owned(), ..target.clone() }).is_none() {
            return refused("nobody can connect there; name a host and a port that other nodes reach this one at");
        }
        Ok(())
    }
}

/// What a node serves replicas of a dataset with, beside the dataset.
pub(crate) type Lists = watch::Receiver<Arc<v1::Hubs>>;

/// All groups of a node.
pub(crate) struct Meshes {
    pub(crate) settings: Membership,
    /// Where this node listens, or is said to.
    at: Target,
    /// Whether it asks for another token than it gives to its peers: who has the one would come to have the other.
    unlike: bool,
    pub(crate) hub: Arc<Hub>,
    pub(crate) runtime: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) stopped: watch::Receiver<bool>,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Meshes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meshes").field("at", &self.at).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Known {
    groups: BTreeMap<String, Arc<Group>>,
    /// By `http(s)://HOST:PORT`.
    tellers: BTreeMap<String, Teller>,
    /// The hubs of each dataset that somebody asked about.
    lists: BTreeMap<String, watch::Sender<Arc<v1::Hubs>>>,
}

/// What a node has that its groups use.
pub(crate) struct Means {
    pub(crate) hub: Arc<Hub>,
    pub(crate) runtime: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Meshes {
    /// Of a node that listens at `listens` and asks for this token.
    pub(crate) fn new(settings: Membership, listens: Target, token: Option<&str>, means: Means) -> Arc<Self> {
        let unlike = settings.options.token.as_deref() != token;
        let at = settings.advertise.clone().unwrap_or(listens);
        let Means { hub, runtime, clock, exchanges, stopped } = means;
        let known = Mutex::default();
        Arc::new(Self { settings, at, unlike, hub, runtime, clock, exchanges, stopped, known })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where others connect to a dataset of this node, which has these peers; `None`, and says why, when they cannot.
    fn me(&self, dataset: &str, peers: &[Target]) -> Option<Address> {
        let told = self.settings.advertise.is_some();
        let nowhere = self.at.ip().is_some_and(|ip| ip.is_unspecified());
        // Elsewhere this machine's loopback is another machine.
        let hidden = !told && self.at.is_loopback() && !peers.iter().all(Target::is_loopback);
        let why = if self.unlike {
            "the token that it asks for is not the one that it gives to its peers: hubs that are to know of each other have one token".to_owned()
        } else if nowhere || hidden {
            format!(
                "nobody else can connect to {}, where it listens: say where it can be reached with --advertise URL",
                self.at.peer()
            )
        } else {
            return Address::of(&Target { dataset: dataset.to_owned(), ..self.at.clone() });
        };
        tracing::warn!(dataset, "this hub connects to others, and they are not told of it: {why}");
        None
    }

    /// A way to tell a node something.
    pub(crate) fn teller(&self, to: &Target) -> Result<Teller> {
        if let Some(teller) = self.lock().tellers.get(&to.origin()) {
            return Ok(teller.clone());
        }
        let _inside = self.runtime.enter();
        let teller = Teller::new(to, &self.settings.options)?;
        let mut known = self.lock();
        // Of nodes that have come and gone.
        if known.tellers.len() > 4 * swim::MOST {
            known.tellers.clear();
        }
        known.tellers.insert(to.origin(), teller.clone());
        Ok(teller)
    }

    /// The hubs of a dataset, as replicas of it are told.
    pub(crate) fn list(&self, dataset: &str) -> Lists {
        let mut known = self.lock();
        let list = known.lists.entry(dataset.to_owned()).or_insert_with(|| watch::Sender::new(Arc::default()));
        list.subscribe()
    }

    /// These are the hubs of a dataset now.
    pub(crate) fn publish(&self, dataset: &str, hubs: v1::Hubs) {
        let mut known = self.lock();
        let list = known.lists.entry(dataset.to_owned()).or_insert_with(|| watch::Sender::new(Arc::default()));
        list.send_if_modified(|now| {
            let changed = **now != hubs;
            if changed {
                *now = Arc::new(hubs);
            }
            changed
        });
    }

    /// What is known of the hubs of a dataset that this node follows at `peer`.
    pub(crate) fn follows(self: &Arc<Self>, dataset: &str, engine: &Engine, peer: &Upstream, role: Role) -> Arc<Group> {
        let group = self.group(
            dataset,
            engine,
            std::slice::from_ref(&peer.target),
            match role {
                Role::Upstream => Part::Spoke,
                Role::Peer => Part::Hub,
            },
        );
        group.is_given(&peer.target);
        group
    }

    /// The group of a dataset, begun when it is not there.
    fn group(self: &Arc<Self>, dataset: &str, engine: &Engine, peers: &[Target], part: Part) -> Arc<Group> {
        if let Some(group) = self.lock().groups.get(dataset) {
            return Arc::clone(group);
        }
        let remembered = Remembered::load(engine, self.clock.now_ms());
        let me = match part {
            Part::Hub => self.me(dataset, peers),
            Part::Spoke => None,
        };
        let group = Arc::new(Group::new(self, (dataset, part), engine.clone(), me, remembered));
        let mut known = self.lock();
        if let Some(first) = known.groups.get(dataset) {
            return Arc::clone(first);
        }
        known.groups.insert(dataset.to_owned(), Arc::clone(&group));
        drop(known);
        self.runtime.spawn(Arc::clone(&group).run());
        group
    }

    /// Whether a replica was beside other hubs before.
    pub(crate) fn remembers(engine: &Engine) -> bool {
        Remembered::load(engine, 0).mesh.is_some()
    }

    /// Begins what was there before this node was started, though nobody gave it a peer.
    ///
    /// # Errors
    /// As [`Hub::datasets`].
    pub(crate) fn take_up(self: &Arc<Self>) -> Result<()> {
        for name in self.hub.datasets()? {
            let Ok(replica) = self.hub.dataset(&name) else { continue };
            // One that cannot be opened was told of when the node began to listen.
            let Ok(Some(engine)) = replica.live_if_there() else { continue };
            let is_hub = engine.status().is_ok_and(|status| status.upstream.is_none());
            if is_hub && !Remembered::load(&engine, self.clock.now_ms()).hubs.is_empty() {
                self.group(&name, &engine, &[], Part::Hub);
            }
        }
        Ok(())
    }

    /// Another hub tells something. Blocks when it is the first of a dataset.
    ///
    /// # Errors
    /// `NotFound` when there is no such dataset; `Invalid` when it is none that has hubs beside it here, or the message is none; `Conflict` when it is
    /// of another mesh.
    pub(crate) fn told(self: &Arc<Self>, request: &GossipRequest) -> Result<GossipReply> {
        let there = self.lock().groups.get(&request.dataset).cloned();
        let group = match there {
            Some(group) => group,
            None => {
                let replica = self.hub.dataset(&request.dataset)?;
                let no_hub = || {
                    refused(
                        Kind::Invalid,
                        "it is no hub here: it takes its transactions to an upstream, or has no live tables",
                    )
                };
                let engine = replica.live_if_there()?.ok_or_else(no_hub)?;
                if engine.status()?.upstream.is_some() {
                    return Err(no_hub());
                }
                if !request.join && Remembered::load(&engine, self.clock.now_ms()).mesh.is_none() {
                    return Err(refused(
                        Kind::Conflict,
                        "this node is in no mesh, and nobody gave the sender its address",
                    ));
                }
                if self.unlike {
                    return Err(refused(Kind::Invalid, "this node and its peers have different tokens"));
                }
                self.group(&request.dataset, &engine, &[], Part::Hub)
            }
        };
        group.told(self, request)
    }

    /// Refuses a replica that was told of this node as one of another mesh.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn check_mesh(meshes: Option<&Self>, dataset: &str, mesh: &Bytes) -> Result<()> {
        if mesh.is_empty() {
            return Ok(());
        }
        let group = meshes.and_then(|meshes| meshes.lock().groups.get(dataset).cloned());
        let here: Option<MeshId> = group.and_then(|group| group.mesh());
        if here.is_some_and(|here| here[..] == mesh[..]) {
            return Ok(());
        }
        Err(refused(
            Kind::Conflict,
            "this node is not of the mesh in which it was told of; it may be another one at an old address",
        ))
    }

    /// A hub has connected here that others can connect to at `from`; it is there as long as the value is.
    pub(crate) fn connected(
        self: &Arc<Self>,
        (dataset, engine): (&str, &Engine),
        from: &str,
        given: bool,
    ) -> Option<group::Inbound> {
        let address = Address::parse(from)?;
        let there = self.lock().groups.get(dataset).cloned();
        let group = match there {
            Some(group) => group,
            None if engine.status().is_ok_and(|status| status.upstream.is_none()) => {
                self.group(dataset, engine, &[], Part::Hub)
            }
            None => return None,
        };
        Some(group.connected(address, given))
    }
}

/// What a hub tells another one when it does not take what that says.
pub(crate) fn refused(kind: Kind, why: &str) -> Error {
    let what = "telling it of hubs".to_owned();
    let why = why.to_owned();
    Error::Node(match kind {
        Kind::Conflict => syncline_node::Error::Conflict { what, why },
        _ => syncline_node::Error::Invalid { what, why },
    })
}
