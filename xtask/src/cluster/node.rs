//! A node as a process of its own: started, killed, asked.
//!
//! Owns: the process, which ends with the value. Its directory stays, as does the file with what it had to say.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use syncline_base::{Clock, SystemClock};

/// How long one command may take before it is killed, in seconds: far more than it says it waits.
const PATIENCE: &str = "60";

/// Where a program runs: on this machine as it is, or as on another one.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) program: PathBuf,
    /// What comes before the program to run it there.
    pub(crate) enter: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Host {
    /// A command there.
    pub(super) fn command<'a>(&'a self, before: &[&'a str]) -> Command {
        let program = self.program.to_str().unwrap_or_default();
        let words: Vec<&str> =
            self.enter.iter().map(String::as_str).chain(before.iter().copied()).chain([program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// What a command came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Done(Value),
    /// It says that nothing was done, and why: kind and message.
    Refused(String, String),
    /// Whether it was done is open.
    Unknown(String),
}

/// The way to a node: commands that ask it run where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) host: Host,
    pub(crate) url: String,
}

impl Door {
    /// Asks the node.
    pub(crate) fn ask(&self, words: &[&str], input: &str) -> Result<Answer> {
        let mut file = tempfile::tempfile().context("making a temporary file")?;
        file.write_all(input.as_bytes()).and_then(|()| file.rewind()).context("writing a temporary file")?;
        let mut command = self.host.command(&["timeout", "--signal=KILL", PATIENCE]);
        command.args(["--on", &self.url, "--json"]).args(words).stdin(file);
        let output = command.output().with_context(|| format!("starting {}", self.host.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        let error = &report["error"];
        let message = || {
            let said = error["message"].as_str().unwrap_or(&text);
            format!("{}: {said} {}", words[0], String::from_utf8_lossy(&output.stderr)).trim().to_owned()
        };
        let kind = error["kind"].as_str().unwrap_or_default();
        Ok(match (report.is_object(), output.status.code(), kind) {
            (true, Some(0), "") => Answer::Done(report),
            (_, _, "invalid" | "not-found" | "conflict" | "denied" | "stale") => {
                Answer::Refused(kind.into(), message())
            }
            (_, _, "unavailable") => Answer::Unknown(message()),
            (_, None | Some(137), _) => Answer::Unknown(format!("{} did not end within {PATIENCE} s", words[0])),
            (_, _, _) => bail!("{} at {} ended with {}: {}", words[0], self.url, output.status, message()),
        })
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) root: String,
    pub(crate) unsent: u64,
    pub(crate) transactions: u64,
    pub(crate) conflicts: u64,
}

/// A replica in a directory, and its process when it runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) door: Door,
    dir: PathBuf,
    /// What it has to say.
    said: PathBuf,
    /// Where it listens; port 0 takes another one each time.
    listen: String,
    /// Options of `up`.
    links: Vec<String>,
    process: Option<Child>,
}

impl Node {
    /// A new replica. `origin` is `http://ADDRESS:PORT` or the same with `https`; what it has to say goes to a file in `place`.
    pub(crate) fn new(host: Host, place: &Path, dir: &Path, origin: &str, links: Vec<String>) -> Result<Self> {
        let name = dir.file_name().and_then(|name| name.to_str()).context("a directory without a name")?.to_owned();
        let mut init = host.command(&[]);
        let done = init.arg("init").arg("-q").arg(dir).output().context("starting syncline init")?;
        ensure!(
            done.status.success(),
            "making a replica in {}: {}",
            dir.display(),
            String::from_utf8_lossy(&done.stderr)
        );
        let listen = origin.split("://").last().unwrap_or_default().to_owned();
        let door = Door { host, url: format!("{origin}/{name}") };
        let said = place.join(&name).with_extension("log");
        Ok(Self { name, door, dir: dir.to_owned(), said, listen, links, process: None })
    }

    /// Starts its process, and waits until it listens.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.begin()?;
        let output = self.process.as_mut().and_then(|process| process.stdout.take());
        let output = output.context("the node's output is not there")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("reading what the node says")?;
        let report: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(origin) = report["url"].as_str() else {
            self.kill();
            bail!("{} did not start: {line} (see {})", self.name, self.said.display());
        };
        self.door.url = format!("{origin}/{}", self.name);
        Ok(())
    }

    /// Starts its process, and does not wait for anything.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.said).context("making a log file")?;
        let mut command = self.door.host.command(&[]);
        command.arg("-C").arg(&self.dir).args(["up", "--json", "--listen", &self.listen]).args(&self.links);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        self.process = Some(command.spawn().context("starting a node")?);
        Ok(())
    }

    /// Kills it: it is not asked and hears nothing of it. What it gave to the kernel is not lost. Whether it was there.
    pub(crate) fn kill(&mut self) -> bool {
        let Some(mut process) = self.process.take() else { return false };
        // It may have ended by itself; there is nothing more to do then.
        let _ = process.kill();
        let _ = process.wait();
        true
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let pid = i32::try_from(process.id()).context("a process id")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .context("asking a node to stop")?;
        let status = process.wait().context("waiting for a node")?;
        ensure!(status.success(), "{} was asked to stop and ended with {status}", self.name);
        Ok(())
    }

    /// All that it has had to say so far, to its standard error.
    pub(crate) fn said(&self) -> Result<String> {
        std::fs::read_to_string(&self.said).with_context(|| format!("reading {}", self.said.display()))
    }

    /// Whether it runs: it may have ended by itself.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// What it says of itself. None when it does not answer; an error when it says that something is wrong with its data.
    pub(crate) fn live(&self) -> Result<Option<Live>> {
        let Answer::Done(report) = self.door.ask(&["status"], "")? else { return Ok(None) };
        let live = &report["live"];
        let number = |member: &str| live[member].as_u64().with_context(|| format!("no `{member}` in {live}"));
        Ok(Some(Live {
            root: live["root"].as_str().context("a status without a root")?.to_owned(),
            unsent: number("unsent")?,
            transactions: number("transactions")?,
            conflicts: number("conflicts")?,
        }))
    }

    /// The most memory that it has had, in bytes. Linux says so.
    pub(crate) fn peak(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.as_ref()?.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// Waits until this holds of it.
    pub(crate) fn wait(&self, most: Duration, what: &str, holds: impl Fn(&Live) -> bool) -> Result<()> {
        let begun = SystemClock.monotonic();
        loop {
            let live = self.live()?;
            if live.as_ref().is_some_and(&holds) {
                return Ok(());
            }
            ensure!(
                SystemClock.monotonic() - begun < most,
                "{}: {what} not within {most:?}; it is {live:?}",
                self.name
            );
            SystemClock.sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
