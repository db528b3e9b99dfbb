//! Values of every type, there and back.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// One column of each type, with values that are near an end of something. What is written is canonical.
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int8", &["-128", "127"]),
    ("int16", &["-32768", "32767"]),
    ("int32", &["-2147483648", "2147483647"]),
    ("int64", &["-9223372036854775808", "9223372036854775807", "9007199254740993", "0"]),
    ("uint8", &["0", "255"]),
    ("uint16", &["65535"]),
    ("uint32", &["4294967295"]),
    ("uint64", &["18446744073709551615"]),
    ("float16", &["1.5", "65504.0", "-0.0", "\"NaN\"", "\"inf\"", "\"-inf\""]),
    ("bfloat16", &["1.5", "-0.0", "\"NaN\"", "3.3895314e38"]),
    ("float32", &["0.1", "3.4028235e38", "1e-45", "-0.0", "\"NaN\"", "\"-inf\""]),
    (
        "float64",
        &["0.1", "1.7976931348623157e308", "5e-324", "-0.0", "0.0", "\"NaN\"", "\"inf\"", "1e16", "123456789.125"],
    ),
    ("decimal(9, 2)", &["0.00", "-0.01", "1.50", "9999999.99"]),
    ("decimal(38, 0)", &["99999999999999999999999999999999999999", "-1"]),
    ("decimal(5, -2)", &["1200", "0"]),
    ("decimal256(76, 38)", &["-12345678901234567890123456789012345678.00000000000000000000000000000000000001"]),
    (
        "utf8",
        &[
            "\"\"",
            "\"null\"",
            "\" \"",
            "\"a\\nb\"",
            "\"a\\\"b\\\\c\\n\\u0000\\u001f\u{7f}\"",
            "\"é表🦀\u{2028}\"",
            "\"{}\"",
        ],
    ),
    ("binary", &["\"\"", "\"00ff\""]),
    ("date", &["\"1970-01-01\"", "\"2024-02-29\"", "\"-5877641-06-23\"", "\"+5881580-07-11\""]),
    ("time(s)", &["\"00:00:00\"", "\"23:59:59\"", "\"86400\""]),
    ("time(ns)", &["\"23:59:59.999999999\"", "\"-1\""]),
    ("timestamp(s)", &["\"1969-12-31T23:59:59\""]),
    ("timestamp(us, UTC)", &["\"2024-02-29T23:59:59.000001Z\"", "\"+294247-01-10T04:00:54.775807Z\""]),
    ("timestamp(ns)", &["\"2262-04-11T23:47:16.854775807\"", "\"1677-09-21T00:12:43.145224192\""]),
    ("uuid", &["\"00112233-4455-6677-8899-aabbccddeeff\""]),
    ("json", &["{\"b\": 1,\"a\":[1.00,1e400]}", "\"text\"", "0", "[]"]),
    ("list(int64)", &["[]", "[1,null,-3]", "[null]"]),
    ("list(list(utf8))", &["[[],null,[\"\",\"a\\\"\",null]]"]),
    ("fixed_size_list(float32, 2)", &["[0.5,null]", "[\"NaN\",-0.0]"]),
    ("list(decimal(9, 2))", &["[1.50,-0.01]"]),
    ("list(json)", &["[{\"a\": 1},null,\"x\"]"]),
    ("list(timestamp(ms, UTC))", &["[\"2024-02-29T00:00:00.000Z\",null]"]),
];

/// The same values written otherwise.
const SPELLINGS: &[(&str, &str, &str)] = &[
    ("decimal(9, 2)", "1.50", "1.5"),
    ("decimal(9, 2)", "1.50", "\"1.5\""),
    ("decimal(9, 2)", "1.50", "150e-2"),
    ("decimal(9, 2)", "0.00", "-0"),
    ("int64", "12", "\"12\""),
    ("float64", "100.0", "1e2"),
    ("float64", "100.0", "100"),
    ("float64", "0.1", "0.1000"),
    ("float32", "0.1", "0.100000001"),
    ("bool", "true", "\"T\""),
    ("utf8", "\"é/\"", "\"\\u00e9\\/\""),
    ("utf8", "\"12\"", "12"),
    ("binary", "\"00ff\"", "\"00FF\""),
    ("uuid", "\"00112233-4455-6677-8899-aabbccddeeff\"", "\"00112233445566778899AABBCCDDEEFF\""),
    ("timestamp(us, UTC)", "\"2024-02-29T10:00:00.000000Z\"", "\"2024-02-29 12:00+02:00\""),
    ("timestamp(ms)", "\"2024-02-29T00:00:00.000\"", "\"2024-02-29\""),
    ("time(ms)", "\"10:00:00.000\"", "\"10:00\""),
    ("date", "\"2024-02-29\"", "\"+2024-02-29\""),
    ("json", "{\"a\": 1}", "  {\"a\": 1} "),
    ("list(decimal(9, 2))", "[1.50,null]", "[ 1.5 , null ]"),
    ("list(utf8)", "[\"é\"]", "[\"\\u00e9\"]"),
];

fn of(ty: &str) -> Definition {
    table(&["id int64", &format!("v {ty}")])
}

/// A table of one struct and one map, which have no short form.
fn nested() -> Definition {
    let part = |name: &str, ty: Type, nullable| Field::new(name, ty, nullable);
    let fields = vec![
        part("id", Type::Int64, false),
        part("s", Type::Struct(vec![part("a", Type::Int8, true), part("b", Type::Utf8, false)]), true),
        part(
            "m",
            Type::Map {
                key: Box::new(part("key", Type::Utf8, false)),
                value: Box::new(part("value", Type::Int64, true)),
            },
            true,
        ),
        part(
            "n",
            Type::Map {
                key: Box::new(part("key", Type::Int64, false)),
                value: Box::new(part("value", Type::Utf8, true)),
            },
            true,
        ),
    ];
    Definition::create("t", &Schema::new(fields, &["id"]).unwrap(), Settings::default()).unwrap()
}

fn cell(definition: &Definition, name: &str, value: &[u8]) -> Option<String> {
    let id = definition.column(name).unwrap().cell;
    let cells = cells::Cells::read(value).unwrap().all().unwrap();
    cells.into_iter().find(|(cell, _)| *cell == id).map(|(_, text)| String::from_utf8(text.to_vec()).unwrap())
}

fn value(definition: &Definition, line: &str) -> Bytes {
    let writes = definition.writes(line.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{line}: {error}"));
    writes[0].value.clone().unwrap()
}

#[test]
fn canonical_texts_are_kept_as_they_are() {
    for (ty, texts) in VALUES {
        let definition = of(ty);
        for text in *texts {
            let value = value(&definition, &format!("{{\"id\":1,\"v\":{text}}}"));
            assert_eq!(cell(&definition, "v", &value).as_deref(), Some(*text), "{ty}");
        }
        let null = value(&definition, "{\"id\":1,\"v\":null}");
        assert_eq!(null[..], [cells::VERSION], "{ty}");
    }
}

#[test]
fn nested_cells_are_kept_as_they_are() {
    let definition = nested();
    let line = r#"{"id":1,"s":{"b":"x","a":null},"m":{"k":1,"a":null},"n":[[2,"b"],[1,null]]}"#;
    let value = value(&definition, line);
    assert_eq!(cell(&definition, "s", &value).unwrap(), r#"{"a":null,"b":"x"}"#);
    assert_eq!(cell(&definition, "m", &value).unwrap(), r#"{"k":1,"a":null}"#);
    assert_eq!(cell(&definition, "n", &value).unwrap(), r#"[[2,"b"],[1,null]]"#);
    let batch = one_batch(&definition, &[(definition.key_of("1").unwrap().key, value.clone())]);
    let again = definition.writes_batch(&batch, &|_| None).unwrap();
    assert_eq!(again[0].value.as_ref(), Some(&value));
}

#[test]
fn equal_values_are_equal_bytes() {
    for (ty, canonical, other) in SPELLINGS {
        let definition = of(ty);
        let [one, two] = [canonical, other].map(|text| value(&definition, &format!("{{\"v\":{text},\"id\":\"1\"}}")));
        assert_eq!(one, two, "{ty}: {other}");
        assert_eq!(cell(&definition, "v", &one).as_deref(), Some(*canonical), "{ty}: {other}");
    }
}

#[test]
fn every_key_comes_back() {
    for (ty, texts) in VALUES.iter().filter(|(ty, _)| parse_type(ty).unwrap().can_be_key()) {
        let definition = table(&[&format!("k {ty}")]);
        for text in *texts {
            let writes = definition.writes(format!("{{\"k\":{text}}}").as_bytes(), &|_| None).unwrap();
            let Write { row, value } = &writes[0];
            let shown = definition.to_cells(&row.key, value.as_ref().unwrap()).unwrap();
            let bare = shown.get("k").unwrap();
            let bare = if ty.starts_with("decimal") { bare.trim_matches('"') } else { bare };
            assert_eq!(bare, *text, "{ty}");
            assert_eq!(definition.key_of(&definition.key_text(&row.key).unwrap()).unwrap(), *row, "{ty}");
            let deleted = definition.deletes(definition.key_text(&row.key).unwrap().as_bytes()).unwrap();
            assert_eq!(deleted, [Write { row: row.clone(), value: None }], "{ty}");
            assert_eq!(definition.key_of(&format!("{{\"k\":{text}}}")).unwrap(), *row, "{ty}");
        }
    }
}

fn one_batch(definition: &Definition, rows: &[(Bytes, Bytes)]) -> RecordBatch {
    let batches: Vec<Folded> = definition.batches(rows.iter().cloned()).collect::<Result<_>>().unwrap();
    assert!(batches.iter().all(|folded| folded.unfit.is_empty()), "{:?}", batches[0].unfit);
    assert_eq!(batches.len(), 1);
    batches[0].rows.clone()
}

/// A table with a column of every type.
fn wide() -> Definition {
    let columns: Vec<String> = VALUES.iter().enumerate().map(|(i, (ty, _))| format!("c{i} {ty}")).collect();
    let columns: Vec<&str> = std::iter::once("id int64").chain(columns.iter().map(|column| &column[..])).collect();
    table(&columns)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rows with any of the values go in as lines, out as batches, in as batches and out as lines: always the same bytes.
    #[test]
    fn rows_come_back(picks in proptest::collection::vec(proptest::collection::vec(proptest::option::of(any::<prop::sample::Index>()), VALUES.len()), 1..6)) {
        let definition = wide();
        let mut lines = String::new();
        for (id, picks) in picks.iter().enumerate() {
            let cells = picks.iter().zip(VALUES).enumerate().filter_map(|(i, (pick, (_, texts)))| {
                pick.map(|pick| format!(",\"c{i}\":{}", texts[pick.index(texts.len())]))
            });
            lines.push_str(&format!("{{\"id\":{id}{}}}\n", cells.collect::<String>()));
        }
        let writes = definition.writes(lines.as_bytes(), &|_| None).unwrap();
        let rows: Vec<(Bytes, Bytes)> = writes.iter().map(|write| (write.row.key.clone(), write.value.clone().unwrap())).collect();
        let batch = one_batch(&definition, &rows);
        prop_assert_eq!(&definition.writes_batch(&batch, &|_| None).unwrap(), &writes);
        // As an export would write them.
        let shown: Vec<String> = rows.iter().map(|(key, value)| serde_json::to_string(&definition.to_cells(key, value).unwrap()).unwrap()).collect();
        let exported: Vec<String> = export::json_rows(&batch).unwrap().iter().map(|row| serde_json::to_string(row).unwrap()).collect();
        prop_assert_eq!(&shown, &exported);
        prop_assert_eq!(&definition.writes(shown.join("\n").as_bytes(), &|_| None).unwrap(), &writes);
    }

    #[test]
    fn numbers_and_texts_come_back(int in any::<i64>(), float in any::<f64>(), small in any::<f32>(), text in any::<String>(), cents in -999_999_999_i64..1_000_000_000) {
        let definition = table(&["id int64", "f float64", "g float32", "t utf8", "d decimal(9, 2)"]);
        let number = |value: f64| if value.is_finite() { format!("{value:e}") } else { format!("\"{value:?}\"") };
        let decimal = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let small_text = if small.is_finite() { format!("{small:e}") } else { format!("\"{small:?}\"") };
        let line = format!("{{\"id\":{int},\"f\":{},\"g\":{small_text},\"t\":{},\"d\":{decimal}}}", number(float), serde_json::json!(text));
        let value = value(&definition, &line);
        let bare = |name: &str| cell(&definition, name, &value).unwrap().trim_matches('"').to_owned();
        prop_assert_eq!(bare("f").parse::<f64>().unwrap().to_bits(), if float.is_nan() { f64::NAN.to_bits() } else { float.to_bits() });
        prop_assert_eq!(bare("g").parse::<f32>().unwrap().to_bits(), if small.is_nan() { f32::NAN.to_bits() } else { small.to_bits() });
        prop_assert_eq!(serde_json::from_str::<String>(&cell(&definition, "t", &value).unwrap()).unwrap(), text);
        prop_assert_eq!(bare("d"), decimal);
        let key = definition.key_of(&int.to_string()).unwrap().key;
        let batch = one_batch(&definition, &[(key, value.clone())]);
        let again = definition.writes_batch(&batch, &|_| None).unwrap();
        prop_assert_eq!(again[0].value.as_ref(), Some(&value));
    }
}

/// The committed values: what is written today is the same, bit for bit.
#[test]
fn values_are_those_of_the_format() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/live/1/row");
    let all = VALUES.iter().enumerate().map(|(i, (_, texts))| format!(",\"c{i}\":{}", texts[0])).collect::<String>();
    let (wide, nested) = (wide(), nested());
    let made = [
        ("wide.bin", value(&wide, &format!("{{\"id\":1{all}}}"))),
        ("nulls.bin", value(&wide, "{\"id\":1}")),
        ("nested.bin", value(&nested, r#"{"id":1,"s":{"a":-1,"b":"é"},"m":{"b":1,"a":null},"n":[[2,"b"]]}"#)),
        ("long.bin", value(&wide, &format!("{{\"id\":1,\"c17\":\"{}\"}}", "x".repeat(20_000)))),
    ];
    let rows = |definition: Definition| {
        definition.changes(None).into_iter().map(|write| {
            let line = [write.row.table.as_bytes(), b" ", &write.row.key, b" ", write.value.as_deref().unwrap(), b"\n"];
            line.concat()
        })
    };
    let resolver = Settings { resolver: "max:s".parse().unwrap(), ..Settings::default() };
    assert!(nested.set(resolver).is_err());
    let changed =
        nested.rename_column("s", "t").unwrap().drop_column("m").unwrap().add_column("m", Type::Float32).unwrap();
    let settings = Settings { resolver: "min:m".parse().unwrap(), ..Settings::default() };
    let definition: Vec<u8> = rows(changed.set(settings).unwrap()).flatten().collect();
    for (name, bytes) in made.into_iter().chain([("definition.bin", definition.into())]) {
        let path = place.join(name);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(golden == bytes, "{name} is not what is committed: this format has changed");
    }
}
