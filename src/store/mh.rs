//! MH: a tree of folders in which every message is a file named by a plain number. Flags stand in `.mh_sequences`.
//!
//! May look at names and first bytes alone.

use super::{Store, maildir};
use crate::model::RelPath;
use crate::model::wire::Place;

/// The format.
pub struct Mh;

impl Store for Mh {
    /// Programs rename a deleted message to `,12` or `#12`: no message any more.
    fn place(&self, name: &[u8]) -> Option<Place> {
        Some(if number(name).is_some() { Place::Cur } else { Place::Top })
    }

    /// Sorting and packing a folder give its messages other numbers, and the number of a deleted one is given again.
    fn keys_last(&self) -> bool {
        false
    }

    fn mailbox_name(&self, dir: &RelPath) -> String {
        maildir::mailbox_name(dir)
    }
}

/// The file that lists which messages are unseen, flagged and so on. Programs keep it where the folder is MH.
pub const SEQUENCES: &[u8] = b".mh_sequences";

/// The number that a file has for a name: without leading zeros, for programs write none.
pub fn number(name: &[u8]) -> Option<u32> {
    let plain = name.first().is_some_and(|&first| first != b'0') && name.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(name).ok()?.parse().ok()).flatten()
}

/// Whether a name is that of a message in a spool of Cyrus.
pub fn is_cyrus(name: &[u8]) -> bool {
    name.strip_suffix(b".").is_some_and(|digits| number(digits).is_some())
}

/// Fields one of which every message has that was ever sent or kept.
const KNOWN: [&[u8]; 9] = [
    b"from",
    b"date",
    b"received",
    b"return-path",
    b"message-id",
    b"subject",
    b"to",
    b"delivered-to",
    b"x-mozilla-status",
];
/// Lines of a header that are looked at.
const LINES: usize = 64;

/// Whether the first bytes of a file begin with the header block of a message: fields only, one of them known.
pub fn begins_with_header(first_bytes: &[u8]) -> bool {
    let (mut fields, mut known) = (0, false);
    for line in first_bytes.split_inclusive(|&b| b == b'\n').take(LINES) {
        // What was cut off by the window says nothing.
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if fields > 0 && matches!(line[0], b' ' | b'\t') {
            continue;
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else { return false };
        let name = line[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_graphic()) {
            return false;
        }
        fields += 1;
        known |= KNOWN.iter().any(|field| name.eq_ignore_ascii_case(field));
    }
    fields >= 2 && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_plain_numbers() {
        assert_eq!([number(b"1"), number(b"4294967295")], [Some(1), Some(u32::MAX)]);
        for odd in [&b""[..], b"0", b"01", b"4294967296", b",3", b"#3", b"3.", b"3~", b"3 ", b".mh_sequences"] {
            assert_eq!(number(odd), None);
        }
        assert!(is_cyrus(b"12.") && !is_cyrus(b"12") && !is_cyrus(b"."));
    }

    #[test]
    fn a_header_is_told_from_other_text() {
        for mail in
            ["From: a\nTo: b\n\nx", "Received: from x\r\n\tby y\r\nDate: z\r\n\r\n", "Subject: a\nX-Y: b\n cont"]
        {
            assert!(begins_with_header(mail.as_bytes()), "{mail:?}");
        }
        for other in
            ["", "\n", "#!/bin/sh\n", "a: b\nc: d\n", "From: a\n", "Dear Sir:\nDate: never\n", "12:30\n13:00\n"]
        {
            assert!(!begins_with_header(other.as_bytes()), "{other:?}");
        }
        assert!(!begins_with_header(&[0; 512]));
    }
}
