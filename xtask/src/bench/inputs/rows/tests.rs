use super::*;

#[test]
fn a_round_of_edits_changes_exactly_the_rows_that_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let [before, after, edits] = ["before.csv", "after.csv", "edits.parquet"].map(|name| dir.path().join(name));
    let mut plan = Plan::new(300);
    plan.csv(&before).unwrap();
    plan.edit(20, &edits).unwrap();
    plan.csv(&after).unwrap();
    let [before, after] = [before, after].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(before.lines().count(), 301);
    let changed: Vec<_> = before.lines().zip(after.lines()).filter(|(old, new)| old != new).collect();
    assert_eq!(changed.len(), 20);
    for (old, new) in changed {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let (old, new) = (cells(old), cells(new));
        assert_eq!(old[..4], new[..4], "only the amount and the note change");
        assert!(old[4] != new[4] && old[5] != new[5]);
    }
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(File::open(edits).unwrap(), 1024);
    assert_eq!(reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 20);
}

#[test]
fn rows_are_about_100_bytes_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one.csv", "two.csv"].map(|name| dir.path().join(name));
    Plan::new(1_000).csv(&one).unwrap();
    Plan::new(1_000).csv(&two).unwrap();
    let [one, two] = [one, two].map(|path| std::fs::read(path).unwrap());
    assert_eq!(one, two);
    assert!((85_000..115_000).contains(&one.len()), "{}", one.len());
}
