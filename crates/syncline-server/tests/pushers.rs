//! Many writers on one branch.

use syncline_base::{Hash, Kind, task};
use syncline_node::sync;
use syncline_server::remote::Remote;
use syncline_tree::{Log, Table};

use crate::support::{Node, Place};

const WRITERS: i64 = 16;

#[test]
fn sixteen_writers_on_one_branch_all_land() {
    let node = Node::new();
    let first = Place::new();
    first.edit(0..5_000, "base");
    first.push(&mut Remote::new(&node.client())).unwrap();
    let places: Vec<(i64, Place)> = (0..WRITERS).map(|n| (n, node.clone())).collect();
    let threads: Vec<_> = places
        .into_iter()
        .map(|(n, place)| {
            let client = node.client();
            task::spawn(&format!("writer-{n}"), move || {
                // Each writer has its own row: what it writes is rebased on what has landed before it.
                let mut refusals = 0;
                place.edit([1_000 * n], &format!("writer {n}"));
                loop {
                    match place.push(&mut Remote::new(&client)) {
                        Ok(_) => return (place.head().unwrap(), refusals),
                        Err(error) => {
                            assert_eq!(error.kind(), Kind::Conflict, "{error}");
                            assert!(matches!(
                                error,
                                sync::Error::Moved { .. } | sync::Error::Local { .. } | sync::Error::Peer { .. }
                            ));
                            refusals += 1;
                            assert!(refusals < 200, "starved");
                            place.pull(&mut Remote::new(&client));
                            place.edit([1_000 * n], &format!("writer {n}"));
                        }
                    }
                }
            })
            .unwrap()
        })
        .collect();
    let landed: Vec<(Hash, i32)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let replica = node.replica();
    let tip = replica.refs().unwrap().head_commit().unwrap();
    let history: Vec<Hash> = Log::new(replica.store(), [tip]).map(|step| step.unwrap().0).collect();
    assert_eq!(history.len() as i64, 1 + WRITERS);
    for (id, _) in &landed {
        assert!(history.contains(id), "a push that was acknowledged is gone");
    }
    let table = replica.root_of(&tip).unwrap().tables["t"];
    assert_eq!(Table::open(replica.store(), &table).unwrap().rows(), 5_000 + WRITERS.unsigned_abs() - 5);
}
