use proptest::prelude::*;

use super::fields::put_bytes;
use super::*;

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9/äß ]{0,20}"
}

fn blob() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

fn ids() -> impl Strategy<Value = Vec<Hash>> {
    proptest::collection::vec(hash(), 0..5)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), 0..4)
}

fn squeezed() -> impl Strategy<Value = Squeezed> {
    (any::<u32>(), blob()).prop_map(|(raw_len, payload)| Squeezed { raw_len, payload })
}

fn want() -> impl Strategy<Value = Want> {
    let pull = (names(), proptest::option::of(names()), any::<u32>(), (ids(), ids()), any::<(bool, bool, bool)>())
        .prop_map(|(refs, tables, depth, (heads, lacks), (empty, outline, follow))| Want::Pull {
            refs,
            tables,
            depth,
            heads,
            lacks,
            empty,
            outline,
            follow,
        });
    let step = (text(), proptest::option::of(hash()), proptest::option::of(hash()), any::<u8>())
        .prop_map(|(name, expected, target, flags)| Move { name, expected, target, flags });
    let push = proptest::collection::vec(step, 0..4).prop_map(|moves| Want::Push { moves });
    prop_oneof![pull, push, ids().prop_map(|ids| Want::Fetch { ids })]
}

fn object() -> impl Strategy<Value = Object> {
    let bases = prop_oneof![
        Just(Bases::none()),
        hash().prop_map(Bases::one),
        (hash(), hash()).prop_map(|(first, second)| Bases::two(first, second)),
    ];
    let head = (hash(), any::<u8>(), any::<u8>(), bases);
    (head, any::<u32>(), any::<u32>(), blob()).prop_map(|((id, kind, codec, bases), raw_len, rest, payload)| Object {
        id,
        kind,
        codec,
        bases,
        raw_len,
        rest,
        payload,
    })
}

fn moved() -> impl Strategy<Value = Option<(String, Option<Hash>, Option<Hash>)>> {
    proptest::option::of((text(), proptest::option::of(hash()), proptest::option::of(hash())))
}

fn message() -> impl Strategy<Value = Message> {
    let refs = proptest::collection::vec((text(), hash()), 0..4);
    prop_oneof![
        want().prop_map(|want| Message::Hello { version: VERSION, want }),
        (refs, text(), (ids(), ids()), any::<bool>()).prop_map(|(refs, head, (heads, lacks), empty)| Message::Welcome(
            Welcome { refs, head, heads, lacks, empty }
        )),
        Just(Message::AskHaves),
        ids().prop_map(Message::Haves),
        any::<u64>().prop_map(|commits| Message::Plan { commits }),
        proptest::collection::vec(blob(), 0..4).prop_map(Message::Past),
        proptest::collection::vec(object(), 0..4).prop_map(Message::Objects),
        blob().prop_map(Message::Part),
        proptest::collection::vec((hash(), 0..3u8), 0..9).prop_map(Message::Offer),
        blob().prop_map(Message::Lack),
        (text(), blob()).prop_map(|(tree, frame)| Message::Delta { tree, frame }),
        (proptest::option::of(hash()), squeezed(), squeezed()).prop_map(|(base, root, commit)| Message::Step(Step {
            base,
            root,
            commit
        })),
        proptest::collection::vec((text(), hash(), hash(), any::<u64>(), any::<u8>()), 0..4).prop_map(|trees| {
            let table = |(name, schema, root, rows, height)| (name, TableRef { schema, root, rows, height });
            Message::Propose(trees.into_iter().map(table).collect())
        }),
        (any::<u32>(), blob()).prop_map(|(tree, body)| Message::Query { tree, body }),
        (any::<u32>(), blob()).prop_map(|(tree, body)| Message::Answer { tree, body }),
        (proptest::collection::vec(any::<u32>(), 0..4), proptest::collection::vec((hash(), 0..3u8), 0..9))
            .prop_map(|(trees, need)| Message::Settled { trees, need }),
        any::<u64>().prop_map(|step| Message::Redo { step }),
        any::<u64>().prop_map(|step| Message::Restart { step }),
        any::<u64>().prop_map(|steps| Message::Ack { steps }),
        Just(Message::Finish),
        proptest::collection::vec((text(), proptest::option::of(hash())), 0..4).prop_map(|left| Message::Done { left }),
        (0..Kind::ALL.len(), text(), moved()).prop_map(|(kind, message, moved)| Message::Fault(Fault {
            kind: Kind::ALL[kind],
            message,
            moved
        })),
    ]
}

proptest! {
    #[test]
    fn messages_survive_the_wire(messages in proptest::collection::vec(message(), 0..6)) {
        prop_assert_eq!(decode_frame(encode_frame(&messages)).unwrap(), messages);
    }

    #[test]
    fn any_bytes_give_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(messages) = decode_frame(Bytes::from(bytes)) {
            // What was accepted has one meaning: it survives another round.
            prop_assert_eq!(decode_frame(encode_frame(&messages)).unwrap(), messages);
        }
    }

    #[test]
    fn damaged_messages_give_messages_or_an_error(
        message in message(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let frame = encode_frame(&[message]);
        let mut flipped = frame.to_vec();
        flipped[at.index(frame.len())] ^= 1 << bit;
        let _ = decode_frame(Bytes::from(flipped));
        let cut = cut.index(frame.len());
        prop_assert!(cut == 0 || decode_frame(frame.slice(..cut)).is_err());
    }
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_refused() {
    // Haves with a count of 2^40, then with one above the cap, then one that is merely not backed by bytes.
    for count in [1u64 << 40, (MAX_IDS as u64) + 1, 3] {
        let mut body = Vec::new();
        put_uint(&mut body, count);
        let mut frame = Vec::new();
        frame.put_u8(HAVES);
        put_bytes(&mut frame, &body);
        assert_eq!(decode_frame(frame.into()).unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn a_foreign_version_is_refused_with_what_to_do() {
    let hello = Message::Hello { version: VERSION + 1, want: Want::Fetch { ids: Vec::new() } };
    let error = decode_frame(encode_frame(&[hello])).unwrap_err();
    assert!(error.to_string().contains("same version"), "{error}");
}

/// Frozen bytes: a change here is a change of the protocol and needs a new version.
#[test]
fn golden_frame() {
    let id = Hash::from_bytes([7; 32]);
    let pull = Want::Pull {
        refs: vec![String::from("b")],
        tables: None,
        depth: 0,
        heads: vec![id],
        lacks: vec![id],
        empty: false,
        outline: true,
        follow: true,
    };
    let welcome = Welcome { lacks: vec![id], ..Welcome::default() };
    let hex =
        |messages: &[Message]| -> String { encode_frame(messages).iter().map(|byte| format!("{byte:02x}")).collect() };
    let ids = format!("01{}", "07".repeat(32));
    assert_eq!(
        hex(&[Message::Hello { version: 1, want: pull }, Message::Welcome(welcome)]),
        format!("014d0101010162000000{ids}{ids}000101") + &format!("0225000000{ids}00")
    );
    let messages = [
        Message::Hello {
            version: 1,
            want: Want::Push {
                moves: vec![
                    Move { name: "branch/main".into(), expected: None, target: Some(id), flags: FORCE },
                    Move { name: "tags/v1".into(), expected: None, target: Some(id), flags: NEW },
                ],
            },
        },
        Message::Offer(vec![(id, 2)]),
        Message::Step(Step {
            base: None,
            root: Squeezed { raw_len: 300, payload: Bytes::from_static(b"r") },
            commit: Squeezed { raw_len: 2, payload: Bytes::from_static(b"c") },
        }),
        Message::Finish,
        Message::Done { left: vec![("a".into(), Some(id)), ("b".into(), None)] },
    ];
    let hex = hex(&messages);
    let id = "07".repeat(32);
    assert_eq!(
        hex,
        format!("015d010202{}{}0001{id}01", "0b", "6272616e63682f6d61696e")
            + &format!("{}{}0001{id}04", "07", "746167732f7631")
            + &format!("08220201{id}")
            + "0b0800ac02017202"
            + "0163"
            + "0f00"
            + &format!("1027020161{}{id}016200", "01")
    );
}
