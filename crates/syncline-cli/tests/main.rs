//! The command from outside: the real binary, its output and its exit codes.

mod buckets;
mod faults;
mod full;
mod kills;
mod live;
mod live_client;
mod live_conflicts;
mod live_file_conflicts;
mod live_file_writes;
mod live_files;
mod live_keys;
mod live_members;
mod live_parts;
mod live_reads;
mod live_repair;
mod live_scopes;
mod live_strict;
mod live_write;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod nodes;
mod peers;
mod support;
mod tags;
mod verbs;
