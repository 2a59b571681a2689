//! Paths and names as bytes: nothing here assumes UTF-8, and nothing here can climb out of its root.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path below a root: components joined by `/`, none of them empty, `.` or `..`, no NUL, each at
/// most 255 bytes. The empty path is the root itself. Whatever comes from a plan, a catalog, an
/// archive or a lane becomes one of these or is refused.
///
/// In JSON it is UTF-8 with every byte that is not (and `%` and control bytes) percent-escaped,
/// which round-trips.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

/// Why bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("absolute path")]
    Absolute,
    #[error("empty, '.' or '..' component")]
    Component,
    #[error("NUL byte")]
    Nul,
    #[error("component over 255 bytes")]
    TooLong,
    #[error("broken percent escape")]
    Escape,
}

impl RelPath {
    /// The root itself.
    pub fn root() -> RelPath {
        RelPath(Vec::new())
    }

    /// Validates `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<RelPath, BadPath> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Ok(RelPath(bytes));
        }
        if bytes[0] == b'/' {
            return Err(BadPath::Absolute);
        }
        for component in bytes.split(|&b| b == b'/') {
            check_component(component)?;
        }
        Ok(RelPath(bytes))
    }

    /// This path and one more component.
    pub fn join(&self, name: &[u8]) -> Result<RelPath, BadPath> {
        check_name(name)?;
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Ok(RelPath(bytes))
    }

    /// This path and all of `other` below it.
    pub fn join_path(&self, other: &RelPath) -> RelPath {
        match (self.0.is_empty(), other.0.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => RelPath([&self.0[..], b"/", &other.0[..]].concat()),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        }
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<RelPath> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(RelPath(self.0[..end].to_vec()))
    }

    /// The rest of this path below `base`, if it lies there.
    pub fn strip_prefix(&self, base: &RelPath) -> Option<RelPath> {
        if base.0.is_empty() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&base.0[..])?;
        match rest.first() {
            None => Some(RelPath::root()),
            Some(b'/') => Some(RelPath(rest[1..].to_vec())),
            Some(_) => None,
        }
    }
}

/// Whether `name` is one component of a path.
pub fn check_name(name: &[u8]) -> Result<(), BadPath> {
    check_component(name)?;
    if name.contains(&b'/') { Err(BadPath::Component) } else { Ok(()) }
}

fn check_component(component: &[u8]) -> Result<(), BadPath> {
    match component {
        b"" | b"." | b".." => Err(BadPath::Component),
        c if c.len() > 255 => Err(BadPath::TooLong),
        c if c.contains(&0) => Err(BadPath::Nul),
        _ => Ok(()),
    }
}

/// UTF-8 text of arbitrary bytes: `%`, control characters and bytes that are no UTF-8 become `%XX`.
/// The inverse is [`unescape`]. Safe to print: no terminal escape survives it.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() || is_invisible(c) {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    push_escaped(&mut text, byte);
                }
            } else {
                text.push(c);
            }
        }
        for &byte in chunk.invalid() {
            push_escaped(&mut text, byte);
        }
    }
    text
}

/// Line separators, the bidirectional and zero-width controls that can rearrange a terminal line, tag characters, and
/// fillers that look empty.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}'
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push_escaped(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(HEX[usize::from(byte >> 4)] as char);
    text.push(HEX[usize::from(byte & 15)] as char);
}

/// The bytes that [`escape`] wrote as `text`; `None` where a `%` is not followed by two hex digits.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes_text::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RelPath, D::Error> {
        RelPath::new(bytes_text::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// `#[serde(with = "bytes_text")]` for a `Vec<u8>` that is a name: escaped text in JSON, raw bytes on the wire.
pub mod bytes_text {
    use super::{Deserialize, Deserializer, Serialize, Serializer, escape, unescape};
    use serde::de::Error as _;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { escape(bytes).serialize(serializer) } else { bytes.serialize(serializer) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            unescape(&text).ok_or_else(|| D::Error::custom("broken percent escape"))
        } else {
            Vec::<u8>::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPath, RelPath, escape, unescape};
    use proptest::prelude::*;

    #[test]
    fn refuses_everything_that_could_leave_the_root() {
        assert_eq!(RelPath::new(&b"/etc/passwd"[..]), Err(BadPath::Absolute));
        assert_eq!(RelPath::new(&b"a/../b"[..]), Err(BadPath::Component));
        assert_eq!(RelPath::new(&b"a//b"[..]), Err(BadPath::Component));
        assert_eq!(RelPath::new(&b"a/"[..]), Err(BadPath::Component));
        assert_eq!(RelPath::new(&b"./a"[..]), Err(BadPath::Component));
        assert_eq!(RelPath::new(&b"a\0b"[..]), Err(BadPath::Nul));
        assert_eq!(RelPath::new(vec![b'a'; 256]), Err(BadPath::TooLong));
        assert_eq!(RelPath::root().join(b"a/b"), Err(BadPath::Component));
        assert!(serde_json::from_str::<RelPath>("\"..%2Fx\"").is_err());
    }

    #[test]
    fn takes_paths_apart() {
        let path = RelPath::new(&b"example.org/ann/Maildir"[..]).unwrap();
        assert_eq!(path.name(), b"Maildir");
        assert_eq!(path.parent().unwrap().as_bytes(), b"example.org/ann");
        assert_eq!(RelPath::root().parent(), None);
        let base = RelPath::new(&b"example.org"[..]).unwrap();
        assert_eq!(path.strip_prefix(&base).unwrap().as_bytes(), b"ann/Maildir");
        assert_eq!(RelPath::new(&b"example.orgx"[..]).unwrap().strip_prefix(&base), None);
        assert_eq!(path.strip_prefix(&path), Some(RelPath::root()));
    }

    #[test]
    fn names_show_what_is_in_them() {
        assert_eq!(escape("a\u{ad}b\u{e0041}".as_bytes()), "a%C2%ADb%F3%A0%81%81");
        assert_eq!(escape("grüße".as_bytes()), "grüße");
    }

    proptest! {
        #[test]
        fn escape_round_trips_and_prints_no_control(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }
    }
}
