//! Nested columns from JSON text: lists, structs and maps, level by level.
//!
//! Each level is taken apart into the raw text of its children, which become a grid of their own; so scalars inside
//! follow the same rules as everywhere, and numbers keep their digits.
//!
//! A bad record leaves nulls where the type may not allow them, so the arrays built here allow null everywhere; the
//! caller casts to the real type once bad records are out.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray, make_array, new_null_array,
};
use arrow_buffer::{NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use serde_json::value::RawValue;
use syncline_tree::schema::{Field, Schema, Type};

use super::column::{self, OnBad, Source};
use super::grid::{Grid, Kind};
use super::infer::Origin;
use super::ndjson;

/// The Arrow field of a nested field.
pub(super) fn arrow_field(field: &Field) -> arrow_schema::Field {
    // The schema's own mapping is the only one: ask it for a table with this one column.
    let column = syncline_tree::schema::Column {
        id: 0,
        name: field.name.clone(),
        ty: field.ty.clone(),
        nullable: field.nullable,
        born: None,
    };
    let schema = Schema { columns: vec![column], key: Vec::new(), leaf_rows: 16, next_id: None };
    schema.arrow().field(0).clone()
}

/// The same field with null allowed on every level where Arrow allows it.
fn relaxed(field: &Field) -> Field {
    let boxed = |field: &Field| Box::new(relaxed(field));
    let ty = match &field.ty {
        Type::List(item) => Type::List(boxed(item)),
        Type::FixedSizeList(item, size) => Type::FixedSizeList(boxed(item), *size),
        Type::Struct(fields) => Type::Struct(fields.iter().map(relaxed).collect()),
        // Arrow has no maps with null keys: those get a zero (`without_nulls`).
        Type::Map { key, value } => {
            Type::Map { key: Box::new(Field { nullable: false, ..relaxed(key) }), value: boxed(value) }
        }
        scalar => scalar.clone(),
    };
    Field { name: field.name.clone(), ty, nullable: true }
}

/// Builds the array of a nested column.
pub(super) fn build(source: &Source<'_>, ty: &Type, bad: &mut OnBad<'_>) -> ArrayRef {
    let texts = texts(source, bad);
    let mut report = |record: usize, reason: String| bad(record, format!("column `{}`: {reason}", source.name));
    match ty {
        Type::List(item) => list(&texts, item, source.origin, &mut report),
        Type::FixedSizeList(item, size) => fixed(&texts, item, *size as usize, &mut report),
        Type::Struct(fields) => structs(&texts, fields, &mut report),
        Type::Map { key, value } => map(&texts, key, value, &mut report),
        scalar => {
            let field = Field { name: source.name.to_owned(), ty: scalar.clone(), nullable: true };
            new_null_array(arrow_field(&field).data_type(), texts.len())
        }
    }
}

/// The JSON text of each cell.
fn texts<'a>(source: &Source<'a>, bad: &mut OnBad<'_>) -> Vec<Option<&'a str>> {
    let mut texts = Vec::with_capacity(source.grid.len());
    for (record, (kind, text)) in source.grid.column(source.column).enumerate() {
        let null = kind.is_null() || kind == Kind::Quoted && text.is_empty();
        if null {
            source.null(bad, record, kind);
        }
        let text = std::str::from_utf8(text);
        if text.is_err() {
            bad(record, format!("column `{}` is not UTF-8", source.name));
        }
        texts.push(text.ok().filter(|_| !null));
    }
    texts
}

/// Children of one level, with the record each belongs to.
#[derive(Default)]
struct Children {
    grid: Grid,
    owners: Vec<usize>,
    origin: Origin,
}

impl Children {
    fn new() -> Self {
        let mut grid = Grid::new(Vec::new(), 1);
        grid.null_is_json = true;
        Self { grid, ..Self::default() }
    }

    fn push(&mut self, owner: usize, raw: Option<&str>, keeps_json: bool) -> Result<(), String> {
        self.owners.push(owner);
        match raw {
            None => self.grid.push_empty(Kind::Absent),
            Some("null") => self.grid.push_empty(Kind::Null),
            Some(raw) if raw.starts_with('"') && !keeps_json => match serde_json::from_str::<String>(raw) {
                Ok(text) => self.grid.push_bytes(text.as_bytes(), Kind::Text),
                Err(error) => {
                    self.grid.push_empty(Kind::Null);
                    return Err(ndjson::plain(&error));
                }
            },
            Some(raw) => self.grid.push_bytes(raw.as_bytes(), Kind::Json),
        }
        Ok(())
    }

    /// The children's array; children of a null say nothing.
    fn build(&self, texts: &[Option<&str>], field: &Field, bad: &mut OnBad<'_>) -> ArrayRef {
        let (name, nullable, origin) = (&field.name, field.nullable, self.origin);
        let source = Source { grid: &self.grid, column: 0, name, nullable, may_lack: false, origin };
        column::build(&source, &field.ty, &mut |child, reason| {
            let owner = self.owners[child];
            if texts[owner].is_some() {
                bad(owner, reason);
            }
        })
    }
}

/// Whether a column keeps its cells' JSON text instead of their value.
pub(super) fn keeps_json(ty: &Type) -> bool {
    matches!(ty, Type::Json | Type::List(_) | Type::FixedSizeList(..) | Type::Struct(_) | Type::Map { .. })
}

fn items(text: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(text).map_err(|_| format!("{} is not a JSON array", shown(text)))
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// Lists are the only nested type that is inferred.
fn list(texts: &[Option<&str>], item: &Field, origin: Origin, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut children = Children { origin, ..Children::new() };
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0i32);
    let keeps = keeps_json(&item.ty);
    for (record, text) in texts.iter().enumerate() {
        let filled = text.map_or(Ok(()), |text| {
            items(text)?.iter().try_for_each(|raw| children.push(record, Some(raw.get()), keeps))
        });
        if let Err(reason) = filled {
            bad(record, reason);
        }
        offsets.push(i32::try_from(children.owners.len()).unwrap_or(i32::MAX));
    }
    let values = children.build(texts, item, bad);
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Arc::new(ListArray::new(Arc::new(arrow_field(&relaxed(item))), offsets, values, validity(texts)))
}

fn fixed(texts: &[Option<&str>], item: &Field, size: usize, bad: &mut OnBad<'_>) -> ArrayRef {
    let mut children = Children::new();
    let keeps = keeps_json(&item.ty);
    for (record, text) in texts.iter().enumerate() {
        let items = match text.map(items).transpose() {
            Ok(Some(items)) if items.len() == size => items,
            Ok(None) => Vec::new(),
            Ok(Some(items)) => {
                bad(record, format!("has {} items, the type wants {size}", items.len()));
                Vec::new()
            }
            Err(reason) => {
                bad(record, reason);
                Vec::new()
            }
        };
        for at in 0..size {
            if let Err(reason) = children.push(record, items.get(at).map(|raw| raw.get()), keeps) {
                bad(record, reason);
            }
        }
    }
    let values = children.build(texts, item, bad);
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    Arc::new(FixedSizeListArray::new(Arc::new(arrow_field(&relaxed(item))), size, values, validity(texts)))
}

fn structs(texts: &[Option<&str>], fields: &[Field], bad: &mut OnBad<'_>) -> ArrayRef {
    let mut members = vec![Vec::with_capacity(texts.len()); fields.len()];
    for (record, text) in texts.iter().enumerate() {
        members.iter_mut().for_each(|member| member.push(None));
        let Some(text) = text else { continue };
        let found = ndjson::each_member(text, |name, raw| {
            let at = fields.iter().position(|field| field.name == name);
            let at = at.ok_or_else(|| format!("has the key `{name}`, which the type does not have"))?;
            match members[at][record].replace(raw) {
                Some(_) => Err(format!("has the key `{name}` twice")),
                None => Ok(()),
            }
        });
        if let Err(reason) = found {
            bad(record, reason);
        }
    }
    let arrays = fields.iter().zip(&members).map(|(field, member)| {
        let mut children = Children::new();
        for (record, raw) in member.iter().enumerate() {
            if let Err(reason) = children.push(record, *raw, keeps_json(&field.ty)) {
                bad(record, reason);
            }
        }
        children.build(texts, field, bad)
    });
    let arrays: Vec<ArrayRef> = arrays.collect();
    let fields = fields.iter().map(|field| Arc::new(arrow_field(&relaxed(field)))).collect();
    Arc::new(StructArray::new(fields, arrays, validity(texts)))
}

fn map(texts: &[Option<&str>], key: &Field, value: &Field, bad: &mut OnBad<'_>) -> ArrayRef {
    let (mut keys, mut values) = (Children::new(), Children::new());
    let mut offsets = vec![0i32];
    for (record, text) in texts.iter().enumerate() {
        let filled = text.map_or(Ok(()), |text| entries(text, record, &mut keys, &mut values, keeps_json(&value.ty)));
        if let Err(reason) = filled {
            bad(record, reason);
        }
        offsets.push(i32::try_from(values.owners.len()).unwrap_or(i32::MAX));
    }
    let arrays = vec![without_nulls(&keys.build(texts, key, bad)), values.build(texts, value, bad)];
    let fields = [(key, false), (value, true)]
        .map(|(field, nullable)| Arc::new(arrow_field(&relaxed(field)).with_nullable(nullable)));
    let pairs = StructArray::new(fields.to_vec().into(), arrays, None);
    let entries = Arc::new(arrow_schema::Field::new("entries", pairs.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Arc::new(MapArray::new(entries, offsets, pairs, validity(texts), false))
}

/// Zeros for nulls: their record is bad and goes anyway.
fn without_nulls(array: &ArrayRef) -> ArrayRef {
    let data = array.to_data().into_builder().nulls(None).build();
    make_array(data.expect("a null slot of a scalar array holds a valid value"))
}

/// A map is a JSON object (keys as text), or an array of `[key, value]` pairs where keys are not text.
fn entries(text: &str, record: usize, keys: &mut Children, values: &mut Children, keeps: bool) -> Result<(), String> {
    if text.trim_start().starts_with('[') {
        let pairs: Vec<(&RawValue, &RawValue)> =
            serde_json::from_str(text).map_err(|_| format!("{} is not an array of pairs", shown(text)))?;
        return pairs.iter().try_for_each(|(key, value)| {
            let pushed = keys.push(record, Some(key.get()), false);
            pushed.and(values.push(record, Some(value.get()), keeps))
        });
    }
    ndjson::each_member(text, |name, raw| {
        keys.owners.push(record);
        keys.grid.push_bytes(name.as_bytes(), Kind::Text);
        values.push(record, Some(raw), keeps)
    })
}

fn validity(texts: &[Option<&str>]) -> Option<NullBuffer> {
    let mut nulls = NullBufferBuilder::new(texts.len());
    texts.iter().for_each(|text| nulls.append(text.is_some()));
    nulls.finish()
}
