//! The machine that numbers were measured on.

use std::fs;
use std::path::Path;

use serde::Serialize;
use syncline_base::task;

use super::child::kilobytes;
use super::measure::Cmd;
use super::stats;

/// What one has to know of a machine to read its numbers. Nothing here names the machine itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Machine {
    /// Cores that a process may use.
    pub(super) cores: usize,
    /// The processor's own name.
    pub(super) processor: String,
    /// Main memory, in bytes.
    pub(super) memory: u64,
    /// Kernel release.
    pub(super) kernel: String,
    /// Distribution.
    pub(super) system: String,
    /// File system of the scratch directory.
    pub(super) file_system: String,
    /// Load average over the last minute when the run began: well above 0 means the machine was shared.
    pub(super) load: f64,
}

impl Machine {
    /// Looks at this machine; `scratch` is where the run writes.
    pub(super) fn look(scratch: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str, between: char| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(between).map(|(_, value)| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
        };
        let file_system =
            Cmd::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(scratch).plain().unwrap_or_default();
        Self {
            cores: task::width(),
            processor: value(&read("/proc/cpuinfo"), "model name", ':'),
            memory: kilobytes(&read("/proc/meminfo"), "MemTotal:"),
            kernel: read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default().to_owned(),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '='),
            file_system: file_system.trim().to_owned(),
            load: read("/proc/loadavg").split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        }
    }

    /// In one sentence.
    #[expect(clippy::cast_precision_loss, reason = "main memory is far below 2^52 bytes")]
    pub(super) fn sentence(&self) -> String {
        format!(
            "Machine: {} cores of {}, {} memory, {} (Linux {}), {}, load {:.1} at the start.",
            self.cores,
            self.processor,
            stats::bytes(self.memory as f64),
            self.system,
            self.kernel,
            self.file_system,
            self.load
        )
    }
}
