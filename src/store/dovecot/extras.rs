//! What parts of Dovecot keep with each message in indexes and logs, by the names of their extensions: mdbox the places
//! of messages there, and the server their GUIDs.
//!
//! Pure, over any bytes. Together with [`super::state`], which says which messages there are.

use super::index::{self, FLAGS_AT, Index, UIDS_AT};
use super::log::{self, Log, kind};
use super::raw::{size, u16_at, u32_at};
use super::state::{self, State};
use std::collections::BTreeMap;

/// Bytes of one value that are kept; what is shorter is filled with zeros.
pub const VALUE: usize = 16;
pub type Value = [u8; VALUE];

/// What sdbox keeps of a mailbox: how often its index was made anew, and the GUID at [`GUID_AT`].
pub const DBOX: &[u8] = b"dbox-hdr";
pub const GUID_AT: usize = 4;

/// The same of mdbox: the UIDVALIDITY of the map, and the GUID at the same place. And what it keeps of each message: its
/// number in the map, and when it was put there; the GUID has an extension of its own.
pub const MDBOX: &[u8] = b"mdbox-hdr";
pub const NUMBERS: &[u8] = b"mdbox";
pub const GUIDS: &[u8] = b"guid";

/// Bytes of one extension's header that are kept.
const HEAD_MAX: usize = 1 << 16;

/// Extensions of one index; more are nobody's work.
const EXTENSIONS_MAX: usize = 256;
/// What a new extension has for a number.
const NEW: u32 = u32::MAX;

/// An index and its logs as bytes, oldest first: `dovecot.index`, and the logs.
#[derive(Debug, Default)]
pub struct Files {
    pub index: Option<Vec<u8>>,
    pub logs: Vec<Vec<u8>>,
}

/// An index with what its extensions have for each message.
#[derive(Debug, Default)]
pub struct Extras {
    pub state: State,
    /// By extension, in the order in which they were asked for, and UID. Of expunged messages too.
    pub values: Vec<BTreeMap<u32, Value>>,
    /// What they have for the mailbox as a whole, in the same order.
    pub heads: Vec<Vec<u8>>,
    /// Flags of the whole.
    pub flags: u32,
}

/// Reads all of it in any state; `names` are those of the extensions that are asked for.
pub fn read(files: &Files, names: &[&[u8]]) -> Extras {
    let index = files.index.as_ref().map(|data| (index::parse(data), data)).filter(|(i, _)| i.header.indexid != 0);
    let logs: Vec<Log> = files.logs.iter().map(|data| log::parse(data)).collect();
    let logs: Vec<&Log> = logs.iter().collect();
    let parsed = index.as_ref().map(|(index, _)| index);
    let mut state = state::replay(parsed, &logs);
    // One that is there and cannot be read may have had anything in it.
    state.complete &= files.index.is_none() || index.is_some();
    let mut replay = Replay::new(names);
    let line = state::line_up(parsed, &logs);
    if let Some((index, data)) = index.as_ref().filter(|_| !line.anew) {
        replay.start(index, data);
    }
    for (log, start) in line.logs {
        replay.current = None;
        log::records(&files.logs[log], logs[log], u64::from(start)).for_each(|record| replay.record(record));
    }
    Extras { state, values: replay.values, heads: replay.heads, flags: replay.flags }
}

/// One extension, by its number.
struct Known {
    name: Vec<u8>,
    /// Where what it has is kept, if it is asked for.
    slot: Option<usize>,
    reset_id: u32,
}

/// The extension that the next records are about.
#[derive(Clone, Copy)]
struct Current {
    number: usize,
    /// Bytes of a value.
    length: usize,
    /// Meant for what it was before it was reset.
    ignored: bool,
}

struct Replay<'n> {
    names: &'n [&'n [u8]],
    known: Vec<Known>,
    current: Option<Current>,
    values: Vec<BTreeMap<u32, Value>>,
    heads: Vec<Vec<u8>>,
    flags: u32,
}

impl<'n> Replay<'n> {
    fn new(names: &'n [&'n [u8]]) -> Replay<'n> {
        let (values, heads) = (vec![BTreeMap::new(); names.len()], vec![Vec::new(); names.len()]);
        Replay { names, known: Vec::new(), current: None, values, heads, flags: 0 }
    }

    fn start(&mut self, index: &Index, data: &[u8]) {
        self.flags = u32_at(data, FLAGS_AT).unwrap_or_default();
        for extension in &index.extensions {
            let number = self.add(&extension.name, extension.reset_id);
            let Some(slot) = number.and_then(|number| self.known[number].slot) else { continue };
            self.heads[slot] = extension.data.clone();
            let (first, step) = (size(index.header.size), size(index.header.record_size));
            let records = data.get(first..).unwrap_or_default().chunks_exact(step.max(1));
            for record in records.take(size(index.header.messages)) {
                let from = usize::from(extension.record_offset);
                let value = record.get(from..from + usize::from(extension.record_size));
                if let (Some(uid), Some(value)) = (u32_at(record, UIDS_AT), value) {
                    self.values[slot].insert(uid, padded(value));
                }
            }
        }
    }

    fn add(&mut self, name: &[u8], reset_id: u32) -> Option<usize> {
        if let Some(number) = self.known.iter().position(|known| known.name == name) {
            return Some(number);
        }
        let slot = self.names.iter().position(|wanted| *wanted == name);
        let room = self.known.len() < EXTENSIONS_MAX;
        room.then(|| {
            self.known.push(Known { name: name.to_vec(), slot, reset_id });
            self.known.len() - 1
        })
    }

    fn record(&mut self, (number, payload): (u32, &[u8])) {
        match number {
            kind::HEADER => {
                let whole = parts(payload).find(|(from, part)| *from == FLAGS_AT && part.len() == 4);
                self.flags = whole.and_then(|(_, part)| u32_at(part, 0)).unwrap_or(self.flags);
            }
            kind::EXT_INTRO => self.current = self.introduced(payload),
            // The first keyword makes an extension of its own.
            kind::KEYWORD => drop(self.add(b"keywords", 0)),
            kind::EXT_RESET => self.reset(payload),
            kind::EXT_HEADER => self.header(payload),
            kind::EXT_RECORDS => {
                let Some((slot, length)) = self.target() else { return };
                for entry in payload.chunks_exact((4 + length).next_multiple_of(4)) {
                    let uid = u32_at(entry, 0).unwrap_or_default();
                    self.values[slot].insert(uid, padded(&entry[4..4 + length]));
                }
            }
            kind::EXT_INCREASE => {
                let Some((slot, length)) = self.target() else { return };
                for entry in payload.chunks_exact(8) {
                    let (uid, by) = (u32_at(entry, 0).unwrap_or_default(), u32_at(entry, 4).unwrap_or_default());
                    increase(self.values[slot].entry(uid).or_default(), length, by.cast_signed());
                }
            }
            _ => {}
        }
    }

    fn introduced(&mut self, payload: &[u8]) -> Option<Current> {
        let (number, reset_id) = (u32_at(payload, 0)?, u32_at(payload, 4)?);
        let length = usize::from(u16_at(payload, 12)?);
        let name = payload.get(20..20 + usize::from(u16_at(payload, 18)?))?;
        let number = if number == NEW { self.add(name, reset_id)? } else { size(number) };
        let known = self.known.get(number)?;
        Some(Current { number, length, ignored: known.reset_id != reset_id })
    }

    /// Parts of an extension's header: where, how many bytes, and these.
    fn header(&mut self, payload: &[u8]) {
        let Some(current) = self.current.filter(|current| !current.ignored) else { return };
        let Some(slot) = self.known.get(current.number).and_then(|known| known.slot) else { return };
        let head = &mut self.heads[slot];
        for (from, part) in parts(payload) {
            let end = from + part.len();
            if end > HEAD_MAX {
                return;
            }
            head.resize(head.len().max(end), 0);
            head[from..end].copy_from_slice(part);
        }
    }

    /// Where the next values belong, and their length.
    fn target(&self) -> Option<(usize, usize)> {
        let current = self.current.filter(|current| !current.ignored && current.length > 0)?;
        Some((self.known.get(current.number)?.slot?, current.length))
    }

    fn reset(&mut self, payload: &[u8]) {
        let (Some(current), Some(reset_id)) = (&mut self.current, u32_at(payload, 0)) else { return };
        let Some(known) = self.known.get_mut(current.number) else { return };
        (known.reset_id, current.ignored) = (reset_id, false);
        let preserved = payload.get(4).is_some_and(|preserve| *preserve != 0);
        if let (Some(slot), false) = (known.slot, preserved) {
            self.values[slot].clear();
        }
    }
}

/// Parts of a header that change, each with its place.
fn parts(payload: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (from, length) = (usize::from(u16_at(payload, at)?), usize::from(u16_at(payload, at + 2)?));
        let part = payload.get(at + 4..at + 4 + length)?;
        at += (4 + length).next_multiple_of(4);
        Some((from, part))
    })
}

fn padded(value: &[u8]) -> Value {
    let mut padded = [0; VALUE];
    let length = value.len().min(VALUE);
    padded[..length].copy_from_slice(&value[..length]);
    padded
}

/// Adds to a counter of 1, 2 or 4 bytes; one that would fall below zero or run over stays.
fn increase(value: &mut Value, length: usize, by: i32) {
    let (most, now) = match length {
        1 => (i64::from(u8::MAX), i64::from(value[0])),
        2 => (i64::from(u16::MAX), u16_at(value, 0).map_or(0, i64::from)),
        4 => (i64::from(u32::MAX), u32_at(value, 0).map_or(0, i64::from)),
        _ => return,
    };
    let sum = now + i64::from(by);
    if (0..=most).contains(&sum) {
        value[..length].copy_from_slice(&sum.to_le_bytes()[..length]);
    }
}
