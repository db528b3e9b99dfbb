//! Keys of replicas from outside: what is signed, and a replica whose key is revoked.

use std::time::Duration;

use serde_json::Value;
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server, fed};

const FREE: &str = "127.0.0.1:0";

fn status(replica: &Replica) -> Value {
    replica.json(["status"])["live"].clone()
}

fn put(replica: &Replica, row: &str) -> Value {
    replica.give(["put", "--table", "t"], row)
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = SystemClock.monotonic();
    while !is() {
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "{what}");
        SystemClock.sleep(Duration::from_millis(50));
    }
}

fn rows(replica: &Replica) -> usize {
    replica.json(["get", "--table", "t"])["rows"].as_array().expect("rows").len()
}

#[test]
fn a_replica_that_is_revoked_is_refused_and_told_and_others_go_on() {
    let dir = Dir::new();
    let [hub, lost, kept] = ["hub", "lost", "kept"].map(|name| dir.replica(name));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
    let server = Server::of_one(&hub, FREE, &[]);
    let above = format!("{}/hub", server.url);
    let spokes = [&lost, &kept].map(|replica| Server::of_one(replica, FREE, &["--upstream", &above]));
    until("the table has come", || {
        let all = status(&hub)["transactions"].clone();
        [&lost, &kept].iter().all(|replica| status(replica)["transactions"] == all)
    });
    put(&lost, "{\"id\":1,\"v\":\"before\"}");
    put(&kept, "{\"id\":2,\"v\":\"kept\"}");
    // All of it comes to be signed, everywhere.
    until("everything is signed", || {
        let signed = |replica: &&Replica| {
            let (live, trust) = (status(replica), status(replica)["trust"].clone());
            live["transactions"] == status(&hub)["transactions"]
                && rows(replica) == 2
                && trust["signed"] == trust["origins"]
        };
        [&hub, &lost, &kept].iter().all(signed)
    });
    let [gone, stays] = spokes;
    drop(gone);
    put(&lost, "{\"id\":3,\"v\":\"on its way\"}");
    let key = lost.json(["key", "show"])["keys"][0]["key"].as_str().expect("a key").to_owned();
    assert_eq!(status(&lost)["trust"]["key"], key);
    let own = lost.run(["key", "revoke", &key]).ends(2);
    assert!(own.stderr.contains("this replica's own"), "{}", own.stderr);
    // At a spoke: it is a row like any, and counts once the hub has it.
    let revoked = kept.json(["key", "revoke", &key[..10], "--reason", "stolen"]);
    assert_eq!(revoked["keys"][0]["key"], key);
    until("the hub knows", || status(&hub)["trust"]["revoked_keys"] == 1);
    let all = hub.json(["key", "ls"])["keys"].as_array().expect("keys").clone();
    let of = |key: &str| all.iter().find(|one| one["key"] == key).cloned().expect("a key");
    assert_eq!((&of(&key)["revoked"]["reason"], &of(&key)["transactions"]), (&Value::from("stolen"), &Value::from(1)));
    assert!(all[0]["ours"] == true && all.len() == 3, "{all:?}");

    let _again = Server::of_one(&lost, FREE, &["--upstream", &above]);
    until("it is told", || {
        let trust = &status(&lost)["trust"];
        trust["revoked"] == true && trust["denied"]["why"].as_str().is_some_and(|why| why.contains("revoked"))
    });
    let refused = fed(lost.command(["put", "--table", "t"]), "{\"id\":4,\"v\":\"no\"}");
    assert!(refused.stderr.contains("key of this replica is revoked"), "{}", refused.stderr);
    // Nothing is lost where it was written, and nothing of it comes to others.
    assert_eq!((rows(&lost), status(&lost)["unsent"].clone()), (3, Value::from(1)));
    put(&kept, "{\"id\":5,\"v\":\"on\"}");
    until("others go on", || rows(&hub) == 3);
    assert_eq!(hub.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"]["v"], "before");
    hub.run(["get", "--table", "t", "--key", "3"]).ends(3);
    let text = lost.run(["status"]).ok().stdout;
    assert!(text.contains("THE KEY OF THIS REPLICA IS REVOKED"), "{text}");
    drop(stays);
}
