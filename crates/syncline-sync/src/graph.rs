//! Objects as a session sees them: what kind they are, what they refer to, how they travel.
//!
//! Owns nothing.

use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::codec::{Encoded, Registry};
use syncline_store::{Store, chunk, codec};
use syncline_tree::leaf::External;
pub use syncline_tree::walk::ObjectKind;
use syncline_tree::{TableRef, TreeName, content, record, walk};

use crate::error::{Error, Result};
use crate::wire::Object;

const SCHEMA: u8 = 0;
const TREE: u8 = 0x40;
const CONTENT: u8 = 0x80;
const OUTLINE: u8 = 0xc0;
/// No tree is higher: a level multiplies the size by 16 at the very least.
const MAX_HEIGHT: u8 = 40;

/// The byte of a kind on the wire.
#[must_use]
pub fn kind_to_byte(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Schema => SCHEMA,
        ObjectKind::Tree { height } => TREE | height.min(MAX_HEIGHT),
        ObjectKind::Outline { height } => OUTLINE | height.min(MAX_HEIGHT),
        ObjectKind::Content { height } => CONTENT | height.min(MAX_HEIGHT),
    }
}

/// The kind of a byte from the wire.
///
/// # Errors
/// `Invalid` when there is no such kind.
pub fn kind_of_byte(byte: u8) -> Result<ObjectKind> {
    let height = byte & 0x3f;
    match byte & 0xc0 {
        SCHEMA if byte == SCHEMA => Ok(ObjectKind::Schema),
        TREE if (1..=MAX_HEIGHT).contains(&height) => Ok(ObjectKind::Tree { height }),
        OUTLINE if (1..=MAX_HEIGHT).contains(&height) => Ok(ObjectKind::Outline { height }),
        CONTENT if height <= MAX_HEIGHT => Ok(ObjectKind::Content { height }),
        _ => Err(Error::protocol("object kind", format!("{byte:#x} is not known"))),
    }
}

/// Whether objects of this kind never refer to others.
#[must_use]
pub fn is_end(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Schema | ObjectKind::Content { height: 0 })
}

/// What an object refers to.
///
/// # Errors
/// `Corrupt` when the bytes are no object of this kind.
pub fn children(kind: ObjectKind, bytes: &Bytes) -> Result<Vec<(Hash, ObjectKind)>> {
    if kind == (ObjectKind::Content { height: 0 }) {
        return Ok(Vec::new());
    }
    Ok(walk::children(kind, bytes)?)
}

/// The content of long cells, as objects.
#[must_use]
pub fn long_cells(cells: &[External]) -> Vec<(Hash, ObjectKind)> {
    let named = cells.iter().filter(|cell| cell.content.len > 0);
    named.map(|cell| (cell.content.root, ObjectKind::Content { height: cell.content.height })).collect()
}

/// What a tree refers to directly; with `outline` the contents of files are left out.
pub(crate) fn roots(name: &TreeName, table: &TableRef, outline: bool) -> Vec<(Hash, ObjectKind)> {
    if outline && *name == TreeName::Files { walk::outline(table) } else { walk::roots(table) }
}

/// The name of a tree on the wire.
#[must_use]
pub fn tree_to_text(name: &TreeName) -> String {
    match name {
        TreeName::Table(table) => format!("t/{table}"),
        TreeName::Files => "f".to_owned(),
    }
}

/// The trees that a user means by a name: `files` is the file tree, and a table if there is one of that name.
pub(crate) fn trees_of_name(name: &String) -> Vec<TreeName> {
    let table = TreeName::Table(name.clone());
    if name == "files" { vec![TreeName::Files, table] } else { vec![table] }
}

/// The tree of a name on the wire.
///
/// # Errors
/// `Invalid` when it names none.
pub fn tree_of_text(text: &str) -> Result<TreeName> {
    if text == "f" {
        return Ok(TreeName::Files);
    }
    match text.strip_prefix("t/") {
        Some(table) if syncline_tree::dataset::check_table_name(table).is_ok() => Ok(TreeName::Table(table.to_owned())),
        _ => Err(Error::protocol("tree", format!("{text:?} names no table"))),
    }
}

/// All codecs that datasets use.
///
/// # Errors
/// `Invalid` when two of them have one tag.
pub fn registry() -> Result<Registry> {
    Ok(Registry::new(&syncline_tree::codecs())?)
}

/// Canonical bytes as an object that needs no other to be decoded.
///
/// # Errors
/// `Corrupt` when a leaf is not a leaf.
pub fn encode_whole(id: Hash, kind: ObjectKind, canonical: &Bytes) -> Result<Encoded> {
    if matches!(kind, ObjectKind::Tree { height: 1 } | ObjectKind::Outline { height: 1 }) {
        let raw_len = u32::try_from(canonical.len())
            .map_err(|_| Error::Invalid(format!("object {} is too long to send", id.short())))?;
        let payload = syncline_tree::codec::encode(canonical)?;
        return Ok(Encoded::whole(id, syncline_tree::codec::LEAF, raw_len, payload.into()));
    }
    Ok(Store::encode(canonical)?)
}

/// Refuses an object that claims to be longer than any of its kind, before it is decoded.
///
/// # Errors
/// `Corrupt` when it does; `Invalid` for a kind that is not known.
pub(crate) fn check_length(object: &Object) -> Result<()> {
    check_within(object, longest(kind_of_byte(object.kind)?))
}

/// The most bytes that an object of a kind has.
#[must_use]
pub fn longest(kind: ObjectKind) -> usize {
    match kind {
        ObjectKind::Schema => record::MAX_LEN,
        ObjectKind::Content { height: 0 } => chunk::MAX,
        ObjectKind::Content { .. } => content::MAX_LIST,
        ObjectKind::Tree { .. } | ObjectKind::Outline { .. } => codec::MAX_OBJECT,
    }
}

/// Refuses an object that claims to be longer than it can be, before it is decoded.
pub(crate) fn check_within(object: &Object, longest: usize) -> Result<()> {
    if object.raw_len as usize <= longest {
        return Ok(());
    }
    let why = format!("it claims {} bytes, objects of its kind have {longest} at most", object.raw_len);
    Err(Error::Damaged { id: object.id, why })
}

/// Decodes an object that arrived, and checks that its bytes are what its id says.
///
/// # Errors
/// `Corrupt` when they are not, or when what it is a patch on is not here.
pub fn verify(store: &Store, registry: &Registry, object: &Object) -> Result<Bytes> {
    let read = |base: &Hash| {
        store.get(base).map_err(|error| Error::Damaged {
            id: object.id,
            why: format!("it is a patch on {}, which cannot be read here: {error}", base.short()),
        })
    };
    let bases = object.bases.iter().map(read).collect::<Result<Vec<_>>>()?;
    check(registry, object, &bases.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>())
}

/// As [`verify`], for an object that needs no other.
///
/// # Errors
/// `Corrupt` when its bytes are not what its id says.
pub fn verify_whole(registry: &Registry, object: &Object) -> Result<Bytes> {
    check(registry, object, &[])
}

fn check(registry: &Registry, object: &Object, bases: &[&[u8]]) -> Result<Bytes> {
    let damaged = |why: String| Error::Damaged { id: object.id, why };
    let raw_len = object.raw_len as usize;
    if raw_len > codec::MAX_OBJECT {
        return Err(damaged(format!("it claims {raw_len} bytes, more than any object has")));
    }
    let bytes = registry.decode(object.codec, &object.payload, bases, raw_len).map_err(damaged)?;
    let found = Hash::of(&bytes);
    if found != object.id {
        return Err(damaged(format!("its bytes have the hash {}", found.short())));
    }
    Ok(bytes)
}
