//! Store formats: what lies where in a tree of mail, and what its names claim. One folder or file a format.
//!
//! May open and list (through `sys`), never write.

pub mod codec;
pub mod maildir;
