//! Scopes at work: what the other end of a connection is sent, what this replica holds, and what it refuses therefore.
//!
//! Owns: the scope that is held, as it was read. After a crash: the log and the home say it.

use std::sync::Arc;

use bytes::Bytes;
use syncline_sync::live::{Message, PeerId, Write};

use super::super::scopes::{self, Named};
use super::core::Core;
use super::{Engine, Link, Outbox};
use crate::{Error, Result};

/// What a replica holds of a dataset, as its status says it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Held {
    /// The name of the scope.
    pub name: String,
    /// Which of all that were called so.
    pub version: String,
}

impl Core {
    /// Reads the scope that the node holds, if it is another one than before: what was known of states was of other rows.
    pub(super) fn settle_scope(&mut self) {
        let id = self.node.scope();
        if self.scope.as_ref().map_or(id.is_empty(), |held| held.1 == *id) {
            return;
        }
        let named = (!id.is_empty()).then(|| Named::read(id));
        let held = named.transpose().unwrap_or_else(|error| {
            // A newer program's: nothing is known to be in it.
            tracing::error!(%error, "the scope that this replica holds cannot be read");
            None
        });
        self.scope = (!id.is_empty()).then(|| (held.map(Arc::new), id.clone()));
        self.beside.audit.begin_anew();
    }

    /// The scope that the node holds.
    ///
    /// # Errors
    /// `invalid` when it cannot be read.
    fn held(&self) -> Result<Option<&Named>> {
        match &self.scope {
            None => Ok(None),
            Some((Some(held), _)) => Ok(Some(held)),
            Some((None, _)) => {
                let why = "a newer program made the scope that this replica holds: update this one";
                Err(Error::invalid("writing a transaction", why))
            }
        }
    }

    /// Refuses what is outside of what is held.
    pub(super) fn check_scope(&self, writes: &[Write]) -> Result<()> {
        scopes::check_writes(&self.node, self.held()?, writes)
    }

    /// Lets go of those who are sent what is inside a scope that is another one now: they come again.
    pub(super) fn recheck_served(&mut self) {
        let node = &self.node;
        let changed = |(_, named): &(&PeerId, &Arc<Named>)| !matches!(scopes::load(node, named.name()), Ok(Some(now)) if now == ***named);
        let gone: Vec<PeerId> = self.beside.served_within.iter().filter(changed).map(|(peer, _)| *peer).collect();
        for peer in gone {
            self.beside.served_within.remove(&peer);
            self.peers.remove(&peer);
            self.node.disconnected(peer);
        }
    }

    /// Says of a hello whether its sender sends what is wanted of it.
    pub(super) fn check_hello(&self, peer: PeerId, message: &Message) -> Result<()> {
        let Message::Hello { within, .. } = message else { return Ok(()) };
        let upstream = self.beside.links.get(&peer).is_some_and(|link| link.upstream);
        let Some(wanted) = self.home.scope()?.filter(|_| upstream) else { return Ok(()) };
        if within.scope.is_empty() || Named::read(&within.scope)?.name() != wanted {
            return Err(Error::Unavailable {
                what: format!("following scope {wanted:?}"),
                why: "the upstream sends everything: it does not know of scopes; update it".to_owned(),
            });
        }
        Ok(())
    }
}

impl Engine {
    /// The scope that is followed, by name, and the one that is held.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn scopes_here(&self) -> Result<(Option<String>, Option<Held>)> {
        let core = self.lock()?;
        let held = core.scope.as_ref().map(|(held, _)| match held {
            Some(held) => Held { name: held.name().to_owned(), version: held.version() },
            None => Held { name: "that cannot be read".to_owned(), version: String::new() },
        });
        Ok((core.home.scope()?, held))
    }

    /// The scope that is followed, by name; the one that is held, by its bytes; and that one, as far as it can be read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn scope_state(&self) -> Result<(Option<String>, Bytes, Option<Arc<Named>>)> {
        let core = self.lock()?;
        let held = core.scope.as_ref().and_then(|(held, _)| held.clone());
        Ok((core.home.scope()?, core.node.scope().clone(), held))
    }

    /// The scope that is held, if not everything is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn held_scope(&self) -> Result<Option<Arc<Named>>> {
        Ok(self.lock()?.scope.as_ref().and_then(|(held, _)| held.clone()))
    }

    /// Follows a scope at the upstream from the next connection on, or with `None` everything.
    ///
    /// # Errors
    /// The file system's.
    pub fn follow_scope(&self, name: Option<&str>) -> Result<()> {
        self.lock()?.home.set_scope(name)
    }

    /// Refuses what only who holds everything can do.
    ///
    /// # Errors
    /// `invalid` when not everything is here; as [`Self::read`].
    pub fn check_whole(&self, what: &str) -> Result<()> {
        let Some(held) = self.held_scope()? else { return Ok(()) };
        let why = format!("this replica holds scope {:?} and nothing else; its upstream can", held.name());
        Err(Error::invalid(what, why))
    }

    /// As [`Self::connect`], for somebody who connected here and is sent what is inside `scope`, or with `None` everything.
    ///
    /// # Errors
    /// `not-found` when there is no such scope; `invalid` when not all is here, so that nobody can be served; as [`Self::read`].
    pub fn serve(&self, scope: Option<&str>, outbox: Outbox) -> Result<PeerId> {
        self.check_whole("serving another replica")?;
        let named = scope.map(|name| self.scope(name)).transpose()?;
        let link = Link { serves: scope.map(ToOwned::to_owned), ..Link::default() };
        self.connect_within(link, named, outbox)
    }
}
