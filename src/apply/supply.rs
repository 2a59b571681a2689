//! The two things that the executor lets others do: deliver a copy's bytes, and read mail.
//!
//! Both are traits because both happen in sandboxed processes; the executor sees digests only.

use crate::model::message::Xattr;
use crate::model::plan::{Action, Step};
use crate::model::{Digest, RelPath};
use crate::sys::fs::Tree;
use std::io;

/// What a source delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supplied {
    /// Of the bytes after decompression.
    pub digest: Digest,
    /// Bytes after decompression.
    pub length: u64,
    /// Attributes of the copy in the source; `user.*` is taken where nothing else names it, and the access list
    /// where no file is replaced.
    pub xattrs: Vec<Xattr>,
}

/// Why a source could not deliver, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SupplyError(pub String);

/// Delivers the bytes that a step puts into place.
pub trait Supply {
    /// Hands the copy's bytes, as they are to be stored, to `sink`. An error of the sink ends the delivery.
    fn fetch(&mut self, step: &Step, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Supplied, SupplyError>;
}

/// Reads a file again from the medium, in a process that can do nothing else.
pub trait Prover {
    /// Digest and length of the message after decompression; in words why there is none.
    fn digest(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String>;

    /// The same of a file that holds many messages: of its bytes as they are stored.
    fn stored(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        self.digest(tree, path)
    }

    /// What a file has to be compared with that `action` puts into place.
    fn of(&mut self, action: &Action, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        if matches!(action, Action::Rebuild { .. }) { self.stored(tree, path) } else { self.digest(tree, path) }
    }
}
