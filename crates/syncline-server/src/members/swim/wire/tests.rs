//! What is read is what is written, and nothing else is read.

use syncline_base::rng::Rng;

use super::*;

fn id(port: u16, turn: u64) -> Id {
    Id { address: Address::parse(&format!("http://127.0.0.1:{port}/d")).unwrap(), turn }
}

fn packets() -> Vec<Packet> {
    let messages = [
        Message::Ping(1),
        Message::Ack(2),
        Message::PingReq { target: id(9, 3), probe_number: 3 },
        Message::IndirectPing { origin: id(9, 3), probe_number: 4 },
        Message::IndirectAck { target: id(9, 3), probe_number: 5 },
        Message::ForwardedAck { origin: id(9, 3), probe_number: 6 },
        Message::Announce,
        Message::Feed,
        Message::Gossip,
        Message::TurnUndead,
    ];
    let members = vec![
        Member::new(id(3, 7), 1, State::Alive),
        Member::new(id(4, LAST_TURN), 2, State::Suspect),
        Member::new(id(5, 0), u16::MAX, State::Down),
    ];
    let packet = |message: Message<Id>| Packet {
        members: if piggybacks(&message) { members.clone() } else { Vec::new() },
        header: Header { src: id(1, 5), src_incarnation: 258, dst: id(2, 6), message },
    };
    messages.map(packet).into()
}

#[test]
fn the_bytes_are_those_of_the_document() {
    let bytes: Vec<u8> = packets().iter().flat_map(encode).collect();
    let golden = include_bytes!("../../../../../../fixtures/members/1/messages");
    assert_eq!(bytes, golden, "every kind of message, one after the other");
}

#[test]
fn messages_come_back_and_their_parts_do_not() {
    for packet in packets() {
        let bytes = encode(&packet);
        assert_eq!(decode(&bytes).unwrap(), packet);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{packet:?} cut to {len}");
        }
        let mut more = bytes;
        more.push(0);
        assert!(decode(&more).is_err());
    }
    assert!(decode(&vec![1; LONGEST + 1]).is_err());
}

#[test]
fn no_bytes_do_harm_and_what_is_read_has_one_form() {
    let mut rng = Rng::from_seed(11);
    let all = packets();
    let mut read = 0;
    for round in 0..200_000_u64 {
        let mut bytes = encode(&all[usize::try_from(round).unwrap() % all.len()]);
        for _ in 0..=rng.below(3) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            match rng.below(3) {
                0 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, u8::try_from(rng.below(256)).unwrap()),
            }
        }
        if let Ok(packet) = decode(&bytes) {
            read += 1;
            assert_eq!(encode(&packet), bytes);
            assert!(packet.members.len() <= bytes.len());
        }
    }
    assert!(read > 1_000, "damage to a number or a port is another message: {read}");
}
