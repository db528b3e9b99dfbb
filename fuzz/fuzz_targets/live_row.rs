//! See `syncline_node::fuzz::live_row`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::live_row);
