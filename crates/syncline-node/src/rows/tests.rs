use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::DataType;
use syncline_base::Hash;
use syncline_tree::content::ContentRef;
use syncline_tree::leaf::External;
use syncline_tree::schema::{Field, Type};

use super::*;

#[test]
fn json_outside_of_its_leaf_is_shown_by_its_hash() {
    let doc = Field::new("doc", Type::Json, true);
    let fields =
        vec![Field::new("id", Type::Int64, false), doc.clone(), Field::new("s", Type::Struct(vec![doc]), true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let arrow = schema.arrow();
    let DataType::Struct(parts) = arrow.field(2).data_type() else { panic!("it is a struct") };
    // The second row's cells are outside: what is left in the leaf is no JSON.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["[1]", ""]));
    let cells = StructArray::new(parts.clone(), vec![Arc::clone(&texts)], None);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2])), texts, Arc::new(cells)];
    let batch = RecordBatch::try_new(arrow.clone(), columns).unwrap();
    let content = ContentRef { root: Hash::of(b"long"), len: 20_000, height: 0 };
    let externals = vec![External { column: 1, row: 1, content }, External { column: 2, row: 1, content }];
    let shown = rows_to_json(&schema, &Rows { batch, externals }).unwrap();
    let shown: Vec<_> = shown.into_iter().map(|row| serde_json::to_value(row).unwrap()).collect();
    let cell = serde_json::json!({ "bytes": 20_000, "content": content.root });
    assert_eq!(shown[0], serde_json::json!({ "id": 1, "doc": [1], "s": { "doc": [1] } }));
    assert_eq!(shown[1], serde_json::json!({ "id": 2, "doc": cell, "s": cell }));
}

#[test]
fn cells_stay_the_text_that_they_are() {
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("doc", Type::Json, true),
        Field::new("d", Type::Decimal128 { precision: 5, scale: 2 }, false),
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let docs = ["1e400", "1.00", "{\"a\": 1,\"a\": 2}", &deep, "\"\\ud800\"", "no json"];
    let texts: ArrayRef = Arc::new(StringArray::from(docs.to_vec()));
    let decimals = arrow_array::Decimal128Array::from(vec![-125; docs.len()]).with_precision_and_scale(5, 2).unwrap();
    let ids = Int64Array::from_iter_values(0..docs.len() as i64);
    let batch = RecordBatch::try_new(schema.arrow(), vec![Arc::new(ids), texts, Arc::new(decimals)]).unwrap();
    let shown = rows_to_json(&schema, &Rows { batch, externals: Vec::new() }).unwrap();
    let cells: Vec<_> = shown.iter().map(|row| row.get("doc").unwrap()).collect();
    assert_eq!(cells, [docs[0], docs[1], docs[2], docs[3], docs[4], "\"no json\""]);
    for (id, (row, cell)) in shown.iter().zip(cells).enumerate() {
        let text = serde_json::to_string(row).unwrap();
        assert_eq!(text, format!(r#"{{"id":{id},"doc":{cell},"d":"-1.25"}}"#));
        let read: Cells = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
