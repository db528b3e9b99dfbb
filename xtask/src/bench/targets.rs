//! Targets: what is aimed for in a suite, judged on the medians of the run.
//!
//! A target is either a number or a multiple of another row of the same run. A target whose rows were not measured
//! (a peer left out, a step that failed) is reported as not judged, never as met.

use serde::Serialize;

use super::record::{OURS, Row, Step};
use super::stats;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Wall time of the whole process.
    Wall,
    /// Wall time by our own account, without starting the process; all of it where the command gives no account.
    Inside,
    /// Bytes on the wire.
    Wire,
    /// Growth of the store.
    Disk,
    /// Peak memory.
    Rss,
    /// Round trips.
    RoundTrips,
}

/// How much is allowed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    /// At most this much (seconds, bytes or a count).
    AtMost(f64),
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
    /// Whether it was met; absent when it could not be judged.
    pub(super) met: Option<bool>,
}

/// A target of a number.
pub(super) fn at_most(step: impl Into<String>, metric: Metric, most: f64) -> Target {
    Target { step: step.into(), metric, bound: Bound::AtMost(most) }
}

/// A target of a multiple of another row's wall time.
pub(super) fn times(step: impl Into<String>, factor: f64, tool: &'static str) -> Target {
    Target { step: step.into(), metric: Metric::Wall, bound: Bound::Times(factor, tool) }
}

/// Judges every target.
pub(super) fn judge(targets: &[Target], steps: &[Step]) -> Vec<Verdict> {
    targets.iter().map(|target| verdict(target, steps)).collect()
}

fn verdict(target: &Target, steps: &[Step]) -> Verdict {
    let rows: &[Row] = steps.iter().find(|step| step.name == target.step).map_or(&[], |step| &step.rows);
    let value = |tool: &str| rows.iter().find(|row| row.tool == tool).and_then(|row| median(row, target.metric));
    let best = |tools: &[&str]| tools.iter().filter_map(|tool| value(tool)).min_by(f64::total_cmp);
    let ours = value(OURS);
    let name = label(target.metric);
    let (asked, allowed) = match &target.bound {
        Bound::AtMost(most) => (format!("{name} ≤ {}", show(target.metric, *most)), Some(*most)),
        Bound::Times(factor, tool) => {
            (format!("{name} ≤ {factor} × {tool}"), value(tool).map(|theirs| theirs * factor))
        }
        Bound::TimesBest(factor, tools) => {
            (format!("{name} ≤ {factor} × the best of {}", tools.join(", ")), best(tools).map(|theirs| theirs * factor))
        }
    };
    let measured = match (ours, &target.bound, allowed) {
        (None, ..) => "not measured".to_owned(),
        (Some(ours), Bound::AtMost(_), _) => show(target.metric, ours),
        (Some(ours), _, Some(allowed)) => {
            format!("{}, allowed {}", show(target.metric, ours), show(target.metric, allowed))
        }
        (Some(ours), _, None) => format!("{}, nothing to compare with", show(target.metric, ours)),
    };
    let met = ours.zip(allowed).map(|(ours, allowed)| ours <= allowed);
    Verdict { step: target.step.clone(), target: asked, measured, met }
}

fn median(row: &Row, metric: Metric) -> Option<f64> {
    let summary = match metric {
        Metric::Wall => Some(row.wall),
        Metric::Inside => row.inside.or(Some(row.wall)),
        Metric::Wire => row.wire,
        Metric::Disk => row.disk,
        Metric::Rss => row.rss,
        Metric::RoundTrips => row.round_trips,
    };
    summary.map(|summary| summary.median)
}

fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::Wall => "wall",
        Metric::Inside => "inside",
        Metric::Wire => "wire",
        Metric::Disk => "disk",
        Metric::Rss => "memory",
        Metric::RoundTrips => "round trips",
    }
}

fn show(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Wall | Metric::Inside => stats::seconds(value),
        Metric::Wire | Metric::Disk | Metric::Rss => stats::bytes(value),
        Metric::RoundTrips => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests;
