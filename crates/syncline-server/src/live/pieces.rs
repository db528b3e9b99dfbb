//! Messages of replication that are longer than the transport takes: in pieces, one after another.
//!
//! A transaction goes from replica to replica as a whole, in one message, and may have 63 MiB.
//!
//! Owns: the pieces that came of a message whose end has not. After a crash: nothing.

use bytes::Bytes;

use super::Carried;

/// A piece has at most so many bytes.
const PIECE: usize = 1 << 20;
/// No message has more bytes: of none more than 66 MiB are made.
const LONGEST: usize = 67 << 20;

/// The pieces of a message, in order.
pub(super) fn of(mut message: Bytes) -> impl Iterator<Item = Carried> {
    std::iter::from_fn(move || {
        let body = message.split_to(message.len().min(PIECE));
        (!body.is_empty()).then(|| Carried { body, note: None, more: !message.is_empty() })
    })
}

/// What has come of a message.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<u8>);

impl Pieces {
    /// Takes the next piece; gives the message when it is the last.
    ///
    /// # Errors
    /// Why the other end is not listened to any more: no message is that long.
    pub(super) fn add(&mut self, piece: Bytes, more: bool) -> Result<Option<Bytes>, String> {
        if self.0.is_empty() && !more {
            return Ok(Some(piece));
        }
        if self.0.len() + piece.len() > LONGEST {
            return Err(format!("it sends a message of more than {} MiB", LONGEST >> 20));
        }
        self.0.extend_from_slice(&piece);
        Ok((!more).then(|| std::mem::take(&mut self.0).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_it_was_whatever_its_length() {
        for len in [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7] {
            let message: Bytes = (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
            let mut pieces = Pieces::default();
            let mut came = Vec::new();
            for Carried { body, more, .. } in of(message.clone()) {
                assert!(body.len() <= PIECE);
                came.extend(pieces.add(body, more).expect("it is not too long"));
            }
            assert_eq!(came, [message]);
        }
    }

    #[test]
    fn no_message_takes_more_room_than_one_may_have() {
        let (mut pieces, piece) = (Pieces::default(), Bytes::from(vec![7; PIECE]));
        let refused = (0..100).find(|_| pieces.add(piece.clone(), true).is_err());
        assert_eq!(refused, Some(67));
        assert!(pieces.0.len() <= LONGEST);
    }
}
