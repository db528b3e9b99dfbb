use std::io::Cursor;
use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{DictionaryArray, Int64Array, LargeStringArray, StringArray, TimestampMillisecondArray};
use arrow_ipc::writer::StreamWriter;
use syncline_base::Kind;

use super::*;

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn ids(from: i64, to: i64) -> ArrayRef {
    Arc::new((from..to).collect::<Int64Array>())
}

fn read(bytes: Vec<u8>) -> Result<Vec<(String, u64)>> {
    let text = |txn: Transaction| (String::from_utf8(txn.changes.to_vec()).unwrap(), txn.rows);
    Transactions::new(Box::new(Cursor::new(bytes)))?.map(|txn| txn.map(text)).collect()
}

fn why(bytes: Vec<u8>) -> String {
    let error = read(bytes).expect_err("it is refused");
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn a_batch_is_a_transaction_and_its_columns_are_the_tables() {
    let names: DictionaryArray<Int8Type> = [Some("a\"b"), None].into_iter().collect();
    let at = TimestampMillisecondArray::from(vec![1_700_000_000_001, 5]);
    let notes = LargeStringArray::from(vec![Some("x"), Some("")]);
    let first = batch(vec![("id", ids(1, 3)), ("name", Arc::new(names)), ("at", Arc::new(at)), ("n", Arc::new(notes))]);
    let made = read(stream(&[first.clone(), first.slice(1, 1), first.slice(0, 0)])).unwrap();
    let second = "{\"op\":\"set\",\"row\":{\"id\":2,\"name\":null,\"at\":\"1970-01-01T00:00:00.005\",\"n\":\"\"}}\n";
    let one =
        "{\"op\":\"set\",\"row\":{\"id\":1,\"name\":\"a\\\"b\",\"at\":\"2023-11-14T22:13:20.001\",\"n\":\"x\"}}\n";
    assert_eq!(made, [(format!("{one}{second}"), 2), (second.to_owned(), 1)]);
}

#[test]
fn columns_say_what_becomes_of_rows_and_which_belong_together() {
    let ops: StringArray = [Some("set"), Some("delete"), None, Some("set")].into_iter().collect();
    let txns = Int64Array::from(vec![7, 7, 8, 9]);
    let all = batch(vec![("_txn", Arc::new(txns)), ("id", ids(1, 5)), ("_op", Arc::new(ops))]);
    // A transaction goes on in the next batch.
    let made = read(stream(&[all.slice(0, 1), all.slice(1, 2), all.slice(3, 1)])).unwrap();
    let set = |id: u8| format!("{{\"op\":\"set\",\"row\":{{\"id\":{id}}}}}\n");
    let first = format!("{}{{\"op\":\"delete\",\"key\":{{\"id\":2}}}}\n", set(1));
    assert_eq!(made, [(first, 2), (set(3), 1), (set(4), 1)]);
}

#[test]
fn a_large_batch_is_cut() {
    let rows = 2 * MOST_ROWS as i64 + 5;
    let made = read(stream(&[batch(vec![("id", ids(0, rows))])])).unwrap();
    assert_eq!(made.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [MOST_ROWS, MOST_ROWS, 5]);
    let txns: ArrayRef = Arc::new(Int64Array::from(vec![1; rows as usize]));
    let made = read(stream(&[batch(vec![("id", ids(0, rows)), ("_txn", txns)])])).unwrap();
    assert_eq!(made.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [rows as u64], "the column says so");
}

#[test]
fn a_transaction_that_never_ends_is_refused_before_it_fills_the_memory() {
    let text = "x".repeat(1 << 20);
    let part = || {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![&text[..]; 5]));
        batch(vec![("_txn", Arc::new(Int64Array::from(vec![1; 5]))), ("id", ids(0, 5)), ("text", texts)])
    };
    let told = why(stream(&std::iter::repeat_with(part).take(14).collect::<Vec<_>>()));
    assert!(told.contains("at most 64 MiB"), "{told}");
    assert_eq!(read(stream(&[part(), part()])).unwrap()[0].1, 10);
}

#[test]
fn what_is_no_stream_of_rows_is_refused() {
    let ops: ArrayRef = Arc::new(StringArray::from(vec!["set", "set", "upsert"]));
    let told = why(stream(&[batch(vec![("id", ids(0, 3)), ("_op", ops.clone())])]));
    assert!(told.contains("row 3 has \"upsert\" in _op"), "{told}");
    let txns: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let told = why(stream(&[batch(vec![("id", ids(0, 2)), ("_txn", txns)])]));
    assert!(told.contains("row 2 has no cell in _txn"), "{told}");
    assert!(why(stream(&[batch(vec![("_op", ops)])])).contains("no column of a table"));
    for bytes in [b"{\"op\":\"set\"}\n".to_vec(), Vec::new(), vec![0xff; 100]] {
        why(bytes);
    }
    // Cut anywhere: what came whole, or an error, and never a panic.
    let whole = stream(&[batch(vec![("id", ids(0, 3))]), batch(vec![("id", ids(3, 6))])]);
    for end in 0..whole.len() {
        if let Ok(made) = read(whole[..end].to_vec()) {
            assert!(made.iter().all(|(_, rows)| *rows == 3), "{made:?}");
        }
    }
}
