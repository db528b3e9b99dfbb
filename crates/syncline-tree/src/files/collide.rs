//! Names that one file system keeps apart and another takes for the same.
//!
//! Two names in one folder collide when they are equal after case folding and Unicode normalisation (NFC). A dataset
//! may hold both; a case-insensitive or normalising file system cannot. Detection streams over sorted paths and keeps
//! only the names of the folders that are open at that point.

use std::collections::BTreeMap;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Two paths that a case-insensitive or normalising file system takes for the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Collision {
    /// The one that sorts first.
    pub first: String,
    /// The other.
    pub second: String,
}

impl std::fmt::Display for Collision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} and {:?}", self.first, self.second)
    }
}

/// The form under which names collide: case folded, then NFC.
#[must_use]
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Upper, then lower: catches the folds that lowering alone misses (ß and SS, final sigma, ligatures).
    let folded: String = name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    folded.nfc().collect()
}

/// Whether a name is its own folded form for sure. Cheap, and true for most names.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase())
}

/// Whether a name is in Unicode's composed form, which is how most systems write names.
#[must_use]
pub fn is_composed(name: &str) -> bool {
    name.is_ascii() || is_nfc(name)
}

/// One folder that is still open, and the names seen in it.
#[derive(Debug, Default)]
struct Level {
    /// The name by which the folder was entered; empty at the root.
    name: String,
    /// Folded name to the name as written. Plain names are kept too, for others may fold to them.
    seen: BTreeMap<String, String>,
}

/// Finds collisions in a stream of paths sorted by their bytes.
#[derive(Debug)]
pub struct Collisions {
    open: Vec<Level>,
    found: Vec<Collision>,
    /// Found, but beyond what is listed.
    more: u64,
}

/// Most collisions that are listed; the rest are counted.
const LISTED: usize = 1000;

impl Default for Collisions {
    fn default() -> Self {
        Self::new()
    }
}

impl Collisions {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { open: vec![Level::default()], found: Vec::new(), more: 0 }
    }

    /// Takes the next path. Paths must come in byte order.
    pub fn push(&mut self, path: &str) {
        let mut depth = 0;
        let mut start = 0;
        for (index, name) in path.split('/').enumerate() {
            depth = index;
            let known = self.open.get(index + 1).is_some_and(|level| level.name == name);
            if !known {
                self.open.truncate(index + 1);
                self.enter(path, start, name);
            }
            start += name.len() + 1;
        }
        // The last part is opened like a folder: an entry costs the same either way, and may be both (in error).
        self.open.truncate(depth + 2);
    }

    fn enter(&mut self, path: &str, start: usize, name: &str) {
        let level = self.open.last_mut().expect("the root is never closed");
        let folded = if is_plain(name) { name.to_owned() } else { fold(name) };
        match level.seen.get(&folded) {
            Some(other) if other != name => {
                let (first, second) = (format!("{}{other}", &path[..start]), path[..start + name.len()].to_owned());
                let (first, second) = if first < second { (first, second) } else { (second, first) };
                if self.found.len() < LISTED {
                    self.found.push(Collision { first, second });
                } else {
                    self.more += 1;
                }
            }
            Some(_) => {}
            None => {
                level.seen.insert(folded, name.to_owned());
            }
        }
        self.open.push(Level { name: name.to_owned(), seen: BTreeMap::new() });
    }

    /// What was found: at most a thousand, and how many more there are.
    #[must_use]
    pub fn finish(self) -> (Vec<Collision>, u64) {
        (self.found, self.more)
    }
}

#[cfg(test)]
mod tests;
