//! The list of what a merge could not decide: a record that the refs document names while a merge waits.
//!
//! It holds keys and columns, not rows: the rows are in the three versions that the merge was made from, bit for bit.
//! Layout: `docs/format/records.md`. Owns no state. Not here: how a conflict is resolved (`syncline-node`).

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;

use crate::record::{self, Record};
use crate::{Result, TreeName};

/// What is still in conflict, in tree and key order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conflicts {
    /// One item for each row (or whole tree) in conflict.
    pub items: Vec<Item>,
}

/// A row in conflict, or a whole tree when the key is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// Where it is.
    pub tree: TreeName,
    /// The encoded key in hex; empty when the tree was removed on one side and changed on the other, or
    /// has another key on one of them.
    pub key: String,
    /// Ids of the columns in conflict; empty when the row was deleted on one side and changed on the other.
    pub columns: Vec<u32>,
}

impl Record for Conflicts {
    const KIND: &'static str = "conflicts";
    const VERSION: u32 = 1;
}

impl Conflicts {
    /// Stores the list and returns its id. Not durable before `Store::flush`.
    ///
    /// # Errors
    /// The store's.
    pub fn put(&self, store: &Store) -> Result<Hash> {
        Ok(store.put(&record::encode(self))?)
    }

    /// Loads a list.
    ///
    /// # Errors
    /// `not-found` when the store does not have it, `corrupt` when the object is something else.
    pub fn load(store: &Store, id: &Hash) -> Result<Self> {
        record::decode(&store.get(id)?)
    }
}

impl Item {
    /// The encoded key.
    ///
    /// # Errors
    /// `corrupt` when the text is not hex.
    pub fn key_bytes(&self) -> Result<Vec<u8>> {
        from_hex(&self.key).ok_or_else(|| crate::Error::corrupt(format!("conflict key {:?} is not hex", self.key)))
    }
}

/// Lower-case hex of some bytes.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that some hex stands for; `None` when it is not hex.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
