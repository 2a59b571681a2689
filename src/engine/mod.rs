//! Orchestration: discovery, lane processes, scan, missing, repair.
//!
//! May not draw, print or end the process: it emits events. Nothing here opens a file of a store or a source
//! while scanning; that is for lanes.

pub mod absent;
pub mod account;
mod against;
mod budget;
mod closer;
pub mod companions;
mod compose;
mod dbox_index;
mod deep;
pub mod execute;
pub mod find;
pub mod folders;
mod foreign;
mod frames;
mod gaps;
mod group;
pub mod harm;
pub mod heal;
pub mod job;
mod kept;
pub mod lane;
pub mod lanes;
mod listed;
mod map_index;
mod mbox;
mod mbox_flags;
mod mbox_index;
mod mdbox;
mod mending;
pub mod planfile;
mod quiet;
pub mod rebuild;
pub mod record;
mod renumbered;
mod replica;
mod risk;
pub mod run;
pub mod runs;
pub mod scan;
mod sdbox;
pub mod selection;
mod server;
mod splice;
mod storage_anew;
mod strays;
pub mod triage;
pub mod unfinished;
