//! Starting other programs: one place that names the command when it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root: the directory above this crate, wherever the checkout lies.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().expect("a crate of the workspace has a directory above it").to_owned()
}

/// The cargo that runs us, so that a pinned toolchain stays pinned.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command with our own output and fails when it fails.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs another chore of this program, in a process of its own.
pub(crate) fn chore(words: &[&str]) -> Result<()> {
    let this = std::env::current_exe().context("finding this program")?;
    check(Command::new(this).args(words))
}

/// Runs a command and returns what it wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("starting {}", line(command)))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", line(command), output.status, why.trim());
    }
    Ok(output.stdout)
}

/// What `cargo metadata` says about the workspace at `root`; with all dependencies when `deep`.
pub(crate) fn metadata(root: &Path, deep: bool) -> Result<serde_json::Value> {
    let mut command = cargo();
    command.current_dir(root).args(["metadata", "--format-version", "1"]);
    if !deep {
        command.arg("--no-deps");
    }
    serde_json::from_slice(&capture(&mut command)?).context("reading what cargo metadata wrote")
}

/// A command as one would type it, for messages.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
