//! The directory of a replica's live part: who may write to it, who it says it is, and whether it may be a copy.
//!
//! `live/` in the replica's meta directory holds `lock`, `identity.json`, `key`, `upstream`, `scope`, `certifies`, `alarms.json`, `distrust.json`,
//! `renewal.json`, `members.json`, `log/` and `rows/`; `damaged-TIME/` is what was begun anew after (`anew`). One process at a time has the lock; it writes into it where it serves the replica, so that others ask it instead of failing.
//!
//! After a crash: the lock is free, the identity is whole or not there (then nothing was ever written under it).
//!
//! `key` is the secret key, readable by its owner alone, and whole before the identity names its public one. A replica that was made
//! before there were keys gets one, and a new name. A copy has the same key and another name.
//!
//! Not here: what the log holds (`syncline_sync::live`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline_base::sign::KeyPair;
use syncline_store::backend::directory::make_directory;

use super::engine::{Alarm, Distrust, Renewal};
use crate::{Error, Result};

const IDENTITY: &str = "identity.json";
const LOCK: &str = "lock";
const UPSTREAM: &str = "upstream";
const SCOPE: &str = "scope";
const CERTIFIES: &str = "certifies";
const LOG: &str = "log";
const ROWS: &str = "rows";
const NEXT_LOG: &str = "log.next";
const ALARMS: &str = "alarms.json";
const DISTRUST: &str = "distrust.json";
const MEMBERS: &str = "members.json";
const RENEWAL: &str = "renewal.json";
/// Alarms that were dealt with: the last of them.
const SETTLED: &str = "alarms-settled.json";
const KEY: &str = "key";
const FORMAT: &str = "live/2";
/// Its key was a number that nobody could sign with.
const BEFORE: &str = "live/1";

/// Who a replica is, and where it was when it last said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    syncline: String,
    /// The public key, hex: what the names that it writes under are made from.
    key: String,
    /// What tells this place from a copy of it.
    place: String,
}

/// Who has the lock, as far as it told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Where it serves the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The directory, locked.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    lock: File,
    signer: Arc<KeyPair>,
    /// Whether the directory may be a copy, or have been brought back from a backup.
    moved: bool,
}

/// What came of trying to lock it.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Home),
    /// Another process has it.
    Others(Holder),
}

/// Whether a replica whose meta directory is `meta` has a live part.
#[must_use]
pub fn exists(meta: &Path) -> bool {
    meta.join("live").join(IDENTITY).is_file()
}

impl Home {
    /// Locks the live part of the replica whose meta directory is `meta`; makes it when it is not there.
    ///
    /// # Errors
    /// The file system's; `invalid` when a newer program made it.
    pub fn take(meta: &Path) -> Result<Taken> {
        let dir = meta.join("live");
        make_directory(&dir).map_err(Error::io("creating", &dir))?;
        let path = dir.join(LOCK);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(Error::io("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(Taken::Others(holder(&mut lock))),
            Err(std::fs::TryLockError::Error(source)) => return Err(Error::io("locking", &path)(source)),
        }
        finish_next_log(&dir)?;
        let place = place_of(&lock, &path)?;
        let identity = read_identity(&dir.join(IDENTITY))?;
        let old = identity.as_ref().is_some_and(|identity| identity.syncline == BEFORE);
        let moved = old || identity.as_ref().is_some_and(|identity| identity.place != place);
        let signer = Arc::new(match &identity {
            Some(identity) if !old => {
                let pair = read_key(&dir)?.filter(|pair| hex(&pair.public()) == identity.key);
                pair.ok_or_else(|| damaged(&dir.join(KEY), "it is not the secret key of this replica's identity"))?
            }
            // One that was made and not named yet is as good as a new one.
            _ => match read_key(&dir)? {
                Some(pair) => pair,
                None => new_key(&dir)?,
            },
        });
        let home = Self { dir, lock, signer, moved };
        match identity {
            Some(identity) if !old => drop(identity),
            // Until it is settled it stays one that may be a copy.
            old => home.write_identity(old.map_or(place, |old| format!("{BEFORE} {}", old.place)))?,
        }
        home.tell(None)?;
        Ok(Taken::Ours(home))
    }

    /// What its names are made from.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.signer.public()
    }

    /// The pair of keys.
    #[must_use]
    pub fn signer(&self) -> Arc<KeyPair> {
        Arc::clone(&self.signer)
    }

    /// Whether the log may be a copy of another replica's, or older than what others have seen. Stays so until [`Self::settle`].
    #[must_use]
    pub const fn moved(&self) -> bool {
        self.moved
    }

    /// Remembers that this is the place: the replica writes under a new name, durably.
    ///
    /// # Errors
    /// The file system's.
    pub fn settle(&mut self) -> Result<()> {
        if std::mem::take(&mut self.moved) {
            let place = place_of(&self.lock, &self.dir.join(LOCK))?;
            self.write_identity(place)?;
        }
        Ok(())
    }

    /// The directory was brought back as it was before, in its place: nobody can see that. Whoever opens it next takes it for a copy.
    ///
    /// # Errors
    /// The file system's.
    pub fn is_restored(&self) -> Result<()> {
        self.write_identity("brought back".to_owned())
    }

    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Where rows are that need not be in memory.
    #[must_use]
    pub fn rows(&self) -> PathBuf {
        self.dir.join(ROWS)
    }

    /// Where a log is written that is to take its place.
    pub(super) fn next_log(&self) -> PathBuf {
        self.dir.join(NEXT_LOG)
    }

    /// Moves the log and the rows away, and puts the next log, which is whole and durable, in their place. Where they are then.
    ///
    /// # Errors
    /// The file system's. The one or the other is in its place.
    pub(super) fn put_aside(&self, time_ms: u64) -> Result<PathBuf> {
        let aside = self.dir.join(format!("damaged-{time_ms}"));
        std::fs::create_dir_all(&aside).map_err(Error::io("creating", &aside))?;
        let moved = |name: &str| {
            let path = self.dir.join(name);
            match std::fs::rename(&path, aside.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done.map_err(Error::io("renaming", &path)),
            }
        };
        sync_dir(&self.dir)?;
        moved(LOG)?;
        finish_next_log(&self.dir)?;
        moved(ROWS)?;
        moved(RENEWAL)?;
        moved(ALARMS)?;
        sync_dir(&aside)?;
        sync_dir(&self.dir)?;
        Ok(aside)
    }

    /// Tells other processes where they can reach this one.
    ///
    /// # Errors
    /// The file system's.
    pub fn tell(&self, url: Option<&str>) -> Result<()> {
        let holder = Holder { pid: std::process::id(), url: url.map(ToOwned::to_owned) };
        let text = serde_json::to_vec(&holder).expect("a number and a text have a JSON form");
        let path = self.dir.join(LOCK);
        let mut file = &self.lock;
        // Who reads meanwhile finds no JSON, and looks again.
        let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(&text));
        written.map_err(Error::io("writing", &path))
    }

    /// The node that this replica takes its transactions to.
    ///
    /// # Errors
    /// The file system's.
    pub fn upstream(&self) -> Result<Option<String>> {
        self.read_line(UPSTREAM)
    }

    /// The name of the scope that it follows there, if not everything.
    ///
    /// # Errors
    /// The file system's.
    pub fn scope(&self) -> Result<Option<String>> {
        self.read_line(SCOPE)
    }

    /// The name under which it certifies, once it has.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn certifies(&self) -> Result<Option<String>> {
        self.read_line(CERTIFIES)
    }

    /// Remembers that.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn set_certifies(&self, name: &str) -> Result<()> {
        self.write_line(CERTIFIES, self.certifies()?, Some(name))
    }

    fn read_line(&self, name: &str) -> Result<Option<String>> {
        let path = self.dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|url| !url.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("reading", &path)(error)),
        }
    }

    /// Remembers the node that it takes its transactions to, or that there is none.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_upstream(&self, url: Option<&str>) -> Result<()> {
        self.write_line(UPSTREAM, self.upstream()?, url)
    }

    /// Remembers the scope that it follows there.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_scope(&self, name: Option<&str>) -> Result<()> {
        self.write_line(SCOPE, self.scope()?, name)
    }

    fn write_line(&self, name: &str, was: Option<String>, line: Option<&str>) -> Result<()> {
        if was.as_deref() == line {
            return Ok(());
        }
        let path = self.dir.join(name);
        match line {
            Some(line) => self.write(name, format!("{line}\n").as_bytes()),
            None => std::fs::remove_file(&path).map_err(Error::io("removing", &path)),
        }
    }

    /// What was found to differ from other replicas.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let path = self.dir.join(ALARMS);
        let read = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            read => read.map_err(|error| error.to_string()),
        };
        let parsed = read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        parsed.unwrap_or_else(|error: String| {
            tracing::error!(path = %path.display(), %error, "there were alarms, which cannot be read");
            Vec::new()
        })
    }

    /// Writes that down.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn write_alarms(&self, alarms: &[Alarm]) -> Result<()> {
        self.write(ALARMS, &serde_json::to_vec_pretty(alarms).expect("texts and numbers have a JSON form"))
    }

    /// Puts alarms aside that have been dealt with.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn settle_alarms(&self) -> Result<()> {
        let path = self.dir.join(ALARMS);
        match std::fs::rename(&path, self.dir.join(SETTLED)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(Error::io("renaming", &path)),
        }
    }

    /// Why all rows are being taken anew, if they are.
    pub(super) fn renewal(&self) -> Option<Renewal> {
        let path = self.dir.join(RENEWAL);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            read => read.map_err(|error| error.to_string()),
        };
        let read = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        // Somebody wrote it for a reason.
        Some(read.unwrap_or_else(|error: String| Renewal {
            why: format!("{} cannot be read ({error})", path.display()),
            asked: false,
            from: None,
            time_ms: 0,
        }))
    }

    /// Writes that down, or that it is over.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn set_renewal(&self, renewal: Option<&Renewal>) -> Result<()> {
        let Some(renewal) = renewal else {
            let path = self.dir.join(RENEWAL);
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done.map_err(Error::io("removing", &path)),
            };
        };
        self.write(RENEWAL, &serde_json::to_vec_pretty(renewal).expect("texts and numbers have a JSON form"))
    }

    /// What came from others and was not taken, as far as it was written down.
    pub(super) fn distrust(&self) -> Vec<Distrust> {
        let path = self.dir.join(DISTRUST);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            read => read.map_err(|error| error.to_string()),
        };
        text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "what was not taken from others cannot be read");
            Vec::new()
        })
    }

    /// Writes that down.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn write_distrust(&self, all: &[Distrust]) -> Result<()> {
        self.write(DISTRUST, &serde_json::to_vec_pretty(all).expect("texts and numbers have a JSON form"))
    }

    /// What was remembered of the hubs that there are, if anything that is not too long.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn members(&self, longest: u64) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join(MEMBERS);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("opening", &path))?,
        };
        let mut text = Vec::new();
        file.take(longest + 1).read_to_end(&mut text).map_err(Error::io("reading", &path))?;
        Ok((text.len() as u64 <= longest).then_some(text))
    }

    /// The directory.
    pub(super) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    fn write_identity(&self, place: String) -> Result<()> {
        let identity = Identity { syncline: FORMAT.to_owned(), key: hex(&self.key()), place };
        let mut text = serde_json::to_vec(&identity).expect("texts have a JSON form");
        text.push(b'\n');
        self.write(IDENTITY, &text)
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        write(&self.dir, name, text)
    }
}

/// Puts a file in place, durably and at once. Its owner alone can read it.
fn write(dir: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let failed = || Error::io("writing", &path);
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
    file.write_all(text).and_then(|()| file.as_file().sync_all()).map_err(failed())?;
    file.persist(&path).map_err(|error| failed()(error.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed())
}

/// Remembers what is known of hubs, in the directory of a home. For who does not want to keep the home meanwhile.
///
/// # Errors
/// The file system's.
pub(super) fn write_members(dir: &Path, text: &[u8]) -> Result<()> {
    write(dir, MEMBERS, text)
}

/// Who has the lock; nobody known when it is being written.
/// Where the old log has been moved away, the next one takes its place.
fn finish_next_log(dir: &Path) -> Result<()> {
    let (next, log) = (dir.join(NEXT_LOG), dir.join(LOG));
    if log.exists() || !next.exists() {
        return Ok(());
    }
    std::fs::rename(&next, &log).map_err(Error::io("renaming", &next))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("syncing", dir))
}

fn holder(lock: &mut File) -> Holder {
    let mut text = String::new();
    let read = lock.seek(SeekFrom::Start(0)).and_then(|_| lock.take(4096).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn read_identity(path: &Path) -> Result<Option<Identity>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("reading", path)(error)),
    };
    let identity: Identity = serde_json::from_str(&text).map_err(|error| damaged(path, &error.to_string()))?;
    if identity.syncline != FORMAT && identity.syncline != BEFORE {
        let why = format!("it is of the kind {:?}, this program knows {FORMAT:?}: update it", identity.syncline);
        return Err(Error::invalid(format!("opening {}", path.display()), why));
    }
    Ok(Some(identity))
}

fn damaged(path: &Path, why: &str) -> Error {
    let why = format!(
        "{why}; bring the file back, or remove {IDENTITY} and {KEY}: the replica then goes on under a new identity"
    );
    Error::Corrupt { what: path.display().to_string(), why }
}

/// What tells a directory from its copies: the machine, and which file on its disk the lock is. It is never replaced, so
/// a copy, a restored backup and an unpacked archive have another one.
fn place_of(lock: &File, path: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = lock.metadata().map_err(Error::io("looking at", path))?;
    let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let machine = machine.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    // Not every file system keeps it. Numbers of files are given again once they are free; together they are not.
    let born = metadata.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let born = born.map_or(0, |since| since.as_nanos());
    Ok(format!("{} {} {born}", machine.trim(), metadata.ino()))
}

/// The secret key, if there is one.
fn read_key(dir: &Path) -> Result<Option<KeyPair>> {
    let path = dir.join(KEY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("reading", &path)(error)),
    };
    let secret = unhex(text.trim()).ok_or_else(|| damaged(&path, "it is not 64 hex digits"))?;
    Ok(Some(KeyPair::of(&secret)))
}

fn new_key(dir: &Path) -> Result<KeyPair> {
    let secret = KeyPair::draw().ok_or_else(|| Error::Unavailable {
        what: "making a key".to_owned(),
        why: "the operating system gives no random bytes; try again".to_owned(),
    })?;
    write(dir, KEY, format!("{}\n", hex(&secret)).as_bytes())?;
    Ok(KeyPair::of(&secret))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (nth, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(meta: &Path) -> Home {
        match Home::take(meta).expect("a directory") {
            Taken::Ours(home) => home,
            Taken::Others(holder) => panic!("taken by {holder:?}"),
        }
    }

    #[test]
    fn one_at_a_time_and_others_are_told_where() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = ours(dir.path());
        home.tell(Some("http://127.0.0.1:1/d")).expect("a lock file");
        match Home::take(dir.path()).expect("a directory") {
            Taken::Others(holder) => assert_eq!(holder.url.as_deref(), Some("http://127.0.0.1:1/d")),
            Taken::Ours(_) => panic!("two have it"),
        }
        let key = home.key();
        drop(home);
        let again = ours(dir.path());
        assert_eq!((again.key(), again.moved()), (key, false));
    }

    #[test]
    fn a_copy_is_noticed_until_it_is_settled() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        drop(ours(&from));
        std::fs::create_dir_all(to.join("live")).expect("a directory");
        for name in [LOCK, IDENTITY, KEY] {
            std::fs::copy(from.join("live").join(name), to.join("live").join(name)).expect("a copy");
        }
        let copy = ours(&to);
        assert!(copy.moved());
        drop(copy);
        let mut copy = ours(&to);
        assert!(copy.moved(), "nothing was written under a new name yet");
        copy.settle().expect("a place");
        drop(copy);
        assert!(!ours(&to).moved());
        assert!(!ours(&from).moved());
        // Of one that was brought back in its place somebody has to say so.
        ours(&from).is_restored().expect("a file");
        assert!(ours(&from).moved());
    }

    #[test]
    fn the_secret_key_is_its_owners_alone_and_goes_with_the_identity() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let key = ours(dir.path()).key();
        let path = dir.path().join("live").join(KEY);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let secret = std::fs::read(&path).expect("a key");
        for other in [&b"no key"[..], &[b'1'; 64]] {
            std::fs::write(&path, other).expect("another key");
            let error = Home::take(dir.path()).expect_err("not the key");
            assert!(error.to_string().contains("bring the file back"), "{error}");
        }
        std::fs::write(&path, secret).expect("the key");
        // A crash came before the identity was written.
        std::fs::remove_file(dir.path().join("live").join(IDENTITY)).expect("an identity");
        assert_eq!(ours(dir.path()).key(), key);
    }

    #[test]
    fn a_replica_from_before_keys_gets_one_and_a_new_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = ours(dir.path());
        let place = place_of(&home.lock, &home.dir.join(LOCK)).expect("a place");
        drop(home);
        let live = dir.path().join("live");
        std::fs::remove_file(live.join(KEY)).expect("a key");
        let old = format!("{{\"syncline\":\"live/1\",\"key\":\"{}\",\"place\":\"{place}\"}}", "ab".repeat(32));
        std::fs::write(live.join(IDENTITY), old).expect("an identity");
        let home = ours(dir.path());
        let key = home.key();
        assert!(home.moved() && key != [0xab; 32]);
        drop(home);
        let mut home = ours(dir.path());
        assert!(home.moved() && home.key() == key, "nothing was written under a new name yet");
        home.settle().expect("a place");
        drop(home);
        assert!(!ours(dir.path()).moved());
    }

    #[test]
    fn the_upstream_is_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = ours(dir.path());
        assert_eq!(home.upstream().expect("none"), None);
        home.set_upstream(None).expect("none");
        home.set_upstream(Some("http://h:1/d")).expect("a file");
        assert_eq!(home.upstream().expect("one").as_deref(), Some("http://h:1/d"));
        home.set_upstream(None).expect("a file less");
        assert_eq!(home.upstream().expect("none"), None);
    }
}
