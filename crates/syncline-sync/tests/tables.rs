//! Sessions over real tables.
