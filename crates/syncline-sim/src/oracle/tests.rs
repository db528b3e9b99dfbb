//! The rules of the document case by case (`rules`), each kind of wrong behaviour (`violations`), and the oracle against
//! an implementation of the text that is more naive still (`naive`).

mod naive;
mod rules;
mod violations;

use super::*;

/// Writers.
const A: u128 = 0xa;
const B: u128 = 0xb;
const C: u128 = 0xc;
/// Hubs.
const G: u128 = 0x6;
const H: u128 = 0x7;

/// The `seq`-th transaction of `origin`.
const fn id(origin: u128, seq: u64) -> TxnId {
    TxnId { origin, seq, tag: seq * 0x10 }
}

/// Another one with the same dot.
const fn twin(origin: u128, seq: u64) -> TxnId {
    TxnId { origin, seq, tag: seq * 0x10 + 1 }
}

const fn at(hub: u128, n: u64) -> Stamp {
    Stamp { hub, n }
}

const fn covers(coverage: &[(u128, u64)]) -> Claim<'_> {
    Claim { coverage, pending: &[] }
}

const NOTHING: Claim<'static> = covers(&[]);

/// One sibling: row, whose, time, value, stamps.
type Line<'a> = (u32, TxnId, u64, u64, &'a [Stamp]);

fn rows(lines: &[Line<'_>]) -> Rows {
    let mut rows = Rows::new();
    for (key, id, time, value, stamps) in lines {
        rows.push(*key, *id, *time, *value, stamps.iter().copied());
    }
    rows
}

/// An oracle that is told a story.
#[derive(Default)]
struct Case {
    oracle: Oracle,
    /// The last node that was made up for somebody to read at.
    node: usize,
}

impl Case {
    /// What somebody reads on a node that was not met before and is not met again.
    fn snapshot(&mut self, claim: Claim<'_>) -> Snapshot {
        self.node += 1;
        self.oracle.read(self.node, claim).expect("the claim is right")
    }

    /// A write by somebody who has read `read` on a node that holds just that.
    fn try_write(
        &mut self,
        id: TxnId,
        prev: Option<TxnId>,
        read: Claim<'_>,
        writes: &[Write],
    ) -> Result<(), Violation> {
        let snapshot = self.snapshot(read);
        self.oracle.written(&Written { id, prev, read: &snapshot, hlc: 5000 + id.seq, writes, at: read })
    }

    fn write(&mut self, id: TxnId, prev: Option<TxnId>, read: Claim<'_>, writes: &[Write]) {
        self.try_write(id, prev, read, writes).expect("the write is right");
    }

    /// The hub takes it in, having its own earlier stamps and `others`.
    fn try_stamp(&mut self, stamp: Stamp, id: TxnId, others: &[(u128, u64)]) -> Result<(), Violation> {
        let mut coverage = others.to_vec();
        coverage.push((stamp.hub, stamp.n - 1));
        self.oracle.stamped(stamp, id, 9000, &coverage)
    }

    fn stamp(&mut self, stamp: Stamp, id: TxnId, others: &[(u128, u64)]) {
        self.try_stamp(stamp, id, others).expect("the hub may take it in");
    }

    /// The rows are these and no others.
    #[track_caller]
    fn holds(&self, claim: Claim<'_>, lines: &[Line<'_>]) {
        assert_eq!(self.oracle.check(claim, &rows(lines)), Ok(()));
        for gone in 0..lines.len() {
            let fewer: Vec<_> = lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect();
            let (key, id) = (lines[gone].0, lines[gone].1);
            assert_eq!(self.oracle.check(claim, &rows(&fewer)), Err(Violation::MissingSibling { key, id }));
        }
    }

    /// The first sibling of these rows must not be there.
    #[track_caller]
    fn holds_not(&self, claim: Claim<'_>, lines: &[Line<'_>], why: Unexpected) {
        let (key, id) = (lines[0].0, lines[0].1);
        let found = self.oracle.check(claim, &rows(lines));
        assert_eq!(found, Err(Violation::UnexpectedSibling { key, id, why }));
    }
}
