//! Live replication over streams: the serving end, and the end of a node that follows another one.
//!
//! Both ends do the same: what comes goes into the engine, what the engine wants sent goes out. A connection that breaks is made again,
//! sooner or later as it fails more often; nothing is lost by that, for both sides say anew what they have.
//!
//! Owns: tasks on the server's runtime. After a crash: nothing is left of them.
//!
//! Not here: what messages mean (`syncline_node::live`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use syncline_api::client::{self, Options};
use syncline_api::v1::{self, ClientMessage, ServerMessage};
use syncline_api::{Target, status};
use syncline_base::Kind;
use syncline_base::rng::Rng;
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
use crate::contents::Exchanges;
use crate::hub::Hub;
use crate::ways::Certifying;
use crate::{Error, Result, notes};

/// The first pause before a connection is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// To read a message of so many bytes takes longer than to have another thread do it, and so many are read at once.
const LARGE: usize = 16 << 10;
const AHEAD: usize = 2;

type Decoded = std::result::Result<Message, SyncError>;

/// A message of replication, or a note and no message; neither is a sign of life.
type Carried = (Bytes, Option<v1::Note>);

/// Where the engine's messages go. The core bounds what is on its way to one peer.
fn outbox() -> (Outbox, UnboundedReceiverStream<Carried>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let send = move |parcel: Parcel| {
        let carried = match parcel {
            Parcel::Message(message) => (message.encode(), None),
            Parcel::Note(note) => (Bytes::new(), Some(notes::to_wire(note))),
        };
        match sender.send(carried) {
            Ok(()) => Outcome::Sent,
            Err(_) => Outcome::Gone,
        }
    };
    (Box::new(send), UnboundedReceiverStream::new(receiver))
}

/// Serves one replica that has connected. Ends with the connection.
pub(crate) fn serve(
    engine: Engine,
    (peer, scope): (String, Option<String>),
    inbound: Streaming<ClientMessage>,
    mut stopped: watch::Receiver<bool>,
) -> Result<impl tokio_stream::Stream<Item = Result<ServerMessage, Status>>> {
    let (outbox, outbound) = outbox();
    let id = engine.serve(scope.as_deref(), outbox)?;
    tracing::info!(%peer, "a replica has connected");
    tokio::spawn(async move {
        let bodies = inbound.map(|message| message.map(|message| (message.body, message.note)));
        let ended = tokio::select! {
            ended = take_in(&engine, id, bodies) => ended,
            // An error means that the node is gone.
            _ = stopped.wait_for(|stop| *stop) => "this node stops".to_owned(),
        };
        // The outbox goes, and with it what is sent: the connection ends.
        engine.disconnect(id);
        tracing::info!(%peer, why = %ended, "a replica has gone");
    });
    Ok(outbound.map(|(body, note)| Ok(ServerMessage { body, note })))
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
) -> String {
    let mut inbound = Ahead::new(inbound);
    let (mut came, mut ended): (VecDeque<Came>, Option<String>) = (VecDeque::new(), None);
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
            Some(Ok((body, note))) if body.is_empty() => note.and_then(notes::from_wire).map(Came::Note),
            Some(Ok((body, _))) if body.len() < LARGE => Some(Came::Message(Message::decode(body))),
            Some(Ok((body, _))) => Some(Came::Read(tokio::task::spawn_blocking(|| Message::decode(body)))),
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

impl Upstream {
    /// Of one of its datasets.
    pub(crate) fn of(&self, dataset: &str) -> Self {
        let mut one = self.clone();
        dataset.clone_into(&mut one.target.dataset);
        one
    }
}

/// Keeps a dataset connected to its upstream for as long as the task runs.
pub(crate) async fn follow(engine: Engine, upstream: Upstream, role: Role) {
    let runtime = tokio::runtime::Handle::current();
    let way = Certifying::new(upstream.target.clone(), upstream.options.clone(), runtime);
    engine.add_way(Arc::new(way));
    let peer = upstream.target.to_string();
    let (mut pause, mut rng) = (PAUSES.0, Rng::from_os());
    let mut said = String::new();
    loop {
        let why = match connect(&engine, &upstream, role).await {
            Ok(why) => {
                (pause, said) = (PAUSES.0, String::new());
                why
            }
            Err(error) => error.to_string(),
        };
        // Once for each reason: a node may be away for days.
        if why != said {
            tracing::warn!(%peer, %why, "not connected; what is written here waits");
            said.clone_from(&why);
        }
        let jitter = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 2;
        tokio::time::sleep(pause / 2 + Duration::from_millis(rng.below(jitter + 1))).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One connection, from its beginning to its end.
async fn connect(engine: &Engine, upstream: &Upstream, role: Role) -> Result<String> {
    let (outbox, outbound) = outbox();
    // The first message says which dataset is meant, and goes out before the node answers.
    let first = tokio_stream::once((Bytes::new(), None));
    let mut scope = match role {
        Role::Upstream => engine.scopes_here()?.0.unwrap_or_default(),
        Role::Peer => String::new(),
    };
    let messages = first.chain(outbound).map(move |(body, note)| {
        // In the first one.
        let scope = std::mem::take(&mut scope);
        ClientMessage { body, note, scope, ..ClientMessage::default() }
    });
    let mut inbound = client::replicate(&upstream.target, &upstream.options, messages).await?;
    let link = Link { url: Some(upstream.target.to_string()), upstream: role == Role::Upstream, serves: None };
    let id = engine.connect(link, outbox)?;
    tracing::info!(peer = %upstream.target, "connected");
    let peer = upstream.target.peer();
    let bodies = async_bodies(&mut inbound, &peer);
    let why = take_in(engine, id, bodies).await;
    engine.disconnect(id);
    Ok(why)
}

fn async_bodies<'a>(
    inbound: &'a mut Streaming<ServerMessage>,
    peer: &'a str,
) -> impl tokio_stream::Stream<Item = Result<Carried, Status>> + Unpin + 'a {
    inbound.map(move |message| {
        message.map(|message| (message.body, message.note)).map_err(|fault| {
            let error = status::from_grpc(peer, &fault);
            status::to_grpc(error.kind(), &error.to_string())
        })
    })
}

/// How often an upstream is asked what datasets it has.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Follows datasets of another node that are not among `known`, as they come.
pub(crate) async fn follow_new(
    hub: Arc<Hub>,
    upstream: Upstream,
    role: Role,
    known: Vec<String>,
    contents: (Arc<Exchanges>, watch::Receiver<bool>),
) {
    let (exchanges, stopped) = contents;
    let (mut known, mut said) = (BTreeSet::from_iter(known), String::new());
    loop {
        tokio::time::sleep(ASK_AGAIN).await;
        let (asked, of) = (Arc::clone(&hub), upstream.clone());
        // Away, with what was followed before: nothing new.
        let Ok(Ok(names)) = tokio::task::spawn_blocking(move || datasets(&asked, &of)).await else { continue };
        for name in names {
            if known.contains(&name) {
                continue;
            }
            let (at, of) = (Arc::clone(&hub), upstream.of(&name));
            let (here, target) = (name.clone(), of.clone());
            let prepared = tokio::task::spawn_blocking(move || prepare(&at, &here, &target, role)).await;
            match prepared {
                Ok(Ok(engine)) => {
                    tracing::info!(dataset = name, peer = %upstream.target, "a dataset has come, and is followed");
                    tokio::spawn(follow(engine, of.clone(), role));
                    let begun = hub.dataset(&name).and_then(|replica| exchanges.begin(replica, of, stopped.clone()));
                    if let Err(error) = begun {
                        tracing::warn!(dataset = name, %error, "contents of its files are not exchanged");
                    }
                    known.insert(name);
                }
                Ok(Err(error)) => {
                    // Once for each reason: it is tried again.
                    let why = error.to_string();
                    if why != said {
                        tracing::warn!(dataset = name, peer = %upstream.target, %why, "a dataset that has come cannot be followed");
                        said = why;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// The datasets that a node follows: the one that the upstream's address names, or all that the upstream has.
///
/// # Errors
/// As connecting; `Invalid` when the local name is none.
pub(crate) fn datasets(hub: &Hub, upstream: &Upstream) -> Result<Vec<String>> {
    if !upstream.target.dataset.is_empty() {
        return Ok(vec![upstream.target.dataset.clone()]);
    }
    let there = client::Client::connect(upstream.target.clone(), upstream.options.clone()).and_then(|c| c.datasets());
    match there {
        Ok(names) => Ok(names),
        // Those that were followed before are known here.
        Err(error) if error.kind() == Kind::Unavailable => {
            let mut known = Vec::new();
            for name in hub.datasets()? {
                if let Some(engine) = hub.dataset(&name)?.live_if_there()?
                    && engine.status()?.upstream.is_some()
                {
                    known.push(name);
                }
            }
            if known.is_empty() { Err(error.into()) } else { Ok(known) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The dataset `name` here, made when it is not; with its transactions going to the other node if that is its upstream.
///
/// # Errors
/// As [`Hub::live`].
pub(crate) fn prepare(hub: &Arc<Hub>, name: &str, upstream: &Upstream, role: Role) -> Result<Engine> {
    if !hub.datasets()?.iter().any(|known| known == name) {
        match hub.create(name) {
            Ok(_) => {}
            Err(Error::Node(error)) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let engine = hub.live(name)?;
    match (role, &upstream.scope) {
        (Role::Upstream, scope) => {
            match scope {
                Follow::Remembered => {}
                Follow::Everything => engine.follow_scope(None)?,
                Follow::Scope(name) => engine.follow_scope(Some(name))?,
            }
            engine.set_upstream(Some(&upstream.target.to_string()))?;
        }
        (Role::Peer, _) => engine.check_whole("standing beside another hub")?,
    }
    Ok(engine)
}
