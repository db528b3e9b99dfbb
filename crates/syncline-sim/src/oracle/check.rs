//! Whether the rows of a node are what the document says they are.

use super::Oracle;
use super::facts::{Claim, Rows, Sibling, Stamp, Winner};
use super::ledger::{Key, Ledger};
use super::set::Set;
use super::violation::{Unexpected, Violation};

impl Oracle {
    /// The rows of a replica, without what is pending, are those that follow from its coverage: exactly those siblings,
    /// with exactly the covered stamps, the time that follows from them, and the value that was written.
    ///
    /// `rows` are all rows: one that is not there is one without siblings. The claim's pending transactions do not matter.
    ///
    /// # Errors
    ///
    /// `MissingSibling`, `UnexpectedSibling`, `RepeatedSibling`, `WrongValue`, `WrongTime`, `StrangeStamp`,
    /// `MissingStamp`, and what is wrong with the claim.
    pub fn check(&self, claim: Claim<'_>, rows: &Rows) -> Result<(), Violation> {
        let covered = self.ledger.covered(claim.coverage)?;
        self.ledger.judge(&covered, claim.coverage, rows, None)
    }

    /// The rows that a node shows its clients are those of the replica with what is pending applied after it. A pending
    /// transaction has no stamps yet; its time is its writer's.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub fn check_view(&self, claim: Claim<'_>, rows: &Rows) -> Result<(), Violation> {
        let held = self.ledger.held(claim)?;
        self.ledger.judge(&held, claim.coverage, rows, None)
    }

    /// A node shows the last writer of a row to its clients, or nothing when the row has no sibling.
    ///
    /// # Errors
    ///
    /// `WrongWinner`, `WrongTime`, `WrongValue`, `WrongConflict`, and what is wrong with the claim.
    pub fn check_winner(&self, claim: Claim<'_>, key: u32, shown: Option<Winner>) -> Result<(), Violation> {
        let held = self.ledger.held(claim)?;
        let expected = self.ledger.winner(&held, claim.coverage, key);
        match (expected, shown) {
            (None, None) => Ok(()),
            (Some(expected), Some(shown)) if expected.id == shown.id => {
                let id = shown.id;
                if shown.time != expected.time {
                    return Err(Violation::WrongTime { key, id, expected: expected.time, found: shown.time });
                }
                if shown.value != expected.value {
                    return Err(Violation::WrongValue { key, id, expected: expected.value, found: shown.value });
                }
                if shown.conflict != expected.conflict {
                    return Err(Violation::WrongConflict { key, expected: expected.conflict, found: shown.conflict });
                }
                Ok(())
            }
            _ => Err(Violation::WrongWinner { key, expected: expected.map(|w| w.id), found: shown.map(|w| w.id) }),
        }
    }
}

impl Ledger {
    /// Whether `rows` are those of somebody who holds `held`, with the stamps of `coverage`; and whether none of them is
    /// one that was gone on this node, of which it keeps account.
    pub(super) fn judge(
        &self,
        held: &Set,
        coverage: &[(u128, u64)],
        rows: &Rows,
        mut gone: Option<(usize, &mut Vec<Set>)>,
    ) -> Result<(), Violation> {
        let mut rest = rows.siblings();
        for key in &self.keys {
            let before = rest.iter().take_while(|s| s.key < key.key).count();
            let here = rest[before..].iter().take_while(|s| s.key == key.key).count();
            if before > 0 {
                return Err(self.never_written(&rest[0]));
            }
            let (row, after) = rest.split_at(here);
            if rows.leaves_out(key.key) {
                if let Some(sibling) = row.first() {
                    return Err(Violation::OutsideScope { key: key.key, id: sibling.id });
                }
                rest = after;
                continue;
            }
            let gone = gone.as_mut().map(|(node, gone)| (*node, &mut gone[key.slot]));
            let found = self.find_row(key, row, gone, held)?;
            self.judge_row(key, (held, &found), coverage, (row, rows))?;
            rest = after;
        }
        rest.first().map_or(Ok(()), |sibling| Err(self.never_written(sibling)))
    }

    /// The greatest of a row's siblings by (time, origin, seq, tag).
    pub(super) fn winner(&self, held: &Set, coverage: &[(u128, u64)], key: u32) -> Option<Winner> {
        let siblings = self.siblings(self.key(key)?, held);
        let mut winner: Option<Winner> = None;
        let mut conflict = false;
        for txn in siblings.iter().map(|number| self.txn(number)) {
            let value = txn.write(key).flatten().expect("a sibling's transaction set the row");
            let time = self.time(txn, coverage);
            conflict |= winner.is_some_and(|w| w.value != value);
            if winner.is_none_or(|w| (w.time, w.id) < (time, txn.id)) {
                winner = Some(Winner { id: txn.id, time, value, conflict: false });
            }
        }
        winner.map(|w| Winner { conflict, ..w })
    }

    /// The siblings of a row as a set. None of them may have been gone; those that are held and not there are from now on.
    fn find_row(
        &self,
        key: &Key,
        row: &[Sibling],
        gone: Option<(usize, &mut Set)>,
        held: &Set,
    ) -> Result<Set, Violation> {
        let mut found = Set::default();
        for sibling in row {
            let id = sibling.id;
            if !found.insert(self.live(id)?) {
                return Err(Violation::RepeatedSibling { key: key.key, id });
            }
        }
        if let Some((node, gone)) = gone {
            if let Some(back) = found.first_common(gone) {
                return Err(Violation::Resurrected { node, key: key.key, id: self.id(back) });
            }
            let mut now = key.setters.both(held);
            now.subtract(&found);
            gone.unite(&now);
        }
        Ok(found)
    }

    fn judge_row(
        &self,
        key: &Key,
        (held, found): (&Set, &Set),
        coverage: &[(u128, u64)],
        (row, rows): (&[Sibling], &Rows),
    ) -> Result<(), Violation> {
        let expected = self.siblings(key, held);
        if let Some(number) = found.first_outside(&expected) {
            let why = self.why_not(key, held, number);
            return Err(Violation::UnexpectedSibling { key: key.key, id: self.id(number), why });
        }
        if let Some(number) = expected.first_outside(found) {
            return Err(Violation::MissingSibling { key: key.key, id: self.id(number) });
        }
        row.iter().try_for_each(|sibling| self.judge_sibling(sibling, rows.stamps(sibling), coverage))
    }

    fn judge_sibling(&self, sibling: &Sibling, stamps: &[Stamp], coverage: &[(u128, u64)]) -> Result<(), Violation> {
        let (key, id) = (sibling.key, sibling.id);
        let txn = self.txn(self.live(id)?);
        let known = || self.stamps(txn, coverage).map(|(hub, n)| Stamp { hub: hub.name, n });
        if let Some(stamp) = known().find(|own| !stamps.contains(own)) {
            return Err(Violation::MissingStamp { key, id, stamp });
        }
        // With all that it should have, it has none that it should not have if it has as many.
        if stamps.len() != known().count() {
            let strange = |at: &usize| stamps[..*at].contains(&stamps[*at]) || !known().any(|own| own == stamps[*at]);
            let at = (0..stamps.len()).find(strange).expect("more stamps than its own are others, or its own twice");
            return Err(Violation::StrangeStamp { key, id, stamp: stamps[at] });
        }
        let time = self.time(txn, coverage);
        if sibling.time != time {
            return Err(Violation::WrongTime { key, id, expected: time, found: sibling.time });
        }
        let value = txn.write(key).flatten().expect("a sibling's transaction set the row");
        if sibling.value != value {
            return Err(Violation::WrongValue { key, id, expected: value, found: sibling.value });
        }
        Ok(())
    }

    /// A sibling of a row that nobody ever wrote.
    fn never_written(&self, sibling: &Sibling) -> Violation {
        let (key, id) = (sibling.key, sibling.id);
        match self.live(id) {
            Err(unknown) => unknown,
            Ok(_) => Violation::UnexpectedSibling { key, id, why: Unexpected::NotSet },
        }
    }

    fn why_not(&self, key: &Key, held: &Set, number: u32) -> Unexpected {
        if !key.setters.has(number) {
            return Unexpected::NotSet;
        }
        if !held.has(number) {
            return Unexpected::NotHeld;
        }
        let by = self.overwriter(key, held, number);
        Unexpected::Overwritten { by: self.id(by.expect("what set the row, is held and not overwritten is a sibling")) }
    }
}
