use proptest::prelude::*;

use super::*;

/// The value of an expression without a row, as it would be written.
fn value(text: &str) -> Option<String> {
    let expr = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert!(expr.columns().is_empty());
    constant(&expr).map(|value| format!("{value:?}"))
}

fn constant(expr: &Expr) -> Option<Value> {
    let table = super::super::tests::table("int64", "last-writer");
    let sibling = super::super::tests::sibling(0xab, 5, super::super::tests::value(""));
    table.rank_by(expr, &sibling)
}

#[test]
fn numbers_are_exact_or_nothing() {
    for (text, is) in [
        ("1 + 2 * 3", Some("Number(7, 0)")),
        ("(1 + 2) * 3 - -1", Some("Number(10, 0)")),
        ("10 - 3 - 2", Some("Number(5, 0)")),
        ("0.1 + 0.2", Some("Number(3, 1)")),
        ("1.50 * 2", Some("Number(3, 0)")),
        ("-7 / 2", Some("Number(-3, 0)")),
        ("-7 % 2", Some("Number(-1, 0)")),
        ("1 / 0", None),
        ("1.5 / 2", None),
        ("170141183460469231731687303715884105727 + 1", None),
        ("170141183460469231731687303715884105728", None),
    ] {
        if text.ends_with("728") {
            assert!(parse(text).is_err());
        } else {
            assert_eq!(value(text).as_deref(), is, "{text}");
        }
    }
}

#[test]
fn what_is_asked_is_true_false_or_nothing() {
    for (text, is) in [
        ("1 < 2 && 'a' < \"b\"", Some(true)),
        ("1.0 == 1 && 0.1 < 0.2 && -0.1 < 0", Some(true)),
        ("1 == '1' || 1 != 1", Some(false)),
        ("1 < 'a'", None),
        ("1 < 'a' || true", Some(true)),
        ("false && 1 < 'a'", Some(false)),
        ("true && 1 < 'a'", None),
        ("!(2 >= 2) || !true", Some(false)),
        ("size('äöü') == 3", Some(true)),
        ("has(1 / 0) ? 1 < 'a' : has(time) && time == 5", Some(true)),
        ("writer == 'abababababababababababababababab'", Some(true)),
        ("!1", None),
    ] {
        assert_eq!(value(text), is.map(|is| format!("Bool({is})")), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_told_where() {
    let long = format!("{}1{}", "(".repeat(70), ")".repeat(70));
    let many = vec!["1"; 600].join("+");
    for (text, why) in [
        ("", "a value is expected where it ends"),
        ("1 +", "a value is expected where it ends"),
        ("1 2", "an operator or the end is expected at \"2\""),
        ("row", "row.NAME"),
        ("row.", "a name is expected"),
        ("row[1]", "a name in quotes"),
        ("a.score > b.score", "\"a\" is not known"),
        ("'x", "does not end"),
        ("1 ? 2", "`:` is expected"),
        ("1.", "a number"),
        (&long, "stand in each other"),
        (&many, "more than 512 parts"),
        (&"-".repeat(4000), "stand in each other"),
    ] {
        let refused = parse(text).expect_err(text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

#[test]
fn columns_and_members_are_looked_at() {
    let json = super::super::tests::table("json", "last-writer");
    let rank = |text: &str, cell: &str| {
        let sibling = super::super::tests::sibling(1, 5, super::super::tests::value(cell));
        json.rank_by(&parse(text).unwrap(), &sibling).map(|value| format!("{value:?}"))
    };
    let cell = r#"{"a": {"b c": [1, 2]}, "n": 2.50, "e": 1e3, "no": null}"#;
    assert_eq!(rank("size(row.v.a[\"b c\"])", cell).as_deref(), Some("Number(2, 0)"));
    assert_eq!(rank("row.v.n", cell).as_deref(), Some("Number(25, 1)"));
    assert_eq!(rank("row['v'].e", cell).as_deref(), Some("Number(1000, 0)"));
    assert_eq!(rank("size(row.v)", cell).as_deref(), Some("Number(4, 0)"));
    for text in ["row.v", "row.v.no", "row.v.x.y", "row.w", "row.nothing"] {
        assert_eq!(rank(text, cell), None, "{text}");
    }
    assert_eq!(rank("row.v", &format!("\"{}\"", "x".repeat(MAX_CELL))), None, "it is too long to be looked at");
    assert_eq!(parse("row.a > 1 ? row['b c'].d : -size(row.e)").unwrap().columns(), ["a", "b c", "e"].into());
}

proptest! {
    /// Any text is an expression that has a value or none, or is refused.
    #[test]
    fn any_text_is_read_or_refused(text in "[-+*/%()<>=!&|?:.,'\"a-z0-9 ä\\[\\]]{0,60}") {
        if let Ok(expr) = parse(&text) {
            let _ = constant(&expr);
        }
    }

    /// Numbers are in the order that they have.
    #[test]
    fn numbers_have_their_order(a in any::<i64>(), b in any::<i64>(), x in 0..12_usize, y in 0..12_usize) {
        let of = |n: i64, scale: usize| {
            let digits = format!("{:0>20}", n.unsigned_abs());
            let (whole, part) = digits.split_at(digits.len() - scale);
            format!("{}{whole}.{part}0", if n < 0 { "-" } else { "" })
        };
        let number = |n, scale| Value::number(&of(n, scale)).unwrap();
        let wide = |n: i64, scale: usize| i128::from(n) * 10_i128.pow(12 - scale as u32);
        prop_assert_eq!(number(a, x).cmp(&number(b, y)), wide(a, x).cmp(&wide(b, y)));
    }
}
