//! A store held against its replica (`verify --against`), account by account: what differs, which side is right, what a
//! sync would do.
//!
//! Both sides were read before. May not decide what `plan::against` can decide, and records nothing of the replica.

use super::absent::{self, Shape, mailbox_of};
use super::account::{Account, EngineError, Mailbox};
use super::find::Sources;
use super::gaps;
use super::harm::{self, Harm, Haul};
use super::job::{Job, is_harm};
use super::replica::{self, Content, File, Folder, Replica};
use crate::model::event::{Event, Finding, Subject};
use crate::model::message::CopyFacts;
use crate::model::sides::{Difference, Kind, Side};
use crate::model::wire::Trouble;
use crate::model::{Digest, Format, Key, RelPath, Verdict, path};
use crate::plan::against::{self, Pair};
use crate::store::maildir::{companion, name};
use crate::sys::mounts;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;

/// One account on both sides.
pub(super) struct Sight<'a> {
    pub(super) account: &'a Account,
    pub(super) generation: usize,
    pub(super) shape: Shape,
    pub(super) replica: Replica,
    /// The account's folder on the replica.
    pub(super) dir: RelPath,
    /// Harms of the store's messages, by mailbox and key.
    pub(super) harms: HashMap<(usize, Key), usize>,
    /// Messages of the store under the names that they go by, by mailbox.
    pub(super) here: Vec<BTreeMap<Key, usize>>,
}

/// A message that only one side has.
pub(super) struct Alone {
    pub(super) mailbox: usize,
    /// As the message goes by.
    pub(super) key: Key,
    pub(super) digest: Option<Digest>,
}

/// Holds one account against the replica.
pub fn against(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &mut Vec<Mailbox>,
    sources: &mut Sources,
    haul: &mut Haul,
) -> Result<(), EngineError> {
    let Some(generation) = job.against() else { return Ok(()) };
    let Some(dir) = sources.account_dir(generation).cloned() else { return Ok(()) };
    let replica = replica::read(job, sources, generation)?;
    if job.stopped() {
        return Ok(());
    }
    let mut places = mailboxes.iter().enumerate().map(|(m, b)| (b.rel.clone(), m)).collect();
    for rel in replica.folders.keys() {
        let format = sources.format(generation, rel);
        mailbox_of(job, account, mailboxes, &mut places, (rel, format), None, haul)?;
    }
    if let Some(mailbox) = mailboxes.iter().find(|mailbox| mailbox.format != Format::Maildir) {
        job.not_checked(&Trouble {
            root: job.store.root,
            path: mailbox.dir.as_bytes().to_vec(),
            operation: "check".to_owned(),
            errno: None,
            detail: format!("both sides of {} cannot be compared yet, only of maildir", mailbox.format.name()),
        });
        return Ok(());
    }
    let mut here = Vec::new();
    for mailbox in mailboxes.iter() {
        here.push(called(job, mailbox)?);
    }
    let harms = haul.harms.iter().enumerate().map(|(n, harm)| ((harm.mailbox, harm.key.clone()), n)).collect();
    let shape = absent::shape(job, mailboxes);
    let sight = Sight { account, generation, shape, replica, dir, harms, here };
    spare(job, &sight, mailboxes);
    let (mut only_here, mut only_there) = (Vec::new(), Vec::new());
    for m in 0..mailboxes.len() {
        if mailboxes[m].selected {
            pairs(job, &sight, mailboxes, m, haul, &mut only_here, &mut only_there)?;
        }
    }
    moved(job, &mut only_here, &mut only_there);
    gaps::on_the_replica(job, &sight, mailboxes, haul, &only_here)?;
    gaps::in_the_store(job, &sight, mailboxes, sources, haul, &only_there)
}

/// The store's own messages under the names that they go by: where the store was filled by a sync, its files have names of
/// their own, and the server's list notes the old ones.
fn called(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<BTreeMap<Key, usize>, EngineError> {
    let mut guids: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    if mailbox.folder.is_some() && mailbox.companions().any(companion::is_list) {
        let root = job.store.root;
        guids = job.store_lane().guids(root, &mailbox.dir)?.into_iter().filter(|(_, g)| name::goes_by(g)).collect();
    }
    let key = |entry: usize| {
        let name = &mailbox.listing.entries[entry].name;
        name::key(guids.get(name::base(name)).unwrap_or(name))
    };
    Ok(mailbox.files.values().map(|&entry| (key(entry), entry)).collect())
}

impl Sight<'_> {
    pub(super) fn folder(&self, mailbox: &Mailbox) -> Option<&Folder> {
        self.replica.folders.get(&mailbox.rel)
    }

    /// The harm of a message that is there.
    pub(super) fn harm<'h>(&self, haul: &'h Haul, m: usize, key: &Key) -> Option<&'h Harm> {
        self.harms.get(&(m, key.clone())).map(|&n| &haul.harms[n])
    }
}

/// Further files of messages that have one already: only their damage counts.
fn spare(job: &mut Job<'_>, sight: &Sight<'_>, mailboxes: &[Mailbox]) {
    for mailbox in mailboxes {
        let spare = sight.folder(mailbox).map(|folder| &folder.spare[..]).unwrap_or_default();
        for (key, file) in spare {
            if let Content::Harmed(facts) = &file.content {
                let why = "a second file of the same message".to_owned();
                let verdict = facts.evidence.verdict();
                finding_there(job, sight, mailbox, key, file, (verdict, facts), &why);
                let there = Some((file.path.clone(), verdict));
                let kind = Kind::Damaged(Side::There);
                let told = true;
                tell(job, sight, mailbox, Told { key, kind, why, here: None, there, deleted_by_sync: false, told });
            }
        }
    }
}

/// Compares what both sides have of one mailbox, and notes what only one has.
fn pairs(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailboxes: &[Mailbox],
    m: usize,
    haul: &Haul,
    only_here: &mut Vec<Alone>,
    only_there: &mut Vec<Alone>,
) -> Result<(), EngineError> {
    let mailbox = &mailboxes[m];
    let none = BTreeMap::new();
    let theirs = sight.folder(mailbox).map_or(&none, |folder| &folder.files);
    for (id, &entry) in &sight.here[m] {
        let key = name::key(&mailbox.listing.entries[entry].name);
        let digest = haul.contents.get(&(m, key.clone())).copied();
        // Neither read nor found harmed: not selected, gone meanwhile, or counted as not checked.
        if mailbox.vanished.contains(&key) || (digest.is_none() && sight.harm(haul, m, &key).is_none()) {
            continue;
        }
        match theirs.get(id) {
            Some(file) => pair(job, sight, mailboxes, (m, entry, &key), file, digest, haul)?,
            None if sight.replica.knows(&mailbox.rel) => only_here.push(Alone { mailbox: m, key: id.clone(), digest }),
            None => {}
        }
    }
    for (id, file) in theirs.iter().filter(|(id, _)| !sight.here[m].contains_key(*id)) {
        // What was not listed whole may still be there.
        if mailbox.complete() && !mailbox.vanished.contains(id) && !name::is_orphan(&file.name) {
            let digest = match &file.content {
                Content::Whole(digest) => Some(*digest),
                Content::Harmed(_) => None,
                Content::Unread => continue,
            };
            only_there.push(Alone { mailbox: m, key: id.clone(), digest });
        }
    }
    Ok(())
}

/// Compares two copies of one message. Only where they differ, or one is harmed, both are read again, and deeply.
fn pair(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailboxes: &[Mailbox],
    (m, entry, key): (usize, usize, &Key),
    file: &File,
    digest: Option<Digest>,
    haul: &Haul,
) -> Result<(), EngineError> {
    let mailbox = &mailboxes[m];
    let recorded = mailbox.rows.get(key).filter(|row| !row.suspect).and_then(|row| row.canonical.or(row.digest));
    let harm = sight.harm(haul, m, key);
    let theirs = match &file.content {
        Content::Whole(theirs) => Some(*theirs),
        Content::Harmed(_) => None,
        Content::Unread => return Ok(()),
    };
    let sound = harm.is_none() && theirs.is_some();
    if sound && theirs == digest && recorded.is_none_or(|recorded| theirs == Some(recorded)) {
        job.tally.sides.get_or_insert_default().equal += 1;
        return Ok(());
    }
    let Some(path) = mailbox.path(&mailbox.listing.entries[entry]) else { return Ok(()) };
    let own = job.store.lane;
    let Some(here) = look(job, own, job.store.root, &path) else { return Ok(()) };
    let (lane, root) = (job.generations[sight.generation].lane, job.generations[sight.generation].root);
    let Some(there) = look(job, lane, root, &file.path) else { return Ok(()) };
    let Some((kind, why)) = against::both(&Pair { here: &here, there: &there, recorded }) else {
        job.tally.sides.get_or_insert_default().equal += 1;
        return Ok(());
    };
    let verdict = match (there.evidence.verdict(), kind) {
        (Verdict::Unreadable, _) => Some(Verdict::Unreadable),
        (Verdict::Damaged, _) | (_, Kind::Damaged(Side::There)) => Some(Verdict::Damaged),
        (_, Kind::DamagedBoth) if recorded.is_some() => Some(Verdict::Damaged),
        _ => None,
    };
    if let Some(verdict) = verdict {
        finding_there(job, sight, mailbox, key, file, (verdict, &there), &why);
    }
    let told = verdict.is_some() || harm.is_some_and(|harm| is_harm(harm.verdict));
    let here = (path, harm.map_or(here.evidence.verdict(), |harm| harm.verdict));
    let here = match kind {
        // Proven by the other side alone.
        Kind::Damaged(Side::Here) if here.1.is_intact() => (here.0, Verdict::Damaged),
        _ => here,
    };
    let there = Some((file.path.clone(), verdict.unwrap_or(there.evidence.verdict())));
    let here = Some(here);
    tell(job, sight, mailbox, Told { key, kind, why, here, there, deleted_by_sync: false, told });
    Ok(())
}

/// Reads one file once more, with its signatures; `None` where it cannot be compared, which is counted.
fn look(job: &mut Job<'_>, lane: usize, root: u32, path: &RelPath) -> Option<CopyFacts> {
    match job.lanes.lanes[lane].read_one(replica::item(root, path, true)) {
        Ok(facts) => Some(facts),
        Err(trouble) => {
            let facts = replica::unreadable(&trouble);
            if facts.is_none() {
                job.not_checked(&trouble);
            }
            facts
        }
    }
}

/// A difference, as far as the mailbox does not tell it.
pub(super) struct Told<'a> {
    pub(super) key: &'a Key,
    pub(super) kind: Kind,
    pub(super) why: String,
    pub(super) here: Option<(RelPath, Verdict)>,
    pub(super) there: Option<(RelPath, Verdict)>,
    pub(super) deleted_by_sync: bool,
    pub(super) told: bool,
}

/// Counts a difference and reports it.
pub(super) fn tell(job: &mut Job<'_>, sight: &Sight<'_>, mailbox: &Mailbox, told: Told<'_>) {
    let difference = Difference {
        account: sight.account.name.clone(),
        mailbox: mailbox.name.clone(),
        key: told.key.clone(),
        kind: told.kind,
        here: told.here,
        there: told.there,
        why: told.why,
        deleted_by_sync: told.deleted_by_sync,
        told: told.told,
    };
    job.tally.sides.get_or_insert_default().count(&difference);
    let there = path::escape(job.generations[sight.generation].path.as_os_str().as_bytes());
    job.observer.event(Event::Difference { there, difference: Box::new(difference) });
}

/// Reports what is wrong with a file of the replica. The catalog learns nothing of it: that is for a verify of its own.
pub(super) fn finding_there(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailbox: &Mailbox,
    key: &Key,
    file: &File,
    (verdict, facts): (Verdict, &CopyFacts),
    why: &str,
) {
    let finding = Finding {
        path: file.path.clone(),
        size: Some(facts.stat.size),
        internal_date: Some(facts.stat.mtime).filter(|time| time.sec != 0).or(file.arrived),
        checks: harm::checks(&facts.evidence),
        faults: facts.evidence.faults().to_vec(),
        signed: facts.evidence.signed().cloned(),
        envelope: facts.envelope.clone(),
        ..blank_finding(job, sight, mailbox, key, verdict, why)
    };
    job.observer.event(Event::Finding(Box::new(finding)));
}

/// A finding on the replica without a file.
pub(super) fn blank_finding(
    job: &Job<'_>,
    sight: &Sight<'_>,
    mailbox: &Mailbox,
    key: &Key,
    verdict: Verdict,
    why: &str,
) -> Finding {
    let generation = &job.generations[sight.generation];
    Finding {
        subject: Subject::Message,
        store: path::escape(generation.path.as_os_str().as_bytes()),
        account: sight.account.name.clone(),
        mailbox: mailbox.name.clone(),
        key: Some(key.clone()),
        uid: None,
        guid: None,
        path: sight.dir.join_path(&mailbox.rel),
        size: None,
        device: Some(mounts::device_name(mounts::device_numbers(generation.dev))),
        internal_date: None,
        verdict,
        checks: Vec::new(),
        faults: Vec::new(),
        signed: None,
        reason: format!("on the replica {}: {why}", generation.label),
        envelope: None,
        action: None,
        outcome: None,
        accepted: false,
    }
}

/// Takes out messages that stand on both sides, in different mailboxes or under different names.
fn moved(job: &mut Job<'_>, only_here: &mut Vec<Alone>, only_there: &mut Vec<Alone>) {
    let mut theirs: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (n, alone) in only_there.iter().enumerate() {
        if let Some(digest) = alone.digest {
            theirs.entry(digest).or_default().push(n);
        }
    }
    let mut found = BTreeSet::new();
    only_here.retain(|alone| match alone.digest.and_then(|digest| theirs.get_mut(&digest)).and_then(Vec::pop) {
        Some(n) => !found.insert(n),
        None => true,
    });
    let mut n = 0;
    only_there.retain(|_| {
        n += 1;
        !found.contains(&(n - 1))
    });
    job.tally.sides.get_or_insert_default().moved += found.len() as u64;
}
