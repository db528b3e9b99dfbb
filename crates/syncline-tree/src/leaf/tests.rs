use proptest::prelude::*;

use super::arbitrary::{rng, rows, schema};
use super::*;

fn round_trip(seed: u64) {
    let mut rng = rng(seed);
    let schema = schema(&mut rng);
    let count = rng.below(70) as usize;
    let batch = rows(&mut rng, &schema, count, 0, 1);
    let bytes = encode(&schema, &batch, &[]).unwrap();
    let leaf = Leaf::parse(bytes.clone()).unwrap();
    let back = leaf.batch(&schema, None).unwrap();
    assert_eq!(back, batch, "rows");
    assert_eq!(encode(&schema, &back, &[]).unwrap(), bytes, "canonical");
    leaf.check_canonical(&schema).unwrap();
    let ids: Vec<u32> = schema.columns.iter().rev().map(|column| column.id).collect();
    let some = leaf.batch(&schema, Some(&ids)).unwrap();
    assert_eq!(some.column(0), batch.column(batch.num_columns() - 1));
}

proptest! {
    #[test]
    fn rows_come_back_and_encode_to_the_same_bytes(seed: u64) {
        round_trip(seed);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(seed: u64) {
        let mut rng = rng(seed);
        let schema = schema(&mut rng);
        let batch = rows(&mut rng, &schema, 20, 0, 1);
        let mut bytes = encode(&schema, &batch, &[]).unwrap().to_vec();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len().min(200) as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        if rng.below(4) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        }
        if let Ok(leaf) = Leaf::parse(bytes.into()) {
            let _ = leaf.batch(&schema, None);
        }
    }
}
