//! Many transactions in a row, given without waiting for each, here and to a node; and what measures that.

use std::fmt::Write as _;
use std::fs::File;

use serde_json::json;
use syncline_base::task;

use crate::support::{Dir, Replica, Run, Server, fed, syncline};

const FREE: &str = "127.0.0.1:0";

/// Transactions of one row each.
fn singles(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut text, id| {
        let _ = writeln!(text, "{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":{id},\"v\":\"{id}\"}}}}");
        text.push_str("{\"op\":\"commit\"}\n");
        text
    })
}

fn table(replica: &Replica) {
    replica.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8"]).ok();
}

fn rows(replica: &Replica) -> usize {
    let text = replica.run(["watch", "--from", "start", "--once"]).ok().stdout;
    text.lines().filter(|line| line.starts_with("{\"op\":\"set\"")).count()
}

/// Transactions before the one that fails are there, nothing of it or behind it; sizes do not matter.
fn many(replica: &Replica) {
    let applied = replica.give(["apply"], &singles(0..3000));
    assert_eq!((&applied["transactions"], &applied["rows"]), (&json!(3000), &json!(3000)));
    assert!(applied["position"].as_str().is_some_and(|position| !position.is_empty()), "{applied}");
    assert_eq!(rows(replica), 3000);
    let bad = format!(
        "{}{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":\"x\"}}}}\n{{\"op\":\"commit\"}}\n{}",
        singles(3000..3100),
        singles(3100..3200)
    );
    let refused = fed(replica.command(["apply"]), &bad).ends(2);
    assert!(refused.stderr.contains("100 transactions before it were applied"), "{}", refused.stderr);
    assert_eq!(rows(replica), 3100);
    // One of several megabytes is one all the same.
    let large = singles(10_000..40_000).replace("{\"op\":\"commit\"}\n", "");
    let applied = replica.give(["apply"], &large);
    assert_eq!((&applied["transactions"], &applied["rows"]), (&json!(1), &json!(30_000)));
    assert_eq!(rows(replica), 33_100);
    // What one transaction wrote, the next one sees.
    let edits = "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":1,\"v\":\"a\"}}\n{\"op\":\"commit\"}\n\
                 {\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":1}}\n{\"op\":\"commit\"}\n\
                 {\"op\":\"delete\",\"table\":\"t\",\"key\":2}\n";
    assert_eq!(replica.give(["apply"], edits)["transactions"], 3);
    assert_eq!(replica.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"]["v"], "a");
    replica.run(["get", "--table", "t", "--key", "2"]).ends(3);
}

#[test]
fn transactions_follow_each_other_here() {
    let dir = Dir::new();
    let replica = dir.replica("here");
    table(&replica);
    many(&replica);
}

#[test]
fn transactions_follow_each_other_to_a_node() {
    let dir = Dir::new();
    let replica = dir.replica("there");
    table(&replica);
    let _server = Server::of_one(&replica, FREE, &[]);
    many(&replica);
}

/// An Arrow stream of a table is written as it is, and one that does not fit is refused as a whole.
fn arrow(dir: &Dir, to: &Replica) {
    let from = dir.replica("from");
    table(&from);
    from.give(["apply"], &singles(0..500).replace("{\"op\":\"commit\"}\n", ""));
    from.run(["commit", "-m", "rows"]).ok();
    let file = dir.text("rows.arrows");
    from.run(["export", "--table", "t", "-o", &file]).ok();
    let apply = |table: &str, more: &[&str]| {
        let mut command = to.command(["apply", "--format", "arrow", "--table", table]);
        command.args(more);
        command.stdin(File::open(&file).expect("a file"));
        Run::of(command)
    };
    let applied = apply("t", &["--json"]).ok().json();
    assert_eq!((&applied["transactions"], &applied["rows"]), (&json!(1), &json!(500)));
    assert_eq!(rows(to), 500);
    assert_eq!(to.json(["get", "--table", "t", "--key", "77"])["rows"][0]["row"], json!({"id": 77, "v": "77"}));
    to.run(["table", "create", "u", "--key", "id:int64", "--column", "v:date32"]).ok();
    let refused = apply("u", &[]).ends(2);
    assert!(refused.stderr.contains("line 1: column `v`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("0 transactions before it were applied"), "{}", refused.stderr);
    assert_eq!(rows(to), 500);
    let command = to.command(["apply", "--format", "arrow", "--table", "t"]);
    assert!(fed(command, "{\"op\":\"set\"}\n").ends(2).stderr.contains("the Arrow stream"));
}

#[test]
fn an_arrow_stream_is_applied_here_and_to_a_node() {
    let dir = Dir::new();
    let replica = dir.replica("here");
    table(&replica);
    arrow(&dir, &replica);
    let dir = Dir::new();
    let replica = dir.replica("there");
    table(&replica);
    let _server = Server::of_one(&replica, FREE, &[]);
    arrow(&dir, &replica);
}

#[test]
fn a_node_that_ends_has_what_it_acknowledged() {
    let dir = Dir::new();
    let replica = dir.replica("there");
    table(&replica);
    let server = Server::of_one(&replica, FREE, &[]);
    let command = replica.command(["apply"]);
    let writer = task::spawn("writer", move || fed(command, &singles(0..200_000))).expect("a thread");
    while rows(&replica) < 100 {}
    server.kill();
    let ended = writer.join().expect("a writer").ends(6);
    let words: Vec<&str> = ended.stderr.split_whitespace().collect();
    let at = words.windows(2).position(|two| two == ["transactions", "before"]).expect("how many were applied");
    let told: usize = words[at - 1].replace(',', "").parse().expect("a number");
    let there = rows(&replica);
    assert!(told > 0 && told <= there && there < 200_000, "told {told}, there {there}");
}

#[test]
fn a_deployment_is_measured() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    let server = Server::of_one(&hub, FREE, &[]);
    let node = Server::of_one(&edge, FREE, &["--upstream", &format!("{}/hub", server.url)]);
    let (at, reader) = (format!("{}/hub", server.url), format!("{}/edge", node.url));
    let sizes = ["--seconds", "0.2", "--writers", "4", "--rows", "50", "--rate", "500", "--spokes", "3"];
    let arguments = ["bench", "live", "--on", &at, "--reader", &reader].into_iter().chain(sizes);
    let report = syncline(arguments.chain(["--json"])).ok().json();
    let steps = report["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 5, "{report:#}");
    for step in steps {
        assert!(step["transactions"].as_u64() > Some(0) && step["latency_us"]["p50"].as_u64() > Some(0), "{step:#}");
    }
    assert_eq!((&steps[3]["transactions"], &steps[4]["transactions"]), (&json!(100), &json!(300)));
    // Its rows are gone again.
    assert_eq!(rows(&hub), 0);
}

#[test]
fn being_away_is_measured() {
    let dir = Dir::new();
    let scratch = dir.text("scratch");
    let sizes =
        ["--missed", "300", "--held", "2000", "--changed", "100", "--hubs", "3", "--conflicts", "50", "--idle", "4"];
    let steps = ["bench", "live", "--only", "catch-up,rejoin,heal,idle", "--json", "--scratch"];
    let arguments = steps.into_iter().chain([&*scratch]).chain(sizes);
    let report = syncline(arguments).ok().json();
    let steps = report["steps"].as_array().expect("steps");
    let of =
        |name: &str| steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"));
    for (name, transactions, rows) in [
        ("catch up with 300 transactions", 300, 300),
        ("first copy of 2,000 rows", 2, 2000),
        ("rejoin with 2,000 rows, 100 changed", 100, 100),
        ("3 hubs heal, 50 rows in conflict", 30, 150),
    ] {
        let step = of(name);
        assert_eq!((&step["transactions"], &step["rows"]), (&json!(transactions), &json!(rows)), "{step:#}");
        assert!(step["seconds"].as_f64() > Some(0.0), "{step:#}");
    }
    for name in ["a hub alone", "a hub, 4 connected"] {
        assert!(of(name)["memory_bytes"].as_u64() > Some(1 << 20), "{report:#}");
    }
    // Nothing is left behind.
    assert_eq!(std::fs::read_dir(&scratch).expect("the directory").count(), 0);
    // On nodes of others there is nobody to send away.
    let refused = syncline(["bench", "live", "--on", "http://127.0.0.1:1/none", "--only", "heal"]).ends(2);
    assert!(refused.stderr.contains("leave out --on"), "{}", refused.stderr);
}
