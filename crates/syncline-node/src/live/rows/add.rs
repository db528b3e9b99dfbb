//! Additions to a counter, as users write them: `{"id": 1, "n": {"add": 5}}`.
//!
//! Owns nothing. They become lines with plain numbers, and the numbers of those lines are remembered.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::definition::Definition;
use crate::rows::Cells;

/// What is added.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    add: Box<RawValue>,
}

impl Definition {
    /// Lines with the number alone where one adds to the counter, and which lines these are, from 1. A line that is anything else stays
    /// as it is.
    pub(super) fn additions<'a>(&self, ndjson: &'a [u8]) -> (Cow<'a, [u8]>, BTreeSet<u64>) {
        let mut adds = BTreeSet::new();
        let Some(counter) = self.counter() else { return (ndjson.into(), adds) };
        if memchr::memmem::find(ndjson, b"\"add\"").is_none() {
            return (ndjson.into(), adds);
        }
        let mut out = Vec::with_capacity(ndjson.len());
        for (line, nth) in ndjson.split(|byte| *byte == b'\n').zip(1..) {
            if nth > 1 {
                out.push(b'\n');
            }
            match plain(line, &counter.name) {
                Some(plain) => {
                    out.extend_from_slice(&plain);
                    adds.insert(nth);
                }
                None => out.extend_from_slice(line),
            }
        }
        (out.into(), adds)
    }
}

/// The line with the number in place of the addition, if there is one.
fn plain(line: &[u8], name: &str) -> Option<Vec<u8>> {
    memchr::memmem::find(line, b"\"add\"")?;
    let mut cells: Cells = serde_json::from_slice(line).ok()?;
    let addition: Addition = serde_json::from_str(cells.get(name)?).ok()?;
    if addition.add.get() == "null" {
        return None;
    }
    cells.replace(name, &addition.add);
    serde_json::to_vec(&cells).ok()
}
