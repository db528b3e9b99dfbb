//! Hashing states for proofs, and waiting for proofs.
//!
//! A state is hashed by a thread that lives as long as there are some to hash. It has neither the engine nor its lock meanwhile: writers go
//! on, and an engine that is closed is closed.

use std::sync::Weak;
use std::time::Duration;

use syncline_base::{Hash, task};
use syncline_sync::live::Frozen;

use super::audit::Job;
use super::core::Core;
use super::{Alarm, Engine, Proof, Shared};
use crate::{Error, Result};

/// Whether connected replicas hold the same, as far as is known.
#[derive(Debug, Clone, Default)]
pub struct Proofs {
    /// The last one of each replica that was found equal.
    pub proofs: Vec<Proof>,
    /// Replicas that were found different.
    pub alarms: Vec<Alarm>,
}

/// Begins to hash what waits for it.
pub(super) fn kick(shared: &Shared, core: &mut Core) {
    // What is known to be wrong is not compared.
    let Some(job) = core.beside.audit.begin().filter(|_| core.renewal.is_none()) else { return };
    let weak = shared.me.clone();
    if let Err(error) = task::spawn("syncline-root", move || work(&weak, job)) {
        core.beside.audit.give_up();
        tracing::warn!(%error, "the replica root could not be computed");
    }
}

fn work(shared: &Weak<Shared>, mut job: Job) {
    loop {
        let Some(clock) = shared.upgrade().map(|shared| shared.clock.clone()) else { return };
        let begun = clock.monotonic();
        // Rows that have changed since are held by nobody else: it goes with this.
        let hashed = match job.run() {
            Ok(hashed) => hashed,
            Err(error) => {
                tracing::error!(%error, "the replica root could not be computed");
                if let Some(shared) = shared.upgrade() {
                    let mut core = shared.lock();
                    core.beside.audit.give_up();
                    core.note_damage();
                }
                return;
            }
        };
        let now = clock.monotonic();
        let Some(shared) = shared.upgrade() else { return };
        let mut core = shared.lock();
        core.hashed(hashed, now.saturating_sub(begun), now, clock.now_ms());
        core.drain();
        shared.news.tell();
        match core.beside.audit.begin() {
            Some(next) => job = next,
            None => return,
        }
    }
}

impl Engine {
    /// The replica root of a state of this engine. Nobody waits while it is computed, and it is known from then on.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn root_of(&self, frozen: &Frozen) -> Result<Hash> {
        if let Some(digest) = self.lock()?.beside.audit.digest_at(frozen.coverage()) {
            return Ok(digest.root);
        }
        let digest = frozen.digest();
        super::sound(frozen.trouble()).inspect_err(|_| self.shared.lock().note_damage())?;
        let root = digest.root;
        self.lock()?.beside.audit.learn(frozen.coverage().clone(), digest);
        Ok(root)
    }

    /// Compares with those who are connected, now; waits until each of them was found equal or different at what is here, or until
    /// `patience` is over.
    ///
    /// # Errors
    /// `unavailable` when nobody is connected; as [`Self::read`].
    pub fn prove(&self, patience: Duration) -> Result<()> {
        let mut core = self.lock()?;
        if core.peers.is_empty() {
            return Err(Error::Unavailable {
                what: "comparing with other replicas".into(),
                why: "none is connected; run a node here (`syncline up`), or wait until one has connected".into(),
            });
        }
        let begun = self.shared.clock.monotonic();
        let here = core.node.state().coverage().clone();
        let alarms = core.beside.audit.alarms().len();
        core.want_proof(begun);
        core.drain();
        kick(&self.shared, &mut core);
        loop {
            let audit = &core.beside.audit;
            let done = core.peers.keys().all(|peer| audit.has_proved(*peer, &here));
            let now = self.shared.clock.monotonic();
            if done || audit.alarms().len() > alarms || now >= begun + patience || core.broken.is_some() {
                return Ok(());
            }
            let left = begun + patience - now;
            core = self.shared.news.wait(core, left);
        }
    }
}
