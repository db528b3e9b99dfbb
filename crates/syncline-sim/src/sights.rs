//! What has been seen: a simulation that never meets a trouble proves nothing about it.

/// Something that runs have to meet now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// A crash took records that were not durable.
    RecordsLost,
    /// A crash took none of what was appended, though some of it was not known to be durable.
    RecordsKept,
    /// A disk failed under a running node.
    DiskFailed,
    /// A copy of the disk came back.
    Restored,
    /// A node went on on a copy of another's disk.
    Copied,
    /// A node took a new name.
    Renamed,
    /// A hub refused a transaction for ever.
    Refused,
    /// Transactions were written again under a new name.
    Rewritten,
    /// A hub could not take a transaction in yet.
    Later,
    /// A peer was asked what it has, because nothing went on.
    Asked,
    /// A peer was told what is known of its name.
    Known,
    /// A node was sent rows, because the log had been cut.
    Snapshot,
    /// They came in more than one part.
    Parts,
    /// Rows were offered that were the same at the other end.
    Same,
    /// Somebody who had some of the parts said so.
    PartsKept,
    /// A node's rows were joined with another's.
    Joined,
    /// A transaction came a second time, by another hub's stamp.
    SecondStamp,
    /// A log began with a checkpoint.
    Checkpoint,
    /// A log began with a checkpoint that stands on runs.
    OnRuns,
    /// Rows were written to a run, or runs merged.
    Folded,
    /// So were rows of a state that was on its way.
    Spilled,
    /// A client built on what its node did not have, and was told to wait.
    Behind,
    /// A client was shown a row in conflict.
    Conflict,
    /// A message crossed as bytes.
    AsBytes,
    /// A node became a hub, or stopped being one.
    Role,
    /// A wall clock was more than a year off.
    YearOff,
    /// A spoke held a part of the rows from its beginning on.
    Scoped,
    /// A spoke came to hold another part.
    Rescoped,
    /// A spoke got a part of a transaction.
    Partial,
    /// A transaction on strict rows was let in.
    Certified,
    /// One was not, because of what it had read.
    Uncertified,
    /// A spoke showed what its disk did not have yet.
    ShownEarly,
    /// A crash may have taken some of that.
    WentBack,
    /// Rows changed that nobody had written.
    Rotten,
    /// Another machine's have taken the place of such.
    Renewed,
}

impl Sight {
    /// All of them.
    pub const ALL: [Self; 35] = [
        Self::RecordsLost,
        Self::RecordsKept,
        Self::DiskFailed,
        Self::Restored,
        Self::Copied,
        Self::Renamed,
        Self::Refused,
        Self::Rewritten,
        Self::Later,
        Self::Asked,
        Self::Known,
        Self::Snapshot,
        Self::Parts,
        Self::Same,
        Self::PartsKept,
        Self::Joined,
        Self::SecondStamp,
        Self::Checkpoint,
        Self::OnRuns,
        Self::Folded,
        Self::Spilled,
        Self::Behind,
        Self::Conflict,
        Self::AsBytes,
        Self::Role,
        Self::YearOff,
        Self::Scoped,
        Self::Rescoped,
        Self::Partial,
        Self::Certified,
        Self::Uncertified,
        Self::ShownEarly,
        Self::WentBack,
        Self::Rotten,
        Self::Renewed,
    ];
}

/// How often each was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sights {
    counts: [u64; Sight::ALL.len()],
}

impl Default for Sights {
    fn default() -> Self {
        Self { counts: [0; Sight::ALL.len()] }
    }
}

impl Sights {
    /// It was seen.
    pub fn saw(&mut self, sight: Sight) {
        self.counts[sight as usize] += 1;
    }

    /// How often it was seen.
    #[must_use]
    pub const fn of(&self, sight: Sight) -> u64 {
        self.counts[sight as usize]
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }

    /// What was never seen.
    pub fn missing(&self) -> impl Iterator<Item = Sight> + '_ {
        Sight::ALL.into_iter().filter(|sight| self.of(*sight) == 0)
    }
}
