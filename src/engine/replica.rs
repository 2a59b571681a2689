//! The other side of `--against`: lists and reads every message of one account on the replica.
//!
//! May not judge what differs: it tells what is there.

use super::account::{self, EngineError};
use super::find::Sources;
use super::job::Job;
use super::scan::MEDIUM_ERRORS;
use crate::model::event::Phase;
use crate::model::evidence::{Check, Evidence, Fault, FaultKind};
use crate::model::form::Form;
use crate::model::message::CopyFacts;
use crate::model::wire::{Effort, Entry, EntryKind, Place, ReadItem, ReadMode, Reading, Trouble};
use crate::model::{Digest, Format, Key, RelPath, Span, Stamp};
use crate::plan::against::is_harmed;
use crate::store::maildir::{self, companion, name};
use std::collections::{BTreeMap, HashMap};

/// What reading one file came to.
#[derive(Debug, Clone)]
pub enum Content {
    Whole(Digest),
    /// Damaged or unreadable.
    Harmed(Box<CopyFacts>),
    /// It could not be checked, which is counted.
    Unread,
}

/// One message file of the replica.
#[derive(Debug, Clone)]
pub struct File {
    /// Below the replica.
    pub path: RelPath,
    pub place: Place,
    /// As the message is called where it came from.
    pub name: Vec<u8>,
    /// When it came there, at the earliest.
    pub arrived: Option<Stamp>,
    pub content: Content,
}

/// One mailbox of the replica.
#[derive(Debug, Default)]
pub struct Folder {
    /// The listing finished, so that what it does not show is not there.
    pub complete: bool,
    pub exists: bool,
    /// Whether a server's list of its messages is there.
    pub witness: bool,
    /// Whether any file of a server is.
    pub companions: bool,
    /// When a message was last put into it or taken from it.
    pub changed: Option<Stamp>,
    /// When a folder was last made or removed in it.
    pub top: Option<Stamp>,
    pub files: BTreeMap<Key, File>,
    /// More files of the same messages.
    pub spare: Vec<(Key, File)>,
}

/// The account as the replica has it.
#[derive(Debug, Default)]
pub struct Replica {
    /// The walk for mailboxes finished.
    pub complete: bool,
    pub folders: BTreeMap<RelPath, Folder>,
    /// Damage or read errors were found in it.
    pub harmed: bool,
}

impl Replica {
    /// Nothing is left of it: no message, no file of a server.
    pub fn blank(&self) -> bool {
        self.complete && self.folders.values().all(|f| f.complete && f.files.is_empty() && !f.companions)
    }

    /// Whether a mailbox was listed whole, or is not there.
    pub fn knows(&self, rel: &RelPath) -> bool {
        self.folders.get(rel).map_or(self.complete, |folder| folder.complete)
    }
}

/// Lists and reads the selected mailboxes of an account.
pub fn read(job: &mut Job<'_>, sources: &mut Sources, generation: usize) -> Result<Replica, EngineError> {
    let (boxes, complete) = sources.boxes(job, generation)?;
    let mut replica = Replica { complete, ..Replica::default() };
    let mut items = Vec::new();
    let mut owners: HashMap<RelPath, (RelPath, Key)> = HashMap::new();
    for rel in boxes {
        if job.options.select.mailbox(&maildir::mailbox_name(&rel)) {
            let folder = list(job, sources, generation, &rel)?;
            for (key, file) in folder.files.iter().chain(folder.spare.iter().map(|(key, file)| (key, file))) {
                items.push(item(job.generations[generation].root, &file.path, false));
                owners.insert(file.path.clone(), (rel.clone(), key.clone()));
            }
            replica.folders.insert(rel, folder);
        }
    }
    job.known_messages += items.len() as u64;
    let mut vanished = Vec::new();
    let lane = job.generations[generation].lane;
    job.read_lane(lane, &mut items.into_iter(), &mut |job, item, result| {
        job.read_messages += 1;
        if job.read_messages.is_multiple_of(256) {
            job.progress(Phase::Verify);
        }
        let Some((rel, key)) = owners.get(&item.path) else { return };
        match content(job, result) {
            Some(content) => replica.learn(rel, key, &item.path, content),
            None => vanished.push((rel.clone(), key.clone(), item.path)),
        }
    });
    again(job, &mut replica, generation, vanished)?;
    Ok(replica)
}

impl Replica {
    fn learn(&mut self, rel: &RelPath, key: &Key, path: &RelPath, content: Content) {
        self.harmed |= matches!(content, Content::Harmed(_));
        let Some(folder) = self.folders.get_mut(rel) else { return };
        let spare = folder.spare.iter_mut().filter(|(of, _)| of == key).map(|(_, file)| file);
        if let Some(file) = folder.files.get_mut(key).into_iter().chain(spare).find(|file| file.path == *path) {
            file.content = content;
        }
    }
}

/// Lists one mailbox of the replica.
fn list(job: &mut Job<'_>, sources: &mut Sources, generation: usize, rel: &RelPath) -> Result<Folder, EngineError> {
    sources.shelf(job, generation, rel)?;
    let root = job.generations[generation].root;
    let mut odd = Vec::new();
    let path = |entry: &Entry| sources.path(generation, rel, entry);
    let Some(shelf) = sources.known_shelf(generation, rel) else { return Ok(Folder::default()) };
    let listing = &shelf.listing;
    let time = |wanted: Place| listing.dirs.iter().find(|(place, _)| *place == wanted).map(|(_, stat)| stat.mtime);
    let mut folder = Folder {
        complete: listing.complete(),
        exists: listing.exists(),
        witness: shelf.top().any(|e| companion::in_mailbox(&e.name).is_some_and(companion::Companion::is_witness)),
        companions: shelf.top().any(|e| companion::in_mailbox(&e.name).is_some()),
        changed: time(Place::New).max(time(Place::Cur)),
        top: time(Place::Top),
        ..Folder::default()
    };
    for entry in listing.entries.iter().filter(|e| matches!(e.place, Place::New | Place::Cur)) {
        let Some(path) = path(entry) else { continue };
        if !account::is_message(entry) {
            odd.push((path, entry.kind));
            continue;
        }
        let name = shelf.name_of(entry);
        let arrived = name::delivered(&name).zip(name::delivered(&entry.name)).map(|(one, other)| one.min(other));
        if !job.options.select.date(arrived) {
            continue;
        }
        let key = name::key(&name);
        let file = File { path, place: entry.place, name, arrived, content: Content::Unread };
        match folder.files.contains_key(&key) {
            true => folder.spare.push((key, file)),
            false => drop(folder.files.insert(key, file)),
        }
    }
    for (path, kind) in odd {
        let detail = match kind {
            EntryKind::Directory => "a folder stands where messages belong",
            EntryKind::Symlink => "a symbolic link is not followed",
            EntryKind::File | EntryKind::Other => "not a regular file",
        };
        job.not_checked(&Trouble {
            root,
            path: path.as_bytes().to_vec(),
            operation: "check".to_owned(),
            errno: None,
            detail: detail.to_owned(),
        });
    }
    Ok(folder)
}

/// The request for one file. What a digest says of it is judged where both sides are known.
pub fn item(root: u32, path: &RelPath, deep: bool) -> ReadItem {
    let claims = name::parse(path.name());
    ReadItem {
        id: 0,
        root,
        path: path.clone(),
        mode: ReadMode::Message,
        form: Form::default(),
        format: Format::Maildir,
        file: None,
        expected: None,
        size_claim: claims.size,
        crlf_claim: claims.crlf,
        envelope: true,
        medium: false,
        effort: Effort::Pages,
        groups: false,
        deep,
    }
}

/// Facts of a file that the medium did not give; `None` for any other trouble.
pub fn unreadable(trouble: &Trouble) -> Option<CopyFacts> {
    let errno = trouble.errno.filter(|errno| MEDIUM_ERRORS.contains(errno))?;
    let kind = if errno == 110 { FaultKind::ReadTimeout } else { FaultKind::ReadError };
    let mut evidence = Evidence::default();
    evidence.blame(Fault { check: Check::Read, kind, span: Span::new(0, 0), errno: trouble.errno });
    Some(CopyFacts { evidence, ..CopyFacts::default() })
}

/// What an answer of the lane means; `None` for a file that was taken away or renamed meanwhile.
fn content(job: &mut Job<'_>, result: Reading) -> Option<Content> {
    let facts = match result {
        Ok(facts) => facts,
        Err(trouble) if trouble.errno == Some(2) => return None,
        Err(trouble) => match unreadable(&trouble) {
            Some(facts) => facts,
            None => {
                job.not_checked(&trouble);
                return Some(Content::Unread);
            }
        },
    };
    let sides = job.tally.sides.get_or_insert_default();
    sides.messages += 1;
    sides.bytes += facts.stat.size;
    sides.read_errors += u64::from(facts.evidence.get(Check::Read) == crate::model::Outcome::Fail);
    Some(match facts.canonical_digest() {
        Some(digest) if !is_harmed(&facts) => Content::Whole(digest),
        _ => Content::Harmed(Box::new(facts)),
    })
}

/// Files that vanished under the reader, once more under their present names; what is gone by now is in flux, and no
/// difference.
fn again(
    job: &mut Job<'_>,
    replica: &mut Replica,
    generation: usize,
    vanished: Vec<(RelPath, Key, RelPath)>,
) -> Result<(), EngineError> {
    let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
    for (rel, key, path) in vanished {
        let Some((dir, _)) = maildir::split_message_path(&path) else { continue };
        let fresh = job.lanes.lanes[lane].list(root, &dir, Format::Maildir, false)?;
        let base = name::key(path.name());
        let now = fresh.entries.iter().find(|e| account::is_message(e) && name::key(&e.name) == base);
        let Some(path) = now.and_then(|entry| name::message_path(&dir, entry.place, &entry.name)) else { continue };
        let result = job.lanes.lanes[lane].read_one(item(root, &path, false));
        let content = match result {
            Err(trouble) if trouble.errno == Some(2) => {
                job.not_checked(&trouble);
                None
            }
            other => content(job, other),
        };
        if let (Some(content), Some(file)) =
            (content, replica.folders.get_mut(&rel).and_then(|folder| folder.files.get_mut(&key)))
        {
            replica.harmed |= matches!(content, Content::Harmed(_));
            (file.path, file.content) = (path, content);
        }
    }
    Ok(())
}
