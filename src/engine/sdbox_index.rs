//! The index of an sdbox mailbox, made anew where the server has lost it, begun it anew, or counts messages that come back
//! as gone: gathers what tells what it has to be. May not decide that: `plan::register` does.
//!
//! One file does it. A log that follows none, of the same index and with the next number, is what the server itself
//! writes when it begins an index anew: it reads all from it, and drops what the other files say.

use super::account::{EngineError, Mailbox};
use super::find::{Shelf, Sources};
use super::job::Job;
use super::mending::{Known, Returning};
use super::server;
use crate::model::Format;
use crate::model::limits::LIST_MAX;
use crate::model::server::{Ledger, Whole};
use crate::plan::ledger::Mending;
use crate::plan::register::{Shelves, register};
use crate::store;
use crate::store::dovecot::fresh::{self, Marks};
use crate::store::maildir::companion;
use crate::sys::clock;

/// Looks at the index of one mailbox, and at those of the sources; `None` where it can stay. `expunged`: it counts one of
/// the messages that come back as gone.
pub fn look(
    job: &mut Job<'_>,
    sources: &mut Sources,
    mailbox: &Mailbox,
    returning: &[Returning],
    expunged: bool,
) -> Result<Option<Known>, EngineError> {
    if job.store.desk.is_some() || (mailbox.files.is_empty() && returning.is_empty()) {
        return Ok(None);
    }
    let Some(own) = server::ledger(job, mailbox)? else { return Ok(None) };
    // What nothing comes back to and no source tells of stays as it is.
    if returning.is_empty() && job.generations.is_empty() {
        return Ok(None);
    }
    // Only where its UIDs mean the same messages.
    let wanted = |shelf: &Shelf, format| {
        shelf.same && format == Format::Sdbox && shelf.top().any(|entry| companion::is_index(&entry.name))
    };
    let mut told = server::ledgers_of_sources(job, sources, &mailbox.rel, &wanted)?;
    told.retain(|(ledger, _)| ledger.index == Whole::Sound);
    let (theirs, labels): (Vec<Ledger>, Vec<String>) = told.into_iter().unzip();
    let uids = |name: &[u8]| store::uid(name);
    let shelves = Shelves {
        here: mailbox.files.keys().filter_map(|key| uids(&key.0)).collect(),
        returning: returning.iter().filter_map(|(key, _)| uids(&key.0)).collect(),
        own,
        theirs,
        expunged,
        now: u64::try_from(clock::now().sec).unwrap_or_default(),
    };
    let Some(made) = register(&shelves) else { return Ok(None) };
    let Shelves { own, mut theirs, .. } = shelves;
    let created = u32::try_from(clock::now().sec).unwrap_or(u32::MAX);
    let head = fresh::Register {
        indexid: if own.begun == 0 { created } else { own.begun },
        file_seq: own.log_seq.saturating_add(1),
        modseq: made.modseq,
        uid_validity: made.uid_validity,
        next_uid: made.next_uid,
        mailbox_guid: made.mailbox_guid,
    };
    let marks: Vec<Marks> = made
        .messages
        .into_iter()
        .map(|marked| Marks { uid: marked.uid, flags: marked.flags, keywords: marked.keywords })
        .collect();
    if fresh::register(&head, created, &marks).len() as u64 > LIST_MAX {
        job.note(format!("{}: its index would have to be made anew, and is too long for a plan", mailbox.dir));
        return Ok(None);
    }
    let restarted = own.uid_validity.or(Some(0)).filter(|_| made.reborn);
    let mending = Mending { modseq: Some(made.modseq), troubles: made.troubles, restarted, ..Mending::default() };
    let source = labels.into_iter().next();
    let files = theirs.drain(..).next().map(|ledger| ledger.files).unwrap_or_default();
    Ok(Some(Known { own, mending, marks, register: Some(head), source, theirs: files }))
}
