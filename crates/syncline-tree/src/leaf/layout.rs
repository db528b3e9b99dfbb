//! Layout of a column: a tree of nodes, each with the buffers its kind says.
//!
//! A node is generic over what stands for a buffer: nothing (the shape alone), a range of a leaf's bytes, a slice, an
//! Arrow buffer. Everything that works on leaves (canonical bytes, codec, patches, Arrow) meets in this type.
//!
//! Not here: types and names (`crate::schema`).

use std::fmt;
use std::ops::{Deref, Range};

use super::wire::{Fault, Reader, put_varint};

/// Neither a leaf nor anything counted inside it is larger.
pub(crate) const MAX_LEAF: usize = 256 << 20;
/// More rows than changes for one leaf ever make. Columns that are all null take no bytes, so the length does not bound them.
pub(crate) const MAX_ROWS: usize = 1 << 22;
/// Nested types are at most this deep.
pub(crate) const MAX_DEPTH: usize = 32;
/// Buffers start at multiples of this.
pub(crate) const ALIGN: usize = 16;

const NULLS: u8 = 0x80;

/// What buffers a node has, and how its values are to be understood by codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bitmap.
    Bits,
    /// Signed integers of `1 << n` bytes: ints, decimals, dates, times.
    Int(u8),
    /// Unsigned integers of `1 << n` bytes.
    UInt(u8),
    /// Floats of `1 << n` bytes.
    Float(u8),
    /// Any `1 << n` bytes.
    Opaque(u8),
    /// Offsets and UTF-8.
    Text,
    /// Offsets and bytes.
    Bytes,
    /// Offsets and one child.
    List,
    /// One child, `size` values for each slot.
    FixedList(u32),
    /// Children, one value for each slot.
    Struct(u32),
}

impl Kind {
    /// Whether a cell of a column of this kind may lie outside of the leaf.
    pub(crate) const fn may_be_long(self) -> bool {
        self.has_offsets() || matches!(self, Self::FixedList(_) | Self::Struct(_))
    }

    /// Bytes per value of a fixed-width kind.
    pub(crate) const fn width(self) -> Option<usize> {
        match self {
            Self::Int(n) | Self::UInt(n) | Self::Float(n) | Self::Opaque(n) => Some(1 << n),
            _ => None,
        }
    }

    /// Whether there are offsets.
    pub(crate) const fn has_offsets(self) -> bool {
        matches!(self, Self::Text | Self::Bytes | Self::List)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Bits => 1,
            Self::Text => 2,
            Self::Bytes => 3,
            Self::List => 4,
            Self::FixedList(_) => 5,
            Self::Struct(_) => 6,
            Self::Int(n) => 0x10 | n,
            Self::UInt(n) => 0x20 | n,
            Self::Float(n) => 0x30 | n,
            Self::Opaque(n) => 0x40 | n,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits => f.write_str("bits"),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::List => f.write_str("list"),
            Self::FixedList(size) => write!(f, "list of {size}"),
            Self::Struct(n) => write!(f, "struct of {n}"),
            Self::Int(n) => write!(f, "int of {} bytes", 1 << n),
            Self::UInt(n) => write!(f, "unsigned int of {} bytes", 1 << n),
            Self::Float(n) => write!(f, "float of {} bytes", 1 << n),
            Self::Opaque(n) => write!(f, "{} bytes", 1 << n),
        }
    }
}

/// A column or a part of a nested one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node<B> {
    pub(crate) kind: Kind,
    /// Slots.
    pub(crate) len: usize,
    /// One bit per slot; absent when no slot is null.
    pub(crate) validity: Option<B>,
    /// Bits, fixed-width values, or `len + 1` offsets of 4 bytes. Empty for fixed lists and structs.
    pub(crate) values: B,
    /// What offsets point into: text or bytes. Empty for every other kind.
    pub(crate) data: B,
    /// Length of `data`.
    pub(crate) data_len: usize,
    pub(crate) children: Vec<Node<B>>,
}

/// A column of a leaf: its id and its node.
pub(crate) type ColumnNode<B> = (u32, Node<B>);

impl<B> Node<B> {
    /// The same tree over other buffers; `f` sees the buffers in their order in a leaf.
    pub(crate) fn map<'a, C>(&'a self, f: &mut impl FnMut(&'a B) -> C) -> Node<C> {
        let validity = self.validity.as_ref().map(&mut *f);
        Node {
            kind: self.kind,
            len: self.len,
            validity,
            values: f(&self.values),
            data: f(&self.data),
            data_len: self.data_len,
            children: self.children.iter().map(|child| child.map(f)).collect(),
        }
    }

    /// Length of the buffer `values`.
    pub(crate) fn values_len(&self) -> usize {
        match self.kind {
            Kind::Bits => self.len.div_ceil(8),
            Kind::Text | Kind::Bytes | Kind::List => 4 * (self.len + 1),
            Kind::FixedList(_) | Kind::Struct(_) => 0,
            Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => self.len << n,
        }
    }

    /// Appends the node's shape.
    pub(crate) fn describe(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code() | if self.validity.is_some() { NULLS } else { 0 });
        match self.kind {
            Kind::Text | Kind::Bytes => put_varint(out, self.data_len as u64),
            Kind::List => put_varint(out, self.children[0].len as u64),
            Kind::FixedList(n) | Kind::Struct(n) => put_varint(out, u64::from(n)),
            _ => {}
        }
        self.children.iter().for_each(|child| child.describe(out));
    }

    /// Bytes all buffers take in a leaf.
    pub(crate) fn size(&self) -> usize {
        let own = if self.validity.is_some() { pad(self.len.div_ceil(8)) } else { 0 };
        own + pad(self.values_len()) + pad(self.data_len) + self.children.iter().map(Self::size).sum::<usize>()
    }
}

impl Node<()> {
    /// Reads a shape of `len` slots. `budget` is what all buffers together may still take.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize, budget: &mut usize, depth: usize) -> Result<Self, Fault> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let byte = reader.byte()?;
        let code = byte & !NULLS;
        let mut node = Self {
            kind: Kind::Bits,
            len,
            validity: (byte & NULLS != 0).then_some(()),
            values: (),
            data: (),
            data_len: 0,
            children: Vec::new(),
        };
        let mut children = (0, 0);
        match (code >> 4, code & 15) {
            (0, 1) => {}
            (0, 2 | 3) => {
                node.kind = if code == 2 { Kind::Text } else { Kind::Bytes };
                node.data_len = reader.count(*budget)?;
            }
            (0, 4) => {
                node.kind = Kind::List;
                children = (1, reader.count(MAX_LEAF)?);
            }
            (0, 5) => {
                let size = reader.count(MAX_LEAF)?.max(1);
                node.kind = Kind::FixedList(size as u32);
                children = (1, len.checked_mul(size).filter(|n| *n <= MAX_LEAF).ok_or("list is too large")?);
            }
            (0, 6) => {
                let count = reader.count(reader.left())?;
                node.kind = Kind::Struct(count as u32);
                children = (count, len);
            }
            (1, n @ 0..=5) => node.kind = Kind::Int(n),
            (2, n @ 0..=5) => node.kind = Kind::UInt(n),
            (3, n @ 1..=3) => node.kind = Kind::Float(n),
            (4, n @ 0..=5) => node.kind = Kind::Opaque(n),
            _ => return Err(format!("unknown layout code {byte:#x}")),
        }
        *budget = budget.checked_sub(node.size()).ok_or_else(|| format!("a column of {len} slots is too large"))?;
        for _ in 0..children.0 {
            node.children.push(Self::read(reader, children.1, budget, depth + 1)?);
        }
        Ok(node)
    }

    /// Gives each buffer its range, from `at` on.
    pub(crate) fn place(&self, at: &mut usize) -> Node<Range<usize>> {
        let mut next = |len: usize| {
            let range = *at..*at + len;
            *at += pad(len);
            range
        };
        let validity = self.validity.map(|()| next(self.len.div_ceil(8)));
        let values = next(self.values_len());
        let data = next(self.data_len);
        let children = self.children.iter().map(|child| child.place(at)).collect();
        Node { kind: self.kind, len: self.len, validity, values, data, data_len: self.data_len, children }
    }
}

impl<B: Deref<Target = [u8]>> Node<B> {
    /// The same over slices.
    pub(crate) fn slices(&self) -> Node<&[u8]> {
        self.map(&mut |buffer| &**buffer)
    }

    /// Appends all buffers, each padded.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for buffer in self.validity.iter().chain([&self.values, &self.data]) {
            out.extend_from_slice(buffer);
            out.resize(out.len().next_multiple_of(ALIGN), 0);
        }
        self.children.iter().for_each(|child| child.write(out));
    }

    /// Whether every slot is null (true of no slot).
    pub(crate) fn all_null(&self) -> bool {
        self.len == 0 || self.validity.as_ref().is_some_and(|bits| bits.iter().all(|byte| *byte == 0))
    }

    /// Whether slot `i` is not null.
    pub(crate) fn valid(&self, i: usize) -> bool {
        self.validity.as_ref().is_none_or(|bits| bit(bits, i))
    }

    /// The offsets' range of slot `i`; only of kinds that have them.
    pub(crate) fn span(&self, i: usize) -> Range<usize> {
        let values = &*self.values;
        offset(values, i)..offset(values, i + 1)
    }

    /// Whether these slots are blank: valid and zero or empty, with all below them.
    pub(crate) fn is_blank(&self, slots: Range<usize>) -> bool {
        let valid = |bits: &B| slots.clone().all(|i| bit(bits, i));
        self.validity.as_ref().is_none_or(valid)
            && match self.kind {
                Kind::Bits => !slots.clone().any(|i| bit(&self.values, i)),
                Kind::Text | Kind::Bytes | Kind::List => {
                    offset(&self.values, slots.start) == offset(&self.values, slots.end)
                }
                Kind::FixedList(size) => {
                    let size = size as usize;
                    self.children[0].is_blank(slots.start * size..slots.end * size)
                }
                Kind::Struct(_) => self.children.iter().all(|child| child.is_blank(slots.clone())),
                Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => {
                    self.values[slots.start << n..slots.end << n].iter().all(|byte| *byte == 0)
                }
            }
    }

    /// Whether null slots of a fixed width hold zeroes, as they should. No reader looks there unless it verifies deeply, and what
    /// is stored by column does not keep it.
    pub(crate) fn is_zero_under_nulls(&self) -> bool {
        let own = match (&self.validity, self.kind.width()) {
            (Some(bits), Some(width)) => {
                let mut slots = self.values.chunks_exact(width).enumerate();
                slots.all(|(i, slot)| bit(bits, i) || slot.iter().all(|byte| *byte == 0))
            }
            _ => true,
        };
        own && self.children.iter().all(Self::is_zero_under_nulls)
    }

    /// Checks what the shape does not say: bitmaps' tails, offsets, absence of needless bitmaps.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if let Some(bits) = &self.validity {
            check_bits(bits, self.len)?;
            if self.len == count_ones(bits) {
                return Err("a bitmap of nulls without a null".to_owned());
            }
        }
        if self.kind == Kind::Bits {
            check_bits(&self.values, self.len)?;
        }
        if self.kind.has_offsets() {
            self.check_offsets()?;
        }
        self.children.iter().try_for_each(Self::check)
    }

    fn check_offsets(&self) -> Result<(), Fault> {
        let end = self.children.first().map_or(self.data_len, |child| child.len);
        let values = &*self.values;
        let mut last = 0_u32;
        let mut sorted = values[..4] == [0; 4];
        for four in values.as_chunks::<4>().0 {
            let next = u32::from_le_bytes(*four);
            sorted &= next >= last;
            last = next;
        }
        if !sorted || last as usize != end {
            return Err("offsets are out of order".to_owned());
        }
        if self.validity.is_some() && (0..self.len).any(|i| !self.valid(i) && !self.span(i).is_empty()) {
            return Err("a null slot is not empty".to_owned());
        }
        Ok(())
    }
}

/// The next multiple of [`ALIGN`].
pub(crate) const fn pad(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Bit `i`.
pub(crate) fn bit(bits: &[u8], i: usize) -> bool {
    bits[i / 8] >> (i % 8) & 1 == 1
}

/// Offset `i`.
pub(crate) fn offset(values: &[u8], i: usize) -> usize {
    u32::from_le_bytes(values[4 * i..4 * i + 4].try_into().expect("four bytes")) as usize
}

/// How many bits are set.
pub(crate) fn count_ones(bits: &[u8]) -> usize {
    let (words, rest) = bits.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word).count_ones() as usize).sum::<usize>()
        + rest.iter().map(|byte| byte.count_ones() as usize).sum::<usize>()
}

/// Clears the bits after the first `len`.
pub(crate) fn clear_tail(bits: &mut [u8], len: usize) {
    if !len.is_multiple_of(8) {
        bits[len / 8] &= (1 << (len % 8)) - 1;
    }
}

fn check_bits(bits: &[u8], len: usize) -> Result<(), Fault> {
    if !len.is_multiple_of(8) && bits[len / 8] >> (len % 8) != 0 {
        return Err("bits after the end of a bitmap".to_owned());
    }
    Ok(())
}
