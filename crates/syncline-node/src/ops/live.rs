//! `live`: how a replica's live part is, and what readers may ask of what they read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_base::Kind;

use crate::Result;
use crate::live::engine::{
    Alarm, Away, Denied, Distrust, Held, Lag, Member, OriginTrust, Proofs, Renewal, Status, TrustStatus,
};
use crate::live::{Engine, files, token};
use crate::replica::Replica;

/// How long is waited for what a reader asks for, when nobody says.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a reader asks of what it reads. Nothing: what is here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// Everything in this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Everything that the upstream had acknowledged so many milliseconds before the reader asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness_ms: Option<u64>,
    /// It is waited for so long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

impl Bounds {
    /// For how long it is waited.
    pub(super) fn patience(&self) -> Duration {
        self.wait_ms.map_or(PATIENCE, Duration::from_millis)
    }

    /// Waits until they hold, which they do from then on. Says how old what is here may be, in milliseconds, if that was asked for.
    ///
    /// # Errors
    /// `stale` when they do not come to hold in time; `invalid` when the position is none.
    pub(super) fn hold(&self, engine: &Engine) -> Result<Option<u64>> {
        let patience = self.patience();
        if let Some(after) = &self.after {
            engine.read_at(&token::parse_wait(after)?, patience, |_| ())?;
        }
        let bound = self.max_staleness_ms.map(Duration::from_millis);
        let age = bound.map(|bound| engine.fresh(bound, patience)).transpose()?;
        Ok(age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// What `live` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Compare with the replicas that are connected first, for at most so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove_ms: Option<u64>,
}

/// That another replica was found to hold the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proved {
    /// Who.
    pub replica: String,
    /// Its address, when it was connected to from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What both had.
    pub position: String,
    /// Their replica root.
    pub root: String,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How many transactions have come here since.
    pub since: u64,
}

/// Whose transactions are here, and up to where they are signed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Trust {
    /// This replica's public key, hex.
    pub key: String,
    /// Whether that is revoked: no hub takes in anything further of what is written here.
    pub revoked: bool,
    /// How many keys are revoked, as far as is known here.
    pub revoked_keys: u64,
    /// How many names transactions were written under, and of how many all are signed.
    pub origins: u64,
    /// See `origins`.
    pub signed: u64,
    /// Names of which some are not signed yet, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsigned: Vec<OriginTrust>,
    /// Names under which two histories were written or signed: nothing further of them is taken in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<OriginTrust>,
    /// What was sent here and not believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distrust: Vec<Distrust>,
    /// A hub that takes in nothing of what was written here, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied>,
}

/// So many names are listed of which some transactions are not signed.
const LISTED: usize = 100;

fn trust(status: TrustStatus, revoked_keys: u64) -> Trust {
    let TrustStatus { key, revoked, origins, distrust, denied } = status;
    let count = origins.len() as u64;
    let (frozen, sound): (Vec<_>, Vec<_>) =
        origins.into_iter().partition(|origin| origin.forked || origin.against.is_some());
    let (signed, mut unsigned): (Vec<_>, Vec<_>) =
        sound.into_iter().partition(|origin| origin.attested == origin.transactions);
    unsigned.truncate(LISTED);
    let signed = signed.len() as u64;
    Trust { key, revoked, revoked_keys, origins: count, signed, unsigned, frozen, distrust, denied }
}

/// How a replica's live part is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// `hub` when it takes transactions in, `spoke` when it takes its own to one.
    pub role: String,
    /// Who it is, whatever name it writes under.
    pub id: String,
    /// The name that it writes under.
    pub name: String,
    /// The node that it takes its transactions to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The hub that a spoke is connected to now: its upstream, or another one while that cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_to: Option<String>,
    /// The hubs that there are, as far as is known here, this one among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// Nodes that it is to be connected to and is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<Away>,
    /// The scope that it follows there, if not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The scope that it holds, if not everything, and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Held>,
    /// What lies in its directory outside of that, if that is kept in step: it is nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<files::Outside>,
    /// What a reader here has read.
    pub position: String,
    /// How many transactions it has, of all hubs.
    pub transactions: u64,
    /// Its own transactions that no hub has taken in, as far as it knows.
    pub unsent: u64,
    /// Their bytes.
    #[serde(default)]
    pub unsent_bytes: u64,
    /// How many replicas are connected.
    pub connected: u64,
    /// How many transactions others that are connected have said to have and it has not.
    pub behind: u64,
    /// How far it is behind its upstream, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// Records in its log, and the log's bytes.
    pub log_records: u64,
    /// See `log_records`.
    pub log_bytes: u64,
    /// The replica root: equal on replicas that have the same transactions.
    pub root: String,
    /// How many files live rows name.
    #[serde(default)]
    pub files: u64,
    /// `proved` when another replica was found to hold the same, `differs` when one was found not to, `unproved` before either.
    #[serde(default)]
    pub sync: String,
    /// With whom it was proved, the last one first.
    #[serde(default)]
    pub proofs: Vec<Proved>,
    /// Who differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// Why all rows are being taken anew, if they are: what is said of rows here need not be so, then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// Whose transactions are here, and who vouches for them.
    #[serde(default)]
    pub trust: Trust,
    /// The clock here, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub now_ms: u64,
    /// Its tables, with their rows.
    pub tables: Vec<(String, u64)>,
    /// How many rows are in conflict.
    pub conflicts: u64,
    /// How many files are.
    #[serde(default)]
    pub file_conflicts: u64,
}

/// Says how a replica's live part is; `None` when it has none.
///
/// # Errors
/// As opening it; `unavailable` when it is to be compared with others and none is connected.
pub fn run(replica: &Replica, request: &Request) -> Result<Option<Report>> {
    let Some(engine) = replica.live_if_there()? else { return Ok(None) };
    if let Some(patience) = request.prove_ms {
        engine.prove(Duration::from_millis(patience))?;
    }
    match report(replica, &engine) {
        // The look at it has found damage: that is how it is.
        Err(error) if error.kind() == Kind::Corrupt => report(replica, &engine).map(Some),
        report => report.map(Some),
    }
}

fn report(replica: &Replica, engine: &Engine) -> Result<Report> {
    let status = engine.status()?;
    let Status {
        name,
        hub,
        upstream,
        connected_to,
        members,
        away,
        position,
        coverage,
        pending,
        pending_bytes,
        peers,
        behind,
        log,
        lag,
        proofs,
        renewal,
        follows,
        held,
        ..
    } = status;
    let transactions = coverage.iter().map(|(_, n)| n).sum();
    // Rows that cannot be read are what a renewal says.
    let damaged = renewal.is_some();
    let conflicts = unless(damaged, super::live_conflicts::count(engine))?;
    // Nobody waits while all rows are looked at.
    let frozen = unless(damaged, engine.frozen())?;
    let count = |name: &str| frozen.counts().get(name).map_or(0, |count| count.rows);
    let files = count(files::TABLE);
    let names = unless(damaged, engine.table_names())?;
    let tables = names.into_iter().map(|name| (name.clone(), count(&name)));
    let revoked = unless(damaged, super::key::revoked(engine))?.len() as u64;
    let (sync, proofs, alarms) = proved(proofs, transactions);
    let root = unless(damaged, engine.root_of(&frozen).map(|root| root.to_string()))?;
    Ok(Report {
        role: if hub { "hub" } else { "spoke" }.to_owned(),
        id: engine.id()?,
        name,
        upstream,
        connected_to,
        members,
        away,
        follows,
        scope: held,
        outside: unless(damaged, files::outside(replica, engine))?,
        position,
        transactions,
        unsent: pending,
        unsent_bytes: pending_bytes,
        connected: peers,
        behind,
        lag,
        log_records: log.next - log.first,
        log_bytes: log.bytes,
        root,
        files,
        sync: sync.to_owned(),
        proofs,
        alarms,
        renewal,
        trust: trust(engine.trust()?, revoked),
        now_ms: replica.clock().now_ms(),
        tables: tables.collect(),
        conflicts,
        file_conflicts: unless(damaged, files::clashes::count(engine))?,
    })
}

/// Nothing in the place of what cannot be read where that is known already.
fn unless<T: Default>(damaged: bool, read: Result<T>) -> Result<T> {
    match read {
        Err(error) if damaged && error.kind() == Kind::Corrupt => Ok(T::default()),
        read => read,
    }
}

/// The word for all of it, proofs with the last one first, and alarms.
fn proved(proofs: Proofs, transactions: u64) -> (&'static str, Vec<Proved>, Vec<Alarm>) {
    let Proofs { mut proofs, alarms } = proofs;
    proofs.sort_by(|a, b| (b.time_ms, &a.replica).cmp(&(a.time_ms, &b.replica)));
    let sync = match (alarms.is_empty(), proofs.is_empty()) {
        (false, _) => "differs",
        (true, false) => "proved",
        (true, true) => "unproved",
    };
    let proofs = proofs.into_iter().map(|proof| Proved {
        replica: proof.replica,
        url: proof.url,
        position: token::of_coverage(&proof.coverage),
        root: proof.root.to_string(),
        time_ms: proof.time_ms,
        since: transactions.saturating_sub(proof.coverage.iter().map(|(_, n)| n).sum()),
    });
    (sync, proofs.collect(), alarms)
}
