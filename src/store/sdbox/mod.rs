//! Dovecot's single-dbox: `mailboxes/NAME/dbox-Mails/u.UID`, one message a file (FORMATS.md, dbox file).
//!
//! Flags and keywords stand in the mailbox's indexes alone; nothing here writes those.

pub mod frame;
pub mod parts;

use super::Store;
use crate::model::RelPath;
use crate::model::wire::Place;

/// The format.
pub struct Sdbox;

impl Store for Sdbox {
    fn place(&self, name: &[u8]) -> Option<Place> {
        Some(if uid(name).is_some() { Place::Cur } else { Place::Top })
    }

    fn is_odd(&self, name: &[u8]) -> bool {
        uid(name).is_none()
    }

    fn mailbox_name(&self, dir: &RelPath) -> String {
        mailbox_name(dir)
    }
}

/// The folder in each mailbox that holds its messages and indexes.
pub const MAILS: &[u8] = b"dbox-Mails";
/// The folder below an account that holds its mailboxes.
pub const MAILBOXES: &[u8] = b"mailboxes";

/// The UID of a message, from the name of its file.
pub fn uid(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"u.")?;
    let plain = !digits.is_empty() && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The name of the mailbox whose messages lie in `dir` below its account's folder, as the server has it; empty for one
/// that was named by its own folder.
pub fn raw_name(dir: &RelPath) -> Vec<u8> {
    let parts: Vec<&[u8]> = dir.as_bytes().split(|&byte| byte == b'/').collect();
    let parts = parts.strip_prefix(&[MAILBOXES]).unwrap_or(&parts);
    let parts = parts.strip_suffix(&[MAILS]).unwrap_or(parts);
    parts.join(&b'/')
}

/// What people call it.
pub fn mailbox_name(dir: &RelPath) -> String {
    match &raw_name(dir)[..] {
        b"" => "INBOX".to_owned(),
        raw => super::maildir::mutf7::display(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!([uid(b"u.1"), uid(b"u.4294967295")], [Some(1), Some(u32::MAX)]);
        for odd in [&b"u."[..], b"u.0", b"u.01", b"u.4294967296", b"m.1", b"u.1.broken", b"dovecot.index"] {
            assert_eq!(uid(odd), None);
        }
        let name = |text: &str| mailbox_name(&RelPath::new(text.as_bytes()).unwrap());
        assert_eq!(name("mailboxes/INBOX/dbox-Mails"), "INBOX");
        assert_eq!(name("mailboxes/Work/2024/dbox-Mails"), "Work/2024");
        assert_eq!(name("mailboxes/Entw&APw-rfe/dbox-Mails"), "Entwürfe");
        assert_eq!(name("dbox-Mails"), "INBOX");
    }
}
