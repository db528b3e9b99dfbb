//! What is signed, and what becomes of what is not as it was signed: a hub that takes nothing of it in, and nodes that find out later.

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::sign::KeyPair;

use super::super::head::{Unsigned, sum_with};
use super::super::*;
use super::shell::{Shell, connect, disconnect, key, mesh, one_root, settle};

/// The key of the shell with this seed.
fn pair(seed: u8) -> KeyPair {
    KeyPair::of(&[seed; 32])
}

/// Up to where an origin is signed at a node, and how much of it is there.
fn attested(shell: &Shell, origin: Origin) -> (u64, u64) {
    let (_, chain) = shell.node.origins().find(|(is, _)| *is == origin).expect("an origin that is known");
    (chain.signed().map_or(0, |head| head.seq()), chain.head().map_or(0, |(seq, _)| seq))
}

/// A transaction that follows on these.
fn follows(origin: Origin, before: &[Arc<Txn>], value: &'static str) -> Arc<Txn> {
    let (seq, prev) = before.last().map_or((1, Tag::NONE), |last| (last.dot().seq + 1, last.dot().tag));
    let writes = vec![Write { row: key(), value: Some(Bytes::from_static(value.as_bytes())) }];
    let hlc = syncline_base::Hlc::from_ms(5_000 + seq);
    Arc::new(Txn::new(Body { origin, seq, prev, read: Context::default(), hlc, writes }).unwrap())
}

fn sum(txns: &[Arc<Txn>]) -> Hash {
    txns.iter().fold(Hash::ZERO, |sum, txn| sum_with(&sum, txn.bytes()))
}

/// The head of these, as the owner of a key signs it for the name that it has under a nonce.
fn head(by: &KeyPair, nonce: u8, txns: &[Arc<Txn>]) -> Arc<Head> {
    Arc::new(Unsigned { nonce: [nonce; 16], seq: txns.len() as u64, sum: sum(txns) }.sign(by))
}

/// A hub that has nothing has connected to a spoke, as 7.
fn met(spoke: &mut Shell, hub: Origin) {
    spoke.node.connected(7);
    let (coverage, within) = (Coverage::new(), Within::default());
    let hello = Message::Hello { name: hub, hub: true, coverage, newest: None, parts: None, within, heads: 0 };
    spoke.node.receive(6_000, 7, hello);
}

/// Somebody who connects to a hub and says what he likes, and what it answers.
struct Liar {
    hub: Shell,
}

impl Liar {
    const AT: PeerId = 9;

    fn new() -> Self {
        let mut hub = Shell::create(true, 1);
        hub.node.connected(Self::AT);
        let liar = Shell::create(false, 8);
        let (name, coverage) = (liar.node.name(), Coverage::new());
        let hello = Message::Hello {
            name,
            hub: false,
            coverage,
            newest: None,
            parts: None,
            within: Within::default(),
            heads: 0,
        };
        hub.node.receive(1_000, Self::AT, hello);
        hub.sync();
        Self { hub }
    }

    fn says(&mut self, message: Message) -> Vec<Message> {
        self.hub.sent.clear();
        // As it crosses: nobody has looked at a signature before.
        self.hub.node.receive(6_000, Self::AT, Message::decode(message.encode()).unwrap());
        self.hub.sync();
        self.hub.sent.drain(..).map(|(_, message)| message).collect()
    }

    fn taken(&self) -> u64 {
        self.hub.node.state().coverage().of(self.hub.node.name())
    }

    #[track_caller]
    fn is_denied(&mut self, txns: &[Arc<Txn>], heads: Vec<Arc<Head>>, at: usize, why: Denial) {
        let (before, dot) = (self.taken(), txns[at].dot());
        let said = self.says(Message::Push(txns.to_vec(), heads));
        assert!(said.contains(&Message::Denied(dot, why)), "{said:?}");
        assert_eq!(self.taken(), before, "nothing of it is taken in");
        assert_eq!(self.hub.doubted.pop(), Some((dot.origin, dot.seq, why)));
    }
}

#[test]
fn what_is_pushed_and_taken_in_is_signed_everywhere_to_the_end() {
    let mut shells = mesh();
    for n in 0..5 {
        shells[1].write(2_000 + n, "a");
        shells[0].write(2_000 + n, "hub");
    }
    settle(&mut shells, 3_000);
    one_root(&shells);
    let (hub, spoke) = (shells[0].node.name(), shells[1].node.name());
    for shell in &shells {
        assert_eq!((attested(shell, hub), attested(shell, spoke)), ((5, 5), (5, 5)));
    }
    // One that comes later, by a state in place of entries, knows it too; and goes on checking.
    shells[0].node.cut_log(0);
    shells.push(Shell::create(false, 4));
    connect(&mut shells, 0, 3);
    settle(&mut shells, 4_000);
    assert_eq!((attested(&shells[3], hub), attested(&shells[3], spoke)), ((5, 5), (5, 5)));
    shells[1].write(5_000, "b");
    settle(&mut shells, 5_000);
    assert_eq!(attested(&shells[3], spoke), (6, 6));
    // The log and a checkpoint give it back, and what is written then is signed.
    for at in 0..2 {
        shells[at].node.log_heads();
        shells[at].sync();
        let again = shells[at].reopened(50 + at as u8);
        assert_eq!(attested(&again, spoke), (6, 6));
        let records = shells[at].node.checkpoint().unwrap();
        let records = records.records().map(|record| super::shell::alone(record.encode()));
        let short = Node::open(shells[at].config(60), records, false).unwrap();
        assert_eq!(attested(&Shell::around(short, Vec::new()), spoke), (6, 6));
        disconnect(&mut shells, 0, 1);
    }
    shells[1] = shells[1].reopened(2);
    connect(&mut shells, 0, 1);
    shells[1].write(6_000, "c");
    settle(&mut shells, 6_000);
    assert_eq!(attested(&shells[0], spoke), (7, 7));
    assert!(shells.iter().all(|shell| shell.doubted.is_empty() && shell.contradicted.is_empty()));
}

#[test]
fn what_waited_when_the_log_was_cut_to_a_checkpoint_is_signed_and_pushed() {
    let mut shells = mesh();
    shells[1].write(2_000, "a");
    settle(&mut shells, 2_000);
    disconnect(&mut shells, 0, 1);
    shells[1].write(2_001, "b");
    shells[1].write(2_002, "c");
    let records = shells[1].node.checkpoint().unwrap();
    let records = records.records().map(|record| super::shell::alone(record.encode()));
    let spoke = shells[1].node.name();
    shells[1] = Shell::around(Node::open(shells[1].config(61), records, false).unwrap(), Vec::new());
    assert_eq!(shells[1].node.name(), spoke);
    connect(&mut shells, 0, 1);
    settle(&mut shells, 3_000);
    one_root(&shells);
    assert_eq!(attested(&shells[2], spoke), (3, 3));
}

#[test]
fn nothing_is_taken_in_that_its_writer_has_not_signed() {
    let (owner, other) = (pair(8), pair(7));
    let name = Origin::new(&owner.public(), [3; 16]);
    let first = follows(name, &[], "a");
    let txns = [first.clone(), follows(name, std::slice::from_ref(&first), "b")];
    let signed = head(&owner, 3, &txns);
    let mut liar = Liar::new();
    // Not signed at all; not to the end; by another key, whose head says nothing of this name.
    liar.is_denied(&txns, Vec::new(), 0, Denial::Unsigned);
    liar.is_denied(&txns, vec![head(&owner, 3, &txns[..1])], 1, Denial::Unsigned);
    liar.is_denied(&txns, vec![head(&other, 3, &txns)], 0, Denial::Unsigned);
    // A forged signature, and one of more than there is.
    let mut bytes = Vec::new();
    signed.put(&mut bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = Head::read(&mut crate::wire::reader::Reader::new(bytes.into())).unwrap();
    liar.is_denied(&txns, vec![Arc::new(forged)], 0, Denial::Forged);
    let inflated = Unsigned { nonce: [3; 16], seq: 1 << 40, sum: sum(&txns) }.sign(&owner);
    liar.is_denied(&txns, vec![Arc::new(inflated)], 0, Denial::Unsigned);
    // An altered value under the same name, one in the place of another, and one that was left out.
    let altered = follows(name, std::slice::from_ref(&first), "B");
    liar.is_denied(&[first.clone(), altered], vec![signed.clone()], 0, Denial::Forged);
    let replayed = Unsigned { nonce: [3; 16], seq: 1, sum: sum(&txns) }.sign(&owner);
    liar.is_denied(&txns[..1], vec![Arc::new(replayed)], 0, Denial::Forged);
    assert!(matches!(&liar.says(Message::Push(vec![txns[1].clone()], vec![signed.clone()]))[..], [Message::Later(_)]));
    // What is in order is taken in all the same, once.
    for _ in 0..2 {
        liar.says(Message::Push(txns.to_vec(), vec![signed.clone()]));
        assert_eq!(liar.taken(), 2);
    }
    assert_eq!(attested(&liar.hub, name), (2, 2));
    // Somebody else's write under a name of one's own is one's own write.
    let mine = Origin::new(&other.public(), [1; 16]);
    let copied = Arc::new(Txn::new(Body { origin: mine, ..first.body().clone() }).unwrap());
    liar.is_denied(std::slice::from_ref(&copied), vec![signed], 0, Denial::Unsigned);
    liar.says(Message::Push(vec![copied.clone()], vec![head(&other, 1, &[copied])]));
    assert_eq!(attested(&liar.hub, mine), (1, 1));
}

#[test]
fn whoever_signs_two_histories_is_frozen_and_both_heads_are_kept() {
    let owner = pair(8);
    let name = Origin::new(&owner.public(), [3; 16]);
    let first = follows(name, &[], "a");
    let [one, two] = ["b", "c"].map(|value| [first.clone(), follows(name, std::slice::from_ref(&first), value)]);
    let (head_one, head_two) = (head(&owner, 3, &one), head(&owner, 3, &two));
    let mut liar = Liar::new();
    liar.says(Message::Push(one.to_vec(), vec![head_one.clone()]));
    let said = liar.says(Message::Push(two.to_vec(), vec![head_two.clone()]));
    assert!(said.contains(&Message::Refused(two[1].dot())), "{said:?}");
    assert_eq!(liar.hub.contradicted, std::slice::from_ref(&head_two));
    let third = [&one[..], &[follows(name, &one, "d")]].concat();
    let said = liar.says(Message::Push(third.clone(), vec![head(&owner, 3, &third)]));
    assert!(said.contains(&Message::Refused(third[2].dot())), "frozen: {said:?}");
    assert_eq!(liar.taken(), 2);
    // Through a restart, and on to others.
    let hub = liar.hub.reopened(1);
    let mut shells = vec![hub, Shell::create(false, 2)];
    connect(&mut shells, 0, 1);
    settle(&mut shells, 7_000);
    for shell in &shells {
        let (_, chain) = shell.node.origins().find(|(is, _)| *is == name).unwrap();
        assert!(chain.is_frozen());
        assert_eq!((chain.signed(), chain.against()), (Some(&head_one), Some(&head_two)));
    }
}

#[test]
fn a_hub_that_alters_what_it_passes_on_is_found_out_by_who_has_the_signed_head() {
    let owner = pair(8);
    let name = Origin::new(&owner.public(), [3; 16]);
    let (real, altered) = (follows(name, &[], "real"), follows(name, &[], "altered"));
    let mut spoke = Shell::create(false, 2);
    let hub = Shell::create(true, 1);
    met(&mut spoke, hub.node.name());
    let stamp = Stamp { hub: hub.node.name(), n: 1 };
    let entry = Entry { stamp, deps: Coverage::new(), attested: syncline_base::Hlc::from_ms(5_000), txn: altered };
    let entries = Arc::new(Batch::new(vec![Arc::new(entry)]));
    spoke.node.receive(6_000, 7, Message::Entries { through: 1, entries });
    spoke.sync();
    assert_eq!(attested(&spoke, name), (0, 1), "shown, and not signed yet");
    // A head with a signature of somebody else says nothing but who sent it.
    let unsigned = Unsigned { nonce: [3; 16], seq: 1, sum: sum(std::slice::from_ref(&real)) };
    let mut bytes = Vec::new();
    unsigned.sign(&owner).put(&mut bytes);
    bytes[80] ^= 1;
    let forged = Head::read(&mut crate::wire::reader::Reader::new(bytes.into())).unwrap();
    spoke.node.receive(6_000, 7, Message::Heads(vec![Arc::new(forged)]));
    spoke.sync();
    assert_eq!((spoke.doubted.pop(), spoke.contradicted.len()), (Some((name, 1, Denial::Forged)), 0));
    let head = Arc::new(unsigned.sign(&owner));
    spoke.node.receive(6_000, 7, Message::Heads(vec![head.clone()]));
    spoke.sync();
    assert_eq!(spoke.contradicted, [head]);
    assert!(spoke.node.origins().any(|(is, chain)| is == name && chain.is_frozen()));
}

#[test]
fn a_head_that_comes_after_more_has_come_is_held_against_what_it_is_of() {
    let owner = pair(8);
    let name = Origin::new(&owner.public(), [3; 16]);
    let mut txns: Vec<Arc<Txn>> = Vec::new();
    for _ in 0..4 {
        txns.push(follows(name, &txns, "x"));
    }
    let mut spoke = Shell::create(false, 2);
    let hub = Shell::create(true, 1).node.name();
    met(&mut spoke, hub);
    let mut deps = Coverage::new();
    let mut entries = Vec::new();
    for (n, txn) in (1..).zip(&txns) {
        let attested = syncline_base::Hlc::from_ms(5_000 + n);
        entries.push(Arc::new(Entry { stamp: Stamp { hub, n }, deps: deps.clone(), attested, txn: txn.clone() }));
        deps.raise(hub, n);
    }
    spoke.node.receive(6_000, 7, Message::Entries { through: 4, entries: Arc::new(Batch::new(entries)) });
    spoke.sync();
    for n in [2, 1, 4] {
        spoke.node.receive(6_000, 7, Message::Heads(vec![head(&owner, 3, &txns[..n])]));
        spoke.sync();
        assert_eq!(attested(&spoke, name), (n.max(2) as u64, 4));
    }
    assert!(spoke.contradicted.is_empty() && spoke.doubted.is_empty());
}

#[test]
fn a_revoked_key_writes_nothing_more_and_what_it_wrote_stays() {
    let mut shells = mesh();
    shells[1].write(2_000, "before");
    settle(&mut shells, 2_000);
    disconnect(&mut shells, 0, 1);
    shells[1].write(3_000, "after");
    let (public, revoked) = (shells[1].node.key(), shells[1].node.name());
    let row = RowKey { table: KEYS.into(), key: Bytes::copy_from_slice(&public) };
    let revoke = Write { row, value: Some(Bytes::from_static(b"{}")) };
    // Once the hub has it in its log, whoever says so first.
    shells[2].put_all(3_001, vec![revoke]);
    settle(&mut shells, 3_001);
    assert!(shells[0].node.is_revoked(&public) && !shells[1].node.is_revoked(&public));
    connect(&mut shells, 0, 1);
    settle(&mut shells, 4_000);
    let dot = *shells[1].committed.last().map(|(_, dot)| dot).unwrap();
    assert!(shells[1].denied.contains(&(dot, Denial::Revoked)), "{:?}", shells[1].denied);
    assert_eq!(attested(&shells[0], revoked), (1, 1));
    assert_eq!(shells[1].values(), ["after"], "it keeps what it wrote");
    assert_eq!((shells[0].values(), shells[2].values()), (vec!["before".to_owned()], vec!["before".to_owned()]));
    // It has learned it, and says so to its clients; time and restarts of both change nothing.
    let refusal = |shell: &mut Shell| {
        let read = shell.node.context();
        shell.node.commit(5_000, 1, read, vec![Write { row: key(), value: None }]).unwrap_err()
    };
    assert_eq!(refusal(&mut shells[1]), Refusal::Revoked);
    shells[0] = shells[0].reopened(1);
    shells[1] = shells[1].reopened(2);
    connect(&mut shells, 0, 1);
    connect(&mut shells, 0, 2);
    for now_ms in 6_000..6_010 {
        shells.iter_mut().for_each(|shell| shell.node.tick_peers(now_ms));
        settle(&mut shells, now_ms);
    }
    assert_eq!((refusal(&mut shells[1]), shells[1].node.state().pending().len()), (Refusal::Revoked, 1));
    assert_eq!(attested(&shells[0], revoked), (1, 1));
    // Others go on.
    shells[2].write(7_000, "on");
    settle(&mut shells, 7_000);
    assert_eq!(shells[0].values(), ["on"]);
    // A hub that gets its rows as a state knows it.
    let mut late = vec![shells.swap_remove(0), Shell::create(true, 6)];
    late[0].node.disconnected(1);
    late[0].node.disconnected(2);
    late[0].node.cut_log(0);
    connect(&mut late, 0, 1);
    settle(&mut late, 8_000);
    assert!(late[1].node.is_revoked(&public));
}

#[test]
fn what_waits_under_a_name_that_cannot_be_signed_is_written_again_under_one_that_can() {
    // As by a program that did not sign: its log says the name without a head.
    let mut old = Shell::create(false, 2);
    old.write(2_000, "a");
    old.write(2_001, "b");
    let unsigned = |bytes: &Bytes| !matches!(Record::decode(bytes.clone()).unwrap()[..], [Record::Signed(_)]);
    old.log.retain(unsigned);
    old.durable = old.log.len();
    let mut shells = vec![Shell::create(true, 1), old.reopened(2)];
    connect(&mut shells, 0, 1);
    settle(&mut shells, 3_000);
    one_root(&shells);
    assert_eq!((shells[1].renamed, shells[1].rewritten.len()), (1, 2));
    assert_eq!(attested(&shells[0], shells[1].node.name()), (2, 2));
    assert_eq!(shells[0].values(), ["b"]);
}

#[test]
fn who_only_follows_is_sent_one_head_for_many_transactions() {
    let mut follower = Liar::new();
    let hub = &mut follower.hub;
    let heads = |hub: &mut Shell| -> Vec<u64> {
        let sent = hub.sent.drain(..).filter(|(to, _)| *to == Liar::AT);
        sent.flat_map(|(_, message)| message.heads().map(|head| head.seq()).collect::<Vec<_>>()).collect()
    };
    hub.sent.clear();
    for n in 0..20 {
        hub.write(10_000 + n, "a");
        hub.sync();
    }
    let early = heads(hub);
    assert!(early.len() <= 1 && early.last() < Some(&20), "{early:?}");
    // The newest says all, and comes when time passes without anything else.
    hub.node.tick_peers(10_500);
    hub.sync();
    assert_eq!(heads(hub), [20]);
}
