//! mbox: one file a mailbox, one message behind the other, each behind a line that begins with "From " (FORMATS.md, mbox).
//!
//! A message is named here by its key and its place in the file: `u.7,f=1200+40,m=3000,d=1700000000`. The key is `u.` and
//! the UID where the file says which that is, else `o.` and the place. Servers and mail programs keep flags and UIDs in
//! header fields of each message and rewrite them; these are no part of the message ([`unframe`]).
//!
//! Pure but for what `scan` reads through its window. Writes nothing.

pub mod from_line;
pub mod keys;
pub mod scan;
#[cfg(test)]
mod scan_tests;
pub mod unframe;
pub mod window;

use super::Store;
use crate::model::wire::Place;
use crate::model::{Key, RelPath, Span, Stamp, Zone, container};
use scan::Part;

/// The format.
pub struct Mbox;

impl Store for Mbox {
    fn place(&self, _: &[u8]) -> Option<Place> {
        Some(Place::Cur)
    }

    fn key(&self, name: &[u8]) -> Key {
        Key(name.split(|&byte| byte == b',').next().unwrap_or(name).to_vec())
    }

    fn is_odd(&self, name: &[u8]) -> bool {
        Named::parse(name).is_none()
    }

    fn delivered(&self, name: &[u8]) -> Option<Stamp> {
        Named::parse(name)?.received.map(|sec| Stamp { sec, nsec: 0 })
    }

    fn mailbox_name(&self, dir: &RelPath) -> String {
        mailbox_name(dir)
    }
}

/// Where a message stands in its file, as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its UID, where the file says it.
    pub uid: Option<u32>,
    /// Its "From " line.
    pub line: Span,
    /// The message behind it.
    pub message: Span,
    /// Seconds since 1970.
    pub received: Option<i64>,
    /// The line says by which clock.
    pub zoned: bool,
    /// UIDVALIDITY of the file.
    pub validity: Option<u32>,
    /// The beginning of the digest of its line, where that is one.
    pub check: Option<u32>,
    /// The line or the field with its UID is not as it was written.
    pub harmed: bool,
}

impl Named {
    /// What the file says of one message; `zone`: the clock that wrote its dates, where they do not tell.
    pub fn of(part: &Part, uid: Option<u32>, validity: Option<u32>, zone: &Zone) -> Named {
        Named {
            uid,
            line: Span::new(part.from, part.head),
            message: Span::new(part.start(), part.length),
            received: part.received.and_then(|received| received.at(zone)),
            zoned: part.received.is_some_and(|received| received.zone.is_some()),
            validity,
            check: part.check,
            harmed: part.received.is_none() || (uid.is_some() && uid != part.uid),
        }
    }

    /// As a name.
    pub fn name(&self) -> Vec<u8> {
        let key = match self.uid {
            Some(uid) => format!("u.{uid}"),
            None => format!("o.{}", self.line.offset),
        };
        let mut name = format!("{key},f={}+{},m={}", self.line.offset, self.line.length, self.message.length);
        if let Some(received) = self.received {
            name += &format!(",d={received}");
        }
        if self.zoned {
            name += ",z";
        }
        if let Some(validity) = self.validity {
            name += &format!(",v={validity}");
        }
        if let Some(check) = self.check {
            name += &format!(",h={check:08x}");
        }
        if self.harmed {
            name += ",x";
        }
        name.into_bytes()
    }

    /// Reads a name back; `None` for any that [`Named::name`] does not make.
    pub fn parse(name: &[u8]) -> Option<Named> {
        let mut fields = std::str::from_utf8(name).ok()?.split(',');
        let uid = match fields.next()?.split_at_checked(2)? {
            ("u.", uid) => Some(uid.parse().ok()?),
            ("o.", _) => None,
            _ => return None,
        };
        let (from, head) = fields.next()?.strip_prefix("f=")?.split_once('+')?;
        let (from, head): (u64, u64) = (from.parse().ok()?, head.parse().ok()?);
        let length = fields.next()?.strip_prefix("m=")?.parse().ok()?;
        let start = from.checked_add(head)?;
        let (line, message) = (Span::new(from, head), Span::new(start, length));
        start.checked_add(length)?;
        let (received, validity, check) = (None, None, None);
        let mut named = Named { uid, line, message, received, zoned: false, validity, check, harmed: false };
        for field in fields {
            match field.split_once('=') {
                Some(("d", received)) => named.received = Some(received.parse().ok()?),
                Some(("v", validity)) => named.validity = Some(validity.parse().ok()?),
                Some(("h", check)) => named.check = Some(u32::from_str_radix(check, 16).ok()?),
                None if field == "z" => named.zoned = true,
                None if field == "x" => named.harmed = true,
                _ => return None,
            }
        }
        (named.name() == name).then_some(named)
    }
}

/// Whether what the file says of a message besides its place is no longer what it said: its line, or the UIDVALIDITY that
/// the first message carries for all.
pub fn is_altered(then: &Named, now: &Named) -> bool {
    let known = then.check.is_some() && !then.harmed;
    known && (then.check != now.check || (now.line.offset == 0 && then.validity != now.validity))
}

/// Whether a file that begins with these bytes is an mbox.
pub fn is_mbox(first: &[u8]) -> bool {
    let line = first.split(|&byte| byte == b'\n').next().unwrap_or(first);
    line.len() < first.len() && from_line::parse(line).is_some()
}

/// Where Dovecot keeps its indexes of a file, if with the mail. It calls only an INBOX something else than the file.
pub fn indexes(file: &RelPath) -> Option<RelPath> {
    let name = if file.name().eq_ignore_ascii_case(b"inbox") { b"INBOX" } else { file.name() };
    file.parent()?.join(b".imap").and_then(|dir| dir.join(name)).ok()
}

/// What people call the mailbox in `dir` below its account: the file, without what mail programs add to its name.
pub fn mailbox_name(dir: &RelPath) -> String {
    let file = container::shown(dir);
    let parts: Vec<&[u8]> = file.components().map(|part| part.strip_suffix(b".sbd").unwrap_or(part)).collect();
    match &parts.join(&b'/')[..] {
        raw if raw.is_empty() || raw.eq_ignore_ascii_case(b"inbox") => "INBOX".to_owned(),
        raw => super::maildir::mutf7::display(raw.strip_suffix(b".mbox").unwrap_or(raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_messages_stand() {
        for name in ["u.7,f=1200+40,m=3000,d=1700000000,z,v=5,h=0012ab00", "o.0,f=0+0,m=12,x", "u.1,f=0+9,m=0,d=-5"] {
            let named = Named::parse(name.as_bytes()).expect(name);
            assert_eq!(named.name(), name.as_bytes());
        }
        for odd in ["u.7", "o.5,f=6+1,m=2", "u.x,f=0+1,m=2", "u.07,f=0+1,m=2", "1.a,f=0+1,m=2", "o.0,f=0+1,m=2,z=1"] {
            assert_eq!(Named::parse(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(Named::parse(b"o.1,f=1+18446744073709551615,m=2"), None);
        assert_eq!(Mbox.key(b"u.7,f=1200+40,m=3000"), Key(b"u.7".to_vec()));
    }

    #[test]
    fn files_are_known_by_their_first_line() {
        assert!(is_mbox(b"From ann@example.org  Sun Dec 31 23:59:59 2023\nSubject: x\n"));
        assert!(!is_mbox(b"From ann@example.org  Sun Dec 31 23:59:59 2023"));
        assert!(!is_mbox(b"From here to there\n") && !is_mbox(b"") && !is_mbox(b"From: ann\nDate: x\n"));
    }

    #[test]
    fn mailboxes_have_the_names_of_their_files() {
        let name = |file: &str| mailbox_name(&container::mailbox_in(&RelPath::new(file.as_bytes()).unwrap()));
        assert_eq!([name(""), name("inbox"), name("Inbox")], ["INBOX", "INBOX", "INBOX"]);
        assert_eq!(name("Archives.sbd/2024"), "Archives/2024");
        assert_eq!((name("lists/2024.mbox"), name("Entw&APw-rfe")), ("lists/2024".to_owned(), "Entwürfe".to_owned()));
    }
}
