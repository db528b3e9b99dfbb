//! Where a spoke takes its transactions: to its upstream, its *home*, or to another hub while that cannot be reached.
//!
//! Home is tried first, and all the time. When it could not be reached for some seconds, a hub that it has told of is connected to. Home is where a user
//! wanted the spoke to be, so it goes back once home has answered for a while; a home that answers and does not serve is believed less each time.
//! Nothing is lost by any of it: what waits is offered to every hub, and counts once.
//!
//! Owns: nothing but the connection. After a crash: home is tried first.
//!
//! Not here: which hubs there are (`crate::members`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::{Clock as _, Kind, SystemClock};
use syncline_node::live::engine::Leads;

use super::follow::{Attached, Pauses};
use super::{Call, Ended, Follow, Upstream, connect};
use crate::members::Meshes;
use crate::members::address::Address;
use crate::members::group::Group;

/// Home may be away for so long, and up to half as long again, before another hub is connected to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Home is asked so often whether it is there again, and answers so many times in a row before it is believed: at first, and at most.
const ASK: Duration = Duration::from_secs(3);
const STEADY: (u32, u32) = (3, 100);
/// Who was connected to home for so long was right to believe it.
const WELL: Duration = Duration::from_secs(60);

/// Keeps a spoke connected, to home or to another hub.
pub(crate) async fn follow(call: &Call<'_>, local: &str, meshes: &Weak<Meshes>, group: &Weak<Group>) {
    let (mut rng, mut pauses, clock) = (Rng::from_os(), Pauses::default(), SystemClock);
    let mut patience = Duration::ZERO;
    let (mut away_since, mut steady) = (None, STEADY.0);
    loop {
        let begun = clock.monotonic();
        let ended = connect(call).await;
        let now = clock.monotonic();
        // One that does not even refuse has been away since it was asked.
        let gone_at = if matches!(&ended, Ok(Ended { connected: true, .. })) { now } else { begun };
        let unreachable = match &ended {
            Ok(Ended { connected: false, .. }) | Err(_) => {
                // What it refuses, others refuse.
                ended.as_ref().err().is_none_or(|error| error.kind() == Kind::Unavailable)
            }
            Ok(Ended { connected: true, .. }) => {
                away_since = None;
                if now - begun >= WELL {
                    steady = STEADY.0;
                }
                true
            }
        };
        let why = pauses.ended(&call.upstream.target, ended.map(|ended| ended.why));
        call.engine.set_away(&call.upstream.target.to_string(), why);
        let since = *away_since.get_or_insert_with(|| {
            let more = u64::try_from(PATIENCE.as_millis() / 2).unwrap_or(u64::MAX);
            patience = PATIENCE + Duration::from_millis(rng.below(more + 1));
            gone_at
        });
        if unreachable && now - since >= patience {
            let (Some(meshes), Some(group)) = (meshes.upgrade(), group.upgrade()) else { return };
            if meshes.settings.rehome
                && let Some(left) = visit(call, local, &meshes, &group, steady).await
            {
                if left == Left::Home {
                    // When it does not serve after all, it has to answer longer the next time.
                    steady = (steady * 2).min(STEADY.1);
                }
                // At once, and another one when that fails.
                pauses = Pauses::default();
                continue;
            }
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// Why another hub was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Home answers again.
    Home,
    /// It is gone, too.
    Gone,
}

/// Connects to one of the other hubs, and stays until home answers or that one is gone. `None` when there is none.
async fn visit(call: &Call<'_>, local: &str, meshes: &Arc<Meshes>, group: &Arc<Group>, steady: u32) -> Option<Left> {
    for address in group.others(&call.upstream.target) {
        let mut stopped = meshes.stopped.clone();
        let ended = tokio::select! {
            ended = stay(call, local, meshes, group, &address) => ended,
            () = answers(call, meshes, steady) => {
                tracing::info!(hub = %address, home = %call.upstream.target, "home answers again");
                return Some(Left::Home);
            }
            // An error means that the node is gone.
            _ = stopped.wait_for(|stop| *stop) => return None,
        };
        match ended {
            Ok(Ended { connected: true, why }) => {
                tracing::info!(hub = %address, %why, "another hub is gone, too");
                return Some(Left::Gone);
            }
            Ok(Ended { why, .. }) => tracing::debug!(hub = %address, %why, "another hub cannot be reached"),
            Err(error) => tracing::debug!(hub = %address, %error, "another hub cannot be reached"),
        }
    }
    None
}

/// One connection to another hub.
async fn stay(
    call: &Call<'_>,
    local: &str,
    meshes: &Arc<Meshes>,
    group: &Arc<Group>,
    address: &Address,
) -> crate::Result<Ended> {
    let options = call.upstream.options.clone();
    let upstream = Upstream { target: address.target(), options, scope: Follow::Remembered };
    // Contents of files, and certifiers, go that way only while it is the way.
    let _attached = Attached::new(meshes, local, call.engine, &upstream, Leads::On);
    let mesh = group.mesh().map(|mesh| Bytes::copy_from_slice(&mesh)).unwrap_or_default();
    connect(&Call { upstream: &upstream, mesh, given: false, from: String::new(), ..*call }).await
}

/// Returns when home has answered for a while.
async fn answers(call: &Call<'_>, meshes: &Arc<Meshes>, steady: u32) {
    let (mut times, mut rng) = (0, Rng::from_os());
    while times < steady {
        let jitter = u64::try_from(ASK.as_millis() / 2).unwrap_or(u64::MAX);
        tokio::time::sleep(ASK * 3 / 4 + Duration::from_millis(rng.below(jitter + 1))).await;
        let asked = match meshes.teller(&call.upstream.target) {
            Ok(home) => home.ping(ASK).await.is_ok(),
            Err(_) => false,
        };
        times = if asked { times + 1 } else { 0 };
    }
}
