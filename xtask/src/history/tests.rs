//! Histories with planted anomalies: each is found, by its name, and honest ones are not.

use syncline_base::rng::Rng;

use super::*;

fn read(row: Row, siblings: &[Written]) -> Read {
    Read { row, visible: siblings.iter().max().copied(), siblings: siblings.to_vec() }
}

fn look(reads: &[(Row, &[Written])]) -> Txn {
    Txn { reads: reads.iter().map(|(row, siblings)| read(*row, siblings)).collect(), writes: vec![], fate: Fate::Done }
}

fn put(writes: &[(Row, Written, &[Written])], fate: Fate) -> Txn {
    let write =
        |(row, value, over): &(Row, Written, &[Written])| Write { row: *row, value: *value, over: over.to_vec() };
    Txn { reads: vec![], writes: writes.iter().map(write).collect(), fate }
}

fn judge(sessions: Vec<Vec<Txn>>, end: &[(Row, &[Written])]) -> Verdict {
    let end = end.iter().map(|(row, siblings)| (*row, siblings.to_vec())).collect();
    History { sessions, watchers: vec![], clocks: false }.judge(&end)
}

fn says(verdict: &Verdict, what: &str) {
    assert!(verdict.wrong.iter().any(|wrong| wrong.contains(what)), "{what}: {:?}", verdict.wrong);
}

const DONE: Fate = Fate::Done;

#[test]
fn an_honest_history_is_allowed_and_each_write_is_accounted_for() {
    let one = vec![put(&[(0, 1, &[]), (1, 2, &[])], DONE), put(&[(0, 3, &[1])], DONE), look(&[(0, &[3]), (1, &[2])])];
    // It has seen only the first transaction, and writes beside the second one.
    let two = vec![look(&[(0, &[1]), (1, &[2])]), put(&[(0, 4, &[1])], DONE), look(&[(0, &[3, 4])])];
    let three = vec![put(&[(1, 5, &[2])], Fate::Unknown), put(&[(1, 6, &[2])], Fate::Refused)];
    let verdict = judge(vec![one, two, three], &[(0, &[3, 4]), (1, &[2])]);
    assert_eq!(verdict.wrong, Vec::<String>::new());
    let Audit { acknowledged, visible, siblings, overwritten, lost } = verdict.audit;
    assert_eq!((acknowledged, visible, siblings, overwritten, lost), (4, 1, 2, 1, 0));
    assert_eq!((verdict.unknown, verdict.unknown_seen), (1, 0));
}

#[test]
fn half_a_transaction_is_found() {
    let one = vec![put(&[(0, 1, &[]), (1, 2, &[])], DONE), put(&[(0, 3, &[1]), (1, 4, &[2])], DONE)];
    let verdict = judge(vec![one, vec![look(&[(0, &[3]), (1, &[2])])]], &[(0, &[3]), (1, &[4])]);
    says(&verdict, "read atomicity");
    says(&verdict, "causal consistency");
}

#[test]
fn an_effect_without_its_cause_is_found() {
    // The second session answers what it read of the first; the third sees the answer and not the question. Each look by itself is whole.
    let one = vec![put(&[(0, 1, &[])], DONE), put(&[(0, 2, &[1])], DONE)];
    let two = vec![look(&[(0, &[2])]), put(&[(1, 3, &[])], DONE)];
    let three = vec![look(&[(1, &[3])]), look(&[(0, &[1])])];
    let verdict = judge(vec![one, two, three], &[(0, &[2]), (1, &[3])]);
    says(&verdict, "causal consistency");
    says(&verdict, "siblings: session 2 #1");
    assert!(!verdict.wrong.iter().any(|wrong| wrong.contains("read atomicity")), "{:?}", verdict.wrong);
}

#[test]
fn going_back_and_not_seeing_ones_own_are_found() {
    let one = vec![put(&[(0, 1, &[])], DONE), put(&[(0, 2, &[1])], DONE)];
    let back = vec![look(&[(0, &[2])]), look(&[(0, &[1])])];
    says(&judge(vec![one, back], &[(0, &[2])]), "causal consistency");
    let own = vec![put(&[(0, 1, &[])], DONE), put(&[(0, 2, &[1])], DONE), look(&[(0, &[1])])];
    says(&judge(vec![own], &[(0, &[2])]), "read atomicity");
    let nothing = vec![put(&[(0, 1, &[])], DONE), look(&[(0, &[])])];
    says(&judge(vec![nothing], &[(0, &[1])]), "read nothing in row 0");
}

#[test]
fn lost_updates_are_found() {
    // Both have read 1, and neither the other's: both have to stay. Seen at once, and in the end.
    let sessions = vec![
        vec![put(&[(0, 1, &[])], DONE)],
        vec![look(&[(0, &[1])]), put(&[(0, 2, &[1])], DONE)],
        vec![look(&[(0, &[1])]), put(&[(0, 3, &[1])], DONE)],
        vec![look(&[(0, &[2])]), look(&[(0, &[3])])],
    ];
    let verdict = judge(sessions.clone(), &[(0, &[3])]);
    says(&verdict, "siblings: session 3 #1");
    says(&verdict, "audit: LOST: row 0 ends with [3], without session 1 #1");
    assert_eq!(verdict.audit.lost, 1);
    assert_eq!(judge(sessions[..3].to_vec(), &[(0, &[2, 3])]).wrong, Vec::<String>::new());
}

#[test]
fn what_was_overwritten_does_not_come_back() {
    let one = vec![put(&[(0, 1, &[])], DONE), put(&[(0, 2, &[1])], DONE)];
    let verdict = judge(vec![one.clone(), vec![look(&[(0, &[1, 2])])]], &[(0, &[2])]);
    says(&verdict, "which was overwritten before");
    says(&judge(vec![one], &[(0, &[1, 2])]), "audit: row 0 ends with 1");
}

#[test]
fn what_nobody_wrote_and_what_was_refused_is_found() {
    says(&judge(vec![vec![look(&[(0, &[7])])]], &[]), "which nobody wrote");
    let refused = vec![vec![put(&[(0, 7, &[])], Fate::Refused)], vec![look(&[(0, &[7])])]];
    says(&judge(refused, &[]), "whose writer was refused");
    let elsewhere = vec![vec![put(&[(0, 7, &[])], DONE)], vec![look(&[(1, &[7])])]];
    says(&judge(elsewhere, &[(0, &[7])]), "wrote it to another one");
}

#[test]
fn readers_that_order_two_writes_differently_forever_are_found() {
    // Both have both writes and see another one of them: no order of all transactions explains it.
    let see = |visible| Txn { reads: vec![Read { row: 0, visible: Some(visible), siblings: vec![1, 2] }], ..look(&[]) };
    let sessions = vec![vec![put(&[(0, 1, &[])], DONE)], vec![put(&[(0, 2, &[])], DONE)], vec![see(1)], vec![see(2)]];
    says(&judge(sessions, &[(0, &[1, 2])]), "causal consistency");
}

#[test]
fn an_unanswered_write_may_show_late_and_then_counts_whole() {
    let one = vec![
        put(&[(0, 1, &[]), (1, 2, &[])], DONE),
        put(&[(0, 3, &[1]), (1, 4, &[2])], Fate::Unknown),
        look(&[(0, &[1])]),
    ];
    let late = vec![look(&[(0, &[3]), (1, &[4])])];
    let verdict = judge(vec![one.clone(), late], &[(0, &[3]), (1, &[4])]);
    assert_eq!((verdict.wrong, verdict.unknown_seen), (Vec::new(), 1));
    let half = vec![look(&[(0, &[3]), (1, &[2])])];
    says(&judge(vec![one, half], &[(0, &[3]), (1, &[4])]), "read atomicity");
}

#[test]
fn a_history_is_text_for_checkers_of_registers_with_one_value() {
    let one = vec![put(&[(0, 1, &[])], DONE), put(&[(0, 2, &[1])], Fate::Unknown), look(&[(0, &[1])])];
    // Values beside the one that readers see are read from keys of their own (3 is that of 1), and so is the past of what has no answer (4).
    let two =
        vec![put(&[(1, 7, &[])], Fate::Refused), look(&[(1, &[])]), put(&[(0, 3, &[])], DONE), look(&[(0, &[1, 3])])];
    let history = History { sessions: vec![one, two], watchers: vec![], clocks: false };
    let lines = [
        "r(2,0,0,0) w(0,2,0,0) w(3,2,0,0) w(4,1,0,0)",
        "r(4,1,2,1) w(0,3,2,1)",
        "r(0,2,0,2)",
        "w(1,8,1,-1)",
        "r(2,0,1,4) r(1,0,1,4)",
        "w(0,4,1,5)",
        "r(0,4,1,6) r(3,2,1,6)",
    ];
    assert_eq!(history.as_plume().lines().collect::<Vec<_>>().join(" "), lines.join(" "));
}

#[test]
fn what_followers_are_told_is_whole_once_in_order_and_all() {
    let one = vec![put(&[(0, 1, &[]), (1, 2, &[])], DONE), put(&[(0, 3, &[1])], DONE)];
    let two = vec![look(&[(0, &[3])]), put(&[(1, 4, &[2])], DONE), put(&[(1, 5, &[4])], Fate::Unknown)];
    let txn = |values: &[(Row, Written)]| Step::Txn(values.to_vec());
    let (a, b, c) = (txn(&[(0, 1), (1, 2)]), txn(&[(0, 3)]), txn(&[(1, 4)]));
    let judge = |steps: &[&Step]| {
        let watchers = vec![steps.iter().map(|step| (*step).clone()).collect()];
        let end = [(0, vec![3]), (1, vec![4])].into_iter().collect();
        History { sessions: vec![one.clone(), two.clone()], watchers, clocks: false }.judge(&end)
    };
    assert_eq!(judge(&[&a, &b, &c]).wrong, Vec::<String>::new());
    says(&judge(&[&a, &c, &b]), "before session 0 #1");
    says(&judge(&[&a, &b]), "was never told session 1 #1");
    says(&judge(&[&a, &b, &b, &c]), "twice");
    says(&judge(&[&txn(&[(0, 1)]), &b, &c]), "as one transaction");
    says(&judge(&[&txn(&[(0, 9)]), &a, &b, &c]), "which nobody wrote");
    // What a follower was told in place of transactions may hold some of them, and then they do not come any more.
    let state = Step::State(vec![(1, 2)]);
    assert_eq!(judge(&[&a, &state, &c]).wrong, Vec::<String>::new());
    says(&judge(&[&a, &state, &c, &b]), "after what came after it");
    // Unanswered, and told all the same: it took effect.
    assert_eq!(judge(&[&a, &b, &c, &txn(&[(1, 5)])]).unknown_seen, 1);
}

/// Replicas that deliver each other's transactions in causal order, as simple as can be; with `broken`, one of them now and then does not.
fn play(seed: u64, broken: bool) -> Verdict {
    let mut rng = Rng::from_seed(seed);
    let mut pick = |n: usize| usize::try_from(rng.below(n as u64)).unwrap();
    let (nodes, rows) = (3, 3);
    let mut state: Vec<Vec<Vec<Written>>> = vec![vec![vec![]; rows]; nodes];
    // Each node's transactions with how much of the others' it had, and how much each node has of each.
    let mut sent: Vec<Vec<(Vec<usize>, Vec<Write>)>> = vec![vec![]; nodes];
    let mut have = vec![vec![0; nodes]; nodes];
    let mut sessions = vec![vec![]; nodes];
    let mut next = 0;
    let apply = |state: &mut Vec<Vec<Written>>, writes: &[Write]| {
        for write in writes {
            state[write.row].retain(|old| !write.over.contains(old));
            state[write.row].push(write.value);
        }
    };
    for _ in 0..120 {
        let node = pick(nodes);
        match pick(3) {
            0 => {
                let from = pick(nodes);
                if let Some((needs, writes)) = sent[from].get(have[node][from]).cloned() {
                    let ready = needs.iter().enumerate().all(|(other, n)| other == from || have[node][other] >= *n);
                    if from != node && (ready || broken) {
                        have[node][from] += 1;
                        apply(&mut state[node], &writes);
                    }
                }
            }
            1 => {
                let (a, b) = (pick(rows), pick(rows));
                let both = [(a, state[node][a].as_slice()), (b, state[node][b].as_slice())];
                sessions[node].push(look(&both[..1 + usize::from(a != b)]));
            }
            _ => {
                let (a, b) = (pick(rows), pick(rows));
                let all: Vec<Row> = if a == b { vec![a] } else { vec![a, b] };
                let reads: Vec<(Row, &[Written])> =
                    all.iter().map(|row| (*row, state[node][*row].as_slice())).collect();
                sessions[node].push(look(&reads));
                let write = |row: Row| {
                    next += 1;
                    Write { row, value: next, over: state[node][row].clone() }
                };
                let writes: Vec<Write> = all.into_iter().map(write).collect();
                sent[node].push((have[node].clone(), writes.clone()));
                have[node][node] += 1;
                apply(&mut state[node], &writes);
                sessions[node].push(Txn { reads: vec![], writes, fate: DONE });
            }
        }
    }
    let mut end = vec![vec![]; rows];
    let mut done = vec![0; nodes];
    while let Some(from) = (0..nodes).find(|from| {
        let next = sent[*from].get(done[*from]);
        next.is_some_and(|(needs, _)| needs.iter().enumerate().all(|(other, n)| other == *from || done[other] >= *n))
    }) {
        apply(&mut end, &sent[from][done[from]].1);
        done[from] += 1;
    }
    History { sessions, watchers: vec![], clocks: false }.judge(&end.into_iter().enumerate().collect())
}

#[test]
fn causal_delivery_is_always_allowed_and_any_other_is_often_found() {
    let mut found = 0;
    for seed in 0..200 {
        let honest = play(seed, false);
        assert_eq!(honest.wrong, Vec::<String>::new(), "seed {seed}");
        assert_eq!(honest.audit.lost, 0);
        found += usize::from(!play(seed, true).wrong.is_empty());
    }
    assert!(found > 50, "only {found} of 200 histories without causal delivery were found");
}
