//! Hubs that learn of each other, and spokes that go to another hub while theirs is away.

use std::time::Duration;

use serde_json::Value;
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server};

const FREE: &str = "127.0.0.1:0";

fn put(replica: &Replica, id: u64, text: &str) {
    replica.give(["put", "--table", "t"], &format!("{{\"id\":{id},\"v\":\"{text}\"}}"));
}

fn value(replica: &Replica, id: u64) -> Value {
    let key = id.to_string();
    let run = replica.run(["get", "--table", "t", "--key", &key, "--json"]);
    if run.code == Some(0) { run.json()["rows"][0]["row"]["v"].clone() } else { Value::Null }
}

fn status(replica: &Replica) -> Value {
    replica.json(["status"])["live"].clone()
}

/// Waits for something.
#[track_caller]
fn until(what: &str, time: Duration, show: impl Fn() -> Value, is: impl Fn(&Value) -> bool) {
    let begun = SystemClock.monotonic();
    loop {
        let now = show();
        if is(&now) {
            return;
        }
        assert!(SystemClock.monotonic() - begun < time, "{what}: {now:#}");
        SystemClock.sleep(Duration::from_millis(100));
    }
}

fn url(server: &Server, replica: &Replica) -> String {
    format!("{}/{}", server.url, replica.0.file_name().expect("a name").to_string_lossy())
}

fn address(server: &Server) -> String {
    server.url.trim_start_matches("http://").to_owned()
}

/// How a replica sees the hub at `url`.
fn sees(status: &Value, url: &str) -> String {
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let state = members.iter().find(|member| member["url"] == url).map(|member| member["state"].clone());
    state.and_then(|state| state.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn table(replica: &Replica) {
    replica.run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "many"]).ok();
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn one_peer_is_enough_to_be_connected_to_all() {
    let dir = Dir::new();
    let hubs = ["a", "b", "c"].map(|name| dir.replica(name));
    table(&hubs[0]);
    let first = Server::of_one(&hubs[0], FREE, &[]);
    let first_url = url(&first, &hubs[0]);
    let first_at = address(&first);
    let second = Server::of_one(&hubs[1], FREE, &["--peer", &first_url]);
    let third = Server::of_one(&hubs[2], FREE, &["--peer", &first_url]);
    let urls = [first_url.clone(), url(&second, &hubs[1]), url(&third, &hubs[2])];
    for hub in &hubs {
        until(
            "all hubs are known, and connected once",
            SOON,
            || status(hub),
            |status| urls.iter().all(|url| sees(status, url) == "alive") && status["connected"] == 2,
        );
    }
    let here = status(&hubs[1])["members"].as_array().expect("members").clone();
    assert_eq!(here.iter().filter(|member| member["here"] == true).count(), 1);
    assert!(here.iter().all(|member| member["since_ms"].as_u64().is_some_and(|since| since > 0)));
    // Without the one that both were given.
    first.kill();
    put(&hubs[1], 1, "from the second");
    put(&hubs[2], 2, "from the third");
    until("the third has it", SOON, || value(&hubs[2], 1), |value| *value == "from the second");
    until("the second has it", SOON, || value(&hubs[1], 2), |value| *value == "from the third");
    until("the first is found to be gone", SOON, || status(&hubs[2]), |status| sees(status, &urls[0]) == "gone");
    let shown = hubs[2].run(["status"]).ok().stdout;
    assert!(shown.contains("gone") && shown.contains("this one"), "{shown}");

    // One that is started again finds the others, though the only peer that it was given is dead.
    let at = address(&third);
    third.kill();
    let third = Server::of_one(&hubs[2], &at, &["--peer", &first_url]);
    until(
        "the second is found again",
        SOON,
        || status(&hubs[2]),
        |status| sees(status, &urls[1]) == "alive" && status["connected"] == 1,
    );
    put(&hubs[2], 3, "after the restart");
    until("the second has it", SOON, || value(&hubs[1], 3), |value| *value == "after the restart");

    // Nobody gave the first one anything, and it comes back all the same.
    let first = Server::of_one(&hubs[0], &first_at, &[]);
    until(
        "all are there again",
        SOON,
        || status(&hubs[0]),
        |status| urls.iter().all(|url| sees(status, url) == "alive") && status["connected"].as_u64() >= Some(2),
    );
    until("the first has all", SOON, || value(&hubs[0], 3), |value| *value == "after the restart");
    drop((first, second, third));
}

#[test]
fn a_node_of_many_datasets_finds_the_others_without_its_peer() {
    let dir = Dir::new();
    let places = ["a", "b", "c"].map(|name| dir.path(name));
    let first = Server::start(&places[0], &[]);
    let made = crate::support::syncline(["init", &format!("{}/shop", first.url)]);
    made.ok();
    let on = |server: &Server| format!("{}/shop", server.url);
    crate::support::syncline([
        "--on",
        &on(&first),
        "table",
        "create",
        "t",
        "--key",
        "id:int64",
        "--column",
        "v:int64",
        "--writers",
        "many",
    ])
    .ok();
    let peer = first.url.clone();
    let second = Server::start(&places[1], &["--peer", &peer]);
    let third = Server::start(&places[2], &["--peer", &peer]);
    let known = |server: &Server| {
        let asked = crate::support::syncline(["--on", &on(server), "status", "--json"]);
        if asked.code == Some(0) { asked.json()["live"].clone() } else { Value::Null }
    };
    for server in [&second, &third] {
        until(
            "the others are known",
            SOON,
            || known(server),
            |live| [&first, &second, &third].iter().all(|of| sees(live, &on(of)) == "alive"),
        );
    }
    first.kill();
    let at = address(&third);
    third.kill();
    let mut command = crate::support::binary();
    command.args(["up", "--json", "--listen", &at, "--data"]).arg(&places[2]).args(["--peer", &peer]);
    let third = Server::given(&mut command);
    until(
        "the second is found again",
        SOON,
        || known(&third),
        |live| sees(live, &on(&second)) == "alive" && live["connected"] == 1,
    );
}

#[test]
fn a_spoke_goes_to_another_hub_and_back() {
    let dir = Dir::new();
    let (home, other, edge) = (dir.replica("home"), dir.replica("other"), dir.replica("edge"));
    table(&home);
    let first = Server::of_one(&home, FREE, &[]);
    let (home_url, home_at) = (url(&first, &home), address(&first));
    let second = Server::of_one(&other, FREE, &["--peer", &home_url]);
    let other_url = url(&second, &other);
    let node = Server::of_one(&edge, FREE, &["--upstream", &home_url]);
    until(
        "the spoke was told of both",
        SOON,
        || status(&edge),
        |status| {
            sees(status, &other_url) == "alive"
                && sees(status, &home_url) == "alive"
                && status["connected_to"] == *home_url
        },
    );
    first.kill();
    put(&edge, 1, "while nobody was there");
    until(
        "it has gone to the other hub",
        SOON,
        || status(&edge),
        |status| status["connected_to"] == *other_url && status["upstream"] == *home_url && status["unsent"] == 0,
    );
    assert_eq!(value(&other, 1), "while nobody was there");
    let shown = edge.run(["status"]).ok().stdout;
    assert!(shown.contains("which is away; connected to"), "{shown}");
    put(&edge, 2, "from the edge");
    put(&other, 3, "from the other hub");
    until("it has what is written there", SOON, || value(&edge, 3), |value| *value == "from the other hub");
    // A spoke that is started while its home is away knows where to go, too.
    drop(node);
    put(&edge, 4, "between two runs");
    let node = Server::of_one(&edge, FREE, &["--upstream", &home_url]);
    until(
        "it has gone there again",
        SOON,
        || status(&edge),
        |status| status["connected_to"] == *other_url && status["unsent"] == 0,
    );
    let first = Server::of_one(&home, &home_at, &[]);
    until("it has gone home", SOON, || status(&edge), |status| status["connected_to"] == *home_url);
    put(&edge, 5, "home again");
    for (id, text) in [
        (1, "while nobody was there"),
        (2, "from the edge"),
        (3, "from the other hub"),
        (4, "between two runs"),
        (5, "home again"),
    ] {
        for replica in [&home, &other, &edge] {
            until("everybody has everything", SOON, || value(replica, id), |value| *value == text);
        }
    }
    drop((first, second, node));
}

#[test]
fn a_spoke_with_a_scope_goes_where_that_is_known() {
    let dir = Dir::new();
    let (home, other, edge) = (dir.replica("home"), dir.replica("other"), dir.replica("edge"));
    table(&home);
    home.run(["scope", "set", "low", "--table", "t", "--where", "id < 100"]).ok();
    let first = Server::of_one(&home, FREE, &[]);
    let home_url = url(&first, &home);
    let second = Server::of_one(&other, FREE, &["--peer", &home_url]);
    let other_url = url(&second, &other);
    let node = Server::of_one(&edge, FREE, &["--upstream", &home_url, "--scope", "low"]);
    until(
        "the spoke was told of both",
        SOON,
        || status(&edge),
        |status| sees(status, &other_url) == "alive" && status["scope"]["name"] == "low",
    );
    first.kill();
    put(&edge, 1, "inside");
    put(&other, 2, "inside, too");
    put(&other, 200, "outside");
    until(
        "it has gone to the other hub",
        SOON,
        || status(&edge),
        |status| status["connected_to"] == *other_url && status["unsent"] == 0,
    );
    until("it has what is inside", SOON, || value(&edge, 2), |value| *value == "inside, too");
    assert_eq!((value(&other, 1), value(&edge, 200)), (Value::from("inside"), Value::Null));
    assert_eq!(status(&edge)["scope"]["name"], "low");
    drop((second, node));
}

#[test]
fn what_is_switched_off_is_off() {
    let dir = Dir::new();
    let (home, other, loner, edge) =
        (dir.replica("home"), dir.replica("other"), dir.replica("loner"), dir.replica("edge"));
    table(&home);
    let first = Server::of_one(&home, FREE, &[]);
    let home_url = url(&first, &home);
    let second = Server::of_one(&other, FREE, &["--peer", &home_url]);
    let third = Server::of_one(&loner, FREE, &["--peer", &home_url, "--no-discover"]);
    let node = Server::of_one(&edge, FREE, &["--upstream", &home_url, "--no-rehome"]);
    let other_url = url(&second, &other);
    until("the two know each other", SOON, || status(&home), |status| sees(status, &other_url) == "alive");
    until("the spoke was told", SOON, || status(&edge), |status| sees(status, &other_url) == "alive");
    assert_eq!(status(&home)["members"].as_array().map(Vec::len), Some(2), "nobody was told of the loner");
    assert!(status(&loner)["members"].is_null() && status(&loner)["connected"] == 1);
    first.kill();
    put(&edge, 1, "waits");
    SystemClock.sleep(Duration::from_secs(12));
    let waits = status(&edge);
    assert!(waits["connected_to"].is_null() && waits["unsent"] == 1, "{waits:#}");
    drop((second, third, node));
    for (words, why) in [
        (&["--advertise", "http://hub:7070/shop"][..], "names a dataset"),
        (&["--advertise", "http://0.0.0.0:7070"][..], "nobody can connect there"),
        (&["--advertise", "http://hub:7070", "--no-discover"][..], "cannot be used with"),
    ] {
        let refused = home.run(["up", "--listen", FREE].iter().chain(words)).ends(2);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
}

#[test]
fn a_strict_table_is_written_to_from_every_hub_of_a_mesh() {
    let dir = Dir::new();
    let hubs = ["a", "b", "c"].map(|name| dir.replica(name));
    let first = Server::of_one(&hubs[0], FREE, &[]);
    let first_url = url(&first, &hubs[0]);
    let second = Server::of_one(&hubs[1], FREE, &["--peer", &first_url]);
    let third = Server::of_one(&hubs[2], FREE, &["--peer", &first_url]);
    let urls = [first_url.clone(), url(&second, &hubs[1]), url(&third, &hubs[2])];
    for hub in &hubs {
        let all = |status: &Value| urls.iter().all(|url| sees(status, url) == "alive") && status["connected"] == 2;
        until("all hubs are known, and connected", SOON, || status(hub), all);
    }
    // The second certifies. To the first one others connect; the third was given the first alone.
    hubs[1].run(["table", "create", "t", "--key", "id:int64", "--column", "v:utf8", "--writers", "strict"]).ok();
    let there = |hub: &Replica| hub.run(["table", "show", "t", "--json"]).code.into();
    for (id, hub) in [(1, &hubs[0]), (2, &hubs[2])] {
        until("the table is there", SOON, || there(hub), |code| *code == 0);
        let written = hub.give(["put", "--table", "t"], &format!("{{\"id\":{id},\"v\":\"x\"}}"));
        assert!(written["read"].is_null(), "nobody has read anything: {written:#}");
        hub.run(["get", "--table", "t", "--strict"]).ok();
    }
    first.kill();
    put(&hubs[2], 3, "without the one that was given");
    assert_eq!(value(&hubs[1], 3), "without the one that was given");
}
