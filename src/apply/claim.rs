//! Exchanges a file that holds many messages while nobody else has it, so that no delivery goes to the file that leaves.
//!
//! Whoever delivers by lock file, by the lock of `fcntl` or by no lock at all has the file open meanwhile, which keeps us
//! out. Who comes later waits at the open, is seen by that, and then finds everything as it was: a program that had the old
//! file before it waited would write to what is no mailbox any more, and few look again. May not judge or stage.

use super::batch::Entry;
use super::change::{Changed, Refusal, perform, slot_of};
use super::dotlock::{self, Locks};
use super::fault::{unsupported, words};
use super::mailbox::Mailboxes;
use super::settle::sync_both;
use crate::model::RelPath;
use crate::model::journal::{Change, Intent};
use crate::model::plan::Action;
use crate::sys::fs::{Fs, Hold, Kind, Tree};
use std::io;
use std::time::Duration;

/// Whether a change needs this.
pub(super) fn is_needed(intent: &Intent) -> bool {
    let moves = matches!(intent.change, Change::Exchange | Change::Put | Change::Take);
    moves && matches!(intent.step.action, Action::Rebuild { .. })
}

/// Makes the change, and takes it back if anybody came in between. The mailbox's lock file must be held.
pub(super) fn perform_alone(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    locks: &mut Locks<'_>,
    intent: &Intent,
) -> Result<Changed, Refusal> {
    // Before a file that mailboxes share a server opens their map: whoever comes now waits there, and finds the new file.
    let mut beside = Vec::new();
    for file in dotlock::map_of(intent) {
        beside.extend(hold(fs, locks, &file)?);
    }
    let Some(old) = hold(fs, locks, &intent.at)? else { return perform(fs, boxes, intent) };
    if intent.replaced.is_some_and(|replaced| !old.stat().same_file(&replaced)) {
        return Err(Refusal::Conflict("the file changed since the plan".to_owned()));
    }
    let slot = slot_of(intent).map_err(|e| Refusal::Failed(words("naming the quarantine slot", &e, 0, None)))?;
    // Nobody else comes into the quarantine; this is for whoever opens the file once it stands in its place.
    let exchanges = matches!(intent.change, Change::Exchange);
    let new = if exchanges { fs.hold(Tree::Quarantine, &slot).ok().flatten() } else { None };
    let changed = perform(fs, boxes, intent)?;
    if matches!(intent.change, Change::Put) {
        return Ok(changed);
    }
    // On the medium before anybody delivers: a delivery that outlives a power cut must be in the file that does. And
    // whoever had found the old file by its name before it left has opened it by the time that this takes.
    sync_both(fs, &changed.at).map_err(|e| Refusal::Unknown(words("syncing the exchange", &e, 0, None)))?;
    if old.undisturbed() && is_as_it_was(fs, &slot, &changed) {
        return Ok(changed);
    }
    Err(take_back(fs, intent, &changed, &slot, new.as_deref()))
}

/// Keeps everybody out of the file, with patience; `None` if there is none.
fn hold<'f>(fs: &'f dyn Fs, locks: &mut Locks<'_>, at: &RelPath) -> Result<Option<Box<dyn Hold + 'f>>, Refusal> {
    let mut waited = Duration::ZERO;
    loop {
        match fs.hold(Tree::Base, at) {
            Ok(Some(held)) => return Ok(Some(held)),
            Ok(None) if locks.wait(&mut waited) => {}
            Ok(None) => {
                let seconds = waited.as_secs();
                let text = format!("a client or another program has this mailbox open ({at}); waited {seconds} s");
                return Err(Refusal::Busy(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Refusal::Busy(format!("whether a client has this mailbox open is not known ({error})")));
            }
        }
    }
}

fn is_as_it_was(fs: &dyn Fs, slot: &RelPath, changed: &Changed) -> bool {
    let now = fs.stat(Tree::Quarantine, slot).ok().flatten();
    matches!((now, &changed.saved), (Some((Kind::File, now)), Some(saved)) if now.same_file(saved))
}

fn take_back(fs: &dyn Fs, intent: &Intent, changed: &Changed, slot: &RelPath, new: Option<&dyn Hold>) -> Refusal {
    let unknown = |error: &io::Error| Refusal::Unknown(words("putting the mailbox back", error, 0, None));
    let busy = || Refusal::Busy(format!("another program opened the mailbox while it was exchanged ({})", changed.at));
    if matches!(intent.change, Change::Take) {
        let back = fs.rename_new((Tree::Quarantine, slot), (Tree::Base, &changed.at));
        return back.map_or_else(|error| unknown(&error), |()| busy());
    }
    match (fs.exchange((Tree::Quarantine, slot), (Tree::Base, &changed.at)), changed.saved) {
        (Err(error), Some(saved)) if unsupported(&error) => Refusal::Stranded(late_text(slot), saved),
        (Err(error), _) => unknown(&error),
        (Ok(()), _) => match (fs.stat(Tree::Quarantine, slot), intent.staged) {
            (Ok(Some((_, now))), Some(staged)) if now.same_file(&staged) && new.is_some_and(Hold::undisturbed) => {
                busy()
            }
            // Two at once, one with each file.
            (Ok(Some((_, now))), _) => Refusal::Stranded(
                format!(
                    "another program opened the mailbox while it was exchanged, so all is as it was; the file that stood \
                     there for a moment is in quarantine as {slot}: a message may have been delivered to it"
                ),
                now,
            ),
            (Ok(None), _) => unknown(&io::Error::from(io::ErrorKind::NotFound)),
            (Err(error), _) => unknown(&error),
        },
    }
}

fn late_text(slot: &RelPath) -> String {
    format!(
        "repaired, but another program wrote to the old file afterwards, which is in quarantine as {slot}: what was \
         delivered or changed there is not in the mailbox"
    )
}

/// What is to be told of a file that somebody wrote to after it left, by way of a descriptor that nothing showed.
pub(super) fn told_late(fs: &dyn Fs, entry: &Entry, result: &Result<Changed, Refusal>) -> Option<Refusal> {
    let (Entry::Ready { intent, .. }, Ok(changed)) = (entry, result) else { return None };
    let slot = slot_of(intent).ok()?;
    let (_, now) = fs.stat(Tree::Quarantine, &slot).ok().flatten()?;
    let grown = is_needed(intent) && changed.saved.is_some_and(|saved| !now.same_file(&saved));
    grown.then(|| Refusal::Stranded(late_text(&slot), now))
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
