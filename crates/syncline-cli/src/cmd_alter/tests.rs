//! What `--add` and `--widen` take.

use super::*;

#[test]
fn the_last_colon_outside_of_brackets_ends_the_name() {
    for (text, name, ty) in [
        ("currency:utf8", "currency", "utf8"),
        ("a:b:decimal(12, 2)", "a:b", "decimal(12, 2)"),
        ("at:timestamp(us, +02:00)", "at", "timestamp(us, +02:00)"),
        ("l:list(timestamp(us, -05:30))", "l", "list(timestamp(us, -05:30))"),
    ] {
        assert_eq!(typed(text), Ok((name.to_owned(), ty.to_owned())));
    }
    for text in ["currency", "at(12:30)", ":utf8", "a:"] {
        assert!(typed(text).is_err(), "{text}");
    }
}
