//! What is particular about mailboxes in Dovecot's single-dbox: their indexes alone know flags, keywords and what is
//! there. Says what cannot be done without them; plans nothing.

use super::account::{Account, EngineError, Mailbox};
use super::harm::Harm;
use super::job::Job;
use super::server::ASKED_AT_ONCE;
use crate::model::event::{Finding, Subject};
use crate::model::server::{Says, Witnessed};
use crate::model::{Format, Missing, RelPath, Verdict};
use crate::plan::Undecided;
use crate::store::maildir::companion;

/// Why a missing message cannot simply come back to its mailbox.
pub fn holds_back(mailbox: &Mailbox, harm: &Harm, undecided: Undecided) -> Option<&'static str> {
    if mailbox.format != Format::Sdbox {
        return None;
    }
    if mailbox.folder.is_none() || !has_index(mailbox) {
        return Some(
            "held: the mailbox has lost its indexes, which alone know UIDs and flags: bring the whole folder back from \
             one copy with the server stopped",
        );
    }
    if harm.witnessed.expunged {
        return Some(
            "held: the server has noticed the loss and dropped flags and keywords with it: put the file back with the \
             server stopped and let doveadm force-resync list it again",
        );
    }
    (undecided == Undecided::Folder).then_some("held: a new folder for undecided messages cannot be made in sdbox")
}

/// Whether the server has no memory of the time when the mailbox was last listed. It keeps no list of its messages but
/// the index, and makes that anew, without a history, when it meets damage.
pub fn forgotten(mailbox: &Mailbox, witnessed: Witnessed) -> bool {
    let listed = mailbox.row.as_ref().and_then(|row| row.listed).map_or(0, |listed| listed.sec);
    let knows = witnessed.since.is_some_and(|since| i64::from(since) <= listed);
    mailbox.format.is_dbox() && witnessed.says == Says::Nothing && !knows
}

fn has_index(mailbox: &Mailbox) -> bool {
    mailbox.companions().any(|name| matches!(name, b"dovecot.index" | companion::INDEX_LOG))
}

/// Reports mailboxes that have mail and no index, or one that does not list it: the server takes that mail for nothing.
pub fn unlisted(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox]) -> Result<(), EngineError> {
    let whole = |mailbox: &&Mailbox| mailbox.format == Format::Sdbox && mailbox.selected && mailbox.complete();
    for mailbox in mailboxes.iter().filter(whole) {
        let there = mailbox.messages().count();
        if there == 0 || job.store.desk.is_some() {
            continue;
        }
        let reason = match has_index(mailbox) {
            false => "the indexes are gone, which alone know flags and UIDs; the server would begin the mailbox anew, \
                      empty: keep it stopped and bring dovecot.index* back from a copy"
                .to_owned(),
            true => match unknown(job, mailbox)? {
                0 => continue,
                n => format!(
                    "the index does not list {n} of the {there} messages that are there, as where the server began it anew: \
                     keep it stopped, and bring dovecot.index* back from a copy or run doveadm force-resync"
                ),
            },
        };
        job.tally.companions_lost += 1;
        let finding = finding(job, account, mailbox, reason);
        job.finding(finding);
    }
    Ok(())
}

/// How many messages that were there when the mailbox was listed its index does not know, though nobody deleted them.
/// Files come before their lines, but by now all of them should have theirs.
fn unknown(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<usize, EngineError> {
    let names: Vec<(Vec<u8>, Option<u32>)> = mailbox.messages().map(|(_, e)| (e.name.clone(), None)).collect();
    let (lane, root) = (job.store.lane, job.store.root);
    let mut unknown = 0;
    for part in names.chunks(ASKED_AT_ONCE) {
        match job.lanes.lanes[lane].witness(root, &mailbox.dir, part.to_vec())? {
            Ok(witness) => unknown += witness.messages.iter().filter(|m| m.says == Says::Nothing).count(),
            Err(trouble) => job.not_checked_once(&trouble),
        }
    }
    Ok(unknown)
}

fn finding(job: &Job<'_>, account: &Account, mailbox: &Mailbox, reason: String) -> Finding {
    let path = mailbox.dir.join(companion::INDEX_LOG).unwrap_or_default();
    let lost = Verdict::Missing(Missing::Lost);
    Finding {
        account: account.name.clone(),
        mailbox: mailbox.name.clone(),
        ..Finding::of_file(Subject::Companion, &job.store.text, path, lost, reason)
    }
}

/// Whether a UID is the same message's here and in another copy of the mailbox: both indexes say of which time they are.
/// Told once where they do not.
pub fn same_uids(
    job: &mut Job<'_>,
    mailbox: &RelPath,
    generation: usize,
    theirs: &RelPath,
) -> Result<bool, EngineError> {
    let ours = validity(job, (job.store.lane, job.store.root), mailbox)?;
    let at = (job.generations[generation].lane, job.generations[generation].root);
    let theirs = validity(job, at, theirs)?;
    if ours.is_some() && ours == theirs {
        return Ok(true);
    }
    let label = job.generations[generation].label.clone();
    let what = match (ours, theirs) {
        (Some(_), Some(_)) => "its UIDs are of another time (UIDVALIDITY)",
        (None, _) => "the index of the mailbox here does not tell of which time its UIDs are",
        _ => "its index does not tell of which time its UIDs are",
    };
    job.note(format!("{mailbox}: source {label}: {what}, so none of its files is taken for a copy by its name"));
    Ok(false)
}

fn validity(job: &mut Job<'_>, (lane, root): (usize, u32), mailbox: &RelPath) -> Result<Option<u32>, EngineError> {
    let witness = job.lanes.lanes[lane].witness(root, mailbox, Vec::new())?;
    Ok(witness.ok().and_then(|witness| witness.uid_validity))
}
