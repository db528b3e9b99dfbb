//! Patterns of tables' names and of paths. They belong to the format: no library decides what they match. Owns nothing.

/// Whether a pattern is of a table's name. Tables that are reserved are of none.
pub(super) fn table(pattern: &str, name: &str) -> bool {
    !name.starts_with('.') && matches(pattern.as_bytes(), name.as_bytes(), |_| true)
}

/// Whether a pattern is of a path.
pub(super) fn path(pattern: &[u8], path: &[u8]) -> bool {
    matches(pattern, path, |byte| byte != b'/')
}

/// Takes time by the product of both lengths, whatever they are. `*` and `?` stand for what is `plain`, `**` for everything.
fn matches(pattern: &[u8], text: &[u8], plain: impl Fn(u8) -> bool) -> bool {
    // After each piece of the pattern: which beginnings of the text it stands for.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let mut next = vec![false; text.len() + 1];
        let any = pattern[at] == b'*';
        let all = any && pattern.get(at + 1) == Some(&b'*');
        for end in 0..=text.len() {
            if any {
                next[end] |= ends[end] || (end > 0 && next[end - 1] && (all || plain(text[end - 1])));
            } else if end > 0 && ends[end - 1] {
                let byte = text[end - 1];
                next[end] = if pattern[at] == b'?' { plain(byte) } else { pattern[at] == byte };
            }
        }
        ends = next;
        at += if all { 2 } else { 1 };
    }
    ends[text.len()]
}
