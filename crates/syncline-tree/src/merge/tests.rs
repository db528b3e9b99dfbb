use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::*;
use crate::leaf::arbitrary::{self, rng};
use crate::schema::Type;
use crate::table::model::{self, Maker, Model};
use crate::tests_support::memory_store;

/// Some rounds of random changes to a table and its model.
fn branch(rng: &mut Rng, table: &Table, rows: &Model, percent: u64) -> (Table, Model) {
    branch_of(rng, (table, rows), (400, percent), arbitrary::rows)
}

/// As [`branch`], of ids below a bound, with a maker of rows.
fn branch_of(
    rng: &mut Rng,
    (table, rows): (&Table, &Model),
    (bound, percent): (i64, u64),
    maker: Maker,
) -> (Table, Model) {
    let (mut table, mut rows) = (table.clone(), rows.clone());
    for _ in 0..1 + rng.below(2) {
        let changes = model::changes_of(rng, table.schema(), &rows, (bound, percent), maker);
        model::apply(&mut rows, &changes);
        table = table.apply([Ok(changes)]).unwrap().0;
    }
    (table, rows)
}

/// What a merge must give, by brute force: rows, and ids in conflict with the columns.
fn expected(base: &Model, ours: &Model, theirs: &Model) -> (Model, Vec<(i64, Vec<u32>)>) {
    let (mut merged, mut conflicts) = (Model::new(), Vec::new());
    let ids: BTreeSet<i64> = base.keys().chain(ours.keys()).chain(theirs.keys()).copied().collect();
    for id in ids {
        let (b, o, t) = (base.get(&id), ours.get(&id), theirs.get(&id));
        let row = match (b, o, t) {
            _ if o == t || t == b => o.cloned(),
            _ if o == b => t.cloned(),
            (None, Some(o), Some(t)) => {
                let columns = (0..o.num_columns()).filter(|c| o.column(*c) != t.column(*c)).map(|c| c as u32);
                conflicts.push((id, columns.collect()));
                Some(o.clone())
            }
            (Some(b), Some(o), Some(t)) => {
                let (row, columns) = cells(b, o, t);
                if !columns.is_empty() {
                    conflicts.push((id, columns));
                }
                Some(row)
            }
            _ => {
                conflicts.push((id, Vec::new()));
                o.cloned()
            }
        };
        if let Some(row) = row {
            merged.insert(id, row);
        }
    }
    (merged, conflicts)
}

fn cells(base: &RecordBatch, ours: &RecordBatch, theirs: &RecordBatch) -> (RecordBatch, Vec<u32>) {
    let (mut columns, mut conflicts) = (Vec::new(), Vec::new());
    for c in 0..base.num_columns() {
        let (b, o, t) = (base.column(c), ours.column(c), theirs.column(c));
        if o != t && o != b && t != b {
            conflicts.push(c as u32);
        }
        columns.push(if o == b { t.clone() } else { o.clone() });
    }
    (RecordBatch::try_new(base.schema(), columns).unwrap(), conflicts)
}

fn same(table: &Table, rows: &Option<Rows>, row: Option<&RecordBatch>) -> bool {
    let rows = rows.as_ref().map(|rows| rows.resolve(table, None).unwrap());
    rows.as_ref().map(RecordBatch::columns) == row.map(RecordBatch::columns)
}

/// Merges random branches of a table of ids below `bound` and of its model.
fn merges_are_as_expected(rng: &mut Rng, schema: &Schema, bound: i64, maker: Maker) {
    let empty = Table::create(&memory_store(), schema.clone()).unwrap();
    let (base, base_rows) = branch_of(rng, (&empty, &Model::new()), (bound, 70), maker);
    for percent in [1, 10, 50] {
        let (ours, our_rows) = branch_of(rng, (&base, &base_rows), (bound, percent), maker);
        let (theirs, their_rows) = branch_of(rng, (&base, &base_rows), (bound, percent), maker);
        let merged = merge(Some(&base), &ours, &theirs).unwrap();
        let (rows, conflicts) = expected(&base_rows, &our_rows, &their_rows);
        model::check(&merged.table, &rows);
        assert_eq!(merged.conflicts.len(), conflicts.len());
        for (found, (id, columns)) in merged.conflicts.iter().zip(conflicts) {
            assert_eq!((&found.key, &found.columns), (&model::key(schema, id), &columns));
            for (rows, of) in [(&found.base, &base_rows), (&found.ours, &our_rows), (&found.theirs, &their_rows)] {
                assert!(same(&base, rows, of.get(&id)), "{id}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merges_are_those_of_the_models(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        merges_are_as_expected(&mut rng, &schema, 400, arbitrary::rows);
    }

    #[test]
    fn merges_of_cells_outside_of_their_leaves_are_those_of_the_models(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::nested_schema(&mut rng);
        merges_are_as_expected(&mut rng, &schema, 40, arbitrary::long_rows);
    }

    #[test]
    fn columns_added_on_both_sides_are_merged(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let empty = Table::create(&memory_store(), schema.clone()).unwrap();
        let (base, rows) = branch(&mut rng, &empty, &Model::new(), 50);
        let widen = |names: &[&str]| {
            let schema = names.iter().fold(schema.clone(), |schema, name| schema.add_column(name, Type::Int32).unwrap());
            base.with_schema(schema).unwrap()
        };
        let (ours, theirs) = (widen(&["both", "ours"]), widen(&["theirs", "both"]));
        let change = |table: &Table, rng: &mut Rng| {
            let ids: Vec<i64> = rows.keys().copied().filter(|_| rng.below(4) == 0).collect();
            let batch = model::rows(rng, table.schema(), &ids);
            let width = table.schema().columns.len();
            let ops = vec![Op::Patch([width - 2, width - 1].into_iter().collect()); ids.len()];
            table.apply([Ok(Changes { rows: batch, ops, externals: Vec::new() })]).unwrap().0
        };
        let (ours, theirs) = (change(&ours, &mut rng), change(&theirs, &mut rng));
        let merged = merge(Some(&base), &ours, &theirs).unwrap();
        let names: Vec<_> = merged.table.schema().columns[schema.columns.len()..].iter().map(|c| c.name.clone()).collect();
        prop_assert_eq!(names, ["both", "ours", "theirs"]);
        let column = |table: &Table, name: &str| {
            let columns = Some(vec![name.to_owned()]);
            model::read(table, crate::table::Scan { columns, ..crate::table::Scan::default() }).column(0).clone()
        };
        prop_assert_eq!(&column(&merged.table, "ours"), &column(&ours, "ours"));
        prop_assert_eq!(&column(&merged.table, "theirs"), &column(&theirs, "theirs"));
        let both = merged.table.schema().column("both").unwrap().id;
        prop_assert!(merged.conflicts.iter().all(|conflict| conflict.columns == [both]));
    }
}

#[test]
fn schemas_that_exclude_each_other_are_a_conflict() {
    let mut rng = rng(1);
    let schema = model::schema(&mut rng);
    let base = Table::create(&memory_store(), schema.clone()).unwrap();
    let with = |schema: Schema| base.with_schema(schema).unwrap();
    let ours = with(schema.add_column("new", Type::Int32).unwrap());
    let theirs = with(schema.add_column("new", Type::Utf8).unwrap());
    assert_eq!(merge(Some(&base), &ours, &theirs).unwrap_err().kind(), syncline_base::Kind::Conflict);
    let ours = with(schema.rename_column("c0", "x").unwrap());
    let theirs = with(schema.rename_column("c0", "y").unwrap());
    assert_eq!(merge(Some(&base), &ours, &theirs).unwrap_err().kind(), syncline_base::Kind::Conflict);
    let theirs = with(schema.drop_column("c0").unwrap());
    assert!(merge(Some(&base), &ours, &theirs).unwrap().table.schema().column("x").is_none());
}

#[test]
fn a_column_that_replaced_one_that_went_is_another_column() {
    let mut rng = rng(3);
    let schema = model::schema(&mut rng).add_column("old", Type::Int32).unwrap();
    let old = schema.column("old").unwrap().id;
    let base = Table::create(&memory_store(), schema.clone()).unwrap();
    let rows = model::rows(&mut rng, &schema, &(0..200).collect::<Vec<i64>>());
    let changes = Changes { ops: vec![Op::Insert; rows.num_rows()], rows, externals: Vec::new() };
    let base = base.apply([Ok(changes)]).unwrap().0;
    // One side: the column goes and, in a later command, another one comes.
    let gone = base.with_schema(schema.drop_column("old").unwrap()).unwrap();
    let ours = gone.with_schema(gone.schema().add_column("new", Type::Int32).unwrap()).unwrap();
    // The other: cells of the column that goes.
    let ids: Vec<i64> = (0..50).collect();
    let rows = model::rows(&mut rng, &schema, &ids);
    let last = schema.columns.len() - 1;
    let ops = vec![Op::Patch([last].into_iter().collect()); ids.len()];
    let theirs = base.apply([Ok(Changes { rows, ops, externals: Vec::new() })]).unwrap().0;
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let merged = merge(Some(&base), ours, theirs).unwrap();
        assert!(merged.conflicts.is_empty());
        let schema = merged.table.schema();
        assert!(schema.column("old").is_none() && schema.column("new").unwrap().id > old);
        let columns = Some(vec!["new".to_owned()]);
        let cells = model::read(&merged.table, crate::table::Scan { columns, ..crate::table::Scan::default() });
        assert_eq!(cells.column(0).null_count(), 200, "cells of the old column stand in the new one");
    }
    // Ids that a side has given and taken back stay taken.
    let merged =
        merge_schemas(Some(&schema), gone.schema(), &schema.add_column("x", Type::Bool).unwrap()).unwrap().schema;
    assert_eq!(merged.column("x").unwrap().id, old + 1);
    let merged =
        merge_schemas(Some(&schema), gone.schema(), &schema.rename_column("old", "older").unwrap()).unwrap().schema;
    assert_eq!((merged.next_id(), merged.column("older")), (old + 1, None));
}

/// A table whose first column is the key; cells are text.
fn made(store: &syncline_store::Store, columns: &[(&str, Type, bool)], rows: &[&[&str]]) -> Table {
    let fields = columns.iter().map(|(name, ty, nullable)| crate::schema::Field::new(*name, ty.clone(), *nullable));
    let schema = Schema::new(fields.collect(), &[columns[0].0]).unwrap();
    let arrow = schema.arrow();
    let cells = (0..columns.len()).map(|at| {
        let text = arrow_array::StringArray::from_iter_values(rows.iter().map(|row| row[at]));
        arrow_cast::cast(&text, arrow.field(at).data_type()).unwrap()
    });
    let batch = RecordBatch::try_new(arrow.clone(), cells.collect()).unwrap();
    Table::create(store, schema).unwrap().apply([Ok(Changes::insert(batch))]).unwrap().0
}

/// The rows of a table as text, cells in this order of columns.
fn cells_of(table: &Table, names: &[&str]) -> Vec<String> {
    let rows = model::read(table, crate::table::Scan::default());
    let cell = |row: usize, name: &&str| {
        let at = table.schema().columns.iter().position(|column| column.name == **name).expect("it has the column");
        arrow_cast::display::array_value_to_string(rows.column(at), row).unwrap()
    };
    (0..rows.num_rows()).map(|row| names.iter().map(|name| cell(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn tables_made_apart_are_matched_by_the_names_of_their_columns() {
    let store = memory_store();
    let text = |name| (name, Type::Utf8, true);
    let number = ("id", Type::Int64, false);
    let first = made(&store, &[number.clone(), text("name"), text("city")], &[&["1", "n1", "c1"], &["3", "n3", "c3"]]);
    // In another order.
    let second = made(&store, &[number.clone(), text("city"), text("name")], &[&["2", "c2", "n2"], &["3", "c3", "n3"]]);
    for (ours, theirs) in [(&first, &second), (&second, &first)] {
        let merged = merge(None, ours, theirs).unwrap();
        assert!(merged.conflicts.is_empty());
        assert_eq!(cells_of(&merged.table, &["id", "name", "city"]), ["1 n1 c1", "2 n2 c2", "3 n3 c3"]);
        assert_eq!(merged.table.schema(), ours.schema());
    }
    // One in conflict: columns are told by our ids.
    let third = made(&store, &[number.clone(), text("city"), text("name")], &[&["3", "c3", "other"]]);
    for (ours, theirs) in [(&first, &third), (&third, &first)] {
        let merged = merge(None, ours, theirs).unwrap();
        let name = ours.schema().column("name").unwrap().id;
        assert_eq!(merged.conflicts.iter().map(|c| &c.columns[..]).collect::<Vec<_>>(), [&[name][..]]);
        assert!(merged.conflicts[0].base.is_none());
        assert_eq!(cells_of(&merged.table, &["id", "city"]), ["1 c1", "3 c3"]);
    }
    // Columns that one side has only, whatever their place and the leaves' sizes.
    let titled = made(&store, &[number.clone(), text("title")], &[&["2", "t2"]]);
    for (ours, theirs) in [(&first, &titled), (&titled, &first)] {
        let merged = merge(None, ours, theirs).unwrap().table;
        assert_eq!(cells_of(&merged, &["id", "name", "city", "title"]), ["1 n1 c1 ", "2   t2", "3 n3 c3 "]);
    }
    let more = made(&store, &[number.clone(), text("name"), text("city"), text("title")], &[&["2", "n2", "c2", "t2"]]);
    let more = Table::create(&store, more.schema().clone().with_leaf_rows(first.schema().leaf_rows).unwrap())
        .unwrap()
        .apply(changes(&more.emptied(), &more).unwrap())
        .unwrap()
        .0;
    for (ours, theirs) in [(&first, &more), (&more, &first)] {
        let merged = merge(None, ours, theirs).unwrap().table;
        assert_eq!(cells_of(&merged, &["id", "name", "city", "title"]), ["1 n1 c1 ", "2 n2 c2 t2", "3 n3 c3 "]);
        assert_eq!(merged.schema().column("title").unwrap().id, 3);
    }
}

#[test]
fn tables_made_apart_that_cannot_be_one_are_a_conflict() {
    let store = memory_store();
    let id = ("id", Type::Int64, false);
    let table = |columns: &[(&str, Type, bool)]| made(&store, columns, &[&vec!["9007199254740993"; columns.len()]]);
    let number = table(&[id.clone(), ("n", Type::Int64, true)]);
    let float = table(&[id.clone(), ("n", Type::Float64, true)]);
    let other_key = table(&[("n", Type::Int64, false), ("id", Type::Int64, true)]);
    let other_key_type = table(&[("id", Type::Utf8, false), ("n", Type::Int64, true)]);
    let strict = table(&[id.clone(), ("n", Type::Int64, true), ("must", Type::Utf8, false)]);
    for (other, why) in [
        (&float, "column \"n\" is "),
        (&other_key, "the key is ("),
        (&other_key_type, "column \"id\" is "),
        (&strict, "column \"must\" may not be null"),
    ] {
        for (ours, theirs) in [(&number, other), (other, &number)] {
            let error = merge(None, ours, theirs).unwrap_err();
            assert_eq!(error.kind(), syncline_base::Kind::Conflict);
            assert!(error.to_string().contains(why), "{error}");
            assert!(Lift::of(None, ours.schema(), theirs.schema()).is_err());
        }
    }
}
