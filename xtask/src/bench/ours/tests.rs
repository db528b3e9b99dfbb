use super::*;

#[test]
fn the_verb_is_found_behind_options_and_in_a_line_for_the_shell() {
    let cmd = Cmd::new("syncline").args(["--json", "-C", "import", "commit", "-m", "diff"]);
    assert_eq!(verb(&cmd), "commit");
    assert_eq!(verb(&Cmd::new("syncline").args(["-q", "root", "--on", "http://h/d"])), "root");
    let line = Cmd::new("syncline").args(["-C", "dir", "-q", "export", "--table", "t"]).line();
    assert_eq!(verb(&Cmd::new("sh").arg("-c").arg(format!("{line} > /dev/null"))), "export");
    assert_eq!(verb(&Cmd::new("syncline").arg("--version")), "");
}

#[test]
fn a_binary_that_is_not_there_is_named() {
    let error = Ours::at_path(Path::new("/no/such/syncline")).unwrap_err();
    assert!(error.to_string().contains("/no/such/syncline"), "{error}");
}
