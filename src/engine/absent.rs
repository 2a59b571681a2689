//! Messages that should be there and are not. Only mailboxes whose listing finished take part.

use super::account::{self, Account, EngineError, Mailbox};
use super::find::Sources;
use super::harm::{Harm, Haul};
use super::job::{Job, Mode};
use super::listed;
use super::server::{self, Deeds};
use super::{mdbox, sdbox};
use crate::catalog::{MailboxRow, MessageChange, MessageRow, State};
use crate::model::server::{Says, Witnessed};
use crate::model::wire::Place;
use crate::model::{Format, Key, Missing, RelPath, Stamp, Verdict};
use crate::plan::rate::Rate;
use crate::plan::{Absence, classify};
use crate::store;
use crate::store::maildir::{companion, name};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What the account as a whole shows.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Nothing is left of it: no message, no server file.
    pub blank: bool,
    /// The catalog knows other accounts of this store, but not this one.
    pub unknown: bool,
    /// When the catalog last listed it, if it knows it.
    pub listed: Option<Stamp>,
}

/// Looks at the account as a whole.
pub fn shape(job: &Job<'_>, mailboxes: &[Mailbox]) -> Shape {
    let empty = |m: &Mailbox| m.complete() && m.messages().next().is_none() && m.companions().next().is_none();
    Shape {
        blank: job.options.select.whole_accounts() && mailboxes.iter().all(empty),
        unknown: job.catalog_knows_store && mailboxes.iter().all(|m| m.row.is_none()),
        listed: mailboxes.iter().filter_map(|m| m.row.as_ref()?.listed).max(),
    }
}

/// Adds a harm for every message that is missing, by the catalog, by the sources and by the server. Returns how many of the
/// sources' messages were deleted by every sign.
pub fn absent(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &mut Vec<Mailbox>,
    sources: &mut Sources,
    haul: &mut Haul,
) -> Result<Shape, EngineError> {
    let shape = shape(job, mailboxes);
    let witnesses = known_witnesses(job, account)?;
    let deeds = Deeds::of(job, account, mailboxes)?;
    let mut absent: Vec<Absent> = Vec::new();
    let mut restarted = haul.restarted();
    for m in 0..mailboxes.len() {
        if mailboxes[m].selected && mailboxes[m].complete() {
            let gone = by_catalog(job, mailboxes, sources, m, &shape, (&witnesses, &deeds, restarted), haul)?;
            restarted |= gone.iter().any(|one| one.witnessed.says == Says::Restarted);
            absent.extend(gone);
            mdbox::lost(mailboxes, m, haul);
        }
    }
    let (rate, account_gone) = (usual(job, mailboxes), absent.iter().map(|one| u64::from(one.unexplained())).sum());
    for mut one in absent {
        if sdbox::lies_apart(job, &mailboxes[one.mailbox], &one.row.name, one.witnessed.says) {
            continue;
        }
        (one.absence.rate, one.absence.account_gone) = (rate, account_gone);
        judge(job, one, haul);
    }
    by_sources(job, account, mailboxes, sources, (&shape, &deeds), haul)?;
    listed::by_server(job, mailboxes, sources, haul)?;
    Ok(shape)
}

/// All mailboxes of the account on record, those that their owner gave up too.
fn known_mailboxes(job: &Job<'_>, account: &Account) -> Result<HashMap<RelPath, MailboxRow>, EngineError> {
    let (Some(catalog), Some(store)) = (&job.catalog, job.store.id) else { return Ok(HashMap::new()) };
    Ok(catalog.mailboxes(store, &account.dir)?.into_iter().map(|row| (row.dir.clone(), row)).collect())
}

/// Mailbox folders of which the catalog knows that a server kept its list there.
fn known_witnesses(job: &Job<'_>, account: &Account) -> Result<HashSet<RelPath>, EngineError> {
    let (Some(catalog), Some(store)) = (&job.catalog, job.store.id) else { return Ok(HashSet::new()) };
    let rows = catalog.companions(store, &account.dir)?;
    let witness = |path: &RelPath| companion::in_mailbox(path.name()).is_some_and(companion::Companion::is_witness);
    Ok(rows.iter().filter(|r| witness(&r.path)).filter_map(|r| r.path.parent()).collect())
}

/// Whether all that is gone was received before all that is left.
fn expired(mailbox: &Mailbox, gone: &[&MessageRow]) -> bool {
    let left = mailbox.rows.values().filter(|row| mailbox.files.contains_key(&row.key));
    match (gone.iter().map(|row| row.attrs.mtime).max(), left.map(|row| row.attrs.mtime).min()) {
        (Some(newest_gone), Some(oldest_left)) => newest_gone < oldest_left,
        _ => false,
    }
}

/// Drops what stands in the store under a name that dsync gave it.
fn forget_renamed(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    held: &mut Vec<(Key, Place, Vec<u8>)>,
) -> Result<(), EngineError> {
    let kept = mailbox.companions().any(companion::is_list);
    if held.is_empty() || mailbox.folder.is_none() || !kept {
        return Ok(());
    }
    let root = job.store.root;
    let guids = job.store_lane().guids(root, &mailbox.dir)?;
    let there = |(name, _): &&(Vec<u8>, Vec<u8>)| mailbox.files.contains_key(&name::key(name));
    let called: HashSet<Key> = guids.iter().filter(there).map(|(_, guid)| name::key(guid)).collect();
    held.retain(|(key, _, _)| !called.contains(key));
    Ok(())
}

/// How many messages usually go from the account in a night. What was undecided and a human accepted counts: it was
/// looked at, and nobody missed it.
fn usual(job: &Job<'_>, mailboxes: &[Mailbox]) -> Rate {
    let rows = || mailboxes.iter().flat_map(|mailbox| mailbox.rows.values());
    let deleted = rows().filter(|row| match row.state {
        State::Missing(Missing::Deleted | Missing::PresumedDeleted) => true,
        State::Missing(Missing::Undecided) => row.accepted,
        _ => false,
    });
    let first = rows().map(|row| row.first_seen.sec).min().unwrap_or(i64::MAX);
    Rate::of(first, &job.nights, deleted.map(|row| row.last_seen.sec), job.started.sec)
}

/// One absence before it is judged.
struct Absent {
    mailbox: usize,
    row: MessageRow,
    witnessed: Witnessed,
    absence: Absence,
}

impl Absent {
    /// Whether it went just now, and nothing says why.
    fn unexplained(&self) -> bool {
        let Absence { elsewhere, orphan, server, before, .. } = &self.absence;
        elsewhere.is_none() && orphan.is_none() && before.is_none() && *server != Says::DeletedByUser
    }
}

/// Messages of one mailbox that the catalog knows and the listing does not show.
fn by_catalog(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    sources: &Sources,
    m: usize,
    shape: &Shape,
    (witnesses, deeds, restarted): (&HashSet<RelPath>, &Deeds, bool),
    haul: &Haul,
) -> Result<Vec<Absent>, EngineError> {
    let mailbox = &mailboxes[m];
    let expected = |r: &MessageRow| r.state.on_disk() || r.state.is_harm();
    let known = mailbox.rows.values().filter(|r| r.state.on_disk()).count() as u64;
    let there = |r: &MessageRow| mailbox.files.contains_key(&r.key) && !haul.displaced.contains(&(m, r.key.clone()));
    let gone: Vec<&MessageRow> = mailbox
        .rows
        .values()
        .filter(|r| expected(r) && !there(r) && job.options.select.date(Some(r.attrs.mtime)))
        .collect();
    let blank = mailbox.folder.is_some()
        && mailbox.messages().next().is_none()
        && !mailbox.has_witness()
        && witnesses.contains(&mailbox.dir);
    let names: Vec<Vec<u8>> = gone.iter().map(|row| row.name.clone()).collect();
    let asked = server::ask(job, sources, mailbox, &names)?;
    let expired = expired(mailbox, &gone);
    let fate = deeds.fate(mailbox, mailbox.row.as_ref().and_then(|row| row.listed), restarted);
    let mut absent = Vec::new();
    for (nth, &row) in gone.iter().enumerate() {
        let witnessed = asked.of(nth);
        let absence = Absence {
            server: witnessed.says,
            expired,
            elsewhere: elsewhere(mailboxes, m, row, haul),
            orphan: orphan(mailboxes, row, haul),
            resumed: job.resumed.of(&mailbox.dir, &row.key),
            account_blank: shape.blank,
            account_unknown: false,
            mailbox_gone: mailbox.folder.is_none(),
            folder: fate,
            subfolder_gone: mailbox.folder.is_some() && !mailbox.has_place(row.place),
            mailbox_blank: blank,
            forgotten: sdbox::forgotten(mailbox, witnessed),
            vanished: mailbox.vanished.contains(&row.key),
            // One that was missing already says nothing by a folder that was not touched since.
            folder_unmoved: row.state.on_disk() && mailbox.unmoved(row),
            account_harmed: haul.harmed,
            newer_lacks_it: false,
            newer_unsure: false,
            before: match row.state {
                State::Missing(missing) => Some(missing),
                _ => None,
            },
            gone: 0,
            known: known.max(gone.len() as u64),
            account_gone: 0,
            rate: Rate::default(),
        };
        absent.push(Absent { mailbox: m, row: row.clone(), witnessed, absence });
    }
    let gone = absent.iter().filter(|one| one.unexplained()).count() as u64;
    absent.iter_mut().for_each(|one| one.absence.gone = gone);
    Ok(absent)
}

/// Judges one absence and notes what is to be recorded of it.
fn judge(job: &Job<'_>, absent: Absent, haul: &mut Haul) {
    let Absent { mailbox, row, witnessed, absence } = absent;
    let (missing, reason) = classify(&absence);
    // With `--since` not every message was looked for, so the listing is not recorded as complete.
    let whole = job.options.select.since.is_none();
    let key = row.key.clone();
    if haul.displaced.contains(&(mailbox, key.clone())) {
        // Nobody may forget a message that may be lost for another that has its name.
        if State::Missing(missing).is_harm() && !row.accepted {
            haul.changes[mailbox].remove(&key);
        }
    } else if whole && row.state != State::Missing(missing) {
        match job.options.mode {
            Mode::Verify => drop(haul.changes[mailbox].insert(key.clone(), MessageChange::Gone { key, missing })),
            // What speaks for a loss today may have been mended tomorrow.
            Mode::Audit | Mode::Repair if State::Missing(missing).is_harm() => {
                haul.changes[mailbox].insert(key.clone(), MessageChange::Missed { key, missing });
            }
            Mode::Audit | Mode::Repair => {}
        }
    }
    haul.harms.push(Harm {
        mailbox,
        key: row.key.clone(),
        verdict: Verdict::Missing(missing),
        reason,
        place: row.place,
        name: row.name.clone(),
        present: false,
        facts: None,
        row: Some(row),
        witnessed,
    });
}

/// Where else in the account the message stands: the same content under a name that is new, or the same key in
/// a mailbox that did not hold it before.
fn elsewhere(mailboxes: &[Mailbox], m: usize, row: &MessageRow, haul: &Haul) -> Option<String> {
    if let Some(&(other, _)) = row.digest.and_then(|d| haul.fresh.get(&d)) {
        return Some(mailboxes[other].name.clone());
    }
    // Recorded there by a run that did not record, or did not look at, the place that it left.
    if let Some(&(other, since)) = row.digest.and_then(|d| haul.known.get(&d))
        && since > row.last_seen
    {
        return Some(mailboxes[other].name.clone());
    }
    if mailboxes[m].store().keys_travel() { by_key_elsewhere(mailboxes, m, &row.key) } else { None }
}

/// The file that an fsck left without its name, and that holds exactly this message.
fn orphan(mailboxes: &[Mailbox], row: &MessageRow, haul: &Haul) -> Option<String> {
    let digest = row.digest?;
    let stray = haul.strays.iter().find(|s| s.facts.digest == Some(digest) && s.is_orphan(mailboxes))?;
    Some(crate::model::path::escape(&mailboxes[stray.mailbox].listing.entries[stray.entry].name))
}

pub(super) fn by_key_elsewhere(mailboxes: &[Mailbox], m: usize, key: &Key) -> Option<String> {
    let other = mailboxes
        .iter()
        .enumerate()
        .find(|(n, other)| *n != m && other.files.contains_key(key) && !other.rows.contains_key(key));
    other.map(|(_, mailbox)| mailbox.name.clone())
}

/// Messages that a source holds and neither the store nor the catalog knows.
fn by_sources(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &mut Vec<Mailbox>,
    sources: &mut Sources,
    (shape, deeds): (&Shape, &Deeds),
    haul: &mut Haul,
) -> Result<(), EngineError> {
    let mut order = Vec::new();
    for g in 0..job.generations.len() {
        order.push((sources.content_time(job, g)?, job.generations[g].rank, g));
    }
    order.sort_by_key(|&(time, rank, _)| (std::cmp::Reverse(time), rank));
    let known = known_mailboxes(job, account)?;
    let listed = shape.listed.max(known.values().filter_map(|row| row.listed).max());
    let keys: HashMap<Key, usize> =
        mailboxes.iter().enumerate().flat_map(|(m, b)| b.files.keys().map(move |k| (k.clone(), m))).collect();
    let mut places: HashMap<RelPath, usize> = mailboxes.iter().enumerate().map(|(m, b)| (b.rel.clone(), m)).collect();
    // Generations that hold the account, or mail of others: newer evidence for those that follow.
    let mut usable: Vec<usize> = Vec::new();
    let mut claimed: HashSet<(usize, Key)> = HashSet::new();
    for (time, _, generation) in order {
        if job.stopped() {
            return Ok(());
        }
        if job.generations[generation].partner {
            continue;
        }
        let (boxes, complete) = sources.boxes(job, generation)?;
        let mut held = 0;
        for rel in &boxes {
            let name = store::mailbox_name(rel);
            if !job.options.select.mailbox(&name) {
                continue;
            }
            let row = known.get(&account.dir.join_path(rel));
            let format = sources.format(generation, rel);
            // The catalog's own listing is newer evidence than any generation made before it. Of a mailbox whose
            // listing never finished it has none.
            if row.map_or(listed, |row| row.listed).is_some_and(|listed| time <= listed) {
                continue;
            }
            let Some(m) = mailbox_of(job, account, mailboxes, &mut places, (rel, format), row.cloned(), haul)? else {
                continue;
            };
            mailboxes[m].expected |= usable.is_empty();
            let place = (generation, time, &usable[..]);
            held += one_shelf(job, mailboxes, m, sources, place, &keys, (shape, deeds), &mut claimed, haul)?;
        }
        if complete && (held > 0 || (boxes.is_empty() && job.holds_mail.contains(&generation))) {
            usable.push(generation);
        }
    }
    Ok(())
}

/// The store's mailbox for a source's folder; one that discovery did not find is listed now, to be sure that it
/// is not there.
pub(super) fn mailbox_of(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &mut Vec<Mailbox>,
    places: &mut HashMap<RelPath, usize>,
    (rel, format): (&RelPath, Format),
    row: Option<MailboxRow>,
    haul: &mut Haul,
) -> Result<Option<usize>, EngineError> {
    if let Some(&known) = places.get(rel) {
        return Ok(Some(known));
    }
    let Some(mailbox) = account::one(job, account, (account.dir.join_path(rel), Some(format)), row)? else {
        return Ok(None);
    };
    for trouble in &mailbox.listing.troubles {
        job.not_checked(trouble);
    }
    places.insert(rel.clone(), mailboxes.len());
    mailboxes.push(mailbox);
    haul.changes.push(BTreeMap::new());
    Ok(Some(mailboxes.len() - 1))
}

/// Adds what one mailbox of one generation holds and the store lacks; returns how many messages it holds.
#[allow(clippy::too_many_arguments)]
fn one_shelf(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    m: usize,
    sources: &mut Sources,
    (generation, taken, usable): (usize, Stamp, &[usize]),
    keys: &HashMap<Key, usize>,
    (shape, deeds): (&Shape, &Deeds),
    claimed: &mut HashSet<(usize, Key)>,
    haul: &mut Haul,
) -> Result<u64, EngineError> {
    let mailbox = &mailboxes[m];
    let (mut newer_lacks_it, mut newer_unsure) = (false, false);
    for &newer in usable {
        let complete = sources.shelf(job, newer, &mailbox.rel)?.listing.complete();
        newer_lacks_it |= complete;
        newer_unsure |= !complete;
    }
    let shelf = sources.shelf(job, generation, &mailbox.rel)?;
    let had_witness = shelf.top().any(|e| companion::in_mailbox(&e.name).is_some_and(companion::Companion::is_witness));
    let mut held: Vec<(Key, Place, Vec<u8>)> =
        shelf.messages().map(|(key, e)| (key.clone(), e.place, shelf.name_of(e))).collect();
    held.sort();
    let total = held.len() as u64;
    let lost: HashSet<Key> = mailbox.lost.iter().map(|entry| mailbox.key(&entry.name)).collect();
    let is_known = |key: &Key| mailbox.files.contains_key(key) || mailbox.rows.contains_key(key) || lost.contains(key);
    held.retain(|(key, _, _)| !is_known(key));
    forget_renamed(job, mailbox, &mut held)?;
    if !mailbox.complete() {
        return Ok(total);
    }
    let gone = held.len() as u64;
    let names: Vec<Vec<u8>> = held.iter().map(|(_, _, file)| file.clone()).collect();
    let asked = server::ask(job, sources, mailbox, &names)?;
    let fate = deeds.fate(mailbox, Some(taken), haul.restarted());
    let travels = mailbox.store().keys_travel();
    // One key is one message, in whichever folder its owner put it, or one of each mailbox.
    let home = if travels { usize::MAX } else { m };
    for (nth, (key, place, file)) in held.into_iter().enumerate() {
        let witnessed = asked.of(nth);
        if sdbox::lies_apart(job, mailbox, &file, witnessed.says) {
            continue;
        }
        if name::is_orphan(&file)
            || !job.options.select.date(mailbox.store().delivered(&file))
            || !claimed.insert((home, key.clone()))
        {
            continue;
        }
        let absence = Absence {
            server: witnessed.says,
            expired: false,
            elsewhere: keys
                .get(&key)
                .filter(|&&other| travels && other != m)
                .map(|&other| mailboxes[other].name.clone()),
            orphan: None,
            resumed: job.resumed.of(&mailbox.dir, &key),
            account_blank: shape.blank,
            account_unknown: shape.unknown,
            mailbox_gone: mailbox.folder.is_none(),
            folder: fate,
            subfolder_gone: false,
            mailbox_blank: mailbox.folder.is_some()
                && mailbox.messages().next().is_none()
                && !mailbox.has_witness()
                && had_witness,
            forgotten: false,
            vanished: mailbox.vanished.contains(&key),
            folder_unmoved: false,
            account_harmed: haul.harmed,
            newer_lacks_it,
            newer_unsure: newer_unsure && !newer_lacks_it,
            before: None,
            gone,
            known: total,
            // A source's view of the account is none of its nights.
            account_gone: 0,
            rate: Rate::default(),
        };
        let (missing, reason) = classify(&absence);
        if missing == Missing::Deleted {
            job.tally.count(Verdict::Missing(missing));
            continue;
        }
        haul.harms.push(Harm {
            mailbox: m,
            key,
            verdict: Verdict::Missing(missing),
            reason: format!("{reason} ({} holds it)", job.generations[generation].label),
            place,
            name: file,
            present: false,
            facts: None,
            row: None,
            witnessed,
        });
    }
    Ok(total)
}
