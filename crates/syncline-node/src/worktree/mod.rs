//! The working directory: files on disk, compared with and written from the files table of a version.
//!
//! `walk` goes through what is there in path order, `cache` remembers what was seen to equal a version, `compare` runs the
//! two side by side, `commit` and `status` read what may differ, `checkout` writes what does. Paths stream: memory is
//! bounded by folders and groups of files, not by the tree.
//!
//! State: the status cache in the meta directory, a hint that may be lost at any time.
//!
//! Not here: when to do any of this, and how files and refs are kept in step (`crate::work`).

pub(crate) mod cache;
pub(crate) mod checkout;
pub(crate) mod commit;
pub(crate) mod compare;
pub(crate) mod dirs;
pub(crate) mod ignores;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod update;
pub(crate) mod walk;

#[cfg(test)]
mod tests;
