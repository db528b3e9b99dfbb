//! Values of expressions: numbers are decimals, exact or nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Op;

/// The most digits behind the point.
const MAX_SCALE: u32 = 38;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::live) enum Value {
    Bool(bool),
    /// A number without its point, and how many of its digits are behind that; in the shortest form.
    Number(i128, u32),
    Text(String),
    /// An array or an object, as its text.
    Nested(String),
}

impl Value {
    pub(super) const fn int(value: i128) -> Self {
        Self::Number(value, 0)
    }

    /// Reads JSON; null is nothing, and so is a number with too many digits.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        match text.as_bytes().first()? {
            b't' | b'f' => serde_json::from_str(text).ok().map(Self::Bool),
            b'"' => serde_json::from_str(text).ok().map(Self::Text),
            b'[' | b'{' => Some(Self::Nested(text.to_owned())),
            b'-' | b'0'..=b'9' => Self::number(text),
            _ => None,
        }
    }

    /// Reads a number as JSON has it.
    pub(super) fn number(text: &str) -> Option<Self> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        // Longer ones do not fit, and cost.
        let part = part.trim_end_matches('0');
        if whole.len() + part.len() > 64 {
            return None;
        }
        let unscaled: i128 = format!("{whole}{part}").parse().ok()?;
        let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
        let scale = i64::try_from(part.len()).ok()?.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) => Self::made(unscaled, scale),
            Err(_) => Some(Self::int(unscaled.checked_mul(power(u32::try_from(scale.checked_neg()?).ok()?)?)?)),
        }
    }

    /// A number in its shortest form.
    fn made(mut unscaled: i128, mut scale: u32) -> Option<Self> {
        if unscaled == 0 {
            return Some(Self::int(0));
        }
        while scale > 0 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        (scale <= MAX_SCALE).then_some(Self::Number(unscaled, scale))
    }

    pub(super) const fn truth(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Whether values like it have an order.
    pub(super) const fn has_order(&self) -> bool {
        !matches!(self, Self::Nested(_))
    }

    /// A member of an object.
    pub(super) fn member(&self, name: &str) -> Option<Self> {
        let Self::Nested(text) = self else { return None };
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        Self::read(members.get(name)?.get().as_bytes())
    }

    /// How many characters, items or members.
    pub(super) fn size(&self) -> Option<Self> {
        let size = match self {
            Self::Text(text) => text.chars().count(),
            Self::Nested(text) if text.starts_with('[') => serde_json::from_str::<Vec<&RawValue>>(text).ok()?.len(),
            Self::Nested(text) => serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok()?.len(),
            Self::Bool(_) | Self::Number(..) => return None,
        };
        Some(Self::int(size as i128))
    }

    /// What comes of two values; nothing when they are not of one kind, when there is no exact number, or no room for it.
    pub(super) fn computed(&self, op: Op, other: &Self) -> Option<Self> {
        let kinds = std::mem::discriminant(self) == std::mem::discriminant(other);
        let order = |is: fn(Ordering) -> bool| (kinds && self.has_order()).then(|| Self::Bool(is(self.cmp(other))));
        match op {
            Op::Less => order(Ordering::is_lt),
            Op::AtMost => order(Ordering::is_le),
            Op::More => order(Ordering::is_gt),
            Op::AtLeast => order(Ordering::is_ge),
            Op::Equal | Op::NotEqual | Op::Or | Op::And => None,
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Rest => {
                let (Self::Number(a, x), Self::Number(b, y)) = (self, other) else { return None };
                numbers(op, (*a, *x), (*b, *y))
            }
        }
    }
}

fn numbers(op: Op, (a, x): (i128, u32), (b, y): (i128, u32)) -> Option<Value> {
    let scale = x.max(y);
    let wide = || Some((a.checked_mul(power(scale - x)?)?, b.checked_mul(power(scale - y)?)?));
    match op {
        Op::Add => wide().and_then(|(a, b)| Value::made(a.checked_add(b)?, scale)),
        Op::Subtract => wide().and_then(|(a, b)| Value::made(a.checked_sub(b)?, scale)),
        Op::Multiply => Value::made(a.checked_mul(b)?, x + y),
        // Whole numbers only, towards zero.
        Op::Divide if scale == 0 => a.checked_div(b).map(Value::int),
        Op::Rest if scale == 0 => a.checked_rem(b).map(Value::int),
        _ => None,
    }
}

fn power(of: u32) -> Option<i128> {
    10_i128.checked_pow(of)
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    /// Of one kind by what they say; else false and true, numbers, texts, others.
    fn cmp(&self, other: &Self) -> Ordering {
        let kind = |value: &Self| match value {
            Self::Bool(_) => 0,
            Self::Number(..) => 1,
            Self::Text(_) => 2,
            Self::Nested(_) => 3,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a, x), Self::Number(b, y)) => {
                // Whole parts first: the others may have no room.
                let parts = |n: i128, scale: u32| {
                    let unit = power(scale).unwrap_or(i128::MAX);
                    let rest = n.rem_euclid(unit).checked_mul(power(MAX_SCALE - scale).unwrap_or(0));
                    (n.div_euclid(unit), rest)
                };
                parts(*a, *x).cmp(&parts(*b, *y))
            }
            (Self::Text(a), Self::Text(b)) | (Self::Nested(a), Self::Nested(b)) => a.cmp(b),
            _ => kind(self).cmp(&kind(other)),
        }
    }
}
