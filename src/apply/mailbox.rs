//! Which files of a mailbox carry a key, and where a file went that a client renamed.
//!
//! Reads directories and nothing else. Listings are kept for one batch.

use crate::model::{RelPath, Stat};
use crate::sys::fs::{Fs, Kind, Tree};
use std::collections::{BTreeSet, HashMap};
use std::io;

/// The directories of a Maildir mailbox whose files are messages.
const PLACES: [&[u8]; 2] = [b"cur", b"new"];

/// The key of a Maildir file name: servers rewrite what follows the first `,` or `:`.
pub(super) fn key_of(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|&b| b == b',' || b == b':').unwrap_or(name.len());
    &name[..end]
}

/// The mailbox folder of a file in `cur` or `new`; `None` for everything else.
pub(super) fn mailbox_of(path: &RelPath) -> Option<RelPath> {
    let dir = path.parent()?;
    if PLACES.contains(&dir.name()) { dir.parent() } else { None }
}

/// Names in `cur` and `new` of the mailboxes that a batch works on.
#[derive(Default)]
pub(super) struct Mailboxes {
    /// By mailbox folder: file name and index into [`PLACES`].
    listed: HashMap<RelPath, BTreeSet<(Vec<u8>, usize)>>,
}

impl Mailboxes {
    /// Forgets every listing, so that the next question looks again.
    pub(super) fn refresh(&mut self) {
        self.listed.clear();
    }

    /// Forgets all but the mailbox of `path`: a large mailbox spans many batches, and an old listing is
    /// good enough to choose what to stage.
    pub(super) fn keep_only(&mut self, path: Option<&RelPath>) {
        let keep = path.and_then(mailbox_of);
        self.listed.retain(|mailbox, _| Some(mailbox) == keep.as_ref());
    }

    /// Forgets the listing that holds `path`.
    pub(super) fn forget(&mut self, path: &RelPath) {
        if let Some(mailbox) = mailbox_of(path) {
            self.listed.remove(&mailbox);
        }
    }

    /// Notes that we put a file there ourselves.
    pub(super) fn added(&mut self, path: &RelPath) {
        if let (Some(names), Some(place)) = (self.listing_of(path), place_of(path)) {
            names.insert((path.name().to_vec(), place));
        }
    }

    /// Notes that we took a file away ourselves.
    pub(super) fn removed(&mut self, path: &RelPath) {
        if let (Some(names), Some(place)) = (self.listing_of(path), place_of(path)) {
            names.remove(&(path.name().to_vec(), place));
        }
    }

    fn listing_of(&mut self, path: &RelPath) -> Option<&mut BTreeSet<(Vec<u8>, usize)>> {
        self.listed.get_mut(&mailbox_of(path)?)
    }

    /// What stands for the message at `path`: the path itself first, if anything is there, then every
    /// file of the same key in its mailbox.
    pub(super) fn candidates(&mut self, fs: &dyn Fs, path: &RelPath) -> io::Result<Vec<(RelPath, Kind, Stat)>> {
        let mut found = Vec::new();
        if let Some((kind, stat)) = fs.stat(Tree::Base, path)? {
            found.push((path.clone(), kind, stat));
        }
        for other in self.same_key(fs, path)? {
            if let Some((kind, stat)) = fs.stat(Tree::Base, &other)? {
                found.push((other, kind, stat));
            }
        }
        Ok(found)
    }

    /// Where the file `wanted` stands now: at `path` or, renamed by a change of flags, beside it.
    pub(super) fn locate(&mut self, fs: &dyn Fs, path: &RelPath, wanted: &Stat) -> io::Result<Option<(RelPath, Stat)>> {
        if let Some((Kind::File, stat)) = fs.stat(Tree::Base, path)?
            && stat.same_file(wanted)
        {
            return Ok(Some((path.clone(), stat)));
        }
        for other in self.same_key(fs, path)? {
            if let Some((Kind::File, stat)) = fs.stat(Tree::Base, &other)?
                && stat.same_file(wanted)
            {
                return Ok(Some((other, stat)));
            }
        }
        Ok(None)
    }

    /// Paths other than `path` of its key in its mailbox.
    fn same_key(&mut self, fs: &dyn Fs, path: &RelPath) -> io::Result<Vec<RelPath>> {
        let Some(mailbox) = mailbox_of(path) else { return Ok(Vec::new()) };
        let key = key_of(path.name()).to_vec();
        let mut paths = Vec::new();
        let names = self.names(fs, &mailbox)?;
        for (name, place) in names.range((key.clone(), 0)..).take_while(|(name, _)| name.starts_with(&key)) {
            if key_of(name) != key {
                continue;
            }
            // Names came from a directory, so they are components; one that is none cannot be opened either.
            let Ok(other) = mailbox.join(PLACES[*place]).and_then(|dir| dir.join(name)) else { continue };
            if other != *path {
                paths.push(other);
            }
        }
        Ok(paths)
    }

    fn names(&mut self, fs: &dyn Fs, mailbox: &RelPath) -> io::Result<&BTreeSet<(Vec<u8>, usize)>> {
        if !self.listed.contains_key(mailbox) {
            let listing = list(fs, mailbox)?;
            self.listed.insert(mailbox.clone(), listing);
        }
        Ok(self.listed.entry(mailbox.clone()).or_default())
    }
}

fn place_of(path: &RelPath) -> Option<usize> {
    let dir = path.parent()?;
    PLACES.iter().position(|place| *place == dir.name())
}

fn list(fs: &dyn Fs, mailbox: &RelPath) -> io::Result<BTreeSet<(Vec<u8>, usize)>> {
    let mut names = BTreeSet::new();
    for (index, place) in PLACES.iter().enumerate() {
        let dir = mailbox.join(place).map_err(io::Error::other)?;
        match fs.list(Tree::Base, &dir) {
            Ok(found) => names.extend(found.into_iter().map(|name| (name, index))),
            // A folder that an earlier step of the same batch is about to make holds nothing yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{key_of, mailbox_of};
    use crate::model::RelPath;

    #[test]
    fn keys_and_mailboxes_of_maildir_names() {
        assert_eq!(key_of(b"1700000000.M1P2.mx,S=12,W=13:2,RS"), b"1700000000.M1P2.mx");
        assert_eq!(key_of(b"1700000000.M1P2.mx:2,"), b"1700000000.M1P2.mx");
        assert_eq!(key_of(b"plain"), b"plain");
        let path = |text: &str| RelPath::new(text).unwrap();
        assert_eq!(mailbox_of(&path("a/Maildir/cur/x")), Some(path("a/Maildir")));
        assert_eq!(mailbox_of(&path("cur/x")), Some(RelPath::root()));
        assert_eq!(mailbox_of(&path("a/Maildir/subscriptions")), None);
        assert_eq!(mailbox_of(&path("a/mailboxes/INBOX/dbox-Mails/u.1")), None);
    }
}
