//! What the medium keeps of changes that were not synced when the power goes.
//!
//! Pure, but for the dice it is given.

use crate::model::message::Xattr;
use crate::model::{RelPath, Stamp};
use crate::sys::fs::{Kind, Tree};
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

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) now: Body,
    pub(super) medium: Body,
    pub(super) ctime: Stamp,
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
