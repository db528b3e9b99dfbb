//! Rows of live tables that several replicas write at once, and what each table's decisions make of them.

use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server};

/// A hub and a spoke that can be cut off from each other.
struct Pair {
    _dir: Dir,
    hub: Replica,
    edge: Replica,
    server: Option<Server>,
    node: Option<Server>,
    at: String,
}

impl Pair {
    /// With a table `t` of these columns, which both have.
    fn new(columns: &[&str], decisions: &[&str]) -> Self {
        let dir = Dir::new();
        let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
        let mut words = vec!["table", "create", "t", "--key", "id:int64", "--writers", "many"];
        columns.iter().for_each(|column| words.extend(["--column", column]));
        hub.run(words.iter().chain(decisions)).ok();
        let server = Server::of_one(&hub, "127.0.0.1:0", &[]);
        let at = server.url.clone();
        let mut pair = Self { _dir: dir, hub, edge, server: Some(server), node: None, at };
        pair.node = Some(pair.follow());
        pair.settle();
        pair
    }

    fn follow(&self) -> Server {
        Server::of_one(&self.edge, "127.0.0.1:0", &["--upstream", &format!("{}/hub", self.at)])
    }

    /// The hub's node is killed: its directory is written to by commands.
    fn cut(&mut self) {
        self.server.take().into_iter().for_each(Server::kill);
    }

    fn heal(&mut self) {
        self.server = Some(Server::of_one(&self.hub, self.at.trim_start_matches("http://"), &[]));
        self.settle();
    }

    fn settle(&self) {
        let begun = SystemClock.monotonic();
        loop {
            let [a, b] = [&self.hub, &self.edge].map(|replica| replica.json(["status"])["live"].clone());
            if a["root"] == b["root"] && b["unsent"] == 0 {
                return;
            }
            assert!(SystemClock.monotonic() - begun < Duration::from_secs(60), "{a:#?} {b:#?}");
            SystemClock.sleep(Duration::from_millis(50));
        }
    }

    /// A row that both show, and whether it is in conflict.
    fn row(&self, key: &str) -> (Value, bool) {
        let [a, b] = [&self.hub, &self.edge]
            .map(|replica| replica.json(["get", "--table", "t", "--key", key, "--siblings"])["rows"][0].clone());
        assert_eq!(a, b);
        (a["row"].clone(), a["conflict"] == true)
    }
}

fn put(replica: &Replica, rows: &str) -> Value {
    replica.give(["put", "--table", "t"], rows)
}

#[test]
fn columns_are_merged_and_only_one_column_is_in_conflict() {
    let mut pair = Pair::new(&["name:utf8", "age:int64", "city:utf8"], &["--granularity", "column"]);
    put(&pair.hub, r#"{"id":1,"name":"ann","age":30,"city":"Ulm"}"#);
    pair.settle();
    let start = pair.hub.json(["status"])["live"]["position"].as_str().expect("a position").to_owned();
    pair.cut();
    put(&pair.hub, r#"{"id":1,"age":31}"#);
    put(&pair.edge, r#"{"id":1,"city":"Bonn"}"#);
    // The whole row, of which one column was changed.
    put(&pair.edge, r#"{"id":1,"name":"anna","age":30,"city":"Bonn"}"#);
    pair.heal();
    assert_eq!(pair.row("1"), (json!({"id":1,"name":"anna","age":31,"city":"Bonn"}), false));
    assert_eq!(pair.hub.json(["status"])["live"]["conflicts"], 0);
    // Who follows is told what each wrote, and comes to the same.
    let lines = pair.hub.run(["watch", "--from", &start, "--once"]).ok().stdout;
    let sets: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let rows: Vec<&Value> = sets.iter().filter(|line| line["op"] == "set").map(|line| &line["row"]).collect();
    assert_eq!(rows, [&json!({"id":1,"age":31}), &json!({"id":1,"city":"Bonn"}), &json!({"id":1,"name":"anna"})]);
    pair.cut();
    put(&pair.hub, r#"{"id":1,"age":40,"name":"a"}"#);
    put(&pair.edge, r#"{"id":1,"age":50,"city":"Kiel"}"#);
    pair.heal();
    let (row, conflict) = pair.row("1");
    assert_eq!((&row["name"], &row["city"], conflict), (&json!("a"), &json!("Kiel"), true));
    let shown = pair.edge.json(["conflicts", "show", "--table", "t", "--key", "1"])["conflicts"][0].clone();
    assert_eq!(shown["columns"], json!(["age"]));
    let siblings = shown["siblings"].as_array().expect("two").clone();
    assert_eq!((siblings.len(), &siblings[0]["row"]), (2, &json!({"id":1,"age":row["age"]})));
    // To write another column decides nothing.
    put(&pair.edge, r#"{"id":1,"city":"Jena"}"#);
    assert_eq!(pair.edge.json(["conflicts", "list"])["open"], 1);
    let other = siblings.iter().find(|sibling| sibling["visible"] == false).expect("the other one");
    let take = other["transaction"].as_str().expect("a transaction");
    pair.edge.run(["conflicts", "resolve", "--table", "t", "--key", "1", "--take", take]).ok();
    pair.settle();
    assert_eq!(pair.row("1"), (json!({"id":1,"name":"a","age":other["row"]["age"],"city":"Jena"}), false));
    // Both make the same version of it.
    for replica in [&pair.hub, &pair.edge] {
        replica.run(["commit", "-m", "columns"]).ok();
    }
    assert_eq!(pair.hub.root(), pair.edge.root());
}

#[test]
fn a_row_that_was_deleted_while_it_was_changed_comes_back_whole() {
    let mut pair = Pair::new(&["a:int64", "b:int64"], &["--granularity", "column"]);
    put(&pair.hub, "{\"id\":1,\"a\":1,\"b\":1}\n{\"id\":2,\"a\":1,\"b\":1}");
    pair.settle();
    pair.cut();
    pair.hub.give(["delete", "--table", "t"], "1\n2\n");
    put(&pair.edge, r#"{"id":1,"a":2}"#);
    pair.heal();
    assert_eq!(pair.row("1"), (json!({"id":1,"a":2,"b":1}), false));
    pair.edge.run(["get", "--table", "t", "--key", "2"]).ends(3);
}

#[test]
fn counters_add_up_through_cuts_and_kills() {
    let mut pair = Pair::new(&["n:int64", "name:utf8"], &["--resolver", "counter:n"]);
    put(&pair.hub, r#"{"id":1,"n":100,"name":"x"}"#);
    pair.settle();
    let mut sum = 100;
    for round in 1..5 {
        pair.cut();
        for n in 1..4 {
            put(&pair.hub, &format!("{{\"id\":1,\"n\":{{\"add\":{n}}}}}"));
            put(&pair.edge, &format!("{{\"id\":1,\"n\":{{\"add\":{}}}}}", -n * round));
            sum += n - n * round;
        }
        // A number is what it changes of what was read.
        let read = pair.edge.json(["get", "--table", "t", "--key", "1"])["rows"][0]["row"]["n"].as_i64().expect("one");
        put(&pair.edge, &format!("{{\"id\":1,\"n\":{}}}", read + 10));
        sum += 10;
        pair.node.take().into_iter().for_each(Server::kill);
        pair.node = Some(pair.follow());
        pair.heal();
        assert_eq!(pair.row("1"), (json!({"id":1,"n":sum,"name":"x"}), false));
    }
    assert_eq!(pair.hub.json(["conflicts", "list"])["open"], 0);
    // Other columns are the last writer's, and in conflict.
    pair.cut();
    put(&pair.hub, r#"{"id":1,"name":"hub","n":{"add":1}}"#);
    put(&pair.edge, r#"{"id":1,"name":"edge","n":{"add":1}}"#);
    pair.heal();
    let (row, conflict) = pair.row("1");
    assert_eq!((&row["n"], conflict), (&json!(sum + 2), true));
    let shown = pair.hub.json(["conflicts", "show", "--table", "t", "--key", "1"])["conflicts"][0].clone();
    let take = shown["siblings"][1]["transaction"].as_str().expect("a transaction");
    pair.hub.run(["conflicts", "resolve", "--table", "t", "--key", "1", "--take", take]).ok();
    pair.settle();
    assert_eq!(pair.row("1"), (json!({"id":1,"n":sum + 2,"name":shown["siblings"][1]["row"]["name"]}), false));
}

#[test]
fn lists_are_united() {
    let mut pair = Pair::new(&["tags:list(utf8)"], &["--resolver", "union:tags"]);
    put(&pair.hub, r#"{"id":1,"tags":["a"]}"#);
    pair.settle();
    pair.cut();
    put(&pair.hub, r#"{"id":1,"tags":["a","hub"]}"#);
    put(&pair.edge, r#"{"id":1,"tags":["a","edge"]}"#);
    pair.heal();
    let (row, conflict) = pair.row("1");
    let mut tags: Vec<&str> = row["tags"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    tags.sort_unstable();
    assert_eq!((tags, conflict), (vec!["a", "edge", "hub"], false));
    // Who has seen all of it can take something out.
    put(&pair.edge, r#"{"id":1,"tags":["edge"]}"#);
    pair.settle();
    assert_eq!(pair.row("1"), (json!({"id":1,"tags":["edge"]}), false));
}

/// Three who have read the same write rows that overlap: x and y, y and z, z and w.
fn overlapping(scope: &str) -> Pair {
    let pair = Pair::new(&["v:utf8"], &["--scope", scope]);
    put(&pair.hub, "{\"id\":1,\"v\":\"0\"}\n{\"id\":2,\"v\":\"0\"}\n{\"id\":3,\"v\":\"0\"}\n{\"id\":4,\"v\":\"0\"}");
    let read = pair.hub.json(["status"])["live"]["position"].as_str().expect("a position").to_owned();
    for n in 1..4 {
        let rows = format!("{{\"id\":{n},\"v\":\"t{n}\"}}\n{{\"id\":{},\"v\":\"t{n}\"}}", n + 1);
        pair.hub.give(["put", "--table", "t", "--read", &read], &rows);
    }
    pair.settle();
    pair
}

fn seen(pair: &Pair) -> [Value; 4] {
    ["1", "2", "3", "4"].map(|key| pair.row(key).0["v"].clone())
}

#[test]
fn a_transaction_that_loses_a_row_loses_all() {
    let pair = overlapping("txn");
    assert_eq!(seen(&pair), ["t1", "t1", "t3", "t3"]);
    let listed = pair.edge.json(["conflicts", "list"]);
    assert_eq!((&listed["open"], &listed["torn"]), (&json!(2), &json!(0)));
    // Whole tables show the same.
    let all = pair.edge.json(["get", "--table", "t"])["rows"].clone();
    assert_eq!(all[1]["row"]["v"], "t1");
    let lines = pair.hub.run(["watch", "--from", "start", "--once"]).ok().stdout;
    assert!(lines.lines().nth(1).expect("a row").contains("\"t1\""), "{lines}");
    pair.hub.run(["commit", "-m", "rows"]).ok();
    assert_eq!(pair.hub.table(), "id,v\n1,t1\n2,t1\n3,t3\n4,t3\n");
}

#[test]
fn a_transaction_that_lost_a_row_and_not_another_is_marked_as_torn() {
    let pair = overlapping("row");
    assert_eq!(seen(&pair), ["t1", "t2", "t3", "t3"]);
    let listed = pair.hub.json(["conflicts", "list"]);
    assert_eq!((&listed["open"], &listed["torn"]), (&json!(2), &json!(2)));
    let torn: Vec<(&Value, &Value)> = listed["conflicts"]
        .as_array()
        .expect("rows")
        .iter()
        .flat_map(|conflict| conflict["siblings"].as_array().expect("siblings"))
        .map(|sibling| (&sibling["row"]["v"], &sibling["torn"]))
        .collect();
    let yes = &json!(true);
    assert_eq!(torn.iter().filter(|(v, torn)| *v == "t1" && *torn == yes).count(), 1, "{torn:?}");
    assert_eq!(torn.iter().filter(|(v, torn)| *v == "t2" && *torn == yes).count(), 2, "{torn:?}");
    assert_eq!(torn.iter().filter(|(_, torn)| *torn == yes).count(), 3, "{torn:?}");
    let text = pair.hub.run(["conflicts", "list"]).ok().stdout;
    assert!(text.contains("2 transactions are torn") && text.contains("(torn)"), "{text}");
}

#[test]
fn an_expression_ranks_what_was_written() {
    let text = "expression: row.score * 10 + (row.meta.vip ? 5 : 0)";
    let mut pair = Pair::new(&["score:float64", "meta:json"], &["--resolver", text]);
    assert_eq!(pair.hub.json(["table", "show", "t"])["tables"][0]["resolver"], text.replacen(": ", ":", 1));
    pair.cut();
    put(&pair.hub, "{\"id\":1,\"score\":1.5,\"meta\":{\"vip\":false}}\n{\"id\":2,\"score\":1}");
    put(
        &pair.edge,
        "{\"id\":1,\"score\":1.25,\"meta\":{\"vip\":true}}\n{\"id\":2,\"score\":0.5,\"meta\":{\"vip\":false}}",
    );
    pair.heal();
    let (row, conflict) = pair.row("1");
    assert_eq!((&row["score"], conflict), (&json!(1.25), true));
    // What has no value is below what has one.
    assert_eq!(pair.row("2").0["score"], 0.5);
    for (bad, code) in [("expression: a.score > b.score", 2), ("expression: row.nothing", 3), ("expression: row.id", 2)]
    {
        pair.hub.run(["table", "set", "t", "--resolver", bad]).ends(code);
    }
    let refused = pair.hub.run(["table", "set", "t", "--drop", "score"]).ends(2);
    assert!(refused.stderr.contains("conflicts are resolved by it"), "{}", refused.stderr);
}
