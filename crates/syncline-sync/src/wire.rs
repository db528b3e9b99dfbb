//! Messages of a session and their bytes.
