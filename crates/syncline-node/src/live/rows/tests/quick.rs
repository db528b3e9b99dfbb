//! Rows that are read in one pass come out as those that are read with all care, or not at all.

use std::sync::Arc;

use syncline_base::rng::Rng;

use super::*;

/// A text that is about a cell of some type, or is wrong in some way.
fn cell(rng: &mut Rng, ty: &str) -> String {
    let number = rng.next_u64() >> rng.below(64);
    let odd =
        ["null", "-0", "1e3", "\"a\\u0041\"", "[1]", "{\"a\":1}", "1e999", "0.1", "\"x\"", "true", "-1", "\"\"", "007"];
    if rng.below(40) == 0 {
        return odd[rng.below(odd.len() as u64) as usize].to_owned();
    }
    let date = format!("{:04}-{:02}-{:02}", rng.below(3000), 1 + rng.below(12), 1 + rng.below(29));
    match ty {
        "bool" => ["true", "false"][rng.below(2) as usize].to_owned(),
        "float64" => format!("{}{}.{}", ["", "-"][rng.below(2) as usize], rng.below(5000), number % 1000),
        "decimal(9, 2)" => format!("{}.{}", rng.below(9_999_999), rng.below(10)),
        "utf8" => format!("\"{}é \u{7f}{}\"", "x".repeat(rng.below(20) as usize), rng.below(5)),
        "date32" => format!("\"{date}\""),
        "timestamp(ms)" => format!("\"{date}T0{}:00:00.{}\"", rng.below(10), rng.below(10)),
        "timestamp(us, UTC)" => format!("\"{date}T0{}:00:00Z\"", rng.below(10)),
        "uuid" => format!("\"{:016x}{:016X}\"", rng.next_u64(), number),
        "int8" | "uint8" => format!("{}", rng.below(140)),
        "int64" if rng.below(2) == 0 => format!("-{number}"),
        _ => number.to_string(),
    }
}

const TYPES: [&str; 16] = [
    "int64",
    "utf8",
    "bool",
    "float64",
    "decimal(9, 2)",
    "date32",
    "timestamp(ms)",
    "timestamp(us, UTC)",
    "uuid",
    "int8",
    "uint8",
    "int16",
    "int32",
    "uint16",
    "uint32",
    "uint64",
];
/// Those of a key.
const KEYS: [&str; 7] = ["int64", "utf8", "uint32", "int8", "date32", "timestamp(ms)", "uuid"];

#[test]
fn one_pass_gives_what_care_gives() {
    let (mut rng, mut quick) = (Rng::from_seed(5), 0);
    for _ in 0..3000 {
        let mut columns = vec![format!("k {}", KEYS[rng.below(7) as usize])];
        columns.extend((0..rng.below(5)).map(|n| {
            let needed = if rng.below(2) == 0 { "!" } else { "" };
            format!("c{n} {}{needed}", TYPES[rng.below(16) as usize])
        }));
        let definition = Arc::new(table(&columns.iter().map(|column| &column[..]).collect::<Vec<_>>()));
        let mut text = String::new();
        for _ in 0..1 + rng.below(4) {
            let mut members: Vec<String> = Vec::new();
            for column in &columns {
                let (name, ty) = column.trim_end_matches('!').split_once(' ').unwrap();
                let null = !column.ends_with('!') && name != "k" && rng.below(4) == 0;
                let cell = if null { "null".to_owned() } else { cell(&mut rng, ty) };
                members.push(format!("\"{name}\": {cell}"));
            }
            match rng.below(30) {
                0 => drop(members.pop()),
                1 => members.push("\"other\":1".to_owned()),
                2 => members.push(members[0].clone()),
                3 => members.reverse(),
                _ => {}
            }
            text += &format!(" {{{}}}{}\n", members.join(","), ["x", " ", ""][rng.below(30).min(2) as usize]);
        }
        let Some(made) = definition.quick_writes(text.as_bytes()) else { continue };
        quick += 1;
        let care =
            definition.writes(text.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{columns:?} {text}: {error}"));
        assert_eq!(made.writes, care, "{columns:?} {text}");
    }
    assert!(quick > 900, "{quick} of 3000");
}

#[test]
fn what_it_cannot_be_sure_of_it_leaves_to_care() {
    let definition = Arc::new(table(&["id int64", "name utf8", "n int8!", "doc json"]));
    let quick = |text: &str| definition.quick_writes(text.as_bytes()).map(|made| made.writes.len());
    assert_eq!(quick("{\"id\":2,\"name\":null,\"n\":1,\"doc\":null}"), None, "a null of JSON may be a value");
    let definition = Arc::new(table(&["id int64", "name utf8", "n int8!"]));
    let quick = |text: &str| definition.quick_writes(text.as_bytes()).map(|made| made.writes.len());
    assert_eq!(quick("{\"id\":2,\"name\":null,\"n\":1}\n\n{\"id\":1,\"n\":-128,\"name\":\"a\"}"), Some(2));
    assert_eq!(quick(""), None);
    for line in [
        r#"{"id":2,"n":1}"#,
        r#"{"id":2,"name":"a","n":128}"#,
        r#"{"id":2,"name":"a","n":null}"#,
        r#"{"id":2,"name":"a","n":1.0}"#,
        r#"{"id":2,"name":"a\n","n":1}"#,
        r#"{"id":null,"name":"a","n":1}"#,
        "{\"id\":2,\"name\":\"a\",\"n\":1}\n{\"id\":2,\"name\":\"b\",\"n\":1}",
        "{\"id\":2,\"name\":\"a\u{1}\",\"n\":1}",
        r#"{"id":2,"name":"a","n":1} 5"#,
    ] {
        assert_eq!(quick(line), None, "{line}");
    }
    assert!(definition.quick_writes(b"{\"id\":2,\"name\":\"\xff\",\"n\":1}").is_none(), "no UTF-8");
}

#[test]
fn cells_that_nobody_knows_are_found() {
    let definition = table(&["id int64", "a utf8", "b utf8"]);
    let value = |cells: &[CellId]| {
        let (mut value, mut cells) = (Vec::new(), cells.to_vec());
        cells::begin(&mut value);
        cells.sort();
        cells.iter().for_each(|cell| cells::put(&mut value, *cell, |out| out.push(b'1')));
        value
    };
    let of = |names: &[&str]| value(&names.iter().map(|name| CellId::of(name)).collect::<Vec<_>>());
    for (names, known) in [(&["a", "b"][..], true), (&["b"], true), (&[], true), (&["a", "c"], false), (&["c"], false)]
    {
        assert_eq!(definition.knows_all_of(&of(names)), known, "{names:?}");
    }
    let dropped = definition.drop_column("a").unwrap();
    assert!(dropped.knows_all_of(&of(&["a", "b"])));
    assert!(!dropped.knows_all_of(&of(&["a", "b", "c"])));
    assert!(
        !definition.knows_all_of(&[])
            && !definition.knows_all_of(&[cells::MARKED, 0])
            && !definition.knows_all_of(&[3])
    );
}
