//! The indexes that a server keeps beside an mbox file, begun anew before messages come back that they count as gone.
//!
//! The server takes what comes back in the middle of the others for garbage, and gives all that follows new UIDs. UIDs, flags
//! and keywords stand in the file, so it can make its indexes from that; a new log says what only they knew. May not decide
//! which messages come back.

use super::account::{Account, EngineError, Mailbox};
use super::job::Job;
use super::server::Beside;
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::server::{Ledger, Recalled};
use crate::model::{Attrs, Missing, RelPath, Stat, Verdict, container};
use crate::store::dovecot::fresh::{self, Marks};
use crate::store::maildir::companion;
use crate::store::mbox::Named;
use crate::sys::clock;

const HELD: &str = "the server has noticed the loss, and would give what follows new UIDs: stop it, move the mailbox's \
                    dovecot.index* away, which the file makes up for, and repair again; or insist with --undecided restore";
const WHY: &str = "the server counts messages as gone that come back, and makes its indexes again from the file";

/// The indexes of one file, as they are.
pub struct Indexes<'b> {
    dir: &'b RelPath,
    ledger: &'b Ledger,
    /// They know messages by the UIDs that the file has.
    same_uids: bool,
}

impl Indexes<'_> {
    /// What is `beside` the file.
    ///
    /// # Errors
    /// Words where they cannot be begun anew by steps of a plan.
    pub fn of<'b>(mailbox: &Mailbox, beside: &'b Beside, validity: Option<u32>) -> Result<Indexes<'b>, String> {
        let name = container::file_of_mailbox(&mailbox.dir).unwrap_or_default();
        // The lock of the file is known by the folder's name alone, and that has lost how a file INBOX is written.
        let sure = !name.name().eq_ignore_ascii_case(b"inbox") || name.name() == b"inbox";
        match &beside.ledger {
            Some(ledger) if sure && !ledger.files.is_empty() => {
                // The one on record, or the one that stands in the file as the server last read it.
                let mut named = mailbox.messages().filter_map(|(_, entry)| Named::parse(&entry.name));
                let stands = named.find_map(|named| named.validity);
                let same_uids = validity.is_none() || [validity, stands].contains(&ledger.uid_validity);
                Ok(Indexes { dir: &beside.dir, ledger, same_uids })
            }
            _ => Err(HELD.to_owned()),
        }
    }

    /// Plans the steps, each after the one before it. `dovecot.index` is first: without it the log decides, which is last.
    pub fn begin(&self, job: &mut Job<'_>, account: &Account, mailbox: &Mailbox) -> Result<Vec<u64>, EngineError> {
        let of = |file: &[u8]| self.ledger.files.iter().find(|(name, _)| name == file).map(|(_, stat)| *stat);
        let Some(like) = companion::INDEX.iter().rev().find_map(|file| of(file)) else { return Ok(Vec::new()) };
        let mut steps = Vec::new();
        for file in companion::INDEX {
            let action = match (file == companion::INDEX_LOG, of(file)) {
                (true, _) => Action::Write { bytes: self.log(), attrs: attrs(&like) },
                (false, Some(_)) => Action::Quarantine,
                (false, None) => continue,
            };
            let Ok(target) = self.dir.join(file) else { continue };
            let mut step = Step {
                number: 0,
                account: account.name.clone(),
                mailbox: mailbox.name.clone(),
                key: None,
                verdict: Verdict::Missing(Missing::Lost),
                target,
                before: of(file).map_or(Fingerprint::Nothing, Fingerprint::Inode),
                action,
                assurance: None,
                why: WHY.to_owned(),
                needs: steps.clone(),
                details: Details { reason: WHY.to_owned(), ..Details::default() },
            };
            job.push_step(&mut step)?;
            steps.push(step.number);
        }
        Ok(steps)
    }

    /// How often the mailbox has changed, and the flags that the old ones knew.
    fn log(&self) -> Vec<u8> {
        let Recalled { uids, flags, keywords } = &*self.ledger.recalled;
        let has = |uids: &Vec<u32>, uid: u32| uids.binary_search(&uid).is_ok();
        let marks = |&uid: &u32| Marks {
            uid,
            flags: flags.iter().filter(|(_, uids)| has(uids, uid)).fold(0, |all, (flag, _)| all | flag),
            keywords: keywords.iter().filter(|(_, uids)| has(uids, uid)).map(|(name, _)| name.clone()).collect(),
        };
        let seconds = u32::try_from(clock::now().sec).unwrap_or(u32::MAX);
        let (number, modseq) = (self.ledger.log_seq.saturating_add(1), self.ledger.highest_modseq.saturating_add(1));
        // Under another UIDVALIDITY the numbers would be those of other messages.
        let known: Vec<Marks> = if self.same_uids { uids.iter().map(marks).collect() } else { Vec::new() };
        let mut log = fresh::log(seconds, number, modseq, &known);
        if let Some(guid) = &self.ledger.mailbox_guid {
            fresh::file_guid(&mut log, guid);
        }
        log
    }
}

fn attrs(like: &Stat) -> Attrs {
    let Stat { uid, gid, mode, .. } = *like;
    Attrs { uid, gid, mode: mode & 0o777, mtime: clock::now(), xattrs: Vec::new() }
}
