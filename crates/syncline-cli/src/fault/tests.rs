//! Scripts rely on exit codes, people on the text.

use super::*;

#[test]
fn every_kind_has_its_exit_code() {
    let codes: Vec<u8> = Kind::ALL.into_iter().map(|kind| exit_code(Some(kind))).collect();
    assert_eq!(codes, [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(exit_code(None), 1);
}

#[test]
fn the_block_says_it_all() {
    let fault = Fault::new(Kind::Invalid, "import into table t: 1 of 2 rows do not fit\n  t.csv:3: \"x\" is no int64");
    let wanted = "error: import into table t: 1 of 2 rows do not fit\n         t.csv:3: \"x\" is no int64\n       \
                  (invalid, exit code 2; see `syncline import --help`)\n";
    assert_eq!(fault.to_text("import"), wanted);
}

#[test]
fn a_peer_cannot_steer_the_terminal() {
    let fault = Fault::new(Kind::Unavailable, "hub says \u{1b}[2Jnothing\u{7}");
    assert!(!fault.to_text("pull").contains('\u{1b}'));
    // JSON escapes by itself, and keeps what was said.
    assert!(fault.to_json("pull").to_string().contains("\\u001b[2J"));
}

#[test]
fn json_names_kind_and_exit_code() {
    let json = Fault::new(Kind::Corrupt, "a pack is damaged").advise(Kind::Corrupt, "run repair").to_json("verify");
    assert_eq!(json["error"]["kind"], "corrupt");
    assert_eq!(json["error"]["exit"], 7);
    assert_eq!(json["error"]["message"], "a pack is damaged\nrun repair");
    assert_eq!(json["error"]["verb"], "verify");
}

#[test]
fn advice_is_for_its_kind_only() {
    let fault = Fault::new(Kind::Denied, "no").advise(Kind::NotFound, "look elsewhere");
    assert_eq!(fault.message, "no");
}

#[test]
fn errors_of_the_system_have_a_kind() {
    let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
    let fault = Fault::from(anyhow::Error::new(gone).context("reading schema.json"));
    assert_eq!(fault.kind, Some(Kind::NotFound));
    assert!(fault.message.starts_with("reading schema.json: "), "{}", fault.message);
    assert_eq!(Fault::from(anyhow::anyhow!("odd")).kind, None);
}
