//! Connections to hubs that nobody gave: of every two hubs of a mesh one connects to the other.
//!
//! That is the one that was given the other one's address; else the one whose address is lower, or, when it does not come to that within a few seconds,
//! either. When both have connected, one of the two connections is given up. Who is gone is not connected to again, but a connection that is there is
//! not cut because somebody says that its other end is gone.
//!
//! To a hub that connects here nothing but a way for transactions to their certifier is needed.
//!
//! Owns: the tasks of these connections, and those ways. After a crash: nothing is left of them.
//!
//! Not here: what goes over a connection (`crate::live`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use syncline_api::Target;
use syncline_api::v1::Hubs;
use syncline_node::live::engine::{Leads, MemberState, Way};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Meshes;
use super::address::Address;
use super::group::{Group, State};
use crate::live::follow::{Attached, Pauses};
use crate::live::{Call, Follow, Role, Upstream, connect};
use crate::ways::Certifying;

/// How long is waited for the other one to connect.
const GRACE: Duration = Duration::from_secs(5);

/// Whether a connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    /// Until it breaks.
    Still,
    No,
}

#[derive(Debug)]
struct Link {
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    to: BTreeMap<Address, Link>,
    /// How many connections from there are here.
    from: BTreeMap<Address, usize>,
    /// Since when there is none with a hub that is there.
    lone: BTreeMap<Address, Duration>,
    /// To hubs to which no connection of this one goes. Used when there is something to be certified.
    ways: BTreeMap<Address, Arc<dyn Way>>,
}

impl Links {
    /// A hub has connected here; `gives_way` says that it is this end that gives its own connection up.
    pub(super) fn connected(&mut self, from: &Address, gives_way: bool) {
        *self.from.entry(from.clone()).or_default() += 1;
        if gives_way && let Some(link) = self.to.remove(from) {
            link.wanted.send_replace(Wanted::No);
        }
    }

    /// It has gone.
    pub(super) fn disconnected(&mut self, from: &Address) {
        if let Some(count) = self.from.get_mut(from) {
            *count -= 1;
            if *count == 0 {
                self.from.remove(from);
            }
        }
    }

    /// Has the engine know ways there, and no others of these.
    fn set_ways(&mut self, wanted: BTreeSet<Address>, group: &Group, meshes: &Meshes) {
        for (_, gone) in self.ways.extract_if(.., |address, _| !wanted.contains(address)) {
            group.engine.remove_way(&gone);
        }
        for new in wanted {
            self.ways.entry(new).or_insert_with_key(|address| {
                let options = meshes.settings.options.clone();
                let way = Certifying::new(address.target(), options, meshes.runtime.clone());
                let way: Arc<dyn Way> = Arc::new(way);
                group.engine.add_way(Arc::clone(&way), Leads::Mesh);
                way
            });
        }
    }

    /// The node ends.
    pub(super) fn end(&mut self) {
        for link in std::mem::take(&mut self.to).into_values() {
            link.wanted.send_replace(Wanted::No);
        }
    }

    /// Connects to those who are there and are not connected, and lets go of those who are gone.
    pub(super) fn settle(group: &Arc<Group>, state: &mut State, meshes: &Arc<Meshes>, now: Duration) {
        let way = group.way(state);
        let State { links, known, given, mesh, .. } = state;
        let there = |address: &Address| known.get(address).is_some_and(|seen| seen.state != MemberState::Gone);
        let is_given = |address: &Address| {
            given.iter().any(|(url, (_, at))| at.as_ref() == Some(address) || url == address.as_str())
        };
        links.to.retain(|address, link| {
            link.wanted.send_replace(match (is_given(address), there(address)) {
                (true, _) => Wanted::No,
                (false, true) => Wanted::Yes,
                (false, false) => Wanted::Still,
            });
            !link.task.is_finished()
        });
        links.lone.retain(|address, _| there(address));
        let reached: BTreeSet<Address> =
            known.keys().filter(|address| there(address) && way.admits(address)).cloned().collect();
        let plain = |address: &&Address| !is_given(address) && !links.to.contains_key(*address);
        let wanted: BTreeSet<Address> = reached.iter().filter(plain).cloned().collect();
        // Before a connection is made, which brings a way of its own.
        links.set_ways(wanted, group, meshes);
        for address in &reached {
            if is_given(address) || links.to.contains_key(address) || links.from.contains_key(address) {
                links.lone.remove(address);
                continue;
            }
            let since = *links.lone.entry(address.clone()).or_insert(now);
            let is_mine = group.me.as_ref().is_none_or(|me| me < address);
            if is_mine || now >= since + GRACE {
                let mesh = mesh.map(|mesh| Bytes::copy_from_slice(&mesh)).unwrap_or_default();
                links.to.insert(address.clone(), begin(group, meshes, address, mesh));
            }
        }
    }
}

fn begin(group: &Arc<Group>, meshes: &Arc<Meshes>, address: &Address, mesh: Bytes) -> Link {
    let upstream =
        Upstream { target: address.target(), options: meshes.settings.options.clone(), scope: Follow::Remembered };
    let (wanted, wants) = watch::channel(Wanted::Yes);
    tracing::info!(dataset = group.dataset, hub = %address, "a hub was learned of");
    let attached = Attached::new(meshes, &group.dataset, &group.engine, &upstream, Leads::Mesh);
    // It does not keep the group: the node may be dropped.
    let from = group.me.as_ref().map(ToString::to_string).unwrap_or_default();
    let (engine, weak) = (group.engine.clone(), Arc::downgrade(group));
    let task = meshes.runtime.spawn(async move {
        let heard = move |from: &Target, hubs: &Hubs| {
            if let Some(group) = weak.upgrade() {
                group.heard(from, hubs);
            }
        };
        let call =
            Call { engine: &engine, upstream: &upstream, role: Role::Peer, mesh, from, given: false, heard: &heard };
        keep(&call, wants).await;
        drop(attached);
    });
    Link { wanted, task }
}

/// Keeps a connection for as long as it is wanted.
async fn keep(call: &Call<'_>, mut wants: watch::Receiver<Wanted>) {
    let mut pauses = Pauses::default();
    // An error means that the node is gone, or this end gave way.
    while matches!(*wants.borrow_and_update(), Wanted::Yes) && wants.has_changed().is_ok() {
        let mut cut = wants.clone();
        tokio::select! {
            ended = connect(call) => {
                pauses.ended(&call.upstream.target, ended.map(|ended| ended.why));
            }
            _ = cut.wait_for(|wanted| *wanted == Wanted::No) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next()) => {}
            _ = cut.wait_for(|wanted| *wanted == Wanted::No) => return,
        }
    }
}
