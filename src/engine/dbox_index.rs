//! The index of an sdbox or mdbox mailbox, made anew where the server has lost it, begun it anew, or counts messages that come
//! back as gone: gathers what tells what it has to be. May not decide that: `plan::register` does.
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
use crate::model::server::{Ledger, Shown, Whole};
use crate::plan::ledger::Mending;
use crate::plan::register::{Shelves, register};
use crate::store;
use crate::store::dovecot::fresh::{self, Marks, Numbered};
use crate::store::maildir::companion;
use crate::sys::clock;

/// What tells of one mailbox.
pub(super) struct Told {
    shelves: Shelves,
    /// What the sources are called that tell of it, the newest first.
    labels: Vec<String>,
}

/// Looks at the index of one mailbox, and at those of the sources; `None` where nothing can come of it. `expunged`: it counts
/// one of the messages that come back as gone.
pub(super) fn told(
    job: &mut Job<'_>,
    sources: &mut Sources,
    mailbox: &Mailbox,
    returning: &[Returning],
    expunged: bool,
) -> Result<Option<Told>, EngineError> {
    if job.store.desk.is_some() || (mailbox.files.is_empty() && returning.is_empty()) {
        return Ok(None);
    }
    let Some(own) = server::ledger(job, mailbox)? else { return Ok(None) };
    // What nothing comes back to and no source tells of stays as it is.
    if returning.is_empty() && job.generations.is_empty() {
        return Ok(None);
    }
    // Only where its UIDs mean the same messages.
    let wanted = |shelf: &Shelf, format: Format| {
        shelf.same && format.is_dbox() && shelf.top().any(|entry| companion::is_index(&entry.name))
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
        renew: false,
        now: u64::try_from(clock::now().sec).unwrap_or_default(),
    };
    Ok(Some(Told { shelves, labels }))
}

impl Told {
    /// The same, where other messages come back than was thought.
    pub fn returning(&mut self, uids: impl Iterator<Item = u32>) {
        self.shelves.returning = uids.collect();
        self.shelves.expunged = !self.shelves.returning.is_empty();
    }

    /// The same, where the index is made anew whatever it says.
    pub fn renew(&mut self) {
        self.shelves.renew = true;
    }

    /// When a message was put into the mailbox, by its copy. Seconds since 1970.
    pub fn saved(&self, uid: u32) -> Option<u32> {
        let mut shown = self.shelves.theirs.iter().flat_map(|theirs| &theirs.shown);
        shown.find(|shown| shown.uid == uid && shown.saved != 0).map(|shown| shown.saved)
    }

    /// What the index has to be; `None` where it can stay. `back`: what in an mdbox comes back of the storage.
    pub fn made(&self, job: &mut Job<'_>, mailbox: &Mailbox, back: &[Shown]) -> Option<Known> {
        let Told { shelves, labels } = self;
        let made = register(shelves)?;
        let own = &shelves.own;
        let storage = (mailbox.format == Format::Mdbox).then(|| Numbered {
            map_validity: own.map_validity,
            shown: own.shown.iter().chain(back).map(|shown| (shown.uid, *shown)).collect(),
        });
        // Its numbers would be those of another map.
        if storage.is_some() && (made.reborn || own.map_validity == 0) {
            return None;
        }
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
        if fresh::register(&head, created, &marks, storage.as_ref()).len() as u64 > LIST_MAX {
            job.note(format!("{}: its index would have to be made anew, and is too long for a plan", mailbox.dir));
            return None;
        }
        let restarted = own.uid_validity.or(Some(0)).filter(|_| made.reborn);
        let mending = Mending { modseq: Some(made.modseq), troubles: made.troubles, restarted, ..Mending::default() };
        Some(Known {
            own: own.clone(),
            mending,
            marks,
            register: Some(head),
            storage,
            after: Vec::new(),
            source: labels.first().cloned(),
            theirs: shelves.theirs.first().map(|ledger| ledger.files.clone()).unwrap_or_default(),
        })
    }
}
