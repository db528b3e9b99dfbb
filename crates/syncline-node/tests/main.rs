//! The verbs together, on real directories.

mod columns;
mod cut_off;
mod damage;
mod flows;
mod history;
mod merges;
mod partial;
mod rekeyed;
mod resumed;
mod short_histories;
mod staged;
mod stopped;
mod support;
mod transfers;
mod undo;
