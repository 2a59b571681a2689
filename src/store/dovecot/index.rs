//! `dovecot.index`: what Dovecot last knew of every message of a mailbox. Later changes stand in the log only, and
//! a small mailbox may have a log and no index: [`super::state`] puts both together.

use super::raw::{Faults, ascending, bytes, size, u16_at, u32_at, u64_at};

const MAJOR: u8 = 7;
/// Sizes below which a header, an extension's header and a record are none. Bytes.
const HEADER_MIN: usize = 120;
const EXTENSION_MIN: usize = 16;
const RECORD_MIN: usize = 5;
/// Dovecot and its plugins have a dozen; a header full of them must not cost the square of its size.
const EXTENSIONS_MAX: usize = 256;
/// Bytes of the longest name of an extension.
const NAME_MAX: usize = 64;

/// Where the header has what logs change too.
pub(in crate::store) const UID_VALIDITY_AT: usize = 24;
pub(in crate::store) const NEXT_UID_AT: usize = 28;
/// Flags of the whole; [`DOUBTED`] is one.
pub(in crate::store) const FLAGS_AT: usize = 20;
/// The server found fault with it, and makes all that goes by it anew at the next change.
pub(in crate::store) const DOUBTED: u32 = 4;
/// How far the log has been worked off, in bytes.
pub(in crate::store) const TAIL_AT: usize = 64;
/// Where it has the first UID that no client has seen yet.
pub(super) const FIRST_RECENT_AT: usize = 48;
/// Where a record has its UID.
pub(super) const UIDS_AT: usize = 0;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    pub header: Header,
    pub extensions: Vec<Extension>,
    /// Names by number; numbers are this index's own, not the letters of file names.
    pub keywords: Vec<Vec<u8>>,
    pub modseq: Option<Modseq>,
    /// By ascending UID.
    pub messages: Vec<Message>,
    /// By offset.
    pub faults: Faults,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub minor: u8,
    /// Bytes before the first record.
    pub size: u32,
    pub record_size: u32,
    /// The same in the logs and the cache that belong to this index.
    pub indexid: u32,
    pub flags: u32,
    pub uid_validity: u32,
    pub next_uid: u32,
    pub messages: u32,
    pub seen: u32,
    pub deleted: u32,
    pub first_recent_uid: u32,
    /// The log up to whose head offset everything is in this index, and up to whose tail offset requests were met.
    pub log_file_seq: u32,
    pub log_tail_offset: u32,
    pub log_head_offset: u32,
}

/// What a part of Dovecot keeps in the header and in every record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    pub name: Vec<u8>,
    pub reset_id: u32,
    /// In the header.
    pub data: Vec<u8>,
    pub record_offset: u16,
    pub record_size: u16,
}

/// The counter of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modseq {
    pub highest: u64,
    pub log_seq: u32,
    pub log_offset: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub uid: u32,
    /// See [`super::flag`].
    pub flags: u8,
    /// A bit for each number of a keyword, the lowest first.
    pub keywords: Vec<u8>,
    /// 0 where there is none.
    pub modseq: u64,
}

impl Index {
    pub fn get(&self, uid: u32) -> Option<&Message> {
        let place = self.messages.binary_search_by_key(&uid, |message| message.uid).ok()?;
        self.messages.get(place)
    }

    /// Names of a message's keywords.
    pub fn keywords_of<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a [u8]> {
        let names = self.keywords.iter().enumerate();
        names.filter(|(number, _)| has_bit(&message.keywords, *number)).map(|(_, name)| name.as_slice())
    }
}

pub(super) fn has_bit(bits: &[u8], number: usize) -> bool {
    bits.get(number / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1)
}

/// Reads an index in any state; without a header there are no messages.
pub fn parse(data: &[u8]) -> Index {
    let mut index = Index::default();
    match header(data) {
        Ok(header) => index.header = header,
        Err(why) => {
            index.faults.add(0, why);
            return index;
        }
    }
    let head = data.get(..size(index.header.size)).unwrap_or(data);
    if head.len() < size(index.header.size) {
        index.faults.add(data.len() as u64, "the header is cut");
    }
    extensions(head, &mut index);
    let named = |name: &[u8]| index.extensions.iter().find(|extension| extension.name == name);
    let (modseq, keywords) = (named(b"modseq").cloned(), named(b"keywords").cloned());
    if let Some(extension) = &modseq {
        let numbers = (u64_at(&extension.data, 0), u32_at(&extension.data, 8), u32_at(&extension.data, 12));
        match numbers {
            (Some(highest), Some(log_seq), Some(log_offset)) => {
                index.modseq = Some(Modseq { highest, log_seq, log_offset });
            }
            _ => index.faults.add(0, "the header of modseq is too short"),
        }
    }
    if let Some(extension) = &keywords {
        match keyword_names(&extension.data) {
            Ok(names) => index.keywords = names,
            Err(why) => index.faults.add(0, why),
        }
    }
    messages(data, &mut index, keywords.as_ref(), modseq.as_ref());
    index
}

fn header(data: &[u8]) -> Result<Header, &'static str> {
    let word = |at: usize| u32_at(data, at).unwrap_or_default();
    let [major, minor, ..] = *data else { return Err("it is empty") };
    if major != MAJOR {
        return Err("it is of another major version");
    }
    let base = u16_at(data, 2).map_or(0, usize::from);
    let header_size = word(4);
    if data.len() < HEADER_MIN || base < HEADER_MIN || size(header_size) < base || base > data.len() {
        return Err("the header is too short");
    }
    if data[12] != 1 {
        return Err("it is of a machine of another byte order");
    }
    if size(word(8)) < RECORD_MIN {
        return Err("records are too short");
    }
    Ok(Header {
        minor,
        size: header_size,
        record_size: word(8),
        indexid: word(16),
        flags: word(20),
        uid_validity: word(UID_VALIDITY_AT),
        next_uid: word(NEXT_UID_AT),
        messages: word(32),
        seen: word(40),
        deleted: word(44),
        first_recent_uid: word(FIRST_RECENT_AT),
        log_file_seq: word(60),
        log_tail_offset: word(64),
        log_head_offset: word(68),
    })
}

fn extensions(head: &[u8], index: &mut Index) {
    let mut at = u16_at(head, 2).map_or(usize::MAX, |base| align(usize::from(base)));
    while at < head.len() {
        match extension(head, at, index.header.record_size) {
            Ok(_) if index.extensions.len() == EXTENSIONS_MAX => {
                return index.faults.add(at as u64, "there are too many extensions");
            }
            Ok((extension, _)) if index.extensions.iter().any(|known| known.name == extension.name) => {
                return index.faults.add(at as u64, "an extension comes twice");
            }
            Ok((extension, next)) => {
                index.extensions.push(extension);
                at = next;
            }
            // Where the next one begins is not known either.
            Err(why) => return index.faults.add(at as u64, why),
        }
    }
}

fn extension(head: &[u8], at: usize, record_size: u32) -> Result<(Extension, usize), &'static str> {
    let outside = "an extension goes beyond the header";
    let half = |offset: usize| u16_at(head, at + offset).ok_or(outside);
    let data_size = size(u32_at(head, at).ok_or(outside)?);
    let reset_id = u32_at(head, at + 4).ok_or(outside)?;
    let (record_offset, own_size, name_size) = (half(8)?, half(10)?, usize::from(half(14)?));
    let name_at = at + EXTENSION_MIN;
    let name = head.get(name_at..name_at + name_size).ok_or(outside)?;
    if name.is_empty() || name.len() > NAME_MAX || !name.iter().all(u8::is_ascii_graphic) {
        return Err("the name of an extension is none");
    }
    let data_at = align(name_at + name_size);
    let end = data_at.checked_add(data_size).ok_or(outside)?;
    let data = head.get(data_at..end).ok_or(outside)?;
    if own_size > 0 && u32::from(record_offset) + u32::from(own_size) > record_size {
        return Err("an extension goes beyond its records");
    }
    let extension =
        Extension { name: name.to_vec(), reset_id, data: data.to_vec(), record_offset, record_size: own_size };
    Ok((extension, align(end)))
}

/// To the next multiple of 8.
fn align(at: usize) -> usize {
    at.saturating_add(7) & !7
}

fn keyword_names(data: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let broken = "the list of keywords is broken";
    let count = size(u32_at(data, 0).ok_or(broken)?);
    let names_at = count.checked_mul(8).and_then(|length| length.checked_add(4)).ok_or(broken)?;
    let names = data.get(names_at..).ok_or(broken)?;
    let mut list = Vec::new();
    let mut total = 0;
    for number in 0..count {
        let offset = size(u32_at(data, 4 + number * 8 + 4).ok_or(broken)?);
        let rest = names.get(offset..).ok_or(broken)?;
        let name = &rest[..rest.iter().position(|&byte| byte == 0).ok_or(broken)?];
        // Names that overlap could make a list much longer than the file.
        total += name.len() + 1;
        if name.is_empty() || total > names.len() {
            return Err(broken);
        }
        list.push(name.to_vec());
    }
    Ok(list)
}

fn messages(data: &[u8], index: &mut Index, keywords: Option<&Extension>, modseq: Option<&Extension>) {
    let header = &index.header;
    let (start, step) = (size(header.size), size(header.record_size));
    let records = data.get(start..).unwrap_or_default();
    let wanted = size(header.messages);
    let mut found = Vec::with_capacity(wanted.min(records.len() / step));
    let mut places = Vec::with_capacity(found.capacity());
    for (number, record) in records.chunks_exact(step).take(wanted).enumerate() {
        let at = (start + number * step) as u64;
        let part = |extension: Option<&Extension>| {
            let extension = extension?;
            let offset = usize::from(extension.record_offset);
            record.get(offset..offset + usize::from(extension.record_size))
        };
        let uid = u32_at(record, 0).unwrap_or_default();
        if uid == 0 || uid >= index.header.next_uid {
            index.faults.add(at, "a UID is zero, or not below the next one");
            continue;
        }
        let modseq = part(modseq).and_then(|part| bytes(part, 0)).map_or(0, u64::from_le_bytes);
        found.push(Message { uid, flags: record[4], keywords: part(keywords).unwrap_or_default().to_vec(), modseq });
        places.push(at);
    }
    if records.len() / step < wanted {
        index.faults.add(data.len() as u64, "records are missing at the end");
    }
    let uids: Vec<u32> = found.iter().map(|message| message.uid).collect();
    if let Some(keep) = ascending(&uids) {
        for (at, _) in places.iter().zip(&keep).filter(|(_, keep)| !**keep) {
            index.faults.add(*at, "the UIDs do not ascend");
        }
        let mut keep = keep.into_iter();
        found.retain(|_| keep.next().unwrap_or(false));
    }
    index.messages = found;
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = include_bytes!("../../../testdata/dovecot/index");

    #[test]
    fn a_real_index_is_read_as_dovecot_dumps_it() {
        let index = parse(REAL);
        assert!(index.faults.is_empty(), "{:?}", index.faults);
        assert_eq!(index.header.messages, 4);
        assert_eq!(index.header.next_uid, 9);
        let uids: Vec<u32> = index.messages.iter().map(|message| message.uid).collect();
        assert_eq!(uids, [1, 2, 3, 6]);
        assert_eq!(index.keywords, [b"$Label1".to_vec(), b"Foo".to_vec()]);
        let named = |uid| index.keywords_of(index.get(uid).unwrap()).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(named(1), [b"$Label1".to_vec(), b"Foo".to_vec()]);
        assert_eq!(named(2), [b"$Label1".to_vec()]);
        assert_eq!(named(6), Vec::<Vec<u8>>::new());
        assert_eq!(index.get(1).unwrap().flags, 8);
        let modseq = index.modseq.unwrap();
        assert_eq!(index.messages.iter().map(|m| m.modseq).collect::<Vec<_>>(), [15, 17, 20, 25]);
        assert_eq!(modseq.highest, 25);
        assert_eq!(modseq.log_seq, index.header.log_file_seq);
    }

    #[test]
    fn a_cut_index_keeps_the_records_before_the_cut() {
        let index = parse(&REAL[..REAL.len() - 1]);
        assert_eq!((index.messages.len(), index.faults.count), (3, 1));
        let header = parse(&REAL[..200]);
        assert!(header.messages.is_empty() && !header.faults.is_empty());
        assert_eq!(header.header.next_uid, 9);
        assert_eq!(parse(&REAL[..60]).header, Header::default());
    }

    #[test]
    fn extensions_without_end_end() {
        let mut data = REAL[..120].to_vec();
        for number in 0..3000u32 {
            let name = format!("{number:08}");
            data.extend([&[0; 14][..], &[8, 0], name.as_bytes()].concat());
        }
        let size = u32::try_from(data.len()).unwrap();
        data[4..8].copy_from_slice(&size.to_le_bytes());
        let index = parse(&data);
        assert_eq!(index.extensions.len(), EXTENSIONS_MAX);
        assert_eq!(index.faults.first[0].what, "there are too many extensions");
    }

    #[test]
    fn a_broken_extension_leaves_uids_and_flags() {
        let mut data = REAL.to_vec();
        data[120] = 0xff;
        data[121] = 0xff;
        let index = parse(&data);
        assert_eq!((index.messages.len(), index.extensions.len()), (4, 0));
        assert_eq!((index.messages[0].flags, index.messages[0].modseq), (8, 0));
        assert!(!index.faults.is_empty());
    }
}
