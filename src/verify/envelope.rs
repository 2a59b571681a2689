//! The few fields that name a message to people. Never evidence of anything.
//!
//! The parser sees the first occurrence of four fields and nothing else, so that its cost and its memory
//! stay small however long the header is.

use crate::model::Envelope;
use crate::model::limits::{ENVELOPE_FIELD, HEADER_MAX};
use mail_parser::{HeaderName, MessageParser};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes gathered of any one field, before decoding.
const RAW_FIELD: usize = 8 * ENVELOPE_FIELD;
const NAMES: [&[u8]; 4] = [b"Message-ID", b"From", b"Date", b"Subject"];

/// Gathers the fields while the header streams by.
#[derive(Debug, Default)]
pub(super) struct Fields {
    values: [Option<Vec<u8>>; NAMES.len()],
    /// The field in hand.
    open: Option<usize>,
}

impl Fields {
    /// One line of the top header block, without its end. `name` is given where it begins a field.
    pub(super) fn line(&mut self, offset: u64, line: &[u8], name: Option<&[u8]>) {
        if offset >= HEADER_MAX as u64 {
            return;
        }
        let Some(name) = name else {
            if let Some(value) = self.open.and_then(|field| self.values[field].as_mut())
                && matches!(line.first(), Some(b' ' | b'\t'))
                && let Some(room @ 1..) = RAW_FIELD.checked_sub(value.len() + 1)
            {
                value.push(b'\n');
                value.extend_from_slice(&line[..line.len().min(room)]);
            }
            return;
        };
        // A field that comes twice is read where it first stands.
        let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        self.open = known.filter(|&field| self.values[field].is_none());
        if let Some(field) = self.open {
            let value = memchr::memchr(b':', line).map_or(&[][..], |colon| &line[colon + 1..]);
            self.values[field] = Some(value[..value.len().min(RAW_FIELD)].to_vec());
        }
    }

    /// What the fields say; `None` where there is none of them.
    pub(super) fn finish(self) -> Option<Envelope> {
        if self.values.iter().all(Option::is_none) {
            return None;
        }
        // A panic of the parser costs the envelope, not the message.
        let parsed = catch_unwind(AssertUnwindSafe(|| self.parse())).unwrap_or_default();
        let message_id = self.values[0].as_deref().and_then(message_id);
        Some(Envelope { message_id, ..parsed })
    }

    fn parse(&self) -> Envelope {
        let mut block = Vec::new();
        for (name, value) in NAMES.iter().zip(&self.values).skip(1) {
            if let Some(value) = value {
                block.extend([name, &b":"[..], value, b"\r\n"].concat());
            }
        }
        block.extend_from_slice(b"\r\n");
        let parser = MessageParser::new()
            .header_address(HeaderName::From)
            .header_date(HeaderName::Date)
            .header_text(HeaderName::Subject)
            .default_header_ignore();
        let Some(message) = parser.parse_headers(&block) else { return Envelope::default() };
        let from = message.from().and_then(|from| from.first());
        Envelope {
            message_id: None,
            from: from.and_then(|addr| addr.address().or(addr.name())).and_then(shorten),
            date: message.date().filter(|date| date.is_valid()).map(|date| date.to_timestamp()),
            subject: message.subject().and_then(shorten),
        }
    }
}

/// The identifier exactly as it stands between `<` and `>`, or all of it where there are none.
fn message_id(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let inner = match (memchr::memchr(b'<', value), memchr::memrchr(b'>', value)) {
        (Some(open), Some(close)) if open < close => {
            let rest = &value[open + 1..];
            &rest[..memchr::memchr(b'>', rest).unwrap_or(close - open - 1)]
        }
        _ => value,
    };
    shorten(&String::from_utf8_lossy(inner))
}

/// At most [`ENVELOPE_FIELD`] bytes, cut between characters; `None` where nothing is left.
fn shorten(text: &str) -> Option<String> {
    let text = text.trim();
    let end = text.floor_char_boundary(ENVELOPE_FIELD);
    (!text.is_empty()).then(|| text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::header::name;

    fn envelope(header: &str) -> Option<Envelope> {
        let mut fields = Fields::default();
        for line in header.lines() {
            fields.line(0, line.as_bytes(), name(line.as_bytes()));
        }
        fields.finish()
    }

    #[test]
    fn fields_are_decoded_and_the_identifier_stays_raw() {
        let envelope = envelope(concat!(
            "Received: x\n",
            "subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n an alle\n",
            "From: \"A. B.\" <a@example.org>\n",
            "Date: Thu, 1 Jan 1970 01:00:10 +0100\n",
            "Message-Id:\n <Weird ID+1@x>\n",
            "Subject: second\n",
        ))
        .unwrap();
        assert_eq!(envelope.subject.as_deref(), Some("grüße an alle"));
        assert_eq!(envelope.from.as_deref(), Some("a@example.org"));
        assert_eq!(envelope.date, Some(10));
        assert_eq!(envelope.message_id.as_deref(), Some("Weird ID+1@x"));
    }

    #[test]
    fn nothing_to_name_and_too_much_to_name() {
        assert_eq!(envelope("X: y\n"), None);
        let long = envelope(&format!("Subject: {}\nMessage-ID: bare\n", "ü".repeat(9000))).unwrap();
        assert_eq!(long.subject.unwrap().len(), ENVELOPE_FIELD);
        assert_eq!(long.message_id.as_deref(), Some("bare"));
    }
}
