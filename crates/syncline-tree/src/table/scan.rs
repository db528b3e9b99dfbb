//! Reading rows.
