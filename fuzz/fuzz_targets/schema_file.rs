//! See `syncline_node::fuzz::schema_file`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::schema_file);
