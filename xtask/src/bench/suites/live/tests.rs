use std::collections::BTreeSet;

use serde_json::json;

use super::*;

#[test]
fn every_reader_has_to_see_every_transaction() {
    let seen = |transactions: u64| json!({"transactions": transactions});
    assert!(all_seen(&seen(500_000), 100, 1_000, &FULL).is_ok());
    assert!(all_seen(&seen(499_999), 100, 1_000, &FULL).is_err());
    assert!(all_seen(&json!({}), 100, 1_000, &FULL).is_err());
    // Durations that no float holds exactly lose no transaction.
    assert!(all_seen(&seen(40), QUICK.rate, 1, &QUICK).is_ok());
}

#[test]
fn each_step_has_its_own_name_and_targets_name_steps() {
    let steps: Vec<String> = ALL
        .iter()
        .flat_map(|work| [work.step(&FULL), in_process(*work, &FULL)])
        .chain([seen_by_spokes(&FULL)])
        .chain([FULL.away.catch_up(), FULL.away.copy(), FULL.away.rejoin(), FULL.away.heal(), FULL.away.idle()])
        .collect();
    assert_eq!(steps.iter().collect::<BTreeSet<_>>().len(), steps.len());
    assert!(targets().iter().all(|target| steps.contains(&target.step)));
}

#[test]
fn who_does_not_sync_is_measured_both_ways() {
    assert_eq!(ways("nats", Work::One).len(), 2);
    assert!(ways("nats", Work::One)[0].writes.contains("not durable"));
    assert!(ways("nats", Work::Visible)[0].seen.contains("not durable"));
    assert_eq!(ways("postgresql", Work::One).len(), 1);
}
