//! Looks for copies of a message in the sources: by its key, wherever in the account that stands, then by its
//! size. Only what may be a copy is read.

use super::account::{Account, EngineError, Mailbox, is_message};
use super::foreign::Holdings;
use super::harm::{Harm, Haul};
use super::job::Job;
use super::lane::Listing;
use super::mbox::Numbers;
use super::sdbox;
use crate::model::Key;
use crate::model::form::Form;
use crate::model::message::CopyFacts;
use crate::model::wire::{Effort, Entry, Place, ReadItem, ReadMode, Reading, Trouble};
use crate::model::{Digest, Format, RelPath, Stamp};
use crate::plan::Identity;
use crate::store::dovecot::Guid;
use crate::store::maildir::{is_mail_folder_name, name};
use crate::store::{self, mdbox};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Candidates of one size that are read for one message at most.
const SIZE_CANDIDATES: usize = 16;

/// Messages by the size that their names tell: mailbox and entry.
type BySize = HashMap<u64, Vec<(RelPath, Entry)>>;
/// Who asked for a file, and with which digest.
type Waiting = HashMap<(RelPath, Option<Digest>, Form), Vec<(usize, Found)>>;

/// Some messages of a mailbox, and their content.
pub type Proof = Vec<(Key, Digest)>;

/// One mailbox of one generation.
pub struct Shelf {
    pub listing: Listing,
    by_key: HashMap<Key, Vec<usize>>,
    /// By the names of files without flags: what their messages go by, where that is another name.
    called: HashMap<Vec<u8>, Vec<u8>>,
    /// Names mean the same messages as in the store.
    pub same: bool,
}

impl Shelf {
    /// The first file of each key that is a message.
    pub fn messages(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.by_key.iter().filter_map(|(key, at)| Some((key, self.listing.entries.get(*at.first()?)?)))
    }

    pub fn get(&self, key: &Key) -> impl Iterator<Item = &Entry> {
        self.by_key.get(key).into_iter().flatten().filter_map(|&at| self.listing.entries.get(at))
    }

    /// The name that a file has where the message came from, with its flags as they are here: dsync gives files new
    /// names, and notes the old ones.
    pub fn name_of(&self, entry: &Entry) -> Vec<u8> {
        let base = name::base(&entry.name);
        match self.called.get(base) {
            Some(guid) => [guid, &entry.name[base.len()..]].concat(),
            None => entry.name.clone(),
        }
    }

    pub fn top(&self) -> impl Iterator<Item = &Entry> {
        self.listing.entries.iter().filter(|e| e.place == Place::Top)
    }
}

/// One account in one generation of one source.
struct View {
    /// Its folder there; `None` where the location cannot hold this account.
    dir: Option<RelPath>,
    /// Mailbox folders below `dir` with their formats, once they were looked for, and whether that look was complete.
    boxes: Option<(BTreeMap<RelPath, Format>, bool)>,
    shelves: BTreeMap<RelPath, Shelf>,
    /// Where each key stands in any mailbox, once all were listed.
    everywhere: Option<HashMap<Key, Vec<RelPath>>>,
    /// Mailboxes of other formats than the store's, below the generation's root, and what they hold once it was read.
    foreign: Vec<(RelPath, Format)>,
    holdings: Option<Holdings>,
    /// The same by size, as far as names tell it: mailbox and entry, by mailbox and name.
    sized: Option<BySize>,
    /// The same by the GUIDs that the server gave them.
    by_guid: Option<HashMap<Guid, Vec<(RelPath, Entry)>>>,
}

/// One account in all generations of all sources, looked at only as far as needed.
pub struct Sources {
    /// Its folder below the store.
    account: RelPath,
    /// The formats of its mailboxes there; none where nothing of it is known.
    home: BTreeSet<Format>,
    /// Content of some messages of its sdbox mailboxes: proof of what their UIDs mean where no index tells.
    proofs: HashMap<RelPath, Proof>,
    views: Vec<View>,
}

/// A file that may be a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Index into the job's generations.
    pub generation: usize,
    /// Below the generation's root.
    pub path: RelPath,
    pub place: Place,
    pub name: Vec<u8>,
    pub identity: Identity,
    /// What it has to become.
    pub form: Form,
}

impl Sources {
    pub fn new(job: &Job<'_>, account: &Account, mailboxes: &[Mailbox], haul: &Haul) -> Sources {
        let view = |dir| View {
            dir,
            boxes: None,
            shelves: BTreeMap::new(),
            everywhere: None,
            foreign: Vec::new(),
            holdings: None,
            sized: None,
            by_guid: None,
        };
        let there = |m: &&Mailbox| m.folder.is_some() || !m.rows.is_empty();
        Sources {
            account: account.dir.clone(),
            home: mailboxes.iter().filter(there).map(|mailbox| mailbox.format).collect(),
            proofs: sdbox::proofs(mailboxes, haul),
            views: job.generations.iter().map(|g| view(g.account_dir(&account.dir, &account.name))).collect(),
        }
    }

    /// The time of what a generation holds of this account. A mirror without a date in its name is as new as the
    /// newest change that its folders show.
    pub fn content_time(&mut self, job: &mut Job<'_>, generation: usize) -> Result<Stamp, EngineError> {
        let time = job.generations[generation].time;
        if job.generations[generation].dated {
            return Ok(time);
        }
        let mut newest = time;
        for rel in self.boxes(job, generation)?.0 {
            let shelf = self.shelf(job, generation, &rel)?;
            newest = shelf.listing.dirs.iter().map(|(_, stat)| stat.mtime).max().map_or(newest, |t| t.max(newest));
        }
        Ok(newest)
    }

    /// Mailbox folders (below the account) that a generation holds, and whether the walk was complete.
    pub fn boxes(&mut self, job: &mut Job<'_>, generation: usize) -> Result<(Vec<RelPath>, bool), EngineError> {
        self.look(job, generation)?;
        let known = self.views[generation].boxes.as_ref();
        Ok(known.map(|(boxes, complete)| (boxes.keys().cloned().collect(), *complete)).unwrap_or_default())
    }

    /// Looks for the mailboxes of a generation, once.
    fn look(&mut self, job: &mut Job<'_>, generation: usize) -> Result<(), EngineError> {
        if self.views[generation].boxes.is_some() {
            return Ok(());
        }
        let mut boxes = (BTreeMap::new(), true);
        if let Some(dir) = self.views[generation].dir.clone() {
            let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
            let found = job.lanes.lanes[lane].discover(root, &dir)?;
            let absent = |t: &Trouble| matches!(t.errno, Some(2 | 20)) && t.path == dir.as_bytes();
            for trouble in found.obstacles().filter(|t| !absent(t)) {
                boxes.1 = false;
                job.not_checked(trouble);
            }
            let (own, mut foreign): (Vec<_>, Vec<_>) =
                found.mailboxes.into_iter().partition(|m| self.home.is_empty() || self.home.contains(&m.format));
            boxes.0 = own.iter().filter_map(|m| Some((m.dir.strip_prefix(&dir)?, m.format))).collect();
            // Another server calls the folder of an account otherwise.
            let above = dir.parent().filter(|_| own.is_empty() && is_mail_folder_name(dir.name()));
            if let Some(above) = above.filter(|_| !self.home.is_empty()) {
                let found = job.lanes.lanes[lane].discover(root, &above)?;
                foreign.extend(found.mailboxes.into_iter().filter(|m| !self.home.contains(&m.format)));
            }
            self.views[generation].foreign = foreign.into_iter().map(|m| (m.dir, m.format)).collect();
        }
        self.views[generation].boxes = Some(boxes);
        Ok(())
    }

    /// The format of a mailbox in a generation, as far as that was looked at.
    pub fn format(&self, generation: usize, rel: &RelPath) -> Format {
        let known = self.views[generation].boxes.as_ref().and_then(|(boxes, _)| boxes.get(rel));
        known.copied().unwrap_or_else(|| store::format_of(rel, []))
    }

    /// One mailbox of one generation, listed when it is first asked for.
    pub fn shelf(&mut self, job: &mut Job<'_>, generation: usize, rel: &RelPath) -> Result<&Shelf, EngineError> {
        if !self.views[generation].shelves.contains_key(rel) {
            self.look(job, generation)?;
            let format = self.format(generation, rel);
            let listing = match &self.views[generation].dir {
                Some(dir) => {
                    let dir = dir.join_path(rel);
                    let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
                    job.lanes.lanes[lane].list(root, &dir, format, false)?
                }
                None => Listing::default(),
            };
            for trouble in &listing.troubles {
                job.not_checked(trouble);
            }
            let called = self.guids(job, generation, rel, &listing)?;
            let format = store::of(format);
            let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
            let same = self.same_uids(job, generation, rel, &listing)?;
            for (at, entry) in listing.entries.iter().enumerate().filter(|(_, e)| same && is_message(e)) {
                let guid = called.get(name::base(&entry.name));
                by_key.entry(format.key(guid.unwrap_or(&entry.name))).or_default().push(at);
            }
            self.views[generation].shelves.insert(rel.clone(), Shelf { listing, by_key, called, same });
        }
        Ok(&self.views[generation].shelves[rel])
    }

    /// Whether names of files mean the same messages as in the store.
    fn same_uids(
        &self,
        job: &mut Job<'_>,
        generation: usize,
        rel: &RelPath,
        listing: &Listing,
    ) -> Result<bool, EngineError> {
        match self.format(generation, rel) {
            Format::Mbox => {
                let ours = job.numbers.get(&self.account.join_path(rel));
                return Ok(ours.is_none_or(|ours| ours.agree(&Numbers::listed(&listing.entries))));
            }
            Format::Sdbox | Format::Mdbox => {}
            Format::Maildir | Format::Mh | Format::Eml => return Ok(true),
        }
        if !listing.exists() {
            return Ok(true);
        }
        let Some(theirs) = self.views[generation].dir.as_ref().map(|dir| dir.join_path(rel)) else { return Ok(true) };
        let known = self.proofs.get(rel).map_or(&[][..], Vec::as_slice);
        let ours = (&self.account.join_path(rel), known);
        sdbox::same_uids(job, ours, (generation, &theirs), listing)
    }

    /// A mailbox that was listed before.
    pub fn known_shelf(&self, generation: usize, rel: &RelPath) -> Option<&Shelf> {
        self.views[generation].shelves.get(rel)
    }

    /// What a generation's server calls the files of one mailbox, if it says so.
    fn guids(
        &self,
        job: &mut Job<'_>,
        generation: usize,
        rel: &RelPath,
        listing: &Listing,
    ) -> Result<HashMap<Vec<u8>, Vec<u8>>, EngineError> {
        let kept = listing.entries.iter().any(|e| e.place == Place::Top && e.name == b"dovecot-uidlist");
        let Some(dir) = self.views[generation].dir.as_ref().filter(|_| kept) else { return Ok(HashMap::new()) };
        let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
        let guids = job.lanes.lanes[lane].guids(root, &dir.join_path(rel))?;
        Ok(guids.into_iter().filter(|(_, guid)| name::goes_by(guid)).collect())
    }

    /// Lists every mailbox of the account in one generation; the mailboxes that hold each key.
    fn everywhere(&mut self, job: &mut Job<'_>, generation: usize) -> Result<&HashMap<Key, Vec<RelPath>>, EngineError> {
        if self.views[generation].everywhere.is_none() {
            let mut all: HashMap<Key, Vec<RelPath>> = HashMap::new();
            for rel in self.boxes(job, generation)?.0 {
                for (key, _) in self.shelf(job, generation, &rel)?.messages() {
                    all.entry(key.clone()).or_default().push(rel.clone());
                }
            }
            self.views[generation].everywhere = Some(all);
        }
        Ok(self.views[generation].everywhere.get_or_insert_with(HashMap::new))
    }

    /// Path below the generation's root.
    pub fn path(&self, generation: usize, rel: &RelPath, entry: &Entry) -> Option<RelPath> {
        let mailbox = self.views[generation].dir.as_ref()?.join_path(rel);
        store::message_path(self.format(generation, rel), &mailbox, entry.place, &entry.name)
    }

    /// The account's folder in a generation.
    pub fn account_dir(&self, generation: usize) -> Option<&RelPath> {
        self.views[generation].dir.as_ref()
    }

    /// Files of one generation that may be copies of a message: the same key in the same mailbox, else in
    /// another one, else (where `size` is known) files of that size in the same mailbox.
    pub fn find(
        &mut self,
        job: &mut Job<'_>,
        generation: usize,
        rel: &RelPath,
        key: &Key,
        size: Option<u64>,
    ) -> Result<Vec<Found>, EngineError> {
        let same: Vec<Entry> = self.shelf(job, generation, rel)?.get(key).cloned().collect();
        if !same.is_empty() {
            return Ok(self.named(generation, rel, &same, Identity::Key));
        }
        let travels = store::of(self.format(generation, rel)).keys_travel();
        let others = match travels {
            true => self.everywhere(job, generation)?.get(key).cloned().unwrap_or_default(),
            false => Vec::new(),
        };
        for other in others {
            let there: Vec<Entry> = self.shelf(job, generation, &other)?.get(key).cloned().collect();
            if !there.is_empty() {
                return Ok(self.named(generation, &other, &there, Identity::Key));
            }
        }
        let Some(size) = size else { return Ok(Vec::new()) };
        let sized = self.sized(job, generation)?.get(&size).cloned().unwrap_or_default();
        let named =
            sized.iter().flat_map(|(rel, e)| self.named(generation, rel, std::slice::from_ref(e), Identity::Size));
        Ok(named.collect())
    }

    /// Messages of one generation that have a GUID, a copy in the same mailbox first; where none does, those of the key of
    /// which no GUID is known.
    pub fn find_by_guid(
        &mut self,
        job: &mut Job<'_>,
        generation: usize,
        (rel, key): (&RelPath, &Key),
        guid: Guid,
    ) -> Result<Vec<Found>, EngineError> {
        if self.views[generation].by_guid.is_none() {
            let mut all: HashMap<Guid, Vec<(RelPath, Entry)>> = HashMap::new();
            for rel in self.boxes(job, generation)?.0 {
                for entry in self.shelf(job, generation, &rel)?.listing.entries.iter().filter(|e| is_message(e)) {
                    let named = mdbox::Named::parse(&entry.name).filter(|named| !named.lost);
                    let guid = named.and_then(|named| named.guid);
                    guid.into_iter().for_each(|guid| all.entry(guid).or_default().push((rel.clone(), entry.clone())));
                }
            }
            self.views[generation].by_guid = Some(all);
        }
        let known = self.views[generation].by_guid.as_ref().and_then(|all| all.get(&guid));
        let mut known = known.cloned().unwrap_or_default();
        if known.is_empty() {
            let mut found = self.find(job, generation, rel, key, None)?;
            found.retain(|found| mdbox::Named::parse(&found.name).is_some_and(|named| named.guid.is_none()));
            return Ok(found);
        }
        known.sort_by_key(|(other, _)| other != rel);
        let named =
            |(rel, entry): &(RelPath, Entry)| self.named(generation, rel, std::slice::from_ref(entry), Identity::Key);
        Ok(known.iter().take(SIZE_CANDIDATES).flat_map(named).collect())
    }

    /// Files of one generation in other formats than the store's that may be copies of a message.
    pub fn find_foreign(
        &mut self,
        job: &mut Job<'_>,
        generation: usize,
        harm: &Harm,
        format: Format,
    ) -> Result<Vec<Found>, EngineError> {
        self.look(job, generation)?;
        let view = &mut self.views[generation];
        if view.foreign.is_empty() {
            return Ok(Vec::new());
        }
        // Only the server knows GUID and date of a message in sdbox: they come from what is left of its frame.
        let marks = harm.facts.as_ref().filter(|_| harm.present).and_then(|facts| facts.marks.as_ref());
        if format == Format::Sdbox && marks.is_none() {
            return Ok(Vec::new());
        }
        if view.holdings.is_none() {
            view.holdings = Some(Holdings::read(job, generation, &view.foreign)?);
        }
        Ok(view.holdings.as_ref().map(|holdings| holdings.find(generation, harm, format)).unwrap_or_default())
    }

    /// The first files of each size in one generation.
    fn sized(&mut self, job: &mut Job<'_>, generation: usize) -> Result<&BySize, EngineError> {
        if self.views[generation].sized.is_none() {
            let mut all = BySize::new();
            for rel in self.boxes(job, generation)?.0 {
                let format = store::of(self.format(generation, &rel));
                let mut entries: Vec<&Entry> = self.shelf(job, generation, &rel)?.messages().map(|(_, e)| e).collect();
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                for entry in entries {
                    let Some(size) = format.claims(&entry.name).0 else { continue };
                    let same = all.entry(size).or_default();
                    if same.len() < SIZE_CANDIDATES {
                        same.push((rel.clone(), entry.clone()));
                    }
                }
            }
            self.views[generation].sized = Some(all);
        }
        Ok(self.views[generation].sized.get_or_insert_with(HashMap::new))
    }

    fn named(&self, generation: usize, rel: &RelPath, entries: &[Entry], identity: Identity) -> Vec<Found> {
        let found = |entry: &Entry| {
            let path = self.path(generation, rel, entry)?;
            let (place, name) = (entry.place, entry.name.clone());
            Some(Found { generation, path, place, name, identity, form: Form::default() })
        };
        entries.iter().filter_map(found).collect()
    }
}

/// Whether two copies under one name say that they are the same message.
pub fn same_message(own: &CopyFacts, copy: &CopyFacts) -> bool {
    let id = |facts: &CopyFacts| facts.envelope.as_ref().and_then(|envelope| envelope.message_id.clone());
    id(own).is_some_and(|own| Some(own) == id(copy))
}

/// Reads candidates of one generation, several in flight. The index is the caller's.
pub fn read(
    job: &mut Job<'_>,
    generation: usize,
    wanted: Vec<(usize, Found, Option<Digest>)>,
) -> Vec<(usize, Found, Reading)> {
    let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
    // By the digest, too: what two patients expect of one file need not be the same.
    let mut waiting = Waiting::new();
    let mut items = Vec::new();
    for (index, found, expected) in wanted {
        let format = store::split_message_path(&found.path).map_or_else(Format::default, |(format, _, _)| format);
        let (size_claim, crlf_claim) = store::of(format).claims(&found.name);
        items.push(ReadItem {
            id: 0,
            root,
            path: found.path.clone(),
            mode: ReadMode::Message,
            form: found.form.clone(),
            format,
            file: None,
            expected,
            size_claim,
            crlf_claim,
            envelope: true,
            medium: false,
            effort: Effort::Pages,
            groups: false,
            deep: true,
        });
        waiting.entry((found.path.clone(), expected, found.form.clone())).or_default().push((index, found));
    }
    let mut done = Vec::new();
    job.read_lane(lane, &mut items.into_iter(), &mut |_, item, result| {
        if let Some((index, found)) = waiting.get_mut(&(item.path, item.expected, item.form)).and_then(Vec::pop) {
            done.push((index, found, result));
        }
    });
    done
}
