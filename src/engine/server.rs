//! What the mail server itself knows of messages that are gone, and how they come back under their old UIDs.
//!
//! Dovecot never gives a message back its UID once its indexes count it as gone. They are made anew from the mail and
//! the list of UIDs, so they are moved aside; and a new log says how often the mailbox had changed, because that count
//! (HIGHESTMODSEQ, RFC 7162) must never fall. May not decide what comes back.

use super::account::{EngineError, Mailbox};
use super::find::Sources;
use super::job::Job;
use super::lane::{LaneError, serve};
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::server::{Says, Witness, Witnessed};
use crate::model::wire::Trouble;
use crate::model::{Attrs, Missing, RelPath, Verdict};
use crate::plan::attrs::{Owner, Witnesses, settle};
use crate::store::dovecot::log;
use crate::store::maildir::{companion, name};
use crate::sys::clock;
use std::collections::HashMap;

/// Names in one question, so that it fits a frame.
const ASKED_AT_ONCE: usize = 8192;

/// What the servers of an account's mailboxes know, by mailbox.
#[derive(Default)]
pub struct Servers {
    known: HashMap<usize, Witness>,
    /// Numbers of the steps that make a mailbox's indexes anew.
    renewed: HashMap<usize, Vec<u64>>,
    /// UIDs and files of messages that come back and that the mailbox's list has no line for.
    forgotten: HashMap<usize, Vec<(u32, Vec<u8>)>>,
}

/// What is known of each message that was asked for.
#[derive(Default)]
pub struct Asked(Vec<Witnessed>);

impl Asked {
    pub fn of(&self, nth: usize) -> Witnessed {
        self.0.get(nth).copied().unwrap_or_default()
    }
}

impl Servers {
    /// Asks the server's files in mailbox `m` about messages whose files had these names. Where its list has forgotten
    /// one, the sources' lists of the same UIDVALIDITY know under which UID it was.
    pub fn ask(
        &mut self,
        job: &mut Job<'_>,
        sources: &Sources,
        mailbox: &Mailbox,
        m: usize,
        names: &[Vec<u8>],
    ) -> Result<Asked, EngineError> {
        let kept = mailbox.companions().any(|name| companion::is_list(name) || companion::is_index(name));
        if mailbox.folder.is_none() || !kept || names.is_empty() {
            return Ok(Asked::default());
        }
        let mut asked: Vec<(Vec<u8>, Option<u32>)> = names.iter().map(|name| (name.clone(), None)).collect();
        let at = (job.store.lane, job.store.root);
        let Some(mut own) = put(job, at, &mailbox.dir, &asked)? else { return Ok(Asked::default()) };
        let forgotten = |own: &Witness| own.messages.iter().any(|message| message.uid.is_none());
        for generation in 0..job.generations.len() {
            let Some(dir) = sources.account_dir(generation).map(|dir| dir.join_path(&mailbox.rel)) else { continue };
            if !forgotten(&own) {
                break;
            }
            let at = (job.generations[generation].lane, job.generations[generation].root);
            // A source without such a list is no trouble.
            let Ok(Some(theirs)) = put_quietly(job, at, &dir, &asked) else { continue };
            if theirs.uid_validity.is_none() || theirs.uid_validity != own.uid_validity {
                continue;
            }
            for ((mine, given), their) in own.messages.iter().zip(&mut asked).zip(&theirs.messages) {
                if mine.uid.is_none() && !their.unlisted {
                    given.1 = given.1.or(their.uid);
                }
            }
            if let Some(again) = put(job, (job.store.lane, job.store.root), &mailbox.dir, &asked)? {
                own = again;
            }
        }
        partners(job, sources, mailbox, &asked, &mut own);
        let messages = std::mem::take(&mut own.messages);
        self.known.insert(m, own);
        Ok(Asked(messages))
    }

    /// Lines that the list of mailbox `m` must get back before its messages do.
    pub fn expect(&mut self, m: usize, uid: u32, file: &[u8]) {
        self.forgotten.entry(m).or_default().push((uid, name::base(file).to_vec()));
    }

    /// Steps that must come before a message that the server counts as gone; planned once for each mailbox.
    pub fn renew(
        &mut self,
        job: &mut Job<'_>,
        account: &str,
        mailbox: &Mailbox,
        m: usize,
    ) -> Result<Vec<u64>, EngineError> {
        if let Some(steps) = self.renewed.get(&m) {
            return Ok(steps.clone());
        }
        let Some(witness) = self.known.get(&m) else { return Ok(Vec::new()) };
        let mut numbers = Vec::new();
        for (name, stat) in &witness.indexes {
            let Ok(target) = mailbox.dir.join(name) else { continue };
            let action = if name == companion::INDEX_LOG { beginning(mailbox, witness) } else { Action::Quarantine };
            let reason = "the server counts lost messages as deleted here, and makes this again from the mail";
            let mut step = means(account, mailbox, target, Fingerprint::Inode(*stat), action, reason);
            step.needs = numbers.clone();
            job.push_step(&mut step)?;
            numbers.push(step.number);
        }
        if let Some(lines) = self.forgotten.remove(&m) {
            numbers.extend(relist(job, account, mailbox, lines)?);
        }
        self.renewed.insert(m, numbers.clone());
        Ok(numbers)
    }
}

/// Notes which messages that the server noticed as lost a partner of its sync has deleted since: a source that is such
/// a partner says so in its own log.
fn partners(
    job: &mut Job<'_>,
    sources: &Sources,
    mailbox: &Mailbox,
    asked: &[(Vec<u8>, Option<u32>)],
    own: &mut Witness,
) {
    for generation in 0..job.generations.len() {
        if !own.messages.iter().any(|message| message.says == Says::LossNoticed) {
            return;
        }
        let Some(dir) = sources.account_dir(generation).map(|dir| dir.join_path(&mailbox.rel)) else { continue };
        let at = (job.generations[generation].lane, job.generations[generation].root);
        let Ok(Some(theirs)) = put_quietly(job, at, &dir, asked) else { continue };
        for (mine, their) in own.messages.iter_mut().zip(&theirs.messages) {
            mine.deleted_at_partner |= mine.says == Says::LossNoticed && their.says == Says::DeletedBySync;
        }
    }
}

/// Puts a question to one root, in parts that fit a frame.
fn put_quietly(
    job: &mut Job<'_>,
    (lane, root): (usize, u32),
    dir: &RelPath,
    names: &[(Vec<u8>, Option<u32>)],
) -> Result<Option<Witness>, Trouble> {
    let mut whole: Option<Witness> = None;
    for part in names.chunks(ASKED_AT_ONCE) {
        let lost =
            |error: LaneError| serve::trouble(root, dir.as_bytes(), "read", &std::io::Error::other(error.to_string()));
        let mut witness = job.lanes.lanes[lane].witness(root, dir, part.to_vec()).map_err(lost)??;
        let mut messages = whole.take().map(|whole| whole.messages).unwrap_or_default();
        messages.append(&mut witness.messages);
        whole = Some(Witness { messages, ..witness });
    }
    Ok(whole)
}

/// The same, where no answer means that something was not checked.
fn put(
    job: &mut Job<'_>,
    at: (usize, u32),
    dir: &RelPath,
    names: &[(Vec<u8>, Option<u32>)],
) -> Result<Option<Witness>, EngineError> {
    match put_quietly(job, at, dir, names) {
        Ok(witness) => Ok(witness),
        Err(trouble) => {
            job.not_checked(&trouble);
            Ok(None)
        }
    }
}

/// The step that gives a list the lines back that the server took out.
fn relist(
    job: &mut Job<'_>,
    account: &str,
    mailbox: &Mailbox,
    lines: Vec<(u32, Vec<u8>)>,
) -> Result<Option<u64>, EngineError> {
    let root = job.store.root;
    let (stat, bytes) = match job.store_lane().relist(root, &mailbox.dir, lines)? {
        Ok(list) => list,
        Err(trouble) => {
            job.not_checked(&trouble);
            return Ok(None);
        }
    };
    let attrs: Attrs = settle(&Witnesses {
        present: Some(&stat),
        folder: mailbox.folder.as_ref().map(Owner::from),
        source: Some((&stat, Some(clock::now()))),
        ..Witnesses::default()
    });
    let Ok(target) = mailbox.dir.join(b"dovecot-uidlist") else { return Ok(None) };
    let action = Action::Write { bytes, attrs };
    let reason = "the server took lost messages out of its list of UIDs";
    let mut step = means(account, mailbox, target, Fingerprint::Inode(stat), action, reason);
    job.push_step(&mut step)?;
    Ok(Some(step.number))
}

/// A step that a message needs, so that it comes back under its old UID.
fn means(account: &str, mailbox: &Mailbox, target: RelPath, before: Fingerprint, action: Action, reason: &str) -> Step {
    Step {
        number: 0,
        account: account.to_owned(),
        mailbox: mailbox.name.clone(),
        key: None,
        verdict: Verdict::Missing(Missing::Lost),
        target,
        before,
        action,
        assurance: None,
        why: "so that messages come back under their old UIDs".to_owned(),
        needs: Vec::new(),
        details: Details { reason: reason.to_owned(), ..Details::default() },
    }
}

/// The log that the server goes on with: nothing in it but how often the mailbox had changed.
fn beginning(mailbox: &Mailbox, witness: &Witness) -> Action {
    let now = clock::now();
    let old = witness.indexes.iter().find(|(name, _)| name == companion::INDEX_LOG).map(|(_, stat)| stat);
    let seconds = u32::try_from(now.sec).unwrap_or(u32::MAX);
    let attrs: Attrs = settle(&Witnesses {
        present: old,
        folder: mailbox.folder.as_ref().map(Owner::from),
        source: Some((&crate::model::Stat { mtime: now, ..old.copied().unwrap_or_default() }, Some(now))),
        ..Witnesses::default()
    });
    Action::Write { bytes: log::beginning(seconds, witness.log_seq.saturating_add(1), witness.highest_modseq), attrs }
}
