//! What has to hold of everything that users bring, for any bytes: the targets of `fuzz/`.
//!
//! A target panics when a promise is broken. Inputs that did so once are kept under `fixtures/fuzz` and run by this
//! module's tests. Not here: the fuzzer (`fuzz/`), what imports mean (`crate::import`).

use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use syncline_tree::schema::{Field, Schema, Type};

use crate::live::cells::{self, Cells};
use crate::live::definition::{Definition, Settings, column_row, column_rows, table_row};
use crate::live::marks::Marks;

use crate::import::{self, Format, Input, Mode, OnDuplicate, Options};
use crate::worktree::ignores::Ignores;

/// Checks one input.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/` and under `fixtures/fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("csv", csv),
    ("ndjson", ndjson),
    ("parquet_footer", parquet_footer),
    ("schema_file", schema_file),
    ("ignore_file", ignore_file),
    ("live_row", live_row),
    ("live_definition", live_definition),
];

/// Reads an input as users would, once to learn its columns and once as more rows of that table.
fn import(data: &[u8], format: Format, options: &dyn Fn(&mut Options)) {
    let read = |existing: Option<&syncline_tree::schema::Schema>| {
        let mut chosen = Options::new(std::env::temp_dir());
        chosen.format = Some(format);
        chosen.infer_bytes = 1 << 20;
        chosen.sort_bytes = 1 << 20;
        chosen.max_record_bytes = 1 << 16;
        chosen.batch_rows = 64;
        options(&mut chosen);
        let input = Input::Reader { name: "input".into(), reader: Box::new(Cursor::new(data.to_vec())) };
        let key = ["a".to_owned()];
        let mut prepared = import::open(vec![input], &chosen, existing, &key).ok()?;
        let mut rows = 0;
        for batch in &mut prepared.rows {
            let Ok(batch) = batch else { return Some(prepared.schema) };
            assert_eq!(batch.rows.num_columns(), prepared.schema.columns.len());
            for row in 0..batch.rows.num_rows() {
                let _ = batch.given.of(row);
            }
            rows += batch.rows.num_rows() as u64;
        }
        let report = prepared.rows.report();
        assert!(rows <= report.rows, "{rows} rows came out of {}", report.rows);
        Some(prepared.schema)
    };
    if let Some(schema) = read(None) {
        let _ = read(Some(&schema));
    }
}

/// Any text is a CSV or TSV file or is refused.
pub fn csv(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let format = if choice % 4 == 3 { Format::Tsv } else { Format::Csv };
    import(rest, format, &|options| {
        options.header = choice & 4 == 0;
        options.delimiter = (choice & 8 != 0).then_some(b';');
        options.null = (choice & 16 != 0).then(|| "NULL".to_owned());
        options.on_duplicate = if choice & 32 == 0 { OnDuplicate::Error } else { OnDuplicate::Last };
        options.mode = if choice & 64 == 0 { Mode::Upsert } else { Mode::Append };
    });
}

/// Any text is a file of JSON objects or is refused.
pub fn ndjson(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    import(rest, Format::Ndjson, &|options| {
        options.on_duplicate = if choice & 1 == 0 { OnDuplicate::Error } else { OnDuplicate::Last };
        options.mode = if choice & 2 == 0 { Mode::Upsert } else { Mode::Replace };
    });
}

/// Any bytes are the footer of a Parquet file or are refused, in little memory.
pub fn parquet_footer(data: &[u8]) {
    import::read_parquet_footer(data);
}

/// Any text is a schema file or is refused.
pub fn schema_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(fields) = import::read_schema(&text) {
        let names: Vec<String> = fields.iter().take(1).map(|field| field.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Ok(schema) = syncline_tree::schema::Schema::new(fields, &names) {
            let bytes = schema.encode();
            assert_eq!(syncline_tree::schema::Schema::decode(&bytes).expect("it was just made"), schema);
        }
    }
}

/// Any text is a file of patterns or is refused; any path can be asked for.
pub fn ignore_file(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, paths) = data.split_at(end);
    let Ok(rules) = Ignores::add(None, "", text, Path::new(".synclineignore")) else { return };
    let below = Ignores::add(Some(rules.clone()), "folder/", text, Path::new("folder/.synclineignore"));
    for path in String::from_utf8_lossy(paths).split('\0').filter(|path| !path.is_empty()) {
        let _ = (rules.hide(path, false), rules.hide(path, true));
        if let Ok(below) = &below {
            let _ = below.hide(&format!("folder/{path}"), false);
        }
    }
}

/// A table whose columns are of many types.
fn live_table() -> &'static Definition {
    static TABLE: OnceLock<Definition> = OnceLock::new();
    TABLE.get_or_init(|| {
        let list = |ty: Type| Type::List(Box::new(Field::new("item", ty, true)));
        let types = [
            Type::Utf8,
            Type::Int64,
            Type::Float64,
            Type::Decimal128 { precision: 9, scale: 2 },
            Type::Json,
            Type::Date32,
            Type::Binary,
            list(Type::Utf8),
            list(list(Type::Int8)),
            Type::Struct(vec![Field::new("a", Type::Int64, true), Field::new("b", Type::Utf8, false)]),
        ];
        let columns = (0..).zip(types).map(|(i, ty)| Field::new(format!("c{i}"), ty, i != 1));
        let fields = [Field::new("k", Type::Utf8, false)].into_iter().chain(columns).collect();
        let schema = Schema::new(fields, &["k"]).expect("the columns are those of a table");
        Definition::create("t", &schema, Settings::default()).expect("the schema is that of a table")
    })
}

/// Any bytes are a row's value or are refused; a value has one form, and whatever its cells are, it is shown, folded and updated. What was
/// folded goes back in as a value that comes back.
pub fn live_row(data: &[u8]) {
    let (table, value) = (live_table(), Bytes::copy_from_slice(data));
    if let Ok(all) = Cells::read(data).and_then(Cells::all) {
        let mut again = Vec::new();
        match cells::split(data).expect("it was just read").0 {
            None => cells::begin(&mut again),
            Some(marks) => {
                if let Ok(read) = Marks::decode(marks) {
                    assert_eq!(read.encode(), marks, "marks have two forms");
                }
                cells::begin_marked(&mut again, marks);
            }
        }
        all.iter().for_each(|(cell, text)| cells::put(&mut again, *cell, |out| out.extend_from_slice(text)));
        assert_eq!(again, data, "a value has two forms");
    }
    let Ok(row) = table.key_of(&String::from_utf8_lossy(data)) else { return };
    let shown = table.to_cells(&row.key, data);
    let folded = table.batches(std::iter::once((row.key.clone(), value.clone()))).next().expect("one row is one batch");
    let folded = folded.expect("rows that do not fit are told apart");
    assert_eq!(folded.rows.num_rows() + folded.unfit.len(), 1, "a row is lost");
    let updated = table.writes(br#"{"k":"","c1":1}"#, &|_| Some(value.clone().into()));
    assert_eq!(updated.is_ok(), shown.is_ok(), "some can read a value and some cannot");
    let Ok(writes) = table.writes_batch(&folded.rows, &|_| None) else { return };
    for write in writes {
        let value = write.value.expect("a row that is put has a value");
        let again =
            table.batches(std::iter::once((write.row.key, value.clone()))).next().expect("one row is one batch");
        let again = table.writes_batch(&again.expect("it was just made").rows, &|_| None).expect("it fitted before");
        assert_eq!(again[0].value.as_ref(), Some(&value), "a row does not come back");
    }
}

/// Any bytes are the rows of a definition or are refused: the table's on the first line, then a column's on each, behind its origin and a tab.
pub fn live_definition(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let table = lines.next().unwrap_or_default();
    let columns = lines.filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        Some((column_row("t", &String::from_utf8_lossy(&line[..tab])).key, line[tab + 1..].to_vec()))
    });
    let Ok(read) = Definition::load("t", table, columns) else { return };
    let rows: std::collections::BTreeMap<_, _> =
        read.changes(None).into_iter().filter_map(|write| Some((write.row, write.value?))).collect();
    let columns = rows.range(column_rows("t")).map(|(row, value)| (&row.key, value));
    let again = Definition::load("t", &rows[&table_row("t")], columns).expect("it was just written");
    assert_eq!((again.columns(), again.schema()), (read.columns(), read.schema()));
    let _ = read.writes(br#"{"id":1}"#, &|_| None);
    let _ = read.add_column("new", Type::Utf8).map(|next| next.changes(Some(&read)));
}

#[cfg(test)]
#[path = "../../../fuzz/tests.rs"]
mod tests;
