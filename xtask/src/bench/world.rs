//! What a suite runs in: its options, its scratch and cache directories, and the peers that are there.
//!
//! Owns: the scratch directory, which goes when the run ends (`--keep` leaves it), and the cache, which stays:
//! `syncline-dev` in the user's cache directory, with a Python environment and generated inputs.
//!
//! Not here: what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::measure::{self, Cmd, Outcome};
use super::parse;
use super::record::{OURS, Sample};
use super::servers::{self, Server};
use crate::run;

/// The driver of the table peers, which runs in the Python environment.
const TABLES: &str = include_str!("peers/tables.py");

/// Python packages: how the harness calls the peer, and what is installed for it.
const PYTHON: &[(&str, &str)] = &[
    ("lance", "pylance"),
    ("delta", "deltalake"),
    ("doltlite", "doltlite"),
    ("datafusion", "datafusion"),
    ("dvc", "dvc"),
];

/// Programs: the peer, its Debian package and how it is asked for its version.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("rsync", "rsync", "--version"),
    ("git", "git", "--version"),
    ("restic", "restic", "version"),
    ("borg", "borgbackup", "--version"),
    ("casync", "casync", "--version"),
    ("xdelta3", "xdelta3", "-V"),
];

/// Where a suite runs and with whom.
#[derive(Debug)]
pub(super) struct World {
    /// Tiny sizes.
    pub(super) quick: bool,
    /// How often each tool does everything.
    pub(super) repetitions: usize,
    /// Peers that are left out on demand.
    pub(super) without: Vec<String>,
    /// Versions of the peers that are there.
    pub(super) versions: BTreeMap<String, String>,
    servers: BTreeMap<String, Server>,
    scratch: PathBuf,
    cache: PathBuf,
    /// Our binary, which is `syncline` in every line that is shown.
    binary: Option<PathBuf>,
}

impl World {
    /// A world with an empty scratch directory and every peer of `peers` that is not left out.
    pub(super) fn new(options: &super::Args, binary: Option<&Path>, scratch: &Path, peers: &[&str]) -> Result<Self> {
        let cache = cache_dir()?;
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        let mut world = Self {
            quick: options.quick,
            repetitions: options.repetitions(),
            without: options
                .without
                .iter()
                .filter(|name| *name == OURS || peers.contains(&name.as_str()))
                .cloned()
                .collect(),
            versions: BTreeMap::new(),
            servers: BTreeMap::new(),
            scratch: scratch.to_owned(),
            cache,
            binary: binary.map(Path::to_owned),
        };
        world.find_programs(peers)?;
        world.install_packages(peers)?;
        world.find_servers(peers)?;
        Ok(world)
    }

    /// Whether a peer takes part.
    pub(super) fn has(&self, peer: &str) -> bool {
        self.versions.contains_key(peer)
    }

    /// The scratch directory.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A fresh, empty directory of that name in the scratch directory.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.scratch.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    /// Removes every directory in the scratch directory: a tool's million files are not there while the next one works.
    pub(super) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.scratch).with_context(|| format!("listing {}", self.scratch.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(&path).with_context(|| format!("emptying {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Where inputs of that name are kept; `make` fills the directory when it is not there yet.
    pub(super) fn input(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let dir = self.cache.join("inputs").join(name);
        if !dir.exists() {
            let half = self.cache.join("inputs").join(format!(".{name}.{}", std::process::id()));
            fs::create_dir_all(&half).with_context(|| format!("creating {}", half.display()))?;
            eprintln!("making input {name}");
            make(&half)?;
            fs::rename(&half, &dir).with_context(|| format!("keeping {}", dir.display()))?;
        }
        Ok(dir)
    }

    /// Runs the commands of one step and gives a sample of what they used.
    pub(super) fn step(&self, commands: &[Cmd]) -> Result<(Sample, Vec<String>)> {
        let Outcome { usage, output, lines } = measure::run(&self.scratch, commands)?;
        let lines = lines.iter().map(|line| self.short(line)).collect();
        let sample =
            Sample { wall: usage.wall, cpu: Some(usage.cpu), rss: Some(usage.rss), lines, ..Sample::default() };
        Ok((sample, output))
    }

    /// Runs commands of a tool that does not flush by itself: the flush of `path` is part of the step, and what it
    /// took without is kept beside it.
    pub(super) fn step_flushed(&self, commands: &[Cmd], path: &Path) -> Result<(Sample, Vec<String>)> {
        let (mut sample, output) = self.step(commands)?;
        let unsynced = sample.wall;
        // Not through `step`, which would flush before it measures.
        let flush = measure::timed_flush(path)?;
        sample.wall += flush;
        sample.unsynced = Some(unsynced);
        sample.lines.push("sync -f".to_owned());
        Ok((sample, output))
    }

    /// One step of a table peer, timed by its driver: without starting Python.
    pub(super) fn table_peer(&self, peer: &str, step: &str, args: &Value) -> Result<(Sample, Value)> {
        let script = self.scratch.join("tables.py");
        if !script.exists() {
            fs::write(&script, TABLES)?;
        }
        let cmd = Cmd::new(self.python_program("python")).arg(&script).arg(peer).arg(step).arg(args.to_string());
        let (mut sample, output) = self.step(&[cmd])?;
        let said = parse::last_object(&output[0]).with_context(|| format!("{peer} {step}"))?;
        let number = |name: &str| said[name].as_f64().with_context(|| format!("{peer} {step} does not say {name}"));
        let (seconds, synced) = (number("seconds")?, number("synced")?);
        sample.wall = synced;
        sample.unsynced = (synced > seconds).then_some(seconds);
        sample.cpu = Some(number("cpu")?);
        Ok((sample, said))
    }

    /// A text without the names of this machine's directories.
    pub(super) fn short(&self, text: &str) -> String {
        let root = run::root();
        // The repository last: the others may lie in it.
        let places = [
            (Some(&self.scratch), "$RUN"),
            (Some(&self.cache), "$CACHE"),
            (self.binary.as_ref(), OURS),
            (Some(&root), "."),
        ];
        let mut text = text.to_owned();
        for (place, name) in places.into_iter().filter_map(|(place, name)| Some((place?, name))) {
            text = text.replace(&*place.to_string_lossy(), name);
        }
        text
    }

    /// A program of the Python environment.
    pub(super) fn python_program(&self, name: &str) -> PathBuf {
        self.cache.join("venv/bin").join(name)
    }

    /// The server of a peer that takes part and is one.
    pub(super) fn server(&self, peer: &str) -> Result<&Server> {
        self.servers.get(peer).with_context(|| format!("{peer} is no server"))
    }

    /// The cache, which stays.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    fn find_servers(&mut self, peers: &[&str]) -> Result<()> {
        for peer in peers.iter().filter(|peer| !self.without.iter().any(|name| name == *peer)) {
            if let Some(server) = servers::find(peer, &self.cache) {
                let server = server.with_context(|| format!("peer {peer}; `--without {peer}` leaves it out"))?;
                self.versions.insert((*peer).to_owned(), server.version.clone());
                self.servers.insert((*peer).to_owned(), server);
            }
        }
        Ok(())
    }

    fn find_programs(&mut self, peers: &[&str]) -> Result<()> {
        let mut missing = Vec::new();
        for (peer, package, flag) in PROGRAMS {
            if !peers.contains(peer) || self.without.iter().any(|name| name == peer) {
                continue;
            }
            match said(&Cmd::new(*peer).arg(*flag)) {
                Ok(text) => {
                    let version = parse::version(&text).with_context(|| format!("asking {peer} for its version"))?;
                    self.versions.insert((*peer).to_owned(), version);
                }
                Err(_) => missing.push(*package),
            }
        }
        ensure!(
            missing.is_empty(),
            "peers are missing: run `apt-get install -y {}`, or leave them out with --without",
            missing.join(" ")
        );
        Ok(())
    }

    fn install_packages(&mut self, peers: &[&str]) -> Result<()> {
        let wanted: Vec<_> = PYTHON
            .iter()
            .filter(|(peer, _)| peers.contains(peer) && !self.without.iter().any(|name| name == peer))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let python = self.python_program("python");
        if !python.exists() {
            eprintln!("making a Python environment for the peers");
            Cmd::new("python3").args(["-m", "venv"]).arg(self.cache.join("venv")).plain()?;
        }
        let names: Vec<&str> = wanted.iter().map(|(_, package)| *package).chain(["pyarrow"]).collect();
        let listed = Cmd::new(&python).args(["-m", "pip", "list", "--format", "freeze"]).plain()?;
        let version = |name: &str| {
            let line = listed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="));
            line.map(str::to_owned)
        };
        if names.iter().any(|name| version(name).is_none()) {
            eprintln!("installing {}", names.join(" "));
            let pip = Cmd::new(&python).args(["-m", "pip", "install", "--quiet"]).args(&names);
            pip.plain().context("peers from Python packages; leave them out with --without")?;
            return self.install_packages(peers);
        }
        for (peer, package) in wanted {
            let version = version(package).context("listed a moment ago")?;
            self.versions.insert((*peer).to_owned(), version);
        }
        Ok(())
    }
}

/// What a program says of its version; some say it on the wrong channel.
fn said(cmd: &Cmd) -> Result<String> {
    Cmd::new("sh").arg("-c").arg(format!("{} 2>&1", cmd.line())).plain()
}

fn cache_dir() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("syncline-dev"))
}
