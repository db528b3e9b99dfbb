//! What a step measured: how much in which time, and how long each took.

use std::time::Duration;

use serde::Serialize;
use syncline_base::{Clock as _, SystemClock};

use crate::units;

/// When something began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        Self(SystemClock.monotonic())
    }

    /// How long ago that was.
    pub(super) fn elapsed(self) -> Duration {
        SystemClock.monotonic().saturating_sub(self.0)
    }
}

/// One step of a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// What was done.
    pub name: String,
    /// Transactions that were durable, or seen, in the step.
    pub transactions: u64,
    /// Rows in them.
    pub rows: u64,
    /// How long the step took.
    pub seconds: f64,
    /// Transactions in a second.
    pub transactions_per_second: f64,
    /// Rows in a second.
    pub rows_per_second: f64,
    /// How long each took, in microseconds: of so many the given share was not slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// Bytes of memory that the process had in the step that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Quantiles, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Step {
    pub(super) fn new(name: impl Into<String>, rows_each: u64, time: Duration, mut took: Vec<Duration>) -> Self {
        let transactions = took.len() as u64;
        let (rows, seconds) = (transactions * rows_each, time.as_secs_f64());
        took.sort_unstable();
        let at = |share: f64| {
            let nth = (took.len() as f64 * share) as usize;
            took.get(nth.min(took.len().saturating_sub(1))).map_or(0, |time| time.as_micros() as u64)
        };
        let latency = Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) };
        Self {
            name: name.into(),
            transactions,
            rows,
            seconds,
            transactions_per_second: transactions as f64 / seconds,
            rows_per_second: rows as f64 / seconds,
            latency_us: (!took.is_empty()).then_some(latency),
            memory_bytes: None,
        }
    }

    /// Something that was done once: so many transactions with so many rows, in this time.
    pub(super) fn once(name: impl Into<String>, transactions: u64, rows: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            name: name.into(),
            transactions,
            rows,
            seconds,
            transactions_per_second: transactions as f64 / seconds,
            rows_per_second: rows as f64 / seconds,
            latency_us: None,
            memory_bytes: None,
        }
    }

    /// For a table.
    pub(super) fn cells(&self) -> Vec<String> {
        let rate = |per_second: f64| format!("{per_second:.0}");
        let time = |us: Option<u64>| us.map_or_else(String::new, |us| units::seconds(us as f64 / 1e6));
        let latency = self.latency_us;
        vec![
            self.name.clone(),
            units::seconds(self.seconds),
            rate(self.transactions_per_second),
            rate(self.rows_per_second),
            time(latency.map(|latency| latency.p50)),
            time(latency.map(|latency| latency.p99)),
            time(latency.map(|latency| latency.p999)),
            time(latency.map(|latency| latency.max)),
            self.memory_bytes.map_or_else(String::new, units::bytes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_samples() {
        let took = (1..=1000).rev().map(Duration::from_micros).collect();
        let step = Step::new("a", 10, Duration::from_secs(2), took);
        let latency = step.latency_us.expect("there are samples");
        assert_eq!((latency.p50, latency.p99, latency.p999, latency.max), (501, 991, 1000, 1000));
        assert_eq!((step.transactions, step.rows), (1000, 10_000));
        assert!((step.rows_per_second - 5000.0).abs() < f64::EPSILON);
        assert!(Step::new("b", 1, Duration::from_secs(1), Vec::new()).latency_us.is_none());
    }
}
