//! Files that hold many messages: how the places of these are written as paths.
//!
//! A mailbox in one file has the path of that file and one more component, [`MBOX`], which stands for no file; its
//! messages lie below that. So the path alone says what it is, everywhere that paths are kept. May not open anything.

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

/// Stands behind the path of an mbox file. No server gives a folder such a name.
pub const MBOX: &[u8] = b":mbox";

/// The file that holds the mailbox in `dir`, if one does; the root where the store itself is that file.
pub fn file_of_mailbox(dir: &RelPath) -> Option<RelPath> {
    if dir.name() == MBOX { dir.parent() } else { None }
}

/// The file that holds the message at `path` and the message's name there, if it lies in one.
pub fn split(path: &RelPath) -> Option<(RelPath, &[u8])> {
    let file = file_of_mailbox(&path.parent()?)?;
    Some((file, path.name()))
}

/// The mailbox in a file.
pub fn mailbox_in(file: &RelPath) -> RelPath {
    file.join(MBOX).unwrap_or_default()
}

/// What is really there: the path of the file for a message or mailbox in one, else the path itself.
pub fn shown(path: &RelPath) -> RelPath {
    let whole = || file_of_mailbox(path);
    split(path).map(|(file, _)| file).or_else(whole).unwrap_or_else(|| path.clone())
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
    }
}
