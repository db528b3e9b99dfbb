//! What has to hold of any bytes that lie in a log or come from a peer: the work of the fuzz targets `live_record`,
//! `live_message` and `live_run`.

use bytes::Bytes;

use super::{Group, Message, Record};

/// Bytes that are records are the only ones that are these records.
pub(crate) fn record(data: &[u8]) {
    if let Ok(records) = Record::decode(Bytes::copy_from_slice(data)) {
        let mut group = Group::default();
        for record in &records {
            group.push(record);
        }
        assert_eq!(group.take(), data, "{records:?} have two forms");
    }
}

/// Bytes that are a message are the only ones that are this message.
pub(crate) fn message(data: &[u8]) {
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(message.encode(), data, "{message:?} has two forms");
    }
}

/// Bytes that may stand in a run are rows by key, or nothing.
pub(crate) fn run(data: &[u8]) {
    super::runs::any_bytes(&Bytes::copy_from_slice(data));
}
