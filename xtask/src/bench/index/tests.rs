use serde_json::json;

use super::*;

#[test]
fn the_table_stands_between_the_marks_and_says_what_was_missed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = json!({
        "suite": "table-ops", "date": "2026-01-02", "versions": {"syncline": "0.1.0 (commit abc)"},
        "targets": [
            {"step": "import", "target": "disk ≤ 260 MB", "measured": "200 MB", "met": true},
            {"step": "diff", "target": "seconds ≤ 60 ms", "measured": "70.0 ms", "met": false},
            {"step": "scan", "target": "x", "measured": "not measured", "met": null},
        ],
    });
    fs::write(dir.path().join("table-ops.json"), report.to_string()).expect("a file can be written");
    let readme = dir.path().join("README.md");
    fs::write(&readme, format!("# Top\n{FROM}\nold\n{TO}\nBottom\n")).expect("a file can be written");
    refresh(dir.path()).expect("an index");
    let row = "| [table-ops](table-ops.md) | 1 of 3 | diff: 70.0 ms (target seconds ≤ 60 ms) | 2026-01-02, 0.1.0 (commit abc) |";
    let page = fs::read_to_string(&readme).expect("the page");
    assert!(page.starts_with("# Top\n") && page.ends_with("Bottom\n") && !page.contains("old"), "{page}");
    assert!(page.lines().any(|line| line == row), "{page}");
    refresh(dir.path()).expect("an index");
    assert_eq!(fs::read_to_string(&readme).expect("the page"), page, "it is stable");
}

#[test]
fn a_page_without_marks_is_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    refresh(dir.path()).expect("nothing to do");
    fs::write(dir.path().join("README.md"), "by hand\n").expect("a file can be written");
    refresh(dir.path()).expect("nothing to do");
    assert_eq!(fs::read_to_string(dir.path().join("README.md")).expect("the page"), "by hand\n");
}
