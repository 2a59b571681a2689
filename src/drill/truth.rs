//! What a tree held at one moment: the truth that a recovery is measured against. Only reads.

use super::companions::Uids;
use super::disk::{self, DrillError, Result};
use super::names;
use crate::model::{Digest, RelPath, Stamp};
use crate::store::dovecot::{log, state};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One file or folder, as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub is_dir: bool,
    /// Of the bytes after decompression; of nothing for a folder.
    pub digest: Digest,
    pub coding: Coding,
    /// Bytes as stored; 0 for a folder.
    pub size: u64,
    pub mtime: Stamp,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub ino: u64,
    pub nlink: u64,
    /// What it says, where it is a list of UIDs.
    pub uids: Option<Uids>,
    /// What it says, where it is the index of an sdbox mailbox as a log: UIDVALIDITY, and UIDs with their flags.
    pub register: Option<(u32, Vec<(u32, u8)>)>,
}

/// How a file's bytes are stored. A file whose compression is broken counts as plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// How strictly two entries are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// What clients are served: as below, but a list of UIDs may tell the same by other bytes, and the server may find
    /// an index where it would make one.
    Served,
    /// Bytes, name, time, owner and mode: what a repaired message must have.
    Healed,
    /// The very same inode besides: what nobody may have touched.
    Untouched,
}

/// A path at which two trees differ, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: RelPath,
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Every file and folder of a tree. Top-level folders whose name begins with `.mailmend` are the
/// tool's own (quarantine) and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<RelPath, Entry>,
}

impl Snapshot {
    /// Reads the whole tree below `root`.
    pub fn take(root: &Path) -> Result<Snapshot> {
        let mut entries = BTreeMap::new();
        let walk = walkdir::WalkDir::new(root).min_depth(1).into_iter();
        let own = |e: &walkdir::DirEntry| e.depth() == 1 && e.file_name().as_encoded_bytes().starts_with(b".mailmend");
        for found in walk.filter_entry(|e| !own(e)) {
            let found = found.map_err(|e| DrillError::Setup(format!("reading a tree: {e}")))?;
            entries.insert(disk::relative(root, found.path())?, Entry::of(found.path())?);
        }
        Ok(Snapshot { entries })
    }

    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub fn contains(&self, path: &RelPath) -> bool {
        self.entries.contains_key(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Entry)> {
        self.entries.iter()
    }

    /// Every file, in the order of paths.
    pub fn files(&self) -> impl Iterator<Item = (&RelPath, &Entry)> {
        self.entries.iter().filter(|(_, e)| !e.is_dir)
    }

    /// Files that are messages by their place and name (`#12345` is nobody's).
    pub fn messages(&self) -> impl Iterator<Item = (&RelPath, &Entry)> {
        self.files().filter(|(path, _)| names::mailbox(path).is_some() && !path.name().starts_with(b"#"))
    }

    /// The paths at which a message of this mailbox and key stands.
    pub fn standing(&self, identity: &names::Identity) -> Vec<&RelPath> {
        let same = |path: &&RelPath| names::identity(path).as_ref() == Some(identity);
        let mut found = Vec::new();
        for place in [&b"cur"[..], b"new"] {
            // The least name that a directory entry can have: everything below the folder follows it.
            if let Ok(dir) = identity.mailbox.join(place)
                && let Ok(first) = dir.join(b"\x01")
            {
                let below = self.entries.range(first..).take_while(|(p, _)| p.strip_prefix(&dir).is_some());
                found.extend(below.map(|(p, _)| p).filter(same));
            }
        }
        found
    }

    /// Digests of all messages below `account`.
    pub fn digests_below(&self, account: &RelPath) -> BTreeSet<Digest> {
        self.messages().filter(|(p, _)| p.strip_prefix(account).is_some()).map(|(_, e)| e.digest).collect()
    }

    /// Everything in which `now` is not as this snapshot was: gone, new, changed. Times of folders are
    /// not compared, for every rename below changes them.
    pub fn differences(&self, now: &Snapshot, strictness: Strictness) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut note = |path: &RelPath, what: String| all.push(Difference { path: path.clone(), what });
        for (path, was) in &self.entries {
            match now.entries.get(path) {
                None => note(path, "is gone".into()),
                Some(_) if strictness == Strictness::Served && self.same_uids(now, path) => {}
                Some(is) => was.difference(is, strictness).into_iter().for_each(|what| note(path, what)),
            }
        }
        let is_index = |p: &&RelPath| strictness == Strictness::Served && p.name().starts_with(b"dovecot.index");
        for path in now.entries.keys().filter(|p| !self.entries.contains_key(p) && !is_index(p)) {
            note(path, "is new".into());
        }
        all
    }

    /// Whether a list of UIDs tells clients `now` what it told them in this tree.
    fn same_uids(&self, now: &Snapshot, path: &RelPath) -> bool {
        let uids = |tree: &Snapshot| tree.get(path).and_then(|entry| entry.uids.clone());
        let (Some(was), Some(is), Some(mailbox)) = (uids(self), uids(now), path.parent()) else { return false };
        let there = |name: &[u8]| {
            let file = mailbox.join(b"cur").and_then(|cur| cur.join(name)).ok();
            let identity = file.and_then(|path| names::identity(&path));
            identity.is_some_and(|identity| !now.standing(&identity).is_empty())
        };
        was.kept_by(&is, &there)
    }
}

impl Entry {
    fn of(path: &Path) -> Result<Entry> {
        let meta = disk::stat(path)?;
        let stored = if meta.is_file() { disk::read(path)? } else { Vec::new() };
        let (coding, digest) = decode(&stored);
        Ok(Entry {
            is_dir: meta.is_dir(),
            digest,
            coding,
            size: stored.len() as u64,
            mtime: disk::mtime_of(&meta),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            ino: meta.ino(),
            nlink: meta.nlink(),
            uids: if path.ends_with("dovecot-uidlist") { Uids::read(&stored) } else { None },
            register: if path.ends_with("dbox-Mails/dovecot.index.log") { register(&stored) } else { None },
        })
    }

    /// In words, how `is` differs from this entry; `None` where it does not.
    pub fn difference(&self, is: &Entry, strictness: Strictness) -> Option<String> {
        let uids = self.uids.as_ref().zip(is.uids.as_ref()).filter(|_| strictness == Strictness::Served);
        if uids.is_some_and(|(was, is)| was.kept_by(is, &|_| false)) {
            return None;
        }
        if strictness == Strictness::Served && self.register.is_some() && self.register == is.register {
            return None;
        }
        let mut words = Vec::new();
        if self.is_dir != is.is_dir {
            words.push("file became folder or folder file".to_string());
        }
        if self.digest != is.digest {
            words.push(format!(
                "content {:?} instead of {:?} ({} B, was {} B)",
                is.digest, self.digest, is.size, self.size
            ));
        }
        if self.coding != is.coding {
            words.push(format!("stored as {:?} instead of {:?}", is.coding, self.coding));
        }
        if !self.is_dir && self.mtime != is.mtime {
            words.push(format!("date {:?} instead of {:?}", is.mtime, self.mtime));
        }
        if (self.uid, self.gid) != (is.uid, is.gid) {
            words.push(format!("owner {}:{} instead of {}:{}", is.uid, is.gid, self.uid, self.gid));
        }
        if self.mode != is.mode {
            words.push(format!("mode {:o} instead of {:o}", is.mode, self.mode));
        }
        if strictness == Strictness::Untouched && !self.is_dir && self.ino != is.ino {
            words.push(format!("inode {} instead of {}", is.ino, self.ino));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// What a log alone says of the mailbox, if it says all.
fn register(stored: &[u8]) -> Option<(u32, Vec<(u32, u8)>)> {
    let state = state::replay(None, &[&log::parse(stored)]);
    let messages = state.messages.iter().map(|(uid, message)| (*uid, message.flags)).collect();
    (state.complete && state.uid_validity != 0).then_some((state.uid_validity, messages))
}

/// What a mail program would see of a file with these bytes.
pub fn content(stored: &[u8]) -> Digest {
    decode(stored).1
}

/// The coding, and the digest of the bytes after decompression.
fn decode(stored: &[u8]) -> (Coding, Digest) {
    let mut plain = Vec::new();
    if stored.starts_with(b"\x1f\x8b") && flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut plain).is_ok() {
        return (Coding::Gzip, Digest::of(&plain));
    }
    plain.clear();
    let zstd = stored.starts_with(b"\x28\xb5\x2f\xfd").then(|| zstd::stream::read::Decoder::new(stored));
    if let Some(Ok(mut decoder)) = zstd
        && decoder.read_to_end(&mut plain).is_ok()
    {
        return (Coding::Zstd, Digest::of(&plain));
    }
    (Coding::Plain, Digest::of(stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn tells_every_kind_of_difference() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("u/Maildir/cur")).unwrap();
        fs::create_dir_all(root.join(".mailmend/q")).unwrap();
        for name in ["1.a:2,", "2.b:2,S", "#77"] {
            fs::write(root.join("u/Maildir/cur").join(name), name).unwrap();
        }
        let before = Snapshot::take(root).unwrap();
        assert_eq!((before.messages().count(), before.files().count()), (2, 3));
        assert_eq!(before.differences(&before, Strictness::Untouched), vec![]);
        fs::write(root.join("u/Maildir/cur/1.a:2,"), "other").unwrap();
        fs::remove_file(root.join("u/Maildir/cur/#77")).unwrap();
        fs::write(root.join("u/Maildir/cur/3.c"), "").unwrap();
        let after = Snapshot::take(root).unwrap();
        let told: Vec<String> =
            before.differences(&after, Strictness::Healed).iter().map(Difference::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("#77: is gone") && told[1].contains("content") && told[2].contains("3.c: is new"));
        let path = RelPath::new("u/Maildir/new/2.b").unwrap();
        let standing = after.standing(&names::identity(&path).unwrap());
        assert_eq!(standing, [&RelPath::new("u/Maildir/cur/2.b:2,S").unwrap()]);
    }

    #[test]
    fn compressed_files_are_compared_by_what_they_hold() {
        let plain = b"Subject: x\n\nhello\n";
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        assert_eq!(decode(&zstd), (Coding::Zstd, Digest::of(plain)));
        assert_eq!(decode(&zstd[..zstd.len() - 2]).0, Coding::Plain);
        assert_eq!(decode(plain), (Coding::Plain, Digest::of(plain)));
    }
}
