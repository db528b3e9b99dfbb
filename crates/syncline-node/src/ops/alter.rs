//! `alter`: change the columns of a table.
//!
//! Adding and renaming columns touches no row; dropping one edits each leaf that has it; a wider type builds the table
//! anew. An id of a column is never given twice, whatever went before.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::schema::Type;
use syncline_tree::{Table, TreeName};

use super::import::{Publication, is_staged, publish, refuse_live};
use crate::import::parse_type;
use crate::replica::Replica;
use crate::{Error, Result, work};

/// What `alter` is asked for. Renames come first, then types, then new columns, then those that go.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The table.
    pub table: String,
    /// Names and new names.
    #[serde(default)]
    pub rename: Vec<(String, String)>,
    /// Names and types that hold every value of the type before.
    #[serde(default)]
    pub widen: Vec<(String, String)>,
    /// Names and types of new columns, which are null in every row.
    #[serde(default)]
    pub add: Vec<(String, String)>,
    /// Names of columns that go.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Who commits, when it is not the replica's user.
    #[serde(default)]
    pub author: Option<String>,
    /// Commit with this message; else it is staged.
    #[serde(default)]
    pub message: Option<String>,
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What `alter` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// Its columns now.
    pub columns: Vec<Column>,
    /// Its rows, as many as before.
    pub rows: u64,
    /// The commit, unless it was only staged.
    pub commit: Option<Hash>,
    /// The content root of what is committed or staged.
    pub root: Hash,
    /// Whether it waits for `commit`.
    pub staged: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Changes the columns of a table: all that is asked for or, on any error, nothing.
///
/// # Errors
/// `not-found` when the table or a column does not exist; `invalid` for an unknown type, a name that is taken, a type
/// that does not hold what is there, or a column of the key that would go; `conflict` when somebody else changed the
/// dataset meanwhile; `denied` when what is staged would delete most of a tree: `commit` that first.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let started = replica.clock().monotonic();
    if request.rename.is_empty() && request.widen.is_empty() && request.add.is_empty() && request.drop.is_empty() {
        let why = "nothing is asked for; add, drop, rename or widen a column";
        return Err(Error::invalid(format!("altering table {:?}", request.table), why));
    }
    work::recover(replica)?;
    let refs = replica.refs()?;
    if refs.merging.is_some() {
        return Err(Error::conflict(
            "altering a table",
            "a merge is waiting; resolve its conflicts and commit it first",
        ));
    }
    let why = "it is a live table: change its columns with `syncline table set`";
    refuse_live(replica, &request.table, "altering table", why)?;
    let before = replica.working_root(&refs)?;
    let name = TreeName::Table(request.table.clone());
    let missing = || {
        let there: Vec<&String> = before.tables.keys().collect();
        Error::no_such_table(&request.table, refs.head_commit(), &there)
    };
    let old = replica.table(&name, before.tree(&name).ok_or_else(missing)?)?;
    let table = altered(&old, request)?;
    let mut after = before.clone();
    after.set_tree(&name, Some(table.to_ref()));
    let what = Publication {
        table: &request.table,
        author: request.author.as_deref(),
        message: request.message.as_deref(),
        allow_mass_delete: false,
        verb: "alter",
    };
    let (commit, root) = publish(replica, &what, &refs, &before, after)?;
    let columns = table.schema().columns.iter();
    let columns = columns.map(|one| Column { name: one.name.clone(), ty: one.ty.clone(), nullable: one.nullable });
    Ok(Report {
        table: request.table.clone(),
        columns: columns.collect(),
        rows: table.rows(),
        commit,
        root,
        staged: is_staged(replica, &refs, commit, root)?,
        seconds: (replica.clock().monotonic() - started).as_secs_f64(),
    })
}

/// The table with its columns changed.
fn altered(old: &Table, request: &Request) -> Result<Table> {
    let mut schema = old.schema().clone();
    // First what makes names free.
    for name in &request.drop {
        schema = schema.drop_column(name)?;
    }
    for (from, to) in &request.rename {
        schema = schema.rename_column(from, to)?;
    }
    for (name, ty) in &request.widen {
        let nullable = schema.column(name).is_some_and(|column| column.nullable);
        schema = schema.widen_column(name, parse_type(ty)?, nullable)?;
    }
    for (name, ty) in &request.add {
        schema = schema.add_column(name, parse_type(ty)?)?;
    }
    Ok(old.with_schema(schema)?)
}
