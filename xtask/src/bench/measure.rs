//! Measuring: commands are run one after another, each in a measured child, and what they used is added up.
//!
//! Owns: nothing between calls. Not here: repetitions and tables.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use syncline_base::{Clock, SystemClock};

use super::child::Usage;

/// One command of a measured step.
#[derive(Debug, Clone)]
pub(super) struct Cmd {
    words: Vec<OsString>,
    dir: Option<PathBuf>,
    env: Vec<(String, OsString)>,
}

impl Cmd {
    /// A program by name or path, without arguments yet.
    pub(super) fn new(program: impl Into<OsString>) -> Self {
        Self { words: vec![program.into()], dir: None, env: Vec::new() }
    }

    /// One more argument.
    pub(super) fn arg(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// More arguments.
    pub(super) fn args<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Where it runs.
    pub(super) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// A variable that it sees.
    pub(super) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Its words, the program first.
    pub(super) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// As one would type it.
    pub(super) fn line(&self) -> String {
        let quoted = self.words.iter().map(|word| {
            let word = word.to_string_lossy();
            if word.contains([' ', '"', '\'', '*', '{']) { format!("'{word}'") } else { word.into_owned() }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Runs it unmeasured; its standard output.
    pub(super) fn plain(&self) -> Result<String> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        self.finish(&mut command)
    }

    fn finish(&self, command: &mut Command) -> Result<String> {
        command.envs(self.env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let output = command.output().with_context(|| format!("starting {}", self.line()))?;
        if !output.status.success() {
            let said = [String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout)].join("\n");
            let tail: Vec<&str> = said.trim().lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!("{} ended with {}:\n{}", self.line(), output.status, tail.join("\n"));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What a step of one or more commands used, and what each wrote.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Wall and CPU time added up, the largest peak of memory.
    pub(super) usage: Usage,
    /// The standard output of each command.
    pub(super) output: Vec<String>,
    /// The commands as one would type them.
    pub(super) lines: Vec<String>,
}

/// Runs the commands of one step in order. What was written before is flushed first, so that a step pays for its own
/// bytes only; `scratch` is where that happens.
pub(super) fn run(scratch: &Path, commands: &[Cmd]) -> Result<Outcome> {
    flush(scratch)?;
    let mut outcome = Outcome::default();
    for cmd in commands {
        let (output, usage) = one(cmd)?;
        outcome.output.push(output);
        outcome.lines.push(cmd.line());
        outcome.usage.wall += usage.wall;
        outcome.usage.cpu += usage.cpu;
        outcome.usage.rss = outcome.usage.rss.max(usage.rss);
    }
    Ok(outcome)
}

/// Runs one command in a measured child: its standard output, and what it used.
pub(super) fn one(cmd: &Cmd) -> Result<(String, Usage)> {
    let report = tempfile::NamedTempFile::new().context("making a place for a measured child's report")?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["bench", "child", "--out"]).arg(report.path()).arg("--").args(&cmd.words);
    let output = cmd.finish(&mut command)?;
    let usage = fs::read(report.path()).context("reading a measured child's report")?;
    Ok((output, serde_json::from_slice(&usage).context("reading a measured child's report")?))
}

/// Waits until the file system that holds `path` has everything on disk.
pub(super) fn flush(path: &Path) -> Result<()> {
    syncfs(path).plain().map(drop)
}

/// The command that flushes the file system of `path`: what a tool that does not flush by itself is given.
pub(super) fn syncfs(path: &Path) -> Cmd {
    Cmd::new("sync").arg("-f").arg(path)
}

/// Apparent size of everything below a directory: the lengths of its files added up, links not followed.
pub(super) fn size(path: &Path) -> Result<u64> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("measuring {}", path.display())),
    };
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path).with_context(|| format!("measuring {}", path.display()))? {
        sum += size(&entry?.path())?;
    }
    Ok(sum)
}

/// Flushes the file system of `path` and says how long that took, in seconds.
pub(super) fn timed_flush(path: &Path) -> Result<f64> {
    let start = SystemClock.monotonic();
    flush(path)?;
    Ok((SystemClock.monotonic() - start).as_secs_f64())
}
