//! Memory: commands on tables of long rows stay below a limit that does not grow with the table. The size of the input, the length of
//! the rows and the limit are such that whoever holds some of the leaves too many goes over it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, binary};

/// No command may take more. What is written here takes up to 260 MiB; with leaves bounded by number an upsert took 390 MiB.
const LIMIT: u64 = 330 << 20;

/// A CSV of rows of prose, keys not in order.
fn prose(path: &Path, rows: u64, bytes: usize) {
    let mut rng = Rng::from_seed(11);
    let pool: String =
        (0..200_000).map(|_| ["ab", "cde ", "f", "gh ", "ijk", "l m", "nop", " q"][rng.below(8) as usize]).collect();
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    out.write_all(b"id,text\n").expect("room for it");
    for row in 0..rows {
        write!(out, "{},", row * 7919 % rows).expect("room for it");
        for _ in 0..bytes / 100 {
            let at = rng.below(pool.len() as u64 - 100) as usize;
            out.write_all(&pool.as_bytes()[at..at + 100]).expect("room for it");
        }
        out.write_all(b".\n").expect("room for it");
    }
    out.flush().expect("room for it");
}

/// Rows of a struct with a list of many numbers in it, as NDJSON.
fn structs(path: &Path, rows: u64, numbers: usize) {
    let mut rng = Rng::from_seed(12);
    let pool: Vec<u64> = (0..2 * numbers).map(|_| rng.below(10)).collect();
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    for row in 0..rows {
        let at = rng.below((pool.len() - numbers) as u64) as usize;
        write!(out, "{{\"id\":{},\"s\":{{\"name\":\"row {row}\",\"v\":[{row}", row * 7919 % rows).expect("room for it");
        pool[at..at + numbers].iter().for_each(|number| write!(out, ",{number}").expect("room for it"));
        out.write_all(b"]}}\n").expect("room for it");
    }
    out.flush().expect("room for it");
}

/// What [`structs`] writes.
const OF_STRUCTS: &str = r#"[{"name": "id", "type": "int64", "nullable": false}, {"name": "s", "type": {"struct": [
    {"name": "name", "ty": "utf8", "nullable": true},
    {"name": "v", "ty": {"list": {"name": "item", "ty": "float32", "nullable": true}}, "nullable": true}]}}]"#;

/// Runs a command that has to succeed. The most memory that it had, as far as one can see who looks all the time.
#[track_caller]
fn peak(command: &mut Command) -> u64 {
    let line = format!("{command:?}");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = high.unwrap_or(peak);
        if let Some(code) = child.try_wait().expect("a child of ours") {
            break code;
        }
        SystemClock.sleep(Duration::from_millis(2));
    };
    assert!(code.success(), "{line}: {code}");
    assert!(peak > 0, "{line}: its memory was not seen");
    peak << 10
}

#[track_caller]
fn bounded(what: &str, command: &mut Command) {
    let peak = peak(command);
    assert!(peak < LIMIT, "{what} took {} MiB, more than {} MiB", peak >> 20, LIMIT >> 20);
}

/// Imports, exports, changes and clones a table: `write` gives its file some number of rows, `schema` says what they are.
fn every_job(name: &str, rows: u64, write: impl Fn(&Path, u64), schema: Option<&str>) {
    let dir = Dir::new();
    let replica = dir.replica("a");
    write(&dir.path(name), rows);
    let source = dir.text(name);
    let schema = schema.map(|schema| dir.write("schema.json", schema));
    let import = |replica: &Replica, file: &str| {
        let mut command = replica.command(["import", file, "--table", "t", "--key", "id", "-m", "first"]);
        command.args(schema.iter().flat_map(|schema| ["--schema", schema]));
        command
    };
    bounded("import", &mut import(&replica, &source));
    for format in ["csv", "ndjson", "arrow", "parquet"] {
        let file = dir.text(&format!("out.{format}"));
        bounded(format, &mut replica.command(["export", "--table", "t", "-o", file.as_str()]));
        let copy = dir.replica(format);
        bounded(format, &mut import(&copy, &file));
        assert_eq!(copy.root(), replica.root(), "{format}");
    }
    write(&dir.path(name), rows - 1);
    bounded("import of changes", &mut replica.command(["import", source.as_str(), "--table", "t"]));
    bounded("commit", &mut replica.command(["commit", "-m", "second"]));
    bounded("diff", &mut replica.command(["diff", "main~1", "main"]));
    let (from, to) = (dir.text("a"), dir.text("b"));
    let mut clone = binary();
    bounded("clone", clone.args(["clone", from.as_str(), to.as_str()]));
    let copy = Replica(dir.path("b"));
    assert_eq!(copy.root(), replica.root());
    bounded("verify", &mut copy.command(["verify", "--deep"]));
}

#[test]
fn rows_of_many_kilobytes_take_bounded_memory() {
    every_job("rows.csv", 8_000, |path, rows| prose(path, rows, 10_000), None);
}

#[test]
fn new_rows_of_many_columns_take_bounded_memory() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let names: String = (0..1_000).map(|n| format!(",c{n}")).collect();
    let first = dir.write("first.csv", &format!("id{names}\n-1{}\n", ",1".repeat(1_000)));
    replica.json(["import", first.as_str(), "--table", "t", "--key", "id", "-m", "first"]);
    // All of them are new rows of the last leaf: with groups of leaves bounded by number they took 490 MiB.
    let ids = (0..20_000).fold("id\n".to_owned(), |text, id| text + &format!("{id}\n"));
    let more = dir.write("more.csv", &ids);
    let append = ["import", more.as_str(), "--table", "t", "--mode", "append", "-m", "more"];
    bounded("append", &mut replica.command(append));
}

#[test]
fn rows_of_a_megabyte_take_bounded_memory() {
    every_job("rows.csv", 60, |path, rows| prose(path, rows, 1_000_000), None);
}

#[test]
fn rows_of_structs_with_long_lists_take_bounded_memory() {
    every_job("rows.ndjson", 300, |path, rows| structs(path, rows, 100_000), Some(OF_STRUCTS));
}
