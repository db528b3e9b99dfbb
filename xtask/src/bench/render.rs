//! Rendering: a report as a Markdown page that a person reads top down.
//!
//! Not here: any judgement; every number on the page is in the report.

use std::fmt::Write as _;

use super::memory;
use super::record::{OURS, Paces, Report, Row, Step};
use super::stats::{self, Summary};
use super::targets::Beside;

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    head(&mut page, report);
    targets(&mut page, report);
    memory(&mut page, report);
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
        "Every number is the median of {}, then min–max; `×` is the row divided by ours (above 1: we are ahead). Tools took",
        repetitions(report)
    );
    line!(
        page,
        "turns in one run. Wall is the whole process, its start included; *in the report* is what our command says that it took,"
    );
    line!(
        page,
        "without starting and opening the replica. Memory is the peak of the whole tree of processes. Rows in italics are limits of"
    );
    line!(
        page,
        "the machine. A tool that does not flush to disk by itself is followed by a flush, which its time contains."
    );
    line!(page);
    report.notes.iter().for_each(|note| line!(page, "- {note}"));
}

/// How often the suite ran.
fn repetitions(report: &Report) -> String {
    match report.repetitions {
        1 => "one repetition".to_owned(),
        more => format!("{more} repetitions"),
    }
}

fn targets(page: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    line!(page);
    line!(page, "## Targets");
    line!(page);
    line!(
        page,
        "Beside them, by the same measure: peers, and in italics limits of the machine; `×` is theirs divided by ours, of rates ours by theirs."
    );
    line!(page);
    line!(page, "| step | target | ours | | beside |");
    line!(page, "|---|---|---|---|---|");
    for verdict in &report.targets {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not judged",
        };
        let beside: Vec<String> = verdict.beside.iter().map(beside).collect();
        let (step, target, ours) = (&verdict.step, &verdict.target, &verdict.measured);
        line!(page, "| {step} | {target} | {ours} | {met} | {} |", beside.join("; "));
    }
}

fn beside(row: &Beside) -> String {
    let ratio = row.ratio.map(|ratio| format!(" ({})", stats::times(ratio))).unwrap_or_default();
    format!("{} {}{ratio}", tool(&row.tool, row.limit), row.measured)
}

/// What our own processes took at most.
#[expect(clippy::cast_precision_loss, reason = "main memory is far below 2^52 bytes")]
fn memory(page: &mut String, report: &Report) {
    let peaks = report.memory.peaks();
    let Some((verb, largest)) = peaks.first() else { return };
    let size = |bytes: u64| stats::bytes(bytes as f64);
    let held = if largest.bytes <= memory::LIMIT { "met" } else { "**missed**" };
    line!(page);
    line!(page, "## Memory");
    line!(page);
    line!(
        page,
        "The largest process of ours, {} of `{verb}`, beside the target of {}: {held}. Every command that the suite runs is in here,",
        size(largest.bytes),
        size(memory::LIMIT),
    );
    line!(page, "measured step or not; `{}` is the nodes.", memory::NODE);
    line!(page);
    line!(page, "| | largest peak | processes | the largest |");
    line!(page, "|---|---|---|---|");
    for (verb, peak) in peaks {
        line!(page, "| {verb} | {} | {} | `{}` |", size(peak.bytes), peak.processes, peak.command);
    }
}

/// A measure of a step of a given length: its column, its ratio, its value and how that is shown.
type PaceMeasure = (&'static str, &'static str, fn(&Paces) -> Summary, fn(f64) -> String);

/// A step of a given length: what was done in it, and how long each took.
fn pace_table(page: &mut String, step: &Step) {
    let compared = step.rows.iter().any(|row| row.tool == OURS) && step.rows.len() > 1;
    let measures: [PaceMeasure; 4] = [
        ("per second", "per_second", |pace| pace.per_second, stats::number),
        ("p50", "p50", |pace| pace.p50, stats::seconds),
        ("p99", "p99", |pace| pace.p99, stats::seconds),
        ("p99.9", "p999", |pace| pace.p999, stats::seconds),
    ];
    let mut columns = vec![""];
    for (title, ..) in &measures {
        columns.push(title);
        columns.extend(compared.then_some("×"));
    }
    columns.extend(["CPU", "memory", "note"]);
    line!(page);
    line!(page, "## {}", step.name);
    line!(page);
    line!(page, "| {} |", columns.join(" | "));
    line!(page, "|{}", "---|".repeat(columns.len()));
    for row in &step.rows {
        let mut cells = vec![name(row)];
        for (_, key, pick, unit) in &measures {
            cells.push(row.pace.as_ref().map_or_else(dash, |pace| pick(pace).show(unit)));
            if compared {
                cells.push(ratio(row, key));
            }
        }
        cells.push(cell(row.cpu, stats::seconds));
        cells.push(row.rss.map_or_else(dash, |rss| stats::bytes(rss.median)));
        cells.push(note(row));
        line!(page, "| {} |", cells.join(" | "));
    }
}

fn table(page: &mut String, step: &Step) {
    if step.rows.iter().any(|row| row.pace.is_some()) {
        return pace_table(page, step);
    }
    let any = |pick: fn(&Row) -> Option<Summary>| step.rows.iter().any(|row| pick(row).is_some());
    let (wire, disk, trips) = (any(|row| row.wire), any(|row| row.disk), any(|row| row.round_trips));
    let inside = any(|row| row.inside);
    let compared = step.rows.iter().any(|row| row.tool == OURS) && step.rows.len() > 1;
    let mut columns = vec!["", "wall"];
    if compared {
        columns.push("×");
    }
    columns.extend(inside.then_some("in the report"));
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
        if inside {
            cells.push(row.inside.map_or_else(dash, |inside| inside.show(stats::seconds)));
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
    if row.tool == OURS { format!("**{}**", row.tool) } else { tool(&row.tool, row.limit) }
}

/// A name that shows whether it is a limit.
fn tool(name: &str, limit: bool) -> String {
    if limit { format!("*{name}*") } else { name.to_owned() }
}

/// A limit in bytes takes no time.
fn wall(row: &Row) -> String {
    if row.wall.max > 0.0 { row.wall.show(stats::seconds) } else { dash() }
}

fn note(row: &Row) -> String {
    let mut parts = Vec::new();
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
