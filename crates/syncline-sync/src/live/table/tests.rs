//! Rows against an ordered map.

use bytes::Bytes;
use proptest::prelude::*;

use syncline_base::rng::Rng;

use super::super::row::Writer;
use super::super::runs::Place;
use super::super::*;
use super::*;
use crate::log::memory::MemoryDisk;

fn key(n: u16) -> RowKey {
    let table = if n.is_multiple_of(3) { "a" } else { "b" };
    RowKey { table: table.into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) }
}

fn set(row: &mut Row, value: Option<u8>) {
    let (read, chains) = (Context::default(), Chains::new());
    *row = Row::default();
    let dot = Dot { origin: Origin::from_bytes([1; 16]), seq: 1, tag: Tag::of(b"") };
    let (hlc, stamp) = (Hlc::default(), Some((Stamp { hub: dot.origin, n: 1 }, Hlc::default())));
    let writer = Writer { dot, read: &read, hlc, stamp, chains: &chains, own: None, zoo: Zoo::none() };
    row.write(writer, value.map(|byte| Bytes::copy_from_slice(&[byte])).as_ref());
}

use syncline_base::Hlc;

type Model = BTreeMap<RowKey, u8>;

fn same(rows: &Rows, model: &Model) {
    let value = |row: Arc<Row>| row.siblings()[0].value[0];
    assert!(rows.iter().map(|(key, row)| (key, value(row))).eq(model.iter().map(|(key, value)| (key.clone(), *value))));
    assert_eq!((rows.len(), rows.is_empty()), (model.len() as u64, model.is_empty()));
    assert!(rows.over.leaves.values().all(|leaf| !leaf.is_empty() && leaf.len() <= MOST));
    assert_eq!(&rows.iter().collect::<Rows>(), rows);
    assert_eq!(rows.trouble(), None);
}

fn write(rows: &mut Rows, model: &mut Model, n: u16, value: Option<u8>) {
    rows.change(&key(n), |row| set(row, value));
    match value {
        Some(value) => model.insert(key(n), value),
        None => model.remove(&key(n)),
    };
}

/// So many rows at once, as a transaction does.
fn write_some(rows: &mut Rows, model: &mut Model, from: u16, len: u16, value: Option<u8>) {
    let value = |n: u16| value.filter(|_| !n.is_multiple_of(11)).map(|value| value.wrapping_add(n as u8));
    let bytes = |n: u16| value(n).map(|byte| Bytes::copy_from_slice(&[byte]));
    let mut writes: Vec<Write> = (from..from + len).map(|n| Write { row: key(n), value: bytes(n) }).collect();
    writes.sort_by(|a, b| a.row.cmp(&b.row));
    rows.change_each(&writes, |write, row| set(row, write.value.as_ref().map(|value| value[0])));
    for n in from..from + len {
        match value(n) {
            Some(value) => model.insert(key(n), value),
            None => model.remove(&key(n)),
        };
    }
}

fn look(rows: &Rows, model: &Model, asked: &[u16]) {
    for n in asked {
        assert_eq!(rows.get(&key(*n)).map(|row| row.siblings()[0].value[0]), model.get(&key(*n)).copied());
        assert!(rows.from(&key(*n)).map(|(key, _)| key).eq(model.range(key(*n)..).map(|(key, _)| key.clone())));
    }
}

fn place() -> Place {
    Place::new(MemoryDisk::new(Rng::from_seed(1), 512))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_are_an_ordered_map_and_copies_stay_as_they_were(
        writes in proptest::collection::vec((0..600u16, proptest::option::weighted(0.7, any::<u8>())), 0..1200),
        asked in proptest::collection::vec(0..700u16, 8),
        ascends: bool,
    ) {
        let (mut rows, mut model) = (Rows::default(), Model::new());
        let (mut copy, mut then) = (rows.clone(), model.clone());
        for (at, (n, value)) in writes.iter().enumerate() {
            write(&mut rows, &mut model, if ascends { at as u16 } else { *n }, *value);
            if at == writes.len() / 2 {
                (copy, then) = (rows.clone(), model.clone());
            }
        }
        same(&rows, &model);
        same(&copy, &then);
        look(&rows, &model, &asked);
    }

    /// Runs are begun, ended and merged at any moment, with writes in between; nobody sees anything of it.
    #[test]
    fn rows_on_runs_are_the_same_rows(
        acts in proptest::collection::vec((0..24u8, 0..400u16, proptest::option::weighted(0.6, any::<u8>())), 0..1500),
        asked in proptest::collection::vec(0..450u16, 8),
    ) {
        let (mut rows, mut model) = (Rows::default(), Model::new());
        let (mut copies, mut folding, mut merging) = (Vec::new(), None, None);
        let runs = |rows: &Rows, none: &Place| rows.runs().map_or_else(|| Runs::none(none.clone()), |runs| Runs::clone(runs));
        let place = place();
        for (id, (act, n, value)) in acts.into_iter().enumerate() {
            match act {
                0 if folding.is_none() => {
                    rows.begin_fold(id as u64);
                    let run = rows.write(&runs(&rows, &place), id as u64).unwrap();
                    folding = Some((rows.clone(), run));
                }
                1 => if let Some((since, run)) = folding.take() {
                    rows = rows.on(Arc::new(runs(&rows, &place).with(run)), &since);
                },
                2 if merging.is_none() => {
                    let now = runs(&rows, &place);
                    if let Some(of) = now.due() {
                        merging = Some((now.names()[of.clone()].to_vec(), now.merge(id as u64, &of).unwrap()));
                    }
                }
                3 => if let Some((of, run)) = merging.take() {
                    let now = runs(&rows, &place).with_merged(&of, &run).expect("nobody else merges");
                    rows = rows.on_merged(Arc::new(now));
                },
                4 if copies.len() < 3 => copies.push((rows.clone(), model.clone())),
                5..10 => write_some(&mut rows, &mut model, n, 3 * u16::from(act), value),
                _ => write(&mut rows, &mut model, n, value),
            }
        }
        copies.push((rows, model));
        for (rows, model) in &copies {
            same(rows, model);
            look(rows, model, &asked);
        }
    }
}
