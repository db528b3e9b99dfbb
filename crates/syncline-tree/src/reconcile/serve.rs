//! Answering: from the objects of a store, without remembering anything between requests.

use bytes::Bytes;
use syncline_base::{Hash, task};
use syncline_store::Store;

use super::message::{Path, Reply, Request, tokens};
use crate::delta::encode_frame;
use crate::leaf::Leaf;
use crate::node::Node;
use crate::table::edit::rows_of;
use crate::table::{Changes, Op, Shared, concat, node_at};
use crate::{Error, Result};

/// A reply is closed when it is about so long.
const REPLY: usize = 2 << 20;
/// Leaves that are read side by side.
const TOGETHER: usize = 32;

/// Answers a request from the objects in `store`. Replies stay below about 4 MiB; the session asks again for what did not fit.
///
/// # Errors
/// `invalid` when the request makes no sense; `not-found` when the store does not have the tree; the store's.
pub fn serve(store: &Store, request: &[u8]) -> Result<Bytes> {
    let reply = match Request::decode(request)? {
        Request::Nodes { root, height, paths } => {
            let mut walker = Walker::new(store, root, height);
            let (mut nodes, mut size) = (Vec::new(), 0);
            for path in paths {
                let node = walker.node(&path)?;
                nodes.push((0..node.len()).map(|i| node.id(i).prefix_u64()).collect::<Vec<_>>());
                size += node.len() * 8;
                if size >= REPLY {
                    break;
                }
            }
            Reply::Nodes(nodes)
        }
        Request::Tokens { root, height, salt, paths, .. } => {
            let mut walker = Walker::new(store, root, height);
            let (mut leaves, mut size) = (Vec::new(), 0);
            for group in paths.chunks(TOGETHER) {
                let ids = group.iter().map(|path| walker.leaf(path)).collect::<Result<Vec<_>>>()?;
                let rows = task::try_map(store.get_many_once(&ids)?, |bytes| {
                    Ok::<_, Error>(tokens(&Leaf::parse(bytes)?, salt))
                })?;
                size += rows.iter().map(|tokens| tokens.len() * 8).sum::<usize>();
                leaves.extend(rows);
                if size >= REPLY {
                    break;
                }
            }
            Reply::Tokens(leaves)
        }
        Request::Rows { root, height, schema, rows } => {
            let shared = Shared::open(store, &schema)?;
            rows_reply(&shared, &mut Walker::new(store, root, height), rows)?
        }
    };
    Ok(reply.encode())
}

fn rows_reply(shared: &Shared, walker: &mut Walker<'_>, wanted: Vec<(Path, Vec<u32>)>) -> Result<Reply> {
    let (mut parts, mut size) = (Vec::new(), 0);
    for (path, rows) in wanted {
        let leaf = Leaf::parse(shared.store.get(&walker.leaf(&path)?)?)?;
        if rows.last().is_some_and(|row| *row as usize >= leaf.rows()) {
            return Err(Error::invalid("a reconciliation asks for a row that a leaf does not have"));
        }
        let part = rows_of(shared, &leaf)?.select(rows)?;
        size += part.batch.get_array_memory_size();
        parts.push(part);
        if size >= REPLY {
            break;
        }
    }
    if parts.is_empty() {
        return Err(Error::invalid("a reconciliation asks for no rows"));
    }
    let rows = concat(&parts)?;
    let ops = vec![Op::Upsert; rows.batch.num_rows()];
    let changes = Changes { rows: rows.batch, ops, externals: rows.externals };
    Ok(Reply::Rows(parts.len(), encode_frame(&shared.schema, &changes)?))
}

/// Follows paths, which come sorted, so that each node is read once.
struct Walker<'a> {
    store: &'a Store,
    root: Hash,
    height: u8,
    /// Nodes on the way to the last path, with the child taken.
    open: Vec<(Node, u32)>,
}

impl<'a> Walker<'a> {
    fn new(store: &'a Store, root: Hash, height: u8) -> Self {
        Self { store, root, height, open: Vec::new() }
    }

    /// The node at a path; not a leaf.
    fn node(&mut self, path: &Path) -> Result<Node> {
        if path.0.len() + 1 >= usize::from(self.height) {
            return Err(wrong());
        }
        let id = self.id(path)?;
        self.read(&id, path.0.len())
    }

    /// The id of the leaf at a path.
    fn leaf(&mut self, path: &Path) -> Result<Hash> {
        if path.0.len() + 1 != usize::from(self.height) {
            return Err(wrong());
        }
        self.id(path)
    }

    fn read(&self, id: &Hash, depth: usize) -> Result<Node> {
        node_at(id, self.store.get(id)?, self.height - 1 - depth as u8)
    }

    fn id(&mut self, path: &Path) -> Result<Hash> {
        let same = self.open.iter().zip(&path.0).take_while(|((_, taken), i)| taken == *i).count();
        self.open.truncate(same);
        let child = |open: &[(Node, u32)]| open.last().map(|(node, i)| node.id(*i as usize));
        for (depth, i) in path.0.iter().enumerate().skip(same) {
            let id = child(&self.open).unwrap_or(self.root);
            let node = self.read(&id, depth)?;
            if *i as usize >= node.len() {
                return Err(wrong());
            }
            self.open.push((node, *i));
        }
        Ok(child(&self.open).unwrap_or(self.root))
    }
}

fn wrong() -> Error {
    Error::invalid("a reconciliation asks for a node that the tree does not have")
}
