//! The way to other replicas that transactions on strict tables take, when another replica certifies them.
//!
//! A transaction has an identity that its writer gave it, or that it is given here, and the certifier writes one of an identity once. So it is
//! sent again when nobody knows what became of it, over any way. Who forwards waits until it has come back by replication.
//!
//! A hub knows the other hubs of its mesh and asks each of them for itself alone. Only what none of them certifies it has them send on, each over
//! its own ways: those it may reach that this one cannot.
//!
//! Owns: the ways, which one was right last, and which were of no use. After a crash nothing is left of it: whoever sends the transaction again with the same identity
//! is told what became of it.
//!
//! Not here: sockets (a face brings a [`Way`]), what is written and whether it may be (`certify`, `crate::ops::strict`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use syncline_base::Kind;
use syncline_sync::live::{Context, Dot};

use super::certify::once_row;
use super::{Committed, Engine, unavailable};
use crate::live::token;
use crate::ops::reach;
use crate::{Error, Result};

/// How long is waited for a certifier, and for what it has written to come here.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a transaction is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// What another replica says of a transaction that it has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The transaction.
    pub transaction: String,
    /// What the writer has read now, if a position can say it.
    pub read: Option<String>,
}

/// Why no answer came.
#[derive(Debug)]
pub struct Lost {
    /// What is known.
    pub error: Error,
    /// Whether it may have been written all the same.
    pub maybe: bool,
}

/// A way to another replica of the dataset. It blocks.
pub trait Way: Send + Sync + Debug {
    /// Where it leads.
    fn url(&self) -> &str;

    /// Has a transaction written there, lines of changes with what was read at their beginning; waits for that so long.
    ///
    /// # Errors
    /// The other replica's; why it cannot be reached.
    fn write(&self, changes: &Bytes, patience: Duration) -> Result<Answer, Lost>;

    /// Asks how far the replica there is, or one behind it, and waits for the answer as long as the connection is alive.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn reach(&self, request: &reach::Request) -> Result<reach::Report>;
}

/// Where a way leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leads {
    /// To a hub of the mesh, which knows the same hubs as this one.
    Mesh,
    /// To a node that may have ways of its own.
    On,
}

/// A transaction on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// How many more replicas it may be sent on to, if that is bounded.
    pub left: Option<u8>,
    /// The line that it begins with, and that says what was read: for whom it is sent to alone, for who may send it on once, and for who may do as he
    /// likes.
    pub begins: [Vec<u8>; 3],
    /// Lines of changes.
    pub text: Bytes,
}

impl Outgoing {
    fn changes(&self, left: Option<u8>) -> Bytes {
        let [alone, once, any] = &self.begins;
        let begin = match left {
            Some(0) => alone,
            Some(_) => once,
            None => any,
        };
        [begin, &self.text[..]].concat().into()
    }
}

/// The ways that there are.
#[derive(Debug, Default)]
pub(super) struct Ways(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ways: Vec<(Arc<dyn Way>, Leads)>,
    /// Where a certifier was reached last.
    right: BTreeMap<String, String>,
    /// Where nothing was reached when it was asked last.
    vain: BTreeSet<String>,
}

/// A way to be tried, and how often what goes there may be sent on.
type Try = (Arc<dyn Way>, Option<u8>);

impl Ways {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, the likely one first: `first` if that is given, else where the certifier was reached last. For what may be sent on so often.
    fn towards(&self, certifier: &str, first: Option<&str>, left: Option<u8>) -> Vec<Try> {
        let known = self.lock();
        let right = first.or_else(|| known.right.get(certifier).map(|url| &**url));
        let mut ways: Vec<_> = known.ways.iter().collect();
        ways.sort_by_key(|(way, leads)| (right != Some(way.url()), known.vain.contains(way.url()), *leads));
        let next = left.map(|left| left.saturating_sub(1));
        let tries =
            ways.iter().map(|(way, leads)| (Arc::clone(way), if *leads == Leads::Mesh { Some(0) } else { next }));
        // Each of them asks each of the others then, which is enough.
        let again = ways.iter().filter(|(_, leads)| *leads == Leads::Mesh && left.is_none());
        tries.chain(again.map(|(way, _)| (Arc::clone(way), Some(1)))).collect()
    }

    /// What came of it.
    fn tried(&self, way: &dyn Way, in_vain: bool) {
        let mut known = self.lock();
        match in_vain {
            true => known.vain.insert(way.url().to_owned()),
            false => known.vain.remove(way.url()),
        };
    }
}

impl Engine {
    /// There is a way to another replica, from now on, and no other one to the same place.
    pub fn add_way(&self, way: Arc<dyn Way>, leads: Leads) {
        let mut known = self.shared.ways.lock();
        known.ways.retain(|(is, _)| is.url() != way.url());
        known.ways.push((way, leads));
    }

    /// It is none any more.
    pub fn remove_way(&self, way: &Arc<dyn Way>) {
        let mut known = self.shared.ways.lock();
        known.ways.retain(|(is, _)| !Arc::ptr_eq(is, way));
        known.vain.remove(way.url());
    }

    /// Waits until what a reader here has read of this replica's own transactions has been taken in by a hub: nobody else can tell it before.
    ///
    /// # Errors
    /// `unavailable` when that does not happen in time.
    pub fn wait_taken(&self, read: &Context) -> Result<()> {
        let mut core = self.lock()?;
        let until = self.shared.clock.monotonic() + PATIENCE;
        while core.node.waiting().any(|txn| read.own.contains(&txn.dot())) {
            let now = self.shared.clock.monotonic();
            if now >= until {
                let why = format!(
                    "what the writer had read was written here and has not come to a hub within {} s, so the certifier does not know it; \
                     nothing was written",
                    PATIENCE.as_secs()
                );
                return Err(unavailable("writing to a strict table", &why));
            }
            core = self.shared.news.wait(core, until - now);
        }
        Ok(())
    }

    /// The transaction that was written under an identity, as far as it has come here.
    fn written_once(&self, once: &str) -> Result<Option<Dot>> {
        self.read(|node| node.look(&once_row(once)).siblings().first().map(|sibling| sibling.dot))
    }

    /// Has the certifier write a transaction whose identity is `once`. With `comes`, waits until it is here.
    ///
    /// # Errors
    /// The certifier's; `unavailable` when it cannot be reached: the message says whether the transaction may have been written; `stale` when
    /// it was written and has not come here in time.
    pub fn forward(&self, certifier: &str, once: &str, changes: &Outgoing, comes: bool) -> Result<Committed> {
        let until = self.shared.clock.monotonic() + PATIENCE;
        let (dot, read) = self.deliver(certifier, once, changes, (until, comes))?;
        if !comes {
            return Ok(Committed {
                dot,
                position: Context { own: vec![dot], ..Context::default() },
                read,
                taken: true,
            });
        }
        let patience = until.saturating_sub(self.shared.clock.monotonic()).max(PAUSE);
        let here = Context { own: vec![dot], ..Context::default() };
        let position = self.read_at(&here, patience, syncline_sync::live::Node::context).map_err(|error| {
            if error.kind() != Kind::Stale {
                return error;
            }
            let why = format!(
                "transaction {} is written, durable at replica {certifier}, and has not come here within {} s: wait for it with `get --after \
                 after:{}`; do not write it again",
                token::of_dot(&dot),
                PATIENCE.as_secs(),
                token::of_context(&here)
            );
            Error::Stale { what: "waiting for a transaction on a strict table".to_owned(), why }
        })?;
        Ok(Committed { dot, position, read, taken: true })
    }

    /// Asks over the ways that there are, one after the other, until one has an answer.
    ///
    /// # Errors
    /// The last one's; `unavailable` when there is none.
    pub(crate) fn reach(&self, request: &reach::Request) -> Result<reach::Report> {
        let (mut last, mut request) = (None, request.clone());
        // Without a certifier it is the hub that decides where its transactions are taken.
        let upstream = match request.certifier {
            None => self.lock()?.connected_to(),
            Some(_) => None,
        };
        let certifier = request.certifier.clone().unwrap_or_default();
        for (way, left) in self.shared.ways.towards(&certifier, upstream.as_deref(), request.left) {
            request.left = left;
            let answer = way.reach(&request);
            let in_vain = answer.as_ref().is_err_and(|error| error.kind() == Kind::Unavailable);
            self.shared.ways.tried(&*way, in_vain);
            match answer {
                Err(error) if in_vain => last = Some(error),
                answer => return answer,
            }
            if upstream.as_deref() == Some(way.url()) {
                // Others are hubs, too, and not the one.
                break;
            }
        }
        Err(last.unwrap_or_else(|| {
            let why = "this process is connected to no other replica: run the command beside a node that serves this replica (`syncline up --upstream`, `--peer`)";
            unavailable("asking how far another replica is", why)
        }))
    }

    fn deliver(
        &self,
        certifier: &str,
        once: &str,
        changes: &Outgoing,
        (until, comes): (Duration, bool),
    ) -> Result<(Dot, Option<Context>)> {
        let mut maybe = false;
        loop {
            let mut last = None;
            for (way, left) in self.shared.ways.towards(certifier, None, changes.left) {
                let patience = until.saturating_sub(self.shared.clock.monotonic());
                if patience.is_zero() && last.is_some() {
                    break;
                }
                match way.write(&changes.changes(left), patience.max(PAUSE)) {
                    Ok(answer) => {
                        self.shared.ways.tried(&*way, false);
                        self.shared.ways.lock().right.insert(certifier.to_owned(), way.url().to_owned());
                        let dot = token::parse_dot(&answer.transaction)?;
                        return Ok((dot, answer.read.as_deref().map(token::parse).transpose()?));
                    }
                    Err(lost) => {
                        maybe |= lost.maybe;
                        self.shared.ways.tried(&*way, true);
                        // Others may know more of it; the rest is the certifier's answer, and stays so.
                        if !matches!(lost.error.kind(), Kind::Unavailable | Kind::Stale) {
                            return Err(lost.error);
                        }
                        last = Some(lost.error);
                    }
                }
            }
            if let Some(dot) = self.written_once(once)? {
                return Ok((dot, None));
            }
            let stale = last.as_ref().is_some_and(|error| error.kind() == Kind::Stale);
            if self.shared.clock.monotonic() >= until || !(maybe || stale) {
                return Err(unreached(certifier, once, last.as_ref(), comes.then_some(maybe)));
            }
            self.shared.clock.sleep(PAUSE);
        }
    }
}

/// `maybe` is whether it may have been written all the same; who has it from elsewhere does not say.
fn unreached(certifier: &str, once: &str, last: Option<&Error>, maybe: Option<bool>) -> Error {
    let why = last.map_or_else(
        || {
            "this process is connected to no other replica: run the command beside a node that serves this replica (`syncline up --upstream`, \
             `--peer`), or write at the certifier (--on URL)"
                .to_owned()
        },
        Error::to_string,
    );
    let what = format!("reaching replica {certifier}, which certifies the strict table");
    let become_of = match maybe {
        Some(true) => {
            format!(
                "it may have been written: give it again with the identity {once:?} (--once), and it is written once"
            )
        }
        Some(false) => "nothing was written; a strict table is not written to while its certifier is away".to_owned(),
        None => return unavailable(&what, &why),
    };
    unavailable(&what, &format!("{why}; {become_of}"))
}
