//! Rows against an ordered map.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::row::Writer;
use super::super::*;
use super::*;

fn key(n: u16) -> RowKey {
    let table = if n.is_multiple_of(3) { "a" } else { "b" };
    RowKey { table: table.into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) }
}

fn set(row: &mut Row, value: Option<u8>) {
    let (read, chains) = (Context::default(), Chains::new());
    *row = Row::default();
    let dot = Dot { origin: Origin::from_bytes([1; 16]), seq: 1, tag: Tag::of(b"") };
    let writer =
        Writer { dot, read: &read, hlc: Hlc::default(), stamp: None, chains: &chains, own: None, zoo: Zoo::none() };
    row.write(writer, value.map(|byte| Bytes::copy_from_slice(&[byte])).as_ref());
}

use syncline_base::Hlc;

type Model = BTreeMap<RowKey, u8>;

fn same(rows: &Rows, model: &Model) {
    let value = |row: &Arc<Row>| row.siblings()[0].value[0];
    assert!(rows.iter().map(|(key, row)| (key, value(row))).eq(model.iter().map(|(key, value)| (key, *value))));
    assert_eq!((rows.len(), rows.is_empty()), (model.len(), model.is_empty()));
    assert!(rows.leaves.values().all(|leaf| !leaf.is_empty() && leaf.len() <= MOST));
    assert_eq!(&rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect::<Rows>(), rows);
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
            let n = if ascends { at as u16 } else { *n };
            rows.change(&key(n), |row| set(row, *value));
            match value {
                Some(value) => model.insert(key(n), *value),
                None => model.remove(&key(n)),
            };
            if at == writes.len() / 2 {
                (copy, then) = (rows.clone(), model.clone());
            }
        }
        same(&rows, &model);
        same(&copy, &then);
        for n in asked {
            prop_assert_eq!(rows.get(&key(n)).map(|row| row.siblings()[0].value[0]), model.get(&key(n)).copied());
            prop_assert!(rows.from(&key(n)).map(|(key, _)| key).eq(model.range(key(n)..).map(|(key, _)| key)));
        }
    }
}
