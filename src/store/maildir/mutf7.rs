//! Modified UTF-7 of IMAP mailbox names (RFC 3501 section 5.1.3), for display only: raw names stay what they are.

use crate::model::path::escape;
use base64::alphabet;
use base64::engine::{Engine as _, GeneralPurpose, general_purpose};

/// The name as people read it: mUTF-7 decoded where it is valid, else as UTF-8, else escaped.
pub fn display(raw: &[u8]) -> String {
    decode(raw).map_or_else(|| escape(raw), |text| escape(text.as_bytes()))
}

/// Decodes; `None` where the bytes are no valid mUTF-7.
pub fn decode(raw: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        match first {
            b'&' => {
                let end = tail.iter().position(|&b| b == b'-')?;
                if end == 0 {
                    text.push('&')
                } else {
                    text.push_str(&decode_shift(&tail[..end])?)
                }
                rest = &tail[end + 1..];
            }
            0x20..=0x7e => {
                text.push(first as char);
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(text)
}

/// base64 with `,` for `/`, neither padded nor with bits left over.
const SHIFTED: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, general_purpose::NO_PAD);

/// One `&…-` run: UTF-16BE in base64.
fn decode_shift(run: &[u8]) -> Option<String> {
    let bytes = SHIFTED.decode(run).ok()?;
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    if !rest.is_empty() {
        return None;
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, display};

    #[test]
    fn rfc_examples() {
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), "~peter/mail/台北/日本語");
        assert_eq!(decode(b"Entw&APw-rfe").unwrap(), "Entwürfe");
        assert_eq!(decode(b"A&-B").unwrap(), "A&B");
        assert_eq!(decode(b"broken&U"), None);
        assert_eq!(decode(b"&2D0-"), None, "a lone surrogate");
    }

    #[test]
    fn utf8_and_rubbish_are_shown_safely() {
        assert_eq!(display("Entwürfe".as_bytes()), "Entwürfe");
        assert_eq!(display(b"a\x1b[2Jb"), "a%1B[2Jb");
        assert_eq!(display(b"\xff"), "%FF");
    }
}
