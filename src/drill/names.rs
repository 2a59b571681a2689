//! Maildir names as the drill writes and compares them. Pure.
//!
//! Written apart from the `store` layer on purpose: what judges the tool must not share its code.

use crate::model::{RelPath, Stamp};

/// The part of a file name that servers never rewrite: up to the first `,` or `:`.
pub fn key(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|b| matches!(b, b',' | b':')).unwrap_or(name.len());
    &name[..end]
}

/// The name without its `:2,flags`.
pub fn base(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|&b| b == b':').unwrap_or(name.len());
    &name[..end]
}

/// The flag letters, empty where there are none.
pub fn flags(name: &[u8]) -> &[u8] {
    name[base(name).len()..].strip_prefix(b":2,").unwrap_or_default()
}

/// The same message with other flags, which are sorted as servers sort them.
pub fn with_flags(name: &[u8], flags: &[u8]) -> Vec<u8> {
    let mut sorted = flags.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    [base(name), b":2,", &sorted].concat()
}

/// The mailbox folder of a message, and its place there; `None` for everything that is no message.
pub fn mailbox(path: &RelPath) -> Option<(RelPath, Place)> {
    let dir = path.parent()?;
    let place = match dir.name() {
        b"cur" => Place::Cur,
        b"new" => Place::New,
        _ => return None,
    };
    Some((dir.parent()?, place))
}

/// Where in its mailbox a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    New,
    Cur,
}

/// What stays the same while servers rewrite a message's name: mailbox folder and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub mailbox: RelPath,
    pub key: Vec<u8>,
}

/// `None` for what is no message.
pub fn identity(path: &RelPath) -> Option<Identity> {
    let (mailbox, _) = mailbox(path)?;
    Some(Identity { mailbox, key: key(path.name()).to_vec() })
}

/// The account that a file belongs to: the path through its first `Maildir`, else its first two components.
pub fn account(path: &RelPath) -> RelPath {
    let parts: Vec<&[u8]> = path.components().collect();
    let end = parts.iter().position(|p| *p == b"Maildir").map_or(2.min(parts.len()), |at| at + 1);
    RelPath::new(parts[..end].join(&b'/')).unwrap_or_default()
}

/// Bytes on the wire: every line end as CR LF.
pub fn crlf_size(bytes: &[u8]) -> u64 {
    let lone = bytes.iter().enumerate().filter(|&(i, &b)| b == b'\n' && (i == 0 || bytes[i - 1] != b'\r')).count();
    (bytes.len() + lone) as u64
}

/// A name in Dovecot's form: `<sec>.M<usec>P<pid>.<host>`, and the sizes where the server records them.
/// `number` makes it unique.
pub fn fresh(received: Stamp, number: u64, sizes: Option<(u64, u64)>) -> Vec<u8> {
    let micros = received.nsec / 1000;
    let pid = 1000 + number;
    let unique = format!("{}.M{micros}P{pid}.mail", received.sec);
    match sizes {
        Some((stored, wire)) => format!("{unique},S={stored},W={wire}").into_bytes(),
        None => unique.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn names_come_apart_and_together() {
        let name = fresh(Stamp { sec: 1_700_000_000, nsec: 5_000_999 }, 7, Some((10, 12)));
        assert_eq!(name, b"1700000000.M5000P1007.mail,S=10,W=12");
        let seen = with_flags(&name, b"SF");
        assert_eq!(seen, b"1700000000.M5000P1007.mail,S=10,W=12:2,FS");
        assert_eq!((key(&seen), base(&seen), flags(&seen)), (key(&name), &name[..], &b"FS"[..]));
        assert_eq!(crlf_size(b"a\nb\r\n\n"), 8);
    }

    #[test]
    fn a_message_is_known_by_mailbox_and_key_wherever_it_lies() {
        let new = path("a/u/Maildir/.Sent/new/1.x,S=3");
        let cur = path("a/u/Maildir/.Sent/cur/1.x,S=3:2,S");
        assert_eq!(identity(&new), identity(&cur));
        assert_eq!(identity(&path("a/u/Maildir/.Sent/dovecot-uidlist")), None);
        assert_eq!(account(&cur), path("a/u/Maildir"));
        assert_eq!(account(&path("a/u/sieve/main.sieve")), path("a/u"));
    }
}
