//! Lists one mailbox for the parent: its entries with their metadata, or only the seal of what is as it was.
//!
//! Runs in the lane only. May not open a message.

use super::sealing::{Sealing, moved};
use super::serve::{Shop, entry_kind, trouble};
use super::shared;
use crate::model::limits::LIST_BATCH;
use crate::model::wire::{Answer, Entry, EntryKind, Place, Trouble};
use crate::model::{Format, RelPath, Stamp, Stat};
use crate::store;
use crate::sys::dir::{Dir, Root};
use crate::sys::fs::Kind;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Entries after which a listing may say that it moves on: the slowest disk looks at so many within a time-out.
const NAMED_EACH: u64 = 16;
/// And says so no more often than this: naming each would cost as much as the look at it.
const NAMED_AFTER: Duration = Duration::from_millis(50);

/// How a mailbox is to be listed.
#[derive(Clone, Copy)]
pub struct Manner {
    pub format: Format,
    pub stat: bool,
    /// Messages go into the seal and nowhere else; the times that the folders had.
    pub again: Option<[Stamp; 4]>,
}

/// Lists a mailbox and answers.
pub fn list(shop: &Shop, id: u64, number: u32, dir: &RelPath, manner: Manner) -> io::Result<()> {
    let Manner { format, stat, again } = manner;
    let mut listing = Listing {
        shop,
        id,
        number,
        format,
        batch: Vec::new(),
        troubles: Vec::new(),
        dirs: Vec::new(),
        steps: 0,
        named: Instant::now(),
        names: Names::default(),
        seal: stat.then(Sealing::default),
        again: again.is_some(),
    };
    shop.name(id, 0);
    match shop.root(number, dir.as_bytes()) {
        Ok(root) if again.is_some_and(|times| moved(root, dir, times)) => listing.seal = None,
        Ok(root) if format.is_packed() => listing.packed(root, dir)?,
        Ok(root) => {
            listing.place(root, dir, Place::Top, stat)?;
            // `new` before `cur`: what a program moves on meanwhile is seen at least once.
            let subfolders = store::of(format).subfolders();
            let places = [Place::New, Place::Cur, Place::Tmp].into_iter();
            for place in places.filter(|place| subfolders.contains(&place.dir())) {
                listing.place(root, dir, place, stat)?;
            }
        }
        Err(trouble) => listing.troubles.push(trouble),
    }
    listing.flush()?;
    shop.aside(id, listing.troubles, Vec::new())?;
    let seal = listing.seal.map(Sealing::finish);
    shop.send(&Answer::EntriesEnd { id, dirs: listing.dirs, seal })
}

/// One mailbox's listing on its way to the parent.
struct Listing<'a> {
    shop: &'a Shop,
    id: u64,
    number: u32,
    format: Format,
    batch: Vec<Entry>,
    troubles: Vec<Trouble>,
    dirs: Vec<(Place, Stat)>,
    steps: u64,
    /// When it last said that it moves on.
    named: Instant,
    names: Names,
    seal: Option<Sealing>,
    again: bool,
}

/// What a folder holds, in one buffer: a name of its own on the heap for each would cost more than the look at it.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    all: Vec<Named>,
}

#[derive(Clone)]
struct Named {
    at: Range<usize>,
    place: Place,
    kind: EntryKind,
    ino: u64,
}

impl Names {
    fn push(&mut self, name: &[u8], place: Place, kind: Kind, ino: u64) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.all.push(Named { at: from..self.bytes.len(), place, kind: entry_kind(kind), ino });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.all.clear();
    }
}

impl Listing<'_> {
    /// All messages of one container.
    fn packed(&mut self, root: &Root, dir: &RelPath) -> io::Result<()> {
        let (shop, id) = (self.shop, self.id);
        let contents = shared::list_any(root, self.number, dir, &shop.reader(&|progress| shop.name(id, progress)));
        // The folder of mdbox has times of its own, which tell nothing of the messages.
        let places: &[Place] = match self.format {
            Format::Mdbox => &[Place::Top, Place::Cur],
            _ => &[Place::Top, Place::New, Place::Cur],
        };
        self.dirs.extend(contents.stat.into_iter().flat_map(|stat| places.iter().map(move |&place| (place, stat))));
        self.troubles = contents.troubles;
        contents
            .entries
            .chunks(LIST_BATCH)
            .try_for_each(|part| shop.send(&Answer::Entries { id, entries: part.to_vec() }))
    }

    fn place(&mut self, root: &Root, mailbox: &RelPath, place: Place, stat: bool) -> io::Result<()> {
        let path = if place == Place::Top { mailbox.clone() } else { mailbox.join(place.dir()).unwrap_or_default() };
        self.steps += 1;
        self.shop.name(self.id, self.steps);
        let dir = match root.open_dir(&path) {
            Ok(dir) => dir,
            // A mailbox may lack `new` or `tmp`; that it lacks itself is for the parent to know.
            Err(error) if error.kind() == io::ErrorKind::NotFound && place != Place::Top => return Ok(()),
            Err(error) => {
                self.troubles.push(trouble(self.number, path.as_bytes(), "open folder", &error));
                return Ok(());
            }
        };
        match dir.stat_self() {
            // Where messages lie in the mailbox's own folder, its times are those of their places too.
            Ok(stat) => match store::of(self.format).subfolders() {
                [] => self.dirs.extend([Place::Top, Place::New, Place::Cur].map(|place| (place, stat))),
                _ => self.dirs.push((place, stat)),
            },
            Err(error) => self.troubles.push(trouble(self.number, path.as_bytes(), "stat folder", &error)),
        }
        let mut names = std::mem::take(&mut self.names);
        names.clear();
        if let Err(error) = self.names_of(&dir, place, &mut names) {
            self.troubles.push(trouble(self.number, path.as_bytes(), "list folder", &error));
        }
        for named in names.all.drain(..) {
            self.entry(&dir, &path, &names.bytes[named.at.clone()], named, stat || place == Place::Tmp)?;
        }
        self.names = names;
        Ok(())
    }

    /// All names first and the looks at them later: a listing that took its time would miss what is renamed meanwhile.
    fn names_of(&self, dir: &Dir, place: Place, names: &mut Names) -> io::Result<()> {
        let store = store::of(self.format);
        dir.entries(&mut |name, kind, ino| {
            // A folder of half a million names takes its time on a slow disk, and is no hang.
            if names.all.len() % 1024 == 1023 {
                self.shop.name(self.id, self.steps + names.all.len() as u64);
            }
            // What is no file, but has the name of a message, is told; folders are mailboxes of their own.
            let posed = kind != Kind::Directory && store.place(name) == Some(Place::Cur);
            let wanted = place != Place::Top || kind == Kind::File || posed;
            if wanted && !(place != Place::Top && name.starts_with(b".")) {
                names.push(name, store.place(name).unwrap_or(place), kind, ino);
            }
            Ok(())
        })
    }

    fn entry(&mut self, dir: &Dir, path: &RelPath, name: &[u8], named: Named, look: bool) -> io::Result<()> {
        let Named { place, mut kind, ino, .. } = named;
        let mut stat = None;
        if look {
            self.moves_on();
            match dir.stat(name) {
                Ok(Some((now, found))) => (kind, stat) = (entry_kind(now), Some(found)),
                // It vanished since it was listed.
                Ok(None) => return Ok(()),
                Err(error) => {
                    let path = [path.as_bytes(), b"/", name].concat();
                    self.troubles.push(trouble(self.number, &path, "stat", &error));
                }
            }
        }
        if let Some(seal) = &mut self.seal {
            seal.add(place, kind, name, stat.as_ref());
        }
        if self.again && matches!(place, Place::New | Place::Cur) {
            return Ok(());
        }
        self.batch.push(Entry { place, name: name.to_vec(), ino, kind, stat });
        if self.batch.len() >= LIST_BATCH { self.flush() } else { Ok(()) }
    }

    fn moves_on(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(NAMED_EACH) && self.named.elapsed() >= NAMED_AFTER {
            self.shop.name(self.id, self.steps);
            self.named = Instant::now();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.shop.send(&Answer::Entries { id: self.id, entries: std::mem::take(&mut self.batch) })
    }
}
