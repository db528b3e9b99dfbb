use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use syncline_base::rng::Rng;
use syncline_store::Codec;

use super::*;
use crate::leaf::arbitrary::{rng, rows, schema};

/// A random edit of `base` (whose first column counts 0, 10, 20, …) and the rows it makes.
fn random_edit(rng: &mut Rng, schema: &Schema, base: &RecordBatch, new: &RecordBatch) -> (Vec<RowOp>, RecordBatch) {
    let (mut ops, mut parts) = (Vec::new(), vec![base.slice(0, 0)]);
    let (mut row, mut source) = (0_usize, 0_usize);
    let rate = 1 + rng.below(30);
    while row <= base.num_rows() {
        if rng.below(rate) == 0 && source < new.num_rows() {
            let count = 1 + rng.below(3.min((new.num_rows() - source) as u64)) as usize;
            ops.push(RowOp::Insert { at: row as u32, source: source as u32, count: count as u32 });
            parts.push(new.slice(source, count));
            source += count;
        }
        if row == base.num_rows() {
            break;
        }
        match rng.below(3 * rate) {
            0 => {
                let count = 1 + rng.below(4.min((base.num_rows() - row) as u64)) as usize;
                ops.push(RowOp::Delete { row: row as u32, count: count as u32 });
                row += count;
                continue;
            }
            1 | 2 if source < new.num_rows() => {
                let all = rng.below(2) == 0;
                let set: ColumnSet = (0..schema.columns.len()).filter(|_| all || rng.below(2) == 0).collect();
                let cells = (0..schema.columns.len()).map(|i| {
                    let from = if set.contains(i) { (new, source) } else { (base, row) };
                    from.0.column(i).slice(from.1, 1)
                });
                parts.push(RecordBatch::try_new(schema.arrow(), cells.collect()).unwrap());
                let columns = (!all).then_some(set);
                ops.push(RowOp::Update { row: row as u32, source: source as u32, columns });
                source += usize::from(rng.below(3) > 0);
            }
            _ => parts.push(base.slice(row, 1)),
        }
        row += 1;
    }
    (ops, concat_batches(&schema.arrow(), &parts).unwrap())
}

fn sample(seed: u64) -> (Schema, Leaf, Vec<RowOp>, RecordBatch, RecordBatch) {
    let mut rng = rng(seed);
    let schema = schema(&mut rng);
    let (count, more) = (1 + rng.below(100) as usize, rng.below(40) as usize);
    let base = rows(&mut rng, &schema, count, 0, 10);
    let new = rows(&mut rng, &schema, more, 5, 10);
    let (ops, want) = random_edit(&mut rng, &schema, &base, &new);
    let leaf = Leaf::parse(leaf::encode(&schema, &base, &[]).unwrap()).unwrap();
    (schema, leaf, ops, new, want)
}

proptest! {
    #[test]
    fn an_edited_leaf_is_the_leaf_its_rows_encode_to(seed: u64) {
        let (schema, base, ops, new, want) = sample(seed);
        let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
        let want = leaf::encode(&schema, &want, &[]).unwrap();
        match edited {
            Edited::Unchanged => prop_assert_eq!(&want, base.bytes()),
            Edited::Empty => prop_assert_eq!(Leaf::parse(want).unwrap().rows(), 0),
            Edited::Changed { leaf, patch, counts } => {
                prop_assert_eq!(&leaf, &want);
                let stored = PatchCodec.decode(&patch, Some(base.bytes()), want.len()).unwrap();
                prop_assert_eq!(&stored, &want);
                let patch = LeafPatch::decode(patch).unwrap();
                prop_assert_eq!(patch.counts(), counts);
                prop_assert_eq!(patch.apply(&base).unwrap(), want);
            }
        }
    }

    #[test]
    fn rows_before_and_after_come_from_the_patch(seed: u64) {
        let (schema, base, ops, new, _) = sample(seed);
        let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
        let Edited::Changed { leaf, patch, counts } = edited else { return Ok(()) };
        let patch = LeafPatch::decode(patch).unwrap();
        let (old, now) = (base.batch(&schema, None).unwrap(), Leaf::parse(leaf).unwrap().batch(&schema, None).unwrap());
        let before = patch.before(&base, &schema, None).unwrap();
        let after = patch.after(&base, &schema, None).unwrap();
        prop_assert_eq!(before.num_rows() as u64, counts.deleted + counts.updated);
        prop_assert_eq!(after.num_rows() as u64, counts.inserted + counts.updated);
        let (mut b, mut a, mut shift) = (0, 0, 0_i64);
        for op in patch.ops() {
            match *op {
                PatchOp::Delete { row, count } => {
                    let (row, count) = (row as usize, count as usize);
                    prop_assert_eq!(before.slice(b, count), old.slice(row, count));
                    b += count;
                    shift -= count as i64;
                }
                PatchOp::Insert { at, count } => {
                    let count = count as usize;
                    prop_assert_eq!(after.slice(a, count), now.slice((i64::from(at) + shift) as usize, count));
                    a += count;
                    shift += count as i64;
                }
                PatchOp::Update { row, count, mask } => {
                    let (row, count) = (row as usize, count as usize);
                    prop_assert!(!patch.mask(mask).is_empty());
                    prop_assert_eq!(before.slice(b, count), old.slice(row, count));
                    prop_assert_eq!(after.slice(a, count), now.slice((row as i64 + shift) as usize, count));
                    (a, b) = (a + count, b + count);
                }
            }
        }
        for column in &schema.columns {
            let cells = patch.cells(&schema, column.id).unwrap();
            prop_assert!(cells.len() as u64 >= counts.inserted);
        }
    }

    #[test]
    fn damaged_patches_never_panic(seed: u64, noise: Vec<u8>) {
        let (schema, base, ops, new, _) = sample(seed);
        let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
        let Edited::Changed { leaf, patch, .. } = edited else { return Ok(()) };
        let mut damaged = patch.to_vec();
        let mut rng = rng(seed ^ 7);
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(damaged.len() as u64) as usize;
            damaged[at] = rng.next_u64() as u8;
        }
        for payload in [damaged, noise.clone(), [&[1_u8][..], &noise].concat()] {
            let _ = PatchCodec.decode(&payload, Some(base.bytes()), leaf.len());
            if let Ok(patch) = LeafPatch::decode(payload.into()) {
                let _ = patch.apply(&base);
                let _ = patch.before(&base, &schema, None);
                let _ = patch.after(&base, &schema, None);
                let _ = schema.columns.iter().map(|column| patch.cells(&schema, column.id)).count();
            }
        }
    }

    #[test]
    fn a_dropped_column_leaves_the_leaf_of_the_others(seed: u64) {
        let (schema, base, ..) = sample(seed);
        let rows = base.batch(&schema, None).unwrap();
        let gone = schema.columns[1].clone();
        let less = match schema.drop_column(&gone.name) { Ok(less) => less, Err(_) => return Ok(()) };
        let mut rest = rows.clone();
        rest.remove_column(1);
        let rest = RecordBatch::try_new(less.arrow(), rest.columns().to_vec()).unwrap();
        let want = leaf::encode(&less, &rest, &[]).unwrap();
        match drop_columns(&base, &[gone.id]).unwrap() {
            Edited::Changed { leaf, patch, counts } => {
                prop_assert_eq!(counts, Counts::default());
                prop_assert!(patch.len() < 10);
                prop_assert_eq!(LeafPatch::decode(patch).unwrap().apply(&base).unwrap(), want.clone());
                prop_assert_eq!(leaf, want);
            }
            _ => prop_assert_eq!(base.bytes(), &want),
        }
    }
}
