//! What has to hold of everything that users bring, for any bytes: the targets of `fuzz/`.
//!
//! A target panics when a promise is broken. Inputs that did so once are kept under `fixtures/fuzz` and run by this
//! module's tests. Not here: the fuzzer (`fuzz/`), what imports mean (`crate::import`).

use std::io::Cursor;
use std::path::Path;

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

#[cfg(test)]
#[path = "../../../fuzz/tests.rs"]
mod tests;
