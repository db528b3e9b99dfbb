//! Ours: the release binary, driven as a script drives it, and a node on loopback.
//!
//! Owns: nodes that it started, which end with their value, and the peaks of memory of everything that it ran.
//!
//! Not here: what is measured with them.

use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use syncline_base::{Clock, SystemClock};

use super::child::kilobytes;
use super::measure::{self, Cmd};
use super::memory::{Memory, NODE};
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
    memory: Rc<RefCell<Memory>>,
}

impl Ours {
    /// A binary that is there already.
    pub(super) fn at_path(binary: &Path) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("looking for the binary {}", binary.display()))?;
        Ok(Self { binary, memory: Rc::new(RefCell::new(Memory::new())) })
    }

    /// Builds it as users get it, and the simulator beside it.
    pub(super) fn build() -> Result<Self> {
        run::check(run::cargo().args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "syncline-cli",
            "--package",
            "syncline-sim",
        ]))?;
        let target = run::metadata(&run::root(), false)?["target_directory"].as_str().map(PathBuf::from);
        let binary = target.context("cargo metadata names no target directory")?.join("release/syncline");
        Self::at_path(&binary)
    }

    /// Where it is.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The peaks of memory since the last call.
    pub(super) fn take_memory(&self) -> Memory {
        self.memory.replace(Memory::new())
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
        self.run(&cmd).map(drop)
    }

    /// Runs a command of ours that is not a step by itself; its memory counts all the same. Returns what it wrote.
    pub(super) fn run(&self, cmd: &Cmd) -> Result<String> {
        let (output, usage) = measure::one(cmd)?;
        self.memory.borrow_mut().saw(&verb(cmd), usage.rss, &cmd.line(), true);
        Ok(output)
    }

    /// Runs one measured command of ours and returns what it wrote.
    pub(super) fn measured(&self, world: &World, cmd: &Cmd) -> Result<(Sample, String)> {
        let (sample, mut output) = world.step(std::slice::from_ref(cmd))?;
        self.memory.borrow_mut().saw(&verb(cmd), sample.rss.unwrap_or(0), &cmd.line(), true);
        Ok((sample, output.pop().unwrap_or_default()))
    }

    /// The dataset's content root.
    pub(super) fn root(&self, dir: &Path) -> Result<String> {
        root_of(&self.run(&self.at(dir, ["root"]))?)
    }

    /// The root of a table.
    pub(super) fn table_root(&self, dir: &Path, table: &str) -> Result<String> {
        root_of(&self.run(&self.at(dir, ["root", "--table", table]))?)
    }

    /// The content root of a version.
    pub(super) fn root_at(&self, dir: &Path, version: &str) -> Result<String> {
        root_of(&self.run(&self.at(dir, ["root", version]))?)
    }

    /// The content root of a dataset on a node.
    pub(super) fn root_on(&self, url: &str) -> Result<String> {
        root_of(&self.run(&self.cmd(["root", "--on", url]))?)
    }

    /// Runs one measured command and returns what it reports.
    pub(super) fn step(&self, world: &World, cmd: Cmd) -> Result<(Sample, Value)> {
        let (mut sample, output) = self.measured(world, &cmd)?;
        let report = parse::last_object(&output).with_context(|| cmd.line())?;
        let seconds = report["seconds"].as_f64();
        sample.inside = Some(seconds.with_context(|| format!("{}: no seconds in {report}", cmd.line()))?);
        Ok((sample, report))
    }

    /// Runs the commands of one step; what the last of them reports.
    pub(super) fn steps(&self, world: &World, commands: Vec<Cmd>) -> Result<(Sample, Value)> {
        let mut done: Option<(Sample, Value)> = None;
        for cmd in commands {
            let (sample, report) = self.step(world, cmd)?;
            let sample = match done.take() {
                Some((before, _)) => before.then(sample),
                None => sample,
            };
            done = Some((sample, report));
        }
        done.context("a step has a command")
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
        let mut node = Node { child, port, line: run::line(&command), memory: Rc::clone(&self.memory) };
        self.memory.borrow_mut().saw(NODE, 0, &node.line, true);
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

/// The verb of a command line of ours: its first word that is neither an option nor an option's value.
fn verb(cmd: &Cmd) -> String {
    let mut words = cmd.words().iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        match &*word {
            "-C" => drop(words.next()),
            // Ours behind a redirection: the line is one word.
            "-c" => return words.next().and_then(|line| shell_verb(&line)).unwrap_or_default(),
            option if option.starts_with('-') => {}
            verb => return verb.to_owned(),
        }
    }
    String::new()
}

/// The verb in a line for the shell.
fn shell_verb(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let cmd = Cmd::new(words.next()?);
    Some(verb(&cmd.args(words)))
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
    line: String,
    memory: Rc<RefCell<Memory>>,
}

impl Node {
    /// The address of a dataset on it.
    pub(super) fn url(&self, dataset: &str) -> String {
        format!("http://127.0.0.1:{}/{dataset}", self.port)
    }

    /// Its CPU time so far; its peak of memory starts again from what it holds now.
    fn mark(&self) -> Result<f64> {
        // What was before the mark counts for the suite.
        self.peak()?;
        // 5 resets the peak. A system that forbids it leaves the larger number, which is not in our favour.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        self.cpu()
    }

    /// CPU time since the mark, and the peak of memory.
    fn since(&self, mark: f64) -> Result<(f64, u64)> {
        let peak = self.peak()?;
        Ok((self.cpu()? - mark, peak))
    }

    /// The peak of memory since the last reset.
    fn peak(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let peak = kilobytes(&status.context("the node has ended")?, "VmHWM:");
        self.memory.borrow_mut().saw(NODE, peak, &self.line, false);
        Ok(peak)
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
        // A node that has ended by itself failed the step that used it.
        let _ = self.peak();
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

#[cfg(test)]
mod tests;
