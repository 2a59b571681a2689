//! Messages for the drill: samples of every shape, and any number of distinct whole variants from a seed.
//!
//! Pure: no files, no clock. Everything that comes out of here is well-formed, so that a check which
//! accuses it is wrong.

use super::encode::{base64_lines, quoted_printable};
use fastrand::Rng;

/// The samples, by name.
pub const SAMPLES: [(&str, &[u8]); 22] = [
    ("plain", include_bytes!("../../testdata/mail/plain.eml")),
    ("latin1-8bit", include_bytes!("../../testdata/mail/latin1-8bit.eml")),
    ("utf8-8bit", include_bytes!("../../testdata/mail/utf8-8bit.eml")),
    ("quoted-printable", include_bytes!("../../testdata/mail/quoted-printable.eml")),
    ("base64-attachment", include_bytes!("../../testdata/mail/base64-attachment.eml")),
    ("base64-text", include_bytes!("../../testdata/mail/base64-text.eml")),
    ("alternative", include_bytes!("../../testdata/mail/alternative.eml")),
    ("nested-multipart", include_bytes!("../../testdata/mail/nested-multipart.eml")),
    ("forwarded", include_bytes!("../../testdata/mail/forwarded.eml")),
    ("calendar", include_bytes!("../../testdata/mail/calendar.eml")),
    ("list-mail", include_bytes!("../../testdata/mail/list-mail.eml")),
    ("html-spam", include_bytes!("../../testdata/mail/html-spam.eml")),
    ("format-flowed", include_bytes!("../../testdata/mail/format-flowed.eml")),
    ("pgp-signed", include_bytes!("../../testdata/mail/pgp-signed.eml")),
    ("dkim-looking", include_bytes!("../../testdata/mail/dkim-looking.eml")),
    ("header-only", include_bytes!("../../testdata/mail/header-only.eml")),
    ("long-lines", include_bytes!("../../testdata/mail/long-lines.eml")),
    ("delivery-report", include_bytes!("../../testdata/mail/delivery-report.eml")),
    ("crlf", include_bytes!("../../testdata/mail/crlf.eml")),
    ("uuencoded", include_bytes!("../../testdata/mail/uuencoded.eml")),
    ("no-newline-at-end", include_bytes!("../../testdata/mail/no-newline-at-end.eml")),
    ("encoded-names", include_bytes!("../../testdata/mail/encoded-names.eml")),
];

const WORDS: &str = "garden window letter under seven order bridge silver quiet paper morning ticket answer between \
    station winter copper message ladder spring without travel number kitchen yellow simple carry again market \
    forward button harvest please river sixteen corner lantern engine remember island table";
const ACCENTED: &str = "größer façade señor naïve Übung crème žluťoučký kůň élève smørrebrød Straße fiancée";

/// Makes messages without end, each different from every other one of the same seed.
#[derive(Debug, Clone)]
pub struct Generator {
    rng: Rng,
    seed: u64,
    number: u64,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { rng: Rng::with_seed(seed), seed, number: 0 }
    }

    /// One whole message. Sizes have a mean near 15 KB and a long tail beyond 1 MiB.
    pub fn message(&mut self) -> Vec<u8> {
        self.number += 1;
        match self.number % 8 {
            0 | 3 => self.sample(),
            1 | 5 => self.plain(),
            2 => self.quoted(),
            4 => self.with_attachment(),
            6 => self.alternative(),
            _ => self.forwarded(),
        }
    }

    /// One of the samples under an identity of its own.
    fn sample(&mut self) -> Vec<u8> {
        let (_, bytes) = SAMPLES[self.rng.usize(..SAMPLES.len())];
        let id = format!("Message-ID: {}", self.id());
        let date = format!("Date: {}", self.date());
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut in_header = true;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            let end: &[u8] = if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
            in_header &= line != end;
            if in_header && line.starts_with(b"Message-ID: ") {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(end);
            } else if in_header && line.starts_with(b"Date: ") {
                out.extend_from_slice(date.as_bytes());
                out.extend_from_slice(end);
            } else {
                out.extend_from_slice(line);
            }
        }
        out
    }

    fn plain(&mut self) -> Vec<u8> {
        let body = self.paragraphs(ACCENTED);
        let kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
        format!("{}{kind}\n{body}", self.header()).into_bytes()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let body = quoted_printable(self.paragraphs(ACCENTED).as_bytes());
        let kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n";
        format!("{}{kind}\n{body}", self.header()).into_bytes()
    }

    fn with_attachment(&mut self) -> Vec<u8> {
        let text = self.paragraphs("");
        let size = self.attachment_size();
        let bytes: Vec<u8> = std::iter::repeat_with(|| self.rng.u8(..)).take(size).collect();
        let parts = [
            format!("Content-Type: text/plain\n\n{text}"),
            format!(
                "Content-Type: application/octet-stream; name=\"file{0}.bin\"\nContent-Transfer-Encoding: base64\n\
                 Content-Disposition: attachment; filename=\"file{0}.bin\"\n\n{1}",
                self.number,
                base64_lines(&bytes)
            ),
        ];
        self.multipart("mixed", &parts)
    }

    fn alternative(&mut self) -> Vec<u8> {
        let text = self.paragraphs("");
        let html = format!("<html><body><p>{}</p></body></html>\n", text.replace("\n\n", "</p>\n<p>"));
        let parts = [
            format!("Content-Type: text/plain; charset=utf-8\n\n{text}"),
            format!(
                "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n{}",
                quoted_printable(html.as_bytes())
            ),
        ];
        self.multipart("alternative", &parts)
    }

    fn forwarded(&mut self) -> Vec<u8> {
        let text = self.paragraphs("");
        let inner = String::from_utf8(self.with_attachment()).unwrap_or_default();
        self.number += 1;
        let parts = [format!("Content-Type: text/plain\n\n{text}"), format!("Content-Type: message/rfc822\n\n{inner}")];
        self.multipart("mixed", &parts)
    }

    fn multipart(&mut self, kind: &str, parts: &[String]) -> Vec<u8> {
        let boundary = format!("=_drill_{}_{:08x}", self.number, self.rng.u32(..));
        let mut out = format!(
            "{}Content-Type: multipart/{kind};\n\tboundary=\"{boundary}\"\n\nThis is a MIME message.\n",
            self.header()
        );
        for part in parts {
            out.push_str(&format!("--{boundary}\n{part}\n"));
        }
        out.push_str(&format!("--{boundary}--\n"));
        out.into_bytes()
    }

    fn header(&mut self) -> String {
        let (from, word) = (self.word(WORDS), self.word(WORDS));
        let (number, id, date) = (self.number, self.id(), self.date());
        format!(
            "Return-Path: <{from}@example.net>\n\
             Received: from mx{} (mx{}.example.net [192.0.2.{}])\n\tby mail.example.org with ESMTP id D{number:07};\n\t{date}\n\
             From: {from} <{from}@example.net>\nTo: user@example.org\nSubject: {word} {number}\n\
             Date: {date}\nMessage-ID: {id}\nMIME-Version: 1.0\n",
            number % 9,
            number % 9,
            number % 250 + 1
        )
    }

    fn id(&self) -> String {
        format!("<{:x}.{}@drill.example.net>", self.seed, self.number)
    }

    fn date(&mut self) -> String {
        let rng = &mut self.rng;
        let (day, hour, minute, second) = (rng.u32(1..29), rng.u32(..24), rng.u32(..60), rng.u32(..60));
        format!("{day} Jan 2024 {hour:02}:{minute:02}:{second:02} +0000")
    }

    fn word<'a>(&mut self, words: &'a str) -> &'a str {
        let count = words.split(' ').filter(|w| !w.is_empty()).count();
        words.split(' ').filter(|w| !w.is_empty()).nth(self.rng.usize(..count)).unwrap_or("word")
    }

    /// A few paragraphs of text; `extra` holds words of which each paragraph gets one.
    fn paragraphs(&mut self, extra: &str) -> String {
        let mut text = String::new();
        for paragraph in 0..self.rng.usize(2..12) {
            if paragraph > 0 {
                text.push('\n');
            }
            for line in 0..self.rng.usize(1..9) {
                let first = if line == 0 && !extra.is_empty() { self.word(extra) } else { self.word(WORDS) };
                text.push_str(first);
                for _ in 0..self.rng.usize(3..9) {
                    text.push(' ');
                    text.push_str(self.word(WORDS));
                }
                text.push('\n');
            }
        }
        text
    }

    /// Mostly some kilobytes, now and then far more than a reader holds whole.
    fn attachment_size(&mut self) -> usize {
        match self.rng.u32(..200) {
            0 => self.rng.usize(900_000..1_600_000),
            1..=4 => self.rng.usize(100_000..400_000),
            5..=60 => self.rng.usize(8_000..60_000),
            _ => self.rng.usize(300..8_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
    use std::collections::BTreeSet;

    /// Every boundary that is declared closes, every part decodes, none is missing.
    fn assert_whole(what: &str, bytes: &[u8]) {
        let message = MessageParser::default().parse(bytes).unwrap_or_else(|| panic!("{what}: no message"));
        assert!(message.message_id().is_some() && message.date().is_some(), "{what}: no identity");
        assert_parts(what, &message);
        assert!(!bytes.contains(&0), "{what}: NUL");
    }

    fn assert_parts(what: &str, message: &Message<'_>) {
        for part in &message.parts {
            assert!(!part.is_encoding_problem, "{what}: encoding");
            if let PartType::Multipart(children) = &part.body {
                let boundary = part.content_type().and_then(|t| t.attribute("boundary")).expect("a boundary");
                let close = format!("\n--{boundary}--");
                let raw = message.raw_message();
                assert!(memchr::memmem::find(raw, close.as_bytes()).is_some(), "{what}: {boundary} never closes");
                assert!(children.len() >= 2, "{what}: {boundary} has {} parts", children.len());
            }
            if let PartType::Message(inner) = &part.body {
                assert_parts(what, inner);
            }
        }
    }

    #[test]
    fn samples_are_whole() {
        for (name, bytes) in SAMPLES {
            assert_whole(name, bytes);
        }
    }

    #[test]
    fn generated_mail_is_whole_distinct_and_of_the_promised_sizes() {
        let mut generator = Generator::new(11);
        let mut digests = BTreeSet::new();
        let (mut total, mut largest) = (0, 0);
        for number in 0..1500 {
            let bytes = generator.message();
            assert_whole(&format!("message {number}"), &bytes);
            assert!(digests.insert(Digest::of(&bytes)), "message {number} came twice");
            total += bytes.len();
            largest = largest.max(bytes.len());
        }
        let mean = total / 1500;
        assert!((6_000..30_000).contains(&mean), "mean {mean}");
        assert!(largest > 1 << 20, "no message of more than 1 MiB: {largest}");
        assert_eq!(Generator::new(11).message(), Generator::new(11).message());
    }
}
