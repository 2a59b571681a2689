//! Breaks a store in the ways that disks and accidents do, and remembers exactly what it broke.
//!
//! Changes only the store that it is given. Every damage really changes what a mail program would see.

use super::day::Change;
use super::disk::{self, DrillError, Result};
use super::names;
use super::truth::{self, Entry, Snapshot};
use crate::model::RelPath;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// One way to break a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One bit is another.
    Bit,
    /// A sector of 512 bytes or 4 KiB holds something else.
    Sector,
    /// A region of 64 KiB holds something else.
    Region,
    /// 4 KiB are zeros.
    Zeroed,
    /// The end is missing.
    Truncated,
    /// The file is there and holds nothing.
    Emptied,
    /// The file is called `#12345`, as a file system check leaves it.
    Stray,
    /// The file is gone.
    Deleted,
    /// The whole mailbox folder is gone.
    LostFolder,
    /// A file that the server or the user keeps beside the mail is gone.
    LostCompanion,
    /// The whole store is gone: a replaced disk.
    Blank,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Bit,
        Kind::Sector,
        Kind::Region,
        Kind::Zeroed,
        Kind::Truncated,
        Kind::Emptied,
        Kind::Stray,
        Kind::Deleted,
        Kind::LostFolder,
        Kind::LostCompanion,
        Kind::Blank,
    ];

    /// Whether nothing in a plain tree tells the damage from what a user may do.
    pub fn looks_like_deletion(self) -> bool {
        matches!(self, Kind::Deleted | Kind::LostFolder)
    }

    pub fn words(self) -> &'static str {
        match self {
            Kind::Bit => "one bit flipped",
            Kind::Sector => "sector overwritten",
            Kind::Region => "64 KiB overwritten",
            Kind::Zeroed => "4 KiB zeroed",
            Kind::Truncated => "truncated",
            Kind::Emptied => "emptied",
            Kind::Stray => "named #12345",
            Kind::Deleted => "file gone",
            Kind::LostFolder => "folder gone",
            Kind::LostCompanion => "companion gone",
            Kind::Blank => "disk replaced",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Whether damage shows in a file's mtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// Silent: the disk lied, no program wrote.
    #[default]
    Kept,
    /// A program wrote: the mtime is that of the damage.
    Changed,
}

/// How much to break. Where the store has too few messages, less is broken.
#[derive(Debug, Clone, Default)]
pub struct DamageOptions {
    pub seed: u64,
    /// Messages hit by the field's mix: 10 % single bits, 10 % sectors, 80 % regions.
    pub mix: usize,
    /// Messages hit in each of five ways: deleted, truncated, 4 KiB zeroed, one bit, emptied.
    pub each: usize,
    pub strays: usize,
    pub companions: usize,
    /// A mailbox folder to lose.
    pub folder: Option<RelPath>,
    pub times: Times,
    /// Deletions do not even show in the folder's mtime.
    pub folder_times_kept: bool,
}

/// One message (or companion file) that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub kind: Kind,
    /// Where it stood, and where it belongs.
    pub path: RelPath,
    /// Under which name it lies about now.
    pub stray: Option<RelPath>,
    /// What it was.
    pub was: Entry,
}

/// Messages that a users' day touched, under their present names.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// No copy of these exists elsewhere under their identity: never broken.
    spared: BTreeSet<RelPath>,
    /// Renamed: whose bytes may be broken, but whose present name nobody else knows.
    renamed: BTreeSet<RelPath>,
}

impl Touched {
    pub fn by(changes: &[Change]) -> Touched {
        let mut touched = Touched::default();
        for change in changes {
            match change {
                Change::Flags { to, .. } | Change::Seen { to, .. } => drop(touched.renamed.insert(to.clone())),
                Change::Moved { to, .. } => drop(touched.spared.insert(to.clone())),
                Change::Delivered { path } => drop(touched.spared.insert(path.clone())),
                Change::Deleted { .. } => {}
            }
        }
        touched
    }
}

/// The largest mailbox besides the INBOX in which no message has a second name: one that may be lost whole.
pub fn folder_to_lose(tree: &Snapshot) -> Option<RelPath> {
    let mut sizes: BTreeMap<RelPath, (usize, bool)> = BTreeMap::new();
    for (path, entry) in tree.messages() {
        if let Some((mailbox, _)) = names::mailbox(path) {
            let (count, single) = sizes.entry(mailbox).or_insert((0, true));
            *count += 1;
            *single &= entry.nlink == 1;
        }
    }
    let inner = |m: &RelPath| sizes.keys().any(|other| other != m && other.strip_prefix(m).is_some());
    let fit = sizes.iter().filter(|(m, (_, single))| *single && m.name() != b"Maildir" && !inner(m));
    fit.max_by_key(|(_, (count, _))| *count).map(|(mailbox, _)| mailbox.clone())
}

/// Breaks `store`, which `tree` describes as it is now.
pub fn inflict(store: &Path, tree: &Snapshot, touched: &Touched, options: &DamageOptions) -> Result<Vec<Damage>> {
    let mut rng = Rng::with_seed(options.seed);
    let (mut renamed, mut untouched) = (Vec::new(), Vec::new());
    for (path, entry) in tree.messages() {
        let falls = options.folder.as_ref().is_some_and(|f| path.strip_prefix(f).is_some());
        if entry.nlink == 1 && entry.size >= 16 && !falls && !touched.spared.contains(path) {
            if touched.renamed.contains(path) { renamed.push(path) } else { untouched.push(path) }
        }
    }
    rng.shuffle(&mut renamed);
    rng.shuffle(&mut untouched);
    let mut vandal = Vandal { store, tree, options, rng, untouched, renamed, damages: Vec::new() };
    vandal.spoil_all()?;
    for kind in [Kind::Deleted, Kind::Stray] {
        vandal.lose_all(kind)?;
    }
    vandal.lose_companions()?;
    if let Some(folder) = &options.folder {
        vandal.lose_folder(folder)?;
    }
    Ok(vandal.damages)
}

/// Empties the whole store, as a replaced disk is, and records every message and companion.
pub fn blank(store: &Path, tree: &Snapshot) -> Result<Vec<Damage>> {
    disk::clear(store)?;
    let lost = |(path, was): (&RelPath, &Entry)| Damage {
        kind: Kind::Blank,
        path: path.clone(),
        stray: None,
        was: was.clone(),
    };
    Ok(tree.messages().map(lost).collect())
}

struct Vandal<'a> {
    store: &'a Path,
    tree: &'a Snapshot,
    options: &'a DamageOptions,
    rng: Rng,
    untouched: Vec<&'a RelPath>,
    renamed: Vec<&'a RelPath>,
    damages: Vec<Damage>,
}

impl Vandal<'_> {
    /// Everything that changes bytes in place; every fourth victim is one that its user renamed today.
    fn spoil_all(&mut self) -> Result<()> {
        let mut kinds = Vec::new();
        for at in 0..self.options.mix {
            kinds.push(match at % 10 {
                0 => Kind::Bit,
                1 => Kind::Sector,
                _ => Kind::Region,
            });
        }
        for kind in [Kind::Truncated, Kind::Zeroed, Kind::Bit, Kind::Emptied] {
            kinds.extend(std::iter::repeat_n(kind, self.options.each));
        }
        for (at, kind) in kinds.into_iter().enumerate() {
            let from_renamed = at % 4 == 0 && !self.renamed.is_empty();
            let next = if from_renamed { self.renamed.pop() } else { self.untouched.pop() };
            if let Some(path) = next {
                self.spoil(path, kind)?;
            }
        }
        Ok(())
    }

    fn spoil(&mut self, path: &RelPath, kind: Kind) -> Result<()> {
        let file = self.store.join(path.as_path());
        let was = self.entry(path)?;
        let bytes = disk::read(&file)?;
        disk::overwrite(&file, &spoilt(&bytes, kind, &mut self.rng))?;
        if self.options.times == Times::Kept {
            disk::set_mtime(&file, was.mtime)?;
        }
        self.damages.push(Damage { kind, path: path.clone(), stray: None, was });
        Ok(())
    }

    fn lose_all(&mut self, kind: Kind) -> Result<()> {
        let count = if kind == Kind::Stray { self.options.strays } else { self.options.each };
        for _ in 0..count {
            if let Some(path) = self.untouched.pop() {
                self.lose(path, kind)?;
            }
        }
        Ok(())
    }

    /// Takes a message's name away: the file with it, or only the name.
    fn lose(&mut self, path: &RelPath, kind: Kind) -> Result<()> {
        let was = self.entry(path)?;
        let file = self.store.join(path.as_path());
        let folder = file.parent().unwrap_or(self.store).to_path_buf();
        let folder_mtime = disk::mtime_of(&disk::stat(&folder)?);
        let stray = if kind == Kind::Stray { Some(self.stray_name(path)?) } else { None };
        match &stray {
            Some(stray) => disk::rename(&file, &self.store.join(stray.as_path()))?,
            None => disk::remove_file(&file)?,
        }
        if self.options.folder_times_kept {
            disk::set_mtime(&folder, folder_mtime)?;
        }
        self.damages.push(Damage { kind, path: path.clone(), stray, was });
        Ok(())
    }

    /// `#<inode>` in the mailbox's `cur`.
    fn stray_name(&self, path: &RelPath) -> Result<RelPath> {
        let name = format!("#{}", self.entry(path)?.ino);
        let mailbox = names::mailbox(path).map(|(mailbox, _)| mailbox).unwrap_or_default();
        let joined = mailbox.join(b"cur").and_then(|dir| dir.join(name.as_bytes()));
        joined.map_err(|e| DrillError::Setup(format!("{path}: {e}")))
    }

    /// Only files that no server writes during a day, and that no owner deletes.
    fn lose_companions(&mut self) -> Result<()> {
        let falls = |p: &RelPath| self.options.folder.as_ref().is_some_and(|f| p.strip_prefix(f).is_some());
        let stable = |p: &RelPath| {
            let name = p.name();
            name == b"subscriptions" || name == b"dovecot-keywords"
        };
        let mut all: Vec<_> = self.tree.files().filter(|(p, _)| stable(p) && !falls(p)).collect();
        self.rng.shuffle(&mut all);
        for (path, was) in all.into_iter().take(self.options.companions) {
            disk::remove_file(&self.store.join(path.as_path()))?;
            let damage = Damage { kind: Kind::LostCompanion, path: path.clone(), stray: None, was: was.clone() };
            self.damages.push(damage);
        }
        Ok(())
    }

    fn lose_folder(&mut self, folder: &RelPath) -> Result<()> {
        disk::remove_tree(&self.store.join(folder.as_path()))?;
        for (path, was) in self.tree.messages().filter(|(p, _)| p.strip_prefix(folder).is_some()) {
            self.damages.push(Damage { kind: Kind::LostFolder, path: path.clone(), stray: None, was: was.clone() });
        }
        Ok(())
    }

    fn entry(&self, path: &RelPath) -> Result<Entry> {
        self.tree.get(path).cloned().ok_or_else(|| DrillError::Setup(format!("{path} was not there")))
    }
}

/// `bytes` after one damage of this kind. Tried until what a mail program would see has really changed
/// (a bit in a compressed file's header may mean nothing); at last the first byte is another.
pub fn spoilt(bytes: &[u8], kind: Kind, rng: &mut Rng) -> Vec<u8> {
    let seen = truth::content(bytes);
    for _ in 0..32 {
        let candidate = spoil_once(bytes, kind, rng);
        if truth::content(&candidate) != seen {
            return candidate;
        }
    }
    let mut last = bytes.to_vec();
    if let Some(first) = last.first_mut() {
        *first ^= 0x55;
    }
    last
}

fn spoil_once(bytes: &[u8], kind: Kind, rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    match kind {
        Kind::Bit => {
            let at = rng.usize(..out.len());
            out[at] ^= 1 << rng.u32(..8);
        }
        Kind::Sector => {
            let size = if rng.bool() { 512 } else { 4096 };
            overwrite(&mut out, size, rng);
        }
        Kind::Region => overwrite(&mut out, 64 << 10, rng),
        Kind::Zeroed => aligned(&mut out, 4096, rng).fill(0),
        Kind::Truncated => out.truncate(rng.usize(1..bytes.len())),
        Kind::Emptied => out.clear(),
        Kind::Stray | Kind::Deleted | Kind::LostFolder | Kind::LostCompanion | Kind::Blank => {}
    }
    out
}

/// What stands in a region that a disk lost: zeros, ones, noise, or text of somebody else's.
fn overwrite(bytes: &mut [u8], size: usize, rng: &mut Rng) {
    let region = aligned(bytes, size, rng);
    match rng.u32(..4) {
        0 => region.fill(0),
        1 => region.fill(0xff),
        2 => rng.fill(region),
        _ => region.iter_mut().zip(b"Another sector of another file.\n".iter().cycle()).for_each(|(b, &c)| *b = c),
    }
}

/// A block of `size` that begins at a multiple of `size`, or what the file has of it.
fn aligned<'a>(bytes: &'a mut [u8], size: usize, rng: &mut Rng) -> &'a mut [u8] {
    let block = rng.usize(..bytes.len().div_ceil(size));
    let end = bytes.len().min((block + 1) * size);
    &mut bytes[block * size..end]
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Mails;
    use super::super::truth::Strictness;
    use super::super::world::{WorldOptions, build};
    use super::*;

    #[test]
    fn every_kind_changes_what_is_seen() {
        let mut rng = Rng::with_seed(1);
        let plain = b"Subject: x\n\n".repeat(900);
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, &plain).unwrap();
            encoder.finish().unwrap()
        };
        for kind in [Kind::Bit, Kind::Sector, Kind::Region, Kind::Zeroed, Kind::Truncated, Kind::Emptied] {
            for bytes in [&plain, &gzip, &b"0123456789abcdef".to_vec()] {
                for _ in 0..50 {
                    assert_ne!(truth::content(&spoilt(bytes, kind, &mut rng)), truth::content(bytes), "{kind}");
                }
            }
        }
    }

    #[test]
    fn breaks_what_it_says_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), &mut Mails::generated(9), &WorldOptions { seed: 9, accounts: 5, messages: 80 }).unwrap();
        let tree = Snapshot::take(dir.path()).unwrap();
        let folder = folder_to_lose(&tree).unwrap();
        let options = DamageOptions {
            seed: 9,
            mix: 20,
            each: 5,
            strays: 3,
            companions: 2,
            folder: Some(folder.clone()),
            ..DamageOptions::default()
        };
        let damages = inflict(dir.path(), &tree, &Touched::default(), &options).unwrap();
        let now = Snapshot::take(dir.path()).unwrap();
        for kind in [Kind::Bit, Kind::Region, Kind::Sector, Kind::Stray, Kind::LostFolder, Kind::LostCompanion] {
            assert!(damages.iter().any(|d| d.kind == kind), "{kind}");
        }
        let broken: BTreeSet<_> = damages.iter().map(|d| &d.path).collect();
        let strays: BTreeSet<_> = damages.iter().filter_map(|d| d.stray.as_ref()).collect();
        assert_eq!(broken.len(), damages.len(), "nothing is broken twice");
        for difference in tree.differences(&now, Strictness::Untouched) {
            let path = &difference.path;
            let meant = broken.contains(path) || strays.contains(path) || path.strip_prefix(&folder).is_some();
            assert!(meant, "{difference}");
        }
        for damage in &damages {
            assert!(now.get(&damage.path).is_none_or(|e| e.digest != damage.was.digest && e.mtime == damage.was.mtime));
        }
    }
}
