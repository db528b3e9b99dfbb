//! Bugs that others have had, and that can be switched on here to see whether the simulator finds them.
//!
//! Only with the feature `zoo`, which nothing that ships turns on; without it every question is answered `false` at compile
//! time. Each bug has its history in its documentation. `syncline-sim --zoo` runs them all.

/// A mistake in the replication core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bug {
    /// A write carries what its node had when it was committed, not what its writer had read: it silently covers values that nobody
    /// saw (clients of Riak pass back the context they read for this reason).
    CommitTimeContext,
    /// Repair takes the union of siblings: what one side had removed comes back.
    UnionRepair,
    /// Coverage is raised when the first part of a repair has come.
    CoverageAfterPartOfRepair,
    /// A node that was restored from a backup goes on under its old name (Active Directory's "USN rollback").
    SameNameAfterRestore,
    /// What comes with a dot that is known is taken for the same transaction, whatever is in it (copied nodes).
    DotWithoutTag,
    /// A client is told that its write is durable before it is (NATS 2.12 by default, Jepsen).
    AcknowledgedBeforeDurable,
    /// A write is sent before it is durable here: after a power cut its name is given to another.
    SentBeforeDurable,
    /// Equal times have no tie-break (cr-sqlite needed three corrections).
    NoTieBreak,
    /// Nodes write down what they resolved (RavenDB: nodes resolve each other's resolutions).
    ResolutionsWrittenBack,
    /// Writes from the future are refused (iroh-docs: the writer goes on seeing them, nobody else does).
    SkewRefused,
    /// The clock starts from the wall after a restart.
    ClockNotKept,
    /// The counter of the clock starts again when the millisecond is the same (Calimero).
    ClockCounterReset,
    /// A hub that was restored goes on counting where the backup ends.
    SameHubAfterRestore,
    /// What a repair brings is installed part by part; a crash leaves half of it.
    PartsInstalledApart,
    /// A transaction that is sent again is taken in again.
    TakenInTwice,
    /// The second entry of a transaction is applied like the first: it comes back after it was overwritten.
    AppliedTwice,
    /// The log is served from where it was cut to somebody who needs more of it (389 Directory Server).
    ServedFromCutLog,
    /// A row holds so many siblings; more are refused.
    SiblingsCapped,
    /// Times are compared as 32-bit floats.
    FloatTimes,
    /// A delete removes every sibling, read or not.
    DeleteWins,
    /// A delete does not remove what it covers when that is newer by the clock.
    DeleteLoses,
    /// Only the last writer is kept when a write is applied (Riak with `last_write_wins`, Cassandra).
    LoserDropped,
    /// A write covers whatever is older by the clock.
    ClockDecides,
    /// A writer's earlier writes that no hub has stamped are not part of what it read.
    OwnWritesNotRead,
    /// Rows of a transaction are recorded one by one; a crash tears it.
    TornTransactions,
    /// An entry is applied although what it builds on is missing.
    GapsIgnored,
    /// Of two stamps of one transaction only the first is kept.
    OneStampKept,
    /// What a hub refuses, because a copy of the node used the name, is dropped and not written again.
    RefusedDropped,
    /// Writes that were sent once are not sent to the next hub, although nobody said that they came.
    SentOnce,
    /// What a peer has is taken from what was sent to it, not from what it says.
    SentIsCovered,
    /// A repair says that it covers transactions which its sender had not applied yet.
    RepairNamesMoreThanItHas,
    /// A node that was repaired does not know which transactions it has thereby: what is sent to it again is taken in again.
    RepairForgetsNames,
    /// What leaves a scope is deleted, for everybody.
    EvictedIsDeleted,
    /// A transaction that is in a scope in part is left out of it, and counts as covered there.
    ScopeSkipsTorn,
    /// A scope is changed without what comes into it: coverage stays what it was in the old one.
    ScopeNotFilled,
    /// Who holds a part of the rows serves others as if it were all.
    ServedWithinScope,
    /// A transaction is let in without a look at what its writer had read: updates are lost (a lock or a version check that is left out on one
    /// path, as many applications have it).
    CertificationSkipped,
    /// A hub shows what it has taken in before its disk has it, as spokes do with what hubs have (a database that answers readers from memory while its log
    /// is written).
    HubShowsEarly,
    /// A replica whose rows were found damaged goes on sending them to others (Ganesan et al., "Redundancy does not imply fault tolerance", FAST 2017, of
    /// several stores).
    DamagedIsServed,
    /// Rows that were equal when they were compared are taken to be equal when the state takes effect (a repair that works on old Merkle trees, as
    /// Cassandra's may).
    SameUnchecked,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::CommitTimeContext,
        Self::UnionRepair,
        Self::CoverageAfterPartOfRepair,
        Self::SameNameAfterRestore,
        Self::DotWithoutTag,
        Self::AcknowledgedBeforeDurable,
        Self::SentBeforeDurable,
        Self::NoTieBreak,
        Self::ResolutionsWrittenBack,
        Self::SkewRefused,
        Self::ClockNotKept,
        Self::ClockCounterReset,
        Self::SameHubAfterRestore,
        Self::PartsInstalledApart,
        Self::TakenInTwice,
        Self::AppliedTwice,
        Self::ServedFromCutLog,
        Self::SiblingsCapped,
        Self::FloatTimes,
        Self::DeleteWins,
        Self::DeleteLoses,
        Self::LoserDropped,
        Self::ClockDecides,
        Self::OwnWritesNotRead,
        Self::TornTransactions,
        Self::GapsIgnored,
        Self::OneStampKept,
        Self::RefusedDropped,
        Self::SentOnce,
        Self::SentIsCovered,
        Self::RepairNamesMoreThanItHas,
        Self::RepairForgetsNames,
        Self::EvictedIsDeleted,
        Self::ScopeSkipsTorn,
        Self::ScopeNotFilled,
        Self::ServedWithinScope,
        Self::CertificationSkipped,
        Self::HubShowsEarly,
        Self::DamagedIsServed,
        Self::SameUnchecked,
    ];
}

/// Which bugs are on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zoo {
    #[cfg(feature = "zoo")]
    on: u64,
}

impl Zoo {
    /// None: the product.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            #[cfg(feature = "zoo")]
            on: 0,
        }
    }

    /// One of them.
    #[cfg(feature = "zoo")]
    #[must_use]
    pub const fn with(bug: Bug) -> Self {
        Self { on: 1 << bug as u8 }
    }

    /// Whether it is on.
    #[cfg(feature = "zoo")]
    #[must_use]
    pub const fn has(self, bug: Bug) -> bool {
        self.on >> bug as u8 & 1 == 1
    }

    /// Whether it is on: never.
    #[cfg(not(feature = "zoo"))]
    #[must_use]
    pub const fn has(self, _: Bug) -> bool {
        false
    }
}
