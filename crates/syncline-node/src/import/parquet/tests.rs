//! One open file, many readers.

use std::io::Write as _;

use arrow_array::Int64Array;
use parquet::arrow::ArrowWriter;

use super::*;

/// More than any reader's buffer, and not one stretch of it like another.
fn file() -> (Vec<u8>, File) {
    let numbers = (0..100_000_i64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    let batch = RecordBatch::try_from_iter([("id", numbers)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    (bytes, file)
}

/// Clones of one handle share the offset that the system keeps: a reader that used it would go on where another stopped.
#[test]
fn readers_of_one_file_in_turns_do_not_move_each_other() {
    let (bytes, file) = file();
    let open = Parquet::open("t.parquet", file).unwrap();
    let copy = open.clone();
    let middle = bytes.len() / 2;
    let mut first = open.file.get_read(0).unwrap();
    let mut second = copy.file.get_read(middle as u64).unwrap();
    let (mut from_first, mut from_second) = (Vec::new(), Vec::new());
    while from_first.len() < middle {
        let step = 10_000.min(middle - from_first.len()) as u64;
        (&mut first).take(step).read_to_end(&mut from_first).unwrap();
        (&mut second).take(step).read_to_end(&mut from_second).unwrap();
        let at = from_first.len() / 3;
        assert_eq!(copy.file.get_bytes(at as u64, 100).unwrap(), bytes[at..at + 100]);
    }
    assert!(from_first == bytes[..middle] && from_second == bytes[middle..middle * 2]);
}

#[test]
fn lengths_that_lie_outside_are_refused() {
    let (bytes, file) = file();
    let open = Parquet::open("t.parquet", file).unwrap();
    let end = bytes.len() as u64;
    for (start, length) in [(end, 1), (end - 1, 2), (u64::MAX, 1), (0, bytes.len() + 1)] {
        assert!(open.file.get_bytes(start, length).is_err(), "{length} bytes at {start}");
    }
    assert_eq!(open.file.get_bytes(0, bytes.len()).unwrap(), bytes);
}

#[test]
fn batches_of_long_rows_have_few_of_them() {
    let texts = (0..600_u32).map(|i| format!("{i:>20000}"));
    let texts: ArrayRef = Arc::new(arrow_array::StringArray::from_iter_values(texts));
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let mut writer = ArrowWriter::try_new(tempfile::tempfile().unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let file = Parquet::open("t.parquet", writer.into_inner().unwrap()).unwrap();
    let rows = |most| {
        let reader = Reader::new(&file, &[0], most, Counter::default()).unwrap();
        reader.map(|batch| batch.unwrap().num_rows()).collect::<Vec<_>>()
    };
    let read = rows(8192);
    assert_eq!(read.iter().sum::<usize>(), 600);
    assert!(read.iter().all(|rows| (16..=110).contains(rows)), "{read:?}");
    assert_eq!(rows(7).iter().max(), Some(&7));
}
