//! Each rule of the document: what it demands is taken, what it forbids is not.

use super::*;

/// A1 sets row 1 to 10 and has stamp (H, 1).
fn one_value() -> Case {
    let mut case = Case::default();
    case.write(id(A, 1), None, NOTHING, &[(1, Some(10))]);
    case.stamp(at(H, 1), id(A, 1), &[]);
    case
}

const A1: Line<'static> = (1, id(A, 1), 5001, 10, &[at(H, 1)]);

#[test]
fn a_value_is_there_from_its_first_stamp_on() {
    let case = one_value();
    case.holds(NOTHING, &[]);
    case.holds(covers(&[(H, 0)]), &[]);
    case.holds(covers(&[(H, 1)]), &[A1]);
    case.holds_not(NOTHING, &[A1], Unexpected::NotHeld);
}

#[test]
fn a_writer_who_has_read_overwrites() {
    let mut case = one_value();
    case.write(id(B, 1), None, covers(&[(H, 1)]), &[(1, Some(20))]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    let b1: Line<'_> = (1, id(B, 1), 5001, 20, &[at(H, 2)]);
    case.holds(covers(&[(H, 1)]), &[A1]);
    case.holds(covers(&[(H, 2)]), &[b1]);
    case.holds_not(covers(&[(H, 2)]), &[A1, b1], Unexpected::Overwritten { by: id(B, 1) });
}

#[test]
fn writers_who_have_not_read_each_other_both_stay() {
    let mut case = one_value();
    case.write(id(B, 1), None, NOTHING, &[(1, Some(20))]);
    case.stamp(at(G, 1), id(B, 1), &[]);
    let b1: Line<'_> = (1, id(B, 1), 5001, 20, &[at(G, 1)]);
    case.holds(covers(&[(H, 1), (G, 1)]), &[A1, b1]);
    // Siblings come in any order, and so do hubs.
    case.holds(covers(&[(G, 1), (H, 1)]), &[b1, A1]);
}

#[test]
fn a_deletion_removes_what_was_read_and_leaves_nothing() {
    let mut case = one_value();
    case.write(id(B, 1), None, covers(&[(H, 1)]), &[(1, None)]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    case.holds(covers(&[(H, 2)]), &[]);
    case.holds_not(covers(&[(H, 2)]), &[A1], Unexpected::Overwritten { by: id(B, 1) });
    let deleted: Line<'_> = (1, id(B, 1), 5001, 0, &[at(H, 2)]);
    case.holds_not(covers(&[(H, 2)]), &[deleted], Unexpected::NotSet);
}

#[test]
fn a_concurrent_set_survives_a_deletion() {
    let mut case = one_value();
    case.write(id(B, 1), None, covers(&[(H, 1)]), &[(1, None)]);
    case.write(id(C, 1), None, covers(&[(H, 1)]), &[(1, Some(30))]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    case.stamp(at(H, 3), id(C, 1), &[]);
    case.holds(covers(&[(H, 3)]), &[(1, id(C, 1), 5001, 30, &[at(H, 3)])]);
}

#[test]
fn a_deletion_spares_what_it_has_not_read() {
    let mut case = one_value();
    case.write(id(B, 1), None, NOTHING, &[(1, None)]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    case.holds(covers(&[(H, 2)]), &[A1]);
}

#[test]
fn what_counts_is_what_was_read_and_not_what_the_node_had() {
    let mut case = one_value();
    let early = case.snapshot(covers(&[(H, 1)]));
    case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(11))]);
    case.stamp(at(H, 2), id(A, 2), &[]);
    let node = covers(&[(H, 2)]);
    let writes = [(1, Some(20))];
    let late = Written { id: id(B, 1), prev: None, read: &early, hlc: 7000, writes: &writes, at: node };
    case.oracle.written(&late).expect("a client may have read long ago");
    case.stamp(at(H, 3), id(B, 1), &[]);
    let a2: Line<'_> = (1, id(A, 2), 5002, 11, &[at(H, 2)]);
    case.holds(covers(&[(H, 3)]), &[a2, (1, id(B, 1), 7000, 20, &[at(H, 3)])]);
}

#[test]
fn who_has_read_here_and_there_has_read_both() {
    let mut case = one_value();
    case.write(id(B, 1), None, NOTHING, &[(1, Some(20))]);
    case.stamp(at(G, 1), id(B, 1), &[]);
    let (mut read, there) = (case.snapshot(covers(&[(H, 1)])), case.snapshot(covers(&[(G, 1)])));
    read.join(&there);
    let (node, writes) = (covers(&[(H, 1), (G, 1)]), [(1, Some(30))]);
    let both = Written { id: id(C, 1), prev: None, read: &read, hlc: 1, writes: &writes, at: node };
    case.oracle.written(&both).expect("the node holds what was read");
    case.stamp(at(H, 2), id(C, 1), &[(G, 1)]);
    case.holds(covers(&[(H, 2), (G, 1)]), &[(1, id(C, 1), 1, 30, &[at(H, 2)])]);
}

#[test]
fn a_crash_takes_the_end_of_a_chain_and_nothing_before() {
    let mut case = one_value();
    let read = case.snapshot(covers(&[(H, 1)]));
    let write = |case: &mut Case, seq, pending: &[TxnId]| {
        let at = Claim { coverage: &[(H, 1)], pending };
        let (id, prev, writes) = (id(A, seq), Some(id(A, seq - 1)), [(1, Some(seq))]);
        let written = Written { id, prev, read: &read, hlc: 1, writes: &writes, at };
        case.oracle.written(&written).expect("the write is right");
    };
    write(&mut case, 2, &[]);
    case.oracle.acknowledged(id(A, 2)).expect("it is known");
    write(&mut case, 3, &[id(A, 2)]);
    write(&mut case, 4, &[id(A, 2), id(A, 3)]);
    assert_eq!(case.oracle.forget_chain(id(A, 4), Some(id(A, 2)), Loss::Crash), Ok(()));
    assert_eq!(case.oracle.progress(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 2)] }), Ok(()));
    let gone = case.oracle.progress(0, Claim { coverage: &[(H, 1)], pending: &[id(A, 2), id(A, 3)] });
    assert_eq!(gone, Err(Violation::Forgotten { id: id(A, 3) }));
}

#[test]
fn rows_are_apart() {
    let mut case = Case::default();
    case.write(id(A, 1), None, NOTHING, &[(3, Some(10)), (1, Some(11)), (2, None)]);
    case.stamp(at(H, 1), id(A, 1), &[]);
    case.write(id(B, 1), None, covers(&[(H, 1)]), &[(1, None), (2, Some(22))]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    case.holds(covers(&[(H, 2)]), &[(2, id(B, 1), 5001, 22, &[at(H, 2)]), (3, id(A, 1), 5001, 10, &[at(H, 1)])]);
    case.holds_not(covers(&[(H, 2)]), &[(0, id(A, 1), 5001, 10, &[at(H, 1)])], Unexpected::NotSet);
    case.holds_not(covers(&[(H, 0)]), &[(9, id(A, 1), 5001, 10, &[at(H, 1)])], Unexpected::NotSet);
}

#[test]
fn a_transaction_with_two_stamps_is_one_transaction() {
    let mut case = one_value();
    // G attests a time far before the writer's clock.
    case.oracle.stamped(at(G, 1), id(A, 1), 3000, &[]).expect("G does not know that H has it");
    case.holds(covers(&[(H, 1)]), &[(1, id(A, 1), 5001, 10, &[at(H, 1)])]);
    case.holds(covers(&[(G, 1)]), &[(1, id(A, 1), 4000, 10, &[at(G, 1)])]);
    case.holds(covers(&[(H, 1), (G, 1)]), &[(1, id(A, 1), 4000, 10, &[at(G, 1), at(H, 1)])]);

    // Who has read it by one stamp has read it, wherever it is known by the other.
    case.write(id(B, 1), None, covers(&[(G, 1)]), &[(1, Some(20))]);
    case.stamp(at(G, 2), id(B, 1), &[]);
    let b1: Line<'_> = (1, id(B, 1), 5001, 20, &[at(G, 2)]);
    case.holds(covers(&[(H, 1), (G, 2)]), &[b1]);
    case.holds_not(covers(&[(H, 1), (G, 2)]), &[A1, b1], Unexpected::Overwritten { by: id(B, 1) });
}

/// A2 and its twin, both after A1, taken in by different hubs.
fn forked() -> Case {
    let mut case = one_value();
    case.oracle.may_fork(A);
    case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(12))]);
    case.write(twin(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(13))]);
    case.stamp(at(H, 2), id(A, 2), &[]);
    case.stamp(at(G, 1), twin(A, 2), &[(H, 1)]);
    case
}

#[test]
fn both_branches_of_a_fork_are_there() {
    let mut case = forked();
    let left: Line<'_> = (1, id(A, 2), 5002, 12, &[at(H, 2)]);
    let right: Line<'_> = (1, twin(A, 2), 5002, 13, &[at(G, 1)]);
    case.holds(covers(&[(H, 2), (G, 1)]), &[left, right]);
    // Who goes on from one has read that one.
    case.write(id(A, 3), Some(id(A, 2)), covers(&[(H, 2)]), &[(1, Some(14))]);
    case.stamp(at(H, 3), id(A, 3), &[]);
    case.holds(covers(&[(H, 3), (G, 1)]), &[right, (1, id(A, 3), 5003, 14, &[at(H, 3)])]);
}

#[test]
fn clients_see_what_is_pending() {
    let mut case = one_value();
    let own = [id(B, 1), id(B, 2)];
    let covered = [(H, 1)];
    case.write(own[0], None, covers(&covered), &[(1, Some(20)), (2, Some(21))]);
    let before = Claim { coverage: &covered, pending: &own[..1] };
    case.write(own[1], Some(own[0]), before, &[(2, None)]);
    let claim = Claim { coverage: &covered, pending: &own };
    let pending: Line<'_> = (1, own[0], 5001, 20, &[]);

    assert_eq!(case.oracle.check_view(before, &rows(&[pending, (2, own[0], 5001, 21, &[])])), Ok(()));
    assert_eq!(case.oracle.check_view(claim, &rows(&[pending])), Ok(()));
    case.holds(claim, &[A1]);
    let found = case.oracle.check_view(claim, &rows(&[A1, pending]));
    let why = Unexpected::Overwritten { by: own[0] };
    assert_eq!(found, Err(Violation::UnexpectedSibling { key: 1, id: id(A, 1), why }));

    // A hub may have it already: as long as the node has not heard of it, the stamp is not known there.
    case.stamp(at(H, 2), own[0], &[]);
    assert_eq!(case.oracle.check_view(claim, &rows(&[pending])), Ok(()));
    let heard = Claim { coverage: &[(H, 2)], pending: &own[1..] };
    assert_eq!(case.oracle.check_view(heard, &rows(&[(1, own[0], 5001, 20, &[at(H, 2)])])), Ok(()));
    assert_eq!(case.oracle.observe(99, claim, &rows(&[A1])), Ok(()));
}

#[test]
fn a_clock_that_is_ahead_does_not_win_for_ever() {
    let mut case = Case::default();
    let ahead = Snapshot::default();
    let writes = [(1, Some(10))];
    let wild = Written { id: id(A, 1), prev: None, read: &ahead, hlc: 1_000_000, writes: &writes, at: NOTHING };
    case.oracle.written(&wild).expect("clocks may be wrong");
    let pending = Claim { coverage: &[], pending: &[id(A, 1)] };
    let shown = |origin, time, value, conflict| Some(Winner { id: id(origin, 1), time, value, conflict });
    assert_eq!(case.oracle.check_winner(pending, 1, shown(A, 1_000_000, 10, false)), Ok(()));

    case.oracle.stamped(at(H, 1), id(A, 1), 4000, &[]).expect("H is new");
    assert_eq!(case.oracle.check_winner(covers(&[(H, 1)]), 1, shown(A, 5000, 10, false)), Ok(()));
    case.write(id(B, 1), None, NOTHING, &[(1, Some(20))]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    assert_eq!(case.oracle.check_winner(covers(&[(H, 2)]), 1, shown(B, 5001, 20, true)), Ok(()));
}

#[test]
fn the_last_writer_is_decided_by_time_then_name() {
    let mut case = Case::default();
    for origin in [C, A, B] {
        case.write(id(origin, 1), None, NOTHING, &[(1, Some(7))]);
    }
    case.stamp(at(H, 1), id(C, 1), &[]);
    case.stamp(at(H, 2), id(A, 1), &[]);
    let claim = Claim { coverage: &[(H, 2)], pending: &[id(B, 1)] };
    // Equal values are no conflict.
    let winner = Winner { id: id(C, 1), time: 5001, value: 7, conflict: false };
    assert_eq!(case.oracle.check_winner(claim, 1, Some(winner)), Ok(()));
    assert_eq!(case.oracle.check_winner(claim, 2, None), Ok(()));
    let wrong = case.oracle.check_winner(claim, 2, Some(winner));
    assert_eq!(wrong, Err(Violation::WrongWinner { key: 2, expected: None, found: Some(id(C, 1)) }));
}

#[test]
fn what_was_never_told_may_be_lost_and_its_names_used_again() {
    let mut case = one_value();
    case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(11))]);
    case.stamp(at(H, 2), id(A, 2), &[]);
    assert_eq!(case.oracle.root(&[(H, 2)], [2; 32]), Ok(()));
    assert_eq!(case.oracle.forget_stamps(H, 1, Loss::Crash), Ok(()));
    assert_eq!(case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash), Ok(()));
    case.holds(covers(&[(H, 1)]), &[A1]);

    case.write(twin(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(12))]);
    case.stamp(at(H, 2), twin(A, 2), &[]);
    case.holds(covers(&[(H, 2)]), &[(1, twin(A, 2), 5002, 12, &[at(H, 2)])]);
    assert_eq!(case.oracle.root(&[(H, 2)], [3; 32]), Ok(()));
}

#[test]
fn the_same_transaction_may_come_again() {
    let mut case = one_value();
    let again = |case: &mut Case| case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(11))]);
    again(&mut case);
    again(&mut case);
    assert_eq!(case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Crash), Ok(()));
    again(&mut case);
    case.stamp(at(H, 2), id(A, 2), &[]);
    case.holds(covers(&[(H, 2)]), &[(1, id(A, 2), 5002, 11, &[at(H, 2)])]);
}

#[test]
fn a_disk_may_take_what_only_it_had() {
    let mut case = one_value();
    case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(11))]);
    case.stamp(at(H, 2), id(A, 2), &[]);
    case.oracle.acknowledged(id(A, 2)).expect("it is known");
    assert_eq!(case.oracle.observe(0, covers(&[(H, 2)]), &rows(&[(1, id(A, 2), 5002, 11, &[at(H, 2)])])), Ok(()));
    case.oracle.restored(0);
    assert_eq!(case.oracle.forget_stamps(H, 1, Loss::Disk), Ok(()));
    assert_eq!(case.oracle.forget_chain(id(A, 2), Some(id(A, 1)), Loss::Disk), Ok(()));
    assert_eq!(case.oracle.observe(0, covers(&[(H, 1)]), &rows(&[A1])), Ok(()));
    let audit = case.oracle.fates(&[(covers(&[(H, 1)]), &rows(&[A1]))]);
    assert_eq!(audit, Ok(Audit { acknowledged: 1, lost: 1, ..Audit::default() }));
}

#[test]
fn refused_transactions_are_written_again() {
    let mut case = forked();
    // The writer of the twin's branch goes on, is refused, and takes origin B.
    case.write(twin(A, 3), Some(twin(A, 2)), covers(&[(H, 1), (G, 1)]), &[(1, Some(14))]);
    let first = Claim { coverage: &[(H, 1), (G, 1)], pending: &[twin(A, 3)] };
    let last = TxnId { tag: 0x99, ..id(A, 4) };
    case.write(last, Some(twin(A, 3)), first, &[(1, Some(15)), (2, Some(16))]);
    case.oracle.acknowledged(last).expect("it is known");
    let old = [twin(A, 3), last];
    let node = 0;
    assert_eq!(case.oracle.progress(node, Claim { coverage: first.coverage, pending: &old }), Ok(()));

    let seen = [(H, 2), (G, 1)];
    assert_eq!(case.oracle.progress(node, Claim { coverage: &seen, pending: &old }), Ok(()));
    assert_eq!(case.oracle.rewritten(twin(A, 3), id(B, 1), None, 5003), Ok(()));
    assert_eq!(case.oracle.rewritten(last, id(B, 2), Some(id(B, 1)), 5004), Ok(()));
    // A crash takes the second, and it is written once more.
    assert_eq!(case.oracle.forget_chain(id(B, 2), Some(id(B, 1)), Loss::Crash), Ok(()));
    assert_eq!(case.oracle.rewritten(last, id(B, 2), Some(id(B, 1)), 5004), Ok(()));
    let new = Claim { coverage: &seen, pending: &[id(B, 1), id(B, 2)] };
    assert_eq!(case.oracle.progress(node, new), Ok(()));

    case.stamp(at(G, 2), id(B, 1), &[(H, 2)]);
    case.stamp(at(G, 3), id(B, 2), &[(H, 2)]);
    let end = covers(&[(H, 2), (G, 3)]);
    let left: Line<'_> = (1, id(A, 2), 5002, 12, &[at(H, 2)]);
    let table: [Line<'_>; 3] = [left, (1, id(B, 2), 5004, 15, &[at(G, 3)]), (2, id(B, 2), 5004, 16, &[at(G, 3)])];
    case.holds(end, &table);
    let audit = case.oracle.fates(&[(end, &rows(&table))]).expect("all is there");
    assert_eq!(audit, Audit { acknowledged: 1, rewritten: 1, visible: 2, ..Audit::default() });
}

#[test]
fn the_books_are_closed_with_every_fate() {
    let mut case = Case::default();
    case.write(id(A, 1), None, NOTHING, &[(1, Some(10)), (2, Some(11))]);
    case.stamp(at(H, 1), id(A, 1), &[]);
    case.write(id(B, 1), None, covers(&[(H, 1)]), &[(1, Some(20)), (2, None)]);
    case.stamp(at(H, 2), id(B, 1), &[]);
    case.write(id(C, 1), None, covers(&[(H, 1)]), &[(1, Some(30))]);
    case.stamp(at(G, 1), id(C, 1), &[(H, 1)]);
    for origin in [A, B, C] {
        case.oracle.acknowledged(id(origin, 1)).expect("it is known");
    }
    // Of A again, later than B and C, and nobody was told that it is durable.
    case.write(id(A, 2), Some(id(A, 1)), covers(&[(H, 1)]), &[(1, Some(12))]);
    case.stamp(at(H, 3), id(A, 2), &[]);
    let siblings: [Line<'_>; 3] = [
        (1, id(B, 1), 5001, 20, &[at(H, 2)]),
        (1, id(C, 1), 5001, 30, &[at(G, 1)]),
        (1, id(A, 2), 5002, 12, &[at(H, 3)]),
    ];
    let (early, late) = (rows(&siblings[..2]), rows(&siblings));
    let claim = covers(&[(H, 2), (G, 1)]);
    assert_eq!(case.oracle.check(claim, &early), Ok(()));
    let audit = case.oracle.fates(&[(claim, &early), (covers(&[(G, 1), (H, 2)]), &early)]);
    let expected = Audit { acknowledged: 3, visible: 1, outvoted: 1, overwritten: 2, deletions: 1, ..Audit::default() };
    assert_eq!(audit, Ok(expected));
    let claim = covers(&[(H, 3), (G, 1)]);
    assert_eq!(case.oracle.check(claim, &late), Ok(()));
    assert_eq!(case.oracle.fates(&[(claim, &late)]), Ok(Audit { visible: 0, outvoted: 2, ..expected }));
}

#[test]
fn roots_follow_coverage() {
    let mut case = one_value();
    assert_eq!(case.oracle.root(&[], [0; 32]), Ok(()));
    assert_eq!(case.oracle.root(&[(H, 1)], [1; 32]), Ok(()));
    assert_eq!(case.oracle.root(&[(H, 0)], [0; 32]), Ok(()));
    case.write(id(B, 1), None, NOTHING, &[(1, Some(20))]);
    case.stamp(at(G, 1), id(B, 1), &[]);
    assert_eq!(case.oracle.root(&[(G, 1), (H, 1)], [2; 32]), Ok(()));
    assert_eq!(case.oracle.root(&[(H, 1), (G, 1)], [2; 32]), Ok(()));
    assert_eq!(case.oracle.root(&[(H, 1), (G, 0)], [1; 32]), Ok(()));
}

#[test]
fn what_was_right_is_judged_anew_when_rows_differ_or_a_stamp_names_something_else() {
    let mut case = one_value();
    let (claim, shown) = (covers(&[(H, 1)]), rows(&[A1]));
    for _ in 0..2 {
        assert_eq!(case.oracle.observe(0, claim, &shown), Ok(()));
        let missing = Violation::MissingSibling { key: 1, id: id(A, 1) };
        assert_eq!(case.oracle.clone().observe(0, claim, &Rows::new()), Err(missing));
    }
    case.oracle.forget_stamps(H, 0, Loss::Disk).unwrap();
    case.write(id(B, 1), None, NOTHING, &[(1, Some(20))]);
    case.stamp(at(H, 1), id(B, 1), &[]);
    let wrong = Violation::UnexpectedSibling { key: 1, id: id(A, 1), why: Unexpected::NotHeld };
    assert_eq!(case.oracle.observe(0, claim, &shown), Err(wrong));
}
