//! The hosts, the nodes on them and a client for each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use syncline_base::rng::Rng;

use super::rooms;
use super::switch::{Switch, address};
use crate::cluster::client::Client;
use crate::cluster::node::{Answer, Door, Host, Node};
use crate::cluster::watch::Watcher;
use crate::cluster::{Rows, TABLE, end};
use crate::machine::{Library, Lost, Machine, Syncs};

/// The hubs are all beside each other; each spoke follows the hub of that place.
const HUBS: [&str; 3] = ["hub-a", "hub-b", "hub-c"];
const SPOKES: [(&str, usize); 4] = [("spoke-1", 0), ("spoke-2", 1), ("spoke-3", 2), ("spoke-4", 0)];
/// The hub with a small disk, where machines are good, and how large that is.
pub(super) const SMALL: usize = 2;
const DISK: u64 = 96 << 20;
/// The spoke behind a slow line.
pub(super) const FAR: usize = 6;
/// Rows that all clients write.
const SHARED: usize = 8;
const PORT: u16 = 7070;
const TOKEN: &str = "a token for tests, not a secret";

/// All of it.
pub(super) struct World {
    /// Node `n` is on host `n`: hubs, then spokes.
    pub(super) nodes: Vec<Node>,
    /// Of each node, somebody who follows it.
    pub(super) watchers: Vec<Watcher>,
    pub(super) switch: Switch,
    pub(super) rng: Rng,
    /// What the nodes are on, each on that of its place, where machines are frail; after the nodes, which use them.
    pub(super) machines: Vec<Machine>,
    disk: PathBuf,
}

/// What kind of machines the nodes are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// This one.
    Good,
    /// Their power fails, and their clocks jump.
    Frail(Syncs),
}

impl World {
    /// Sets everything up, and waits until every node has the first rows. The clients are those of the nodes, and then the founder.
    pub(super) fn new(program: &Path, place: &Path, ground: Ground, rng: &mut Rng) -> Result<(Self, Vec<Client>)> {
        let count = HUBS.len() + SPOKES.len();
        let devices = (0..count).map(rooms::host).collect::<Result<Vec<_>>>()?;
        let switch = Switch::start(devices, Rng::from_seed(rng.next_u64()))?;
        let disk = place.join("small");
        if ground == Ground::Good {
            rooms::small_disk(&disk, DISK)?;
        }
        let (certificate, key) = certificate(place, count)?;
        // Before the nodes: what goes wrong here ends the nodes first.
        let machines = machines(place, ground, rng)?;
        let mut nodes = Vec::new();
        for host in 0..count {
            let mut env = vec![("SYNCLINE_TOKEN".into(), TOKEN.into()), ("SYNCLINE_CA".into(), certificate.clone())];
            let dir = match machines.get(host) {
                Some(machine) => machine.dir().to_owned(),
                None if host == SMALL => disk.join(name(host)),
                None => place.join(name(host)),
            };
            env.extend(machines.get(host).into_iter().flat_map(Machine::env));
            let at = Host { program: program.to_owned(), enter: rooms::on(host), env };
            let mut links = vec!["--tls-cert".into(), certificate.clone(), "--tls-key".into(), key.clone()];
            links.extend(follows(host));
            let mut node = Node::new(at, place, &dir, &origin(host), links)?;
            node.start()?;
            nodes.push(node);
        }
        let rows = Rows { shared: SHARED, sessions: count };
        let mut clients = clients(&nodes, rows, rng)?;
        if let Ground::Frail(syncs) = ground {
            machines.iter().for_each(|machine| machine.set_syncs(syncs));
            clients[HUBS.len()..count].iter_mut().for_each(Client::be_careful);
        }
        let watchers = nodes.iter().map(|node| Watcher::start(node.door.clone())).collect::<Result<_>>()?;
        Ok((Self { nodes, watchers, switch, rng: Rng::from_seed(rng.next_u64()), machines, disk }, clients))
    }

    /// Fills the small disk to the last byte. Gives the file to remove.
    pub(super) fn fill(&self) -> Result<PathBuf> {
        let path = self.disk.join("ballast");
        let mut file = std::fs::File::options().create(true).append(true).open(&path).context("making the ballast")?;
        for block in [1 << 20, 1 << 12] {
            let zeros = vec![0; block];
            while file.write_all(&zeros).is_ok() {}
        }
        Ok(path)
    }

    /// Writes so many bytes, which do not get smaller, at the node on the small disk. Why it did not work, if so.
    pub(super) fn write_small(&mut self, bytes: usize) -> Result<Option<String>> {
        let words = ["put", "--table", "ballast", "--key", "k"];
        let text: String = (0..bytes / 32).map(|_| self.rng.unique_name()).collect();
        Ok(match self.nodes[SMALL].door.ask(&words, &format!("{{\"k\": 1, \"text\": \"{text}\"}}"))? {
            Answer::Done(_) => None,
            Answer::Refused(kind, why) => bail!("a write to a disk that is full, or was: {kind}: {why}"),
            Answer::Unknown(why) => Some(why),
        })
    }

    /// Cuts the power of a machine, which comes back at once; the node on it has to be started.
    pub(super) fn cut(&mut self, host: usize) -> Result<Lost> {
        self.nodes[host].kill();
        self.machines[host].cut().with_context(|| format!("cutting the power of {}", self.nodes[host].name))
    }

    /// Ends all nodes, and keeps what is on disks that would go with them.
    pub(super) fn keep(&mut self, place: &Path) {
        self.nodes.iter_mut().for_each(|node| _ = node.kill());
        for (node, machine) in self.nodes.iter().zip(&self.machines) {
            if let Err(error) = machine.keep(&place.join(&node.name).with_extension("disk")) {
                eprintln!("the disk of {} is not kept: {error:#}", node.name);
            }
        }
    }

    /// Starts what does not run.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.nodes.iter_mut().filter_map(|node| (!node.runs()).then(|| node.start())).collect()
    }
}

impl Drop for World {
    /// Takes the small disk away: a directory with one in it cannot be removed.
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| _ = node.kill());
        if self.machines.is_empty() {
            // What is left of it goes with the namespaces.
            let _ = nix::mount::umount(&self.disk);
        }
    }
}

/// The machines for all nodes, when they are to be frail.
fn machines(place: &Path, ground: Ground, rng: &mut Rng) -> Result<Vec<Machine>> {
    if ground == Ground::Good {
        return Ok(Vec::new());
    }
    let library = Library::build(place)?;
    let hosts = 0..HUBS.len() + SPOKES.len();
    hosts.map(|host| Machine::new(&library, place, name(host), Rng::from_seed(rng.next_u64()))).collect()
}

fn name(host: usize) -> &'static str {
    HUBS.get(host).copied().unwrap_or_else(|| SPOKES[host - HUBS.len()].0)
}

fn origin(host: usize) -> String {
    format!("https://{}:{PORT}", address(host))
}

/// Whom a node follows or stands beside. A connection has one end that makes it: that of the later hub.
fn follows(host: usize) -> Vec<String> {
    let url = |hub: usize| format!("{}/{}", origin(hub), HUBS[hub]);
    match host.checked_sub(HUBS.len()) {
        None => (0..host).flat_map(|peer| ["--peer".to_owned(), url(peer)]).collect(),
        Some(spoke) => vec!["--upstream".to_owned(), url(SPOKES[spoke].1)],
    }
}

/// One certificate for all hosts, which is its own authority, and its key.
fn certificate(place: &Path, hosts: usize) -> Result<(String, String)> {
    let names: Vec<String> = (0..hosts).map(|host| address(host).to_string()).collect();
    let pair = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
    let write = |name: &str, text: String| -> Result<String> {
        let path = place.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path.display().to_string())
    };
    Ok((write("node.pem", pair.cert.pem())?, write("node.key", pair.signing_key.serialize_pem())?))
}

/// Makes the table and its first rows, and a client for each node.
fn clients(nodes: &[Node], rows: Rows, rng: &mut Rng) -> Result<Vec<Client>> {
    table(&nodes[0].door)?;
    let mut founder = Client::new(nodes.len(), nodes[0].door.clone(), rows, Rng::from_seed(rng.next_u64()));
    founder.found()?;
    let all: Vec<&Node> = nodes.iter().collect();
    end::agree(&all, Duration::from_secs(30))?;
    let mut clients = Vec::new();
    for (session, node) in nodes.iter().enumerate() {
        let mut client = Client::new(session, node.door.clone(), rows, Rng::from_seed(rng.next_u64()));
        client.founded(&founder);
        clients.push(client);
    }
    clients.push(founder);
    Ok(clients)
}

/// Makes the table that all write to.
fn table(door: &Door) -> Result<()> {
    let words = ["table", "create", TABLE, "--key", "k", "--column", "v:int64", "--writers", "many"];
    let answer = door.ask(&words, "")?;
    ensure!(matches!(answer, Answer::Done(_)), "making the table: {answer:?}");
    Ok(())
}
