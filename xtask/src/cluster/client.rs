//! One session: a client that reads and writes at one node, one after the other, and keeps what it did and saw.
//!
//! It looks at rows; it writes rows that all write, having looked at them (`put --read`); and it writes its own two rows together, always as many
//! times the one as the other, so that a look that shows them apart has seen half a transaction: one by one (`put`) and in bursts (`apply`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use syncline_base::rng::Rng;

use super::node::{Answer, Door};
use super::{Rows, TABLE};
use crate::history::{Fate, Read, Row, Txn, Write, Written};

/// Values of one session are below this, plus its number times this.
const VALUES: u64 = 100_000_000;
/// Transactions of a burst.
const BURST: u64 = 8;
/// How long a look waits for what the one before it has shown, in milliseconds.
const LONGEST: &str = "20000";

/// A session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: usize,
    pub(crate) door: Door,
    pub(crate) txns: Vec<Txn>,
    /// Why commands failed, without what differs from one to the next, and how often.
    pub(crate) failed: BTreeMap<String, u64>,
    rows: Rows,
    rng: Rng,
    /// Values that it has made.
    made: u64,
    /// What its own two rows may hold: the last acknowledged, and those after it of which nobody knows.
    own: [Vec<Written>; 2],
    /// Whether each look asks for what the last one showed: at a replica that may fall behind that.
    careful: bool,
    /// Of the last look.
    position: Option<String>,
    /// Something failed since then.
    doubt: bool,
}

/// What a look gave.
struct Look {
    position: String,
    reads: Vec<Read>,
}

impl Client {
    pub(crate) fn new(session: usize, door: Door, rows: Rows, rng: Rng) -> Self {
        let (txns, failed, own) = (Vec::new(), BTreeMap::new(), [Vec::new(), Vec::new()]);
        let (careful, position, doubt) = (false, None, false);
        Self { session, door, txns, failed, rows, rng, made: 0, own, careful, position, doubt }
    }

    /// Its replica may fall behind what it has shown, as a spoke whose machine loses power: from now on each look waits for what the one before it
    /// has shown (`--after`), and after a failure the first thing is a look.
    pub(crate) fn be_careful(&mut self) {
        self.careful = true;
    }

    /// Writes every row once, as the first of all sessions, so that there is something to look at and to overwrite. The other clients are told.
    pub(crate) fn found(&mut self) -> Result<()> {
        let all: Vec<Write> = (0..self.rows.len()).map(|row| self.write(row, Vec::new())).collect();
        let answer = self.put(&all, None)?;
        let Answer::Done(_) = answer else { bail!("writing the first rows: {answer:?}") };
        self.keep(Vec::new(), all, Fate::Done);
        Ok(())
    }

    /// Tells a client what the founder put into its own rows.
    pub(crate) fn founded(&mut self, founder: &Self) {
        let first = founder.txns.first().map(|txn| txn.writes.as_slice()).unwrap_or_default();
        for (own, row) in self.own.iter_mut().zip(self.rows.own(self.session)) {
            *own = first.iter().filter(|write| write.row == row).map(|write| write.value).collect();
        }
    }

    /// Does something. Whether it worked; an error is one that should not be.
    pub(crate) fn step(&mut self) -> Result<bool> {
        match self.rng.below(10) {
            _ if self.careful && self.doubt => {
                let rows = self.choice(2, 2);
                Ok(self.look(&rows)?.is_some())
            }
            0..3 => {
                let rows = self.choice(2, 2);
                Ok(self.look(&rows)?.is_some())
            }
            3..7 => self.read_and_write(),
            7..9 => self.write_own(),
            _ => self.burst(),
        }
    }

    /// Some rows that all write, and both rows of some sessions.
    fn choice(&mut self, shared: usize, sessions: usize) -> Vec<Row> {
        let mut below = |n: usize| usize::try_from(self.rng.below(n as u64)).unwrap_or_default();
        let mut rows: Vec<Row> = (0..shared).map(|_| below(self.rows.shared)).collect();
        for _ in 0..sessions {
            rows.extend(self.rows.own(below(self.rows.sessions)));
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn look(&mut self, rows: &[Row]) -> Result<Option<Look>> {
        let keys: Vec<String> = rows.iter().map(|row| Rows::key(*row)).collect();
        let mut words = vec!["get", "--table", TABLE, "--siblings"];
        keys.iter().for_each(|key| words.extend(["--key", key]));
        let after = self.position.clone().filter(|_| self.careful);
        if let Some(position) = &after {
            words.extend(["--after", position, "--max-wait", LONGEST]);
        }
        let report = match self.door.ask(&words, "")? {
            Answer::Done(report) => report,
            Answer::Refused(kind, message) if !matches!(kind.as_str(), "not-found" | "stale") => bail!("{message}"),
            Answer::Refused(_, message) | Answer::Unknown(message) => return Ok(self.miss(&message)),
        };
        let look = Look {
            position: report["position"].as_str().context("a look without a position")?.to_owned(),
            reads: reads(&report)?,
        };
        self.keep(look.reads.clone(), Vec::new(), Fate::Done);
        (self.position, self.doubt) = (Some(look.position.clone()), false);
        Ok(Some(look))
    }

    fn read_and_write(&mut self) -> Result<bool> {
        let rows = self.choice(3, 1);
        let Some(look) = self.look(&rows)? else { return Ok(false) };
        let shared = self.rows.shared;
        let seen = look.reads.iter().filter(|read| read.row < shared).take(2);
        let seen: Vec<(Row, Vec<Written>)> = seen.map(|read| (read.row, read.siblings.clone())).collect();
        let writes: Vec<Write> = seen.into_iter().map(|(row, over)| self.write(row, over)).collect();
        let answer = self.put(&writes, Some(&look.position))?;
        self.close(answer, writes)
    }

    /// Writes its own two rows.
    pub(crate) fn write_own(&mut self) -> Result<bool> {
        let writes = self.both();
        let answer = self.put(&writes, None)?;
        self.close(answer, writes)
    }

    /// Several transactions of its own rows by one command, which waits for all of them at its end.
    fn burst(&mut self) -> Result<bool> {
        let before = self.own.clone();
        let (mut input, mut all) = (String::new(), Vec::new());
        for _ in 0..BURST {
            let writes = self.both();
            for write in &writes {
                input += &format!("{}\n", json!({ "op": "set", "table": TABLE, "row": row(write) }));
            }
            input += "{\"op\":\"commit\"}\n";
            // The next one of the burst overwrites this one.
            self.own.iter_mut().zip(&writes).for_each(|(own, write)| own.push(write.value));
            all.push(writes);
        }
        let answer = self.door.ask(&["apply"], &input)?;
        let fate = match &answer {
            Answer::Done(_) => Fate::Done,
            // Those before the one that failed are there.
            Answer::Refused(_, message) => bail!("{message}"),
            Answer::Unknown(message) => {
                self.miss::<()>(message);
                Fate::Unknown
            }
        };
        if fate == Fate::Done {
            self.own = before;
        }
        for writes in all {
            self.settle(&writes, fate);
            self.keep(Vec::new(), writes, fate);
        }
        Ok(fate == Fate::Done)
    }

    /// A write of each of its own rows, over all that they may hold.
    fn both(&mut self) -> Vec<Write> {
        let rows = self.rows.own(self.session);
        let own = self.own.clone();
        rows.into_iter().zip(own).map(|(row, over)| self.write(row, over)).collect()
    }

    fn write(&mut self, row: Row, over: Vec<Written>) -> Write {
        self.made += 1;
        Write { row, value: self.session as u64 * VALUES + self.made, over }
    }

    fn put(&self, writes: &[Write], read: Option<&str>) -> Result<Answer> {
        let lines: Vec<String> = writes.iter().map(|write| row(write).to_string()).collect();
        let mut words = vec!["put", "--table", TABLE];
        words.extend(read.into_iter().flat_map(|position| ["--read", position]));
        self.door.ask(&words, &lines.join("\n"))
    }

    fn close(&mut self, answer: Answer, writes: Vec<Write>) -> Result<bool> {
        let fate = match answer {
            Answer::Done(_) => Fate::Done,
            Answer::Refused(kind, message) if kind != "stale" => bail!("{message}"),
            Answer::Refused(_, message) => {
                self.miss::<()>(&message);
                Fate::Refused
            }
            Answer::Unknown(message) => {
                self.miss::<()>(&message);
                Fate::Unknown
            }
        };
        self.settle(&writes, fate);
        self.keep(Vec::new(), writes, fate);
        Ok(fate == Fate::Done)
    }

    /// What its own rows may hold now.
    fn settle(&mut self, writes: &[Write], fate: Fate) {
        let rows = self.rows.own(self.session);
        for write in writes {
            for (own, _) in self.own.iter_mut().zip(rows).filter(|(_, row)| *row == write.row) {
                match fate {
                    Fate::Done => *own = vec![write.value],
                    Fate::Unknown if !own.contains(&write.value) => own.push(write.value),
                    Fate::Unknown | Fate::Refused => {}
                }
            }
        }
    }

    fn keep(&mut self, reads: Vec<Read>, writes: Vec<Write>, fate: Fate) {
        self.txns.push(Txn { reads, writes, fate });
    }

    fn miss<T>(&mut self, message: &str) -> Option<T> {
        let plain: String = message.chars().filter(|c| !c.is_ascii_digit()).take(160).collect();
        *self.failed.entry(plain).or_default() += 1;
        self.doubt = true;
        None
    }
}

fn row(write: &Write) -> Value {
    json!({ "k": Rows::key(write.row), "v": write.value })
}

/// The rows that `get --siblings` shows.
pub(crate) fn reads(report: &Value) -> Result<Vec<Read>> {
    let value = |row: &Value| row["v"].as_u64().with_context(|| format!("a row without a value: {row}"));
    let one = |found: &Value| -> Result<Read> {
        let key = found["key"].as_str().context("a row without a key")?;
        let row = Rows::of(key).with_context(|| format!("a row that nobody writes: {key}"))?;
        let siblings = found["siblings"].as_array().context("a row without siblings")?;
        let visible =
            siblings.iter().find(|sibling| sibling["visible"] == true).context("none of the siblings is visible")?;
        let visible = Some(value(&visible["row"])?);
        Ok(Read { row, visible, siblings: siblings.iter().map(|one| value(&one["row"])).collect::<Result<_>>()? })
    };
    report["rows"].as_array().context("a look without rows")?.iter().map(one).collect()
}
