//! Statistics: what a handful of repetitions says, and how a number is written for people.
//!
//! Not here: what the numbers mean, and where they stand in a table.

use serde::Serialize;

/// Median, smallest and largest of the repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    /// The middle one; the mean of the two middle ones when their number is even.
    pub(super) median: f64,
    /// The smallest.
    pub(super) min: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Summary {
    /// Of the values there are; `None` of none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }

    /// `median (min–max)`, or the median alone when there is nothing between the three.
    pub(super) fn show(&self, unit: impl Fn(f64) -> String) -> String {
        let (median, min, max) = (unit(self.median), unit(self.min), unit(self.max));
        if min == max { median } else { format!("{median} ({min}–{max})") }
    }
}

/// Seconds, with three digits that count.
pub(super) fn seconds(value: f64) -> String {
    if value < 0.001 {
        format!("{:.0} µs", value * 1e6)
    } else if value < 1.0 {
        format!("{} ms", three_digits(value * 1e3))
    } else {
        format!("{} s", three_digits(value))
    }
}

/// Bytes in decimal units; a store may also shrink.
pub(super) fn bytes(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    let (scaled, unit) = match size {
        size if size < 1e3 => return format!("{sign}{size:.0} B"),
        size if size < 1e6 => (size / 1e3, "kB"),
        size if size < 1e9 => (size / 1e6, "MB"),
        size => (size / 1e9, "GB"),
    };
    format!("{sign}{} {unit}", three_digits(scaled))
}

/// A number of things: `870`, `52.0 k`, `3.00 M`.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1e3 => format!("{value:.0}"),
        size if size < 1e6 => format!("{} k", three_digits(value / 1e3)),
        _ => format!("{} M", three_digits(value / 1e6)),
    }
}

/// How many times: `0.31×`, `4.2×`, `120×`.
pub(super) fn times(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}×")
}

fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests;
