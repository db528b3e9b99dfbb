use syncline_base::Hash;

use super::{DatasetRoot, TreeName, check_table_name};
use crate::table::TableRef;

fn tree(n: u8) -> TableRef {
    TableRef { schema: Hash::of(b"schema"), root: Hash::of(&[n]), rows: u64::from(n), height: 1 }
}

#[test]
fn bytes_are_frozen() {
    let mut root = DatasetRoot::default();
    root.set_tree(&TreeName::Table("orders".into()), Some(tree(3)));
    root.set_tree(&TreeName::Files, Some(tree(4)));
    let golden = include_str!("../../fixtures/root-1.json");
    assert_eq!(String::from_utf8(root.encode()).expect("JSON is text"), golden.trim_end());
    assert_eq!(DatasetRoot::decode(&root.encode()).expect("it is canonical"), root);
}

#[test]
fn an_empty_dataset_has_a_root_of_its_own() {
    let empty = DatasetRoot::default();
    assert_eq!(String::from_utf8(empty.encode()).expect("JSON is text"), r#"{"syncline":"root/1","tables":{}}"#);
    assert_eq!(DatasetRoot::decode(&empty.encode()).expect("it is canonical"), empty);
}

#[test]
fn names_lists_each_tree_once() {
    let (mut a, mut b) = (DatasetRoot::default(), DatasetRoot::default());
    a.set_tree(&TreeName::Table("x".into()), Some(tree(1)));
    b.set_tree(&TreeName::Table("x".into()), Some(tree(2)));
    b.set_tree(&TreeName::Files, Some(tree(2)));
    let names: Vec<String> = DatasetRoot::names([&a, &b]).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["table x", "files"]);
}

#[test]
fn table_names_that_could_hurt_are_refused() {
    for good in ["t", "line_item", "a.b-c", "été", "表"] {
        assert!(check_table_name(good).is_ok(), "{good}");
    }
    for bad in ["", ".hidden", "-C", "a/b", "a b", "a\n", "..", &"x".repeat(129)] {
        assert!(check_table_name(bad).is_err(), "{bad}");
    }
}
