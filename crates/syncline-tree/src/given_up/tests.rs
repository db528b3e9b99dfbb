use std::collections::BTreeMap;

use syncline_base::Hlc;

use super::*;
use crate::tests_support::memory_store;

fn commit(store: &Store, parents: &[Hash]) -> Hash {
    let generation = parents.iter().map(|id| Commit::load(store, id).unwrap().generation).max().unwrap_or(0) + 1;
    let (author, message, meta) = ("ada".to_owned(), String::new(), BTreeMap::new());
    let (parents, hlc) = (parents.to_vec(), Hlc::from_ms(generation));
    Commit { parents, generation, root: Hash::ZERO, author, hlc, message, meta }.put(store).unwrap()
}

/// A line of so many commits, and refs that mark it as given up but for the last ten.
fn line(store: &Store, n: usize) -> (Vec<Hash>, Refs) {
    let mut line = Vec::new();
    for _ in 0..n {
        line.push(commit(store, line.last().map_or(&[][..], std::slice::from_ref)));
    }
    let mut refs = Refs::new("main");
    refs.dropped.insert(line[n - 11]);
    (line, refs)
}

#[test]
fn what_is_newer_costs_nothing_however_long_the_history_is() {
    let store = memory_store();
    for n in [20, 400] {
        let (line, refs) = line(&store, n);
        let mut gone = GivenUp::new(&store, &refs).unwrap();
        for (id, generation) in line[n - 10..].iter().zip(n as u64 - 9..) {
            assert!(!gone.contains(id, generation).unwrap());
        }
        assert_eq!(gone.known(), 1);
        // And what is older as much as there is between.
        assert!(gone.contains(&line[n - 14], n as u64 - 13).unwrap());
        assert_eq!(gone.known(), 4);
        assert_eq!(gone.all().unwrap().len(), n - 10);
    }
}

#[test]
fn lines_end_at_what_is_held_and_may_be_broken() {
    let store = memory_store();
    let (line, mut refs) = line(&store, 40);
    refs.held.insert(line[20]);
    // Another line that joins below, of which only the last commit is left.
    let lost = commit(&memory_store(), &[]);
    let side = Commit { parents: vec![lost, line[5]], ..Commit::load(&store, &line[6]).unwrap() }.put(&store).unwrap();
    refs.dropped.insert(side);
    let mut gone = GivenUp::new(&store, &refs).unwrap();
    for (at, id) in line.iter().enumerate() {
        assert_eq!(gone.contains(id, at as u64 + 1).unwrap(), at <= 5 || (21..30).contains(&at), "{at}");
    }
    assert!(gone.contains(&side, 7).unwrap() && gone.contains(&lost, 1).unwrap());
    gone.forget(&line[25]);
    assert!(!gone.contains(&line[25], 26).unwrap() && gone.contains(&line[24], 25).unwrap());
}
