//! Read atomicity and causal consistency of a history, after a published algorithm.
//!
//! Source: Ranadeep Biswas and Constantin Enea, "On the Complexity of Checking Transactional Consistency", OOPSLA 2019: section 2
//! has the axioms, section 3 shows that saturation decides these two in polynomial time. A history is allowed when there is one
//! order of all transactions, the commit order, that extends sessions (so) and reads from writes (wr), and in which, whenever t3 reads a row
//! from t1 and t2 writes that row, too, and t2 comes before t3 in
//!
//! - so or wr (read atomic), or
//! - any number of steps of so and wr (causal consistency),
//!
//! t2 comes before t1. These orders are added; what is allowed has no circle then. Of each chain only the last such t2 is added: those before it
//! come before it by so. This program is ours; the tests plant the anomalies that it has to find.
//!
//! A row of ours may have several values. What counts as read is the one that readers see, the greatest of those by its time; times
//! extend causality, so there is a commit order: that of times. The other values are looked at in `rows`.
//!
//! A hub believes a writer's clock up to a second ahead of its own. Where that is more, the time of a value is another one from the moment on when
//! the hub's entry of it is there, and which of several values is the greatest may change. So where clocks were wrong, looks at rows with
//! several values are left to `rows`.

use super::order::{Id, Order, sorted};
use super::{Read, Written};

/// Whether each transaction is seen whole, and after those of its session.
pub(super) fn read_atomic(order: &Order, clocks: bool) -> Result<(), String> {
    check(order, clocks, "read atomicity", |order, id, read| {
        let Some(chains) = order.writers.get(&read.row) else { return Vec::new() };
        let node = &order.nodes[id];
        let own = chains.get(&node.chain).and_then(|all| order.last(node.chain, all, id));
        let others = node.txn.reads.iter().flat_map(|other| &other.siblings);
        let others = others.filter_map(|value| Some(order.writer.get(value)?.0));
        let writes = |one: &Id| order.nodes[*one].txn.writes.iter().any(|write| write.row == read.row);
        own.into_iter().chain(others.filter(writes)).collect()
    })
}

/// Whether each look shows a past that is whole.
pub(super) fn causal(order: &Order, clocks: bool) -> Result<(), String> {
    check(order, clocks, "causal consistency", |order, id, read| {
        let chains = order.writers.get(&read.row).into_iter().flatten();
        chains.filter_map(|(chain, all)| order.last(*chain, all, id)).collect()
    })
}

/// Adds what follows from every read, given who of the row's writers the reader has to have seen, and looks for a circle.
fn check(order: &Order, clocks: bool, what: &str, seen: impl Fn(&Order, Id, &Read) -> Vec<Id>) -> Result<(), String> {
    let all = 0..order.nodes.len();
    let mut edges: Vec<(Id, Id)> = all.clone().flat_map(|to| order.direct(to).map(move |from| (from, to))).collect();
    for id in all {
        let one = |read: &&Read| !clocks || read.siblings.len() < 2;
        for read in order.nodes[id].txn.reads.iter().filter(one) {
            let from = read.visible.and_then(|value: Written| Some(order.writer.get(&value)?.0));
            for other in seen(order, id, read) {
                match from {
                    Some(from) if from == other => {}
                    Some(from) => edges.push((other, from)),
                    None => {
                        return Err(format!(
                            "{what}: {} read nothing in row {}, after {}",
                            order.name(id),
                            read.row,
                            order.name(other)
                        ));
                    }
                }
            }
        }
    }
    edges.sort_unstable();
    edges.dedup();
    match sorted(order.nodes.len(), &edges) {
        Ok(_) => Ok(()),
        Err(circle) => Err(format!(
            "{what}: each of these has to come before the next, and the last before the first: {}",
            order.names(&circle)
        )),
    }
}
