//! What is asked and answered, in bytes. Layout: `docs/format/delta.md`, part "reconciliation".

use bytes::Bytes;
use syncline_base::Hash;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::leaf::layout::{ColumnNode, Kind, Node, bit};
use crate::leaf::wire::{Fault, Reader, put_varint};
use crate::leaf::{External, Leaf};
use crate::node::MAX_HEIGHT;
use crate::{Error, Result};

/// More paths than this are asked for in several requests.
pub(super) const MAX_PATHS: usize = 1 << 16;
/// Bytes of a row's token on the wire.
const TOKEN: usize = 6;

/// What a cell is, in the bytes that a token is the hash of.
const NULL: u8 = 0;
const VALUE: u8 = 1;
const OUTSIDE: u8 = 2;

const NODES: u8 = 1;
const TOKENS: u8 = 2;
const ROWS: u8 = 3;

/// Where a node is in a tree: which child to take at each level, from the root down.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub(super) Vec<u32>);

impl Path {
    /// The root.
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn child(&self, i: u32) -> Self {
        Self(self.0.iter().copied().chain([i]).collect())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Prefixes of the ids of the children of these nodes.
    Nodes { root: Hash, height: u8, paths: Vec<Path> },
    /// Tokens of the rows of these leaves.
    Tokens { root: Hash, height: u8, schema: Hash, salt: u64, paths: Vec<Path> },
    /// Some rows of leaves, ascending.
    Rows { root: Hash, height: u8, schema: Hash, rows: Vec<(Path, Vec<u32>)> },
}

impl Request {
    pub(super) fn paths(&self) -> Vec<Path> {
        match self {
            Self::Nodes { paths, .. } | Self::Tokens { paths, .. } => paths.clone(),
            Self::Rows { rows, .. } => rows.iter().map(|(path, _)| path.clone()).collect(),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let (tag, root, height) = match self {
            Self::Nodes { root, height, .. } => (NODES, root, height),
            Self::Tokens { root, height, .. } => (TOKENS, root, height),
            Self::Rows { root, height, .. } => (ROWS, root, height),
        };
        let mut out = vec![tag];
        out.extend_from_slice(root.as_bytes());
        out.push(*height);
        match self {
            Self::Nodes { .. } => {}
            Self::Tokens { schema, salt, .. } => {
                out.extend_from_slice(schema.as_bytes());
                out.extend_from_slice(&salt.to_le_bytes());
            }
            Self::Rows { schema, .. } => out.extend_from_slice(schema.as_bytes()),
        }
        let put_path = |out: &mut Vec<u8>, path: &Path| path.0.iter().for_each(|i| put_varint(out, u64::from(*i)));
        let put_head = |out: &mut Vec<u8>, count: usize, first: Option<&Path>| {
            put_varint(out, count as u64);
            put_varint(out, first.map_or(0, |path| path.0.len() as u64));
        };
        match self {
            Self::Nodes { paths, .. } | Self::Tokens { paths, .. } => {
                put_head(&mut out, paths.len(), paths.first());
                paths.iter().for_each(|path| put_path(&mut out, path));
            }
            Self::Rows { rows, .. } => {
                put_head(&mut out, rows.len(), rows.first().map(|(path, _)| path));
                for (path, rows) in rows {
                    put_path(&mut out, path);
                    put_varint(&mut out, rows.len() as u64);
                    let mut next = 0;
                    for row in rows {
                        put_varint(&mut out, u64::from(row - next));
                        next = row + 1;
                    }
                }
            }
        }
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(|why| Error::invalid(format!("reading a reconciliation request: {why}")))
    }

    fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        let tag = reader.byte()?;
        let root = Hash::from_bytes(reader.array()?);
        let height = reader.byte()?;
        if height == 0 || height > MAX_HEIGHT {
            return Err(format!("a tree of {height} levels"));
        }
        let schema = if tag == NODES { Hash::ZERO } else { Hash::from_bytes(reader.array()?) };
        let salt = if tag == TOKENS { u64::from_le_bytes(reader.array()?) } else { 0 };
        let count = reader.count(MAX_PATHS)?;
        let depth = reader.count(usize::from(height) - 1)?;
        if depth * count > reader.left() {
            return Err("more paths than bytes".to_owned());
        }
        let (mut paths, mut rows) = (Vec::with_capacity(count), Vec::new());
        for _ in 0..count {
            let path = (0..depth).map(|_| index(&mut reader)).collect::<Result<Vec<_>, _>>()?;
            if tag == ROWS {
                rows.push((Path(path), row_list(&mut reader)?));
            } else {
                paths.push(Path(path));
            }
        }
        if reader.left() > 0 {
            return Err("bytes are left over".to_owned());
        }
        match tag {
            NODES => Ok(Self::Nodes { root, height, paths }),
            TOKENS => Ok(Self::Tokens { root, height, schema, salt, paths }),
            ROWS => Ok(Self::Rows { root, height, schema, rows }),
            other => Err(format!("there is no request {other}: use a newer program")),
        }
    }
}

fn index(reader: &mut Reader<'_>) -> Result<u32, Fault> {
    u32::try_from(reader.varint()?).map_err(|_| "an index is too large".to_owned())
}

fn row_list(reader: &mut Reader<'_>) -> Result<Vec<u32>, Fault> {
    let count = reader.count(reader.left())?;
    let mut next = 0_u32;
    (0..count)
        .map(|_| {
            let row = next.checked_add(index(reader)?).filter(|row| *row < u32::MAX).ok_or("a row is too large")?;
            next = row + 1;
            Ok(row)
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// For each node, for each child the first 8 bytes of its id.
    Nodes(Vec<Vec<u64>>),
    /// For each leaf the tokens of its rows.
    Tokens(Vec<Vec<u64>>),
    /// The rows asked for of so many leaves, as a delta frame.
    Rows(usize, Bytes),
}

impl Reply {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        let mut put = |tag: u8, width: usize, lists: &[Vec<u64>]| {
            out.push(tag);
            put_varint(&mut out, lists.len() as u64);
            for list in lists {
                put_varint(&mut out, list.len() as u64);
                list.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()[..width]));
            }
        };
        match self {
            Self::Nodes(nodes) => put(NODES, 8, nodes),
            Self::Tokens(leaves) => put(TOKENS, TOKEN, leaves),
            Self::Rows(count, frame) => {
                out.push(ROWS);
                put_varint(&mut out, *count as u64);
                out.extend_from_slice(frame);
            }
        }
        out.into()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self> {
        Self::read(bytes).map_err(|why| Error::corrupt(format!("reading a reply to a reconciliation: {why}")))
    }

    fn read(bytes: &Bytes) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        let tag = reader.byte()?;
        let width = match tag {
            NODES => 8,
            TOKENS => TOKEN,
            ROWS => {
                let count = reader.count(MAX_PATHS)?;
                return Ok(Self::Rows(count, bytes.slice(reader.at()..)));
            }
            other => return Err(format!("there is no reply {other}: use a newer program")),
        };
        let count = reader.count(reader.left().min(MAX_PATHS))?;
        let mut lists = Vec::with_capacity(count);
        for _ in 0..count {
            let len = reader.count(reader.left() / width)?;
            let bytes = reader.take(len * width)?;
            let value = |piece: &[u8]| {
                let mut word = [0; 8];
                word[..width].copy_from_slice(piece);
                u64::from_le_bytes(word)
            };
            lists.push(bytes.chunks_exact(width).map(value).collect());
        }
        if reader.left() > 0 {
            return Err("bytes are left over".to_owned());
        }
        Ok(if tag == NODES { Self::Nodes(lists) } else { Self::Tokens(lists) })
    }
}

/// Checks that bytes that are a question or an answer mean the same once they are written again.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(bytes: &Bytes) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(Request::decode(&request.encode()).expect("it was just written"), request);
        assert!(request.paths().len() <= MAX_PATHS);
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(Reply::decode(&reply.encode()).expect("it was just written"), reply);
    }
}

/// The tokens of a leaf's rows: 48 bits of a salted hash of each row's cells.
pub(super) fn tokens(leaf: &Leaf, salt: u64) -> Vec<u64> {
    let columns: Vec<ColumnNode<&[u8]>> = leaf.columns().collect();
    let mut bytes = Vec::new();
    let mut token = |row: usize| {
        bytes.clear();
        for (id, node) in &columns {
            // A column whose cells are all null is not in the leaf: a null cell leaves no trace.
            if !node.valid(row) {
                continue;
            }
            bytes.extend_from_slice(&id.to_le_bytes());
            let outside = |external: &External| (external.column, external.row).cmp(&(*id, row as u32));
            match leaf.externals().binary_search_by(outside) {
                Ok(i) => {
                    let content = leaf.externals()[i].content;
                    bytes.push(OUTSIDE);
                    bytes.extend_from_slice(content.root.as_bytes());
                    bytes.extend_from_slice(&content.len.to_le_bytes());
                    bytes.push(content.height);
                }
                Err(_) => put_cell(node, row, &mut bytes),
            }
        }
        xxh3_64_with_seed(&bytes, salt) & ((1 << (8 * TOKEN)) - 1)
    };
    (0..leaf.rows()).map(&mut token).collect()
}

/// Appends a cell in a form from which it could be read back.
fn put_cell(node: &Node<&[u8]>, i: usize, out: &mut Vec<u8>) {
    if !node.valid(i) {
        return out.push(NULL);
    }
    out.push(VALUE);
    match node.kind {
        Kind::Bits => out.push(u8::from(bit(node.values, i))),
        Kind::Text | Kind::Bytes => {
            let cell = &node.data[node.span(i)];
            out.extend_from_slice(&(cell.len() as u32).to_le_bytes());
            out.extend_from_slice(cell);
        }
        Kind::List => {
            let span = node.span(i);
            out.extend_from_slice(&(span.len() as u32).to_le_bytes());
            span.for_each(|i| put_cell(&node.children[0], i, out));
        }
        Kind::FixedList(size) => {
            let size = size as usize;
            (i * size..(i + 1) * size).for_each(|i| put_cell(&node.children[0], i, out));
        }
        Kind::Struct(_) => node.children.iter().for_each(|child| put_cell(child, i, out)),
        Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => {
            out.extend_from_slice(&node.values[i << n..(i + 1) << n]);
        }
    }
}
