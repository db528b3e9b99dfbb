//! What a request may say.

use super::*;

#[test]
fn a_separator_is_one_ascii_character() {
    assert_eq!(ascii(';').unwrap(), b';');
    for wide in ['§', '\u{ff}', '→'] {
        assert!(ascii(wide).unwrap_err().to_string().contains("it must be one ASCII character"));
    }
}

#[test]
fn sources_of_which_nothing_came_are_not_empty_ones() {
    let sent = |bytes| vec![Sent { name: "a.csv".to_owned(), bytes }];
    assert_eq!(received(&sent(None), None).unwrap().len(), 1);
    assert_eq!(received(&sent(Some(0)), None).unwrap().len(), 1);
    let error = received(&sent(Some(12)), None).unwrap_err().to_string();
    assert!(error.contains("it has 12 bytes and none of them came"), "{error}");
}
