//! `conflicts` and `resolve`: see what a merge could not decide, and decide it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::conflicts::Item;
use syncline_tree::merge::{Lift, Version};
use syncline_tree::refs::{self, Merging};
use syncline_tree::{Changes, Conflicts, DatasetRoot, Op, Refs, Table, TreeName, files, key};

use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result, blend, rows, work};

/// A row (or a whole tree) in conflict, with its three versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conflict {
    /// Where it is.
    pub tree: TreeName,
    /// The key as text, as `resolve --key` takes it; empty when the whole tree is in conflict.
    pub key: String,
    /// The columns in conflict; empty when the row was deleted on one side.
    pub columns: Vec<String>,
    /// Whether the whole tree is in conflict because it has another key on one side, not because one side removed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rekeyed: bool,
    /// The row in the common ancestor.
    pub base: Option<Cells>,
    /// Our row.
    pub ours: Option<Cells>,
    /// Their row.
    pub theirs: Option<Cells>,
}

/// What is still in conflict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What is being merged, if anything is.
    pub merging: Option<String>,
    /// How many conflicts are open.
    pub open: usize,
    /// The first of them, up to the limit asked for.
    pub conflicts: Vec<Conflict>,
}

/// Lists what is still in conflict, at most `limit` rows in full.
///
/// # Errors
/// The store's.
pub fn run(replica: &Replica, limit: usize) -> Result<Report> {
    let refs = replica.refs()?;
    let Some(merging) = &refs.merging else {
        return Ok(Report { merging: None, open: 0, conflicts: Vec::new() });
    };
    let items = Conflicts::load(replica.store(), &merging.conflicts)?.items;
    let sides = Sides::load(replica, &refs, merging)?;
    let conflicts = items.iter().take(limit).map(|item| sides.show(replica, item)).collect::<Result<_>>()?;
    Ok(Report { merging: Some(merging.name.clone()), open: items.len(), conflicts })
}

/// The three versions that a merge is made from.
struct Sides {
    base: DatasetRoot,
    ours: DatasetRoot,
    theirs: DatasetRoot,
}

impl Sides {
    fn load(replica: &Replica, refs: &Refs, merging: &Merging) -> Result<Self> {
        Ok(Self {
            base: merging.base.map(|id| replica.root_of(&id)).transpose()?.unwrap_or_default(),
            ours: replica.head_root(refs)?,
            theirs: replica.root_of(&merging.theirs)?,
        })
    }

    /// What a key as text is in a tree; nothing where it is no key.
    fn key(&self, replica: &Replica, tree: &TreeName, text: &str) -> Result<Option<Vec<u8>>> {
        for root in [&self.ours, &self.theirs, &self.base] {
            if let Some(table) = open_tree(replica, root, tree)? {
                return Ok(key::parse_key(table.schema(), text).ok());
            }
        }
        Ok(None)
    }

    fn show(&self, replica: &Replica, item: &Item) -> Result<Conflict> {
        let bytes = item.key_bytes()?;
        let open = |root: &DatasetRoot| open_tree(replica, root, &item.tree);
        let (base, ours, theirs) = (open(&self.base)?, open(&self.ours)?, open(&self.theirs)?);
        let schemas = [&base, &ours, &theirs].map(|table| table.as_ref().map(Table::schema));
        // All three under the merged columns: each side may call them by other names.
        let lift = match schemas {
            [base, Some(ours), Some(theirs)] if !bytes.is_empty() => Some(Lift::of(base, ours, theirs)?),
            _ => None,
        };
        let row = |table: &Option<Table>, version: Version| -> Result<Option<Cells>> {
            let Some(table) = table.as_ref().filter(|_| !bytes.is_empty()) else { return Ok(None) };
            let Some(row) = table.get_rows(&bytes)? else { return Ok(None) };
            let shown = match &lift {
                Some(lift) => rows::rows_to_json(lift.schema(), &lift.rows(version, table.schema(), &row)?),
                None => rows::rows_to_json(table.schema(), &row),
            };
            Ok(shown?.into_iter().next())
        };
        let [of_base, of_ours, of_theirs] = schemas;
        let schema = lift.as_ref().map(Lift::schema).or(of_ours).or(of_theirs).or(of_base);
        let name_of = |id: &u32| {
            let found = schema.and_then(|schema| schema.columns.iter().find(|column| column.id == *id));
            found.map_or_else(|| format!("column {id}"), |column| column.name.clone())
        };
        let key = match schema {
            Some(schema) if !bytes.is_empty() => key::to_text(schema, &bytes)?,
            _ => String::new(),
        };
        Ok(Conflict {
            tree: item.tree.clone(),
            key,
            rekeyed: bytes.is_empty() && ours.is_some() && theirs.is_some(),
            columns: item.columns.iter().map(name_of).collect(),
            base: row(&base, Version::Base)?,
            ours: row(&ours, Version::Ours)?,
            theirs: row(&theirs, Version::Theirs)?,
        })
    }
}

/// Whose version is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Ours: what is staged stays.
    Ours,
    /// Theirs: their cells in the columns in conflict, or their row where one side deleted it.
    Theirs,
}

/// What `resolve` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// Only conflicts in this tree; in all of them when absent.
    #[serde(default)]
    pub tree: Option<TreeName>,
    /// Only the row with this key, as text; all rows when absent.
    #[serde(default)]
    pub key: Option<String>,
    /// Whose version is taken.
    pub side: Side,
}

/// What `resolve` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolved {
    /// How many conflicts were resolved.
    pub resolved: usize,
    /// How many are still open.
    pub open: usize,
    /// The staged content root.
    pub root: Hash,
}

/// Resolves conflicts by taking one side. The merge is committed by `commit` once none is open.
///
/// # Errors
/// `invalid` when no merge waits, `not-found` when nothing in conflict fits the request.
pub fn resolve(replica: &Replica, request: &Resolve) -> Result<Resolved> {
    let refs = replica.refs()?;
    let Some(merging) = refs.merging.clone() else {
        return Err(Error::invalid(
            "resolving conflicts",
            "no merge is waiting; start one with `syncline merge BRANCH`",
        ));
    };
    let store = replica.store();
    let items = Conflicts::load(store, &merging.conflicts)?.items;
    let sides = Sides::load(replica, &refs, &merging)?;
    let mut chosen = Vec::new();
    let mut open = Vec::new();
    let mut keys = BTreeMap::new();
    for item in items {
        let mut fits = request.tree.as_ref().is_none_or(|tree| *tree == item.tree);
        if let Some(text) = request.key.as_ref().filter(|_| fits) {
            let key = match keys.entry(item.tree.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(sides.key(replica, &item.tree, text)?),
            };
            // A whole tree has no key.
            fits = if item.key.is_empty() { text.is_empty() } else { *key == Some(item.key_bytes()?) };
        }
        if fits { chosen.push(item) } else { open.push(item) }
    }
    if chosen.is_empty() {
        let why = format!("{} conflicts are open and none fits; see `syncline conflicts`", open.len());
        return Err(Error::not_found("a conflict to resolve", why));
    }
    let before = replica.working_root(&refs)?;
    let mut after = before.clone();
    if request.side == Side::Theirs {
        for tree in DatasetRoot::names([&sides.ours, &sides.theirs, &sides.base]) {
            take_theirs(replica, &sides, &tree, &chosen, &mut after)?;
        }
        let advice = "take ours for them; or drop the merge with `syncline checkout --force HEAD`, rename or remove one of \
                      each, commit, and merge again";
        blend::settle(store, [&sides.ours, &sides.theirs], &mut after, "taking their files", advice)?;
    }
    let resolved = chosen.len();
    let left = open.len();
    let staged = after.put(store)?;
    let conflicts = Conflicts { items: open }.put(store)?;
    work::transition(replica, &before, &after, false, || {
        refs::update(store, |now| {
            if !now.has_work_of(&refs) {
                let why = "the merge changed meanwhile; look at `syncline conflicts` and run it again";
                return Ok(Err(Error::conflict("resolving conflicts", why)));
            }
            now.staged = Some(staged);
            now.merging = Some(Merging { conflicts, ..merging.clone() });
            Ok(Ok(()))
        })?
    })?;
    Ok(Resolved { resolved, open: left, root: staged })
}

/// A tree of a version; files that are not there are no files.
fn open_tree(replica: &Replica, root: &DatasetRoot, tree: &TreeName) -> Result<Option<Table>> {
    Ok(match root.tree(tree) {
        Some(table) => Some(Table::open(replica.store(), table)?),
        None if *tree == TreeName::Files => Some(Table::create(replica.store(), files::schema())?),
        None => None,
    })
}

/// Replaces, in one tree of `root`, what the chosen conflicts name by their side of it.
fn take_theirs(
    replica: &Replica,
    sides: &Sides,
    tree: &TreeName,
    chosen: &[Item],
    root: &mut DatasetRoot,
) -> Result<()> {
    let items: Vec<&Item> = chosen.iter().filter(|item| item.tree == *tree).collect();
    if items.iter().any(|item| item.key.is_empty()) {
        root.set_tree(tree, sides.theirs.tree(tree).copied());
        return Ok(());
    }
    if items.is_empty() {
        return Ok(());
    }
    let open = |side: &DatasetRoot| open_tree(replica, side, tree);
    let (Some(staged), Some(ours), Some(theirs)) = (open(root)?, open(&sides.ours)?, open(&sides.theirs)?) else {
        return Ok(());
    };
    let base = open(&sides.base)?;
    let lift = Lift::of(base.as_ref().map(Table::schema), ours.schema(), theirs.schema())?;
    let schema = staged.schema();
    let mut changes = Vec::with_capacity(items.len());
    for item in items {
        let key = item.key_bytes()?;
        changes.push(match theirs.get_rows(&key)? {
            Some(row) => {
                let position = |id: &u32| schema.columns.iter().position(|column| column.id == *id);
                let row = lift.rows(Version::Theirs, theirs.schema(), &row)?;
                let op = match staged.get_rows(&key)? {
                    Some(_) if !item.columns.is_empty() => {
                        let cells = item.columns.iter().filter_map(position).collect();
                        Op::Patch(if *tree == TreeName::Files { files::taken_with(cells) } else { cells })
                    }
                    _ => Op::Upsert,
                };
                Changes { rows: schema.conform(&row.batch)?, ops: vec![op], externals: row.externals }
            }
            None => Changes::delete(schema, [&key[..]])?,
        });
    }
    let (table, _) = staged.apply(changes.into_iter().map(Ok))?;
    root.set_tree(tree, Some(table.to_ref()));
    Ok(())
}
