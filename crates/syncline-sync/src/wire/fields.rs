//! Fields of messages that are more than a number or a text, there and back.

use bytes::{BufMut, Bytes};
use syncline_base::{Hash, Kind};
use syncline_store::Bases;
use syncline_tree::TableRef;

use super::reader::Reader;
use super::{Fault, Left, MAX_IDS, MAX_NAMES, MAX_TEXT, Move, NamedRef, Object, Squeezed, Want};
use crate::error::{Error, Result};

pub(crate) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8((value & 0x7f) as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(super) fn put_ids(out: &mut Vec<u8>, ids: &[Hash]) {
    put_uint(out, ids.len() as u64);
    ids.iter().for_each(|id| out.put_slice(id.as_bytes()));
}

pub(super) fn put_option(out: &mut Vec<u8>, id: Option<Hash>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        out.put_slice(id.as_bytes());
    }
}

pub(super) fn put_refs(out: &mut Vec<u8>, refs: &[NamedRef]) {
    put_uint(out, refs.len() as u64);
    for (name, id) in refs {
        put_text(out, name);
        out.put_slice(id.as_bytes());
    }
}

pub(super) fn put_left(out: &mut Vec<u8>, left: &[Left]) {
    put_uint(out, left.len() as u64);
    for (name, at) in left {
        put_text(out, name);
        put_option(out, *at);
    }
}

pub(super) fn left(r: &mut Reader) -> Result<Vec<Left>> {
    let n = r.count("left", MAX_NAMES)?;
    let mut left = Vec::new();
    for _ in 0..n {
        left.push((r.text("left")?, r.option("left")?));
    }
    Ok(left)
}

pub(super) fn put_names(out: &mut Vec<u8>, names: &[String]) {
    put_uint(out, names.len() as u64);
    names.iter().for_each(|name| put_text(out, name));
}

pub(super) fn put_want(out: &mut Vec<u8>, want: &Want) {
    match want {
        Want::Pull { refs, tables, depth, heads, lacks, empty, outline, follow } => {
            out.put_u8(1);
            put_names(out, refs);
            out.put_u8(u8::from(tables.is_some()));
            put_names(out, tables.as_deref().unwrap_or_default());
            put_uint(out, u64::from(*depth));
            put_ids(out, heads);
            put_ids(out, lacks);
            out.put_u8(u8::from(*empty));
            out.put_u8(u8::from(*outline));
            out.put_u8(u8::from(*follow));
        }
        Want::Push { moves } => {
            out.put_u8(2);
            put_uint(out, moves.len() as u64);
            for step in moves {
                put_text(out, &step.name);
                put_option(out, step.expected);
                put_option(out, step.target);
                out.put_u8(step.flags);
            }
        }
        Want::Fetch { ids } => {
            out.put_u8(3);
            put_ids(out, ids);
        }
    }
}

pub(super) fn want(r: &mut Reader) -> Result<Want> {
    match r.u8("want")? {
        1 => {
            let refs = r.names("refs")?;
            let limited = r.flag("tables")?;
            let names = r.names("tables")?;
            Ok(Want::Pull {
                refs,
                tables: limited.then_some(names),
                depth: r.u32("depth")?,
                heads: r.ids("heads")?,
                lacks: r.ids("lacks")?,
                empty: r.flag("empty")?,
                outline: r.flag("outline")?,
                follow: r.flag("follow")?,
            })
        }
        2 => {
            let n = r.count("moves", MAX_NAMES)?;
            let mut moves = Vec::new();
            for _ in 0..n {
                moves.push(Move {
                    name: r.text("name")?,
                    expected: r.option("expected")?,
                    target: r.option("target")?,
                    flags: r.u8("flags")?,
                });
            }
            Ok(Want::Push { moves })
        }
        3 => Ok(Want::Fetch { ids: r.ids("fetch")? }),
        other => Err(Error::protocol("hello", format!("want {other} is not known"))),
    }
}

pub(super) fn refs(r: &mut Reader) -> Result<Vec<NamedRef>> {
    let n = r.count("refs", MAX_NAMES)?;
    let mut refs = Vec::new();
    for _ in 0..n {
        refs.push((r.text("ref")?, r.hash("ref")?));
    }
    Ok(refs)
}

pub(super) fn put_object(out: &mut Vec<u8>, object: &Object) {
    out.put_slice(object.id.as_bytes());
    out.put_u8(object.kind);
    out.put_u8(object.codec);
    put_uint(out, object.bases.len() as u64);
    object.bases.iter().for_each(|base| out.put_slice(base.as_bytes()));
    put_uint(out, u64::from(object.raw_len));
    put_uint(out, u64::from(object.rest));
    put_bytes(out, &object.payload);
}

pub(super) fn past(r: &mut Reader) -> Result<Vec<Bytes>> {
    let mut records = Vec::new();
    while !r.is_empty() {
        if records.len() == MAX_IDS {
            return Err(Error::protocol("past", format!("more than {MAX_IDS} in one message")));
        }
        records.push(r.bytes("record")?);
    }
    Ok(records)
}

pub(super) fn objects(r: &mut Reader) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    while !r.is_empty() {
        if objects.len() == MAX_IDS {
            return Err(Error::protocol("objects", format!("more than {MAX_IDS} in one message")));
        }
        objects.push(Object {
            id: r.hash("id")?,
            kind: r.u8("kind")?,
            codec: r.u8("codec")?,
            bases: bases(r)?,
            raw_len: r.u32("raw length")?,
            rest: r.u32("rest")?,
            payload: r.bytes("payload")?,
        });
    }
    Ok(objects)
}

fn bases(r: &mut Reader) -> Result<Bases> {
    let mut bases = Bases::none();
    for _ in 0..r.count("bases", Bases::<Hash>::MAX)? {
        // The count has been checked.
        let _ = bases.push(r.hash("base")?);
    }
    Ok(bases)
}

pub(super) fn items(r: &mut Reader) -> Result<Vec<(Hash, u8)>> {
    let mut items = Vec::new();
    while !r.is_empty() {
        let kind = r.u8("kind")?;
        let ids = r.ids("offer")?;
        if ids.is_empty() || items.len() + ids.len() > MAX_IDS {
            return Err(Error::protocol("offer", format!("no address of a kind, or more than {MAX_IDS} in all")));
        }
        items.extend(ids.into_iter().map(|id| (id, kind)));
    }
    Ok(items)
}

pub(super) fn put_squeezed(out: &mut Vec<u8>, text: &Squeezed) {
    put_uint(out, u64::from(text.raw_len));
    put_bytes(out, &text.payload);
}

pub(super) fn squeezed(r: &mut Reader) -> Result<Squeezed> {
    Ok(Squeezed { raw_len: r.u32("raw length")?, payload: r.bytes("record")? })
}

pub(super) fn put_fault(out: &mut Vec<u8>, fault: &Fault) {
    let kind = Kind::ALL.iter().position(|kind| *kind == fault.kind).unwrap_or_default();
    put_uint(out, kind as u64);
    let text: String = fault.message.chars().take(MAX_TEXT / 4).collect();
    put_text(out, &text);
    out.put_u8(u8::from(fault.moved.is_some()));
    if let Some((name, expected, theirs)) = &fault.moved {
        put_text(out, name);
        put_option(out, *expected);
        put_option(out, *theirs);
    }
}

pub(super) fn fault(r: &mut Reader) -> Result<Fault> {
    let kind = usize::from(r.u8("kind")?);
    let kind = *Kind::ALL.get(kind).ok_or_else(|| Error::protocol("fault", format!("kind {kind} is not known")))?;
    let message = r.text("message")?;
    let moved =
        if r.flag("moved")? { Some((r.text("name")?, r.option("expected")?, r.option("theirs")?)) } else { None };
    Ok(Fault { kind, message, moved })
}

pub(super) fn put_items(out: &mut Vec<u8>, items: &[(Hash, u8)]) {
    for run in items.chunk_by(|a, b| a.1 == b.1) {
        out.put_u8(run[0].1);
        put_uint(out, run.len() as u64);
        run.iter().for_each(|(id, _)| out.put_slice(id.as_bytes()));
    }
}

pub(super) fn put_trees(out: &mut Vec<u8>, trees: &[(String, TableRef)]) {
    put_uint(out, trees.len() as u64);
    for (name, table) in trees {
        put_text(out, name);
        out.put_slice(table.schema.as_bytes());
        out.put_slice(table.root.as_bytes());
        put_uint(out, table.rows);
        out.put_u8(table.height);
    }
}

pub(super) fn trees(r: &mut Reader) -> Result<Vec<(String, TableRef)>> {
    let n = r.count("trees", MAX_NAMES)?;
    let mut trees = Vec::new();
    for _ in 0..n {
        let name = r.text("tree")?;
        let table = TableRef {
            schema: r.hash("schema")?,
            root: r.hash("root")?,
            rows: r.uint("rows")?,
            height: r.u8("height")?,
        };
        trees.push((name, table));
    }
    Ok(trees)
}
