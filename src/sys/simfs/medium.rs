//! What the medium keeps of changes that were not synced when the power goes.
//!
//! Pure, but for the dice it is given.

use crate::model::message::Xattr;
use crate::model::{RelPath, Stamp};
use crate::sys::fs::{Dress, Kind, Tree};
use std::collections::BTreeSet;

/// A path in one of the two trees.
pub type Place = (Tree, RelPath);

/// Block size of torn contents. Small, so that small messages tear.
pub(super) const TEAR: usize = 16;

/// What unsynced changes become when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// All of them reached the medium.
    Keep,
    /// None did.
    Drop,
    /// Each by a throw of the dice, contents torn.
    Torn(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) content: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: Stamp,
    pub(super) xattrs: Vec<Xattr>,
}

impl Body {
    pub(super) fn dressed(content: Vec<u8>, dress: &Dress<'_>) -> Body {
        let Dress { uid, gid, mode, mtime, xattrs } = *dress;
        Body { content, uid, gid, mode, mtime, xattrs: xattrs.to_vec() }
    }
}

/// What stands under a name, as far as it can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub kind: Kind,
    /// Of what is no folder: a folder that is made again is another one.
    pub ino: Option<u64>,
    pub content: Vec<u8>,
    pub owner: (u32, u32),
    pub mode: u32,
    /// Of what is no folder: a folder's date changes with every name in it, whatever it is changed back to.
    pub mtime: Stamp,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) now: Body,
    pub(super) medium: Body,
    pub(super) ctime: Stamp,
    /// Writing its contents back failed; they are as they are on the medium.
    pub(super) lost: bool,
    /// Somebody who synced it was told of that.
    pub(super) told: bool,
}

impl Inode {
    pub(super) fn standing(&self, ino: u64) -> Standing {
        let Body { content, uid, gid, mode, mtime, xattrs } = self.now.clone();
        let folder = self.kind == Kind::Directory;
        let (ino, mtime) = if folder { (None, Stamp::default()) } else { (Some(ino), mtime) };
        Standing { kind: self.kind, ino, content, owner: (uid, gid), mode, mtime, xattrs }
    }
}

/// One atomic change of names.
#[derive(Debug, Clone)]
pub(super) struct NameOp {
    pub(super) sets: Vec<(Place, Option<u64>)>,
    pub(super) unsynced: BTreeSet<Place>,
}

impl NameOp {
    /// Whether this cannot be on the medium without `earlier`.
    pub(super) fn builds_on(&self, earlier: &NameOp) -> bool {
        let below = |a: &Place, b: &Place| {
            let rest = a.1.as_bytes().strip_prefix(b.1.as_bytes());
            a.0 == b.0 && rest.is_some_and(|rest| rest.first().is_none_or(|&byte| byte == b'/'))
        };
        let related = |a: &Place, b: &Place| below(a, b) || below(b, a);
        self.sets.iter().any(|(a, _)| earlier.sets.iter().any(|(b, _)| related(a, b)))
    }
}

/// Which pending changes of names are on the medium: those synced, those that they build on, and of the
/// rest what the overlay says, as long as what they build on is there.
pub(super) fn survivors(pending: &[NameOp], overlay: Overlay, dice: &mut fastrand::Rng) -> Vec<bool> {
    let mut kept: Vec<bool> = pending.iter().map(|op| op.unsynced.is_empty()).collect();
    for later in (0..pending.len()).rev() {
        for earlier in 0..later {
            if kept[later] && pending[later].builds_on(&pending[earlier]) {
                kept[earlier] = true;
            }
        }
    }
    for op in 0..pending.len() {
        let wanted = match overlay {
            Overlay::Keep => true,
            Overlay::Drop => false,
            Overlay::Torn(_) => dice.bool(),
        };
        let founded = (0..op).all(|earlier| kept[earlier] || !pending[op].builds_on(&pending[earlier]));
        kept[op] |= wanted && founded;
    }
    kept
}

/// What the medium holds of an inode that was not synced.
pub(super) fn tear(inode: &Inode, overlay: Overlay, dice: &mut fastrand::Rng) -> Body {
    match overlay {
        Overlay::Keep => inode.now.clone(),
        Overlay::Drop => inode.medium.clone(),
        Overlay::Torn(_) => {
            let mut body = if dice.bool() { inode.now.clone() } else { inode.medium.clone() };
            // The length is there and some blocks are not, or nothing is.
            body.content = inode.now.content.clone();
            for block in body.content.chunks_mut(TEAR) {
                if dice.bool() {
                    block.fill(0);
                }
            }
            body
        }
    }
}
