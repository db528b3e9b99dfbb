//! Spokes that hold a part of the rows.

use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use super::shell::{Shell, connect, disconnect, settle};

/// Rows whose keys begin with one of these letters; of values the first so many bytes.
#[derive(Debug)]
struct Letters(Bytes, usize);

impl Scope for Letters {
    fn id(&self) -> &Bytes {
        &self.0
    }

    fn includes(&self, row: &RowKey) -> bool {
        self.0.contains(&row.key[0])
    }

    fn project(&self, _: &RowKey, value: &Bytes) -> Bytes {
        value.slice(..value.len().min(self.1))
    }
}

fn scope(letters: &'static str) -> Arc<dyn Scope> {
    Arc::new(Letters(Bytes::from_static(letters.as_bytes()), usize::MAX))
}

fn row(name: &str) -> RowKey {
    RowKey { table: "t".into(), key: Bytes::copy_from_slice(name.as_bytes()) }
}

fn set(name: &str, value: &'static str) -> Write {
    Write { row: row(name), value: (!value.is_empty()).then(|| Bytes::from_static(value.as_bytes())) }
}

/// The hub, which is 0, and a spoke, which holds a part.
fn follow(shells: &mut [Shell], spoke: usize, scope: Arc<dyn Scope>) {
    shells[0].node.connected_within(spoke as PeerId, scope);
    shells[spoke].node.connected(0);
}

fn held(shell: &Shell) -> Vec<String> {
    let one = |(key, row): (RowKey, Arc<Row>)| {
        let values: Vec<_> = row.siblings().iter().map(|sibling| String::from_utf8_lossy(&sibling.value)).collect();
        format!("{}={}", String::from_utf8_lossy(&key.key), values.join("|"))
    };
    shell.node.state().rows().map(one).collect()
}

/// Whether a spoke holds just what a hub does inside a scope.
fn is_part(shells: &[Shell], spoke: usize, scope: &dyn Scope) {
    let (hub, spoke) = (shells[0].node.state(), shells[spoke].node.state());
    assert_eq!(hub.coverage(), spoke.coverage());
    assert_eq!(hub.frozen().digest_within(scope), spoke.frozen().digest());
    assert_eq!(spoke.frozen().digest().root, spoke.root());
}

fn shells() -> Vec<Shell> {
    let mut shells = vec![Shell::create(true, 1), Shell::create(false, 2), Shell::create(false, 3)];
    connect(&mut shells, 0, 1);
    settle(&mut shells, 1_000);
    shells
}

#[test]
fn a_spoke_holds_what_is_in_its_scope_and_covers_the_rest() {
    let mut shells = shells();
    follow(&mut shells, 2, scope("ab"));
    settle(&mut shells, 2_000);
    shells[0].put_all(2_001, vec![set("a1", "x"), set("z1", "x")]);
    shells[1].put_all(2_002, vec![set("z2", "y")]);
    shells[1].put_all(2_003, vec![set("b1", "y")]);
    let said = settle(&mut shells, 2_100);
    assert_eq!(held(&shells[2]), ["a1=x", "b1=y"]);
    is_part(&shells, 2, &*scope("ab"));
    // Of three transactions one came whole, and its tag was computed.
    let entries = said.iter().filter_map(|(_, to, message)| match message {
        Message::Entries { entries, .. } if *to == 2 => Some(entries.iter().map(|entry| entry.txn.is_whole())),
        _ => None,
    });
    let whole: Vec<bool> = entries.flatten().collect();
    assert_eq!(whole.iter().filter(|whole| **whole).count(), 1, "{whole:?}");
    // What it writes goes up in full and comes back.
    shells[2].put_all(2_200, vec![set("a1", "mine")]);
    settle(&mut shells, 2_300);
    assert_eq!(shells[2].node.state().pending().len(), 0);
    assert!(held(&shells[0]).contains(&"a1=mine".to_owned()));
    is_part(&shells, 2, &*scope("ab"));
    // A deletion there is a deletion here.
    shells[0].put_all(2_400, vec![set("b1", "")]);
    settle(&mut shells, 2_500);
    assert_eq!(held(&shells[2]), ["a1=mine"]);
    // The log gives it back, and a checkpoint does.
    let again = shells[2].reopened(9);
    assert_eq!(
        (again.node.scope(), again.node.state().root()),
        (&Bytes::from_static(b"ab"), shells[2].node.state().root())
    );
    let moment = shells[2].node.checkpoint().unwrap();
    let records = moment.records().map(Ok);
    let short = Node::open(super::shell::config(8), records, false).unwrap();
    assert_eq!((short.scope(), short.state().root()), (shells[2].node.scope(), shells[2].node.state().root()));
}

#[test]
fn a_state_is_sent_within_the_scope_and_values_are_cut_to_it() {
    let mut shells = shells();
    shells[0].put_all(1_100, vec![set("a1", "long"), set("z1", "x")]);
    shells[0].put_all(1_101, vec![set("a2", "gone"), set("a3", "three")]);
    settle(&mut shells, 1_102);
    shells[0].put_all(1_102, vec![set("a2", "")]);
    settle(&mut shells, 1_200);
    shells[0].node.cut_log(0);
    let cut: Arc<dyn Scope> = Arc::new(Letters(Bytes::from_static(b"a"), 2));
    follow(&mut shells, 2, cut.clone());
    settle(&mut shells, 1_300);
    assert_eq!(held(&shells[2]), ["a1=lo", "a3=th"]);
    shells[0].put_all(1_400, vec![set("a1", "longer")]);
    settle(&mut shells, 1_500);
    assert_eq!(held(&shells[2]), ["a1=lo", "a3=th"]);
    is_part(&shells, 2, &*cut);
}

#[test]
fn who_changes_the_scope_gets_what_comes_in_and_forgets_what_leaves_and_tells_nobody() {
    let mut shells = shells();
    follow(&mut shells, 2, scope("ab"));
    shells[0].put_all(1_100, vec![set("a1", "1"), set("b1", "2"), set("c1", "3")]);
    settle(&mut shells, 1_200);
    disconnect(&mut shells, 0, 2);
    // It waits for the hub, through the change.
    shells[2].put_all(1_250, vec![set("a2", "unsent")]);
    shells[2].sync();
    let before = shells[2].node.state().coverage().clone();
    follow(&mut shells, 2, scope("bc"));
    let said = settle(&mut shells, 1_300);
    assert_eq!(held(&shells[2]), ["b1=2", "c1=3"]);
    is_part(&shells, 2, &*scope("bc"));
    assert!(shells[2].node.state().coverage().includes(&before));
    assert_eq!(held(&shells[0]), ["a1=1", "a2=unsent", "b1=2", "c1=3"]);
    let pushed = said.iter().filter(|(from, _, message)| *from == 2 && matches!(message, Message::Push(..)));
    assert_eq!(pushed.count(), 1);
    // From the log as from memory.
    assert_eq!(shells[2].reopened(9).node.state().root(), shells[2].node.state().root());
    // And back to everything, from where nothing is said of scopes.
    disconnect(&mut shells, 0, 2);
    connect(&mut shells, 0, 2);
    settle(&mut shells, 1_400);
    assert_eq!(shells[2].node.scope(), &Bytes::new());
    assert_eq!(shells[2].node.state().root(), shells[0].node.state().root());
}

#[test]
fn what_is_here_stays_until_all_of_the_new_scope_is_and_a_hub_that_has_less_waits() {
    let mut shells = shells();
    shells[0].put_all(1_100, vec![set("a1", "1")]);
    follow(&mut shells, 2, scope("ab"));
    settle(&mut shells, 1_200);
    disconnect(&mut shells, 0, 2);
    // Another hub, which has nothing of the first one's.
    shells.push(Shell::create(true, 4));
    shells[3].node.connected_within(2, scope("b"));
    shells[2].node.connected(3);
    settle(&mut shells, 1_300);
    assert_eq!((held(&shells[2]), shells[2].node.scope()), (vec!["a1=1".to_owned()], &Bytes::from_static(b"ab")));
    shells[3].put_all(1_350, vec![set("b9", "9")]);
    settle(&mut shells, 1_360);
    assert_eq!(held(&shells[2]), ["a1=1"]);
    connect(&mut shells, 0, 3);
    settle(&mut shells, 1_400);
    assert_eq!((held(&shells[2]), shells[2].node.scope()), (vec!["b9=9".to_owned()], &Bytes::from_static(b"b")));
}

/// What is outside costs little: who wrote it, and what its writer's chain goes on with.
#[test]
fn a_transaction_that_is_outside_takes_sixteen_bytes_or_less() {
    let mut shells = shells();
    follow(&mut shells, 2, scope("a"));
    settle(&mut shells, 1_150);
    for nth in 0..400u64 {
        let key = format!("z{nth:060}");
        shells[usize::from(nth % 2 == 0)].put_all(1_200 + nth, vec![set(&key, "something that is longer than that")]);
    }
    let said = settle(&mut shells, 2_000);
    let (mut bytes, mut count) = (0, 0);
    for (_, to, message) in said.iter().filter(|(_, to, _)| *to == 2) {
        if let Message::Entries { entries, .. } = message {
            assert!(*to == 2 && entries.iter().all(|entry| entry.txn.body().writes.is_empty()));
            (bytes, count) = (bytes + message.encode().len(), count + entries.len());
        }
    }
    assert_eq!(count, 400);
    assert!(bytes <= 16 * count, "{bytes} bytes for {count}");
}

#[test]
fn who_holds_a_part_serves_nobody_and_is_no_hub() {
    let mut shells = shells();
    shells[0].put_all(1_100, vec![set("a1", "1"), set("z1", "1")]);
    follow(&mut shells, 2, scope("a"));
    settle(&mut shells, 1_200);
    shells.push(Shell::create(false, 5));
    connect(&mut shells, 2, 3);
    settle(&mut shells, 1_300);
    assert!(held(&shells[3]).is_empty() && shells[3].node.state().coverage().is_empty());
    shells[2].node.set_hub(1_400, true);
    assert!(!shells[2].node.is_hub());
}
