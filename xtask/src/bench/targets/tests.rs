use super::super::record::{Pace, Recorder, Sample};
use super::*;

fn steps() -> Vec<Step> {
    let mut recorder = Recorder::default();
    let sample = |wall, wire| Sample { wall, wire: Some(wire), ..Sample::default() };
    recorder.add("push", OURS, "", sample(0.2, 900));
    recorder.add("push", "slow", "", sample(1.0, 5_000));
    recorder.add("push", "slower", "", sample(2.0, 9_000));
    recorder.finish()
}

#[test]
fn a_number_is_met_or_missed() {
    let verdicts = judge(&[at_most("push", Metric::Wire, 900.0), at_most("push", Metric::Wall, 0.1)], &steps());
    assert_eq!(verdicts[0].met, Some(true));
    assert_eq!(verdicts[1].met, Some(false));
    assert_eq!(verdicts[1].target, "whole process ≤ 100 ms");
    assert_eq!(verdicts[1].measured, "200 ms");
}

#[test]
fn a_multiple_is_taken_of_the_row_or_of_the_best_row() {
    let best = Target { bound: Bound::TimesBest(0.1, &["slow", "slower"]), ..times("push", 0.0, "") };
    let verdicts = judge(&[times("push", 0.5, "slow"), best], &steps());
    assert_eq!(verdicts[0].met, Some(true));
    assert_eq!(verdicts[1].met, Some(false));
    assert_eq!(verdicts[1].measured, "200 ms, allowed 100 ms");
}

#[test]
fn what_was_not_measured_is_not_judged() {
    let targets =
        [at_most("clone", Metric::Wall, 1.0), at_most("push", Metric::Disk, 1.0), times("push", 1.0, "left out")];
    assert!(judge(&targets, &steps()).iter().all(|verdict| verdict.met.is_none()));
}

#[test]
fn peers_stand_beside_us_by_the_same_measure() {
    let verdict = judge(&[at_most("push", Metric::Wire, 1e3)], &steps()).remove(0);
    let beside: Vec<_> = verdict.beside.iter().map(|row| (row.tool.as_str(), row.measured.as_str())).collect();
    assert_eq!(beside, [("slow", "5.00 kB"), ("slower", "9.00 kB")]);
    assert_eq!(verdict.beside[1].ratio, Some(10.0));
}

#[test]
fn a_time_is_judged_by_the_account_that_the_target_names_and_shows_the_other() {
    let mut recorder = Recorder::default();
    recorder.add("diff", OURS, "", Sample { wall: 0.2, inside: Some(0.05), ..Sample::default() });
    let steps = recorder.finish();
    let verdicts = judge(
        &[at_most("diff", Metric::Report, 0.06), at_most("diff", Metric::Wall, 0.06), rate("diff", 1e6, 1e5)],
        &steps,
    );
    assert_eq!(verdicts[0].measured, "50.0 ms; whole process 200 ms");
    assert_eq!((verdicts[0].met, verdicts[1].met), (Some(true), Some(false)));
    assert_eq!(verdicts[1].measured, "200 ms; 50.0 ms in the report");
    assert_eq!(verdicts[2].target, "≥ 1.00 M rows/s: whole process ≤ 100 ms");
    assert_eq!(verdicts[2].measured, "200 ms = 500 k rows/s; 50.0 ms in the report");
}

#[test]
fn of_a_rate_more_is_better() {
    let pace = |per_second| Sample {
        pace: Some(Pace { per_second, p50: 0.0002, p99: 0.001, p999: 0.002 }),
        ..Sample::default()
    };
    let mut recorder = Recorder::default();
    recorder.add("1 writer", OURS, "", pace(8_000.0));
    recorder.add("1 writer", "slow", "", pace(2_000.0));
    let targets =
        [at_least("1 writer", 7_500.0), at_least("1 writer", 9_000.0), at_most("1 writer", Metric::P99, 0.0007)];
    let verdicts = judge(&targets, &recorder.finish());
    assert_eq!(verdicts.iter().map(|verdict| verdict.met).collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
    assert_eq!((verdicts[0].target.as_str(), verdicts[0].measured.as_str()), ("per second ≥ 7.50 k", "8.00 k"));
    assert_eq!((verdicts[0].beside[0].measured.as_str(), verdicts[0].beside[0].ratio), ("2.00 k", Some(4.0)));
    assert_eq!((verdicts[2].target.as_str(), verdicts[2].measured.as_str()), ("p99 ≤ 700 µs", "1.00 ms"));
}
