//! The messages of the corpus, the forms in which stores keep them, and what lies where in them.

use crate::corpus;
use mail_parser::{Encoding, MessageParser, PartType};
use std::ops::Range;

pub struct Mail {
    /// As the manifest says: ham, spam, list, malformed, dkim.
    pub kind: String,
    pub path: String,
    pub bytes: Vec<u8>,
}

impl Mail {
    /// Whether it came over the wire, to somebody.
    pub fn is_traffic(&self) -> bool {
        matches!(self.kind.as_str(), "ham" | "spam" | "list")
    }
}

/// Every single message of the corpus in the manifest's order.
pub fn load() -> Option<Vec<Mail>> {
    let manifest = std::fs::File::open(corpus::given()?.join("MANIFEST.tsv.zst")).ok()?;
    let manifest = String::from_utf8(zstd::decode_all(manifest).expect("a manifest")).expect("a manifest of text");
    let folder = corpus::folder()?;
    let mail = |line: &str| {
        let field: Vec<&str> = line.split('\t').collect();
        let path = format!("{}/{}", field[2].replace('/', "+"), field[3]);
        let bytes = std::fs::read(folder.join(&path)).ok()?;
        Some(Mail { kind: field[5].to_owned(), path, bytes })
    };
    Some(manifest.lines().skip(1).filter(|line| !line.contains("\tmbox/")).filter_map(mail).collect())
}

/// How a store keeps the ends of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the corpus has it: one or the other, or both.
    Given,
    Lf,
    Crlf,
}

impl Form {
    pub const ALL: [Form; 3] = [Form::Given, Form::Lf, Form::Crlf];
}

pub fn stored(bytes: &[u8], form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for (at, &byte) in bytes.iter().enumerate() {
        let pair = |a: Option<&u8>, b: u8| a == Some(&b);
        match form {
            Form::Lf if byte == b'\r' && pair(bytes.get(at + 1), b'\n') => continue,
            Form::Crlf if byte == b'\n' && !pair(bytes[..at].last(), b'\r') => out.push(b'\r'),
            _ => {}
        }
        out.push(byte);
    }
    out
}

/// What a byte of a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Header,
    Text,
    Base64,
    Quoted,
}

/// One message in one form, with another's eyes: which bytes are what, as mail-parser sees it.
pub struct Shape {
    pub bytes: Vec<u8>,
    pub places: Vec<(Place, Range<usize>)>,
    pub multipart: bool,
}

impl Shape {
    pub fn of(bytes: Vec<u8>) -> Shape {
        let parsed = MessageParser::default().parse(&bytes);
        let parts = parsed.as_ref().map(|message| &message.parts[..]).unwrap_or_default();
        let mut places = Vec::new();
        if let Some(top) = parts.first() {
            places.push((Place::Header, 0..top.offset_body as usize));
        }
        for part in parts {
            let place = match (&part.body, part.encoding) {
                (PartType::Multipart(_) | PartType::Message(_), _) => continue,
                (_, Encoding::None) => Place::Text,
                (_, Encoding::Base64) => Place::Base64,
                (_, Encoding::QuotedPrintable) => Place::Quoted,
            };
            places.push((place, part.offset_body as usize..part.offset_end as usize));
        }
        places.retain(|(_, range)| range.start < range.end && range.end <= bytes.len());
        let multipart = matches!(parts.first().map(|part| &part.body), Some(PartType::Multipart(_)));
        Shape { bytes, places, multipart }
    }
}
