//! The object store backend: S3, Google Cloud Storage, Azure, and memory, through the `object_store` crate.
//!
//! The crate is asynchronous, this one is not: a private runtime runs the requests, and callers wait for them, on whatever thread
//! they are. Uploads are gathered in memory (a pack is at most about 64 MiB) and sent when they are published.
//!
//! Owns: the client and its runtime. After a crash: objects are whole or absent; parts of an upload that was not completed are
//! removed by the bucket's own rules.
//!
//! Invariant: a conditional request that fails its condition is read back. What is there exactly as we sent it was sent by us,
//! and only the reply was lost.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{
    Error as Failure, GetOptions, MultipartUpload as _, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, UpdateVersion,
};
use syncline_base::Kind;
use tokio::runtime::Runtime;
use url::Url;

use super::{Backend, Caps, Guard, Upload, Version};
use crate::error::{Error, Result};

/// Longer objects are sent in parts.
const WHOLE: usize = 16 << 20;
/// Length of a part.
const PART: usize = 8 << 20;

/// Byte objects below a prefix of a bucket.
#[derive(Clone)]
pub struct ObjectBackend {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    /// Always there until the drop.
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A plain drop would wait for its threads, which is not allowed where the caller itself is asynchronous.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBackend").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

impl ObjectBackend {
    /// The backend for a URL: `s3://bucket/prefix`, `gs://…`, `az://…`, `memory:///…`. Credentials and endpoints come from the
    /// environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`). For `file://` use [`super::directory::Directory`]: it can append.
    ///
    /// # Errors
    /// `Invalid` for a URL that names no object store.
    pub fn open(url: &str) -> Result<Self> {
        let wrong = |reason: String| Error::backend(Kind::Invalid, "opening", "", url, reason);
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let known = |name: &str| ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix));
        let settings =
            std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value)).filter(|(n, _)| known(n));
        let (client, prefix) =
            object_store::parse_url_opts(&parsed, settings).map_err(|error| wrong(error.to_string()))?;
        Self::new(Arc::from(client), prefix, url)
    }

    /// The backend on a client that the caller has made.
    ///
    /// # Errors
    /// `Unavailable` when the system gives no threads.
    pub fn new(client: Arc<dyn ObjectStore>, prefix: Path, place: &str) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("object-store").enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("starting", "runtime", place, &error))?;
        Ok(Self { inner: Arc::new(Inner { client, prefix, place: place.to_owned(), runtime: Some(runtime) }) })
    }

    /// The names of the folders directly below the prefix, sorted: what lies deeper is not listed.
    ///
    /// # Errors
    /// The service's.
    pub fn folders(&self) -> Result<Vec<String>> {
        let (client, top) = (self.client(), self.inner.prefix.clone());
        let listed = self.wait(async move { client.list_with_delimiter(Some(&top)).await });
        let listed = listed.map_err(|error| self.failed("listing", "", &error))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = listed.common_prefixes.iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.inner.prefix.clone(), |path, part| path.join(part))
    }

    /// Runs a request on the runtime and waits for it.
    fn wait<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        let (send, receive) = mpsc::sync_channel(1);
        let runtime = self.inner.runtime.as_ref().expect("it is only taken by the drop");
        runtime.spawn(async move {
            // The receiver is waiting just below.
            let _ = send.send(request.await);
        });
        receive.recv().expect("a request does not panic")
    }

    fn client(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.client)
    }

    fn failed(&self, action: &'static str, name: &str, error: &Failure) -> Error {
        let kind = match error {
            Failure::NotFound { .. } => Kind::NotFound,
            Failure::AlreadyExists { .. } | Failure::Precondition { .. } => Kind::Conflict,
            Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => Kind::Denied,
            Failure::NotSupported { .. } | Failure::NotImplemented { .. } | Failure::InvalidPath { .. } => {
                Kind::Invalid
            }
            _ => Kind::Unavailable,
        };
        Error::backend(kind, action, name, &self.inner.place, error)
    }

    /// Whether an object holds exactly these bytes.
    fn holds(&self, name: &str, bytes: &Bytes) -> Result<bool> {
        let (client, path) = (self.client(), self.path(name));
        match self.wait(async move { client.get(&path).await?.bytes().await }) {
            Ok(read) => Ok(read == *bytes),
            Err(Failure::NotFound { .. }) => Ok(false),
            // Not a conflict: nobody knows yet, and it is worth another try.
            Err(error) => Err(self.failed("reading back", name, &error)),
        }
    }

    /// A conditional write. When its condition fails because an earlier try had succeeded, that is success.
    fn write(&self, action: &'static str, name: &str, bytes: &Bytes, mode: PutMode) -> Result<()> {
        let (client, path, payload) = (self.client(), self.path(name), PutPayload::from_bytes(bytes.clone()));
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.wait(async move { client.put_opts(&path, payload, options).await }) {
            Ok(_) => Ok(()),
            Err(error @ (Failure::AlreadyExists { .. } | Failure::Precondition { .. })) => {
                if self.holds(name, bytes)? {
                    Ok(())
                } else {
                    Err(self.failed(action, name, &error))
                }
            }
            Err(error) => Err(self.failed(action, name, &error)),
        }
    }

    fn write_parts(&self, name: &str, bytes: &Bytes) -> Result<()> {
        if let Some(size) = self.size(name)? {
            // An earlier try, whose reply was lost.
            if size == bytes.len() as u64 && self.holds(name, bytes)? {
                return Ok(());
            }
            return Err(Error::backend(Kind::Conflict, "publishing", name, &self.inner.place, "the name is taken"));
        }
        let (client, path, bytes) = (self.client(), self.path(name), bytes.clone());
        let sent = self.wait(async move {
            let mut upload = client.put_multipart(&path).await?;
            for from in (0..bytes.len()).step_by(PART) {
                let part = bytes.slice(from..bytes.len().min(from + PART));
                if let Err(error) = upload.put_part(part.into()).await {
                    let _ = upload.abort().await;
                    return Err(error);
                }
            }
            upload.complete().await
        });
        sent.map(drop).map_err(|error| self.failed("publishing", name, &error))
    }
}

/// All objects below a folder.
async fn list_below(client: &dyn ObjectStore, top: Path) -> object_store::Result<Vec<(Path, u64)>> {
    let (mut folders, mut objects) = (vec![top], Vec::new());
    while let Some(folder) = folders.pop() {
        let result = client.list_with_delimiter(Some(&folder)).await?;
        folders.extend(result.common_prefixes);
        objects.extend(result.objects.into_iter().map(|object| (object.location, object.size)));
    }
    Ok(objects)
}

fn version_of(e_tag: Option<String>, version: Option<String>) -> Version {
    Version(serde_json::to_string(&(e_tag, version)).expect("two texts can be written as JSON"))
}

impl Backend for ObjectBackend {
    fn describe(&self) -> String {
        self.inner.place.clone()
    }

    fn caps(&self) -> Caps {
        Caps { append: false }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let mut got = self.read_many(name, std::slice::from_ref(&range))?;
        Ok(got.pop().expect("one range was asked for"))
    }

    fn read_many(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (client, path, wanted) = (self.client(), self.path(name), ranges.to_vec());
        let all_empty = ranges.iter().all(|range| range.start >= range.end);
        let read = self.wait(async move {
            if all_empty {
                // Services refuse empty ranges.
                client.head(&path).await?;
                return Ok(vec![Bytes::new(); wanted.len()]);
            }
            client.get_ranges(&path, &wanted).await
        });
        let read = read.map_err(|error| self.failed("reading", name, &error))?;
        for (bytes, range) in read.iter().zip(ranges) {
            if bytes.len() as u64 != range.end.saturating_sub(range.start) {
                let reason = format!("{range:?} reaches beyond its end");
                return Err(Error::backend(Kind::Corrupt, "reading", name, &self.inner.place, reason));
            }
        }
        Ok(read)
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        let (client, path) = (self.client(), self.path(name));
        match self.wait(async move { client.head(&path).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Failure::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("looking at", name, &error)),
        }
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        Ok(Arc::new(ObjectUpload {
            to: self.clone(),
            name: name.to_owned(),
            bytes: Mutex::new(Gathered::Open(BytesMut::new())),
        }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.write("writing", name, &bytes, PutMode::Create)
    }

    fn append(&self, name: &str, _: u64, _: &[Bytes]) -> Result<()> {
        Err(Error::backend(Kind::Invalid, "appending to", name, &self.inner.place, "object stores cannot append"))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        Ok(self.list_many(&[prefix])?.pop().expect("one prefix was given"))
    }

    fn list_many(&self, prefixes: &[&str]) -> Result<Vec<Vec<(String, u64)>>> {
        let (client, tops) = (self.client(), prefixes.iter().map(|prefix| self.path(prefix)).collect::<Vec<_>>());
        let listed = self.wait(async move {
            let mut listings = tokio::task::JoinSet::new();
            for (at, top) in tops.into_iter().enumerate() {
                let client = Arc::clone(&client);
                listings.spawn(async move { (at, list_below(&*client, top).await) });
            }
            let mut listed = listings.join_all().await;
            listed.sort_unstable_by_key(|(at, _)| *at);
            listed.into_iter().map(|(_, listed)| listed).collect::<std::result::Result<Vec<_>, _>>()
        });
        let listed = listed.map_err(|error| self.failed("listing", &prefixes.join(", "), &error))?;
        let own = |(location, size): (Path, u64)| {
            let parts: Vec<String> =
                location.prefix_match(&self.inner.prefix)?.map(|part| part.as_ref().to_owned()).collect();
            Some((parts.join("/"), size))
        };
        let sorted = |listed: Vec<(Path, u64)>| {
            let mut names: Vec<(String, u64)> = listed.into_iter().filter_map(own).collect();
            names.sort_unstable();
            names
        };
        Ok(listed.into_iter().map(sorted).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let (client, path) = (self.client(), self.path(name));
        match self.wait(async move { client.delete(&path).await }) {
            Ok(()) | Err(Failure::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("deleting", name, &error)),
        }
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        let (client, path) = (self.client(), self.path(name));
        let read = self.wait(async move {
            let got = client.get_opts(&path, GetOptions::default()).await?;
            let version = version_of(got.meta.e_tag.clone(), got.meta.version.clone());
            Ok((got.bytes().await?, version))
        });
        match read {
            Ok(found) => Ok(Some(found)),
            Err(Failure::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading", name, &error)),
        }
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        let mode = match expect {
            None => PutMode::Create,
            Some(Version(text)) => match serde_json::from_str(text) {
                Ok((e_tag, version)) => PutMode::Update(UpdateVersion { e_tag, version }),
                Err(_) => {
                    let reason = "the expected version is none of this place";
                    return Err(Error::backend(Kind::Conflict, "replacing", name, &self.inner.place, reason));
                }
            },
        };
        let (client, path, payload) = (self.client(), self.path(name), PutPayload::from_bytes(bytes.clone()));
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.wait(async move { client.put_opts(&path, payload, options).await }) {
            Ok(put) => Ok(version_of(put.e_tag, put.version)),
            Err(error @ (Failure::AlreadyExists { .. } | Failure::Precondition { .. } | Failure::NotFound { .. })) => {
                match self.read_versioned(name)? {
                    Some((there, version)) if there == bytes => Ok(version),
                    _ => Err(Error::backend(Kind::Conflict, "replacing", name, &self.inner.place, error)),
                }
            }
            Err(error) => Err(self.failed("replacing", name, &error)),
        }
    }

    fn lock(&self, _: &str) -> Result<Option<Box<dyn Guard>>> {
        Ok(Some(Box::new(NoLock)))
    }
}

#[derive(Debug)]
struct NoLock;

impl Guard for NoLock {}

#[derive(Debug)]
struct ObjectUpload {
    to: ObjectBackend,
    name: String,
    bytes: Mutex<Gathered>,
}

/// What was written so far.
#[derive(Debug)]
enum Gathered {
    /// It grows.
    Open(BytesMut),
    /// It is being sent, or was, and can be read all the while.
    Sent(Bytes),
}

impl Gathered {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Open(bytes) => bytes,
            Self::Sent(bytes) => bytes,
        }
    }

    fn grow(&mut self) -> &mut BytesMut {
        if let Self::Sent(bytes) = self {
            let bytes = std::mem::take(bytes);
            *self = Self::Open(bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..])));
        }
        match self {
            Self::Open(bytes) => bytes,
            Self::Sent(_) => unreachable!("it was opened just above"),
        }
    }

    fn send(&mut self) -> Bytes {
        if let Self::Open(bytes) = self {
            *self = Self::Sent(std::mem::take(bytes).freeze());
        }
        match self {
            Self::Sent(bytes) => bytes.clone(),
            Self::Open(_) => unreachable!("it was closed just above"),
        }
    }
}

impl ObjectUpload {
    fn bytes(&self) -> MutexGuard<'_, Gathered> {
        self.bytes.lock().expect("no code panics while it holds the bytes")
    }
}

impl Upload for ObjectUpload {
    fn write(&self, parts: &[Bytes]) -> Result<()> {
        let mut gathered = self.bytes();
        let bytes = gathered.grow();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let gathered = self.bytes();
        let bytes = gathered.bytes();
        let part = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let part = part.and_then(|(start, end)| bytes.get(start..end)).map(Bytes::copy_from_slice);
        part.ok_or_else(|| {
            let reason = format!("{range:?} reaches beyond its end");
            Error::backend(Kind::Corrupt, "reading", &self.name, &self.to.inner.place, reason)
        })
    }

    fn publish(&self) -> Result<()> {
        let bytes = self.bytes().send();
        if bytes.len() <= WHOLE {
            self.to.write("publishing", &self.name, &bytes, PutMode::Create)
        } else {
            self.to.write_parts(&self.name, &bytes)
        }
    }
}
