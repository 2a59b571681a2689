//! What a verify teaches the catalog, one mailbox a transaction.

use super::account::{Account, EngineError, Mailbox};
use super::harm::Haul;
use super::job::{Job, Mode};
use crate::catalog::{Folder, MailboxUpdate, MessageChange};
use crate::model::{Key, Missing, Verdict};
use std::collections::BTreeMap;

/// Records everything that was read and listed of an account.
pub fn record(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox], haul: &mut Haul) -> Result<(), EngineError> {
    let (Some(catalog), Some(store), Mode::Verify) = (&mut job.catalog, job.store.id, job.options.mode) else {
        return Ok(());
    };
    let whole = job.options.select.since.is_none();
    for (mailbox, changes) in mailboxes.iter().zip(&mut haul.changes).filter(|(m, _)| m.selected) {
        if mailbox.folder.is_none() && mailbox.row.is_none() {
            continue;
        }
        let complete = mailbox.complete() && whole;
        let update = MailboxUpdate {
            account: account.dir.clone(),
            account_name: account.name.clone(),
            dir: mailbox.dir.clone(),
            folder: mailbox.folder.as_ref().map(|s| Folder { uid: s.uid, gid: s.gid, mode: s.mode }),
            dir_times: mailbox.dir_times(),
            listed: mailbox.listed,
            complete,
            verified: Some(mailbox.listed),
            gone: mailbox.complete() && mailbox.folder.is_none() && settled(mailbox, changes),
            marker: mailbox.companions().any(|n| n == b"maildirfolder"),
        };
        let mut changes = std::mem::take(changes).into_values();
        catalog.record_mailbox(store, &update, &mut changes)?;
    }
    Ok(())
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
