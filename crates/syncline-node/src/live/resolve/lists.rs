//! Lists united: the items of all siblings' lists, each once.
//!
//! Items are compared by their text without white space. Owns nothing.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

/// One list of all items, those of the first list first; the list itself where all are one. `None` when one of the cells is no list.
pub(super) fn union(cells: &[&[u8]]) -> Option<Vec<u8>> {
    let first = cells.first()?;
    let lists = cells.iter().map(|cell| serde_json::from_slice::<Vec<&RawValue>>(cell).ok());
    let lists = lists.collect::<Option<Vec<_>>>()?;
    if cells.iter().all(|cell| cell == first) {
        return Some(first.to_vec());
    }
    let (mut seen, mut out) = (BTreeSet::new(), vec![b'[']);
    for item in lists.iter().flatten().map(|item| bare(item.get())) {
        if seen.contains(&item) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&item);
        seen.insert(item);
    }
    out.push(b']');
    Some(out)
}

/// JSON without white space between its tokens.
fn bare(text: &str) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        if escaped {
            escaped = false;
        } else if *byte == b'"' {
            quoted = !quoted;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        }
        quoted || !byte.is_ascii_whitespace()
    };
    text.bytes().filter(keep).collect()
}
