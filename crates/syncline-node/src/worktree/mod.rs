//! The working directory: files on disk, compared with and written from the files table of a version.
//!
//! `scan` lists what is there, `cache` remembers what was seen to equal a version, `compare` turns the two into what
//! differs, `checkout` writes what differs. All memory follows the number of paths, never the size of files.
//!
//! State: the status cache in the meta directory, a hint that may be lost at any time.
//!
//! Not here: when to do any of this, and how files and refs are kept in step (`crate::work`).

pub(crate) mod cache;
pub(crate) mod checkout;
pub(crate) mod compare;
pub(crate) mod scan;
