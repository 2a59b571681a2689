//! Messages of an account that lie in files which all its mailboxes share (mdbox): lists what a mailbox shows, and reads
//! each message in its place.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::examine::{Among, BUFFER, Reader, Subject, modest};
use super::packed::Contents;
use super::serve::trouble;
use super::storage::{self, AHEAD, MAP};
use super::witness;
use super::{converted, framed, packed};
use crate::model::container::{self, Lies, Own, OwnField, Shared};
use crate::model::form::Form;
use crate::model::limits::{MESSAGE_MAX, WINDOW};
use crate::model::pieces::{Cuts, Pieces};
use crate::model::wire::{Entry, EntryKind, Fetched, Place, ReadItem, Trouble};
use crate::model::{CopyFacts, Encoding, RelPath, Span, Stamp, Stat};
use crate::read::{self, Behind, Medium, Piece};
use crate::store::dovecot::extras::Files;
use crate::store::dovecot::{Guid, message_guid};
use crate::store::maildir::companion;
use crate::store::mbox::window::Window;
use crate::store::mdbox::Named;
use crate::store::mdbox::map::{self, Index, Map, Shown};
use crate::store::mdbox::storage::Scanner;
use crate::store::sdbox::frame;
use crate::sys::attr;
use crate::sys::dir::{Dir, Root, nothing_there};
use crate::sys::fs::Kind;
use crate::verify::Piecer;
use crate::verify::convert::{Converter, Converting};
use crate::verify::hashing::Hashing;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// Looks at files that a server may be writing to right now, and the time between.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(60);

/// The index of a mailbox and its logs.
const INDEX: [&[u8]; 3] = [b"dovecot.index", b"dovecot.index.log.2", companion::INDEX_LOG];
/// The link that leads to the alternative storage.
const ALTERNATIVE: &[u8] = b"dbox-alt-root";

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
        let last = look == LOOKS;
        let mut listing =
            Listing { root, number, shared: &shared, by, tick: &tick, last, contents: Contents::default() };
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
    /// What cannot be read now is not in the midst of being written.
    last: bool,
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
                self.server_file(name);
            }
        }
        let mut data = data.into_iter();
        Ok(Files { index: data.next().flatten(), logs: data.flatten().collect() })
    }

    fn server_file(&mut self, name: &[u8]) {
        let (name, kind) = (name.to_vec(), EntryKind::File);
        self.contents.entries.push(Entry { place: Place::Top, name, ino: 0, kind, stat: None });
    }

    /// The map. One of which not all can be read stands in no listing, as if it were gone: then the storage itself tells.
    fn map(&mut self, dir: Option<&Dir>) -> Result<Arc<Map>, Trouble> {
        (self.tick)();
        let Some(dir) = dir else { return Ok(Arc::default()) };
        let (map, there) = self.by.maps.read(dir, self.number, &self.shared.storage)?;
        if map.complete {
            MAP.iter().zip(there).filter(|(_, there)| *there).for_each(|(name, _)| self.server_file(name));
        } else if map.exists && !self.last {
            self.trouble(&self.shared.storage.clone(), "dovecot.map.index and its logs cannot be read whole");
        }
        Ok(map)
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
        let map = self.map(storage_dir.as_ref())?;
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
        let told = |shown: &Shown| known(shown).filter(|_| map.complete);
        let scanned = match storage.filter(|_| index.shown.iter().any(|shown| told(shown).is_none())) {
            Some(dir) => self.scan(dir)?,
            None => HashMap::new(),
        };
        let named = |shown: &Shown| Named {
            uid: Some(shown.uid),
            place: told(shown).or_else(|| scanned.get(&shown.guid?).copied()).or_else(|| known(shown)),
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
        let mut found: HashMap<Guid, (map::Place, bool)> = HashMap::new();
        for number in storage::files(dir).map_err(fail)? {
            let open = dir.open_file(&file_name(number)).and_then(|file| Ok((attr::fstat(&file)?.1, file)));
            let (stat, file) = open.map_err(fail)?;
            let medium = self.by.medium(&file);
            let window = |width| Window::new(&medium, stat.size, width, self.tick);
            let mut scanner = Scanner::new(window(WINDOW), window(AHEAD));
            for part in scanner.by_ref() {
                let sound = part.is_sound();
                let guid = part.frame.guid.as_deref().map(message_guid);
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
            named.lost = true;
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
        let (Opened { file, stat, .. }, place) = message(root, item.root, &item.path, reader)?;
        let stat = Stat { size: place.length, ..stat };
        let subject = Subject { item, file, stat, reader, past: None, begins: Some(place.offset), loaded: None };
        let facts = BUFFER.with_borrow_mut(|buffer| converted::copy(&subject, Encoding::Plain, buffer.bytes_mut()));
        return facts.map_err(|error| trouble(item.root, item.path.as_bytes(), "convert", &error));
    }
    let Opened { file, stat, named, offset } = open(root, item.root, &item.path)?;
    let subject = Subject { item, file, stat, reader, past: None, begins: Some(offset), loaded: None };
    let facts = BUFFER.with_borrow_mut(|buffer| framed::copy(&subject, named.guid, buffer.bytes_mut()));
    Ok(CopyFacts { cached: item.medium, ..facts })
}

/// A message in its file, and where it lies in that.
fn message(root: &Root, number: u32, path: &RelPath, by: &Reader<'_>) -> Result<(Opened, Span), Trouble> {
    let opened = open(root, number, path)?;
    let (begins, size) = (opened.offset, opened.stat.size);
    let among = Among { medium: by.medium(&opened.file), begins, size };
    let frame = framed::frame(&among, size, true, &mut vec![0; WINDOW]);
    let message = frame.map_or(Span::new(0, opened.stat.size), |frame| frame.message);
    let place = Span::new(opened.offset + message.offset, message.length);
    Ok((opened, place))
}

/// Short digests of each piece of a message.
pub fn pieces(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, cuts): (&Form, &Cuts),
    by: &Reader<'_>,
) -> Result<Pieces, Trouble> {
    let (opened, place) = message(root, number, path, by)?;
    let medium = by.medium(&opened.file);
    let (mut piecer, mut progress) = (Piecer::new(cuts), 0);
    let (mut converter, mut turned) = (Converter::new(form), Vec::new());
    let mut tick = || {
        progress += 1;
        (by.tick)(progress);
    };
    let inner = Behind(&medium, place.offset);
    read::stream(&inner, place.length, &mut vec![0; WINDOW], &mut tick, &mut |piece| match piece {
        Piece::Bytes(bytes) => {
            turned.clear();
            converter.feed(bytes, &mut turned);
            piecer.feed(&turned);
        }
        Piece::Hole(span, _) => piecer.hole(span.length),
    });
    turned.clear();
    converter.finish(&mut turned);
    piecer.feed(&turned);
    Ok(piecer.finish())
}

/// Sends a message without what stands around it in its file.
pub fn fetch(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, encode): (&Form, Option<Encoding>),
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    by: &Reader<'_>,
) -> Result<Fetched, Trouble> {
    let (opened, place) = message(root, number, path, by)?;
    let medium = by.medium(&opened.file);
    let (inner, wanted, mut hashing) = (Behind(&medium, place.offset), encode.unwrap_or_default(), Hashing::new());
    let make = || -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Converting::new(form, Box::new(read::Quiet::new(&inner, place.length)))))
    };
    converted::deliver(&make, (form, wanted), &mut hashing, sink)
        .map_err(|e| trouble(number, path.as_bytes(), "read", &e))?;
    let (hashes, mtime) = (hashing.finish(), opened.stat.mtime);
    if hashes.length != place.length && form.keeps_content() {
        let error = io::ErrorKind::UnexpectedEof.into();
        return Err(trouble(number, path.as_bytes(), "read", &error));
    }
    Ok(Fetched { digest: hashes.digest, length: hashes.length, stored_as: wanted, mtime, xattrs: Vec::new() })
}

/// What stands around a message: the header of its frame, and the lines of its trailer where these are sound.
fn own(root: &Root, number: u32, path: &RelPath, by: &Reader<'_>) -> Result<Own, Trouble> {
    let Opened { file, stat, offset, .. } = open(root, number, path)?;
    let medium = by.medium(&file);
    let part = |from: u64, most: usize| {
        let mut bytes = vec![0; usize::try_from(stat.size - from).unwrap_or(most).min(most)];
        let got =
            medium.read_at(&mut bytes, offset + from).map_err(|e| trouble(number, path.as_bytes(), "read", &e))?;
        bytes.truncate(got);
        Ok(bytes)
    };
    let (line, tail) = (part(0, frame::HEADER)?, part(stat.size.saturating_sub(frame::TAIL as u64), frame::TAIL)?);
    let lines = frame::trailer(&tail).unwrap_or_default().split_inclusive(|&byte| byte == b'\n');
    let fields = lines.map(|line| OwnField { at: 0, text: line.to_vec(), sound: true }).collect();
    let (begins, length) = (frame::size_in(&line).is_some(), frame::size_in(&line).unwrap_or(0));
    Ok(Own { line, begins, fields, head: None, length, empty: 0 })
}

/// What its file says around a message in one file with others, whichever format it is.
pub fn own_any(root: &Root, number: u32, path: &RelPath, by: &Reader<'_>) -> Result<Own, Trouble> {
    match container::lies(path) {
        Lies::InStorage => own(root, number, path, by),
        Lies::InMbox | Lies::Alone => packed::own(root, number, path, by),
    }
}

/// Lists a mailbox in one file, or one that shares files.
pub fn list_any(root: &Root, number: u32, dir: &RelPath, by: &Reader<'_>) -> Contents {
    match container::is_shared(dir.name()) {
        true => list(root, number, dir, by),
        false => packed::list(root, number, dir, by),
    }
}
