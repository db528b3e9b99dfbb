//! Columns that come and go, over several commands.

use syncline_node::import::Mode;
use syncline_node::ops::{alter, diff};

use crate::support::Place;

fn alter(place: &Place, add: &[(&str, &str)], drop: &[&str]) {
    let request = alter::Request {
        table: "t".into(),
        add: add.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect(),
        drop: drop.iter().map(|name| (*name).to_owned()).collect(),
        message: Some("columns".into()),
        ..alter::Request::default()
    };
    alter::run(&place.replica, &request).expect("the columns can be changed");
}

#[test]
fn a_new_column_with_the_cells_of_one_that_went_is_no_rename() {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,same\n2,y,same\n", "rows");
    alter(&place, &[], &["b"]);
    alter(&place, &[("c", "utf8")], &[]);
    place.import("id,c\n1,same\n2,same\n", Mode::Upsert, Some("cells")).expect("the column is there");
    let found = place.diff("HEAD~3", "HEAD");
    let shown: Vec<_> = found.rows.iter().map(|row| (row.kind, row.changed.clone())).collect();
    assert_eq!(shown, [(diff::Kind::Update, vec!["c".to_owned()]), (diff::Kind::Update, vec!["c".to_owned()])]);
}
