//! Measures leaves on TPC-H lineitem: encode, decode and edit speed, bytes per column.
//!
//! `cargo run --release -p syncline-tree --example leaf_numbers -- [SCALE]` (default 0.1).
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails should stop")]

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use syncline_base::{Clock, Hash, SystemClock};
use syncline_tree::codec::{self, Columns};
use syncline_tree::key::KeyEncoder;
use syncline_tree::leaf::{self, Leaf};
use syncline_tree::patch::{self, Edit, Edited, RowOp};
use syncline_tree::schema::Schema;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

fn main() {
    let scale: f64 = std::env::args().nth(1).map_or(0.1, |text| text.parse().unwrap());
    let batches: Vec<RecordBatch> =
        LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).map(Result::unwrap).collect();
    let key = ["l_orderkey".to_owned(), "l_linenumber".to_owned()];
    let schema = Schema::from_arrow(&batches[0].schema(), &key).unwrap();
    println!("leaf_rows {}", schema.leaf_rows);
    let batches: Vec<RecordBatch> = batches.iter().map(|batch| schema.conform(batch).unwrap()).collect();
    let whole = concat_batches(&schema.arrow(), &batches).unwrap();
    let rows = whole.num_rows();
    let size = schema.leaf_rows as usize;
    let slices: Vec<RecordBatch> = (0..rows).step_by(size).map(|at| whole.slice(at, size.min(rows - at))).collect();
    let leaves: Vec<Bytes> = slices.iter().map(|slice| leaf::encode(&schema, slice, &[]).unwrap()).collect();
    let parsed: Vec<_> = leaves.iter().map(|leaf| Leaf::parse(leaf.clone()).unwrap()).collect();
    let stored: Vec<_> = parsed.iter().map(codec::encode_leaf).collect();
    let raw: usize = leaves.iter().map(Bytes::len).sum();
    let total: usize = stored.iter().map(Vec::len).sum();
    println!(
        "{rows} rows, {} leaves, raw {raw} B, stored {total} B = {:.1} MB per 6 M rows",
        leaves.len(),
        total as f64 / rows as f64 * 6.001_215
    );
    encoding(&schema, &slices, &leaves, &parsed);
    decoding(&schema, &leaves, &parsed, &stored);
    editing(&schema, &whole, raw, &parsed);
    columns(&schema, &slices, rows);
}

/// The best of three times, and the speed that it means.
fn time(name: &str, bytes: usize, work: &mut dyn FnMut()) {
    let clock = SystemClock;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = cpu_time(&clock);
        work();
        best = best.min(cpu_time(&clock) - start);
    }
    let speed = bytes as f64 / best.as_secs_f64() / 1e6;
    println!("{name:<28} {:>8.1} ms {speed:>8.0} MB/s", best.as_secs_f64() * 1e3);
}

fn encoding(schema: &Schema, slices: &[RecordBatch], leaves: &[Bytes], parsed: &[Leaf]) {
    let raw: usize = leaves.iter().map(Bytes::len).sum();
    let encoder = KeyEncoder::new(schema).unwrap();
    time("keys", raw, &mut || slices.iter().for_each(|slice| drop(encoder.encode(slice).unwrap())));
    time("canonical encode", raw, &mut || {
        slices.iter().for_each(|slice| drop(leaf::encode(schema, slice, &[]).unwrap()));
    });
    time("blake3", raw, &mut || leaves.iter().for_each(|leaf| assert!(Hash::of(leaf) != Hash::ZERO)));
    time("parse", raw, &mut || leaves.iter().for_each(|leaf| drop(Leaf::parse(leaf.clone()).unwrap())));
    time("codec encode", raw, &mut || parsed.iter().for_each(|leaf| drop(codec::encode_leaf(leaf))));
    time("all of encode", raw, &mut || {
        for slice in slices {
            let bytes = leaf::encode(schema, slice, &[]).unwrap();
            assert!(Hash::of(&bytes) != Hash::ZERO);
            drop(codec::encode_leaf(&Leaf::parse(bytes).unwrap()));
        }
    });
}

fn decoding(schema: &Schema, leaves: &[Bytes], parsed: &[Leaf], stored: &[Vec<u8>]) {
    let raw: usize = leaves.iter().map(Bytes::len).sum();
    time("codec decode", raw, &mut || {
        stored.iter().zip(leaves).for_each(|(stored, leaf)| drop(codec::decode(stored, leaf.len()).unwrap()));
    });
    time("batch of all columns", raw, &mut || parsed.iter().for_each(|leaf| drop(leaf.batch(schema, None).unwrap())));
    let opened: Vec<_> = stored.iter().map(|stored| Columns::open(stored.clone().into()).unwrap()).collect();
    time("key columns only", raw, &mut || {
        opened.iter().for_each(|columns| drop(columns.batch(schema, Some(&schema.key)).unwrap()));
    });
}

fn editing(schema: &Schema, whole: &RecordBatch, raw: usize, parsed: &[Leaf]) {
    time("edit of one row", raw, &mut || {
        for (i, leaf) in parsed.iter().enumerate() {
            let ops = [RowOp::Update {
                row: 7.min(leaf.rows() as u32 - 1),
                source: (i * 31 % whole.num_rows()) as u32,
                columns: Some([4, 5].into_iter().collect()),
            }];
            let edited = patch::edit(leaf, &Edit { schema, rows: whole, externals: &[], ops: &ops }).unwrap();
            if let (Edited::Changed { patch, .. }, 1) = (edited, i) {
                println!("  a patch of two cells: {} B", patch.len());
            }
        }
    });
}

fn columns(schema: &Schema, slices: &[RecordBatch], rows: usize) {
    println!("bytes per column (per 6 M rows):");
    for column in &schema.columns {
        let (mut raw, mut stored) = (0, 0);
        for slice in slices {
            let node = codec::column_sizes(schema, slice, column.id).unwrap();
            raw += node.0;
            stored += node.1;
        }
        let mb = |bytes: usize| bytes as f64 / rows as f64 * 6.001_215;
        println!("  {:<16} {:>7.2} MB -> {:>6.2} MB", column.name, mb(raw), mb(stored));
    }
}

/// Processor time of this thread, so that a busy machine does not count; wall time where the system does not say.
fn cpu_time(clock: &SystemClock) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = stat.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| clock.monotonic(), Duration::from_nanos)
}
