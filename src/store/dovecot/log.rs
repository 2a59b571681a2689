//! `dovecot.index.log` and `.log.2`: every change to a mailbox in its order, and whether a client wanted it,
//! a partner had made it, or Dovecot found that it had happened.
//!
//! Nothing behind a record that cannot be is believed: a log that goes on after a hole may lack the request whose
//! fulfilment it shows.

use super::hash::{Guid, NO_GUID};
use super::index::{NEXT_UID_AT, UID_VALIDITY_AT};
use super::raw::{Faults, bytes, size, u16_at, u32_at, u64_at};
use std::ops::RangeInclusive;

const MAJOR: u8 = 1;
const HEADER_MIN: usize = 24;
const RECORD_HEADER: usize = 8;

/// Types of records that are read here.
pub(super) mod kind {
    pub const EXPUNGE: u32 = 0x0000_cd91;
    pub const APPEND: u32 = 0x0000_0002;
    pub const FLAGS: u32 = 0x0000_0004;
    pub const HEADER: u32 = 0x0000_0020;
    pub const EXT_INTRO: u32 = 0x0000_0040;
    pub const KEYWORD: u32 = 0x0000_0400;
    pub const KEYWORD_RESET: u32 = 0x0000_0800;
    pub const EXPUNGE_GUID: u32 = 0x0000_ed90;
    pub const MODSEQ: u32 = 0x0000_8000;
    pub const DELETED: u32 = 0x0002_0000;
    pub const UNDELETED: u32 = 0x0004_0000;
    pub const BOUNDARY: u32 = 0x0008_0000;
    pub const ATTRIBUTE: u32 = 0x0010_0000;
    pub const EXT_RESET: u32 = 0x0000_0080;
    pub const EXT_HEADER: u32 = 0x0000_0100;
    pub const EXT_RECORDS: u32 = 0x0000_0200;
    pub const EXT_INCREASE: u32 = 0x0000_1000;
    /// Extensions' resets, headers, records and counters: [`super::super::extras`] reads them.
    pub const OTHERS: [u32; 5] = [EXT_RESET, EXT_HEADER, EXT_RECORDS, EXT_INCREASE, 0x1_0000];
    pub const MASK: u32 = 0x0fff_ffff;
    pub const EXTERNAL: u32 = 0x1000_0000;
    pub const SYNC: u32 = 0x2000_0000;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// `None` if the file is no log, or marked as broken by Dovecot.
    pub header: Option<Header>,
    pub events: Vec<Event>,
    /// Where reading ended, and where the last transaction that is whole ended.
    pub end: u64,
    pub committed: u64,
    /// At the end; 0 if changes are not counted.
    pub modseq: u64,
    /// By offset.
    pub faults: Faults,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub minor: u8,
    pub indexid: u32,
    pub file_seq: u32,
    /// The log before this one, and its size when it ended; 0 if there was none.
    pub prev_file_seq: u32,
    pub prev_file_offset: u32,
    /// Seconds since 1970.
    pub created: u32,
    pub initial_modseq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub offset: u64,
    /// After it.
    pub modseq: u64,
    pub origin: Origin,
    pub change: Change,
}

/// Who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client: it shall happen.
    Request,
    /// It has happened: a request was met, or Dovecot found it so.
    External,
    /// dsync: it shall happen because it did at a partner.
    Sync,
    /// dsync has done it.
    SyncExternal,
}

impl Origin {
    fn of(number: u32) -> Origin {
        match (number & kind::EXTERNAL != 0, number & kind::SYNC != 0) {
            (false, false) => Origin::Request,
            (true, false) => Origin::External,
            (false, true) => Origin::Sync,
            (true, true) => Origin::SyncExternal,
        }
    }

    /// Whether it has happened.
    pub fn is_done(self) -> bool {
        matches!(self, Origin::External | Origin::SyncExternal)
    }
}

pub type Uids = RangeInclusive<u32>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// UIDs with their flags.
    Append(Vec<(u32, u8)>),
    Expunge(Vec<Expunged>),
    Flags(Vec<FlagChange>),
    Keyword {
        name: Vec<u8>,
        how: KeywordChange,
        uids: Vec<Uids>,
    },
    KeywordReset(Vec<Uids>),
    Header {
        uid_validity: Option<u32>,
        next_uid: Option<u32>,
    },
    /// UIDs with the least that their counter is now; UID 0 is the mailbox.
    Modseq(Vec<(u32, u64)>),
    /// From here on messages have counters of their own.
    ModseqEnabled,
    /// The mailbox itself.
    Deleted,
    Undeleted,
    Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expunged {
    pub uids: Uids,
    /// `None` where none was recorded.
    pub guid: Option<Guid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    pub uids: Uids,
    pub add: u8,
    pub remove: u8,
    /// Clients are to be told although nothing changed.
    pub forced: bool,
}

impl FlagChange {
    /// Whether clients cannot see it.
    pub fn is_internal(&self) -> bool {
        (self.add | self.remove) & super::flag::VISIBLE == 0 && !self.forced
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordChange {
    Add,
    Remove,
    Replace,
}

impl Log {
    /// Events of transactions that are whole, which is what Dovecot goes by.
    pub fn committed_events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().take_while(|event| event.offset < self.committed)
    }

    /// Whether this is the log that came right before `next`.
    pub fn precedes(&self, next: &Log) -> bool {
        let (Some(this), Some(next)) = (&self.header, &next.header) else { return false };
        this.indexid == next.indexid && this.file_seq == next.prev_file_seq && this.file_seq < next.file_seq
    }
}

/// Reads a log in any state.
pub fn parse(data: &[u8]) -> Log {
    let mut log = Log::default();
    let (header, start) = match header(data) {
        Ok(read) => read,
        Err(why) => {
            log.faults.add(0, why);
            return log;
        }
    };
    log.modseq = header.initial_modseq;
    let hides_internal = header.minor >= 3;
    log.header = Some(header);
    let (mut at, mut whole_at) = (start, start);
    while at < data.len() {
        let Some((number, payload, next)) = record(data, at) else {
            log.faults.add(at as u64, "a record goes beyond the end, or its size is none");
            break;
        };
        let read = match number & kind::MASK {
            kind::BOUNDARY => boundary(payload, at, data.len()).map(|is_whole| {
                if !is_whole && log.committed == 0 {
                    log.faults.add(at as u64, "a transaction was not finished");
                    log.committed = at as u64;
                }
                None
            }),
            number => change(number, payload),
        };
        let (changes, wrong) = match read {
            Ok(change) => (change, None),
            Err(Wrong { what, whole }) => (whole, Some(what)),
        };
        if let Some(change) = changes {
            log.modseq = count(log.modseq, number, &change, hides_internal);
            log.events.push(Event { offset: at as u64, modseq: log.modseq, origin: Origin::of(number), change });
        }
        if let Some(what) = wrong {
            log.faults.add(at as u64, what);
            break;
        }
        at = next;
        whole_at = at;
    }
    log.end = whole_at as u64;
    if log.committed == 0 {
        log.committed = log.end;
    }
    log
}

/// Type and content of the records that transactions which are whole have from an offset on, as Dovecot wrote them.
pub(super) fn records<'d>(data: &'d [u8], log: &Log, from: u64) -> impl Iterator<Item = (u32, &'d [u8])> {
    let (mut at, end) = (u16_at(data, 2).map_or(usize::MAX, usize::from), log.committed);
    let all = std::iter::from_fn(move || {
        let (number, payload, next) = record(data, at).filter(|_| (at as u64) < end)?;
        let found = (at as u64, number & kind::MASK, payload);
        at = next;
        Some(found)
    });
    all.filter(move |(at, _, _)| *at >= from).map(|(_, number, payload)| (number, payload))
}

fn header(data: &[u8]) -> Result<(Header, usize), &'static str> {
    let [major, minor, ..] = *data else { return Err("it is empty") };
    if major != MAJOR {
        return Err("it is of another major version");
    }
    let start = u16_at(data, 2).map_or(0, usize::from);
    let head = data.get(..start).filter(|head| head.len() >= HEADER_MIN).ok_or("the header is too short")?;
    if minor >= 2 && head.get(32).is_some_and(|flags| *flags != 1) {
        return Err("it is of a machine of another byte order");
    }
    let word = |at: usize| u32_at(head, at).unwrap_or_default();
    if word(4) == 0 {
        return Err("Dovecot marked it as broken");
    }
    let header = Header {
        minor,
        indexid: word(4),
        file_seq: word(8),
        prev_file_seq: word(12),
        prev_file_offset: word(16),
        created: word(20),
        initial_modseq: u64_at(head, 24).unwrap_or_default(),
    };
    Ok((header, start))
}

/// Type, content and end of the record at an offset.
fn record(data: &[u8], at: usize) -> Option<(u32, &[u8], usize)> {
    let packed: [u8; 4] = bytes(data, at)?;
    if packed.iter().any(|byte| byte & 0x80 == 0) {
        return None;
    }
    let length = packed.iter().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)) << 2;
    let next = at.checked_add(length)?;
    let payload = data.get(at + RECORD_HEADER..next)?;
    Some((u32_at(data, at + 4)?, payload, next))
}

/// What is wrong with a record, and the part of it that stands before that.
struct Wrong {
    what: &'static str,
    whole: Option<Change>,
}

impl Wrong {
    fn all(what: &'static str) -> Wrong {
        Wrong { what, whole: None }
    }
}

/// Whether the transaction that begins here ends within the log.
fn boundary(payload: &[u8], at: usize, length: usize) -> Result<bool, Wrong> {
    let spans = u32_at(payload, 0).ok_or(Wrong::all("the record is too short"))?;
    Ok(at.checked_add(size(spans)).is_some_and(|end| end <= length))
}

fn change(number: u32, payload: &[u8]) -> Result<Option<Change>, Wrong> {
    let length = Wrong::all("the record is no whole number of entries");
    let is = |entry: usize| !payload.is_empty() && payload.len().is_multiple_of(entry);
    let word = |entry: &[u8], at: usize| u32_at(entry, at).unwrap_or_default();
    Ok(Some(match number {
        kind::DELETED => Change::Deleted,
        kind::UNDELETED => Change::Undeleted,
        kind::ATTRIBUTE => Change::Attributes,
        kind::APPEND if is(8) => {
            let entries: Vec<(u32, u8)> = payload.chunks_exact(8).map(|entry| (word(entry, 0), entry[4])).collect();
            if entries.iter().any(|(uid, _)| *uid == 0) {
                return Err(Wrong::all("a UID is zero"));
            }
            Change::Append(entries)
        }
        kind::EXPUNGE if is(8) => {
            Change::Expunge(ranges(payload, 8)?.into_iter().map(|uids| Expunged { uids, guid: None }).collect())
        }
        kind::EXPUNGE_GUID if is(20) => expunged(payload)?,
        kind::FLAGS if is(12) => {
            let change = |(uids, entry): (Uids, &[u8])| FlagChange {
                uids,
                add: entry[8],
                remove: entry[9],
                forced: entry[10] != 0,
            };
            Change::Flags(ranges(payload, 12)?.into_iter().zip(payload.chunks_exact(12)).map(change).collect())
        }
        kind::KEYWORD => keyword(payload)?,
        kind::KEYWORD_RESET if is(8) => Change::KeywordReset(ranges(payload, 8)?),
        kind::HEADER => return header_update(payload),
        kind::MODSEQ if is(12) => {
            let entry = |entry: &[u8]| (word(entry, 0), u64_at(entry, 4).unwrap_or_default());
            Change::Modseq(payload.chunks_exact(12).map(entry).collect())
        }
        kind::EXT_INTRO => {
            let name_size = u16_at(payload, 18).map_or(0, usize::from);
            return Ok((payload.get(20..20 + name_size) == Some(b"modseq")).then_some(Change::ModseqEnabled));
        }
        number if kind::OTHERS.contains(&number) => return Ok(None),
        kind::APPEND | kind::EXPUNGE | kind::EXPUNGE_GUID | kind::FLAGS | kind::KEYWORD_RESET | kind::MODSEQ => {
            return Err(length);
        }
        _ => return Err(Wrong::all("the record is of an unknown type")),
    }))
}

/// UIDs from and to, which ascend over all entries of a record.
fn ranges(payload: &[u8], entry: usize) -> Result<Vec<Uids>, Wrong> {
    let mut last = 0;
    let range = |entry: &[u8]| {
        let (from, to) = (u32_at(entry, 0)?, u32_at(entry, 4)?);
        let fits = from > last && to >= from;
        last = to;
        fits.then_some(from..=to)
    };
    let found: Option<Vec<Uids>> = payload.chunks_exact(entry).map(range).collect();
    found.filter(|found| !found.is_empty()).ok_or(Wrong::all("the UIDs are no ascending ranges"))
}

fn expunged(payload: &[u8]) -> Result<Change, Wrong> {
    let mut found: Vec<Expunged> = Vec::new();
    for entry in payload.chunks_exact(20) {
        let uid = u32_at(entry, 0).unwrap_or_default();
        let guid = bytes(entry, 4).filter(|guid| *guid != NO_GUID);
        if found.last().map_or(0, |last| *last.uids.end()) >= uid {
            // Dovecot sorts them: what follows was written by something else.
            return Err(Wrong { what: "expunged UIDs do not ascend", whole: Some(Change::Expunge(found)) });
        }
        found.push(Expunged { uids: uid..=uid, guid });
    }
    Ok(Change::Expunge(found))
}

fn keyword(payload: &[u8]) -> Result<Change, Wrong> {
    let broken = || Wrong::all("the change of a keyword is broken");
    let how = match payload.first() {
        Some(0) => KeywordChange::Add,
        Some(1) => KeywordChange::Remove,
        Some(2) => KeywordChange::Replace,
        _ => return Err(broken()),
    };
    let name_end = 4 + u16_at(payload, 2).map_or(0, usize::from);
    let name = payload.get(4..name_end).filter(|name| !name.is_empty() && !name.contains(&0)).ok_or_else(broken)?;
    let uids = payload.get(name_end.next_multiple_of(4)..).ok_or_else(broken)?;
    if uids.is_empty() || !uids.len().is_multiple_of(8) {
        return Err(broken());
    }
    Ok(Change::Keyword { name: name.to_vec(), how, uids: ranges(uids, 8)? })
}

/// What a record changes in the header of the index, as far as it matters here.
fn header_update(payload: &[u8]) -> Result<Option<Change>, Wrong> {
    let (mut uid_validity, mut next_uid) = (None, None);
    let mut at = 0;
    while at + 4 <= payload.len() {
        let offset = u16_at(payload, at).map_or(0, usize::from);
        let length = u16_at(payload, at + 2).map_or(0, usize::from);
        let Some(data) = payload.get(at + 4..at + 4 + length) else {
            return Err(Wrong::all("a change of the header goes beyond its record"));
        };
        let field = |field: usize| u32_at(data, field.checked_sub(offset)?);
        uid_validity = field(UID_VALIDITY_AT).or(uid_validity);
        next_uid = field(NEXT_UID_AT).or(next_uid);
        at = (at + 4 + length).next_multiple_of(4);
    }
    let matters = uid_validity.is_some() || next_uid.is_some();
    Ok(matters.then_some(Change::Header { uid_validity, next_uid }))
}

/// The counter of changes after one of them.
fn count(modseq: u64, number: u32, change: &Change, hides_internal: bool) -> u64 {
    if modseq == 0 {
        return u64::from(*change == Change::ModseqEnabled);
    }
    let visible = match change {
        Change::Expunge(_) => Origin::of(number).is_done(),
        Change::Append(_) | Change::Keyword { .. } | Change::KeywordReset(_) | Change::Attributes => true,
        Change::Flags(changes) => !hides_internal || !changes.iter().all(FlagChange::is_internal),
        Change::Modseq(entries) => return entries.iter().map(|(_, modseq)| *modseq).fold(modseq, u64::max),
        Change::Header { .. } | Change::ModseqEnabled | Change::Deleted | Change::Undeleted => false,
    };
    modseq.saturating_add(u64::from(visible))
}
