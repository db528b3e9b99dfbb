//! Which types become which. What is not listed here is refused for the whole column, before a value is looked at; what
//! is listed is still refused where a value would change.

use syncline_tree::schema::Type;

use super::super::scalar;

/// Types whose values mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    Number,
    Decimal,
    Text,
    Json,
    Bytes,
    Uuid,
    Date,
    Time,
    /// A timestamp without a zone.
    Clock,
    /// A timestamp with one.
    Instant,
    List,
    Struct,
    Map,
}

const fn class(ty: &Type) -> Class {
    match ty {
        Type::Bool => Class::Bool,
        Type::Int8
        | Type::Int16
        | Type::Int32
        | Type::Int64
        | Type::UInt8
        | Type::UInt16
        | Type::UInt32
        | Type::UInt64
        | Type::Float16
        | Type::BFloat16
        | Type::Float32
        | Type::Float64 => Class::Number,
        Type::Decimal128 { .. } | Type::Decimal256 { .. } => Class::Decimal,
        Type::Utf8 => Class::Text,
        Type::Json => Class::Json,
        Type::Binary => Class::Bytes,
        Type::Uuid => Class::Uuid,
        Type::Date32 => Class::Date,
        Type::Time { .. } => Class::Time,
        Type::Timestamp { zone: None, .. } => Class::Clock,
        Type::Timestamp { zone: Some(_), .. } => Class::Instant,
        Type::List(_) | Type::FixedSizeList(..) => Class::List,
        Type::Struct(_) => Class::Struct,
        Type::Map { .. } => Class::Map,
    }
}

/// Why values of one type never become values of the other; `None` where they may.
pub(super) fn refusal(from: &Type, to: &Type) -> Option<&'static str> {
    use Class::{Bool, Bytes, Clock, Date, Decimal, Instant, Json, List, Map, Number, Struct, Text, Time, Uuid};
    let utc = || matches!(to, Type::Timestamp { zone: Some(zone), .. } if scalar::is_utc(zone));
    match (class(from), class(to)) {
        (from, to) if from == to => None,
        // Text says what it is by the rules of the text formats.
        (Text | Json, _) => None,
        (Bool, Number) | (Number, Bool | Decimal) | (Decimal, Number) | (Bool | Number | Decimal, Json) => None,
        (Bytes, Text | Json | Uuid) | (Uuid, Bytes) => None,
        (Date, Clock) | (Clock, Date) => None,
        (Date | Clock, Instant) if utc() => None,
        (Date | Clock, Instant) | (Instant, Clock) => {
            Some("one has a zone and the other has none; only a column in UTC takes timestamps without one")
        }
        (Instant, Date) => Some("an instant is another day from zone to zone"),
        (List | Struct | Map, _) | (_, List | Struct | Map) => Some("a list, a struct or a map becomes its like only"),
        (_, Text) => None,
        (Bool | Number | Decimal, Date | Time | Clock | Instant) => Some("bare numbers are never dates or times"),
        (Date | Time | Clock | Instant, Bool | Number | Decimal) => Some("dates and times are never bare numbers"),
        _ => Some("no value of the one is a value of the other"),
    }
}
