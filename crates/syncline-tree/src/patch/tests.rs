use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use syncline_base::rng::Rng;
use syncline_store::Codec;

use super::*;
use crate::leaf::arbitrary::{rng, rows, schema};
use crate::leaf::layout::MAX_ROWS;

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

#[test]
fn rows_without_cells_are_bounded() {
    // A hostile leaf of a few bytes: a column of its rows would take 8 GB.
    let empty = leaf::assemble::<Bytes>(1 << 30, &[], &[]).unwrap();
    assert!(Leaf::parse(empty).is_err_and(|error| error.to_string().contains("rows are more than")));
    // What a leaf may have can be edited, and then has more.
    let most = Leaf::parse(leaf::assemble::<Bytes>(MAX_ROWS, &[], &[]).unwrap()).unwrap();
    let mut rng = rng(3);
    let schema = schema(&mut rng);
    let batch = rows(&mut rng, &schema, 5, 0, 10);
    let leaf = Leaf::parse(leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    for joined in [join(&leaf, &most), join(&most, &leaf)] {
        assert!(joined.is_err());
    }
}

proptest! {
    /// A patch on two leaves makes what it would make of a leaf with the rows of both.
    #[test]
    fn two_leaves_are_a_base_as_one_is(seed: u64, share in 0u64..=100) {
        let (schema, whole, ops, new, want) = sample(seed);
        let rows = whole.batch(&schema, None).unwrap();
        let cut = rows.num_rows() * share as usize / 100;
        let part = |from: usize, to: usize| {
            Leaf::parse(leaf::encode(&schema, &rows.slice(from, to - from), &[]).unwrap()).unwrap()
        };
        let (first, second) = (part(0, cut), part(cut, rows.num_rows()));
        let both = join(&first, &second).unwrap();
        prop_assert_eq!(both.bytes(), whole.bytes());
        let bases = [&first.bytes()[..], &second.bytes()[..]];
        prop_assert_eq!(&PatchCodec.decode(&unchanged(), &bases, whole.bytes().len()).unwrap(), whole.bytes());
        let edited = edit(&whole, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
        if let Edited::Changed { patch, .. } = edited {
            let want = leaf::encode(&schema, &want, &[]).unwrap();
            prop_assert_eq!(PatchCodec.decode(&patch, &bases, want.len()).unwrap(), want);
        }
    }

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
                let stored = PatchCodec.decode(&patch, &[base.bytes()], want.len()).unwrap();
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
            let _ = PatchCodec.decode(&payload, &[base.bytes()], leaf.len());
            if let Ok(patch) = LeafPatch::decode(payload.into()) {
                let _ = patch.apply(&base);
                let _ = patch.before(&base, &schema, None);
                let _ = patch.after(&base, &schema, None);
                for column in &schema.columns {
                    let _ = patch.cells(&schema, column.id);
                }
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

#[test]
fn golden_patch() {
    let (schema, batch) = leaf::tests::fixed();
    let base = Leaf::parse(leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    let new = rows(&mut rng(21), &schema, 4, 5, 10);
    let ops = [
        RowOp::Insert { at: 0, source: 0, count: 1 },
        RowOp::Delete { row: 2, count: 3 },
        RowOp::Update { row: 9, source: 1, columns: Some([2, 5].into_iter().collect()) },
        RowOp::Update { row: 10, source: 2, columns: None },
        RowOp::Insert { at: 24, source: 3, count: 1 },
    ];
    let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
    let Edited::Changed { leaf, patch, .. } = edited else { panic!("it changes the leaf") };
    leaf::arbitrary::golden("leaf-patched-v1.bin", &leaf);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        leaf::arbitrary::golden("leaf-patch-v1.bin", &patch);
    }
    let stored = leaf::arbitrary::golden_file("leaf-patch-v1.bin");
    assert_eq!(PatchCodec.decode(&stored, &[base.bytes()], leaf.len()).unwrap(), leaf);
}

fn two(cells: &[(i64, &str)]) -> (Schema, RecordBatch) {
    use crate::schema::{Field, Type};
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Utf8, true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let ids = arrow_array::Int64Array::from_iter_values(cells.iter().map(|cell| cell.0));
    let text = arrow_array::StringArray::from_iter_values(cells.iter().map(|cell| cell.1));
    let batch =
        RecordBatch::try_new(schema.arrow(), vec![std::sync::Arc::new(ids), std::sync::Arc::new(text)]).unwrap();
    (schema, batch)
}

#[test]
fn a_changed_cell_costs_its_bytes_and_little_more() {
    let (schema, batch) = two(&[(1, "a"), (2, "b"), (3, "c")]);
    let base = Leaf::parse(leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    let (_, new) = two(&[(2, "other")]);
    let ops = [RowOp::Update { row: 1, source: 0, columns: None }];
    let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &[], ops: &ops }).unwrap();
    let Edited::Changed { patch, counts, .. } = edited else { panic!("it changes the leaf") };
    assert_eq!(counts, Counts { updated: 1, ..Counts::default() });
    assert!(patch.len() <= 5 + 15, "{} bytes", patch.len());
    let patch = LeafPatch::decode(patch).unwrap();
    assert_eq!(patch.ops(), [PatchOp::Update { row: 1, count: 1, mask: 0 }]);
    assert_eq!(patch.mask(0), [1], "the key's cell is the same");
}

#[test]
fn edits_that_change_nothing_say_so() {
    let (schema, batch) = two(&[(1, "a"), (2, "b")]);
    let base = Leaf::parse(leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    let run = |ops: &[RowOp]| edit(&base, &Edit { schema: &schema, rows: &batch, externals: &[], ops }).unwrap();
    assert!(matches!(run(&[]), Edited::Unchanged));
    assert!(matches!(run(&[RowOp::Update { row: 1, source: 1, columns: None }]), Edited::Unchanged));
    let again = [RowOp::Insert { at: 0, source: 0, count: 1 }, RowOp::Delete { row: 0, count: 1 }];
    assert!(matches!(run(&again), Edited::Unchanged));
    assert!(matches!(run(&[RowOp::Delete { row: 0, count: 2 }]), Edited::Empty));
}

#[test]
fn steps_out_of_order_or_place_are_refused() {
    let (schema, batch) = two(&[(1, "a"), (2, "b")]);
    let base = Leaf::parse(leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    for ops in [
        vec![RowOp::Delete { row: 1, count: 2 }],
        vec![RowOp::Delete { row: 1, count: 1 }, RowOp::Delete { row: 0, count: 1 }],
        vec![RowOp::Delete { row: 0, count: 1 }, RowOp::Update { row: 0, source: 0, columns: None }],
        vec![RowOp::Insert { at: 3, source: 0, count: 1 }],
        vec![RowOp::Insert { at: 0, source: 1, count: 2 }],
        vec![RowOp::Delete { row: u32::MAX, count: u32::MAX }],
    ] {
        assert!(edit(&base, &Edit { schema: &schema, rows: &batch, externals: &[], ops: &ops }).is_err(), "{ops:?}");
    }
}

#[test]
fn external_cells_move_with_their_rows() {
    let content = |n: u8| crate::content::ContentRef { root: syncline_base::Hash::of(&[n]), len: 20_000, height: 1 };
    let external = |row, n| External { column: 1, row, content: content(n) };
    let (schema, batch) = two(&[(1, ""), (2, ""), (3, ""), (4, "")]);
    let old = [external(0, 0), external(1, 1), external(2, 2), external(3, 3)];
    let base = Leaf::parse(leaf::encode(&schema, &batch, &old).unwrap()).unwrap();
    let (_, new) = two(&[(0, ""), (3, ""), (4, "")]);
    let given = [external(0, 10), external(1, 12), external(2, 3)];
    let ops = [
        RowOp::Insert { at: 0, source: 0, count: 1 },
        RowOp::Delete { row: 1, count: 1 },
        RowOp::Update { row: 2, source: 1, columns: None },
        RowOp::Update { row: 3, source: 2, columns: None },
    ];
    let edited = edit(&base, &Edit { schema: &schema, rows: &new, externals: &given, ops: &ops }).unwrap();
    let Edited::Changed { leaf, patch, counts } = edited else { panic!("it changes the leaf") };
    assert_eq!(counts, Counts { inserted: 1, updated: 1, deleted: 1 }, "the last row's content is the same");
    let (_, want) = two(&[(0, ""), (1, ""), (3, ""), (4, "")]);
    let want =
        leaf::encode(&schema, &want, &[external(0, 10), external(1, 0), external(2, 12), external(3, 3)]).unwrap();
    assert_eq!(leaf, want);
    let patch = LeafPatch::decode(patch).unwrap();
    assert_eq!(patch.apply(&base).unwrap(), want);
    assert_eq!(patch.before_externals(&base).unwrap(), [external(0, 1), external(1, 2)]);
    assert_eq!(patch.after_externals(&base).unwrap(), [external(0, 10), external(1, 12)]);
}
