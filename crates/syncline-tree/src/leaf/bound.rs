//! How long the form of a cell may be, without making it: what is certainly short stays in its leaf for the price of a look at
//! offsets.
//!
//! Owns nothing. Counted is by how much a form is longer than that of a blank cell of its type (`super::nested`); what lies under
//! nulls counts too, so a cell may well be shorter than its bound, never longer.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;

/// What a node below a list takes at most besides its values: its shape, an offset, the ends of bitmaps, padding.
const NODE: usize = 80;
/// What a node that a blank cell has too takes more than there, besides its values and a bitmap of whole bytes.
const GROWTH: usize = 64;

/// No cell in these slots, put into one form, makes it longer than this. `below`: they are the items of a list.
pub(super) fn together(array: &dyn Array, slots: Range<usize>, below: bool) -> usize {
    let count = slots.len();
    let own = |bytes: usize| if below { bytes } else { 0 };
    let inside = |offsets: &OffsetBuffer<i32>| offsets[slots.start] as usize..offsets[slots.end] as usize;
    let values = match array.data_type() {
        DataType::Utf8 => own(4 * count) + inside(array.as_string::<i32>().offsets()).len(),
        DataType::Binary => own(4 * count) + inside(array.as_binary::<i32>().offsets()).len(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            own(4 * count) + together(list.values(), inside(list.offsets()), true)
        }
        DataType::Map(..) => {
            let map = array.as_map();
            own(4 * count) + together(map.entries(), inside(map.offsets()), true)
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            together(array.as_fixed_size_list().values(), slots.start * size..slots.end * size, below)
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| together(column, slots.clone(), below)).sum()
        }
        other => own(count * width(other)),
    };
    of_node(array, below) + bitmap(array, below, count) + values
}

/// No cell of one of these slots makes its form longer than this: one pass over offsets, whatever the cells.
pub(super) fn longest(array: &dyn Array, slots: Range<usize>) -> usize {
    let (once, each) = each(array, slots, false);
    once.saturating_add(each)
}

/// What a form takes for a node and those below it, and what it takes for each slot, at most.
fn each(array: &dyn Array, slots: Range<usize>, below: bool) -> (usize, usize) {
    let own = |bytes: usize| if below { bytes } else { 0 };
    let inside = |offsets: &OffsetBuffer<i32>| offsets[slots.start] as usize..offsets[slots.end] as usize;
    let bytes = |offsets: &OffsetBuffer<i32>| (0, own(4) + widest(&offsets[slots.start..=slots.end]));
    let items = |offsets: &OffsetBuffer<i32>, items: &dyn Array| {
        let (once, each) = each(items, inside(offsets), true);
        (once, each.saturating_mul(widest(&offsets[slots.start..=slots.end])).saturating_add(own(4)))
    };
    let (once, values) = match array.data_type() {
        DataType::Utf8 => bytes(array.as_string::<i32>().offsets()),
        DataType::Binary => bytes(array.as_binary::<i32>().offsets()),
        DataType::List(_) => items(array.as_list::<i32>().offsets(), array.as_list::<i32>().values()),
        DataType::Map(..) => items(array.as_map().offsets(), array.as_map().entries()),
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let (once, item) = each(array.as_fixed_size_list().values(), slots.start * size..slots.end * size, below);
            (once, item.saturating_mul(size))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().fold((0, 0), |sum: (usize, usize), column| {
            let (once, part) = each(column, slots.clone(), below);
            (sum.0 + once, sum.1.saturating_add(part))
        }),
        other => (0, own(width(other))),
    };
    (once + of_node(array, below), values.saturating_add(bitmap(array, below, 1)))
}

/// The longest distance of one offset to the next.
fn widest(offsets: &[i32]) -> usize {
    offsets.windows(2).map(|pair| pair[1] - pair[0]).max().map_or(0, |widest| widest as usize)
}

fn of_node(array: &dyn Array, below: bool) -> usize {
    let offsets =
        matches!(array.data_type(), DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..));
    if below {
        NODE
    } else if offsets || array.nulls().is_some() {
        GROWTH
    } else {
        0
    }
}

fn bitmap(array: &dyn Array, below: bool, count: usize) -> usize {
    if below || array.nulls().is_some() { count.div_ceil(8) } else { 0 }
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
        other => other.primitive_width().unwrap_or(1),
    }
}
