//! What a partial replica holds, and what it leaves with the replica that it was cloned from.
//!
//! Every commit, every root record and, unless tables are chosen, the whole file tree with short files is here in any
//! case; what may be left out are tables and the contents of files that are too long for a row. So the root of a version
//! that is made here is right, and what is left out is known by name.
//!
//! Owns: the patterns, compiled. Not here: bringing contents (`crate::contents`).

use std::collections::BTreeSet;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use syncline_tree::refs::Scope;
use syncline_tree::{TableRef, TreeName, walk};

use crate::{Error, Result};

/// The most patterns of one replica.
const PATTERNS_MAX: usize = 10_000;

/// What a replica holds.
#[derive(Debug, Clone, Default)]
pub struct Part {
    tables: Option<BTreeSet<String>>,
    paths: Option<Paths>,
}

#[derive(Debug, Clone)]
struct Paths {
    patterns: Vec<String>,
    rules: Gitignore,
}

impl Part {
    /// What a scope says; everything without one.
    ///
    /// # Errors
    /// `invalid` when a pattern is none.
    pub fn of(scope: Option<&Scope>) -> Result<Self> {
        let Some(scope) = scope else { return Ok(Self::default()) };
        let paths = scope.paths.as_ref().map(|patterns| Paths::new(patterns)).transpose()?;
        Ok(Self { tables: scope.tables.clone(), paths })
    }

    /// Whether a tree is here.
    #[must_use]
    pub fn tree(&self, name: &TreeName) -> bool {
        let Some(tables) = &self.tables else { return true };
        match name {
            TreeName::Files => tables.contains("files"),
            TreeName::Table(name) => tables.contains(name),
        }
    }

    /// Whether the content of the file at this path has to be here in a version that is checked out.
    #[must_use]
    pub fn path(&self, path: &str) -> bool {
        let Some(paths) = &self.paths else { return true };
        matches!(paths.rules.matched_path_or_any_parents(path, false), Match::Ignore(_))
    }

    /// Whether contents of files may be elsewhere.
    #[must_use]
    pub fn is_outline(&self) -> bool {
        self.paths.is_some()
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.tables.is_none() && self.paths.is_none()
    }

    /// The patterns of files whose contents are here, when there are any others.
    #[must_use]
    pub fn patterns(&self) -> Option<&[String]> {
        self.paths.as_ref().map(|paths| paths.patterns.as_slice())
    }

    /// The objects at the top of a tree, as this replica holds it.
    pub(crate) fn roots(&self, name: &TreeName, table: &TableRef) -> Vec<(syncline_base::Hash, walk::ObjectKind)> {
        if self.is_outline() && *name == TreeName::Files { walk::outline(table) } else { walk::roots(table) }
    }

    /// Refuses to work on a tree that is not here.
    ///
    /// # Errors
    /// `not-found`, with what is here.
    pub(crate) fn check(&self, name: &TreeName) -> Result<()> {
        if self.tree(name) {
            return Ok(());
        }
        let here: Vec<&String> = self.tables.iter().flatten().collect();
        Err(Error::not_found(
            format!("{name} in this replica"),
            format!("only {here:?} were cloned; work on the replica that it was cloned from, or clone this one, too"),
        ))
    }
}

impl Paths {
    fn new(patterns: &[String]) -> Result<Self> {
        let wrong = |pattern: &str, why: String| Error::invalid(format!("pattern {pattern:?}"), why);
        if patterns.len() > PATTERNS_MAX {
            return Err(wrong("", format!("{} patterns are more than {PATTERNS_MAX}", patterns.len())));
        }
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            if pattern.trim().is_empty() || pattern.starts_with('#') {
                return Err(wrong(pattern, "it matches nothing; write for example \"images/**\"".into()));
            }
            builder.add_line(None, pattern).map_err(|error| wrong(pattern, error.to_string()))?;
        }
        let rules = builder.build().map_err(|error| wrong(&patterns.join(" "), error.to_string()))?;
        Ok(Self { patterns: patterns.to_vec(), rules })
    }
}

#[cfg(test)]
mod tests;
