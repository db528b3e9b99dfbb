//! What becomes of a value of one type in a column of another, in Parquet and Arrow sources.

use arrow_array::types::{Float64Type, UInt16Type};
use arrow_array::{Array as _, ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, UInt16Array};
use half::{bf16, f16};
use syncline_tree::schema::{Field, Type};

use super::typed::{batch, list_of, nested, parquet};
use super::*;

fn misfit(row: u64, text: &str) -> std::result::Result<Vec<Value>, Vec<(u64, String)>> {
    Err(vec![(row, format!("column `v`: {text}"))])
}

/// The same as [`nested`], through a file that our own export wrote of a column of the type `from`.
fn exported(name: &str, cells: ArrayRef, from: Type, to: Type) -> std::result::Result<Vec<Value>, Vec<(u64, String)>> {
    let schema =
        |ty| Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("v", ty, true)], &["id"]).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..cells.len() as i64));
    let rows = RecordBatch::try_new(schema(from).arrow(), vec![ids, cells]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let target = crate::export::Target::Path(path.clone());
    let batches = [Ok::<_, crate::export::Error>(rows.clone())].into_iter();
    crate::export::write(&rows.schema(), batches, &target, &crate::export::Options::default()).unwrap();
    match run(vec![Input::Path(path)], &options(), Some(&schema(to)), &[]) {
        Ok(got) => Ok(got.rows().into_iter().map(|mut row| row["v"].take()).collect()),
        Err(Error::BadRows(report)) => {
            Err(report.bad_rows.into_iter().map(|bad| (bad.place.row.unwrap(), bad.reason)).collect())
        }
        Err(other) => Err(vec![(0, other.to_string())]),
    }
}

#[test]
fn floats_that_a_narrower_float_cannot_hold_are_bad_rows() {
    let floats = |cells: &[f64]| Arc::new(Float64Array::from(cells.to_vec())) as ArrayRef;
    assert_eq!(nested(floats(&[1.5, 1e300]), Type::Float32), misfit(2, "1e300 does not fit Float32"));
    assert_eq!(nested(floats(&[65504.0, 65520.0]), Type::Float16), misfit(2, "65520.0 does not fit Float16"));
    assert_eq!(nested(floats(&[-1e10]), Type::Float16), misfit(1, "-10000000000.0 does not fit Float16"));
    assert_eq!(nested(floats(&[1e300]), Type::BFloat16).unwrap_err()[0].0, 1);
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![Some(1e10), None]));
    assert_eq!(nested(narrow, Type::Float16), misfit(1, "10000000000.0 does not fit Float16"));
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(0.1), None]),
        Some(vec![Some(1.0), Some(1e300)]),
    ]));
    assert_eq!(nested(list.clone(), list_of(Type::Float32, true)), misfit(2, "1e300 does not fit Float32"));
    // What is infinite stays so, and what is small is rounded.
    let kept = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-300, 0.1];
    assert_eq!(
        nested(floats(&kept), Type::Float32),
        Ok(vec![json!("inf"), json!("-inf"), json!("NaN"), json!(0.0), json!(0.1)])
    );
    assert_eq!(nested(floats(&kept[..2]), Type::Float16), Ok(vec![json!("inf"), json!("-inf")]));
    // The cell of a slot that is null says nothing.
    let null = Float64Array::new(vec![1e300, 2.0].into(), Some(vec![false, true].into()));
    assert_eq!(nested(Arc::new(null), Type::Float32), Ok(vec![json!(null), json!(2.0)]));
}

#[test]
fn numbers_are_never_taken_for_the_bits_of_bfloat16() {
    let integers: ArrayRef = Arc::new(UInt16Array::from(vec![2, 16256]));
    assert_eq!(nested(integers.clone(), Type::BFloat16), Ok(vec![json!(2.0), json!(16256.0)]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let file = parquet(&batch(vec![("id", ids), ("v", integers)]));
    let schema = [Field::new("id", Type::Int64, false), Field::new("v", Type::BFloat16, true)];
    let schema = Schema::new(schema.to_vec(), &["id"]).unwrap();
    let got = run(vec![stream("t.parquet", file)], &options(), Some(&schema), &[]).unwrap();
    assert_eq!(got.rows(), [json!({"id": 0, "v": 2.0}), json!({"id": 1, "v": 16256.0})]);
    let lists = || {
        let cells = [Some(vec![Some(2), Some(3)]), None];
        Arc::new(ListArray::from_iter_primitive::<UInt16Type, _, _>(cells)) as ArrayRef
    };
    assert_eq!(nested(lists(), list_of(Type::BFloat16, true)), Ok(vec![json!([2.0, 3.0]), json!(null)]));
    let large: ArrayRef = Arc::new(UInt16Array::from(vec![257]));
    assert_eq!(nested(large, Type::BFloat16), misfit(1, "257 does not fit bfloat16"));
}

#[test]
fn the_bits_of_bfloat16_are_never_taken_for_numbers() {
    let bits = |cells: &[f32]| cells.iter().map(|cell| bf16::from_f32(*cell).to_bits()).collect::<Vec<_>>();
    let halves = |cells: &[f32]| Arc::new(UInt16Array::from(bits(cells))) as ArrayRef;
    let money = Type::Decimal128 { precision: 10, scale: 2 };
    for name in ["t.parquet", "t.arrow", "t.arrows"] {
        let both = |to: Type| exported(name, halves(&[1.5, 2.0]), Type::BFloat16, to);
        for (to, one, two) in [
            (Type::Float16, json!(1.5), json!(2.0)),
            (Type::Float32, json!(1.5), json!(2.0)),
            (Type::Float64, json!(1.5), json!(2.0)),
            (Type::BFloat16, json!(1.5), json!(2.0)),
            (Type::Utf8, json!("1.5"), json!("2.0")),
            (money.clone(), json!("1.50"), json!("2.00")),
        ] {
            assert_eq!(both(to.clone()), Ok(vec![one, two]), "{name} {to}");
        }
        for to in [Type::Int32, Type::UInt16] {
            let whole = exported(name, halves(&[4.0, 2.0]), Type::BFloat16, to.clone());
            assert_eq!(whole, Ok(vec![json!(4), json!(2)]), "{name} {to}");
            assert_eq!(both(to.clone()), misfit(1, &format!("1.5 does not fit {}", to.arrow())), "{name} {to}");
        }
        let list = |item: Type| {
            let field = Arc::new(list_of(item, true).arrow());
            let arrow_schema::DataType::List(field) = field.as_ref() else { unreachable!() };
            let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 0]);
            Arc::new(ListArray::new(field.clone(), offsets, halves(&[1.5, 2.0]), None)) as ArrayRef
        };
        let was = list_of(Type::BFloat16, true);
        for to in [Type::Float32, Type::BFloat16] {
            let got = exported(name, list(Type::BFloat16), was.clone(), list_of(to, true));
            assert_eq!(got, Ok(vec![json!([1.5, 2.0]), json!([])]), "{name}");
        }
        let got = exported(name, list(Type::BFloat16), was.clone(), list_of(Type::UInt16, true));
        assert_eq!(got, misfit(1, "1.5 does not fit UInt16"), "{name}");
    }
    let large = exported("t.parquet", halves(&[1e30]), Type::BFloat16, Type::Float16);
    assert_eq!(large.unwrap_err()[0].0, 1);
    assert!(f16::from_f32(1e30).is_infinite());
}
