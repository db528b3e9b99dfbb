//! How many bytes rows have once they are decoded, before they are: a dictionary has a value once that thousands of rows may
//! have, so what a file says of its size says little of that.

use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::column::page::{Page, PageReader as _};
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use syncline_base::task;

use super::super::guard::guarded;
use super::{BATCH_BYTES, Parquet};

/// How many bytes a batch has when all of its values are the longest that there are.
const WORST_BYTES: u64 = 64 << 20;

/// Bytes of a column's values, decoded.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    all: u64,
    /// Of the longest row, as far as can be told: rows of a list are taken to have equally many items.
    longest: u64,
}

/// How many rows of these columns (of the file's top level, ascending) to decode at once, at most `most`.
pub(super) fn batch_rows(file: &Parquet, columns: &[usize], most: usize) -> super::Result<usize> {
    let descriptor = file.metadata.parquet_schema();
    let leaves = (0..descriptor.num_columns()).filter(|leaf| {
        let root = descriptor.get_column_root_idx(*leaf);
        columns.binary_search(&root).is_ok()
    });
    let leaves: Vec<usize> = leaves.collect();
    let groups: Vec<usize> = (0..file.metadata.metadata().num_row_groups()).collect();
    let sizes = task::try_map(groups, |group| {
        let of = |leaf: &usize| size(file, group, *leaf);
        guarded(&file.name, || leaves.iter().map(of).collect::<Result<Vec<_>>>())
    })?;
    let mut longest = vec![0; leaves.len()];
    let mut all = 0_u64;
    for group in &sizes {
        for (longest, size) in longest.iter_mut().zip(group) {
            *longest = size.longest.max(*longest);
            all = all.saturating_add(size.all);
        }
    }
    let rows = u64::try_from(file.metadata.metadata().file_metadata().num_rows()).unwrap_or(0).max(1);
    let longest = longest.into_iter().fold(0, u64::saturating_add);
    let fit = (BATCH_BYTES / (all / rows).max(1)).min(WORST_BYTES / longest.max(1));
    Ok(usize::try_from(fit).unwrap_or(most).clamp(1, most.max(1)))
}

fn size(file: &Parquet, group: usize, leaf: usize) -> Result<Size> {
    let group = file.metadata.metadata().row_group(group);
    let chunk = group.column(leaf);
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let (rows, values) = (count(group.num_rows()).max(1), count(chunk.num_values()));
    let (encoded, per_row) = (count(chunk.uncompressed_size()), values.div_ceil(rows).max(1));
    let of = |each: u64, longest: u64| Size {
        all: encoded.max(values.saturating_mul(each)),
        longest: longest.saturating_mul(per_row),
    };
    Ok(match chunk.column_type() {
        Physical::BOOLEAN => of(0, 0),
        Physical::INT32 | Physical::FLOAT => of(4, 4),
        Physical::INT64 | Physical::DOUBLE | Physical::INT96 => of(8, 8),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            let width = u64::try_from(chunk.column_descr().type_length()).unwrap_or(0);
            of(width, width)
        }
        Physical::BYTE_ARRAY => {
            let (average, longest) = dictionary(file, chunk, rows)?;
            of(average, longest)
        }
    })
}

/// The average and the longest length of the values in a column's dictionary; zeros when it has none.
fn dictionary(file: &Parquet, chunk: &ColumnChunkMetaData, rows: u64) -> Result<(u64, u64)> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut pages = SerializedPageReader::new(Arc::new(file.file.clone()), chunk, rows, None)?;
    if !pages.peek_next_page()?.is_some_and(|page| page.is_dict) {
        return Ok((0, 0));
    }
    let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page()? else { return Ok((0, 0)) };
    // Each value has its length before it.
    let (mut rest, mut values, mut all, mut longest) = (&buf[..], 0, 0, 0);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        let Some(behind) = behind.get(length as usize..) else { break };
        (rest, values, all, longest) = (behind, values + 1, all + u64::from(length), longest.max(u64::from(length)));
    }
    Ok((all / values.max(1), longest))
}
