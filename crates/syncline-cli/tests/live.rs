//! Live tables from outside: rows that are written on several nodes, which are cut off, killed and copied.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server, binary, fed};

const FREE: &str = "127.0.0.1:0";

fn put(replica: &Replica, rows: &str) -> Value {
    replica.give(["put", "--table", "t"], rows)
}

fn get(replica: &Replica, key: &str) -> Value {
    replica.json(["get", "--table", "t", "--key", key])["rows"][0]["row"].clone()
}

fn status(replica: &Replica) -> Value {
    replica.json(["status"])["live"].clone()
}

/// Waits until all say that they have the same, and nothing waits; gives the root.
#[track_caller]
fn settled(replicas: &[&Replica]) -> String {
    let begun = SystemClock.monotonic();
    loop {
        let all: Vec<Value> = replicas.iter().map(|replica| status(replica)).collect();
        let same = all.iter().all(|one| one["root"] == all[0]["root"] && one["unsent"] == 0);
        if same {
            return all[0]["root"].as_str().expect("a root").to_owned();
        }
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "they do not come to rest: {all:#?}");
        SystemClock.sleep(Duration::from_millis(50));
    }
}

fn address(server: &Server) -> String {
    server.url.trim_start_matches("http://").to_owned()
}

fn name(replica: &Replica) -> String {
    replica.0.file_name().expect("a name").to_string_lossy().into_owned()
}

fn url(server: &Server, replica: &Replica) -> String {
    format!("{}/{}", server.url, name(replica))
}

#[test]
fn rows_are_put_shown_followed_and_deleted() {
    let dir = Dir::new();
    let one = dir.replica("one");
    let made = one.give(
        ["put", "--table", "t", "--key", "id"],
        "{\"id\":1,\"name\":\"ann\",\"age\":30}\n{\"id\":2,\"name\":\"bob\"}\n",
    );
    assert_eq!((&made["created"], &made["rows"], &made["taken"]), (&json!(true), &json!(2), &json!(true)));
    // A column that is left out stays, null empties it.
    put(&one, "{\"id\":1,\"age\":31}");
    assert_eq!(get(&one, "1"), json!({ "id": 1, "name": "ann", "age": 31 }));
    put(&one, "{\"id\":1,\"name\":null}");
    assert_eq!(get(&one, "1"), json!({ "id": 1, "name": null, "age": 31 }));
    let before = made["position"].as_str().expect("a position");
    let deleted = one.give(["delete", "--table", "t"], "2\n");
    one.run(["get", "--table", "t", "--key", "2"]).ends(3);
    let lines = one.run(["watch", "--from", before, "--once"]).ok().stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ops: Vec<&str> = lines.iter().map(|line| line["op"].as_str().expect("a word")).collect();
    assert_eq!(ops, ["set", "commit", "set", "commit", "delete", "commit"]);
    let reached = json!(deleted["position"].as_str().expect("a position").trim_start_matches("after:"));
    assert_eq!((&lines[4]["key"], &lines[5]["position"]), (&json!({ "id": 2 }), &reached));
    // Refused whole, with the line.
    let refused = fed(one.command(["put", "--table", "t"]), "{\"id\":5}\n{\"id\":\"x\"}\n").ends(2);
    assert!(refused.stderr.contains("line 2"), "{}", refused.stderr);
    one.run(["get", "--table", "t", "--key", "5"]).ends(3);
    let missing = fed(one.command(["put", "--table", "nothing"]), "{\"id\":5}\n").ends(3);
    assert!(missing.stderr.contains("table create"), "{}", missing.stderr);
}

#[test]
fn changes_that_are_followed_can_be_applied_elsewhere() {
    let dir = Dir::new();
    let (from, to) = (dir.replica("from"), dir.replica("to"));
    from.give(["put", "--table", "t", "--key", "id"], "{\"id\":1,\"a\":1}\n{\"id\":2,\"a\":1}\n");
    to.run(["table", "create", "t", "--key", "id:int64", "--column", "a:int64"]).ok();
    put(&from, "{\"id\":2,\"a\":2}");
    from.give(["delete", "--table", "t"], "1");
    let lines = from.run(["watch", "--from", "0", "--once"]).ok().stdout;
    let applied = to.give(["apply"], &lines);
    assert_eq!(applied["transactions"], 3);
    to.run(["get", "--table", "t", "--key", "1"]).ends(3);
    assert_eq!(get(&to, "2"), json!({ "id": 2, "a": 2 }));
    // Of one transaction that changes a row twice, the last counts; what is wrong undoes it whole.
    let twice = "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":7,\"a\":1}}\n{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":7,\"a\":2}}\n\
                 {\"op\":\"delete\",\"table\":\"t\",\"key\":2}\n";
    to.give(["apply"], twice);
    assert_eq!(get(&to, "7")["a"], 2);
    to.run(["get", "--table", "t", "--key", "2"]).ends(3);
    let bad =
        format!("{}{}", twice.replace('7', "8"), "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":9,\"a\":\"x\"}}\n");
    fed(to.command(["apply"]), &bad).ends(2);
    to.run(["get", "--table", "t", "--key", "8"]).ends(3);
}

#[test]
fn a_spoke_works_alone_and_comes_back() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    put(&hub, "{\"id\":1,\"v\":\"first\"}");
    let server = Server::of_one(&hub, FREE, &[]);
    let at = address(&server);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url(&server, &hub)]);
    settled(&[&hub, &edge]);
    assert_eq!(get(&edge, "1")["v"], "first");
    // What somebody wrote is read elsewhere by the position that the write gave.
    let written = put(&edge, "{\"id\":2,\"v\":\"edge\"}");
    let position = written["position"].as_str().expect("a position");
    let read = hub.json(["get", "--table", "t", "--key", "2", "--after", position]);
    assert_eq!(read["rows"][0]["row"]["v"], "edge");
    server.kill();
    assert_eq!(put(&edge, "{\"id\":1,\"v\":\"from the edge\"}")["taken"], false);
    put(&hub, "{\"id\":1,\"v\":\"from the hub\"}");
    put(&edge, "{\"id\":3,\"v\":\"alone\"}");
    assert_eq!(status(&edge)["unsent"], 2);
    // Restarted while it was alone, as well.
    drop(node);
    let server = Server::of_one(&hub, &at, &[]);
    let _node = Server::of_one(&edge, FREE, &["--upstream", &url(&server, &hub)]);
    settled(&[&hub, &edge]);
    assert_eq!(get(&hub, "3")["v"], "alone");
    let seen: Vec<Value> = [&hub, &edge]
        .map(|replica| replica.json(["get", "--table", "t", "--key", "1", "--siblings"])["rows"][0].clone())
        .into();
    assert_eq!(seen[0], seen[1]);
    assert_eq!((&seen[0]["conflict"], seen[0]["siblings"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    // Whoever has seen both settles it, wherever.
    put(&edge, "{\"id\":1,\"v\":\"both\"}");
    settled(&[&hub, &edge]);
    assert_eq!((get(&hub, "1")["v"].clone(), status(&hub)["conflicts"].clone()), (json!("both"), json!(0)));
}

#[test]
fn a_transaction_of_tens_of_megabytes_comes_to_others_and_from_them() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    let server = Server::of_one(&hub, FREE, &[]);
    let _node = Server::of_one(&edge, FREE, &["--upstream", &url(&server, &hub)]);
    settled(&[&hub, &edge]);
    let pad = "x".repeat(1_000);
    let rows = |first: u64| -> String {
        (first..first + 24_000).map(|id| format!("{{\"id\":{id},\"v\":\"{pad}\"}}\n")).collect()
    };
    // They are connected, so each goes as it was written, not as part of a state.
    put(&hub, &rows(0));
    settled(&[&hub, &edge]);
    put(&edge, &rows(100_000));
    settled(&[&hub, &edge]);
    for replica in [&hub, &edge] {
        assert_eq!(status(replica)["tables"], json!([["t", 48_000]]));
    }
}

#[test]
fn conflicts_are_listed_and_decided() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.run([
        "table",
        "create",
        "t",
        "--key",
        "id:int64",
        "--column",
        "v:int64",
        "--writers",
        "many",
        "--resolver",
        "max:v",
    ])
    .ok();
    put(&one, "{\"id\":1,\"v\":1}");
    let read = one.json(["get", "--table", "t", "--key", "1"])["position"].as_str().expect("a position").to_owned();
    // Two who have read the same.
    for value in [9, 5] {
        one.give(["put", "--table", "t", "--read", &read], &format!("{{\"id\":1,\"v\":{value}}}"));
    }
    assert_eq!(get(&one, "1")["v"], 9, "the largest");
    let listed = one.json(["conflicts", "list"]);
    assert_eq!((&listed["open"], &listed["conflicts"][0]["key"]), (&json!(1), &json!("1")));
    let shown = one.json(["conflicts", "show", "--table", "t", "--key", "1"]);
    let siblings = shown["conflicts"][0]["siblings"].as_array().expect("siblings").clone();
    let smaller = siblings.iter().find(|sibling| sibling["row"]["v"] == 5).expect("it is kept");
    // Not by who has not seen them all.
    let stale = one.run(["conflicts", "resolve", "--table", "t", "--key", "1", "--delete", "--read", &read]).ends(4);
    assert!(stale.stderr.contains("position"), "{}", stale.stderr);
    let take = smaller["transaction"].as_str().expect("a transaction");
    one.run(["conflicts", "resolve", "--table", "t", "--key", "1", "--take", take]).ok();
    assert_eq!(get(&one, "1")["v"], 5);
    assert_eq!(one.json(["conflicts", "list"])["open"], 0);
    one.run(["table", "create", "u", "--key", "id", "--resolver", "columns"]).ends(2);
}

#[test]
fn hubs_beside_each_other_come_to_the_same() {
    let dir = Dir::new();
    let hubs = ["a", "b", "c"].map(|name| dir.replica(name));
    let first = Server::of_one(&hubs[0], FREE, &[]);
    let second = Server::of_one(&hubs[1], FREE, &["--peer", &url(&first, &hubs[0])]);
    let _third = Server::of_one(&hubs[2], FREE, &["--peer", &url(&second, &hubs[1])]);
    hubs[0].run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    settled(&[&hubs[0], &hubs[1], &hubs[2]]);
    for (nth, hub) in hubs.iter().enumerate() {
        assert_eq!(put(hub, &format!("{{\"id\":{nth},\"v\":\"{nth}\"}}\n{{\"id\":9,\"v\":\"{nth}\"}}"))["taken"], true);
    }
    settled(&[&hubs[0], &hubs[1], &hubs[2]]);
    for hub in &hubs {
        assert_eq!(hub.json(["get", "--table", "t"])["rows"].as_array().map(Vec::len), Some(4));
    }
    assert_eq!(get(&hubs[0], "9"), get(&hubs[2], "9"));
}

#[test]
fn what_was_acknowledged_survives_kills_of_both_ends() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:int64", "--writers", "many"]).ok();
    let server = Server::of_one(&hub, FREE, &[]);
    let (at, above) = (address(&server), url(&server, &hub));
    let node = Server::of_one(&edge, FREE, &["--upstream", &above]);
    settled(&[&hub, &edge]);
    let mut rng = Rng::from_seed(7);
    let (mut server, mut node) = (Some(server), Some(node));
    let mut acknowledged = Vec::new();
    for round in 0..12_i64 {
        for n in 0..4 {
            let (id, replica) = (round * 10 + n, if n % 2 == 0 { &hub } else { &edge });
            let row = format!("{{\"id\":{id},\"v\":{round}}}");
            // One that is killed at work may not answer; nothing is said of that one.
            let mut command = replica.command(["put", "--table", "t", "--json"]);
            command.env("SYNCLINE_LOG", "off");
            if fed(command, &row).code == Some(0) {
                acknowledged.push(id);
            }
            if n == 1 + i64::try_from(rng.below(2)).expect("a digit") {
                if rng.below(2) == 0 {
                    server.take().into_iter().for_each(Server::kill);
                    server = Some(Server::of_one(&hub, &at, &[]));
                } else {
                    node.take().into_iter().for_each(Server::kill);
                    node = Some(Server::of_one(&edge, FREE, &["--upstream", &above]));
                }
            }
        }
    }
    settled(&[&hub, &edge]);
    assert!(acknowledged.len() >= 40, "{}", acknowledged.len());
    for replica in [&hub, &edge] {
        let rows = replica.json(["get", "--table", "t"])["rows"].clone();
        let there: Vec<i64> =
            rows.as_array().expect("rows").iter().filter_map(|row| row["row"]["id"].as_i64()).collect();
        let lost: Vec<&i64> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{lost:?} of {acknowledged:?}");
    }
    drop((server, node));
    // From the logs alone.
    assert_eq!(status(&hub)["root"], status(&edge)["root"]);
}

#[test]
fn a_copied_spoke_is_another_one_and_nothing_is_lost() {
    let dir = Dir::new();
    let (hub, edge, twin) = (dir.replica("hub"), dir.replica("edge"), Replica(dir.path("twin")));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    let server = Server::of_one(&hub, FREE, &[]);
    let above = url(&server, &hub);
    let node = Server::of_one(&edge, FREE, &["--upstream", &above]);
    settled(&[&hub, &edge]);
    drop(node);
    put(&edge, "{\"id\":1,\"v\":\"before\"}");
    copy(&edge.0, &twin.0);
    put(&edge, "{\"id\":2,\"v\":\"edge\"}");
    put(&twin, "{\"id\":3,\"v\":\"twin\"}");
    assert_ne!(status(&edge)["name"], status(&twin)["name"]);
    let _nodes = [&edge, &twin].map(|replica| Server::of_one(replica, FREE, &["--upstream", &above]));
    settled(&[&hub, &edge, &twin]);
    for (key, value) in [("1", "before"), ("2", "edge"), ("3", "twin")] {
        assert_eq!(get(&hub, key)["v"], value);
    }
}

#[test]
fn live_tables_become_versions_that_are_the_same_everywhere() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:decimal(10,2)", "--writers", "many"]).ok();
    let server = Server::of_one(&hub, FREE, &[]);
    let node = Server::of_one(&edge, FREE, &["--upstream", &url(&server, &hub)]);
    settled(&[&hub, &edge]);
    put(&hub, "{\"id\":1,\"v\":\"1.50\"}");
    put(&edge, "{\"id\":2,\"v\":2.5}");
    settled(&[&hub, &edge]);
    // While a node has them, and without one.
    assert_eq!(hub.json(["commit", "-m", "first"])["committed"], true);
    drop(node);
    assert_eq!(edge.json(["commit", "-m", "the same"])["committed"], true);
    assert_eq!(hub.root(), edge.root());
    assert_eq!(hub.table(), "id,v\n1,1.50\n2,2.50\n");
    assert_eq!(hub.json(["commit", "-m", "nothing new"])["committed"], false);
    hub.give(["delete", "--table", "t"], "1");
    hub.run(["commit", "-m", "one less", "--allow-mass-delete"]).ok();
    assert_eq!(hub.table(), "id,v\n2,2.50\n");
    // It is no table that is imported into.
    drop(server);
    let file = dir.write("more.csv", "id,v\n7,1.00\n");
    hub.run(["import", &file, "--table", "t", "--key", "id"]).ends(4);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn a_table_with_one_writer_is_written_there_alone() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.give(["put", "--table", "t", "--key", "id"], "{\"id\":1,\"v\":1}");
    let server = Server::of_one(&hub, FREE, &[]);
    let above = url(&server, &hub);
    let _node = Server::of_one(&edge, FREE, &["--upstream", &above]);
    settled(&[&hub, &edge]);
    let refused = fed(edge.command(["put", "--table", "t"]), "{\"id\":1,\"v\":2}").ends(4);
    assert!(refused.stderr.contains("--writers many"), "{}", refused.stderr);
    let mut through = binary();
    through.args(["--on", &above, "put", "--table", "t"]);
    fed(through, "{\"id\":1,\"v\":2}").ok();
    settled(&[&hub, &edge]);
    assert_eq!(get(&edge, "1")["v"], 2);
}
