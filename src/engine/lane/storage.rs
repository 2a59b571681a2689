//! The storage that the mailboxes of an account share (mdbox): its map, read once as long as it stays what it is, and what
//! lies in one of its files.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::examine::Reader;
use super::serve::trouble;
use super::witness;
use crate::model::container::{self, Framed, STORAGE, Storage};
use crate::model::limits::WINDOW;
use crate::model::wire::Trouble;
use crate::model::{RelPath, Stat};
use crate::read::Medium;
use crate::store::dovecot::extras::Files;
use crate::store::dovecot::message_guid;
use crate::store::mbox::window::Window;
use crate::store::mdbox::file_number;
use crate::store::mdbox::map::Map;
use crate::store::mdbox::storage::{Part, Scanner};
use crate::store::sdbox::frame::{self, HEADER, TAIL};
use crate::sys::attr;
use crate::sys::dir::{Dir, Root, nothing_there};
use crate::sys::fs::Kind;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

pub use crate::store::maildir::companion::MAP;

/// Maps that are kept: as many accounts as one lane works on at a time.
const KEPT: usize = 8;

/// What says that a map is still the one that was read.
type Identity = (u32, RelPath, [Option<Stat>; 3]);

/// Maps of the last accounts.
#[derive(Default)]
pub struct Maps(Mutex<Vec<(Identity, Arc<Map>)>>);

impl Maps {
    /// The map in the storage folder `dir`, and which of its files are there.
    ///
    /// # Errors
    /// A trouble where one of them could not be read.
    pub fn read(&self, dir: &Dir, number: u32, path: &RelPath) -> Result<(Arc<Map>, [bool; 3]), Trouble> {
        let fail = |error: io::Error| trouble(number, path.as_bytes(), "stat", &error);
        let mut stats = [None; 3];
        for (name, stat) in MAP.iter().zip(&mut stats) {
            *stat = dir.stat(name).map_err(fail)?.map(|(_, stat)| stat);
        }
        let there = stats.map(|stat| stat.is_some());
        let identity = (number, path.clone(), stats);
        if let Some((_, map)) = self.kept().iter().find(|(known, _)| *known == identity) {
            return Ok((Arc::clone(map), there));
        }
        let read = witness::Files { root: number, path, dir };
        let mut data = MAP.iter().map(|name| read.read(name)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let map = Map::read(&Files { index: data.next().flatten(), logs: data.flatten().collect() });
        let map = Arc::new(map);
        // What a server may be in the midst of writing is read again.
        if map.complete {
            let mut kept = self.kept();
            kept.truncate(KEPT - 1);
            kept.insert(0, (identity, Arc::clone(&map)));
        }
        Ok((map, there))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<(Identity, Arc<Map>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies in the storage file at `path`, which need not be there, by the map.
///
/// # Errors
/// A trouble where the map or the file could not be read.
pub fn storage(root: &Root, number: u32, path: &RelPath, by: &Reader<'_>) -> Result<Storage, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(number, path.as_bytes(), operation, &error);
    if path.name() == STORAGE {
        let dir = root.open_dir(path).map_err(|e| fail("open folder", e))?;
        let files = files(&dir).map_err(|e| fail("list folder", e))?;
        let (map, _) = by.maps.read(&dir, number, path)?;
        return Ok(Storage { files, complete: map.complete, map: map.chart(), ..Storage::default() });
    }
    let Some((folder, file)) = container::storage_number(path) else {
        return Err(fail("read", io::ErrorKind::InvalidInput.into()));
    };
    let dir = root.open_dir(&folder).map_err(|e| fail("open folder", e))?;
    let (map, _) = by.maps.read(&dir, number, &folder)?;
    let opened = match root.open_file(path) {
        Ok(opened) => Some((attr::fstat(&opened).map_err(|e| fail("stat", e))?.1, opened)),
        Err(error) if nothing_there(&error) => None,
        Err(error) => return Err(fail("open", error)),
    };
    let medium = opened.as_ref().map(|(stat, opened)| (stat.size, by.medium(opened)));
    let mut out = Storage { complete: map.complete, ..Storage::default() };
    if let (false, Some((size, medium))) = (map.complete, &medium) {
        (out.frames, out.begins) = (found((*size, medium), by), true);
        return Ok(out);
    }
    for (nth, (place, shown)) in map.places.values().filter(|(place, _)| place.file == file).enumerate() {
        (by.tick)(nth as u64);
        let (offset, size) = (u64::from(place.offset), u64::from(place.size));
        let sound = medium.as_ref().is_some_and(|(end, medium)| offset + size <= *end && sound(medium, offset, size));
        out.frames.push(Framed { offset, size, shown: *shown, sound, guid: None });
    }
    out.frames.sort_by_key(|frame| frame.offset);
    let first = out.frames.first().map_or(0, |frame| frame.offset);
    out.begins = medium.is_some_and(|(_, medium)| frame::is_file_header(&bytes(&medium, 0, first.min(TAIL as u64))));
    Ok(out)
}

/// The numbers of the files in a storage folder.
///
/// # Errors
/// As the system gives them.
pub fn files(dir: &Dir) -> io::Result<Vec<u32>> {
    let mut files = Vec::new();
    dir.entries(&mut |name: &[u8], kind, _| {
        files.extend(file_number(name).filter(|_| kind == Kind::File));
        Ok(())
    })?;
    files.sort_unstable();
    Ok(files)
}

/// All messages of a file, by what stands around each.
fn found((size, medium): (u64, &dyn Medium), by: &Reader<'_>) -> Vec<Framed> {
    let steps = std::cell::Cell::new(0);
    let tick = || {
        steps.set(steps.get() + 1);
        (by.tick)(steps.get());
    };
    let window = |width| Window::new(medium, size, width, &tick);
    let framed = |part: Part| Framed {
        offset: part.offset,
        size: part.size,
        shown: 0,
        sound: part.is_sound(),
        guid: part.frame.guid.as_deref().map(message_guid),
    };
    Scanner::new(window(WINDOW), window(AHEAD)).map(framed).collect()
}

/// Bytes that are read ahead around a trailer.
pub const AHEAD: usize = 4096;

/// Whether a message stands there with all that the server puts around it.
fn sound(medium: &dyn Medium, offset: u64, size: u64) -> bool {
    let length = frame::size_in(&bytes(medium, offset, HEADER as u64));
    let tail = size.min(TAIL as u64);
    let trailer = frame::trailer(&bytes(medium, offset + size - tail, tail)).map(<[u8]>::len);
    let around = |trailer: usize| (HEADER + frame::MAGIC_POST.len() + trailer) as u64;
    length.zip(trailer).is_some_and(|(length, trailer)| length.checked_add(around(trailer)) == Some(size))
}

/// What the medium gives of these bytes.
fn bytes(medium: &dyn Medium, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(TAIL)];
    let mut got = 0;
    while got < bytes.len() {
        match medium.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(more @ 1..) => got += more,
            _ => break,
        }
    }
    bytes.truncate(got);
    bytes
}
