//! Strict tables on real nodes: counters that are written on two spokes at once, a spoke that is killed in the middle, a hub that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use syncline_api::Kind;
use syncline_api::live::{Bounds, Live};
use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock, task};

use crate::support::{Dir, Replica, Server, fed};

const FREE: &str = "127.0.0.1:0";

fn follow(replica: &Replica, address: &str, hub: &Server) -> Server {
    Server::of_one(replica, address, &["--upstream", &format!("{}/hub", hub.url)])
}

fn at(server: &Server, name: &str) -> Live {
    Live::connect(&format!("{}/{name}", server.url), None).expect("an address")
}

/// A hub with a strict table of one counter.
fn counter(dir: &Dir) -> (Replica, Server) {
    let hub = dir.replica("hub");
    let columns = ["table", "create", "t", "--key", "id", "--column", "n:int64", "--writers", "strict"];
    hub.run(columns).ok();
    hub.give(["put", "--table", "t"], "{\"id\":\"a\",\"n\":0}");
    let server = Server::of_one(&hub, FREE, &[]);
    (hub, server)
}

/// Waits until a node answers with the row.
fn read(live: &Live) -> (i64, String) {
    let begun = SystemClock.monotonic();
    loop {
        match live.get::<Value>("t", &json!({ "id": "a" })) {
            Ok(row) => {
                assert!(!row.conflict, "a strict row is in conflict: {}", row.row);
                return (row.row["n"].as_i64().expect("a number"), row.position);
            }
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Unavailable | Kind::NotFound), "{error}");
                assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "{error}");
                SystemClock.sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Counts one further, again and again until it is written: with a new identity when it was refused, with the same when nobody knows.
fn count(live: &Live, identity: &str) {
    for again in 0..10_000 {
        let (n, position) = read(live);
        let once = format!("{identity}-{again}");
        loop {
            let next = live.transaction().read(&position).once(&once).put("t", &json!({ "id": "a", "n": n + 1 }));
            match next.expect("JSON").commit() {
                Ok(_) => return,
                Err(error) if error.kind() == Kind::Conflict => break,
                // It may be there, or on its way here.
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::Unavailable | Kind::Stale), "{error}");
                    SystemClock.sleep(Duration::from_millis(20));
                }
            }
        }
    }
    panic!("it was refused again and again");
}

#[test]
fn a_strict_read_at_a_spoke_has_what_was_acknowledged_at_the_hub() {
    let dir = Dir::new();
    let (hub, server) = counter(&dir);
    let spoke = dir.replica("spoke");
    let node = follow(&spoke, FREE, &server);
    let (there, here) = (at(&server, "hub"), at(&node, "spoke"));
    read(&here);
    let strict = Bounds { strict: true, ..Bounds::default() };
    for n in 1..50 {
        let (_, position) = read(&there);
        let next = there.transaction().read(&position).put("t", &json!({ "id": "a", "n": n }));
        next.expect("JSON").commit().expect("nobody else writes");
        let got = here.get_within::<Value>("t", &json!({ "id": "a" }), &strict).expect("the hub is there");
        assert_eq!(got.row["n"], n);
    }
    let printed = spoke.json(["get", "--table", "t", "--key", "a", "--strict"]);
    assert_eq!(printed["rows"][0]["row"]["n"], 49, "{printed}");
    drop(server);
    let away = spoke.run(["get", "--table", "t", "--key", "a", "--strict", "--max-wait", "500"]);
    assert!(away.code != Some(0) && away.stderr.contains("leave out --strict"), "{:?} {}", away.code, away.stderr);
    drop(hub);
}

#[test]
fn counters_on_two_spokes_lose_no_update() {
    const EACH: usize = 25;
    let dir = Dir::new();
    let (hub, server) = counter(&dir);
    let (one, two) = (dir.replica("one"), dir.replica("two"));
    let nodes = [follow(&one, FREE, &server), follow(&two, FREE, &server)];
    let writers: Vec<_> = ["one", "two"]
        .into_iter()
        .zip(&nodes)
        .map(|(name, node)| {
            let live = at(node, name);
            read(&live);
            let count = move || (0..EACH).for_each(|nth| count(&live, &format!("{name}-{nth}")));
            task::spawn("counts", count).expect("a thread")
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("it counts"));
    let (n, position) = read(&at(&server, "hub"));
    assert_eq!(n, 2 * EACH as i64);
    let bounds = Bounds { after: Some(position), wait_ms: Some(30_000), ..Bounds::default() };
    for (name, node) in ["one", "two"].into_iter().zip(&nodes) {
        let row = at(node, name).get_within::<Value>("t", &json!({ "id": "a" }), &bounds).expect("it comes");
        assert_eq!((row.row["n"].as_i64(), row.conflict), (Some(2 * EACH as i64), false));
    }
    assert_eq!(hub.json(["status"])["live"]["conflicts"], 0);
}

#[test]
fn a_spoke_or_a_hub_that_is_killed_before_it_answers_counts_once() {
    const KILLS: usize = 9;
    let dir = Dir::new();
    let (hub, mut server) = counter(&dir);
    let hub_address = server.url.trim_start_matches("http://").to_owned();
    let edge = dir.replica("edge");
    let mut node = follow(&edge, FREE, &server);
    let address = node.url.trim_start_matches("http://").to_owned();
    let live = at(&node, "edge");
    let enough = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&enough);
    // It counts as long as somebody is killed, however long a start takes.
    let writer = task::spawn("counts", move || {
        let more = |_: &usize| !told.load(Ordering::Relaxed);
        (0..).take_while(more).inspect(|nth| count(&live, &format!("edge-{nth}"))).count()
    });
    let mut rng = Rng::from_seed(7);
    for kills in 0..KILLS {
        SystemClock.sleep(Duration::from_millis(30 + rng.below(150)));
        if kills % 3 == 2 {
            server.kill();
            server = Server::of_one(&hub, &hub_address, &[]);
        } else {
            node.kill();
            node = follow(&edge, &address, &server);
        }
    }
    enough.store(true, Ordering::Relaxed);
    let counted = writer.expect("a thread").join().expect("it counts");
    assert!(counted > KILLS, "{counted} were counted between so many kills: it was never killed in the middle");
    assert_eq!(read(&at(&server, "hub")).0, counted as i64);
}

#[test]
fn commands_say_what_was_read_and_what_is_wrong() {
    let dir = Dir::new();
    let (hub, server) = counter(&dir);
    let edge = dir.replica("edge");
    let node = follow(&edge, FREE, &server);
    read(&at(&node, "edge"));
    let shown = edge.json(["table", "show", "t"]);
    assert!(shown["tables"][0]["writers"].as_str().is_some_and(|who| who.starts_with("strict: ")), "{shown}");
    let position = |replica: &Replica| {
        let got = replica.json(["get", "--table", "t", "--key", "a"]);
        got["position"].as_str().expect("a position").to_owned()
    };
    let old = position(&edge);
    let written = edge.give(["put", "--table", "t", "--read", &old, "--once", "x1"], "{\"id\":\"a\",\"n\":1}");
    assert_eq!(written["taken"], true);
    let again = edge.give(["put", "--table", "t", "--read", &old, "--once", "x1"], "{\"id\":\"a\",\"n\":1}");
    assert_eq!(written["transaction"], again["transaction"]);
    // Its own write is there at once.
    assert_eq!(edge.json(["get", "--table", "t", "--key", "a"])["rows"][0]["row"]["n"], 1);
    let put = ["put", "--table", "t", "--read", &old, "--read-key", "a"];
    let refused = fed(edge.command(put), "{\"id\":\"b\",\"n\":1}\n").ends(4);
    assert!(refused.stderr.contains("row a of table t was changed"), "{}", refused.stderr);
    let now = position(&edge);
    // Several transactions, each with what it had read.
    let lines = format!(
        "{{\"op\":\"begin\",\"read\":{now:?},\"reads\":[{{\"table\":\"t\",\"key\":\"a\"}}]}}\n\
         {{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":\"b\",\"n\":2}}}}\n\
         {{\"op\":\"begin\",\"read\":{old:?}}}\n{{\"op\":\"delete\",\"table\":\"t\",\"key\":\"a\"}}\n{{\"op\":\"commit\"}}\n"
    );
    for replica in [&edge, &hub] {
        let refused =
            fed(replica.command(["apply"]), &lines.replace("\"b\"", &format!("\"b{}\"", replica.0.display()))).ends(4);
        assert!(refused.stderr.contains("1 transaction before it"), "{}", refused.stderr);
    }
    edge.give(["delete", "--table", "t", "--read", &position(&edge)], "a\n");
    // Nothing is written while the hub is away.
    drop(server);
    let refused = fed(edge.command(["put", "--table", "t"]), "{\"id\":\"c\",\"n\":1}\n");
    assert!(refused.code == Some(6) && refused.stderr.contains("written"), "{:?} {}", refused.code, refused.stderr);
    drop(node);
    let refused = fed(edge.command(["put", "--table", "t"]), "{\"id\":\"c\",\"n\":1}\n");
    assert!(refused.code == Some(6) && refused.stderr.contains("nothing was written"), "{}", refused.stderr);
    edge.run(["get", "--table", "t", "--key", "c"]).ends(3);
    edge.run(["table", "create", "u", "--key", "id", "--writers", "strict"]).ends(2);
}

#[test]
fn what_apply_prints_is_for_waiting_and_no_table_of_versions_is_replaced_unasked() {
    let dir = Dir::new();
    let (hub, _server) = counter(&dir);
    let line = "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":\"a\",\"n\":1}}";
    let applied = fed(hub.command(["apply", "--json"]), line).ok().json();
    let position = applied["position"].as_str().expect("a position");
    assert!(position.starts_with("after:"), "{applied:#}");
    let refused = fed(hub.command(["put", "--table", "t", "--read", position]), "{\"id\":\"a\",\"n\":2}").ends(2);
    assert!(refused.stderr.contains("after:"), "{}", refused.stderr);
    hub.run(["get", "--table", "t", "--key", "a", "--after", position]).ok();

    let versioned = dir.replica("versioned");
    versioned.import(&dir, &crate::support::csv(0, 2, 0));
    let refused = versioned.run(["table", "create", "t", "--key", "id"]).ends(4);
    assert!(refused.stderr.contains("versions have a table of that name"), "{}", refused.stderr);
    fed(versioned.command(["put", "--table", "t", "--key", "id"]), "{\"id\":1}").ends(4);
    versioned.run(["table", "create", "t", "--key", "id", "--replace"]).ok();
    let refused = versioned.run(["alter", "--table", "t", "--add", "x:int64"]).ends(4);
    assert!(refused.stderr.contains("syncline table set"), "{}", refused.stderr);
}
