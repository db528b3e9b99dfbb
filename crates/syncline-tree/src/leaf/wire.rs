//! Small numbers in bytes: minimal LEB128, zigzag, and a reader that never runs over the end.
//!
//! Not here: what the numbers mean.

/// Why bytes cannot be read; becomes the reason in a `corrupt` error.
pub(crate) type Fault = String;

/// Appends a LEB128 number of at most 10 bytes.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    put_varint128(out, u128::from(value));
}

/// Appends a LEB128 number of at most 19 bytes.
pub(crate) fn put_varint128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small magnitudes of either sign as small numbers.
pub(crate) const fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// Reads forward through bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        if count > self.left() {
            return Err(format!("{count} bytes wanted at {}, {} left", self.at, self.left()));
        }
        let piece = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(piece)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    /// The next bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N)?.try_into().expect("take gives exactly N bytes"))
    }

    /// The next number of [`put_varint128`]; refuses longer forms of the same number.
    pub(crate) fn varint128(&mut self) -> Result<u128, Fault> {
        let mut value = 0_u128;
        for i in 0..19 {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if i == 18 && part > 3 {
                return Err(format!("number at {} is too large", self.at));
            }
            value |= part << (7 * i);
            if byte < 0x80 {
                if byte == 0 && i > 0 {
                    return Err(format!("number at {} is longer than needed", self.at));
                }
                return Ok(value);
            }
        }
        Err(format!("number at {} has no end", self.at))
    }

    /// The next number of [`put_varint`].
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0x80);
        if byte < 0x80 {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        u64::try_from(self.varint128()?).map_err(|_| format!("number at {} is too large", self.at))
    }

    /// The next number, at most `limit`.
    pub(crate) fn count(&mut self, limit: usize) -> Result<usize, Fault> {
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(value) if value <= limit => Ok(value),
            _ => Err(format!("count {value} at {} is over {limit}", self.at)),
        }
    }
}
