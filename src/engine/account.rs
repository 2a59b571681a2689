//! One account of the store as it is now, beside what the catalog knows of it.

use super::budget::{Due, Night};
use super::job::{Job, Mode};
use super::lane::{LaneError, Listing};
use super::mbox::Numbers;
use super::mdbox;
use crate::catalog::{CatalogError, DirTimes, MailboxRow, MessageRow, Which};
use crate::model::form::Form;
use crate::model::wire::{Effort, Entry, EntryKind, FoundMailbox, Place, ReadItem, ReadMode, Reading};
use crate::model::{Format, Key, RelPath, Stamp, Stat};
pub use crate::store::is_message;
use crate::store::maildir::companion;
use crate::store::{self, Store};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What stops a run rather than a file.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("{what} {path}: {source}")]
    State { what: &'static str, path: String, source: std::io::Error },
    /// Nothing was done, for a reason that the user can change.
    #[error("{0}")]
    Refused(String),
    /// The arguments cannot be meant.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Plan(#[from] super::planfile::PlanError),
    #[error(transparent)]
    Apply(#[from] crate::apply::ApplyError),
}

/// An account: its folder below the store and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub dir: RelPath,
    pub name: String,
}

/// One mailbox folder.
pub struct Mailbox {
    /// Below the store.
    pub dir: RelPath,
    /// Below the account's folder.
    pub rel: RelPath,
    pub format: Format,
    pub name: String,
    /// The folder itself; `None` where it is not there.
    pub folder: Option<Stat>,
    pub listing: Listing,
    pub row: Option<MailboxRow>,
    /// What the catalog knows, by key.
    pub rows: BTreeMap<Key, MessageRow>,
    /// Position in the listing of the first file of each key.
    pub files: HashMap<Key, usize>,
    /// Listed, and gone or renamed before they were read: somebody is at work here right now.
    pub vanished: HashSet<Key>,
    /// What it shows and its storage has not.
    pub lost: Vec<Entry>,
    pub selected: bool,
    /// By the catalog or the newest usable generation it should be there: it comes back even if it held nothing.
    pub expected: bool,
    /// When the listing began.
    pub listed: Stamp,
}

impl Mailbox {
    /// Whether the listing finished, so that what it does not show is not there.
    pub fn complete(&self) -> bool {
        self.listing.complete()
    }

    /// Message files: regular files in `new` and `cur`.
    pub fn messages(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.listing.entries.iter().enumerate().filter(|(_, e)| is_message(e))
    }

    /// Whether one of its subfolders is there.
    pub fn has_place(&self, place: Place) -> bool {
        self.listing.dirs.iter().any(|(there, _)| *there == place)
    }

    /// Names of companion files that are there.
    pub fn companions(&self) -> impl Iterator<Item = &[u8]> {
        let top = self.listing.entries.iter().filter(|e| e.place == Place::Top && e.kind == EntryKind::File);
        top.map(|e| &e.name[..]).filter(|n| companion::in_mailbox(n).is_some())
    }

    /// Whether a server's list of its messages is there.
    pub fn has_witness(&self) -> bool {
        self.companions().any(|n| companion::in_mailbox(n).is_some_and(companion::Companion::is_witness))
    }

    /// Path of one entry below the store.
    pub fn path(&self, entry: &Entry) -> Option<RelPath> {
        store::message_path(self.format, &self.dir, entry.place, &entry.name)
    }

    /// What its format says.
    pub fn store(&self) -> &'static dyn Store {
        store::of(self.format)
    }

    /// The key of the message in a file of this name.
    pub fn key(&self, name: &[u8]) -> Key {
        self.store().key(name)
    }

    /// Times of `new` and `cur` as the listing found them.
    pub fn dir_times(&self) -> Option<DirTimes> {
        let time = |wanted| self.listing.dirs.iter().find(|(place, _)| *place == wanted).map(|(_, stat)| *stat);
        let (new, cur) = (time(Place::New)?, time(Place::Cur)?);
        Some(DirTimes { new_mtime: new.mtime, new_ctime: new.ctime, cur_mtime: cur.mtime, cur_ctime: cur.ctime })
    }

    /// Whether the folder that held the message `row` is unchanged since the listing that showed it.
    pub fn unmoved(&self, row: &MessageRow) -> bool {
        let (Some(now), Some(then)) = (self.dir_times(), self.row.as_ref().and_then(|r| r.dir_times)) else {
            return false;
        };
        match row.place {
            Place::New => now.new_mtime == then.new_mtime,
            _ => now.cur_mtime == then.cur_mtime,
        }
    }
}

/// What a read item is about: mailbox and position in its listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub mailbox: usize,
    pub entry: usize,
}

/// Lists every mailbox of an account that discovery found or the catalog knows.
pub fn open(job: &mut Job<'_>, account: &Account, found: &[FoundMailbox]) -> Result<Vec<Mailbox>, EngineError> {
    let mut known: BTreeMap<RelPath, MailboxRow> = BTreeMap::new();
    if let (Some(catalog), Some(store)) = (&job.catalog, job.store.id) {
        for row in catalog.mailboxes(store, &account.dir)? {
            known.insert(row.dir.clone(), row);
        }
    }
    let mut dirs: BTreeMap<RelPath, Option<Format>> = found.iter().map(|m| (m.dir.clone(), Some(m.format))).collect();
    for (dir, _) in known.iter().filter(|(_, row)| !row.gone) {
        dirs.entry(dir.clone()).or_default();
    }
    let mut mailboxes = Vec::new();
    for (dir, format) in dirs {
        let row = known.remove(&dir);
        mailboxes.extend(one(job, account, (dir, format), row)?);
    }
    Ok(mailboxes)
}

/// Lists one mailbox and loads what the catalog knows of it; `None` for a folder outside the account. Where discovery
/// did not see its format, the messages that it held tell.
pub fn one(
    job: &mut Job<'_>,
    account: &Account,
    (dir, format): (RelPath, Option<Format>),
    row: Option<MailboxRow>,
) -> Result<Option<Mailbox>, EngineError> {
    let Some(rel) = dir.strip_prefix(&account.dir) else { return Ok(None) };
    let name = store::mailbox_name(&rel);
    let selected = job.options.select.mailbox(&name);
    let rows = match &row {
        Some(row) if selected => rows(job, row)?,
        _ => BTreeMap::new(),
    };
    let format = format.unwrap_or_else(|| store::format_of(&dir, rows.values().map(|row| &row.name[..])));
    let root = job.store.root;
    let mut listing = match selected {
        true => {
            // What is not read must at least look as it did when it was.
            let stat = job.night.is_some();
            job.store_lane().list(root, &dir, format, stat)?
        }
        false => Listing::default(),
    };
    let lost = mdbox::take_lost(format, &mut listing.entries);
    if format == Format::Mbox {
        let recorded = Numbers::of(rows.values().map(|row| &row.name[..]));
        let numbers = match listing.entries.is_empty() {
            true => recorded,
            false => Numbers::listed(&listing.entries).believing(&recorded),
        };
        job.numbers.insert(dir.clone(), numbers);
    }
    let folder = listing.dirs.iter().find(|(place, _)| *place == Place::Top).map(|(_, stat)| *stat);
    let mut files = HashMap::new();
    let expected = row.as_ref().is_some_and(|r| !r.gone);
    for (at, entry) in listing.entries.iter().enumerate().filter(|(_, e)| is_message(e)) {
        files.entry(store::of(format).key(&entry.name)).or_insert(at);
    }
    Ok(Some(Mailbox {
        dir,
        rel,
        format,
        name,
        folder,
        listing,
        row,
        rows,
        files,
        vanished: HashSet::new(),
        lost,
        selected,
        expected,
        listed: job.started,
    }))
}

/// All messages that the catalog knows of a mailbox.
fn rows(job: &Job<'_>, row: &MailboxRow) -> Result<BTreeMap<Key, MessageRow>, EngineError> {
    let (mut rows, mut bad) = (BTreeMap::new(), None);
    if let Some(catalog) = &job.catalog {
        catalog.messages(row.id, Which::All, &mut |message| match message {
            Ok(message) => drop(rows.insert(message.key.clone(), message)),
            Err(error) => drop(bad.get_or_insert(error)),
        })?;
    }
    match bad {
        Some(error) => Err(error.into()),
        None => Ok(rows),
    }
}

/// Whether a message is selected.
fn wanted(job: &Job<'_>, mailbox: &Mailbox, entry: &Entry) -> bool {
    let date = || mailbox.rows.get(&mailbox.key(&entry.name)).map(|r| r.attrs.mtime);
    let delivered = || mailbox.store().delivered(&entry.name);
    job.options.select.since.is_none() || job.options.select.date(date().or_else(delivered))
}

/// The read request for one message of a mailbox; `None` where it is not selected.
pub fn item(job: &Job<'_>, mailbox: &Mailbox, entry: &Entry) -> Option<ReadItem> {
    if !wanted(job, mailbox, entry) {
        return None;
    }
    let (size_claim, crlf_claim) = mailbox.store().claims(&entry.name);
    let row = mailbox.rows.get(&mailbox.key(&entry.name));
    Some(ReadItem {
        id: 0,
        root: job.store.root,
        path: mailbox.path(entry)?,
        mode: ReadMode::Message,
        form: Form::default(),
        format: mailbox.format,
        file: mailbox.folder.filter(|_| mailbox.format == Format::Mbox),
        expected: row.and_then(|r| r.digest),
        size_claim,
        crlf_claim,
        envelope: row.is_none(),
        medium: job.options.medium,
        effort: effort(job, mailbox, row),
        groups: job.options.mode == Mode::Verify && row.is_none_or(|row| row.digest.is_none()),
        deep: job.options.deep,
    })
}

/// What a digest proves, a copy may prove as well, and then nothing is read again; of anything else each byte may count.
fn effort(job: &Job<'_>, mailbox: &Mailbox, row: Option<&MessageRow>) -> Effort {
    match row.is_some_and(|row| row.digest.is_some()) {
        _ if mailbox.format.is_packed() => Effort::Pages,
        true => Effort::Swift,
        false if job.options.medium => Effort::Closely(Vec::new()),
        false => Effort::Pages,
    }
}

/// Which of several accounts that are read together a message belongs to, and where it stands there.
pub type Among = (usize, At);

/// Hears what reading each message came to, and where it stands.
pub type EachMessage<'e> = dyn FnMut(&mut Job<'_>, Among, ReadItem, Reading) + 'e;

/// Reads all selected messages of some accounts, as far as a budget reaches. `each` gets one answer for each; what is left
/// for a later night is returned, for each account.
pub fn read(job: &mut Job<'_>, accounts: &[&[Mailbox]], each: &mut EachMessage<'_>) -> Vec<Vec<At>> {
    let mut night = job.night.take();
    let mut put_off: Vec<Vec<At>> = accounts.iter().map(|_| Vec::new()).collect();
    let mut work: Vec<(Among, Due, ReadItem)> = Vec::new();
    for (account, m, mailbox) in accounts
        .iter()
        .enumerate()
        .flat_map(|(a, mailboxes)| mailboxes.iter().enumerate().map(move |(m, mailbox)| (a, m, mailbox)))
    {
        let mut entries: Vec<_> = mailbox.messages().collect();
        // Inode order is close to physical order, and what a spinning disk likes.
        entries.sort_by_key(|(_, e)| e.ino);
        for (entry, e) in entries {
            if !wanted(job, mailbox, e) {
                continue;
            }
            let at = At { mailbox: m, entry };
            match night.as_mut().map_or(Due::Always, |night| night.due(mailbox, entry)) {
                Due::Later => put_off[account].push(at),
                due => work.extend(item(job, mailbox, e).map(|item| ((account, at), due, item))),
            }
        }
    }
    let work = job.store_lane().arrange(work, &|(_, _, item)| item);
    let by_path: HashMap<RelPath, Among> = work.iter().map(|(at, _, item)| (item.path.clone(), *at)).collect();
    let late = |due| due == Due::Tonight && night.as_ref().is_some_and(Night::over);
    let mut items = work.into_iter().filter_map(|((account, at), due, item)| {
        if late(due) {
            put_off[account].push(at);
            return None;
        }
        Some(item)
    });
    job.read_arranged(&mut items, &mut |job, item, result| {
        if let Some(&at) = by_path.get(&item.path) {
            each(job, at, item, result);
        }
    });
    drop(items);
    job.night = night;
    put_off
}
