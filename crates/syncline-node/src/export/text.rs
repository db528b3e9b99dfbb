//! CSV, TSV and NDJSON: batches are formatted side by side and written in order.

use std::io::Write as _;

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::SchemaRef;
use syncline_base::task;
use syncline_tree::schema::Type;

use super::value::{self, Shape};
use super::{Error, Out};
use crate::rows::Cells;

/// Formats all batches with `format` and writes them.
fn write<E: From<Error> + Send>(
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
    format: impl Fn(&RecordBatch) -> Vec<u8> + Send + Sync,
) -> Result<(), E> {
    task::pipeline(
        batches,
        task::width() * 2,
        |batch: RecordBatch| Ok(format(&batch)),
        |text| out.write_all(&text).map_err(|error| out.failed(error).into()),
    )
}

fn types(schema: &SchemaRef, out: &Out) -> Result<Vec<Type>, Error> {
    let failed = |error: syncline_tree::Error| Error::Format { name: out.name().to_owned(), reason: error.to_string() };
    Ok(crate::import::fields_of(schema).map_err(failed)?.into_iter().map(|field| field.ty).collect())
}

/// CSV by RFC 4180 with LF line ends: null is an empty field, an empty text a quoted one.
pub(super) fn csv<E: From<Error> + Send>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
    delimiter: u8,
) -> Result<(), E> {
    let types = types(schema, out)?;
    let mut header = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        if i > 0 {
            header.push(delimiter);
        }
        let start = header.len();
        header.extend_from_slice(field.name().as_bytes());
        quote(&mut header, start, delimiter);
    }
    header.push(b'\n');
    out.write_all(&header).map_err(|error| out.failed(error))?;
    write(batches, out, |batch| {
        let mut text = Vec::with_capacity(batch.num_rows() * batch.num_columns() * 8);
        for row in 0..batch.num_rows() {
            for (i, (array, ty)) in batch.columns().iter().zip(&types).enumerate() {
                if i > 0 {
                    text.push(delimiter);
                }
                let start = text.len();
                if array.is_valid(row) && value::text(ty, array, row, &mut text) == Shape::Free {
                    quote(&mut text, start, delimiter);
                }
            }
            text.push(b'\n');
        }
        text
    })
}

/// Quotes the field that begins at `start` if it needs it.
fn quote(out: &mut Vec<u8>, start: usize, delimiter: u8) {
    let field = &out[start..];
    let needs = field.is_empty()
        || field.iter().any(|byte| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r'))
        // A byte order mark where the file begins would be taken for the file's.
        || field.starts_with("\u{feff}".as_bytes())
        || field.first().is_some_and(u8::is_ascii_whitespace)
        || field.last().is_some_and(u8::is_ascii_whitespace);
    if !needs {
        return;
    }
    let field = out.split_off(start);
    out.push(b'"');
    for byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// One JSON object per line with all columns, null ones too.
pub(super) fn ndjson<E: From<Error> + Send>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
) -> Result<(), E> {
    let types = types(schema, out)?;
    let names: Vec<String> = schema.fields().iter().map(|field| serde_json::json!(field.name()).to_string()).collect();
    write(batches, out, |batch| {
        let mut text = Vec::with_capacity(batch.num_rows() * batch.num_columns() * 16);
        for row in 0..batch.num_rows() {
            for (i, (array, ty)) in batch.columns().iter().zip(&types).enumerate() {
                text.push(if i == 0 { b'{' } else { b',' });
                text.extend_from_slice(names[i].as_bytes());
                text.push(b':');
                value::json(ty, array, row, &mut text);
            }
            text.extend_from_slice(b"}\n");
        }
        text
    })
}

/// Rows as JSON objects. Decimals are text: a JSON number's reader may round it.
pub(super) fn json_rows(batch: &RecordBatch) -> Result<Vec<Cells>, Error> {
    let failed = |reason: String| Error::Format { name: "rows as JSON".to_owned(), reason };
    let schema = batch.schema();
    let fields = crate::import::fields_of(&schema).map_err(|error| failed(error.to_string()))?;
    let mut rows = vec![Cells::default(); batch.num_rows()];
    let mut text = Vec::new();
    for (field, array) in fields.iter().zip(batch.columns()) {
        let decimal = matches!(field.ty, Type::Decimal128 { .. } | Type::Decimal256 { .. });
        for (row, cells) in rows.iter_mut().enumerate() {
            text.clear();
            if decimal && array.is_valid(row) {
                text.push(b'"');
                value::text(&field.ty, array, row, &mut text);
                text.push(b'"');
            } else {
                value::json(&field.ty, array, row, &mut text);
            }
            cells.push(&field.name, &String::from_utf8_lossy(&text));
        }
    }
    Ok(rows)
}
