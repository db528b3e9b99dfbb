//! Notes of replication as they go over the wire. What somebody sends that is none is left: nothing depends on notes.
//!
//! Owns no state. Not here: what notes are for (`syncline_node::live::engine`).

use syncline_api::v1::{self, note};
use syncline_base::Hash;
use syncline_node::live::engine::{Claim, Note};
use syncline_node::live::token;
use syncline_node::sync::live::{Coverage, Digest, MAX_HUBS, TableDigest};

/// No coverage takes more as text: of each hub 32 digits, and a number with what is around it.
const MAX_COVERAGE: usize = MAX_HUBS * 64;

/// A note for the wire.
pub(crate) fn to_wire(note: Note) -> v1::Note {
    let note = match note {
        Note::Ask(ask) => note::Note::Ask(ask),
        Note::Here { ask, coverage, bytes } => {
            note::Note::Here(v1::Here { ask, coverage: token::of_coverage(&coverage), bytes })
        }
        Note::Mark(coverage) => note::Note::Mark(token::of_coverage(&coverage)),
        Note::Root(Claim { replica, coverage, digest }) => note::Note::Root(v1::StateRoot {
            replica,
            coverage: token::of_coverage(&coverage),
            root: digest.root.as_bytes().to_vec().into(),
            tables: digest.tables.into_iter().map(table_to_wire).collect(),
        }),
        Note::Prove => note::Note::Prove(true),
    };
    v1::Note { note: Some(note) }
}

fn table_to_wire(table: TableDigest) -> v1::TableRoot {
    let TableDigest { table, rows, hash } = table;
    v1::TableRoot { table: table.to_string(), rows, hash: hash.as_bytes().to_vec().into() }
}

/// A note that came; `None` when this program does not know it, or it is none.
pub(crate) fn from_wire(note: v1::Note) -> Option<Note> {
    Some(match note.note? {
        note::Note::Ask(ask) => Note::Ask(ask),
        note::Note::Here(v1::Here { ask, coverage: text, bytes }) => {
            Note::Here { ask, coverage: coverage(&text)?, bytes }
        }
        note::Note::Mark(text) => Note::Mark(coverage(&text)?),
        note::Note::Root(v1::StateRoot { replica, coverage: text, root, tables }) => {
            let is_name = replica.len() == 32 && replica.bytes().all(|byte| byte.is_ascii_hexdigit());
            let tables = tables.into_iter().map(table_from_wire).collect::<Option<_>>()?;
            let digest = Digest { root: Hash::from_slice(&root)?, tables };
            Note::Root(Claim { replica: is_name.then_some(replica)?, coverage: coverage(&text)?, digest })
        }
        note::Note::Prove(_) => Note::Prove,
        // The engine has nothing to do with it.
        note::Note::Hubs(_) => return None,
    })
}

fn table_from_wire(table: v1::TableRoot) -> Option<TableDigest> {
    let v1::TableRoot { table, rows, hash } = table;
    Some(TableDigest { table: table.into(), rows, hash: Hash::from_slice(&hash)? })
}

fn coverage(text: &str) -> Option<Coverage> {
    if text.len() > MAX_COVERAGE {
        return None;
    }
    let context = token::parse(text).ok()?;
    context.own.is_empty().then_some(context.seen)
}

#[cfg(test)]
mod tests {
    use syncline_node::sync::live::Origin;

    use super::*;

    #[test]
    fn notes_come_back_as_they_went() {
        let mut coverage = Coverage::new();
        coverage.raise(Origin::from_bytes([7; 16]), 9);
        let digest = Digest {
            root: Hash::of(b"all"),
            tables: vec![TableDigest { table: "t".into(), rows: 3, hash: Hash::of(b"t") }],
        };
        let notes = [
            Note::Ask(3),
            Note::Here { ask: 3, coverage: coverage.clone(), bytes: 17 },
            Note::Mark(Coverage::new()),
            Note::Root(Claim { replica: "0f".repeat(16), coverage, digest }),
            Note::Prove,
        ];
        for note in notes {
            assert_eq!(from_wire(to_wire(note.clone())), Some(note));
        }
    }

    #[test]
    fn what_is_no_note_is_left() {
        let root = |replica: &str, coverage: &str, root: &[u8]| v1::Note {
            note: Some(note::Note::Root(v1::StateRoot {
                replica: replica.to_owned(),
                coverage: coverage.to_owned(),
                root: root.to_vec().into(),
                tables: Vec::new(),
            })),
        };
        let name = "0f".repeat(16);
        assert!(from_wire(root(&name, "0", &[0; 32])).is_some());
        let long = format!("{}@1", "01".repeat(16)).repeat(MAX_HUBS * 2);
        let bad = [
            v1::Note { note: None },
            v1::Note { note: Some(note::Note::Mark("nonsense".to_owned())) },
            v1::Note { note: Some(note::Note::Mark(long)) },
            root("\u{1b}[2J", "0", &[0; 32]),
            root(&name, "0", &[0; 31]),
            root(&name, &format!("0~{}:1:{}", "01".repeat(16), "0".repeat(16)), &[0; 32]),
        ];
        for note in bad {
            assert_eq!(from_wire(note), None);
        }
    }
}
