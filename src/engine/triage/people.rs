//! What the messages of a sample are worth, and whose accounts lie on which device.
//!
//! Asks the catalog, where there is one; touches no store.

use super::gather::Gathered;
use super::places::{Place, Unit};
use crate::catalog::{Catalog, CatalogError, MailboxId, MessageRow, StoreId};
use crate::model::event::{Finding, Subject};
use crate::model::triage::{Hit, Sample, Sampled, Seen};
use crate::model::wire::Trouble;
use crate::model::{Assurance, Check, Fault, FaultKind, RelPath, Span, Verdict, path};
use crate::store;
use crate::store::maildir;
use crate::sys::mounts;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Findings of one run that are shown one by one, and errors of one device.
const FINDINGS: usize = 200;
const ERRORS: usize = 20;

/// What an error says of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It did not give what was asked for.
    Read,
    /// It is not there any more.
    Absent,
    /// What it gave is no file system.
    Corrupt,
    /// Nothing: permission, a file that went away.
    None,
}

fn blame(trouble: &Trouble) -> Blame {
    match trouble.errno {
        // EIO ENODATA ETIME ETIMEDOUT EREMOTEIO EILSEQ EBADE
        Some(5 | 61 | 62 | 110 | 121 | 84 | 52) => Blame::Read,
        // ENXIO ENODEV ENOTCONN ESHUTDOWN ESTALE EHOSTDOWN EHOSTUNREACH ENOMEDIUM ENOLINK
        Some(6 | 19 | 107 | 108 | 116 | 112 | 113 | 123 | 67) => Blame::Absent,
        // EBADMSG EUCLEAN
        Some(74 | 117) => Blame::Corrupt,
        _ => Blame::None,
    }
}

/// The catalog's part, asked as far as needed. A run goes on without it.
pub struct Records<'a> {
    catalog: Option<&'a Catalog>,
    stores: HashMap<PathBuf, Option<StoreId>>,
    mailboxes: HashMap<(StoreId, RelPath), Option<MailboxId>>,
    pub failures: u64,
    pub notes: Vec<String>,
}

impl<'a> Records<'a> {
    pub fn new(catalog: Option<&'a Catalog>) -> Records<'a> {
        Records { catalog, stores: HashMap::new(), mailboxes: HashMap::new(), failures: 0, notes: Vec::new() }
    }

    /// An answer, if the catalog gave one. After the first failure it is not asked again.
    fn asked<T>(&mut self, result: Result<T, CatalogError>) -> Option<T> {
        match result {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.failures += 1;
                self.notes.push(format!("without the catalog: {error}"));
                self.catalog = None;
                None
            }
        }
    }

    fn store(&mut self, store: &Path) -> Option<StoreId> {
        if let Some(known) = self.stores.get(store) {
            return *known;
        }
        let found = self.catalog?.find_store(store.as_os_str().as_bytes());
        let id = self.asked(found).flatten();
        self.stores.insert(store.to_owned(), id);
        id
    }

    /// Folders of the accounts that had mail when they were last verified.
    fn accounts(&mut self, store: &Path) -> Vec<RelPath> {
        let Some(id) = self.store(store) else { return Vec::new() };
        let Some(found) = self.catalog.map(|catalog| catalog.accounts(id)) else { return Vec::new() };
        let rows = self.asked(found).unwrap_or_default();
        rows.into_iter().filter(|row| row.mailboxes > 0).map(|row| row.dir).collect()
    }

    fn message(&mut self, store: &Path, message: &RelPath) -> Option<MessageRow> {
        let id = self.store(store)?;
        let (format, dir, file) = store::split_message_path(message)?;
        let key = (id, dir);
        let mailbox = match self.mailboxes.get(&key) {
            Some(known) => *known,
            None => {
                let found = self.catalog?.find_mailbox(id, &key.1);
                let row = self.asked(found).flatten().map(|row| row.id);
                self.mailboxes.insert(key, row);
                row
            }
        };
        let found = self.catalog?.message(mailbox?, &store::of(format).key(file));
        let row = self.asked(found).flatten()?;
        // Another message may bear such a name by now: then the content alone has to tell.
        Some(MessageRow { suspect: row.suspect || !store::of(format).keys_last(), ..row })
    }
}

/// What the sample of one device came to.
#[derive(Debug, Default)]
pub struct Counted {
    pub whole: u64,
    pub read_errors: u64,
    pub absent_errors: u64,
    pub corrupt: u64,
    pub damaged: u64,
    pub not_checked: u64,
    pub sample: Sample,
    pub reads: Vec<u32>,
    pub errors: Vec<(String, String)>,
}

impl Counted {
    fn trouble(&mut self, place: &Place, trouble: &Trouble) {
        match blame(trouble) {
            Blame::Read => self.read_errors += 1,
            Blame::Absent => self.absent_errors += 1,
            Blame::Corrupt => self.corrupt += 1,
            Blame::None => {}
        }
        self.not_checked += 1;
        if self.errors.len() < ERRORS {
            let at = place.path.join(std::ffi::OsStr::from_bytes(&trouble.path));
            let what = format!("{}: {}", trouble.operation, trouble.detail);
            self.errors.push((path::escape(at.as_os_str().as_bytes()), what));
        }
    }

    /// One message of the sample, by what it turned out to be.
    fn message(&mut self, file: &Sampled, verdict: Verdict) {
        // Encrypted mail that nothing was recorded of says nothing, whatever it holds.
        if verdict == Verdict::Undetermined {
            return;
        }
        let bad = u64::from(matches!(verdict, Verdict::Damaged | Verdict::Unreadable));
        self.sample.checked += 1;
        self.sample.damaged += bad;
        if file.uniform {
            self.sample.uniform += 1;
            self.sample.uniform_damaged += bad;
        }
    }
}

/// Counts what a device gave, beside what the catalog knows; damaged messages go to `findings`.
pub fn count(
    places: &[Place],
    gathered: &mut Gathered,
    records: &mut Records<'_>,
    findings: &mut Vec<Finding>,
) -> Counted {
    let mut counted = Counted::default();
    for (place, trouble) in &gathered.troubles {
        counted.trouble(&places[*place], trouble);
    }
    for file in &mut gathered.files {
        counted.reads.append(&mut file.reads);
    }
    for file in &gathered.files {
        let place = &places[file.root as usize];
        let (verdict, faults) = match &file.seen {
            Ok(seen) => {
                counted.whole += 1;
                judged(seen, records.message(&place.store, &place.rel.join_path(&file.path)))
            }
            Err(trouble) => match blame(trouble) {
                Blame::None => {
                    counted.trouble(place, trouble);
                    continue;
                }
                what => {
                    counted.read_errors += u64::from(what == Blame::Read);
                    counted.absent_errors += u64::from(what == Blame::Absent);
                    counted.corrupt += u64::from(what == Blame::Corrupt);
                    let fault = |kind| Fault { check: Check::Read, kind, span: Span::new(0, 0), errno: trouble.errno };
                    (Verdict::Unreadable, vec![fault(FaultKind::ReadError)])
                }
            },
        };
        counted.damaged += u64::from(verdict == Verdict::Damaged);
        counted.message(file, verdict);
        if matches!(verdict, Verdict::Damaged | Verdict::Unreadable) && findings.len() < FINDINGS {
            findings.push(finding(place, file, verdict, faults));
        }
    }
    counted
}

/// What was recorded proves more than any check of the content.
fn judged(seen: &Seen, row: Option<MessageRow>) -> (Verdict, Vec<Fault>) {
    let clean = seen.verdict.is_intact();
    let expected = row.filter(|row| !(row.suspect && clean)).and_then(|row| row.digest);
    match (seen.digest, expected) {
        (Some(is), Some(should)) if is == should => (Verdict::Intact(Assurance::Identical), Vec::new()),
        (Some(_), Some(_)) => {
            let mut faults = seen.faults.clone();
            let kind = FaultKind::DigestMismatch;
            faults.push(Fault { check: Check::Digest, kind, span: Span::new(0, 0), errno: None });
            (Verdict::Damaged, faults)
        }
        _ => (seen.verdict, seen.faults.clone()),
    }
}

fn finding(place: &Place, file: &Sampled, verdict: Verdict, faults: Vec<Fault>) -> Finding {
    let message = place.rel.join_path(&file.path);
    let account = place.rel.join_path(&file.account);
    let (format, dir, file_name) = store::split_message_path(&message).unwrap_or_default();
    let mut words: Vec<&str> = faults.iter().map(|fault| fault.kind.words()).collect();
    words.dedup();
    Finding {
        subject: Subject::Message,
        store: path::escape(place.store.as_os_str().as_bytes()),
        account: maildir::account_name(&account, &place.store),
        mailbox: store::of(format).mailbox_name(&dir.strip_prefix(&account).unwrap_or_default()),
        key: Some(store::of(format).key(file_name)),
        uid: None,
        guid: None,
        path: message.clone(),
        size: Some(file.size),
        device: place.mount.as_ref().map(|mount| mounts::device_name(mount.dev)),
        internal_date: None,
        verdict,
        checks: Vec::new(),
        reason: words.join(", "),
        faults,
        signed: None,
        envelope: None,
        action: None,
        outcome: None,
        accepted: false,
    }
}

/// An account, and where it lies.
#[derive(Debug, Default)]
pub struct Owner {
    pub places: BTreeSet<usize>,
    /// It was seen, and nothing in it refused to be looked into.
    pub listed: bool,
}

/// By store and folder.
pub type Owners = BTreeMap<(PathBuf, RelPath), Owner>;

/// Every account that was seen or is on record.
pub fn owners(places: &[Place], gathered: &[Gathered], records: &mut Records<'_>) -> Owners {
    let mut owners = Owners::new();
    for (place, dir) in gathered.iter().flat_map(|g| &g.accounts) {
        let Place { store, rel, .. } = &places[*place];
        let owner = owners.entry((store.clone(), rel.join_path(dir))).or_default();
        owner.places.insert(*place);
        owner.listed = true;
    }
    let stores: BTreeSet<&PathBuf> = places.iter().map(|place| &place.store).collect();
    for store in stores {
        for dir in records.accounts(store) {
            let on = places.iter().enumerate().filter(|(_, p)| p.store == *store && dir.strip_prefix(&p.rel).is_some());
            let deepest = on.max_by_key(|(_, p)| p.rel.as_bytes().len());
            owners.entry((store.clone(), dir)).or_default().places.extend(deepest.map(|(at, _)| at));
        }
    }
    // What begins inside an account is a part of it, on a file system of its own.
    let inner: Vec<(PathBuf, RelPath)> = owners.keys().filter(|key| above(&owners, key).is_some()).cloned().collect();
    for key in inner {
        let (Some(outer), Some(owner)) = (above(&owners, &key), owners.remove(&key)) else { continue };
        owners.entry(outer).or_default().places.extend(owner.places);
    }
    for (place, trouble) in gathered.iter().flat_map(|g| &g.troubles) {
        let Place { store, rel, .. } = &places[*place];
        let Ok(at) = RelPath::new(trouble.path.clone()) else { continue };
        let at = (store.clone(), rel.join_path(&at));
        let hit = if owners.contains_key(&at) { Some(at) } else { above(&owners, &at) };
        if let Some(owner) = hit.and_then(|key| owners.get_mut(&key)) {
            owner.listed = false;
        }
    }
    owners
}

/// The account around a folder.
fn above(owners: &Owners, (store, dir): &(PathBuf, RelPath)) -> Option<(PathBuf, RelPath)> {
    let mut at = dir.parent();
    while let Some(folder) = at {
        at = folder.parent();
        let key = (store.clone(), folder);
        if owners.contains_key(&key) {
            return Some(key);
        }
    }
    None
}

/// The accounts on one device.
pub fn hits(unit: &Unit, places: &[Place], owners: &Owners) -> Vec<Hit> {
    let on = |place: &usize| unit.places.contains(place);
    let inside = |store: &PathBuf, dir: &RelPath| {
        unit.places.iter().any(|&at| {
            places[at].store == *store && places[at].rel.strip_prefix(dir).is_some() && !places[at].rel.is_root()
        })
    };
    let hit = |((store, dir), owner): (&(PathBuf, RelPath), &Owner)| Hit {
        store: path::escape(store.as_os_str().as_bytes()),
        account: maildir::account_name(dir, store),
        listed: owner.listed,
    };
    let mut hits: Vec<Hit> = owners
        .iter()
        .filter(|((store, dir), owner)| owner.places.iter().any(on) || inside(store, dir))
        .map(hit)
        .collect();
    hits.sort();
    hits.dedup();
    hits
}
