//! Messages that nobody knows of but the server: its list and its index hold them, and their files are not there.
//!
//! Without a catalog and without sources nothing else would miss them. A line in the server's list alone proves nothing:
//! deleted messages stand there until it is written anew. Only what its index still holds, or its log calls a loss, counts.

use super::absent::by_key_elsewhere;
use super::account::{EngineError, Mailbox};
use super::find::Sources;
use super::harm::{Harm, Haul};
use super::job::Job;
use super::sdbox;
use super::server;
use crate::model::server::{Ledger, Says};
use crate::model::wire::Place;
use crate::model::{Format, Key, Missing, Stamp, Verdict};
use crate::plan::{Absence, classify};
use crate::store::maildir::companion;
use std::collections::HashSet;

/// Adds a harm for every message that only the server knows and that is lost, or may be.
pub fn by_server(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    sources: &Sources,
    haul: &mut Haul,
) -> Result<(), EngineError> {
    for (m, mailbox) in mailboxes.iter().enumerate() {
        let indexed = job.store.desk.is_some() || mailbox.companions().any(companion::is_index);
        let looked = mailbox.selected && mailbox.complete() && mailbox.folder.is_some();
        if !looked || !indexed || job.stopped() {
            continue;
        }
        let Some(ledger) = server::ledger(job, mailbox)? else { continue };
        let names = unknown(job, mailbox, &ledger, m, haul);
        let asked = server::ask(job, sources, mailbox, &names)?;
        let expired = expired(mailbox, &names);
        for (nth, name) in names.into_iter().enumerate() {
            let witnessed = asked.of(nth);
            if matches!(witnessed.says, Says::Nothing | Says::DeletedByUser | Says::Restarted) {
                continue;
            }
            if sdbox::lies_apart(job, mailbox, &name, witnessed.says) {
                continue;
            }
            let key = mailbox.key(&name);
            let elsewhere = if mailbox.store().keys_travel() { by_key_elsewhere(mailboxes, m, &key) } else { None };
            let (missing, reason) =
                classify(&Absence { server: witnessed.says, expired, elsewhere, ..Absence::default() });
            if !matches!(missing, Missing::Lost | Missing::Undecided) {
                job.tally.count(Verdict::Missing(missing));
                continue;
            }
            haul.harms.push(Harm {
                mailbox: m,
                key,
                verdict: Verdict::Missing(missing),
                reason,
                place: Place::Cur,
                name,
                present: false,
                facts: None,
                row: None,
                witnessed,
            });
        }
    }
    Ok(())
}

/// Names of files that the server knows of, and neither the listing nor the catalog nor a source.
fn unknown(job: &Job<'_>, mailbox: &Mailbox, ledger: &Ledger, m: usize, haul: &Haul) -> Vec<Vec<u8>> {
    let missed: HashSet<&Key> = haul.harms.iter().filter(|harm| harm.mailbox == m).map(|harm| &harm.key).collect();
    let names: Vec<Vec<u8>> = match mailbox.format {
        Format::Maildir => ledger.lines.iter().map(|line| line.file.clone()).collect(),
        Format::Sdbox => ledger.held.iter().map(|uid| format!("u.{uid}").into_bytes()).collect(),
        // Of mdbox the listing itself tells what its index shows and the storage has not.
        Format::Mh | Format::Eml | Format::Mbox | Format::Mdbox => Vec::new(),
    };
    // A list that was cut goes on in the middle of a line: what stands there names no file.
    let is_name = |name: &Vec<u8>| !name.contains(&b':') && !mailbox.store().is_odd(name);
    let is_unknown = |name: &Vec<u8>| {
        let key = mailbox.key(name);
        !mailbox.files.contains_key(&key) && !mailbox.rows.contains_key(&key) && !missed.contains(&key)
    };
    let wanted = |name: &Vec<u8>| job.options.select.date(mailbox.store().delivered(name));
    names.into_iter().filter(|name| is_name(name) && is_unknown(name) && wanted(name)).collect()
}

/// Whether all that is gone was delivered before all that is left.
fn expired(mailbox: &Mailbox, gone: &[Vec<u8>]) -> bool {
    let delivered = |name: &[u8]| -> Option<Stamp> { mailbox.store().delivered(name) };
    let newest = gone.iter().filter_map(|name| delivered(name)).max();
    let oldest = mailbox.messages().filter_map(|(_, entry)| delivered(&entry.name)).min();
    matches!((newest, oldest), (Some(newest), Some(oldest)) if newest < oldest)
}
