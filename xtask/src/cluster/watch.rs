//! Somebody who follows a node with `watch`, and keeps what it is told: each transaction, in the order in which they come. When the node goes,
//! it goes on from the position that it had as soon as the node is back.
//!
//! Owns: a thread and a process, until the value is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use syncline_base::{Clock, SystemClock, task};

use super::node::Door;
use super::{Rows, TABLE};
use crate::history::{Row, Step, Written};

/// How long it waits before it asks a node again that has gone.
const PAUSE: Duration = Duration::from_millis(100);

/// Somebody who follows a node.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the owner have.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
    child: Mutex<Option<Child>>,
}

#[derive(Debug, Default)]
struct Seen {
    steps: Vec<Step>,
    position: Option<String>,
    /// Lines that cannot be.
    wrong: Option<String>,
}

impl Watcher {
    /// Begins to follow a node, and waits until it was told the rows that are there: what comes after, comes as transactions.
    pub(crate) fn start(door: Door) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let work = move || {
            while !of_thread.stop.load(Ordering::Relaxed) {
                if let Err(error) = of_thread.follow(&door) {
                    lock(&of_thread.seen).wrong.get_or_insert(format!("{error:#}"));
                }
                SystemClock.sleep(PAUSE);
            }
        };
        let thread = Some(task::spawn("watch", work).context("starting a watcher's thread")?);
        let watcher = Self { shared, thread };
        let begun = SystemClock.monotonic();
        while lock(&watcher.shared.seen).steps.is_empty() {
            ensure!(SystemClock.monotonic() - begun < Duration::from_secs(30), "watch does not tell the first rows");
            SystemClock.sleep(PAUSE / 10);
        }
        Ok(watcher)
    }

    /// Waits until it was told this value, and gives all that it was told so far.
    pub(crate) fn until(&self, last: Written, most: Duration) -> Result<Vec<Step>> {
        let begun = SystemClock.monotonic();
        loop {
            {
                let seen = lock(&self.shared.seen);
                if let Some(wrong) = &seen.wrong {
                    return Err(anyhow!("what watch says cannot be: {wrong}"));
                }
                let told = seen.steps.last().is_some_and(|step| match step {
                    Step::Txn(values) | Step::State(values) => values.iter().any(|(_, value)| *value == last),
                });
                if told {
                    return Ok(seen.steps.clone());
                }
                let waited = SystemClock.monotonic() - begun;
                ensure!(
                    waited < most,
                    "watch does not tell the last transaction within {most:?}; it is at {:?}",
                    seen.position
                );
            }
            SystemClock.sleep(PAUSE / 10);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(child) = &mut *lock(&self.shared.child) {
            // It may have ended by itself.
            let _ = child.kill();
        }
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Follows until the command ends. What it is told in between is kept transaction by transaction.
    fn follow(&self, door: &Door) -> Result<()> {
        let from = lock(&self.seen).position.clone().unwrap_or_else(|| "start".to_owned());
        let mut command = door.host.command(&[]);
        command.args(["--on", &door.url, "watch", "--from", &from]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("starting watch")?;
        let output = child.stdout.take().context("the output of watch is not there")?;
        *lock(&self.child) = Some(child);
        let mut values = Vec::new();
        for line in BufReader::new(output).lines() {
            // A line that is cut off comes again, with its transaction.
            let Ok(line) = line.map_err(drop).and_then(|line| serde_json::from_str(&line).map_err(drop)) else { break };
            self.line(&line, &mut values)?;
        }
        if let Some(mut child) = lock(&self.child).take() {
            let _ = child.kill();
            child.wait().context("waiting for watch")?;
        }
        Ok(())
    }

    fn line(&self, line: &Value, values: &mut Vec<(Row, Written)>) -> Result<()> {
        let position = || line["position"].as_str().map(str::to_owned).with_context(|| format!("no position: {line}"));
        let step = match line["op"].as_str() {
            Some("set") if line["table"] == TABLE => {
                let row = line["row"]["k"].as_str().and_then(Rows::of).with_context(|| format!("whose row? {line}"))?;
                values.push((row, line["row"]["v"].as_u64().with_context(|| format!("no value: {line}"))?));
                return Ok(());
            }
            Some("set") => return Ok(()),
            Some("commit") if line["caught_up"] != true => Step::Txn(std::mem::take(values)),
            Some("commit" | "snapshot") => Step::State(std::mem::take(values)),
            _ => return Err(anyhow!("nobody deletes rows, and this came: {line}")),
        };
        let mut seen = lock(&self.seen);
        seen.position = Some(position()?);
        // Transactions of other tables have nothing that matters.
        if step != Step::Txn(Vec::new()) {
            seen.steps.push(step);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
