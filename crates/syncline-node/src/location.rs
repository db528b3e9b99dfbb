//! Where datasets are, as users write it: a path, a prefix in a bucket, a dataset on a node.
//!
//! Owns no state. Credentials for buckets come from the environment, as their services' own tools take them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_base::rng::Rng;
use syncline_store::Backend;
use syncline_store::backend::object::ObjectBackend;
use syncline_store::backend::wrap::{Ahead, Retry, Wrapped};

use crate::error::{Error, Result};
use crate::replica::{Env, META_DIR};

/// Where a dataset is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory on this machine.
    Path(PathBuf),
    /// A prefix in a bucket: `s3://bucket/prefix`, `gs://…`, `az://…`.
    Bucket(String),
    /// A dataset on a node: `http(s)://host:port/DATASET`.
    Node(String),
}

impl Location {
    /// Reads a location as users write it.
    ///
    /// # Errors
    /// `invalid` when it looks like a URL of a kind that is not known.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("http" | "https", _)) => Ok(Self::Node(text.trim_end_matches('/').to_owned())),
            Some(("s3" | "gs" | "az" | "abfs" | "abfss" | "s3a", _)) => {
                Ok(Self::Bucket(text.trim_end_matches('/').to_owned()))
            }
            Some(("file", path)) => Ok(Self::Path(path.into())),
            Some((scheme, _)) => Err(Error::invalid(
                format!("location {text:?}"),
                format!("{scheme}:// is not known; use http(s)://host:port/DATASET, s3://, gs://, az:// or a path"),
            )),
            None if text.is_empty() => Err(Error::invalid("location \"\"", "give a path or a URL")),
            None => Ok(Self::Path(text.into())),
        }
    }

    /// The dataset of this name in a place that holds several.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        match self {
            Self::Path(dir) => Self::Path(dir.join(name)),
            Self::Bucket(url) => Self::Bucket(format!("{url}/{name}")),
            Self::Node(url) => Self::Node(format!("{url}/{name}")),
        }
    }

    /// Whether there is a dataset. One on a node is its node's to find.
    ///
    /// # Errors
    /// The bucket's.
    pub fn is_dataset(&self, env: &Env) -> Result<bool> {
        match self {
            Self::Path(dir) => Ok(is_replica(dir)),
            Self::Bucket(url) => Ok(bucket(url, env)?.size("store.json")?.is_some()),
            Self::Node(_) => Ok(false),
        }
    }

    /// The names of the datasets directly below a place that holds several, sorted.
    ///
    /// # Errors
    /// The file system's or the bucket's.
    pub fn datasets(&self, env: &Env) -> Result<Vec<String>> {
        let folders = match self {
            Self::Path(dir) => folders(dir)?,
            Self::Bucket(url) => ObjectBackend::open(url)?.folders()?,
            Self::Node(url) => return Err(Error::invalid(format!("listing {url}"), "it is a node: ask it")),
        };
        let mut names = Vec::new();
        for name in folders {
            if self.below(&name).is_dataset(env)? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn folders(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.read_dir().map_err(Error::io("listing", dir))? {
        let entry = entry.map_err(Error::io("listing", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Whether a directory holds a bare replica or a working directory.
fn is_replica(dir: &Path) -> bool {
    dir.join("replica.json").is_file() || dir.join(META_DIR).join("replica.json").is_file()
}

/// How often a request to a bucket is tried, and how long the first pause between tries is.
const BUCKET_TRIES: u32 = 6;
const BUCKET_PAUSE_MS: u64 = 200;

/// How much that was read around what was asked for is kept.
const BUCKET_AHEAD: u64 = 64 << 20;

/// The objects below a prefix of a bucket.
///
/// # Errors
/// `invalid` when the URL names no bucket.
pub(crate) fn bucket(url: &str, env: &Env) -> Result<Arc<dyn Backend>> {
    let bucket = Arc::new(ObjectBackend::open(url)?);
    let retry = Retry::new(env.clock.clone(), BUCKET_TRIES, BUCKET_PAUSE_MS, Rng::from_os());
    Ok(Arc::new(Ahead::new(Arc::new(Wrapped::new(bucket, Arc::new(retry))), BUCKET_AHEAD)))
}
