//! Accounts that are gone through together: their messages are read as one, in whatever order the disk likes, and then each
//! account is judged, planned and recorded by itself.
//!
//! On flash that is one account after the other. Decides nothing about a message.

use super::account::{self, Account, EngineError, Mailbox};
use super::find::Sources;
use super::folders::Folders;
use super::harm::Haul;
use super::job::Job;
use super::{absent, against, companions, deep, heal, quiet, record, scan};
use crate::model::event::{Event, Phase};
use crate::model::tally::Tally;
use crate::model::wire::FoundMailbox;
use crate::model::{Format, RelPath};
use std::collections::HashSet;

/// One account that was opened.
pub struct Unit {
    account: Account,
    pub mailboxes: Vec<Mailbox>,
    pub haul: Haul,
    /// What was counted for it until its turn comes.
    pub tally: Tally,
    /// How often others had changed the catalog when it was opened.
    seen: Option<i64>,
}

/// Does work that counts for one account.
pub fn counted<T>(job: &mut Job<'_>, tally: &mut Tally, work: impl FnOnce(&mut Job<'_>) -> T) -> T {
    std::mem::swap(&mut job.tally, tally);
    let done = work(job);
    std::mem::swap(&mut job.tally, tally);
    done
}

/// Goes through all accounts, and tells which it `reached`; false where the user stopped it.
pub fn all(
    job: &mut Job<'_>,
    all: &[(Account, Vec<FoundMailbox>)],
    folders: &mut Folders,
    reached: &mut HashSet<RelPath>,
) -> Result<bool, EngineError> {
    let mut ahead = quiet::Ahead::default();
    let went_on = in_groups(job, all, &mut ahead, folders, reached)?;
    ahead.record(job)?;
    Ok(went_on)
}

fn in_groups(
    job: &mut Job<'_>,
    all: &[(Account, Vec<FoundMailbox>)],
    ahead: &mut quiet::Ahead,
    folders: &mut Folders,
    reached: &mut HashSet<RelPath>,
) -> Result<bool, EngineError> {
    let (mut units, mut messages) = (Vec::new(), 0);
    for (at, (account, found)) in all.iter().enumerate() {
        if job.stopped() {
            return Ok(false);
        }
        reached.insert(account.dir.clone());
        ahead.ask(job, all, at)?;
        if units.is_empty() {
            job.unread.clear();
            job.numbers.clear();
        }
        let before = job.tally.clone();
        match quiet::account(job, account, ahead, folders)? {
            Some(true) => ended(job, account, &before),
            Some(false) => return Ok(false),
            None => {
                let unit = open(job, account, found)?;
                messages += unit.messages();
                units.push(unit);
            }
        }
        if messages >= job.store_lane().order.window() {
            messages = 0;
            if !go(job, std::mem::take(&mut units), folders)? {
                return Ok(false);
            }
        }
    }
    go(job, units, folders)
}

impl Unit {
    fn messages(&self) -> usize {
        self.mailboxes.iter().filter(|m| m.selected).map(|m| m.messages().count()).sum()
    }
}

fn open(job: &mut Job<'_>, account: &Account, found: &[FoundMailbox]) -> Result<Unit, EngineError> {
    let seen = job.catalog.as_ref().and_then(|catalog| catalog.changes_by_others().ok());
    let mut tally = Tally::default();
    let opened = counted(job, &mut tally, |job| account::open(job, account, found));
    let mailboxes = match opened {
        Ok(mailboxes) => mailboxes,
        Err(error) => {
            job.tally.add(&tally);
            return Err(error);
        }
    };
    let unit = Unit { account: account.clone(), mailboxes, haul: Haul::default(), tally, seen };
    job.known_messages += unit.messages() as u64;
    Ok(unit)
}

/// Looks at every message of some accounts, plans the repair of each and records it; false where the user stopped it.
fn go(job: &mut Job<'_>, mut units: Vec<Unit>, folders: &mut Folders) -> Result<bool, EngineError> {
    let mut done = scan::scan(job, &mut units).map(|()| !job.stopped());
    for mut unit in units {
        let before = job.tally.clone();
        job.tally.add(&unit.tally);
        if let Ok(true) = done {
            done = plan(job, &mut unit, folders);
        }
        // Whatever kept it from its end: what was found is told. What was not read must not look like a whole account.
        heal::unplanned(job, &unit.account, &unit.mailboxes, &mut unit.haul);
        if let Ok(true) = done {
            let recorded = record::record(job, &unit.account, &unit.mailboxes, &mut unit.haul, unit.seen);
            done = recorded.map(|()| {
                ended(job, &unit.account, &before);
                true
            });
        }
    }
    done
}

/// An account from its folders to its records was gone through.
fn ended(job: &mut Job<'_>, account: &Account, before: &Tally) {
    job.flush_findings();
    job.tally.accounts += 1;
    let mut own = job.tally.since(before);
    if own.harmed() > 0 || own.not_checked > 0 {
        job.tally.accounts_affected += 1;
        own.accounts_affected = 1;
    }
    job.observer.event(Event::Account { account: account.name.clone(), tally: Box::new(own) });
    job.progress(Phase::Verify);
}

/// Plans the repair of an account that was read; false where the user stopped it.
fn plan(job: &mut Job<'_>, unit: &mut Unit, folders: &mut Folders) -> Result<bool, EngineError> {
    let Unit { account, mailboxes, haul, .. } = unit;
    // Other formats have no such lists.
    if mailboxes.iter().any(|m| m.format == Format::Maildir && m.messages().next().is_some()) {
        let listed = job.store.desk.is_some() || mailboxes.iter().any(Mailbox::has_witness);
        job.risk.listed += u64::from(listed);
        job.risk.unlisted += u64::from(!listed);
    }
    let mut sources = Sources::new(job, account, mailboxes, haul);
    let shape = absent::absent(job, account, mailboxes, &mut sources, haul)?;
    deep::deep(job, mailboxes, &mut sources, haul)?;
    against::against(job, account, mailboxes, &mut sources, haul)?;
    let returning = heal::returning(job, account, mailboxes, haul, &shape);
    heal::heal(job, account, mailboxes, &mut sources, haul, folders)?;
    if job.stopped() {
        return Ok(false);
    }
    if job.against().is_some() {
        // Of folders and files of the server, a verify knows what is on record, and nothing else.
        let replica = std::mem::take(&mut job.generations);
        let done = beside(job, account, mailboxes, &mut sources, haul, folders, (&shape, &returning));
        job.generations = replica;
        return done;
    }
    beside(job, account, mailboxes, &mut sources, haul, folders, (&shape, &returning))
}

/// Plans for what stands beside the messages: folders and files of the server.
fn beside(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    haul: &Haul,
    folders: &mut Folders,
    (shape, returning): (&absent::Shape, &[RelPath]),
) -> Result<bool, EngineError> {
    heal::empty_folders(job, account, mailboxes, shape, folders)?;
    let around = companions::Around { returning, blank: shape.blank, harmed: haul.harmed, menders: &haul.menders };
    companions::companions(job, account, mailboxes, sources, folders, &around)?;
    companions::stale_tmp(job, account, mailboxes);
    Ok(!job.stopped())
}
