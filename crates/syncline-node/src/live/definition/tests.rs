use std::collections::BTreeSet;

use proptest::prelude::*;
use syncline_base::Kind;

use super::*;

type Rows = BTreeMap<RowKey, Bytes>;

fn schema(fields: &[(&str, Type)], key: &[&str]) -> Schema {
    let fields = fields.iter().map(|(name, ty)| Field::new(*name, ty.clone(), !key.contains(name)));
    Schema::new(fields.collect(), key).unwrap()
}

fn orders() -> Definition {
    let schema = schema(&[("id", Type::Int64), ("name", Type::Utf8), ("price", Type::Int32)], &["id"]);
    Definition::create("orders", &schema, Settings::default()).unwrap()
}

fn apply(rows: &mut Rows, writes: Vec<Write>) {
    rows.extend(writes.into_iter().map(|write| (write.row, write.value.expect("definitions delete nothing"))));
}

fn made(definition: &Definition) -> Rows {
    let mut rows = Rows::new();
    apply(&mut rows, definition.changes(None));
    rows
}

fn load(rows: &Rows, name: &str) -> Result<Definition> {
    let columns = rows.range(column_rows(name)).map(|(row, value)| (&row.key, value));
    Definition::load(name, &rows[&table_row(name)], columns)
}

fn names(definition: &Definition) -> Vec<&str> {
    definition.schema().columns.iter().map(|column| &column.name[..]).collect()
}

/// All that can be seen of it.
fn seen(definition: &Definition) -> String {
    format!(
        "{:?}",
        (definition.name(), definition.columns(), &definition.key, definition.settings(), definition.schema())
    )
}

#[test]
fn a_definition_comes_back_from_its_rows() {
    let definition = orders();
    let rows = made(&definition);
    assert_eq!(rows.len(), 4);
    let text = |row: &RowKey| String::from_utf8(rows[row].to_vec()).unwrap();
    assert_eq!(
        text(&table_row("orders")),
        r#"{"syncline":"live-table/1","key":["id"],"writers":"many","granularity":"row","scope":"row","resolver":{"kind":"last-writer"}}"#
    );
    assert_eq!(
        text(&column_row("orders", "price")),
        r#"{"syncline":"live-column/1","name":"price","type":"int32","nullable":true,"ordinal":2,"state":"live"}"#
    );
    let back = load(&rows, "orders").unwrap();
    assert_eq!(seen(&back), seen(&definition));
    assert!(back.changes(Some(&definition)).is_empty());
    assert_eq!(table_of(&table_row("orders").key).unwrap(), "orders");
}

#[test]
fn rows_of_other_tables_do_not_disturb() {
    let mut rows = made(&orders());
    for name in ["order", "orders2", "orders-x", "a"] {
        let schema = schema(&[("k", Type::Utf8), ("v", Type::Json)], &["k"]);
        apply(&mut rows, Definition::create(name, &schema, Settings::default()).unwrap().changes(None));
    }
    assert_eq!(rows.range(column_rows("orders")).count(), 3);
    let all = rows.iter().filter(|(row, _)| &*row.table == COLUMNS).map(|(row, value)| (&row.key, value));
    let all = Definition::load("orders", &rows[&table_row("orders")], all).unwrap();
    assert_eq!(seen(&all), seen(&load(&rows, "orders").unwrap()));
    let tables = rows.keys().filter(|row| &*row.table == TABLES).map(|row| table_of(&row.key).unwrap());
    assert_eq!(tables.collect::<Vec<_>>(), ["a", "order", "orders", "orders-x", "orders2"]);
}

#[test]
fn names_that_no_table_has_are_refused() {
    let schema = schema(&[("id", Type::Int64)], &["id"]);
    for name in ["", ".tables", "a/b", "-x"] {
        assert_eq!(Definition::create(name, &schema, Settings::default()).unwrap_err().kind(), Kind::Invalid, "{name}");
    }
}

#[test]
fn steps_write_only_what_they_change() {
    let first = orders();
    let second = first.add_column("note", Type::Utf8).unwrap().rename_column("name", "title").unwrap();
    let writes = second.changes(Some(&first));
    let rows: Vec<&RowKey> = writes.iter().map(|write| &write.row).collect();
    assert_eq!(rows, [&column_row("orders", "name"), &column_row("orders", "note")]);
    let mut rows = made(&first);
    apply(&mut rows, writes);
    let back = load(&rows, "orders").unwrap();
    assert_eq!(seen(&back), seen(&second));
    assert_eq!(names(&back), ["id", "title", "price", "note"]);
    assert_eq!(back.column("title").unwrap().cell, CellId::of("name"));
    assert_eq!(back.schema().column("title").unwrap().origin(), "name");
}

#[test]
fn a_column_that_comes_again_is_another_one() {
    let first = orders().drop_column("name").unwrap();
    assert_eq!(names(&first), ["id", "price"]);
    let again = first.add_column("name", Type::Int64).unwrap();
    assert_eq!(again.column("name").unwrap().origin, "name#2");
    let third = again.drop_column("name").unwrap().add_column("name", Type::Utf8).unwrap();
    assert_eq!(third.column("name").unwrap().origin, "name#3");
    let renamed = orders().rename_column("name", "old").unwrap().add_column("name", Type::Utf8).unwrap();
    assert_eq!(
        (names(&renamed).join(" "), &*renamed.column("name").unwrap().origin),
        ("id old price name".into(), "name#2")
    );
    assert_eq!(seen(&load(&made(&third), "orders").unwrap()), seen(&third));
}

#[test]
fn columns_made_on_two_sides_are_all_there() {
    let base = orders();
    let one = base.add_column("a", Type::Utf8).unwrap().add_column("x", Type::Bool).unwrap();
    let other = base.add_column("b", Type::Int64).unwrap().drop_column("price").unwrap();
    let (first, second) = (one.changes(Some(&base)), other.changes(Some(&base)));
    let (mut there, mut here) = (made(&base), made(&base));
    apply(&mut there, first.clone());
    apply(&mut there, second.clone());
    apply(&mut here, second);
    apply(&mut here, first);
    let (there, here) = (load(&there, "orders").unwrap(), load(&here, "orders").unwrap());
    assert_eq!(seen(&there), seen(&here));
    assert_eq!(names(&here), ["id", "name", "a", "b", "x"]);
}

#[test]
fn columns_that_get_one_name_on_two_sides_are_told_apart() {
    let base = orders();
    let mut rows = made(&base);
    apply(&mut rows, base.add_column("total", Type::Int64).unwrap().changes(Some(&base)));
    apply(&mut rows, base.rename_column("price", "total").unwrap().changes(Some(&base)));
    apply(&mut rows, base.add_column("total#2", Type::Bool).unwrap().changes(Some(&base)));
    let met = load(&rows, "orders").unwrap();
    assert_eq!(names(&met), ["id", "name", "total", "total#3", "total#2"]);
    assert_eq!((&*met.column("total").unwrap().origin, &*met.column("total#3").unwrap().origin), ("price", "total"));
    // A step that has nothing to do with them leaves their rows as they are.
    let next = met.add_column("z", Type::Utf8).unwrap();
    assert_eq!(next.changes(Some(&met)).len(), 1);
    let mended = met.rename_column("total#3", "sum").unwrap();
    apply(&mut rows, mended.changes(Some(&met)));
    assert_eq!(names(&load(&rows, "orders").unwrap()), ["id", "name", "total", "sum", "total#2"]);
}

#[test]
fn a_key_stays() {
    let base = orders();
    for error in [
        base.drop_column("id").unwrap_err(),
        base.widen_column("id", Type::Int64, false).unwrap_err(),
        base.deprecate_column("id", true).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("the key has it"), "{error}");
    }
    let renamed = base.rename_column("id", "nr").unwrap();
    assert_eq!(renamed.schema().key_positions(), [0]);
    // Whoever drops it all the same does not take the table with it.
    let mut rows = made(&base);
    let row = column_row("orders", "id");
    let text = String::from_utf8(rows[&row].to_vec()).unwrap().replace("\"live\"", "\"dropped\"");
    rows.insert(row.clone(), text.into());
    assert_eq!(names(&load(&rows, "orders").unwrap()), ["id", "name", "price"]);
    rows.remove(&row);
    assert_eq!(load(&rows, "orders").unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn types_widen_only_where_texts_read_the_same() {
    let decimal = |precision, scale| Type::Decimal128 { precision, scale };
    let of = |ty: &Type| {
        let schema = schema(&[("id", Type::Int64), ("v", ty.clone())], &["id"]);
        Definition::create("t", &schema, Settings::default()).unwrap()
    };
    for (from, to) in [(Type::Int8, Type::Int64), (Type::UInt32, Type::Int64), (decimal(5, 2), decimal(9, 3))] {
        let base = of(&from);
        let wide = base.widen_column("v", to.clone(), true).unwrap();
        assert_eq!(wide.column("v").unwrap().ty, to);
        assert_eq!(wide.changes(Some(&base)).len(), 1);
    }
    for (from, to) in [(Type::Float32, Type::Float64), (Type::Utf8, Type::Binary), (Type::Json, Type::Utf8)] {
        let error = of(&from).widen_column("v", to, true).unwrap_err();
        assert!(error.to_string().contains("add a column of that type instead"), "{error}");
    }
    assert_eq!(of(&Type::Int64).widen_column("v", Type::Int8, true).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn settings_follow_their_column() {
    let base = orders();
    let by = |resolver: &str| Settings { resolver: resolver.parse().unwrap(), ..Settings::default() };
    let max = base.set(by("max:price")).unwrap();
    assert_eq!(max.changes(Some(&base)).len(), 1);
    let renamed = max.rename_column("price", "cost").unwrap();
    assert_eq!(renamed.settings().resolver.to_string(), "max:cost");
    assert_eq!(renamed.changes(Some(&max)).len(), 1, "the settings keep the origin");
    let back = load(&made(&renamed), "orders").unwrap();
    assert_eq!(back.settings().resolver.to_string(), "max:cost");
    assert!(back.drop_column("cost").unwrap_err().to_string().contains("max:cost"));
    for (resolver, why) in [
        ("max:nothing", "does not exist"),
        ("max:id", "of the key"),
        ("union:name", "neither a list"),
        ("counter:name", "neither"),
    ] {
        let error = base.set(by(resolver)).unwrap_err().to_string();
        assert!(error.contains(why), "{resolver}: {error}");
    }
    // Somebody dropped the column, or made it one without an order, while it was chosen.
    for (from, to) in [("\"live\"", "\"dropped\""), ("\"int32\"", "\"json\"")] {
        let mut rows = made(&max);
        let row = column_row("orders", "price");
        let text = String::from_utf8(rows[&row].to_vec()).unwrap().replace(from, to);
        rows.insert(row, text.into());
        assert_eq!(load(&rows, "orders").unwrap().settings().resolver, Resolver::Ask);
    }
    let one = Settings { writers: Writers::One("00ff".into()), granularity: Granularity::Column, ..by("ask") };
    let txn = Settings { scope: Scope::Txn, ..by("first-writer") };
    for settings in [one.clone(), txn.clone(), Settings { granularity: Granularity::Column, ..by("counter:price") }] {
        let rows = made(&base.set(settings.clone()).unwrap());
        assert_eq!(load(&rows, "orders").unwrap().settings(), &settings);
        let text = String::from_utf8(rows[&table_row("orders")].to_vec()).unwrap();
        assert!(text.starts_with(r#"{"syncline":"live-table/2","#), "{text}");
    }
    for (settings, why) in [
        (Settings { scope: Scope::Txn, ..one.clone() }, "granularity row or scope row"),
        (Settings { scope: Scope::Txn, ..by("max:price") }, "not by max:price"),
        (Settings { granularity: Granularity::Column, ..by("expression:row.price") }, "granularity row"),
    ] {
        let error = base.set(settings).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(base.set(Settings { writers: Writers::One("me".into()), ..Settings::default() }).is_err());
}

#[test]
fn a_strict_table_is_of_version_3_and_names_its_certifier() {
    let base = orders();
    let strict = Settings { writers: Writers::Strict("00ff".into()), ..Settings::default() };
    for settings in [strict.clone(), Settings { granularity: Granularity::Column, ..strict.clone() }] {
        let rows = made(&base.set(settings.clone()).unwrap());
        assert_eq!(load(&rows, "orders").unwrap().settings(), &settings);
    }
    let rows = made(&base.set(strict).unwrap());
    assert_eq!(
        rows[&table_row("orders")],
        r#"{"syncline":"live-table/3","key":["id"],"writers":"strict","owner":"00ff","granularity":"row","scope":"row","resolver":{"kind":"last-writer"}}"#
    );
    let nobody = String::from_utf8(rows[&table_row("orders")].to_vec()).unwrap().replace(r#""owner":"00ff","#, "");
    let nobody = rows.clone().into_iter().chain([(table_row("orders"), nobody.into())]).collect();
    assert!(load(&nobody, "orders").is_err());
    assert!(base.set(Settings { writers: Writers::Strict("me".into()), ..Settings::default() }).is_err());
}

/// Version 1 knew words that it had no rules for.
#[test]
fn what_version_1_had_no_rules_for_is_not_said() {
    let definition = orders();
    for (word, new) in [
        (r#""granularity":"row""#, r#""granularity":"column""#),
        (r#""scope":"row""#, r#""scope":"txn""#),
        (r#"{"kind":"last-writer"}"#, r#"{"kind":"counter","column":"price"}"#),
    ] {
        let mut rows = made(&definition);
        let text = String::from_utf8(rows[&table_row("orders")].to_vec()).unwrap().replace(word, new);
        rows.insert(table_row("orders"), text.into());
        let settings = load(&rows, "orders").unwrap().settings().clone();
        assert_eq!((settings.granularity, settings.scope), (Granularity::Row, Scope::Row));
        assert_eq!(settings.resolver == Resolver::Ask, new.contains("counter"));
    }
}

#[test]
fn resolvers_read_what_they_write() {
    for text in [
        "last-writer",
        "first-writer",
        "origin:a,b",
        "max:price",
        "min:a:b",
        "union:tags",
        "counter:n",
        "columns",
        "expression:row.a > row.b ? 1 : 0",
        "ask",
    ] {
        let resolver: Resolver = text.parse().unwrap();
        assert_eq!(resolver.to_string(), text);
        let json = serde_json::to_string(&resolver).unwrap();
        assert_eq!(serde_json::from_str::<Resolver>(&json).unwrap(), resolver);
    }
    for text in ["", "max", "max:", "ask:me", "last", "origin:", "origin:a,,b", "expression: "] {
        let error = text.parse::<Resolver>().expect_err(text).to_string();
        assert!(error.contains("reading the resolver"), "{error}");
    }
}

#[test]
fn parts_that_cannot_be_read_are_named() {
    let rows = made(&orders());
    let with = |row: &RowKey, text: &str| {
        let mut rows = rows.clone();
        rows.insert(row.clone(), Bytes::copy_from_slice(text.as_bytes()));
        load(&rows, "orders").unwrap_err()
    };
    let text = |row: &RowKey| String::from_utf8(rows[row].to_vec()).unwrap();
    let (table, column) = (table_row("orders"), column_row("orders", "name"));
    for (row, part) in [(&table, "settings"), (&column, "\"name\"")] {
        let newer = with(row, &text(row).replace("/1\"", "/9\""));
        assert_eq!(newer.kind(), Kind::Invalid, "{newer}");
        assert!(newer.to_string().contains("orders") && newer.to_string().contains(part), "{newer}");
    }
    for (row, wrong) in [
        (&table, String::new()),
        (&table, "[]".to_owned()),
        (&table, text(&table).replace("last-writer", "dice")),
        (&table, text(&table).replace("\"many\"", "\"one\"")),
        (&table, text(&table).replace("[\"id\"]", "[]")),
        (&table, text(&table).replace("\"id\"", "\"nobody\"")),
        (&table, text(&table).replace("\"id\"", "\"id\",\"id\"")),
        (&column, text(&column).replace("utf8", "rope")),
        (&column, text(&column).replace("utf8", "uff8")),
        (&column, text(&column).replace("\"name\":\"name\"", "\"name\":\"\"")),
        (&column, format!("{} ", text(&column))),
    ] {
        let error = with(row, &wrong);
        assert_eq!(error.kind(), Kind::Corrupt, "{wrong}: {error}");
        assert!(error.to_string().contains("\"orders\""), "{error}");
    }
}

proptest! {
    #[test]
    fn keys_of_definitions_come_back(parts in proptest::collection::vec("[a\0\u{1}é]{0,4}", 0..4)) {
        let texts: Vec<&str> = parts.iter().map(|part| &part[..]).collect();
        prop_assert_eq!(decoded(&encoded(&texts)).unwrap(), parts.clone());
        let fields = (0..parts.len().max(1)).map(|i| Field::new(format!("{i}"), Type::Utf8, false)).collect();
        let names: Vec<String> = (0..parts.len().max(1)).map(|i| i.to_string()).collect();
        let schema = Schema::new(fields, &names.iter().map(|name| &name[..]).collect::<Vec<_>>()).unwrap();
        if parts.len() == 1 {
            prop_assert_eq!(&key::parse_key(&schema, &parts[0]).unwrap()[..], &encoded(&texts)[..]);
        }
    }

    /// Any two orders of steps of two nodes give one definition, and it can always be read.
    #[test]
    fn two_sides_meet(steps in proptest::collection::vec((any::<bool>(), 0..5_u8, 0..4_u8, 0..4_u8), 0..12)) {
        let base = orders();
        let (mut sides, mut rows) = ([base.clone(), base.clone()], [made(&base), made(&base)]);
        let mut all: [Vec<Write>; 2] = Default::default();
        let name = |n: u8| ["name", "price", "x", "y"][usize::from(n)];
        for (side, step, a, b) in steps {
            let side = usize::from(side);
            let is = &sides[side];
            let next = match step {
                0 | 1 => is.add_column(name(a), if b % 2 == 0 { Type::Int64 } else { Type::Utf8 }),
                2 => is.rename_column(name(a), name(b)),
                3 => is.drop_column(name(a)),
                _ => is.deprecate_column(name(a), b % 2 == 0),
            };
            let Ok(next) = next else { continue };
            let writes = next.changes(Some(is));
            apply(&mut rows[side], writes.clone());
            all[side].extend(writes);
            sides[side] = load(&rows[side], "orders").unwrap();
            prop_assert_eq!(seen(&sides[side]), seen(&next));
        }
        // Each row is the last writer's, whoever that is: here the side with more to say.
        let mut met = made(&base);
        let last = |side: usize| all[side].iter().map(|write| (write.row.clone(), write.value.clone().unwrap()));
        for (row, value) in last(0).chain(last(1)) {
            met.insert(row, value);
        }
        let met = load(&met, "orders").unwrap();
        let called: BTreeSet<&str> = names(&met).into_iter().collect();
        prop_assert_eq!(called.len(), names(&met).len());
        prop_assert!(met.changes(Some(&met)).is_empty());
    }

    #[test]
    fn any_bytes_are_a_definition_or_refused(table in any::<Vec<u8>>(), column in any::<Vec<u8>>(), key in any::<Vec<u8>>()) {
        let rows = made(&orders());
        let columns = || rows.range(column_rows("orders")).map(|(row, value)| (row.key.clone(), value.clone()));
        let own = rows[&table_row("orders")].clone();
        prop_assert!(Definition::load("orders", &table, columns()).is_err());
        prop_assert!(Definition::load("orders", &own, columns().chain([(column_row("orders", "new").key, column.into())])).is_err());
        let _ = Definition::load("orders", &own, columns().chain([(Bytes::from(key), Bytes::new())]));
    }
}
