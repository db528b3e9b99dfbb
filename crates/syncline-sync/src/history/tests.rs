use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use syncline_base::{Hlc, SystemClock};
use syncline_store::backend::memory::Memory;
use syncline_store::backend::wrap::{Fault, Faults, Op};
use syncline_tree::DatasetRoot;

use super::*;

/// A store that counts how often it is listed, and a commit in it whose parents are not there.
fn counted(parents: &[Hash]) -> (Store, Hash, Arc<AtomicUsize>) {
    let lists = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lists);
    let backend = Faults::new(Arc::new(Memory::new()), move |call| {
        count.fetch_add(usize::from(call.op == Op::List), Ordering::Relaxed);
        Fault::None
    });
    let store = syncline_tree::open_store(Arc::new(backend), true, Arc::new(SystemClock)).unwrap();
    let commit = Commit {
        parents: parents.to_vec(),
        generation: 7,
        root: DatasetRoot::default().put(&store).unwrap(),
        author: "ada".into(),
        hlc: Hlc::from_ms(1),
        message: "one".into(),
        meta: BTreeMap::new(),
    };
    let tip = commit.put(&store).unwrap();
    store.flush().unwrap();
    (store, tip, lists)
}

#[test]
fn commits_that_are_not_here_are_looked_for_together() {
    let absent: Vec<Hash> = (0..500_u32).map(|n| Hash::of(&n.to_le_bytes())).collect();
    let (store, tip, lists) = counted(&absent);
    let asked = |what: &dyn Fn()| {
        let before = lists.load(Ordering::Relaxed);
        what();
        lists.load(Ordering::Relaxed) - before
    };
    let (none, shallow) = (IdSet::default(), IdSet::from_iter([tip]));
    let theirs = Theirs { heads: &absent, lacks: &none };
    let for_heads = asked(&|| {
        let mut gone = GivenUp::new(&store, &syncline_tree::Refs::new("main")).unwrap();
        let ours = Ours { store: &store, shallow: &shallow };
        assert_eq!(plan(ours, &[], theirs, None, &mut gone).unwrap().commits, []);
    });
    let for_reached = asked(&|| assert!(reached(&store, &[], &absent).unwrap().is_empty()));
    let for_lacks = asked(&|| assert_eq!(lacks(&store, &[tip], 1_000).unwrap().len(), 500));
    assert!(
        [for_heads, for_reached, for_lacks].iter().all(|lists| *lists < 20),
        "{for_heads} {for_reached} {for_lacks}"
    );
}
