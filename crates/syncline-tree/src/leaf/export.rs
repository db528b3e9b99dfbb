//! Canonical nodes to Arrow arrays, over the same buffers.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, FixedSizeListArray, ListArray, MapArray, StringArray, StructArray};
use arrow_array::{BooleanArray, make_array, new_null_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};

use super::import::{kind_of, offsets};
use super::layout::Node;
use crate::schema::{Column, Type};
use crate::{Error, Result};

/// The array of a column, from its checked node; `None` is a column of nulls.
pub(crate) fn export(
    column: &Column,
    data_type: &DataType,
    node: Option<&Node<Buffer>>,
    rows: usize,
) -> Result<ArrayRef> {
    let Some(node) = node else {
        if !column.nullable && rows > 0 {
            let text = format!("a leaf has no cells of column {:?}, which may not be null", column.name);
            return Err(Error::corrupt(text));
        }
        return Ok(new_null_array(data_type, rows));
    };
    if !column.nullable && node.validity.is_some() {
        return Err(Error::corrupt(format!("a leaf has a null in column {:?}, which may not be null", column.name)));
    }
    array(&column.ty, data_type, node)
        .map_err(|error| Error::corrupt(format!("cannot read column {:?} of a leaf: {error}", column.name)))
}

fn array(ty: &Type, data_type: &DataType, node: &Node<Buffer>) -> Result<ArrayRef, ArrowError> {
    if node.kind != kind_of(ty) {
        let text = format!("it is laid out as {}, its type needs {}", node.kind, kind_of(ty));
        return Err(ArrowError::SchemaError(text));
    }
    let len = node.len;
    let bits = |buffer: &Buffer| BooleanBuffer::new(buffer.clone(), 0, len);
    let nulls = node.validity.as_ref().map(|buffer| NullBuffer::new(bits(buffer)));
    Ok(match (ty, data_type) {
        (Type::Bool, _) => Arc::new(BooleanArray::new(bits(&node.values), nulls)),
        (Type::Utf8 | Type::Json, _) => {
            Arc::new(StringArray::try_new(offsets(node.values.clone(), len), node.data.clone(), nulls)?)
        }
        (Type::Binary, _) => {
            Arc::new(BinaryArray::try_new(offsets(node.values.clone(), len), node.data.clone(), nulls)?)
        }
        (Type::List(item), DataType::List(field)) => {
            let child = array(&item.ty, field.data_type(), &node.children[0])?;
            Arc::new(ListArray::try_new(field.clone(), offsets(node.values.clone(), len), child, nulls)?)
        }
        (Type::FixedSizeList(item, size), DataType::FixedSizeList(field, _)) => {
            let child = array(&item.ty, field.data_type(), &node.children[0])?;
            Arc::new(FixedSizeListArray::try_new(field.clone(), *size as i32, child, nulls)?)
        }
        (Type::Struct(fields), DataType::Struct(arrow)) => {
            let children = fields.iter().zip(arrow).zip(&node.children);
            let children = children.map(|((field, arrow), child)| array(&field.ty, arrow.data_type(), child));
            Arc::new(StructArray::try_new(arrow.clone(), children.collect::<Result<_, _>>()?, nulls)?)
        }
        (Type::Map { key, value }, DataType::Map(entries, sorted)) => {
            let pair = Type::Struct(vec![(**key).clone(), (**value).clone()]);
            let child = array(&pair, entries.data_type(), &node.children[0])?;
            let child = child.as_any().downcast_ref::<StructArray>().expect("a struct was just built").clone();
            let offsets = offsets(node.values.clone(), len);
            Arc::new(MapArray::try_new(entries.clone(), offsets, child, nulls, *sorted)?)
        }
        _ => {
            let data = ArrayData::builder(data_type.clone()).len(len).nulls(nulls).add_buffer(node.values.clone());
            make_array(data.align_buffers(true).build()?)
        }
    })
}
