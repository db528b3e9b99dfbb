//! Rendering: a report as a Markdown page that a person reads top down.
//!
//! Not here: any judgement; every number on the page is in the report.

use std::fmt::Write as _;

use super::record::{OURS, Report, Row, Step};
use super::stats::{self, Summary};

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    head(&mut page, report);
    targets(&mut page, report);
    report.steps.iter().for_each(|step| table(&mut page, step));
    commands(&mut page, report);
    page
}

/// Writing to a string cannot fail; this keeps that in one place.
macro_rules! line {
    ($page:expr) => { $page.push('\n') };
    ($page:expr, $($word:tt)*) => {{
        writeln!($page, $($word)*).expect("a string takes what is written to it");
    }};
}

fn head(page: &mut String, report: &Report) {
    line!(page, "# Benchmark `{}`", report.suite);
    line!(page);
    if report.quick {
        line!(page, "**Tiny sizes, which only prove that the harness works: these numbers compare nothing.**");
        line!(page);
    }
    line!(page, "Made by `{}` on {}. {}", report.command, report.date, report.machine.sentence());
    let versions: Vec<String> = report.versions.iter().map(|(tool, version)| format!("{tool} {version}")).collect();
    line!(page, "Versions: {}.", versions.join(", "));
    if !report.without.is_empty() {
        line!(page, "**Left out on demand: {}.**", report.without.join(", "));
    }
    line!(page);
    line!(
        page,
        "Every number is the median of the repetitions, then min–max; `×` is the row divided by ours (above 1: we are"
    );
    line!(
        page,
        "ahead). Tools took turns in one run. Memory is the peak of the whole tree of processes. Rows in italics are limits"
    );
    line!(
        page,
        "of the machine. A tool that does not flush to disk by itself is followed by a flush, which its time contains."
    );
    line!(page);
    report.notes.iter().for_each(|note| line!(page, "- {note}"));
}

fn targets(page: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    line!(page);
    line!(page, "## Targets");
    line!(page);
    line!(page, "| step | target | measured | |");
    line!(page, "|---|---|---|---|");
    for verdict in &report.targets {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not judged",
        };
        line!(page, "| {} | {} | {} | {met} |", verdict.step, verdict.target, verdict.measured);
    }
}

fn table(page: &mut String, step: &Step) {
    let any = |pick: fn(&Row) -> Option<Summary>| step.rows.iter().any(|row| pick(row).is_some());
    let (wire, disk, trips) = (any(|row| row.wire), any(|row| row.disk), any(|row| row.round_trips));
    let compared = step.rows.iter().any(|row| row.tool == OURS) && step.rows.len() > 1;
    let mut columns = vec!["", "wall"];
    if compared {
        columns.push("×");
    }
    columns.extend(["CPU", "memory"]);
    for (shown, name) in [(wire, "wire"), (disk, "disk growth")] {
        if shown {
            columns.push(name);
            if compared {
                columns.push("×");
            }
        }
    }
    if trips {
        columns.push("round trips");
    }
    columns.push("note");
    line!(page);
    line!(page, "## {}", step.name);
    line!(page);
    line!(page, "| {} |", columns.join(" | "));
    line!(page, "|{}", "---|".repeat(columns.len()));
    for row in &step.rows {
        let mut cells = vec![name(row), wall(row)];
        if compared {
            cells.push(ratio(row, "wall"));
        }
        cells.push(cell(row.cpu, stats::seconds));
        cells.push(row.rss.map_or_else(dash, |rss| stats::bytes(rss.median)));
        for (shown, value, key) in [(wire, row.wire, "wire"), (disk, row.disk, "disk")] {
            if shown {
                cells.push(value.map_or_else(dash, |value| value.show(stats::bytes)));
                if compared {
                    cells.push(ratio(row, key));
                }
            }
        }
        if trips {
            cells.push(cell(row.round_trips, |count| format!("{count:.0}")));
        }
        cells.push(note(row));
        line!(page, "| {} |", cells.join(" | "));
    }
}

fn name(row: &Row) -> String {
    if row.tool == OURS {
        format!("**{}**", row.tool)
    } else if row.limit {
        format!("*{}*", row.tool)
    } else {
        row.tool.clone()
    }
}

/// A limit in bytes takes no time.
fn wall(row: &Row) -> String {
    if row.wall.max > 0.0 { row.wall.show(stats::seconds) } else { dash() }
}

fn note(row: &Row) -> String {
    let mut parts = Vec::new();
    if let Some(inside) = row.inside {
        parts.push(format!("{} inside", stats::seconds(inside.median)));
    }
    if let Some(unsynced) = row.unsynced {
        parts.push(format!("{} without the flush", stats::seconds(unsynced.median)));
    }
    if !row.note.is_empty() {
        parts.push(row.note.clone());
    }
    parts.join("; ")
}

fn ratio(row: &Row, key: &str) -> String {
    let measured = match key {
        "wire" => row.wire.is_some(),
        "disk" => row.disk.is_some(),
        _ => true,
    };
    if row.tool == OURS && measured {
        return "1".to_owned();
    }
    row.ratio.get(key).map_or_else(dash, |&value| stats::times(value))
}

fn cell(summary: Option<Summary>, unit: fn(f64) -> String) -> String {
    summary.map_or_else(dash, |summary| unit(summary.median))
}

fn dash() -> String {
    "–".to_owned()
}

fn commands(page: &mut String, report: &Report) {
    line!(page);
    line!(page, "## Commands");
    line!(page);
    line!(page, "As run in the last repetition; `$RUN` is the scratch directory, `$CACHE` holds inputs and peers.");
    for step in &report.steps {
        line!(page);
        line!(page, "{}:", step.name);
        line!(page);
        for row in step.rows.iter().filter(|row| !row.commands.is_empty()) {
            let lines: Vec<String> = row.commands.iter().map(|line| format!("`{line}`")).collect();
            line!(page, "- {}: {}", row.tool, lines.join(" then "));
        }
    }
}

#[cfg(test)]
mod tests;
