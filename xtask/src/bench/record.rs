//! What was measured: samples become steps, one row per tool, and the file that a suite writes.
//!
//! A step is one thing that every tool was asked to do; its rows keep the order in which tools first did it. Our own
//! row is the one that ratios are against.
//!
//! Not here: how a report looks (`super::render`), what is aimed for (`super::targets`).

use std::collections::BTreeMap;

use serde::Serialize;

use super::machine::Machine;
use super::memory::Memory;
use super::stats::Summary;
use super::targets::Verdict;

/// Our own name in every table.
pub(super) const OURS: &str = "syncline";

/// How much in a second, and how long each took: what a step of a given length measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    /// Transactions, or rows of large transactions, in a second.
    pub(super) per_second: f64,
    /// Half of the transactions took this long or less, in seconds.
    pub(super) p50: f64,
    /// 99 of 100.
    pub(super) p99: f64,
    /// 999 of 1,000.
    pub(super) p999: f64,
}

/// The same over all repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Paces {
    /// Transactions, or rows of large transactions, in a second.
    pub(super) per_second: Summary,
    /// Half of the transactions took this long or less, in seconds.
    pub(super) p50: Summary,
    /// 99 of 100.
    pub(super) p99: Summary,
    /// 999 of 1,000.
    pub(super) p999: Summary,
}

impl Paces {
    fn of(samples: &[Sample]) -> Option<Self> {
        let of =
            |pick: fn(&Pace) -> f64| Summary::of(samples.iter().filter_map(|sample| sample.pace.as_ref().map(pick)));
        Some(Self {
            per_second: of(|pace| pace.per_second)?,
            p50: of(|pace| pace.p50)?,
            p99: of(|pace| pace.p99)?,
            p999: of(|pace| pace.p999)?,
        })
    }
}

/// One repetition of one step by one tool.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Wall time with everything on disk that the tool says is on disk, in seconds.
    pub(super) wall: f64,
    /// Without the flush that the harness added, where it added one.
    pub(super) unsynced: Option<f64>,
    /// The part that the tool itself reports: without starting its process.
    pub(super) inside: Option<f64>,
    /// User and system time of the whole tree, in seconds.
    pub(super) cpu: Option<f64>,
    /// Peak resident memory of the whole tree, in bytes.
    pub(super) rss: Option<u64>,
    /// Bytes on the wire, both directions.
    pub(super) wire: Option<u64>,
    /// How often the client waited for an answer.
    pub(super) round_trips: Option<u64>,
    /// By how much the store grew, by apparent size.
    pub(super) disk: Option<i64>,
    /// What a step of a given length measured; its wall time says nothing.
    pub(super) pace: Option<Pace>,
    /// The commands, as one would type them.
    pub(super) lines: Vec<String>,
}

impl Sample {
    /// This and what came after it in the same step: times add up, the larger peak counts.
    pub(super) fn then(mut self, next: Self) -> Self {
        let sum = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a + b);
        self.wall += next.wall;
        self.inside = sum(self.inside, next.inside);
        self.cpu = sum(self.cpu, next.cpu);
        self.rss = self.rss.max(next.rss);
        self.lines.extend(next.lines);
        self
    }
}

/// One tool's row of a step.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// The tool, or the physical limit.
    pub(super) tool: String,
    /// Whether this is a limit of the machine and not a tool that does the job.
    pub(super) limit: bool,
    /// What one has to know to compare it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) note: String,
    /// The commands of the last repetition.
    pub(super) commands: Vec<String>,
    /// How many repetitions.
    pub(super) repetitions: usize,
    /// Wall time of the whole process, in seconds.
    pub(super) wall: Summary,
    /// Wall time without the flush that the harness added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unsynced: Option<Summary>,
    /// Wall time by the tool's own account: `seconds` of our reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inside: Option<Summary>,
    /// CPU time, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Summary>,
    /// Peak memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rss: Option<Summary>,
    /// Bytes on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wire: Option<Summary>,
    /// Round trips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) round_trips: Option<Summary>,
    /// Growth of the store, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk: Option<Summary>,
    /// How much in a second, and how long each took, where the step has a given length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pace: Option<Paces>,
    /// Each measured median divided by ours: `wall`, `cpu`, `rss`, `wire`, `disk`, or of a step of a given length `p50`,
    /// `p99`, `p999`, and `per_second`, which is ours divided by theirs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ratio: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    samples: Vec<Sample>,
}

/// One thing that was asked of every tool.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    /// Its name, and what targets refer to.
    pub(super) name: String,
    /// The tools, in the order in which they first did it.
    pub(super) rows: Vec<Row>,
}

/// Everything that a suite found out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// The suite.
    pub(super) suite: String,
    /// Whether these are the tiny sizes that only prove the harness.
    pub(super) quick: bool,
    /// The command that made this.
    pub(super) command: String,
    /// How often each tool did everything.
    pub(super) repetitions: usize,
    /// When, in UTC.
    pub(super) date: String,
    /// Where.
    pub(super) machine: Machine,
    /// Tools and their versions.
    pub(super) versions: BTreeMap<String, String>,
    /// Peers that were left out on demand.
    pub(super) without: Vec<String>,
    /// The input, durability, and whatever else one has to know.
    pub(super) notes: Vec<String>,
    /// What was measured.
    pub(super) steps: Vec<Step>,
    /// What was aimed for.
    pub(super) targets: Vec<Verdict>,
    /// The largest peaks of our own processes.
    pub(super) memory: Memory,
}

/// Collects samples while a suite runs.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    steps: Vec<Step>,
}

impl Recorder {
    /// One repetition of `step` by `tool`.
    pub(super) fn add(&mut self, step: &str, tool: &str, note: &str, sample: Sample) {
        self.push(step, tool, note, false, sample);
    }

    /// One repetition of a physical limit.
    pub(super) fn limit(&mut self, step: &str, name: &str, note: &str, sample: Sample) {
        self.push(step, name, note, true, sample);
    }

    fn push(&mut self, step: &str, tool: &str, note: &str, limit: bool, sample: Sample) {
        let at = self.steps.iter().position(|known| known.name == step).unwrap_or_else(|| {
            self.steps.push(Step { name: step.to_owned(), rows: Vec::new() });
            self.steps.len() - 1
        });
        let rows = &mut self.steps[at].rows;
        match rows.iter_mut().find(|row| row.tool == tool) {
            Some(row) => row.samples.push(sample),
            None => rows.push(Row::new(tool, note, limit, sample)),
        }
    }

    /// The steps with their statistics. Our row comes first, then the tools, then the limits.
    pub(super) fn finish(mut self) -> Vec<Step> {
        for step in &mut self.steps {
            step.rows.iter_mut().for_each(Row::summarise);
            step.rows.sort_by_key(|row| (row.tool != OURS, row.limit));
            if let Some(ours) = step.rows.iter().find(|row| row.tool == OURS).cloned() {
                step.rows.iter_mut().filter(|row| row.tool != OURS).for_each(|row| row.compare(&ours));
            }
        }
        self.steps
    }
}

impl Row {
    fn new(tool: &str, note: &str, limit: bool, sample: Sample) -> Self {
        Self {
            tool: tool.to_owned(),
            limit,
            note: note.to_owned(),
            commands: Vec::new(),
            repetitions: 0,
            wall: Summary { median: 0.0, min: 0.0, max: 0.0 },
            unsynced: None,
            inside: None,
            cpu: None,
            rss: None,
            wire: None,
            round_trips: None,
            disk: None,
            pace: None,
            ratio: BTreeMap::new(),
            samples: vec![sample],
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
    fn summarise(&mut self) {
        let of = |pick: fn(&Sample) -> Option<f64>| Summary::of(self.samples.iter().filter_map(pick));
        self.wall = of(|sample| Some(sample.wall)).expect("a row begins with a sample");
        self.unsynced = of(|sample| sample.unsynced);
        self.inside = of(|sample| sample.inside);
        self.cpu = of(|sample| sample.cpu);
        self.rss = of(|sample| sample.rss.map(|bytes| bytes as f64));
        self.wire = of(|sample| sample.wire.map(|bytes| bytes as f64));
        self.round_trips = of(|sample| sample.round_trips.map(|count| count as f64));
        self.disk = of(|sample| sample.disk.map(|bytes| bytes as f64));
        self.pace = Paces::of(&self.samples);
        self.repetitions = self.samples.len();
        self.commands = self.samples.last().map(|sample| sample.lines.clone()).unwrap_or_default();
    }

    fn compare(&mut self, ours: &Self) {
        if let (Some(theirs), Some(ours)) = (self.pace, ours.pace) {
            self.compare_pace(&theirs, &ours);
            return;
        }
        let pairs = [
            ("wall", Some(self.wall).filter(|wall| wall.max > 0.0), Some(ours.wall)),
            ("cpu", self.cpu, ours.cpu),
            ("rss", self.rss, ours.rss),
            ("wire", self.wire, ours.wire),
            ("disk", self.disk, ours.disk),
        ];
        for (name, theirs, ours) in pairs {
            if let (Some(theirs), Some(ours)) = (theirs, ours)
                && ours.median > 0.0
            {
                self.ratio.insert(name, theirs.median / ours.median);
            }
        }
    }

    /// Above 1 we are ahead, of rates as of times. CPU time of a given length says little without what was done in it.
    fn compare_pace(&mut self, theirs: &Paces, ours: &Paces) {
        let pairs = [
            ("per_second", ours.per_second, theirs.per_second),
            ("p50", theirs.p50, ours.p50),
            ("p99", theirs.p99, ours.p99),
            ("p999", theirs.p999, ours.p999),
        ];
        for (name, over, under) in pairs.into_iter().filter(|(_, _, under)| under.median > 0.0) {
            self.ratio.insert(name, over.median / under.median);
        }
    }
}

#[cfg(test)]
mod tests;
