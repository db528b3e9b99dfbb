//! Key order and repeated keys.

use super::*;

fn csv(ids: impl IntoIterator<Item = u64>) -> String {
    let rows: String = ids.into_iter().enumerate().map(|(i, id)| format!("{id},row {i}\n")).collect();
    format!("id,v\n{rows}")
}

fn ids(got: &Got) -> Vec<i64> {
    got.rows().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[test]
fn repeated_keys_are_listed_and_refused() {
    let error = text("t.csv", &csv([3, 1, 3, 2, 3, 1]), &options(), None, &["id"]).expect_err("duplicates");
    let Error::Duplicates(report) = error else { panic!("{error}") };
    assert_eq!(report.duplicates, 3);
    let listed: Vec<(Value, Vec<u64>)> = report
        .duplicate_keys
        .iter()
        .map(|found| (found.key["id"].clone(), found.places.iter().map(|place| place.line.unwrap()).collect()))
        .collect();
    assert_eq!(listed, [(json!(1), vec![3, 7]), (json!(3), vec![2, 4, 6])]);
}

#[test]
fn one_of_repeated_keys_is_kept_when_asked() {
    for (policy, kept) in
        [(OnDuplicate::First, ["row 1", "row 3", "row 0"]), (OnDuplicate::Last, ["row 5", "row 3", "row 4"])]
    {
        for budget in [128 << 20, 1] {
            let options = Options { on_duplicate: policy, sort_bytes: budget, ..options() };
            let got = text("t.csv", &csv([3, 1, 3, 2, 3, 1]), &options, None, &["id"]).unwrap();
            assert_eq!(ids(&got), [1, 2, 3]);
            assert_eq!(got.rows().iter().map(|row| row["v"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), kept);
            assert_eq!(got.report.duplicates, 3);
        }
    }
}

/// A table whose rows are far more than a block, in an order made of `stride`.
fn big(stride: u64) -> String {
    let rows = 100_003;
    csv((0..rows).map(|i| i * stride % rows))
}

#[test]
fn input_larger_than_the_budget_is_sorted_on_disk_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (stride, in_order) in [(1, true), (7919, false)] {
        let options = Options { sort_bytes: 1 << 20, batch_rows: 1000, ..Options::new(dir.path()) };
        let got = run(vec![stream("t.csv", big(stride))], &options, None, &["id"]).unwrap();
        assert_eq!(ids(&got), (0..100_003).collect::<Vec<_>>());
        assert_eq!(got.report.in_order, in_order);
        assert!(got.report.spilled_bytes > 0);
        assert!(empty_dir(dir.path()));
    }
}

#[test]
fn duplicates_across_batches_are_found() {
    let content = csv((0..60_000).flat_map(|id| [id, id]));
    for (policy, first) in [(OnDuplicate::First, 0), (OnDuplicate::Last, 1)] {
        let options = Options { on_duplicate: policy, sort_bytes: 1 << 20, batch_rows: 77, ..options() };
        let got = run(vec![stream("t.csv", content.as_str())], &options, None, &["id"]).unwrap();
        assert_eq!((got.report.rows, got.report.duplicates), (60_000, 60_000));
        let values = got.rows();
        let wrong = values.iter().enumerate().find(|(i, row)| row["v"] != format!("row {}", 2 * i + first));
        assert!(wrong.is_none(), "{wrong:?}");
    }
    let error = run(vec![stream("t.csv", content)], &options(), None, &["id"]).expect_err("duplicates");
    assert!(error.to_string().starts_with("60000 rows repeat a key"), "{error}");
}

#[test]
fn dropping_an_import_half_way_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sort_bytes: 1 << 20, batch_rows: 100, ..Options::new(dir.path()) };
    let mut prepared = open(vec![stream("t.csv", big(7919))], &options, None, &["id".to_owned()]).unwrap();
    assert!(prepared.rows.next().unwrap().is_ok());
    drop(prepared);
    assert!(empty_dir(dir.path()));
}

#[test]
fn progress_grows_to_the_total() {
    use std::sync::Mutex;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let progress: OnProgress = Arc::new(move |progress: Progress| {
        kept.lock().unwrap().push(progress);
        true
    });
    let options = Options { progress: Some(progress), ..options() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, big(7919)).unwrap();
    run(vec![Input::Path(path)], &options, None, &["id"]).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes && pair[0].rows <= pair[1].rows));
    let last = seen.last().unwrap();
    assert_eq!((Some(last.bytes), last.rows), (last.total, 100_003));
}
