//! Transactions at several replicas at once, against a model that does them one after another.

use syncline_base::rng::Rng;

use super::*;

const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];
const EACH: i64 = 100;

/// What an accepted transaction had read, and what it wrote.
struct Accepted {
    /// Its place in the certifier's log: all are written there, so they count there.
    place: u64,
    read: BTreeMap<String, i64>,
    wrote: BTreeMap<String, i64>,
}

fn place(transaction: &str) -> u64 {
    token::parse_dot(transaction).expect("an identity").seq
}

/// Reads all accounts, decides by some of them, and writes one or two: a transfer, or, like doctors that go off call, a withdrawal that another
/// account covers.
fn transact(at: &Place, rng: &mut Rng) -> Option<Accepted> {
    let (all, conflicts, position) = at.all();
    assert_eq!(conflicts, 0);
    let (from, to) = (ACCOUNTS[rng.below(4) as usize], ACCOUNTS[rng.below(4) as usize]);
    if from == to {
        return None;
    }
    let amount = rng.below(40) as i64 + 1;
    let covered = rng.below(2) == 0;
    let (had, other) = (all[from], all[to]);
    let read = BTreeMap::from([(from.to_owned(), had), (to.to_owned(), other)]);
    let wrote = if covered {
        // The two together may not fall below nothing.
        if had + other < amount {
            return None;
        }
        BTreeMap::from([(from.to_owned(), had - amount)])
    } else {
        BTreeMap::from([(from.to_owned(), had - amount), (to.to_owned(), other + amount)])
    };
    let mut lines = format!(
        "{{\"op\":\"begin\",\"read\":{position:?},\"reads\":[{{\"table\":\"t\",\"key\":{from:?}}},{{\"table\":\"t\",\"key\":{to:?}}}]}}\n"
    );
    for (id, n) in &wrote {
        lines += &format!("{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":{id:?},\"n\":{n}}}}}\n");
    }
    match at.apply(&lines) {
        Ok(report) => Some(Accepted { place: place(&report.transaction), read, wrote }),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Conflict, "{error}");
            None
        }
    }
}

/// One after another in the order of the certifier's log, each reads what the ones before it wrote.
fn replay(mut accepted: Vec<Accepted>) -> BTreeMap<String, i64> {
    accepted.sort_by_key(|one| one.place);
    let mut model: BTreeMap<String, i64> = ACCOUNTS.iter().map(|id| ((*id).to_owned(), EACH)).collect();
    for one in &accepted {
        for (id, n) in &one.read {
            assert_eq!(model[id], *n, "transaction {} had not read what was there of {id}", one.place);
        }
        model.extend(one.wrote.clone());
    }
    assert!(accepted.windows(2).all(|pair| pair[0].place < pair[1].place), "two are one transaction");
    model
}

fn open_accounts(hub: &Place) {
    hub.strict("t");
    for id in ACCOUNTS {
        hub.put(id, EACH, None, &[]).expect("an account");
    }
}

#[test]
fn accepted_transactions_of_several_replicas_are_serial_in_the_order_of_the_certifier() {
    for seed in 0..3 {
        let hub = Place::hub();
        open_accounts(&hub);
        // On the way of the second some requests and answers are lost.
        let (one, _cable) = Place::spoke(&hub, 0);
        let (two, _other) = Place::spoke(&hub, 1);
        let accepted = std::thread::scope(|scope| {
            let workers = [(&hub, 0), (&one, 1), (&one, 2), (&two, 3)].map(|(at, nth)| {
                scope.spawn(move || {
                    let mut rng = Rng::from_seed(seed * 16 + nth);
                    (0..25).filter_map(|_| transact(at, &mut rng)).collect::<Vec<_>>()
                })
            });
            workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert!(accepted.len() > 10, "nearly all were refused: {}", accepted.len());
        let model = replay(accepted);
        for at in [&hub, &one, &two] {
            at.settled(&hub);
            let (rows, conflicts, _) = at.all();
            assert_eq!((rows, conflicts), (model.clone(), 0), "seed {seed}");
        }
    }
}

#[test]
fn transfers_keep_the_total_and_counters_count_every_one() {
    let hub = Place::hub();
    hub.strict("t");
    hub.put("n", 0, None, &[]).expect("a counter");
    let (one, _cable) = Place::spoke(&hub, 0);
    let (two, _other) = Place::spoke(&hub, 2);
    std::thread::scope(|scope| {
        for at in [&hub, &one, &two] {
            scope.spawn(move || {
                for _ in 0..15 {
                    loop {
                        let (all, _, position) = at.all();
                        match at.put("n", all["n"] + 1, Some(&position), &[]) {
                            Ok(_) => break,
                            Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(hub.all().0["n"], 45);
}
