//! A transport between two replicas on one machine, in one process.
//!
//! What a path as URL needs: the other replica is opened and served on a thread. The same sessions run over it as over
//! the network.
//!
//! State: two queues of messages, each bounded in bytes. Nothing survives. Not here: the sessions (`syncline-sync`).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use syncline_base::{Kind, task};
use syncline_sync::{Counters, Error as SyncError, Result as SyncResult, Transport};

use crate::replica::Replica;
use crate::{Error, Result};

/// A queue takes messages until it holds so many bytes; one message may be longer.
const BUDGET: usize = 8 << 20;
/// A side that neither sends nor takes anything for so long is taken for dead. It works on a disk or a bucket.
const STALL: Duration = Duration::from_secs(900);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The sender has said all it had to say, or is gone.
    ended: bool,
    /// The receiver is gone.
    deaf: bool,
}

/// One end.
#[derive(Debug)]
pub struct Loopback {
    peer: String,
    out: Arc<Queue>,
    inward: Arc<Queue>,
    counters: Counters,
    /// The thread that serves the other end.
    server: Option<JoinHandle<()>>,
}

/// Two ends of one connection.
fn pair(ours: &str, theirs: &str) -> (Loopback, Loopback) {
    let (a, b) = (Arc::new(Queue::default()), Arc::new(Queue::default()));
    let end = |peer: &str, out: &Arc<Queue>, inward: &Arc<Queue>| Loopback {
        peer: peer.to_owned(),
        out: out.clone(),
        inward: inward.clone(),
        counters: Counters::default(),
        server: None,
    };
    (end(theirs, &a, &b), end(ours, &b, &a))
}

/// Serves `replica` on a thread and returns the other end of the connection to it.
///
/// # Errors
/// `unavailable` when the system has no thread to give.
pub fn connect(replica: impl Into<Arc<Replica>>) -> Result<Box<dyn Transport>> {
    let replica = replica.into();
    let (mut client, mut server) = pair("this replica", "the other replica");
    let thread = task::spawn("syncline-loopback", move || {
        // The client hears of a fault over the connection; here is nobody who could do anything about it.
        let _ = syncline_sync::serve(&*replica, &mut server);
        server.finish();
    });
    client.server =
        Some(thread.map_err(|e| Error::Unavailable { what: "serving the other replica".into(), why: e.to_string() })?);
    Ok(Box::new(client))
}

impl Loopback {
    fn stalled(&self) -> SyncError {
        let seconds = STALL.as_secs();
        let message = format!("{} did nothing for {seconds} s; run the transfer again", self.peer);
        SyncError::Transport { kind: Kind::Unavailable, message }
    }

    fn gone(&self) -> SyncError {
        let message = format!("{} closed the connection; run the transfer again", self.peer);
        SyncError::Transport { kind: Kind::Unavailable, message }
    }

    fn take(&mut self, wait: bool) -> SyncResult<Option<Bytes>> {
        let queue = self.inward.clone();
        let mut state = queue.state.lock().expect("nothing panics while it holds the queue");
        loop {
            if let Some(message) = state.messages.pop_front() {
                state.bytes -= message.len();
                self.counters.received += message.len() as u64;
                queue.changed.notify_all();
                return Ok(Some(message));
            }
            if state.ended || !wait {
                return Ok(None);
            }
            let (woken, timeout) =
                queue.changed.wait_timeout(state, STALL).expect("nothing panics while it holds the queue");
            if timeout.timed_out() && woken.messages.is_empty() {
                return Err(self.stalled());
            }
            state = woken;
        }
    }
}

impl Transport for Loopback {
    fn peer(&self) -> String {
        self.peer.clone()
    }

    fn send(&mut self, message: Bytes) -> SyncResult<()> {
        let mut state = self.out.state.lock().expect("nothing panics while it holds the queue");
        while state.bytes >= BUDGET && !state.deaf {
            let (woken, timeout) =
                self.out.changed.wait_timeout(state, STALL).expect("nothing panics while it holds the queue");
            if timeout.timed_out() && woken.bytes >= BUDGET {
                return Err(self.stalled());
            }
            state = woken;
        }
        if state.deaf {
            return Err(self.gone());
        }
        state.bytes += message.len();
        self.counters.sent += message.len() as u64;
        state.messages.push_back(message);
        self.out.changed.notify_all();
        Ok(())
    }

    fn receive(&mut self) -> SyncResult<Option<Bytes>> {
        self.take(true)
    }

    fn try_receive(&mut self) -> SyncResult<Option<Bytes>> {
        self.take(false)
    }

    fn finish(&mut self) {
        self.out.state.lock().expect("nothing panics while it holds the queue").ended = true;
        self.out.changed.notify_all();
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.finish();
        self.inward.state.lock().expect("nothing panics while it holds the queue").deaf = true;
        self.inward.changed.notify_all();
        if let Some(server) = self.server.take() {
            // When the connection is dropped the other replica's part is over, whole or refused.
            let _ = server.join();
        }
    }
}

#[cfg(test)]
mod tests;
