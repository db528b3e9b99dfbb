//! `history`: what happened to one row.

use serde::{Deserialize, Serialize};
use syncline_store::Store;
use syncline_tree::schema::Schema;
use syncline_tree::table::{Rows, differing};
use syncline_tree::{Commit, DatasetRoot, Log, Table, TreeName, diff, key};

use super::log::{self, Entry};
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result, reach, revision, rows};

/// What `history` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Which table.
    pub table: String,
    /// The key, as text; several key columns are separated by commas.
    pub key: String,
    /// Where to start; the current branch when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// How many events at most; all when absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What a commit did to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The row came into being.
    Insert,
    /// Cells of it changed.
    Update,
    /// The row went away.
    Delete,
}

/// A commit that touched the row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// The commit.
    #[serde(flatten)]
    pub entry: Entry,
    /// What it did.
    pub action: Action,
    /// The row after it; absent after a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<Cells>,
    /// The names of the columns whose cells changed, for an update; columns that went are among them where the row had a cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// The events, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Which table.
    pub table: String,
    /// The key as it was understood.
    pub key: String,
    /// The events.
    pub events: Vec<Event>,
    /// How many commits were looked at.
    pub commits: u64,
    /// Whether what was before is not known: `gc` was told to give up those versions, or the clone is shallow.
    #[serde(default)]
    pub cut: bool,
}

/// Lists the commits that touched one row. A commit whose table root equals its parent's costs nothing but its record.
///
/// # Errors
/// `not-found` when the version or the table does not exist, `invalid` when the key does not fit the table's key in any of them.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let refs = replica.refs()?;
    let store = replica.store();
    let start = revision::resolve(replica, &refs, request.at.as_deref().unwrap_or("HEAD"))?;
    let mut report =
        Report { table: request.table.clone(), key: request.key.clone(), events: Vec::new(), commits: 0, cut: false };
    let name = TreeName::Table(request.table.clone());
    replica.part()?.check(&name)?;
    let mut known = false;
    let given_up = reach::given_up(store, &refs)?;
    let mut wanted = Wanted { text: &request.key, fits: false, wrong: None };
    for step in Log::of_what_is_here(store, [start]) {
        let (id, commit) = step?;
        if given_up.contains(&id) {
            continue;
        }
        report.commits += 1;
        let mut unknown =
            commit.parents.iter().filter(|id| given_up.contains(id) || !store.contains(id).unwrap_or(true));
        if unknown.next().is_some() {
            // What this version changed cannot be said.
            report.cut = true;
            known |= DatasetRoot::load(store, &commit.root)?.tree(&name).is_some();
            continue;
        }
        let after = DatasetRoot::load(store, &commit.root)?;
        let befores = parents(replica, &commit)?;
        known |= after.tree(&name).is_some() || befores.iter().any(|root| root.tree(&name).is_some());
        // A merge that took the row as it was on one side did nothing to it.
        if befores.iter().any(|before| before.tree(&name) == after.tree(&name)) {
            continue;
        }
        let row = wanted.in_version(store, &after, &name)?;
        let olds = befores.iter().map(|root| wanted.in_version(store, root, &name)).collect::<Result<Vec<_>>>()?;
        // The first version has nothing before it.
        let olds = if olds.is_empty() { vec![None] } else { olds };
        let changes: Option<Vec<_>> =
            olds.iter().map(|old| change(old.as_ref(), row.as_ref())).collect::<Result<_>>()?;
        let Some((action, changed)) = changes.and_then(|changes| changes.into_iter().next()) else { continue };
        let row = row.as_ref().map(shown).transpose()?.flatten();
        report.events.push(Event { entry: log::entry(&refs, id, commit), action, row, changed });
        if request.limit.is_some_and(|limit| report.events.len() >= limit) {
            break;
        }
    }
    if !known {
        let root = replica.root_of(&start)?;
        return Err(Error::no_such_table(&request.table, Some(start), &root.tables.keys().collect::<Vec<_>>()));
    }
    if let Some(wrong) = wanted.wrong.filter(|_| !wanted.fits) {
        return Err(wrong);
    }
    Ok(report)
}

fn parents(replica: &Replica, commit: &Commit) -> Result<Vec<DatasetRoot>> {
    commit.parents.iter().map(|id| replica.root_of(id)).collect()
}

/// A row with the schema that it has in a version.
type Row = (Schema, Rows);

/// A key that is looked for in versions which may have keys of other columns or types.
struct Wanted<'a> {
    text: &'a str,
    /// Whether it was a key of some version.
    fits: bool,
    /// Why it is not one of the newest version where it is not.
    wrong: Option<Error>,
}

impl Wanted<'_> {
    /// The row in a version; a version of which it is no key has no such row.
    fn in_version(&mut self, store: &Store, root: &DatasetRoot, name: &TreeName) -> Result<Option<Row>> {
        let Some(table) = root.tree(name) else { return Ok(None) };
        let table = Table::open(store, table)?;
        match key::parse_key(table.schema(), self.text) {
            Ok(key) => {
                self.fits = true;
                Ok(table.get_rows(&key)?.map(|row| (table.schema().clone(), row)))
            }
            Err(error) => {
                self.wrong.get_or_insert_with(|| error.into());
                Ok(None)
            }
        }
    }
}

/// What became of the row, with the names of the columns that differ; nothing when it is what it was.
fn change(old: Option<&Row>, new: Option<&Row>) -> Result<Option<(Action, Vec<String>)>> {
    Ok(match (old, new) {
        (None, None) => None,
        (None, Some(_)) => Some((Action::Insert, Vec::new())),
        (Some(_), None) => Some((Action::Delete, Vec::new())),
        // A row of another table that had this name.
        (Some((was, _)), Some((is, _))) if !diff::comparable(was, is) => Some((Action::Insert, Vec::new())),
        (Some((was, old)), Some((is, new))) => {
            let columns = differing((was, old), (is, new))?;
            let names: Vec<String> = columns.into_iter().map(|column| column.name.clone()).collect();
            (!names.is_empty()).then_some((Action::Update, names))
        }
    })
}

fn shown((schema, row): &Row) -> Result<Option<Cells>> {
    Ok(rows::rows_to_json(schema, row)?.into_iter().next())
}
