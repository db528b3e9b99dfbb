//! See `syncline_tree::fuzz::node_patch`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::node_patch);
