//! A hub and a node that follows it, as processes of their own in a temporary directory, for who names no deployment.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::fault::Result;

/// Two nodes, ended and removed with this.
#[derive(Debug)]
pub(super) struct Local {
    /// The hub's dataset.
    pub hub: String,
    /// The same at the node that follows it.
    pub reader: String,
    nodes: Vec<Child>,
    dir: PathBuf,
}

impl Local {
    /// Starts them in a directory of their own below `base`.
    pub(super) fn start(base: &Path) -> Result<Self> {
        let mut local = Self::empty(base)?;
        local.hub = local.node("hub", None)?;
        let hub = local.hub.clone();
        local.reader = local.node("reader", Some(&hub))?;
        Ok(local)
    }

    /// A directory for a measurement, and nothing else.
    pub(super) fn empty(base: &Path) -> Result<Self> {
        let dir = base.join(format!("syncline-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { hub: String::new(), reader: String::new(), nodes: Vec::new(), dir })
    }

    /// Makes one more hub and serves it; says where, and its process.
    pub(super) fn one_more(&mut self, name: &str) -> Result<(String, u32)> {
        let url = self.node(name, None)?;
        Ok((url, self.nodes.last().map_or(0, Child::id)))
    }

    /// Ends a node and removes what it has.
    pub(super) fn end(&mut self, name: &str, process: u32) {
        self.nodes.retain_mut(|node| {
            let is = node.id() == process;
            if is {
                // One that has ended by itself needs neither.
                let _ = node.kill();
                let _ = node.wait();
            }
            !is
        });
        let _ = std::fs::remove_dir_all(self.dir.join(name));
    }

    /// Where everything is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a replica and serves it; says where.
    fn node(&mut self, name: &str, upstream: Option<&str>) -> Result<String> {
        let program = std::env::current_exe().context("finding this program")?;
        let place = self.dir.join(name);
        let made = Command::new(&program).arg("--quiet").arg("init").arg(&place).stdin(Stdio::null()).status();
        if !made.context("starting this program again")?.success() {
            return Err(anyhow::anyhow!("making a replica in {} failed", place.display()).into());
        }
        let mut up = Command::new(&program);
        up.arg("--json").arg("-C").arg(&place).args(["up", "--listen", "127.0.0.1:0"]);
        if let Some(upstream) = upstream {
            up.args(["--upstream", upstream]);
        }
        let mut child = up
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting this program again")?;
        let stdout = child.stdout.take();
        self.nodes.push(child);
        Ok(format!("{}/{name}", address(stdout)?))
    }
}

/// The address that a node says it serves at.
fn address(stdout: Option<std::process::ChildStdout>) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(stdout.context("a node has no standard output")?).read_line(&mut line).context("reading a node")?;
    let report: serde_json::Value = serde_json::from_str(&line).context("a node did not say where it serves")?;
    match report["url"].as_str() {
        Some(url) => Ok(url.to_owned()),
        None => bail!("a node did not say where it serves: {line}"),
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that has ended by itself needs neither.
            let _ = node.kill();
            let _ = node.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
