//! Path rules: which texts may name a file in a dataset.
//!
//! A path is relative, `/`-separated UTF-8. The rules keep a path from reaching out of the root, from meaning two
//! things on two systems, and from touching a replica's own state. Normative text: `docs/format/files.md`.

use std::fmt;

/// The folder that holds a replica's own state. Never part of a dataset, at any depth and in any spelling that a
/// case-insensitive or normalising file system would take for it.
pub const RESERVED: &str = ".syncline";
/// Names that start with this are temporary files of a checkout. Never part of a dataset.
pub const TEMPORARY: &str = ".syncline~";
/// Longest path in bytes.
pub const MAX_PATH: usize = 4096;
/// Longest name between two separators in bytes.
pub const MAX_NAME: usize = 255;

/// Why a text cannot name a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// The empty text.
    Empty,
    /// Starts with `/`.
    Absolute,
    /// Has nothing between two separators, or ends with one.
    EmptyPart,
    /// Has a part `.` or `..`.
    Dots,
    /// Has a NUL character.
    Nul,
    /// Has a part that is kept for replicas' own state.
    Reserved,
    /// Longer than [`MAX_PATH`], or a name longer than [`MAX_NAME`].
    TooLong,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Absolute => "it starts with '/'",
            Self::EmptyPart => "it has an empty part",
            Self::Dots => "it has a part '.' or '..'",
            Self::Nul => "it has a NUL character",
            Self::Reserved => "it has a part that is reserved for Syncline's own files",
            Self::TooLong => "it is longer than 4096 bytes, or has a name longer than 255 bytes",
        })
    }
}

/// Checks a whole path.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(path: &str) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    if path.len() > MAX_PATH {
        return Err(PathFault::TooLong);
    }
    path.split('/').try_for_each(check_name)
}

/// Checks one part of a path.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_name(name: &str) -> Result<(), PathFault> {
    if name.is_empty() {
        return Err(PathFault::EmptyPart);
    }
    if name == "." || name == ".." {
        return Err(PathFault::Dots);
    }
    if name.contains('\0') {
        return Err(PathFault::Nul);
    }
    if name.len() > MAX_NAME {
        return Err(PathFault::TooLong);
    }
    if is_reserved(name) {
        return Err(PathFault::Reserved);
    }
    Ok(())
}

/// Whether a name is kept for Syncline's own files.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    // Only names that start with a dot, or hide it behind characters that file systems drop, can fold to a reserved
    // name: nearly every name is decided by its first byte.
    match name.as_bytes().first() {
        Some(b'.') => {}
        Some(byte) if byte.is_ascii() => return false,
        _ => {}
    }
    let folded: String = super::collide::fold(name).chars().filter(|c| !is_ignorable(*c)).collect();
    folded == RESERVED || folded.starts_with(TEMPORARY)
}

/// Characters that HFS+ and APFS leave out when they compare names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// The folder of a path, without the last separator; `None` at the top.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// The last part of a path.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests;
