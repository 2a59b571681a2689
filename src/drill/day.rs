//! A users' day: flag changes, new mail read, deletions, moves between folders, deliveries.
//!
//! Changes only the store that it is given, by the operations that a mail server uses.

use super::companions::number_in_uidlist;
use super::corpus::Mails;
use super::disk::{self, Dress, DrillError, Result};
use super::names;
use super::truth::{Entry, Snapshot};
use crate::model::{RelPath, Stamp};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::path::Path;

/// When the day's mail arrives: 1 March 2025.
const MORNING: i64 = 1_740_787_200;

/// How many of each. Where the store has too few messages, fewer happen.
#[derive(Debug, Clone, Default)]
pub struct DayOptions {
    pub seed: u64,
    /// Renames of files in `cur`.
    pub flag_changes: usize,
    /// Renames from `new` to `cur`.
    pub new_to_cur: usize,
    pub deletions: usize,
    /// To another folder of the account, under a new name.
    pub moves: usize,
    pub deliveries: usize,
    /// A mailbox that nobody touches today.
    pub spared: Option<RelPath>,
}

/// What one user or sender did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Flags { from: RelPath, to: RelPath },
    Seen { from: RelPath, to: RelPath },
    Deleted { path: RelPath },
    Moved { from: RelPath, to: RelPath },
    Delivered { path: RelPath },
}

impl Change {
    /// Where the message stands in the evening, if it does.
    pub fn now(&self) -> Option<&RelPath> {
        match self {
            Change::Flags { to, .. } | Change::Seen { to, .. } | Change::Moved { to, .. } => Some(to),
            Change::Delivered { path } => Some(path),
            Change::Deleted { .. } => None,
        }
    }

    /// Where it stood in the morning, if it did.
    pub fn before(&self) -> Option<&RelPath> {
        match self {
            Change::Flags { from, .. } | Change::Seen { from, .. } | Change::Moved { from, .. } => Some(from),
            Change::Deleted { path } => Some(path),
            Change::Delivered { .. } => None,
        }
    }
}

/// Lives one day in `store`, which `before` describes. Every message is touched once at most, and none
/// that has several names.
pub fn live(store: &Path, before: &Snapshot, mails: &mut Mails, options: &DayOptions) -> Result<Vec<Change>> {
    let mut rng = Rng::with_seed(options.seed);
    let (mut cur, mut new) = (Vec::new(), Vec::new());
    for (path, entry) in before.messages().filter(|(_, e)| e.nlink == 1) {
        match names::mailbox(path) {
            Some((mailbox, _)) if Some(&mailbox) == options.spared.as_ref() => {}
            Some((_, names::Place::New)) => new.push((path, entry)),
            Some((_, names::Place::Cur)) => cur.push((path, entry)),
            None => {}
        }
    }
    rng.shuffle(&mut cur);
    rng.shuffle(&mut new);
    let mut day = Day { store, rng, changes: Vec::new(), number: 0 };
    for (path, _) in cur.split_off(cur.len().saturating_sub(options.flag_changes)) {
        day.change_flags(path)?;
    }
    for (path, _) in new.into_iter().take(options.new_to_cur) {
        day.see(path)?;
    }
    for (path, _) in cur.split_off(cur.len().saturating_sub(options.deletions)) {
        disk::remove_file(&store.join(path.as_path()))?;
        day.changes.push(Change::Deleted { path: path.clone() });
    }
    let folders = mailboxes(before, options.spared.as_ref());
    for (path, entry) in cur.split_off(cur.len().saturating_sub(options.moves)) {
        day.relocate(path, entry, &folders)?;
    }
    for _ in 0..options.deliveries {
        day.deliver(&folders, mails, before)?;
    }
    Ok(day.changes)
}

/// Folders that hold messages and a uidlist.
fn mailboxes(before: &Snapshot, spared: Option<&RelPath>) -> Vec<RelPath> {
    let all: BTreeSet<RelPath> = before.messages().filter_map(|(p, _)| Some(names::mailbox(p)?.0)).collect();
    all.into_iter().filter(|m| Some(m) != spared).collect()
}

struct Day<'a> {
    store: &'a Path,
    rng: Rng,
    changes: Vec<Change>,
    number: u64,
}

impl Day<'_> {
    fn change_flags(&mut self, from: &RelPath) -> Result<()> {
        let old = names::flags(from.name());
        let flag = *self.rng.choice(b"FRST").unwrap_or(&b'S');
        let mut flags: Vec<u8> = old.iter().copied().filter(|&f| f != flag).collect();
        if flags.len() == old.len() {
            flags.push(flag);
        }
        let to = sibling(from, b"cur", &names::with_flags(from.name(), &flags))?;
        self.rename(from, &to)?;
        self.changes.push(Change::Flags { from: from.clone(), to });
        Ok(())
    }

    fn see(&mut self, from: &RelPath) -> Result<()> {
        let to = sibling(from, b"cur", &names::with_flags(from.name(), b"S"))?;
        self.rename(from, &to)?;
        self.number(&to)?;
        self.changes.push(Change::Seen { from: from.clone(), to });
        Ok(())
    }

    fn relocate(&mut self, from: &RelPath, entry: &Entry, folders: &[RelPath]) -> Result<()> {
        let Some((home, _)) = names::mailbox(from) else { return Ok(()) };
        let account = names::account(from);
        let others: Vec<&RelPath> = folders.iter().filter(|f| **f != home && names::account(f) == account).collect();
        let Some(folder) = self.rng.choice(others) else { return Ok(()) };
        let name = self.fresh(entry.mtime, None);
        let to = below(folder, b"cur", &names::with_flags(&name, names::flags(from.name())))?;
        self.rename(from, &to)?;
        self.number(&to)?;
        self.changes.push(Change::Moved { from: from.clone(), to });
        Ok(())
    }

    fn deliver(&mut self, folders: &[RelPath], mails: &mut Mails, before: &Snapshot) -> Result<()> {
        let inboxes = folders.iter().filter(|f| f.name() == b"Maildir");
        let Some(inbox) = self.rng.choice(inboxes.collect::<Vec<_>>()) else { return Ok(()) };
        let bytes = mails.message()?;
        let received = Stamp { sec: MORNING + self.rng.i64(0..36_000), nsec: self.rng.u32(..1_000_000_000) };
        let name = self.fresh(received, Some((bytes.len() as u64, names::crlf_size(&bytes))));
        let path = below(inbox, b"new", &name)?;
        let owner = before.get(inbox).map(|e| (e.uid, e.gid));
        disk::create(&self.store.join(path.as_path()), &bytes, Dress { owner, mode: 0o600 }, received)?;
        self.changes.push(Change::Delivered { path });
        Ok(())
    }

    /// A name that no other message of the store has.
    fn fresh(&mut self, received: Stamp, sizes: Option<(u64, u64)>) -> Vec<u8> {
        self.number += 1;
        names::fresh(received, 2_000_000 + self.number, sizes)
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<()> {
        disk::rename(&self.store.join(from.as_path()), &self.store.join(to.as_path()))
    }

    fn number(&self, path: &RelPath) -> Result<()> {
        match names::mailbox(path) {
            Some((mailbox, _)) => number_in_uidlist(&self.store.join(mailbox.as_path()), path.name()),
            None => Ok(()),
        }
    }
}

/// Another name in a folder of the same mailbox.
fn sibling(path: &RelPath, folder: &[u8], name: &[u8]) -> Result<RelPath> {
    let (mailbox, _) = names::mailbox(path).ok_or_else(|| DrillError::Setup(format!("{path} is no message")))?;
    below(&mailbox, folder, name)
}

fn below(mailbox: &RelPath, folder: &[u8], name: &[u8]) -> Result<RelPath> {
    let joined = mailbox.join(folder).and_then(|dir| dir.join(name));
    joined.map_err(|e| DrillError::Setup(format!("{mailbox}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::world::{WorldOptions, build};
    use super::*;

    #[test]
    fn the_day_is_as_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let mut mails = Mails::generated(5);
        build(dir.path(), &mut mails, &WorldOptions { seed: 5, accounts: 5, messages: 60 }).unwrap();
        let before = Snapshot::take(dir.path()).unwrap();
        let spared = before.messages().find_map(|(p, _)| Some(names::mailbox(p)?.0)).unwrap();
        let options = DayOptions {
            seed: 5,
            flag_changes: 20,
            new_to_cur: 5,
            deletions: 6,
            moves: 4,
            deliveries: 3,
            spared: Some(spared.clone()),
        };
        let changes = live(dir.path(), &before, &mut mails, &options).unwrap();
        assert_eq!(changes.len(), 38);
        let after = Snapshot::take(dir.path()).unwrap();
        assert_eq!(after.messages().count(), before.messages().count() - 6 + 3);
        for change in &changes {
            assert!(change.before().is_none_or(|p| before.contains(p) && !after.contains(p)), "{change:?}");
            assert!(change.now().is_none_or(|p| after.contains(p) && !before.contains(p)), "{change:?}");
            assert!(
                change
                    .before()
                    .is_none_or(|p| p.strip_prefix(&spared).is_none_or(|_| names::mailbox(p).unwrap().0 != spared))
            );
            if let (Some(was), Some(is)) = (change.before(), change.now()) {
                assert_eq!(before.get(was).unwrap().digest, after.get(is).unwrap().digest, "{change:?}");
            }
        }
    }
}
