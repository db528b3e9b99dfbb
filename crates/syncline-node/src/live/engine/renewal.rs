//! Rows that cannot be believed, and how this replica gets what they should be.
//!
//! What a disk gives back otherwise than it was written is found by checksums whenever it is read, and a proof reads every row. Then no more is
//! written here and no rows are sent, and the whole state of the first replica that is connected and has all that this one covers takes
//! the place of all rows, in one step. The same when a person says so ([`Engine::renew`]): where two replicas differ nobody else can tell which of
//! them is wrong. Then nobody is shown rows either until others are here.
//!
//! Owns: why and since when, in the home. After a crash it goes on.
//!
//! Not here: how one state takes the place of another (the core's).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_sync::live::PeerId;

use super::core::Core;
use super::{Engine, Link};
use crate::{Error, Result};

/// Who waits looks as often.
const LOOK: Duration = Duration::from_millis(200);

/// Why all rows are taken anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// What is wrong with those that are here.
    pub why: String,
    /// Whether a person has said so. Else some could not be read; the others can.
    pub asked: bool,
    /// The address of the replica whose rows are taken; without one, of any that is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Since when, by the clock of this machine, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Renewal {
    fn is_from(&self, link: &Link) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').to_owned();
        self.from.as_deref().is_none_or(|from| link.url.as_deref().map(plain) == Some(plain(from)))
    }

    fn error(&self) -> Error {
        let from = self.from.as_deref().unwrap_or("the next replica that is connected");
        let why = format!(
            "{}; all rows are being taken anew from {from}, and `syncline status` says when they are here",
            self.why
        );
        Error::Corrupt { what: "what live tables hold".to_owned(), why }
    }
}

impl Core {
    /// Some rows could not be read.
    pub(super) fn damaged(&mut self, why: &str) {
        if self.renewal.is_some() {
            return;
        }
        tracing::error!(
            why,
            "rows of live tables are damaged; all are taken anew from the next replica that is connected"
        );
        let renewal = Renewal { why: why.to_owned(), asked: false, from: None, time_ms: self.clock.now_ms() };
        self.begin_renewal(renewal);
    }

    /// Somebody could not read what he had taken along. If it is what is here now, whoever looks next opens the log anew, for that.
    pub(super) fn note_damage(&mut self) {
        let why = self.node.trouble().filter(|_| self.renewal.is_none() && self.broken.is_none());
        if let Some(why) = why.map(ToOwned::to_owned) {
            self.damaged(&why);
            self.stop(&why);
        }
    }

    fn begin_renewal(&mut self, renewal: Renewal) {
        if let Err(error) = self.home.set_renewal(Some(&renewal)) {
            tracing::error!(%error, "it could not be written down that rows are damaged; it is found again when this process ends");
        }
        self.renewal = Some(renewal);
    }

    /// The node is open: it goes on with what was begun.
    pub(super) fn resume_renewal(&mut self) {
        self.renewal = self.home.renewal().or_else(|| self.renewal.take());
        // Somebody may have brought the bytes back.
        if self.renewal.as_ref().is_some_and(|renewal| !renewal.asked) && self.node.scrub().is_ok() {
            tracing::info!("all rows of live tables can be read again");
            return self.forget_renewal();
        }
        if self.renewal.is_some() {
            self.node.renew(self.clock.now_ms());
            self.end_renewal();
        }
    }

    fn forget_renewal(&mut self) {
        self.renewal = None;
        if let Err(error) = self.home.set_renewal(None) {
            tracing::warn!(%error, "rows are taken anew once more when this replica is opened again");
        }
    }

    /// Why nobody is shown anything, if nobody is.
    pub(super) fn hidden(&self) -> Result<()> {
        self.renewal.as_ref().filter(|renewal| renewal.asked).map_or(Ok(()), |renewal| Err(renewal.error()))
    }

    /// A connection is there.
    pub(super) fn renew_from(&mut self, peer: PeerId, link: &Link) {
        if self.renewal.as_ref().is_some_and(|renewal| renewal.is_from(link)) {
            self.node.may_renew_from(peer);
        }
    }

    /// Rows that can be believed may have come.
    pub(super) fn end_renewal(&mut self) {
        if self.node.renews() {
            return;
        }
        let Some(renewal) = self.renewal.clone() else { return };
        self.forget_renewal();
        if renewal.asked {
            self.beside.audit.settle_alarms();
            if let Err(error) = self.home.settle_alarms() {
                tracing::warn!(%error, "alarms that are dealt with could not be put aside");
            }
        }
        self.beside.audit.begin_anew();
        // Others have said what they hold, and would not say it again before that changes.
        self.want_proof(self.clock.monotonic());
        self.tables_version.grow();
        self.files.0 += 1;
        tracing::info!(why = renewal.why, "all rows of live tables were taken anew");
    }
}

impl Engine {
    /// Takes all rows anew: from the replica with this address, to which this one connects, or from any that is connected. What waits for a hub
    /// stays. Returns at once.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn renew(&self, from: Option<&str>) -> Result<()> {
        let mut core = self.lock()?;
        let why =
            core.renewal.as_ref().map_or_else(|| "somebody said that they are wrong".to_owned(), |is| is.why.clone());
        let now_ms = core.clock.now_ms();
        core.begin_renewal(Renewal { why, asked: true, from: from.map(ToOwned::to_owned), time_ms: now_ms });
        core.node.renew(now_ms);
        let links: Vec<(PeerId, Link)> = core.beside.links.iter().map(|(peer, link)| (*peer, link.clone())).collect();
        links.iter().for_each(|(peer, link)| core.renew_from(*peer, link));
        core.drain();
        core.end_renewal();
        drop(core);
        self.shared.news.tell();
        Ok(())
    }

    /// Waits until other rows are here, or so long.
    ///
    /// # Errors
    /// As [`Self::read`], but for that.
    pub fn wait_renewed(&self, patience: Duration) -> Result<()> {
        let until = self.shared.clock.monotonic() + patience;
        let mut core = self.lock()?;
        while core.renewal.is_some() && core.broken.is_none() {
            let now = self.shared.clock.monotonic();
            if now >= until {
                break;
            }
            core = self.shared.news.wait(core, (until - now).min(LOOK));
        }
        Ok(())
    }

    /// Puts alarms aside: somebody has looked, and what is here is right. Takes back that somebody said it is not.
    ///
    /// # Errors
    /// The file system's; as [`Self::read`].
    pub fn settle_alarms(&self) -> Result<()> {
        let mut core = self.lock()?;
        core.home.settle_alarms()?;
        core.beside.audit.settle_alarms();
        if core.renewal.as_ref().is_some_and(|renewal| renewal.asked) {
            core.home.set_renewal(None)?;
            core.renewal = None;
            // Parts of other rows may have come. What can be read is found out when the log is opened anew.
            core.stop("what is here was said to be right");
            drop(core);
            drop(self.lock()?);
        }
        Ok(())
    }

    /// Why all rows are being taken anew, if they are.
    ///
    /// # Errors
    /// As [`Self::read`], but for that.
    pub fn renewal(&self) -> Result<Option<Renewal>> {
        Ok(self.lock()?.renewal.clone())
    }
}
