//! Damaged rows of live tables, from outside.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server};

const FREE: &str = "127.0.0.1:0";
const ROWS: usize = 20_000;

fn live(replica: &Replica) -> Value {
    replica.run(["status", "--json"]).json()["live"].clone()
}

#[track_caller]
fn comes(what: impl Fn() -> bool) {
    let begun = SystemClock.monotonic();
    while !what() {
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "it does not come");
        SystemClock.sleep(Duration::from_millis(100));
    }
}

fn runs(replica: &Replica) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(replica.0.join(".syncline/live/rows")).expect("a directory");
    dir.map(|entry| entry.expect("an entry").path()).collect()
}

/// So many rows that they go to the disk when the replica is closed.
fn fill(replica: &Replica) {
    let mut rows = String::new();
    let pad = "x".repeat(1_000);
    for id in 0..ROWS {
        let _ = writeln!(rows, "{{\"id\":{id},\"v\":\"{id} {pad}\"}}");
    }
    replica.give(["put", "--table", "t"], &rows);
}

fn flip(path: &PathBuf) {
    let mut bytes = std::fs::read(path).expect("a run");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).expect("a file");
}

#[test]
fn a_damaged_spoke_is_mended_from_its_hub_by_itself_and_says_so_until_then() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    let made = ["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"];
    hub.run(made).ok();
    fill(&hub);
    let server = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", server.url);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| live(&edge)["transactions"] == live(&hub)["transactions"]);
    node.kill();
    edge.give(["put", "--table", "t"], "{\"id\":-1,\"v\":\"waits\"}");
    for run in runs(&edge) {
        flip(&run);
    }
    // Alone, it says what it cannot, and shows what it can.
    let said = edge.run(["status"]).ends(7);
    assert!(said.stdout.contains("DAMAGED since"), "{}", said.stdout);
    assert_eq!(edge.json(["get", "--table", "t", "--key", "-1"])["rows"][0]["row"]["v"], "waits");
    let refused = edge.run(["get", "--table", "t", "--limit", "100000"]).ends(7);
    assert!(refused.stderr.contains("damaged") || refused.stderr.contains("checksum"), "{}", refused.stderr);
    let refused = crate::support::fed(edge.command(["put", "--table", "t"]), "{\"id\":-2,\"v\":\"\"}").ends(7);
    assert!(refused.stderr.contains("taken anew"), "{}", refused.stderr);
    // With its hub it is as it should be again, and what waited is there.
    let _node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| live(&edge)["renewal"].is_null() && live(&edge)["root"] == live(&hub)["root"]);
    let count = edge.json(["get", "--table", "t", "--limit", "100000"])["rows"].as_array().map(Vec::len);
    assert_eq!(count, Some(ROWS + 1));
    assert_eq!(hub.json(["get", "--table", "t", "--key", "-1"])["rows"][0]["row"]["v"], "waits");
    edge.run(["status", "--prove"]).ok();
}

#[test]
fn rows_are_taken_anew_when_somebody_says_so() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.give(["put", "--table", "t", "--key", "id"], "{\"id\":1,\"v\":\"a\"}\n{\"id\":2,\"v\":\"b\"}\n");
    let server = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", server.url);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| live(&edge)["root"] == live(&hub)["root"]);
    let done = edge.json(["repair", "--live"]);
    assert!(done["renewal"].is_null() && done["rows"].as_u64() >= Some(2), "{done:#}");
    assert_eq!(live(&edge)["root"], live(&hub)["root"]);
    node.kill();
    // Without a node there is nobody to take them from: it is remembered.
    let said = edge.run(["repair", "--live", "--from", &url]).ends(7);
    assert!(said.stdout.contains("syncline up"), "{}", said.stdout);
    edge.run(["get", "--table", "t", "--key", "1"]).ends(7);
    let _node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| edge.run(["get", "--table", "t", "--key", "1"]).code == Some(0));
    assert_eq!(edge.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"], json!({ "id": 1, "v": "a" }));
    let settled = edge.json(["repair", "--live", "--settle"]);
    assert_eq!(settled["settled"], 0);
    edge.run(["repair", "--live", "--settle", "--from", &url]).ends(2);
}

#[test]
fn a_spoke_with_a_damaged_log_is_begun_anew_with_what_waits() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    hub.give(["put", "--table", "t"], "{\"id\":1,\"v\":\"a\"}\n");
    let server = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", server.url);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| live(&edge)["root"] == live(&hub)["root"]);
    let busy = edge.run(["repair", "--live", "--begin-anew"]);
    assert!(busy.code != Some(0), "a node has it open: {}", busy.stdout);
    node.kill();
    for id in 2..12 {
        edge.give(["put", "--table", "t"], &format!("{{\"id\":{id},\"v\":\"waits\"}}"));
    }
    // A byte of what came before, and was durable long ago.
    let log = std::fs::read_dir(edge.0.join(".syncline/live/log")).expect("a directory");
    let logs: Vec<PathBuf> = log.map(|entry| entry.expect("an entry").path()).collect();
    let log = logs.iter().find(|path| path.extension().is_some_and(|end| end == "log")).expect("a segment");
    let mut bytes = std::fs::read(log).expect("a segment");
    bytes[200] ^= 1;
    std::fs::write(log, bytes).expect("a file");
    let refused = edge.run(["get", "--table", "t", "--key", "5"]).ends(7);
    assert!(refused.stderr.contains("--begin-anew"), "{}", refused.stderr);
    let begun = edge.json(["repair", "--live", "--begin-anew"]);
    assert!(begun["kept"].as_u64() >= Some(10) && begun["gaps"].as_u64() >= Some(1), "{begun:#}");
    assert!(PathBuf::from(begun["moved_to"].as_str().expect("a path")).join("log").is_dir());
    let _node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| {
        let (hub, edge) = (live(&hub), live(&edge));
        edge["root"] == hub["root"] && edge["unsent"] == 0
    });
    for id in 2..12 {
        let row = hub.json(["get", "--table", "t", "--key", &id.to_string(), "--siblings"])["rows"][0].clone();
        assert_eq!((&row["row"]["v"], &row["conflict"]), (&json!("waits"), &json!(false)), "{row:#}");
    }
    // A hub has what nobody else need have.
    drop(server);
    let refused = hub.run(["repair", "--live", "--begin-anew"]).ends(2);
    assert!(refused.stderr.contains("backup"), "{}", refused.stderr);
}

#[test]
fn who_is_alone_does_not_hide_its_only_copy_and_what_was_said_can_be_taken_back() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.give(["put", "--table", "t", "--key", "id"], "{\"id\":1,\"v\":\"a\"}\n");
    let refused = hub.run(["repair", "--live"]).ends(4);
    assert!(refused.stderr.contains("no other replica is connected or known"), "{}", refused.stderr);
    assert_eq!(hub.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"]["v"], "a");
    let server = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", server.url);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(|| live(&edge)["root"] == live(&hub)["root"]);
    node.kill();
    drop(server);
    // Nobody is there to bring others, and those that are here were right.
    edge.run(["repair", "--live"]).ends(7);
    edge.run(["get", "--table", "t", "--key", "1"]).ends(7);
    edge.run(["repair", "--live", "--settle"]).ok();
    assert_eq!(edge.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"]["v"], "a");
    assert!(live(&edge)["renewal"].is_null());
}

#[test]
fn a_log_that_is_damaged_is_an_alarm() {
    let dir = Dir::new();
    let hub = dir.replica("hub");
    for id in 0..20 {
        hub.give(["put", "--table", "t", "--key", "id"], &format!("{{\"id\":{id},\"v\":\"a\"}}"));
    }
    let log = std::fs::read_dir(hub.0.join(".syncline/live/log")).expect("a directory");
    let log =
        log.map(|entry| entry.expect("an entry").path()).find(|path| path.extension().is_some_and(|is| is == "log"));
    let path = log.expect("a segment");
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).expect("a file");
    let said = hub.run(["status"]).ends(7);
    assert!(said.stdout.contains("damaged"), "{}", said.stdout);
    hub.run(["status", "--json"]).ends(7);
    hub.run(["conflicts"]).ends(7);
}

#[test]
fn of_a_snapshot_that_was_brought_back_somebody_has_to_say_so() {
    let dir = Dir::new();
    let hub = dir.replica("hub");
    hub.give(["put", "--table", "t", "--key", "id"], "{\"id\":1,\"v\":\"a\"}\n");
    let name = |replica: &Replica| {
        let position = live(replica)["position"].as_str().expect("a position").to_owned();
        position.split('+').map(|part| part.split('@').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let before = name(&hub);
    let node = Server::of_one(&hub, FREE, &[]);
    hub.run(["repair", "--live", "--restored"]).ends(6);
    node.kill();
    assert_eq!(hub.json(["repair", "--live", "--restored"])["restored"], true);
    hub.give(["put", "--table", "t"], "{\"id\":2,\"v\":\"b\"}\n");
    let after = name(&hub);
    assert_eq!((before.len(), after.len()), (1, 2), "it writes under a new name: {after:?}");
    dir.replica("empty").run(["repair", "--live", "--restored"]).ends(3);
}
