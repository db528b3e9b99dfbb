//! The hubs that a dataset has, as whoever connects this replica to them finds out: kept for `status`, and across restarts.
//!
//! Nothing of replication depends on it. Owns: the list that was told last. After a crash: `members.json` of the replica's live part is whole, old or
//! new; it is a cache, and bytes here.
//!
//! Not here: how it is found out, and what the file says (`syncline-server`).

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::home;
use super::Engine;
use crate::Result;

/// A hub of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where others connect to it.
    pub url: String,
    /// How it is.
    pub state: State,
    /// Since when, in milliseconds since the Unix epoch by this replica's clock.
    pub since_ms: u64,
    /// Whether it is this replica.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
}

/// How a hub is, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Alive,
    /// It has not answered somebody, and may be gone.
    Suspect,
    /// It does not answer anybody.
    Gone,
}

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Vec<Member>>);

impl Engine {
    /// These are the hubs, from now on.
    pub fn tell_members(&self, members: Vec<Member>) {
        *self.shared.members.0.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// The hubs, as they were told last.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.shared.members.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was remembered of them, if it is not longer than so many bytes.
    ///
    /// # Errors
    /// The file system's; as [`Self::read`].
    pub fn remembered_members(&self, longest: u64) -> Result<Option<Vec<u8>>> {
        self.lock()?.home.members(longest)
    }

    /// Remembers that, durably.
    ///
    /// # Errors
    /// As [`Self::remembered_members`].
    pub fn remember_members(&self, text: &[u8]) -> Result<()> {
        // Nobody waits for the disk.
        let dir = self.lock()?.home.dir();
        home::write_members(&dir, text)
    }
}
