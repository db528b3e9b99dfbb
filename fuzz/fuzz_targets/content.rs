//! See `syncline_tree::fuzz::content`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::content);
