//! Scopes hold what they say, for every key.

use proptest::prelude::*;
use syncline_tree::key::parse_key;
use syncline_tree::schema::{Field, Schema, Type};

use super::*;
use crate::live::definition::Settings;

fn table() -> Definition {
    let fields = vec![
        Field::new("region", Type::Utf8, false),
        Field::new("id", Type::Int64, false),
        Field::new("name", Type::Utf8, true),
        Field::new("city", Type::Utf8, true),
    ];
    let schema = Schema::new(fields, &["region", "id"]).unwrap();
    Definition::create("orders", &schema, Settings::default()).unwrap()
}

fn row(region: &str, id: i64) -> RowKey {
    let table = table();
    let text = serde_json::json!([region, id]).to_string();
    table.row(parse_key(table.schema(), &text).unwrap().into())
}

fn holds(condition: &str, region: &str, id: i64) -> bool {
    condition::compile(&table(), condition).unwrap().holds(&row(region, id).key)
}

#[test]
fn conditions_say_what_they_say_in_sql() {
    for (condition, yes, no) in [
        ("region = \"eu\" AND id < 1000", ("eu", 999), ("eu", 1000)),
        ("region = 'eu' and id<1000", ("eu", -5), ("us", 5)),
        ("region in ('eu', 'us')", ("us", 0), ("asia", 0)),
        ("region not in ('eu', 'us')", ("asia", 0), ("us", 0)),
        ("id between -3 and 3", ("x", -3), ("x", 4)),
        ("not (id between -3 and 3)", ("x", 4), ("x", 0)),
        ("region like 'eu-%'", ("eu-west", 1), ("eu", 1)),
        ("region like '%'", ("", 1), ("", 1)),
        ("region = 'it''s' or id <> 7", ("it's", 7), ("its", 7)),
        ("region >= 'b' and region <= 'c'", ("bz", 1), ("cz", 1)),
        ("\"id\" != 5 AND (region = '[x' OR region > 'z')", ("[x", 4), ("[x", 5)),
    ] {
        assert!(holds(condition, yes.0, yes.1), "{condition}");
        if yes != no {
            assert!(!holds(condition, no.0, no.1), "{condition}");
        }
    }
}

#[test]
fn what_is_no_condition_is_refused_with_why() {
    for (condition, why) in [
        ("", "name of a column"),
        ("name = 'x'", "not a column of the key, which is region, id"),
        ("id < 'x'", "no value of `id`"),
        ("id", "a comparison"),
        ("id = 1 id = 2", "AND, OR or the end"),
        ("region = 'x", "not closed"),
        ("region like 'a%b'", "LIKE takes a beginning"),
        ("id like '1%'", "LIKE is for text"),
        ("region = eu", "text in quotes"),
        ("(id = 1", "`)` is expected"),
    ] {
        let error = condition::compile(&table(), condition).unwrap_err().to_string();
        assert!(error.contains(why), "{condition}: {error}");
    }
    let deep = format!("{}id = 1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(condition::compile(&table(), &deep).is_err());
}

fn named(condition: Option<&str>, columns: Option<&[&str]>) -> Named {
    let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let rule = rule(&table(), condition, columns.as_deref()).unwrap();
    Named::new(Said { name: "s".into(), tables: vec![rule], paths: vec!["models/**".into(), "*.txt".into()] }).unwrap()
}

#[test]
fn a_scope_is_read_as_it_was_written_and_holds_what_it_names() {
    let scope = named(Some("region = 'eu'"), None);
    assert_eq!(Named::read(scope.id()).unwrap(), scope);
    assert!(scope.includes(&row("eu", 1)) && !scope.includes(&row("us", 1)));
    let other = RowKey { table: "other".into(), ..row("eu", 1) };
    let no_key = RowKey { key: Bytes::from_static(b"eu"), ..row("eu", 1) };
    assert!(!scope.includes(&other) && !scope.includes(&no_key));
    for table in [".tables", ".columns", ".scopes"] {
        assert!(scope.includes(&RowKey { table: table.into(), key: Bytes::new() }));
    }
    for (path, inside) in
        [("models/a/b", true), ("models/x", true), ("models", false), ("a.txt", true), ("d/a.txt", false)]
    {
        let row = RowKey { table: files::TABLE.into(), key: Bytes::copy_from_slice(path.as_bytes()) };
        assert_eq!(scope.includes(&row), inside, "{path}");
    }
}

#[test]
fn columns_that_are_not_named_are_left_out() {
    let (scope, table) = (named(None, Some(&["name"])), table());
    let text = b"{\"region\":\"eu\",\"id\":1,\"name\":\"ann\",\"city\":\"rome\"}";
    let rows = table.writes(text, &|_| None).unwrap();
    let write = &rows[0];
    let value = scope.project(&write.row, write.value.as_ref().unwrap());
    let shown = serde_json::to_string(&table.to_cells(&write.row.key, &value).unwrap()).unwrap();
    assert_eq!(shown, "{\"region\":\"eu\",\"id\":1,\"name\":\"ann\",\"city\":null}");
    assert_eq!(scope.project(&write.row, &value), value);
    assert!(scope.refuses(&write.row).is_some_and(|why| why.contains("some columns")));
}

#[test]
fn a_scope_that_says_nothing_is_none() {
    let said = Said { name: "x".into(), tables: Vec::new(), paths: Vec::new() };
    assert!(Named::new(said.clone()).is_err());
    assert!(Named::new(Said { name: String::new(), paths: vec!["*".into()], ..said }).is_err());
}

/// What is written today is what is committed, and is still read.
#[test]
fn the_row_of_a_scope_is_that_of_the_format() {
    let cell = |name: &str, cell| Given { name: name.into(), cell };
    let test = Test::All(vec![
        Test::Equal(0, "65750000".into()),
        Test::Less(1, "80000000000003e8".into()),
        Test::Not(Box::new(Test::Any(vec![
            Test::AtMost(1, "8000000000000000".into()),
            Test::Begins(0, "65".into()),
            Test::In(1, vec!["8000000000000007".into()]),
        ]))),
    ]);
    let condition = Condition { text: "region = 'eu' AND …".into(), key: vec![0, 8], test };
    let tables = vec![
        Rule { table: "orders".into(), condition: Some(condition), columns: None },
        Rule { table: "metrics_*".into(), condition: None, columns: Some(vec![cell("name", 0x0403_0201)]) },
    ];
    let said = Said { name: "eu".into(), tables, paths: vec!["models/**".into()] };
    let written = Named::new(said.clone()).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/live/2/scope/eu.json");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, written.id()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(written.id(), &golden, "this format has changed");
    assert_eq!(Named::read(&golden).unwrap().said(), &said);
}

proptest! {
    #[test]
    fn every_key_has_an_answer_and_that_of_its_values(region in "[a-c\\x00é]{0,3}", id in -3i64..3, low in -3i64..3, by in "[a-c]{0,2}") {
        let condition = format!("region >= '{by}' AND NOT id > {low} OR region LIKE '{by}%'");
        let expected = (region.as_bytes() >= by.as_bytes() && id <= low) || region.starts_with(&by);
        prop_assert_eq!(holds(&condition, &region, id), expected);
    }

    #[test]
    fn any_bytes_are_a_scope_or_refused_and_any_key_has_an_answer(bytes: Vec<u8>, key: Vec<u8>, value: Vec<u8>, widths in proptest::collection::vec(0u32..9, 0..4)) {
        let _ = Named::read(&bytes);
        let row = RowKey { table: "orders".into(), key: key.clone().into() };
        for scope in [named(Some("region = 'eu' OR id < 3"), None), named(None, Some(&["name"]))] {
            scope.includes(&row);
            scope.project(&row, &value.clone().into());
        }
        let test = Test::Not(Box::new(Test::Begins(9, "zz".into())));
        let _ = Condition { text: String::new(), key: widths, test }.holds(&key);
    }

    #[test]
    fn any_text_is_a_condition_or_refused(text in "[a-z0-9'\"()<>=%,. ]{0,40}|(region|id|and|or|not|in|between|like|[(),'1 ]){0,12}") {
        let _ = condition::compile(&table(), &text);
    }
}
