use proptest::prelude::*;
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Tag};
use syncline_tree::schema::{Field, Schema};

use super::super::cells;
use super::super::definition::Settings;
use super::*;
use crate::import::parse_type;

/// A table with one column `v` beside its key, resolved as the text says.
pub(super) fn table(ty: &str, resolver: &str) -> Definition {
    let fields = vec![
        Field::new("id", parse_type("int64").unwrap(), false),
        Field::new("v", parse_type(ty).unwrap(), true),
        Field::new("w", parse_type("utf8").unwrap(), true),
    ];
    let settings = Settings { resolver: resolver.parse().unwrap(), ..Settings::default() };
    Definition::create("t", &Schema::new(fields, &["id"]).unwrap(), settings).unwrap()
}

/// A sibling of a writer whose name begins with the byte.
pub(super) fn sibling(writer: u8, time: u64, value: Vec<u8>) -> Sibling {
    let dot = Dot { origin: Origin::from_bytes([writer; 16]), seq: 1, tag: Tag::from_u64(u64::from(writer)) };
    Sibling { dot, stamps: Vec::new(), time: Hlc::from_ms(time), value: value.into() }
}

/// A value with this text in `v`; null when there is none.
pub(super) fn value(text: &str) -> Vec<u8> {
    let mut value = Vec::new();
    cells::begin(&mut value);
    if !text.is_empty() {
        cells::put(&mut value, CellId::of("v"), |out| out.extend_from_slice(text.as_bytes()));
    }
    value
}

/// Which of these cells wins; the first was written last.
fn winner(ty: &str, resolver: &str, texts: &[&str]) -> usize {
    let siblings: Vec<Sibling> =
        (0_u8..).zip(texts).map(|(at, text)| sibling(at, 100 - u64::from(at), value(text))).collect();
    let won = table(ty, resolver).pick(&siblings).expect("there are some");
    usize::from(won.dot.origin.as_bytes()[0])
}

#[test]
fn writers_by_time_and_by_name() {
    let siblings = [sibling(0xaa, 5, value("")), sibling(0xbb, 9, value("")), sibling(0xcc, 5, value(""))];
    let wins = |resolver: &str| table("int64", resolver).pick(&siblings).unwrap().dot.origin.as_bytes()[0];
    assert_eq!(wins("last-writer"), 0xbb);
    assert_eq!(wins("ask"), 0xbb, "until somebody decides");
    assert_eq!(wins("first-writer"), 0xaa);
    assert_eq!(wins("origin:cccccccc,aaaaaaaa"), 0xcc);
    assert_eq!(wins("origin:dddddddd,AAAAAAAAAA,cccccccc"), 0xaa);
    assert_eq!(wins(&format!("origin:{}", "aa".repeat(16))), 0xaa);
    assert_eq!(wins("origin:dddddddd"), 0xbb, "of the others the last");
    assert_eq!(wins("origin:ccccccc"), 0xbb, "seven digits are too few");
    assert_eq!(wins(&format!("origin:{}0", "cc".repeat(16))), 0xbb, "no name is longer than a name");
    assert_eq!(table("int64", "ask").pick(&[]), None);
}

/// Cells of each type, the larger first, written in several ways; those in one place are equal.
const ORDERS: &[(&str, &[&[&str]])] = &[
    ("bool", &[&["true"], &["false"]]),
    ("int8", &[&["127"], &["9"], &["0"], &["-9"], &["-128"]]),
    ("int64", &[&["9223372036854775807"], &["10"], &["9"], &["-9223372036854775808"]]),
    ("uint64", &[&["18446744073709551615"], &["9223372036854775808"], &["0"]]),
    ("decimal(9, 2)", &[&["10.00", "10", "10.0"], &["9.99"], &["0.00", "-0.00"], &["-0.01"], &["-10.00"]]),
    ("decimal(9, -2)", &[&["1000"], &["900"], &["-900"]]),
    (
        "decimal(60, 3)",
        &[
            &["100000000000000000000000000000000000000000000.001"],
            &["100000000000000000000000000000000000000000000.000"],
            &["9.000"],
            &["-100000000000000000000000000000000000000000000.001"],
        ],
    ),
    (
        "float64",
        &[
            &["\"NaN\""],
            &["\"inf\""],
            &["1e300", "1.0e300"],
            &["9007199254740994.0"],
            &["9007199254740992.0"],
            &["10.0"],
            &["9.5"],
            &["5e-324"],
            &["0.0"],
            &["-0.0"],
            &["-9.5"],
            &["-10.0"],
            &["\"-inf\""],
        ],
    ),
    ("float32", &[&["16777216.0"], &["0.1"], &["-1e-45"]]),
    ("utf8", &[&["\"é\"", "\"\\u00e9\""], &["\"b\""], &["\"a\\n\""], &["\"a\""], &["\"B\""], &["\"\""]]),
    ("binary", &[&["\"ff\""], &["\"0a00\""], &["\"0a\""], &["\"\""]]),
    ("uuid", &[&["\"f0000000-0000-0000-0000-000000000000\""], &["\"0fffffff-ffff-ffff-ffff-ffffffffffff\""]]),
    ("date32", &[&["\"+10000-01-01\""], &["\"9999-12-31\""], &["\"2024-02-29\""], &["\"-0001-01-01\""]]),
    ("time(ms)", &[&["\"86400000\""], &["\"23:59:59.999\""], &["\"09:00:00.000\""], &["\"-1\""]]),
    (
        "timestamp(us)",
        &[&["\"+10000-01-01T00:00:00.000000\""], &["\"2024-02-29T00:00:00.000001\""], &["\"2024-02-29\""]],
    ),
    (
        "timestamp(us, UTC)",
        &[
            &["\"2024-02-29T10:00:00.000000Z\"", "\"2024-02-29T11:00:00.000000+01:00\""],
            &["\"1969-12-31T23:59:59.999999Z\""],
        ],
    ),
];

#[test]
fn cells_are_compared_by_what_they_say() {
    for (ty, places) in ORDERS {
        for (high, place) in places.iter().enumerate() {
            for (a, b) in place.iter().flat_map(|a| place.iter().map(move |b| (a, b))) {
                for resolver in ["max:v", "min:v"] {
                    assert_eq!(
                        winner(ty, resolver, &[a, b]),
                        0,
                        "{ty} {resolver}: {a} is {b}, and the last written wins"
                    );
                }
            }
            for (a, b) in
                places[high + 1..].iter().flat_map(|low| low.iter()).flat_map(|b| place.iter().map(move |a| (a, b)))
            {
                assert_eq!(
                    (winner(ty, "max:v", &[b, a]), winner(ty, "min:v", &[a, b])),
                    (1, 1),
                    "{ty}: {a} is above {b}"
                );
                assert_eq!(
                    (winner(ty, "max:v", &[a, b]), winner(ty, "min:v", &[b, a])),
                    (0, 0),
                    "{ty}: {a} is above {b}"
                );
            }
        }
    }
}

#[test]
fn null_and_what_is_no_value_loses_against_any_value() {
    let unreadable = [
        "",
        "null",
        "x",
        "\"",
        "[1]",
        "{}",
        "\"x\"",
        "-",
        "--1",
        "1e",
        "\"2024-02-30\"",
        "\"24:00\"",
        "truex",
        "inf",
        "-inf",
        "-nan",
        "\"\\ud800\"",
        "1 2",
        "\"0\"x",
        "\u{e9}",
        "1e999",
        "\"NaN",
    ];
    for (ty, places) in ORDERS {
        let (highest, lowest) = (places[0][0], places[places.len() - 1][0]);
        for bad in unreadable {
            // Nearly every JSON text is a text's value.
            if order::rank(&parse_type(ty).unwrap(), bad.as_bytes()).is_some() {
                assert_eq!((*ty, bad.starts_with('"')), ("utf8", true), "{ty}: {bad} has come to be a value");
                continue;
            }
            assert_eq!(winner(ty, "max:v", &[bad, lowest]), 1, "{ty}: {bad}");
            assert_eq!(winner(ty, "min:v", &[bad, highest]), 1, "{ty}: {bad}");
            assert_eq!(winner(ty, "max:v", &[bad, ""]), 0, "{ty}: {bad} is as good as null");
        }
    }
    for (ty, text) in [
        ("int8", "128"),
        ("int8", "1.0"),
        ("uint8", "-1"),
        ("decimal(3, 1)", "1.25"),
        ("decimal(3, 1)", "100.0"),
        ("int64", "9223372036854775808"),
        ("int64", "9999999999999999999999999999999999999999999999"),
    ] {
        assert_eq!(winner(ty, "max:v", &[text, ""]), 0);
        assert_eq!(winner(ty, "max:v", &[text, "0"]), 1, "{ty} does not hold {text}");
        assert_eq!(winner(ty, "min:v", &[text, "0"]), 1, "{ty} does not hold {text}");
    }
}

#[test]
fn of_a_damaged_value_nothing_is_believed() {
    let mut damaged = value("100");
    damaged.extend_from_slice(&[0, 0]);
    let siblings =
        [sibling(1, 9, damaged), sibling(2, 1, value("5")), sibling(3, 8, b"\x03".to_vec()), sibling(4, 7, Vec::new())];
    for resolver in ["max:v", "min:v"] {
        assert_eq!(table("int64", resolver).pick(&siblings).unwrap().dot, siblings[1].dot);
    }
}

#[test]
fn what_has_no_rules_is_not_in_this_version() {
    for text in
        ["last-writer", "first-writer", "ask", "max:v", "min:v", "union:v", "counter:v", "origin:01234567,ABCDEF012345"]
    {
        assert_eq!(refuses(&text.parse().unwrap()), None, "{text}");
    }
    for (text, why) in [("columns", "not in this version"), ("expression:a + b", "\"a\" is not known")] {
        let refused = refuses(&text.parse().unwrap()).expect(text);
        assert!(refused.contains(why), "{refused}");
    }
    for text in ["origin:0123456", "origin:berlin", "origin:01234567,012345678901234567890123456789012"] {
        let why = refuses(&text.parse().unwrap()).expect(text);
        assert!(why.contains("is no writer"), "{why}");
    }
}

const RESOLVERS: [&str; 7] = [
    "last-writer",
    "first-writer",
    "ask",
    "origin:02020202,01010101",
    "max:v",
    "min:v",
    "expression: row.v > 1 ? 1 : row.v == \"x\" ? 2 : row.v * 3",
];

/// Siblings of writers that differ, as a row has them; times and cells are often equal.
fn siblings() -> impl Strategy<Value = Vec<Sibling>> {
    let cell = prop_oneof![
        Just(value("")),
        (0..3_i8).prop_map(|n| value(&n.to_string())),
        Just(value("\"x\"")),
        Just(value("7.5")),
        proptest::collection::vec(any::<u8>(), 0..12),
        // Any text under a layout that holds.
        proptest::collection::vec(any::<u8>(), 1..12).prop_map(|text| {
            let mut value = value("");
            cells::put(&mut value, CellId::of("v"), |out| out.extend_from_slice(&text));
            value
        }),
    ];
    proptest::collection::vec((0..3_u64, cell), 0..7)
        .prop_map(|parts| (0_u8..).zip(parts).map(|(writer, (time, value))| sibling(writer, time, value)).collect())
}

proptest! {
    /// No order in which siblings are given or come changes the winner.
    #[test]
    fn the_winner_is_of_the_set(all in siblings(), order in any::<u64>(), ty in 0..ORDERS.len()) {
        for resolver in RESOLVERS {
            let table = table(ORDERS[ty].0, resolver);
            let won = table.pick(&all).cloned();
            prop_assert_eq!(won.is_some(), !all.is_empty());
            let mut other = all.clone();
            other.sort_by_key(|sibling| (u64::from(sibling.dot.origin.as_bytes()[0]) + 1).wrapping_mul(order | 1));
            prop_assert_eq!(table.pick(&other), won.as_ref(), "{}", resolver);
            // One by one, each time with what won before only.
            let one_by_one = other.iter().fold(None::<Sibling>, |before, next| {
                let both: Vec<Sibling> = before.into_iter().chain([next.clone()]).collect();
                table.pick(&both).cloned()
            });
            prop_assert_eq!(&one_by_one, &won, "{}", resolver);
            // And in two parts.
            let (left, right) = other.split_at(other.len() / 2);
            let parts: Vec<Sibling> = [left, right].iter().filter_map(|part| table.pick(part).cloned()).collect();
            prop_assert_eq!(table.pick(&parts), won.as_ref(), "{}", resolver);
        }
    }

    /// Integers are ordered as numbers, whatever their digits.
    #[test]
    fn numbers_are_ordered_as_numbers(a in any::<i64>(), b in any::<i64>()) {
        let won = |ty: &str, resolver: &str, write: &dyn Fn(i64) -> String| winner(ty, resolver, &[&write(a), &write(b)]);
        let larger = usize::from(b > a);
        prop_assert_eq!(won("int64", "max:v", &|n| n.to_string()), larger);
        prop_assert_eq!(won("decimal(30, 0)", "max:v", &|n| n.to_string()), larger);
        prop_assert_eq!(won("decimal(50, 2)", "max:v", &|n| format!("{n}.00")), larger);
        prop_assert_eq!(won("int64", "min:v", &|n| n.to_string()), usize::from(b < a));
    }

    #[test]
    fn floats_are_in_the_total_order(a in any::<u64>(), b in any::<u64>()) {
        let (a, b) = (f64::from_bits(a), f64::from_bits(b));
        prop_assume!(a.is_finite() && b.is_finite());
        let won = winner("float64", "max:v", &[&format!("{a:?}"), &format!("{b:?}")]);
        prop_assert_eq!(won, usize::from(b.total_cmp(&a).is_gt()));
    }
}
