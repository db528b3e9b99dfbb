//! See `syncline_node::fuzz::csv`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::csv);
