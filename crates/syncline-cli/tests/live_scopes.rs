//! Spokes that hold a part of a dataset, from outside.

use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server, fed};

const FREE: &str = "127.0.0.1:0";

fn put(replica: &Replica, region: &str, id: u64, name: &str) -> Value {
    let row = json!({ "region": region, "id": id, "name": name, "city": "x" });
    replica.give(["put", "--table", "t"], &row.to_string())
}

/// What a replica has of the table: region, id and name.
fn rows(replica: &Replica) -> Vec<String> {
    let run = replica.run(["get", "--table", "t", "--json"]);
    // The table itself has not come yet.
    if run.code != Some(0) {
        return Vec::new();
    }
    let all = run.json();
    let text = |row: &Value| {
        format!("{}{}{}", row["region"].as_str().unwrap_or("-"), row["id"], row["name"].as_str().unwrap_or("-"))
    };
    all["rows"].as_array().expect("rows").iter().map(|row| text(&row["row"])).collect()
}

#[track_caller]
fn comes(replica: &Replica, expected: &[&str]) {
    let begun = SystemClock.monotonic();
    while rows(replica) != expected {
        let waited = SystemClock.monotonic() - begun;
        assert!(waited < Duration::from_secs(60), "{:?} and not {expected:?}", rows(replica));
        SystemClock.sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn unsent(replica: &Replica) -> u64 {
    replica.json(["status"])["live"]["unsent"].as_u64().expect("a number")
}

fn hub(dir: &Dir) -> Replica {
    let hub = dir.replica("hub");
    let made = ["table", "create", "t", "--key", "region,id:int64", "--column", "name:utf8", "--column", "city:utf8"];
    hub.run([&made[..], &["--writers", "many"]].concat()).ok();
    for (region, id) in [("eu", 1), ("eu", 2), ("us", 1), ("asia", 1)] {
        put(&hub, region, id, "a");
    }
    hub
}

fn scope(replica: &Replica, condition: &str) -> Value {
    replica.json(["scope", "set", "part", "--table", "t", "--where", condition])
}

#[test]
fn scopes_are_made_listed_and_removed() {
    let dir = Dir::new();
    let hub = hub(&dir);
    let made = scope(&hub, "region = \"eu\" AND id < 1000");
    assert_eq!(made["scopes"][0]["tables"][0]["where"], "region = \"eu\" AND id < 1000", "{made:#}");
    hub.run(["scope", "set", "part", "--add", "--table", "m_*", "--path", "models/**"]).ok();
    let shown = hub.json(["scope", "show", "part"])["scopes"][0].clone();
    assert_eq!((shown["tables"].as_array().map(Vec::len), &shown["paths"]), (Some(2), &json!(["models/**"])));
    assert_ne!(shown["version"], made["scopes"][0]["version"]);
    assert_eq!(hub.json(["scope", "ls"])["scopes"][0]["scope"], "part");
    let refused = hub.run(["scope", "set", "x", "--table", "t", "--where", "name = 'a'"]).ends(2);
    assert!(refused.stderr.contains("not a column of the key, which is region, id"), "{}", refused.stderr);
    hub.run(["scope", "set", "x"]).ends(2);
    hub.run(["scope", "rm", "part"]).ok();
    hub.run(["scope", "show", "part"]).ends(3);
}

#[test]
fn a_spoke_holds_its_scope_through_kills_and_changes_of_it() {
    let dir = Dir::new();
    let (hub, edge, full) = (hub(&dir), dir.replica("edge"), dir.replica("full"));
    scope(&hub, "region = 'eu'");
    let above = Server::of_one(&hub, FREE, &[]);
    let at = above.url.trim_start_matches("http://").to_owned();
    let url = format!("{}/hub", above.url);
    let below = Server::of_one(&edge, FREE, &["--upstream", &url, "--scope", "part"]);
    let _beside = Server::of_one(&full, FREE, &["--upstream", &url]);
    comes(&edge, &["eu1a", "eu2a"]);
    comes(&full, &["asia1a", "eu1a", "eu2a", "us1a"]);
    // In its scope it writes as any spoke does; outside of it not at all.
    put(&edge, "eu", 3, "edge");
    comes(&hub, &["asia1a", "eu1a", "eu2a", "eu3edge", "us1a"]);
    let outside = json!({ "region": "us", "id": 9, "name": "no" }).to_string();
    let refused = fed(edge.command(["put", "--table", "t"]), &outside).ends(2);
    assert!(refused.stderr.contains("us,9") && refused.stderr.contains("\"part\""), "{}", refused.stderr);
    // What it holds is proved to be the hub's.
    let proved = edge.json(["status", "--prove"])["live"].clone();
    assert_eq!((&proved["sync"], &proved["scope"]["name"]), (&json!("proved"), &json!("part")), "{proved:#}");
    let told = edge.run(["status"]).ok().stdout;
    assert!(told.contains("in sync with scope part, proved at position"), "{told}");
    let refused = edge.run(["commit", "-m", "a part"]).ends(2);
    assert!(refused.stderr.contains("\"part\""), "{}", refused.stderr);
    // Killed, and written to while the hub is away.
    let before = edge.json(["get", "--table", "t"])["position"].as_str().expect("a position").to_owned();
    above.kill();
    below.kill();
    put(&edge, "eu", 4, "alone");
    assert_eq!(unsent(&edge), 1);
    put(&hub, "us", 2, "b");
    put(&hub, "eu", 1, "b");
    // The scope is another one meanwhile: rows leave, others come, and what waits is not lost.
    scope(&hub, "region IN ('us', 'asia') OR id = 2");
    let above = Server::of_one(&hub, &at, &[]);
    let below = Server::of_one(&edge, FREE, &["--upstream", &url]);
    comes(&edge, &["asia1a", "eu2a", "us1a", "us2b"]);
    comes(&hub, &["asia1a", "eu1b", "eu2a", "eu3edge", "eu4alone", "us1a", "us2b"]);
    comes(&full, &["asia1a", "eu1b", "eu2a", "eu3edge", "eu4alone", "us1a", "us2b"]);
    assert_eq!(unsent(&edge), 0);
    let proved = edge.json(["status", "--prove"])["live"].clone();
    assert_eq!(proved["sync"], "proved", "{proved:#}");
    // Who follows from before is told what it is, and of no deletion.
    let lines = edge.run(["watch", "--from", &before, "--once"]).ok().stdout;
    assert!(!lines.contains("\"delete\""), "{lines}");
    // Changed while it is connected.
    scope(&hub, "region = 'asia'");
    comes(&edge, &["asia1a"]);
    let lines = edge.run(["watch", "--from", proved["position"].as_str().expect("a position"), "--once"]).ok().stdout;
    assert!(lines.contains("\"evict\"") && !lines.contains("\"delete\""), "{lines}");
    // It serves nobody and is no hub.
    let third = dir.replica("third");
    let url_of_edge = format!("{}/edge", below.url);
    let node = Server::of_one(&third, FREE, &["--upstream", &url_of_edge]);
    SystemClock.sleep(Duration::from_millis(500));
    assert_eq!(third.json(["status"])["live"]["transactions"], 0);
    node.kill();
    // And holds everything again.
    below.kill();
    let _below = Server::of_one(&edge, FREE, &["--upstream", &url, "--no-scope"]);
    comes(&edge, &["asia1a", "eu1b", "eu2a", "eu3edge", "eu4alone", "us1a", "us2b"]);
    assert_eq!(edge.json(["status", "--prove"])["live"]["root"], hub.json(["status"])["live"]["root"]);
    drop(above);
}

#[test]
fn columns_are_left_out_and_unknown_scopes_are_said() {
    let dir = Dir::new();
    let (hub, edge, lost) = (hub(&dir), dir.replica("edge"), dir.replica("lost"));
    hub.run(["scope", "set", "names", "--table", "t", "--columns", "name"]).ok();
    let above = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", above.url);
    let _below = Server::of_one(&edge, FREE, &["--upstream", &url, "--scope", "names"]);
    comes(&edge, &["asia1a", "eu1a", "eu2a", "us1a"]);
    let row = edge.json(["get", "--table", "t", "--key", "eu,1"])["rows"][0]["row"].clone();
    assert_eq!((&row["name"], &row["city"]), (&json!("a"), &Value::Null));
    let refused = fed(edge.command(["put", "--table", "t"]), "{\"region\":\"eu\",\"id\":1,\"name\":\"z\"}").ends(2);
    assert!(refused.stderr.contains("some columns"), "{}", refused.stderr);
    put(&hub, "eu", 1, "new");
    comes(&edge, &["asia1a", "eu1new", "eu2a", "us1a"]);
    assert_eq!(edge.json(["status", "--prove"])["live"]["sync"], "proved");
    let _other = Server::of_one(&lost, FREE, &["--upstream", &url, "--scope", "nothing"]);
    SystemClock.sleep(Duration::from_millis(500));
    let told = lost.json(["status"])["live"].clone();
    assert_eq!((&told["transactions"], &told["follows"]), (&json!(0), &json!("nothing")), "{told:#}");
}

#[test]
fn status_says_why_a_spoke_is_not_connected() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.give(["put", "--table", "t", "--key", "id"], "{\"id\":\"a\"}\n");
    let server = Server::of_one(&hub, FREE, &[]);
    let url = format!("{}/hub", server.url);
    let says = |what: &str| {
        let begun = SystemClock.monotonic();
        loop {
            let shown = edge.run(["status"]).ok().stdout;
            if shown.contains(what) {
                break;
            }
            assert!(SystemClock.monotonic() - begun < Duration::from_secs(30), "{what}: {shown}");
            SystemClock.sleep(Duration::from_millis(100));
        }
    };
    let node = Server::of_one(&edge, FREE, &["--upstream", &url, "--scope", "nope"]);
    says("not connected to http");
    says("\"nope\"");
    node.kill();
    let node = Server::of_one(&edge, FREE, &["--upstream", &url, "--no-scope"]);
    says("replica root");
    let connected = || edge.json(["status"])["live"]["connected"] == 1;
    while !connected() {
        SystemClock.sleep(Duration::from_millis(100));
    }
    assert!(edge.json(["status"])["live"]["away"].is_null());
    drop(server);
    says("not connected to http");
    drop(node);
}
