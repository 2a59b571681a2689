//! `dovecot-uidlist`: the UID of every message of a Maildir folder.
//!
//! At the first line that does not parse Dovecot removes the file and gives every message that stands on a later
//! line a new UID. Here every line that is still whole is kept, and nothing is written that Dovecot would not take.

use super::hash::{Guid, NO_GUID, hex_guid};
use super::raw::{Fault, Faults, Line, ascending, decimal, lines};
use std::fmt::Write;

/// The list, as it is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uidlist {
    /// 3, or 1 as Dovecot wrote before 2008.
    pub version: u8,
    /// 0 where it could not be read.
    pub uidvalidity: u32,
    /// As the head of the list has it; 0 where it could not be read. See [`Uidlist::next_uid`].
    pub head_next_uid: u32,
    pub mailbox_guid: Option<Guid>,
    /// What else the head says, such as `P` for the last POP3 UIDL, in its order.
    pub extra: Vec<Field>,
    /// By ascending UID.
    pub records: Vec<Record>,
}

/// Lines that are read; each costs far more memory than the few bytes that it may have.
const RECORDS_MAX: usize = 1 << 19;

/// A value with the letter that names it.
pub type Field = (u8, Vec<u8>);

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub uid: u32,
    /// `S` size, `W` size with CRLF, `P` POP3 UIDL, `O` POP3 order, `G` GUID.
    pub fields: Vec<Field>,
    /// Of the file, without its flags.
    pub name: Vec<u8>,
}

/// A list and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub list: Uidlist,
    /// By line.
    pub faults: Faults,
    /// The line at which Dovecot would stop reading and remove the file, if it would: the messages before it keep
    /// their UIDs, unless it is the first.
    pub refused: Option<Fault>,
}

/// Why a list cannot be written: Dovecot would not read the same from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a list of UIDs with {0} cannot be written")]
pub struct Unwritable(pub &'static str);

impl Uidlist {
    /// A list of which nothing was read.
    fn unknown() -> Uidlist {
        Uidlist {
            version: 3,
            uidvalidity: 0,
            head_next_uid: 0,
            mailbox_guid: None,
            extra: Vec::new(),
            records: Vec::new(),
        }
    }

    /// The first UID that was never given away, whatever the head says.
    pub fn next_uid(&self) -> u32 {
        self.head_next_uid.max(self.records.last().map_or(1, |record| record.uid.saturating_add(1)))
    }

    /// The message with this UID.
    pub fn get(&self, uid: u32) -> Option<&Record> {
        let place = self.records.binary_search_by_key(&uid, |record| record.uid).ok()?;
        self.records.get(place)
    }
}

impl Record {
    pub fn field(&self, letter: u8) -> Option<&[u8]> {
        self.fields.iter().find(|(key, _)| *key == letter).map(|(_, value)| value.as_slice())
    }

    /// What clients and partners know the message by: unless it was given one, the name of its file.
    pub fn guid(&self) -> &[u8] {
        self.field(b'G').unwrap_or(&self.name)
    }
}

impl Parsed {
    /// Whether Dovecot would go on with this file.
    pub fn sound(&self) -> bool {
        self.refused.is_none()
    }

    /// Whether nothing is missing or garbled, as far as the file itself can tell.
    pub fn complete(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Reads a list in any state.
pub fn parse(text: &[u8]) -> Parsed {
    let mut all = lines(text).peekable();
    let mut faults = Faults::default();
    let mut list = Uidlist::unknown();
    let head = all.peek().copied();
    match head.filter(|line| line.ended && !line.text.contains(&0)).map(|line| parse_head(line.text, &mut list)) {
        Some(Ok(())) => drop(all.next()),
        Some(Err(why)) => faults.add(1, why),
        None => faults.add(1, "there is no head"),
    }
    // What stands where the head should be may still be a message.
    let mut numbers = Vec::new();
    for line in all {
        if list.records.len() == RECORDS_MAX {
            faults.add(line.number, "there are more lines than any mailbox has messages");
            break;
        }
        match readable(line, list.version) {
            Ok(record) => {
                numbers.push(line.number);
                list.records.push(record);
            }
            Err(_) if line.number == 1 => {}
            Err(why) => faults.add(line.number, why),
        }
    }
    keep_ascending(&mut list.records, &numbers, &mut faults);
    if list.version == 1 && list.records.last().is_some_and(|last| last.uid >= list.head_next_uid) {
        faults.add(1, "a UID is not below the next one");
    }
    Parsed { list, faults, refused: refusal(text) }
}

fn keep_ascending(records: &mut Vec<Record>, lines: &[u64], faults: &mut Faults) {
    let uids: Vec<u32> = records.iter().map(|record| record.uid).collect();
    let Some(keep) = ascending(&uids) else { return };
    for (line, _) in lines.iter().zip(&keep).filter(|(_, keep)| !**keep) {
        faults.add(*line, "the UIDs do not ascend");
    }
    let mut keep = keep.into_iter();
    records.retain(|_| keep.next().unwrap_or(false));
}

fn parse_head(line: &[u8], list: &mut Uidlist) -> Result<(), &'static str> {
    let (version, rest) = match line {
        [version @ (b'1' | b'3'), b' ', rest @ ..] => (version - b'0', rest),
        [b'0'..=b'9', b' ', ..] => return Err("it is of an unknown version"),
        _ => return Err("the version is no number"),
    };
    let mut read = Uidlist { version, extra: Vec::new(), ..list.clone() };
    let words = rest.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    if version == 1 {
        let numbers: Vec<u32> = words.map_while(decimal).collect();
        let [uidvalidity, next_uid, ..] = numbers[..] else { return Err("the head has no two numbers") };
        (read.uidvalidity, read.head_next_uid) = (uidvalidity, next_uid);
    } else {
        for word in words {
            let (key, value) = (word[0], &word[1..]);
            match key {
                b'V' => read.uidvalidity = decimal(value).ok_or("UIDVALIDITY is no number")?,
                b'N' => read.head_next_uid = decimal(value).ok_or("the next UID is no number")?,
                b'G' => read.mailbox_guid = Some(hex_guid(value).ok_or("the GUID of the mailbox is none")?),
                _ => read.extra.push((key, value.to_vec())),
            }
        }
    }
    if read.uidvalidity == 0 || read.head_next_uid == 0 {
        return Err("the head lacks UIDVALIDITY or the next UID");
    }
    *list = read;
    Ok(())
}

/// A line that nothing speaks against.
fn readable(line: Line, version: u8) -> Result<Record, &'static str> {
    if !line.ended {
        return Err("the last line has no end");
    }
    if line.text.contains(&0) {
        return Err("there are zero bytes");
    }
    let (record, strange) = parse_record(line.text, version)?;
    if strange { Err("a field has no letter") } else { Ok(record) }
}

/// A line as Dovecot reads it, and whether it had a field that Dovecot drops.
fn parse_record(text: &[u8], version: u8) -> Result<(Record, bool), &'static str> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (uid, rest) = text.split_at(digits);
    let uid: u32 = decimal(uid).filter(|&uid| uid != 0 && uid != u32::MAX).ok_or("there is no UID")?;
    let mut rest = unspaced(rest.strip_prefix(b" ").ok_or("no space follows the UID")?);
    let (mut fields, mut strange) = (Vec::new(), false);
    if version == 3 {
        while !rest.is_empty() && rest[0] != b':' {
            let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
            match rest[..end] {
                [key @ b'A'..=b'Z', ref value @ ..] => fields.push((key, value.to_vec())),
                _ => strange = true,
            }
            rest = unspaced(&rest[end..]);
        }
        rest = rest.strip_prefix(b":").ok_or("there is no file name")?;
    }
    if rest.is_empty() {
        return Err("there is no file name");
    }
    if rest.contains(&b'/') {
        return Err("the file name has a slash");
    }
    Ok((Record { uid, fields, name: rest.to_vec() }, strange))
}

fn unspaced(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| byte == b' ').count()..]
}

/// Where Dovecot 2.3 would give this file up. It takes what stands before a zero byte for the whole line, and does
/// not see a last line without its end.
fn refusal(text: &[u8]) -> Option<Fault> {
    let mut all = lines(text).take_while(|line| line.ended);
    let mut list = Uidlist::unknown();
    let Some(head) = all.next() else { return Some(Fault { at: 1, what: "it is empty" }) };
    if let Err(what) = parse_head(head.up_to_nul(), &mut list) {
        return Some(Fault { at: 1, what });
    }
    let mut last = 0;
    for line in all {
        let what = match parse_record(line.up_to_nul(), list.version) {
            Err(why) => why,
            Ok((record, _)) if record.uid <= last => "the UIDs do not ascend",
            Ok((record, _)) if list.version == 1 && record.uid >= list.head_next_uid => {
                "a UID is not below the next one"
            }
            Ok((record, _)) => {
                last = record.uid;
                continue;
            }
        };
        return Some(Fault { at: line.number, what });
    }
    None
}

/// The list as Dovecot writes it: [`parse`] reads the same from it.
pub fn write(list: &Uidlist) -> Result<Vec<u8>, Unwritable> {
    check(list).map_err(Unwritable)?;
    let mut head = if list.version == 1 {
        format!("1 {} {}", list.uidvalidity, list.head_next_uid)
    } else {
        format!("3 V{} N{}", list.uidvalidity, list.head_next_uid)
    };
    if let Some(guid) = list.mailbox_guid {
        head.push_str(" G");
        for byte in guid {
            write!(head, "{byte:02x}").map_err(|_| Unwritable("no memory"))?;
        }
    }
    let mut text = head.into_bytes();
    put_fields(&mut text, &list.extra);
    text.push(b'\n');
    for record in &list.records {
        text.extend(record.uid.to_string().bytes());
        put_fields(&mut text, &record.fields);
        text.extend_from_slice(if list.version == 1 { b" " } else { b" :" });
        text.extend_from_slice(&record.name);
        text.push(b'\n');
    }
    Ok(text)
}

fn put_fields(text: &mut Vec<u8>, fields: &[Field]) {
    for (key, value) in fields {
        text.extend_from_slice(&[b' ', *key]);
        text.extend_from_slice(value);
    }
}

fn check(list: &Uidlist) -> Result<(), &'static str> {
    let first = list.version == 1;
    if !first && list.version != 3 {
        return Err("an unknown version");
    }
    if list.uidvalidity == 0 || list.head_next_uid == 0 {
        return Err("no UIDVALIDITY or next UID");
    }
    if list.mailbox_guid == Some(NO_GUID) {
        return Err("an empty GUID");
    }
    if first && (list.mailbox_guid.is_some() || !list.extra.is_empty()) {
        return Err("more in its head than version 1 has");
    }
    if !list.extra.iter().all(|(key, value)| one_word(&[*key]) && one_word(value) && !b"VNG".contains(key)) {
        return Err("a head of more than words");
    }
    let out_of_range = |record: &Record| record.uid == 0 || record.uid == u32::MAX;
    if !list.records.is_sorted_by(|a, b| a.uid < b.uid) || list.records.iter().any(out_of_range) {
        return Err("UIDs that do not ascend");
    }
    // Later Dovecot appends lines without a new head, and takes the last UID for what it is.
    if first && list.records.last().is_some_and(|last| last.uid >= list.head_next_uid) {
        return Err("a UID that is not below the next one");
    }
    for record in &list.records {
        if first && !record.fields.is_empty() {
            return Err("fields that version 1 has not");
        }
        if !record.fields.iter().all(|(key, value)| key.is_ascii_uppercase() && one_word(value)) {
            return Err("fields of more than words");
        }
        let breaks = |byte: &u8| matches!(byte, 0 | b'\n' | b'/');
        let name = &record.name;
        if name.is_empty() || name.iter().any(breaks) || name.ends_with(b"\r") || (first && name.starts_with(b" ")) {
            return Err("a file name that no line can hold");
        }
    }
    Ok(())
}

/// Whether it can stand between two spaces of a line.
fn one_word(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0 | b' ' | b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = include_bytes!("../../../testdata/dovecot/uidlist");
    const RICH: &[u8] = b"3 V7 N20 G00d9fe226ee8026b0b35000083ecc375 P3\n3 S10 W12 GA.b :one\n5 P00 :two:x\n9 :three\n";

    fn uids(parsed: &Parsed) -> Vec<u32> {
        parsed.list.records.iter().map(|record| record.uid).collect()
    }

    #[test]
    fn real_lists_come_back_byte_for_byte() {
        for real in [REAL, RICH, b"1 7 20\n3 one\n9 two:x\n", b"3 V7 N1\n"] {
            let read = parse(real);
            assert!(read.complete() && read.sound(), "{read:?}");
            assert_eq!(write(&read.list).unwrap(), real);
        }
        let read = parse(RICH).list;
        assert_eq!((read.uidvalidity, read.head_next_uid, &read.extra[..]), (7, 20, &[(b'P', b"3".to_vec())][..]));
        assert_eq!(read.get(3).map(Record::guid), Some(&b"A.b"[..]));
        assert_eq!(read.get(9).map(Record::guid), Some(&b"three"[..]));
        assert_eq!((read.get(5).unwrap().field(b'P'), read.get(4)), (Some(&b"00"[..]), None));
    }

    #[test]
    fn what_dovecot_would_throw_away_gives_what_is_whole() {
        let cases: [(&[u8], &[u32]); 8] = [
            (b"3 V7 N20\n3 :one\n5 :a/b\n9 :three\n", &[3, 9]),
            (b"3 V7 N20\n3 :one\n900 :two\n5 :three\n9 :four\n", &[3, 5, 9]),
            (b"3 V7 N20\n3 :one\n3 :two\n", &[3]),
            (b"3 V7 N20\n3 :one\nx5 :two\n9 :three\n", &[3, 9]),
            (b"3 V7 N20\n3 :one\n5\n9 :three\n", &[3, 9]),
            (b"3 V0 N20\n3 :one\n", &[3]),
            (b"7 V7 N20\n3 S5 :one\n", &[3]),
            (b"3 :one\n9 :two\n", &[3, 9]),
        ];
        for (text, wanted) in cases {
            let read = parse(text);
            assert_eq!(uids(&read), wanted, "{read:?}");
            assert!(!read.sound() && !read.complete(), "{read:?}");
        }
        assert!(!parse(b"").sound() && !parse(b"1 7 20\n20 one\n").sound());
    }

    #[test]
    fn dovecot_takes_some_lists_that_are_not_whole() {
        // A zeroed block: what follows on the line is not seen. A cut: the last line has no end. A strange field.
        for text in [
            &b"3 V7 N20\n3 :on\0\0\0 :two\n9 :three\n"[..],
            b"3 V7 N20\n9 :three\n10 :fo",
            b"3 V7 N20\n9 :t\n10 x :f\n",
        ] {
            let read = parse(text);
            assert!(read.sound() && !read.complete(), "{read:?}");
            assert_eq!(uids(&read), [9]);
        }
        let high = parse(b"3 V7 N20\n30 :one\n");
        assert!(high.sound() && high.complete());
        assert_eq!((high.list.head_next_uid, high.list.next_uid()), (20, 31));
    }

    #[test]
    fn nothing_is_written_that_dovecot_would_read_as_something_else() {
        type Break = fn(&mut Uidlist);
        let broken: [(&str, Break); 9] = [
            ("no UIDVALIDITY", |list| list.uidvalidity = 0),
            ("version", |list| list.version = 2),
            ("order", |list| list.records.reverse()),
            ("slash", |list| list.records[0].name = b"a/b".to_vec()),
            ("empty name", |list| list.records[0].name.clear()),
            ("line end", |list| list.records[0].name = b"a\nb".to_vec()),
            ("space in a field", |list| list.records[0].fields.push((b'S', b"1 2".to_vec()))),
            ("letter", |list| list.records[0].fields.push((b':', b"1".to_vec()))),
            ("highest UID", |list| list.records[2].uid = u32::MAX),
        ];
        for (what, break_it) in broken {
            let mut list = parse(RICH).list;
            break_it(&mut list);
            assert!(write(&list).is_err(), "{what}");
        }
    }
}
