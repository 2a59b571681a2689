//! Reads accounts and judges what it read.

use super::account::{self, At, EngineError, Mailbox};
use super::budget;
use super::group::{Unit, counted};
use super::harm::{self, Harm, Haul, Stray};
use super::job::{Job, Mode};
use super::{mbox, record, renumbered};
use crate::catalog::{MessageChange, State};
use crate::model::event::Phase;
use crate::model::evidence::{Check, Evidence, Fault, FaultKind};
use crate::model::message::CopyFacts;
use crate::model::wire::{Entry, EntryKind, Place, Reading, Trouble};
use crate::model::{Encoding, Format, Key, Span, Verdict};
use crate::store::maildir::name;
use std::collections::HashMap;

/// Chaining values that are held before the catalog gets them: half a megabyte.
const GROUPS_HELD: usize = 1 << 14;

/// Errors of opening or reading that mean: the medium does not give the file.
pub const MEDIUM_ERRORS: [i32; 5] = [5, 61, 74, 110, 117];

/// Reads all messages of the accounts' mailboxes.
pub fn scan(job: &mut Job<'_>, units: &mut [Unit]) -> Result<(), EngineError> {
    for unit in units.iter_mut() {
        unit.haul.changes = unit.mailboxes.iter().map(|_| Default::default()).collect();
        for mailbox in unit.mailboxes.iter().filter(|m| m.selected) {
            counted(job, &mut unit.tally, |job| {
                job.tally.mailboxes += u64::from(mailbox.folder.is_some());
                listing_troubles(job, mailbox);
            });
        }
    }
    let (mut books, mut accounts) = (Vec::new(), Vec::new());
    for Unit { mailboxes, haul, tally, .. } in units.iter_mut() {
        books.push((haul, tally));
        accounts.push(&mailboxes[..]);
    }
    let put_off = account::read(job, &accounts, &mut |job, (unit, at), item, result| {
        let (haul, tally) = &mut books[unit];
        job.read_messages += 1;
        if job.read_messages.is_multiple_of(256) {
            job.progress(Phase::Verify);
        }
        counted(job, tally, |job| judge(job, accounts[unit], at, item.size_claim.is_some(), result, haul));
    });
    if job.stopped() {
        return Ok(());
    }
    for (Unit { mailboxes, haul, tally, .. }, put_off) in units.iter_mut().zip(put_off) {
        counted(job, tally, |job| {
            budget::put_off(job, mailboxes, put_off, haul);
            again(job, mailboxes, haul)
        })?;
        haul.harmed = haul.harms.iter().any(|h| super::job::is_harm(h.verdict));
    }
    Ok(())
}

/// What could not be listed, and what in the listing is no file.
fn listing_troubles(job: &mut Job<'_>, mailbox: &Mailbox) {
    for trouble in &mailbox.listing.troubles {
        job.not_checked(trouble);
    }
    if !mailbox.complete() {
        // Known messages that a broken listing did not show: not missing, not checked.
        let unseen = mailbox.rows.iter().filter(|(k, r)| r.state.on_disk() && !mailbox.files.contains_key(*k)).count();
        job.tally.not_checked += unseen as u64;
    }
    for entry in mailbox.listing.entries.iter().filter(|e| matches!(e.place, Place::New | Place::Cur)) {
        let what = match entry.kind {
            EntryKind::File => continue,
            EntryKind::Directory => "a folder stands where messages belong",
            EntryKind::Symlink => "a symbolic link is not followed",
            EntryKind::Other => "not a regular file",
        };
        let path = mailbox.path(entry).unwrap_or_default();
        job.not_checked(&Trouble {
            root: job.store.root,
            path: path.as_bytes().to_vec(),
            operation: "check".to_owned(),
            errno: None,
            detail: what.to_owned(),
        });
    }
}

/// Files that vanished or changed under the reader: looked for once more under their present name.
fn again(job: &mut Job<'_>, mailboxes: &mut [Mailbox], haul: &mut Haul) -> Result<(), EngineError> {
    let unsteady = std::mem::take(&mut haul.unsteady);
    let mut touched: Vec<usize> = unsteady.iter().map(|at| at.mailbox).collect();
    touched.sort_unstable();
    touched.dedup();
    for m in touched {
        let root = job.store.root;
        let fresh = job.store_lane().list(root, &mailboxes[m].dir, mailboxes[m].format, false)?;
        if !fresh.complete() {
            // What it does not show may still be there: nothing of this mailbox counts as missing.
            let unseen = unsteady.iter().filter(|at| at.mailbox == m).count() as u64;
            job.tally.not_checked += unseen;
            fresh.troubles.iter().for_each(|trouble| job.not_checked(trouble));
            mailboxes[m].listing.troubles.extend(fresh.troubles);
            continue;
        }
        if let (Format::Mbox, Some((_, stat))) = (mailboxes[m].format, fresh.dirs.first()) {
            // Places in the file are those of now.
            mailboxes[m].folder = Some(*stat);
        }
        let now: HashMap<Key, &Entry> =
            fresh.entries.iter().filter(|e| account::is_message(e)).map(|e| (mailboxes[m].key(&e.name), e)).collect();
        for at in unsteady.iter().filter(|at| at.mailbox == m) {
            let key = mailboxes[m].key(&mailboxes[m].listing.entries[at.entry].name);
            let Some(&entry) = now.get(&key) else {
                mailboxes[m].files.remove(&key);
                mailboxes[m].vanished.insert(key);
                continue;
            };
            let Some(item) = account::item(job, &mailboxes[m], entry) else { continue };
            mailboxes[m].listing.entries.push(entry.clone());
            let at = At { mailbox: m, entry: mailboxes[m].listing.entries.len() - 1 };
            mailboxes[m].files.insert(key, at.entry);
            let sized = item.size_claim.is_some();
            let result = job.store_lane().read_one(item);
            if let Err(trouble) = &result
                && unsteady_errno(trouble)
            {
                job.not_checked(trouble);
                continue;
            }
            judge(job, mailboxes, at, sized, result, haul);
        }
    }
    Ok(())
}

fn unsteady_errno(trouble: &Trouble) -> bool {
    trouble.errno == Some(2) || (trouble.errno.is_none() && trouble.detail.contains("changed while"))
}

/// One answer of the lane.
fn judge(job: &mut Job<'_>, mailboxes: &[Mailbox], at: At, sized: bool, result: Reading, haul: &mut Haul) {
    let mut facts = match keep_groups(job, haul, result) {
        Ok(facts) => facts,
        Err(trouble) if unsteady_errno(&trouble) => return haul.unsteady.push(at),
        Err(trouble) if trouble.errno.is_some_and(|e| MEDIUM_ERRORS.contains(&e)) => unreadable(job, &trouble),
        Err(trouble) => return job.not_checked(&trouble),
    };
    let mailbox = &mailboxes[at.mailbox];
    let entry = &mailbox.listing.entries[at.entry];
    let key = mailbox.key(&entry.name);
    let first = mailbox.files.get(&key) == Some(&at.entry);
    let row = mailbox.rows.get(&key).filter(|_| first);
    let another = row.is_some_and(|row| renumbered::is_another(mailbox, row, &facts));
    let row = row.filter(|_| !another);
    if another {
        facts.evidence.forget_digest();
        haul.displaced.insert((at.mailbox, key.clone()));
    } else if row.is_some_and(|row| mbox::altered(mailbox, row, &entry.name)) {
        break_frame(&mut facts.evidence);
    }
    let mut verdict = facts.evidence.verdict();
    // What was recorded raised doubts then; what is there now raises none: no damage, but worth a look.
    let replaces_doubt = verdict == Verdict::Damaged && row.is_some_and(|r| r.suspect) && harm::is_clean(&facts);
    if replaces_doubt {
        verdict = Verdict::Suspect;
    }
    count(job, &facts);
    if row.is_none() && mailbox.store().is_odd(&entry.name) {
        let recorded = !name::is_orphan(&entry.name) && verdict.is_intact();
        if recorded {
            learn(haul, at, &key, harm::row(&key, entry, &facts, mailbox.listed, None), job.options.mode);
        }
        job.tally.count(verdict);
        return haul.strays.push(Stray { mailbox: at.mailbox, entry: at.entry, facts, claimed: false });
    }
    if !first {
        job.tally.count(verdict);
        return haul.strays.push(Stray { mailbox: at.mailbox, entry: at.entry, facts, claimed: false });
    }
    if job.options.against
        && let Some(digest) = facts.canonical_digest()
    {
        haul.contents.insert((at.mailbox, key.clone()), digest);
    }
    if row.is_none()
        && let Some(digest) = facts.digest
    {
        haul.fresh.entry(digest).or_insert((at.mailbox, at.entry));
    }
    if let (Some(row), Verdict::Intact(_)) = (row, verdict)
        && let Some(digest) = facts.digest
    {
        let newest = haul.known.entry(digest).or_insert((at.mailbox, row.first_seen));
        if row.first_seen > newest.1 {
            *newest = (at.mailbox, row.first_seen);
        }
    }
    if replaces_doubt && job.options.mode == Mode::Verify {
        let why = "the recorded content raised doubts, this one does not".to_owned();
        let row = harm::row(&key, entry, &facts, mailbox.listed, None);
        haul.changes[at.mailbox].insert(key.clone(), MessageChange::Replaced { row, why });
    } else if verdict.is_intact() || verdict == Verdict::Suspect || first_digest_of_opaque(&facts, row) {
        learn(haul, at, &key, harm::row(&key, entry, &facts, mailbox.listed, row), job.options.mode);
    } else if verdict == Verdict::Undetermined && facts.evidence.opaque && facts.digest.is_some() {
        // Nothing can prove an encrypted message but a digest: without this one no later night could either.
        let row = crate::catalog::MessageRow { verified: None, ..harm::row(&key, entry, &facts, mailbox.listed, row) };
        learn(haul, at, &key, row, job.options.mode);
    }
    match verdict {
        Verdict::Intact(_) => {
            job.tally.count(verdict);
            if job.options.deep && row.is_none_or(|r| r.digest.is_none()) && !job.generations.is_empty() {
                haul.unproven.push((at, facts));
            }
        }
        _ => {
            let harm = Harm {
                mailbox: at.mailbox,
                reason: reason(verdict, &facts, sized),
                key,
                verdict,
                place: entry.place,
                name: entry.name.clone(),
                present: true,
                facts: Some(facts),
                row: row.cloned(),
                witnessed: crate::model::server::Witnessed::default(),
            };
            job.tally.newly_harmed += u64::from(is_new(&harm));
            record_harm(haul, &harm, job.options.mode);
            haul.harms.push(harm);
        }
    }
}

/// Counts what was read.
fn count(job: &mut Job<'_>, facts: &CopyFacts) {
    if facts.evidence.get(Check::Read) == crate::model::Outcome::Fail && facts.stat.ino != 0 {
        job.tally.read_errors += 1;
        job.store_errors += 1;
    }
    job.tally.messages += 1;
    job.tally.bytes += facts.stat.size;
    job.read_bytes += facts.stat.size;
    job.cached += u64::from(facts.cached);
}

/// Hands on what a reading came to, without what the catalog is to keep of its parts.
fn keep_groups(job: &mut Job<'_>, haul: &mut Haul, mut result: Reading) -> Reading {
    if let Ok(CopyFacts { digest: Some(digest), groups, .. }) = &mut result
        && groups.len() > 1
    {
        haul.groups.push((*digest, std::mem::take(groups)));
        record::keep_groups(job, haul, GROUPS_HELD);
    }
    result
}

/// What stands around a message is not what was recorded; of that its digest says nothing.
fn break_frame(evidence: &mut Evidence) {
    let (kind, span) = (FaultKind::BrokenFrame, Span::new(0, 0));
    evidence.blame(Fault { check: Check::NativeHash, kind, span, errno: None });
    evidence.set(Check::Digest, crate::model::Outcome::Unknown);
}

/// Whether the message was on record as whole.
fn is_new(harm: &Harm) -> bool {
    let broken = matches!(harm.verdict, Verdict::Damaged | Verdict::Unreadable);
    broken && harm.row.as_ref().is_some_and(|row| row.state == State::Present)
}

/// Nothing but a digest will ever prove encrypted mail, so the first one that is seen is recorded.
fn first_digest_of_opaque(facts: &CopyFacts, row: Option<&crate::catalog::MessageRow>) -> bool {
    facts.evidence.verdict() == Verdict::Undetermined
        && facts.evidence.opaque
        && facts.digest.is_some()
        && row.is_none_or(|r| r.digest.is_none())
}

fn learn(haul: &mut Haul, at: At, key: &Key, row: crate::catalog::MessageRow, mode: Mode) {
    if mode == Mode::Verify {
        let change = match haul.displaced.contains(&(at.mailbox, key.clone())) {
            true => MessageChange::Renamed { row },
            false => MessageChange::Seen(row),
        };
        haul.changes[at.mailbox].insert(key.clone(), change);
    }
}

/// The catalog keeps the good digest and learns only that the file is not it.
pub(super) fn record_harm(haul: &mut Haul, harm: &Harm, mode: Mode) {
    if mode != Mode::Verify {
        return;
    }
    let change = match (harm.verdict, harm.facts.as_ref().and_then(|f| f.digest.map(|d| (d, f.length)))) {
        (Verdict::Unreadable, _) => MessageChange::Harmed { key: harm.key.clone(), state: State::Unreadable },
        // What is broken around the recorded content, or apart from it, is no other content.
        (Verdict::Damaged, Some((digest, length))) if harm.expected().is_some_and(|expected| expected != digest) => {
            MessageChange::Changed { key: harm.key.clone(), digest, length }
        }
        (Verdict::Damaged, _) => MessageChange::Harmed { key: harm.key.clone(), state: State::Damaged },
        _ => return,
    };
    haul.changes[harm.mailbox].insert(harm.key.clone(), change);
}

/// A file that the medium did not even open.
fn unreadable(job: &mut Job<'_>, trouble: &Trouble) -> CopyFacts {
    job.tally.read_errors += 1;
    job.store_errors += 1;
    let kind = if trouble.errno == Some(110) { FaultKind::ReadTimeout } else { FaultKind::ReadError };
    let mut evidence = Evidence::default();
    evidence.blame(Fault { check: Check::Read, kind, span: Span::new(0, 0), errno: trouble.errno });
    CopyFacts { evidence, ..CopyFacts::default() }
}

fn reason(verdict: Verdict, facts: &CopyFacts, sized: bool) -> String {
    match verdict {
        Verdict::Undetermined if facts.evidence.opaque && facts.encoding == Encoding::Sdbox => {
            "parts of it lie elsewhere, or it is stored encoded: --attachments names the folder of attachments"
                .to_owned()
        }
        Verdict::Undetermined if facts.evidence.opaque => {
            "encrypted: only a recorded digest or an equal copy could prove it".to_owned()
        }
        Verdict::Undetermined => "a check could not finish".to_owned(),
        _ => {
            let mut words: Vec<&str> = Vec::new();
            for fault in facts.evidence.faults() {
                if !words.contains(&fault.kind.words()) {
                    words.push(fault.kind.words());
                }
            }
            if !sized && words.is_empty() { "not as it should be".to_owned() } else { words.join(", ") }
        }
    }
}
