//! Maildir and Maildir++: names, mailbox folders, companion files, discovery.
//!
//! May open and list (through `sys`), never write.

pub mod companion;
pub mod mutf7;
pub mod name;

use super::Store;
use crate::model::wire::Place;
use crate::model::{Key, RelPath, Stamp};

/// The format.
pub struct Maildir;

impl Store for Maildir {
    fn place(&self, _: &[u8]) -> Option<Place> {
        None
    }

    fn folder(&self, place: Place) -> &'static [u8] {
        place.dir()
    }

    fn subfolders(&self) -> &'static [&'static [u8]] {
        &SUBFOLDERS
    }

    fn key(&self, name: &[u8]) -> Key {
        name::key(name)
    }

    fn keys_travel(&self) -> bool {
        true
    }

    fn is_odd(&self, name: &[u8]) -> bool {
        name::is_odd(name)
    }

    fn claims(&self, name: &[u8]) -> (Option<u64>, Option<u64>) {
        let parsed = name::parse(name);
        (parsed.size, parsed.crlf)
    }

    fn delivered(&self, name: &[u8]) -> Option<Stamp> {
        name::delivered(name)
    }

    fn mailbox_name(&self, dir: &RelPath) -> String {
        mailbox_name(dir)
    }
}

/// Subfolders of a mailbox that hold or held messages; never mailboxes themselves.
pub const SUBFOLDERS: [&[u8]; 3] = [b"cur", b"new", b"tmp"];

/// Our quarantine inside an account, where a name with a leading dot would be a mailbox.
pub const QUARANTINE: &str = "mailmend.quarantine";

/// How an account names its folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `.Archive.2026`: all folders beside each other, hierarchy by dots.
    PlusPlus,
    /// `Archive/2026`: folders in folders.
    Nested,
}

/// What people call the mailbox whose folder is `dir` below its account's folder.
pub fn mailbox_name(dir: &RelPath) -> String {
    if dir.is_root() {
        return "INBOX".to_owned();
    }
    let bytes = dir.as_bytes();
    mutf7::display(bytes.strip_prefix(b".").unwrap_or(bytes))
}

/// What people call the account whose mail folder is `dir` below the store, and `store` where that is the store itself.
pub fn account_name(dir: &RelPath, store: &std::path::Path) -> String {
    let strip = |path: RelPath| match path.parent() {
        Some(parent) if is_mail_folder_name(path.name()) => parent,
        _ => path,
    };
    let named = strip(dir.clone());
    if !named.is_root() {
        return named.to_string();
    }
    let absolute = store.as_os_str().as_encoded_bytes();
    let relative = RelPath::new(absolute.strip_prefix(b"/").unwrap_or(absolute)).unwrap_or_default();
    let above = strip(relative);
    if above.is_root() { "/".to_owned() } else { crate::model::path::escape(above.name()) }
}

/// Names that mean "the mail of the folder above" rather than a user.
pub fn is_mail_folder_name(name: &[u8]) -> bool {
    [&b"maildir"[..], b".maildir", b"mail", b"sdbox", b"mdbox"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The layout that a set of mailbox folders (below their account) shows.
pub fn layout<'a>(dirs: impl IntoIterator<Item = &'a RelPath>) -> Layout {
    let mut nested = false;
    for dir in dirs {
        match dir.as_bytes().first() {
            Some(b'.') => return Layout::PlusPlus,
            Some(_) => nested = true,
            None => {}
        }
    }
    if nested { Layout::Nested } else { Layout::PlusPlus }
}

/// The mailbox folder and the file name of a message path (`…/cur/NAME`), if it is one.
pub fn split_message_path(path: &RelPath) -> Option<(RelPath, &[u8])> {
    let folder = path.parent()?;
    if !matches!(folder.name(), b"cur" | b"new") {
        return None;
    }
    Some((folder.parent()?, path.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_for_people() {
        assert_eq!(mailbox_name(&path("")), "INBOX");
        assert_eq!(mailbox_name(&path(".Archive.2026")), "Archive.2026");
        assert_eq!(mailbox_name(&path(".Entw&APw-rfe")), "Entwürfe");
        assert_eq!(mailbox_name(&path("Work/2024")), "Work/2024");
        assert_eq!(account_name(&path("example.org/ann/Maildir"), Path::new("/var/vmail")), "example.org/ann");
        assert_eq!(account_name(&path("ann"), Path::new("/var/vmail")), "ann");
        assert_eq!(account_name(&path(""), Path::new("/home/ann/Maildir")), "ann");
        assert_eq!(account_name(&path("Maildir"), Path::new("/home/ann")), "ann");
    }

    #[test]
    fn recognises_layouts_and_message_paths() {
        assert_eq!(layout([&path(""), &path("Work/2024")]), Layout::Nested);
        assert_eq!(layout([&path(""), &path(".Sent")]), Layout::PlusPlus);
        assert_eq!(layout([&path("")]), Layout::PlusPlus);
        let message = path("ann/.Sent/cur/1.M2P3.h:2,S");
        let (mailbox, name) = split_message_path(&message).unwrap();
        assert_eq!((mailbox, name), (path("ann/.Sent"), &b"1.M2P3.h:2,S"[..]));
        assert_eq!(split_message_path(&path("ann/.Sent/tmp/1")), None);
        assert_eq!(split_message_path(&path("x")), None);
    }
}
