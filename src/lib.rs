//! mailmend: fsck, scrub and surgical restore for mail stores.
//!
//! The modules are layers; each imports only from those above it in this list (`tests/tidy.rs` holds
//! that against the code). `model`, `verify`, `plan` and `report` are pure: no files, no clock.

pub mod model;

pub mod plan;
pub mod report;
pub mod verify;

pub mod sys;

pub mod apply;
pub mod catalog;
pub mod read;

pub mod store;

pub mod source;

pub mod engine;

pub mod drill;

pub mod cli;
