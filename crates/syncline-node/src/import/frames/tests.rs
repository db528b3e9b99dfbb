use std::io::Read as _;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};

use super::*;

/// A stream of one batch of 10,000 numbers.
fn stream(compression: Option<CompressionType>) -> Vec<u8> {
    let numbers: ArrayRef = Arc::new((0..10_000).map(|n| n * n % 1_000).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("one column");
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("it is built in");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("to memory");
    writer.write(&batch).and_then(|()| writer.finish()).expect("to memory");
    writer.into_inner().expect("to memory")
}

/// All that `Frames` passes on.
fn passed(bytes: &[u8], size: Option<u64>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Frames::new(bytes, size).read_to_end(&mut out).map(|_| out).map_err(|error| error.to_string())
}

/// Where the body of the batch begins, and where its length stands in the head.
fn places_of(bytes: &[u8]) -> (usize, usize) {
    let schema = i32::from_le_bytes(bytes[4..8].try_into().expect("four")) as usize;
    let start = 8 + schema;
    let length = i32::from_le_bytes(bytes[start + 4..start + 8].try_into().expect("four")) as usize;
    let head = &bytes[start + 8..start + 8 + length];
    let body = root_as_message(head).expect("it was written").bodyLength().to_le_bytes();
    let at = head.windows(8).position(|eight| eight == body).expect("the length is in the head");
    (start + 8 + length, start + 8 + at)
}

#[test]
fn sound_streams_pass_as_they_are() {
    for compression in [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)] {
        let bytes = stream(compression);
        for size in [None, Some(bytes.len() as u64)] {
            assert_eq!(passed(&bytes, size).as_ref(), Ok(&bytes), "{compression:?} {size:?}");
        }
        let read = StreamReader::try_new(Frames::new(&bytes[..], None), None).expect("it is a stream");
        assert_eq!(read.map(|batch| batch.expect("it is whole").num_rows()).sum::<usize>(), 10_000);
    }
}

#[test]
fn no_more_is_promised_than_there_is() {
    for compression in [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)] {
        let sound = stream(compression);
        let (body, length) = places_of(&sound);
        for byte in 2..7 {
            let mut bytes = sound.clone();
            bytes[length + byte] ^= 0x10;
            for size in [None, Some(bytes.len() as u64)] {
                let error = passed(&bytes, size).expect_err("its body is shorter");
                assert!(error.starts_with("is damaged: "), "{error}");
            }
        }
        // The first buffer that has bytes begins with what it was before compression.
        for byte in 4..7 {
            let mut bytes = sound.clone();
            bytes[body + byte] ^= 0x10;
            for size in [None, Some(bytes.len() as u64)] {
                let damaged = passed(&bytes, size);
                assert_eq!(damaged.is_err(), compression.is_some(), "{compression:?} {byte}: {damaged:?}");
            }
        }
        let cut = passed(&sound[..body + 10], None).expect_err("it ends inside of the body");
        assert!(cut.contains("ends inside of a batch"), "{cut}");
    }
}

#[test]
fn a_batch_that_was_too_long_before_compression_is_refused() {
    // Each of its buffers may be what it says, all of them together are not.
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1 << 20]));
    let columns = (0..130).map(|n| (format!("c{n}"), Arc::clone(&zeros)));
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).expect("it is built in");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("to memory");
    writer.write(&batch).and_then(|()| writer.finish()).expect("to memory");
    let bytes = writer.into_inner().expect("to memory");
    let error = passed(&bytes, Some(bytes.len() as u64)).expect_err("a gigabyte and more");
    assert!(error.contains("write batches of fewer rows"), "{error}");
}
