//! Files that hold many messages: how the places of these are written as paths.
//!
//! A mailbox in one file has the path of that file and one more component, [`MBOX`], which stands for no file; its
//! messages lie below that. A mailbox whose messages lie in files that all mailboxes of its account share has the path of
//! its own folder and one more component, which says how far above that the account begins. So the path alone says what it
//! is, everywhere that paths are kept. May not open anything.

use super::path::{RelPath, bytes_text};
use serde::{Deserialize, Serialize};

/// What a file says of one of its messages around and between the bytes of the message itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Own {
    /// The line before it, with its end.
    #[serde(with = "bytes_text")]
    pub line: Vec<u8>,
    /// Whether that is one that begins a message.
    pub begins: bool,
    /// Header fields that servers and programs keep for themselves, in order.
    pub fields: Vec<OwnField>,
    /// Bytes of the message before the empty line that ends its header; `None` where none does.
    pub head: Option<u64>,
    /// Bytes of the message.
    pub length: u64,
    /// Bytes of the empty line.
    pub empty: u64,
}

/// One such field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnField {
    /// Bytes of the message before it.
    pub at: u64,
    /// With the end of its line.
    #[serde(with = "bytes_text")]
    pub text: Vec<u8>,
    /// Some software may have written it so.
    pub sound: bool,
}

impl OwnField {
    /// Its name, in small letters.
    pub fn name(&self) -> Vec<u8> {
        self.text.split(|&byte| byte == b':').next().unwrap_or_default().to_ascii_lowercase()
    }
}

/// What lies in a file that mailboxes share, by the map; where that cannot be read whole, by what stands around each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Storage {
    /// All of it can be read.
    pub complete: bool,
    /// The file begins as such a file does.
    pub begins: bool,
    /// In the order of their places.
    pub frames: Vec<Framed>,
    /// Of the whole folder: the numbers of its files, and the map; and nothing else.
    pub files: Vec<u32>,
    pub map: Chart,
}

/// The map of a storage as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chart {
    /// Indexes of mailboxes name it.
    pub uid_validity: u32,
    /// No number of a message from here on was ever given away.
    pub next: u32,
    /// The highest number that a file ever had.
    pub last_file: u32,
    /// Numbers of its index and of its newest log, for the next one.
    pub indexid: u32,
    pub log_seq: u32,
    pub modseq: u64,
    /// The server found fault with it, and would make all indexes anew at the next change.
    pub doubted: bool,
    /// By ascending number; messages that their owners deleted too.
    pub places: Vec<Mapped>,
}

/// One message there, with what stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framed {
    pub offset: u64,
    pub size: u64,
    /// Mailboxes that show it; none where its owner deleted it.
    pub shown: u16,
    /// A message stands there, from end to end.
    pub sound: bool,
    /// What it says of itself; only where no map tells of it.
    pub guid: Option<[u8; 16]>,
}

impl Framed {
    pub fn end(&self) -> u64 {
        self.offset + self.size
    }
}

/// A message by the map of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mapped {
    /// What indexes of mailboxes know it by.
    pub number: u32,
    /// The N of `m.N`.
    pub file: u32,
    pub offset: u32,
    pub size: u32,
    /// Mailboxes that show it; none where its owner deleted it.
    pub shown: u16,
}

/// Stands behind the path of an mbox file. No server gives a folder such a name.
pub const MBOX: &[u8] = b":mbox";

/// Stands, with a number behind it, behind the path of a mailbox of mdbox.
const MDBOX: &[u8] = b":mdbox";
/// The folder of an account in which such mailboxes share files.
pub const STORAGE: &[u8] = b"storage";

/// A mailbox that shares files with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The folder of its own, with its indexes.
    pub folder: RelPath,
    /// The folder of the files.
    pub storage: RelPath,
}

/// The mailbox with the folder `folder`, which lies so many folders below its account's.
pub fn mailbox_beside(folder: &RelPath, below: usize) -> RelPath {
    folder.join(&[MDBOX, below.to_string().as_bytes()].concat()).unwrap_or_default()
}

/// Whether a mailbox shares files with others, by the last component of its path.
pub fn is_shared(name: &[u8]) -> bool {
    below(name).is_some()
}

fn below(name: &[u8]) -> Option<usize> {
    let digits = name.strip_prefix(MDBOX)?;
    let plain = digits.first().is_some_and(|&digit| digit != b'0') && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The mailbox in `dir`, where it shares files with others.
pub fn shared(dir: &RelPath) -> Option<Shared> {
    let below = below(dir.name())?;
    let folder = dir.parent()?;
    let mut home = folder.clone();
    for _ in 0..below {
        home = home.parent()?;
    }
    Some(Shared { folder, storage: home.join(STORAGE).ok()? })
}

/// The folder that really stands for a mailbox in its own folder; any other path as it is.
pub fn folder(dir: &RelPath) -> RelPath {
    shared(dir).map_or_else(|| dir.clone(), |shared| shared.folder)
}

/// The folder of a file that mailboxes share, and the number in its name, by its path.
pub fn storage_number(path: &RelPath) -> Option<(RelPath, u32)> {
    let dir = path.parent().filter(|dir| dir.name() == STORAGE)?;
    let digits = path.name().strip_prefix(b"m.")?;
    let plain = digits.first().is_some_and(|&digit| digit != b'0') && digits.iter().all(u8::is_ascii_digit);
    let number = plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()?;
    Some((dir, number))
}

/// The file that holds a message, by the field `m=` of its name.
pub fn storage_file(name: &[u8]) -> Option<Vec<u8>> {
    let number = name.split(|&byte| byte == b',').skip(1).find_map(|field| field.strip_prefix(b"m="))?;
    let plain = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    plain.then(|| [b"m.", number].concat())
}

fn shown_shared(path: &RelPath) -> Option<RelPath> {
    if let Some(mailbox) = shared(path) {
        return Some(mailbox.folder);
    }
    let mailbox = shared(&path.parent()?)?;
    match storage_file(path.name()) {
        Some(file) => mailbox.storage.join(&file).ok(),
        None => Some(mailbox.folder),
    }
}

/// The file that holds the mailbox in `dir`, if one does; the root where the store itself is that file.
pub fn file_of_mailbox(dir: &RelPath) -> Option<RelPath> {
    if dir.name() == MBOX { dir.parent() } else { None }
}

/// The file that holds the message at `path` and the message's name there, if it lies in one.
pub fn split(path: &RelPath) -> Option<(RelPath, &[u8])> {
    let file = file_of_mailbox(&path.parent()?)?;
    Some((file, path.name()))
}

/// What a message lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// In a file of its own.
    Alone,
    /// In a file that is a mailbox.
    InMbox,
    /// In one of the files that the mailboxes of an account share.
    InStorage,
}

/// What the message at `path` lies in.
pub fn lies(path: &RelPath) -> Lies {
    match path.parent() {
        Some(dir) if dir.name() == MBOX => Lies::InMbox,
        Some(dir) if is_shared(dir.name()) => Lies::InStorage,
        _ => Lies::Alone,
    }
}

/// The mailbox in a file.
pub fn mailbox_in(file: &RelPath) -> RelPath {
    file.join(MBOX).unwrap_or_default()
}

/// What is really there: the path of the file for a message or mailbox in one, else the path itself.
pub fn shown(path: &RelPath) -> RelPath {
    let whole = || file_of_mailbox(path);
    let file = split(path).map(|(file, _)| file).or_else(whole);
    file.or_else(|| shown_shared(path)).unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_say_what_lies_in_a_file() {
        let mailbox = mailbox_in(&path("ann/mail/Work"));
        assert_eq!(file_of_mailbox(&mailbox), Some(path("ann/mail/Work")));
        let message = mailbox.join(b"u.5,f=0+1,m=2").unwrap();
        assert_eq!(split(&message), Some((path("ann/mail/Work"), &b"u.5,f=0+1,m=2"[..])));
        assert_eq!(
            [&message, &mailbox, &path("ann/cur/1")].map(shown)[..2],
            [path("ann/mail/Work"), path("ann/mail/Work")]
        );
        assert_eq!(shown(&path("ann/cur/1")), path("ann/cur/1"));
        assert_eq!(file_of_mailbox(&mailbox_in(&RelPath::root())), Some(RelPath::root()));
        assert_eq!(split(&path("ann/cur/1")), None);
        let storage = mailbox_beside(&path("ann/mailboxes/dbox-Mails"), 2).join(b"u.7").unwrap();
        assert_eq!([&message, &storage, &path("u.7")].map(lies), [Lies::InMbox, Lies::InStorage, Lies::Alone]);
    }

    #[test]
    fn paths_say_where_mailboxes_share_files() {
        let own = path("ann/mdbox/mailboxes/mailboxes/2024/dbox-Mails");
        let mailbox = mailbox_beside(&own, 4);
        let expected = Shared { folder: own.clone(), storage: path("ann/mdbox/storage") };
        assert_eq!((shared(&mailbox), folder(&mailbox), shown(&mailbox)), (Some(expected), own.clone(), own.clone()));
        let message = |name: &str| shown(&mailbox.join(name.as_bytes()).unwrap());
        assert_eq!(message("u.7,m=12,o=16,s=70"), path("ann/mdbox/storage/m.12"));
        assert_eq!(message("u.7,m=.."), own);
        assert_eq!(storage_number(&path("ann/mdbox/storage/m.12")), Some((path("ann/mdbox/storage"), 12)));
        for odd in ["ann/mdbox/m.12", "storage/m.012", "storage/m.", "storage/m.1.broken", "storage/m.99999999999"] {
            assert_eq!(storage_number(&path(odd)), None, "{odd}");
        }
        assert_eq!(shared(&mailbox_beside(&path("dbox-Mails"), 3)), None, "more folders than there are");
        for odd in [&b":mdbox"[..], b":mdbox03", b":mdboxx", b"mdbox3", b":mdbox99999999999999999999"] {
            assert!(!is_shared(odd));
        }
    }
}
