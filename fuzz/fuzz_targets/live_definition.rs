//! See `syncline_node::fuzz::live_definition`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::live_definition);
