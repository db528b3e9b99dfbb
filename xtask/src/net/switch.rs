//! The network between the hosts: takes each packet from its sender's TUN device and gives it to its receiver's, as the rules of the line
//! between them say. It is to real IP packets of the kernel's own TCP what netem is, which many kernels do not have.
//!
//! Owns: the devices and one thread, until the value is dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock, task};
use tappers::linux::Tun;

use super::link::{Line, Rule, Way};

/// The largest packet that a device gives.
const PACKET: usize = 65_536;

/// The address of a host.
pub(super) fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).expect("there are fewer than 255 hosts"))
}

/// How many packets had which fate.
#[derive(Debug, Default)]
struct Tally {
    arrived: AtomicU64,
    overtook: AtomicU64,
    lost: AtomicU64,
    cut: AtomicU64,
    full: AtomicU64,
    slowed: AtomicU64,
}

/// How many packets had which fate up to some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Packets {
    pub(super) arrived: u64,
    pub(super) overtook: u64,
    pub(super) lost: u64,
    pub(super) cut: u64,
    pub(super) full: u64,
    /// Of those that arrived, or were too many: on a line with a rate.
    pub(super) slowed: u64,
}

impl Packets {
    /// Those since an earlier moment.
    pub(super) fn since(self, then: Self) -> Self {
        Self {
            arrived: self.arrived - then.arrived,
            overtook: self.overtook - then.overtook,
            lost: self.lost - then.lost,
            cut: self.cut - then.cut,
            full: self.full - then.full,
            slowed: self.slowed - then.slowed,
        }
    }
}

/// The network.
#[derive(Debug)]
pub(super) struct Switch {
    hosts: usize,
    /// Of each line, by sender and then receiver.
    rules: Arc<Mutex<Vec<Rule>>>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Connects hosts, each by its device.
    pub(super) fn start(devices: Vec<Tun>, rng: Rng) -> Result<Self> {
        let hosts = devices.len();
        let rules = Arc::new(Mutex::new(vec![Rule::default(); hosts * hosts]));
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let lines = vec![Line::default(); hosts * hosts];
        let mut work = Work { devices, lines, rng, due: BinaryHeap::new(), count: 0, tally: Arc::clone(&tally) };
        let (ruled, told) = (Arc::clone(&rules), Arc::clone(&stop));
        let thread = task::spawn("network", move || {
            while !told.load(Ordering::Relaxed) {
                work.turn(&ruled);
            }
        });
        Ok(Self { hosts, rules, tally, stop, thread: Some(thread.context("starting the network's thread")?) })
    }

    /// Sets the rule of the line from one host to another.
    pub(super) fn line(&self, from: usize, to: usize, rule: Rule) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)[from * self.hosts + to] = rule;
    }

    /// Sets the rule of all lines.
    pub(super) fn all(&self, rule: Rule) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).fill(rule);
    }

    /// Sets the rule of all lines from and to a host.
    pub(super) fn around(&self, host: usize, rule: Rule) {
        for other in 0..self.hosts {
            self.line(host, other, rule);
            self.line(other, host, rule);
        }
    }

    /// What has become of packets so far.
    pub(super) fn packets(&self) -> Packets {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Tally { arrived, overtook, lost, cut, full, slowed } = &*self.tally;
        Packets {
            arrived: read(arrived),
            overtook: read(overtook),
            lost: read(lost),
            cut: read(cut),
            full: read(full),
            slowed: read(slowed),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A network that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A packet under way: when it arrives, its number, to whom, and its bytes.
type Under = Reverse<(Duration, u64, usize, Vec<u8>)>;

/// What the thread has.
struct Work {
    devices: Vec<Tun>,
    lines: Vec<Line>,
    rng: Rng,
    due: BinaryHeap<Under>,
    count: u64,
    tally: Arc<Tally>,
}

impl Work {
    /// Waits for packets, or until one arrives, and moves what there is.
    fn turn(&mut self, rules: &Mutex<Vec<Rule>>) {
        let now = SystemClock.monotonic();
        let next = self.due.peek().map_or(Duration::from_millis(100), |Reverse((at, ..))| at.saturating_sub(now));
        // Up to a millisecond late is better than to spin.
        let wait = if next.is_zero() { 0 } else { u8::try_from(next.as_millis() + 1).unwrap_or(u8::MAX) };
        let wait = PollTimeout::from(wait);
        let mut ready: Vec<PollFd> =
            self.devices.iter().map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN)).collect();
        // When it fails, nothing is ready, and it is asked again.
        let _ = poll(&mut ready, wait);
        let ready: Vec<usize> =
            ready.iter().enumerate().filter(|(_, one)| one.any().unwrap_or(false)).map(|(host, _)| host).collect();
        for host in ready {
            self.take(host, rules);
        }
        let now = SystemClock.monotonic();
        while let Some(Reverse((at, ..))) = self.due.peek()
            && *at <= now
            && let Some(Reverse((_, _, to, packet))) = self.due.pop()
        {
            // A device that takes no packet loses it, as they do.
            let _ = self.devices[to].send(&packet);
        }
    }

    /// Takes what a host has sent.
    fn take(&mut self, from: usize, rules: &Mutex<Vec<Rule>>) {
        let mut packet = vec![0; PACKET];
        for _ in 0..64 {
            let Ok(bytes) = self.devices[from].recv(&mut packet) else { return };
            let Some(to) = receiver(&packet[..bytes]).filter(|to| *to < self.devices.len()) else { continue };
            let place = from * self.devices.len() + to;
            let rule = rules.lock().unwrap_or_else(PoisonError::into_inner)[place];
            let way = self.lines[place].pass(&rule, SystemClock.monotonic(), bytes, &mut self.rng);
            let (counter, at) = match way {
                Way::Arrives(at) => (&self.tally.arrived, Some(at)),
                Way::Overtakes(at) => (&self.tally.overtook, Some(at)),
                Way::Lost => (&self.tally.lost, None),
                Way::Cut => (&self.tally.cut, None),
                Way::Full => (&self.tally.full, None),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            self.tally.slowed.fetch_add(u64::from(rule.rate.is_some()), Ordering::Relaxed);
            if let Some(at) = at {
                self.count += 1;
                self.due.push(Reverse((at, self.count, to, packet[..bytes].to_vec())));
            }
        }
    }
}

/// The host that a packet is for.
fn receiver(packet: &[u8]) -> Option<usize> {
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let ours = packet[0] >> 4 == 4 && to[..3] == address(0).octets()[..3];
    ours.then_some(usize::from(to[3]).checked_sub(1)?)
}
