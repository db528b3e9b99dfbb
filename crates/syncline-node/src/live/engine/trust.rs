//! Signing what became durable, off the lock and after its writers were told; and what came from others and was not believed.
//!
//! Owns: what was doubted, which is in a file, and what a hub denies. After a crash: the file is read again, a hub says it again.
//!
//! Not here: what is signed and when it is believed (`syncline_sync::live`), and the secret key (`home`).

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_sync::live::{Denial, Dot, Head, Message, Origin, PeerId};

use super::super::home::hex;
use super::core::Core;
use super::{Engine, Shared};
use crate::Result;

/// A hub signs what it wrote so often at the most: a signature takes longer than a transaction.
const PAUSE: Duration = Duration::from_millis(2);
/// So many are remembered of what was not believed.
const DISTRUST: usize = 32;

/// Something came from another replica and was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distrust {
    /// Whose transactions it was.
    pub origin: String,
    /// The first of them.
    pub seq: u64,
    /// The address of the replica that sent it, when it was connected to from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it was not taken.
    pub why: String,
    /// When, by the clock of this machine, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// A hub does not take this replica's transactions in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The hub's address, when it was connected to from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The name that the first of them was written under, and its number.
    pub origin: String,
    /// See `origin`.
    pub seq: u64,
    /// Why.
    pub why: String,
}

#[derive(Debug, Default)]
pub(super) struct Trusts {
    distrust: Vec<Distrust>,
    denied: Option<(PeerId, Denied)>,
    /// When was signed last.
    signed: Duration,
    /// The engine's thread will look by itself.
    awaited: bool,
}

impl Trusts {
    pub(super) fn with(distrust: Vec<Distrust>) -> Self {
        Self { distrust, ..Self::default() }
    }
}

/// A signed head, as it is shown: whoever has the public key can check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The number of the newest transaction that it attests.
    pub seq: u64,
    /// The hash over all of them, hex.
    pub hash: String,
    /// The signature, hex.
    pub signature: String,
}

impl Evidence {
    fn of(head: &Arc<Head>) -> Self {
        Self { seq: head.seq(), hash: head.sum().to_string(), signature: hex(head.signature()) }
    }
}

/// What is known of one origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginTrust {
    /// The name.
    pub origin: String,
    /// The public key that it is made of, hex; not known before something signed has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many of its transactions are here.
    pub transactions: u64,
    /// Up to which of them its key has signed that they are its.
    pub attested: u64,
    /// Two branches of it are here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forked: bool,
    /// Two heads that its key has signed contradict each other: this one, if there was one, and the one in `against`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Evidence>,
    /// See `signed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Evidence>,
}

/// Whom a replica believes, and what it did not.
#[derive(Debug, Clone, Default)]
pub struct TrustStatus {
    /// Its own public key, hex.
    pub key: String,
    /// Whether that is revoked, as far as is known here.
    pub revoked: bool,
    /// Every origin.
    pub origins: Vec<OriginTrust>,
    /// What was not taken.
    pub distrust: Vec<Distrust>,
    /// What a hub does not take from here.
    pub denied: Option<Denied>,
}

const fn why(denial: Denial) -> &'static str {
    match denial {
        Denial::Unsigned => "no signature of its writer came with it",
        Denial::Forged => {
            "it is not what its writer has signed: it was altered or forged on its way, or by who sent it"
        }
        Denial::Revoked => "the key of its writer is revoked",
    }
}

impl Core {
    fn url_of(&self, peer: PeerId) -> Option<String> {
        self.beside.links.get(&peer).and_then(|link| link.url.clone())
    }

    /// What a peer sent was not taken.
    pub(super) fn doubted(&mut self, peer: PeerId, dot: Dot, denial: Denial) {
        let (url, why) = (self.url_of(peer), why(denial));
        if denial != Denial::Forged {
            // Of a replica that is older, or revoked: nobody lies.
            tracing::warn!(origin = %dot.origin, seq = dot.seq, ?url, why, "transactions were not taken in");
            return;
        }
        self.distrust(dot.origin, dot.seq, url, why);
    }

    /// A head that contradicts what is here.
    pub(super) fn contradicted(&mut self, peer: PeerId, head: &Head) {
        let (url, origin) = (self.url_of(peer), head.origin());
        tracing::error!(%origin, seq = head.seq(), ?url, "its key has signed two histories, or what is here was altered: it is frozen");
    }

    fn distrust(&mut self, origin: Origin, seq: u64, url: Option<String>, why: &str) {
        tracing::error!(%origin, seq, ?url, why, "something that another replica sent is not believed");
        let all = &mut self.trusts.distrust;
        let origin = origin.to_string();
        // The first of each origin says most; it stays.
        if all.len() < DISTRUST && all.iter().all(|known| known.origin != origin) {
            all.push(Distrust { origin, seq, url, why: why.to_owned(), time_ms: self.now_ms });
            if let Err(error) = self.home.write_distrust(all) {
                tracing::error!(%error, "that could not be written down; it is lost when this process ends");
            }
        }
    }

    /// A hub does not take in what this replica wrote.
    pub(super) fn denied(&mut self, peer: PeerId, dot: Dot, denial: Denial) {
        let (url, why) = (self.url_of(peer), why(denial));
        tracing::error!(seq = dot.seq, ?url, why, "a hub does not take in what was written here; it waits on");
        let denied = Denied { url, origin: dot.origin.to_string(), seq: dot.seq, why: why.to_owned() };
        self.trusts.denied = Some((peer, denied));
    }

    /// Whether the engine's thread is to be told that there is something to sign.
    pub(super) fn is_to_be_signed(&self) -> bool {
        !self.trusts.awaited && !self.node.unsigned().is_empty()
    }

    /// How it stands with trust.
    pub(super) fn trust(&self) -> TrustStatus {
        let node = &self.node;
        let origins = node.origins().filter_map(|(origin, chain)| {
            let (transactions, _) = chain.head()?;
            let (signed, against) = (chain.signed(), chain.against());
            Some(OriginTrust {
                origin: origin.to_string(),
                key: signed.or(against).map(|head| hex(head.key())),
                transactions,
                attested: signed.map_or(0, |head| head.seq().min(transactions)),
                forked: chain.is_forked(),
                signed: against.and(signed).map(Evidence::of),
                against: against.map(Evidence::of),
            })
        });
        // One that could not be reached any more may have changed its mind.
        let denied = self.trusts.denied.as_ref().filter(|(peer, _)| self.peers.contains_key(peer));
        TrustStatus {
            key: hex(&node.key()),
            revoked: node.is_revoked(&node.key()),
            origins: origins.collect(),
            distrust: self.trusts.distrust.clone(),
            denied: denied.map(|(_, denied)| denied.clone()),
        }
    }
}

/// Signs what is durable and not signed, without the lock, when it is time to. Gives back when it will be; `None` when there is nothing.
pub(super) fn sign<'a>(shared: &'a Shared, mut core: MutexGuard<'a, Core>) -> (MutexGuard<'a, Core>, Option<Duration>) {
    core.trusts.awaited = false;
    let unsigned = core.node.unsigned();
    if unsigned.is_empty() || core.broken.is_some() {
        return (core, None);
    }
    let now = shared.clock.monotonic();
    let due = core.trusts.signed + PAUSE;
    // What a spoke wrote is not taken in before it is signed; what a hub wrote goes out before.
    if now < due && core.node.is_hub() && !core.closing {
        core.trusts.awaited = true;
        return (core, Some(due - now));
    }
    core.trusts.signed = now;
    let (signer, epoch) = (core.home.signer(), core.epoch);
    drop(core);
    let heads = unsigned.iter().map(|unsigned| unsigned.sign(&*signer)).collect();
    let mut core = shared.lock();
    // Else the log was opened anew meanwhile, and says again what is to be signed.
    if core.epoch == epoch && core.broken.is_none() {
        core.node.signed(heads);
        core.drain();
    }
    (core, Some(Duration::ZERO))
}

impl Engine {
    /// Whom it believes, and what it did not.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn trust(&self) -> Result<TrustStatus> {
        Ok(self.lock()?.trust())
    }

    /// Looks at the signatures in a message before anybody waits for it: the core finds them looked at.
    pub(super) fn check_signatures(&self, message: &Message) -> Result<()> {
        let mut heads = message.heads().peekable();
        if heads.peek().is_none() {
            return Ok(());
        }
        let (news, signer) = {
            let core = self.lock()?;
            let news: Vec<&Arc<Head>> = heads.filter(|head| core.node.is_news(head)).collect();
            (news, core.home.signer())
        };
        for head in news {
            // It remembers.
            let _ = head.is_valid(&*signer);
        }
        Ok(())
    }
}
