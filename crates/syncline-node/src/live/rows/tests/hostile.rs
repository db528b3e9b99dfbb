//! Bytes of whoever can write to a table.

use proptest::prelude::*;

use super::*;

#[test]
fn an_old_value_that_cannot_be_read_is_named() {
    let definition = table(&["id int64", "v utf8"]);
    for (old, kind) in
        [(&b"\x01abc"[..], Kind::Corrupt), (b"\x03", Kind::Invalid), (b"\x02\x05", Kind::Corrupt), (b"", Kind::Corrupt)]
    {
        let error =
            definition.writes(br#"{"id":7,"v":"x"}"#, &|_| Some(Bytes::copy_from_slice(old).into())).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("row 7 of table \"t\""), "{error}");
        let key = definition.key_of("7").unwrap().key;
        assert_eq!(definition.to_cells(&key, old).unwrap_err().kind(), kind);
    }
}

#[test]
fn texts_that_are_no_json_do_no_harm() {
    let definition = table(&["id int64", "v utf8", "n int64", "l list(utf8)"]);
    let key = definition.key_of("1").unwrap().key;
    for text in ["\"a\"b\"", "\"", "\"\\ud800\"", "\"\\", "{", "[1", "nul", "1 2", "\u{0}", "\"a\nb\""] {
        let mut value = Vec::new();
        cells::begin(&mut value);
        let mut columns: Vec<CellId> =
            ["v", "n", "l"].iter().map(|name| definition.column(name).unwrap().cell).collect();
        columns.sort_unstable();
        columns.iter().for_each(|cell| cells::put(&mut value, *cell, |out| out.extend_from_slice(text.as_bytes())));
        let shown = serde_json::to_string(&definition.to_cells(&key, &value).unwrap()).unwrap();
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&shown).is_ok(), "{shown}");
        let folded = definition.batches(std::iter::once((key.clone(), value.into()))).next().unwrap().unwrap();
        assert_eq!((folded.rows.num_rows(), folded.unfit.len()), (0, 1), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(key in proptest::collection::vec(any::<u8>(), 0..20), mut value in proptest::collection::vec(any::<u8>(), 0..60), old in any::<bool>()) {
        let definition = table(&["id int64", "v utf8", "n decimal(9, 2)", "l list(utf8)"]);
        if let Some(first) = value.first_mut().filter(|_| old) {
            *first = cells::VERSION;
        }
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        let _ = definition.to_cells(&key, &value);
        let folded = definition.batches(std::iter::once((key, value.clone()))).next().unwrap().unwrap();
        prop_assert_eq!(folded.rows.num_rows() + folded.unfit.len(), 1);
        let _ = definition.writes(br#"{"id":1,"v":"x"}"#, &|_| Some(value.clone().into()));
    }

    #[test]
    fn any_lines_are_rows_or_refused(text in proptest::collection::vec(any::<u8>(), 0..100), lines in "(\\{(\"id\":[0-9x]{1,2}|\"v\":\"[a\\\\]\"|,){0,3}\\}\n){0,4}") {
        let definition = table(&["id int64", "v utf8"]);
        for text in [&text[..], lines.as_bytes()] {
            let _ = definition.writes(text, &|_| None);
            let _ = definition.deletes(text);
            let _ = infer("t", text, &["id".to_owned()]);
            let _ = definition.key_of(&String::from_utf8_lossy(text));
        }
    }
}
