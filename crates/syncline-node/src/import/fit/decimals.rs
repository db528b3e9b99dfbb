//! Decimals that have more digits than their type says: other programs' files can have them, as nothing but the type tells how
//! many there are.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Decimal256Type, DecimalType as _};
use arrow_array::{Array, ArrayRef};
use syncline_tree::schema::Type;

use super::super::scalar;
use super::OnBad;
use super::levels::{owner, reached, tell};

/// Tells the rows of a column of the type that have such decimals, on whatever level.
pub(super) fn check(array: &ArrayRef, ty: &Type, name: &str, bad: &mut OnBad<'_>) {
    match ty {
        Type::Decimal128 { precision, scale } => {
            let Some(cells) = array.as_primitive_opt::<Decimal128Type>() else { return };
            if any_longer(cells.values(), *precision) {
                let longer = |row: &usize| Decimal128Type::validate_decimal_precision(cells.value(*row), *precision, 0);
                let rows = (0..cells.len()).filter(|row| cells.is_valid(*row) && longer(row).is_err());
                rows.for_each(|row| bad(row, reason(&cells.value(row).to_string(), *scale, ty, name)));
            }
        }
        Type::Decimal256 { precision, scale } => {
            let Some(cells) = array.as_primitive_opt::<Decimal256Type>() else { return };
            if cells.validate_decimal_precision(*precision).is_err() {
                let longer = |row: &usize| Decimal256Type::validate_decimal_precision(cells.value(*row), *precision, 0);
                let rows = (0..cells.len()).filter(|row| cells.is_valid(*row) && longer(row).is_err());
                rows.for_each(|row| bad(row, reason(&cells.value(row).to_string(), *scale, ty, name)));
            }
        }
        _ if !holds_decimals(ty) => {}
        Type::List(item) => {
            let Some(list) = array.as_list_opt::<i32>() else { return };
            let mut tell = |child: usize, reason| tell(list.nulls(), owner(list.offsets(), child), reason, bad);
            check(&reached(list.offsets(), list.values()).1, &item.ty, name, &mut tell);
        }
        Type::FixedSizeList(item, size) => {
            let Some(list) = array.as_fixed_size_list_opt() else { return };
            let width = usize::try_from(*size).unwrap_or(0).max(1);
            let mut tell = |child: usize, reason| tell(list.nulls(), child / width, reason, bad);
            check(list.values(), &item.ty, name, &mut tell);
        }
        Type::Struct(members) => {
            let Some(pack) = array.as_struct_opt() else { return };
            for (member, column) in members.iter().zip(pack.columns()) {
                check(column, &member.ty, name, &mut |row, reason| tell(pack.nulls(), row, reason, bad));
            }
        }
        Type::Map { key, value } => {
            let Some(map) = array.as_map_opt() else { return };
            for (field, values) in [(key, map.keys()), (value, map.values())] {
                let mut tell = |child: usize, reason| tell(map.nulls(), owner(map.offsets(), child), reason, bad);
                check(&reached(map.offsets(), values).1, &field.ty, name, &mut tell);
            }
        }
        _ => {}
    }
}

fn holds_decimals(ty: &Type) -> bool {
    match ty {
        Type::Decimal128 { .. } | Type::Decimal256 { .. } => true,
        Type::List(item) | Type::FixedSizeList(item, _) => holds_decimals(&item.ty),
        Type::Struct(fields) => fields.iter().any(|field| holds_decimals(&field.ty)),
        Type::Map { key, value } => holds_decimals(&key.ty) || holds_decimals(&value.ty),
        _ => false,
    }
}

/// Whether any of the values, those under nulls too, has more digits. Without a branch for each of them.
fn any_longer(values: &[i128], precision: u8) -> bool {
    let Some(most) = 10_i128.checked_pow(u32::from(precision)).map(|limit| limit - 1) else { return false };
    let span = most.unsigned_abs() * 2;
    values.iter().fold(false, |longer, value| longer | (value.wrapping_add(most).cast_unsigned() > span))
}

fn reason(unscaled: &str, scale: i8, ty: &Type, name: &str) -> String {
    let mut value = Vec::new();
    scalar::write_decimal(&mut value, unscaled, scale);
    let value = String::from_utf8_lossy(&value);
    format!("column `{name}`: {value} has more digits than {ty}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_precision_are_found() {
        for precision in [1, 2, 18, 38] {
            let most = 10_i128.pow(precision) - 1;
            let precision = u8::try_from(precision).unwrap();
            assert!(!any_longer(&[0, most, -most, 1], precision));
            assert!(any_longer(&[0, most + 1], precision) && any_longer(&[-most - 1, 0], precision));
            assert!(any_longer(&[i128::MAX], precision) && any_longer(&[i128::MIN], precision));
        }
    }
}
