//! A log with which the server begins the indexes of a mailbox anew, and forgets nothing that clients or partners know.
//!
//! The server makes the indexes from the mail and the list of UIDs, and those of sdbox, which has no such list, from the
//! log itself. What only the old ones knew stands in it: how often the mailbox had changed, and which flags are our
//! side's last word. dsync goes by what logs say of flags: a
//! partner's log that still has a change would else win over flags that were set since.

use super::extras::{DBOX, GUIDS, MDBOX, NUMBERS};
use super::flag;
use super::index::{FIRST_RECENT_AT, NEXT_UID_AT, UID_VALIDITY_AT};
use crate::model::server::Shown;
use std::collections::BTreeMap;

const APPEND_EXTERNAL: u32 = 0x1000_0002;
const FLAGS_EXTERNAL: u32 = 0x1000_0004;
const HEADER_EXTERNAL: u32 = 0x1000_0020;
const EXT_INTRO_EXTERNAL: u32 = 0x1000_0040;
const EXT_HEADER_EXTERNAL: u32 = 0x1000_0100;
const EXT_RECORDS_EXTERNAL: u32 = 0x1000_0200;
const KEYWORD_EXTERNAL: u32 = 0x1000_0400;
const KEYWORD_RESET_EXTERNAL: u32 = 0x1000_0800;
/// The extension of mbox files, its bytes for the mailbox, and where in these the GUID stands.
pub const MBOX: &[u8] = b"mbox";
const MBOX_HEADER: u32 = 32;
const MBOX_GUID_AT: u16 = 16;
/// Entries of one record, so that no record grows beyond what Dovecot itself would write.
const ENTRIES: usize = 4096;

/// What clients see of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    pub uid: u32,
    /// See [`super::flag`].
    pub flags: u8,
    pub keywords: Vec<Vec<u8>>,
}

/// Where a log begins, and what its header says of the mailbox's past. `created` is in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Start {
    pub indexid: u32,
    pub file_seq: u32,
    pub created: u32,
    pub modseq: u64,
}

/// What one part of the server keeps in an index under a name of its own.
pub(in crate::store) struct Extension<'n> {
    pub name: &'n [u8],
    /// Bytes for the mailbox as a whole.
    pub head: u32,
    /// Bytes for each message, and their alignment.
    pub width: u16,
    pub align: u16,
}

/// A mailbox whose index alone knows which messages there are (sdbox, mdbox).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// As in the files that are there: then a log without a past replaces all of them at once.
    pub indexid: u32,
    pub file_seq: u32,
    pub modseq: u64,
    pub uid_validity: u32,
    pub next_uid: u32,
    pub mailbox_guid: [u8; 16],
}

/// Which messages of a storage that mailboxes share (mdbox) one of them shows, by UID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbered {
    pub map_validity: u32,
    pub shown: BTreeMap<u32, Shown>,
}

/// The log. `indexid` and the time of creation are the same number, as Dovecot has it. Seconds since 1970. `messages`
/// ascend by UID; those that the server has not indexed yet are passed over when it reads them.
pub fn log(indexid: u32, file_seq: u32, modseq: u64, messages: &[Marks]) -> Vec<u8> {
    let mut log = begin(Start { indexid, file_seq, created: indexid, modseq });
    say(&mut log, messages);
    log
}

/// A log that makes the whole index of an sdbox mailbox, as the server's own does when it begins one anew; but it says
/// each message's flags once more as a change, for dsync takes a partner's word before what an index merely has.
///
/// Of mdbox it says too which messages of the `storage` they are.
pub fn register(register: &Register, created: u32, messages: &[Marks], storage: Option<&Numbered>) -> Vec<u8> {
    let Register { indexid, file_seq, modseq, uid_validity, next_uid, mailbox_guid } = *register;
    let mut log = begin(Start { indexid, file_seq, created, modseq });
    // How often it was made anew, or which map it goes by; the GUID, flags.
    let (name, first) = storage.map_or((DBOX, 0), |storage| (MDBOX, storage.map_validity));
    intro(&mut log, &Extension { name, head: 24, width: 0, align: 0 });
    extension_head(&mut log, &[&first.to_le_bytes()[..], &mailbox_guid, &[0; 4]].concat());
    header(&mut log, UID_VALIDITY_AT, uid_validity);
    append(&mut log, messages.iter().map(|marks| (marks.uid, marks.flags & (flag::VISIBLE | flag::BACKEND))));
    if let Some(storage) = storage {
        let shown = || messages.iter().filter_map(|marks| storage.shown.get(&marks.uid));
        let numbers = shown().map(|one| (one.uid, [one.number, one.saved].map(u32::to_le_bytes).concat()));
        values(&mut log, &Extension { name: NUMBERS, head: 0, width: 8, align: 4 }, &numbers.collect::<Vec<_>>());
        let guids = shown().map(|one| (one.uid, one.guid.to_vec()));
        values(&mut log, &Extension { name: GUIDS, head: 0, width: 16, align: 1 }, &guids.collect::<Vec<_>>());
    }
    header(&mut log, NEXT_UID_AT, next_uid);
    header(&mut log, FIRST_RECENT_AT, next_uid);
    say(&mut log, messages);
    log
}

/// Appends messages, each with its flags.
pub(in crate::store) fn append(log: &mut Vec<u8>, messages: impl Iterator<Item = (u32, u8)>) {
    let entries: Vec<[u8; 8]> = messages
        .map(|(uid, flags)| {
            let [a, b, c, d] = uid.to_le_bytes();
            [a, b, c, d, flags, 0, 0, 0]
        })
        .collect();
    entries.chunks(ENTRIES).for_each(|part| record(log, APPEND_EXTERNAL, &part.concat()));
}

/// Begins an extension, which the next records are about.
pub(in crate::store) fn intro(log: &mut Vec<u8>, extension: &Extension<'_>) {
    let Extension { name, head, width, align } = extension;
    let length = u16::try_from(name.len()).unwrap_or_default();
    let mut intro = [[0xff; 4], [0; 4], head.to_le_bytes()].concat();
    for number in [*width, *align, 0, length] {
        intro.extend(number.to_le_bytes());
    }
    intro.extend(*name);
    intro.resize(intro.len().next_multiple_of(4), 0);
    record(log, EXT_INTRO_EXTERNAL, &intro);
}

/// What the extension has for the mailbox as a whole.
pub(in crate::store) fn extension_head(log: &mut Vec<u8>, head: &[u8]) {
    let length = u16::try_from(head.len()).unwrap_or_default();
    let place = [0u16, length].map(u16::to_le_bytes).concat();
    record(log, EXT_HEADER_EXTERNAL, &[&place[..], head].concat());
}

/// What the extension has for each message.
pub(in crate::store) fn values(log: &mut Vec<u8>, extension: &Extension<'_>, values: &[(u32, Vec<u8>)]) {
    for part in values.chunks(ENTRIES) {
        // One that is not named right before its values may be taken for the one that was named last.
        intro(log, extension);
        let mut entries = Vec::new();
        for (uid, value) in part {
            entries.extend(uid.to_le_bytes());
            entries.extend(value);
            entries.resize(entries.len().next_multiple_of(4), 0);
        }
        record(log, EXT_RECORDS_EXTERNAL, &entries);
    }
}

/// One number of the index's header.
pub(in crate::store) fn header(log: &mut Vec<u8>, at: usize, number: u32) {
    let at = u16::try_from(at).unwrap_or_default();
    let update = [&at.to_le_bytes()[..], &[4, 0], &number.to_le_bytes()].concat();
    record(log, HEADER_EXTERNAL, &update);
}

/// The header of a log that follows none.
pub(in crate::store) fn begin(start: Start) -> Vec<u8> {
    let mut log = vec![1, 3, 40, 0];
    for number in [start.indexid, start.file_seq, 0, 0, start.created] {
        log.extend(number.to_le_bytes());
    }
    log.extend(start.modseq.to_le_bytes());
    // Little-endian fields, and padding.
    log.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    log
}

/// Flags and keywords of all messages, as our side's last word.
fn say(log: &mut Vec<u8>, messages: &[Marks]) {
    for part in messages.chunks(ENTRIES) {
        let entries = part.iter().flat_map(|marks| {
            let [a, b, c, d] = marks.uid.to_le_bytes();
            let flags = marks.flags & flag::VISIBLE;
            [a, b, c, d, a, b, c, d, flags, flag::VISIBLE & !flags, 0, 0]
        });
        record(log, FLAGS_EXTERNAL, &entries.collect::<Vec<u8>>());
    }
    if let Some(last) = messages.last() {
        let all = [1u32.to_le_bytes(), last.uid.to_le_bytes()].concat();
        record(log, KEYWORD_RESET_EXTERNAL, &all);
    }
    let mut by_keyword: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
    for marks in messages {
        marks.keywords.iter().for_each(|keyword| by_keyword.entry(keyword).or_default().push(marks.uid));
    }
    for (keyword, uids) in by_keyword {
        let Ok(length) = u16::try_from(keyword.len()) else { continue };
        for part in uids.chunks(ENTRIES) {
            let mut payload = vec![0, 0];
            payload.extend(length.to_le_bytes());
            payload.extend_from_slice(keyword);
            payload.resize(payload.len().next_multiple_of(4), 0);
            part.iter().for_each(|uid| payload.extend([uid.to_le_bytes(), uid.to_le_bytes()].concat()));
            record(log, KEYWORD_EXTERNAL, &payload);
        }
    }
}

/// Appends the GUID of a mailbox that is an mbox file: nothing but the indexes knows it, and partners of a sync do.
pub fn file_guid(log: &mut Vec<u8>, guid: &[u8; 16]) {
    intro(log, &Extension { name: MBOX, head: MBOX_HEADER, width: 8, align: 8 });
    let place = [MBOX_GUID_AT, 16].map(u16::to_le_bytes).concat();
    record(log, EXT_HEADER_EXTERNAL, &[&place[..], guid].concat());
}

/// The GUID in what the extension of mbox files has for the mailbox.
pub fn guid_of_file(header: &[u8]) -> Option<[u8; 16]> {
    let at = usize::from(MBOX_GUID_AT);
    let guid: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
    (guid != [0; 16]).then_some(guid)
}

/// Appends a record: its length in words, seven bits in a byte, then the kind and the content.
fn record(log: &mut Vec<u8>, kind: u32, payload: &[u8]) {
    let words = (payload.len() + 8) >> 2;
    let packed = [21, 14, 7, 0].map(|shift| 0x80 | u8::try_from(words >> shift & 0x7f).unwrap_or_default());
    log.extend(packed);
    log.extend(kind.to_le_bytes());
    log.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::log::{Change, parse};

    #[test]
    fn what_is_written_is_read_again() {
        let empty = parse(&log(1_700_000_000, 7, 40, &[]));
        let header = empty.header.clone().unwrap();
        assert_eq!((header.indexid, header.created, header.file_seq), (1_700_000_000, 1_700_000_000, 7));
        assert_eq!((empty.modseq, empty.events.len(), empty.faults.count), (40, 0, 0));
        let marks = |uid, flags, keywords: &[&str]| Marks {
            uid,
            flags,
            keywords: keywords.iter().map(|name| name.as_bytes().to_vec()).collect(),
        };
        let messages = [marks(2, flag::SEEN, &["work"]), marks(9, flag::FLAGGED | flag::DIRTY, &["work", "$Label1"])];
        let read = parse(&log(5, 1, 40, &messages));
        assert_eq!(read.faults.count, 0, "{:?}", read.faults);
        assert!(read.modseq >= 40 && read.committed == read.end);
        let changes: Vec<&Change> = read.committed_events().map(|event| &event.change).collect();
        let [
            Change::Flags(flags),
            Change::KeywordReset(all),
            Change::Keyword { .. },
            Change::Keyword { name, uids, .. },
        ] = changes[..]
        else {
            panic!("{changes:?}")
        };
        let told: Vec<_> = flags.iter().map(|change| (*change.uids.start(), change.add, change.remove)).collect();
        assert_eq!(told, [(2, flag::SEEN, 0x1f & !flag::SEEN), (9, flag::FLAGGED, 0x1f & !flag::FLAGGED)]);
        assert_eq!(all[..], [1..=9]);
        assert_eq!((&name[..], &uids[..]), (&b"work"[..], &[2..=2, 9..=9][..]));
    }

    #[test]
    fn the_guid_of_a_file_is_read_again() {
        use crate::store::dovecot::extras;
        let mut log = log(1_700_000_000, 7, 40, &[]);
        file_guid(&mut log, &[7; 16]);
        assert_eq!(parse(&log).faults.count, 0);
        let files = extras::Files { index: None, logs: vec![log] };
        let heads = extras::read(&files, &[MBOX]).heads;
        assert_eq!((heads[0].len(), guid_of_file(&heads[0])), (32, Some([7; 16])));
        assert_eq!(guid_of_file(&[0; 32]), None);
    }

    #[test]
    fn a_register_makes_the_whole_index() {
        let marks = |uid, flags, keywords: &[&str]| Marks {
            uid,
            flags,
            keywords: keywords.iter().map(|name| name.as_bytes().to_vec()).collect(),
        };
        let messages = [marks(2, flag::SEEN, &["work"]), marks(9, flag::FLAGGED | flag::BACKEND | flag::DIRTY, &[])];
        let guid = *b"0123456789abcdef";
        let made = Register { indexid: 5, file_seq: 4, modseq: 40, uid_validity: 77, next_uid: 12, mailbox_guid: guid };
        let data = register(&made, 1_700_000_000, &messages, None);
        let read = parse(&data);
        assert_eq!((read.faults.count, read.committed), (0, data.len() as u64), "{:?}", read.faults);
        let header = read.header.clone().unwrap();
        assert_eq!((header.indexid, header.file_seq, header.prev_file_seq, header.created), (5, 4, 0, 1_700_000_000));
        let state = crate::store::dovecot::state::replay(None, &[&read]);
        assert_eq!((state.uid_validity, state.next_uid, state.complete), (77, 12, true));
        assert!(state.highest_modseq >= 40);
        let flags: Vec<(u32, u8)> = state.messages.iter().map(|(uid, message)| (*uid, message.flags)).collect();
        assert_eq!(flags, [(2, flag::SEEN), (9, flag::FLAGGED | flag::BACKEND)]);
        assert!(state.keywords_of(&state.messages[&2]).eq([b"work".as_slice()]));
        let files = crate::store::dovecot::extras::Files { index: None, logs: vec![data] };
        let extras = crate::store::dovecot::extras::read(&files, &[crate::store::dovecot::extras::DBOX]);
        assert_eq!(extras.heads[0].get(4..20), Some(&guid[..]));
        // And of mdbox.
        let shown = |uid, number| Shown { uid, number, saved: 60 + number, guid: [number as u8; 16] };
        let all = [shown(2, 70), shown(9, 71), shown(10, 72)];
        let storage = Numbered { map_validity: 8, shown: all.map(|one| (one.uid, one)).into() };
        let data = register(&made, 1_700_000_000, &messages, Some(&storage));
        let files = crate::store::dovecot::extras::Files { index: None, logs: vec![data] };
        let read = crate::store::mdbox::map::Index::read(&files);
        let told: Vec<_> = read.shown.iter().map(|one| (one.uid, one.number, one.guid)).collect();
        assert_eq!(told, [(2, Some(70), Some([70; 16])), (9, Some(71), Some([71; 16]))]);
        let head = crate::store::dovecot::extras::read(&files, &[MDBOX]).heads.remove(0);
        assert_eq!((&head[..4], &head[4..20]), (&[8, 0, 0, 0][..], &guid[..]));
    }

    #[test]
    fn large_mailboxes_are_split() {
        let messages: Vec<Marks> =
            (1..=10_000).map(|uid| Marks { uid, keywords: vec![b"k".to_vec()], ..Marks::default() }).collect();
        let read = parse(&log(5, 1, 1, &messages));
        assert_eq!((read.faults.count, read.events.len()), (0, 3 + 1 + 3));
    }
}
