//! What readers of live tables are promised, from outside: bounds on staleness, proofs, read contexts, datasets that come later.

use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Run, Server, binary, fed, syncline};

const FREE: &str = "127.0.0.1:0";

fn put(replica: &Replica, row: &str) -> Value {
    replica.give(["put", "--table", "t"], row)
}

fn value(replica: &Replica, more: &[&str]) -> Value {
    replica.json([&["get", "--table", "t", "--key", "1"], more].concat())["rows"][0]["row"]["v"].clone()
}

/// A hub with a table that all write to, and a spoke.
fn pair(dir: &Dir) -> (Replica, Replica, Server, Server) {
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:int64", "--writers", "many"]).ok();
    let above = Server::of_one(&hub, FREE, &[]);
    let below = Server::of_one(&edge, FREE, &["--upstream", &format!("{}/hub", above.url)]);
    (hub, edge, above, below)
}

#[test]
fn a_bound_on_staleness_holds_or_is_an_error_of_its_own() {
    let dir = Dir::new();
    let (hub, edge, above, _below) = pair(&dir);
    for n in 0..5 {
        put(&hub, &format!("{{\"id\":1,\"v\":{n}}}"));
        assert_eq!(value(&edge, &["--max-staleness", "0s"]), n, "all that the hub had when it was asked");
    }
    let read = edge.json(["get", "--table", "t", "--max-staleness", "1h"]);
    assert!(read["staleness_ms"].as_u64().is_some_and(|ms| ms < 3_600_000), "{read}");
    let all = edge.run(["watch", "--from", "start", "--once", "--max-staleness", "0s"]).ok().stdout;
    assert!(all.contains("\"v\":4"), "{all}");
    // On the hub itself there is nothing to wait for.
    assert_eq!(value(&hub, &["--max-staleness", "0s"]), 4);
    above.kill();
    let words = ["get", "--table", "t", "--max-staleness", "0s", "--max-wait", "300"];
    let stale = edge.run(words).ends(8);
    assert!(
        stale.stderr.contains("stale, exit code 8") && stale.stderr.contains("--max-staleness"),
        "{}",
        stale.stderr
    );
    edge.run(["get", "--table", "t", "--max-staleness", "1h"]).ok();
    // What never comes is the same kind of error, as is a position.
    let away =
        edge.json(["get", "--table", "t", "--key", "1"])["position"].as_str().expect("a position").replace('@', "@9");
    edge.run(["get", "--table", "t", "--after", &away, "--max-wait", "20"]).ends(8);
}

#[test]
fn replicas_prove_that_they_are_in_sync() {
    let dir = Dir::new();
    let (hub, edge, _above, _below) = pair(&dir);
    let alone = dir.replica("alone");
    alone.give(["put", "--table", "t", "--key", "id"], "{\"id\":1}");
    assert_eq!(alone.json(["status"])["live"]["sync"], "unproved");
    alone.run(["status", "--prove"]).ends(6);
    put(&hub, "{\"id\":1,\"v\":1}");
    assert_eq!(value(&edge, &["--max-staleness", "0s"]), 1);
    let there = edge.json(["status", "--prove"])["live"].clone();
    assert_eq!((&there["sync"], &there["proofs"][0]["since"]), (&json!("proved"), &json!(0)), "{there:#}");
    let proof = &there["proofs"][0];
    assert_eq!((&proof["root"], &proof["position"]), (&there["root"], &there["position"]));
    assert_eq!(proof["url"].as_str().map(|url| url.ends_with("/hub")), Some(true), "{proof}");
    assert_eq!(there["lag"]["positions"], 0);
    let here = hub.json(["status", "--prove"])["live"].clone();
    assert_eq!((&here["proofs"][0]["replica"], &here["root"]), (&there["id"], &there["root"]));
    let page = edge.run(["status"]).ok().stdout;
    assert!(page.contains("in sync, proved at position"), "{page}");
}

#[test]
fn a_write_says_what_its_writer_has_read() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.run(["table", "create", "t", "--key", "id:int64", "--column", "v:int64", "--writers", "many"]).ok();
    let blind = put(&one, "{\"id\":1,\"v\":1}");
    assert_eq!(blind["read"], Value::Null, "it had read nothing");
    // What it prints is waited for, and gone on from.
    let position = blind["position"].as_str().expect("a position");
    one.run(["get", "--table", "t", "--key", "1", "--after", position]).ok();
    one.run(["watch", "--from", position, "--once"]).ok();
    let refused = fed(one.command(["put", "--table", "t", "--read", position]), "{\"id\":1,\"v\":2}").ends(2);
    assert!(refused.stderr.contains("for waiting"), "{}", refused.stderr);
    // Who has read goes on from what it wrote.
    let mut read = one.json(["get", "--table", "t", "--key", "1"])["position"].as_str().expect("a position").to_owned();
    for n in 3..6 {
        let written = one.give(["put", "--table", "t", "--read", &read], &format!("{{\"id\":1,\"v\":{n}}}"));
        read = written["read"].as_str().expect("nobody else writes").to_owned();
    }
    assert_eq!(one.json(["status"])["live"]["conflicts"], 0);
    put(&one, "{\"id\":1,\"v\":100}");
    one.give(["put", "--table", "t", "--read", &read], "{\"id\":1,\"v\":6}");
    assert_eq!(one.json(["status"])["live"]["conflicts"], 1, "it had not seen the one in between");
}

#[test]
fn datasets_that_come_later_are_followed_too() {
    let dir = Dir::new();
    let hub = Server::start(&dir.path("above"), &[]);
    let edge = Server::start(&dir.path("below"), &["--upstream", &hub.url]);
    syncline(["init", &format!("{}/late", hub.url)]).ok();
    let mut put = binary();
    put.args(["--on", &format!("{}/late", hub.url), "put", "--table", "t", "--key", "id"]);
    fed(put, "{\"id\":1,\"v\":7}").ok();
    let begun = SystemClock.monotonic();
    loop {
        let got: Run = syncline(["--on", &format!("{}/late", edge.url), "get", "--table", "t", "--key", "1"]);
        if got.code == Some(0) {
            assert!(got.stdout.contains("\"v\":7"), "{}", got.stdout);
            return;
        }
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "{}", got.stderr);
        SystemClock.sleep(Duration::from_millis(100));
    }
}
