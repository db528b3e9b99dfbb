//! A Parquet file's footer, held against itself before the library reads it: that makes room for as much as a count says, and
//! goes down once per level of the schema.
//!
//! The footer is a struct of Thrift's compact protocol. Known fields must have the types that Parquet gives them, so that
//! the library cannot take the same bytes for something else; others are stepped over. Not here: what the fields mean.

/// Structs and lists in each other: Parquet's own go down to eight.
const MAX_NESTED: usize = 32;

/// Levels of the schema; a list takes two, and no type of a table is deeper.
const MAX_LEVELS: usize = 2 * 32 + 2;

/// What a field holds.
enum Kind {
    Bool,
    Byte,
    /// A number of any width: all are written alike.
    Number,
    Double,
    Bytes,
    Struct(&'static [(i16, Kind)]),
    List(&'static Kind),
    /// An element of the schema, and how many of those behind it are its children.
    Element,
    Children,
    /// What nothing is known about.
    Any,
}

use Kind::{Any, Bool, Byte, Bytes, Children, Double, Element, List, Number, Struct};

const FILE: Kind = Struct(&[
    (1, Number),
    (2, List(&Element)),
    (3, Number),
    (4, List(&GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY)]))),
    (8, Any),
    (9, Bytes),
]);
const EMPTY: Kind = Struct(&[]);
const ELEMENT: &[(i16, Kind)] = &[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Bytes),
    (5, Children),
    (6, Number),
    (7, Number),
    (8, Number),
    (9, Number),
    (10, LOGICAL),
];
const LOGICAL: Kind = Struct(&[
    (5, Struct(&[(1, Number), (2, Number)])),
    (7, MOMENT),
    (8, MOMENT),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Number)])),
]);
const MOMENT: Kind = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);
const KEY_VALUE: Kind = Struct(&[(1, Bytes), (2, Bytes)]);
const GROUP: Kind = Struct(&[
    (1, List(&CHUNK)),
    (2, Number),
    (3, Number),
    (4, List(&Struct(&[(1, Number), (2, Bool), (3, Bool)]))),
    (5, Number),
    (6, Number),
    (7, Number),
]);
const CHUNK: Kind = Struct(&[
    (1, Bytes),
    (2, Number),
    (3, COLUMN),
    (4, Number),
    (5, Number),
    (6, Number),
    (7, Number),
    (8, Any),
    (9, Bytes),
]);
const COLUMN: Kind = Struct(&[
    (1, Number),
    (2, List(&Number)),
    (3, List(&Bytes)),
    (4, Number),
    (5, Number),
    (6, Number),
    (7, Number),
    (8, List(&KEY_VALUE)),
    (9, Number),
    (10, Number),
    (11, Number),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, Number), (2, Number), (3, Number)]))),
    (14, Number),
    (15, Number),
    (16, Struct(&[(1, Number), (2, List(&Number)), (3, List(&Number))])),
    (17, Struct(&[(1, BOX), (2, List(&Number))])),
]);
const STATISTICS: Kind =
    Struct(&[(1, Bytes), (2, Bytes), (3, Number), (4, Number), (5, Bytes), (6, Bytes), (7, Bool), (8, Bool)]);
const BOX: Kind =
    Struct(&[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)]);

/// Checks a footer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(footer: &[u8]) -> Result<(), &'static str> {
    let mut walk = Walk { rest: footer, children: Vec::new() };
    walk.value(STRUCT, &FILE, 0).ok_or("its footer is not one, or gives counts and lengths that it does not have")?;
    levels(&walk.children).ok_or("its schema has more levels or columns than it says")
}

/// The elements of a schema in order, by how many of those behind them are their children.
fn levels(children: &[i64]) -> Option<()> {
    let mut open: Vec<usize> = Vec::new();
    for (at, children_of) in children.iter().enumerate() {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let count = usize::try_from(*children_of).ok().filter(|count| *count < children.len() - at)?;
        if count > 0 {
            open.push(count);
        }
        if open.len() > MAX_LEVELS {
            return None;
        }
    }
    Some(())
}

const LIST: u8 = 9;
const STRUCT: u8 = 12;

struct Walk<'a> {
    rest: &'a [u8],
    /// Of each element of the schema.
    children: Vec<i64>,
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// Steps over a value of a type on the wire, which has to be the one of its kind.
    fn value(&mut self, ty: u8, kind: &Kind, nested: usize) -> Option<()> {
        let nested = nested + 1;
        match (ty, kind) {
            _ if nested > MAX_NESTED => None,
            // The value of a bool is in its field's type.
            (1 | 2, Bool | Any) => Some(()),
            (3, Byte | Any) => self.skip(1),
            (4..=6, Number | Any) => self.number().map(|_| ()),
            (4..=6, Children) => {
                let number = self.number()?;
                *self.children.last_mut()? = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
                Some(())
            }
            (7, Double | Any) => self.skip(8),
            (8, Bytes | Any) => {
                let length = self.number()?;
                self.skip(length)
            }
            (LIST, List(item)) => self.list(item, nested),
            (LIST, Any) => self.list(&Any, nested),
            (STRUCT, Struct(fields)) => self.fields(fields, nested),
            (STRUCT, Element) => {
                self.children.push(0);
                self.fields(ELEMENT, nested)
            }
            (STRUCT, Any) => self.fields(&[], nested),
            // Sets and maps: there are none, and readers differ in them.
            _ => None,
        }
    }

    fn list(&mut self, item: &Kind, nested: usize) -> Option<()> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
        // Readers differ in lists of bools, too, and every other item has a byte at least.
        if count > self.rest.len() as u64 || count > 0 && matches!(head & 15, 1 | 2) {
            return None;
        }
        (0..count).try_for_each(|_| self.value(head & 15, item, nested))
    }

    fn fields(&mut self, fields: &[(i16, Kind)], nested: usize) -> Option<()> {
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            if head & 15 == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => {
                    let number = self.number()?;
                    i16::try_from((number >> 1).cast_signed() ^ -(number & 1).cast_signed()).ok()?
                }
                delta => id.checked_add(i16::from(delta))?,
            };
            let kind = fields.iter().find(|(known, _)| *known == id).map_or(&Any, |(_, kind)| kind);
            self.value(head & 15, kind, nested)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_as_deep_as_their_counts_say() {
        assert_eq!(levels(&[2, 0, 1, 0]), Some(()));
        assert_eq!(levels(&[0]), Some(()));
        for wrong in [&[i64::from(i32::MAX), 0][..], &[2, 0, 1], &[-1, 0], &[1, 1]] {
            assert_eq!(levels(wrong), None, "{wrong:?}");
        }
        let mut deep = vec![1; MAX_LEVELS];
        deep.push(0);
        assert_eq!(levels(&deep), Some(()));
        deep.insert(0, 1);
        assert_eq!(levels(&deep), None);
        // Beside each other they may be many.
        assert_eq!(levels(&[vec![100_000], vec![0; 100_000]].concat()), Some(()));
    }

    #[test]
    fn counts_are_held_against_the_bytes() {
        let version = [0x15, 2];
        // Two billion row groups, or elements, or a name of two billion bytes.
        for field in [&[0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 7][..], &[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 7]] {
            assert!(check(&[&version[..], field, &[0]].concat()).is_err(), "{field:?}");
        }
        assert!(check(&[&version[..], &[0x58, 0xff, 0xff, 0xff, 0xff, 7, 0]].concat()).is_err());
        // An element with two billion children.
        let element = [0x19, 0x1c, 0x48, 1, b'm', 0x15, 0xfe, 0xff, 0xff, 0xff, 15, 0, 0];
        assert!(check(&[&version[..], &element].concat()).is_err());
        let element = [0x19, 0x1c, 0x48, 1, b'm', 0x15, 0, 0, 0];
        assert_eq!(check(&[&version[..], &element].concat()), Ok(()));
        // A list where a struct is to be, and a struct in a struct without an end.
        assert!(check(&[0x4c, 0, 0]).is_err());
        assert!(check(&[0xdc; 100]).is_err());
        assert!(check(&[]).is_err());
    }
}
