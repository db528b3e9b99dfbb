//! Schema files: a table's columns declared in JSON.
//!
//! `[{"name": "id", "type": "int64", "nullable": false}, …]`, or an object with that array as `columns`. A type is a
//! word, a word with arguments (`decimal(12, 2)`, `timestamp(us, UTC)`, `time(ms)`, `list(float32)`,
//! `fixed_size_list(float32, 768)`), or the form a table's own schema has (`{"struct": […]}`).

use serde::Deserialize;
use syncline_tree::schema::{Field, Type, Unit};

use super::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    #[serde(alias = "ty")]
    r#type: serde_json::Value,
    #[serde(default = "yes")]
    nullable: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    List(Vec<serde_json::Value>),
    Object { columns: Vec<serde_json::Value> },
}

/// Reads a schema file.
///
/// # Errors
/// When the text is not such a schema; says what is wrong where.
pub fn read_schema(text: &str) -> Result<Vec<Field>> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!(
            "read the schema: {error}; it must be a JSON array of {{\"name\": …, \"type\": …, \"nullable\": …}}"
        ))
    })?;
    let (File::List(columns) | File::Object { columns }) = file;
    let field = |(i, column): (usize, serde_json::Value)| {
        let wrong = |reason: String| Error::invalid(format!("read the schema: column {}: {reason}", i + 1));
        let declared: Declared = serde_json::from_value(column).map_err(|error| wrong(error.to_string()))?;
        let ty = type_of(&declared.r#type).map_err(|reason| wrong(format!("`{}`: {reason}", declared.name)))?;
        Ok(Field { name: declared.name, ty, nullable: declared.nullable })
    };
    columns.into_iter().enumerate().map(field).collect()
}

/// Reads a type as it is written in a schema file.
///
/// # Errors
/// When there is no such type; lists those there are.
pub fn parse_type(text: &str) -> Result<Type> {
    written(text).map_err(|reason| Error::invalid(format!("read the type of a column: {reason}")))
}

fn type_of(value: &serde_json::Value) -> Result<Type, String> {
    match value {
        serde_json::Value::String(text) => written(text),
        other => serde_json::from_value(other.clone()).map_err(|error| error.to_string()),
    }
}

/// Longer than any type that a column may have.
const LONGEST: usize = 4096;

fn written(text: &str) -> Result<Type, String> {
    if text.len() > LONGEST {
        return Err(format!("it is {} bytes long, and no type takes more than {LONGEST}", text.len()));
    }
    word(text.trim())
}

fn word(text: &str) -> Result<Type, String> {
    let lower = text.to_ascii_lowercase();
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| format!("`{text}` has no closing bracket"))?;
            (name.trim().to_ascii_lowercase(), split_arguments(inner))
        }
        None => (lower, Vec::new()),
    };
    let simple = match name.as_str() {
        "bool" | "boolean" => Some(Type::Bool),
        "int8" => Some(Type::Int8),
        "int16" => Some(Type::Int16),
        "int32" | "int" | "integer" => Some(Type::Int32),
        "int64" | "bigint" | "long" => Some(Type::Int64),
        "uint8" => Some(Type::UInt8),
        "uint16" => Some(Type::UInt16),
        "uint32" => Some(Type::UInt32),
        "uint64" => Some(Type::UInt64),
        "float16" | "half" => Some(Type::Float16),
        "bfloat16" | "bf16" => Some(Type::BFloat16),
        "float32" | "float" => Some(Type::Float32),
        "float64" | "double" => Some(Type::Float64),
        "utf8" | "string" | "text" => Some(Type::Utf8),
        "binary" | "bytes" => Some(Type::Binary),
        "date32" | "date" => Some(Type::Date32),
        "uuid" => Some(Type::Uuid),
        "json" => Some(Type::Json),
        _ => None,
    };
    match simple {
        Some(ty) if arguments.is_empty() => Ok(ty),
        Some(_) => Err(format!("the type `{name}` has no arguments")),
        None => with_arguments(text, &name, &arguments),
    }
}

fn with_arguments(text: &str, name: &str, arguments: &[&str]) -> Result<Type, String> {
    let unknown = || {
        format!(
            "there is no type `{text}`; there are bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, \
             float64, decimal(precision, scale), utf8, binary, date, time(unit), timestamp(unit[, zone]), uuid, json, \
             list(type), fixed_size_list(type, size)"
        )
    };
    let unit = |at: usize| match arguments.get(at).copied().unwrap_or("us") {
        "s" => Ok(Unit::S),
        "ms" => Ok(Unit::Ms),
        "us" => Ok(Unit::Us),
        "ns" => Ok(Unit::Ns),
        other => Err(format!("there is no unit `{other}`; there are s, ms, us, ns")),
    };
    let item = |at: usize| {
        let ty = word(arguments.get(at).copied().unwrap_or_default())?;
        Ok::<_, String>(Box::new(Field { name: "item".to_owned(), ty, nullable: true }))
    };
    match (name, arguments.len()) {
        ("decimal" | "decimal128" | "decimal256" | "numeric", 1 | 2) => {
            let precision: u8 = arguments[0].parse().map_err(|_| unknown())?;
            let scale: i8 = arguments.get(1).copied().unwrap_or("0").parse().map_err(|_| unknown())?;
            let wide = precision > 38 || name == "decimal256";
            Ok(if wide { Type::Decimal256 { precision, scale } } else { Type::Decimal128 { precision, scale } })
        }
        ("time", 0 | 1) => Ok(Type::Time { unit: unit(0)? }),
        ("timestamp", 0..=2) => {
            Ok(Type::Timestamp { unit: unit(0)?, zone: arguments.get(1).map(|zone| (*zone).to_owned()) })
        }
        ("list", 1) => Ok(Type::List(item(0)?)),
        ("fixed_size_list", 2) => {
            let size = arguments[1].parse().map_err(|_| format!("`{}` is not a size", arguments[1]))?;
            Ok(Type::FixedSizeList(item(0)?, size))
        }
        _ => Err(unknown()),
    }
}

/// Splits at commas outside brackets.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}
