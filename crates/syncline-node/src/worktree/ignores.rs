//! `.synclineignore`: paths that are not versioned, in the syntax of `.gitignore`.
//!
//! The file of a folder speaks about what is below that folder; deeper files win over higher ones, later lines over
//! earlier ones. What is in an ignored folder is ignored whatever deeper files say, because nobody looks.

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
            builder.add_line(None, line).map_err(|error| wrong(number, error.to_string()))?;
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
