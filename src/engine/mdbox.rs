//! What is particular about mailboxes that share files (mdbox): messages that a mailbox shows and the storage has not, and
//! a map that is gone. Plans nothing.

use super::account::{Account, Mailbox};
use super::harm::{Harm, Haul};
use super::job::Job;
use crate::model::event::{Finding, Subject};
use crate::model::server::{Says, Witnessed};
use crate::model::wire::{Entry, Place};
use crate::model::{Format, Missing, Verdict, container};
use crate::store::mdbox::Named;

/// Takes what a mailbox shows and the storage has not out of its listing.
pub fn take_lost(format: Format, entries: &mut Vec<Entry>) -> Vec<Entry> {
    let is_lost = |entry: &Entry| Named::parse(&entry.name).is_some_and(|named| named.lost);
    let shown = |entry: &mut Entry| format == Format::Mdbox && entry.place == Place::Cur && is_lost(entry);
    entries.extract_if(.., shown).collect()
}

/// Adds a harm for every message of a mailbox that the storage has not, and that the catalog does not know: those that it
/// knows are missing in the listing.
pub fn lost(mailboxes: &[Mailbox], m: usize, haul: &mut Haul) {
    let mailbox = &mailboxes[m];
    for entry in &mailbox.lost {
        let key = mailbox.key(&entry.name);
        let Some(named) = Named::parse(&entry.name).filter(|_| !mailbox.rows.contains_key(&key)) else { continue };
        let reason = match named.place {
            Some(place) => format!("the server still shows it, and storage/m.{} has it no more", place.file),
            None => "the server still shows it, and nothing tells where in the storage it is".to_owned(),
        };
        let verdict = Verdict::Missing(Missing::Lost);
        haul.harms.push(Harm {
            mailbox: m,
            key,
            verdict,
            reason,
            place: entry.place,
            name: entry.name.clone(),
            present: false,
            facts: None,
            row: None,
            witnessed: Witnessed { uid: named.uid, says: Says::Listed, ..Witnessed::default() },
        });
    }
}

/// Reports an account's storage that has lost its map.
pub fn without_map(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox]) {
    let bare = |mailbox: &&Mailbox| {
        let top = mailbox.listing.entries.iter().filter(|entry| entry.place == Place::Top);
        let map = top.filter(|entry| entry.name.starts_with(b"dovecot.map.index")).count();
        mailbox.format == Format::Mdbox && mailbox.selected && map == 0 && mailbox.messages().next().is_some()
    };
    let Some(mailbox) = mailboxes.iter().find(bare) else { return };
    let Some(shared) = container::shared(&mailbox.dir) else { return };
    let path = shared.storage.join(b"dovecot.map.index.log").unwrap_or_default();
    let reason = "the map of the storage is gone: the messages were found by their frames, but the server would make all \
                  mailboxes anew, and bring back what users deleted: keep it stopped and bring dovecot.map.index* back \
                  from a copy of the same time";
    job.tally.companions_lost += 1;
    let lost = Verdict::Missing(Missing::Lost);
    let finding = Finding {
        account: account.name.clone(),
        mailbox: mailbox.name.clone(),
        ..Finding::of_file(Subject::Companion, &job.store.text, path, lost, reason.to_owned())
    };
    job.finding(finding);
}
