//! Messages that are not intact, between being found and being reported.

use super::account::Mailbox;
use super::job::Job;
use super::mending::Menders;
use super::rebuild::Ward;
use crate::catalog::{MessageChange, MessageRow, State};
use crate::model::event::{Finding, Subject};
use crate::model::groups::Value;
use crate::model::message::CopyFacts;
use crate::model::server::{Says, Witnessed};
use crate::model::wire::{Entry, Place};
use crate::model::{Attrs, Check, Digest, Evidence, Key, RelPath, Stamp, Verdict};
pub use crate::plan::compare::is_clean;
use crate::store;
use crate::sys::mounts;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One message that is damaged, unreadable, suspect, missing or undetermined.
#[derive(Debug, Clone)]
pub struct Harm {
    /// Index of its mailbox.
    pub mailbox: usize,
    pub key: Key,
    pub verdict: Verdict,
    /// Why, where no fault says it.
    pub reason: String,
    /// Where it stands, or where it belongs.
    pub place: Place,
    pub name: Vec<u8>,
    /// A file stands there.
    pub present: bool,
    pub facts: Option<CopyFacts>,
    pub row: Option<MessageRow>,
    /// What the server knows of it, where it is missing.
    pub witnessed: Witnessed,
}

impl Harm {
    /// The catalog's digest. One that was recorded with doubts does not count against content that raises none.
    pub fn expected(&self) -> Option<Digest> {
        let row = self.row.as_ref()?;
        row.digest.filter(|_| !(row.suspect && self.is_clean()))
    }

    /// Whether a file is there that shows no fault but that it is not what was recorded.
    pub fn is_clean(&self) -> bool {
        self.present && self.facts.as_ref().is_some_and(is_clean)
    }

    /// Bytes that the message should have, from its name or the catalog.
    pub fn size(&self) -> Option<u64> {
        crate::store::maildir::name::parse(&self.name).size.or(self.row.as_ref().map(|r| r.length))
    }

    /// Path below the store.
    pub fn path(&self, mailboxes: &[Mailbox]) -> RelPath {
        let Mailbox { dir, format, .. } = &mailboxes[self.mailbox];
        store::message_path(*format, dir, self.place, &self.name).unwrap_or_else(|| dir.clone())
    }

    pub fn internal_date(&self) -> Option<Stamp> {
        let named = crate::store::maildir::name::delivered(&self.name);
        self.row.as_ref().map(|r| r.attrs.mtime).or(self.facts.as_ref().map(|f| f.stat.mtime)).or(named)
    }
}

/// A file that belongs to nobody.
#[derive(Debug, Clone)]
pub struct Stray {
    pub mailbox: usize,
    pub entry: usize,
    pub facts: CopyFacts,
    /// It was given back its name.
    pub claimed: bool,
}

impl Stray {
    /// Whether an fsck lost its name (`#12345`).
    pub fn is_orphan(&self, mailboxes: &[Mailbox]) -> bool {
        crate::store::maildir::name::is_orphan(&mailboxes[self.mailbox].listing.entries[self.entry].name)
    }
}

/// What reading one account gave.
#[derive(Default)]
pub struct Haul {
    pub harms: Vec<Harm>,
    /// What the servers' lists and indexes need, so that messages come back as clients knew them.
    pub menders: Menders,
    pub strays: Vec<Stray>,
    /// Files that vanished or changed between listing and reading.
    pub unsteady: Vec<super::account::At>,
    /// Content of messages that the catalog does not know under their key: where a moved message may be.
    pub fresh: HashMap<Digest, (usize, usize)>,
    /// Content of messages that are there and on record: mailbox, and since when it is known there.
    pub known: HashMap<Digest, (usize, Stamp)>,
    /// What the catalog is to learn, by mailbox and key.
    pub changes: Vec<BTreeMap<Key, MessageChange>>,
    /// Intact messages that no digest vouches for, to be compared with their copies (`--deep`).
    pub unproven: Vec<(super::account::At, CopyFacts)>,
    /// Messages on record whose names others bear now, by mailbox and key.
    pub displaced: HashSet<(usize, Key)>,
    /// Messages that the budget leaves for a later night.
    pub put_off: Vec<super::account::At>,
    /// Content of every message that was read, by mailbox and key (`--against`).
    pub contents: HashMap<(usize, Key), Digest>,
    /// Chaining values of contents that the catalog does not have yet.
    pub groups: Vec<(Digest, Vec<Value>)>,
    /// Messages of files that hold many, which copies heal.
    pub wards: Vec<Ward>,
    /// Damage or read errors were found.
    pub harmed: bool,
}

impl Haul {
    /// Whether the server began anew in one of the mailboxes, as its lists say of what was missing so far.
    pub fn restarted(&self) -> bool {
        self.harms.iter().any(|harm| harm.witnessed.says == Says::Restarted)
    }

    /// Takes back that the catalog is to learn of a message that it is missing.
    pub fn no_longer_missed(&mut self, mailbox: usize, key: &Key) {
        if let Some(MessageChange::Missed { .. }) = self.changes[mailbox].get(key) {
            self.changes[mailbox].remove(key);
        }
    }
}

/// The row that records a message as it was just read.
pub fn row(key: &Key, entry: &Entry, facts: &CopyFacts, now: Stamp, old: Option<&MessageRow>) -> MessageRow {
    let stat = &facts.stat;
    MessageRow {
        key: key.clone(),
        place: entry.place,
        name: entry.name.clone(),
        digest: facts.digest,
        stored: facts.stored,
        canonical: facts.canonical,
        length: facts.length,
        size: stat.size,
        encoding: facts.encoding,
        attrs: Attrs { uid: stat.uid, gid: stat.gid, mode: stat.mode, mtime: stat.mtime, xattrs: Vec::new() },
        envelope: facts.envelope.clone().or_else(|| old.and_then(|o| o.envelope.clone())),
        first_seen: old.map_or(now, |o| o.first_seen),
        last_seen: now,
        verified: Some(now),
        state: State::Present,
        accepted: false,
        suspect: facts.evidence.verdict() == Verdict::Suspect || (old.is_some_and(|o| o.suspect)),
    }
}

/// Outcomes of all checks that said anything.
pub fn checks(evidence: &Evidence) -> Vec<(&'static str, crate::model::Outcome)> {
    Check::ALL.iter().map(|&c| (c.name(), evidence.get(c))).collect()
}

/// The finding for a harm, without an action.
pub fn finding(job: &Job<'_>, account: &str, mailboxes: &[Mailbox], harm: &Harm) -> Finding {
    let facts = harm.facts.as_ref();
    let evidence = facts.map(|f| &f.evidence);
    let dev = facts.map(|f| f.stat.dev).filter(|&d| d != 0).unwrap_or(job.store.dev);
    Finding {
        subject: Subject::Message,
        store: job.store.text.clone(),
        account: account.to_owned(),
        mailbox: mailboxes[harm.mailbox].name.clone(),
        key: Some(harm.key.clone()),
        uid: harm.witnessed.uid,
        guid: None,
        path: harm.path(mailboxes),
        size: facts.filter(|_| harm.present).map(|f| f.stat.size).or(harm.row.as_ref().map(|r| r.size)),
        device: Some(mounts::device_name(mounts::device_numbers(dev))),
        internal_date: harm.internal_date(),
        verdict: harm.verdict,
        checks: evidence.map(checks).unwrap_or_default(),
        faults: evidence.map(|e| e.faults().to_vec()).unwrap_or_default(),
        signed: evidence.and_then(|e| e.signed().cloned()),
        reason: harm.reason.clone(),
        envelope: harm.row.as_ref().and_then(|r| r.envelope.clone()).or(facts.and_then(|f| f.envelope.clone())),
        action: None,
        outcome: None,
        accepted: false,
    }
}
