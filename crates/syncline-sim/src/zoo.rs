//! Whether the simulator would have found what others found late, and for the right reason.
//!
//! A bug counts as found when a seed that is clean without it fails with it, by one of the symptoms that the bug is known for.
//! Another symptom is an accident of how the bug was planted: it would show nothing about the product.

use std::sync::Mutex;

use syncline_sync::live::{Bug, Zoo};

use crate::oracle::{Evidence, Unexpected, Violation};
use crate::report::{Range, each};
use crate::world::{Failure, Unfinished, World};

/// The smallest seed among those tried that fails with this bug as it should, and how.
#[must_use]
pub fn find(bug: Bug, seeds: Range, nodes: usize, steps: usize, threads: usize) -> Option<(u64, String)> {
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    each(seeds, threads, |seed| {
        let Err(failure) = World::new(seed, nodes, steps, Zoo::with(bug), false).run() else { return true };
        // A seed that fails anyway says nothing about the bug.
        if !shows(bug, &failure) || World::new(seed, nodes, steps, Zoo::none(), false).run().is_err() {
            return true;
        }
        let mut found = found.lock().expect("no thread panics while it holds what was found");
        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
            *found = Some((seed, failure.to_string()));
        }
        false
    });
    found.into_inner().expect("no thread panics while it holds what was found")
}

/// Whether a failure is what this bug does to whoever has it.
#[must_use]
pub fn shows(bug: Bug, failure: &Failure) -> bool {
    match failure {
        Failure::Violation(violation) => violates(bug, violation),
        Failure::ClockWentBack(_) => matches!(bug, Bug::ClockNotKept | Bug::ClockCounterReset),
        Failure::WrittenByMachine(_) => matches!(bug, Bug::ResolutionsWrittenBack | Bug::EvictedIsDeleted),
        Failure::NeverQuiet { unfinished: Unfinished::Waiting, .. } => {
            matches!(bug, Bug::SkewRefused | Bug::DotWithoutTag | Bug::SentOnce | Bug::SameNameAfterRestore)
        }
        Failure::NeverQuiet { unfinished: Unfinished::Coverage, .. } => {
            matches!(bug, Bug::SentIsCovered | Bug::ServedFromCutLog)
        }
        Failure::LostUpdate(..) | Failure::StrictConflict => matches!(bug, Bug::CertificationSkipped),
        Failure::NeverQuiet { .. }
        | Failure::Reopened(..)
        | Failure::Unreadable(_)
        | Failure::Distrusted(..)
        | Failure::Unattested(..) => false,
    }
}

/// The rules that each bug breaks.
fn violates(bug: Bug, violation: &Violation) -> bool {
    match bug {
        Bug::ScopeSkipsTorn | Bug::ServedWithinScope => is_gone(violation),
        Bug::DamagedIsServed => is_gone(violation) || is_back(violation) || is_unexpected(violation),
        Bug::SameUnchecked => is_gone(violation) || is_back(violation) || is_unexpected(violation),
        Bug::ScopeNotFilled => is_gone(violation) || matches!(violation, Violation::OutsideScope { .. }),
        Bug::CommitTimeContext | Bug::DeleteWins | Bug::LoserDropped | Bug::SiblingsCapped => is_gone(violation),
        Bug::CoverageAfterPartOfRepair | Bug::RepairNamesMoreThanItHas => is_gone(violation),
        Bug::UnionRepair | Bug::AppliedTwice | Bug::OwnWritesNotRead | Bug::DeleteLoses => is_back(violation),
        Bug::ClockDecides | Bug::TornTransactions => is_gone(violation) || is_back(violation),
        Bug::PartsInstalledApart => {
            matches!(violation, Violation::UnexpectedSibling { why: Unexpected::NotHeld, .. })
        }
        Bug::GapsIgnored => matches!(violation, Violation::NotClosed { .. }),
        Bug::NoTieBreak | Bug::FloatTimes => matches!(violation, Violation::WrongWinner { .. }),
        Bug::OneStampKept => matches!(violation, Violation::MissingStamp { .. } | Violation::WrongTime { .. }),
        Bug::TakenInTwice | Bug::RepairForgetsNames => matches!(violation, Violation::TakenTwice { .. }),
        Bug::AcknowledgedBeforeDurable => {
            matches!(violation, Violation::ForgotTransaction { because: Evidence::Acknowledged, .. })
        }
        Bug::SentBeforeDurable => {
            let told =
                matches!(violation, Violation::ForgotTransaction { because, .. } if *because != Evidence::Acknowledged);
            told || matches!(violation, Violation::ForgotStamp { .. })
        }
        Bug::HubShowsEarly => matches!(violation, Violation::ForgotStamp { .. } | Violation::ForgotTransaction { .. }),
        Bug::SameHubAfterRestore => matches!(violation, Violation::StampReused { .. }),
        Bug::RefusedDropped => matches!(violation, Violation::PendingDropped { .. } | Violation::Missing { .. }),
        // The clock is judged by the world, and what nobody does shows in the end.
        Bug::ClockNotKept
        | Bug::ClockCounterReset
        | Bug::ResolutionsWrittenBack
        | Bug::EvictedIsDeleted
        | Bug::SkewRefused
        | Bug::DotWithoutTag
        | Bug::SameNameAfterRestore
        | Bug::SentOnce
        | Bug::SentIsCovered
        | Bug::ServedFromCutLog
        | Bug::CertificationSkipped => false,
    }
}

/// A value is not there that nobody had overwritten who had read it.
const fn is_gone(violation: &Violation) -> bool {
    matches!(violation, Violation::MissingSibling { .. } | Violation::Vanished { .. })
}

/// A value is there that should not be.
const fn is_unexpected(violation: &Violation) -> bool {
    matches!(violation, Violation::UnexpectedSibling { .. })
}

/// A value is there that was overwritten by somebody who had read it.
const fn is_back(violation: &Violation) -> bool {
    let overwritten = matches!(violation, Violation::UnexpectedSibling { why: Unexpected::Overwritten { .. }, .. });
    overwritten || matches!(violation, Violation::Resurrected { .. })
}
