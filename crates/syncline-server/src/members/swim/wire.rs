//! The bytes of what members tell each other: `docs/format/members.md`. Every value has one form; what is not in it is refused, and no count sizes an
//! allocation. Owns no state.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use super::super::address::{Address, LONGEST as LONGEST_ADDRESS};
use super::LAST_TURN;

/// No message is longer.
pub(crate) const LONGEST: usize = 16 << 10;
const VERSION: u8 = 1;

/// A member in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) address: Address,
    pub(super) turn: u64,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packet {
    pub(super) header: Header<Id>,
    pub(super) members: Vec<Member<Id>>,
}

/// Reads one.
pub(super) fn decode(bytes: &[u8]) -> Result<Packet, Malformed> {
    if bytes.len() > LONGEST {
        return Err(Malformed("it is too long"));
    }
    let mut rest = bytes;
    let header = header(&mut rest)?;
    let mut members = Vec::new();
    if piggybacks(&header.message) {
        let count = number::<2>(&mut rest)?;
        for _ in 0..u16::from_be_bytes(count) {
            members.push(member(&mut rest)?);
        }
    }
    match rest {
        [] => Ok(Packet { header, members }),
        _ => Err(Malformed("something follows it")),
    }
}

/// Its bytes.
pub(super) fn encode(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_header(&packet.header, &mut bytes);
    if piggybacks(&packet.header.message) {
        // No more than were read.
        bytes.put_u16(u16::try_from(packet.members.len()).unwrap_or(u16::MAX));
        packet.members.iter().for_each(|member| put_member(member, &mut bytes));
    }
    bytes
}

/// Whether a message says how members are.
const fn piggybacks(message: &Message<Id>) -> bool {
    !matches!(message, Message::Announce | Message::TurnUndead)
}

fn number<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (number, after) = rest.split_first_chunk::<N>().ok_or(Malformed("it ends early"))?;
    *rest = after;
    Ok(*number)
}

fn id(rest: &mut &[u8]) -> Result<Id, Malformed> {
    let len = usize::from(u16::from_be_bytes(number(rest)?));
    if len > LONGEST_ADDRESS {
        return Err(Malformed("an address is too long"));
    }
    let (text, after) = rest.split_at_checked(len).ok_or(Malformed("it ends early"))?;
    *rest = after;
    let text = std::str::from_utf8(text).map_err(|_| Malformed("an address is no text"))?;
    let address = Address::parse(text).ok_or(Malformed("an address is none"))?;
    let turn = u64::from_be_bytes(number(rest)?);
    if turn > LAST_TURN {
        return Err(Malformed("a turn is too great"));
    }
    Ok(Id { address, turn })
}

fn member(rest: &mut &[u8]) -> Result<Member<Id>, Malformed> {
    let id = id(rest)?;
    let incarnation = u16::from_be_bytes(number(rest)?);
    let [state] = number(rest)?;
    let state = match state {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed("a state is none")),
    };
    Ok(Member::new(id, incarnation, state))
}

fn header(rest: &mut &[u8]) -> Result<Header<Id>, Malformed> {
    let [version, kind] = number(rest)?;
    if version != VERSION {
        return Err(Malformed("its version is not known: update this node"));
    }
    let src = id(rest)?;
    let src_incarnation = u16::from_be_bytes(number(rest)?);
    let dst = id(rest)?;
    let mut probe = || -> Result<u8, Malformed> { Ok(number::<1>(rest)?[0]) };
    let message = match kind {
        1 => Message::Ping(probe()?),
        2 => Message::Ack(probe()?),
        3 => Message::PingReq { probe_number: probe()?, target: id(rest)? },
        4 => Message::IndirectPing { probe_number: probe()?, origin: id(rest)? },
        5 => Message::IndirectAck { probe_number: probe()?, target: id(rest)? },
        6 => Message::ForwardedAck { probe_number: probe()?, origin: id(rest)? },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::TurnUndead,
        _ => return Err(Malformed("its kind is not known")),
    };
    Ok(Header { src, src_incarnation, dst, message })
}

fn put_id(id: &Id, bytes: &mut Vec<u8>) {
    let text = id.address.as_str();
    bytes.put_u16(u16::try_from(text.len()).expect("addresses are short"));
    bytes.put_slice(text.as_bytes());
    bytes.put_u64(id.turn);
}

fn put_member(member: &Member<Id>, bytes: &mut Vec<u8>) {
    put_id(member.id(), bytes);
    bytes.put_u16(member.incarnation());
    bytes.put_u8(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

fn put_header(header: &Header<Id>, bytes: &mut Vec<u8>) {
    let (kind, probe, other) = match &header.message {
        Message::Ping(n) => (1, Some(n), None),
        Message::Ack(n) => (2, Some(n), None),
        Message::PingReq { target, probe_number } => (3, Some(probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        // Nobody here broadcasts anything: there is nothing that one could say.
        Message::Gossip | Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    bytes.put_u8(VERSION);
    bytes.put_u8(kind);
    put_id(&header.src, bytes);
    bytes.put_u16(header.src_incarnation);
    put_id(&header.dst, bytes);
    if let Some(probe) = probe {
        bytes.put_u8(*probe);
    }
    if let Some(other) = other {
        put_id(other, bytes);
    }
}

/// How the protocol's crate reads and writes its parts.
#[derive(Debug)]
pub(super) struct Wire;

impl Wire {
    /// Reads from a buffer, which is in one piece, and says how far.
    fn read<T>(mut buf: impl Buf, read: impl Fn(&mut &[u8]) -> Result<T, Malformed>) -> Result<T, Malformed> {
        let (value, used) = {
            let bytes = buf.chunk();
            let mut rest = bytes;
            let value = read(&mut rest)?;
            (value, bytes.len() - rest.len())
        };
        buf.advance(used);
        Ok(value)
    }

    fn write(mut buf: impl BufMut, bytes: &[u8]) -> Result<(), Malformed> {
        if buf.remaining_mut() < bytes.len() {
            return Err(Malformed("there is no room for it"));
        }
        buf.put_slice(bytes);
        Ok(())
    }
}

impl Codec<Id> for Wire {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Id>, buf: impl BufMut) -> Result<(), Malformed> {
        let mut bytes = Vec::new();
        put_header(header, &mut bytes);
        Self::write(buf, &bytes)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Id>, Malformed> {
        Self::read(buf, header)
    }

    fn encode_member(&mut self, member: &Member<Id>, buf: impl BufMut) -> Result<(), Malformed> {
        let mut bytes = Vec::new();
        put_member(member, &mut bytes);
        Self::write(buf, &bytes)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Id>, Malformed> {
        Self::read(buf, member)
    }
}

#[cfg(test)]
mod tests;
