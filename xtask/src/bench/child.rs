//! The measured child: a small process that starts one command, waits for it and writes down what it used.
//!
//! It is a process of its own because the system counts the peak of *all* ended children of a process together, and
//! because a large parent would lend its own peak to the child it forks. CPU time and the peak of the largest process come
//! from the system's accounting of ended children; a tree of several processes is also sampled, and the larger number
//! counts, so a tree whose peak lies between two samples is a little under-reported, a single process never.
//!
//! Owns: nothing after it ends. Not here: what to run, and what the numbers are for.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use syncline_base::{Clock, SystemClock, task};

/// How often a tree of processes is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// What a command used, its descendants included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// From its start to its end, in seconds.
    pub(super) wall: f64,
    /// User and system time, in seconds.
    pub(super) cpu: f64,
    /// Peak resident memory, in bytes.
    pub(super) rss: u64,
}

/// Runs `words` with our own input and output, writes its [`Usage`] to `report` and fails when it fails.
pub(super) fn run(words: &[OsString], report: &Path) -> Result<()> {
    let (program, args) = words.split_first().context("the measured child needs a command")?;
    let start = SystemClock.monotonic();
    let mut child =
        Command::new(program).args(args).spawn().with_context(|| format!("starting {}", program.display()))?;
    let root = child.id();
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&ended);
    let sampler = task::spawn("sampler", move || sample(root, &seen))?;
    let status = child.wait().context("waiting for the measured command")?;
    let wall = (SystemClock.monotonic() - start).as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    let tree = sampler.join().unwrap_or(0);
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what the measured command used")?;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of CPU time fit a float for 285 years")]
    let cpu = (used.user_time() + used.system_time()).num_microseconds() as f64 / 1e6;
    let largest = u64::try_from(used.max_rss()).unwrap_or(0) * 1024;
    let usage = Usage { wall, cpu, rss: largest.max(tree) };
    fs::write(report, serde_json::to_vec(&usage)?).with_context(|| format!("writing {}", report.display()))?;
    ensure!(status.success(), "the measured command ended with {status}");
    Ok(())
}

/// The largest sum over the tree below `root` that was seen, in bytes; 0 while it is one process only.
fn sample(root: u32, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        let tree = tree(root);
        if tree.len() > 1 {
            peak = peak.max(tree.iter().map(|&id| proportional(id)).sum());
        }
        SystemClock.sleep(SAMPLE_EVERY);
    }
    peak
}

/// A process and its descendants, as far as they live.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// A process's share of memory: pages that it shares with others count by their part, so forks do not count twice.
fn proportional(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    kilobytes(&text, "Pss:")
}

/// The value of a `Name:  123 kB` line of a /proc file, in bytes; 0 when it is not there.
pub(super) fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}
