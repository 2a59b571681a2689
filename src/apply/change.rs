//! Makes one change of names, and makes sure that what moved is what was meant to move.
//!
//! May not write content. Between looking and moving another process may act, so every move is looked at
//! again afterwards and taken back if the wrong file moved.

use super::fault::{unsupported, words};
use super::mailbox::Mailboxes;
use super::settle::{self, Settled};
use crate::model::journal::{Change, Intent};
use crate::model::plan::Action;
use crate::model::{RelPath, Stat};
use crate::sys::fs::{Fs, Kind, Tree};
use std::io;

/// A change that was made (and not yet synced).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Changed {
    pub at: RelPath,
    pub placed: Option<Stat>,
    pub saved: Option<Stat>,
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Not what the plan saw; left alone.
    Conflict(String),
    /// The same, but a file that should not have moved could not go back and stays in the slot.
    Stranded(String, Stat),
    /// It is so already.
    Already(String),
    /// The mailbox is in use; nothing was tried.
    Busy(String),
    /// The operating system refused, and nothing changed.
    Failed(String),
    /// The operating system refused, and did not say afterwards what the state is. The next run settles it.
    Unknown(String),
}

impl Refusal {
    fn failed(doing: &str, error: &io::Error) -> Refusal {
        Refusal::Failed(words(doing, error, 0, None))
    }

    fn unknown(doing: &str, error: &io::Error) -> Refusal {
        Refusal::Unknown(words(doing, error, 0, None))
    }
}

/// How often a file that is renamed under our hands is followed.
const FOLLOW_MAX: usize = 3;

/// Suffix of the second name that a file gets where the file system cannot exchange.
pub(super) const OLD_SUFFIX: &str = ".old";

/// The slot of an intent as a path; a journal is a file that somebody may have edited.
pub(super) fn slot_of(intent: &Intent) -> io::Result<RelPath> {
    let name = intent.slot.as_deref().unwrap_or_default();
    RelPath::root().join(name.as_bytes()).map_err(io::Error::other)
}

/// Where the fall-back of an exchange keeps the old file in between.
pub(super) fn old_of(slot: &RelPath) -> io::Result<RelPath> {
    RelPath::new([slot.as_bytes(), OLD_SUFFIX.as_bytes()].concat()).map_err(io::Error::other)
}

/// Makes the change. `Begin` must be on the disk.
pub(super) fn perform(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    match &intent.change {
        Change::Exchange => exchange(fs, boxes, intent),
        Change::Put => put(fs, boxes, intent),
        Change::Take => take(fs, boxes, intent),
        Change::Carry { from } => carry(fs, boxes, intent, from),
        Change::MakeFolder => make_folder(fs, boxes, intent),
        Change::RemoveFolder => remove_folder(fs, boxes, intent),
    }
}

fn wanted(stat: Option<&Stat>) -> Result<&Stat, Refusal> {
    stat.ok_or_else(|| Refusal::Failed("the journal does not say which file".to_owned()))
}

fn slot(intent: &Intent) -> Result<RelPath, Refusal> {
    slot_of(intent).map_err(|e| Refusal::failed("naming the quarantine slot", &e))
}

/// After an error of the change itself: it may have been made all the same (a lost reply).
fn after_error(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    intent: &Intent,
    doing: &str,
    error: &io::Error,
) -> Result<Changed, Refusal> {
    boxes.forget(&intent.at);
    match settle::settle(fs, boxes, intent) {
        Ok(Settled::Made(changed)) => Ok(changed),
        Ok(Settled::NotMade) => Err(Refusal::failed(doing, error)),
        Ok(Settled::Conflict { text, stranded: None }) => Err(Refusal::Conflict(text)),
        Ok(Settled::Conflict { text, stranded: Some(saved) }) => Err(Refusal::Stranded(text, saved)),
        Err(_) => Err(Refusal::unknown(doing, error)),
    }
}

fn exchange(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    let slot = slot(intent)?;
    let replaced = wanted(intent.replaced.as_ref())?;
    for _ in 0..FOLLOW_MAX {
        let found = boxes.locate(fs, &intent.at, replaced).map_err(|e| Refusal::failed("looking at the target", &e))?;
        let Some((at, _)) = found else {
            return Err(Refusal::Conflict("the file changed or went away since the plan".to_owned()));
        };
        match fs.exchange((Tree::Quarantine, &slot), (Tree::Base, &at)) {
            Ok(()) => return confirm_exchange(fs, boxes, intent, &slot, at),
            // Renamed between the look and the exchange: look where it went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => boxes.forget(&at),
            Err(error) if unsupported(&error) => return replace(fs, boxes, intent, &slot, at),
            Err(error) => return after_error(fs, boxes, intent, "exchanging the files", &error),
        }
    }
    Err(Refusal::Conflict("the file is being renamed all the time".to_owned()))
}

/// Looks at what came out of the target, and puts it back if it is not what the plan judged.
fn confirm_exchange(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    intent: &Intent,
    slot: &RelPath,
    at: RelPath,
) -> Result<Changed, Refusal> {
    let replaced = wanted(intent.replaced.as_ref())?;
    let out = fs.stat(Tree::Quarantine, slot).map_err(|e| Refusal::unknown("looking at what was replaced", &e))?;
    match out {
        Some((Kind::File, saved)) if saved.same_file(replaced) => {
            let placed = whereabouts(fs, boxes, &at, intent);
            Ok(Changed { at, placed, saved: Some(saved) })
        }
        _ => match fs.exchange((Tree::Quarantine, slot), (Tree::Base, &at)) {
            Ok(()) => Err(Refusal::Conflict("another file came to stand at the target; put back".to_owned())),
            Err(error) => after_error(fs, boxes, intent, "putting back what stood at the target", &error),
        },
    }
}

/// Attributes of the file that we placed; as staged if somebody took it on already.
fn whereabouts(fs: &dyn Fs, boxes: &mut Mailboxes, at: &RelPath, intent: &Intent) -> Option<Stat> {
    let staged = intent.staged.as_ref()?;
    let found = boxes.locate(fs, at, staged).ok().flatten();
    Some(found.map_or(*staged, |(_, stat)| stat))
}

/// The exchange where the file system has none: a second name in quarantine first, then rename over.
/// Between the look and the rename another process may put a new file there, which would then be lost;
/// that is why this is the fall-back.
fn replace(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    intent: &Intent,
    slot: &RelPath,
    at: RelPath,
) -> Result<Changed, Refusal> {
    let replaced = wanted(intent.replaced.as_ref())?;
    let old = old_of(slot).map_err(|e| Refusal::failed("naming the quarantine slot", &e))?;
    if let Err(error) = fs.link((Tree::Base, &at), (Tree::Quarantine, &old)) {
        return after_error(fs, boxes, intent, "linking the old file into quarantine", &error);
    }
    let before = match second_name(fs, &old, replaced) {
        Ok(stat) => stat,
        Err(refusal) => {
            // The old file keeps its name in the store, this is only the second one.
            return fs
                .unlink_quarantine(&old)
                .map_or_else(|e| Err(Refusal::unknown("unlinking", &e)), |()| Err(refusal));
        }
    };
    if let Err(error) = fs.rename_over((Tree::Quarantine, slot), (Tree::Base, &at)) {
        return after_error(fs, boxes, intent, "renaming over the old file", &error);
    }
    let after = fs.stat(Tree::Quarantine, &old).map_err(|e| Refusal::unknown("looking at the old file", &e))?;
    // A file system that counts links tells whether the old file still had this name when we renamed over it.
    if before.nlink > 1 && after.is_some_and(|(_, stat)| stat.nlink >= before.nlink) {
        return withdraw(fs, boxes, &old, slot, &at);
    }
    // The slot is free and the folder ours: a plain rename, which is atomic everywhere.
    fs.rename_over((Tree::Quarantine, &old), (Tree::Quarantine, slot))
        .map_err(|e| Refusal::unknown("naming the old file in quarantine", &e))?;
    Ok(Changed { placed: whereabouts(fs, boxes, &at, intent), at, saved: after.map(|(_, stat)| stat) })
}

/// The old file was renamed just before we renamed over its name: what we placed is one file too many.
fn withdraw(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    old: &RelPath,
    slot: &RelPath,
    at: &RelPath,
) -> Result<Changed, Refusal> {
    boxes.forget(at);
    fs.rename_new((Tree::Base, at), (Tree::Quarantine, slot))
        .map_err(|e| Refusal::unknown("taking the new file back", &e))?;
    // As long as the second name is there, recovery knows that the change was not made.
    settle::sync_both(fs, at).map_err(|e| Refusal::unknown("syncing what was taken back", &e))?;
    fs.unlink_quarantine(old).map_err(|e| Refusal::unknown("unlinking the second name", &e))?;
    Err(Refusal::Conflict("the file was renamed while it was replaced".to_owned()))
}

/// The second name is on the disk and names the file that was judged.
fn second_name(fs: &dyn Fs, old: &RelPath, replaced: &Stat) -> Result<Stat, Refusal> {
    let found = fs.stat(Tree::Quarantine, old).map_err(|e| Refusal::failed("looking at the old file", &e))?;
    match found {
        Some((Kind::File, stat)) if stat.same_file(replaced) => {
            // The name must survive a power cut before the only other one is overwritten.
            fs.sync_dir(Tree::Quarantine, &RelPath::root())
                .map_err(|e| Refusal::failed("syncing the quarantine", &e))?;
            Ok(stat)
        }
        _ => Err(Refusal::Conflict("the file was replaced since the plan".to_owned())),
    }
}

fn put(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    let slot = slot(intent)?;
    let at = intent.at.clone();
    nothing_of_this_key(fs, boxes, &at, None)?;
    match fs.rename_new((Tree::Quarantine, &slot), (Tree::Base, &at)) {
        Ok(()) => {
            boxes.added(&at);
            Ok(Changed { placed: whereabouts(fs, boxes, &at, intent), at, saved: None })
        }
        Err(error) => refused(fs, boxes, intent, "moving the file to its place", &error),
    }
}

/// What the refusal of a move to a free name means.
fn refused(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    intent: &Intent,
    doing: &str,
    error: &io::Error,
) -> Result<Changed, Refusal> {
    match after_error(fs, boxes, intent, doing, error) {
        Err(Refusal::Failed(_)) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Refusal::Conflict("another file came to stand there".to_owned()))
        }
        settled => settled,
    }
}

/// Makes sure that the message is not there under whatever flags; `except` is the file about to move.
fn nothing_of_this_key(fs: &dyn Fs, boxes: &mut Mailboxes, at: &RelPath, except: Option<&Stat>) -> Result<(), Refusal> {
    let found = boxes.candidates(fs, at).map_err(|e| Refusal::failed("looking for the message in its mailbox", &e))?;
    match found.into_iter().find(|(path, _, stat)| path == at || except.is_none_or(|moved| !stat.same_file(moved))) {
        None => Ok(()),
        Some((path, ..)) => Err(Refusal::Conflict(format!("already there under {path}"))),
    }
}

fn take(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    let slot = slot(intent)?;
    let replaced = wanted(intent.replaced.as_ref())?;
    let found = boxes.locate(fs, &intent.at, replaced).map_err(|e| Refusal::failed("looking at the file", &e))?;
    let Some((at, _)) = found else {
        return Err(Refusal::Conflict("the file changed or went away since it was put there".to_owned()));
    };
    if fs.stat(Tree::Quarantine, &slot).map_err(|e| Refusal::failed("looking at the slot", &e))?.is_some() {
        return Err(Refusal::Conflict("the quarantine slot is taken".to_owned()));
    }
    // The slot is free and the folder ours: a plain rename, which is one step everywhere. Where a move to a free
    // name is link and unlink, the unlink could hit a file that somebody puts there in between.
    if let Err(error) = fs.rename_over((Tree::Base, &at), (Tree::Quarantine, &slot)) {
        return after_error(fs, boxes, intent, "moving the file to quarantine", &error);
    }
    boxes.removed(&at);
    let out = fs.stat(Tree::Quarantine, &slot).map_err(|e| Refusal::unknown("looking at what was moved", &e))?;
    match out {
        Some((Kind::File, saved)) if saved.same_file(replaced) => Ok(Changed { at, placed: None, saved: Some(saved) }),
        _ => match fs.rename_new((Tree::Quarantine, &slot), (Tree::Base, &at)) {
            Ok(()) => Err(Refusal::Conflict("another file came to stand there; put back".to_owned())),
            Err(error) => Err(Refusal::unknown("putting back what stood there", &error)),
        },
    }
}

fn carry(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent, from: &RelPath) -> Result<Changed, Refusal> {
    let moved = wanted(intent.staged.as_ref())?;
    let at = intent.at.clone();
    let found = boxes.locate(fs, from, moved).map_err(|e| Refusal::failed("looking at the file", &e))?;
    let Some((source, _)) = found else {
        return Err(Refusal::Conflict("the file changed or went away since the plan".to_owned()));
    };
    nothing_of_this_key(fs, boxes, &at, Some(moved))?;
    if let Err(error) = fs.rename_new((Tree::Base, &source), (Tree::Base, &at)) {
        return refused(fs, boxes, intent, "giving the file its name back", &error);
    }
    boxes.removed(&source);
    boxes.added(&at);
    let now = fs.stat(Tree::Base, &at).map_err(|e| Refusal::unknown("looking at what was moved", &e))?;
    match now {
        Some((_, stat)) if !stat.same_file(moved) => {
            boxes.forget(&at);
            boxes.forget(&source);
            fs.rename_new((Tree::Base, &at), (Tree::Base, &source))
                .map_err(|e| Refusal::unknown("putting back what was moved", &e))?;
            Err(Refusal::Conflict("another file came to stand there; put back".to_owned()))
        }
        now => Ok(Changed { at, placed: Some(now.map_or(*moved, |(_, stat)| stat)), saved: None }),
    }
}

fn make_folder(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    let at = intent.at.clone();
    let Action::MakeFolder { attrs } = &intent.step.action else {
        return Err(Refusal::Failed("the step makes no folder".to_owned()));
    };
    match fs.make_dir(Tree::Base, &at, settle::NEW_FOLDER_MODE) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return folder_there(fs, &at),
        Err(error) => return after_error(fs, boxes, intent, "making the folder", &error),
    }
    if let Err(error) = fs.dress_dir(Tree::Base, &at, attrs.uid, attrs.gid, attrs.mode) {
        return match fs.remove_dir(Tree::Base, &at) {
            Ok(()) => Err(Refusal::failed("giving the folder its owner", &error)),
            Err(_) => Err(Refusal::unknown("giving the folder its owner", &error)),
        };
    }
    let placed = fs.stat(Tree::Base, &at).map_err(|e| Refusal::unknown("looking at the folder", &e))?;
    Ok(Changed { at, placed: placed.map(|(_, stat)| stat), saved: None })
}

fn folder_there(fs: &dyn Fs, at: &RelPath) -> Result<Changed, Refusal> {
    match fs.stat(Tree::Base, at).map_err(|e| Refusal::failed("looking at the folder", &e))? {
        Some((Kind::Directory, _)) => Err(Refusal::Already("the folder is there".to_owned())),
        _ => Err(Refusal::Conflict("something that is no folder stands there".to_owned())),
    }
}

fn remove_folder(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> Result<Changed, Refusal> {
    let at = intent.at.clone();
    match fs.remove_dir(Tree::Base, &at) {
        Ok(()) => Ok(Changed { at, placed: None, saved: None }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::Already("the folder is gone".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(Refusal::Conflict("the folder is not empty any more; left".to_owned()))
        }
        Err(error) => after_error(fs, boxes, intent, "removing the folder", &error),
    }
}
