//! Peers that lie, break off, or talk out of turn.

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::{Hash, Kind};
use syncline_store::codec::RAW;
use syncline_store::{Bases, Store, chunk};
use syncline_sync::run::drive;
use syncline_sync::session::{Receiver, Sender, Server, Session};
use syncline_sync::wire::{self, Message, Object, Squeezed, Step, Want, Welcome};
use syncline_sync::{Counters, Error, Local, PullRequest, Transport};

use syncline_tree::TableRef;

use crate::world::{World, pump, request};

const MAIN: &str = "branches/main";

fn pulling(client: &World) -> Receiver<'_> {
    let mut session = Receiver::pull(client, &PullRequest::default()).unwrap();
    assert!(matches!(session.next().unwrap(), Some(Message::Hello { .. })));
    session
}

fn object(id: Hash, kind: u8, payload: &'static [u8]) -> Object {
    Object {
        id,
        kind,
        codec: RAW,
        bases: Bases::none(),
        raw_len: u32::try_from(payload.len()).unwrap(),
        rest: 0,
        payload: Bytes::from_static(payload),
    }
}

const CHUNK: u8 = 0x80;

#[test]
fn bytes_that_are_not_what_their_id_says_are_refused() {
    let client = World::new();
    let mut session = pulling(&client);
    session.receive(Message::Welcome(Welcome::default())).unwrap();
    let wrong = object(Hash::of(b"something else"), CHUNK, b"some bytes");
    let error = session.receive(Message::Objects(vec![wrong])).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(client.store.usage().unwrap().objects, 0);
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let client = World::new();
    for change in [
        |object: &mut Object| object.raw_len = u32::MAX,
        |object: &mut Object| object.rest = u32::MAX,
        |object: &mut Object| object.codec = 99,
        |object: &mut Object| object.kind = 0x3f,
        |object: &mut Object| object.bases = Bases::one(Hash::of(b"a base that is not here")),
    ] {
        let mut session = pulling(&client);
        session.receive(Message::Welcome(Welcome::default())).unwrap();
        let mut bad = object(Hash::of(b"some bytes"), CHUNK, b"some bytes");
        change(&mut bad);
        let error = session.receive(Message::Objects(vec![bad])).unwrap_err();
        assert!(matches!(error.kind(), Kind::Corrupt | Kind::Invalid), "{error}");
    }
}

#[test]
fn a_chunk_that_is_longer_than_a_chunk_is_refused() {
    let client = World::new();
    for (len, fits) in [(chunk::MAX, true), (chunk::MAX + 1, false)] {
        let mut session = pulling(&client);
        session.receive(Message::Welcome(Welcome::default())).unwrap();
        let encoded = Store::encode(&Bytes::from(vec![0; len])).unwrap();
        assert!(encoded.payload.len() < 1000);
        let mut chunk = object(encoded.id, CHUNK, b"");
        (chunk.codec, chunk.raw_len, chunk.payload) = (encoded.codec, encoded.raw_len, encoded.payload);
        assert_eq!(session.receive(Message::Objects(vec![chunk])).is_ok(), fits);
    }
    assert_eq!(client.store.usage().unwrap().objects, 1);
}

#[test]
fn a_step_that_is_done_again_begins_with_nothing_half_there() {
    let client = World::new();
    client.give_up(client.chain(None, 1, "old"));
    let mut session = pulling(&client);
    session.receive(Message::Welcome(Welcome::default())).unwrap();
    // One that stands on what is not here any more, and the beginning of another.
    let mut half = object(Hash::of(b"some bytes and more"), CHUNK, b"some bytes");
    half.rest = 9;
    let bad = object(Hash::of(b"something else"), CHUNK, b"some bytes");
    session.receive(Message::Objects(vec![bad, half])).unwrap();
    assert_eq!(session.next().unwrap(), Some(Message::Redo { step: 0 }));
    session.receive(Message::Part(Bytes::from_static(b" and more"))).unwrap();
    session.receive(Message::Restart { step: 0 }).unwrap();
    let good = object(Hash::of(b"some bytes"), CHUNK, b"some bytes");
    session.receive(Message::Objects(vec![good])).unwrap();
    assert!(client.store.contains(&Hash::of(b"some bytes")).unwrap());
}

#[test]
fn trees_that_cannot_be_are_not_compared() {
    let client = World::new();
    let tree = |height| TableRef { schema: Hash::ZERO, root: Hash::ZERO, rows: 1, height };
    for (trees, fits) in [
        (vec![("t/a".to_owned(), tree(40)), ("t/b".to_owned(), tree(40))], true),
        (vec![("t/a".to_owned(), tree(41))], false),
        (vec![("t/a".to_owned(), tree(2)), ("t/a".to_owned(), tree(2))], false),
    ] {
        let mut session = pulling(&client);
        session.receive(Message::Welcome(Welcome::default())).unwrap();
        assert_eq!(session.receive(Message::Propose(trees)).is_ok(), fits);
    }
}

/// Answers each message with one that is much longer.
#[derive(Default)]
struct Echo {
    heard: usize,
    backlog: usize,
    worst: usize,
}

impl Session for Echo {
    fn receive(&mut self, _: Message) -> Result<(), Error> {
        self.heard += 1;
        self.backlog += 1;
        self.worst = self.worst.max(self.backlog);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Message>, Error> {
        if self.backlog == 0 {
            return Ok(None);
        }
        self.backlog -= 1;
        Ok(Some(Message::Part(Bytes::from(vec![0; 64 << 10]))))
    }

    fn is_over(&self) -> bool {
        false
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Delivers one frame.
struct Flood {
    frame: Option<Bytes>,
    longest: usize,
}

impl Transport for Flood {
    fn peer(&self) -> String {
        "the peer".into()
    }

    fn send(&mut self, message: Bytes) -> Result<(), Error> {
        self.longest = self.longest.max(message.len());
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.frame.take())
    }

    fn try_receive(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    fn finish(&mut self) {}

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

#[test]
fn many_short_messages_in_one_frame_are_taken_one_by_one() {
    let frame = wire::encode_frame(&vec![Message::Finish; 1000]);
    assert_eq!(frame.len(), 2000);
    let (mut echo, mut flood) = (Echo::default(), Flood { frame: Some(frame), longest: 0 });
    let error = drive(&mut echo, &mut flood, &mut ()).unwrap_err();
    // All were answered before the connection was found to be closed.
    assert_eq!((error.kind(), echo.heard, echo.worst), (Kind::Unavailable, 1000, 1));
    assert!(flood.longest < 2 << 20, "a frame of {} bytes", flood.longest);
    // What follows is not looked at before its turn, so it cannot have been decoded into memory.
    let mut messages = wire::messages(Bytes::from_static(&[15, 0, 99, 0, 15, 0]));
    assert_eq!(messages.next().unwrap().unwrap(), Message::Finish);
    assert_eq!(messages.next().unwrap().unwrap_err().kind(), Kind::Invalid);
    assert!(messages.next().is_none());
}

#[test]
fn a_commit_that_does_not_follow_is_refused() {
    let (client, server) = (World::new(), World::new());
    let first = server.chain(None, 1, "first");
    let second = server.chain(Some(first), 1, "second");
    server.set(MAIN, second);
    let mut session = pulling(&client);
    let welcome = Welcome { refs: vec![(MAIN.into(), second)], ..Welcome::default() };
    session.receive(Message::Welcome(welcome)).unwrap();
    // A base that the client does not have.
    let step = |base| Step { base, root: Squeezed::default(), commit: Squeezed::default() };
    let error = session.receive(Message::Step(step(Some(first)))).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    // The end before anything has come.
    let error = session.receive(Message::Finish).unwrap_err();
    assert!(error.to_string().contains("not sent"), "{error}");
    assert_eq!(client.refs().unwrap(), []);
}

#[test]
fn a_push_to_a_commit_that_was_not_sent_moves_nothing() {
    let server = World::new();
    let mut session = Server::new(&server);
    let hello = |target| Message::Hello {
        version: 1,
        want: Want::Push {
            moves: vec![syncline_sync::wire::Move { name: MAIN.into(), expected: None, target, flags: 0 }],
        },
    };
    session.receive(hello(Some(Hash::of(b"nowhere")))).unwrap();
    assert!(matches!(session.next().unwrap(), Some(Message::Welcome(_))));
    assert_eq!(session.receive(Message::Finish).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(server.at(MAIN), None);
}

#[test]
fn a_transfer_cut_at_any_message_is_resumed() {
    let server = World::new();
    server.set(MAIN, server.chain(None, 10, "main"));
    let mut cut = 0;
    loop {
        let client = World::new();
        let done = {
            let mut ours = Receiver::pull(&client, &PullRequest::default()).unwrap();
            let mut theirs = Server::new(&server);
            pump(&mut ours, &mut theirs, Some(cut)).1.unwrap()
        };
        assert_eq!(client.refs().unwrap(), [], "no ref moves before the end");
        let client = client.killed();
        crate::world::pull(&client, &server, &PullRequest::default()).unwrap();
        client.check_whole();
        if done {
            break;
        }
        cut += 1;
    }
    assert!(cut > 5);
}

#[test]
fn a_push_cut_at_any_message_moves_the_ref_once_or_not() {
    let mut cut = 0;
    loop {
        let (client, server) = (World::new(), World::new());
        server.set(MAIN, server.chain(None, 2, "main"));
        crate::world::pull(&client, &server, &PullRequest::default()).unwrap();
        let (old, new) = (client.at(MAIN).unwrap(), client.chain(client.at(MAIN), 3, "ours"));
        client.set(MAIN, new);
        let done = {
            let mut ours = Sender::push(&client, request(MAIN, new)).unwrap();
            let mut theirs = Server::new(&server);
            pump(&mut ours, &mut theirs, Some(cut)).1.unwrap()
        };
        let server = server.killed();
        assert!([old, new].contains(&server.at(MAIN).unwrap()));
        server.check_whole();
        crate::world::push(&client, &server, MAIN).unwrap();
        assert_eq!(server.at(MAIN), Some(new));
        server.check_whole();
        if done {
            break;
        }
        cut += 1;
    }
    assert!(cut > 4);
}

/// Messages that may come at any time from a peer that has gone mad; their parts are plausible.
fn any_message() -> impl Strategy<Value = Message> {
    let ids = || prop_oneof![Just(Hash::of(b"a")), Just(Hash::of(b"b")), Just(Hash::ZERO)];
    let blob = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let kind =
        || prop_oneof![Just(0u8), Just(0x41), Just(0x42), Just(0xc1), Just(0xc2), Just(0x80), Just(0x81), any::<u8>()];
    let bases = || {
        prop_oneof![
            Just(Bases::none()),
            ids().prop_map(Bases::one),
            (ids(), ids()).prop_map(|(first, second)| Bases::two(first, second))
        ]
    };
    let object = (ids(), kind(), 0..20u8, bases(), 0..50u32, 0..50u32, blob()).prop_map(
        |(id, kind, codec, bases, raw_len, rest, payload)| Object { id, kind, codec, bases, raw_len, rest, payload },
    );
    let squeezed = || (0..300u32, blob()).prop_map(|(raw_len, payload)| Squeezed { raw_len, payload });
    let moves = (proptest::option::of(ids()), proptest::option::of(ids()), any::<u8>())
        .prop_map(|(expected, target, flags)| syncline_sync::wire::Move { name: MAIN.into(), expected, target, flags });
    let want = prop_oneof![
        moves.prop_map(|step| Want::Push { moves: vec![step] }),
        (any::<bool>(), ids()).prop_map(|(empty, head)| Want::Pull {
            refs: Vec::new(),
            tables: None,
            depth: 0,
            heads: vec![head],
            lacks: vec![Hash::of(b"b")],
            empty,
            outline: !empty,
            follow: empty,
        }),
        ids().prop_map(|id| Want::Fetch { ids: vec![id] }),
    ];
    prop_oneof![
        want.prop_map(|want| Message::Hello { version: 1, want }),
        (ids(), any::<bool>()).prop_map(|(id, empty)| Message::Welcome(Welcome {
            refs: vec![(MAIN.into(), id)],
            head: MAIN.into(),
            heads: vec![id],
            lacks: vec![id],
            empty
        })),
        Just(Message::AskHaves),
        proptest::collection::vec(ids(), 0..3).prop_map(Message::Haves),
        proptest::collection::vec(object, 0..3).prop_map(Message::Objects),
        blob().prop_map(Message::Part),
        proptest::collection::vec((ids(), kind()), 0..9).prop_map(Message::Offer),
        blob().prop_map(Message::Lack),
        ("t/[ab]|f|x", blob()).prop_map(|(tree, frame)| Message::Delta { tree, frame }),
        (proptest::option::of(ids()), squeezed(), squeezed()).prop_map(|(base, root, commit)| Message::Step(Step {
            base,
            root,
            commit
        })),
        (ids(), ids(), any::<u64>(), any::<u8>()).prop_map(|(schema, root, rows, height)| Message::Propose(vec![(
            "t/a".into(),
            TableRef { schema, root, rows, height }
        )])),
        (0..2u32, blob()).prop_map(|(tree, body)| Message::Query { tree, body }),
        (0..2u32, blob()).prop_map(|(tree, body)| Message::Answer { tree, body }),
        (proptest::collection::vec(0..2u32, 0..2), proptest::collection::vec((ids(), kind()), 0..3))
            .prop_map(|(trees, need)| Message::Settled { trees, need }),
        (0..3u64).prop_map(|step| Message::Redo { step }),
        (0..3u64).prop_map(|step| Message::Restart { step }),
        Just(Message::Ack { steps: 1 }),
        Just(Message::Finish),
        proptest::collection::vec(
            (prop_oneof![Just(MAIN.to_owned()), Just("tags/a".to_owned())], proptest::option::of(ids())),
            0..2
        )
        .prop_map(|left| Message::Done { left }),
    ]
}

/// Feeds messages until one is refused; the session must not panic and nothing visible may change.
fn feed(session: &mut dyn Session, messages: Vec<Message>) {
    while session.next().is_ok_and(|message| message.is_some()) {}
    for message in messages {
        let outcome: Result<(), Error> = session.receive(message);
        if outcome.is_err() {
            return;
        }
        while session.next().is_ok_and(|message| message.is_some()) {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_out_of_turn_change_nothing(messages in proptest::collection::vec(any_message(), 1..12)) {
        let world = World::new();
        let tip = world.chain(None, 2, "main");
        world.set(MAIN, tip);
        feed(&mut Server::new(&world), messages.clone());
        feed(&mut Receiver::pull(&world, &PullRequest::default()).unwrap(), messages.clone());
        feed(&mut Sender::push(&world, request(MAIN, tip)).unwrap(), messages);
        // Removing the ref by a well-formed push is allowed; anything else leaves it where it was.
        prop_assert!(world.at(MAIN).is_none_or(|id| id == tip));
        world.check_whole();
    }
}
