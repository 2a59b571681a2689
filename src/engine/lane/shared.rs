//! Messages of an account that lie in files which all its mailboxes share (mdbox): lists what a mailbox shows, and reads
//! each message in its place.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::examine::{BUFFER, Reader, Subject, modest};
use super::packed::Contents;
use super::serve::trouble;
use super::witness;
use super::{framed, packed};
use crate::model::container::{self, Shared};
use crate::model::limits::{MESSAGE_MAX, WINDOW};
use crate::model::pieces::{Cuts, Pieces};
use crate::model::wire::{Entry, EntryKind, Place, ReadItem, Trouble};
use crate::model::{CopyFacts, RelPath, Span, Stamp, Stat};
use crate::read::{self, Medium, Piece};
use crate::store::dovecot::extras::Files;
use crate::store::dovecot::{Guid, hex_guid};
use crate::store::maildir::companion;
use crate::store::mbox::window::Window;
use crate::store::mdbox::map::{self, Index, Map, Shown};
use crate::store::mdbox::storage::Scanner;
use crate::store::mdbox::{Named, file_number};
use crate::store::sdbox::frame;
use crate::sys::attr;
use crate::sys::dir::{Dir, Root, nothing_there};
use crate::sys::fs::Kind;
use crate::verify::Piecer;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Looks at files that a server may be writing to right now, and the time between.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(60);

/// The index of a mailbox and its logs, and those of the map.
const INDEX: [&[u8]; 3] = [b"dovecot.index", b"dovecot.index.log.2", companion::INDEX_LOG];
pub const MAP: [&[u8]; 3] = [b"dovecot.map.index", b"dovecot.map.index.log.2", b"dovecot.map.index.log"];
/// The link that leads to the alternative storage.
const ALTERNATIVE: &[u8] = b"dbox-alt-root";
/// Bytes that are read ahead around a trailer.
const AHEAD: usize = 4096;

/// Lists the mailbox `dir`.
pub fn list(root: &Root, number: u32, dir: &RelPath, by: &Reader<'_>) -> Contents {
    let mut contents = Contents::default();
    let Some(shared) = container::shared(dir) else {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        contents.troubles.push(trouble(number, dir.as_bytes(), "list", &error));
        return contents;
    };
    for look in 1..=LOOKS {
        let steps = std::cell::Cell::new(0);
        let tick = || {
            steps.set(steps.get() + 1);
            (by.tick)(steps.get());
        };
        let mut listing = Listing { root, number, shared: &shared, by, tick: &tick, contents: Contents::default() };
        if let Err(trouble) = listing.all() {
            listing.contents.troubles.push(trouble);
        }
        contents = listing.contents;
        if contents.troubles.is_empty() {
            break;
        }
        if look < LOOKS {
            std::thread::sleep(BETWEEN);
        }
    }
    contents
}

/// One look at a mailbox.
struct Listing<'a> {
    root: &'a Root,
    number: u32,
    shared: &'a Shared,
    by: &'a Reader<'a>,
    tick: &'a dyn Fn(),
    contents: Contents,
}

impl Listing<'_> {
    fn trouble(&mut self, path: &RelPath, detail: &str) {
        let (path, operation) = (path.as_bytes().to_vec(), "list".to_owned());
        self.contents.troubles.push(Trouble {
            root: self.number,
            path,
            operation,
            errno: None,
            detail: detail.to_owned(),
        });
    }

    fn open(&self, path: &RelPath) -> Result<Option<Dir>, Trouble> {
        match self.root.open_dir(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if nothing_there(&error) => Ok(None),
            Err(error) => Err(trouble(self.number, path.as_bytes(), "open folder", &error)),
        }
    }

    /// The server's files of one folder; those that are there are listed.
    fn files(&mut self, dir: &Dir, path: &RelPath, names: [&[u8]; 3]) -> Result<Files, Trouble> {
        let read = witness::Files { root: self.number, path, dir };
        let mut data = Vec::new();
        for name in names {
            (self.tick)();
            data.push(read.read(name)?);
            if data.last().is_some_and(Option::is_some) {
                let (name, kind) = (name.to_vec(), EntryKind::File);
                self.contents.entries.push(Entry { place: Place::Top, name, ino: 0, kind, stat: None });
            }
        }
        let mut data = data.into_iter();
        Ok(Files { index: data.next().flatten(), logs: data.flatten().collect() })
    }

    fn all(&mut self) -> Result<(), Trouble> {
        let Shared { folder: own, storage } = self.shared.clone();
        let Some(folder) = self.open(&own)? else { return Ok(()) };
        let fail = |error: io::Error| trouble(self.number, own.as_bytes(), "stat", &error);
        self.contents.stat = Some(folder.stat_self().map_err(fail)?);
        let index = Index::read(&self.files(&folder, &own, INDEX)?);
        if !index.exists {
            self.trouble(&own, "the indexes are gone, which alone know what is in this mailbox");
            return Ok(());
        }
        if !index.complete {
            self.trouble(&own, "dovecot.index and its logs cannot be read whole: it may show more messages, or fewer");
        }
        let storage_dir = self.open(&storage)?;
        let map = match &storage_dir {
            Some(dir) => Map::read(&self.files(dir, &storage, MAP)?),
            None => Map::default(),
        };
        if map.exists && !map.complete {
            self.trouble(&storage, "dovecot.map.index and its logs cannot be read whole: messages may be missed");
        }
        let mut named = self.places(&index, &map, storage_dir.as_ref())?;
        let in_home = storage.parent().and_then(|home| self.root.open_dir(&home).ok());
        let linked = |dir: &Dir| matches!(dir.stat(ALTERNATIVE), Ok(Some((Kind::Symlink, _))));
        let alternative = linked(&folder) || in_home.as_ref().is_some_and(linked);
        self.entries(&mut named, storage_dir.as_ref(), alternative);
        Ok(())
    }

    /// Where each message lies: by the map, else where the storage has its GUID.
    fn places(&mut self, index: &Index, map: &Map, storage: Option<&Dir>) -> Result<Vec<(Named, Shown)>, Trouble> {
        let known = |shown: &Shown| Some(map.places.get(&shown.number?)?.0);
        let scanned = match storage.filter(|_| index.shown.iter().any(|shown| known(shown).is_none())) {
            Some(dir) => self.scan(dir)?,
            None => HashMap::new(),
        };
        let named = |shown: &Shown| Named {
            uid: Some(shown.uid),
            place: known(shown).or_else(|| scanned.get(&shown.guid?).copied()),
            guid: shown.guid,
            validity: Some(index.validity).filter(|&validity| validity != 0),
            ..Named::default()
        };
        let mut all: Vec<_> = index.shown.iter().map(|shown| (named(shown), *shown)).collect();
        all.sort_by_key(|(named, shown)| (named.place, shown.uid));
        Ok(all)
    }

    /// All messages of the storage by their GUIDs; of two with one, the one that is sound.
    fn scan(&mut self, dir: &Dir) -> Result<HashMap<Guid, map::Place>, Trouble> {
        let (path, root) = (self.shared.storage.clone(), self.number);
        let fail = |error: io::Error| trouble(root, path.as_bytes(), "list folder", &error);
        let mut files = Vec::new();
        let each = &mut |name: &[u8], kind, _| {
            files.extend(file_number(name).filter(|_| kind == Kind::File));
            Ok(())
        };
        dir.entries(each).map_err(fail)?;
        files.sort_unstable();
        let mut found: HashMap<Guid, (map::Place, bool)> = HashMap::new();
        for number in files {
            let open = dir.open_file(&file_name(number)).and_then(|file| Ok((attr::fstat(&file)?.1, file)));
            let (stat, file) = open.map_err(fail)?;
            let medium = self.by.medium(&file);
            let window = |width| Window::new(&medium, stat.size, width, self.tick);
            let mut scanner = Scanner::new(window(WINDOW), window(AHEAD));
            for part in scanner.by_ref() {
                let sound = part.frame.broken.is_empty() && part.frame.short_of.is_none();
                let guid = part.frame.guid.as_deref().and_then(hex_guid);
                let (Ok(offset), Ok(size)) = (u32::try_from(part.offset), u32::try_from(part.size)) else { continue };
                let place = map::Place { file: number, offset, size };
                if let Some(guid) = guid.filter(|guid| sound || !found.contains_key(guid)) {
                    found.insert(guid, (place, sound));
                }
            }
            if scanner.holes().next().is_some() {
                self.trouble(
                    &path.join(&file_name(number)).unwrap_or_default(),
                    "not readable: messages may lie there",
                );
            }
        }
        Ok(found.into_iter().map(|(guid, (place, _))| (guid, place)).collect())
    }

    /// Lists the messages, which come by their places.
    fn entries(&mut self, all: &mut [(Named, Shown)], storage: Option<&Dir>, alternative: bool) {
        let (mut opened, mut apart): (Option<(u32, Storage)>, u64) = (None, 0);
        for (named, shown) in all {
            if let Some(place) = named.place {
                if opened.as_ref().is_none_or(|(number, _)| *number != place.file) {
                    (self.tick)();
                    opened = Some((place.file, Storage::open(storage, place.file)));
                }
                let file = opened.as_ref().map(|(_, file)| file);
                match file.unwrap_or(&Storage::Gone) {
                    Storage::There(file, stat) if u64::from(place.offset) < stat.size => {
                        named.received = received(&self.by.medium(file), place, stat.size);
                        let stat = stat_of(stat, named, place);
                        self.push(named, Some(stat));
                        continue;
                    }
                    // Reading it says what is wrong.
                    Storage::Unreadable => {
                        self.push(named, None);
                        continue;
                    }
                    Storage::There(..) | Storage::Gone => {}
                }
            }
            if alternative || shown.elsewhere {
                apart += 1;
                continue;
            }
            named.lost = Some(named.place.take().map_or(0, |place| place.file));
            self.push(named, None);
        }
        if apart > 0 {
            let detail = format!(
                "{apart} of its messages do not lie in the storage here: the alternative storage (ALT=) is not looked for"
            );
            self.trouble(&self.shared.folder.clone(), &detail);
        }
    }

    fn push(&mut self, named: &Named, stat: Option<Stat>) {
        let (name, ino) = (named.name(), stat.map_or(0, |stat| stat.ino));
        self.contents.entries.push(Entry { place: Place::Cur, name, ino, kind: EntryKind::File, stat });
    }
}

/// A storage file.
enum Storage {
    There(File, Stat),
    Gone,
    Unreadable,
}

impl Storage {
    fn open(dir: Option<&Dir>, number: u32) -> Storage {
        let Some(dir) = dir else { return Storage::Gone };
        match dir.open_file(&file_name(number)).and_then(|file| Ok((attr::fstat(&file)?.1, file))) {
            Ok((stat, file)) => Storage::There(file, stat),
            Err(error) if nothing_there(&error) => Storage::Gone,
            Err(_) => Storage::Unreadable,
        }
    }
}

fn file_name(number: u32) -> Vec<u8> {
    format!("m.{number}").into_bytes()
}

/// A message as if it were a file: its own size, and the time at which it was received.
fn stat_of(file: &Stat, named: &Named, place: map::Place) -> Stat {
    let mtime = named.received.map_or(file.mtime, |sec| Stamp { sec, nsec: 0 });
    Stat { size: available(place, file.size), mtime, ..*file }
}

/// How much of a message its file has.
fn available(place: map::Place, file: u64) -> u64 {
    u64::from(place.size).min(file.saturating_sub(u64::from(place.offset)))
}

/// When the message was received, by its trailer.
fn received(file: &dyn Medium, place: map::Place, size: u64) -> Option<i64> {
    let size = available(place, size);
    let skipped = size.saturating_sub(TRAILER as u64);
    let mut tail = [0; TRAILER];
    let room = &mut tail[..usize::try_from(size - skipped).unwrap_or(TRAILER)];
    let got = file.read_at(room, u64::from(place.offset) + skipped).ok()?;
    frame::read_one(frame::MAGIC, &room[..got], skipped + got as u64).received
}

/// Bytes of the longest trailer of a message that nothing special is said of.
const TRAILER: usize = 512;

/// A message in its file, opened.
struct Opened {
    file: File,
    /// As if it were a file.
    stat: Stat,
    named: Named,
    offset: u64,
}

fn open(root: &Root, number: u32, path: &RelPath) -> Result<Opened, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(number, path.as_bytes(), operation, &error);
    let no_place = || fail("read", io::Error::new(io::ErrorKind::InvalidInput, "says of no place in a file"));
    let shared = path.parent().and_then(|dir| container::shared(&dir)).ok_or_else(no_place)?;
    let named = Named::parse(path.name()).ok_or_else(no_place)?;
    let place = named.place.ok_or_else(no_place)?;
    let at = shared.storage.join(&file_name(place.file)).map_err(|_| no_place())?;
    let file = root.open_file(&at).map_err(|e| fail("open", e))?;
    let stat = attr::fstat(&file).map_err(|e| fail("stat", e))?.1;
    if u64::from(place.offset) >= stat.size {
        return Err(fail("open", io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error())));
    }
    let stat = stat_of(&stat, &named, place);
    modest(&stat, MESSAGE_MAX).map_err(|e| fail("read", e))?;
    Ok(Opened { file, stat, named, offset: u64::from(place.offset) })
}

/// Reads one message and says what it is worth. What is once in a storage file is never changed there, only removed with it.
///
/// # Errors
/// A trouble where its file could not be opened.
pub fn copy(root: &Root, item: &ReadItem, reader: &Reader<'_>) -> Result<CopyFacts, Trouble> {
    if !item.form.keeps_content() {
        let error =
            io::Error::new(io::ErrorKind::Unsupported, "mail out of an mdbox cannot be turned into another form");
        return Err(trouble(item.root, item.path.as_bytes(), "read", &error));
    }
    let Opened { file, stat, named, offset } = open(root, item.root, &item.path)?;
    let subject = Subject { item, file, stat, reader, past: None, begins: Some(offset) };
    let facts = BUFFER.with_borrow_mut(|buffer| framed::copy(&subject, named.guid, buffer.bytes_mut()));
    Ok(CopyFacts { cached: item.medium, ..facts })
}

/// Short digests of each piece of a message.
pub fn pieces(root: &Root, number: u32, path: &RelPath, cuts: &Cuts, by: &Reader<'_>) -> Result<Pieces, Trouble> {
    let Opened { file, stat, offset, .. } = open(root, number, path)?;
    let medium = by.medium(&file);
    let (behind, mut piecer, mut progress) = (read::Behind(&medium, offset), Piecer::new(cuts), 0);
    let mut tick = || {
        progress += 1;
        (by.tick)(progress);
    };
    let mut buffer = vec![0; WINDOW];
    let frame = framed::frame(&behind, stat.size, true, &mut buffer);
    let message = frame.map_or(Span::new(0, stat.size), |frame| frame.message);
    let inner = read::Behind(&medium, offset + message.offset);
    read::stream(&inner, message.length, &mut buffer, &mut tick, &mut |piece| match piece {
        Piece::Bytes(bytes) => piecer.feed(bytes),
        Piece::Hole(span, _) => piecer.hole(span.length),
    });
    Ok(piecer.finish())
}

/// Lists a mailbox in one file, or one that shares files.
pub fn list_any(root: &Root, number: u32, dir: &RelPath, by: &Reader<'_>) -> Contents {
    match container::is_shared(dir.name()) {
        true => list(root, number, dir, by),
        false => packed::list(root, number, dir, by),
    }
}
