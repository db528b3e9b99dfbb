//! Servers that are peers, and the driver that measures them: found on this machine, or brought into the cache by the
//! ordinary client of their packages.
//!
//! PostgreSQL is used as it is installed. Redis is unpacked from its Debian packages when it is not installed. NATS is
//! built from its Go module, because what Debian has cannot sync every message. The driver is ours, in `peers/live`, and
//! is built when its source has changed.
//!
//! Owns: the directories `debian`, `nats-server-VERSION` and `live-driver-HASH` of the cache; one that is there is
//! complete.
//!
//! Not here: what is measured with them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use syncline_base::Hasher;

use super::measure::Cmd;
use super::parse;

/// The first one that syncs every message is 2.10.
const NATS: &str = "v2.15.2";
/// What the server needs beside the libraries of every Debian system.
const REDIS: [&str; 5] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];
/// The driver's source.
const DRIVER: [(&str, &str); 8] = [
    ("go.mod", include_str!("peers/live/go.mod")),
    ("go.sum", include_str!("peers/live/go.sum")),
    ("main.go", include_str!("peers/live/main.go")),
    ("load.go", include_str!("peers/live/load.go")),
    ("servers.go", include_str!("peers/live/servers.go")),
    ("postgres.go", include_str!("peers/live/postgres.go")),
    ("redis.go", include_str!("peers/live/redis.go")),
    ("nats.go", include_str!("peers/live/nats.go")),
];

const NO_GO: &str =
    "building a Go program needs `go` 1.21 or later, and a way to its modules: install it from https://go.dev/dl";

/// A server, ready to be started.
#[derive(Debug)]
pub(super) struct Server {
    /// The program, or the directory of PostgreSQL's programs.
    pub(super) program: PathBuf,
    /// Where its libraries are, when they are not the system's.
    pub(super) libraries: Option<PathBuf>,
    /// What it says of itself.
    pub(super) version: String,
}

impl Server {
    fn ask(program: PathBuf, libraries: Option<PathBuf>, version: Cmd) -> Result<Self> {
        let said = with(version, libraries.as_deref()).plain()?;
        Ok(Self { program, libraries, version: parse::version(&said)? })
    }

    /// A command that starts this server.
    pub(super) fn tell(&self, cmd: Cmd) -> Cmd {
        with(cmd, self.libraries.as_deref())
    }
}

fn with(cmd: Cmd, libraries: Option<&Path>) -> Cmd {
    match libraries {
        Some(libraries) => cmd.env("LD_LIBRARY_PATH", libraries),
        None => cmd,
    }
}

/// The server that is this peer; `None` when that peer is no server.
pub(super) fn find(peer: &str, cache: &Path) -> Option<Result<Server>> {
    match peer {
        "postgresql" => Some(postgresql()),
        "redis" => Some(redis(cache)),
        "nats" => Some(nats(cache)),
        _ => None,
    }
}

fn postgresql() -> Result<Server> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = newest(versions.map(|entry| entry.path())).map(|version| version.join("bin"));
    let home =
        debian.filter(|bin| bin.join("initdb").is_file()).or_else(|| on_path("initdb")?.parent().map(Path::to_owned));
    let bin = home.context("PostgreSQL's server is missing: run `apt-get install -y postgresql`")?;
    let version = Cmd::new(bin.join("postgres")).arg("--version");
    Server::ask(bin, None, version)
}

/// Of directories that are named after versions, the newest.
fn newest(versions: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.filter(|path| number(path).is_some()).max_by_key(number)
}

fn redis(cache: &Path) -> Result<Server> {
    if let Some(program) = on_path("redis-server") {
        let version = Cmd::new(&program).arg("--version");
        return Server::ask(program, None, version);
    }
    let root = cache.join("debian").join("redis");
    if !root.exists() {
        let missing = "Redis is missing: run `apt-get install -y redis-server`";
        once(&root, |half| unpack(&REDIS, half)).context(missing)?;
    }
    let program = root.join("usr/bin/redis-server");
    let libraries = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    let libraries = libraries.into_iter().find(|path| path.join("libjemalloc.so.2").exists());
    let version = Cmd::new(&program).arg("--version");
    Server::ask(program, libraries, version)
}

fn nats(cache: &Path) -> Result<Server> {
    let place = cache.join(format!("nats-server-{NATS}"));
    if !place.exists() {
        let module = format!("github.com/nats-io/nats-server/v2@{NATS}");
        eprintln!("building nats-server {NATS} once");
        once(&place, |half| {
            go(&Cmd::new("go").args(["install", &module]).env("GOBIN", half).dir(&std::env::temp_dir()))
        })?;
    }
    let program = place.join("nats-server");
    let version = Cmd::new(&program).arg("--version");
    Server::ask(program, None, version)
}

/// The driver of these servers, built from its source when it is not in the cache.
pub(super) fn driver(cache: &Path) -> Result<PathBuf> {
    let mut hasher = Hasher::new();
    for (name, text) in DRIVER {
        hasher.update(name.as_bytes());
        hasher.update(text.as_bytes());
    }
    let hash = hasher.finish().to_string();
    let place = cache.join(format!("live-driver-{}", &hash[..16]));
    if !place.exists() {
        eprintln!("building the driver of the live peers once");
        once(&place, |half| {
            for (name, text) in DRIVER {
                fs::write(half.join(name), text)?;
            }
            go(&Cmd::new("go").args(["build", "-o", "live", "."]).dir(half))
        })?;
    }
    Ok(place.join("live"))
}

/// What builds a Go program: says what is missing when it fails.
fn go(cmd: &Cmd) -> Result<()> {
    ensure!(on_path("go").is_some(), "{NO_GO}");
    // Directories that are not ours to judge have no version of ours in them.
    cmd.clone().env("GOFLAGS", "-buildvcs=false").plain().map(drop).context(NO_GO)
}

/// Debian packages, unpacked into `root`, which needs no rights.
fn unpack(packages: &[&str], root: &Path) -> Result<()> {
    let downloads = tempfile::tempdir().context("making a place for packages")?;
    // The client's own user may not write to that place, and it only says so.
    let apt =
        Cmd::new("apt-get").args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(packages.iter().copied());
    apt.dir(downloads.path()).plain()?;
    for package in fs::read_dir(downloads.path()).context("listing packages")? {
        Cmd::new("dpkg").arg("-x").arg(package?.path()).arg(root).plain()?;
    }
    Ok(())
}

/// Fills a directory of the cache, which gets its name when it is complete.
fn once(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = place.parent().context("a place in the cache has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let half = tempfile::Builder::new().prefix(".half-").tempdir_in(parent).context("making a place in the cache")?;
    make(half.path())?;
    let half = half.keep();
    fs::rename(&half, place).with_context(|| format!("keeping {}", place.display()))
}

/// Where a program is that the shell would find.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests;
