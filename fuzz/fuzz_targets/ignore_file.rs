//! See `syncline_node::fuzz::ignore_file`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::ignore_file);
