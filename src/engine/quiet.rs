//! Accounts in which a night with a budget has nothing to do: known again by the seals of their mailboxes, without a look at
//! the records of their messages.
//!
//! May not decide anything of a message. A mailbox is sealed after the long way found nothing to do in it; the seal breaks
//! with its records, and only where every mailbox of the account is as it was then is the long way left out. Companion files,
//! the home and `tmp` are looked at all the same.

use super::account::{Account, EngineError, Mailbox, is_message};
use super::budget::Night;
use super::companions::{self, Around};
use super::find::Sources;
use super::folders::Folders;
use super::harm::Haul;
use super::job::{Job, Mode};
use super::lane::ahead::Ticket;
use super::lane::{Listing, Sealed};
use super::mending::Menders;
use crate::catalog::{DirTimes, Folder, MailboxId, MailboxRow, State};
use crate::model::wire::{EntryKind, FoundMailbox, Place};
use crate::model::{Digest, Format, RelPath};
use crate::plan::budget::Ration;
use crate::store;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Mailboxes that the lane may be asked for ahead.
const MAILBOXES_AHEAD: usize = 32;
/// Mailboxes that one transaction records: each costs a page of the log or two.
const RECORDED_AT_ONCE: usize = 1024;
/// Accounts that are thought of ahead.
const ACCOUNTS_AHEAD: usize = 64;

/// Whether the long way had nothing to do in mailbox `m`: every message was left for a later night, and nothing is to be
/// recorded, told or looked for.
pub fn is_quiet(job: &Job<'_>, mailboxes: &[Mailbox], m: usize, haul: &Haul) -> bool {
    let mailbox = &mailboxes[m];
    let put_off = haul.put_off.iter().filter(|at| at.mailbox == m).count();
    let there = mailbox.rows.values().filter(|row| row.state.on_disk()).count();
    let plain = |row: &crate::catalog::MessageRow| !row.state.is_harm() && row.state != State::Damaged;
    job.night.is_some()
        && job.options.select.is_all()
        && mailbox.format == Format::Maildir
        && mailbox.complete()
        && mailbox.folder.is_some()
        && mailbox.dir_times().is_some()
        && mailbox.vanished.is_empty()
        && haul.changes.get(m).is_some_and(BTreeMap::is_empty)
        && haul.harms.iter().all(|harm| harm.mailbox != m)
        && haul.strays.iter().all(|stray| stray.mailbox != m)
        && mailbox.rows.values().all(plain)
        && mailbox.messages().count() == put_off
        && mailbox.files.len() == put_off
        && there == put_off
        && mailbox
            .listing
            .entries
            .iter()
            .all(|e| e.kind == EntryKind::File || !matches!(e.place, Place::New | Place::Cur))
}

/// Goes through an account that is as it was; `None` where it may not be, and the long way has to be taken. False where
/// the user stopped it.
pub fn account(
    job: &mut Job<'_>,
    account: &Account,
    ahead: &mut Ahead,
    folders: &mut Folders,
) -> Result<Option<bool>, EngineError> {
    let Some(Asked { messages, known, ticket, .. }) = ahead.take(account) else { return Ok(None) };
    let Some(listings) = job.store_lane().rechecked(ticket) else { return Ok(None) };
    if job.night.as_ref().and_then(|night| leaves(job, night, night.ration(), account)) != Some(messages) {
        return Ok(None);
    }
    let mut mailboxes = Vec::new();
    for ((row, seal, times), listing) in known.into_iter().zip(listings) {
        let Some(mailbox) = again(job, account, row, listing) else { return Ok(None) };
        if mailbox.listing.seal != Some(seal) || !same_folder(&mailbox, times) {
            return Ok(None);
        }
        mailboxes.push(mailbox);
    }
    if job.stopped() {
        return Ok(None);
    }
    job.tally.mailboxes += mailboxes.len() as u64;
    job.tally.deferred += messages;
    let listed = mailboxes.iter().any(Mailbox::has_witness);
    job.risk.listed += u64::from(listed);
    job.risk.unlisted += u64::from(!listed);
    let mut sources = Sources::new(job, account, &mailboxes, &Haul::default());
    let menders = Menders::default();
    let around = Around { returning: &[], blank: false, harmed: false, menders: &menders };
    companions::companions(job, account, &mailboxes, &mut sources, folders, &around)?;
    companions::stale_tmp(job, account, &mailboxes);
    if job.stopped() {
        return Ok(Some(false));
    }
    ahead.unchanged.extend(mailboxes.iter().filter_map(|mailbox| mailbox.row.as_ref()).map(|row| row.id));
    if ahead.unchanged.len() >= RECORDED_AT_ONCE {
        ahead.record(job)?;
    }
    Ok(Some(true))
}

type Known = (MailboxRow, Digest, DirTimes);

/// An account that was asked for.
struct Asked {
    account: RelPath,
    messages: u64,
    known: Vec<Known>,
    ticket: Ticket,
}

/// Accounts that the lane looks at while those before them are recorded.
#[derive(Default)]
pub struct Ahead {
    asked: VecDeque<Asked>,
    /// The first of all accounts that was not thought of.
    next: usize,
    /// What those before it will have left of the budget. Only foreseen: the decision is made in turn.
    ration: Option<Ration>,
    /// Mailboxes that are as they were, which is not on record yet.
    unchanged: Vec<MailboxId>,
}

impl Ahead {
    /// Asks for the account at `at` of all and for some that follow.
    pub fn ask(
        &mut self,
        job: &mut Job<'_>,
        all: &[(Account, Vec<FoundMailbox>)],
        at: usize,
    ) -> Result<(), EngineError> {
        while let Some((account, found)) = all.get(self.next) {
            let Some(night) = &job.night else { return Ok(()) };
            let waiting: usize = self.asked.iter().map(|asked| asked.known.len()).sum();
            if self.next > at && (waiting >= MAILBOXES_AHEAD || self.next - at >= ACCOUNTS_AHEAD) {
                return Ok(());
            }
            self.next += 1;
            let ration = self.ration.get_or_insert_with(|| night.ration().clone());
            let Some((messages, known)) = sealed(job, account, found, ration)? else {
                night.foresee(ration, &account.dir);
                continue;
            };
            let times = |t: &DirTimes| [t.new_mtime, t.new_ctime, t.cur_mtime, t.cur_ctime];
            let mailbox =
                |(row, _, t): &Known| Sealed { dir: row.dir.clone(), format: Format::Maildir, times: times(t) };
            let mailboxes: Vec<Sealed> = known.iter().map(mailbox).collect();
            let root = job.store.root;
            let ticket = job.store_lane().recheck(root, &mailboxes)?;
            self.asked.push_back(Asked { account: account.dir.clone(), messages, known, ticket });
        }
        Ok(())
    }

    /// Records what is as it was: to be called once more at the end.
    pub fn record(&mut self, job: &mut Job<'_>) -> Result<(), EngineError> {
        if let Some(catalog) = &mut job.catalog {
            catalog.record_unchanged(&self.unchanged, job.started)?;
        }
        self.unchanged.clear();
        Ok(())
    }

    fn take(&mut self, account: &Account) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.account == account.dir)?;
        self.asked.remove(at)
    }
}

/// How many messages an account has, where `ration` leaves all of them for a later night.
fn leaves(job: &Job<'_>, night: &Night, ration: &Ration, account: &Account) -> Option<u64> {
    night.leaves_all(ration, &account.dir, job.started, job.options.max_age)
}

/// The mailboxes of an account of which all are sealed and `ration` leaves every message, and how many messages these are.
fn sealed(
    job: &Job<'_>,
    account: &Account,
    found: &[FoundMailbox],
    ration: &Ration,
) -> Result<Option<(u64, Vec<Known>)>, EngineError> {
    let options = &job.options;
    let plain = options.mode == Mode::Verify
        && options.select.is_all()
        && !options.deep
        && !options.against
        && job.run_id.is_some()
        && job.generations.is_empty()
        && job.store.desk.is_none()
        && job.plan.is_none()
        && job.resumed.is_empty()
        && found.iter().all(|mailbox| mailbox.format == Format::Maildir);
    let left = job.night.as_ref().and_then(|night| leaves(job, night, ration, account));
    let (true, Some(messages @ 1..), Some(catalog), Some(store)) = (plain, left, &job.catalog, job.store.id) else {
        return Ok(None);
    };
    let seals = catalog.seals(store, &account.dir)?;
    if seals.is_empty() {
        return Ok(None);
    }
    let mut dirs: HashSet<&RelPath> = found.iter().map(|mailbox| &mailbox.dir).collect();
    let (mut known, mut recorded) = (Vec::new(), 0);
    for row in catalog.mailboxes(store, &account.dir)? {
        if row.gone {
            // One that is there again has no part in this; `dirs` still holds it.
            continue;
        }
        let (Some(&seal), Some(times), true) = (seals.get(&row.id), row.dir_times, dirs.remove(&row.dir)) else {
            return Ok(None);
        };
        recorded += row.messages;
        known.push((row, seal, times));
    }
    let whole = dirs.is_empty() && recorded == messages;
    Ok(whole.then_some((messages, known)))
}

/// A mailbox without its messages.
fn again(job: &Job<'_>, account: &Account, row: MailboxRow, listing: Listing) -> Option<Mailbox> {
    let rel = row.dir.strip_prefix(&account.dir)?;
    let format = Format::Maildir;
    let folder = listing.dirs.iter().find(|(place, _)| *place == Place::Top).map(|(_, stat)| *stat);
    let plain = listing.complete() && !listing.entries.iter().any(is_message);
    plain.then(|| Mailbox {
        name: store::of(format).mailbox_name(&rel),
        dir: row.dir.clone(),
        rel,
        format,
        folder,
        listing,
        row: Some(row),
        rows: BTreeMap::new(),
        files: HashMap::new(),
        lost: Vec::new(),
        vanished: HashSet::new(),
        selected: true,
        expected: true,
        listed: job.started,
    })
}

/// Whether the folder is what is on record: owner and mode, and the times of `new` and `cur`.
fn same_folder(mailbox: &Mailbox, times: DirTimes) -> bool {
    let now = mailbox.folder.as_ref().map(|s| Folder { uid: s.uid, gid: s.gid, mode: s.mode & 0o7777 });
    now.is_some() && now == mailbox.row.as_ref().and_then(|row| row.folder) && mailbox.dir_times() == Some(times)
}
