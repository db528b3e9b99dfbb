//! What a replica remembers of the hubs of its dataset: `live/members.json`, see `docs/format/members.md`.
//!
//! It is a cache: one that is not there, cannot be read or is of another version says nothing, and is written anew. Owns no state.

use serde::{Deserialize, Serialize};
use syncline_node::live::Engine;

use super::address::Address;
use super::swim::{FORGOTTEN, LAST_TURN, MOST};

const FORMAT: &str = "members/1";
/// It is not longer, in bytes.
const LONGEST: u64 = 128 << 10;

/// Which hubs belong together.
pub(crate) type MeshId = [u8; 8];

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    syncline: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mesh: Option<String>,
    #[serde(default)]
    turn: u64,
    hubs: Vec<Hub>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hub {
    url: String,
    seen_ms: u64,
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The mesh that this replica is in.
    pub(crate) mesh: Option<MeshId>,
    /// The last turn that this replica took as a member.
    pub(crate) turn: u64,
    /// Other hubs, and when each was there last.
    pub(crate) hubs: Vec<(Address, u64)>,
}

impl Remembered {
    /// What the replica remembers, but for hubs that were not there for long.
    pub(crate) fn load(engine: &Engine, now_ms: u64) -> Self {
        let read = match engine.remembered_members(LONGEST) {
            Ok(Some(text)) => Self::read(&text, now_ms),
            Ok(None) => return Self::default(),
            Err(error) => Err(error.to_string()),
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "which hubs there were cannot be read: only addresses that were given are known");
            Self::default()
        })
    }

    pub(crate) fn read(text: &[u8], now_ms: u64) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if file.syncline != FORMAT {
            return Err(format!("it is of the kind {:?}, this program knows {FORMAT:?}", file.syncline));
        }
        let long = u64::try_from(FORGOTTEN.as_millis()).unwrap_or(u64::MAX);
        // A clock that was ahead when they were seen makes nobody older.
        let hubs = file.hubs.iter().filter(|hub| now_ms.saturating_sub(hub.seen_ms) < long);
        let hubs = hubs.filter_map(|hub| Some((Address::parse(&hub.url)?, hub.seen_ms.min(now_ms))));
        Ok(Self {
            mesh: file.mesh.as_deref().and_then(mesh_of_hex),
            turn: file.turn.min(LAST_TURN),
            hubs: hubs.take(MOST).collect(),
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let hubs = self.hubs.iter().map(|(url, seen_ms)| Hub { url: url.to_string(), seen_ms: *seen_ms });
        let mesh = self.mesh.map(|mesh| format!("{:016x}", u64::from_be_bytes(mesh)));
        let file = File { syncline: FORMAT.to_owned(), mesh, turn: self.turn, hubs: hubs.collect() };
        let mut text = serde_json::to_vec(&file).expect("texts and numbers have a JSON form");
        text.push(b'\n');
        text
    }
}

fn mesh_of_hex(text: &str) -> Option<MeshId> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    digits.then(|| u64::from_str_radix(text, 16).ok().map(u64::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    #[test]
    fn what_is_remembered_comes_back() {
        let golden = include_bytes!("../../../../fixtures/members/1/members.json");
        let read = Remembered::read(golden, 1_795_341_400_000).unwrap();
        assert_eq!(read.write(), golden);
        assert_eq!((read.mesh, read.turn), (Some([0, 1, 2, 3, 0xa4, 0xb5, 0xc6, 0xd7]), 1_795_341_383_207));
        let urls: Vec<&str> = read.hubs.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(urls, ["https://b.example:7070/shop", "https://c.example:7070/shop"]);
    }

    #[test]
    fn who_was_not_there_for_a_day_is_forgotten_and_what_is_no_address_is_left() {
        let text = br#"{"syncline":"members/1","turn":1,"hubs":[{"url":"http://127.0.0.1:1/d","seen_ms":1000},
            {"url":"http://127.0.0.1:2/d","seen_ms":900000},{"url":"http://0.0.0.0:2/d","seen_ms":900000},{"url":"\u001b","seen_ms":900000},
            {"url":"http://127.0.0.1:3/d","seen_ms":99999999999}]}"#;
        let read = Remembered::read(text, DAY + 1000).unwrap();
        let urls: Vec<&str> = read.hubs.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(urls, ["http://127.0.0.1:2/d", "http://127.0.0.1:3/d"]);
        assert_eq!((read.mesh, read.hubs[1].1), (None, DAY + 1000));
        let many: Vec<String> =
            (1..200).map(|n| format!("{{\"url\":\"http://127.0.0.1:{n}/d\",\"seen_ms\":1}}")).collect();
        let many = format!("{{\"syncline\":\"members/1\",\"turn\":1,\"hubs\":[{}]}}", many.join(","));
        assert_eq!(Remembered::read(many.as_bytes(), 1).unwrap().hubs.len(), MOST);
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for text in ["", "{}", "[]", "{\"syncline\":\"members/2\",\"turn\":1,\"hubs\":[]}", "\u{0}"] {
            assert!(Remembered::read(text.as_bytes(), 0).is_err(), "{text}");
        }
    }
}
