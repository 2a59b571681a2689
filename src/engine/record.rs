//! What a run teaches the catalog, one mailbox a transaction: a verify everything that it saw, any other run only
//! which recorded messages it found missing.

use super::account::{Account, EngineError, Mailbox};
use super::harm::Haul;
use super::job::{Job, Mode};
use super::quiet;
use crate::catalog::{Catalog, Folder, MailboxUpdate, MessageChange, StoreId};
use crate::model::{Key, Missing, Stamp, Verdict, limits};
use std::collections::BTreeMap;

/// Records everything that was read and listed of an account.
pub fn record(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    haul: &mut Haul,
    seen: Option<i64>,
) -> Result<(), EngineError> {
    let quiet: Vec<bool> = (0..mailboxes.len()).map(|m| quiet::is_quiet(job, mailboxes, m, haul)).collect();
    let (Some(catalog), Some(store), Some(_)) = (&mut job.catalog, job.store.id, job.run_id) else { return Ok(()) };
    if job.options.mode != Mode::Verify {
        if let Err(error) = missed(catalog, store, account, mailboxes, haul) {
            job.own_error("record what is missing", &error.to_string());
        }
        return Ok(());
    }
    let whole = job.options.select.since.is_none();
    let mut put_off = vec![Vec::new(); mailboxes.len()];
    haul.put_off.iter().for_each(|at| put_off[at.mailbox].push(at.entry));
    let all = mailboxes.iter().zip(&mut haul.changes).zip(&put_off).zip(quiet);
    catalog.record_groups(&std::mem::take(&mut haul.groups))?;
    for (((mailbox, changes), put_off), quiet) in all.filter(|(((m, _), _), _)| m.selected) {
        if mailbox.folder.is_none() && mailbox.row.is_none() {
            continue;
        }
        let complete = mailbox.complete() && whole;
        let epoch = new_epoch(mailbox, put_off);
        let update = MailboxUpdate {
            complete,
            verified: epoch.then_some(mailbox.listed),
            gone: mailbox.complete() && mailbox.folder.is_none() && settled(mailbox, changes),
            ..listed(account, mailbox)
        };
        let mut changes = std::mem::take(changes).into_values();
        let id = catalog.record_mailbox(store, &update, &mut changes)?;
        // A time of proof that moves on by itself would do so every night.
        if let (Some(seal), Some(seen), true) = (&mailbox.listing.seal, seen, quiet && complete)
            && (!epoch || mailbox.files.is_empty())
        {
            catalog.seal(id, seal, seen)?;
        }
    }
    Ok(())
}

/// Hands the catalog the chaining values of contents once there are `most`; all of a large store's would fill the memory.
pub fn keep_groups(job: &mut Job<'_>, haul: &mut Haul, most: usize) {
    if haul.groups.iter().map(|(_, values)| values.len()).sum::<usize>() < most {
        return;
    }
    let groups = std::mem::take(&mut haul.groups);
    let (Some(catalog), Some(_)) = (&mut job.catalog, job.run_id) else { return };
    if let Err(error) = catalog.record_groups(&groups) {
        job.own_error("record parts of messages", &error.to_string());
    }
}

/// What a complete listing tells of a mailbox by itself.
pub(super) fn listed(account: &Account, mailbox: &Mailbox) -> MailboxUpdate {
    MailboxUpdate {
        account: account.dir.clone(),
        account_name: account.name.clone(),
        dir: mailbox.dir.clone(),
        folder: mailbox.folder.as_ref().map(|s| Folder { uid: s.uid, gid: s.gid, mode: s.mode }),
        dir_times: mailbox.dir_times(),
        listed: mailbox.listed,
        complete: true,
        verified: None,
        gone: false,
        marker: mailbox.companions().any(|n| n == b"maildirfolder"),
    }
}

/// Records what an audit or a repair found missing and did not put back. The mailbox's row stays as it is.
fn missed(
    catalog: &mut Catalog,
    store: StoreId,
    account: &Account,
    mailboxes: &[Mailbox],
    haul: &mut Haul,
) -> Result<(), EngineError> {
    for (mailbox, changes) in mailboxes.iter().zip(&mut haul.changes) {
        let Some(row) = mailbox.row.as_ref().filter(|_| !changes.is_empty()) else { continue };
        let update = MailboxUpdate {
            account: account.dir.clone(),
            account_name: account.name.clone(),
            dir: mailbox.dir.clone(),
            folder: None,
            dir_times: None,
            listed: mailbox.listed,
            complete: false,
            verified: None,
            gone: row.gone,
            marker: row.marker,
        };
        catalog.record_mailbox(store, &update, &mut std::mem::take(changes).into_values())?;
    }
    Ok(())
}

/// Whether the mailbox's own time of proof moves on: messages that have another keep it in their rows, so it is the
/// time of those that are more, and never one that no message has any more.
fn new_epoch(mailbox: &Mailbox, put_off: &[usize]) -> bool {
    let read = mailbox.messages().count().saturating_sub(put_off.len());
    let epoch = mailbox.row.as_ref().and_then(|row| row.verified);
    let entries = put_off.iter().map(|&entry| &mailbox.listing.entries[entry]);
    let rows = entries.filter_map(|entry| mailbox.rows.get(&mailbox.key(&entry.name)));
    rows.filter(|row| row.verified == epoch).count() <= read
}

/// Whether a folder that is gone has nothing left that is not explained: only then is it no longer looked for.
fn settled(mailbox: &Mailbox, changes: &BTreeMap<Key, MessageChange>) -> bool {
    mailbox.rows.values().filter(|r| r.state.on_disk() || r.state.is_harm()).all(|row| match changes.get(&row.key) {
        Some(MessageChange::Gone { missing, .. }) => {
            !super::job::is_harm(Verdict::Missing(*missing)) || *missing == Missing::Moved
        }
        _ => false,
    })
}

/// Drops from the records what nobody will ask for any more: else they grow with all that ever was.
pub fn forget(job: &mut Job<'_>) {
    let whole = job.options.mode == Mode::Verify && job.run_id.is_some() && job.tally.own_errors == 0;
    let (Some(catalog), Some(store), true) = (&mut job.catalog, job.store.id, whole && !job.tally.interrupted) else {
        return;
    };
    let before = Stamp { sec: job.started.sec.saturating_sub(limits::DELETED_KEPT), nsec: 0 };
    let forgotten = catalog.forget_deleted(store, before).and_then(|gone| match gone {
        0 => Ok(0),
        _ => catalog.forget_groups(),
    });
    if let Err(error) = forgotten.and_then(|_| catalog.prune_findings(store, limits::RUNS_KEPT)) {
        job.own_error("forget old records", &error.to_string());
    }
}
