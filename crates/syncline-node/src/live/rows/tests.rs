mod bytes;
mod fold;
mod hostile;
mod merging;
mod quick;
mod typed;

use std::collections::BTreeMap;

use syncline_base::Kind;
use syncline_tree::schema::{Field, Unit};

use super::super::definition::Settings;
use super::*;
use crate::import::parse_type;

/// A table's rows.
pub(super) type Table = BTreeMap<RowKey, Bytes>;

/// A table with the columns as they are written: `name type`, with `!` behind it where null is not allowed; the first is the key.
pub(super) fn table(columns: &[&str]) -> Definition {
    let field = |(i, column): (usize, &&str)| {
        let (name, ty) = column.split_once(' ').unwrap();
        let (ty, needed) = ty.strip_suffix('!').map_or((ty, false), |ty| (ty, true));
        Field::new(name, parse_type(ty).unwrap(), i > 0 && !needed)
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    let key = fields[0].name.clone();
    Definition::create("t", &Schema::new(fields, &[&key]).unwrap(), Settings::default()).unwrap()
}

pub(super) fn put(table: &mut Table, definition: &Definition, ndjson: &str) -> Result<()> {
    let writes = definition.writes(ndjson.as_bytes(), &|row| table.get(row).cloned().map(Base::from))?;
    for Write { row, value } in writes {
        table.insert(row, value.expect("a row that is put has a value"));
    }
    Ok(())
}

pub(super) fn shown(table: &Table, definition: &Definition) -> Vec<String> {
    let row = |(row, value): (&RowKey, &Bytes)| {
        serde_json::to_string(&definition.to_cells(&row.key, value).unwrap()).unwrap()
    };
    table.iter().map(row).collect()
}

fn refused(definition: &Definition, ndjson: &str) -> String {
    let error = put(&mut Table::new(), definition, ndjson).expect_err("it must be refused");
    assert_eq!(error.kind(), Kind::Invalid);
    error.to_string()
}

#[test]
fn lines_insert_and_update() {
    let (mut rows, definition) = (Table::new(), table(&["id int64", "name utf8", "price decimal(9, 2)"]));
    put(&mut rows, &definition, "{\"id\":2,\"name\":\"b\",\"price\":1.5}\n\n  {\"price\":2,\"id\":-1}  \n").unwrap();
    assert_eq!(
        shown(&rows, &definition),
        [r#"{"id":-1,"name":null,"price":"2.00"}"#, r#"{"id":2,"name":"b","price":"1.50"}"#]
    );
    put(&mut rows, &definition, r#"{"id":2,"price":3}"#).unwrap();
    put(&mut rows, &definition, r#"{"id":-1,"price":null,"name":"a"}"#).unwrap();
    assert_eq!(
        shown(&rows, &definition),
        [r#"{"id":-1,"name":"a","price":null}"#, r#"{"id":2,"name":"b","price":"3.00"}"#]
    );
    put(&mut rows, &definition, r#"{"id":2,"name":null,"price":null}"#).unwrap();
    let value = rows.get(&definition.key_of("2").unwrap()).unwrap();
    assert_eq!(value[..], [cells::VERSION], "a row of nulls is there");
}

#[test]
fn writes_are_in_the_order_of_keys() {
    let definition = table(&["id int64", "v int64"]);
    let lines: String = (0..5000_i64).map(|n| format!("{{\"id\":{},\"v\":{n}}}\n", n * 7919 % 5000 - 2500)).collect();
    let writes = definition.writes(lines.as_bytes(), &|_| None).unwrap();
    assert_eq!(writes.len(), 5000);
    assert!(writes.is_sorted_by(|a, b| a.row.key < b.row.key));
    for write in [&writes[0], &writes[4999]] {
        let row = definition.to_cells(&write.row.key, write.value.as_ref().unwrap()).unwrap();
        let (id, n): (i64, i64) = (row.get("id").unwrap().parse().unwrap(), row.get("v").unwrap().parse().unwrap());
        assert_eq!(n * 7919 % 5000 - 2500, id);
    }
}

#[test]
fn what_does_not_fit_is_told_by_its_line_and_nothing_is_written() {
    let definition = table(&["id int64", "v int8", "n utf8!"]);
    let error = refused(
        &definition,
        "{\"id\":1,\"n\":\"\"}\n\n{\"id\":2,\"v\":300,\"n\":\"\"}\nno json\n{\"v\":1,\"n\":\"\"}\n",
    );
    assert!(
        error.starts_with("putting rows into table \"t\": 3 of 4 rows do not fit; nothing was written\n"),
        "{error}"
    );
    assert!(error.contains("\n  line 3: column `v`: 300 is not an int8"), "{error}");
    assert!(error.contains("\n  line 4: is not valid JSON"), "{error}");
    assert!(error.contains("\n  line 5: column `id` may not be null"), "{error}");
    let error = refused(&definition, "{\"id\":1,\"n\":\"\",\"w\":1}");
    assert!(
        error.contains(
            "line 1: has the key `w`, which is not a column of the table; add it first with `syncline table set TABLE --add w:TYPE`"
        ),
        "{error}"
    );
    let error = refused(&definition, "{\"id\":1,\"n\":null}");
    assert!(error.contains("line 1: column `n` may not be null"), "{error}");
    let error = refused(&definition, "{\"id\":2,\"n\":\"\"}\n{\"id\":1}\n");
    assert!(
        error.contains("line 2: the row 1 is new and lacks `n`, which may not be null; nothing was written"),
        "{error}"
    );
    let many: String = (0..30).map(|n| format!("{{\"id\":{n}}}x\n")).collect();
    assert!(refused(&definition, &many).contains("… and 20 more"));
}

#[test]
fn a_row_that_exists_may_lack_what_may_not_be_null() {
    let (mut rows, definition) = (Table::new(), table(&["id int64", "v int8", "n utf8!"]));
    put(&mut rows, &definition, r#"{"id":1,"v":1,"n":"x"}"#).unwrap();
    put(&mut rows, &definition, r#"{"id":1,"v":2}"#).unwrap();
    assert_eq!(shown(&rows, &definition), [r#"{"id":1,"v":2,"n":"x"}"#]);
}

#[test]
fn a_key_comes_once() {
    let definition = table(&["id int64", "v int8"]);
    let error = refused(&definition, "{\"id\":7}\n{\"id\":1}\n{\"id\":7}\n{\"id\":7,\"v\":1}\n");
    assert!(error.contains("2 rows repeat a key; nothing was written\n  7 in lines 1, 3, 4"), "{error}");
}

#[test]
fn cells_of_columns_that_nobody_knows_stay() {
    let (mut rows, old) = (Table::new(), table(&["id int64", "b utf8", "d utf8"]));
    let names = ["a", "c", "e", "x", "y"];
    let new = names.iter().fold(old.clone(), |table, name| table.add_column(name, Type::Utf8).unwrap());
    put(&mut rows, &new, r#"{"id":1,"a":"1","b":"2","c":"3","d":"4","e":"5","x":"6","y":"7"}"#).unwrap();
    put(&mut rows, &old, r#"{"id":1,"b":null,"d":"changed"}"#).unwrap();
    assert_eq!(shown(&rows, &old), [r#"{"id":1,"b":null,"d":"changed"}"#]);
    assert_eq!(shown(&rows, &new), [r#"{"id":1,"b":null,"d":"changed","a":"1","c":"3","e":"5","x":"6","y":"7"}"#]);
    put(&mut rows, &old, r#"{"id":1,"b":"back"}"#).unwrap();
    assert_eq!(shown(&rows, &new), [r#"{"id":1,"b":"back","d":"changed","a":"1","c":"3","e":"5","x":"6","y":"7"}"#]);
    // Those of a column that was dropped go when the row is written anew.
    let dropped = new.drop_column("c").unwrap();
    put(&mut rows, &dropped, r#"{"id":1,"a":"9"}"#).unwrap();
    assert_eq!(shown(&rows, &new), [r#"{"id":1,"b":"back","d":"changed","a":"9","c":null,"e":"5","x":"6","y":"7"}"#]);
}

#[test]
fn renamed_columns_keep_their_cells() {
    let (mut rows, first) = (Table::new(), table(&["id int64", "name utf8"]));
    put(&mut rows, &first, r#"{"id":1,"name":"a"}"#).unwrap();
    let second = first.rename_column("name", "title").unwrap().rename_column("id", "nr").unwrap();
    assert_eq!(shown(&rows, &second), [r#"{"nr":1,"title":"a"}"#]);
    let third = second.drop_column("title").unwrap().add_column("name", Type::Int64).unwrap();
    assert_eq!(shown(&rows, &third), [r#"{"nr":1,"name":null}"#]);
}

#[test]
fn rows_are_found_and_deleted_by_their_keys() {
    let definition = table(&["id int64", "v utf8"]);
    let row = definition.key_of("12").unwrap();
    assert_eq!(definition.key_of("{\"id\": 12, \"v\": \"x\"}").unwrap(), row);
    assert_eq!(definition.key_text(&row.key).unwrap(), "12");
    assert!(
        definition.key_of("x").is_err() && definition.key_of("{\"v\":1}").is_err() && definition.key_of("{}").is_err()
    );
    let deletes = definition.deletes(b"12\r\n{\"id\":3,\"other\":[]}\n\n-4\n12\n{\"id\":\"12\"}").unwrap();
    let keys: Vec<String> = deletes.iter().map(|write| definition.key_text(&write.row.key).unwrap()).collect();
    assert_eq!(keys, ["-4", "3", "12"]);
    assert!(deletes.iter().all(|write| write.value.is_none()));
    for (text, why) in [
        ("1\nx\n", "line 2: "),
        ("1\n\n{\"id\":null}\n", "line 3: column `id` may not be null"),
        ("{\"id\"", "line 1: "),
    ] {
        let error = definition.deletes(text.as_bytes()).expect_err(text).to_string();
        assert!(error.starts_with("deleting rows from table \"t\"") && error.contains(why), "{error}");
    }
}

#[test]
fn keys_of_several_columns() {
    let schema = Schema::new(
        vec![
            Field::new("at", Type::Date32, false),
            Field::new("v", Type::Utf8, true),
            Field::new("who", Type::Utf8, false),
        ],
        &["who", "at"],
    );
    let definition = Definition::create("t", &schema.unwrap(), Settings::default()).unwrap();
    let mut rows = Table::new();
    put(
        &mut rows,
        &definition,
        "{\"who\":\"b\",\"at\":\"2024-02-29\"}\n{\"who\":\"a\",\"at\":\"2025-01-01\",\"v\":\"\"}",
    )
    .unwrap();
    assert_eq!(
        shown(&rows, &definition),
        [r#"{"at":"2025-01-01","v":"","who":"a"}"#, r#"{"at":"2024-02-29","v":null,"who":"b"}"#]
    );
    for text in ["a,2025-01-01", "[\"a\",\"2025-01-01\"]", "{\"at\":\"2025-01-01\",\"who\":\"a\"}"] {
        assert!(rows.contains_key(&definition.key_of(text).unwrap()), "{text}");
    }
}

#[test]
fn types_are_those_that_an_import_infers() {
    let lines = r#"{"id":"a","n":1,"f":1.5,"tags":["x"],"o":{"a":1},"none":null}
{"id":"b","n":-3,"f":2,"late":true}"#;
    let schema = infer("t", lines.as_bytes(), &["id".to_owned()]).unwrap();
    let types: Vec<String> = schema.columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect();
    assert_eq!(types, ["id utf8", "n int64", "f float64", "tags list(utf8)", "o json", "none utf8", "late bool"]);
    let (mut rows, definition) = (Table::new(), Definition::create("t", &schema, Settings::default()).unwrap());
    put(&mut rows, &definition, lines).unwrap();
    assert_eq!(
        shown(&rows, &definition),
        [
            r#"{"id":"a","n":1,"f":1.5,"tags":["x"],"o":{"a":1},"none":null,"late":null}"#,
            r#"{"id":"b","n":-3,"f":2.0,"tags":null,"o":null,"none":null,"late":true}"#
        ]
    );
    for (lines, key, why) in
        [("", "id", "no columns"), ("{\"a\":1}", "id", "`id` is not in"), ("{\"id\":1.5}", "id", "float64")]
    {
        let error = infer("t", lines.as_bytes(), &[key.to_owned()]).expect_err(lines).to_string();
        assert!(error.starts_with("making table \"t\": ") && error.contains(why), "{error}");
    }
}

#[test]
fn what_an_import_infers_from_late_rows_counts() {
    // More than a block, and the row that decides comes last.
    let mut lines: String = (0..60_000).map(|n| format!("{{\"id\":{n},\"v\":1}}\n")).collect();
    lines.push_str("{\"id\":-1,\"v\":1.5}\n");
    let schema = infer("t", lines.as_bytes(), &["id".to_owned()]).unwrap();
    assert_eq!(schema.column("v").unwrap().ty, Type::Float64);
    let definition = Definition::create("t", &schema, Settings::default()).unwrap();
    let writes = definition.writes(lines.as_bytes(), &|_| None).unwrap();
    assert_eq!(writes.len(), 60_001);
    let error = refused(&definition, &format!("{lines}{{\"id\":5}}\n"));
    assert!(error.contains("5 in lines 6, 60002"), "{error}");
}

#[test]
fn times_are_in_the_unit_of_their_column() {
    assert_eq!(parse_type("timestamp(ms)").unwrap(), Type::Timestamp { unit: Unit::Ms, zone: None });
    let (mut rows, definition) = (Table::new(), table(&["at timestamp(ms, UTC)", "t time(s)"]));
    put(&mut rows, &definition, r#"{"at":"2024-01-01T01:00:00+01:00","t":"10:00"}"#).unwrap();
    assert_eq!(shown(&rows, &definition), [r#"{"at":"2024-01-01T00:00:00.000Z","t":"10:00:00"}"#]);
}
