//! Contents of files on their way between two replicas: who has connected to the other brings what it lacks, and gives what the other lacks.
//!
//! Rows do not wait for contents, nor contents for rows: what is named by a row and is not here is asked for, again and again, until it is; what a
//! row names that the other one lacks is given to it, chunks before the lists that name them. Own rows are looked at before a hub has taken them
//! in, so that both are there at about the same time.
//!
//! Owns: what is wanted, and what the other one is known to have; both are found anew after a restart. Not here: connections (the [`Peer`]'s).

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind};
use syncline_store::{Store, chunk};
use syncline_sync::live::{Node, RowKey, Write};
use syncline_tree::content::{self, ContentRef, MAX_LIST};
use syncline_tree::walk::{self, ObjectKind};

use super::row::{FileRow, INLINE};
use super::{TABLE, base64};
use crate::contents::Source;
use crate::live::Engine;
use crate::live::engine::Cursor as Place;
use crate::replica::{Connect, Replica};
use crate::{Error, Result};

/// Contents that are asked about at once.
const ASKED: usize = 1024;
/// Contents that are brought at once.
const BROUGHT: usize = 256;
/// So many bytes are given at once.
const GIVEN: usize = 4 << 20;
/// No object of a content is longer.
const LONGEST: usize = if chunk::MAX > MAX_LIST { chunk::MAX } else { MAX_LIST };
/// Transactions that are taken in one go.
const BATCH: usize = 1024;
/// How long is waited for news before it is asked whether to stop.
const PATIENCE: Duration = Duration::from_millis(300);
/// The first pause before contents that were not there are asked for again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// The other replica.
pub trait Peer {
    /// Those of these contents that it does not have whole.
    ///
    /// # Errors
    /// `unavailable` when it cannot be reached; its fault.
    fn lacking(&mut self, contents: &[ContentRef]) -> Result<Vec<ContentRef>>;

    /// Those of these objects that it does not have.
    ///
    /// # Errors
    /// As [`Self::lacking`].
    fn lacking_objects(&mut self, ids: &[Hash]) -> Result<Vec<Hash>>;

    /// Gives it objects, as [`give`] takes them.
    ///
    /// # Errors
    /// As [`Self::lacking`].
    fn give(&mut self, objects: &[u8]) -> Result<()>;

    /// How objects are fetched from it.
    fn connect(&self) -> Arc<dyn Connect>;
}

/// What [`give`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// How many objects came.
    pub objects: u64,
}

/// Those of these contents that a replica does not have whole.
///
/// # Errors
/// The store's.
pub fn lacking(replica: &Replica, contents: &[ContentRef]) -> Result<Vec<ContentRef>> {
    Source::none(replica.store().clone()).lacks(contents)
}

/// Stores objects that somebody gives: each its length (u32, little-endian) and its bytes. Durable when it returns.
///
/// # Errors
/// `invalid` when the input is something else; the store's.
pub fn give(replica: &Replica, input: &mut dyn Read) -> Result<Given> {
    let wrong = |why: String| Error::invalid("taking contents of files in", why);
    let mut given = Given::default();
    loop {
        let mut len = [0; 4];
        match input.read(&mut len[..1]).map_err(|error| wrong(error.to_string()))? {
            0 => break,
            _ => input.read_exact(&mut len[1..]).map_err(|error| wrong(error.to_string()))?,
        }
        let len = u32::from_le_bytes(len) as usize;
        if len > LONGEST {
            return Err(wrong(format!("an object of {len} bytes, the longest has {LONGEST}")));
        }
        let mut bytes = vec![0; len];
        input.read_exact(&mut bytes).map_err(|error| wrong(error.to_string()))?;
        replica.store().put(&bytes)?;
        given.objects += 1;
    }
    replica.store().flush()?;
    Ok(given)
}

/// What [`put`] did: the member that the change of a file is to have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Put {
    /// What the content is called, which is in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentRef>,
    /// The content itself: a short one goes along with the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Stores a content that a transaction is to name soon: what nothing names a collection takes, after its grace. Durable when it returns.
/// Takes a bounded amount of memory, whatever its length.
///
/// # Errors
/// [`Error::Served`] before anything is read when another process has the replica's live part; those of the input; the store's.
pub fn put(replica: &Replica, input: &mut (dyn Read + Send)) -> Result<Put> {
    write(&replica.live()?, input)
}

/// As [`put`], where the live part is open.
///
/// # Errors
/// Those of the input; the store's.
pub fn write(engine: &Engine, input: &mut (dyn Read + Send)) -> Result<Put> {
    let mut head = Vec::new();
    input
        .take(INLINE as u64 + 1)
        .read_to_end(&mut head)
        .map_err(|error| Error::Unavailable { what: "reading the content of a file".into(), why: error.to_string() })?;
    if head.len() <= INLINE {
        return Ok(Put { base64: Some(base64::encode(&head)), ..Put::default() });
    }
    let store = engine.contents()?;
    let content = content::write(&store, Cursor::new(head).chain(input), None)?;
    store.flush()?;
    Ok(Put { content: Some(content), ..Put::default() })
}

/// The contents that siblings of files' rows name.
pub(crate) fn named(node: &Node) -> BTreeSet<ContentRef> {
    let from = RowKey { table: TABLE.into(), key: Bytes::new() };
    let rows = node.rows_from(&from);
    let mut all = BTreeSet::new();
    for (_, row) in rows {
        all.extend(row.siblings().iter().filter_map(|sibling| FileRow::decode(&sibling.value)?.stored()));
    }
    all
}

fn of_writes(writes: &[Write]) -> impl Iterator<Item = ContentRef> {
    let files = writes.iter().filter(|write| &*write.row.table == TABLE);
    files.filter_map(|write| FileRow::decode(write.value.as_ref()?)?.stored())
}

/// Contents between this replica and another one.
pub struct Exchange<'a> {
    engine: Engine,
    replica: &'a Replica,
    store: Store,
    url: String,
    cursor: Option<Place>,
    /// The scope that was held, by its bytes: with another one rows come that no entry tells of.
    scope: Bytes,
    /// What the engine said of rows of files when they were looked at last.
    looked: u64,
    /// Not here, as far as is known.
    wanted: BTreeSet<ContentRef>,
    /// There, as far as is known.
    there: BTreeSet<ContentRef>,
    pause: Duration,
    /// When what is wanted is asked for again.
    again: Duration,
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<'a> Exchange<'a> {
    /// Between a replica and the one at `url`, which is for messages.
    ///
    /// # Errors
    /// As opening its live part.
    pub fn new(replica: &'a Replica, url: &str) -> Result<Self> {
        Ok(Self {
            engine: replica.live()?,
            replica,
            store: replica.store().work(),
            url: url.to_owned(),
            cursor: None,
            scope: Bytes::new(),
            looked: 0,
            wanted: BTreeSet::new(),
            there: BTreeSet::new(),
            pause: PAUSES.0,
            again: Duration::ZERO,
        })
    }

    /// Waits until there is something to do, at most for a moment; gives contents that rows name and that may have to go or to come.
    ///
    /// # Errors
    /// The log's.
    pub fn news(&mut self) -> Result<BTreeSet<ContentRef>> {
        let patience = match self.wanted.is_empty() {
            true => PATIENCE,
            false => self.again.saturating_sub(self.replica.clock().monotonic()).min(PATIENCE),
        };
        if self.cursor.is_some() {
            self.looked = self.engine.wait_for_files(self.looked, patience)?;
        }
        let scope = self.engine.read(|node| node.scope().clone())?;
        if scope != self.scope {
            self.scope = scope;
            self.forget();
        }
        let mut found = BTreeSet::new();
        let entries = match &mut self.cursor {
            Some(cursor) => self.engine.entries_after(cursor, BATCH, Duration::ZERO)?,
            None => None,
        };
        match entries {
            Some(entries) => {
                if entries.len() == BATCH {
                    self.looked = 0;
                }
                found.extend(entries.iter().flat_map(|entry| of_writes(&entry.txn.body().writes)));
            }
            None => {
                let (coverage, named) = self.engine.read(|node| (node.state().coverage().clone(), named(node)))?;
                self.cursor = Some(Place::new(coverage));
                found = named;
            }
        }
        let own = self.engine.read(|node| {
            node.waiting().flat_map(|txn| of_writes(&txn.body().writes).collect::<Vec<_>>()).collect::<Vec<_>>()
        })?;
        found.extend(own);
        found.retain(|content| !self.there.contains(content) && !self.wanted.contains(content));
        Ok(found)
    }

    /// Whether there is anything to ask the other one about now.
    #[must_use]
    pub fn is_due(&self, found: &BTreeSet<ContentRef>) -> bool {
        !found.is_empty() || (!self.wanted.is_empty() && self.replica.clock().monotonic() >= self.again)
    }

    /// Gives what the other one lacks of these, and brings what is wanted.
    ///
    /// # Errors
    /// Those of the peer, and the store's; what was found is then to be found again, by [`Self::forget`].
    pub fn round(&mut self, peer: &mut dyn Peer, mut found: BTreeSet<ContentRef>) -> Result<()> {
        self.store = self.store.work();
        let source = self.source(peer);
        found.extend(std::mem::take(&mut self.wanted));
        let contents: Vec<ContentRef> = found.into_iter().collect();
        self.wanted = source.lacks(&contents)?.into_iter().collect();
        let here: Vec<ContentRef> = contents.into_iter().filter(|content| !self.wanted.contains(content)).collect();
        for here in here.chunks(ASKED) {
            for content in peer.lacking(here)? {
                Giving { store: &self.store, peer, bytes: Vec::new() }.content(&content)?;
            }
            self.there.extend(here);
        }
        let before = self.wanted.len();
        for some in self.wanted.clone().into_iter().collect::<Vec<_>>().chunks(BROUGHT) {
            self.bring(&source, some)?;
        }
        self.pause = if self.wanted.len() < before { PAUSES.0 } else { (self.pause * 2).min(PAUSES.1) };
        self.again = self.replica.clock().monotonic() + self.pause;
        Ok(())
    }

    /// Something new is wanted: it is asked for soon.
    pub fn hurry(&mut self) {
        self.pause = PAUSES.0;
    }

    /// The connection is gone: who answers next may be somebody else.
    pub fn forget(&mut self) {
        self.there.clear();
        self.wanted.clear();
        self.cursor = None;
    }

    fn source(&self, peer: &dyn Peer) -> Source {
        let mut env = self.replica.env().clone();
        env.connect = peer.connect();
        Source::at(self.store.clone(), env, self.url.clone())
    }

    fn bring(&mut self, source: &Source, contents: &[ContentRef]) -> Result<()> {
        match source.bring(contents) {
            Ok(()) => {
                for content in contents {
                    self.wanted.remove(content);
                    self.there.insert(*content);
                }
                Ok(())
            }
            // It may not have them all yet: those that it has come one by one.
            Err(error) if error.kind() == Kind::NotFound => {
                if contents.len() > 1 {
                    for content in contents {
                        self.bring(source, std::slice::from_ref(content))?;
                    }
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Objects on their way to somebody who lacks them.
struct Giving<'a> {
    store: &'a Store,
    peer: &'a mut dyn Peer,
    bytes: Vec<u8>,
}

impl Giving<'_> {
    /// Gives a content: chunks first, then the lists that name them, so that a list that is there says that all below it was.
    fn content(mut self, content: &ContentRef) -> Result<()> {
        self.below(&content.root, content.height)?;
        self.objects(&[content.root])?;
        self.flush()
    }

    fn below(&mut self, id: &Hash, height: u8) -> Result<()> {
        if height == 0 {
            return Ok(());
        }
        let children = walk::children(ObjectKind::Content { height }, &self.store.get(id)?)?;
        let ids: Vec<Hash> = children.iter().map(|(id, _)| *id).collect();
        for id in &ids {
            self.below(id, height - 1)?;
        }
        let lacking = self.peer.lacking_objects(&ids)?;
        self.objects(&lacking)
    }

    fn objects(&mut self, ids: &[Hash]) -> Result<()> {
        for id in ids {
            let bytes = self.store.get(id)?;
            self.bytes.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            self.bytes.extend_from_slice(&bytes);
            if self.bytes.len() >= GIVEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            self.peer.give(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
