//! The operating system and nothing else: file traits, openat2, syncing, locks, clock, devices, sandbox.
//!
//! Knows no mail: may import only `model`.

pub mod fs;
#[cfg(test)]
pub mod simfs;
