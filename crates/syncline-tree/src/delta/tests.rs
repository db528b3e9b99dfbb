use proptest::prelude::*;

use super::*;
use crate::leaf::arbitrary::rng;
use crate::table::model::{self, Model};
use crate::tests_support::memory_store;

fn frames(old: &Table, new: &Table) -> Vec<Bytes> {
    encode(old, new).unwrap().map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_delta_makes_the_new_table_elsewhere(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let mut rows = Model::new();
        let mut here = Table::create(&memory_store(), schema.clone()).unwrap();
        let mut there = Table::create(&memory_store(), schema.clone()).unwrap();
        for percent in [60, 1, 20, 90] {
            let changes = model::changes(&mut rng, &schema, &rows, 700, percent);
            model::apply(&mut rows, &changes);
            let new = here.apply([Ok(changes)]).unwrap().0;
            there = apply(&there, frames(&here, &new).into_iter().map(Ok)).unwrap().0;
            prop_assert_eq!(there.to_ref(), new.to_ref());
            here = new;
        }
    }

    #[test]
    fn frames_keep_every_operation(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let changes = model::changes(&mut rng, &schema, &Model::new(), 300, 50);
        let back = decode_frame(&schema, &encode_frame(&schema, &changes).unwrap()).unwrap();
        prop_assert_eq!(&back.ops, &changes.ops);
        let empty = Table::create(&memory_store(), schema).unwrap();
        let one = empty.apply([Ok(changes)]).unwrap();
        let two = empty.apply([Ok(back)]).unwrap();
        prop_assert_eq!(one.0.to_ref(), two.0.to_ref());
        prop_assert_eq!(one.1, two.1);
    }

    #[test]
    fn damaged_frames_never_panic(seed: u64, at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let changes = model::changes(&mut rng, &schema, &Model::new(), 40, 50);
        let mut frame = encode_frame(&schema, &changes).unwrap().to_vec();
        let _ = decode_frame(&schema, &Bytes::copy_from_slice(&frame[..cut.index(frame.len())]));
        let at = at.index(frame.len());
        frame[at] ^= value;
        if let Ok(changes) = decode_frame(&schema, &frame.into()) {
            let _ = Table::create(&memory_store(), schema).unwrap().apply([Ok(changes)]);
        }
    }
}

#[test]
fn a_delta_for_another_base_is_a_conflict() {
    let mut rng = rng(1);
    let schema = model::schema(&mut rng);
    let rows = model::rows(&mut rng, &schema, &[1, 2, 3]);
    let empty = Table::create(&memory_store(), schema).unwrap();
    let full = empty.apply([Ok(Changes::insert(rows))]).unwrap().0;
    let error = apply(&full, frames(&empty, &full).into_iter().map(Ok)).unwrap_err();
    assert_eq!(error.kind(), syncline_base::Kind::Conflict);
}
