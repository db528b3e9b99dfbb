//! Messages of a session and their bytes. Normative: `docs/format/wire.md`.
//!
//! A transport message (a *frame*) holds one or more session messages, each `tag, length, body`. Bodies have their
//! fields in a fixed order; what a future version adds, it adds under a new protocol version, so bytes that are left
//! over are an error.
//!
//! Decoding never panics and never reserves memory for a count or a length that the bytes at hand cannot hold.

pub(crate) mod fields;
pub(crate) mod reader;

use bytes::{BufMut, Bytes};
use syncline_base::{Hash, Kind};
use syncline_store::Bases;

use crate::error::{Error, Result};
use fields::{
    fault, items, left, objects, past, put_bytes, put_fault, put_ids, put_items, put_left, put_object, put_option,
    put_refs, put_squeezed, put_text, put_trees, put_uint, put_want, refs, squeezed, trees, want,
};
use reader::Reader;
use syncline_tree::TableRef;

/// The version of the messages in this module.
pub const VERSION: u32 = 1;
/// The most addresses in one message.
pub const MAX_IDS: usize = 64 << 10;
/// The most names (refs, tables) in one message.
pub const MAX_NAMES: usize = 64 << 10;
/// The longest name or text.
pub const MAX_TEXT: usize = 16 << 10;
/// Bodies of objects and deltas are cut so that a frame stays near this size.
pub const FRAME_BYTES: usize = 1 << 20;
/// A single object's payload above this is cut into parts.
pub const PART_BYTES: usize = 4 << 20;

/// What a client wants from a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Commits and everything under them.
    Pull {
        /// Full names of refs; empty for all.
        refs: Vec<String>,
        /// Only these trees.
        tables: Option<Vec<String>>,
        /// Only so many commits of each ref; 0 is all.
        depth: u32,
        /// Commits that the client has, complete.
        heads: Vec<Hash>,
        /// Commits right before those that it has, which it lacks: its history ends there.
        lacks: Vec<Hash>,
        /// The client has nothing at all: nothing needs to be asked.
        empty: bool,
        /// The file tree without the contents of files.
        outline: bool,
        /// Tags are named, but nothing is sent for them alone: the client takes those whose commits it has then.
        follow: bool,
    },
    /// To move refs, and to send what they need.
    Push {
        /// The moves.
        moves: Vec<Move>,
    },
    /// Single objects by address.
    Fetch {
        /// The addresses.
        ids: Vec<Hash>,
    },
}

/// A ref that is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its full name.
    pub name: String,
    /// Where it must be; `None` when the client takes what the server says.
    pub expected: Option<Hash>,
    /// Where it is to be; `None` removes it.
    pub target: Option<Hash>,
    /// Bit 0: need not follow from where it is. Bit 1: may delete most of a table. Bit 2: is only made.
    pub flags: u8,
}

/// [`Move::flags`]: the new commit need not follow from the old.
pub const FORCE: u8 = 1;
/// [`Move::flags`]: a mass deletion is meant.
pub const MASS_DELETE: u8 = 2;
/// [`Move::flags`]: the ref, a tag, is only made. One that is elsewhere stays there, and one whose commit the server does
/// not have is not made; [`Message::Done`] names both.
pub const NEW: u8 = 4;

/// A ref and where it is.
pub type NamedRef = (String, Hash);

/// A ref that was to be made and was not, and where it is; `None` when the server does not have its commit.
pub type Left = (String, Option<Hash>);

/// The server's first message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Its refs: in a pull those asked for, in a push those to be moved.
    pub refs: Vec<NamedRef>,
    /// Its default branch; empty when it has none.
    pub head: String,
    /// In a push: commits that the server has, complete.
    pub heads: Vec<Hash>,
    /// In a push: commits right before those that the server has, which it lacks.
    pub lacks: Vec<Hash>,
    /// In a push: the server has nothing at all.
    pub empty: bool,
}

/// An object as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The hash of its canonical bytes.
    pub id: Hash,
    /// What it is, see [`crate::graph::ObjectKind`].
    pub kind: u8,
    /// How `payload` was made.
    pub codec: u8,
    /// What it is a patch on.
    pub bases: Bases,
    /// Length of the canonical bytes.
    pub raw_len: u32,
    /// How many bytes of the payload follow in [`Message::Part`]s.
    pub rest: u32,
    /// The payload, or its beginning.
    pub payload: Bytes,
}

/// Text that both sides can nearly derive: compressed against a prefix that both have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Squeezed {
    /// Length of the text.
    pub raw_len: u32,
    /// One zstd frame.
    pub payload: Bytes,
}

/// A commit whose content has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The commit that its deltas are against; the receiver has it.
    pub base: Option<Hash>,
    /// The dataset root.
    pub root: Squeezed,
    /// The commit.
    pub commit: Squeezed,
}

/// Why a side gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: Kind,
    /// What happened, for people.
    pub message: String,
    /// When a ref was not where it was thought to be: its name, where it was thought to be, where it is.
    pub moved: Option<(String, Option<Hash>, Option<Hash>)>,
}

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Client, first.
    Hello {
        /// The version of the messages.
        version: u32,
        /// What it wants.
        want: Want,
    },
    /// Server, first.
    Welcome(Welcome),
    /// Sender: none of the receiver's heads is known here; which older commits does it have?
    AskHaves,
    /// Receiver: these, complete.
    Haves(Vec<Hash>),
    /// Sender: so many commits will come.
    Plan {
        /// How many.
        commits: u64,
    },
    /// Sender: records of commits whose data it has given up, between what the receiver has and what will come.
    Past(Vec<Bytes>),
    /// Sender: objects, children before parents.
    Objects(Vec<Object>),
    /// Sender: more of the payload of the last object.
    Part(Bytes),
    /// Sender: which of these (address, kind) does the receiver lack?
    Offer(Vec<(Hash, u8)>),
    /// Receiver: bit `i` (lowest first in each byte) is set when it lacks the `i`th.
    Lack(Bytes),
    /// Sender: a piece of the row delta of a tree, for the next step.
    Delta {
        /// The tree: `t/NAME` or `f`.
        tree: String,
        /// One frame of the delta.
        frame: Bytes,
    },
    /// Sender: a commit whose content is complete now.
    Step(Step),
    /// Sender: these trees of the next step differ from anything it knows the receiver to have.
    Propose(Vec<(String, TableRef)>),
    /// Receiver: a question about the tree of this place in the proposal, see `syncline_tree::reconcile`.
    Query {
        /// Which tree.
        tree: u32,
        /// The question.
        body: Bytes,
    },
    /// Sender: the answer.
    Answer {
        /// Which tree.
        tree: u32,
        /// The answer.
        body: Bytes,
    },
    /// Receiver: nothing more to ask.
    Settled {
        /// Trees that it can make by itself; the others have to be sent.
        trees: Vec<u32>,
        /// Content that it lacks for that, with its kind.
        need: Vec<(Hash, u8)>,
    },
    /// Receiver: step number `step` did not give the root that it should; start it again with objects.
    Redo {
        /// Which step, from 0.
        step: u64,
    },
    /// Sender: here begins step `step` again.
    Restart {
        /// Which step.
        step: u64,
    },
    /// Receiver: everything so far is durable.
    Ack {
        /// Steps done.
        steps: u64,
    },
    /// Sender: that was all; in a push: move the refs.
    Finish,
    /// Receiver: all is done and durable.
    Done {
        /// In a push: refs that were to be made and were not.
        left: Vec<Left>,
    },
    /// Either: the session is over.
    Fault(Fault),
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const ASK_HAVES: u8 = 3;
const HAVES: u8 = 4;
const PLAN: u8 = 5;
const OBJECTS: u8 = 6;
const PART: u8 = 7;
const OFFER: u8 = 8;
const LACK: u8 = 9;
const DELTA: u8 = 10;
const STEP: u8 = 11;
const REDO: u8 = 12;
const RESTART: u8 = 13;
const ACK: u8 = 14;
const FINISH: u8 = 15;
const DONE: u8 = 16;
const FAULT: u8 = 17;
const PROPOSE: u8 = 18;
const QUERY: u8 = 19;
const ANSWER: u8 = 20;
const SETTLED: u8 = 21;
const PAST: u8 = 22;

impl Message {
    /// Its name, for messages about it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Welcome(_) => "welcome",
            Self::AskHaves => "ask-haves",
            Self::Haves(_) => "haves",
            Self::Plan { .. } => "plan",
            Self::Past(_) => "past",
            Self::Objects(_) => "objects",
            Self::Part(_) => "part",
            Self::Offer(_) => "offer",
            Self::Lack(_) => "lack",
            Self::Delta { .. } => "delta",
            Self::Step(_) => "step",
            Self::Propose(_) => "propose",
            Self::Query { .. } => "query",
            Self::Answer { .. } => "answer",
            Self::Settled { .. } => "settled",
            Self::Redo { .. } => "redo",
            Self::Restart { .. } => "restart",
            Self::Ack { .. } => "ack",
            Self::Finish => "finish",
            Self::Done { .. } => "done",
            Self::Fault(_) => "fault",
        }
    }

    /// Whether whoever sends this then waits for an answer.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::Hello { .. }
                | Self::AskHaves
                | Self::Offer(_)
                | Self::Propose(_)
                | Self::Query { .. }
                | Self::Redo { .. }
                | Self::Finish
        )
    }

    /// About how long it is.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        match self {
            Self::Objects(objects) => objects.iter().map(|object| object.payload.len() + 80).sum(),
            Self::Part(bytes) | Self::Lack(bytes) => bytes.len() + 8,
            Self::Past(records) => records.iter().map(|record| record.len() + 8).sum(),
            Self::Offer(items) => items.len() * Hash::LEN + 64,
            Self::Haves(ids) => ids.len() * Hash::LEN + 16,
            Self::Query { body, .. } | Self::Answer { body, .. } => body.len() + 16,
            Self::Settled { need, .. } => need.len() * Hash::LEN + 64,
            Self::Delta { frame, tree } => frame.len() + tree.len() + 16,
            Self::Step(step) => step.root.payload.len() + step.commit.payload.len() + 64,
            _ => 256,
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.encode_body(&mut body);
        out.reserve(body.len() + 11);
        out.put_u8(self.tag());
        put_uint(out, body.len() as u64);
        out.put_slice(&body);
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Welcome(_) => WELCOME,
            Self::AskHaves => ASK_HAVES,
            Self::Haves(_) => HAVES,
            Self::Plan { .. } => PLAN,
            Self::Past(_) => PAST,
            Self::Objects(_) => OBJECTS,
            Self::Part(_) => PART,
            Self::Offer(_) => OFFER,
            Self::Lack(_) => LACK,
            Self::Delta { .. } => DELTA,
            Self::Step(_) => STEP,
            Self::Propose(_) => PROPOSE,
            Self::Query { .. } => QUERY,
            Self::Answer { .. } => ANSWER,
            Self::Settled { .. } => SETTLED,
            Self::Redo { .. } => REDO,
            Self::Restart { .. } => RESTART,
            Self::Ack { .. } => ACK,
            Self::Finish => FINISH,
            Self::Done { .. } => DONE,
            Self::Fault(_) => FAULT,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::AskHaves | Self::Finish => {}
            Self::Done { left: names } => put_left(out, names),
            Self::Hello { version, want } => {
                put_uint(out, u64::from(*version));
                put_want(out, want);
            }
            Self::Welcome(welcome) => {
                put_refs(out, &welcome.refs);
                put_text(out, &welcome.head);
                put_ids(out, &welcome.heads);
                put_ids(out, &welcome.lacks);
                out.put_u8(u8::from(welcome.empty));
            }
            Self::Haves(ids) => put_ids(out, ids),
            Self::Plan { commits: number }
            | Self::Redo { step: number }
            | Self::Restart { step: number }
            | Self::Ack { steps: number } => put_uint(out, *number),
            Self::Objects(objects) => {
                out.reserve(self.size_hint());
                objects.iter().for_each(|object| put_object(out, object));
            }
            Self::Past(records) => records.iter().for_each(|record| put_bytes(out, record)),
            Self::Part(bytes) | Self::Lack(bytes) => out.put_slice(bytes),
            Self::Offer(items) => put_items(out, items),
            Self::Delta { tree, frame } => {
                put_text(out, tree);
                out.put_slice(frame);
            }
            Self::Step(step) => {
                put_option(out, step.base);
                put_squeezed(out, &step.root);
                put_squeezed(out, &step.commit);
            }
            Self::Propose(trees) => put_trees(out, trees),
            Self::Query { tree, body } | Self::Answer { tree, body } => {
                put_uint(out, u64::from(*tree));
                out.put_slice(body);
            }
            Self::Settled { trees, need } => {
                put_uint(out, trees.len() as u64);
                trees.iter().for_each(|tree| put_uint(out, u64::from(*tree)));
                put_items(out, need);
            }
            Self::Fault(fault) => put_fault(out, fault),
        }
    }

    fn decode_body(tag: u8, body: Bytes) -> Result<Self> {
        let mut r = Reader::new(body);
        let message = match tag {
            HELLO => {
                let version = r.u32("version")?;
                if version != VERSION {
                    // What follows may have another form: say what is wrong instead of guessing.
                    return Err(Error::Invalid(format!(
                        "the peer speaks version {version} of the transfer protocol and this program version \
                         {VERSION}: use programs of the same version on both sides"
                    )));
                }
                Self::Hello { version, want: want(&mut r)? }
            }
            WELCOME => Self::Welcome(Welcome {
                refs: refs(&mut r)?,
                head: r.text("head")?,
                heads: r.ids("heads")?,
                lacks: r.ids("lacks")?,
                empty: r.flag("empty")?,
            }),
            ASK_HAVES => Self::AskHaves,
            HAVES => Self::Haves(r.ids("haves")?),
            PLAN => Self::Plan { commits: r.uint("commits")? },
            PAST => Self::Past(past(&mut r)?),
            OBJECTS => Self::Objects(objects(&mut r)?),
            PART => Self::Part(r.rest()),
            OFFER => Self::Offer(items(&mut r)?),
            LACK => Self::Lack(r.rest()),
            DELTA => Self::Delta { tree: r.text("tree")?, frame: r.rest() },
            STEP => Self::Step(Step { base: r.option("base")?, root: squeezed(&mut r)?, commit: squeezed(&mut r)? }),
            PROPOSE => Self::Propose(trees(&mut r)?),
            QUERY => Self::Query { tree: r.u32("tree")?, body: r.rest() },
            ANSWER => Self::Answer { tree: r.u32("tree")?, body: r.rest() },
            SETTLED => {
                let n = r.count("trees", MAX_NAMES)?;
                let trees = (0..n).map(|_| r.u32("tree")).collect::<Result<_>>()?;
                Self::Settled { trees, need: items(&mut r)? }
            }
            REDO => Self::Redo { step: r.uint("step")? },
            RESTART => Self::Restart { step: r.uint("step")? },
            ACK => Self::Ack { steps: r.uint("steps")? },
            FINISH => Self::Finish,
            DONE => Self::Done { left: left(&mut r)? },
            FAULT => Self::Fault(fault(&mut r)?),
            other => return Err(Error::protocol("a message", format!("tag {other} is not known"))),
        };
        r.end(message.name())?;
        Ok(message)
    }
}

/// The messages of a frame, each decoded when it is asked for: a frame of 16 MiB may hold millions, and a decoded
/// message takes far more than the two bytes of the shortest.
#[derive(Debug, Default)]
pub struct Messages(Reader);

/// The messages of a frame, one by one.
#[must_use]
pub fn messages(frame: Bytes) -> Messages {
    Messages(Reader::new(frame))
}

impl Messages {
    /// Whether there are no more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read(&mut self) -> Result<Message> {
        let tag = self.0.u8("tag")?;
        Message::decode_body(tag, self.0.bytes("message")?)
    }
}

impl Iterator for Messages {
    /// `Invalid` when the bytes are no message; it is the last one then.
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_err() {
            self.0 = Reader::default();
        }
        Some(message)
    }
}

/// All messages of a frame at once: for frames that are known to hold few. What a peer sends is taken by [`messages`].
///
/// # Errors
/// `Invalid` when the bytes are no messages.
pub fn decode_frame(frame: Bytes) -> Result<Vec<Message>> {
    messages(frame).collect()
}

/// The bytes of a frame.
#[must_use]
pub fn encode_frame(messages: &[Message]) -> Bytes {
    let mut out = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut out));
    out.into()
}

#[cfg(test)]
mod tests;
