//! Which datasets of another node are followed, and for how long: connections that are made again when they break.
//!
//! Owns: tasks on the server's runtime. After a crash: nothing is left of them.
//!
//! Not here: one connection (`crate::live`), where a spoke goes that cannot reach its hub (`rehome`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use syncline_api::{Kind, Target, client};
use syncline_base::rng::Rng;
use syncline_node::live::Engine;
use syncline_node::live::engine::{Leads, Way};
use tokio::sync::watch;

use super::{Call, Follow, Role, Upstream, connect, rehome};
use crate::contents::Exchanges;
use crate::hub::Hub;
use crate::members::Meshes;
use crate::ways::Certifying;
use crate::{Error, Result};

/// The first pause before a connection is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often an upstream is asked what datasets it has.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long is waited before a connection is tried again: longer as it fails more often.
#[derive(Debug)]
pub(crate) struct Pauses {
    pause: Duration,
    rng: Rng,
    said: String,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { pause: PAUSES.0, rng: Rng::from_os(), said: String::new() }
    }
}

impl Pauses {
    /// A connection has ended, or did not come about. Logs why, once for each reason: a node may be away for days. Gives it back.
    pub(crate) fn ended(&mut self, peer: &Target, ended: Result<String>) -> String {
        let why = match ended {
            Ok(why) => {
                (self.pause, self.said) = (PAUSES.0, String::new());
                why
            }
            Err(error) => error.to_string(),
        };
        if why != self.said {
            tracing::warn!(%peer, %why, "not connected; what is written here waits");
            self.said.clone_from(&why);
        }
        why
    }

    /// The pause.
    pub(crate) fn next(&mut self) -> Duration {
        let jitter = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX) / 2;
        let pause = self.pause / 2 + Duration::from_millis(self.rng.below(jitter + 1));
        self.pause = (self.pause * 2).min(PAUSES.1);
        pause
    }
}

/// What goes on beside connections to a hub that nobody gave: contents of files, and the way to a certifier. Ends with the value.
#[derive(Debug)]
pub(crate) struct Attached {
    engine: Engine,
    way: Arc<dyn Way>,
    _stop: watch::Sender<bool>,
}

impl Attached {
    pub(crate) fn new(meshes: &Arc<Meshes>, dataset: &str, engine: &Engine, upstream: &Upstream, leads: Leads) -> Self {
        let way = Certifying::new(upstream.target.clone(), upstream.options.clone(), meshes.runtime.clone());
        let way: Arc<dyn Way> = Arc::new(way);
        engine.add_way(Arc::clone(&way), leads);
        let (stop, stopped) = watch::channel(false);
        let replica = meshes.hub.dataset(dataset);
        let begun = replica.and_then(|replica| meshes.exchanges.begin(replica, upstream.clone(), stopped));
        if let Err(error) = begun {
            tracing::warn!(dataset, %error, "contents of its files are not exchanged");
        }
        Self { engine: engine.clone(), way, _stop: stop }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.engine.remove_way(&self.way);
    }
}

/// Keeps a dataset connected to a hub for as long as the task runs. `local` is what it is called here.
pub(crate) async fn follow(
    local: String,
    engine: Engine,
    upstream: Upstream,
    role: Role,
    meshes: Option<std::sync::Weak<Meshes>>,
) {
    let runtime = tokio::runtime::Handle::current();
    let way = Certifying::new(upstream.target.clone(), upstream.options.clone(), runtime);
    engine.add_way(Arc::new(way), Leads::On);
    let group = meshes.as_ref().and_then(std::sync::Weak::upgrade);
    let group = group.map(|meshes| meshes.follows(&local, &engine, &upstream, role));
    let from = group.as_ref().and_then(|group| group.at()).unwrap_or_default();
    let group = group.map(|group| Arc::downgrade(&group));
    let heard = |from: &Target, hubs: &syncline_api::v1::Hubs| {
        if let Some(group) = group.as_ref().and_then(std::sync::Weak::upgrade) {
            group.heard(from, hubs);
        }
    };
    let call = Call {
        engine: &engine,
        upstream: &upstream,
        role,
        mesh: bytes::Bytes::new(),
        from,
        given: true,
        heard: &heard,
    };
    if let (Role::Upstream, Some(meshes), Some(group)) = (role, &meshes, &group) {
        return rehome::follow(&call, &local, meshes, group).await;
    }
    let mut pauses = Pauses::default();
    loop {
        let ended = connect(&call).await;
        let why = pauses.ended(&upstream.target, ended.map(|ended| ended.why));
        engine.set_away(&upstream.target.to_string(), why);
        tokio::time::sleep(pauses.next()).await;
    }
}

/// Follows datasets of another node that are not among `known`, as they come.
pub(crate) async fn follow_new(
    hub: Arc<Hub>,
    upstream: Upstream,
    role: Role,
    known: Vec<String>,
    beside: (Arc<Exchanges>, watch::Receiver<bool>, Option<std::sync::Weak<Meshes>>),
) {
    let (exchanges, stopped, meshes) = beside;
    let (mut known, mut said) = (BTreeSet::from_iter(known), String::new());
    loop {
        tokio::time::sleep(ASK_AGAIN).await;
        let (asked, of) = (Arc::clone(&hub), upstream.clone());
        // Away, with what was followed before: nothing new.
        let Ok(Ok(names)) = tokio::task::spawn_blocking(move || datasets(&asked, &of, role)).await else { continue };
        for name in names {
            if known.contains(&name) {
                continue;
            }
            let (at, of) = (Arc::clone(&hub), upstream.of(&name));
            let (here, target) = (name.clone(), of.clone());
            let prepared = tokio::task::spawn_blocking(move || prepare(&at, &here, &target, role)).await;
            match prepared {
                Ok(Ok(engine)) => {
                    tracing::info!(dataset = name, peer = %upstream.target, "a dataset has come, and is followed");
                    tokio::spawn(follow(name.clone(), engine, of.clone(), role, meshes.clone()));
                    let begun = hub.dataset(&name).and_then(|replica| exchanges.begin(replica, of, stopped.clone()));
                    if let Err(error) = begun {
                        tracing::warn!(dataset = name, %error, "contents of its files are not exchanged");
                    }
                    known.insert(name);
                }
                Ok(Err(error)) => {
                    // Once for each reason: it is tried again.
                    let why = error.to_string();
                    if why != said {
                        tracing::warn!(dataset = name, peer = %upstream.target, %why, "a dataset that has come cannot be followed");
                        said = why;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// The datasets that a node follows: the one that the upstream's address names, or all that the upstream has.
///
/// # Errors
/// As connecting; `Invalid` when the local name is none.
pub(crate) fn datasets(hub: &Hub, upstream: &Upstream, role: Role) -> Result<Vec<String>> {
    if !upstream.target.dataset.is_empty() {
        return Ok(vec![upstream.target.dataset.clone()]);
    }
    let there = client::Client::connect(upstream.target.clone(), upstream.options.clone()).and_then(|c| c.datasets());
    match there {
        Ok(names) => Ok(names),
        // Those that were followed before are known here.
        Err(error) if error.kind() == Kind::Unavailable => {
            let mut known = Vec::new();
            for name in hub.datasets()? {
                let Some(engine) = hub.dataset(&name)?.live_if_there()? else { continue };
                let followed = match (role, engine.status()?.upstream) {
                    (Role::Upstream, upstream) => upstream.is_some(),
                    (Role::Peer, Some(_)) => false,
                    (Role::Peer, None) => Meshes::remembers(&engine),
                };
                if followed {
                    known.push(name);
                }
            }
            if known.is_empty() { Err(error.into()) } else { Ok(known) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The dataset `name` here, made when it is not; with its transactions going to the other node if that is its upstream.
///
/// # Errors
/// As [`Hub::live`].
pub(crate) fn prepare(hub: &Arc<Hub>, name: &str, upstream: &Upstream, role: Role) -> Result<Engine> {
    if !hub.datasets()?.iter().any(|known| known == name) {
        match hub.create(name) {
            Ok(_) => {}
            Err(Error::Node(error)) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let engine = hub.live(name)?;
    match (role, &upstream.scope) {
        (Role::Upstream, scope) => {
            match scope {
                Follow::Remembered => {}
                Follow::Everything => engine.follow_scope(None)?,
                Follow::Scope(name) => engine.follow_scope(Some(name))?,
            }
            engine.set_upstream(Some(&upstream.target.to_string()))?;
        }
        (Role::Peer, _) => engine.check_whole("standing beside another hub")?,
    }
    Ok(engine)
}
