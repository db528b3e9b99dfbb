//! Lets a session talk over a transport, on the calling thread.
//!
//! Small messages that follow each other travel in one frame. A fault on our side is told to the peer before the
//! session ends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::codec;

use crate::error::{Error, Result};
use crate::graph::{self, ObjectKind};
use crate::session::{
    self, Fetcher, Local, PullRequest, Pulled, PushRequest, Pushed, Receiver, Sender, Served, Server, Session,
};
use crate::transport::Transport;
use crate::wire::{self, FRAME_BYTES, Message};

/// What a session cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes sent, as near to the wire as the transport can tell.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// How often this side had to wait for an answer before it could go on.
    pub round_trips: u64,
}

/// Is told how far a transfer has come, often. Must be quick.
pub trait Watch {
    /// Objects and payload bytes so far, in either direction.
    fn progress(&mut self, objects: u64, bytes: u64);
}

impl Watch for () {
    fn progress(&mut self, _: u64, _: u64) {}
}

/// Fetches what `request` names; refs do not move.
///
/// # Errors
/// The peer's fault, the transport's, or the store's. What has arrived is kept.
pub fn pull(
    local: &dyn Local,
    transport: &mut dyn Transport,
    request: &PullRequest,
    watch: &mut dyn Watch,
) -> Result<(Pulled, Traffic)> {
    let mut session = Receiver::pull(local, request)?;
    let traffic = drive(&mut session, transport, watch)?;
    Ok((session.pulled().expect("the session is over"), traffic))
}

/// Sends what the peer lacks and moves its refs.
///
/// # Errors
/// `Conflict` when a ref has moved there; the peer's fault, the transport's, or the store's.
pub fn push(
    local: &dyn Local,
    transport: &mut dyn Transport,
    request: &PushRequest,
    watch: &mut dyn Watch,
) -> Result<(Pushed, Traffic)> {
    let mut session = Sender::push(local, request.clone())?;
    let traffic = drive(&mut session, transport, watch)?;
    Ok((session.pushed().expect("the session is over"), traffic))
}

/// What [`fetch`] holds at most: more than any objects have that somebody needs at once.
const FETCH_BYTES: usize = 1 << 30;

/// Fetches single objects of any kind by address: those that the peer has, as canonical bytes whose hash was checked. At most
/// [`wire::MAX_IDS`] at a time.
///
/// # Errors
/// The peer's fault or the transport's; `Invalid` when they have more than a gigabyte together.
pub fn fetch(transport: &mut dyn Transport, ids: Vec<Hash>) -> Result<(Vec<(Hash, Bytes)>, Traffic)> {
    let (mut got, mut bytes) = (Vec::new(), 0);
    let wanted = ids.into_iter().map(|id| (id, codec::MAX_OBJECT)).collect();
    let mut keep = |id, object: Bytes| {
        bytes += object.len();
        got.push((id, object));
        if bytes <= FETCH_BYTES {
            return Ok(());
        }
        Err(Error::protocol("objects", format!("more than {FETCH_BYTES} bytes of them")))
    };
    let traffic = drive(&mut Draining { inner: Fetcher::ask(wanted)?, each: &mut keep }, transport, &mut ())?;
    Ok((got, traffic))
}

/// Fetches objects of known kinds, and shows each as it comes, so that memory does not grow with what is asked for, nor with
/// what a peer says that it sends.
///
/// # Errors
/// The peer's fault, the transport's, or that of `each`; `Corrupt` when an object is not what it has to be, or longer than any
/// of its kind.
pub fn fetch_each(
    transport: &mut dyn Transport,
    wanted: &[(Hash, ObjectKind)],
    each: &mut dyn FnMut(Hash, Bytes) -> Result<()>,
) -> Result<Traffic> {
    let wanted = wanted.iter().map(|(id, kind)| (*id, graph::longest(*kind))).collect();
    drive(&mut Draining { inner: Fetcher::ask(wanted)?, each }, transport, &mut ())
}

/// A fetch whose objects are passed on as they come.
struct Draining<'a> {
    inner: Fetcher,
    each: &'a mut dyn FnMut(Hash, Bytes) -> Result<()>,
}

impl Session for Draining<'_> {
    fn receive(&mut self, message: Message) -> Result<()> {
        self.inner.receive(message)?;
        while let Some((id, bytes)) = self.inner.take()? {
            (self.each)(id, bytes)?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Message>> {
        self.inner.next()
    }

    fn is_over(&self) -> bool {
        self.inner.is_over()
    }

    fn progress(&self) -> (u64, u64) {
        self.inner.progress()
    }
}

/// The other side of all of these.
///
/// # Errors
/// The fault that the peer was told, too.
pub fn serve(local: &dyn Local, transport: &mut dyn Transport) -> Result<Served> {
    let mut session = Server::new(local);
    drive(&mut session, transport, &mut ())?;
    Ok(session.served().expect("the session is over"))
}

/// Runs a session to its end.
///
/// # Errors
/// The first fault of either side or of the transport.
pub fn drive(session: &mut dyn Session, transport: &mut dyn Transport, watch: &mut dyn Watch) -> Result<Traffic> {
    let mut round_trips = 0;
    match exchange(session, transport, watch, &mut round_trips) {
        Ok(()) => {
            transport.finish();
            let after = transport.counters();
            Ok(Traffic { bytes_sent: after.sent, bytes_received: after.received, round_trips })
        }
        Err(error) => {
            // A fault that came from the peer, or a connection that is gone, needs no telling.
            if !matches!(error, Error::Peer { .. } | Error::Transport { .. }) {
                let fault = Message::Fault(session::to_fault(&error));
                let _ = transport.send(wire::encode_frame(&[fault]));
            }
            session.cut();
            transport.finish();
            Err(error)
        }
    }
}

fn exchange(
    session: &mut dyn Session,
    transport: &mut dyn Transport,
    watch: &mut dyn Watch,
    round_trips: &mut u64,
) -> Result<()> {
    let mut asked = false;
    let mut incoming = wire::Messages::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        // One by one: answers to what came in one frame go out before they pile up.
        if let Some(message) = incoming.next() {
            session.receive(message?)?;
        }
        while bytes < FRAME_BYTES {
            let Some(message) = session.next()? else { break };
            asked |= message.asks();
            bytes += message.size_hint();
            batch.push(message);
        }
        let full = bytes >= FRAME_BYTES;
        if !full && !incoming.is_empty() {
            continue;
        }
        if !batch.is_empty() {
            if let Err(error) = transport.send(wire::encode_frame(&std::mem::take(&mut batch))) {
                return Err(last_words(transport, incoming, error));
            }
            bytes = 0;
        }
        let (objects, passed) = session.progress();
        watch.progress(objects, passed);
        if !incoming.is_empty() {
            continue;
        }
        if session.is_over() {
            return Ok(());
        }
        // While there is more to say, listen without waiting.
        match if full { transport.try_receive()? } else { transport.receive()? } {
            Some(frame) => {
                if !full && std::mem::take(&mut asked) {
                    *round_trips += 1;
                }
                incoming = wire::messages(frame);
            }
            None if full => {}
            None => {
                return Err(Error::Transport {
                    kind: syncline_base::Kind::Unavailable,
                    message: format!(
                        "{} ended the transfer before it was complete; what has arrived is kept, run it again",
                        transport.peer()
                    ),
                });
            }
        }
    }
}

/// Why a peer that takes nothing any more has left, when it has said so.
fn last_words(transport: &mut dyn Transport, mut heard: wire::Messages, error: Error) -> Error {
    loop {
        for message in heard {
            match message {
                Ok(Message::Fault(fault)) => return session::of_fault(fault),
                Ok(_) => {}
                Err(_) => return error,
            }
        }
        heard = match transport.try_receive() {
            Ok(Some(frame)) => wire::messages(frame),
            Err(told @ Error::Peer { .. }) => return told,
            Ok(None) | Err(_) => return error,
        };
    }
}

#[cfg(test)]
mod tests;
