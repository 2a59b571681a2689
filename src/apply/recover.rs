//! Settles what a run left unfinished when it was killed, and removes what it had staged for nothing.
//!
//! May not start a change. Running it twice, or killing it, does no harm.

use super::batch::{ApplyError, done, sync_standing, touched};
use super::change::{Changed, OLD_SUFFIX, slot_of};
use super::dotlock;
use super::log::{Line, Log};
use super::mailbox::Mailboxes;
use super::numbers::Numbers;
use super::settle::{Settled, TWICE_SUFFIX, settle};
use crate::model::RelPath;
use crate::model::journal::{Change, Intent, Outcome, Record};
use crate::sys::fs::{Fs, Kind, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Steps that were begun and turned out to be made; their `Done` is now in the journal.
    pub made: u64,
    /// Steps that were begun and turned out not to be.
    pub not_made: u64,
    /// Staged files without a use that were removed.
    pub removed: u64,
    /// Lines of the journal that are no records. With any, nothing is removed: a slot might be theirs.
    pub damaged_lines: u64,
    /// Every step that the journal says was carried out.
    pub(super) done: Numbers,
}

/// Reads the journal and leaves no step between begun and done. To be called before anything else is done
/// with an unfinished run; [`super::Executor::run`] and [`super::undo`] do so themselves.
pub fn recover(fs: &dyn Fs, log: &mut dyn Log) -> Result<Recovered, ApplyError> {
    let mut recovered = Recovered::default();
    let mut state = read(fs, log, &mut recovered)?;
    let mut boxes = Mailboxes::default();
    for intent in state.open.into_values() {
        let failed = |source| ApplyError::FileSystem { doing: format!("settling {}", intent.at), source };
        dotlock::clear(fs, &intent).map_err(failed)?;
        let (record, made) = conclude(fs, &mut boxes, &intent, &mut recovered).map_err(failed)?;
        log.append(&[record]).map_err(ApplyError::journal("writing"))?;
        // Only now: an empty slot of an open change would look as if its file had been placed.
        if !made && !state.undo {
            drop_staged(fs, &intent).map_err(failed)?;
        }
    }
    let doing = || "removing the lock file of an earlier run".to_owned();
    dotlock::clear_home(fs).map_err(|source| ApplyError::FileSystem { doing: doing(), source })?;
    if state.undo {
        // What an undo puts back is the only copy of it. A second name is none.
        state.orphans.retain(|name| name.ends_with(TWICE_SUFFIX));
    }
    if recovered.damaged_lines == 0 {
        recovered.removed = remove(fs, &state.orphans)?;
    }
    Ok(recovered)
}

/// What the journal says.
#[derive(Default)]
struct State {
    undo: bool,
    open: BTreeMap<u64, Intent>,
    /// Names in the quarantine folder that no record accounts for. `Begin` is on the disk before any change,
    /// so nothing but staged copies of source content can be among them.
    orphans: BTreeSet<Vec<u8>>,
}

fn read(fs: &dyn Fs, log: &dyn Log, recovered: &mut Recovered) -> Result<State, ApplyError> {
    let mut state = State { orphans: names(fs)?, ..State::default() };
    for line in log.forward().map_err(ApplyError::journal("reading"))? {
        let Line::Record(record) = line.map_err(ApplyError::journal("reading"))? else {
            recovered.damaged_lines += 1;
            continue;
        };
        match *record {
            Record::Open { undoes, .. } => state.undo = undoes.is_some(),
            Record::Begin(intent) => {
                claim(&mut state.orphans, &intent);
                state.open.insert(intent.step.number, *intent);
            }
            Record::Done { number, outcome, saved, .. } => {
                if outcome == Outcome::Done {
                    recovered.done.insert(number);
                }
                let began = state.open.remove(&number);
                if let Some(slot) = began.and_then(|intent| intent.slot)
                    && outcome != Outcome::Done
                    && saved.is_none()
                {
                    // It was not made and its bytes were dropped: what bears the name now is a later attempt's.
                    state.orphans.insert(slot.into_bytes());
                }
            }
            Record::Close { .. } => {}
        }
    }
    Ok(state)
}

fn names(fs: &dyn Fs) -> Result<BTreeSet<Vec<u8>>, ApplyError> {
    let listed = fs.list(Tree::Quarantine, &RelPath::root());
    let doing = "listing the quarantine folder".to_owned();
    let listed = listed.map_err(|source| ApplyError::FileSystem { doing, source })?;
    // Only what is named as we name slots: an administrator may have laid something else down here.
    let ours = |name: &Vec<u8>| name.iter().all(|&b| b.is_ascii_digit() || b == b'.') || name.ends_with(TWICE_SUFFIX);
    Ok(listed.into_iter().filter(ours).collect())
}

fn claim(orphans: &mut BTreeSet<Vec<u8>>, intent: &Intent) {
    if let Some(slot) = &intent.slot {
        orphans.remove(slot.as_bytes());
        orphans.remove(format!("{slot}{OLD_SUFFIX}").as_bytes());
    }
}

/// Settles one open change, makes it durable and answers its `Done`, and whether the change was made.
fn conclude(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    intent: &Intent,
    recovered: &mut Recovered,
) -> io::Result<(Record, bool)> {
    let settled = settle(fs, boxes, intent)?;
    let at = match &settled {
        Settled::Made(changed) => changed.at.clone(),
        _ => intent.at.clone(),
    };
    let (outcome, detail, changed) = match settled {
        Settled::Made(changed) => {
            recovered.made += 1;
            recovered.done.insert(intent.step.number);
            (Outcome::Done, "made; recorded after an interruption".to_owned(), Some(changed))
        }
        Settled::NotMade => {
            recovered.not_made += 1;
            (Outcome::Failed, "interrupted before it was made".to_owned(), None)
        }
        Settled::Conflict { text, stranded } => {
            recovered.not_made += 1;
            let kept = stranded.map(|saved| Changed { at: at.clone(), placed: None, saved: Some(saved) });
            (Outcome::Conflict, text, kept)
        }
    };
    for (tree, dir) in touched(intent, &at) {
        sync_standing(fs, tree, &dir)?;
    }
    let record = done(intent.step.number, outcome, &detail, changed.as_ref());
    Ok((record, outcome == Outcome::Done))
}

/// Removes staged bytes that were not placed: a copy of what the source still has.
fn drop_staged(fs: &dyn Fs, intent: &Intent) -> io::Result<()> {
    if !matches!(intent.change, Change::Exchange | Change::Put) {
        return Ok(());
    }
    let slot = slot_of(intent)?;
    match (fs.stat(Tree::Quarantine, &slot)?, &intent.staged) {
        (Some((Kind::File, found)), Some(staged)) if found.same_file(staged) => fs.unlink_quarantine(&slot),
        _ => Ok(()),
    }
}

fn remove(fs: &dyn Fs, orphans: &BTreeSet<Vec<u8>>) -> Result<u64, ApplyError> {
    let mut removed = 0;
    for name in orphans {
        let Ok(path) = RelPath::root().join(name) else { continue };
        let unlinked = match fs.stat(Tree::Quarantine, &path) {
            // One that was on its way out goes only as long as its file has another name.
            Ok(Some((Kind::File, stat))) if stat.nlink > 1 || !name.ends_with(TWICE_SUFFIX) => {
                fs.unlink_quarantine(&path)
            }
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        match unlinked {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ApplyError::FileSystem { doing: format!("removing {path}"), source }),
        }
    }
    Ok(removed)
}
