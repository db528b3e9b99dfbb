//! Files that commands write: what a path is to hold, as text or bytes, as a content that was stored before, as a link or as a folder.
//!
//! Contents are in the store, whole and durable, before a transaction names them; those that no transaction names after all are what a
//! collection takes. A transaction leaves a tree: nothing lies below a file. Owns nothing.
//!
//! Not here: what directories write (`super::local`), how contents come (`super::contents`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_store::Store;
use syncline_sync::live::{Node, Write};
use syncline_tree::content::{self, ContentRef};
use syncline_tree::files::{Content, FileKind, path};

use super::row::{FileRow, INLINE};
use super::{base64, key, path_of, shown};
use crate::contents::Source;
use crate::{Error, Result};

/// What a path is to hold: one of the members after `file`, but for `executable`, says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The path.
    #[serde(default)]
    pub file: String,
    /// A file with this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A file with these bytes, as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// A file with a content that is in the store: what `contents-put` answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentRef>,
    /// What a file of the caller's machine holds. Only the command line knows these, and gives the content instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A symbolic link to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// An empty folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
    /// Whether the file's owner may execute it; else that is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

/// What a path becomes.
#[derive(Debug)]
struct Wanted {
    kind: FileKind,
    content: Content,
    executable: Option<bool>,
}

impl Wanted {
    fn of(given: Given) -> Result<Self> {
        let doing = format!("writing the file {:?}", given.file);
        let refused = |why: &str| Err(Error::invalid(doing.clone(), format!("{why}; nothing was written")));
        let Given { text, base64, content, from, link, folder, executable, .. } = given;
        if from.is_some() {
            return refused(
                "`from` names a file of the caller's machine, which only `syncline` reads, where it runs: give `text`, `base64`, or \
                 `content` as `contents-put` answers it",
            );
        }
        let bytes = match base64.map(|text| base64::decode(&text)) {
            Some(None) => return refused("its `base64` is none"),
            bytes => bytes.flatten(),
        };
        let file = |content| (FileKind::File, content);
        let of_text = text.map(|text| file(Content::Inline(text.into())));
        let of_bytes = bytes.map(|bytes| file(Content::Inline(bytes.into())));
        let of_content = content.map(|content| file(Content::Chunks(content)));
        let of_link = link.map(|link| (FileKind::Symlink, Content::Inline(link.into())));
        let of_folder = folder.then(|| (FileKind::Folder, Content::Inline(Bytes::new())));
        let mut said = [of_text, of_bytes, of_content, of_link, of_folder].into_iter().flatten();
        let (Some((kind, content)), None) = (said.next(), said.next()) else {
            return refused("it needs one of `text`, `base64`, `content`, `link` and `folder`");
        };
        if executable == Some(true) && kind != FileKind::File {
            return refused("only a file can be `executable`");
        }
        Ok(Self { kind, content, executable })
    }

    /// The row as of this moment.
    fn row(&self, node: &Node, path: &str) -> FileRow {
        let before = || shown::row_at(node, path).is_some_and(|row| row.kind == FileKind::File && row.executable);
        let executable = self.kind == FileKind::File && self.executable.unwrap_or_else(before);
        FileRow { kind: self.kind, executable, content: self.content.clone() }
    }
}

/// The files that a transaction writes; nothing for those that it deletes.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, Option<Wanted>>);

impl Files {
    /// Of what is to be there, each path once.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub(crate) fn of(given: impl IntoIterator<Item = Given>) -> Result<Self> {
        let mut files = Self::default();
        given.into_iter().try_for_each(|given| files.set(given))?;
        Ok(files)
    }

    /// A path is to hold something. Of several changes of one path the last counts.
    ///
    /// # Errors
    /// `invalid` when the path is none, or nothing that a path can hold is given.
    pub(crate) fn set(&mut self, given: Given) -> Result<()> {
        check(&given.file, "writing")?;
        self.0.insert(given.file.clone(), Some(Wanted::of(given)?));
        Ok(())
    }

    /// A path is to hold nothing.
    ///
    /// # Errors
    /// `invalid` when it is none.
    pub(crate) fn delete(&mut self, path: &str) -> Result<()> {
        check(path, "deleting")?;
        self.0.insert(path.to_owned(), None);
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Stores what does not fit into rows, and looks whether all that they name is here, unless they come from a replica that has done so.
    /// Durable when it returns.
    ///
    /// # Errors
    /// `not-found` when a content is not here; `invalid` when something cannot be in a row; the store's.
    pub(crate) fn store(&mut self, store: &Store, are_new: bool) -> Result<()> {
        let mut named = Vec::new();
        for (path, wanted) in self.0.iter_mut().filter_map(|(path, wanted)| Some((path, wanted.as_mut()?))) {
            match &wanted.content {
                Content::Inline(bytes) if wanted.kind == FileKind::File && bytes.len() > INLINE => {
                    wanted.content = Content::Chunks(content::write_bytes(store, bytes, None)?);
                }
                Content::Chunks(content) => named.push((path.clone(), *content)),
                Content::Inline(_) => {}
            }
        }
        if are_new {
            check_here(store, &named)?;
        }
        store.flush()?;
        self.0.iter().filter_map(|(path, wanted)| Some((path, wanted.as_ref()?))).try_for_each(|(path, wanted)| {
            let row = FileRow { kind: wanted.kind, executable: false, content: wanted.content.clone() };
            match FileRow::decode(&row.encode()) {
                Some(_) => Ok(()),
                None if wanted.kind == FileKind::Symlink => {
                    Err(refused(path, "a link's target has 1 to 16384 bytes and no NUL"))
                }
                None => Err(refused(
                    path,
                    &format!("a file of up to {INLINE} bytes goes along: give `text` or `base64`, as `contents-put` answers it"),
                )),
            }
        })
    }

    /// What is written, as of this moment. Everybody waits for it.
    ///
    /// # Errors
    /// `invalid` when something would lie below a file.
    pub(crate) fn writes(&self, node: &Node) -> Result<Vec<Write>> {
        for (path, wanted) in &self.0 {
            self.check_above(node, path, wanted.is_some())?;
            self.check_below(node, path, wanted.as_ref())?;
        }
        let value = |path: &String, wanted: &Option<Wanted>| Some(wanted.as_ref()?.row(node, path).encode());
        Ok(self.0.iter().map(|(path, wanted)| Write { row: key(path), value: value(path, wanted) }).collect())
    }

    /// What has something in it is a folder.
    fn check_above(&self, node: &Node, path: &str, is_set: bool) -> Result<()> {
        let is_file = |above: &&str| match self.0.get(*above) {
            Some(change) => change.as_ref().is_some_and(|wanted| wanted.kind != FileKind::Folder),
            None => shown::row_at(node, above).is_some_and(|row| row.kind != FileKind::Folder),
        };
        match std::iter::successors(path::parent(path), |path| path::parent(path)).find(is_file).filter(|_| is_set) {
            Some(file) => Err(refused(
                path,
                &format!("{file} is a file, so nothing can be in it; delete it in the same transaction"),
            )),
            None => Ok(()),
        }
    }

    /// A file has nothing in it; and a folder is not deleted by its name.
    fn check_below(&self, node: &Node, path: &str, wanted: Option<&Wanted>) -> Result<()> {
        if wanted.is_some_and(|wanted| wanted.kind == FileKind::Folder)
            || (wanted.is_none() && !node.look(&key(path)).siblings().is_empty())
        {
            return Ok(());
        }
        let stays = |below: &str| !matches!(self.0.get(below), Some(None));
        match shown::all_below(node, path)
            .find_map(|row| path_of(&row).filter(|below| stays(below)).map(ToOwned::to_owned))
        {
            Some(below) => Err(refused(
                path,
                &format!("it is a folder that {below} is in; delete what is in it in the same transaction"),
            )),
            None => Ok(()),
        }
    }
}

fn refused(path: &str, why: &str) -> Error {
    Error::invalid(format!("writing {path}"), format!("{why}; nothing was written"))
}

fn check(path: &str, doing: &str) -> Result<()> {
    path::check(path)
        .map_err(|fault| Error::invalid(format!("{doing} the file {path:?}"), format!("{fault}; nothing was written")))
}

/// Whether contents are here, whole, and what they are said to be.
fn check_here(store: &Store, named: &[(String, ContentRef)]) -> Result<()> {
    let contents: Vec<ContentRef> = named.iter().map(|(_, content)| *content).collect();
    let lacking = Source::none(store.clone()).lacks(&contents)?;
    if let Some((path, _)) = named.iter().find(|(_, content)| lacking.contains(content)) {
        let why =
            "it is not here, or was collected meanwhile: send it (again) with `contents-put`; nothing was written";
        return Err(Error::not_found(format!("the content of the file {path}"), why));
    }
    for (path, content) in named.iter().filter(|(_, content)| content.len > 0) {
        // The way to its first bytes says whether length and height are right.
        let read = content::read(store, content).and_then(|mut reader| reader.next_bytes());
        read.map_err(|error| {
            Error::invalid(format!("writing the file {path}"), format!("its `content` is not what is stored: {error}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
