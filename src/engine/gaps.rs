//! Messages that only one of two sides has (`verify --against`): gathers what tells why the other one lacks them.
//!
//! May not decide that: `plan::against` does.

use super::account::{EngineError, Mailbox};
use super::against::{Alone, Sight, Told, blank_finding, tell};
use super::find::Sources;
use super::harm::{Harm, Haul};
use super::job::{Job, is_harm};
use super::replica::{Content, File, Folder};
use super::server::{self, Deeds};
use crate::catalog::{MessageRow, State, Which};
use crate::model::event::Event;
use crate::model::server::{Ledger, Question, Witnessed};
use crate::model::sides::{Gap, Kind, Side};
use crate::model::wire::{Entry, Place};
use crate::model::{Assurance, Key, Missing, RelPath, Stamp, Verdict};
use crate::plan::Absence;
use crate::plan::against::{self, Lack};
use crate::store::maildir::name;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;

/// UIDs of one mailbox on both sides, as the servers' lists have them.
struct Numbers {
    /// Where the messages are.
    own: HashMap<Key, u32>,
    /// Where they are not.
    other: HashMap<u32, Key>,
    next: u32,
    /// Both count within one life of the mailbox.
    comparable: bool,
}

impl Numbers {
    fn of(own: &Ledger, other: &Ledger) -> Numbers {
        Numbers {
            own: own.lines.iter().map(|line| (line.key.clone(), line.uid)).collect(),
            other: other.lines.iter().map(|line| (line.uid, line.key.clone())).collect(),
            next: other.next_uid,
            comparable: own.uid_validity.is_some() && own.uid_validity == other.uid_validity,
        }
    }

    fn uid(&self, key: &Key) -> Option<u32> {
        self.own.get(key).copied().filter(|_| self.comparable)
    }

    /// Whether the side that lacks a message gave it a number once.
    fn gave(&self, key: &Key) -> bool {
        self.uid(key).is_some() && !self.never(key)
    }

    /// Whether the side that lacks a message never gave its number away, or gave it to another message.
    fn never(&self, key: &Key) -> bool {
        let taken = |uid| self.other.get(&uid).is_some_and(|other| other != key);
        self.uid(key).is_some_and(|uid| taken(uid) || (self.next > 0 && uid >= self.next))
    }
}

fn by_mailbox(alone: &[Alone]) -> BTreeMap<usize, Vec<&Alone>> {
    let mut boxes: BTreeMap<usize, Vec<&Alone>> = BTreeMap::new();
    for one in alone {
        boxes.entry(one.mailbox).or_default().push(one);
    }
    boxes
}

/// When a folder was last made in the account's own folder, here and there.
fn tops(sight: &Sight<'_>, mailboxes: &[Mailbox]) -> (Option<Stamp>, Option<Stamp>) {
    let here = mailboxes.iter().find(|mailbox| mailbox.rel.is_root()).and_then(|mailbox| mailbox.folder);
    let there = sight.replica.folders.get(&RelPath::root()).and_then(|folder| folder.top);
    (here.map(|stat| stat.mtime), there)
}

/// Whether a folder of these messages was made on the side that has it after the other side last made or lost one.
fn made_since(rel: &RelPath, own: Option<Stamp>, other: Option<Stamp>, arrived: &[Option<Stamp>]) -> bool {
    let (Some(own), Some(other)) = (own, other) else { return false };
    let later = |time: &Option<Stamp>| time.is_some_and(|time| time.sec > other.sec);
    rel.components().count() == 1 && own > other && arrived.iter().all(later)
}

/// What the catalog knows of a mailbox of the replica, where that was verified as a store of its own.
fn rows_there(job: &Job<'_>, sight: &Sight<'_>, dir: &RelPath) -> Result<HashMap<Key, MessageRow>, EngineError> {
    let mut rows = HashMap::new();
    let Some(catalog) = &job.catalog else { return Ok(rows) };
    let path = job.generations[sight.generation].path.as_os_str().as_bytes();
    let Some(store) = catalog.find_store(path)? else { return Ok(rows) };
    let Some(mailbox) = catalog.mailboxes(store, &sight.dir)?.into_iter().find(|row| row.dir == *dir) else {
        return Ok(rows);
    };
    let mut bad = None;
    catalog.messages(mailbox.id, Which::All, &mut |row| match row {
        Ok(row) => drop(rows.insert(row.key.clone(), row)),
        Err(error) => drop(bad.get_or_insert(error)),
    })?;
    bad.map_or(Ok(rows), |error| Err(error.into()))
}

/// What the server of the replica knows of messages that are not there.
fn ask_there(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailbox: &Mailbox,
    folder: &Folder,
    alone: &[&Alone],
    names: &[&Entry],
) -> Result<(Numbers, Vec<Witnessed>), EngineError> {
    let own = server::ledger(job, mailbox)?.unwrap_or_default();
    let (dir, root) = (sight.dir.join_path(&mailbox.rel), job.generations[sight.generation].root);
    let at = (job.generations[sight.generation].lane, root);
    let other = match folder.companions {
        true => server::read_ledger(job, at, &dir, true)?.unwrap_or_default(),
        false => Ledger::default(),
    };
    let numbers = Numbers::of(&own, &other);
    if !folder.witness {
        return Ok((numbers, vec![Witnessed::default(); alone.len()]));
    }
    let question = |(alone, entry): (&&Alone, &&Entry)| Question {
        name: entry.name.clone(),
        uid: numbers.uid(&alone.key),
        ..Question::default()
    };
    let asked: Vec<Question> = alone.iter().zip(names).map(question).collect();
    let mut says = server::put(job, at, &dir, &asked)?.map(|witness| witness.messages).unwrap_or_default();
    says.resize(alone.len(), Witnessed::default());
    Ok((numbers, says))
}

/// Messages of the store that the replica lacks.
pub(super) fn on_the_replica(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailboxes: &[Mailbox],
    haul: &Haul,
    only_here: &[Alone],
) -> Result<(), EngineError> {
    if only_here.is_empty() {
        return Ok(());
    }
    let deeds = Deeds::of_source(job, sight.generation, &sight.dir)?;
    let (own_top, other_top) = tops(sight, mailboxes);
    let blank = job.options.select.whole_accounts() && sight.replica.blank();
    for (m, alone) in by_mailbox(only_here) {
        let (mailbox, nowhere) = (&mailboxes[m], Folder::default());
        let folder = sight.folder(mailbox).unwrap_or(&nowhere);
        let entries: Vec<&Entry> =
            alone.iter().map(|alone| &mailbox.listing.entries[sight.here[m][&alone.key]]).collect();
        let (numbers, says) = ask_there(job, sight, mailbox, folder, &alone, &entries)?;
        let rows = rows_there(job, sight, &sight.dir.join_path(&mailbox.rel))?;
        let arrived: Vec<Option<Stamp>> = entries.iter().map(|entry| name::delivered(&entry.name)).collect();
        let new_folder = !folder.exists && made_since(&mailbox.rel, own_top, other_top, &arrived);
        let lack = |n: usize| {
            let row = rows.get(&name::key(&entries[n].name));
            Lack {
                absence: Absence {
                    server: says[n].says,
                    account_blank: blank,
                    mailbox_gone: !folder.exists,
                    folder: deeds.fate_of(&mailbox.rel, !folder.exists, row.map(|row| row.last_seen), false),
                    mailbox_blank: folder.exists && folder.files.is_empty() && !folder.witness && mailbox.has_witness(),
                    account_harmed: sight.replica.harmed,
                    before: row.and_then(before),
                    ..Absence::default()
                },
                was_there: row.is_some(),
                arrived: arrived[n],
                changed: folder.changed,
                never_numbered: numbers.never(&alone[n].key),
                new_folder,
            }
        };
        let lacks = (0..alone.len()).map(lack).collect();
        let gaps = against::gaps(lacks, mailbox.files.len() as u64);
        for (n, (entry, (gap, why))) in entries.into_iter().zip(gaps).enumerate() {
            let deletes = against::sync_deletes(gap, says[n].says, numbers.gave(&alone[n].key));
            tell_there(job, sight, (m, mailbox), haul, entry, (gap, why), (says[n].uid, deletes));
        }
    }
    Ok(())
}

fn before(row: &MessageRow) -> Option<Missing> {
    match row.state {
        State::Missing(missing) => Some(missing),
        _ => None,
    }
}

/// Reports a message that the replica lacks.
fn tell_there(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    (m, mailbox): (usize, &Mailbox),
    haul: &Haul,
    entry: &Entry,
    (gap, why): (Gap, String),
    (uid, deletes): (Option<u32>, bool),
) {
    let key = &name::key(&entry.name);
    let harm = sight.harm(haul, m, key);
    let verdict = harm.map_or(Verdict::Intact(Assurance::Plausible), |harm| harm.verdict);
    let kind = match is_harm(verdict) {
        true => Kind::DamagedOnly(Side::Here, gap),
        false => Kind::Only(Side::Here, gap),
    };
    let missing = match gap {
        Gap::Lost => Some(Missing::Lost),
        Gap::Undecided => Some(Missing::Undecided),
        Gap::New | Gap::Deleted => None,
    };
    if let Some(missing) = missing {
        let mut finding = blank_finding(job, sight, mailbox, key, Verdict::Missing(missing), &why);
        finding.path = name::message_path(&finding.path, entry.place, &entry.name).unwrap_or_default();
        (finding.uid, finding.internal_date) = (uid, name::delivered(&entry.name));
        job.observer.event(Event::Finding(Box::new(finding)));
    }
    let here = Some((mailbox.path(entry).unwrap_or_default(), verdict));
    let deleted_by_sync = deletes && !is_harm(verdict);
    let told = missing.is_some() || is_harm(verdict);
    tell(job, sight, mailbox, Told { key, kind, why, here, there: None, deleted_by_sync, told });
}

/// Messages of the replica that the store lacks. What is lost and on no record becomes a harm of the store.
pub(super) fn in_the_store(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailboxes: &[Mailbox],
    sources: &Sources,
    haul: &mut Haul,
    only_there: &[Alone],
) -> Result<(), EngineError> {
    if only_there.is_empty() {
        return Ok(());
    }
    let deeds = Deeds::of(job, sight.account, mailboxes)?;
    let at = (job.generations[sight.generation].lane, job.generations[sight.generation].root);
    let (other_top, own_top) = tops(sight, mailboxes);
    for (m, alone) in by_mailbox(only_there) {
        let (mailbox, nowhere) = (&mailboxes[m], Folder::default());
        let folder = sight.folder(mailbox).unwrap_or(&nowhere);
        let own = match folder.companions {
            true => server::read_ledger(job, at, &sight.dir.join_path(&mailbox.rel), true)?.unwrap_or_default(),
            false => Ledger::default(),
        };
        let numbers = Numbers::of(&own, &server::ledger(job, mailbox)?.unwrap_or_default());
        let deletes = |gap, key, says| against::sync_deletes(gap, says, numbers.gave(key));
        let mut unknown = Vec::new();
        for alone in alone {
            let Some(file) = folder.files.get(&alone.key) else { continue };
            match sight.harm(haul, m, &alone.key) {
                Some(harm) => {
                    let gap = judged(harm);
                    let deletes = deletes(gap.0, &alone.key, harm.witnessed.says);
                    tell_here(job, sight, mailbox, &alone.key, file, gap, deletes);
                }
                None => unknown.push((&alone.key, file)),
            }
        }
        let names: Vec<Vec<u8>> = unknown.iter().map(|(_, file)| file.name.clone()).collect();
        let asked = server::ask(job, sources, mailbox, &names)?;
        let time = |place| mailbox.listing.dirs.iter().find(|(at, _)| *at == place).map(|(_, stat)| stat.mtime);
        let arrived: Vec<Option<Stamp>> = unknown.iter().map(|(_, file)| file.arrived).collect();
        let new_folder = mailbox.folder.is_none() && made_since(&mailbox.rel, own_top, other_top, &arrived);
        let lack = |n: usize| {
            let (key, file): (&Key, &File) = unknown[n];
            let row = mailbox.rows.get(key);
            Lack {
                absence: Absence {
                    server: asked.of(n).says,
                    account_blank: sight.shape.blank,
                    account_unknown: sight.shape.unknown,
                    mailbox_gone: mailbox.folder.is_none(),
                    folder: deeds.fate(mailbox, row.map(|row| row.last_seen), haul.restarted()),
                    mailbox_blank: mailbox.folder.is_some()
                        && mailbox.messages().next().is_none()
                        && !mailbox.has_witness()
                        && folder.witness,
                    account_harmed: haul.harmed,
                    before: row.and_then(before),
                    ..Absence::default()
                },
                was_there: row.is_some(),
                arrived: file.arrived,
                changed: time(Place::New).max(time(Place::Cur)),
                never_numbered: numbers.never(key),
                new_folder,
            }
        };
        let lacks = (0..unknown.len()).map(lack).collect();
        let gaps = against::gaps(lacks, folder.files.len() as u64);
        for (n, ((key, file), (gap, why))) in unknown.iter().zip(gaps).enumerate() {
            let deletes = deletes(gap, key, asked.of(n).says);
            tell_here(job, sight, mailbox, key, file, (gap, why.clone()), deletes);
            haul.harms.extend(lost_here(m, key, file, gap, why, asked.of(n)));
        }
    }
    Ok(())
}

/// A loss that the store's own records do not know of.
fn lost_here(m: usize, key: &Key, file: &File, gap: Gap, why: String, witnessed: Witnessed) -> Option<Harm> {
    let missing = match gap {
        Gap::Lost => Missing::Lost,
        Gap::Undecided => Missing::Undecided,
        Gap::New | Gap::Deleted => return None,
    };
    Some(Harm {
        mailbox: m,
        key: key.clone(),
        verdict: Verdict::Missing(missing),
        reason: format!("{why} (the replica holds it)"),
        place: file.place,
        name: file.name.clone(),
        present: false,
        facts: None,
        row: None,
        witnessed,
    })
}

/// What the store's own records made of an absence.
fn judged(harm: &Harm) -> (Gap, String) {
    match harm.verdict {
        Verdict::Missing(missing) => (against::of(missing), harm.reason.clone()),
        _ => (Gap::Undecided, harm.reason.clone()),
    }
}

/// Reports a message that the store lacks.
fn tell_here(
    job: &mut Job<'_>,
    sight: &Sight<'_>,
    mailbox: &Mailbox,
    key: &Key,
    file: &File,
    (gap, why): (Gap, String),
    deletes: bool,
) {
    let (kind, verdict) = match &file.content {
        Content::Harmed(facts) => {
            let verdict = facts.evidence.verdict();
            super::against::finding_there(job, sight, mailbox, key, file, (verdict, facts), &why);
            (Kind::DamagedOnly(Side::There, gap), verdict)
        }
        _ => (Kind::Only(Side::There, gap), Verdict::Intact(Assurance::Plausible)),
    };
    let deleted_by_sync = deletes && !is_harm(verdict);
    let told = !gap.is_safe() || is_harm(verdict);
    let there = Some((file.path.clone(), verdict));
    tell(job, sight, mailbox, Told { key, kind, why, here: None, there, deleted_by_sync, told });
}
