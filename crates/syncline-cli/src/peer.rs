//! The other side of a transfer: a dataset on a node, or a replica that this process can open itself.
//!
//! A replica in a directory or a bucket needs no server: a thread of this process answers for it, over a queue in
//! memory. Owns: the connection, or that thread; both end with the [`Peer`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use syncline_api::client::Client;
use syncline_base::{Hash, Kind, task};
use syncline_node::sync::{self, Counters, Transport};
use syncline_node::{Location, Replica};
use syncline_server::remote::Remote;

use crate::context::Context;
use crate::fault::{Fault, Result};

/// Messages that may wait in each direction; with their cap this bounds the memory.
const QUEUE: usize = 4;
/// How long the other thread may be silent. It works on a disk: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(900);

/// Where a transfer goes.
pub(crate) enum Peer {
    /// A dataset on a node.
    Node(Arc<Client>),
    /// A replica that is opened here.
    Here(Arc<Replica>),
}

impl Peer {
    /// Connects to what `url` names.
    pub(crate) fn connect(context: &Context, url: &str) -> Result<Self> {
        match Location::parse(url)? {
            Location::Node(url) => {
                let client = context.client(&url)?;
                if client.target().dataset.is_empty() {
                    let known = client.datasets()?.join(", ");
                    return Err(Fault::invalid(format!(
                        "{url} names a node and no dataset; write {url}/DATASET\nit has: {known}"
                    )));
                }
                Ok(Self::Node(Arc::new(client)))
            }
            location => Ok(Self::Here(Arc::new(Replica::open(&location, context.env())?))),
        }
    }

    /// Makes the dataset when the node does not have it.
    pub(crate) fn create(&self) -> Result<()> {
        let Self::Node(client) = self else { return Ok(()) };
        let name = &client.target().dataset;
        if client.datasets()?.contains(name) {
            return Ok(());
        }
        match client.create_dataset(name) {
            // Somebody else made it at the same time.
            Err(error) if error.kind() == Kind::Conflict => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Begins a session.
    pub(crate) fn open(&self) -> syncline_node::Result<Box<dyn Transport>> {
        match self {
            Self::Node(client) => Ok(Box::new(Remote::new(client))),
            Self::Here(replica) => Ok(Box::new(Local::serve(Arc::clone(replica))?)),
        }
    }
}

/// The URL under which a peer is remembered: a path must mean the same from every directory.
pub(crate) fn lasting(url: &str) -> Result<String> {
    match Location::parse(url)? {
        Location::Path(path) => Ok(std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()),
        Location::Bucket(url) | Location::Node(url) => Ok(url),
    }
}

/// The URL that a command names, or that of the peer which the replica remembers.
pub(crate) fn url_of(replica: &Replica, named: Option<&str>, verb: &str) -> Result<String> {
    if let Some(url) = named {
        return lasting(url);
    }
    let remotes = replica.refs()?.remotes;
    let only = || if remotes.len() == 1 { remotes.values().next() } else { None };
    match remotes.get(syncline_node::ops::transfer::ORIGIN).or_else(only) {
        Some(remote) => Ok(remote.url.clone()),
        None => Err(Fault::invalid(format!(
            "{verb}: this replica remembers no other one\nname it: syncline {verb} http://HOST:PORT/DATASET"
        ))),
    }
}

/// Brings objects by address, for repair.
pub(crate) fn fetch(peer: &Peer, ids: &[Hash]) -> syncline_node::Result<Vec<Option<bytes::Bytes>>> {
    let (found, _) = sync::fetch(&mut *peer.open()?, ids.to_vec())?;
    let bytes_of = |id: &Hash| found.iter().find(|(found, _)| found == id).map(|(_, bytes)| bytes.clone());
    Ok(ids.iter().map(bytes_of).collect())
}

/// One end of a pair of queues.
struct Queues {
    /// `None` once all is said.
    send: Option<SyncSender<bytes::Bytes>>,
    receive: Receiver<bytes::Bytes>,
    counters: Counters,
}

fn gone() -> sync::Error {
    sync::Error::Transport { kind: Kind::Unavailable, message: "the other replica ended the session".to_owned() }
}

impl Queues {
    fn pair() -> (Self, Self) {
        let (to_there, from_here) = sync_channel(QUEUE);
        let (to_here, from_there) = sync_channel(QUEUE);
        let here = Self { send: Some(to_there), receive: from_there, counters: Counters::default() };
        (here, Self { send: Some(to_here), receive: from_here, counters: Counters::default() })
    }

    fn count(&mut self, message: bytes::Bytes) -> bytes::Bytes {
        self.counters.received += message.len() as u64;
        message
    }
}

impl Transport for Queues {
    fn peer(&self) -> String {
        "the other replica".to_owned()
    }

    fn send(&mut self, message: bytes::Bytes) -> sync::Result<()> {
        self.counters.sent += message.len() as u64;
        self.send.as_ref().ok_or_else(gone)?.send(message).map_err(|_| gone())
    }

    fn receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        match self.receive.recv_timeout(PATIENCE) {
            Ok(message) => Ok(Some(self.count(message))),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("the other replica did not answer within {} s", PATIENCE.as_secs());
                Err(sync::Error::Transport { kind: Kind::Unavailable, message })
            }
        }
    }

    fn try_receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        match self.receive.try_recv() {
            Ok(message) => Ok(Some(self.count(message))),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }

    fn finish(&mut self) {
        self.send = None;
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// Our end of a session with a replica of this machine.
struct Local {
    queues: Queues,
    thread: Option<JoinHandle<()>>,
}

impl Local {
    /// Starts a thread that answers for `replica`.
    fn serve(replica: Arc<Replica>) -> syncline_node::Result<Self> {
        let (queues, mut theirs) = Queues::pair();
        let serve = move || {
            // The session tells its fault to the other end, which is us.
            if let Err(error) = sync::serve(&*replica, &mut theirs) {
                tracing::debug!("the session for the other replica ended: {error}");
            }
        };
        let thread = task::spawn("syncline-peer", serve).map_err(|error| {
            let message = format!("starting a thread for the other replica: {error}");
            sync::Error::Transport { kind: Kind::of_io(&error), message }
        })?;
        Ok(Self { queues, thread: Some(thread) })
    }
}

impl Transport for Local {
    fn peer(&self) -> String {
        self.queues.peer()
    }

    fn send(&mut self, message: bytes::Bytes) -> sync::Result<()> {
        self.queues.send(message)
    }

    fn receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        self.queues.receive()
    }

    fn try_receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        self.queues.try_receive()
    }

    fn finish(&mut self) {
        self.queues.finish();
    }

    fn counters(&self) -> Counters {
        self.queues.counters()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.queues.finish();
        // A thread that waits to be heard must not wait for ever.
        while self.queues.receive.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed by itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_carry_messages_both_ways_and_end() {
        let (mut here, mut there) = Queues::pair();
        here.send(bytes::Bytes::from_static(b"ask")).expect("there is listening");
        assert_eq!(there.receive().expect("a message").as_deref(), Some(&b"ask"[..]));
        assert_eq!(here.try_receive().expect("no message yet"), None);
        there.send(bytes::Bytes::from_static(b"answer")).expect("here is listening");
        there.finish();
        assert_eq!(here.receive().expect("a message").as_deref(), Some(&b"answer"[..]));
        assert_eq!(here.receive().expect("the end"), None);
        assert_eq!(here.counters(), Counters { sent: 3, received: 6 });
        drop(there);
        assert_eq!(here.send(bytes::Bytes::new()).expect_err("nobody listens").kind(), Kind::Unavailable);
    }

    #[test]
    fn remembered_paths_do_not_depend_on_the_directory() {
        assert!(lasting("some/dir").expect("a path").ends_with("/some/dir"));
        assert!(lasting("some/dir").expect("a path").starts_with('/'));
        assert_eq!(lasting("http://h:1/d/").expect("a node"), "http://h:1/d");
    }
}
