//! Each kind of wrong behaviour is shown to the oracle, which must name it.

use std::collections::BTreeSet;

use super::*;

/// A story that ends in a violation.
type Story = fn(&mut Case) -> Result<(), Violation>;

/// Defines the names of all variants; does not compile when one is left out.
macro_rules! variants {
    ($($variant:ident),* $(,)?) => {
        const ALL: &[&str] = &[$(stringify!($variant)),*];

        fn name_of(violation: &Violation) -> &'static str {
            match violation {
                $(Violation::$variant { .. } => stringify!($variant)),*
            }
        }
    };
}

variants! {
    UnknownStamp, UnknownTransaction, Forgotten, PendingCovered, PendingOutOfOrder, NotClosed,
    ContentDiffers, DotReused, BadPrev, WroteTwice, WriteAhead, RewrittenTwice,
    StampGap, StampReused, TakenTwice, ForkTaken, ForkedOriginTaken, ChainGap, ReadNotCovered, SeenNotCovered,
    ForgotStamp, ForgotTransaction, NotInChain, WentBack, PendingDropped, Resurrected,
    UnexpectedSibling, MissingSibling, RepeatedSibling, WrongValue, WrongTime, StrangeStamp, MissingStamp,
    WrongWinner, WrongConflict, RootDiffers, NotQuiet, Unequal, Missing, Vanished, OutsideScope,
}

const A1: Line<'static> = (1, id(A, 1), 5001, 10, &[at(H, 1)]);
const H1: Claim<'static> = covers(&[(H, 1)]);

/// A1 sets row 1 to 10 and has stamp (H, 1); A2, which has read it, sets it to 11 and is nowhere yet.
fn start() -> Case {
    let mut case = Case::default();
    case.write(id(A, 1), None, NOTHING, &[(1, Some(10))]);
    case.stamp(at(H, 1), id(A, 1), &[]);
    case.write(id(A, 2), Some(id(A, 1)), H1, &[(1, Some(11))]);
    case
}

/// The claims that are wrong.
const CLAIMS: &[(Violation, Story)] = &[
    (Violation::UnknownStamp { stamp: at(H, 2), last: 1 }, |case| case.oracle.read(0, covers(&[(H, 2)])).map(|_| ())),
    (Violation::UnknownStamp { stamp: at(G, 1), last: 0 }, |case| case.oracle.progress(0, covers(&[(G, 1)]))),
    (Violation::UnknownStamp { stamp: at(H, 5), last: 1 }, |case| case.oracle.forget_stamps(H, 5, Loss::Crash)),
    (Violation::UnknownTransaction { id: id(B, 1) }, |case| case.oracle.acknowledged(id(B, 1))),
    (Violation::UnknownTransaction { id: twin(A, 1) }, |case| {
        case.oracle.sent(0, Claim { coverage: &[], pending: &[twin(A, 1)] })
    }),
    (Violation::Forgotten { id: id(A, 2) }, |case| {
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash)?;
        case.oracle.progress(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] })
    }),
    (Violation::PendingCovered { id: id(A, 1) }, |case| {
        case.oracle.progress(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 1), id(A, 2)] })
    }),
    (Violation::PendingOutOfOrder { id: id(A, 2) }, |case| {
        case.oracle.progress(0, Claim { coverage: &[], pending: &[id(A, 2), id(A, 1)] })
    }),
    (Violation::PendingOutOfOrder { id: id(A, 2) }, |case| {
        case.oracle.progress(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 2), id(A, 2)] })
    }),
    (Violation::NotClosed { stamp: at(G, 1), needs: at(H, 1), has: 0 }, |case| {
        case.stamp(at(G, 1), id(A, 2), &[(H, 1)]);
        case.oracle.progress(0, covers(&[(G, 1)]))
    }),
];

/// Writers that are wrong.
const WRITES: &[(Violation, Story)] = &[
    (Violation::ContentDiffers { id: id(A, 2), what: "writes" }, |case| {
        case.try_write(id(A, 2), Some(id(A, 1)), H1, &[(1, Some(12))])
    }),
    (Violation::ContentDiffers { id: id(A, 2), what: "read" }, |case| {
        let (read, writes) = (Snapshot::default(), [(1, Some(11))]);
        let (id, prev) = (id(A, 2), Some(id(A, 1)));
        case.oracle.written(&Written { id, prev, read: &read, hlc: 5002, writes: &writes, at: H1 })
    }),
    // Also after it was lost: what its name stands for does not change.
    (Violation::ContentDiffers { id: id(A, 2), what: "hlc" }, |case| {
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash)?;
        let (read, writes) = (case.snapshot(H1), [(1, Some(11))]);
        let (id, prev) = (id(A, 2), Some(id(A, 1)));
        case.oracle.written(&Written { id, prev, read: &read, hlc: 6000, writes: &writes, at: H1 })
    }),
    (Violation::DotReused { id: twin(A, 2), other: id(A, 2) }, |case| {
        case.try_write(twin(A, 2), Some(id(A, 1)), H1, &[(1, Some(12))])
    }),
    (Violation::BadPrev { id: id(A, 4), prev: Some(id(A, 2)) }, |case| {
        case.try_write(id(A, 4), Some(id(A, 2)), H1, &[])
    }),
    (Violation::BadPrev { id: id(B, 2), prev: None }, |case| case.try_write(id(B, 2), None, H1, &[])),
    (Violation::BadPrev { id: id(B, 2), prev: Some(id(A, 1)) }, |case| {
        case.try_write(id(B, 2), Some(id(A, 1)), H1, &[])
    }),
    (Violation::UnknownTransaction { id: twin(A, 2) }, |case| case.try_write(id(A, 3), Some(twin(A, 2)), H1, &[])),
    (Violation::WroteTwice { id: id(B, 1), key: 4 }, |case| {
        case.try_write(id(B, 1), None, H1, &[(4, Some(1)), (5, None), (4, None)])
    }),
    (Violation::WriteAhead { id: id(B, 1), missing: id(A, 1) }, |case| {
        let read = case.snapshot(H1);
        case.oracle.written(&Written { id: id(B, 1), prev: None, read: &read, hlc: 1, writes: &[], at: NOTHING })
    }),
    // The node does not have what it says comes before.
    (Violation::WriteAhead { id: id(A, 3), missing: id(A, 2) }, |case| {
        case.try_write(id(A, 3), Some(id(A, 2)), H1, &[])
    }),
    // Two copies of the writer may each do it once.
    (Violation::RewrittenTwice { old: id(A, 2), first: id(B, 1), second: id(B, 2) }, |case| {
        case.oracle.rewritten(id(A, 2), id(C, 1), None, 1)?;
        case.oracle.rewritten(id(A, 2), id(B, 1), None, 1)?;
        case.oracle.rewritten(id(A, 2), id(B, 2), Some(id(B, 1)), 1)
    }),
    // A crash took the new one, and the old one is not pending either.
    // What it said after it came back does not excuse what it does later.
    (Violation::WentBack { node: 3, was: at(H, 1), now: 0, restarted: false }, |case| {
        case.oracle.restarted(3);
        case.oracle.progress(3, H1)?;
        case.oracle.progress(3, NOTHING)
    }),
    // A message that tells of a part takes nothing back.
    (Violation::WentBack { node: 3, was: at(H, 2), now: 1, restarted: false }, |case| {
        case.stamp(at(H, 2), id(A, 2), &[]);
        case.oracle.progress(3, covers(&[(H, 2)]))?;
        case.oracle.sent(3, H1)?;
        case.oracle.progress(3, H1)
    }),
    (Violation::PendingDropped { node: 3, id: id(A, 2) }, |case| {
        case.oracle.progress(3, Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] })?;
        case.oracle.rewritten(id(A, 2), id(B, 1), None, 1)?;
        case.oracle.forget_chain(id(B, 1), None, Loss::Crash)?;
        case.oracle.progress(3, H1)
    }),
];

/// Hubs that are wrong.
const HUBS: &[(Violation, Story)] = &[
    (Violation::StampGap { stamp: at(H, 3), last: 1 }, |case| case.oracle.stamped(at(H, 3), id(A, 2), 9000, &[(H, 1)])),
    (Violation::StampGap { stamp: at(H, 0), last: 1 }, |case| case.oracle.stamped(at(H, 0), id(A, 2), 9000, &[(H, 1)])),
    // It does not cover its own.
    (Violation::StampGap { stamp: at(H, 2), last: 0 }, |case| case.oracle.stamped(at(H, 2), id(A, 2), 9000, &[])),
    (Violation::StampReused { stamp: at(H, 1), was: id(A, 1), now: id(A, 2) }, |case| {
        case.try_stamp(at(H, 1), id(A, 2), &[])
    }),
    (Violation::TakenTwice { stamp: at(H, 2), id: id(A, 1), had: at(H, 1) }, |case| {
        case.try_stamp(at(H, 2), id(A, 1), &[])
    }),
    (Violation::TakenTwice { stamp: at(G, 1), id: id(A, 1), had: at(H, 1) }, |case| {
        case.try_stamp(at(G, 1), id(A, 1), &[(H, 1)])
    }),
    (Violation::ForkTaken { stamp: at(H, 3), id: twin(A, 2), other: id(A, 2) }, |case| {
        fork(case);
        case.try_stamp(at(H, 3), twin(A, 2), &[])
    }),
    (Violation::ForkedOriginTaken { stamp: at(H, 3), id: id(A, 3), fork: twin(A, 2) }, |case| {
        fork(case);
        case.stamp(at(G, 1), twin(A, 2), &[(H, 1)]);
        case.write(id(A, 3), Some(id(A, 2)), covers(&[(H, 2)]), &[]);
        case.try_stamp(at(H, 3), id(A, 3), &[(G, 1)])
    }),
    (Violation::ChainGap { stamp: at(H, 2), id: id(A, 3), prev: id(A, 2) }, |case| {
        let node = Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] };
        case.write(id(A, 3), Some(id(A, 2)), node, &[]);
        case.try_stamp(at(H, 2), id(A, 3), &[])
    }),
    (Violation::ReadNotCovered { stamp: at(G, 1), id: id(B, 1), missing: id(A, 1) }, |case| {
        case.write(id(B, 1), None, H1, &[]);
        case.try_stamp(at(G, 1), id(B, 1), &[])
    }),
    // It has what was read, by another stamp: who hears of it from H alone does not know what (G, 1) was.
    (Violation::SeenNotCovered { stamp: at(H, 2), id: id(B, 1), missing: at(G, 1) }, |case| {
        case.stamp(at(G, 1), id(A, 1), &[]);
        case.write(id(B, 1), None, covers(&[(G, 1)]), &[(1, Some(20))]);
        case.try_stamp(at(H, 2), id(B, 1), &[])
    }),
    // The same, when both were read, here and there.
    (Violation::SeenNotCovered { stamp: at(H, 2), id: id(B, 1), missing: at(G, 1) }, |case| {
        case.stamp(at(G, 1), id(A, 1), &[]);
        let (mut read, there) = (case.snapshot(H1), case.snapshot(covers(&[(G, 1)])));
        read.join(&there);
        let both = covers(&[(H, 1), (G, 1)]);
        case.oracle.written(&Written { id: id(B, 1), prev: None, read: &read, hlc: 1, writes: &[], at: both })?;
        case.try_stamp(at(H, 2), id(B, 1), &[])
    }),
    (Violation::UnknownTransaction { id: id(C, 1) }, |case| case.try_stamp(at(H, 2), id(C, 1), &[])),
];

/// A twin of A2 is written; A2 is (H, 2).
fn fork(case: &mut Case) {
    case.oracle.may_fork(A);
    case.write(twin(A, 2), Some(id(A, 1)), H1, &[(1, Some(12))]);
    case.stamp(at(H, 2), id(A, 2), &[]);
}

/// Nodes that told of what was not durable, or that lose what they had.
const LOSSES: &[(Violation, Story)] = &[
    (Violation::ForgotStamp { hub: H, kept: 0, public: 1 }, |case| case.oracle.forget_stamps(H, 0, Loss::Crash)),
    (Violation::ForgotStamp { hub: H, kept: 1, public: 2 }, |case| {
        case.stamp(at(H, 2), id(A, 2), &[]);
        case.oracle.sent(0, covers(&[(H, 2)]))?;
        case.oracle.forget_stamps(H, 1, Loss::Crash)
    }),
    (forgot(Evidence::Acknowledged), |case| {
        case.oracle.acknowledged(id(A, 2))?;
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash)
    }),
    (forgot(Evidence::Told), |case| {
        case.oracle.sent(0, Claim { coverage: &[], pending: &[id(A, 2)] })?;
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash)
    }),
    (forgot(Evidence::Told), |case| {
        case.oracle.read(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] })?;
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash)
    }),
    (forgot(Evidence::Stamped(at(H, 2))), |case| {
        case.stamp(at(H, 2), id(A, 2), &[]);
        case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Disk)
    }),
    (Violation::NotInChain { newest: id(A, 1), kept: id(A, 2) }, |case| {
        case.oracle.forget_chain(id(A, 1), Some(id(A, 2)), Loss::Crash)
    }),
    (Violation::WentBack { node: 3, was: at(H, 1), now: 0, restarted: false }, |case| {
        case.oracle.progress(3, H1)?;
        case.oracle.progress(3, NOTHING)
    }),
    // It had told others before it was durable.
    (Violation::WentBack { node: 3, was: at(H, 1), now: 0, restarted: true }, |case| {
        case.oracle.sent(3, H1)?;
        case.oracle.restarted(3);
        case.oracle.progress(3, NOTHING)
    }),
    (Violation::PendingDropped { node: 3, id: id(A, 2) }, |case| {
        case.oracle.progress(3, Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] })?;
        case.oracle.progress(3, H1)
    }),
    // Two replicas are joined by the stamps of siblings alone: the other has overwritten A1 under a stamp that is not
    // known here, and it stays.
    (Violation::Resurrected { node: 3, key: 1, id: id(A, 1) }, |case| {
        case.stamp(at(G, 1), id(A, 1), &[]);
        case.write(id(B, 1), None, covers(&[(G, 1)]), &[(1, Some(20))]);
        case.stamp(at(G, 2), id(B, 1), &[]);
        let b1: Line<'_> = (1, id(B, 1), 5001, 20, &[at(G, 2)]);
        case.oracle.observe(3, covers(&[(G, 2)]), &rows(&[b1]))?;
        case.oracle.observe(3, covers(&[(G, 2), (H, 1)]), &rows(&[A1, b1]))
    }),
];

const fn forgot(because: Evidence) -> Violation {
    Violation::ForgotTransaction { id: id(A, 2), because }
}

/// Rows that are wrong.
const ROWS: &[(Violation, Story)] = &[
    (Violation::UnexpectedSibling { key: 1, id: id(A, 1), why: Unexpected::NotHeld }, |case| {
        case.oracle.check(NOTHING, &rows(&[A1]))
    }),
    (Violation::MissingSibling { key: 1, id: id(A, 1) }, |case| case.oracle.observe(0, H1, &Rows::new())),
    (Violation::OutsideScope { key: 1, id: id(A, 1) }, |case| {
        let mut outside = rows(&[A1]);
        outside.only([2]);
        case.oracle.check(H1, &outside)
    }),
    (Violation::RepeatedSibling { key: 1, id: id(A, 1) }, |case| case.oracle.check(H1, &rows(&[A1, A1]))),
    (Violation::WrongValue { key: 1, id: id(A, 1), expected: 10, found: 12 }, |case| {
        case.oracle.check(H1, &rows(&[(1, id(A, 1), 5001, 12, &[at(H, 1)])]))
    }),
    (Violation::WrongTime { key: 1, id: id(A, 1), expected: 5001, found: 10_000 }, |case| {
        case.oracle.check(H1, &rows(&[(1, id(A, 1), 10_000, 10, &[at(H, 1)])]))
    }),
    // A stamp that is not covered, though the transaction has it.
    (Violation::StrangeStamp { key: 1, id: id(A, 1), stamp: at(G, 1) }, |case| {
        case.stamp(at(G, 1), id(A, 1), &[]);
        case.oracle.check(H1, &rows(&[(1, id(A, 1), 5001, 10, &[at(H, 1), at(G, 1)])]))
    }),
    (Violation::StrangeStamp { key: 1, id: id(A, 1), stamp: at(H, 1) }, |case| {
        case.oracle.check(H1, &rows(&[(1, id(A, 1), 5001, 10, &[at(H, 1), at(H, 1)])]))
    }),
    (Violation::MissingStamp { key: 1, id: id(A, 1), stamp: at(G, 1) }, |case| {
        case.stamp(at(G, 1), id(A, 1), &[]);
        case.oracle.check(covers(&[(H, 1), (G, 1)]), &rows(&[A1]))
    }),
    (Violation::UnknownTransaction { id: id(B, 7) }, |case| {
        case.oracle.check(H1, &rows(&[A1, (1, id(B, 7), 5001, 10, &[])]))
    }),
    (Violation::WrongWinner { key: 1, expected: Some(id(A, 1)), found: None }, |case| {
        case.oracle.check_winner(H1, 1, None)
    }),
    (Violation::WrongWinner { key: 1, expected: Some(id(A, 2)), found: Some(id(A, 1)) }, |case| {
        let claim = Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] };
        case.oracle.check_winner(claim, 1, Some(Winner { id: id(A, 1), time: 5001, value: 10, conflict: false }))
    }),
    (Violation::WrongConflict { key: 1, expected: false, found: true }, |case| {
        case.oracle.check_winner(H1, 1, Some(Winner { id: id(A, 1), time: 5001, value: 10, conflict: true }))
    }),
    (Violation::WrongTime { key: 1, id: id(A, 1), expected: 5001, found: 1 }, |case| {
        case.oracle.check_winner(H1, 1, Some(Winner { id: id(A, 1), time: 1, value: 10, conflict: false }))
    }),
    (Violation::WrongValue { key: 1, id: id(A, 1), expected: 10, found: 1 }, |case| {
        case.oracle.check_winner(H1, 1, Some(Winner { id: id(A, 1), time: 5001, value: 1, conflict: false }))
    }),
];

/// Ends that are wrong. The violation of roots has text in it, so that this is no constant.
fn ends() -> Vec<(Violation, Story)> {
    let (was, now) = ("01".repeat(32), "02".repeat(32));
    vec![
        (Violation::RootDiffers { coverage: "7@1".to_owned(), was, now }, |case| {
            case.oracle.root(&[(H, 1)], [1; 32])?;
            case.oracle.root(&[(H, 1)], [2; 32])
        }),
        // Neither do hubs of which one replica has heard nothing.
        (Violation::RootDiffers { coverage: "7@1".to_owned(), was: "03".repeat(32), now: "04".repeat(32) }, |case| {
            case.oracle.root(&[(H, 1)], [3; 32])?;
            case.stamp(at(G, 1), id(A, 1), &[]);
            case.oracle.root(&[(H, 1)], [4; 32])
        }),
        (Violation::NotQuiet { node: 1, pending: 1, first: id(A, 2) }, |case| {
            let busy = Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] };
            case.oracle.fates(&[(H1, &rows(&[A1])), (busy, &rows(&[A1]))]).map(|_| ())
        }),
        (Violation::Unequal { node: 1, hub: H, has: 0, first: 1 }, |case| {
            case.oracle.fates(&[(H1, &rows(&[A1])), (NOTHING, &Rows::new())]).map(|_| ())
        }),
        (Violation::Missing { id: id(A, 2) }, |case| {
            case.oracle.acknowledged(id(A, 2))?;
            case.oracle.fates(&[(H1, &rows(&[A1]))]).map(|_| ())
        }),
        // It was written again, and that is nowhere either.
        (Violation::Missing { id: id(A, 2) }, |case| {
            case.oracle.acknowledged(id(A, 2))?;
            case.oracle.rewritten(id(A, 2), id(B, 1), None, 1)?;
            case.oracle.fates(&[(H1, &rows(&[A1]))]).map(|_| ())
        }),
        (Violation::Vanished { node: 1, id: id(A, 1), key: 1 }, |case| {
            case.oracle.acknowledged(id(A, 1))?;
            case.oracle.fates(&[(H1, &rows(&[A1])), (H1, &Rows::new())]).map(|_| ())
        }),
    ]
}

fn all() -> Vec<(Violation, Story)> {
    let constant = [CLAIMS, WRITES, HUBS, LOSSES, ROWS].into_iter().flatten().cloned();
    constant.chain(ends()).collect()
}

#[test]
fn each_wrong_behaviour_is_named() {
    for (expected, story) in all() {
        assert_eq!(story(&mut start()), Err(expected));
    }
}

#[test]
fn each_violation_has_a_story() {
    let told: BTreeSet<_> = all().iter().map(|(violation, _)| name_of(violation)).collect();
    assert_eq!(told, ALL.iter().copied().collect());
}

#[test]
fn messages_name_the_facts() {
    let said = |violation: Violation| violation.to_string();
    assert_eq!(
        said(Violation::StampReused { stamp: at(H, 1), was: id(A, 1), now: twin(A, 2) }),
        "stamp 7@1 was given to a/1#10 and then to a/2#21"
    );
    assert_eq!(
        said(forgot(Evidence::Stamped(at(H, 2)))),
        "transaction a/2#20 was taken in as 7@2 and is gone after a crash: it had not been durable"
    );
    assert_eq!(
        said(Violation::WrongWinner { key: 1, expected: Some(id(A, 2)), found: None }),
        "row 1 shows nothing, but the last writer is a/2#20"
    );
    let overwritten = Unexpected::Overwritten { by: id(B, 1) };
    assert_eq!(
        said(Violation::UnexpectedSibling { key: 1, id: id(A, 1), why: overwritten }),
        "row 1 has a sibling of a/1#10, which b/1#10 has overwritten"
    );
    assert_eq!(
        said(Violation::WrongConflict { key: 1, expected: false, found: true }),
        "row 1 says that it is in conflict, but that its siblings' values differ is not so"
    );
    assert_eq!(
        said(Violation::WentBack { node: 2, was: at(H, 4), now: 3, restarted: true }),
        "node 2 covered 7@4 and covers 3 of that hub after a restart"
    );
}
