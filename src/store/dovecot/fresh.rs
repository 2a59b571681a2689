//! A log with which the server begins the indexes of a mailbox anew, and forgets nothing that clients or partners know.
//!
//! The server makes the indexes from the mail and the list of UIDs. What only the old ones knew stands in the log: how
//! often the mailbox had changed, and which flags are our side's last word. dsync goes by what logs say of flags: a
//! partner's log that still has a change would else win over flags that were set since.

use super::flag;
use std::collections::BTreeMap;

const FLAGS_EXTERNAL: u32 = 0x1000_0004;
const KEYWORD_EXTERNAL: u32 = 0x1000_0400;
const KEYWORD_RESET_EXTERNAL: u32 = 0x1000_0800;
const EXTENSION_EXTERNAL: u32 = 0x1000_0040;
const EXTENSION_HEADER_EXTERNAL: u32 = 0x1000_0100;
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

/// The log. `indexid` and the time of creation are the same number, as Dovecot has it. Seconds since 1970. `messages`
/// ascend by UID; those that the server has not indexed yet are passed over when it reads them.
pub fn log(indexid: u32, file_seq: u32, modseq: u64, messages: &[Marks]) -> Vec<u8> {
    let mut log = vec![1, 3, 40, 0];
    for number in [indexid, file_seq, 0, 0, indexid] {
        log.extend(number.to_le_bytes());
    }
    log.extend(modseq.to_le_bytes());
    // Little-endian fields, and padding.
    log.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    for part in messages.chunks(ENTRIES) {
        let entries = part.iter().flat_map(|marks| {
            let [a, b, c, d] = marks.uid.to_le_bytes();
            let flags = marks.flags & flag::VISIBLE;
            [a, b, c, d, a, b, c, d, flags, flag::VISIBLE & !flags, 0, 0]
        });
        record(&mut log, FLAGS_EXTERNAL, &entries.collect::<Vec<u8>>());
    }
    if let Some(last) = messages.last() {
        let all = [1u32.to_le_bytes(), last.uid.to_le_bytes()].concat();
        record(&mut log, KEYWORD_RESET_EXTERNAL, &all);
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
            record(&mut log, KEYWORD_EXTERNAL, &payload);
        }
    }
    log
}

/// Appends the GUID of a mailbox that is an mbox file: nothing but the indexes knows it, and partners of a sync do.
pub fn file_guid(log: &mut Vec<u8>, guid: &[u8; 16]) {
    let mut intro = vec![0xff; 4];
    for number in [0, MBOX_HEADER] {
        intro.extend(number.to_le_bytes());
    }
    // Size and alignment of what each message has, no flags, and the length of the name.
    intro.extend([8, 0, 8, 0, 0, 0, 4, 0]);
    intro.extend(MBOX);
    record(log, EXTENSION_EXTERNAL, &intro);
    let place = [MBOX_GUID_AT, 16].map(u16::to_le_bytes).concat();
    record(log, EXTENSION_HEADER_EXTERNAL, &[&place[..], guid].concat());
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
        let headers = extras::read(&files, &[MBOX]).headers;
        assert_eq!((headers[0].len(), guid_of_file(&headers[0])), (32, Some([7; 16])));
        assert_eq!(guid_of_file(&[0; 32]), None);
    }

    #[test]
    fn large_mailboxes_are_split() {
        let messages: Vec<Marks> =
            (1..=10_000).map(|uid| Marks { uid, keywords: vec![b"k".to_vec()], ..Marks::default() }).collect();
        let read = parse(&log(5, 1, 1, &messages));
        assert_eq!((read.faults.count, read.events.len()), (0, 3 + 1 + 3));
    }
}
