//! What an Arrow file says about the places and the sizes of its parts, held against the file before a reader makes room
//! for them.

use std::io::Read as _;

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, CompressionType, Message, RecordBatch, root_as_footer, root_as_message};

use super::guard::guarded;
use super::positioned::Positioned;
use super::{Error, Result};

/// Bytes behind the footer: its length and a magic.
const END: u64 = 10;
/// What a message's length begins with, in files of today.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// How much larger than its bytes a compressed buffer can be: zstd makes 128 KiB of four bytes at best, LZ4 255 bytes of one. And
/// so much more, for what is nearly nothing.
const MOST_ZSTD: u64 = 1 << 15;
const MOST_LZ4: u64 = 255;
const MOST_OF_NONE: u64 = 128 << 10;
/// The most bytes that a batch may have before compression.
const BATCH_MAX: u64 = 1 << 30;

struct File<'a> {
    name: &'a str,
    bytes: &'a Positioned,
}

/// Checks the places of all parts, and the sizes of those that are compressed.
pub(super) fn check(name: &str, file: &Positioned) -> Result<()> {
    let file = File { name, bytes: file };
    let size = file.bytes.size();
    let end = file.read(size.saturating_sub(END), END)?;
    let end = <[u8; END as usize]>::try_from(end).map_err(|_| file.wrong("it is too short for an Arrow file"))?;
    let length = read_footer_length(end).map_err(|error| Error::source(name, error))? as u64;
    let start = size.checked_sub(END + length).ok_or_else(|| file.wrong("its footer is longer than it is"))?;
    let footer = file.read(start, length)?;
    guarded(name, || Ok::<_, Error>(file.check_blocks(&footer)))?
}

impl File<'_> {
    fn wrong(&self, what: &str) -> Error {
        Error::source(self.name, format!("is damaged: {what}"))
    }

    fn read(&self, start: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut read = Vec::new();
        let taken = self.bytes.at(start).take(bytes).read_to_end(&mut read);
        taken.map(|_| read).map_err(|source| Error::Read { name: self.name.to_owned(), source })
    }

    fn check_blocks(&self, footer: &[u8]) -> Result<()> {
        let footer = root_as_footer(footer).map_err(|error| self.wrong(&format!("its footer: {error}")))?;
        let mut blocks =
            footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
        blocks.try_for_each(|block| self.check(block))
    }

    fn check(&self, block: &Block) -> Result<()> {
        let parts = [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()];
        let end = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(u64::try_from(*part).ok()?));
        if end.is_none_or(|end| end > self.bytes.size()) {
            return Err(self.wrong("its footer names parts that lie outside of it"));
        }
        let (start, head) = (block.offset().unsigned_abs(), u64::from(block.metaDataLength().unsigned_abs()));
        let bytes = self.read(start, head)?;
        let text = bytes.get(if bytes.starts_with(&CONTINUATION) { 8 } else { 4 }..).unwrap_or_default();
        // The reader says what is wrong with one that is no message.
        match root_as_message(text).ok().and_then(|message| batch_of(&message)) {
            Some(batch) if batch.compression().is_some() => self.check_compressed(&batch, start + head),
            _ => Ok(()),
        }
    }

    fn check_compressed(&self, batch: &RecordBatch<'_>, body: u64) -> Result<()> {
        let mut failed = None;
        let prefix = |offset: u64| {
            let start = body.checked_add(offset).filter(|start| *start <= self.bytes.size())?;
            match self.read(start, 8) {
                Ok(prefix) => prefix.try_into().ok(),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        };
        let checked = check_compressed(batch, prefix);
        failed.map_or(Ok(()), Err)?;
        checked.map_err(|why| self.wrong(&why))
    }
}

/// Checks what the buffers of a compressed batch say that they were: a reader makes room for that. A buffer begins with its size
/// before compression, or with -1 when it is not compressed; `prefix` gives the first eight bytes of the one at an offset of the
/// body.
pub(super) fn check_compressed(
    batch: &RecordBatch<'_>,
    mut prefix: impl FnMut(u64) -> Option<[u8; 8]>,
) -> Result<(), String> {
    let lz4 = batch.compression().is_some_and(|compression| compression.codec() == CompressionType::LZ4_FRAME);
    let times = if lz4 { MOST_LZ4 } else { MOST_ZSTD };
    let mut all = 0_u64;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0) {
        let length = buffer.length().unsigned_abs();
        let first = u64::try_from(buffer.offset()).ok().and_then(&mut prefix);
        let size = i64::from_le_bytes(first.ok_or("a batch has buffers that lie outside of it")?);
        let Ok(size) = u64::try_from(size) else { continue };
        if size > length.saturating_mul(times).saturating_add(MOST_OF_NONE) {
            return Err(format!("{length} compressed bytes say that they were {size}"));
        }
        all = all.saturating_add(size);
    }
    if all > BATCH_MAX {
        return Err(format!("a batch of {all} bytes before compression is too long: write batches of fewer rows"));
    }
    Ok(())
}

/// The batch of rows, or of a dictionary's values, that a message is.
pub(super) fn batch_of<'a>(message: &Message<'a>) -> Option<RecordBatch<'a>> {
    message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data())
}
