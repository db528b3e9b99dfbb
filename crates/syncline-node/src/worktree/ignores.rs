//! `.synclineignore`: paths that are not versioned, in the syntax of `.gitignore`.
//!
//! The file of a folder speaks about what is below that folder; deeper files win over higher ones, later lines over
//! earlier ones. What is in an ignored folder is ignored whatever deeper files say, because nobody looks.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{Error, Result};

/// The files that say what is not versioned.
pub(crate) const IGNORE_FILE: &str = ".synclineignore";
/// No such file is longer.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The rules of a folder, and of those above it.
#[derive(Debug)]
pub(crate) struct Ignores {
    rules: Gitignore,
    /// Length of the folder's path with its last separator.
    prefix: usize,
    above: Option<Arc<Ignores>>,
}

impl Ignores {
    /// Adds the rules of the folder with path `folder` (ends with `/`, or is empty).
    ///
    /// # Errors
    /// `invalid` when a line is no pattern: leaving it out could put things into the dataset that the user wanted out.
    pub(crate) fn add(above: Option<Arc<Self>>, folder: &str, text: &[u8], full: &Path) -> Result<Arc<Self>> {
        let text = String::from_utf8_lossy(text);
        let mut builder = GitignoreBuilder::new("");
        let wrong = |line: usize, why: String| {
            Error::invalid(
                format!("reading {}, line {}", full.display(), line + 1),
                format!("{why}; correct the pattern"),
            )
        };
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            builder.add_line(None, &plain_classes(line)).map_err(|error| wrong(number, error.to_string()))?;
        }
        let rules = builder.build().map_err(|error| wrong(0, error.to_string()))?;
        Ok(Arc::new(Self { rules, prefix: folder.len(), above }))
    }

    /// Whether a path below the folder is ignored, by itself.
    pub(crate) fn hide(&self, path: &str, is_folder: bool) -> bool {
        let mut level = Some(self);
        while let Some(rules) = level {
            match rules.rules.matched(&path[rules.prefix..], is_folder) {
                ignore::Match::Ignore(_) => return true,
                ignore::Match::Whitelist(_) => return false,
                ignore::Match::None => level = rules.above.as_deref(),
            }
        }
        false
    }
}

/// What the named classes of characters in brackets stand for, as in git. None begins with what would turn the bracket around.
const CLASSES: [(&str, &str); 12] = [
    ("[:alnum:]", "a-zA-Z0-9"),
    ("[:alpha:]", "a-zA-Z"),
    ("[:blank:]", " \t"),
    ("[:cntrl:]", "\u{1}-\u{1f}\u{7f}"),
    ("[:digit:]", "0-9"),
    ("[:graph:]", "0-~!-."),
    ("[:lower:]", "a-z"),
    ("[:print:]", " -.0-~"),
    ("[:punct:]", ":-@[-`{-~!-."),
    ("[:space:]", " \t\u{b}\u{c}"),
    ("[:upper:]", "A-Z"),
    ("[:xdigit:]", "0-9a-fA-F"),
];

/// A pattern with ranges in the place of named classes, which the library does not know.
fn plain_classes(line: &str) -> Cow<'_, str> {
    if !line.contains("[:") {
        return Cow::Borrowed(line);
    }
    let (mut plain, mut rest, mut inside) = (String::new(), line, false);
    while let Some(next) = rest.chars().next() {
        if let Some((name, range)) = CLASSES.iter().find(|(name, _)| inside && rest.starts_with(name)) {
            plain.push_str(range);
            rest = &rest[name.len()..];
            continue;
        }
        let len = match next {
            '\\' => next.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8),
            // A closing bracket that comes first is one of the characters.
            '[' if !inside => {
                inside = true;
                let begin = if rest[1..].starts_with(['!', '^']) { 2 } else { 1 };
                begin + usize::from(rest[begin..].starts_with(']'))
            }
            _ => next.len_utf8(),
        };
        inside &= next != ']';
        plain.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
