//! The Rust client's face to live tables, against real nodes: its example, and what it does when a node goes and comes back.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_api::Kind;
use syncline_api::live::{Bounds, Live, Since};
use syncline_base::task;

use crate::support::{Dir, Replica, Server};

#[allow(dead_code, unreachable_pub, reason = "it is a program of its own, too")]
#[path = "../../syncline-api/examples/shop.rs"]
mod shop;

fn prices(replica: &Replica) {
    let columns = ["--column", "price:float64", "--column", "stock:int64"];
    replica.run(["table", "create", "prices", "--key", "sku"].into_iter().chain(columns)).ok();
}

#[test]
fn the_example_does_what_it_says() {
    let dir = Dir::new();
    let replica = dir.replica("shop");
    prices(&replica);
    let server = Server::of_one(&replica, "127.0.0.1:0", &[]);
    let seen = shop::run(&format!("{}/shop", server.url), None).expect("it runs");
    assert_eq!(seen, ["2 left of A-1", "B-2 is gone", "\"A-1\" has 2 in stock", "\"B-2\" was deleted"]);
}

#[test]
fn transactions_are_whole_and_read_where_they_are_waited_for() {
    let dir = Dir::new();
    let (hub, edge) = (dir.replica("hub"), dir.replica("edge"));
    prices(&hub);
    let server = Server::of_one(&hub, "127.0.0.1:0", &[]);
    let node = Server::of_one(&edge, "127.0.0.1:0", &["--upstream", &format!("{}/hub", server.url)]);
    let at = |server: &Server, name: &str| Live::connect(&format!("{}/{name}", server.url), None).expect("a node");
    let (hub, edge) = (at(&server, "hub"), at(&node, "edge"));
    let row = |sku: &str, stock: i64| json!({"sku": sku, "price": 1.5, "stock": stock});
    let both = hub.transaction().put("prices", &row("a", 1)).unwrap().put("prices", &row("b", 2)).unwrap();
    let written = both.commit().expect("it fits");
    assert_eq!((written.rows, written.taken), (2, true));
    let bounds = Bounds { after: Some(written.position), wait_ms: Some(30_000), ..Bounds::default() };
    let read = edge.get_within::<Value>("prices", &json!({"sku": "b"}), &bounds).expect("it comes");
    assert_eq!((read.row, read.conflict), (row("b", 2), false));
    let rows = edge.rows::<Value>("prices", 1, &Bounds::default()).expect("rows");
    assert_eq!((rows.rows, rows.more), (vec![row("a", 1)], true));
    // All of a transaction, or nothing.
    let half =
        hub.transaction().put("prices", &row("c", 3)).unwrap().put("prices", &json!({"sku": 5, "x": 1})).unwrap();
    assert_eq!(half.commit().expect_err("a row does not fit").kind(), Kind::Invalid);
    let gone = hub.get::<Value>("prices", &json!({"sku": "c"})).expect_err("nothing was written");
    assert_eq!(gone.kind(), Kind::NotFound);
    // Somebody else's table.
    assert_eq!(edge.put("prices", &[row("d", 1)]).expect_err("the hub writes it").kind(), Kind::Conflict);
    assert!(Live::connect(&server.url, None).is_err(), "no dataset");
}

#[test]
fn a_watch_goes_on_when_its_node_comes_back() {
    let dir = Dir::new();
    let replica = dir.replica("shop");
    prices(&replica);
    let server = Server::of_one(&replica, "127.0.0.1:0", &[]);
    let (url, address) = (format!("{}/shop", server.url), server.url.trim_start_matches("http://").to_owned());
    let put = |stock: u64| {
        let written =
            Live::connect(&url, None).and_then(|shop| shop.put("prices", &[json!({"sku": "a", "stock": stock})]));
        written.expect("it is written")
    };
    put(0);
    let (tell, told) = mpsc::channel();
    let reader = task::spawn("reader", {
        let url = url.clone();
        move || {
            let shop = Live::connect(&url, None).expect("a node");
            for seen in shop.watch(None, Since::Start).take(4) {
                let changes = seen.expect("it goes on").changes;
                tell.send(changes[0].row.as_ref().expect("a row")["stock"].clone()).expect("somebody listens");
            }
        }
    });
    let next = || told.recv_timeout(Duration::from_secs(60)).expect("it goes on");
    assert_eq!(next(), 0);
    put(1);
    assert_eq!(next(), 1);
    server.kill();
    let _server = Server::of_one(&replica, &address, &[]);
    put(2);
    put(3);
    // Each once, in their order.
    assert_eq!((next(), next()), (json!(2), json!(3)));
    reader.expect("a thread").join().expect("a reader");
}
