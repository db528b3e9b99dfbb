//! What peers say of themselves: their summaries become numbers.
//!
//! Versions of a peer may change its words, so a summary that cannot be read is an error, never a zero.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::record::Pace;

/// Bytes in both directions from `rsync --stats`.
pub(super) fn rsync_wire(output: &str) -> Result<u64> {
    let number = |name: &str| {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(name));
        let line = line.with_context(|| format!("rsync --stats does not say {name:?}"))?;
        digits(line).with_context(|| format!("rsync --stats says {line:?} after {name:?}"))
    };
    Ok(number("Total bytes sent:")? + number("Total bytes received:")?)
}

/// Bytes that `restic backup --json` added to its repository.
pub(super) fn restic_added(output: &str) -> Result<u64> {
    let summary = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["message_type"] == "summary")
        .context("restic wrote no summary")?;
    summary["data_added"].as_u64().context("restic's summary has no data_added")
}

/// What a step of `syncline bench live`, or of the driver of its peers, says of its rate and times; `rows` asks for rows in
/// a second instead of transactions.
pub(super) fn pace(step: &Value, rows: bool) -> Result<Pace> {
    let number = |value: &Value, name: &str| {
        let found = value[name].as_f64().filter(|number| number.is_finite() && *number >= 0.0);
        found.with_context(|| format!("a live step has no {name}: {step}"))
    };
    let done = number(step, "transactions")?;
    ensure!(done > 0.0, "nothing was done in a live step: {step}");
    let microseconds = |name: &str| Ok::<_, anyhow::Error>(number(&step["latency_us"], name)? / 1e6);
    Ok(Pace {
        per_second: number(step, if rows { "rows_per_second" } else { "transactions_per_second" })?,
        p50: microseconds("p50")?,
        p99: microseconds("p99")?,
        p999: microseconds("p999")?,
    })
}

/// The step of that name in a report of `syncline bench live`.
pub(super) fn live_step<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let mut steps = report["steps"].as_array().into_iter().flatten();
    steps.find(|step| step["name"] == name).with_context(|| format!("bench live reports no step {name:?}: {report}"))
}

/// The step whose name begins so.
pub(super) fn live_step_like<'a>(report: &'a Value, begins: &str) -> Result<&'a Value> {
    let mut steps = report["steps"].as_array().into_iter().flatten();
    let found = steps.find(|step| step["name"].as_str().is_some_and(|name| name.starts_with(begins)));
    found.with_context(|| format!("bench live reports no step that begins with {begins:?}: {report}"))
}

/// The version in what a tool prints for `--version`: the first word that begins with a digit, after an optional `v`
/// or `v=`.
pub(super) fn version(output: &str) -> Result<String> {
    let words = output.split([' ', '\n', '\t', ',']);
    let mut versions = words.map(|word| word.strip_prefix("v=").or_else(|| word.strip_prefix('v')).unwrap_or(word));
    let found = versions.find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    found.map(str::to_owned).with_context(|| format!("no version in {:?}", output.lines().next().unwrap_or_default()))
}

/// The last line of a program's output that is a JSON object: libraries may chat before it.
pub(super) fn last_object(output: &str) -> Result<Value> {
    let objects = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut objects = objects.filter(Value::is_object);
    if let Some(found) = objects.next() {
        return Ok(found);
    }
    let whole = serde_json::from_str(output.trim());
    whole.with_context(|| format!("no JSON object in {:?}", output.chars().take(200).collect::<String>()))
}

/// A number with thousands separators.
fn digits(text: &str) -> Option<u64> {
    let word = text.split_whitespace().next()?;
    let plain: String = word.chars().filter(|c| *c != ',' && *c != '.').collect();
    plain.parse().ok()
}

#[cfg(test)]
mod tests;
