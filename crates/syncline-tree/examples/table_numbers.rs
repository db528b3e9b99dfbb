//! Measures tables on TPC-H lineitem: build, scan, edit, diff, delta, merge and reconciliation, in a directory.
//!
//! `cargo run --release -p syncline-tree --example table_numbers -- [SCALE] [DIR]` (default 0.1, a temporary directory).
//! Each line has wall time and the time all threads computed.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails should stop")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_select::take::take_record_batch;
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};
use syncline_store::backend::directory::Directory;
use syncline_tree::patch::ColumnSet;
use syncline_tree::reconcile::{Session, serve};
use syncline_tree::schema::Schema;
use syncline_tree::table::{Changes, Op, Scan, Table};
use syncline_tree::{delta, diff, merge};
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

fn main() {
    let scale: f64 = std::env::args().nth(1).map_or(0.1, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::args().nth(2).map_or(temporary.path().to_owned(), Into::into);
    let batches: Vec<RecordBatch> =
        LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).with_batch_size(65_536).map(Result::unwrap).collect();
    let key = ["l_orderkey".to_owned(), "l_linenumber".to_owned()];
    let schema = Schema::from_arrow(&batches[0].schema(), &key).unwrap();
    let batches: Vec<RecordBatch> = batches.iter().map(|batch| schema.conform(batch).unwrap()).collect();
    let all = arrow_select::concat::concat_batches(&schema.arrow(), &batches).unwrap();
    let store = syncline_tree::open_store(Arc::new(Directory::new(&dir)), true, Arc::new(SystemClock)).unwrap();
    let empty = Table::create(&store, schema).unwrap();

    let mut table = empty.clone();
    time("build", || {
        table = empty.apply(batches.iter().map(|batch| Ok(Changes::insert(batch.clone())))).unwrap().0;
        store.flush().unwrap();
    });
    println!("{} rows, height {}, {:.1} MB on disk", table.rows(), table.to_ref().height, size(&dir) as f64 / 1e6);
    let read = |columns: Option<&[&str]>| {
        let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let rows = table.scan(Scan { columns, ..Scan::default() }).unwrap().map(|batch| batch.unwrap().num_rows());
        assert_eq!(rows.sum::<usize>(), all.num_rows());
    };
    time("scan all", || read(None));
    time("scan 3 columns", || read(Some(&["l_quantity", "l_extendedprice", "l_shipdate"])));
    let mut rng = Rng::from_seed(1);
    for count in [1, 1000, 10_000] {
        edits(&table, &all, &mut rng, count, &dir);
    }
    merges(&table, &all, &mut rng);
    reconciles(&table, &all, &mut rng);
    bulk(&table, &all);
}

/// Replaces one cell in each of some rows.
fn cells(all: &RecordBatch, rng: &mut Rng, count: usize) -> Changes {
    let mut rows: Vec<u32> = (0..count).map(|_| rng.below(all.num_rows() as u64) as u32).collect();
    rows.sort_unstable();
    rows.dedup();
    let count = rows.len();
    let batch = take_record_batch(all, &UInt32Array::from(rows)).unwrap();
    let position = batch.num_columns() - 1;
    let text: StringArray =
        (0..count).map(|_| Some(format!("{:015x}{:015x}", rng.next_u64(), rng.next_u64()))).collect();
    let mut columns = batch.columns().to_vec();
    columns[position] = Arc::new(text) as ArrayRef;
    let rows = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let set: ColumnSet = [position].into_iter().collect();
    Changes { rows, ops: vec![Op::Patch(set); count], externals: Vec::new() }
}

fn edits(table: &Table, all: &RecordBatch, rng: &mut Rng, count: usize, dir: &Path) {
    println!("-- {count} edits of one 32 byte cell");
    let changes = cells(all, rng, count);
    let before = size(dir);
    let mut new = table.clone();
    time("commit", || {
        new = table.apply([Ok(changes.clone())]).unwrap().0;
        table.store().flush().unwrap();
    });
    println!("{:<24} {:>10} B", "disk", size(dir) - before);
    for _ in 0..2 {
        time("diff_counts", || assert_eq!(diff::diff_counts(table, &new).unwrap().updated, changes.ops.len() as u64));
    }
    time("diff", || {
        let rows = diff::diff(table, &new).unwrap().map(|batch| batch.unwrap().kinds.len());
        assert_eq!(rows.sum::<usize>(), changes.ops.len());
    });
    let mut frames = Vec::new();
    time("delta encode", || frames = delta::encode(table, &new).unwrap().map(Result::unwrap).collect());
    println!("{:<24} {:>10} B in {}", "delta", frames.iter().map(bytes::Bytes::len).sum::<usize>(), frames.len());
    time("delta apply", || {
        let made = delta::apply(table, frames.iter().cloned().map(Ok)).unwrap().0;
        assert_eq!(made.to_ref(), new.to_ref());
    });
}

fn merges(table: &Table, all: &RecordBatch, rng: &mut Rng) {
    println!("-- merge of two branches with 10000 edits each");
    let mut branch = || table.apply([Ok(cells(all, rng, 10_000))]).unwrap().0;
    let (ours, theirs) = (branch(), branch());
    table.store().flush().unwrap();
    time("merge", || {
        let merged = merge::merge(Some(table), &ours, &theirs).unwrap();
        table.store().flush().unwrap();
        println!("{:<24} {:>10}", "conflicts", merged.conflicts.len());
    });
}

fn reconciles(table: &Table, all: &RecordBatch, rng: &mut Rng) {
    println!("-- reconciliation of 100 differences");
    let other = table.apply([Ok(cells(all, rng, 100))]).unwrap().0;
    time("reconcile", || {
        let mut session = Session::start(&other, &table.to_ref(), 1).unwrap();
        let (mut trips, mut bytes) = (0, 0);
        while let Some(request) = session.request().unwrap() {
            let reply = serve(table.store(), &request).unwrap();
            (trips, bytes) = (trips + 1, bytes + request.len() + reply.len());
            session.reply(&reply).unwrap();
        }
        let made = other.apply(session.finish().unwrap().into_iter().map(Ok)).unwrap().0;
        assert_eq!(made.to_ref(), table.to_ref());
        println!("{:<24} {bytes:>10} B in {trips} round trips", "reconcile");
    });
}

/// Changes that touch every leaf.
fn bulk(table: &Table, all: &RecordBatch) {
    println!("-- bulk");
    let part = |step: usize| {
        let rows: Vec<u32> = (0..all.num_rows() as u32).step_by(step).collect();
        take_record_batch(all, &UInt32Array::from(rows)).unwrap()
    };
    let (tenth, third) = (part(10), part(3));
    let chunks = |batch: &RecordBatch| {
        let (batch, rows) = (batch.clone(), batch.num_rows());
        (0..rows).step_by(65_536).map(move |at| batch.slice(at, 65_536.min(rows - at)))
    };
    let mut fewer = table.clone();
    time("delete every 10th row", || {
        let deletes =
            chunks(&tenth).map(|rows| Ok(Changes { ops: vec![Op::Delete; rows.num_rows()], ..Changes::upsert(rows) }));
        fewer = table.apply(deletes).unwrap().0;
    });
    time("upsert every 3rd row", || {
        let applied = fewer.apply(chunks(&third).map(|rows| Ok(Changes::upsert(rows)))).unwrap().1;
        println!("{applied:?}");
    });
    time("upsert all, unchanged", || {
        let made = table.apply(chunks(all).map(|rows| Ok(Changes::upsert(rows)))).unwrap().0;
        assert_eq!(made.to_ref(), table.to_ref());
    });
}

fn time(name: &str, work: impl FnOnce()) {
    let clock = SystemClock;
    let (start, cpu) = (clock.monotonic(), cpu());
    work();
    let (wall, cpu) = (clock.monotonic() - start, self::cpu() - cpu);
    println!("{name:<24} {:>10.1} ms {:>10.1} ms cpu", wall.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3);
}

/// What all threads of this process have computed, in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
}

fn size(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    files.map(|file| if file.path().is_dir() { size(&file.path()) } else { file.metadata().unwrap().len() }).sum()
}
