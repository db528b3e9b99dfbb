//! One folder: what is in it, what of that is versioned, in the order in which a walk needs it.

use std::cmp::Ordering;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use syncline_base::task;
use syncline_tree::files::path;

use super::dirs::{Root, failed};
use super::ignores::{IGNORE_FILE, Ignores, MAX_BYTES};
use super::stat::Stat;
use crate::{Error, Result};

/// Something in a folder.
#[derive(Debug)]
pub(super) struct Item {
    pub name: Box<str>,
    /// Nothing for a folder.
    pub stat: Option<Stat>,
}

/// A step of a walk through one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub item: u32,
    /// A folder has two steps: itself (a row, if it is empty), and what is in it, which sorts as if its name ended with `/`.
    pub inside: bool,
}

/// What one folder holds.
#[derive(Debug)]
pub(super) struct Listed {
    /// Ends with `/`; empty at the root.
    pub path: String,
    pub items: Vec<Item>,
    /// In byte order of full paths.
    pub order: Vec<Slot>,
    pub ignores: Option<Arc<Ignores>>,
    /// Whether there is nothing in the folder, ignored or not.
    pub empty: bool,
    /// What was left out and why.
    pub warnings: Vec<String>,
}

/// Stats so many files before it is worth another task.
const STATS: usize = 512;

/// Lists the folder at `path` (without a last `/`). `None` when it is gone or no folder any more.
pub(super) fn list(root: &Root, path: &str, above: Option<Arc<Ignores>>) -> Result<Option<Listed>> {
    listed(root, path, above, false)
}

/// As [`list`], with what ignore files hide; a reserved name is among the warnings.
pub(super) fn list_all(root: &Root, path: &str) -> Result<Option<Listed>> {
    listed(root, path, None, true)
}

fn listed(root: &Root, path: &str, above: Option<Arc<Ignores>>, all: bool) -> Result<Option<Listed>> {
    let mut dirs = root.dirs();
    let Ok(folder) = dirs.enter(path, false)? else { return Ok(None) };
    let full = root.full(path);
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut listed = Listed {
        path: prefix,
        items: Vec::new(),
        order: Vec::new(),
        ignores: above,
        empty: true,
        warnings: Vec::new(),
    };
    let names = read_names(folder, &mut listed, all).map_err(|e| failed("listing", &full)(e))?;
    if !all
        && names.iter().any(|(name, _)| &**name == IGNORE_FILE)
        && let Some(text) = read_ignore_file(root, folder, &listed.path)?
    {
        let file = full.join(IGNORE_FILE);
        listed.ignores = Some(Ignores::add(listed.ignores.take(), &listed.path, &text, &file)?);
    }
    let mut rest = names.into_iter().peekable();
    let mut groups = Vec::new();
    while rest.peek().is_some() {
        groups.push(rest.by_ref().take(STATS).collect::<Vec<_>>());
    }
    let looked = task::try_map(groups, |group| look(root, folder, &listed, group))?;
    for (items, warnings) in looked {
        listed.items.extend(items);
        listed.warnings.extend(warnings);
    }
    listed.order = order(&listed.items);
    Ok(Some(listed))
}

/// Whether ignore files hide a path, whatever is there.
///
/// # Errors
/// The file system's; `invalid` when an ignore file has a line that is no pattern.
pub(crate) fn is_ignored(root: &Root, path: &str) -> Result<bool> {
    let (mut dirs, mut ignores, mut end) = (root.dirs(), None, 0);
    loop {
        let folder = path[..end].trim_end_matches('/');
        let Ok(opened) = dirs.enter(folder, false)? else { return Ok(false) };
        let prefix = &path[..end];
        if let Some(text) = read_ignore_file(root, opened, prefix)? {
            let file = root.full(prefix).join(IGNORE_FILE);
            ignores = Some(Ignores::add(ignores.take(), prefix, &text, &file)?);
        }
        let next = path[end..].find('/').map(|at| end + at);
        let name_end = next.unwrap_or(path.len());
        if ignores.as_ref().is_some_and(|ignores| ignores.hide(&path[..name_end], next.is_some())) {
            return Ok(true);
        }
        match next {
            Some(at) => end = at + 1,
            None => return Ok(false),
        }
    }
}

/// Whether there is a folder at a path that has something in it, ignored or not.
///
/// # Errors
/// The file system's.
pub(crate) fn is_full_folder(root: &Root, path: &str) -> Result<bool> {
    let mut dirs = root.dirs();
    let Ok(folder) = dirs.enter(path, false)? else { return Ok(false) };
    let entries = Dir::read_from(folder).map_err(|e| failed("listing", &root.full(path))(e))?;
    let mut names = entries.filter_map(std::result::Result::ok);
    Ok(names.any(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

/// The names that may be versioned.
fn read_names(folder: BorrowedFd<'_>, listed: &mut Listed, all: bool) -> Result<Vec<(Box<str>, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        listed.empty = false;
        let shown = || format!("{}{}", listed.path, String::from_utf8_lossy(bytes));
        let Ok(name) = std::str::from_utf8(bytes) else {
            listed.warnings.push(format!("{} is not versioned: its name is not UTF-8; rename it", shown()));
            continue;
        };
        if path::is_reserved(name) {
            if all {
                listed.warnings.push(format!("{} is not versioned: its name is reserved", shown()));
            }
            continue;
        }
        if let Err(fault) = path::check_name(name) {
            listed.warnings.push(format!("{} is not versioned: {fault}; rename it", shown()));
        } else if listed.path.len() + name.len() > path::MAX_PATH {
            listed.warnings.push(format!("{} is not versioned: {}", shown(), path::PathFault::TooLong));
        } else {
            names.push((name.into(), entry.file_type()));
        }
    }
    Ok(names)
}

/// The text of a folder's ignore file, unless it is something else than a file.
fn read_ignore_file(root: &Root, folder: BorrowedFd<'_>, prefix: &str) -> Result<Option<Vec<u8>>> {
    let full = root.full(prefix).join(IGNORE_FILE);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat(folder, IGNORE_FILE, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(failed("reading", &full)(error)),
    };
    if !file.metadata().map_err(Error::io("reading", &full))?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text).map_err(Error::io("reading", &full))?;
    if text.len() > MAX_BYTES {
        return Err(Error::invalid(format!("reading {}", full.display()), "it is longer than 4 MiB; shorten it"));
    }
    Ok(Some(text))
}

/// Looks at some names: which are ignored, what the file system says about the others.
fn look(
    root: &Root,
    folder: BorrowedFd<'_>,
    listed: &Listed,
    names: Vec<(Box<str>, FileType)>,
) -> Result<(Vec<Item>, Vec<String>)> {
    let mut items = Vec::with_capacity(names.len());
    let mut warnings = Vec::new();
    let mut path = listed.path.clone();
    for (name, mut kind) in names {
        path.truncate(listed.path.len());
        path.push_str(&name);
        let mut stat = None;
        if kind != FileType::Directory {
            stat = match statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                // It went away since the folder was read.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed("reading", &root.full(&path))(error)),
            };
            kind = stat.as_ref().map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode));
        }
        let is_folder = kind == FileType::Directory;
        if listed.ignores.as_ref().is_some_and(|ignores| ignores.hide(&path, is_folder)) {
            continue;
        }
        match stat.as_ref().map(Stat::of) {
            _ if is_folder => items.push(Item { name, stat: None }),
            Some(Some(stat)) => items.push(Item { name, stat: Some(stat) }),
            _ => warnings.push(format!("{path} is a device, socket or pipe and is not versioned")),
        }
    }
    Ok((items, warnings))
}

/// The order in which full paths sort.
fn order(items: &[Item]) -> Vec<Slot> {
    let mut order = Vec::with_capacity(items.len());
    for (item, known) in (0..).zip(items) {
        order.push(Slot { item, inside: false });
        if known.stat.is_none() {
            order.push(Slot { item, inside: true });
        }
    }
    let name = |slot: &Slot| items[slot.item as usize].name.as_bytes();
    order.sort_unstable_by(|a, b| compare(name(a), a.inside, name(b), b.inside));
    order
}

/// Compares names, each as if it ended with `/` when its flag is set.
fn compare(a: &[u8], a_inside: bool, b: &[u8], b_inside: bool) -> Ordering {
    let shared = a.len().min(b.len());
    let after = |name: &[u8], inside: bool| name.get(shared).copied().or(inside.then_some(b'/'));
    a[..shared].cmp(&b[..shared]).then_with(|| {
        // One of the two ends here. A `/` that ends a name has nothing behind it to compare, for names hold none.
        after(a, a_inside).cmp(&after(b, b_inside)).then(a.len().cmp(&b.len()))
    })
}
