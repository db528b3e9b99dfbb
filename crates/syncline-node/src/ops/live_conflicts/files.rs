//! Files in conflict: what was written to a path and not all can be there, seen and decided.
//!
//! A directory shows what is not at the path beside it, and whoever changes one of these files there decides as well, and keeps the others.
//! Here all but what is decided for goes. Owns nothing.
//!
//! Not here: where siblings are shown, and which are in conflict (`crate::live::files`).

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_sync::live::{Sibling, Write};
use syncline_tree::content::ContentRef;
use syncline_tree::files::{Content, FileKind, path};

use super::{Report, check_seen, is_meant, put};
use crate::contents::Source;
use crate::live::files::row::FileRow;
use crate::live::files::shown::{self, Clash};
use crate::live::files::{Files, Given, clashes, key};
use crate::live::{Engine, token};
use crate::replica::Replica;
use crate::{Error, Result};

/// A file in conflict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conflict {
    /// Its path.
    pub file: String,
    /// Something that lies below it: the path is a folder, whatever was written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    /// What was written: what is at the path first, then the later written before the earlier.
    pub siblings: Vec<Version>,
}

/// One thing that somebody wrote to a path, and nobody overwrote who had seen it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// The transaction that wrote it.
    pub transaction: String,
    /// The writer, by the name that it wrote under.
    pub origin: String,
    /// When, by the writer's clock as far as hubs believed it, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whether a hub has taken it in.
    pub taken: bool,
    /// Whether it is what is at the path.
    pub visible: bool,
    /// Where a directory shows it; nowhere when it is an empty folder that is not at the path, or another file has that path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// `file`, `link` or `folder`; nothing when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether its owner may execute it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Its length.
    #[serde(default)]
    pub bytes: u64,
    /// A short file as text, or a link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The root of its chunk tree, if it is not short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Hash>,
    /// Whether its content has not come here yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_its_way: bool,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// How a file in conflict is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// As this transaction wrote it: as text, or so much of its beginning that no other is meant; or what is shown at this path.
    Take(String),
    /// It becomes this; the path may be left out.
    With(Box<Given>),
    /// It is deleted.
    Delete,
}

/// What `resolve` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// The path.
    pub file: String,
    /// What the file becomes.
    pub decision: Decision,
    /// What was seen: when siblings have come since, nothing is decided. Else all are decided on that are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// The first files in conflict, at most so many.
pub(super) fn list(engine: &Engine, limit: usize) -> Result<Report> {
    let suspects = clashes::suspects(engine)?;
    let (found, open, position) = engine.read(|node| {
        let (mut found, mut open) = (Vec::new(), 0);
        for path in suspects {
            let Some(clash) = shown::clash(node, &path) else { continue };
            open += 1;
            if found.len() < limit {
                found.push((path, clash));
            }
        }
        (found, open, token::of_context(&node.context()))
    })?;
    let files = conflicts(engine, found)?;
    Ok(Report { open_files: open, files, position, ..Report::default() })
}

/// One file in conflict.
pub(super) fn show(engine: &Engine, path: &str) -> Result<Report> {
    check(path)?;
    let (clash, siblings, position) = engine.read(|node| {
        let siblings = node.look(&key(path)).siblings().len();
        (shown::clash(node, path), siblings, token::of_context(&node.context()))
    })?;
    let Some(clash) = clash else { return Err(not_in_conflict(path, siblings)) };
    let files = conflicts(engine, vec![(path.to_owned(), clash)])?;
    Ok(Report { open_files: 1, files, position, ..Report::default() })
}

fn conflicts(engine: &Engine, found: Vec<(String, Clash)>) -> Result<Vec<Conflict>> {
    let siblings = found.iter().flat_map(|(_, clash)| &clash.siblings);
    let contents: Vec<ContentRef> =
        siblings.filter_map(|(sibling, _)| FileRow::decode(&sibling.value)?.stored()).collect();
    let lacking = Source::none(engine.contents()?).lacks(&contents)?;
    let conflict = |(file, Clash { siblings, below }): (String, Clash)| {
        let siblings =
            siblings.iter().map(|(sibling, place)| version(&file, sibling, place.as_ref(), &lacking)).collect();
        Conflict { file, below, siblings }
    };
    Ok(found.into_iter().map(conflict).collect())
}

fn version(path: &str, sibling: &Sibling, place: Option<&String>, lacking: &[ContentRef]) -> Version {
    let Sibling { dot, time, stamps, value, .. } = sibling;
    let mut version = Version {
        transaction: token::of_dot(dot),
        origin: dot.origin.to_string(),
        time_ms: time.ms(),
        taken: !stamps.is_empty(),
        visible: place.is_some_and(|place| place == path),
        shown: place.cloned(),
        kind: None,
        executable: false,
        bytes: 0,
        text: None,
        content: None,
        on_its_way: false,
        fault: None,
    };
    let Some(FileRow { kind, executable, content }) = FileRow::decode(value) else {
        version.fault = Some("a newer version of this program wrote it: update this one".to_owned());
        return version;
    };
    let name = match kind {
        FileKind::File => "file",
        FileKind::Symlink => "link",
        FileKind::Folder => "folder",
    };
    version.kind = Some(name.to_owned());
    version.executable = executable;
    version.bytes = content.len();
    match content {
        Content::Inline(bytes) => {
            version.text = String::from_utf8(bytes.to_vec()).ok().filter(|_| kind != FileKind::Folder);
        }
        Content::Chunks(content) => {
            version.on_its_way = lacking.contains(&content);
            version.content = Some(content.root);
        }
    }
    version
}

/// Decides a file in conflict: writes it so that all siblings that are here are covered.
///
/// # Errors
/// `not-found` when the file is not in conflict, none of its siblings is of that transaction, or the content that is given is not here;
/// `conflict` when siblings have come that were not seen; `invalid` when the path has to be a folder. Nothing was written then.
pub fn resolve(replica: &Replica, request: &Resolve) -> Result<put::Report> {
    let started = replica.clock().monotonic();
    let engine = replica.live()?;
    let path = &request.file;
    check(path)?;
    let read = request.read.as_deref().map(token::parse).transpose()?;
    let given = match &request.decision {
        Decision::With(given) => {
            let mut files = Files::of([Given { file: path.clone(), ..(**given).clone() }])?;
            files.store(&engine.contents()?, true)?;
            Some(files)
        }
        Decision::Take(_) | Decision::Delete => None,
    };
    let committed = engine.commit_with(None, |node| {
        let Some(clash) = shown::clash(node, path) else {
            return Err(not_in_conflict(path, node.look(&key(path)).siblings().len()));
        };
        if let Some(read) = &read {
            let siblings: Vec<Sibling> = clash.siblings.iter().map(|(sibling, _)| sibling.clone()).collect();
            check_seen(node, &|| Ok(doing(path)), &siblings, read)?;
        }
        match (&request.decision, &given) {
            (Decision::Take(named), _) => take(path, &clash, named).map(|write| vec![write]),
            (Decision::With(_), Some(files)) => files.writes(node),
            _ => Ok(vec![Write { row: key(path), value: None }]),
        }
    })?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(put::Report::new("", &committed, (0, 1), false, seconds))
}

/// What was meant of what there is.
fn take(path: &str, clash: &Clash, named: &str) -> Result<Write> {
    let full = |sibling: &Sibling| token::of_dot(&sibling.dot);
    let fits: Vec<&Sibling> = clash
        .siblings
        .iter()
        .filter(|(sibling, place)| place.as_deref() == Some(named) || is_meant(&full(sibling), named))
        .map(|(sibling, _)| sibling)
        .collect();
    let all = || clash.siblings.iter().map(|(sibling, _)| full(sibling)).collect::<Vec<_>>().join("\n  ");
    let Some(first) = fits.first() else {
        let why = format!("{}; there are\n  {}", doing(path), all());
        return Err(Error::not_found(format!("something of transaction {named:?}, or shown at that path"), why));
    };
    if fits.iter().any(|other| other.value != first.value) {
        let why = format!("{named:?} may be several of what was written; there are\n  {}", all());
        return Err(Error::invalid(doing(path), why));
    }
    let is_folder = FileRow::decode(&first.value).is_some_and(|row| row.kind == FileKind::Folder);
    match &clash.below {
        Some(below) if !is_folder => Err(Error::invalid(
            doing(path),
            format!("it is a folder that {below} is in; delete what is in it, or this file (`--delete`)"),
        )),
        _ => Ok(Write { row: key(path), value: Some(first.value.clone()) }),
    }
}

fn doing(path: &str) -> String {
    format!("resolving the conflict of the file {path}")
}

fn check(file: &str) -> Result<()> {
    path::check(file).map_err(|fault| Error::invalid(format!("the file {file:?}"), fault.to_string()))
}

/// Of so many siblings.
pub(super) fn not_in_conflict(path: &str, siblings: usize) -> Error {
    let why = match siblings {
        0 => "there is no such file here now; nothing has to be decided",
        1 => "one thing is written to it here now; nothing has to be decided",
        _ => "all that was written to it is the same; nothing has to be decided",
    };
    Error::not_found(format!("a conflict of the file {path}"), why)
}

#[cfg(test)]
mod tests;
