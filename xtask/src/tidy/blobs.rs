//! No large files in the repository: a clone stays small for ever, or never becomes small again.

use super::{Finding, Source};

/// Bytes a tracked file may have.
pub(super) const LARGEST: u64 = 512 * 1024;

/// Finds tracked files that are too large.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let large = sources.iter().filter(|source| source.bytes > LARGEST);
    large
        .map(|source| {
            let what =
                format!("has {} bytes, at most {LARGEST} are allowed: generate it, or make it smaller", source.bytes);
            Finding::new(&source.path, what)
        })
        .collect()
}
