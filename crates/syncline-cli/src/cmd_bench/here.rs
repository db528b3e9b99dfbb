//! A node in this process, that follows others over the network: its engine can be asked when something is there.
//!
//! Owns: a replica in a directory, and a listening socket while it is connected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use syncline_api::Target;
use syncline_api::client::Options;
use syncline_node::live::{Engine, token};
use syncline_node::ops::{put, table};
use syncline_node::sync::live::Context as Position;
use syncline_node::{Env, Location, Replica};
use syncline_server::live::{Follow, Role, Upstream};
use syncline_server::{Hub, Running, Settings};

use super::live;
use crate::fault::Result;

/// Its one dataset.
const NAME: &str = "bench";
/// What is waited for comes in this time, or never.
const PATIENCE: Duration = Duration::from_secs(600);

/// A node.
pub(super) struct Here {
    hub: Arc<Hub>,
    running: Option<Running>,
}

impl Here {
    /// The replica in a directory, made when there is none.
    pub(super) fn open(dir: &Path, env: Env) -> Result<Self> {
        let location = Location::parse(&dir.display().to_string())?;
        let replica = if dir.exists() { Replica::open(&location, env)? } else { Replica::create(&location, env)? };
        Ok(Self { hub: Arc::new(Hub::of_one(NAME, replica)?), running: None })
    }

    /// Its live tables.
    pub(super) fn engine(&self) -> Result<Engine> {
        Ok(self.hub.live(NAME)?)
    }

    /// Makes the table, with a row in it, for everybody to write to.
    pub(super) fn make_table(&self, row: &[u8]) -> Result<()> {
        let replica = self.hub.dataset(NAME)?;
        put::run(&replica, &live::table(), &mut &*row)?;
        let settings = table::Wanted { writers: Some("many".to_owned()), ..table::Wanted::default() };
        let (rename, widen, add, deprecate, drop) = Default::default();
        let table = live::TABLE.to_owned();
        table::run(&replica, &table::Request::Set { table, settings, rename, widen, add, deprecate, drop })?;
        Ok(())
    }

    /// Listens; says where its dataset is.
    pub(super) fn listen(&mut self) -> Result<Target> {
        let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
        let running = syncline_server::start(&settings, Arc::clone(&self.hub))?;
        let url = format!("{}/{NAME}", running.url(false));
        self.running = Some(running);
        Ok(Target::parse(&url)?)
    }

    /// Is connected to another node from here on. It listens.
    pub(super) fn follow(&self, target: &Target, options: &Options, role: Role) -> Result<()> {
        let upstream = Upstream { target: target.clone(), options: options.clone(), scope: Follow::Remembered };
        let running = self.running.as_ref().context("a node that does not listen follows nobody")?;
        running.follow(&self.hub, Some(NAME), &upstream, role)?;
        Ok(())
    }

    /// Ends all connections. The replica stays open.
    pub(super) fn cut(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }

    /// Waits until everything in a position is durable and shown here.
    pub(super) fn sees(&self, position: &str) -> Result<()> {
        self.has(&token::parse_wait(position)?)
    }

    /// See [`Self::sees`].
    pub(super) fn has(&self, position: &Position) -> Result<()> {
        Ok(self.engine()?.read_at(position, PATIENCE, |_| ())?)
    }

    /// How many rows it shows.
    pub(super) fn rows(&self) -> Result<u64> {
        Ok(self.engine()?.frozen()?.counts().get(live::TABLE).map_or(0, |count| count.rows))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.cut();
    }
}
