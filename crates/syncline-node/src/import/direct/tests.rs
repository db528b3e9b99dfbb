use super::*;

fn cut(text: &str, most: usize) -> Vec<(u64, String)> {
    let blocks = blocks("rows", text.as_bytes(), most).unwrap();
    blocks.into_iter().map(|block| (block.line, String::from_utf8(block.bytes).unwrap())).collect()
}

#[test]
fn blocks_are_whole_lines_and_know_where_they_begin() {
    let piece = |line: u64, text: &str| (line, text.to_owned());
    assert_eq!(cut("", 2), []);
    assert_eq!(cut("a", 2), [piece(1, "a")]);
    assert_eq!(cut("a\nb\nc", 2), [piece(1, "a\nb\n"), piece(3, "c")]);
    assert_eq!(cut("a\nb\nc\nd\n", 2), [piece(1, "a\nb\n"), piece(3, "c\nd\n")]);
    assert_eq!(cut("\u{feff}a\n\n\nb", 1), [piece(1, "a\n"), piece(2, "\n"), piece(3, "\n"), piece(4, "b")]);
    let long = format!("{}\n", "x".repeat(100_000)).repeat(30);
    let blocks = cut(&long, usize::MAX);
    assert_eq!(blocks.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 12, 23]);
    assert_eq!(blocks.into_iter().map(|(_, text)| text).collect::<String>(), long);
}

#[test]
fn a_record_has_an_end() {
    let text = format!("a\n{}\nb\n", "x".repeat(MAX_RECORD + 1));
    for text in [&text[..], text.trim_end_matches("\nb\n")] {
        let error = blocks("rows", text.as_bytes(), usize::MAX).unwrap_err().to_string();
        assert_eq!(error, "rows: the record on line 2 is longer than 67108864 bytes");
    }
}
