//! The lock files of mail servers: held while names of a mailbox change that a server keeps a list of.
//!
//! Dovecot's dotlock (FORMATS.md): `dovecot-uidlist.lock` for whatever stands in the list or is it, with `pid:host`
//! inside. One lock file serves the whole run. It is made in the quarantine and moved into the mailbox and out again,
//! so the store needs no unlink, no half-made lock is ever seen, and what was moved out can be looked at before it
//! is removed. May not wait without end, nor take a lock away from the living.

use super::fault::words;
use crate::model::container;
use crate::model::journal::{Change, Intent};
use crate::model::limits::{LOCK_POLL, LOCK_WAIT, LOCK_WAIT_RUN};
use crate::model::plan::Action;
use crate::model::{RelPath, Stat};
use crate::sys::clock;
use crate::sys::fs::{Dress, Fs, Kind, Tree};
use crate::sys::holder::{self, Holder};
use std::io;
use std::time::Duration;

/// The lock of everything that a Dovecot mailbox lists, and the files that it guards.
const MAILBOX_LOCK: &[u8] = b"dovecot-uidlist.lock";
const GUARDED: [&[u8]; 2] = [b"dovecot-uidlist", b"dovecot-keywords"];
const INDEX_LOG: &[u8] = b"dovecot.index.log";
/// The map of storage that mailboxes share, and what guards it.
const MAP: [&[u8]; 2] = [b"dovecot.map.index", b"dovecot.map.index.log"];
const MAP_LOCK: &[u8] = b"dovecot.map.index.log.lock";
const SUBSCRIPTIONS: &[u8] = b"subscriptions";
const SUBSCRIPTIONS_LOCK: &[u8] = b"subscriptions.lock";

/// Where Dovecot keeps the indexes of mbox files.
const BESIDE_FILES: &[u8] = b".imap";

/// Where the lock file lies while it is nowhere else.
const HOME: &[u8] = b"lock";

/// Where the lock of a dead process goes on its way out.
const STALE: &[u8] = b"lock.stale";

/// Looks at a lock before it is given up, however short they were.
const TRIES: u128 = 10 + LOCK_WAIT.as_millis() / LOCK_POLL.as_millis();

/// Only its owner, which is the mailbox's, needs to read it.
const MODE: u32 = 0o600;

/// The lock that a change needs. Replacing a message under its name needs none: no list changes, and the exchange
/// notices whoever was faster.
pub(super) fn lock_of(intent: &Intent) -> Option<RelPath> {
    if matches!(intent.change, Change::MakeFolder | Change::RemoveFolder) {
        return None;
    }
    let dir = intent.at.parent()?;
    if let Action::Rebuild { .. } = intent.step.action {
        if container::storage_number(&intent.at).is_some() {
            return dir.join(MAP_LOCK).ok();
        }
        // Whoever delivers to the file, or changes flags in it, holds this too.
        return dir.join(&[intent.at.name(), b".lock"].concat()).ok();
    }
    if let Some(mailbox) = super::mailbox::mailbox_of(&intent.at) {
        return if matches!(intent.change, Change::Exchange) { None } else { mailbox.join(MAILBOX_LOCK).ok() };
    }
    if let Some(lock) = lock_beside(&dir).filter(|_| is_index(intent.at.name())) {
        return Some(lock);
    }
    match intent.at.name() {
        name if GUARDED.contains(&name) || is_index(name) => dir.join(MAILBOX_LOCK).ok(),
        name if is_map(name) => dir.join(MAP_LOCK).ok(),
        SUBSCRIPTIONS => dir.join(SUBSCRIPTIONS_LOCK).ok(),
        _ => None,
    }
}

/// The lock of the mbox file whose indexes lie in a folder: a server must not see the file and its indexes change one by one.
fn lock_beside(dir: &RelPath) -> Option<RelPath> {
    let above = dir.parent().filter(|above| above.name() == BESIDE_FILES)?;
    let name: &[u8] = if dir.name() == b"INBOX" { b"inbox" } else { dir.name() };
    above.parent()?.join(&[name, b".lock"].concat()).ok()
}

/// What every session of a mailbox keeps open, where no session may see half of a change: the log, for a change to the
/// indexes or to the map.
pub(super) fn session_of(intent: &Intent) -> Option<RelPath> {
    let log = match intent.at.name() {
        name if is_index(name) => INDEX_LOG,
        name if is_map(name) => MAP[1],
        _ => return None,
    };
    intent.at.parent()?.join(log).ok()
}

/// What else a session keeps open of a file that mailboxes share: the map of all messages, by which it has been read.
pub(super) fn map_of(intent: &Intent) -> Vec<RelPath> {
    let shared = container::storage_number(&intent.at).filter(|_| matches!(intent.step.action, Action::Rebuild { .. }));
    let file = |(dir, _): &(RelPath, u32), name: &&[u8]| dir.join(name).ok();
    shared.iter().flat_map(|at| MAP.iter().filter_map(|name| file(at, name))).collect()
}

fn is_index(name: &[u8]) -> bool {
    name.starts_with(b"dovecot.index")
}

fn is_map(name: &[u8]) -> bool {
    name.starts_with(MAP[0]) && name != MAP_LOCK
}

/// Why a lock was not had.
#[derive(Debug)]
pub(super) enum Unlocked {
    /// Somebody has it; in words, with what to do.
    Busy(String),
    Failed(String),
}

/// How a run waits, and what ends its waiting.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub pause: &'a dyn Fn(Duration),
    pub interrupt: &'a dyn Fn() -> bool,
}

/// The lock of a run: at home, or in one mailbox.
pub(super) struct Locks<'a> {
    patience: Patience<'a>,
    /// What is left of [`LOCK_WAIT_RUN`].
    left: Duration,
    file: Option<Stat>,
    at: Option<RelPath>,
    /// Locks that could not be given back, with the reason. The next run removes them, and a server that finds their
    /// holder dead does so itself.
    pub stuck: Vec<(RelPath, String)>,
}

impl<'a> Locks<'a> {
    pub(super) fn new(patience: Patience<'a>) -> Locks<'a> {
        Locks { patience, left: LOCK_WAIT_RUN, file: None, at: None, stuck: Vec::new() }
    }

    /// Holds `wanted` and nothing else. Answers whether that took waiting, so that what was listed before is old.
    pub(super) fn hold(&mut self, fs: &dyn Fs, wanted: Option<RelPath>) -> Result<bool, Unlocked> {
        if self.at == wanted {
            return Ok(false);
        }
        self.release(fs);
        match wanted {
            Some(path) => self.acquire(fs, path),
            None => Ok(false),
        }
    }

    fn acquire(&mut self, fs: &dyn Fs, path: RelPath) -> Result<bool, Unlocked> {
        let failed = |error: io::Error| Unlocked::Failed(words("locking the mailbox", &error, 0, None));
        let file = self.prepare(fs, &path).map_err(failed)?;
        let mut waited = Duration::ZERO;
        for _ in 0..TRIES {
            match place(fs, &path, &file) {
                Ok(()) => {
                    self.at = Some(path);
                    return Ok(waited > Duration::ZERO);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            let Some(who) = obstacle(fs, &path).map_err(failed)? else { continue };
            if !self.wait(&mut waited) {
                let seconds = waited.as_secs();
                return Err(Unlocked::Busy(format!("the mailbox is in use: {path} is {who}; waited {seconds} s")));
            }
        }
        Err(Unlocked::Busy(format!("the mailbox is in use: {path} is taken again and again")))
    }

    /// Waits for whoever is in the way, unless that was long enough.
    pub(super) fn wait(&mut self, waited: &mut Duration) -> bool {
        if *waited >= LOCK_WAIT || self.left.is_zero() || (self.patience.interrupt)() {
            return false;
        }
        (self.patience.pause)(LOCK_POLL);
        *waited += LOCK_POLL;
        self.left = self.left.saturating_sub(LOCK_POLL);
        true
    }

    /// The lock file at home, belonging to the owner of the mailbox.
    fn prepare(&mut self, fs: &dyn Fs, path: &RelPath) -> io::Result<Stat> {
        let mailbox = path.parent().unwrap_or_default();
        let (uid, gid) = match fs.stat(Tree::Base, &mailbox)? {
            Some((Kind::Directory, stat)) => (stat.uid, stat.gid),
            _ => return Err(io::Error::new(io::ErrorKind::NotFound, "the mailbox is not there")),
        };
        if let Some(file) = self.file
            && (file.uid, file.gid) == (uid, gid)
        {
            return Ok(file);
        }
        let made = make(fs)?;
        let dress = Dress { uid, gid, mode: MODE, mtime: clock::now(), xattrs: &[] };
        let file = match fs.dress(Tree::Quarantine, &home()?, &dress) {
            // Who may not give files away has the lock all the same.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => made,
            dressed => dressed?,
        };
        // After a power cut an empty lock would tell nobody that its holder is dead.
        fs.sync_file(Tree::Quarantine, &home()?)?;
        self.file = Some(file);
        Ok(file)
    }

    /// Gives the lock back.
    pub(super) fn release(&mut self, fs: &dyn Fs) {
        let (Some(path), Some(file)) = (self.at.take(), self.file) else { return };
        if let Err(error) = take_home(fs, &path, &file) {
            self.stuck.push((path, words("giving the mailbox's lock back", &error, 0, None)));
            self.file = None;
        }
    }

    /// Gives the lock back and removes its file. False if the file stays; the next recovery removes it.
    pub(super) fn end(mut self, fs: &dyn Fs) -> bool {
        self.release(fs);
        self.file.is_none() || home().and_then(|home| remove_if_there(fs, &home)).is_ok()
    }
}

fn home() -> io::Result<RelPath> {
    RelPath::new(HOME).map_err(io::Error::other)
}

/// Makes the lock file anew; one that is there was left by an earlier run.
fn make(fs: &dyn Fs) -> io::Result<Stat> {
    let home = home()?;
    remove_if_there(fs, &home)?;
    fs.create(Tree::Quarantine, &home, &mut |sink| sink(&holder::text()))
}

fn remove_if_there(fs: &dyn Fs, home: &RelPath) -> io::Result<()> {
    match fs.unlink_quarantine(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_there(fs: &dyn Fs, tree: Tree, path: &RelPath, file: &Stat) -> io::Result<bool> {
    Ok(matches!(fs.stat(tree, path)?, Some((Kind::File, found)) if found.same_file(file)))
}

/// Moves the lock file into the mailbox, unless another one is there.
fn place(fs: &dyn Fs, path: &RelPath, file: &Stat) -> io::Result<()> {
    let home = home()?;
    let Err(error) = fs.rename_new((Tree::Quarantine, &home), (Tree::Base, path)) else { return Ok(()) };
    if !is_there(fs, Tree::Base, path, file)? {
        return Err(error);
    }
    // It came through all the same; where a move is link and unlink, with one name too many.
    remove_if_there(fs, &home)
}

/// Moves the lock file out of the mailbox. Whatever else came to stand there stays.
fn take_home(fs: &dyn Fs, path: &RelPath, file: &Stat) -> io::Result<()> {
    if !is_there(fs, Tree::Base, path, file)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "somebody took the lock away"));
    }
    let home = home()?;
    match fs.rename_over((Tree::Base, path), (Tree::Quarantine, &home)) {
        Err(error) if is_there(fs, Tree::Base, path, file)? => return Err(error),
        _ => {}
    }
    if is_there(fs, Tree::Quarantine, &home, file)? {
        return Ok(());
    }
    // Another one came between the look and the move.
    fs.rename_new((Tree::Quarantine, &home), (Tree::Base, path))?;
    Err(io::Error::new(io::ErrorKind::NotFound, "somebody took the lock away"))
}

/// Who keeps us from a lock; `None` if it is free by now. Removes a lock that nobody holds any more.
fn obstacle(fs: &dyn Fs, path: &RelPath) -> io::Result<Option<String>> {
    let stat = match fs.stat(Tree::Base, path)? {
        None => return Ok(None),
        Some((Kind::File, stat)) => stat,
        Some(_) => return Ok(Some("no file at all: remove it".to_owned())),
    };
    match holder_of(fs, path, &stat)? {
        Holder::Alive(pid) => Ok(Some(format!("held by process {pid}"))),
        Holder::Unknown => Ok(Some("held by another process".to_owned())),
        Holder::Gone => {
            remove_stale(fs, path, &stat)?;
            Ok(None)
        }
    }
}

fn holder_of(fs: &dyn Fs, path: &RelPath, stat: &Stat) -> io::Result<Holder> {
    let mut text = Vec::new();
    if stat.size <= holder::TEXT_MAX {
        match fs.read(Tree::Base, path, &mut |window| text.extend_from_slice(window)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => drop(read?),
        }
    }
    Ok(holder::of(&text, stat))
}

/// Removes a lock whose holder is gone, unless it is another one by now. Our own file must be at home or nowhere, so
/// the stale one gets a name of its own on its way out.
fn remove_stale(fs: &dyn Fs, path: &RelPath, stat: &Stat) -> io::Result<()> {
    let aside = RelPath::new(STALE).map_err(io::Error::other)?;
    remove_if_there(fs, &aside)?;
    match fs.rename_over((Tree::Base, path), (Tree::Quarantine, &aside)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    if is_there(fs, Tree::Quarantine, &aside, stat)? {
        return fs.unlink_quarantine(&aside);
    }
    fs.rename_new((Tree::Quarantine, &aside), (Tree::Base, path))
}

/// Removes what a killed run left of its lock for one change: the lock itself, if its holder is dead.
pub(super) fn clear(fs: &dyn Fs, intent: &Intent) -> io::Result<()> {
    if let Some(path) = lock_of(intent) {
        obstacle(fs, &path)?;
    }
    Ok(())
}

/// Removes the lock files that a killed run left in the quarantine.
pub(super) fn clear_home(fs: &dyn Fs) -> io::Result<()> {
    for name in [HOME, STALE] {
        remove_if_there(fs, &RelPath::new(name).map_err(io::Error::other)?)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "dotlock_tests.rs"]
mod tests;
