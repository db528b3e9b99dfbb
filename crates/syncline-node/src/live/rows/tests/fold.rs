//! Live rows for the versioned tree.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;

use super::*;

fn rows(table: &Table) -> impl Iterator<Item = (Bytes, Bytes)> {
    table.iter().map(|(row, value)| (row.key.clone(), value.clone()))
}

#[test]
fn batches_are_bounded_and_in_order() {
    let (mut table_rows, definition) = (Table::new(), table(&["id int64", "v utf8"]));
    let lines: String = (0..20_000).map(|n| format!("{{\"id\":{n},\"v\":\"x{n}\"}}\n")).collect();
    put(&mut table_rows, &definition, &lines).unwrap();
    let batches: Vec<Folded> = definition.batches(rows(&table_rows)).collect::<Result<_>>().unwrap();
    let sizes: Vec<usize> = batches.iter().map(|folded| folded.rows.num_rows()).collect();
    assert_eq!(sizes, [8192, 8192, 3616]);
    let ids = batches.iter().flat_map(|folded| folded.rows.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert!(ids.eq(0..20_000));
    assert_eq!(batches[0].rows.schema(), definition.schema().arrow());
    let long = format!("{{\"id\":-1,\"v\":\"{}\"}}", "y".repeat(5 << 20));
    put(&mut table_rows, &definition, &long).unwrap();
    let first = definition.batches(rows(&table_rows)).next().unwrap().unwrap();
    assert_eq!(first.rows.num_rows(), 1, "long rows come in batches of few");
    assert!(definition.batches(std::iter::empty()).next().is_none());
}

#[test]
fn rows_that_do_not_fit_are_told_apart() {
    let (mut table_rows, wide) = (Table::new(), table(&["id int64", "v utf8", "n utf8"]));
    put(
        &mut table_rows,
        &wide,
        "{\"id\":1,\"v\":\"7\",\"n\":\"a\"}\n{\"id\":2,\"v\":\"x\",\"n\":\"b\"}\n{\"id\":3}\n{\"id\":4,\"n\":\"c\"}",
    )
    .unwrap();
    // Somebody made the same table with other types at the same time.
    let narrow = table(&["id int64", "v int8", "n utf8!"]);
    let key = |text: &str| narrow.key_of(text).unwrap();
    table_rows.insert(key("5"), Bytes::from_static(b"\x01abc"));
    table_rows.insert(key("6"), Bytes::from_static(b"\x07"));
    table_rows.insert(
        RowKey { key: Bytes::from_static(b"long enough not to be an int64"), ..key("7") },
        Bytes::from_static(b"\x01"),
    );
    let folded: Vec<Folded> = narrow.batches(rows(&table_rows)).collect::<Result<_>>().unwrap();
    assert_eq!(folded.len(), 1);
    let shown: Vec<String> =
        export::json_rows(&folded[0].rows).unwrap().iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_eq!(shown, [r#"{"id":1,"v":7,"n":"a"}"#, r#"{"id":4,"v":null,"n":"c"}"#]);
    let unfit: Vec<(&[u8], &str)> = folded[0].unfit.iter().map(|unfit| (&unfit.key[..], &unfit.why[..])).collect();
    let expected = [
        ("2", "column `v`: \"x\" is not an int8"),
        ("3", "column `n` may not be null"),
        ("5", "ends in the number"),
        ("6", "version 7"),
    ];
    for (key_text, why) in expected {
        let found = unfit
            .iter()
            .find(|(found, _)| *found == &key(key_text).key[..])
            .unwrap_or_else(|| panic!("{key_text}: {unfit:?}"));
        assert!(found.1.contains(why), "{found:?}");
    }
    assert_eq!(unfit.len(), 5);
    assert!(unfit.iter().any(|(_, why)| why.contains("30 bytes are not a key of this table")), "{unfit:?}");
    // What is shown is what is there.
    assert_eq!(narrow.to_cells(&key("2").key, &table_rows[&key("2")]).unwrap().get("v"), Some("\"x\""));
    let only = [(Bytes::from_static(b"x"), Bytes::from_static(b"\x01"))];
    let folded = narrow.batches(only.into_iter()).next().unwrap().unwrap();
    assert_eq!((folded.rows.num_rows(), folded.unfit.len()), (0, 1));
}

#[test]
fn a_table_of_keys_alone_has_rows() {
    let (mut table_rows, definition) = (Table::new(), table(&["id utf8"]));
    put(&mut table_rows, &definition, "{\"id\":\"b\"}\n{\"id\":\"\"}").unwrap();
    let folded = definition.batches(rows(&table_rows)).next().unwrap().unwrap();
    assert_eq!(folded.rows.num_rows(), 2);
}

#[test]
fn batches_are_put_like_lines() {
    let definition = table(&["id int64", "v decimal(9, 2)", "doc json"]);
    let lines = "{\"id\":2,\"v\":1.5,\"doc\":{\"a\": 1}}\n{\"id\":1,\"doc\":null,\"v\":null}";
    let schema = definition.schema();
    let mut table_rows = Table::new();
    put(&mut table_rows, &definition, lines).unwrap();
    let folded = definition.batches(rows(&table_rows)).next().unwrap().unwrap().rows;
    // Fewer columns, in another order: the others keep their cells.
    let part = folded.project(&[1, 0]).unwrap();
    let writes = definition.writes_batch(&part, &|row| table_rows.get(row).cloned().map(Base::from)).unwrap();
    assert!(writes.iter().all(|write| table_rows[&write.row] == *write.value.as_ref().unwrap()));
    let fresh = definition.writes_batch(&part, &|_| None).unwrap();
    assert_eq!(
        definition.to_cells(&fresh[1].row.key, fresh[1].value.as_ref().unwrap()).unwrap().get("doc"),
        Some("null")
    );
    let error = definition.writes_batch(&folded.project(&[1]).unwrap(), &|_| None).unwrap_err().to_string();
    assert!(error.contains("it has no column `id`, which is part of the key"), "{error}");
    let strange =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("w", Type::Int64, true)], &["id"]).unwrap();
    let batch = RecordBatch::new_empty(strange.arrow());
    let error = definition.writes_batch(&batch, &|_| None).unwrap_err().to_string();
    assert!(error.contains("its column `w` is not in the table"), "{error}");
    // What is too long for the decimal, what is no JSON, and a key that is null.
    let ids = arrow_array::Int64Array::from(vec![Some(1), Some(2), None]);
    let docs = arrow_array::StringArray::from(vec![Some("[1]"), Some("[1"), None]);
    let fields: Vec<_> = [0, 2].map(|i| schema.arrow().field(i).clone().with_nullable(true)).into();
    let batch = RecordBatch::try_new(
        std::sync::Arc::new(arrow_schema::Schema::new(fields)),
        vec![std::sync::Arc::new(ids), std::sync::Arc::new(docs)],
    )
    .unwrap();
    let error = definition.writes_batch(&batch, &|_| None).unwrap_err().to_string();
    assert!(
        error.contains("2 of 3 rows do not fit")
            && error.contains("row 2: column `doc`")
            && error.contains("row 3: column `id` may not be null"),
        "{error}"
    );
}

#[test]
fn a_table_of_the_tree_follows_its_definition() {
    let first = table(&["id int64", "a utf8", "b int8", "c utf8"]);
    assert_eq!(first.tree_schema(None).unwrap(), *first.schema());
    let renamed =
        first.rename_column("a", "x").unwrap().rename_column("c", "a").unwrap().rename_column("x", "c").unwrap();
    let second = renamed
        .widen_column("b", Type::Int32, true)
        .unwrap()
        .drop_column("c")
        .unwrap()
        .add_column("c", Type::Bool)
        .unwrap();
    let tree = second.tree_schema(Some(first.schema())).unwrap();
    let columns: Vec<String> = tree
        .columns
        .iter()
        .map(|column| format!("{} {} {} {}", column.id, column.name, column.origin(), column.ty))
        .collect();
    assert_eq!(columns, ["0 id id int64", "2 b b int32", "3 a c utf8", "4 c c#2 bool"]);
    assert_eq!(second.tree_schema(Some(&tree)).unwrap(), tree, "it is there already");
    let mut table_rows = Table::new();
    put(&mut table_rows, &second, "{\"id\":1,\"a\":\"was c\",\"b\":300,\"c\":true}").unwrap();
    let folded = second.batches(rows(&table_rows)).next().unwrap().unwrap().rows;
    let batch = second.under(&tree, &folded).unwrap();
    assert_eq!(batch.schema(), tree.arrow());
    assert_eq!(
        serde_json::to_string(&export::json_rows(&batch).unwrap()[0]).unwrap(),
        r#"{"id":1,"b":300,"a":"was c","c":true}"#
    );
    assert!(second.under(first.schema(), &folded).is_err(), "one of its columns is not live");
    let other = table(&["id utf8", "a utf8"]);
    assert!(other.tree_schema(Some(&tree)).unwrap_err().to_string().contains("its key is another one"));
    let narrow = table(&["id int64", "b int8"]);
    assert!(narrow.tree_schema(Some(&tree)).unwrap_err().to_string().contains("\"b\" is int32 there and int8 here"));
}
