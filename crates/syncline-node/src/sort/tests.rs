use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use proptest::prelude::*;
use syncline_tree::key::KeyEncoder;
use syncline_tree::schema::{Field, Schema, Type};

use super::*;

fn schema() -> Schema {
    let field = |name: &str, ty| Field { name: name.to_owned(), ty, nullable: false };
    Schema::new(vec![field("a", Type::Utf8), field("b", Type::Int64), field("at", Type::Int64)], &["a", "b"]).unwrap()
}

type Row = (String, i64);

fn batch(rows: &[Row], first: usize) -> RecordBatch {
    let a: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0)));
    let b: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let at = (first..first + rows.len()).map(|at| i64::try_from(at).unwrap());
    RecordBatch::try_new(schema().arrow(), vec![a, b, Arc::new(Int64Array::from_iter_values(at))]).unwrap()
}

/// Sorts rows in batches of `per_batch`; gives their input positions in output order.
fn sorted(rows: &[Row], per_batch: usize, bytes: usize) -> (Vec<i64>, bool, u64) {
    let dir = tempfile::tempdir().unwrap();
    let encoder = KeyEncoder::new(&schema()).unwrap();
    let keys_of: KeysOf = {
        let encoder = encoder.clone();
        Arc::new(move |batch| Ok(encoder.encode(batch)?))
    };
    let limits = Limits { bytes, batch_rows: 100, temp_dir: dir.path().to_owned() };
    let mut sorter = Sorter::new(schema().arrow(), keys_of, limits);
    for (n, part) in rows.chunks(per_batch).enumerate() {
        let batch = batch(part, n * per_batch);
        let keys = encoder.encode(&batch).unwrap();
        sorter.push(batch, keys).unwrap();
    }
    let output = sorter.finish().unwrap();
    let mut positions = Vec::new();
    for keyed in output.rows {
        let (batch, keys) = keyed.unwrap();
        assert_eq!(keys, encoder.encode(&batch).unwrap());
        positions.extend_from_slice(batch.column(2).as_primitive::<Int64Type>().values());
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "no file has a name");
    (positions, output.in_order, output.spilled)
}

fn expected(rows: &[Row]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| &rows[*at]);
    order.into_iter().map(|at| i64::try_from(at).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_budget_gives_the_stable_order(
        rows in proptest::collection::vec(("[a-c]{0,12}", -3i64..3), 0..400),
        per_batch in 1usize..80,
        bytes in prop_oneof![Just(1usize), 2_000usize..40_000, Just(1 << 30)],
    ) {
        let (positions, in_order, spilled) = sorted(&rows, per_batch, bytes);
        prop_assert_eq!(&positions, &expected(&rows));
        prop_assert_eq!(in_order, rows.is_sorted());
        prop_assert!(bytes > 1 || rows.is_empty() || spilled > 0);
        prop_assert!(bytes <= 40_000 || spilled == 0);
    }
}

fn numbered(ids: impl Iterator<Item = i64>) -> Vec<Row> {
    ids.map(|id| (String::new(), id)).collect()
}

#[test]
fn more_runs_than_are_merged_at_once() {
    let count = 100 * i64::try_from(FAN_IN).unwrap();
    let rows = numbered((0..count).map(|i| i * 7919 % 6397));
    let (positions, in_order, _) = sorted(&rows, 20, 1);
    assert_eq!(positions, expected(&rows));
    assert!(!in_order);
}

#[test]
fn batches_of_long_rows_are_short() {
    let mut rows = numbered((0..300).map(|i| i * 7 % 300));
    rows.iter_mut().for_each(|(text, _)| *text = "x".repeat(20_000));
    // In memory, and merged from many runs.
    for bytes in [64 << 20, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let encoder = KeyEncoder::new(&schema()).unwrap();
        let keys_of: KeysOf = {
            let encoder = encoder.clone();
            Arc::new(move |batch| Ok(encoder.encode(batch)?))
        };
        let limits = Limits { bytes, batch_rows: 8192, temp_dir: dir.path().to_owned() };
        let mut sorter = Sorter::new(schema().arrow(), keys_of, limits);
        for (n, part) in rows.chunks(5).enumerate() {
            let batch = batch(part, n * 5);
            let keys = encoder.encode(&batch).unwrap();
            sorter.push(batch, keys).unwrap();
        }
        let output = sorter.finish().unwrap();
        assert_eq!(output.spilled > 0, bytes == 1 << 20);
        let mut count = 0;
        for keyed in output.rows {
            let batch = keyed.unwrap().0;
            assert!(batch.num_rows() * 20_000 <= bytes / 16, "{} rows in a batch", batch.num_rows());
            count += batch.num_rows();
        }
        assert_eq!(count, 300);
    }
}

#[test]
fn input_in_order_is_one_run_however_large() {
    let rows = numbered((0..5000).map(|i| i / 2));
    let (positions, in_order, once) = sorted(&rows, 100, 1);
    assert_eq!(positions, expected(&rows));
    assert!(in_order);
    // The same rows with a late break cost the merge, and are right too.
    let mut broken = rows.clone();
    broken.push((String::new(), 7));
    let (positions, in_order, twice) = sorted(&broken, 100, 1);
    assert_eq!(positions, expected(&broken));
    assert!(!in_order && twice < once * 2, "{twice} {once}");
}
