//! Plain folders of `.eml` files, as programs export mail and archives keep it: one message a file, subfolders are
//! mailboxes.
//!
//! May look at names alone.

use super::{Store, maildir};
use crate::model::wire::Place;
use crate::model::{Key, RelPath, Stamp};

/// The format.
pub struct Eml;

impl Store for Eml {
    fn place(&self, name: &[u8]) -> Option<Place> {
        Some(if is_message(name) { Place::Cur } else { Place::Top })
    }

    fn folder(&self, _: Place) -> &'static [u8] {
        b""
    }

    fn subfolders(&self) -> &'static [&'static [u8]] {
        &[]
    }

    fn key(&self, name: &[u8]) -> Key {
        Key(name.to_vec())
    }

    fn keys_travel(&self) -> bool {
        false
    }

    /// Exports name files as they like: by numbers, by subjects, anew each time.
    fn keys_last(&self) -> bool {
        false
    }

    fn is_odd(&self, _: &[u8]) -> bool {
        false
    }

    fn claims(&self, _: &[u8]) -> (Option<u64>, Option<u64>) {
        (None, None)
    }

    fn delivered(&self, _: &[u8]) -> Option<Stamp> {
        None
    }

    fn mailbox_name(&self, dir: &RelPath) -> String {
        maildir::mailbox_name(dir)
    }
}

/// Whether a file of this name is a message.
pub fn is_message(name: &[u8]) -> bool {
    let ending = name.len().checked_sub(4).filter(|&at| at > 0).map(|at| &name[at..]);
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case(b".eml")) && name[0] != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_by_their_ending() {
        for name in ["a.eml", "Re: hello.EML", "1.2.Eml", "\u{e4}.eml"] {
            assert!(is_message(name.as_bytes()), "{name}");
        }
        for name in ["", ".eml", "eml", "a.eml~", ".a.eml", "a.msg", "a.eml.part"] {
            assert!(!is_message(name.as_bytes()), "{name}");
        }
    }
}
