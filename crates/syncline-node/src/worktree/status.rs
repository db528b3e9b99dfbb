//! What differs between a working directory and a version.
//!
//! Paths whose stat changed but whose content did not are noted in the status cache, so that they are read only once.

use std::path::Path;

use syncline_store::Store;
use syncline_tree::Table;
use syncline_tree::files;

use super::cache::{self, Seen, is_racy};
use super::compare::{Compare, Step};
use super::dirs::Root;
use super::read;
use super::stat::Stat;
use super::walk::Found;
use crate::Result;
use crate::ops::diff::Kind;
use crate::work::FileChange;

/// Paths that are looked at at once.
const GROUP: usize = 4096;
/// Most stats that are noted: a bound on memory. The rest is noted next time.
const NOTED: usize = 200_000;

/// What differs.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// In byte order of paths.
    pub changes: Vec<FileChange>,
    pub warnings: Vec<String>,
}

/// Compares; changes nothing but the status cache. Where that cannot be written (a full disk, a directory that may only
/// be read) the next look takes longer.
///
/// # Errors
/// The file system's and the store's.
pub(crate) fn status(
    root: &Root,
    meta: &Path,
    store: &Store,
    base: Option<&Table>,
    checksum: bool,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Status> {
    let now = cache::now(meta);
    let (since, may_note) = (*now.as_ref().unwrap_or(&i64::MIN), now.is_ok());
    let reader = cache::Reader::open(meta);
    let vouched = reader.as_ref().map(|reader| reader.table) == base.map(Table::to_ref);
    let mut compare = Compare::new(root, reader, base, checksum)?;
    // Without a cache for this version one is made along the way; with one only if there is something to note.
    let mut fresh = if vouched || base.is_none() || !may_note { None } else { cache::Writer::begin(meta).ok() };
    let mut noted: Vec<Found> = Vec::new();
    let mut changes = Vec::new();
    loop {
        let steps = compare.by_ref().take(GROUP).collect::<Result<Vec<Step>>>()?;
        if steps.is_empty() {
            break;
        }
        let judged = judge(root, store, base, &steps)?;
        advance(steps.len() as u64);
        for (step, equal) in steps.into_iter().zip(judged) {
            let change = |path: &str, kind| FileChange { path: path.to_owned(), kind };
            let seen = match step {
                Step::New(found) => {
                    changes.push(change(&found.path, Kind::Insert));
                    continue;
                }
                Step::Same(found) => Seen { found, racy: false },
                Step::Gone(path) => {
                    changes.push(change(&path, Kind::Delete));
                    Seen::nothing(path)
                }
                Step::Elsewhere(path) => Seen::nothing(path),
                Step::Suspect(found, _) => match equal {
                    Some(stat) => {
                        let found = Found { stat, ..found };
                        if vouched && may_note && noted.len() < NOTED {
                            noted.push(found.clone());
                        }
                        Seen { racy: is_racy(&stat, since), found }
                    }
                    None => {
                        changes.push(change(&found.path, Kind::Update));
                        Seen { found, racy: true }
                    }
                },
            };
            if fresh.as_mut().is_some_and(|fresh| fresh.push(&seen).is_err()) {
                fresh = None;
            }
        }
    }
    let written = match (fresh, base) {
        (Some(fresh), Some(base)) => fresh.finish(&base.to_ref(), i64::MAX),
        (None, Some(base)) if !noted.is_empty() => note(meta, base, noted, since),
        _ => Ok(()),
    };
    if let Err(error) = written {
        tracing::warn!(%error, "the status cache was not saved");
    }
    Ok(Status { changes, warnings: compare.finish().0 })
}

/// For every suspect that equals the version, its stat.
fn judge(root: &Root, store: &Store, base: Option<&Table>, steps: &[Step]) -> Result<Vec<Option<Stat>>> {
    let paths: Vec<Option<&str>> = steps
        .iter()
        .map(|step| match step {
            Step::Suspect(found, _) => Some(found.path.as_str()),
            _ => None,
        })
        .collect();
    if paths.iter().all(Option::is_none) {
        return Ok(vec![None; steps.len()]);
    }
    read::each(root, paths, |dirs, path| {
        let (Some(path), Some(base)) = (path, base) else { return Ok(None) };
        match files::get(base, path)? {
            Some(entry) => read::equals(root, dirs, store, &entry),
            None => Ok(None),
        }
    })
}

/// Replaces the stats of some paths in the status cache.
fn note(meta: &Path, base: &Table, noted: Vec<Found>, since: i64) -> Result<()> {
    let Some(mut reader) = cache::Reader::open(meta).filter(|reader| reader.table == base.to_ref()) else {
        return Ok(());
    };
    let mut writer = cache::Writer::begin(meta)?;
    let mut noted = noted.into_iter().peekable();
    while let Some(mut seen) = reader.next()? {
        if let Some(found) = noted.next_if(|found| found.path == seen.found.path) {
            seen = Seen { racy: is_racy(&found.stat, since), found };
        }
        writer.push(&seen)?;
    }
    writer.finish(&base.to_ref(), i64::MAX)
}
