//! Live replication over streams: the serving end, and the end of a node that follows another one.
//!
//! Both ends do the same: what comes goes into the engine, what the engine wants sent goes out. A connection that breaks is made again,
//! sooner or later as it fails more often; nothing is lost by that, for both sides say anew what they have.
//!
//! Owns: tasks on the server's runtime. After a crash: nothing is left of them.
//!
//! Not here: what messages mean (`syncline_node::live`), and when which connection is made (`follow`, `rehome`, `crate::members`).

pub(crate) mod follow;
mod pieces;
mod rehome;

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use syncline_api::client::{self, Options};
use syncline_api::v1::{self, ClientMessage, ServerMessage};
use syncline_api::{Target, status};
use syncline_base::Kind;
use syncline_node::live::Engine;
use syncline_node::live::engine::{Link, More, Note, Outbox, Outcome, Parcel};
use syncline_node::sync::Error as SyncError;
use syncline_node::sync::live::Message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::ahead::Ahead;
use pieces::Pieces;

use crate::members::{Lists, group};
use crate::{Result, notes};

/// To read a message of so many bytes takes longer than to have another thread do it, and so many are read at once.
const LARGE: usize = 16 << 10;
const AHEAD: usize = 2;

type Decoded = std::result::Result<Message, SyncError>;

/// A message of replication or a piece of one, or a note and none; neither is a sign of life.
#[derive(Debug, Default)]
struct Carried {
    body: Bytes,
    note: Option<v1::Note>,
    /// Whether the message goes on in what comes next with a body.
    more: bool,
}

impl From<Option<v1::Note>> for Carried {
    fn from(note: Option<v1::Note>) -> Self {
        Self { note, ..Self::default() }
    }
}

/// Where the engine's messages go, and beside it what is told until the engine lets go of it. The core bounds what is on its way to one peer.
fn outbox() -> (Outbox, mpsc::WeakUnboundedSender<Carried>, UnboundedReceiverStream<Carried>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let beside = sender.downgrade();
    let send = move |parcel: Parcel| {
        let sent = match parcel {
            Parcel::Message(message) => pieces::of(message.encode()).all(|piece| sender.send(piece).is_ok()),
            Parcel::Note(note) => sender.send(Some(notes::to_wire(note)).into()).is_ok(),
        };
        if sent { Outcome::Sent } else { Outcome::Gone }
    };
    (Box::new(send), beside, UnboundedReceiverStream::new(receiver))
}

/// A replica that has connected.
pub(crate) struct Caller {
    /// Where from.
    pub(crate) peer: String,
    /// The scope that it follows.
    pub(crate) scope: Option<String>,
    /// That it is a hub, and where.
    pub(crate) hub: Option<group::Inbound>,
    /// What it is told of hubs.
    pub(crate) lists: Option<Lists>,
}

/// Serves one replica that has connected. Ends with the connection.
pub(crate) fn serve(
    engine: Engine,
    caller: Caller,
    inbound: Streaming<ClientMessage>,
    mut stopped: watch::Receiver<bool>,
) -> Result<impl tokio_stream::Stream<Item = Result<ServerMessage, Status>>> {
    let Caller { peer, scope, hub, lists } = caller;
    let (outbox, beside, outbound) = outbox();
    let id = engine.serve(scope.as_deref(), outbox)?;
    tracing::info!(%peer, "a replica has connected");
    tokio::spawn(async move {
        let carried = |ClientMessage { body, note, more, .. }| Carried { body, note, more };
        let bodies = inbound.map(|message| message.map(carried));
        let ended = tokio::select! {
            // It knows no more of hubs than this end.
            ended = take_in(&engine, id, bodies, &|_| {}) => ended,
            never = tell(lists, beside) => match never {},
            // An error means that the node is gone.
            _ = stopped.wait_for(|stop| *stop) => "this node stops".to_owned(),
        };
        // The outbox goes, and with it what is sent: the connection ends.
        engine.disconnect(id);
        drop(hub);
        tracing::info!(%peer, why = %ended, "a replica has gone");
    });
    Ok(outbound.map(|Carried { body, note, more }| Ok(ServerMessage { body, note, more })))
}

/// Tells a replica which hubs there are, now and whenever that changes. Does not end.
async fn tell(lists: Option<Lists>, beside: mpsc::WeakUnboundedSender<Carried>) -> Infallible {
    if let Some(mut lists) = lists {
        loop {
            let hubs = v1::Hubs::clone(&lists.borrow_and_update());
            if !hubs.hubs.is_empty()
                && let Some(beside) = beside.upgrade()
            {
                let note = v1::Note { note: Some(v1::note::Note::Hubs(hubs)) };
                // Who is gone does not want to know.
                let _ = beside.send(Some(note).into());
            }
            if lists.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}

/// What has come and is not with the engine yet.
enum Came {
    Message(Decoded),
    /// It is being read.
    Read(JoinHandle<Decoded>),
    Note(Note),
}

/// Gives the engine what comes, in order, until nothing more does; says why. Of large messages the next one is read while the engine works on
/// one.
async fn take_in(
    engine: &Engine,
    peer: u64,
    inbound: impl tokio_stream::Stream<Item = Result<Carried, Status>> + Unpin,
    heard: &(dyn Fn(&v1::Hubs) + Send + Sync),
) -> String {
    let mut inbound = Ahead::new(inbound);
    let (mut came, mut ended): (VecDeque<Came>, Option<String>) = (VecDeque::new(), None);
    let mut pieces = Pieces::default();
    loop {
        let next = tokio::select! {
            biased;
            next = inbound.next(), if ended.is_none() && came.len() < AHEAD => next,
            first = first(&mut came), if !came.is_empty() => match give(engine, peer, first, More::Comes) {
                None => continue,
                Some(why) => return why,
            },
            else => return ended.unwrap_or_default(),
        };
        let next = match next {
            Some(Ok(Carried { note: Some(v1::Note { note: Some(v1::note::Note::Hubs(hubs)) }), .. })) => {
                heard(&hubs);
                None
            }
            Some(Ok(Carried { body, note, .. })) if body.is_empty() => note.and_then(notes::from_wire).map(Came::Note),
            Some(Ok(Carried { body, more, .. })) => match pieces.add(body, more) {
                Ok(None) => None,
                Ok(Some(body)) if body.len() < LARGE => Some(Came::Message(Message::decode(body))),
                Ok(Some(body)) => Some(Came::Read(tokio::task::spawn_blocking(|| Message::decode(body)))),
                Err(why) => {
                    ended = Some(why);
                    None
                }
            },
            Some(Err(status)) => {
                ended = Some(status.message().to_owned());
                None
            }
            None => {
                ended = Some("it closed the connection".to_owned());
                None
            }
        };
        match next {
            // Most are small, and nothing is before them.
            Some(now @ (Came::Message(_) | Came::Note(_))) if came.is_empty() => {
                let more = inbound.more().await;
                if let Some(why) = give(engine, peer, now, more) {
                    return why;
                }
            }
            next => came.extend(next),
        }
    }
}

/// Gives the engine what has come and was read. Says why the connection ends, if it does.
fn give(engine: &Engine, peer: u64, came: Came, more: More) -> Option<String> {
    let taken = match came {
        Came::Note(note) => engine.note(peer, note),
        Came::Message(decoded) => {
            decoded.map_err(syncline_node::Error::from).and_then(|message| engine.receive(peer, message, more))
        }
        Came::Read(_) => Ok(true),
    };
    match taken {
        Ok(true) => None,
        Ok(false) => Some("it is connected no longer on this side".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// The first of what has come, once it has been read.
async fn first(came: &mut VecDeque<Came>) -> Came {
    let decoded = match came.front_mut() {
        Some(Came::Read(reading)) => reading.await.unwrap_or_else(|error| {
            let message = format!("reading a message failed: {error}");
            Err(SyncError::Local { kind: Kind::Unavailable, message })
        }),
        Some(_) => match came.pop_front() {
            Some(first) => return first,
            None => return std::future::pending().await,
        },
        None => return std::future::pending().await,
    };
    came.pop_front();
    Came::Message(decoded)
}

/// What another node is to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The hub that this one's transactions are taken to.
    Upstream,
    /// A hub beside this one.
    Peer,
}

/// How a node follows another one.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The node, and the dataset when it is one.
    pub target: Target,
    /// How to connect.
    pub options: Options,
    /// The scope that is followed there.
    pub scope: Follow,
}

/// What of a dataset a spoke follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Follow {
    /// What it followed before, which is everything at first.
    #[default]
    Remembered,
    /// Everything.
    Everything,
    /// What is in the scope of this name.
    Scope(String),
}

impl Follow {
    /// What options say: a scope, everything again, or neither.
    #[must_use]
    pub fn of(scope: Option<&str>, everything: bool) -> Self {
        match (scope, everything) {
            (Some(name), _) => Self::Scope(name.to_owned()),
            (None, true) => Self::Everything,
            (None, false) => Self::Remembered,
        }
    }
}

impl Upstream {
    /// Of one of its datasets.
    pub(crate) fn of(&self, dataset: &str) -> Self {
        let mut one = self.clone();
        dataset.clone_into(&mut one.target.dataset);
        one
    }
}

/// What is done with hubs that the other end tells of.
type Heard<'a> = dyn Fn(&Target, &v1::Hubs) + Send + Sync + 'a;

/// A connection that is to be made.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) upstream: &'a Upstream,
    pub(crate) role: Role,
    /// Of an address that was learned: the mesh that it is to be of.
    pub(crate) mesh: Bytes,
    /// Where others connect to this node, if it is a hub and they can.
    pub(crate) from: String,
    /// Whether somebody gave the address.
    pub(crate) given: bool,
    pub(crate) heard: &'a Heard<'a>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether the other end has said anything.
    pub(crate) connected: bool,
    pub(crate) why: String,
}

/// One connection, from its beginning to its end.
///
/// # Errors
/// As [`client::replicate`].
pub(crate) async fn connect(call: &Call<'_>) -> Result<Ended> {
    let Call { engine, upstream, role, heard, .. } = *call;
    let (outbox, _, outbound) = outbox();
    // The first message says which dataset is meant, and goes out before the node answers.
    let first = tokio_stream::once(Carried::default());
    let scope = match role {
        Role::Upstream => engine.scopes_here()?.0.unwrap_or_default(),
        Role::Peer => String::new(),
    };
    let mut about = Some((scope, call.mesh.clone(), call.from.clone(), call.given));
    let messages = first.chain(outbound).map(move |Carried { body, note, more }| match about.take() {
        Some((scope, mesh, from, given)) => {
            ClientMessage { body, note, more, scope, mesh, from, given, ..ClientMessage::default() }
        }
        None => ClientMessage { body, note, more, ..ClientMessage::default() },
    });
    let mut inbound = client::replicate(&upstream.target, &upstream.options, messages).await?;
    let link = Link { url: Some(upstream.target.to_string()), upstream: role == Role::Upstream, serves: None };
    let connection = Connection { engine, id: engine.connect(link, outbox)? };
    tracing::info!(peer = %upstream.target, "connected");
    let peer = upstream.target.peer();
    let mut connected = false;
    let bodies = async_bodies(&mut inbound, &peer).map(|message| {
        connected |= message.is_ok();
        message
    });
    let why = take_in(engine, connection.id, bodies, &|hubs| heard(&upstream.target, hubs)).await;
    Ok(Ended { connected, why })
}

/// A connection that the engine knows of. Ends with the value, wherever whoever waits for it leaves.
struct Connection<'a> {
    engine: &'a Engine,
    id: u64,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.engine.disconnect(self.id);
    }
}

fn async_bodies<'a>(
    inbound: &'a mut Streaming<ServerMessage>,
    peer: &'a str,
) -> impl tokio_stream::Stream<Item = Result<Carried, Status>> + Unpin + 'a {
    inbound.map(move |message| {
        let carried = |ServerMessage { body, note, more }| Carried { body, note, more };
        message.map(carried).map_err(|fault| {
            let error = status::from_grpc(peer, &fault);
            status::to_grpc(error.kind(), &error.to_string())
        })
    })
}
