//! See `syncline_node::fuzz::parquet_footer`.
#![no_main]

syncline_fuzz::target!(syncline_node::fuzz::parquet_footer);
