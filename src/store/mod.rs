//! Store formats: what lies where in a tree of mail, what its names claim, how its bytes are compressed.
//! One folder or file a format.
//!
//! May open and list (through `sys`), never write.

pub mod codec;
pub mod dovecot;
mod lz4;
pub mod maildir;
