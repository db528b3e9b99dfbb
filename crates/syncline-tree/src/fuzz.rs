//! What has to hold of every decoder, for any bytes: the targets of `fuzz/`.
//!
//! The first byte of an input chooses: even, and the rest is what the decoder is given; odd, and the rest says which
//! valid bytes to make (two bytes of seed) and how to damage them (three bytes a time: where, and what to add). So the
//! fuzzer reaches what lies behind the first checks.
//!
//! A target panics when a promise is broken: a decoder that panics, canonical bytes that encode to others, a patch that
//! makes what it should not. Inputs that did so once are kept under `fixtures/fuzz` and run by this module's tests.
//!
//! Not here: the fuzzer (`fuzz/`), the formats.

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_store::Codec;

use crate::commit::Commit;
use crate::conflicts::Conflicts;
use crate::content::{Child, ListNode};
use crate::delta::{decode_frame, encode_frame};
use crate::key::{self, KeyEncoder};
use crate::leaf::arbitrary;
use crate::node::{self, Entry, Node};
use crate::patch::{self, Edit, Edited, LeafPatch, PatchCodec, RowOp};
use crate::record::{self, Record};
use crate::schema::{Field, Schema, Type};
use crate::table::model::{self, Model};
use crate::walk::{self, ObjectKind};
use crate::{DatasetRoot, Refs, codec, leaf};

/// Checks one input.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/` and under `fixtures/fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("schema", schema),
    ("key", key),
    ("leaf", leaf),
    ("leaf_stored", leaf_stored),
    ("leaf_patch", leaf_patch),
    ("node", node),
    ("node_patch", node_patch),
    ("delta", delta),
    ("reconcile", reconcile),
    ("records", records),
    ("content", content),
];

/// Bytes for a decoder: as they come, or made valid from a seed and then damaged.
fn input(data: &[u8], make: impl FnOnce(&mut Rng) -> Vec<u8>) -> Bytes {
    let Some((choice, rest)) = data.split_first() else { return Bytes::new() };
    if choice % 2 == 0 {
        return Bytes::copy_from_slice(rest);
    }
    let (mut rng, edits) = seeded(rest);
    let mut bytes = make(&mut rng);
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        if at < bytes.len() {
            bytes[at] = bytes[at].wrapping_add(edit[2]);
        } else if edit[2] % 2 == 0 {
            bytes.push(edit[2]);
        } else {
            bytes.truncate(bytes.len() - usize::from(edit[2]).min(bytes.len()));
        }
    }
    bytes.into()
}

fn seeded(data: &[u8]) -> (Rng, &[u8]) {
    let (seed, rest) = data.split_at(data.len().min(2));
    let seed = seed.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    (Rng::from_seed(seed), rest)
}

fn small(rng: &mut Rng, most: u64) -> usize {
    usize::try_from(rng.below(most)).expect("a small number")
}

fn a_leaf(rng: &mut Rng, schema: &Schema) -> Bytes {
    let count = small(rng, 40);
    let rows = arbitrary::rows(rng, schema, count, 0, 10);
    leaf::encode(schema, &rows, &[]).expect("the rows are of this schema")
}

/// What is read as a schema is written as the same bytes, and its keys can be encoded or are refused.
pub fn schema(data: &[u8]) {
    let bytes = input(data, |rng| arbitrary::schema(rng).encode().to_vec());
    if let Ok(schema) = Schema::decode(&bytes) {
        assert_eq!(schema.encode(), bytes, "another schema");
        let _ = KeyEncoder::new(&schema);
        assert!(walk::children(ObjectKind::Schema, &bytes).is_ok());
    }
}

/// Bytes that are a key are the key of the row that they are read as; any text is a key or refused.
pub fn key(data: &[u8]) {
    let (mut rng, rest) = seeded(data);
    let types = [
        Type::Bool,
        Type::Int8,
        Type::Int64,
        Type::UInt16,
        Type::UInt64,
        Type::Decimal128 { precision: 20, scale: 3 },
        Type::Decimal256 { precision: 60, scale: 0 },
        Type::Utf8,
        Type::Binary,
        Type::Date32,
        Type::Time { unit: crate::schema::Unit::Us },
        Type::Timestamp { unit: crate::schema::Unit::Ns, zone: Some("Europe/Berlin".into()) },
        Type::Timestamp { unit: crate::schema::Unit::S, zone: None },
        Type::Uuid,
    ];
    let count = 1 + small(&mut rng, 3);
    let fields =
        (0..count).map(|i| Field::new(format!("k{i}"), types[small(&mut rng, types.len() as u64)].clone(), false));
    let fields: Vec<Field> = fields.collect();
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let schema = Schema::new(fields, &names).expect("these can be keys");
    let encoder = KeyEncoder::new(&schema).expect("these can be keys");
    if let Ok(batch) = encoder.decode([rest]) {
        let keys = encoder.encode_key_columns(&batch).expect("it was just read");
        assert_eq!(keys.get(0), rest, "another key");
        let text = key::to_text(&schema, rest).expect("it was just read");
        assert_eq!(key::parse_key(&schema, &text).expect("a key that was shown"), rest, "{text:?} is another key");
    }
    if let Ok(parsed) = key::parse_key(&schema, &String::from_utf8_lossy(rest)) {
        encoder.decode([&parsed[..]]).expect("a key that was parsed");
    }
}

/// A leaf is stored and read back as the same bytes, and if it is one of a schema then it is the one of its rows.
pub fn leaf(data: &[u8]) {
    let mut schema = None;
    let bytes = input(data, |rng| {
        let made = arbitrary::schema(rng);
        let bytes = a_leaf(rng, &made).to_vec();
        schema = Some(made);
        bytes
    });
    let Ok(parsed) = leaf::Leaf::parse(bytes.clone()) else { return };
    let stored = codec::encode_leaf(&parsed);
    assert_eq!(codec::decode(&stored, bytes.len()).expect("it was just stored"), bytes, "another leaf");
    assert!(walk::children(ObjectKind::Tree { height: 1 }, &bytes).is_ok());
    let Some(schema) = schema else { return };
    if parsed.check_canonical(&schema).is_ok() {
        let rows = parsed.batch(&schema, None).expect("it is canonical");
        let again = leaf::encode(&schema, &rows, parsed.externals()).expect("its own rows");
        assert_eq!(again, bytes, "a leaf that is not the leaf of its rows");
    } else {
        let _ = parsed.batch(&schema, None);
    }
}

/// What is read from a stored form is no leaf or stores again.
pub fn leaf_stored(data: &[u8]) {
    let (mut schema, mut raw_len) = (None, 4096);
    let bytes = input(data, |rng| {
        let made = arbitrary::schema(rng);
        let bytes = a_leaf(rng, &made);
        raw_len = bytes.len();
        schema = Some(made);
        codec::encode(&bytes).expect("a leaf")
    });
    if let Ok(raw) = codec::decode(&bytes, raw_len) {
        assert_eq!(raw.len(), raw_len);
        if let Ok(leaf) = leaf::Leaf::parse(raw.clone()) {
            assert_eq!(codec::decode(&codec::encode_leaf(&leaf), raw_len).expect("a leaf"), raw);
        }
    }
    if let Ok(columns) = codec::Columns::open(bytes) {
        let schema = schema.unwrap_or_else(|| arbitrary::schema(&mut Rng::from_seed(1)));
        for column in &schema.columns {
            let _ = columns.range(column.id);
            let _ = columns.column(&schema, column.id);
        }
    }
}

/// A patch that was made from an edit makes the edited leaf; any other makes a leaf or is refused.
pub fn leaf_patch(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let (mut rng, _) = seeded(rest);
    let schema = arbitrary::schema(&mut rng);
    let base = leaf::Leaf::parse(a_leaf(&mut rng, &schema)).expect("it was just made");
    let count = 1 + small(&mut rng, 20);
    let rows = arbitrary::rows(&mut rng, &schema, count, 5, 10);
    let mut ops = Vec::new();
    for row in 0..base.rows() as u32 {
        match rng.below(6) {
            0 => ops.push(RowOp::Delete { row, count: 1 }),
            1 => ops.push(RowOp::Insert { at: row, source: small(&mut rng, count as u64) as u32, count: 1 }),
            2 => ops.push(RowOp::Update { row, source: small(&mut rng, count as u64) as u32, columns: None }),
            _ => {}
        }
    }
    let edit = Edit { schema: &schema, rows: &rows, externals: &[], ops: &ops };
    let Ok(Edited::Changed { leaf: target, patch, counts }) = patch::edit(&base, &edit) else { return };
    let made = LeafPatch::decode(patch.clone()).expect("it was just made");
    assert_eq!(made.counts(), counts);
    assert_eq!(made.apply(&base).expect("it was just made"), target, "the patch makes another leaf");
    let payload = if choice % 2 == 0 { Bytes::copy_from_slice(rest) } else { input(data, |_| patch.to_vec()) };
    if let Ok(applied) = PatchCodec.decode(&payload, &[base.bytes()], target.len()) {
        assert_eq!(applied.len(), target.len());
        let _ = leaf::Leaf::parse(applied);
    }
    // On two leaves: what fits the first alone is still a patch, of the first rows.
    let other = leaf::Leaf::parse(a_leaf(&mut rng, &schema)).expect("it was just made");
    let bases = [&base.bytes()[..], &other.bytes()[..]];
    for len in [target.len(), patch::join(&base, &other).map_or(0, |both| both.bytes().len())] {
        if let Ok(applied) = PatchCodec.decode(&payload, &bases, len) {
            assert_eq!(applied.len(), len);
            let _ = leaf::Leaf::parse(applied);
        }
    }
    if let Ok(patch) = LeafPatch::decode(payload) {
        let _ = (patch.before(&base, &schema, None), patch.after(&base, &schema, None));
        let _ = (patch.before_externals(&base), patch.after_externals(&base));
        for column in &schema.columns {
            let _ = patch.cells(&schema, column.id);
        }
        if let Ok(applied) = patch.apply(&base) {
            let _ = leaf::Leaf::parse(applied);
        }
    }
}

fn entries(rng: &mut Rng, count: usize) -> Vec<Entry> {
    let mut key = 0_u64;
    let entry = |_| {
        key += 1 + rng.below(1 << 20);
        Entry { id: Hash::of(&key.to_le_bytes()), rows: 1 + rng.below(300), last: key.to_be_bytes().to_vec().into() }
    };
    (0..count).map(entry).collect()
}

fn a_node(rng: &mut Rng) -> Node {
    let (level, count) = (1 + rng.below(3) as u8, 1 + small(rng, 30));
    Node::parse(node::encode(level, &entries(rng, count)).expect("they ascend")).expect("it was just made")
}

/// What is read as a node is written as the same bytes.
pub fn node(data: &[u8]) {
    let bytes = input(data, |rng| a_node(rng).bytes().to_vec());
    if let Ok(node) = Node::parse(bytes.clone()) {
        let entries: Vec<Entry> = node.entries().collect();
        assert_eq!(node::encode(node.level(), &entries).expect("it was just read"), bytes, "another node");
        for (i, entry) in entries.iter().enumerate() {
            assert_eq!(node.find(&entry.last), i);
        }
        let _ = walk::children(ObjectKind::Tree { height: node.level() + 1 }, &bytes);
    }
}

/// A node patch makes the node that it was made for; any other makes a node or is refused.
pub fn node_patch(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let (mut rng, _) = seeded(rest);
    let base = a_node(&mut rng);
    let mut new: Vec<Entry> = base.entries().filter(|_| rng.below(5) > 0).collect();
    for entry in &mut new {
        if rng.below(3) == 0 {
            (entry.id, entry.rows) = (Hash::of(&entry.last), 1 + rng.below(1 << 30));
        }
    }
    let more = small(&mut rng, 10);
    new.extend(entries(&mut rng, more));
    new.sort_by(|a, b| a.last.cmp(&b.last));
    new.dedup_by(|a, b| a.last == b.last);
    if new.is_empty() {
        return;
    }
    let patch = node::encode_patch(&base, &new);
    let target = node::encode(base.level(), &new).expect("they ascend");
    assert_eq!(node::decode_patch(&patch, &base).expect("it was just made"), target, "the patch makes another node");
    let payload = if choice % 2 == 0 { Bytes::copy_from_slice(rest) } else { input(data, |_| patch) };
    if let Ok(made) = node::decode_patch(&payload, &base) {
        let _ = Node::parse(made);
    }
}

/// What is read from a frame of changes is what is read from it once it is written again.
pub fn delta(data: &[u8]) {
    let mut schema = None;
    let bytes = input(data, |rng| {
        let made = model::schema(rng);
        let changes = model::changes(rng, &made, &Model::new(), 60, 50);
        let bytes = encode_frame(&made, &changes).expect("changes of this schema").to_vec();
        schema = Some(made);
        bytes
    });
    let schema = schema.unwrap_or_else(|| model::schema(&mut Rng::from_seed(u64::from(data.len() as u8))));
    if let Ok(changes) = decode_frame(&schema, &bytes) {
        let written = match encode_frame(&schema, &changes) {
            Ok(written) => written,
            // Cells that were left out are written as nulls: near the limits of a frame that may be too much.
            Err(_) if changes.rows.get_array_memory_size() > 1 << 20 => return,
            Err(error) => panic!("they were just read: {error}"),
        };
        let again = decode_frame(&schema, &written).expect("it was just written");
        assert_eq!(again.ops, changes.ops);
        assert_eq!(again.rows.num_rows(), changes.rows.num_rows());
        assert_eq!(again.externals, changes.externals);
    }
}

/// Questions and answers mean the same once they are written again.
pub fn reconcile(data: &[u8]) {
    crate::reconcile::check_messages(&Bytes::copy_from_slice(data));
}

/// Records that are read are written as the same bytes.
pub fn records(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 4 {
        0 => same::<Commit>(bytes),
        1 => same::<Refs>(bytes),
        2 => same::<Conflicts>(bytes),
        _ => {
            if let Ok(root) = DatasetRoot::decode(bytes) {
                assert_eq!(root.encode(), bytes, "another dataset root");
            }
        }
    }
}

fn same<R: Record>(bytes: &[u8]) {
    if let Ok(record) = record::decode::<R>(bytes) {
        assert_eq!(record::encode(&record), bytes, "another record");
    }
}

/// A list of a long content that is read is written as the same bytes.
pub fn content(data: &[u8]) {
    let bytes = input(data, |rng| {
        let (level, count) = (1 + rng.below(3) as u8, 1 + rng.below(40));
        let child = |_| Child { id: Hash::of(&rng.next_u64().to_le_bytes()), len: 1 + rng.below(1 << 15) };
        let children = (0..count).map(child).collect();
        ListNode { level, children }.encode().to_vec()
    });
    if let Ok(node) = ListNode::decode(&bytes) {
        assert_eq!(node.encode(), bytes, "another list");
        assert!(!node.is_empty());
        assert!(walk::children(ObjectKind::Content { height: node.level }, &bytes).is_ok());
    }
}

#[cfg(test)]
#[path = "../../../fuzz/tests.rs"]
mod kept;
#[cfg(test)]
mod tests;
