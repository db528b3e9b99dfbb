//! See `syncline_tree::fuzz::schema`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::schema);
