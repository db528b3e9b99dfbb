//! Batches whose rows share values.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    DictionaryArray, Int32Array, Int64Array, ListArray, NullArray, RunArray, StringArray, StringViewArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};

use super::*;

fn texts() -> StringArray {
    StringArray::from_iter_values((0..10).map(|i| format!("{i:>50000}")))
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Ipc {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(tempfile::tempfile().unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    Ipc::file("t.arrow", writer.into_inner().unwrap()).unwrap()
}

#[test]
fn parts_have_few_rows_where_rows_share_long_values() {
    let texts = texts();
    let keys = Int32Array::from_iter_values((0..8192).map(|i| i % 10));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys.clone(), Arc::new(texts.clone())));
    let item = Arc::new(Field::new("item", dictionary.data_type().clone(), true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths(std::iter::repeat_n(2, 4096)), dictionary.clone(), None);
    let mut view = arrow_array::builder::StringViewBuilder::new().with_deduplicate_strings();
    keys.iter().flatten().for_each(|key| view.append_value(texts.value(key as usize)));
    let view: StringViewArray = view.finish();
    let ends = Int32Array::from_iter_values((1..=10).map(|i| i * 800));
    let runs: RunArray<Int32Type> = RunArray::try_new(&ends, &texts).unwrap();
    let shared: [(ArrayRef, u64); 4] =
        [(dictionary, 50_000), (Arc::new(list), 100_000), (Arc::new(view), 50_000), (Arc::new(runs), 50_000)];
    for (column, each) in shared {
        let (rows, ty) = (column.len(), column.data_type().clone());
        let parts = file(vec![("c", column)]).batches(8192, &Counter::default()).unwrap();
        let parts: Vec<usize> = parts.map(|part| part.unwrap().num_rows()).collect();
        assert_eq!(parts.iter().sum::<usize>(), rows, "{ty}");
        assert!(parts.iter().all(|rows| *rows as u64 * each <= PART_BYTES), "{ty}: {parts:?}");
    }
}

#[test]
fn runs_and_nulls_of_any_length_come_in_parts() {
    let count = i32::MAX;
    let runs: RunArray<Int32Type> =
        RunArray::try_new(&Int32Array::from(vec![count]), &StringArray::from(vec!["x".repeat(1000)])).unwrap();
    let columns: [ArrayRef; 2] = [Arc::new(runs), Arc::new(NullArray::new(count as usize))];
    for column in columns {
        let ty = column.data_type().clone();
        let parts = file(vec![("c", column)]).batches(8192, &Counter::default()).unwrap();
        for part in parts.take(3) {
            let rows = part.unwrap().num_rows();
            assert!(rows > 1000 && rows <= 8192, "{ty}: {rows}");
        }
    }
    // What shares nothing is cut as before: by its rows here.
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20_000));
    assert_eq!(numbers.data_type(), &DataType::Int64);
    let parts = file(vec![("c", numbers)]).batches(8192, &Counter::default()).unwrap();
    assert_eq!(parts.map(|part| part.unwrap().num_rows()).collect::<Vec<_>>(), [8192, 8192, 3616]);
}
