//! `import`: bring rows from files or standard input into a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::patch::ColumnSet;
use syncline_tree::schema::Schema;
use syncline_tree::table::Applied;
use syncline_tree::{Changes, DatasetRoot, Op, Refs, Table, TreeName, dataset, diff, refs};

use super::commit::{self, NewCommit};
use crate::change::{self, Presence, TreeChange};
use crate::import::{self, Format, Given, Input, Mode, OnDuplicate};
use crate::progress::{self, Progress, Unit};
use crate::replica::Replica;
use crate::{Error, Result, work};

/// What `import` is asked for. What is read is passed beside it, as [`Input`]s.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The table. Made when it is not there.
    pub table: String,
    /// The key's columns, most significant first. May be left out for a table that exists.
    #[serde(default)]
    pub key: Vec<String>,
    /// What happens to rows that are there already.
    #[serde(default)]
    pub mode: Mode,
    /// The format of every source; by its name when absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// The schema of a new table: the text of a schema file.
    #[serde(default)]
    pub schema: Option<String>,
    /// What happens when the sources have a key more than once.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
    /// Where bad rows are written, instead of refusing the import.
    #[serde(default)]
    pub reject: Option<PathBuf>,
    /// CSV and TSV: the first line does not have the column names: they are the table's, in its order.
    #[serde(default)]
    pub no_header: bool,
    /// CSV: the separator.
    #[serde(default)]
    pub delimiter: Option<char>,
    /// CSV and TSV: besides an empty field, this unquoted text is null too.
    #[serde(default)]
    pub null: Option<String>,
    /// Who commits, when it is not the replica's user.
    #[serde(default)]
    pub author: Option<String>,
    /// For a node: the sources that are sent along, one after the other. One without a name when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Sent>,
    /// Commits with this message; stages when absent.
    #[serde(default)]
    pub message: Option<String>,
    /// Whether it may delete more than half of the table.
    #[serde(default)]
    pub allow_mass_delete: bool,
}

/// A source that is sent along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// What it is called in messages; its extension tells its format.
    pub name: String,
    /// How long it is; the last one may be what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The sources that were sent in one file; there is no file when they are all empty.
///
/// # Errors
/// `invalid` when the file is not as long as they say.
pub(crate) fn received(sources: &[Sent], file: Option<&Path>) -> Result<Vec<Input>> {
    let Some(file) = file else {
        if let Some(source) = sources.iter().find(|sent| sent.bytes.is_some_and(|bytes| bytes > 0)) {
            let why = format!("it has {} bytes and none of them came; send it again", source.bytes.unwrap_or(0));
            return Err(Error::invalid(format!("import of {}", source.name), why));
        }
        let empty = |sent: &Sent| Input::Reader { name: sent.name.clone(), reader: Box::new(std::io::empty()) };
        return Ok(sources.iter().map(empty).collect());
    };
    let len = std::fs::metadata(file).map_err(Error::io("reading", file))?.len();
    let nameless = [Sent { name: "input".to_owned(), bytes: None }];
    let sources = if sources.is_empty() { &nameless } else { sources };
    let mut start = 0_u64;
    let mut inputs = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        let left = len.saturating_sub(start);
        let bytes = match source.bytes {
            Some(bytes) => bytes,
            None if i + 1 == sources.len() => left,
            None => {
                return Err(Error::invalid(
                    format!("import of {}", source.name),
                    "only the last source may lack a size",
                ));
            }
        };
        if bytes > left {
            let why = format!("it has {bytes} bytes and {left} of them came; send it again");
            return Err(Error::invalid(format!("import of {}", source.name), why));
        }
        inputs.push(Input::Part { name: source.name.clone(), file: file.to_owned(), start, bytes });
        start += bytes;
    }
    if start != len {
        let why = format!("the sources have {start} bytes and {len} came; send them again");
        return Err(Error::invalid("import of what was sent", why));
    }
    Ok(inputs)
}

/// What `import` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// What was read.
    pub read: import::Report,
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows whose cells changed.
    pub updated: u64,
    /// Rows that went away.
    pub deleted: u64,
    /// Rows of the sources that changed nothing.
    pub unchanged: u64,
    /// Rows in the table now.
    pub rows: u64,
    /// The commit, unless the import was only staged.
    pub commit: Option<Hash>,
    /// The content root of what is committed or staged.
    pub root: Hash,
    /// Whether the rows wait for `commit`.
    pub staged: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Refuses to change a live table as if it were one of versions alone: the next commit would undo that.
pub(super) fn refuse_live(replica: &Replica, table: &str, doing: &str, why: &str) -> Result<()> {
    // While a node has its live tables nobody else can ask.
    match replica.live_if_there() {
        Ok(Some(engine)) if engine.find_table(table)?.is_some() => {
            Err(Error::conflict(format!("{doing} {table:?}"), why))
        }
        _ => Ok(()),
    }
}

/// Brings rows into a table: all of them or, on any error, none.
///
/// # Errors
/// `invalid` for bad rows, duplicate keys or a schema that does not fit (with file and line), `conflict` when
/// somebody else changed the dataset meanwhile, `denied` when most of the table would be deleted.
pub fn run(replica: &Replica, request: &Request, inputs: Vec<Input>, progress: &Arc<dyn Progress>) -> Result<Report> {
    let started = replica.clock().monotonic();
    dataset::check_table_name(&request.table)?;
    work::recover(replica)?;
    let refs = replica.refs()?;
    if refs.merging.is_some() {
        return Err(Error::conflict("importing", "a merge is waiting; resolve its conflicts and commit it first"));
    }
    let why = "it is a live table: write its rows with `syncline put` or `syncline apply`, or choose another name";
    refuse_live(replica, &request.table, "importing into", why)?;
    let before = replica.working_root(&refs)?;
    let name = TreeName::Table(request.table.clone());
    let old = match before.tables.get(&request.table) {
        Some(table) => Some(replica.table(&name, table)?),
        None => {
            replica.part()?.check(&name)?;
            None
        }
    };
    let done = read_into(replica, request, inputs, old.as_ref(), progress)?;
    guard(request, old.as_ref(), &done)?;
    let mut after = before.clone();
    after.set_tree(&name, Some(done.table.to_ref()));
    let what = Publication {
        table: &request.table,
        author: request.author.as_deref(),
        message: request.message.as_deref(),
        allow_mass_delete: request.allow_mass_delete,
        verb: "import",
    };
    progress::go_on(&**progress, "importing")?;
    let (commit, root) = publish(replica, &what, &refs, &before, after)?;
    Ok(Report {
        table: request.table.clone(),
        read: done.read,
        inserted: done.applied.inserted,
        updated: done.applied.updated,
        deleted: done.applied.deleted,
        unchanged: done.applied.unchanged,
        rows: done.table.rows(),
        commit,
        root,
        staged: is_staged(replica, &refs, commit, root)?,
        seconds: (replica.clock().monotonic() - started).as_secs_f64(),
    })
}

/// Whether something waits for `commit` now: not when it was committed, and not when it comes to what the last commit has.
pub(super) fn is_staged(replica: &Replica, refs: &Refs, commit: Option<Hash>, root: Hash) -> Result<bool> {
    let head = refs.head_commit().map(|id| replica.root_of(&id)).transpose()?.unwrap_or_default();
    Ok(commit.is_none() && head.hash() != root)
}

struct Done {
    table: Table,
    read: import::Report,
    applied: Applied,
}

/// Reads the sources and applies their rows to `old`, or to an empty table.
fn read_into(
    replica: &Replica,
    request: &Request,
    inputs: Vec<Input>,
    old: Option<&Table>,
    progress: &Arc<dyn Progress>,
) -> Result<Done> {
    let existing = old.map(Table::schema);
    if request.mode == Mode::Delete && existing.is_none() {
        return Err(Error::not_found(format!("table {:?}", request.table), "there is nothing to delete from"));
    }
    if let Some(reject) = &request.reject {
        check_reject(reject, &inputs)?;
    }
    let mut options = options(replica, request, progress)?;
    options.known = old.cloned().map(|table| -> import::Known { Arc::new(move |keys| Ok(table.contains(keys)?)) });
    progress.stage("importing", 0, Unit::Bytes);
    let mut prepared = import::open(inputs, &options, existing, &request.key)?;
    let base = match old {
        Some(table) if request.mode != Mode::Replace => table.clone(),
        _ => Table::create(replica.store(), prepared.schema.clone())?,
    };
    let schema = prepared.schema.clone();
    let failed = Mutex::new(None);
    let changes = (&mut prepared.rows).map(|batch| match batch {
        Ok(batch) => Ok(changes(request.mode, &schema, batch)),
        Err(error) => {
            // The table's error type has no room for ours: keep it here, it is what the user has to see.
            let text = error.to_string();
            *failed.lock().expect("nothing panics while it holds the error") = Some(error);
            Err(syncline_tree::Error::invalid(text))
        }
    });
    let outcome = base.apply(changes);
    if let Some(error) = failed.into_inner().expect("nothing panics while it holds the error") {
        return Err(error.into());
    }
    let (table, mut applied) = outcome?;
    let read = prepared.rows.report();
    if let (Mode::Replace, Some(old)) = (request.mode, old) {
        let counts = diff::diff_counts(old, &table)?;
        applied.inserted = counts.inserted;
        applied.updated = counts.updated;
        applied.deleted = counts.deleted;
        applied.unchanged = table.rows().saturating_sub(counts.inserted + counts.updated);
    }
    Ok(Done { table, read, applied })
}

/// Bad rows are not written over what they are read from.
fn check_reject(reject: &Path, inputs: &[Input]) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let Some(target) = real(reject) else { return Ok(()) };
    let read = |input: &Input| matches!(input, Input::Path(path) if real(path).as_ref() == Some(&target));
    if inputs.iter().any(read) {
        let what = format!("writing bad rows to {}", reject.display());
        return Err(Error::invalid(what, "it is a source of this import; name another file with --reject"));
    }
    Ok(())
}

fn ascii(separator: char) -> Result<u8> {
    let byte = u8::try_from(separator).ok().filter(u8::is_ascii);
    byte.ok_or_else(|| Error::invalid(format!("separator {separator:?}"), "it must be one ASCII character"))
}

fn options(replica: &Replica, request: &Request, progress: &Arc<dyn Progress>) -> Result<import::Options> {
    let temp_dir = match replica.meta() {
        Some(meta) => meta.join("tmp"),
        None => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&temp_dir).map_err(Error::io("creating", &temp_dir))?;
    let mut options = import::Options::new(temp_dir);
    options.format = request.format;
    options.schema = request.schema.as_deref().map(import::read_schema).transpose()?;
    options.mode = request.mode;
    options.on_duplicate = request.on_duplicate;
    options.reject.clone_from(&request.reject);
    options.header = !request.no_header;
    options.null.clone_from(&request.null);
    options.clock = replica.env().clock.clone();
    if let Some(separator) = request.delimiter {
        options.delimiter = Some(ascii(separator)?);
    }
    let (progress, shown) = (progress.clone(), AtomicU64::new(0));
    options.progress = Some(Arc::new(move |now: import::Progress| {
        let before = shown.fetch_max(now.bytes, Ordering::Relaxed);
        progress.advance(now.bytes.saturating_sub(before));
        !progress.is_abandoned()
    }));
    Ok(options)
}

fn changes(mode: Mode, schema: &Schema, sorted: import::Sorted) -> Changes {
    let rows = sorted.rows.num_rows();
    let positions = |ids: &[u32]| {
        let position = |id: &u32| schema.columns.iter().position(|column| column.id == *id);
        ids.iter().filter_map(position).collect::<ColumnSet>()
    };
    let ops = match (mode, &sorted.given) {
        (Mode::Delete, _) => vec![Op::Delete; rows],
        (Mode::Append, _) => vec![Op::Insert; rows],
        (Mode::Replace, _) | (Mode::Upsert, Given::All) => vec![Op::Upsert; rows],
        (Mode::Upsert, Given::Same(ids)) => vec![Op::Merge(positions(ids)); rows],
        (Mode::Upsert, given) => {
            let op = |row| given.of(row).map_or(Op::Upsert, |ids| Op::Merge(positions(ids)));
            (0..rows).map(op).collect()
        }
    };
    Changes { rows: sorted.rows, ops, externals: Vec::new() }
}

fn guard(request: &Request, old: Option<&Table>, done: &Done) -> Result<()> {
    let change = TreeChange {
        tree: TreeName::Table(request.table.clone()),
        inserted: done.applied.inserted,
        updated: done.applied.updated,
        deleted: done.applied.deleted,
        rows_before: old.map_or(0, Table::rows),
        rows_after: done.table.rows(),
        presence: Presence::Kept,
        schema_changed: false,
        columns: Vec::new(),
        replaced: false,
        elsewhere: false,
    };
    change::guard(&[change], request.allow_mass_delete)
}

/// A new root of one table that is to be committed or staged.
pub(super) struct Publication<'a> {
    /// The table.
    pub(super) table: &'a str,
    /// Who, when it is not the replica's user.
    pub(super) author: Option<&'a str>,
    /// Why; without it the root is staged.
    pub(super) message: Option<&'a str>,
    /// Whether what is committed may delete most of a tree.
    pub(super) allow_mass_delete: bool,
    /// The verb, for messages and for the history of the branch.
    pub(super) verb: &'static str,
}

/// Commits the new root, or stages it.
pub(super) fn publish(
    replica: &Replica,
    what: &Publication<'_>,
    refs: &Refs,
    before: &DatasetRoot,
    after: DatasetRoot,
) -> Result<(Option<Hash>, Hash)> {
    let moved = || {
        let why = "somebody else changed the dataset meanwhile; run it again";
        Error::conflict(format!("{} of table {:?}", what.verb, what.table), why)
    };
    let Some(message) = what.message else {
        let root = after.put(replica.store())?;
        refs::update(replica.store(), |now| {
            if !now.has_work_of(refs) {
                return Ok(Err(moved()));
            }
            // Staging what is committed already is staging nothing.
            now.staged = (after != *before || refs.staged.is_some()).then_some(root);
            Ok(Ok(()))
        })??;
        return Ok((None, root));
    };
    if after == *before
        && refs.staged.is_none()
        && let Some(commit) = refs.head_commit()
    {
        // Nothing changed: what is run twice makes one version.
        return Ok((Some(commit), after.hash()));
    }
    if refs.staged.is_some() {
        // What was staged before goes with it, and was compared only with what was staged before that.
        change::guard_between(replica, &replica.head_root(refs)?, &after, what.allow_mass_delete)?;
    }
    let new = NewCommit {
        parents: refs.head_commit().into_iter().collect(),
        root: after,
        author: what.author.map(str::to_owned),
        message: message.to_owned(),
        meta: BTreeMap::new(),
        why: what.verb,
    };
    let (commit, root) = commit::append(replica, refs, &new)?;
    Ok((Some(commit), root))
}

#[cfg(test)]
mod tests;
