use std::collections::BTreeMap;

use super::super::machine::Machine;
use super::super::memory::Memory;
use super::super::record::{Pace, Recorder, Sample};
use super::super::targets::{self, Metric};
use super::*;

fn report(quick: bool) -> Report {
    let mut recorder = Recorder::default();
    let ours = Sample {
        wall: 0.01,
        inside: Some(0.004),
        cpu: Some(0.008),
        rss: Some(20_000_000),
        disk: Some(1_500),
        lines: vec!["syncline commit".into()],
        ..Sample::default()
    };
    recorder.add("commit 1 edit", "other", "no merge", Sample { wall: 0.1, unsynced: Some(0.06), ..Sample::default() });
    recorder.add("commit 1 edit", OURS, "", Sample { wall: 0.03, ..ours.clone() });
    recorder.add("commit 1 edit", OURS, "", ours);
    recorder.limit("scan", "Parquet scan", "", Sample { wall: 2.0, cpu: Some(1.0), ..Sample::default() });
    let steps = recorder.finish();
    let mut memory = Memory::new();
    memory.saw("import", 500_000_000, "syncline import", true);
    memory.saw("up", 100_000_000, "syncline up", true);
    Report {
        suite: "table-delta".into(),
        quick,
        command: "cargo xtask bench table-delta".into(),
        repetitions: 2,
        memory,
        date: "2026-01-02".into(),
        machine: Machine::default(),
        versions: BTreeMap::from([("rsync".into(), "3.2.7".into())]),
        without: vec!["delta".into()],
        notes: vec!["Input: 10 rows.".into()],
        targets: targets::judge(&[targets::at_most("commit 1 edit", Metric::Disk, 2_000.0)], &steps),
        steps,
    }
}

#[test]
fn a_table_has_our_row_first_with_ratios_and_notes() {
    let page = page(&report(false));
    let table: Vec<&str> = page.lines().skip_while(|line| *line != "## commit 1 edit").skip(2).take(4).collect();
    assert_eq!(
        table,
        [
            "|  | wall | × | in the report | CPU | memory | disk growth | × | note |",
            "|---|---|---|---|---|---|---|---|---|",
            "| **syncline** | 20.0 ms (10.0 ms–30.0 ms) | 1 | 4.00 ms | 8.00 ms | 20.0 MB | 1.50 kB | 1 |  |",
            "| other | 100 ms | 5.00× | – | – | – | – | – | 60.0 ms without the flush; no merge |",
        ]
    );
}

#[test]
fn what_we_did_not_measure_has_no_ratio_of_ours() {
    let mut report = report(false);
    let mut recorder = Recorder::default();
    recorder.add("first commit", OURS, "", Sample { wall: 1.0, ..Sample::default() });
    recorder.add("first commit", "other", "", Sample { wall: 2.0, wire: Some(10), ..Sample::default() });
    report.steps = recorder.finish();
    let page = page(&report);
    assert!(page.contains("| **syncline** | 1.00 s | 1 | – | – | – | – |  |"), "{page}");
}

#[test]
fn a_step_without_us_has_no_ratios_and_limits_are_set_apart() {
    let page = page(&report(false));
    assert!(page.contains("| *Parquet scan* | 2.00 s | 1.00 s | – |  |"), "{page}");
}

#[test]
fn the_head_says_what_was_left_out_and_whether_the_sizes_are_tiny() {
    assert!(page(&report(false)).contains("**Left out on demand: delta.**"));
    assert!(!page(&report(false)).contains("Tiny sizes"));
    assert!(page(&report(true)).contains("Tiny sizes"));
    assert!(page(&report(true)).contains("| commit 1 edit | disk ≤ 2.00 kB | 1.50 kB | met |  |"));
    assert!(page(&report(true)).contains("- syncline: `syncline commit`"));
}

#[test]
fn memory_is_shown_beside_its_target() {
    let page = page(&report(false));
    assert!(page.contains("500 MB of `import`, beside the target of 400 MB: **missed**"), "{page}");
    assert!(
        page.contains("| import | 500 MB | 1 | `syncline import` |\n| up | 100 MB | 1 | `syncline up` |"),
        "{page}"
    );
}

#[test]
fn the_head_says_how_often_it_ran() {
    assert!(page(&report(false)).contains("the median of 2 repetitions,"));
}

#[test]
fn a_step_of_a_given_length_shows_rates_and_quantiles_and_no_wall_time() {
    let pace = |per_second, p50| Sample {
        wall: 9.0,
        cpu: Some(2.0),
        pace: Some(Pace { per_second, p50, p99: 0.001, p999: 0.002 }),
        ..Sample::default()
    };
    let mut recorder = Recorder::default();
    recorder.add("1 writer", OURS, "", pace(8_000.0, 0.000_1));
    recorder.add("1 writer", "other", "two of them", pace(2_000.0, 0.000_3));
    recorder.limit("1 writer", "the disk", "", Sample { cpu: None, ..pace(9_000.0, 0.000_09) });
    let mut report = report(false);
    report.steps = recorder.finish();
    let page = page(&report);
    let table: Vec<&str> = page.lines().skip_while(|line| *line != "## 1 writer").skip(2).take(5).collect();
    assert_eq!(
        table,
        [
            "|  | per second | × | p50 | × | p99 | × | p99.9 | × | CPU | memory | note |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            "| **syncline** | 8.00 k | 1 | 100 µs | 1 | 1.00 ms | 1 | 2.00 ms | 1 | 2.00 s | – |  |",
            "| other | 2.00 k | 4.00× | 300 µs | 3.00× | 1.00 ms | 1.00× | 2.00 ms | 1.00× | 2.00 s | – | two of them |",
            "| *the disk* | 9.00 k | 0.89× | 90 µs | 0.90× | 1.00 ms | 1.00× | 2.00 ms | 1.00× | – | – |  |",
        ]
    );
}
