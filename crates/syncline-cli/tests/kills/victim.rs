//! Ending a process at a random moment. Only processes that this test has started, each by its own handle.

use std::process::{Command, Stdio};
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use crate::support::Server;

/// How long a command may go on after its node has gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
pub(super) enum Kill {
    /// The victim was killed; the exit code of a client that outlived its node.
    Done(Option<i32>),
    /// The operation had ended before.
    Late,
}

/// A moment within the usual time of an operation, or a little after it.
pub(super) fn moment(rng: &mut Rng, usual: Duration) -> Duration {
    let span = u64::try_from(usual.as_micros()).expect("a short time");
    Duration::from_micros(rng.below(span + span / 20 + 1))
}

/// Runs a command and kills it. Learns how long it takes when it is over before.
pub(super) fn kill_client(mut command: Command, moment: &Duration, usual: &mut Duration) -> Kill {
    let start = SystemClock.monotonic();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    while SystemClock.monotonic() - start < *moment {
        if child.try_wait().expect("its state").is_some() {
            // It was faster this time: aim earlier from now on.
            *usual = SystemClock.monotonic() - start;
            return Kill::Late;
        }
        SystemClock.sleep(Duration::from_micros(200));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    Kill::Done(None)
}

/// Runs a command and kills the node that it talks to; the command has to notice.
pub(super) fn kill_node(mut command: Command, node: Server, moment: &Duration, usual: &mut Duration) -> Kill {
    let start = SystemClock.monotonic();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    while SystemClock.monotonic() - start < *moment {
        if child.try_wait().expect("its state").is_some() {
            *usual = SystemClock.monotonic() - start;
            node.kill();
            return Kill::Late;
        }
        SystemClock.sleep(Duration::from_micros(200));
    }
    node.kill();
    let killed = SystemClock.monotonic();
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return Kill::Done(status.code());
        }
        if SystemClock.monotonic() - killed > PATIENCE {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
            panic!("the client still waits for a node that has gone {} s ago", PATIENCE.as_secs());
        }
        SystemClock.sleep(Duration::from_millis(1));
    }
}
