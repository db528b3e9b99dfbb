//! Tables line up whatever is in them.

use super::*;

#[test]
fn columns_are_aligned() {
    let mut table = Table::new([("table", Align::Left), ("rows", Align::Right), ("note", Align::Left)]);
    table.row(["orders", "1,500,000", ""]);
    table.row(["größe", "7", "new"]);
    let mut page = Page::default();
    page.table(&table);
    let wanted = "table        rows  note\norders  1,500,000\ngröße           7  new\n";
    assert_eq!(page.finish(), wanted);
}

#[test]
fn a_table_without_rows_is_not_shown() {
    let mut page = Page::default();
    page.table(&Table::new([("x", Align::Left)]));
    assert_eq!(page.finish(), "");
}

#[test]
fn a_table_without_headers_has_no_first_line() {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    table.row(["root", "abc"]);
    let mut page = Page::default();
    page.table(&table);
    assert_eq!(page.finish(), "root  abc\n");
}

#[test]
fn data_cannot_steer_the_terminal_nor_break_a_line() {
    let mut table = Table::new([("v", Align::Left)]);
    table.row(["a\nb\u{1b}[31m"]);
    let mut page = Page::default();
    page.table(&table);
    page.line("x\ty");
    assert_eq!(page.finish(), "v\na\\nb\\u{1b}[31m\nx\\ty\n");
}

#[test]
fn gaps_do_not_pile_up() {
    let mut page = Page::default();
    page.gap();
    page.line("a");
    page.gap();
    page.gap();
    page.line("b");
    assert_eq!(page.finish(), "a\n\nb\n");
}
