//! See `syncline_node::fuzz::ndjson`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::ndjson);
