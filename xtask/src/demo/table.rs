//! The end of the demo as people read it.

use std::fmt::Write as _;

use serde_json::Value;

use super::story::Report;

/// `1234567` as `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// Bytes with a decimal unit.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

/// The closing table.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{}", words.trim_end()).expect("a string takes every write");
    let width = report.steps.iter().map(|step| step.what.chars().count()).max().unwrap_or(0);
    line(String::new());
    line(format!("{:<width$}  {:>9}  {:>10}  {:>7}  {:>11}", "step", "time", "on wire", "trips", "full copy"));
    for step in &report.steps {
        let (wire, trips, part) = match step.wire_bytes {
            Some(wire) => {
                let part = 100.0 * wire as f64 / report.full_copy_bytes.max(1) as f64;
                let part = if part < 0.1 { format!("{part:.3} %") } else { format!("{part:.1} %") };
                (bytes(wire), step.round_trips.unwrap_or(0).to_string(), part)
            }
            None => Default::default(),
        };
        line(format!("{:<width$}  {:>7.2} s  {wire:>10}  {trips:>7}  {part:>11}", step.what, step.seconds));
    }
    line(String::new());
    line(format!("a copy of everything (Parquet and files) moves {}", bytes(report.full_copy_bytes)));
    for tree in report.diff["trees"].as_array().into_iter().flatten() {
        let name = tree["tree"]["table"].as_str().unwrap_or("files");
        let of = |member: &str| count(tree[member].as_u64().unwrap_or(0));
        line(format!("diff v1 main: {name}: +{} ~{} -{}", of("inserted"), of("updated"), of("deleted")));
    }
    for event in report.history["events"].as_array().into_iter().flatten() {
        let word = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        let id: String = word("id").chars().take(12).collect();
        let changed =
            event["changed"].as_array().map(|c| c.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
        line(format!("history: {id} {} {} {}", word("action"), changed.unwrap_or_default(), word("message")));
    }
    for conflict in report.conflict["conflicts"].as_array().into_iter().flatten() {
        let side = |side: &str| conflict[side]["l_comment"].to_string();
        let key = conflict["key"].as_str().unwrap_or_default();
        line(format!("conflict: row {key}: ours {}, theirs {}", side("ours"), side("theirs")));
    }
    line(String::new());
    for node in &report.nodes {
        let (objects, size) = (count(node.objects), bytes(node.bytes));
        line(format!("{:<7} {}  every byte verified: {objects} objects, {size}", node.node, node.root));
    }
    super::live::render(&report.live).into_iter().for_each(&mut line);
    let word = if report.equal { "one root: the three nodes hold the same data" } else { "THE ROOTS DIFFER" };
    line(format!("{word}; {:.0} s in all", report.seconds));
    if let Some(kept) = &report.kept {
        line(String::new());
        line(format!("left in {}", kept.dir.display()));
        for (url, pid) in &kept.nodes {
            line(format!("  {url}   stop it with: kill {pid}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1_000, 8_661_245].map(count), ["0", "999", "1,000", "8,661,245"]);
        assert_eq!([0, 999, 1_500, 999_600, 260_000_000].map(bytes), ["0 B", "999 B", "1.5 kB", "1.0 MB", "260.0 MB"]);
    }
}
