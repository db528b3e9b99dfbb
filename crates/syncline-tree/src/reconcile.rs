//! Finding what differs between two tables that share no history, by lists of addresses and row tokens.
//!
//! One side asks (it holds a [`Session`]), the other answers ([`serve`], stateless). Messages are opaque bytes; who carries
//! them is the caller's business. Round trips: one per level of the remote tree, one for row tokens, one for rows; more only
//! when a reply would be too long. Format: `docs/format/delta.md`, part "reconciliation".
//!
//! Owns: what is not matched yet. Memory: about 40 bytes for each row of the leaves that are not in both tables, and the
//! rows that differ: look at [`Session::leaves`], [`Session::kept`] and [`Session::held`], and fetch whole trees instead when
//! nearly everything does. What one reply can add is bounded here: 262,144 nodes of a level, 6,291,456 local rows.
//!
//! Not here: I/O, retries, applying the changes, fetching content of long cells.

mod message;
mod serve;

use std::collections::BTreeMap;

use bytes::Bytes;
use syncline_base::{Hash, task};

#[cfg(any(test, fuzzing))]
pub(crate) use self::message::check as check_messages;
use self::message::{Path, Reply, Request};
pub use self::serve::serve;
use crate::delta::decode_frame;
use crate::diff::{Gather, Source};
use crate::key::Keys;
use crate::node::{Entry, MAX_HEIGHT};
use crate::table::edit::keys_of;
use crate::table::{Changes, Op, Rows, Table, TableRef, concat};
use crate::{Error, Result};

/// The most nodes of one level that are kept apart.
const MAX_NODES: usize = 1 << 18;
/// The most local rows that are kept apart.
const MAX_ROWS: u64 = 6 << 20;

/// The asking side.
#[derive(Debug)]
pub struct Session {
    local: Table,
    remote: TableRef,
    salt: u64,
    /// Remote nodes that are not in the local tree, all of one level.
    theirs: Vec<Path>,
    /// Local nodes that are not in the remote tree, all of one level.
    ours: Vec<Entry>,
    /// Levels below the nodes of `theirs` and `ours`, with their own.
    their_height: u8,
    our_height: u8,
    stage: Stage,
    /// Paths of the current stage that were answered.
    answered: usize,
    /// What the last request was for.
    asked: Option<Vec<Path>>,
    /// Children of `theirs` at the next level, with what the remote side says of them.
    found: Vec<(Path, u64)>,
    /// Rows of remote leaves that are not here.
    wanted: Vec<(Path, Vec<u32>)>,
    /// Local rows of `ours`, by token.
    tokens: Vec<Token>,
    rows: Vec<Rows>,
    /// Bytes of `rows`.
    held: usize,
    /// How many rows are in `wanted`.
    wanted_rows: usize,
}

/// A local row, found by what is hashed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Token {
    token: u64,
    leaf: u32,
    row: u32,
    /// Whether the remote side has it too.
    matched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Nodes,
    Tokens,
    Rows,
    Done,
}

impl Session {
    /// Compares `local` with a remote table of the same schema. `salt` is random: it makes row tokens unpredictable.
    ///
    /// # Errors
    /// `invalid` when the schemas differ, or when no table has so many levels.
    pub fn start(local: &Table, remote: &TableRef, salt: u64) -> Result<Self> {
        let own = local.to_ref();
        if remote.height > MAX_HEIGHT {
            return Err(Error::invalid(format!("reconciling with a table of {} levels", remote.height)));
        }
        if own.schema != remote.schema {
            return Err(Error::invalid(
                "reconciling two tables: their schemas differ; bring one under the other's first",
            ));
        }
        let last = Bytes::new();
        let root = Entry { id: own.root, rows: own.rows, last };
        let same = own.root == remote.root;
        let stage = if same { Stage::Done } else { Stage::Nodes };
        let mut session = Self {
            local: local.clone(),
            remote: *remote,
            salt,
            theirs: if same || remote.height == 0 { Vec::new() } else { vec![Path::new()] },
            ours: if same || own.height == 0 { Vec::new() } else { vec![root] },
            their_height: remote.height,
            our_height: own.height,
            stage,
            answered: 0,
            asked: None,
            found: Vec::new(),
            wanted: Vec::new(),
            tokens: Vec::new(),
            rows: Vec::new(),
            held: 0,
            wanted_rows: 0,
        };
        session.advance()?;
        Ok(session)
    }

    /// The next request to send, or `None` when everything is known. Each gets one reply, in order.
    ///
    /// # Errors
    /// The store's.
    pub fn request(&mut self) -> Result<Option<Bytes>> {
        let (root, height) = (self.remote.root, self.remote.height);
        let paths = |from: &[Path]| from[self.answered..].iter().take(message::MAX_PATHS).cloned().collect::<Vec<_>>();
        let request = match self.stage {
            Stage::Done => return Ok(None),
            Stage::Nodes => Request::Nodes { root, height, paths: paths(&self.theirs) },
            Stage::Tokens => {
                let (schema, salt) = (self.remote.schema, self.salt);
                Request::Tokens { root, height, schema, salt, paths: paths(&self.theirs) }
            }
            Stage::Rows => {
                let rows = self.wanted[self.answered..].iter().take(message::MAX_PATHS).cloned().collect();
                Request::Rows { root, height, schema: self.remote.schema, rows }
            }
        };
        self.asked = Some(request.paths());
        Ok(Some(request.encode()))
    }

    /// Takes the reply to the last request.
    ///
    /// # Errors
    /// `corrupt` when it is not one; the store's.
    pub fn reply(&mut self, reply: &Bytes) -> Result<()> {
        let wrong = |why: &str| Error::corrupt(format!("reading a reply to a reconciliation: {why}"));
        let asked = self.asked.take().ok_or_else(|| wrong("nothing was asked"))?;
        let reply = Reply::decode(reply)?;
        let count = match (self.stage, reply) {
            (Stage::Nodes, Reply::Nodes(nodes)) => {
                if nodes.iter().map(Vec::len).sum::<usize>() + self.found.len() > MAX_NODES {
                    return Err(wrong("it has more nodes than are worth comparing"));
                }
                for (path, children) in asked.iter().zip(&nodes) {
                    self.found.extend((0_u32..).zip(children).map(|(i, prefix)| (path.child(i), *prefix)));
                }
                nodes.len()
            }
            (Stage::Tokens, Reply::Tokens(leaves)) => {
                for (path, tokens) in asked.iter().zip(&leaves) {
                    let missing = |(_, token): &(u32, &u64)| !self.take_token(**token);
                    let rows: Vec<u32> = (0_u32..).zip(tokens).filter(missing).map(|(row, _)| row).collect();
                    if !rows.is_empty() {
                        self.wanted_rows += rows.len();
                        self.wanted.push((path.clone(), rows));
                    }
                }
                leaves.len()
            }
            (Stage::Rows, Reply::Rows(count, frame)) => {
                let Changes { rows, externals, .. } = decode_frame(self.local.schema(), &frame)?;
                let wanted: usize = self.wanted[self.answered..].iter().take(count).map(|(_, rows)| rows.len()).sum();
                if rows.num_rows() != wanted {
                    return Err(wrong("it has other rows than were asked for"));
                }
                self.held += rows.get_array_memory_size();
                self.rows.push(Rows { batch: rows, externals });
                count
            }
            _ => return Err(wrong("it is for another request")),
        };
        if count == 0 || count > asked.len() {
            return Err(wrong("it answers none of what was asked, or more"));
        }
        self.answered += count;
        self.advance()
    }

    /// How many leaves are not in both tables, remote and local, as far as is known. When these are most leaves of the tables,
    /// fetching the tree costs less than going on.
    #[must_use]
    pub fn leaves(&self) -> (usize, usize) {
        (self.theirs.len(), self.ours.len())
    }

    /// About how many bytes the rows that came take in memory. They are kept until the end, and what is compressed well comes
    /// in few bytes: give up when this is too much.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// About how many bytes it takes in memory besides those rows, until everything is known.
    #[must_use]
    pub fn kept(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, Vec::len);
        let paths = self.theirs.len() + self.found.len() + self.wanted.len() + asked;
        let path = 2 * size_of::<Path>() + 4 * usize::from(self.remote.height - self.their_height);
        paths * path
            + self.wanted_rows * size_of::<u32>()
            + self.tokens.len() * size_of::<Token>()
            + self.ours.len() * size_of::<Entry>()
    }

    /// The changes that make the remote table out of the local one, in key order. The caller applies them and compares the
    /// roots; in the unlikely case that they differ, another salt helps.
    ///
    /// # Errors
    /// `invalid` before everything is known; the store's.
    pub fn finish(self) -> Result<Vec<Changes>> {
        if self.stage != Stage::Done {
            return Err(Error::invalid("finishing a reconciliation that is not done: ask on"));
        }
        let shared = &self.local.shared;
        let gone = self.unmatched()?;
        let columns = shared.encoder.decode(gone.iter())?;
        let positions = shared.schema.key_positions();
        let mut gather = Gather::new(&shared.schema);
        let deleted = gather.source(Source::keys(shared.schema.columns.len(), &positions, &columns));
        let (keys, upserted) = match &self.rows[..] {
            [] => (Keys::default(), deleted),
            rows => {
                let rows = concat(rows)?;
                (shared.encoder.encode(&rows.batch)?, gather.source(Source::of(&rows)))
            }
        };
        let (mut i, mut j, mut ops) = (0, 0, Vec::new());
        while i < gone.len() || j < keys.len() {
            let delete = i < gone.len() && (j == keys.len() || gone.get(i) < keys.get(j));
            if delete {
                gather.row(deleted, i);
                ops.push(Op::Delete);
                i += 1;
            } else {
                // Another version of a local row replaces it.
                i += usize::from(i < gone.len() && gone.get(i) == keys.get(j));
                gather.row(upserted, j);
                ops.push(Op::Upsert);
                j += 1;
            }
        }
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let Rows { batch, externals } = gather.finish()?;
        Ok(vec![Changes { rows: batch, ops, externals }])
    }

    /// Keys of local rows that the remote side does not have as they are.
    fn unmatched(&self) -> Result<Keys> {
        let shared = &self.local.shared;
        let mut rows: Vec<_> = self.tokens.iter().filter(|t| !t.matched).map(|t| (t.leaf, t.row)).collect();
        rows.sort_unstable();
        let mut parts: Vec<(&Entry, Vec<u32>)> = Vec::new();
        let mut last = None;
        for (leaf, row) in rows {
            match parts.last_mut() {
                Some((_, rows)) if last == Some(leaf) => rows.push(row),
                _ => parts.push((&self.ours[leaf as usize], vec![row])),
            }
            last = Some(leaf);
        }
        let keys = task::try_map(parts, |(entry, rows)| {
            let keys = keys_of(shared, &shared.leaf(&entry.id, entry.rows)?)?;
            Ok::<Keys, Error>(rows.iter().map(|row| keys.get(*row as usize)).collect())
        })?;
        Ok(keys.iter().flat_map(Keys::iter).collect())
    }

    /// Goes on to the next level or stage when everything of this one is answered.
    fn advance(&mut self) -> Result<()> {
        loop {
            match self.stage {
                Stage::Nodes if self.their_height > 1 && !self.theirs.is_empty() => {
                    if self.answered < self.theirs.len() {
                        return Ok(());
                    }
                    self.next_level()?;
                }
                Stage::Nodes => {
                    if self.ours.iter().map(|entry| entry.rows).sum::<u64>() > MAX_ROWS {
                        return Err(Error::invalid("reconciling two tables: nearly all rows differ; fetch the tree"));
                    }
                    while self.our_height > 1 {
                        self.open_ours()?;
                    }
                    self.tokens = self.local_tokens()?;
                    self.stage = Stage::Tokens;
                }
                Stage::Tokens if self.answered < self.theirs.len() => return Ok(()),
                Stage::Tokens => (self.stage, self.answered) = (Stage::Rows, 0),
                Stage::Rows if self.answered < self.wanted.len() => return Ok(()),
                Stage::Rows => self.stage = Stage::Done,
                Stage::Done => return Ok(()),
            }
        }
    }

    /// From nodes to their children, without those that both trees have.
    fn next_level(&mut self) -> Result<()> {
        let mut found = std::mem::take(&mut self.found);
        self.their_height -= 1;
        self.answered = 0;
        while self.our_height > self.their_height {
            self.open_ours()?;
        }
        if self.our_height == self.their_height {
            let ours: BTreeMap<u64, usize> = (0..).zip(&self.ours).map(|(i, e)| (e.id.prefix_u64(), i)).collect();
            let mut both = vec![false; self.ours.len()];
            found.retain(|(_, prefix)| match ours.get(prefix) {
                Some(i) => std::mem::replace(&mut both[*i], true),
                None => true,
            });
            let mut both = both.into_iter();
            self.ours.retain(|_| both.next() == Some(false));
        }
        self.theirs = found.into_iter().map(|(path, _)| path).collect();
        Ok(())
    }

    fn open_ours(&mut self) -> Result<()> {
        let shared = &self.local.shared;
        self.our_height -= 1;
        let level = self.our_height;
        let ids: Vec<Hash> = self.ours.iter().map(|entry| entry.id).collect();
        let mut below = Vec::new();
        for (id, bytes) in ids.iter().zip(shared.store.get_many(&ids)?) {
            below.extend(crate::table::node_at(id, bytes, level)?.entries());
        }
        self.ours = below;
        Ok(())
    }

    fn local_tokens(&self) -> Result<Vec<Token>> {
        let shared = &self.local.shared;
        let leaves: Vec<(u32, &Entry)> = (0..).zip(&self.ours).collect();
        let tokens = task::try_map(leaves, |(leaf, entry)| {
            let tokens = message::tokens(&shared.leaf(&entry.id, entry.rows)?, self.salt);
            let token = |(row, token)| Token { token, leaf, row, matched: false };
            Ok::<Vec<Token>, Error>((0..).zip(tokens).map(token).collect())
        })?;
        let mut tokens = tokens.concat();
        tokens.sort_unstable();
        Ok(tokens)
    }

    /// Matches a remote row with a local one; false when there is none left.
    fn take_token(&mut self, token: u64) -> bool {
        let first = self.tokens.partition_point(|have| have.token < token);
        let mut same = self.tokens[first..].iter_mut().take_while(|have| have.token == token);
        match same.find(|have| !have.matched) {
            Some(have) => {
                have.matched = true;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
