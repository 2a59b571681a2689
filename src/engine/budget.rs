//! A verify with a budget: plans the night, says of each message whether it is read, and keeps the books of the rest.
//!
//! What is left for a later night keeps its digest, its state and the time of its last proof. It counts neither as whole
//! nor as missing. Which messages are read is decided by `plan::budget`.

use super::account::{At, EngineError, Mailbox};
use super::harm::Haul;
use super::job::{Job, Mode};
use super::mbox;
use crate::catalog::{Catalog, MessageChange, MessageRow, State, StoreId};
use crate::model::event::Event;
use crate::model::wire::Entry;
use crate::model::{RelPath, Stamp};
use crate::plan::budget::{self, Ages, Budget, DAY, Load, Pace, Ration};
use crate::store;
use crate::sys::clock;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Runs whose pace counts.
const RUNS: usize = 5;

/// When a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Tonight, whatever the budget: new, changed, or harmed before.
    Always,
    /// Tonight, if the time reaches.
    Tonight,
    /// In a later night.
    Later,
}

/// What a budget lets one run read.
pub struct Night {
    ration: Ration,
    deadline: Option<Instant>,
    /// The oldest proof of a message of each account, in seconds.
    oldest: HashMap<RelPath, i64>,
    /// When the messages of each account were proven, and how many then; nothing for one that has others.
    times: HashMap<RelPath, Option<Vec<(i64, Load)>>>,
    /// Left for longer than `--max-age`, and the oldest proof of these.
    overdue: (u64, Option<Stamp>),
}

impl Night {
    /// When the message at this place of a mailbox's listing is read.
    pub fn due(&mut self, mailbox: &Mailbox, at: usize) -> Due {
        match vouched(mailbox, at).and_then(|row| Some((row.verified?, row.size))) {
            None => Due::Always,
            Some((verified, size)) if self.ration.take(verified.sec, size) => Due::Tonight,
            Some(_) => Due::Later,
        }
    }

    /// How many messages of an account are on record as whole, where by the records alone `ration` leaves each of them for
    /// a later night, and none for longer than `most` seconds.
    pub fn leaves_all(&self, ration: &Ration, account: &RelPath, now: Stamp, most: Option<u64>) -> Option<u64> {
        let times = self.times.get(account)?.as_ref()?;
        let most = most.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX);
        // An empty message costs least: one that is not taken at no size.
        let left = |&(time, _): &(i64, Load)| !ration.clone().take(time, 0) && now.sec.saturating_sub(time) <= most;
        times.iter().all(left).then(|| times.iter().map(|(_, load)| load.messages).sum())
    }

    /// What is left for tonight.
    pub fn ration(&self) -> &Ration {
        &self.ration
    }

    /// Takes from `ration` what an account will, by the records.
    pub fn foresee(&self, ration: &mut Ration, account: &RelPath) {
        let times = self.times.get(account).and_then(Option::as_ref);
        for (time, load) in times.into_iter().flatten() {
            ration.take(*time, load.bytes);
        }
    }

    /// Whether it has to end at some time.
    pub fn is_timed(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether its time is over.
    pub fn over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The record of a message that was proven before and whose file looks as it did then.
fn vouched(mailbox: &Mailbox, at: usize) -> Option<&MessageRow> {
    let entry = &mailbox.listing.entries[at];
    let key = mailbox.key(&entry.name);
    let row = mailbox.rows.get(&key).filter(|_| mailbox.files.get(&key) == Some(&at))?;
    let stat = entry.stat.as_ref()?;
    let same = stat.size == row.size && stat.mtime == row.attrs.mtime && !mbox::altered(mailbox, row, &entry.name);
    (same && row.state == State::Present && row.digest.is_some() && row.verified.is_some()).then_some(row)
}

/// Plans the night from the records; `None` without a budget.
pub fn plan(job: &mut Job<'_>) -> Result<Option<Night>, EngineError> {
    let (Some(catalog), Some(store), Mode::Verify) = (&job.catalog, job.store.id, job.options.mode) else {
        return Ok(None);
    };
    let Some(budget) = job.options.budget else { return Ok(None) };
    let select = &job.options.select;
    let (mut ages, mut oldest) = (Ages::default(), HashMap::new());
    let mut times: HashMap<RelPath, Option<Vec<(i64, Load)>>> = HashMap::new();
    catalog.ages(store, &mut |row| {
        let rel = row.dir.strip_prefix(&row.account).unwrap_or_default();
        let wanted = select.account_at(&row.account_name, &row.account) && select.mailbox(&store::mailbox_name(&rel));
        let known = times.entry(row.account.clone()).or_insert_with(|| Some(Vec::new()));
        let load = Load { messages: row.messages, bytes: row.bytes };
        match (row.verified, known.as_mut()) {
            (Some(time), Some(known)) => known.push((time, load)),
            _ => *known = None,
        }
        if let (Some(time), true) = (row.verified, wanted) {
            ages.add(time, load);
            let least = oldest.entry(row.account).or_insert(time);
            *least = time.min(*least);
        }
    })?;
    let pace = pace(catalog, store)?;
    let total = ages.total();
    let bytes = budget.bytes(total, pace);
    let before = nights(catalog, store, budget.nights().unwrap_or(0))?;
    let ration = Ration::of(&ages, budget.tonight(&ages, pace, &before));
    let deadline = match budget {
        Budget::Time(seconds) => Instant::now().checked_add(Duration::from_secs(seconds)),
        Budget::Share(_) | Budget::Bytes(_) => None,
    };
    if total.messages == 0 {
        job.note("nothing is on record yet: all of it is read now, whatever the budget");
    }
    if let (Some(bytes), Some(max_age)) = (bytes, job.options.max_age)
        && let Some((what, hint)) = budget::too_small(budget, total, bytes, max_age)
    {
        job.observer.event(Event::Error { path: job.store.text.clone(), what, hint: Some(hint) });
    }
    let rounds = bytes.map_or(0, |bytes| budget::rounds(total, bytes)).saturating_mul(DAY);
    job.tally.promise = rounds.min(job.options.max_age.unwrap_or(u64::MAX));
    Ok(Some(Night { ration, deadline, oldest, times, overdue: (0, None) }))
}

/// When the last nights began that promised as much, the newest first. A night that did not take place promises nothing,
/// nor does one with a smaller budget.
fn nights(catalog: &Catalog, store: StoreId, most: u64) -> Result<Vec<i64>, EngineError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let promise = DAY.saturating_mul(most as u64);
    // Other runs stand among them: audits, repairs.
    let runs =
        catalog.runs(Some(store), u32::try_from(most).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(50))?;
    let verifies = runs.iter().filter(|run| run.command == Mode::Verify.name());
    let ended = verifies.filter_map(|run| Some((run.began.sec, run.tally.as_ref()?)));
    let whole = ended.filter(|(_, tally)| !tally.partial && !tally.interrupted);
    Ok(whole.take_while(|(_, tally)| tally.promise <= promise).map(|(began, _)| began).take(most).collect())
}

/// What the last verifies read in which time, all things that they do included.
fn pace(catalog: &Catalog, store: StoreId) -> Result<Option<Pace>, EngineError> {
    let mut pace = Pace { bytes: 0, millis: 0 };
    let runs = catalog.runs(Some(store), 50)?;
    let read = runs.iter().filter(|run| run.command == Mode::Verify.name()).filter_map(|run| {
        let bytes = run.tally.as_ref().map(|tally| tally.bytes).filter(|&bytes| bytes > 0)?;
        Some((bytes, millis(run.began, run.ended?)))
    });
    for (bytes, millis) in read.take(RUNS) {
        pace.bytes = pace.bytes.saturating_add(bytes);
        pace.millis = pace.millis.saturating_add(millis);
    }
    Ok(Some(pace).filter(|pace| pace.bytes > 0))
}

fn millis(from: Stamp, to: Stamp) -> u64 {
    let of = |stamp: Stamp| i128::from(stamp.sec) * 1000 + i128::from(stamp.nsec / 1_000_000);
    u64::try_from(of(to) - of(from)).unwrap_or(0)
}

/// The accounts in the order in which they are read: with a budget those first that wait longest, so that a night whose
/// time is over too early leaves others than the one before.
pub fn in_order<T>(job: &Job<'_>, accounts: BTreeMap<RelPath, T>) -> Vec<(RelPath, T)> {
    let mut all: Vec<_> = accounts.into_iter().collect();
    if let Some(night) = &job.night {
        all.sort_by_key(|(dir, _)| night.oldest.get(dir).copied().unwrap_or(i64::MAX));
    }
    all
}

/// Counts what is left for a later night, and records what the listing alone tells of it: name, place and owner.
pub fn put_off(job: &mut Job<'_>, mailboxes: &[Mailbox], left: Vec<At>, haul: &mut Haul) {
    for at in &left {
        let mailbox = &mailboxes[at.mailbox];
        let entry = &mailbox.listing.entries[at.entry];
        let Some(row) = mailbox.rows.get(&mailbox.key(&entry.name)) else { continue };
        job.known_messages = job.known_messages.saturating_sub(1);
        count_one(job, row);
        if let Some(digest) = row.digest {
            // It is there under its name, whatever became of its content: a message of this content was moved here.
            let newest = haul.known.entry(digest).or_insert((at.mailbox, row.first_seen));
            if row.first_seen > newest.1 {
                *newest = (at.mailbox, row.first_seen);
            }
        }
        let listed = mailbox.row.as_ref().and_then(|row| row.listed);
        let stale = listed.is_some_and(|listed| row.last_seen < listed);
        let renamed = (row.place, &row.name) != (entry.place, &entry.name);
        let attrs = (row.attrs.uid, row.attrs.gid, row.attrs.mode);
        let given = entry.stat.as_ref().is_some_and(|stat| attrs != (stat.uid, stat.gid, stat.mode & 0o7777));
        if stale || renamed || given {
            haul.changes[at.mailbox].insert(row.key.clone(), MessageChange::Seen(seen(mailbox, entry, row)));
        }
    }
    haul.put_off = left;
}

/// The record of a message that was listed and not read.
fn seen(mailbox: &Mailbox, entry: &Entry, row: &MessageRow) -> MessageRow {
    let mut seen =
        MessageRow { place: entry.place, name: entry.name.clone(), last_seen: mailbox.listed, ..row.clone() };
    if let Some(stat) = &entry.stat {
        (seen.attrs.uid, seen.attrs.gid, seen.attrs.mode) = (stat.uid, stat.gid, stat.mode & 0o7777);
    }
    seen
}

fn count_one(job: &mut Job<'_>, row: &MessageRow) {
    let age = row.verified.map_or(i64::MAX, |at| job.started.sec.saturating_sub(at.sec));
    let most = job.options.max_age.and_then(|most| i64::try_from(most).ok());
    if most.is_none_or(|most| age <= most) {
        job.tally.deferred += 1;
        return;
    }
    job.tally.not_checked += 1;
    if let Some(night) = &mut job.night {
        night.overdue.0 += 1;
        let oldest = [night.overdue.1, row.verified].into_iter().flatten().min();
        night.overdue.1 = oldest;
    }
}

/// Says what the budget left unread for too long.
pub fn tell_overdue(job: &mut Job<'_>) {
    let (Some(night), Some(most)) = (&job.night, job.options.max_age) else { return };
    let (n @ 1.., Some(oldest)) = night.overdue else { return };
    let most = if most % DAY == 0 { format!("{} days", most / DAY) } else { format!("{} hours", most / 3600) };
    let messages = if n == 1 { "1 message was".to_owned() } else { format!("{n} messages were") };
    let oldest = clock::for_people(oldest);
    let what = format!("not checked: {messages} last read more than {most} ago (--max-age), the oldest on {oldest}");
    let hint = Some("the budget did not reach them: raise --budget".to_owned());
    job.observer.event(Event::Error { path: job.store.text.clone(), what, hint });
}
