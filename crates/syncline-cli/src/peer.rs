//! The other side of a transfer: a dataset on a node, or a replica that this process can open itself.
//!
//! A replica in a directory or a bucket needs no server: a thread of this process answers for it. Owns: the connections
//! to nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use syncline_api::Target;
use syncline_api::client::{Client, Options};
use syncline_base::{Hash, Kind};
use syncline_node::replica::Here;
use syncline_node::sync::{self, Transport};
use syncline_node::{Connect, Location, Replica, loopback};
use syncline_server::remote::Remote;

use crate::context::Context;
use crate::fault::{Fault, Result};

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

    /// As [`Peer::connect`]; makes the dataset when the node or the bucket does not have it.
    pub(crate) fn make(context: &Context, url: &str) -> Result<Self> {
        let location = Location::parse(url)?;
        if matches!(location, Location::Bucket(_))
            && !location.is_dataset(&context.env())?
            && let Err(error) = Replica::create(&location, context.env())
            && error.kind() != Kind::Conflict
        {
            return Err(error.into());
        }
        let peer = Self::connect(context, url)?;
        let Self::Node(client) = &peer else { return Ok(peer) };
        let name = &client.target().dataset;
        if !client.datasets()?.contains(name) {
            // Somebody else may make it at the same time.
            if let Err(error) = client.create_dataset(name)
                && error.kind() != Kind::Conflict
            {
                return Err(error.into());
            }
        }
        Ok(peer)
    }

    /// This peer, unless it is the replica that asks: what that has is always the same.
    pub(crate) fn other_than(self, replica: &Replica, url: &str) -> Result<Self> {
        match &self {
            Self::Here(peer) if peer.is_same_place(replica) => Err(Fault::invalid(format!(
                "transferring with {url}: that is this very replica\nname another one, or make one with `syncline init DIR --bare`"
            ))),
            _ => Ok(self),
        }
    }

    /// Begins a session.
    pub(crate) fn open(&self) -> syncline_node::Result<Box<dyn Transport>> {
        match self {
            Self::Node(client) => Ok(Box::new(Remote::new(client))),
            Self::Here(replica) => loopback::connect(Arc::clone(replica)),
        }
    }
}

/// The URL under which a peer is remembered: a path must mean the same from every directory.
pub(crate) fn lasting(url: &str) -> Result<String> {
    match Location::parse(url)? {
        Location::Path(path) => {
            // What is below `..` must not seem to lie below what is before it.
            let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
            let plain = if climbs { path.canonicalize() } else { std::path::absolute(&path) };
            let plain = plain.or_else(|_| std::path::absolute(&path)).unwrap_or(path);
            Ok(plain.to_string_lossy().into_owned())
        }
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

/// Reaches nodes, too, for what a partial replica left elsewhere. A connection is kept for the next time.
#[derive(Debug)]
pub(crate) struct Reach {
    options: Options,
    /// Read when it is needed: most commands reach nobody.
    authority: Option<PathBuf>,
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

impl Reach {
    pub(crate) fn new(options: Options, authority: Option<PathBuf>) -> Self {
        Self { options, authority, clients: Mutex::default() }
    }

    fn options(&self) -> syncline_node::Result<Options> {
        let mut options = self.options.clone();
        if let Some(path) = &self.authority {
            let failed = |source| syncline_node::Error::Io { what: "reading", path: path.clone(), source };
            options.authority = Some(std::fs::read(path).map_err(failed)?);
        }
        Ok(options)
    }
}

impl Connect for Reach {
    fn connect(&self, url: &str) -> syncline_node::Result<Box<dyn Transport>> {
        let Location::Node(url) = Location::parse(url)? else { return Here.connect(url) };
        let failed = |error: syncline_api::Error| {
            syncline_node::Error::Sync(sync::Error::Transport { kind: error.kind(), message: error.to_string() })
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(&url) {
            Some(client) => Arc::clone(client),
            None => {
                let target = Target::parse(&url).map_err(failed)?;
                let client = Arc::new(Client::connect(target, self.options()?).map_err(failed)?);
                clients.insert(url, Arc::clone(&client));
                client
            }
        };
        Ok(Box::new(Remote::new(&client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_paths_do_not_depend_on_the_directory() {
        assert!(lasting("some/dir").expect("a path").ends_with("/some/dir"));
        assert!(lasting("some/dir").expect("a path").starts_with('/'));
        assert_eq!(lasting("http://h:1/d/").expect("a node"), "http://h:1/d");
    }
}
