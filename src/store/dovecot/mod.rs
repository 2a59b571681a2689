//! What Dovecot itself knows of a Maildir: which message has which UID, flags and keywords, and what became of
//! those that are gone. Pure functions over the bytes of its own files, whatever state these are in.
//!
//! Opens nothing. Every file may be damaged or written by an enemy: nothing here panics, and no answer is larger
//! than a fixed multiple of its input. What could be read is kept, what could not is named.

pub mod extras;
pub mod fate;
pub mod fresh;
mod hash;
pub mod index;
pub mod keywords;
pub mod log;
pub mod mailbox_log;
mod raw;
pub mod state;
pub mod subscriptions;
pub mod uidlist;

#[cfg(test)]
mod damage_tests;

pub use fate::{Fate, fate};
pub use hash::{Guid, NO_GUID, hex_guid, mailbox_name_guid, message_guid};
pub use raw::{Fault, Faults};

/// Bits of a message's flags in indexes and logs.
pub mod flag {
    pub const ANSWERED: u8 = 0x01;
    pub const FLAGGED: u8 = 0x02;
    pub const DELETED: u8 = 0x04;
    pub const SEEN: u8 = 0x08;
    pub const DRAFT: u8 = 0x10;
    /// All that clients see.
    pub const VISIBLE: u8 = 0x1f;
    /// In sdbox: its file lies in the alternative storage.
    pub const BACKEND: u8 = 0x40;
    /// Not yet in the name of the message's file.
    pub const DIRTY: u8 = 0x80;

    /// Flags by the letters behind `:2,` in a file name.
    pub fn of_letters(letters: &[u8]) -> u8 {
        let flag = |letter: &u8| match letter {
            b'R' => ANSWERED,
            b'F' => FLAGGED,
            b'T' => DELETED,
            b'S' => SEEN,
            b'D' => DRAFT,
            _ => 0,
        };
        letters.iter().map(flag).fold(0, |all, flag| all | flag)
    }
}
