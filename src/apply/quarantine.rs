//! What repairs and undos moved aside: listing it, copying it out, and letting go of it.
//!
//! May never remove the last known whole copy of a message, nor a file that no journal accounts for.

use super::batch::ApplyError;
use super::log::{Line, Log};
use super::supply::Prover;
use crate::model::container;
use crate::model::journal::{Intent, Record};
use crate::model::{Digest, RelPath, Stamp, Stat};
use crate::sys::dir::Dir;
use crate::sys::fs::{Fs, Kind, Tree};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

/// What a file in quarantine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The bytes that stood in the store before a repair.
    Replaced,
    /// A whole copy that a repair had placed and an undo took out again.
    Removed,
    /// New bytes that were never placed.
    Staged,
    /// No journal tells.
    Unknown,
}

impl What {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            What::Replaced => "replaced",
            What::Removed => "removed",
            What::Staged => "staged",
            What::Unknown => "unknown",
        }
    }
}

/// One file in the quarantine folder of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name in the folder.
    pub slot: RelPath,
    pub what: What,
    /// Its size, its own date, and since when it lies here (`ctime`: the move set it).
    pub stat: Stat,
    /// Account, mailbox and path that it stood at; `None` for `Unknown`.
    pub origin: Option<Origin>,
}

impl Item {
    /// Since when it lies here.
    pub fn since(&self) -> Stamp {
        self.stat.ctime
    }
}

/// Where an item comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub number: u64,
    pub account: String,
    pub mailbox: String,
    pub path: RelPath,
    /// Digest and length of the whole message. The item's own bytes, unless it is `Replaced`.
    pub content: Option<(Digest, u64)>,
}

/// Lists a run's quarantine folder. `log` is the journal of the repair that the folder belongs to; what
/// undos did since shows in the folder itself.
pub fn inventory(fs: &dyn Fs, log: &dyn Log) -> Result<Vec<Item>, ApplyError> {
    let mut items = found(fs)
        .map_err(|source| ApplyError::FileSystem { doing: "listing the quarantine folder".to_owned(), source })?;
    let mut open: BTreeMap<u64, Intent> = BTreeMap::new();
    for line in log.forward().map_err(ApplyError::journal("reading"))? {
        let Line::Record(record) = line.map_err(ApplyError::journal("reading"))? else { continue };
        match *record {
            Record::Begin(intent) => {
                explain(
                    &mut items,
                    &intent,
                    &intent.at,
                    &[(intent.staged, What::Staged), (intent.replaced, What::Replaced)],
                );
                open.insert(intent.step.number, *intent);
            }
            Record::Done { number, at, placed, saved, .. } => {
                if let Some(intent) = open.remove(&number) {
                    let at = at.unwrap_or_else(|| intent.at.clone());
                    explain(&mut items, &intent, &at, &[(placed, What::Removed), (saved, What::Replaced)]);
                }
            }
            Record::Open { .. } | Record::Close { .. } => {}
        }
    }
    Ok(items.into_values().collect())
}

fn found(fs: &dyn Fs) -> io::Result<BTreeMap<RelPath, Item>> {
    let mut items = BTreeMap::new();
    for name in fs.list(Tree::Quarantine, &RelPath::root())? {
        let slot = RelPath::new(name).map_err(io::Error::other)?;
        if let Some((Kind::File, stat)) = fs.stat(Tree::Quarantine, &slot)? {
            items.insert(slot.clone(), Item { slot, what: What::Unknown, stat, origin: None });
        }
    }
    Ok(items)
}

/// Says what the file in the slot of `intent` is, if it is one of `known`. A slot can have been used twice;
/// the inode tells which use its file is of.
fn explain(items: &mut BTreeMap<RelPath, Item>, intent: &Intent, at: &RelPath, known: &[(Option<Stat>, What)]) {
    let Some(slot) = intent.slot.as_ref().and_then(|slot| RelPath::new(slot.as_bytes()).ok()) else { return };
    let Some(item) = items.get_mut(&slot) else { return };
    let is = |stat: &Option<Stat>| stat.is_some_and(|stat| item.stat.same_file(&stat));
    let Some((_, what)) = known.iter().find(|(stat, _)| is(stat)) else { return };
    item.what = *what;
    item.origin = Some(Origin {
        number: intent.step.number,
        account: intent.step.account.clone(),
        mailbox: intent.step.mailbox.clone(),
        path: at.clone(),
        content: intent.step.action.content(),
    });
}

/// Copies an item to a new file of its name, readable by its owner only. Never overwrites.
pub fn export(fs: &dyn Fs, item: &Item, to: &Dir) -> io::Result<u64> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(to, item.slot.name(), flags, Mode::RUSR | Mode::WUSR)?);
    let mut written = Ok(0);
    let read = fs.read(Tree::Quarantine, &item.slot, &mut |window| {
        if let Ok(length) = written {
            written = file.write_all(window).map(|()| length + window.len() as u64);
        }
    });
    read?;
    let length = written?;
    file.sync_all()?;
    Ok(length)
}

/// What became of an item that was to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    Gone,
    /// Kept, and why.
    Kept(String),
}

/// What an item holds, as what belongs at its place is read.
fn reads_as(prover: &mut dyn Prover, item: &Item, origin: &Origin) -> Result<(Digest, u64), String> {
    match container::storage_number(&origin.path) {
        Some(_) => prover.stored(Tree::Quarantine, &item.slot),
        None => prover.digest(Tree::Quarantine, &item.slot),
    }
}

/// Removes one item. Whether it holds a whole message is read from its bytes, not believed; if it does,
/// `another` must know of another whole copy of that digest.
pub fn purge(
    fs: &dyn Fs,
    prover: &mut dyn Prover,
    item: &Item,
    another: &mut dyn FnMut(&Item, &Digest) -> Result<bool, String>,
) -> io::Result<Purged> {
    let Some(origin) = &item.origin else {
        return Ok(Purged::Kept("no journal tells what it is".to_owned()));
    };
    match fs.stat(Tree::Quarantine, &item.slot)? {
        Some((Kind::File, now)) if now.same_file(&item.stat) => {}
        _ => return Ok(Purged::Kept("it is not what was listed".to_owned())),
    }
    if let Some(content) = origin.content
        && (item.what != What::Replaced || reads_as(prover, item, origin) == Ok(content))
    {
        match another(item, &content.0) {
            Ok(true) => {}
            Ok(false) => return Ok(Purged::Kept("it is the last known whole copy of its message".to_owned())),
            Err(text) => return Ok(Purged::Kept(format!("whether another whole copy exists is not known: {text}"))),
        }
    }
    fs.unlink_quarantine(&item.slot)?;
    fs.sync_dir(Tree::Quarantine, &RelPath::root())?;
    Ok(Purged::Gone)
}
