//! Many seeds at once, on several threads, and what came of them.

use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use syncline_base::Hash;
use syncline_sync::live::Zoo;

use crate::oracle::Audit;
use crate::sights::{Sight, Sights};
use crate::world::{Failure, Summary, World};

/// Seeds from one number to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: u64,
    to: u64,
}

impl Range {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        match parts {
            Some((from, to)) if from < to => Ok(Self { from, to }),
            _ => Err(format!("{text:?} is not a range of seeds: write 0..10000")),
        }
    }
}

/// What came of some seeds.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were run.
    pub seeds: u64,
    /// Those that failed, by seed.
    pub failures: Vec<(u64, String)>,
    audit: Audit,
    sights: Sights,
    trace: [u8; Hash::LEN],
}

impl Report {
    /// Runs seeds; `twice` to see that everything happens again in the same way.
    #[must_use]
    pub fn run(seeds: Range, nodes: usize, steps: usize, zoo: Zoo, twice: bool, threads: usize) -> Self {
        let total = Mutex::new(Self::default());
        each(seeds, threads, |seed| {
            let outcome = one(seed, nodes, steps, zoo, twice);
            let mut total = total.lock().expect("no thread panics while it holds the report");
            total.seeds += 1;
            total.mix(seed, &outcome);
            match outcome {
                Ok(summary) => {
                    total.add(&summary.audit);
                    total.sights.add(&summary.sights);
                }
                Err(failure) => total.failures.push((seed, failure)),
            }
            true
        });
        let mut report = total.into_inner().expect("no thread panics while it holds the report");
        report.failures.sort();
        report
    }

    fn add(&mut self, audit: &Audit) {
        let all = &mut self.audit;
        all.acknowledged += audit.acknowledged;
        all.lost += audit.lost;
        all.rewritten += audit.rewritten;
        all.visible += audit.visible;
        all.outvoted += audit.outvoted;
        all.overwritten += audit.overwritten;
        all.deletions += audit.deletions;
    }

    /// Threads end in any order: so do the hashes of what seeds did add up.
    fn mix(&mut self, seed: u64, outcome: &Result<Summary, String>) {
        let what = match outcome {
            Ok(Summary { audit, sights, trace }) => format!("{seed} {trace} {audit:?} {sights:?}"),
            Err(failure) => format!("{seed} {failure}"),
        };
        self.trace.iter_mut().zip(Hash::of(what.as_bytes()).as_bytes()).for_each(|(all, byte)| *all ^= byte);
    }

    /// One hash over what every seed did, what it met and what came of it: equal for two programs that do the same.
    #[must_use]
    pub const fn trace(&self) -> Hash {
        Hash::from_bytes(self.trace)
    }

    /// The fates of all acknowledged transactions.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What the runs met.
    #[must_use]
    pub const fn sights(&self) -> &Sights {
        &self.sights
    }

    /// The fates of all acknowledged transactions, in words.
    #[must_use]
    pub fn audit_text(&self) -> String {
        let Audit { acknowledged, lost, rewritten, visible, outvoted, overwritten, deletions } = &self.audit;
        format!(
            "{acknowledged} transactions acknowledged, {lost} gone with their only disk, {rewritten} written again under \
             another name; of the values that they set {visible} are visible, {outvoted} are siblings, {overwritten} were \
             overwritten by who had read them; {deletions} deletions"
        )
    }

    /// What the runs met, in words.
    #[must_use]
    pub fn sights_text(&self) -> String {
        let all = Sight::ALL.map(|sight| format!("{sight:?} {}", self.sights.of(sight)));
        format!("met: {}", all.join(", "))
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn json(&self, seconds: f64, per_core: f64) -> String {
        let failures: Vec<_> = self.failures.iter().map(|(seed, why)| json!({ "seed": seed, "why": why })).collect();
        let met: serde_json::Map<_, _> =
            Sight::ALL.iter().map(|sight| (format!("{sight:?}"), self.sights.of(*sight).into())).collect();
        json!({
            "seeds": self.seeds,
            "seconds": seconds,
            "seeds_per_second_per_core": per_core,
            "trace": self.trace().to_string(),
            "met": met,
            "failures": failures,
        })
        .to_string()
    }
}

fn one(seed: u64, nodes: usize, steps: usize, zoo: Zoo, twice: bool) -> Result<Summary, String> {
    let run = || World::new(seed, nodes, steps, zoo, false).run();
    let first = run().map_err(|failure: Failure| failure.to_string())?;
    if twice {
        let second = run().map_err(|failure| format!("failed when it was run again: {failure}"))?;
        if second != first {
            return Err("something else happened when it was run again: it depends on more than its seed".to_owned());
        }
    }
    Ok(first)
}

/// Calls `run` for each seed on some threads, until it says `false`.
pub(crate) fn each(seeds: Range, threads: usize, run: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(seeds.from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.to || !run(seed) {
                next.fetch_max(seeds.to, Ordering::Relaxed);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
}
