//! The deep tier: what signatures prove on real mail, what they prove of damaged mail, and what the binary makes of it.

#[path = "common/canonical.rs"]
mod canonical;
mod common;

#[path = "deep/copies.rs"]
mod copies;
#[path = "deep/laws.rs"]
mod laws;
#[path = "deep/mbox.rs"]
mod mbox;
#[path = "deep/real.rs"]
mod real;
