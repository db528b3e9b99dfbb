mod adversarial;
mod outside;

use std::ops::Bound;

use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::model::{self, Model, check};
use super::*;
use crate::leaf::arbitrary::rng;
use crate::patch::ColumnSet;
use crate::tests_support::memory_store;

/// The same changes in any batches.
fn cut(rng: &mut Rng, changes: &Changes) -> [Result<Changes>; 2] {
    let cut = rng.below(changes.ops.len() as u64 + 1) as usize;
    let part = |from: usize, to: usize| {
        let rows = changes.rows.slice(from, to - from);
        Ok(Changes { rows, ops: changes.ops[from..to].to_vec(), externals: Vec::new() })
    };
    [part(0, cut), part(cut, changes.ops.len())]
}

/// Applies `rounds` random batches to a table and to a model of it.
fn random_history(seed: u64, bound: i64, percent: u64, rounds: u64) {
    let mut rng = rng(seed);
    let schema = model::schema(&mut rng);
    let mut table = Table::create(&memory_store(), schema.clone()).unwrap();
    let mut rows = Model::new();
    for _ in 0..rounds {
        let changes = model::changes(&mut rng, &schema, &rows, bound, percent);
        let (next, applied) = table.apply(cut(&mut rng, &changes)).unwrap();
        assert_eq!(applied, model::apply(&mut rows, &changes));
        check(&next, &rows);
        table = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sparse_edits_match_the_model(seed: u64) {
        random_history(seed, 3000, 1, 4);
        random_history(seed, 3000, 30, 2);
    }

    #[test]
    fn heavy_edits_match_the_model(seed: u64) {
        random_history(seed, 600, 60, 6);
    }

    #[test]
    fn small_tables_match_the_model(seed: u64) {
        random_history(seed, 40, 30, 12);
    }

    #[test]
    fn any_order_of_inserts_gives_one_root(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let store = memory_store();
        let all = model::rows(&mut rng, &schema, &(0..500).collect::<Vec<_>>());
        let whole = Table::create(&store, schema.clone()).unwrap().apply([Ok(Changes::upsert(all.clone()))]).unwrap().0;
        let mut table = whole.emptied();
        let mut order: Vec<usize> = (0..500).collect();
        (1..500).rev().for_each(|i| order.swap(i, rng.below(i as u64 + 1) as usize));
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + rng.below(200) as usize));
            let mut now = now.to_vec();
            now.sort_unstable();
            let rows = now.iter().map(|i| Ok(Changes::insert(all.slice(*i, 1))));
            table = table.apply(rows).unwrap().0;
            rest = later;
        }
        prop_assert_eq!(table.to_ref(), whole.to_ref());
    }
}

/// What the leaves of a table that another one lacks are stored as: bytes, and how many are whole, on one base, on two.
fn stored_leaves(table: &Table, before: &Table) -> (usize, [usize; 3]) {
    let ids = |table: &Table| {
        let mut nodes = vec![(table.root, table.height)];
        let mut ids = std::collections::BTreeSet::new();
        while let Some((id, height)) = nodes.pop() {
            if height <= 1 {
                ids.insert(id);
                continue;
            }
            let node = table.shared.node(&id, height - 1).unwrap();
            nodes.extend((0..node.len()).map(|i| (node.id(i), height - 1)));
        }
        ids
    };
    let (mut bytes, mut bases) = (0, [0; 3]);
    for id in ids(table).difference(&ids(before)) {
        let object = table.store().get_encoded(id).unwrap();
        bytes += object.payload.len();
        bases[object.bases.len()] += 1;
    }
    (bytes, bases)
}

#[test]
fn leaves_whose_boundaries_move_are_patches() {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    use crate::schema::{Field, Type};
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Utf8, true)];
    let schema = Schema { leaf_rows: 64, ..Schema::new(fields, &["id"]).unwrap() };
    let mut rng = rng(11);
    let mut texts = |count: usize| -> Vec<String> {
        (0..count).map(|_| (0..24).map(|_| format!("{:016x}", rng.next_u64())).collect()).collect()
    };
    let batch = |ids: Vec<i64>, texts: Vec<String>| {
        let columns: [ArrayRef; 2] = [Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(texts))];
        RecordBatch::try_new(schema.arrow(), columns.to_vec()).unwrap()
    };
    let rows = batch((0..9000).map(|id| id * 10).collect(), texts(9000));
    let table = Table::create(&memory_store(), schema.clone()).unwrap().apply([Ok(Changes::insert(rows))]).unwrap().0;
    // Row after row goes: now and then the one that ends a leaf.
    let gone: Vec<i64> = (0..450).map(|n| n * 200 + 10 * (n % 7)).collect();
    let rows = batch(gone.clone(), vec![String::new(); gone.len()]);
    let deletes = Changes { ops: vec![Op::Delete; gone.len()], rows, externals: Vec::new() };
    let (after, applied) = table.apply([Ok(deletes)]).unwrap();
    assert_eq!(applied.deleted, 450);
    let (bytes, [whole, _, two]) = stored_leaves(&after, &table);
    assert!(bytes < 60 * 450, "{bytes} bytes of leaves for 450 deleted rows");
    assert!(whole == 0 && two > 10, "{whole} leaves are whole, {two} on two bases");
    // Row after row comes.
    let ids: Vec<i64> = (0..450).map(|n| n * 200 + 10 * (n % 7) + 3).collect();
    let inserts = Changes::insert(batch(ids, texts(450)));
    let (inserted, _) = table.apply([Ok(inserts)]).unwrap();
    let (bytes, [whole, _, two]) = stored_leaves(&inserted, &table);
    // Of 384 hexadecimal digits half are left.
    assert!(bytes < (200 + 60) * 450, "{bytes} bytes of leaves for 450 inserted rows");
    assert!(whole == 0 && two > 10, "{whole} leaves are whole, {two} on two bases");
}

#[test]
fn built_tables_are_read_back() {
    for (seed, count) in [(1, 0), (2, 1), (3, 15), (4, 17), (5, 5000)] {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let ids: Vec<i64> = (0..count).collect();
        let rows = model::rows(&mut rng, &schema, &ids);
        let all: Model = ids.iter().map(|id| (*id, rows.slice(*id as usize, 1))).collect();
        let table = model::build(&memory_store(), &schema, &all);
        check(&table, &all);
        let again = Table::open(table.store(), &table.to_ref()).unwrap();
        again.check_root().unwrap();
        if count > 0 {
            let true_ref = table.to_ref();
            let lies = [
                TableRef { rows: true_ref.rows + 1, ..true_ref },
                TableRef { height: true_ref.height + 1, ..true_ref },
            ];
            assert!(lies.iter().all(|lie| Table::open(table.store(), lie).unwrap().check_root().is_err()));
        }
        for id in [0, 7, count / 2, count - 1, count] {
            let found = again.get(&model::key(&schema, id)).unwrap();
            assert_eq!(found, all.get(&id).cloned(), "row {id} of {count}");
            assert_eq!(again.rank(&model::key(&schema, id)).unwrap(), id.clamp(0, count) as u64);
        }
    }
}

#[test]
fn scans_return_what_was_asked_for() {
    let mut rng = rng(6);
    let schema = model::schema(&mut rng);
    let ids: Vec<i64> = (0..3000).map(|i| i * 2).collect();
    let rows = model::rows(&mut rng, &schema, &ids);
    let all: Model = ids.iter().map(|id| (*id, rows.slice(*id as usize / 2, 1))).collect();
    let table = model::build(&memory_store(), &schema, &all);
    let bound = |id: i64, kind: u64| match kind {
        0 => Bound::Unbounded,
        1 => Bound::Included(model::key(&schema, id)),
        _ => Bound::Excluded(model::key(&schema, id)),
    };
    for _ in 0..60 {
        let (a, b) = (rng.below(6100) as i64 - 20, rng.below(6100) as i64 - 20);
        let (kind_a, kind_b) = (rng.below(3), rng.below(3));
        let (offset, limit) = (rng.below(3) * rng.below(1000), (rng.below(2) == 0).then(|| rng.below(3000)));
        let inside = |id: i64| {
            (kind_a == 0 || id > a || kind_a == 1 && id == a) && (kind_b == 0 || id < b || kind_b == 1 && id == b)
        };
        let wanted = all.iter().filter(|(id, _)| inside(**id)).skip(offset as usize);
        let wanted: Model = wanted.take(limit.unwrap_or(9999) as usize).map(|(id, row)| (*id, row.clone())).collect();
        let scan = Scan { range: (bound(a, kind_a), bound(b, kind_b)), offset, limit, ..Scan::default() };
        assert_eq!(model::read(&table, scan.clone()), model::batch(&schema, &wanted), "{scan:?}");
    }
    let names = vec!["c0".to_owned(), "id".to_owned()];
    let some = model::read(&table, Scan { columns: Some(names), ..Scan::default() });
    assert_eq!((some.column(0), some.column(1)), (rows.column(1), rows.column(0)));
    let prune = vec![Prune { column: "id".to_owned(), min: 2000, max: 2010 }];
    let few = model::read(&table, Scan { prune, ..Scan::default() });
    assert!((6..100).contains(&few.num_rows()), "{} rows", few.num_rows());
    assert!(table.scan(Scan { columns: Some(vec!["no".to_owned()]), ..Scan::default() }).is_err());
}

#[test]
fn a_dropped_scan_ends() {
    let mut rng = rng(7);
    let schema = model::schema(&mut rng);
    let ids: Vec<i64> = (0..5000).collect();
    let rows = model::rows(&mut rng, &schema, &ids);
    let table = Table::create(&memory_store(), schema).unwrap().apply([Ok(Changes::insert(rows))]).unwrap().0;
    let mut scan = table.scan(Scan::default()).unwrap();
    assert!(scan.next().is_some());
    drop(scan);
    let failing = std::iter::once(Err(Error::invalid("the source broke")));
    assert_eq!(table.apply(failing).unwrap_err().to_string(), "the source broke");
}

#[test]
fn refuses_changes_that_cannot_be() {
    let mut rng = rng(8);
    let schema = model::schema(&mut rng);
    let rows = model::rows(&mut rng, &schema, &[1, 2, 3]);
    let empty = Table::create(&memory_store(), schema).unwrap();
    let table = empty.apply([Ok(Changes::insert(rows.clone()))]).unwrap().0;
    let one = |op: Op| Changes { ops: vec![op], rows: rows.slice(1, 1), externals: Vec::new() };
    let kind = |table: &Table, changes: Vec<Changes>| table.apply(changes.into_iter().map(Ok)).unwrap_err().kind();
    use syncline_base::Kind;
    assert_eq!(kind(&table, vec![one(Op::Insert)]), Kind::Conflict);
    assert_eq!(kind(&empty, vec![one(Op::Patch(ColumnSet::new()))]), Kind::Conflict);
    assert_eq!(kind(&table, vec![one(Op::Upsert), one(Op::Upsert)]), Kind::Invalid);
    assert_eq!(kind(&empty, vec![one(Op::Upsert), one(Op::Upsert)]), Kind::Invalid);
    assert_eq!(kind(&table, vec![Changes { ops: Vec::new(), ..one(Op::Upsert) }]), Kind::Invalid);
    let wrong = TableRef { height: 0, ..table.to_ref() };
    assert_eq!(Table::open(table.store(), &wrong).unwrap_err().kind(), Kind::Corrupt);
    let wrong = TableRef { rows: 4, ..table.to_ref() };
    let wrong = Table::open(table.store(), &wrong).unwrap();
    assert_eq!(wrong.scan(Scan::default()).err().map(|e| e.kind()), Some(Kind::Corrupt));
}

#[test]
fn rows_of_megabytes_are_kept_in_small_leaves_and_scanned_in_small_batches() {
    use crate::schema::{Field, Schema, Type};
    use arrow_array::RecordBatch;
    use arrow_array::builder::{Float64Builder, Int64Builder, ListBuilder, StringBuilder};
    let item = Box::new(Field::new("item", Type::Float64, true));
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("text", Type::Utf8, true),
        Field::new("list", Type::List(item), true),
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let rows = |ids: std::ops::Range<i64>, change: f64| {
        let (mut id, mut text, mut list) =
            (Int64Builder::new(), StringBuilder::new(), ListBuilder::new(Float64Builder::new()));
        for n in ids {
            id.append_value(n);
            text.append_value(format!("{n} ").repeat(400_000));
            (0..60_000).for_each(|i| list.values().append_value(change + (n * 60_000 + i) as f64));
            list.append(true);
        }
        let arrow = schema.arrow();
        let list = arrow_cast::cast(&list.finish(), arrow.field(2).data_type()).unwrap();
        RecordBatch::try_new(arrow, vec![Arc::new(id.finish()), Arc::new(text.finish()), list]).unwrap()
    };
    let store = memory_store();
    let empty = Table::create(&store, schema.clone()).unwrap();
    let parts = [0..17, 17..40].map(|ids| Ok(Changes::insert(rows(ids, 0.0))));
    let table = empty.apply(parts).unwrap().0;
    let whole = empty.apply([Ok(Changes::insert(rows(0..40, 0.0)))]).unwrap().0;
    assert_eq!(table.to_ref(), whole.to_ref(), "batches do not matter");
    let mut read = Vec::new();
    for batch in table.scan(Scan::default()).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.get_array_memory_size() < 20 << 20, "{} bytes", batch.get_array_memory_size());
        read.push(batch);
    }
    assert!(read.len() > 5, "{} batches", read.len());
    let read = arrow_select::concat::concat_batches(&schema.arrow(), &read).unwrap();
    assert_eq!(read, rows(0..40, 0.0));
    // One list differs in a number: the diff and the other cells say so.
    let edited = table.apply([Ok(Changes::upsert(rows(7..8, 0.5)))]).unwrap().0;
    let found: Vec<_> = crate::diff::diff(&table, &edited).unwrap().map(|batch| batch.unwrap()).collect();
    assert_eq!((found.len(), found[0].keys.len()), (1, 1));
    assert_eq!(edited.get(found[0].keys.get(0)).unwrap().unwrap(), rows(7..8, 0.5));
    let back = edited.apply([Ok(Changes::upsert(rows(7..8, 0.0)))]).unwrap().0;
    assert_eq!(back.to_ref(), table.to_ref());
}

#[test]
fn groups_of_leaves_follow_how_long_leaves_are() {
    let size = crate::table::LeafSize::default();
    assert_eq!(size.fit(1 << 20, 16), 1, "nothing is known");
    size.note(32 << 10);
    assert_eq!((size.fit(1 << 20, 16), size.fit(1 << 18, 16)), (16, 8));
    size.note(4 << 20);
    assert_eq!(size.fit(1 << 20, 16), 1, "one long leaf counts at once");
    (0..200).for_each(|_| size.note(32 << 10));
    assert_eq!(size.fit(1 << 20, 16), 16, "and is forgotten");
    size.note(usize::MAX);
    assert_eq!(size.fit(usize::MAX, 16), 1);
}
