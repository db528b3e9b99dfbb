use proptest::prelude::*;

use super::*;

fn written(cells: &[(CellId, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out);
    cells.iter().for_each(|(id, text)| put(&mut out, *id, |out| out.extend_from_slice(text)));
    out
}

fn read(bytes: &[u8]) -> Result<Vec<(CellId, Vec<u8>)>, Fault> {
    let cells = Cells::read(bytes)?.all()?;
    Ok(cells.into_iter().map(|(id, text)| (id, text.to_vec())).collect())
}

#[test]
fn the_number_of_a_column_is_of_its_origin() {
    let digest = *Hash::of("naïve".as_bytes()).as_bytes();
    assert_eq!(CellId::of("naïve").as_u32().to_le_bytes(), digest[..4]);
}

#[test]
fn lengths_are_in_their_shortest_form() {
    for (len, bytes_of_length) in [(1, 1), (0x7f, 1), (0x80, 2), (0x3fff, 2), (0x4000, 3), (0x20_0000, 4)] {
        let cells = vec![(CellId(7), vec![b'1'; len]), (CellId(8), b"2".to_vec())];
        let bytes = written(&cells);
        assert_eq!(bytes.len(), 1 + 4 + bytes_of_length + len + 4 + 1 + 1, "{len}");
        assert_eq!(read(&bytes).unwrap(), cells, "{len}");
    }
}

#[test]
fn what_is_no_value_is_called_so() {
    let wrong: &[(&[u8], &str)] = &[
        (b"", "it is empty"),
        (b"\0", "no version"),
        (b"\x03", "version 3 and this program knows 2: update it"),
        (b"\x02", "does not end"),
        (b"\x02\x02a", "its marks are longer"),
        (b"\x02\x81\0aabcd\x01x", "longer than it has to be"),
        (b"\x02\x01aabcd\0", "has no text"),
        (b"\x01abc", "ends in the number"),
        (b"\x01abcd", "does not end"),
        (b"\x01abcd\x81", "does not end"),
        (b"\x01abcd\x02x", "longer than what is left"),
        (b"\x01abcd\xff\xff\xff\xff\xff\xff\xff\xff\x7fx", "longer than what is left"),
        (b"\x01abcd\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", "does not end"),
        (b"\x01abcd\x81\0x", "longer than it has to be"),
        (b"\x01abcd\0", "has no text"),
        (b"\x01abcd\x01xabcd\x01x", "out of order"),
        (b"\x01abcd\x01xabcc\x01x", "out of order"),
    ];
    for (bytes, why) in wrong {
        let fault = read(bytes).expect_err(why).to_string();
        assert!(fault.contains(why), "{bytes:?}: {fault}");
    }
}

#[test]
fn marks_stand_before_the_cells() {
    let mut bytes = Vec::new();
    begin_marked(&mut bytes, b"marks");
    put(&mut bytes, CellId(7), |out| out.push(b'1'));
    assert_eq!(read(&bytes).unwrap(), [(CellId(7), b"1".to_vec())]);
    let plain = written(&[(CellId(7), b"1".to_vec())]);
    assert_eq!(split(&bytes).unwrap(), (Some(&b"marks"[..]), &plain[1..]));
    assert_eq!(split(&plain).unwrap(), (None, &plain[1..]));
}

proptest! {
    #[test]
    fn cells_come_back(cells in proptest::collection::btree_map(any::<u32>(), proptest::collection::vec(any::<u8>(), 1..300), 0..8)) {
        let cells: Vec<_> = cells.into_iter().map(|(id, text)| (CellId(id), text)).collect();
        prop_assert_eq!(read(&written(&cells)).unwrap(), cells);
    }

    #[test]
    fn a_value_has_one_form(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        if let Ok(cells) = read(&bytes) {
            prop_assert_eq!(written(&cells), bytes);
        }
    }
}
