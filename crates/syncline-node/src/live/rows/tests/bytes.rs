//! What rows cost on the wire, beside their cells as binary columns would have them.
//!
//! `cargo test -p syncline-node --lib -- rows::tests::bytes --nocapture` tells the numbers.

use std::fmt::Write as _;
use std::sync::Arc;

use syncline_base::Hlc;
use syncline_base::rng::Rng;
use syncline_sync::live::{Batch, Body, Context, Coverage, Entry, Message, Origin, Stamp, Tag, Txn};

use super::*;

const ROWS: usize = 1000;
const HUB: Origin = Origin::from_bytes([9; 16]);

/// A message with the entries of transactions of these writes.
fn message(txns: impl Iterator<Item = Vec<Write>>) -> usize {
    let (mut entries, mut deps, mut prev) = (Vec::new(), Coverage::new(), Tag::NONE);
    for (n, writes) in (1..).zip(txns) {
        let hlc = Hlc::from_ms(1_700_000_000_000 + n / 8);
        let read = Context { seen: deps.clone(), own: Vec::new() };
        let txn = Txn::new(Body { origin: HUB, seq: n, prev, read, hlc, writes }).unwrap();
        prev = txn.dot().tag;
        let attested = Hlc::from_u64(hlc.as_u64() + 1);
        entries.push(Arc::new(Entry {
            stamp: Stamp { hub: HUB, n },
            deps: deps.clone(),
            attested,
            txn: Arc::new(txn),
        }));
        deps.raise(HUB, n);
    }
    let message = Message::Entries { through: 1, entries: Arc::new(Batch::new(entries)) };
    let bytes = message.encode();
    assert_eq!(Message::decode(bytes.clone()).unwrap(), message);
    bytes.len()
}

/// Lines of rows, and how many bytes their cells have where integers and times have 8, texts their own, numbers the fewest that a
/// decimal has.
fn sensors(rng: &mut Rng) -> (Definition, String, usize) {
    let definition = table(&["id int64", "at timestamp(ms)", "site utf8", "temp float64", "state utf8", "n int64"]);
    let (mut lines, mut cells) = (String::new(), 0);
    for n in 0..ROWS {
        let (site, state) = (format!("site-{}", rng.below(20)), if rng.below(9) == 0 { "alarm" } else { "ok" });
        let (ms, temp, count) = (rng.below(86_400_000), rng.below(100_000), rng.below(1 << 40));
        let at = format!(
            "2024-05-{:02}T{:02}:{:02}:{:02}.{:03}",
            1 + n % 28,
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        );
        let temp = format!("{}.{:03}", temp / 1000, temp % 1000);
        writeln!(lines, r#"{{"id":{n},"at":"{at}","site":"{site}","temp":{temp},"state":"{state}","n":{count}}}"#)
            .unwrap();
        cells += 8 + site.len() + 8 + state.len() + 8;
    }
    (definition, lines, cells)
}

/// Many columns of few bytes, some without a value.
fn wide(rng: &mut Rng) -> (Definition, String, usize) {
    let columns: Vec<String> = (0..20).map(|n| format!("c{n} int32")).collect();
    let columns: Vec<&str> = std::iter::once("id uuid").chain(columns.iter().map(String::as_str)).collect();
    let (mut lines, mut cells) = (String::new(), 0);
    for _ in 0..ROWS {
        write!(lines, r#"{{"id":"{:016x}{:016x}""#, rng.next_u64(), rng.next_u64()).unwrap();
        for n in 0..20 {
            if n % 10 != 7 || rng.below(2) == 0 {
                write!(lines, r#","c{n}":{}"#, rng.below(10_000)).unwrap();
                cells += 4;
            }
        }
        lines.push_str("}\n");
    }
    (table(&columns), lines, cells)
}

#[test]
fn a_row_costs_little_more_than_its_cells() {
    let mut rng = Rng::from_seed(7);
    for (what, (definition, lines, cells)) in [("sensors", sensors(&mut rng)), ("wide", wide(&mut rng))] {
        let writes = definition.writes(lines.as_bytes(), &|_| None).unwrap();
        let values: usize = writes.iter().map(|write| write.value.as_ref().map_or(0, Bytes::len)).sum();
        let keys: usize = writes.iter().map(|write| write.row.key.len()).sum();
        let most = cells as f64 * 1.3 + 40.0 * ROWS as f64;
        for (how, bytes) in [
            ("one transaction", message(std::iter::once(writes.clone()))),
            ("a transaction each", message(writes.iter().map(|write| vec![write.clone()]))),
        ] {
            let each = |bytes: usize| bytes as f64 / ROWS as f64;
            println!(
                "{what}, {how}: {:.1} bytes a row; cells {:.1}, values {:.1}, keys {:.1}, at most {:.1}",
                each(bytes),
                each(cells),
                each(values),
                each(keys),
                most / ROWS as f64
            );
            assert!((bytes as f64) < most, "{what}, {how}: {bytes}");
        }
    }
}
