//! GUIDs of messages and mailboxes, in the 128 bits that Dovecot's binary files have for them.

use sha1::{Digest, Sha1};

/// 128 bits.
pub type Guid = [u8; 16];

/// What stands where no GUID was recorded.
pub const NO_GUID: Guid = [0; 16];

/// What a log says for the message whose GUID is `guid`: the last 16 bytes of the SHA-1. For Maildir the GUID is
/// the `G` field of its line in the list of UIDs, else its file name without flags.
pub fn message_guid(guid: &[u8]) -> Guid {
    hex_guid(guid).unwrap_or_else(|| {
        let [_, _, _, _, last @ ..] = sha1(guid);
        last
    })
}

/// What the mailbox log says for a mailbox that it knows by name only (subscriptions, folders without mail): the
/// first 16 bytes of the SHA-1, other than for messages.
pub fn mailbox_name_guid(name: &[u8]) -> Guid {
    let [first @ .., _, _, _, _] = sha1(name);
    first
}

/// 32 hexadecimal digits, as the list of UIDs writes the GUID of its mailbox.
pub fn hex_guid(text: &[u8]) -> Option<Guid> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut guid = NO_GUID;
    if pairs.len() != guid.len() {
        return None;
    }
    for (byte, [high, low]) in guid.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(guid)
}

fn sha1(text: &[u8]) -> [u8; 20] {
    Sha1::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_of_32_digits_is_itself_and_any_other_is_hashed() {
        let hex = b"07F13e2632e4026b4665000083ecc375";
        assert_eq!(message_guid(hex)[..4], [0x07, 0xf1, 0x3e, 0x26]);
        assert_eq!(hex_guid(&hex[1..]), None);
        assert_eq!(hex_guid(b"g7f13e2632e4026b4665000083ecc375"), None);
        assert_eq!(hex_guid(b"+7f13e2632e4026b4665000083ecc375"), None);
        // As a real log had it for a real file.
        let name = b"1795351602.M926107P25952.vm,S=85,W=91";
        let logged = hex_guid(b"d757406472d7f02ea9a523f9b09d68f5").unwrap();
        assert_eq!(message_guid(name), logged);
    }

    #[test]
    fn the_mailbox_log_knows_names_by_their_hash() {
        assert_eq!(mailbox_name_guid(b"Work"), hex_guid(b"00040bab8a787438c2c0cf5248ac0256").unwrap());
    }
}
