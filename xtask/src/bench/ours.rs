//! Ours: the release binary, driven as a script drives it, and a node on loopback.
//!
//! Owns: nodes that it started; they end with their value.
//!
//! Not here: what is measured with them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use syncline_base::{Clock, SystemClock};

use super::child::kilobytes;
use super::measure::Cmd;
use super::parse;
use super::record::Sample;
use super::world::World;
use crate::run;

/// The system counts CPU time of a living process in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a node may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
#[derive(Debug)]
pub(super) struct Ours {
    binary: PathBuf,
}

impl Ours {
    /// Builds it as users get it.
    pub(super) fn build() -> Result<Self> {
        run::check(run::cargo().args(["build", "--release", "--quiet", "--package", "syncline-cli"]))?;
        let target = run::metadata(&run::root(), false)?["target_directory"].as_str().map(PathBuf::from);
        let binary = target.context("cargo metadata names no target directory")?.join("release/syncline");
        ensure!(binary.exists(), "cargo built no {}", binary.display());
        Ok(Self { binary })
    }

    /// What it calls itself.
    pub(super) fn version(&self) -> Result<String> {
        parse::version(&Cmd::new(&self.binary).arg("--version").plain()?)
    }

    /// A command on no replica.
    pub(super) fn cmd<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Cmd {
        Cmd::new(&self.binary).arg("--json").args(words)
    }

    /// A command on the replica in `dir`.
    pub(super) fn at<'a>(&self, dir: &Path, words: impl IntoIterator<Item = &'a str>) -> Cmd {
        Cmd::new(&self.binary).arg("--json").arg("-C").arg(dir).args(words)
    }

    /// Makes an empty replica in `dir`.
    pub(super) fn init(&self, dir: &Path, bare: bool) -> Result<()> {
        let cmd = self.cmd(["init"]).arg(dir).args(bare.then_some("--bare"));
        cmd.plain().map(drop)
    }

    /// The dataset's content root.
    pub(super) fn root(&self, dir: &Path) -> Result<String> {
        root_of(&self.at(dir, ["root"]).plain()?)
    }

    /// The content root of a version.
    pub(super) fn root_at(&self, dir: &Path, version: &str) -> Result<String> {
        root_of(&self.at(dir, ["root", version]).plain()?)
    }

    /// The content root of a dataset on a node.
    pub(super) fn root_on(&self, url: &str) -> Result<String> {
        root_of(&self.cmd(["root", "--on", url]).plain()?)
    }

    /// Runs one measured command and returns what it reports.
    pub(super) fn step(&self, world: &World, cmd: Cmd) -> Result<(Sample, Value)> {
        let line = cmd.line();
        let (mut sample, output) = world.step(&[cmd])?;
        let report = parse::last_object(&output[0]).with_context(|| line)?;
        sample.inside = report["seconds"].as_f64();
        Ok((sample, report))
    }

    /// Runs one measured command that talks to `node`: bytes and round trips are what the command counted, memory and
    /// CPU time are those of both sides together.
    pub(super) fn transfer(&self, world: &World, node: &Node, cmd: Cmd) -> Result<(Sample, Value)> {
        let before = node.mark()?;
        let (mut sample, report) = self.step(world, cmd)?;
        let (cpu, peak) = node.since(before)?;
        let number = |name: &str| report[name].as_u64().with_context(|| format!("the report has no {name}: {report}"));
        sample.wire = Some(number("bytes_sent")? + number("bytes_received")?);
        sample.round_trips = Some(number("round_trips")?);
        sample.cpu = sample.cpu.map(|client| client + cpu);
        sample.rss = sample.rss.map(|client| client + peak);
        Ok((sample, report))
    }

    /// Starts a node that keeps its datasets in `data`.
    pub(super) fn up(&self, data: &Path) -> Result<Node> {
        // The port is free now; another process could take it before the node does, and then the node says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(&self.binary);
        command.args(["-q", "up", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().context("starting a node")?;
        let mut node = Node { child, port };
        let deadline = SystemClock.monotonic() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = node.child.try_wait()? {
                bail!("the node ended with {status} before it listened on port {port}");
            }
            ensure!(SystemClock.monotonic() < deadline, "the node does not listen on port {port} after {PATIENCE:?}");
            SystemClock.sleep(Duration::from_millis(20));
        }
        Ok(node)
    }
}

/// `root` prints 64 hex digits, and as JSON an object that holds them.
fn root_of(output: &str) -> Result<String> {
    let report = parse::last_object(output)?;
    let root = report["root"].as_str().with_context(|| format!("no root in {report}"))?;
    ensure!(root.len() == 64 && root.bytes().all(|byte| byte.is_ascii_hexdigit()), "{root:?} is no root");
    Ok(root.to_owned())
}

/// A node on loopback.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    port: u16,
}

impl Node {
    /// The address of a dataset on it.
    pub(super) fn url(&self, dataset: &str) -> String {
        format!("http://127.0.0.1:{}/{dataset}", self.port)
    }

    /// Its CPU time so far; its peak of memory starts again from what it holds now.
    fn mark(&self) -> Result<f64> {
        // 5 resets the peak. A system that forbids it leaves the larger number, which is not in our favour.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        self.cpu()
    }

    /// CPU time since the mark, and the peak of memory.
    fn since(&self, mark: f64) -> Result<(f64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let peak = kilobytes(&status.context("the node has ended")?, "VmHWM:");
        Ok((self.cpu()? - mark, peak))
    }

    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("the node has ended")?;
        // The name may hold spaces; what follows its closing parenthesis starts with the state, field 3 of the line.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let tick = |at: usize| fields.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((tick(11) + tick(12)) / TICKS_PER_SECOND)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // A node that has ended already needs no signal.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = SystemClock.monotonic() + PATIENCE;
        while SystemClock.monotonic() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            SystemClock.sleep(Duration::from_millis(10));
        }
        // It does not end by itself: a later step must not find it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
