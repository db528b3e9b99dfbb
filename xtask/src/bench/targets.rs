//! Targets: what is aimed for in a suite, judged on the medians of the run, with every peer's number beside ours.
//!
//! A target is a number, a rate, or a multiple of another row of the same run. A target whose rows were not measured (a
//! peer left out, a step that failed) is reported as not judged, never as met.

use serde::Serialize;

use super::record::{OURS, Row, Step};
use super::stats::{self, Summary};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Wall time of the whole process, its start included.
    Wall,
    /// `seconds` of the command's own report: without starting the process and opening the replica. Of peers, their
    /// wall time.
    Report,
    /// Bytes on the wire.
    Wire,
    /// Growth of the store.
    Disk,
    /// Peak memory, or what a step says that it looks at.
    Memory,
    /// Round trips.
    RoundTrips,
    /// How much in a second; more is better.
    PerSecond,
    /// Half of the transactions took this long or less.
    P50,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P999,
}

/// How much is allowed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    /// At most this much (seconds, bytes or a count).
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
    /// At least so many rows per second, of so many rows.
    Rate { per_second: f64, rows: f64 },
    /// At most so many times what another row of the step has.
    Times(f64, &'static str),
    /// At most so many times the best of these rows.
    TimesBest(f64, &'static [&'static str]),
}

/// One target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The step's name.
    pub(super) step: String,
    /// What of our row is judged.
    pub(super) metric: Metric,
    /// Against what.
    pub(super) bound: Bound,
}

/// A target's outcome.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    /// The step.
    pub(super) step: String,
    /// What was asked, in words.
    pub(super) target: String,
    /// What was measured, in words.
    pub(super) measured: String,
    /// What the others of the step need for the same.
    pub(super) beside: Vec<Beside>,
    /// Whether it was met; absent when it could not be judged.
    pub(super) met: Option<bool>,
}

/// Another row of the step, by the measure of a target.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Beside {
    /// The tool, or the physical limit.
    pub(super) tool: String,
    /// Whether it is a limit.
    pub(super) limit: bool,
    /// Its median, in words.
    pub(super) measured: String,
    /// Its median divided by ours; of a rate, ours divided by it.
    pub(super) ratio: Option<f64>,
}

/// A target of a number.
pub(super) fn at_most(step: impl Into<String>, metric: Metric, most: f64) -> Target {
    Target { step: step.into(), metric, bound: Bound::AtMost(most) }
}

/// A target of so much in a second.
pub(super) fn at_least(step: impl Into<String>, per_second: f64) -> Target {
    Target { step: step.into(), metric: Metric::PerSecond, bound: Bound::AtLeast(per_second) }
}

/// A target of a multiple of another row's wall time.
pub(super) fn times(step: impl Into<String>, factor: f64, tool: &'static str) -> Target {
    Target { step: step.into(), metric: Metric::Wall, bound: Bound::Times(factor, tool) }
}

/// A target of rows per second of wall time.
pub(super) fn rate(step: impl Into<String>, per_second: f64, rows: f64) -> Target {
    Target { step: step.into(), metric: Metric::Wall, bound: Bound::Rate { per_second, rows } }
}

/// Judges every target.
pub(super) fn judge(targets: &[Target], steps: &[Step]) -> Vec<Verdict> {
    targets.iter().map(|target| verdict(target, steps)).collect()
}

fn verdict(target: &Target, steps: &[Step]) -> Verdict {
    let metric = target.metric;
    let rows: &[Row] = steps.iter().find(|step| step.name == target.step).map_or(&[], |step| &step.rows);
    let value = |tool: &str| rows.iter().find(|row| row.tool == tool).and_then(|row| median(row, metric));
    let best = |tools: &[&str]| tools.iter().filter_map(|tool| value(tool)).min_by(f64::total_cmp);
    let name = label(metric);
    let (asked, allowed) = match &target.bound {
        Bound::AtMost(most) => (format!("{name} ≤ {}", show(metric, *most)), Some(*most)),
        Bound::AtLeast(least) => (format!("{name} ≥ {}", show(metric, *least)), Some(*least)),
        Bound::Rate { per_second, rows } => {
            let most = rows / per_second;
            (format!("≥ {} rows/s: {name} ≤ {}", stats::number(*per_second), show(metric, most)), Some(most))
        }
        Bound::Times(factor, tool) => {
            (format!("{name} ≤ {factor} × {tool}"), value(tool).map(|theirs| theirs * factor))
        }
        Bound::TimesBest(factor, tools) => {
            (format!("{name} ≤ {factor} × the best of {}", tools.join(", ")), best(tools).map(|theirs| theirs * factor))
        }
    };
    let ours = rows.iter().find(|row| row.tool == OURS).filter(|row| summary(row, metric).is_some());
    let measured = ours.map_or_else(|| "not measured".to_owned(), |row| measured(row, target, allowed));
    let ours = ours.and_then(|row| median(row, metric));
    let beside = rows.iter().filter(|row| row.tool != OURS).filter_map(|row| beside(row, metric, ours)).collect();
    let more = matches!(target.bound, Bound::AtLeast(_));
    let met = ours.zip(allowed).map(|(ours, allowed)| if more { ours >= allowed } else { ours <= allowed });
    Verdict { step: target.step.clone(), target: asked, measured, beside, met }
}

/// Our number in words: median and range, and the other account of a time.
fn measured(row: &Row, target: &Target, allowed: Option<f64>) -> String {
    let metric = target.metric;
    let Some(ours) = summary(row, metric) else { return "not measured".to_owned() };
    let mut words = ours.show(|value| show(metric, value));
    match (&target.bound, allowed) {
        (Bound::AtMost(_) | Bound::AtLeast(_), _) => {}
        (Bound::Rate { rows, .. }, _) => words += &format!(" = {} rows/s", stats::number(rows / ours.median)),
        (_, Some(allowed)) => words += &format!(", allowed {}", show(metric, allowed)),
        (_, None) => words += ", nothing to compare with",
    }
    match (metric, row.inside) {
        (Metric::Wall, Some(inside)) => words += &format!("; {} in the report", stats::seconds(inside.median)),
        (Metric::Report, Some(_)) => words += &format!("; whole process {}", stats::seconds(row.wall.median)),
        _ => {}
    }
    words
}

fn beside(row: &Row, metric: Metric, ours: Option<f64>) -> Option<Beside> {
    let theirs = median(row, metric)?;
    let ratio = match metric {
        Metric::PerSecond => ours.filter(|_| theirs > 0.0).map(|ours| ours / theirs),
        _ => ours.filter(|ours| *ours > 0.0).map(|ours| theirs / ours),
    };
    Some(Beside { tool: row.tool.clone(), limit: row.limit, measured: show(metric, theirs), ratio })
}

fn summary(row: &Row, metric: Metric) -> Option<Summary> {
    match metric {
        // A limit in bytes takes no time.
        Metric::Wall => Some(row.wall).filter(|wall| wall.max > 0.0),
        Metric::Report => row.inside.or(Some(row.wall).filter(|wall| wall.max > 0.0)),
        Metric::Wire => row.wire,
        Metric::Disk => row.disk,
        Metric::Memory => row.rss,
        Metric::RoundTrips => row.round_trips,
        Metric::PerSecond => row.pace.map(|pace| pace.per_second),
        Metric::P50 => row.pace.map(|pace| pace.p50),
        Metric::P99 => row.pace.map(|pace| pace.p99),
        Metric::P999 => row.pace.map(|pace| pace.p999),
    }
}

fn median(row: &Row, metric: Metric) -> Option<f64> {
    summary(row, metric).map(|summary| summary.median)
}

fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::Wall => "whole process",
        Metric::Report => "seconds in the report",
        Metric::Wire => "wire",
        Metric::Disk => "disk",
        Metric::Memory => "memory",
        Metric::RoundTrips => "round trips",
        Metric::PerSecond => "per second",
        Metric::P50 => "p50",
        Metric::P99 => "p99",
        Metric::P999 => "p99.9",
    }
}

fn show(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Wall | Metric::Report | Metric::P50 | Metric::P99 | Metric::P999 => stats::seconds(value),
        Metric::Wire | Metric::Disk | Metric::Memory => stats::bytes(value),
        Metric::RoundTrips => format!("{value:.0}"),
        Metric::PerSecond => stats::number(value),
    }
}

#[cfg(test)]
mod tests;
