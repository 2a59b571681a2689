//! The operating system and nothing else: file traits, openat2, syncing, locks, clock, devices, sandbox.
//!
//! Knows no mail: may import only `model`.

pub mod attr;
pub mod blocks;
pub mod clock;
pub mod dir;
pub mod direct;
pub mod disks;
pub mod extents;
pub mod fs;
pub mod health;
pub mod holder;
pub mod idle;
pub mod links;
pub mod lock;
pub mod meter;
pub mod mounts;
pub mod osfs;
mod raw;
pub mod sandbox;
mod seccomp;
pub mod signals;
#[cfg(test)]
pub mod simfs;
pub mod slots;
pub mod smart;
pub mod users;
