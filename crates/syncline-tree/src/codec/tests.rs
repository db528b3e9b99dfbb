use proptest::prelude::*;

use super::*;
use crate::leaf::arbitrary::{rng, rows, schema};

fn sample(seed: u64) -> (Schema, RecordBatch, Bytes) {
    let mut rng = rng(seed);
    let schema = schema(&mut rng);
    let count = rng.below(300) as usize;
    let batch = rows(&mut rng, &schema, count, 5, 3);
    let bytes = leaf::encode(&schema, &batch, &[]).unwrap();
    (schema, batch, bytes)
}

proptest! {
    #[test]
    fn stored_leaves_come_back(seed: u64) {
        let (schema, batch, bytes) = sample(seed);
        let payload = encode(&bytes).unwrap();
        prop_assert!(payload.len() <= bytes.len() + 2);
        prop_assert_eq!(decode(&payload, bytes.len()).unwrap(), bytes.clone());
        prop_assert!(decode(&payload, bytes.len() + 16).is_err());
        let columns = Columns::open(payload.into()).unwrap();
        prop_assert_eq!(columns.rows(), batch.num_rows());
        prop_assert_eq!(columns.batch(&schema, None).unwrap(), batch);
    }

    #[test]
    fn damaged_payloads_never_panic(seed: u64) {
        let (schema, _, bytes) = sample(seed);
        let mut payload = encode(&bytes).unwrap();
        let mut rng = rng(seed ^ 1);
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(payload.len() as u64) as usize;
            payload[at] = rng.next_u64() as u8;
        }
        if rng.below(4) == 0 {
            payload.truncate(rng.below(payload.len() as u64) as usize);
        }
        let _ = decode(&payload, bytes.len());
        if let Ok(columns) = Columns::open(payload.into()) {
            let _ = columns.batch(&schema, None);
            for column in &schema.columns {
                let _ = columns.range(column.id);
            }
        }
    }

    #[test]
    fn noise_never_panics(noise: Vec<u8>) {
        let mut payload = vec![VERSION, COLUMNS];
        payload.extend(&noise);
        let _ = decode(&payload, 1000);
        let _ = Columns::open(payload.into());
        let _ = decode(&noise, 1000);
    }
}

#[test]
fn ranges_are_read_without_decoding_and_nulls_do_not_count() {
    let mut rng = rng(3);
    let schema = Schema::new(
        vec![
            crate::schema::Field::new("id", crate::schema::Type::Int64, false),
            crate::schema::Field::new("day", crate::schema::Type::Date32, true),
        ],
        &["id"],
    )
    .unwrap();
    let ids = arrow_array::Int64Array::from_iter_values((0..500).map(|i| i * 3 - 20));
    let days = arrow_array::Date32Array::from_iter((0..500).map(|_| {
        let day = 9000 + rng.below(100) as i32;
        (rng.below(5) > 0).then_some(day)
    }));
    let (low, high) = (days.iter().flatten().min().unwrap(), days.iter().flatten().max().unwrap());
    let batch = RecordBatch::try_new(schema.arrow(), vec![Arc::new(ids), Arc::new(days)]).unwrap();
    let payload = encode(&leaf::encode(&schema, &batch, &[]).unwrap()).unwrap();
    let columns = Columns::open(payload.into()).unwrap();
    assert_eq!(columns.range(0), Some((-20, 499 * 3 - 20)));
    assert_eq!(columns.range(1), Some((i128::from(low), i128::from(high))));
    assert_eq!(columns.range(2), None);
    assert_eq!(columns.batch(&schema, None).unwrap(), batch);
}

#[test]
fn columns_that_repeat_or_count_take_few_bytes() {
    use crate::schema::{Field, Type};
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("mode", Type::Utf8, false),
        Field::new("price", Type::Decimal128 { precision: 15, scale: 2 }, false),
        Field::new("noise", Type::Float64, false),
        Field::new("rate", Type::Float64, false),
    ];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let mut rng = rng(4);
    let n = 512;
    let modes = ["AIR", "MAIL", "SHIP", "TRUCK"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::Int64Array::from_iter_values((0..n).map(|i| 1_000_000 + 4 * i))),
        Arc::new(arrow_array::StringArray::from_iter_values((0..n).map(|_| modes[rng.below(4) as usize]))),
        Arc::new(
            arrow_array::Decimal128Array::from_iter_values((0..n).map(|_| 100 * i128::from(rng.below(50))))
                .with_precision_and_scale(15, 2)
                .unwrap(),
        ),
        Arc::new(arrow_array::Float64Array::from_iter_values((0..n).map(|_| rng.below(1 << 50) as f64 / 1e15))),
        Arc::new(arrow_array::Float64Array::from_iter_values((0..n).map(|_| rng.below(10) as f64 / 100.0))),
    ];
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let size = |id| column_sizes(&schema, &batch, id).unwrap().1;
    let n = n as usize;
    assert!(size(0) < 30, "a count: {}", size(0));
    assert!(size(1) < n / 4 + 50, "two bits: {}", size(1));
    assert!(size(2) < n * 6 / 8 + 20, "six bits: {}", size(2));
    assert!(size(3) < n * 8, "planes: {}", size(3));
    assert!(size(4) < n / 2 + 100, "four bits: {}", size(4));
}

/// Cells of every length up to where comparing takes a call, that differ in one byte: each is its own entry.
#[test]
fn dictionaries_tell_cells_apart_that_differ_in_one_byte() {
    for len in 1..40_usize {
        let mut cells = vec![vec![7_u8; len]];
        for at in 0..len {
            let mut cell = vec![7; len];
            cell[at] = 8;
            cells.push(cell);
        }
        let repeated: Vec<&[u8]> = cells.iter().cycle().take(cells.len() * 8).map(|cell| &cell[..]).collect();
        if let Some(found) = dict::Dictionary::find(repeated.iter().copied()) {
            assert_eq!(found.entries.len(), cells.len(), "{len} bytes");
        } else {
            assert!(cells.len() > 12, "{len} bytes");
        }
    }
}

#[test]
fn a_leaf_with_a_value_under_a_null_comes_back_as_it_was() {
    use crate::schema::{Field, Type};
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("x", Type::Int32, true)];
    let schema = Schema::new(fields, &["id"]).unwrap();
    let ids = arrow_array::Int64Array::from_iter_values(0..40);
    let cells: arrow_array::Int32Array = (0..40).map(|i| (i % 3 != 1).then_some(7 * i)).collect();
    let batch = RecordBatch::try_new(schema.arrow(), vec![Arc::new(ids), Arc::new(cells)]).unwrap();
    let mut bytes = leaf::encode(&schema, &batch, &[]).unwrap().to_vec();
    assert!(encode(&bytes).unwrap().len() < bytes.len() / 2, "it is stored by column");
    // The last buffer is that of the 40 cells; the fifth is null.
    let at = bytes.len() - 160 + 4 * 4;
    bytes[at] = 1;
    let parsed = Leaf::parse(bytes.clone().into()).unwrap();
    assert!(parsed.check_canonical(&schema).is_err());
    assert_eq!(decode(&encode_leaf(&parsed), bytes.len()).unwrap(), bytes);
}
