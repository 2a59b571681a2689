//! Finds out from the disk whether a change that was begun was made, and leaves nothing in between.
//!
//! Used after an error and after a crash. May finish a change or take it back, never start one.

use super::change::{Changed, old_of, slot_of};
use super::mailbox::Mailboxes;
use crate::model::journal::{Change, Intent};
use crate::model::plan::Action;
use crate::model::{RelPath, Stat};
use crate::sys::fs::{Fs, Kind, Tree};
use std::io;

/// Folders are made for nobody else to enter, and get their owner and mode afterwards.
pub(super) const NEW_FOLDER_MODE: u32 = 0o700;

/// What became of a change.
#[derive(Debug)]
pub(super) enum Settled {
    Made(Changed),
    /// Not made; staged bytes, if any, are still in their slot.
    NotMade,
    /// It met another file than the one judged, and was taken back; `stranded` is what could not go back
    /// because its name is taken, and stays in the slot.
    Conflict {
        text: String,
        stranded: Option<Stat>,
    },
}

/// Settles one begun change. What it leaves is not synced.
pub(super) fn settle(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> io::Result<Settled> {
    match &intent.change {
        Change::Exchange => exchange(fs, boxes, intent),
        Change::Put => put(fs, boxes, intent),
        Change::Take => take(fs, intent),
        Change::Carry { from } => carry(fs, boxes, intent, from),
        Change::MakeFolder => make_folder(fs, intent),
        Change::RemoveFolder => remove_folder(fs, intent),
    }
}

fn file_at(fs: &dyn Fs, tree: Tree, path: &RelPath) -> io::Result<Option<Stat>> {
    Ok(fs.stat(tree, path)?.filter(|(kind, _)| *kind == Kind::File).map(|(_, stat)| stat))
}

fn is(found: Option<&Stat>, wanted: Option<&Stat>) -> bool {
    matches!((found, wanted), (Some(found), Some(wanted)) if found.same_file(wanted))
}

/// Where the staged file is now; where it was put, if its owner did something with it since.
fn placed(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> io::Result<(RelPath, Option<Stat>)> {
    let Some(staged) = &intent.staged else { return Ok((intent.at.clone(), None)) };
    let found = boxes.locate(fs, &intent.at, staged)?;
    Ok(found.map_or((intent.at.clone(), Some(*staged)), |(at, stat)| (at, Some(stat))))
}

fn exchange(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> io::Result<Settled> {
    let slot = slot_of(intent)?;
    let old = old_of(&slot)?;
    let in_slot = file_at(fs, Tree::Quarantine, &slot)?;
    let in_old = file_at(fs, Tree::Quarantine, &old)?;
    if is(in_slot.as_ref(), intent.staged.as_ref()) {
        if let Some(staged) = &intent.staged
            && let Some((at, _)) = boxes.locate(fs, &intent.at, staged)?
        {
            // The fall-back was taking the new file back, and it has both names.
            drop_second_name(fs, &at, &slot, (Tree::Quarantine, &slot))?;
        }
        if in_old.is_some_and(|stat| stat.nlink > 1) {
            // The fall-back got as far as the second name; the first one is still in the store.
            fs.unlink_quarantine(&old)?;
        }
        return Ok(Settled::NotMade);
    }
    let saved = match (in_slot, in_old) {
        (None, Some(old_stat)) if stands_twice(fs, boxes, intent, &old_stat)? => {
            // The old file was renamed just before we renamed over its name: what we placed is one too many.
            fs.rename_new((Tree::Base, &intent.at), (Tree::Quarantine, &slot))?;
            sync_both(fs, &intent.at)?;
            fs.unlink_quarantine(&old)?;
            return Ok(Settled::NotMade);
        }
        (None, Some(old_stat)) => {
            fs.rename_over((Tree::Quarantine, &old), (Tree::Quarantine, &slot))?;
            Some(old_stat)
        }
        (in_slot, _) => in_slot,
    };
    let (at, placed) = placed(fs, boxes, intent)?;
    if saved.is_none() {
        // Nothing of ours empties a slot before `Done`; whoever did, took the new file if it is not in the store.
        let now = file_at(fs, Tree::Base, &at)?;
        let made = is(now.as_ref(), intent.staged.as_ref());
        return Ok(if made { Settled::Made(Changed { at, placed, saved }) } else { Settled::NotMade });
    }
    if is(saved.as_ref(), intent.replaced.as_ref()) {
        return Ok(Settled::Made(Changed { at, placed, saved }));
    }
    let now = file_at(fs, Tree::Base, &at)?;
    if is(now.as_ref(), intent.staged.as_ref()) {
        fs.exchange((Tree::Quarantine, &slot), (Tree::Base, &at))?;
        return Ok(Settled::Conflict { text: PUT_BACK.to_owned(), stranded: None });
    }
    // What we placed went away meanwhile, so there is nothing to trade for: the stranger goes home alone.
    send_home(fs, &slot, &at)
}

/// Whether the store has both the file that was placed and the one that it should have replaced.
fn stands_twice(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent, old: &Stat) -> io::Result<bool> {
    let placed = is(file_at(fs, Tree::Base, &intent.at)?.as_ref(), intent.staged.as_ref());
    Ok(placed && boxes.locate(fs, &intent.at, old)?.is_some())
}

/// A move between the folder of `at` and the quarantine is on the medium.
pub(super) fn sync_both(fs: &dyn Fs, at: &RelPath) -> io::Result<()> {
    fs.sync_dir(Tree::Base, &at.parent().unwrap_or_default())?;
    fs.sync_dir(Tree::Quarantine, &RelPath::root())
}

const PUT_BACK: &str = "another file had come to stand at the target; put back";

/// Moves a file that should not have come along back to the name that it had.
fn send_home(fs: &dyn Fs, slot: &RelPath, at: &RelPath) -> io::Result<Settled> {
    match fs.rename_new((Tree::Quarantine, slot), (Tree::Base, at)) {
        Ok(()) => Ok(Settled::Conflict { text: PUT_BACK.to_owned(), stranded: None }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = format!("another file had come to stand at the target; it is kept in quarantine as {slot}");
            Ok(Settled::Conflict { text, stranded: file_at(fs, Tree::Quarantine, slot)? })
        }
        Err(error) => Err(error),
    }
}

fn put(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent) -> io::Result<Settled> {
    let slot = slot_of(intent)?;
    let in_slot = file_at(fs, Tree::Quarantine, &slot)?;
    let (at, placed) = placed(fs, boxes, intent)?;
    if in_slot.is_some() {
        let now = file_at(fs, Tree::Base, &at)?;
        if !is(now.as_ref(), intent.staged.as_ref()) || !is(in_slot.as_ref(), intent.staged.as_ref()) {
            return Ok(Settled::NotMade);
        }
        // Where a move is link and unlink, it can stop half-way: the slot's name is one too many, once the power
        // cannot take the other one.
        fs.sync_dir(Tree::Base, &at.parent().unwrap_or_default())?;
        fs.unlink_quarantine(&slot)?;
    }
    Ok(Settled::Made(Changed { at, placed, saved: None }))
}

fn take(fs: &dyn Fs, intent: &Intent) -> io::Result<Settled> {
    let slot = slot_of(intent)?;
    let Some(in_slot) = file_at(fs, Tree::Quarantine, &slot)? else { return Ok(Settled::NotMade) };
    let at = intent.at.clone();
    let now = file_at(fs, Tree::Base, &at)?;
    if is(Some(&in_slot), intent.replaced.as_ref()) {
        if is(now.as_ref(), intent.replaced.as_ref()) {
            drop_second_name(fs, &at, &slot, (Tree::Quarantine, &slot))?;
        }
        return Ok(Settled::Made(Changed { at, placed: None, saved: Some(in_slot) }));
    }
    // Another file stood there and came along.
    send_home(fs, &slot, &at)
}

fn carry(fs: &dyn Fs, boxes: &mut Mailboxes, intent: &Intent, from: &RelPath) -> io::Result<Settled> {
    let Some(staged) = &intent.staged else { return Ok(Settled::NotMade) };
    let source = file_at(fs, Tree::Base, from)?;
    let now = file_at(fs, Tree::Base, &intent.at)?;
    match (is(source.as_ref(), Some(staged)), is(now.as_ref(), Some(staged))) {
        (true, true) => {
            let aside = RelPath::new(*b"moved").map_err(io::Error::other)?;
            drop_second_name(fs, from, &aside, (Tree::Base, &intent.at))?;
            Ok(Settled::Made(Changed { at: intent.at.clone(), placed: now, saved: None }))
        }
        (true, false) => Ok(Settled::NotMade),
        (false, _) => Ok(match boxes.locate(fs, &intent.at, staged)? {
            Some((at, stat)) => Settled::Made(Changed { at, placed: Some(stat), saved: None }),
            None => Settled::NotMade,
        }),
    }
}

/// Suffix of a name on its way out.
pub(super) const TWICE_SUFFIX: &[u8] = b".twice";

/// Removes a name of a file that has another one, on file systems where a move is link and unlink. The
/// store has no unlink, and a rename onto the same inode does nothing: so it goes by way of quarantine, once the
/// power cannot take the name that stays.
fn drop_second_name(fs: &dyn Fs, path: &RelPath, slot: &RelPath, stays: (Tree, &RelPath)) -> io::Result<()> {
    let aside = RelPath::new([slot.as_bytes(), TWICE_SUFFIX].concat()).map_err(io::Error::other)?;
    fs.sync_dir(stays.0, &stays.1.parent().unwrap_or_default())?;
    fs.rename_over((Tree::Base, path), (Tree::Quarantine, &aside))?;
    match fs.stat(Tree::Quarantine, &aside)? {
        Some((_, stat)) if stat.nlink > 1 => fs.unlink_quarantine(&aside),
        _ => Ok(()),
    }
}

fn make_folder(fs: &dyn Fs, intent: &Intent) -> io::Result<Settled> {
    let at = intent.at.clone();
    let Some((Kind::Directory, stat)) = fs.stat(Tree::Base, &at)? else { return Ok(Settled::NotMade) };
    let Action::MakeFolder { attrs } = &intent.step.action else { return Ok(Settled::NotMade) };
    let dressed = stat.uid == attrs.uid && stat.gid == attrs.gid && stat.mode == attrs.mode;
    if !dressed {
        // Nothing was here when the change was begun, and this is how we make them.
        if stat.mode != NEW_FOLDER_MODE {
            let text = "a folder of another owner stands there".to_owned();
            return Ok(Settled::Conflict { text, stranded: None });
        }
        fs.dress_dir(Tree::Base, &at, attrs.uid, attrs.gid, attrs.mode)?;
    }
    let placed = fs.stat(Tree::Base, &at)?.map(|(_, stat)| stat);
    Ok(Settled::Made(Changed { at, placed, saved: None }))
}

fn remove_folder(fs: &dyn Fs, intent: &Intent) -> io::Result<Settled> {
    let at = intent.at.clone();
    Ok(match fs.stat(Tree::Base, &at)? {
        None => Settled::Made(Changed { at, placed: None, saved: None }),
        Some(_) => Settled::NotMade,
    })
}
