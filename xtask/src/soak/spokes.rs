//! The life of a spoke: away most of the time, then on, writing, heard, and away again, by stopping or by being killed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use crate::cluster::client::Client;
use crate::cluster::node::{Host, Node};
use crate::cluster::{Rows, end};

/// A spoke writes for at least so long, and up to so much longer.
const WRITES: Duration = Duration::from_secs(2);
/// Between two things that its client does.
const PAUSE: Duration = Duration::from_millis(150);
/// How long its hub may take to have everything; killed hubs are back long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// A spoke with its client.
#[derive(Debug)]
pub(super) struct Spoke {
    node: Node,
    pub(super) client: Client,
}

/// What happened to spokes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) duties: u64,
    pub(super) killed: u64,
    pub(super) longest_upload: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.duties += other.duties;
        self.killed += other.killed;
        self.longest_upload = self.longest_upload.max(other.longest_upload);
    }
}

/// Makes them, each behind one of the hubs. None of them has run yet.
pub(super) fn make(
    count: usize,
    host: &Host,
    place: &Path,
    hubs: &[Node],
    (rows, founder): (Rows, &Client),
    rng: &mut Rng,
) -> Result<Vec<Spoke>> {
    let one = |session: usize| {
        let links = vec!["--upstream".to_owned(), hubs[session % hubs.len()].door.url.clone()];
        let dir = place.join(format!("spoke-{session}"));
        let node = Node::new(host.clone(), place, &dir, "http://127.0.0.1:0", links)?;
        let mut client = Client::new(session, node.door.clone(), rows, Rng::from_seed(rng.next_u64()));
        client.founded(founder);
        Ok(Spoke { node, client })
    };
    (0..count).map(one).collect()
}

impl Spoke {
    /// Once on, and away again.
    pub(super) fn duty(&mut self, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
        self.on()?;
        if self.client.txns.is_empty() {
            // It has never had the table, which was made and filled by two transactions.
            self.node.wait(PATIENCE, "the table", |live| live.transactions >= 2)?;
        }
        tally.duties += 1;
        let until = SystemClock.monotonic() + WRITES + Duration::from_millis(rng.below(2 * WRITES.as_millis() as u64));
        while SystemClock.monotonic() < until {
            self.client.step().with_context(|| self.node.name.clone())?;
            SystemClock.sleep(PAUSE);
        }
        // Some go before anybody has heard them, and some in the middle of a transaction's way.
        if rng.below(4) > 0 {
            tally.longest_upload = tally.longest_upload.max(self.heard(PATIENCE)?);
        }
        if rng.below(2) == 0 {
            self.node.kill();
            tally.killed += 1;
            return Ok(());
        }
        self.node.stop()
    }

    /// On once more, without writing, until its hub has everything. How long that took.
    pub(super) fn deliver(&mut self, most: Duration) -> Result<Duration> {
        let begun = SystemClock.monotonic();
        self.on()?;
        self.heard(most)?;
        self.node.stop()?;
        Ok(SystemClock.monotonic() - begun)
    }

    /// On once more, until it has this root. How long that took.
    pub(super) fn follow(&mut self, root: &str, most: Duration) -> Result<Duration> {
        let begun = SystemClock.monotonic();
        self.on()?;
        self.node.wait(most, "the root of the hubs", |live| live.root == root && live.unsent == 0)?;
        let took = SystemClock.monotonic() - begun;
        // Equal roots are equal rows; it shows them, too.
        end::rows(&self.node)?;
        self.node.stop()?;
        Ok(took)
    }

    fn on(&mut self) -> Result<()> {
        self.node.start()?;
        self.client.door = self.node.door.clone();
        Ok(())
    }

    fn heard(&self, most: Duration) -> Result<Duration> {
        let begun = SystemClock.monotonic();
        self.node.wait(most, "a hub that has taken all in", |live| live.unsent == 0)?;
        Ok(SystemClock.monotonic() - begun)
    }
}
