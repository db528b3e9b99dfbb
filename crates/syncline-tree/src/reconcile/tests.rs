use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::*;
use crate::leaf::arbitrary::{self, rng};
use crate::schema::Schema;
use crate::table::model::{self, Maker, Model};
use crate::tests_support::memory_store;

/// Reconciles and applies: the result, and how many messages and bytes were exchanged.
fn run(local: &Table, remote: &Table) -> (Table, usize, usize) {
    let mut session = Session::start(local, &remote.to_ref(), 7).unwrap();
    let (mut trips, mut bytes) = (0, 0);
    while let Some(request) = session.request().unwrap() {
        let reply = serve(remote.store(), &request).unwrap();
        (trips, bytes) = (trips + 1, bytes + request.len() + reply.len());
        let held = session.held();
        session.reply(&reply).unwrap();
        // 3 asks for rows: those that came are held.
        assert_eq!(session.held() > held, request[0] == 3);
    }
    let changes = session.finish().unwrap();
    (local.apply(changes.into_iter().map(Ok)).unwrap().0, trips, bytes)
}

/// The same rows in two stores, and changes to one of them.
fn apart(rng: &mut Rng, rows: i64, percent: u64) -> (Table, Table) {
    let schema = model::schema(rng);
    apart_of(rng, schema, (rows, percent), arbitrary::rows)
}

/// As [`apart`], with a maker of rows.
fn apart_of(rng: &mut Rng, schema: Schema, (rows, percent): (i64, u64), maker: Maker) -> (Table, Table) {
    let mut all = Model::new();
    let ids: Vec<i64> = (0..rows).collect();
    let batch = model::made(rng, &schema, &ids, maker);
    ids.iter().for_each(|id| drop(all.insert(*id, batch.slice(*id as usize, 1))));
    let here = model::build(&memory_store(), &schema, &all);
    let changes = model::changes_of(rng, &schema, &all, (rows + 20, percent), maker);
    model::apply(&mut all, &changes);
    (here, model::build(&memory_store(), &schema, &all))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn tables_come_together(seed: u64) {
        let mut rng = rng(seed);
        for (rows, percent) in [(0, 50), (10, 30), (2500, 1), (500, 60)] {
            let (a, b) = apart(&mut rng, rows, percent);
            let empty = a.emptied();
            for (local, remote) in [(&a, &b), (&b, &a), (&a, &a), (&empty, &b), (&a, &empty)] {
                prop_assert_eq!(run(local, remote).0.to_ref(), remote.to_ref());
            }
        }
    }

    #[test]
    fn tables_with_cells_outside_of_their_leaves_come_together(seed: u64) {
        let mut rng = rng(seed);
        for (rows, percent) in [(0, 90), (60, 10)] {
            let schema = model::nested_schema(&mut rng);
            let (a, b) = apart_of(&mut rng, schema, (rows, percent), arbitrary::long_rows);
            prop_assert_eq!(run(&a, &b).0.to_ref(), b.to_ref());
            prop_assert_eq!(run(&b, &a).0.to_ref(), a.to_ref());
        }
    }

    #[test]
    fn damaged_messages_never_panic(seed: u64, at: prop::sample::Index, value: u8) {
        let mut rng = rng(seed);
        let (a, b) = apart(&mut rng, 400, 5);
        let mut session = Session::start(&a, &b.to_ref(), 7).unwrap();
        while let Some(request) = session.request().unwrap() {
            let mut damaged = request.to_vec();
            let i = at.index(damaged.len());
            damaged[i] ^= value;
            let _ = serve(b.store(), &damaged);
            let _ = serve(b.store(), &request[..i]);
            let mut reply = serve(b.store(), &request).unwrap().to_vec();
            let i = at.index(reply.len());
            if rng.below(3) == 0 {
                reply[i] ^= value;
            }
            if session.reply(&reply.into()).is_err() {
                return Ok(());
            }
        }
        let _ = session.finish();
    }
}

#[test]
fn few_differences_cost_few_bytes() {
    let mut rng = rng(3);
    let schema = model::schema(&mut rng);
    let rows = model::rows(&mut rng, &schema, &(0..20_000).collect::<Vec<_>>());
    let one =
        |batch| Table::create(&memory_store(), schema.clone()).unwrap().apply([Ok(Changes::insert(batch))]).unwrap().0;
    let (a, b) = (one(rows.clone()), one(rows.slice(0, 19_999)));
    let (made, trips, bytes) = run(&b, &a);
    assert_eq!(made.to_ref(), a.to_ref());
    assert!(trips <= 5 && bytes < 6_000, "{trips} round trips, {bytes} bytes");
    assert_eq!(run(&a, &a).1, 0);
}

/// A session at its first question, with a remote table of so many levels.
fn asking(local: &Table, height: u8) -> Result<Session> {
    let remote = TableRef { root: Hash::of(b"far away"), height, rows: u64::MAX, ..local.to_ref() };
    let mut session = Session::start(local, &remote, 7)?;
    session.request()?;
    Ok(session)
}

#[test]
fn what_a_peer_claims_does_not_size_what_is_kept() {
    let (local, _) = apart(&mut rng(1), 50, 20);
    assert!(asking(&local, MAX_HEIGHT + 1).is_err());
    for (children, fits) in [(MAX_NODES, true), (MAX_NODES + 1, false)] {
        let mut session = asking(&local, MAX_HEIGHT).unwrap();
        let reply = Reply::Nodes(vec![vec![0; children]]).encode();
        assert_eq!(session.reply(&reply).is_ok(), fits);
        assert_eq!(session.kept() >= children * size_of::<Path>(), fits);
    }
}
