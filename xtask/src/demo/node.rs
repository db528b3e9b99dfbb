//! Running the product: commands with their report, and a server in the background.

use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use syncline_base::{Clock, SystemClock};

use crate::run;

/// A place where commands run: a replica's directory, or a dataset on a node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    binary: PathBuf,
    /// `-C DIR` or `--on URL`.
    place: [String; 2],
}

/// What a command reported, and how long it took from outside.
#[derive(Debug)]
pub(super) struct Done {
    pub report: Value,
    pub seconds: f64,
}

impl Node {
    /// A replica in a directory.
    pub(super) fn at(binary: &Path, dir: &Path) -> Self {
        Self { binary: binary.to_owned(), place: ["-C".to_owned(), dir.display().to_string()] }
    }

    /// A dataset on a node.
    pub(super) fn on(binary: &Path, url: &str) -> Self {
        Self { binary: binary.to_owned(), place: ["--on".to_owned(), url.to_owned()] }
    }

    /// Runs a command that has to succeed.
    pub(super) fn run<S: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<Done> {
        self.ends_with(0, words)
    }

    /// Runs a command that has to end with this exit code.
    pub(super) fn ends_with<S: AsRef<std::ffi::OsStr>>(
        &self,
        code: i32,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Done> {
        let mut command = self.command(words);
        command.arg("--json").stdin(Stdio::null());
        Self::finish(code, command)
    }

    /// Runs a command that has to succeed, with this on standard input.
    pub(super) fn give<S: AsRef<std::ffi::OsStr>>(
        &self,
        input: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Done> {
        let mut file = tempfile::tempfile().context("making a temporary file")?;
        file.write_all(input.as_bytes()).and_then(|()| file.rewind()).context("writing a temporary file")?;
        let mut command = self.command(words);
        command.arg("--json").stdin(file);
        Self::finish(0, command)
    }

    /// A command to be run here.
    pub(super) fn command<S: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(&self.place).args(words);
        command
    }

    fn finish(code: i32, mut command: Command) -> Result<Done> {
        let start = SystemClock.monotonic();
        let output = command.output().with_context(|| format!("starting {}", run::line(&command)))?;
        let seconds = (SystemClock.monotonic() - start).as_secs_f64();
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.code() != Some(code) {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{} ended with {}\n{}{}", run::line(&command), output.status, text, why);
        }
        let report = serde_json::from_str(&text)
            .with_context(|| format!("{} did not print one JSON object but: {text}", run::line(&command)))?;
        Ok(Done { report, seconds })
    }

    /// The root of the current branch.
    pub(super) fn root(&self) -> Result<String> {
        text(&self.run(["root"])?.report, "root")
    }
}

/// A member of a report that is text.
pub(super) fn text(report: &Value, member: &str) -> Result<String> {
    let found = report[member].as_str().with_context(|| format!("the report has no `{member}`: {report}"))?;
    Ok(found.to_owned())
}

/// A member of a report that is a number.
pub(super) fn number(report: &Value, member: &str) -> Result<u64> {
    report[member].as_u64().with_context(|| format!("the report has no number `{member}`: {report}"))
}

/// A server process. Ends with the value, unless it is left running.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    pub url: String,
}

impl Server {
    /// Starts a node that serves the datasets of a directory on a free port.
    pub(super) fn start(binary: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["up", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        Self::run(command, data)
    }

    /// Starts a node that serves one replica.
    pub(super) fn of_one(binary: &Path, replica: &Path, address: &str, more: &[String]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("-C").arg(replica).args(["up", "--json", "--listen", address]).args(more);
        Self::run(command, replica)
    }

    fn run(mut command: Command, data: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        #[cfg(unix)]
        // Ctrl-C is for the demo; with --keep the node outlives it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn().with_context(|| format!("starting {}", run::line(&command)))?;
        let output = process.stdout.take().context("the node's output is not there")?;
        let mut line = String::new();
        let mut server = Self { process, url: String::new() };
        BufReader::new(output).read_line(&mut line).context("reading what the node says")?;
        ensure!(!line.is_empty(), "the node in {} ended before it listened", data.display());
        let report: Value = serde_json::from_str(&line).with_context(|| format!("the node said: {line}"))?;
        server.url = text(&report, "url")?;
        Ok(server)
    }

    /// Its process, for a person to end.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets it run on without us.
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing more to do then.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
