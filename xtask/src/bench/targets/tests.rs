use super::super::record::{Recorder, Sample};
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
    assert_eq!(verdicts[1].target, "wall ≤ 100 ms");
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
