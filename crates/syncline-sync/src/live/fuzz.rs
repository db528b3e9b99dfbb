//! What has to hold of any bytes that lie in a log or come from a peer: the work of the fuzz targets `live_record` and
//! `live_message`.

use bytes::Bytes;

use super::{Message, Record};

/// Bytes that are a record are the only ones that are this record.
pub(crate) fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(record.encode(), data, "{record:?} has two forms");
    }
}

/// Bytes that are a message are the only ones that are this message.
pub(crate) fn message(data: &[u8]) {
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(message.encode(), data, "{message:?} has two forms");
    }
}
