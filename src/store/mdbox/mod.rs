//! Dovecot's multi-dbox: the messages of all mailboxes of an account lie in `storage/m.N`, the map there says where, and the
//! index of each mailbox which of them it shows (FORMATS.md, mdbox).
//!
//! A message is named here by its UID and its place: `u.7,m=3,o=16,s=657,g=GUID,d=1700000000,v=5`. What no index shows was
//! deleted by its owner, whatever still lies in the storage.
//!
//! Pure but for what `storage` reads through its window. Writes nothing.

pub mod fresh;
pub mod map;
pub mod storage;

use super::dovecot::{Guid, hex_guid};
use super::{Store, sdbox};
use crate::model::wire::Place;
use crate::model::{Key, RelPath, Stamp, container};

/// The format.
pub struct Mdbox;

impl Store for Mdbox {
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
        sdbox::mailbox_name(&container::folder(dir))
    }
}

/// What the server's files say of one message, as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    pub uid: Option<u32>,
    /// Where it lies, or should; `None` where nothing tells.
    pub place: Option<map::Place>,
    /// The storage has nothing there.
    pub lost: bool,
    pub guid: Option<Guid>,
    /// Seconds since 1970.
    pub received: Option<i64>,
    /// UIDVALIDITY of its mailbox.
    pub validity: Option<u32>,
}

impl Named {
    /// As a name.
    pub fn name(&self) -> Vec<u8> {
        let mut name = format!("u.{}", self.uid.unwrap_or(0));
        if let Some(place) = self.place {
            name += &format!(",m={},o={},s={}", place.file, place.offset, place.size);
        }
        if self.lost {
            name += ",lost";
        }
        if let Some(guid) = self.guid {
            name += ",g=";
            guid.iter().for_each(|byte| name += &format!("{byte:02x}"));
        }
        if let Some(received) = self.received {
            name += &format!(",d={received}");
        }
        if let Some(validity) = self.validity {
            name += &format!(",v={validity}");
        }
        name.into_bytes()
    }

    /// Reads a name back; `None` for any that [`Named::name`] does not make.
    pub fn parse(name: &[u8]) -> Option<Named> {
        let mut fields = std::str::from_utf8(name).ok()?.split(',');
        let uid: u32 = fields.next()?.strip_prefix("u.")?.parse().ok()?;
        let mut named = Named { uid: Some(uid).filter(|&uid| uid != 0), ..Named::default() };
        let (mut file, mut offset, mut size) = (None, None, None);
        for field in fields {
            match field.split_once('=') {
                Some(("m", number)) => file = Some(number.parse().ok()?),
                Some(("o", number)) => offset = Some(number.parse().ok()?),
                Some(("s", number)) => size = Some(number.parse().ok()?),
                Some(("g", digits)) => named.guid = Some(hex_guid(digits.as_bytes())?),
                Some(("d", received)) => named.received = Some(received.parse().ok()?),
                Some(("v", validity)) => named.validity = Some(validity.parse().ok()?),
                None if field == "lost" => named.lost = true,
                _ => return None,
            }
        }
        if let (Some(file), Some(offset), Some(size)) = (file, offset, size) {
            named.place = Some(map::Place { file, offset, size });
        }
        (named.name() == name).then_some(named)
    }
}

/// The files of a mailbox that say at their beginning which format it is.
pub const INDEXES: [&[u8]; 2] = [b"dovecot.index", b"dovecot.index.log"];

/// Whether this is how the index of such a mailbox begins, or its log: with what mdbox alone keeps there.
pub fn is_index(first: &[u8]) -> bool {
    memchr::memmem::find(first, b"mdbox-hdr").is_some()
}

/// The number of a storage file, from its name.
pub fn file_number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"m.")?;
    let plain = digits.first().is_some_and(|&digit| digit != b'0') && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_messages_lie() {
        let guid = "0123456789abcdef0123456789abcdef";
        let full = format!("u.7,m=3,o=16,s=657,g={guid},d=-5,v=9");
        for name in [&full[..], "u.7", "u.7,m=3,o=16,s=657,lost,v=9", "u.7,lost", "u.1,m=4294967295,o=0,s=1"] {
            assert_eq!(Named::parse(name.as_bytes()).expect(name).name(), name.as_bytes());
        }
        assert_eq!(Named::parse(full.as_bytes()).unwrap().place, Some(map::Place { file: 3, offset: 16, size: 657 }));
        for odd in
            ["u.7,m=3", "u.x", "7", "u.07", "u.7,m=3,lost", "u.7,o=1,m=2,s=3", "u.7,m=3,o=16,s=657,g=12", "u.7,z=1"]
        {
            assert_eq!(Named::parse(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(Mdbox.key(full.as_bytes()), Key(b"u.7".to_vec()));
        assert_eq!(
            (super::super::uid(full.as_bytes()), super::super::uid(b"u.7"), super::super::uid(b"x")),
            (Some(7), Some(7), None)
        );
        assert_eq!(
            [&b"m.1"[..], b"m.01", b"m.", b"m.1.broken", b"u.1"].map(file_number),
            [Some(1), None, None, None, None]
        );
    }
}
