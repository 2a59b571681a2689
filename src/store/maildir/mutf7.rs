//! Modified UTF-7 of IMAP mailbox names (RFC 3501 section 5.1.3), for display only: raw names stay what they are.

use crate::model::path::escape;

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

/// One `&…-` run: base64 with `,` for `/`, of UTF-16BE.
fn decode_shift(run: &[u8]) -> Option<String> {
    let (mut bits, mut count, mut units) = (0u32, 0u32, Vec::new());
    for &byte in run {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    if bits != 0 || count >= 6 {
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
