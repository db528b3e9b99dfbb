use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::*;

const SIZE: Size = Size { rows: 1_000, insert: 30, delete: 40 };

/// The rows of a file by key, every cell as text.
fn rows(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for batch in ParquetRecordBatchReader::try_new(File::open(path).unwrap(), 512).unwrap() {
        let batch = batch.unwrap();
        let cells: Vec<ArrayRef> =
            batch.columns().iter().map(|column| arrow_cast::cast(column, &DataType::Utf8).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let line: Vec<String> =
                cells.iter().map(|column| column.as_string::<i32>().value(row).to_owned()).collect();
            assert!(rows.insert(line[0].clone(), line).is_none(), "a key stands there twice");
        }
        assert_eq!(cells[0].null_count(), 0);
    }
    rows
}

#[test]
fn each_version_is_the_one_before_with_its_edit() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), SIZE).unwrap();
    let read = |name: &str| rows(&dir.path().join(name));
    let [v0, v1, v2, v3, v4] = VERSIONS.map(|version| read(&file(version, Pages::Sized)));
    let [inserts, deletes, lengths] = EDITS.map(read);
    assert_eq!((v0.len(), inserts.len(), deletes.len()), (1_000, 30, 40));
    let mut expected = v0;
    expected.extend(inserts);
    assert_eq!(v1, expected);
    expected.retain(|key, _| !deletes.contains_key(key));
    assert_eq!(v2, expected);
    assert_eq!(v2.len(), 990);
    for (key, line) in &mut expected {
        line.push(lengths[key][1].clone());
        assert_eq!(line[5], line[4].len().to_string());
    }
    assert_eq!(v3, expected);
    expected.values_mut().for_each(|line| drop(line.remove(2)));
    assert_eq!(v4, expected);
    for version in VERSIONS {
        assert_eq!(read(&file(version, Pages::ContentDefined)), read(&file(version, Pages::Sized)), "{version}");
    }
}

#[test]
fn rows_are_as_large_as_in_the_published_experiment() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<u64> = (0..2_000).collect();
    let path = dir.path().join("rows.parquet");
    Text::new().parquet(&path, &rows, &["id", "system_prompt", DROPPED, "question", "response"], Pages::Sized).unwrap();
    let size = std::fs::metadata(path).unwrap().len() / 2_000;
    assert!((860..1_060).contains(&size), "{size} bytes for a row");
}
