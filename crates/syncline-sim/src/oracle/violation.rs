//! What a node, or a world that does not keep to its own rules, can have done wrong.
//!
//! A violation is a verdict and ends a run. It names facts; which seed and step it came from is for the world to add.

use std::fmt;

use super::facts::{Stamp, TxnId};

/// A broken rule of `docs/format/replication.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    // Scopes.
    /// A node has a row that is not in what it is to hold.
    #[error("row {key} is outside of the scope of the node, which has {id} of it")]
    OutsideScope {
        /// The row.
        key: u32,
        /// One of its siblings.
        id: TxnId,
    },
    // Claims.
    /// Somebody names a stamp that no hub has given, or that its hub has lost since.
    #[error("stamp {stamp} was never given: its hub stands at {last}")]
    UnknownStamp {
        /// What was named.
        stamp: Stamp,
        /// The last stamp of that hub.
        last: u64,
    },
    /// Somebody names a transaction that nobody wrote.
    #[error("transaction {id} was never written")]
    UnknownTransaction {
        /// What was named.
        id: TxnId,
    },
    /// Somebody names a transaction that its writer has lost before anybody heard of it.
    #[error("transaction {id} was lost by its writer before it had left, and is named all the same")]
    Forgotten {
        /// What was named.
        id: TxnId,
    },
    /// A transaction is pending on a node that has applied an entry of it.
    #[error("transaction {id} is said to be pending, but an entry of it has been applied")]
    PendingCovered {
        /// The transaction.
        id: TxnId,
    },
    /// Pending transactions are not in chain order, or a link is missing.
    #[error("transaction {id} is pending before the transaction that precedes it in its chain, or twice")]
    PendingOutOfOrder {
        /// The transaction.
        id: TxnId,
    },
    /// A coverage holds an entry and not what the entry depends on.
    #[error("a coverage has {stamp}, which needs {needs}, but only {has} of that hub")]
    NotClosed {
        /// The entry that is there.
        stamp: Stamp,
        /// The entry that it depends on.
        needs: Stamp,
        /// What the coverage has of that hub.
        has: u64,
    },

    // Writing.
    /// Two transactions have one identity.
    #[error("transaction {id} was written before with other {what}")]
    ContentDiffers {
        /// Their identity.
        id: TxnId,
        /// What differs.
        what: &'static str,
    },
    /// A writer has used a dot again, and was neither rolled back nor copied.
    #[error("transaction {id} has the dot of {other}, though its writer was neither rolled back nor copied")]
    DotReused {
        /// The later.
        id: TxnId,
        /// The earlier.
        other: TxnId,
    },
    /// A transaction does not continue its chain.
    #[error("transaction {id} does not continue the chain of its origin: it says that {} is before it", name(*.prev))]
    BadPrev {
        /// The transaction.
        id: TxnId,
        /// What it names as the one before it.
        prev: Option<TxnId>,
    },
    /// A transaction writes a row twice.
    #[error("transaction {id} writes row {key} twice")]
    WroteTwice {
        /// The transaction.
        id: TxnId,
        /// The row.
        key: u32,
    },
    /// A node has taken a write whose past it does not hold.
    #[error("transaction {id} was written on a node that does not hold {missing}, which is in its past")]
    WriteAhead {
        /// What was written.
        id: TxnId,
        /// What the node does not hold.
        missing: TxnId,
    },
    /// A transaction was written again twice.
    #[error("transaction {old} was written again as {first}, and then as {second} too")]
    RewrittenTwice {
        /// The refused one.
        old: TxnId,
        /// As what it was written again.
        first: TxnId,
        /// And as what else.
        second: TxnId,
    },

    // Taking in.
    /// A hub has left a number out.
    #[error("stamp {stamp} does not follow {last}, the last of its hub")]
    StampGap {
        /// What was given.
        stamp: Stamp,
        /// What the hub stood at.
        last: u64,
    },
    /// A hub has given a number again.
    #[error("stamp {stamp} was given to {was} and then to {now}")]
    StampReused {
        /// What was given twice.
        stamp: Stamp,
        /// Who had it.
        was: TxnId,
        /// Who got it.
        now: TxnId,
    },
    /// A hub has taken in what it had.
    #[error("stamp {stamp} was given to {id}, which the hub had already as {had}")]
    TakenTwice {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// The stamp under which the hub had it.
        had: Stamp,
    },
    /// A hub has taken in a second transaction with one dot.
    #[error("stamp {stamp} was given to {id}, though the hub has {other} with the same dot")]
    ForkTaken {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// The one that the hub had.
        other: TxnId,
    },
    /// A hub has gone on taking in transactions of an origin that it knows to be forked.
    #[error("stamp {stamp} was given to {id}, though the hub knows that its origin is forked at {fork}")]
    ForkedOriginTaken {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// One of two transactions with one dot.
        fork: TxnId,
    },
    /// A hub has taken in a transaction and not the one before it.
    #[error("stamp {stamp} was given to {id}, but the hub has not applied {prev}, which is before it")]
    ChainGap {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// The one before it.
        prev: TxnId,
    },
    /// A hub has taken in a transaction and not what its writer had read.
    #[error("stamp {stamp} was given to {id}, but the hub does not cover {missing}, which its writer had read")]
    ReadNotCovered {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// What had been read.
        missing: TxnId,
    },
    /// A hub has taken in a transaction whose writer had read more of a hub than it covers.
    #[error("stamp {stamp} was given to {id}, but the hub does not cover {missing}, which its writer had seen")]
    SeenNotCovered {
        /// What was given.
        stamp: Stamp,
        /// To which.
        id: TxnId,
        /// The stamp that had been seen.
        missing: Stamp,
    },

    // Coming back.
    /// A hub has lost stamps that somebody knows.
    #[error(
        "hub {hub:x} came back with {kept} stamps, but {public} had been told to somebody before they were durable"
    )]
    ForgotStamp {
        /// The hub.
        hub: u128,
        /// Up to where it came back.
        kept: u64,
        /// Up to where it had let others know.
        public: u64,
    },
    /// A writer has lost a transaction that somebody knows.
    #[error("transaction {id} was {because} and is gone after a crash: it had not been durable")]
    ForgotTransaction {
        /// What is gone.
        id: TxnId,
        /// How it is known that it was there.
        because: Evidence,
    },
    /// A writer came back with a transaction that its chain did not have.
    #[error("a writer whose newest transaction was {newest} came back with {kept}, which is not in its chain")]
    NotInChain {
        /// The newest before.
        newest: TxnId,
        /// The newest after.
        kept: TxnId,
    },

    // One node over time.
    /// A node has less than it had.
    #[error("node {node} covered {was} and covers {now} of that hub{}", if *.restarted { " after a restart" } else { "" })]
    WentBack {
        /// The node.
        node: usize,
        /// Up to where it had been.
        was: Stamp,
        /// Where it is.
        now: u64,
        /// Whether it was started again in between.
        restarted: bool,
    },
    /// A node has dropped a transaction of its own that no hub had taken.
    #[error("node {node} had {id} pending and now has neither that nor an entry of it")]
    PendingDropped {
        /// The node.
        node: usize,
        /// The transaction.
        id: TxnId,
    },
    /// What a node had seen overwritten is there again.
    #[error("row {key} of node {node} has the value of {id} again, which was gone: it was resurrected")]
    Resurrected {
        /// The node.
        node: usize,
        /// The row.
        key: u32,
        /// Whose value.
        id: TxnId,
    },

    // Rows.
    /// A row has a sibling that should not be there.
    #[error("row {key} has a sibling of {id}, which {why}")]
    UnexpectedSibling {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
        /// Why it should not be there.
        why: Unexpected,
    },
    /// A row has not a sibling that it should have.
    #[error("row {key} has no sibling of {id}, which is covered and was overwritten by nothing that is covered")]
    MissingSibling {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
    },
    /// A row has a sibling twice.
    #[error("row {key} has the sibling of {id} twice")]
    RepeatedSibling {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
    },
    /// A sibling has a value that was not written.
    #[error("row {key} has value {found} from {id}, which wrote {expected}")]
    WrongValue {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
        /// What was written.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A sibling has the wrong time.
    #[error("row {key} has time {found} for the sibling of {id}, not {expected}")]
    WrongTime {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
        /// What follows from the clock of the writer and the stamps in the coverage.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A sibling has a stamp that it should not have.
    #[error("row {key} has stamp {stamp} for the sibling of {id}: not its own, not covered, or twice")]
    StrangeStamp {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
        /// The stamp.
        stamp: Stamp,
    },
    /// A sibling has not a stamp that it should have.
    #[error("row {key} has not stamp {stamp} for the sibling of {id}, though it is covered")]
    MissingStamp {
        /// The row.
        key: u32,
        /// The sibling.
        id: TxnId,
        /// The stamp.
        stamp: Stamp,
    },
    /// A row shows the wrong sibling.
    #[error("row {key} shows {}, but the last writer is {}", name(*.found), name(*.expected))]
    WrongWinner {
        /// The row.
        key: u32,
        /// The last writer.
        expected: Option<TxnId>,
        /// Who is shown.
        found: Option<TxnId>,
    },
    /// A row is in conflict and does not say so, or the other way round.
    #[error("row {key} says that it is{} in conflict, but that its siblings' values differ is{} so", not(*.found), not(*.expected))]
    WrongConflict {
        /// The row.
        key: u32,
        /// Whether its siblings' values differ.
        expected: bool,
        /// What the node says.
        found: bool,
    },

    // The end.
    /// Two replicas with one coverage have different roots.
    #[error("two replicas cover {coverage}, one has root {was} and one {now}")]
    RootDiffers {
        /// What both cover.
        coverage: String,
        /// The root that was seen first, in hex.
        was: String,
        /// The other one.
        now: String,
    },
    /// A node has something to send when all is said to be quiet.
    #[error("all is said to be quiet, but node {node} has {pending} pending transactions, the first is {first}")]
    NotQuiet {
        /// The node.
        node: usize,
        /// How many.
        pending: usize,
        /// The oldest.
        first: TxnId,
    },
    /// Two nodes differ when all is said to be quiet.
    #[error("all is said to be quiet, but node {node} covers {has} of hub {hub:x} and node 0 covers {first}")]
    Unequal {
        /// The node that differs.
        node: usize,
        /// In which hub.
        hub: u128,
        /// What it has.
        has: u64,
        /// What the first node has.
        first: u64,
    },
    /// An acknowledged transaction is nowhere.
    #[error("transaction {id} was acknowledged, but no node covers it")]
    Missing {
        /// The transaction.
        id: TxnId,
    },
    /// An acknowledged value is gone and nobody who had read it wrote the row.
    #[error("row {key} of node {node} has not the value of {id}, and nobody who had read it has overwritten it")]
    Vanished {
        /// The node.
        node: usize,
        /// The transaction.
        id: TxnId,
        /// The row.
        key: u32,
    },
}

/// How it is known that something had been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Its writer was told that it is durable.
    Acknowledged,
    /// It was sent to another node, or shown to a reader.
    Told,
    /// A hub has taken it in.
    Stamped(Stamp),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => write!(f, "acknowledged"),
            Self::Told => write!(f, "sent or shown"),
            Self::Stamped(stamp) => write!(f, "taken in as {stamp}"),
        }
    }
}

/// Why a sibling should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unexpected {
    /// The node does not hold the transaction.
    NotHeld,
    /// The transaction did not set the row.
    NotSet,
    /// The node holds a transaction that wrote the row and had read this one.
    Overwritten {
        /// That transaction.
        by: TxnId,
    },
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeld => write!(f, "the node does not hold"),
            Self::NotSet => write!(f, "did not set the row"),
            Self::Overwritten { by } => write!(f, "{by} has overwritten"),
        }
    }
}

fn name(id: Option<TxnId>) -> String {
    id.map_or_else(|| "nothing".to_owned(), |id| id.to_string())
}

fn not(yes: bool) -> &'static str {
    if yes { "" } else { " not" }
}
