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

/// A file with a column of old timestamps (days since the epoch, nanoseconds of the day), and a list of them.
fn old_timestamps(values: &[(i64, u64)]) -> Vec<u8> {
    use parquet::data_type::{Int64Type, Int96, Int96Type};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message m { required int64 id; optional int96 t; optional group l (LIST) { repeated group list { \
                  optional int96 element; } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let old = |(day, nanos): &(i64, u64)| {
        let mut value = Int96::new();
        value.set_data(*nanos as u32, (*nanos >> 32) as u32, u32::try_from(day + 2_440_588).unwrap());
        value
    };
    let (ids, old): (Vec<i64>, Vec<Int96>) = (0..).zip(values.iter().map(old)).unzip();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
    column.close().unwrap();
    let defined = vec![1; old.len()];
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&old, Some(&defined), None).unwrap();
    column.close().unwrap();
    let (defined, repeated) = (vec![3; old.len()], vec![0; old.len()]);
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&old, Some(&defined), Some(&repeated)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn old_timestamps_beyond_nanoseconds_stay_what_they_are() {
    use crate::import::tests::{options, run, stream};
    let import =
        |values: &[(i64, u64)]| run(vec![stream("t.parquet", old_timestamps(values))], &options(), None, &["id"]);
    let column = |values: &[(i64, u64)], name: &str| -> Vec<serde_json::Value> {
        import(values).unwrap().rows().iter().map(|row| row[name].clone()).collect()
    };
    // 9999-12-31 and 0001-01-01 are what others write for "open" and "unknown".
    let wide = [(19_723, 1_000), (2_932_896, 86_399_999_999_000), (-719_162, 0), (-135_140, 0)];
    let dates = [
        "2024-01-01T00:00:00.000001",
        "9999-12-31T23:59:59.999999",
        "0001-01-01T00:00:00.000000",
        "1600-01-01T00:00:00.000000",
    ];
    assert_eq!(column(&wide, "t"), dates);
    assert_eq!(column(&wide, "l"), dates.map(|date| serde_json::json!([date])));
    // Where nanoseconds hold all of them, nothing is lost of those.
    let fine = [(19_723, 1), (0, 0), (-1, 86_399_999_999_999)];
    let dates = ["2024-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000000000", "1969-12-31T23:59:59.999999999"];
    assert_eq!(column(&fine, "t"), dates);
    let both = import(&[(19_723, 1), (2_932_896, 0)]).unwrap_err().to_string();
    assert!(both.contains("column `t` has timestamps (INT96) outside of the years 1677 to 2262"), "{both}");
    let beyond = import(&[(2_000_000_000 - 2_440_588, 0)]).unwrap_err().to_string();
    assert!(beyond.contains("which no table can hold"), "{beyond}");
}

#[test]
fn values_of_a_dictionary_are_decoded_in_small_batches() {
    let texts: Vec<String> = (0..10).map(|i| format!("{i:>50000}")).collect();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8192));
    let cells: ArrayRef =
        Arc::new(arrow_array::StringArray::from_iter_values((0..8192).map(|i| texts[i % 10].as_str())));
    let batch = RecordBatch::try_from_iter([("id", ids), ("text", cells)]).unwrap();
    let mut writer = ArrowWriter::try_new(tempfile::tempfile().unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let file = Parquet::open("t.parquet", writer.into_inner().unwrap()).unwrap();
    let encoded: i64 = file.metadata.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
    assert!(encoded < 1 << 21, "{encoded}");
    let read: Vec<usize> =
        Reader::new(&file, &[0, 1], 8192, Counter::default()).unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(read.iter().sum::<usize>(), 8192);
    assert!(read.iter().all(|rows| *rows <= 42), "{read:?}");
    assert_eq!(decoded::batch_rows(&file, &[0], 8192).unwrap(), 8192);
}

#[test]
fn one_long_value_among_short_ones_bounds_the_batches_too() {
    // All values are in the dictionary once, and then all rows have the long one.
    let (long, ids) = ("x".repeat(900_000), 0..2100);
    let text = |id: usize| if id < 2000 { format!("{id}") } else { long.clone() };
    let values: Vec<String> = (0..2001).map(text).collect();
    let keys = arrow_array::Int32Array::from_iter_values(ids.map(|id| id.min(2000)));
    let cells = arrow_array::StringArray::from(values);
    let cells: ArrayRef = Arc::new(arrow_array::DictionaryArray::new(keys, Arc::new(cells)));
    let batch = RecordBatch::try_from_iter([("text", cells)]).unwrap();
    let mut writer = ArrowWriter::try_new(tempfile::tempfile().unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let file = Parquet::open("t.parquet", writer.into_inner().unwrap()).unwrap();
    assert!(decoded::batch_rows(&file, &[0], 8192).unwrap() <= 74);
}

#[test]
fn a_footer_that_goes_too_deep_or_counts_too_far_is_damaged() {
    let file = |footer: &[u8]| {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b"PAR1", footer, &length, b"PAR1"].concat()).unwrap();
        Parquet::open("t.parquet", file).unwrap_err().to_string()
    };
    // One hundred thousand groups in each other: an optional `g` with one child.
    let group = [0x35, 2, 0x18, 1, b'g', 0x15, 2, 0];
    let deep = [&[0x15, 2, 0x19, 0xfc, 0xa0, 0x8d, 6][..], &group.repeat(100_000), &[0x16, 0, 0x19, 0, 0]].concat();
    let error = file(&deep);
    assert!(error.starts_with("t.parquet: is damaged: its schema has more levels"), "{error}");
    // Two billion row groups, for which the library would make room.
    let error = file(&[0x15, 2, 0x19, 0x1c, 0x48, 1, b'm', 0, 0x16, 0, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7, 0]);
    assert!(error.starts_with("t.parquet: is damaged: its footer"), "{error}");
}
