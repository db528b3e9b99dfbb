//! `cargo xtask soak`: many spokes that are mostly away, for half an hour.
//!
//! A hub, three more beside it that know each other, and spokes that are on for about a tenth of the time: a spoke is started, its client reads
//! and writes, it waits until its hub has everything (mostly), and is stopped or killed; the next one begins. Hubs are killed now and then. In
//! the end every spoke comes once more with what it has, then all have to come to one root, and the history of all clients is judged: what became
//! of every acknowledged write, siblings, read atomicity, causal consistency (`crate::history`).
//!
//! `spokes` is the life of a spoke. Owns: a directory with the replicas, kept when something was found, and all processes.

mod spokes;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock, task};

use crate::cluster::client::Client;
use crate::cluster::end::{self, Followed, Left};
use crate::cluster::node::{Answer, Host, Node};
use crate::cluster::watch::Watcher;
use crate::cluster::{Program, Rows, TABLE};
use crate::history::Verdict;
use crate::run;

use spokes::{Spoke, Tally};

const HUBS: usize = 4;
/// One spoke of so many is on.
const DUTY: usize = 10;
/// How long the hubs may take to come to the same, and a spoke to follow.
const PATIENCE: Duration = Duration::from_secs(120);
/// A hub is killed about so often.
const KILL: Duration = Duration::from_secs(20);

/// Options of `cargo xtask soak`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// How long spokes come and go
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// How many there are
    #[arg(long, value_name = "N", default_value_t = 200)]
    spokes: usize,
    /// What the clients and the kills are drawn from; no run is quite as another one
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Writes what all clients did and saw to a file, in the text format of Plume, which AWDIT reads, too (docs/consistency.md)
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What it came to.
#[derive(Debug, Serialize)]
struct Report {
    minutes: f64,
    hubs: usize,
    spokes: usize,
    seed: u64,
    /// Times that a spoke was on.
    duties: u64,
    /// Times that one was killed while it was.
    spokes_killed: u64,
    hubs_killed: u64,
    /// Commands of clients that failed; they may, while a hub is away or a node is killed.
    failed: u64,
    /// The most memory of a hub, in bytes.
    hub_memory_peak: u64,
    /// The longest from the start of a spoke until its hub had everything of it, while the others wrote.
    longest_upload_s: f64,
    /// Until the hubs had one root, once all writing was over.
    hubs_converged_s: f64,
    /// The longest from the start of a spoke until it had the root of the hubs, in the end.
    longest_converged_s: f64,
    root: String,
    judged_s: f64,
    verdict: Verdict,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.minutes > 0.0 && args.minutes <= 10_000.0, "--minutes {}: more than 0 is meant", args.minutes);
    ensure!((1..=5_000).contains(&args.spokes), "--spokes {}: 1 to 5000 are meant", args.spokes);
    let program = args.program.find()?;
    let seed = args.seed.unwrap_or_else(|| Rng::from_os().next_u64() >> 32);
    eprintln!("seed {seed}");
    let target = run::root().join("target");
    std::fs::create_dir_all(&target)?;
    let place = tempfile::Builder::new().prefix("soak-").tempdir_in(target).context("making a directory")?;
    let told = soak(args, &program, place.path(), seed).and_then(|report| {
        if args.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{}", report.text());
        }
        report.verdict.check()
    });
    told.map_err(|error| {
        let place = place.keep();
        error.context(format!("seed {seed}; the replicas and what they said are in {}", place.display()))
    })
}

fn soak(args: &Args, program: &Path, place: &Path, seed: u64) -> Result<Report> {
    let mut rng = Rng::from_seed(seed);
    let host = Host { program: program.to_owned(), enter: Vec::new(), env: Vec::new() };
    let mut hubs = hubs(&host, place)?;
    let rows = Rows { shared: (args.spokes / 2).max(8), sessions: args.spokes };
    let mut founder = founder(&hubs, rows, &mut rng)?;
    let spokes = spokes::make(args.spokes, &host, place, &hubs, (rows, &founder), &mut rng)?;
    eprintln!("{HUBS} hubs are up, and {} spokes are made", spokes.len());

    let watchers = hubs.iter().map(|hub| Watcher::start(hub.door.clone())).collect::<Result<Vec<_>>>()?;
    let crew = Crew::start(spokes, Duration::from_secs_f64(args.minutes * 60.0), &mut rng)?;
    let (hubs_killed, mut peak) = hubs_under_fire(&mut hubs, &crew, &mut rng)?;
    let (mut spokes, tally) = crew.end()?;
    eprintln!("writing is over: {} duties", tally.duties);

    let upload = Crew::each(&mut spokes, |spoke| spoke.deliver(PATIENCE))?;
    let all: Vec<&Node> = hubs.iter().collect();
    let (_, converged) = end::agree(&all, PATIENCE)?;
    let (root, last) = end::mark(&mut founder, &all, PATIENCE)?;
    eprintln!("the hubs have one root");
    let follow = Crew::each(&mut spokes, |spoke| spoke.follow(&root, PATIENCE))?;
    eprintln!("the spokes have it, too");
    peak = hubs.iter().filter_map(Node::peak).max().unwrap_or_default().max(peak);

    let clients: Vec<&Client> = spokes.iter().map(|spoke| &spoke.client).chain([&founder]).collect();
    let failed = clients.iter().flat_map(|client| client.failed.values()).sum();
    let begun = SystemClock.monotonic();
    let left = Left { place, file: args.history.as_deref() };
    let followed = Followed { watchers: &watchers, last, clocks: false };
    let verdict = end::judge(&all, &clients, followed, left)?;
    let longest = |times: Vec<Duration>| times.into_iter().max().unwrap_or_default();
    Ok(Report {
        minutes: args.minutes,
        hubs: HUBS,
        spokes: args.spokes,
        seed,
        duties: tally.duties,
        spokes_killed: tally.killed,
        hubs_killed,
        failed,
        hub_memory_peak: peak,
        longest_upload_s: longest(upload).max(tally.longest_upload).as_secs_f64(),
        hubs_converged_s: converged.as_secs_f64(),
        longest_converged_s: longest(follow).as_secs_f64(),
        root,
        judged_s: (SystemClock.monotonic() - begun).as_secs_f64(),
        verdict,
    })
}

/// The hubs, each beside those before it.
fn hubs(host: &Host, place: &Path) -> Result<Vec<Node>> {
    let mut hubs: Vec<Node> = Vec::new();
    for n in 0..HUBS {
        let peers = hubs.iter().flat_map(|hub| ["--peer".to_owned(), hub.door.url.clone()]).collect();
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("finding a port")?.port();
        let mut hub = Node::new(
            host.clone(),
            place,
            &place.join(format!("hub-{n}")),
            &format!("http://127.0.0.1:{port}"),
            peers,
        )?;
        hub.start()?;
        hubs.push(hub);
    }
    Ok(hubs)
}

/// Makes the table and all rows.
fn founder(hubs: &[Node], rows: Rows, rng: &mut Rng) -> Result<Client> {
    let words = ["table", "create", TABLE, "--key", "k", "--column", "v:int64", "--writers", "many"];
    let answer = hubs[0].door.ask(&words, "")?;
    ensure!(matches!(answer, Answer::Done(_)), "making the table: {answer:?}");
    let mut founder = Client::new(rows.sessions, hubs[0].door.clone(), rows, Rng::from_seed(rng.next_u64()));
    founder.found()?;
    let all: Vec<&Node> = hubs.iter().collect();
    end::agree(&all, PATIENCE)?;
    Ok(founder)
}

/// Kills a hub now and then while the spokes come and go. Gives how many, and the most memory that one had.
fn hubs_under_fire(hubs: &mut [Node], crew: &Crew, rng: &mut Rng) -> Result<(u64, u64)> {
    let (mut count, mut peak) = (0, 0);
    let mut next = SystemClock.monotonic() + KILL;
    while !crew.is_over() {
        SystemClock.sleep(Duration::from_millis(200));
        peak = hubs.iter().filter_map(Node::peak).max().unwrap_or_default().max(peak);
        if SystemClock.monotonic() < next {
            continue;
        }
        let victim = usize::try_from(rng.below(hubs.len() as u64)).unwrap_or_default();
        ensure!(hubs[victim].runs(), "{} has ended by itself", hubs[victim].name);
        hubs[victim].kill();
        SystemClock.sleep(Duration::from_millis(rng.below(2_000)));
        hubs[victim].start()?;
        count += 1;
        next = SystemClock.monotonic() + KILL / 2 + Duration::from_millis(rng.below(KILL.as_millis() as u64));
    }
    Ok((count, peak))
}

/// Those who keep a tenth of the spokes on: each takes the one that was away the longest.
struct Crew {
    waiting: Arc<Mutex<VecDeque<Spoke>>>,
    threads: Vec<std::thread::JoinHandle<Result<Tally>>>,
}

impl Crew {
    fn start(spokes: Vec<Spoke>, time: Duration, rng: &mut Rng) -> Result<Self> {
        let width = spokes.len().div_ceil(DUTY);
        let until = SystemClock.monotonic() + time;
        let waiting = Arc::new(Mutex::new(VecDeque::from(spokes)));
        let stop = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let (waiting, stop) = (Arc::clone(&waiting), Arc::clone(&stop));
            let mut rng = Rng::from_seed(rng.next_u64());
            let work = move || -> Result<Tally> {
                let mut tally = Tally::default();
                while SystemClock.monotonic() < until && !stop.load(Ordering::Relaxed) {
                    let Some(mut spoke) = lock(&waiting).pop_front() else { break };
                    let done = spoke.duty(&mut rng, &mut tally);
                    lock(&waiting).push_back(spoke);
                    // What one has found ends it for all.
                    done.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                }
                Ok(tally)
            };
            task::spawn("spokes", work).context("starting a thread")
        };
        let threads = (0..width).map(one).collect::<Result<_>>()?;
        Ok(Self { waiting, threads })
    }

    /// Whether all have ended: their time is over, or something was found.
    fn is_over(&self) -> bool {
        self.threads.iter().all(std::thread::JoinHandle::is_finished)
    }

    fn end(self) -> Result<(Vec<Spoke>, Tally)> {
        let mut all = Tally::default();
        for thread in self.threads {
            all.add(&thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok((lock(&self.waiting).drain(..).collect(), all))
    }

    /// Does something with every spoke, some at a time, and gives how long each took.
    fn each(
        spokes: &mut [Spoke],
        work: impl Fn(&mut Spoke) -> Result<Duration> + Send + Sync,
    ) -> Result<Vec<Duration>> {
        task::try_map(spokes.iter_mut().collect(), work)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report {
    fn text(&self) -> String {
        let Verdict { looks, transactions, unknown, unknown_seen, told, audit, wrong } = &self.verdict;
        format!(
            "{} min, {} hubs, {} spokes; {} duties, {} spokes and {} hubs killed, {} commands failed\n\
             {looks} looks, {transactions} transactions, {unknown} of them unanswered, of which {unknown_seen} were seen; {told} told to followers of the hubs\n\
             {} rows acknowledged: {} visible, {} beside others, {} overwritten, {} LOST; {} findings\n\
             most memory of a hub: {:.1} MiB\n\
             longest until a hub had everything of a spoke: {:.1} s; in the end: hubs at one root after {:.1} s, a spoke after at most {:.1} s\n\
             one root: {}\n",
            self.minutes,
            self.hubs,
            self.spokes,
            self.duties,
            self.spokes_killed,
            self.hubs_killed,
            self.failed,
            audit.acknowledged,
            audit.visible,
            audit.siblings,
            audit.overwritten,
            audit.lost,
            wrong.len(),
            self.hub_memory_peak as f64 / f64::from(1 << 20),
            self.longest_upload_s,
            self.hubs_converged_s,
            self.longest_converged_s,
            self.root
        )
    }
}
