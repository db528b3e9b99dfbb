//! Tests of live replication that need more than one of its modules.

mod arbitrary;
mod bytes;
mod compare;
mod coverage;
mod golden;
mod hostile;
mod limits;
mod nodes;
mod overhead;
mod parts;
mod rows;
mod salvage;
mod scopes;
mod shell;
mod strict;
mod trust;
