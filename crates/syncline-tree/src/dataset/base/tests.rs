use arrow_array::RecordBatch;
use arrow_array::types::Int64Type;

use super::*;
use crate::schema::{Field, Type};
use crate::table::Changes;
use crate::tests_support::memory_store;

/// A row with a list of many items, of which one is in the middle.
fn long_list(store: &Store, middle: i64) -> (Schema, Rows) {
    let list = Type::List(Box::new(Field::new("item", Type::Int64, true)));
    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("list", list, true)], &["id"]).unwrap();
    let items = (0..41).map(|i| Some(if i == 20 { middle } else { i }));
    let list = arrow_array::ListArray::from_iter_primitive::<Int64Type, _, _>([Some(items)]);
    let list = arrow_cast::cast(&list, schema.arrow().field(1).data_type()).unwrap();
    let id = std::sync::Arc::new(arrow_array::Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(schema.arrow().clone(), vec![id, list]).unwrap();
    let table = Table::create(store, schema).unwrap().apply([Ok(Changes::insert(batch))]).unwrap().0;
    let rows = crate::table::Scan::default();
    let batch = crate::table::model::read(&table, rows);
    (table.schema().clone(), Rows { batch, externals: Vec::new() })
}

#[test]
fn rows_that_differ_in_the_middle_of_a_long_list_are_not_the_same() {
    let store = memory_store();
    let (one, two) = (long_list(&store, 1), long_list(&store, 2));
    assert!(!same_row(Some(&one), Some(&two), &[]).unwrap() && !same_row(Some(&one), None, &[]).unwrap());
    assert!(same_row(Some(&one), Some(&long_list(&store, 1)), &[]).unwrap() && same_row(None, None, &[]).unwrap());
}

#[test]
fn a_column_that_one_side_lacks_is_null_there() {
    let store = memory_store();
    let one = long_list(&store, 1);
    let without = (Schema { columns: one.0.columns[..1].to_vec(), ..one.0.clone() }, {
        let batch = one.1.batch.project(&[0]).unwrap();
        Rows { batch, externals: Vec::new() }
    });
    assert!(!same_row(Some(&one), Some(&without), &[]).unwrap() && !same_row(Some(&without), Some(&one), &[]).unwrap());
    let null = arrow_array::new_null_array(one.1.batch.column(1).data_type(), 1);
    let batch = RecordBatch::try_new(one.1.batch.schema(), vec![one.1.batch.column(0).clone(), null]).unwrap();
    let null = (one.0.clone(), Rows { batch, externals: Vec::new() });
    assert!(same_row(Some(&null), Some(&without), &[]).unwrap() && same_row(Some(&without), Some(&null), &[]).unwrap());
}
