//! The index: the part of `docs/benchmarks/README.md` that lists what was measured, made from the reports beside it.
//!
//! Owns: what stands between the two marks in that file; the rest of it is written by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

const FROM: &str = "<!-- results: written by `cargo xtask bench` -->";
const TO: &str = "<!-- end of results -->";

/// Writes the index of the reports in `dir` into its `README.md`, when that has the two marks.
pub(super) fn refresh(dir: &Path) -> Result<()> {
    let path = dir.join("README.md");
    let Ok(page) = fs::read_to_string(&path) else { return Ok(()) };
    let mut reports = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            reports.push(serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?);
        }
    }
    reports.sort_by_key(|report: &Value| report["suite"].as_str().unwrap_or_default().to_owned());
    match replaced(&page, &table(&reports)) {
        Some(new) if new != page => fs::write(&path, new).with_context(|| format!("writing {}", path.display())),
        _ => Ok(()),
    }
}

/// The page with `table` between its marks; `None` when it has none.
fn replaced(page: &str, table: &str) -> Option<String> {
    let (head, rest) = page.split_once(FROM)?;
    let (_, tail) = rest.split_once(TO)?;
    Some(format!("{head}{FROM}\n{table}{TO}{tail}"))
}

fn table(reports: &[Value]) -> String {
    let mut text = String::from("| report | targets met | missed | measured |\n|---|---|---|---|\n");
    for report in reports {
        let name = report["suite"].as_str().unwrap_or_default();
        let judged: Vec<&Value> = report["targets"].as_array().into_iter().flatten().collect();
        let met = judged.iter().filter(|target| target["met"] == true).count();
        let missed: Vec<String> = judged.iter().filter(|target| target["met"] == false).map(|one| words(one)).collect();
        let ours = report["versions"]["syncline"].as_str().unwrap_or("without ours");
        let date = report["date"].as_str().unwrap_or_default();
        let missed = if missed.is_empty() { "–".to_owned() } else { missed.join("; ") };
        writeln!(text, "| [{name}]({name}.md) | {met} of {} | {missed} | {date}, {ours} |", judged.len())
            .expect("a string takes what is written to it");
    }
    text
}

fn words(verdict: &Value) -> String {
    let part = |name: &str| verdict[name].as_str().unwrap_or_default();
    format!("{}: {} (target {})", part("step"), part("measured"), part("target"))
}

#[cfg(test)]
mod tests;
