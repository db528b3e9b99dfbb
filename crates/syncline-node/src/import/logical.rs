//! How many bytes the rows of a batch have without the encodings that share values between rows (dictionaries, run ends,
//! views): tables have none of these, so that is what becomes of them.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// Bytes of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Logical {
    pub(super) all: u64,
    /// Of the longest row, where rows share values; the others are as long in memory as they are.
    pub(super) longest: u64,
}

impl Logical {
    fn plus(self, other: Self) -> Self {
        Self { all: self.all.saturating_add(other.all), longest: self.longest.saturating_add(other.longest) }
    }
}

/// Of all columns of a batch.
pub(super) fn of_batch(batch: &RecordBatch) -> Logical {
    batch.columns().iter().map(of).fold(Logical::default(), Logical::plus)
}

fn shares(ty: &DataType) -> bool {
    match ty {
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Utf8View | DataType::BinaryView => true,
        DataType::ListView(_) | DataType::LargeListView(_) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => shares(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| shares(field.data_type())),
        _ => false,
    }
}

fn of(array: &ArrayRef) -> Logical {
    if !shares(array.data_type()) {
        // What an array is counted with that cannot tell is all the memory that it holds on to.
        let all = array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
        return Logical { all: all as u64, longest: 0 };
    }
    match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Logical::default();
            }
            let lengths = lengths(dictionary.values());
            let keys = dictionary.normalized_keys();
            sum(keys.into_iter().map(|key| (lengths.get(key).copied().unwrap_or(0), 1)))
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => runs::<Int16Type>(array),
            DataType::Int32 => runs::<Int32Type>(array),
            _ => runs::<Int64Type>(array),
        },
        DataType::Utf8View | DataType::BinaryView => sum(lengths(array).into_iter().map(|length| (length, 1))),
        DataType::Struct(_) => array.as_struct().columns().iter().map(of).fold(Logical::default(), Logical::plus),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            items(list.offsets().lengths(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            items(list.offsets().lengths(), list.values())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let pairs: ArrayRef = std::sync::Arc::new(map.entries().clone());
            items(map.offsets().lengths(), &pairs)
        }
        DataType::FixedSizeList(_, size) => {
            let width = usize::try_from(*size).unwrap_or(0);
            items(std::iter::repeat_n(width, array.len()), array.as_fixed_size_list().values())
        }
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            items(list.sizes().iter().map(|size| usize::try_from(*size).unwrap_or(0)), list.values())
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            items(list.sizes().iter().map(|size| usize::try_from(*size).unwrap_or(0)), list.values())
        }
        _ => Logical::default(),
    }
}

/// Of rows that are so long, so often.
fn sum(rows: impl Iterator<Item = (u64, u64)>) -> Logical {
    rows.fold(Logical::default(), |sum, (length, times)| Logical {
        all: sum.all.saturating_add(length.saturating_mul(times)),
        longest: sum.longest.max(length),
    })
}

/// Of lists of so many items.
fn items(lengths: impl Iterator<Item = usize>, values: &ArrayRef) -> Logical {
    let inner = of(values);
    let average = inner.all.div_ceil(values.len().max(1) as u64);
    let each = inner.longest.max(average);
    lengths.fold(Logical::default(), |sum, length| Logical {
        all: sum.all.saturating_add(average.saturating_mul(length as u64)),
        longest: sum.longest.max(each.saturating_mul(length as u64)),
    })
}

fn runs<R: arrow_array::types::RunEndIndexType>(array: &ArrayRef) -> Logical {
    let Some(runs) = array.as_run_opt::<R>() else { return Logical::default() };
    let lengths = lengths(runs.values());
    let mut before = 0;
    let times = runs.run_ends().values().iter().map(|end| {
        let end = arrow_buffer::ArrowNativeType::as_usize(*end);
        let times = end.saturating_sub(before);
        before = end;
        times as u64
    });
    sum(lengths.into_iter().zip(times))
}

/// The bytes of each value.
fn lengths(values: &ArrayRef) -> Vec<u64> {
    let of = |length: Option<usize>| length.unwrap_or(0) as u64;
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().offsets().lengths().map(|length| length as u64).collect(),
        DataType::LargeUtf8 => values.as_string::<i64>().offsets().lengths().map(|length| length as u64).collect(),
        DataType::Binary => values.as_binary::<i32>().offsets().lengths().map(|length| length as u64).collect(),
        DataType::LargeBinary => values.as_binary::<i64>().offsets().lengths().map(|length| length as u64).collect(),
        DataType::Utf8View => values.as_string_view().iter().map(|text| of(text.map(str::len))).collect(),
        DataType::BinaryView => values.as_binary_view().iter().map(|bytes| of(bytes.map(<[u8]>::len))).collect(),
        _ => {
            let logical = self::of(values);
            let each = logical.longest.max(logical.all.div_ceil(values.len().max(1) as u64));
            vec![each; values.len()]
        }
    }
}
