//! Clients that work side by side, each on a thread of its own, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use syncline_base::{Clock, SystemClock, task};

use super::client::Client;

/// How long a client waits between two steps, and after one that failed.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Crew {
    stop: Arc<AtomicBool>,
    at_work: Vec<JoinHandle<Result<Client>>>,
}

impl Crew {
    /// Sets them to work.
    pub(crate) fn start(clients: Vec<Client>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let work = |client: Client| {
            let stop = Arc::clone(&stop);
            task::spawn("client", move || work(client, &stop)).context("starting a client's thread")
        };
        let at_work = clients.into_iter().map(work).collect::<Result<_>>()?;
        Ok(Self { stop, at_work })
    }

    /// Tells them to stop, and gives them back as they are then.
    pub(crate) fn stop(self) -> Result<Vec<Client>> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |one: JoinHandle<Result<Client>>| one.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        self.at_work.into_iter().map(join).collect()
    }
}

fn work(mut client: Client, stop: &AtomicBool) -> Result<Client> {
    while !stop.load(Ordering::Relaxed) {
        let worked = client.step().with_context(|| format!("session {}", client.session))?;
        SystemClock.sleep(if worked { PAUSE } else { PAUSE_AFTER_FAILURE });
    }
    Ok(client)
}
