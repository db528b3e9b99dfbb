//! The simulator holds what it promises: it repeats itself, it finds known bugs, it sees every fate, and the product is clean.
//!
//! `cargo xtask test` runs far more seeds; these are the ones that every `cargo test` runs.

use syncline_sim::{Failure, Range, Report, World, zoo};
use syncline_sync::live::{Bug, Zoo};

const NODES: usize = 4;
const STEPS: usize = 200;

fn seeds(text: &str) -> Range {
    text.parse().expect("a range")
}

#[test]
fn seeds_that_failed_once_are_clean() {
    let corpus = include_str!("../corpus.txt");
    let lines = corpus.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let mut tried = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (seed, nodes, steps) = (number(), number(), number());
        let result = World::without_scopes(seed, nodes as usize, steps as usize, Zoo::none(), false).run();
        result.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        tried += 1;
    }
    assert!(tried > 10);
}

#[test]
fn short_seeds_are_clean_and_repeat_themselves() {
    let report = Report::run(seeds("0..2000"), NODES, STEPS, Zoo::none(), true, 2);
    assert_eq!(report.failures, []);
    assert_eq!(report.seeds, 2000);
}

#[test]
fn every_fate_of_a_write_and_every_trouble_occurs() {
    let report = Report::run(seeds("0..500"), NODES, STEPS, Zoo::none(), false, 2);
    let audit = report.audit();
    let fates = [audit.lost, audit.rewritten, audit.visible, audit.outvoted, audit.overwritten, audit.deletions];
    assert!(fates.iter().all(|count| *count > 0), "{audit:?}");
    assert!(audit.acknowledged > 5000, "{audit:?}");
    assert_eq!(report.sights().missing().collect::<Vec<_>>(), [], "these troubles were never met");
}

#[test]
fn one_long_seed_of_many_nodes_is_clean() {
    let summary = World::new(1, 12, 4000, Zoo::none(), false).run().unwrap();
    assert!(summary.audit.acknowledged > 100, "{:?}", summary.audit);
}

#[test]
fn every_known_bug_is_found() {
    for bug in Bug::ALL {
        let found = zoo::find(bug, seeds("0..10000"), NODES, STEPS, 2);
        assert!(found.is_some(), "{bug:?} would not have been found");
    }
}

#[test]
fn a_bug_is_found_by_what_it_is_known_for_only() {
    let found = |failure: &Failure| Bug::ALL.into_iter().filter(|bug| zoo::shows(*bug, failure)).collect::<Vec<_>>();
    assert_eq!(found(&Failure::ClockWentBack(0)), [Bug::ClockNotKept, Bug::ClockCounterReset]);
    assert_eq!(found(&Failure::Unreadable("anything".to_owned())), []);
}

#[test]
fn a_node_that_is_not_what_its_disk_says_is_found() {
    // Reading the log loses a row: nothing is wrong before the node is started again.
    let run = |seed| World::new(seed, NODES, STEPS, Zoo::with(Bug::TornTransactions), false).run();
    assert!((0..200).any(|seed| matches!(run(seed), Err(Failure::Reopened(_, "rows", _)))));
}

#[test]
fn an_account_says_what_happened() {
    let mut world = World::new(7, NODES, STEPS, Zoo::none(), true);
    world.run().unwrap();
    let account: Vec<&str> = world.account().collect();
    assert!(account.iter().any(|line| line.contains("writes")) && account.contains(&"the world heals"));
}

#[test]
fn a_range_of_seeds_is_read_or_refused() {
    assert_eq!(seeds("5..9").len(), 4);
    for wrong in ["", "5", "9..5", "5..5", "a..b", "1..2..3"] {
        assert!(wrong.parse::<Range>().is_err(), "{wrong}");
    }
}
