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

#[test]
fn cells_of_any_length_are_shown() {
    let long = "ü".repeat(70_000);
    let mut table = Table::new([("a", Align::Left), ("b", Align::Right), ("c", Align::Left)]);
    table.row(["x", "1", long.as_str()]);
    table.row([long.as_str(), long.as_str(), "end"]);
    let mut page = Page::default();
    page.table(&table);
    let text = page.finish();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].ends_with(&format!("1  {long}")), "what comes last is whole");
    let short = format!("{}…", "ü".repeat(CELL - 1));
    assert_eq!(lines[2], format!("{short}  {short}  end"));
    // Nobody pads what comes last.
    assert_eq!(lines[0].chars().count(), 2 * (CELL + 2) + 1);

    let mut table = Table::new([("a", Align::Left), ("n", Align::Right)]);
    table.row(["x", long.as_str()]);
    let mut page = Page::default();
    page.table(&table);
    assert!(page.finish().ends_with(&format!("x  {short}\n")));
}

#[test]
fn a_text_is_cut_only_when_it_is_too_long() {
    let fits = "é".repeat(CELL);
    assert_eq!(cut(&fits), fits);
    let more = format!("{fits}é");
    assert_eq!(cut(&more).chars().count(), CELL);
    assert!(cut(&more).ends_with("é…"));
    assert_eq!(cut(""), "");
}

#[test]
fn a_script_stays_as_it_is() {
    let mut page = Page::default();
    page.script("if x; then\n\techo y\nfi\n");
    page.script("end");
    assert_eq!(page.finish(), "if x; then\n\techo y\nfi\nend\n");
}
