use super::*;

fn wall(wall: f64) -> Sample {
    Sample { wall, wire: Some(200), ..Sample::default() }
}

#[test]
fn our_row_is_first_and_the_others_are_compared_with_it() {
    let mut recorder = Recorder::default();
    recorder.limit("copy", "cp + sync", "", wall(0.5));
    recorder.add("copy", "other", "", wall(4.0));
    recorder.add("copy", OURS, "", wall(1.0));
    recorder.add("copy", "other", "", wall(6.0));
    recorder.add("copy", OURS, "", wall(3.0));
    let steps = recorder.finish();
    let tools: Vec<&str> = steps[0].rows.iter().map(|row| row.tool.as_str()).collect();
    assert_eq!(tools, [OURS, "other", "cp + sync"]);
    assert!(steps[0].rows[0].ratio.is_empty());
    assert_eq!(steps[0].rows[1].repetitions, 2);
    assert!((steps[0].rows[1].ratio["wall"] - 2.5).abs() < 1e-9);
    assert!((steps[0].rows[2].ratio["wire"] - 1.0).abs() < 1e-9);
}

#[test]
fn what_we_did_not_measure_is_not_compared() {
    let mut recorder = Recorder::default();
    recorder.add("diff", OURS, "", Sample { wall: 1.0, wire: Some(0), ..Sample::default() });
    recorder.add("diff", "other", "", wall(2.0));
    let steps = recorder.finish();
    assert_eq!(steps[0].rows[1].ratio.keys().copied().collect::<Vec<_>>(), ["wall"]);
}

#[test]
fn commands_of_one_step_add_up() {
    let sample = |wall, rss| Sample { wall, inside: Some(wall / 2.0), rss: Some(rss), ..Sample::default() };
    let both = sample(1.0, 30).then(sample(0.5, 20));
    assert!((both.wall - 1.5).abs() < 1e-9 && both.inside.is_some_and(|inside| (inside - 0.75).abs() < 1e-9));
    assert_eq!((both.rss, both.cpu), (Some(30), None));
}

#[test]
fn above_one_we_are_ahead_of_rates_as_of_times() {
    let pace = |per_second, p50| Sample {
        wall: 9.0,
        pace: Some(Pace { per_second, p50, p99: 0.2, p999: 0.3 }),
        ..Sample::default()
    };
    let mut recorder = Recorder::default();
    recorder.add("1 writer", OURS, "", pace(900.0, 0.1));
    recorder.add("1 writer", OURS, "", pace(1_100.0, 0.1));
    recorder.add("1 writer", "other", "", pace(500.0, 0.3));
    let steps = recorder.finish();
    let ours = steps[0].rows[0].pace.expect("ours has a pace");
    assert_eq!((ours.per_second.median, ours.per_second.min, ours.per_second.max), (1_000.0, 900.0, 1_100.0));
    let ratio = &steps[0].rows[1].ratio;
    assert!((ratio["per_second"] - 2.0).abs() < 1e-9 && (ratio["p50"] - 3.0).abs() < 1e-9, "{ratio:?}");
    assert!(!ratio.contains_key("wall"), "a given length is no result");
}
