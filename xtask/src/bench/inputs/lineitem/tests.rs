use super::*;

fn read(path: &Path) -> RecordBatch {
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(File::open(path).unwrap(), 1 << 20).unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn the_edited_table_differs_from_the_base_by_the_first_set_and_the_sets_share_no_row() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0.001, 50).unwrap();
    let (base, edited) = (read(&dir.path().join(BASE)), read(&dir.path().join(EDITED)));
    assert_eq!(rows(&dir.path().join(BASE)).unwrap(), base.num_rows() as u64);
    let changed: Vec<usize> = (0..base.num_rows()).filter(|&row| base.slice(row, 1) != edited.slice(row, 1)).collect();
    assert_eq!(changed.len(), 50);
    let key = |batch: &RecordBatch, row: usize| {
        let order = batch.column(0).as_primitive::<arrow_array::types::Int64Type>().value(row);
        let line = batch.column(3).as_primitive::<arrow_array::types::Int32Type>().value(row);
        (order, line)
    };
    let sets = EDITS.map(|name| {
        let batch = read(&dir.path().join(name));
        (0..batch.num_rows()).map(|row| key(&batch, row)).collect::<BTreeSet<_>>()
    });
    assert_eq!(sets[0], changed.iter().map(|&row| key(&base, row)).collect());
    assert_eq!(sets.iter().flatten().collect::<BTreeSet<_>>().len(), 150);
}

#[test]
fn the_csv_has_the_rows_and_the_schema_every_column() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0.001, 1).unwrap();
    write_csv(dir.path(), 0.001).unwrap();
    let base = read(&dir.path().join(BASE));
    let csv = std::fs::read_to_string(dir.path().join(CSV)).unwrap();
    assert_eq!(csv.lines().count(), base.num_rows() + 1);
    let columns: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.path().join(SCHEMA)).unwrap()).unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), csv.lines().next().unwrap());
    assert_eq!(columns[5], json!({"name": PRICE, "type": "decimal(15, 2)", "nullable": false}));
}
