//! What is particular about mailboxes in Dovecot's single-dbox: their indexes alone know flags, keywords and what is
//! there. Says what cannot be done without them, and when another copy's UIDs are ours; plans nothing.

use super::account::{Account, EngineError, Mailbox, is_message};
use super::find::{self, Found, Proof};
use super::harm::{Harm, Haul};
use super::job::Job;
use super::lane::Listing;
use super::mending::Menders;
use super::server::ASKED_AT_ONCE;
use crate::model::event::{Finding, Subject};
use crate::model::form::Form;
use crate::model::server::{Question, Says, Witnessed};
use crate::model::wire::{Entry, Place, Reading, Trouble};
use crate::model::{Digest, Format, Key, Missing, RelPath, Verdict};
use crate::plan::{Identity, Undecided};
use crate::store;
use crate::store::maildir::companion;
use std::collections::{HashMap, HashSet};

/// Why a missing message cannot simply come back to its mailbox.
///
/// `remade`: the plan makes its index anew, with the message in it.
pub fn holds_back(mailbox: &Mailbox, harm: &Harm, undecided: Undecided, remade: bool) -> Option<&'static str> {
    if mailbox.format != Format::Sdbox {
        return None;
    }
    if undecided == Undecided::Folder && harm.verdict == Verdict::Missing(Missing::Undecided) {
        return Some("held: a new folder for undecided messages cannot be made in sdbox");
    }
    if remade {
        return None;
    }
    if mailbox.folder.is_none() || !has_index(mailbox) {
        return Some(
            "held: the mailbox has lost its indexes, which alone know UIDs and flags: bring the whole folder back from \
             one copy with the server stopped",
        );
    }
    harm.witnessed.expunged.then_some(
        "held: the server has noticed the loss and dropped flags and keywords with it, and its index cannot be made anew from \
         what is known: put the file back with the server stopped and let doveadm force-resync list it again",
    )
}

/// Whether the file of a message that is not here lies in the alternative storage, as the index says: then it is no absence,
/// and counted as not checked.
pub fn lies_apart(job: &mut Job<'_>, mailbox: &Mailbox, name: &[u8], says: Says) -> bool {
    if says != Says::Apart {
        return false;
    }
    let path = mailbox.dir.join(name).unwrap_or_default();
    job.not_checked_once(&Trouble {
        root: job.store.root,
        path: path.as_bytes().to_vec(),
        operation: "check".to_owned(),
        errno: None,
        detail: "the server keeps it in the alternative storage (ALT=): name that folder as a STORE of its own"
            .to_owned(),
    });
    true
}

/// Whether the server has no memory of the time when the mailbox was last listed. It keeps no list of its messages but
/// the index, and makes that anew, without a history, when it meets damage.
pub fn forgotten(mailbox: &Mailbox, witnessed: Witnessed) -> bool {
    let listed = mailbox.row.as_ref().and_then(|row| row.listed).map_or(0, |listed| listed.sec);
    let knows = witnessed.since.is_some_and(|since| i64::from(since) <= listed);
    mailbox.format.is_dbox() && witnessed.says == Says::Nothing && !knows
}

fn has_index(mailbox: &Mailbox) -> bool {
    mailbox.companions().any(|name| matches!(name, b"dovecot.index" | companion::INDEX_LOG))
}

/// Reports mailboxes that have mail and no index, or one that does not list it: the server takes that mail for nothing.
/// Those whose indexes the plan makes anew were told.
pub fn unlisted(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    menders: &Menders,
) -> Result<(), EngineError> {
    let whole = |mailbox: &Mailbox| mailbox.format == Format::Sdbox && mailbox.selected && mailbox.complete();
    for (m, mailbox) in mailboxes.iter().enumerate() {
        if !whole(mailbox) || menders.remakes(m) {
            continue;
        }
        let there = mailbox.messages().count();
        if there == 0 || job.store.desk.is_some() {
            continue;
        }
        let reason = match has_index(mailbox) {
            false => "the indexes are gone, which alone know flags and UIDs; the server would begin the mailbox anew, \
                      empty: keep it stopped and bring dovecot.index* back from a copy"
                .to_owned(),
            true => match unknown(job, mailbox)? {
                0 => continue,
                n => format!(
                    "the index does not list {n} of the {there} messages that are there, as where the server began it anew: \
                     keep it stopped, and bring dovecot.index* back from a copy or run doveadm force-resync"
                ),
            },
        };
        job.tally.companions_lost += 1;
        let finding = finding(job, account, mailbox, reason);
        job.finding(finding);
    }
    Ok(())
}

/// How many messages that were there when the mailbox was listed its index does not know, though nobody deleted them.
/// Files come before their lines, but by now all of them should have theirs.
fn unknown(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<usize, EngineError> {
    let question = |entry: &Entry| Question { name: entry.name.clone(), ..Question::default() };
    let names: Vec<Question> = mailbox.messages().map(|(_, entry)| question(entry)).collect();
    let (lane, root) = (job.store.lane, job.store.root);
    let mut unknown = 0;
    for part in names.chunks(ASKED_AT_ONCE) {
        match job.lanes.lanes[lane].witness(root, &mailbox.dir, part.to_vec())? {
            Ok(witness) => unknown += witness.messages.iter().filter(|m| m.says == Says::Nothing).count(),
            Err(trouble) => job.not_checked_once(&trouble),
        }
    }
    Ok(unknown)
}

fn finding(job: &Job<'_>, account: &Account, mailbox: &Mailbox, reason: String) -> Finding {
    let path = mailbox.dir.join(companion::INDEX_LOG).unwrap_or_default();
    let lost = Verdict::Missing(Missing::Lost);
    Finding {
        account: account.name.clone(),
        mailbox: mailbox.name.clone(),
        ..Finding::of_file(Subject::Companion, &job.store.text, path, lost, reason)
    }
}

/// Messages whose content is noted for a mailbox, and how many of them are read in a source.
const PROOFS: usize = 64;
const PROOFS_READ: usize = 12;

/// Content of some messages of every sdbox mailbox: of those on record, else of those that are there. None where a file
/// holds, whole, what it did not hold: a server that begins a mailbox anew gives numbers again.
pub fn proofs(mailboxes: &[Mailbox], haul: &Haul) -> HashMap<RelPath, Proof> {
    let is_other = |m: usize| haul.harms.iter().any(|harm| harm.mailbox == m && harm.row.is_some() && harm.is_clean());
    let mut proofs: HashMap<RelPath, Proof> = HashMap::new();
    for (m, mailbox) in mailboxes.iter().enumerate().filter(|(_, mailbox)| mailbox.format == Format::Sdbox) {
        if is_other(m) {
            continue;
        }
        let step = (mailbox.rows.len() / PROOFS).max(1);
        let known = mailbox.rows.values().step_by(step).filter_map(|row| Some((row.key.clone(), row.digest?)));
        proofs.insert(mailbox.rel.clone(), known.collect());
    }
    for (digest, (m, entry)) in &haul.fresh {
        let mailbox = &mailboxes[*m];
        let Some(proof) = proofs.get_mut(&mailbox.rel).filter(|_| mailbox.rows.is_empty()) else { continue };
        let key = mailbox.key(&mailbox.listing.entries[*entry].name);
        if proof.len() < PROOFS {
            proof.push((key, *digest));
        }
    }
    proofs
}

/// Whether a UID is the same message's here and in another copy of the mailbox: both indexes say of which time they are,
/// or, where ours is gone or was begun anew, the content of messages under the same UIDs does. Told once where they do not.
pub fn same_uids(
    job: &mut Job<'_>,
    (mailbox, known): (&RelPath, &[(Key, Digest)]),
    (generation, theirs): (usize, &RelPath),
    listing: &Listing,
) -> Result<bool, EngineError> {
    let ours = validity(job, (job.store.lane, job.store.root), mailbox)?;
    let at = (job.generations[generation].lane, job.generations[generation].root);
    let their = validity(job, at, theirs)?;
    if ours.is_some() && ours == their {
        return Ok(true);
    }
    if their.is_some() && proven(job, known, (generation, theirs), listing) {
        return Ok(true);
    }
    let label = job.generations[generation].label.clone();
    let what = match (ours, their) {
        (Some(_), Some(_)) => "its UIDs are of another time (UIDVALIDITY)",
        (None, _) => "the index of the mailbox here does not tell of which time its UIDs are",
        _ => "its index does not tell of which time its UIDs are",
    };
    job.note(format!("{mailbox}: source {label}: {what}, so none of its files is taken for a copy by its name"));
    Ok(false)
}

/// Whether messages that both have under the same UIDs are the same, all that are read.
fn proven(job: &mut Job<'_>, known: &[(Key, Digest)], (generation, dir): (usize, &RelPath), listing: &Listing) -> bool {
    let there: HashSet<&[u8]> = listing.entries.iter().filter(|e| is_message(e)).map(|e| &e.name[..]).collect();
    let mut common: Vec<&(Key, Digest)> = known.iter().filter(|(key, _)| there.contains(&key.0[..])).collect();
    common.sort_by_key(|(key, _)| store::uid(&key.0));
    let step = common.len().div_ceil(PROOFS_READ).max(1);
    let wanted = common.iter().step_by(step).enumerate().filter_map(|(nth, (key, digest))| {
        let path = dir.join(&key.0).ok()?;
        let name = key.0.clone();
        let found = Found { generation, path, place: Place::Cur, name, identity: Identity::Key, form: Form::default() };
        Some((nth, found, Some(*digest)))
    });
    let wanted: Vec<(usize, Found, Option<Digest>)> = wanted.collect();
    let expected: Vec<Option<Digest>> = wanted.iter().map(|(_, _, digest)| *digest).collect();
    let read = find::read(job, generation, wanted);
    let digest = |facts: &Reading| facts.as_ref().ok().and_then(|facts| facts.digest);
    let same = read.iter().filter(|(nth, _, facts)| digest(facts) == expected[*nth]).count();
    // A message may be damaged there; of messages under numbers of another time hardly any is the same.
    same > 0 && same * 4 >= expected.len() * 3
}

fn validity(job: &mut Job<'_>, (lane, root): (usize, u32), mailbox: &RelPath) -> Result<Option<u32>, EngineError> {
    let witness = job.lanes.lanes[lane].witness(root, mailbox, Vec::new())?;
    Ok(witness.ok().and_then(|witness| witness.uid_validity))
}
