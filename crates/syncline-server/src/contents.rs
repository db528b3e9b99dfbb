//! Contents of live files between this node and one that it follows: a thread for each dataset, which has a connection of its own while there is
//! something to bring or to give.
//!
//! Owns: the threads, through [`Exchanges`]. After a crash: nothing is left of them; what is lacking is found anew.
//!
//! Not here: what is brought and given, and when (`syncline_node::live::files::contents`).

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use syncline_api::client::{Client, Reply};
use syncline_base::{Clock, Hash, SystemClock, task};
use syncline_node::live::files::contents::{Exchange, Given, Peer};
use syncline_node::sync::{self, Transport};
use syncline_node::{Connect, Replica};
use syncline_tree::content::ContentRef;
use tokio::sync::watch;

use crate::live::Upstream;
use crate::remote::Remote;
use crate::{Error, Result};

/// The first pause before a connection is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long threads are waited for when the node ends, and how often is looked.
const STOP: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(5));

/// The threads of a node.
#[derive(Debug, Default)]
pub(crate) struct Exchanges(Mutex<Vec<JoinHandle<()>>>);

impl Exchanges {
    /// Begins to bring and give contents, until `stopped`.
    pub(crate) fn begin(
        &self,
        replica: Arc<Replica>,
        upstream: Upstream,
        stopped: watch::Receiver<bool>,
    ) -> Result<()> {
        let work = move || run(&replica, &upstream, &stopped);
        let thread = task::spawn("syncline-contents", work).map_err(|error| {
            Error::Settings(format!("no thread could be started for the contents of files: {error}"))
        })?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Waits a little for threads that were told to stop.
    pub(crate) fn end(&self) {
        let clock = SystemClock;
        let until = clock.monotonic() + STOP.0;
        let threads = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while threads.iter().any(|thread| !thread.is_finished()) && clock.monotonic() < until {
            clock.sleep(STOP.1);
        }
    }
}

fn run(replica: &Replica, upstream: &Upstream, stopped: &watch::Receiver<bool>) {
    let url = upstream.target.to_string();
    let mut exchange = match Exchange::new(replica, &url) {
        Ok(exchange) => exchange,
        Err(error) => {
            tracing::error!(%error, "contents of files are not exchanged");
            return;
        }
    };
    let (mut pause, mut peer, mut said) = (PAUSES.0, None, String::new());
    // An error means that the node is gone.
    while !*stopped.borrow() && stopped.has_changed().is_ok() {
        let done = exchange.news().map_err(Error::from).and_then(|found| {
            if !exchange.is_due(&found) {
                return Ok(());
            }
            if !found.is_empty() {
                exchange.hurry();
            }
            let peer = match &mut peer {
                Some(peer) => peer,
                None => peer.insert(Dialed::new(upstream)?),
            };
            Ok(exchange.round(peer, found)?)
        });
        match done {
            Ok(()) => {
                pause = PAUSES.0;
                said.clear();
            }
            Err(error) => {
                let why = error.to_string();
                // Once for each reason: a node may be away for days.
                if why != said {
                    tracing::warn!(peer = %url, %why, "contents of files wait");
                    said = why;
                }
                peer = None;
                exchange.forget();
                SystemClock.sleep(pause.min(Duration::from_secs(1)));
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// A node that was connected to.
struct Dialed {
    client: Arc<Client>,
}

impl Dialed {
    fn new(upstream: &Upstream) -> Result<Self> {
        let client = Client::connect(upstream.target.clone(), upstream.options.clone())?;
        Ok(Self { client: Arc::new(client) })
    }

    fn call<Request: Serialize + ?Sized, Report: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Request,
        input: &[u8],
    ) -> syncline_node::Result<Report> {
        let failed = |why: String| syncline_node::Error::Unavailable {
            what: format!("asking {} for {verb}", self.client.target()),
            why,
        };
        let request = serde_json::to_string(request).map_err(|error| failed(error.to_string()))?;
        let (mut report, mut input) = (None, input);
        let call = self.client.call(&self.client.target().dataset, verb, &request, Some(&mut input), &mut |reply| {
            if let Reply::Report(json) = reply {
                report = Some(json);
            }
            Ok(())
        });
        call.map_err(|error| {
            syncline_node::Error::Sync(sync::Error::Transport { kind: error.kind(), message: error.to_string() })
        })?;
        let report = report.ok_or_else(|| failed("it gave no report".to_owned()))?;
        serde_json::from_str(&report).map_err(|error| failed(error.to_string()))
    }
}

impl Peer for Dialed {
    fn lacking(&mut self, contents: &[ContentRef]) -> syncline_node::Result<Vec<ContentRef>> {
        self.call("contents-lacking", contents, &[])
    }

    fn lacking_objects(&mut self, ids: &[Hash]) -> syncline_node::Result<Vec<Hash>> {
        self.call("objects-lacking", ids, &[])
    }

    fn give(&mut self, objects: &[u8]) -> syncline_node::Result<()> {
        self.call("contents-give", &(), objects).map(|Given { .. }| ())
    }

    fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(Dial(Arc::clone(&self.client)))
    }
}

/// Fetches from the node, whatever its address.
#[derive(Debug)]
struct Dial(Arc<Client>);

impl Connect for Dial {
    fn connect(&self, _: &str) -> syncline_node::Result<Box<dyn Transport>> {
        Ok(Box::new(Remote::new(&self.0)))
    }
}
