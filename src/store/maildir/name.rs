//! Maildir file names: `<key>[,S=<bytes>][,W=<bytes with CRLF>][,other=…][:2,<flags>]` (FORMATS.md, Maildir name).

use crate::model::wire::Place;
use crate::model::{Key, RelPath, Stamp};

/// What a name says. Borrowed: nothing is copied until something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Up to the first `,` or `:`: what stays when servers rewrite the rest.
    pub key: &'a [u8],
    /// `S=`: bytes before compression.
    pub size: Option<u64>,
    /// `W=`: bytes with every line end as CRLF.
    pub crlf: Option<u64>,
    /// After `:2,`; letters of flags and keywords.
    pub flags: &'a [u8],
}

/// Takes a name apart. Every name has an answer; what does not follow the convention is all key.
pub fn parse(name: &[u8]) -> Name<'_> {
    let (base, info) = match name.iter().position(|&b| b == b':') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, &b""[..]),
    };
    let mut fields = base.split(|&b| b == b',');
    let key = fields.next().unwrap_or(base);
    let (mut size, mut crlf) = (None, None);
    for field in fields {
        if let Some(value) = field.strip_prefix(b"S=") {
            size = number(value);
        } else if let Some(value) = field.strip_prefix(b"W=") {
            crlf = number(value);
        }
    }
    Name { key, size, crlf, flags: info.strip_prefix(b"2,").unwrap_or(b"") }
}

/// The message's key.
pub fn key(name: &[u8]) -> Key {
    Key(parse(name).key.to_vec())
}

/// The name without its flags, as servers list it.
pub fn base(name: &[u8]) -> &[u8] {
    name.split(|&b| b == b':').next().unwrap_or(name)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a name was made by an fsck that lost the real one (`#12345`).
pub fn is_orphan(name: &[u8]) -> bool {
    name.strip_prefix(b"#").is_some_and(|digits| number(digits).is_some())
}

/// Whether a name is one that no delivery agent makes: it does not begin with a time.
pub fn is_odd(name: &[u8]) -> bool {
    let digits = name.iter().take_while(|b| b.is_ascii_digit()).count();
    digits == 0 || !matches!(name.get(digits), Some(b'.' | b'_'))
}

/// Whether a GUID can be the name of a message's file: servers that were always Dovecot use that.
pub fn goes_by(guid: &[u8]) -> bool {
    let plain = guid.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':'));
    plain && delivered(guid).is_some()
}

/// The name with each letter of a keyword (`a` to `z`) turned into another.
pub fn with_letters(name: &[u8], turn: &dyn Fn(u8) -> u8) -> Vec<u8> {
    let flags = name.len() - parse(name).flags.len();
    let mut turned: Vec<u8> = name[flags..].iter().map(|&b| if b.is_ascii_lowercase() { turn(b) } else { b }).collect();
    // Servers keep them sorted, capitals first.
    turned.sort_unstable();
    turned.dedup();
    [&name[..flags], &turned].concat()
}

/// When the message was delivered, from the digits that begin the name.
pub fn delivered(name: &[u8]) -> Option<Stamp> {
    let digits = name.iter().take_while(|b| b.is_ascii_digit()).count();
    if is_odd(name) || !(9..=11).contains(&digits) {
        return None;
    }
    Some(Stamp { sec: number(&name[..digits])?.try_into().ok()?, nsec: 0 })
}

/// The received date that a file's mtime shows, unless the mtime is that of a careless copy: mail is not
/// received more than a day after its file was named.
pub fn received(name: &[u8], mtime: Stamp) -> Stamp {
    match delivered(name) {
        Some(named) if mtime.sec > named.sec + 86_400 => named,
        _ => mtime,
    }
}

/// Path of a message below its mailbox folder; `None` for a name that cannot be a file.
pub fn message_path(mailbox: &RelPath, place: Place, name: &[u8]) -> Option<RelPath> {
    let folder = if place == Place::Top { mailbox.clone() } else { mailbox.join(place.dir()).ok()? };
    folder.join(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_dovecot_names_apart() {
        let name = parse(b"1700000000.M12P34.mx,S=2048,W=2100:2,FSa");
        assert_eq!(name.key, b"1700000000.M12P34.mx");
        assert_eq!((name.size, name.crlf, name.flags), (Some(2048), Some(2100), &b"FSa"[..]));
        let bare = parse(b"1700000000.M12P34.mx");
        assert_eq!((bare.key, bare.size, bare.flags), (&b"1700000000.M12P34.mx"[..], None, &b""[..]));
        assert_eq!(parse(b"1.2.h,U=7:2,S").key, b"1.2.h");
        assert_eq!(parse(b"1.2.h,S=99999999999999999999").size, None);
        assert_eq!(parse(b"1.2.h,S=+5").size, None);
    }

    #[test]
    fn tells_strangers_from_mail() {
        assert!(is_orphan(b"#12345") && is_odd(b"#12345"));
        assert!(!is_orphan(b"#") && !is_orphan(b"#12a"));
        assert!(is_odd(b"backup") && is_odd(b"1700000000"));
        assert!(!is_odd(b"1700000000.M1P2.h") && !is_odd(b"1700000000_0.12.h,U=1"));
    }

    #[test]
    fn a_copying_time_is_no_received_date() {
        let name = b"1700000000.M1P2.h:2,";
        let kept = Stamp { sec: 1_600_000_000, nsec: 5 };
        assert_eq!(received(name, kept), kept, "APPEND keeps older dates");
        assert_eq!(received(name, Stamp { sec: 1_800_000_000, nsec: 0 }).sec, 1_700_000_000);
        assert_eq!(received(b"odd", kept), kept);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name(name in proptest::collection::vec(any::<u8>(), 0..80)) {
            let parsed = parse(&name);
            prop_assert!(name.starts_with(parsed.key));
            prop_assert!(!parsed.key.contains(&b',') && !parsed.key.contains(&b':'));
        }
    }
}
