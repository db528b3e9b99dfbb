use syncline_base::Kind;
use syncline_store::{Bases, Store};

use super::*;
use crate::transport::Counters;
use crate::wire::Fault;

/// A peer that says these and leaves.
struct Peer {
    says: Vec<Bytes>,
    /// Whether it has left before it heard anything.
    gone: bool,
}

impl Transport for Peer {
    fn peer(&self) -> String {
        "the peer".into()
    }

    fn send(&mut self, _: Bytes) -> Result<()> {
        if self.gone {
            return Err(Error::Transport { kind: Kind::Unavailable, message: "it is gone".into() });
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Bytes>> {
        self.try_receive()
    }

    fn try_receive(&mut self) -> Result<Option<Bytes>> {
        Ok((!self.says.is_empty()).then(|| self.says.remove(0)))
    }

    fn finish(&mut self) {}

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

#[test]
fn a_peer_that_left_is_heard_out() {
    let fault = Fault { kind: Kind::Conflict, message: "the branch has moved".into(), moved: None };
    let said = [Message::Ack { steps: 1 }, Message::Fault(fault)].map(|message| wire::encode_frame(&[message]));
    let ask =
        |says: Vec<Bytes>| fetch(&mut Peer { says, gone: true }, vec![Hash::of(b"x")]).expect_err("nobody answers");
    let error = ask(said.to_vec());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, "the branch has moved".into()));
    assert_eq!(ask(Vec::new()).kind(), Kind::Unavailable);
}

const CHUNK: ObjectKind = ObjectKind::Content { height: 0 };

/// An object as a server sends it that was asked for by address.
fn sent(bytes: Bytes) -> wire::Object {
    let encoded = Store::encode(&bytes).unwrap();
    wire::Object {
        id: encoded.id,
        kind: 0,
        codec: encoded.codec,
        bases: Bases::none(),
        raw_len: encoded.raw_len,
        rest: 0,
        payload: encoded.payload,
    }
}

/// What is shown when these come in one message, and how it ends.
fn fetched(objects: Vec<wire::Object>, kind: ObjectKind) -> (usize, Error) {
    let wanted: Vec<_> = objects.iter().map(|object| (object.id, kind)).collect();
    let mut peer = Peer { says: vec![wire::encode_frame(&[Message::Objects(objects)])], gone: false };
    let mut shown = 0;
    let error = fetch_each(&mut peer, &wanted, &mut |_, _| {
        shown += 1;
        Ok(())
    });
    (shown, error.expect_err("the peer has left"))
}

#[test]
fn fetched_objects_are_no_longer_than_their_kind_can_be() {
    for (kind, longest) in [(CHUNK, 327_680), (ObjectKind::Content { height: 1 }, 25_608)] {
        let fits = sent(vec![0; longest].into());
        assert_eq!(fetched(vec![fits], kind).0, 1);
        let mut long = sent(vec![0; longest + 1].into());
        assert_eq!(fetched(vec![long.clone()], kind).1.kind(), Kind::Corrupt);
        // Nor do they come in parts that no such object has.
        (long.raw_len, long.rest) = (1, 2 << 20);
        let error = fetched(vec![long], kind).1;
        assert!(error.to_string().contains("parts that cannot be"), "{error}");
    }
}

#[test]
fn fetched_objects_are_decoded_one_at_a_time() {
    let mut damaged = sent("the second".into());
    damaged.id = Hash::of(b"something else");
    let (shown, error) = fetched(vec![sent("the first".into()), damaged], CHUNK);
    assert_eq!((shown, error.kind()), (1, Kind::Corrupt));
}
