//! Attachments that the server keeps apart from their message (mail_attachment_dir): where each belongs, how it was written
//! in the message, and the hash that its name promises.
//!
//! Pure: from the `X` line of a trailer to what it says.

use crate::model::RelPath;

/// One attachment. Offset and size count in the whole message, with every attachment in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub offset: u64,
    pub size: u64,
    /// It was base64, with lines of so many bytes: the file holds what that says.
    pub base64: Option<usize>,
    /// Those lines ended with CRLF.
    pub crlf: bool,
    /// Below the folder of attachments, without what a message adds to the name.
    pub path: RelPath,
}

/// Bytes in a line of base64 that anybody ever wrote.
const LINE_MAX: usize = 1 << 16;

impl Part {
    /// The hash in its name, in digits.
    pub fn hash(&self) -> &[u8] {
        self.path.name().split(|&byte| byte == b'-').next().unwrap_or_default()
    }

    /// Whether a file is this attachment, by its name: each message that has it adds its own mark.
    pub fn goes_by(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.path.name()).is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
    }
}

/// `OFFSET SIZE OPTIONS PATH`, for each attachment; `None` for what the server does not write.
pub fn read(value: &[u8]) -> Option<Vec<Part>> {
    let words: Vec<&[u8]> = value.split(|&byte| byte == b' ').collect();
    let (mut parts, mut end) = (Vec::new(), 0u64);
    for part in words.chunks(4) {
        let [offset, size, options, path] = part else { return None };
        let (offset, size) = (number(offset)?, number(size)?);
        let (base64, crlf) = options_of(options)?;
        let path = RelPath::new(path.to_vec()).ok().filter(|path| !path.is_root())?;
        if offset < end {
            return None;
        }
        end = offset.checked_add(size)?;
        parts.push(Part { offset, size, base64, crlf, path });
    }
    (!parts.is_empty()).then_some(parts)
}

/// `-`, or `C` for CRLF and `B76` for base64 with its line length.
fn options_of(options: &[u8]) -> Option<(Option<usize>, bool)> {
    let (crlf, rest) = options.strip_prefix(b"C").map_or((false, options), |rest| (true, rest));
    if options == b"-" || (crlf && rest.is_empty()) {
        return Some((None, crlf));
    }
    let line = usize::try_from(number(rest.strip_prefix(b"B")?)?).ok()?;
    (line > 0 && line % 4 == 0 && line <= LINE_MAX).then_some((Some(line), crlf))
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_dovecot_writes_is_read() {
        let parts = read(b"334 6755 B76 dc/29/dc29-daf3 9000 12 - ab/cd/abcd-1 9100 8 CB4 e/f/ef-2").unwrap();
        assert_eq!((parts.len(), parts[0].base64, parts[0].crlf, parts[0].hash()), (3, Some(76), false, &b"dc29"[..]));
        assert_eq!((parts[1].base64, parts[2].base64, parts[2].crlf), (None, Some(4), true));
        assert!(parts[0].goes_by(b"dc29-daf3") && parts[0].goes_by(b"dc29-daf3-0001-7"));
        assert!(!parts[0].goes_by(b"dc29-daf34") && !parts[0].goes_by(b"dc29"));
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        for line in
            ["", "1 2 -", "1 2 - /etc/x", "1 2 - ../x", "5 9 - a 6 1 - b", "1 2 B75 a", "1 2 B0 a", "x 2 - a", "1 2  a"]
        {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
        assert_eq!(read(b"18446744073709551615 2 - a"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(line in prop::collection::vec(any::<u8>(), 0..80)) {
            for part in read(&line).into_iter().flatten() {
                prop_assert!(part.offset.checked_add(part.size).is_some() && !part.path.is_root());
            }
        }
    }
}
