//! The digest of a listing, by which the next night knows it again without its entries.
//!
//! Runs in the lane only. It covers what a verify looks at before it decides that a message need not be read: of a
//! message place, name, type, size, time, owner and mode; of what else stands in the mailbox's folder the name. What
//! lies in `tmp` is always sent itself.

use crate::model::wire::{EntryKind, Place};
use crate::model::{Digest, RelPath, Stamp, Stat};
use crate::sys::dir::Root;

/// Bytes that are hashed at once: one entry would be too little for it to be fast.
const STAGE: usize = 16 << 10;

#[derive(Default)]
pub struct Sealing {
    hasher: blake3::Hasher,
    stage: Vec<u8>,
}

impl Sealing {
    /// Entries come in the order of the listing: another order is another listing.
    pub fn add(&mut self, place: Place, kind: EntryKind, name: &[u8], stat: Option<&Stat>) {
        let stat = stat.filter(|_| place != Place::Top);
        let place: u8 = match place {
            Place::Top => 0,
            Place::New => 1,
            Place::Cur => 2,
            Place::Tmp => return,
        };
        let kind: u8 = match kind {
            EntryKind::File => 0,
            EntryKind::Directory => 1,
            EntryKind::Symlink => 2,
            EntryKind::Other => 3,
        };
        self.stage.extend([place, kind, u8::from(stat.is_some())]);
        self.stage.extend((name.len() as u64).to_le_bytes());
        self.stage.extend_from_slice(name);
        if let Some(stat) = stat {
            self.stage.extend(stat.size.to_le_bytes());
            self.stage.extend(stat.mtime.sec.to_le_bytes());
            self.stage.extend(stat.mtime.nsec.to_le_bytes());
            [stat.uid, stat.gid, stat.mode].into_iter().for_each(|number| self.stage.extend(number.to_le_bytes()));
        }
        if self.stage.len() >= STAGE {
            self.hasher.update(&self.stage);
            self.stage.clear();
        }
    }

    pub fn finish(mut self) -> Digest {
        self.hasher.update(&self.stage);
        Digest(*self.hasher.finalize().as_bytes())
    }
}

/// Whether a file came, went or was renamed in `new` or `cur` since they had these times: then the seal is of no use.
pub fn moved(root: &Root, dir: &RelPath, times: [Stamp; 4]) -> bool {
    let Ok(mailbox) = root.open_dir(dir) else { return true };
    let of = |sub: &[u8]| mailbox.stat(sub).ok().flatten().map(|(_, stat)| stat);
    match (of(Place::New.dir()), of(Place::Cur.dir())) {
        (Some(new), Some(cur)) => [new.mtime, new.ctime, cur.mtime, cur.ctime] != times,
        _ => true,
    }
}
