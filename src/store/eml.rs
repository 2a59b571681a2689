//! Plain folders of `.eml` files, as programs export mail and archives keep it: one message a file, subfolders are
//! mailboxes.
//!
//! May look at names alone.

use super::{Store, maildir};
use crate::model::RelPath;
use crate::model::wire::Place;

/// The format.
pub struct Eml;

impl Store for Eml {
    fn place(&self, name: &[u8]) -> Option<Place> {
        Some(if is_message(name) { Place::Cur } else { Place::Top })
    }

    /// Exports name files as they like: by numbers, by subjects, anew each time.
    fn keys_last(&self) -> bool {
        false
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
