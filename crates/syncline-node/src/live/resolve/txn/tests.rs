use proptest::prelude::*;

use super::super::super::definition::Settings;
use super::super::tests::{sibling, table, value};
use super::*;

/// Who writes which rows; the number is the writer's and its time.
type Rows = BTreeMap<Bytes, Vec<Sibling>>;

fn rows(txns: &[(u8, &str)]) -> Rows {
    let mut rows = Rows::new();
    for (writer, keys) in txns {
        for key in keys.bytes() {
            let written = sibling(*writer, u64::from(*writer), value(&writer.to_string()));
            rows.entry(Bytes::from(vec![key])).or_default().push(written);
        }
    }
    rows
}

fn by_txn(resolver: &str) -> Definition {
    let plain = table("int64", resolver);
    plain.set(Settings { scope: Scope::Txn, ..plain.settings().clone() }).unwrap()
}

fn picks(table: &Definition, rows: &Rows) -> Picks {
    table.picks(rows.iter().map(|(key, siblings)| (key, &siblings[..])))
}

/// Who wins which row, as `x3 y2`.
fn won(resolver: &str, txns: &[(u8, &str)]) -> String {
    let picks = picks(&by_txn(resolver), &rows(txns));
    let one = |(key, dot): (&Bytes, &Dot)| format!("{}{}", char::from(key[0]), dot.origin.as_bytes()[0]);
    picks.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn who_loses_a_row_loses_all() {
    // 3 beats 2 in z, so 2 has lost y as well, and 1 has it.
    let chain = [(1, "xy"), (2, "yz"), (3, "zw")];
    assert_eq!(won("last-writer", &chain), "y1 z3");
    assert_eq!(won("ask", &chain), "y1 z3");
    assert_eq!(won("first-writer", &chain), "y1 z3");
    assert_eq!(won("origin:02020202", &chain), "y2 z2");
    assert_eq!(won("last-writer", &[(1, "xy"), (2, "xy"), (3, "v")]), "x2 y2");
    // Each row for itself: 2 has y.
    let plain = table("int64", "last-writer");
    assert!(picks(&plain, &rows(&chain)).is_empty());
    // Both that wrote q have lost elsewhere; something has to be seen.
    assert_eq!(won("last-writer", &[(1, "qa"), (2, "qb"), (3, "a"), (4, "b")]), "a3 b4 q2");
}

#[test]
fn equal_values_do_not_compete() {
    let mut rows = rows(&[(1, "xy"), (2, "xy"), (3, "y")]);
    for sibling in rows.get_mut(&b"x"[..]).unwrap() {
        sibling.value = value("7").into();
    }
    let table = by_txn("first-writer");
    let picks = picks(&table, &rows);
    assert_eq!(picks.values().map(|dot| dot.origin.as_bytes()[0]).collect::<Vec<_>>(), [1, 1]);
}

proptest! {
    /// The order of rows and siblings does not matter; two that compete do not both win; and of who has lost nothing is seen where
    /// somebody else has not.
    #[test]
    fn winners_are_of_the_sets(txns in proptest::collection::vec("[a-f]{1,4}", 1..8), order in any::<u64>(), resolver in 0..3_usize) {
        let txns: Vec<(u8, &str)> = (1..).zip(txns.iter().map(String::as_str)).collect();
        let rows = rows(&txns.iter().map(|(n, keys)| {
            let mut keys: Vec<char> = keys.chars().collect();
            keys.sort_unstable();
            keys.dedup();
            (*n, keys.into_iter().collect::<String>())
        }).collect::<Vec<_>>().iter().map(|(n, keys)| (*n, &keys[..])).collect::<Vec<_>>());
        let table = by_txn(["last-writer", "first-writer", "origin:03030303,01010101"][resolver]);
        let picks = picks(&table, &rows);
        let mut other: Vec<(&Bytes, Vec<Sibling>)> = rows.iter().map(|(key, siblings)| (key, siblings.clone())).collect();
        other.sort_by_key(|(key, _)| u64::from(key[0]).wrapping_mul(order | 1));
        other.iter_mut().for_each(|(_, siblings)| siblings.reverse());
        prop_assert_eq!(&table.picks(other.iter().map(|(key, siblings)| (*key, &siblings[..]))), &picks);
        // Who has a row wherever it competes has won.
        let has_all = |dot: &Dot| rows.iter().all(|(key, siblings)| {
            siblings.len() < 2 || siblings.iter().all(|sibling| sibling.dot != *dot) || picks[key] == *dot
        });
        for (key, siblings) in rows.iter().filter(|(_, siblings)| siblings.len() > 1) {
            let winners: Vec<Dot> = siblings.iter().map(|sibling| sibling.dot).filter(has_all).collect();
            prop_assert!(winners.len() <= 1);
            prop_assert!(winners.first().is_none_or(|dot| *dot == picks[key]));
        }
    }
}
