use arrow_array::{Int64Array, StringArray};
use syncline_base::Kind;

use super::*;
use crate::schema::{Field, Type};

fn schema() -> Schema {
    Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Utf8, true)], &["id"]).unwrap()
}

fn changes(schema: &Schema, ids: std::ops::Range<i64>, text: &str, op: &Op) -> Changes {
    let count = ids.clone().count();
    let texts: StringArray = (0..count).map(|_| Some(text)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(ids.collect::<Int64Array>()), Arc::new(texts)];
    let rows = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    Changes { rows, ops: vec![op.clone(); count], externals: Vec::new() }
}

/// A frame of so many rows, each in a group of its own with this text.
fn groups(count: u64, text: &str) -> Bytes {
    let schema = schema();
    let mut out = vec![VERSION];
    put_varint(&mut out, count);
    put_varint(&mut out, count);
    out.extend(vec![0; count as usize]);
    (0..count).for_each(|number| put_varint(&mut out, number));
    let keys = changes(&schema, 0..count as i64, "", &Op::Upsert);
    put_leaf(&mut out, &schema, &[0], &keys, None, &mut Weight(0)).unwrap();
    for _ in 0..count {
        let cells = changes(&schema, 0..1, text, &Op::Upsert);
        put_leaf(&mut out, &schema, &[1], &cells, None, &mut Weight(0)).unwrap();
    }
    out.into()
}

#[test]
fn a_frame_that_asks_for_too_much_memory_is_refused() {
    let schema = schema();
    let text = "\0".repeat(13 << 20);
    let frame = groups(4, &text);
    assert_eq!(decode_frame(&schema, &frame).unwrap().rows.num_rows(), 4);
    let frame = groups(5, &text);
    assert!(frame.len() < 64 << 10, "{} bytes", frame.len());
    let error = decode_frame(&schema, &frame).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("of memory"), "{error}");
    // Nor does a sender make one.
    let error = encode_frame(&schema, &changes(&schema, 0..5, &text, &Op::Upsert)).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn rows_that_take_no_bytes_take_memory_too() {
    // Deletions of consecutive keys pack to nothing, and the cells of each are nulls.
    let wide = Type::FixedSizeList(Box::new(Field::new("item", Type::Float64, true)), 1 << 20);
    let narrow = schema();
    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("wide", wide, true)], &["id"]).unwrap();
    let deletes = |count| {
        let mut out = vec![VERSION];
        put_varint(&mut out, count as u64);
        put_varint(&mut out, 1);
        out.push(2);
        put_varint(&mut out, count as u64 - 1);
        let keys = changes(&narrow, 0..count, "", &Op::Delete);
        put_leaf(&mut out, &narrow, &[0], &keys, None, &mut Weight(0)).unwrap();
        Bytes::from(out)
    };
    assert_eq!(decode_frame(&schema, &deletes(5)).unwrap().rows.num_rows(), 5);
    assert_eq!(decode_frame(&schema, &deletes(20)).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(decode_frame(&narrow, &deletes(1000)).unwrap().rows.num_rows(), 1000);
}
