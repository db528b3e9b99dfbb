//! Sources: what format they are, and their bytes, decompressed and counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Compression, Error, Format, Input, Result};

/// Format and compression by a file name's extension.
pub(crate) fn by_extension(name: &str) -> (Option<Format>, Compression) {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Some(Format::Csv),
        Some("tsv" | "tab") => Some(Format::Tsv),
        Some("ndjson" | "jsonl" | "jsonlines") => Some(Format::Ndjson),
        Some("parquet" | "pq") => Some(Format::Parquet),
        Some("arrow" | "feather" | "ipc") => Some(Format::Arrow),
        Some("arrows") => Some(Format::ArrowStream),
        _ => None,
    };
    (format, compression)
}

/// Bytes that tell how a text is compressed.
const MAGIC: usize = 4;

/// Compression by the first bytes: no text begins with these.
fn by_magic(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Bytes read so far, shared between the threads that read and whoever reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what passes through.
pub(super) struct Counted<R> {
    inner: R,
    counter: Counter,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.counter.add(read as u64);
        Ok(read)
    }
}

/// The bytes that a decoder reads, and whether it is they that could not be read.
struct Watched<R> {
    inner: R,
    failed: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        let failed = read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        self.failed.fetch_or(failed, Ordering::Relaxed);
        read
    }
}

/// What a decoder gives. An error that is not one of reading says that what it was given is damaged.
struct Decoded<R> {
    decoder: R,
    failed: Arc<AtomicBool>,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted || self.failed.load(Ordering::Relaxed) {
                return error;
            }
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "its compressed bytes end in the middle".to_owned(),
                _ => format!("it cannot be decompressed ({error})"),
            };
            io::Error::new(io::ErrorKind::InvalidInput, format!("is damaged: {why}; get it again"))
        })
    }
}

/// A source whose format is known.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) compression: Compression,
    pub(super) input: Input,
    /// Size in bytes where it is known.
    pub(super) size: Option<u64>,
}

impl Source {
    pub(super) fn new(input: Input, format: Option<Format>) -> Result<Self> {
        let name = match &input {
            Input::Path(path) => path.display().to_string(),
            Input::Stdin => "standard input".to_owned(),
            Input::Part { name, .. } | Input::Reader { name, .. } => name.clone(),
        };
        let (guessed, compression) = by_extension(&name);
        let size = match &input {
            Input::Path(path) => {
                let metadata = std::fs::metadata(path).map_err(|source| Error::Read { name: name.clone(), source })?;
                if metadata.is_dir() {
                    return Err(Error::source(&name, "is a directory; name the files in it"));
                }
                metadata.is_file().then_some(metadata.len())
            }
            Input::Part { bytes, .. } => Some(*bytes),
            Input::Stdin | Input::Reader { .. } => None,
        };
        let format = format.or(guessed).ok_or_else(|| {
            Error::source(&name, "its name does not say its format; give --format csv, tsv, ndjson, parquet or arrow")
        })?;
        Ok(Self { name, format, compression, input, size })
    }

    /// Whether it can be read more than once.
    pub(super) fn rereadable(&self) -> bool {
        matches!(self.input, Input::Path(_) | Input::Part { .. }) && self.size.is_some()
    }

    /// Whether positions in it are lines.
    pub(super) const fn has_lines(&self) -> bool {
        matches!(self.format, Format::Csv | Format::Tsv | Format::Ndjson)
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Read { name: self.name.clone(), source }
    }

    /// Its bytes, decompressed. A stream can be opened only once.
    pub(super) fn open(&mut self, counter: &Counter) -> Result<Box<dyn Read + Send>> {
        let raw: Box<dyn Read + Send> = match &mut self.input {
            Input::Path(path) => {
                Box::new(File::open(&*path).map_err(|source| Error::Read { name: self.name.clone(), source })?)
            }
            Input::Part { name, file, start, bytes } => {
                let opened = File::open(&*file).and_then(|mut file| {
                    file.seek(SeekFrom::Start(*start))?;
                    Ok(file.take(*bytes))
                });
                Box::new(opened.map_err(|source| Error::Read { name: name.clone(), source })?)
            }
            Input::Stdin => Box::new(io::stdin()),
            Input::Reader { reader, .. } => std::mem::replace(reader, Box::new(io::empty())),
        };
        let mut raw: Box<dyn Read + Send> = Box::new(Counted { inner: raw, counter: counter.clone() });
        let mut compression = self.compression;
        if compression == Compression::None && self.has_lines() {
            let mut first = Vec::with_capacity(MAGIC);
            (&mut raw).take(MAGIC as u64).read_to_end(&mut first).map_err(|source| self.failed(source))?;
            compression = by_magic(&first);
            raw = Box::new(io::Cursor::new(first).chain(raw));
        }
        if compression == Compression::None {
            return Ok(raw);
        }
        let failed = Arc::<AtomicBool>::default();
        let raw = BufReader::with_capacity(1 << 18, Watched { inner: raw, failed: failed.clone() });
        let decoder: Box<dyn Read + Send> = match compression {
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(raw).map_err(|source| self.failed(source))?),
            _ => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        };
        Ok(Box::new(Decoded { decoder, failed }))
    }

    /// Its bytes as a file that can be read anywhere: the file itself, or a nameless temporary copy of a stream.
    pub(super) fn seekable(&mut self, temp_dir: &Path) -> Result<File> {
        let file = match &self.input {
            _ if self.compression != Compression::None => None,
            Input::Path(path) => Some((path, None)),
            Input::Part { file, start: 0, bytes, .. } => Some((file, Some(*bytes))),
            _ => None,
        };
        if let Some((path, bytes)) = file {
            let file = File::open(path).map_err(|source| self.failed(source))?;
            let len = file.metadata().map_err(|source| self.failed(source))?.len();
            if bytes.is_none_or(|bytes| bytes == len) {
                return Ok(file);
            }
        }
        let mut reader = self.open(&Counter::default())?;
        let written = |source| Error::Write { name: temp_dir.display().to_string(), source };
        std::fs::create_dir_all(temp_dir).map_err(written)?;
        let mut file = tempfile::tempfile_in(temp_dir).map_err(written)?;
        let mut reader = BufReader::with_capacity(1 << 18, &mut reader);
        loop {
            let part = reader.fill_buf().map_err(|source| self.failed(source))?;
            if part.is_empty() {
                break;
            }
            file.write_all(part).map_err(written)?;
            let read = part.len();
            reader.consume(read);
        }
        file.rewind().map_err(written)?;
        self.size = Some(file.metadata().map_err(written)?.len());
        Ok(file)
    }
}
