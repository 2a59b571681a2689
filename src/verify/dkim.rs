//! The deep tier: the body hashes (`bh=`) of every DKIM-Signature and ARC-Message-Signature, offline (RFC 6376, 8617).
//!
//! A hash that agrees proves the body to be what was signed, whoever signed it: enough to tell rot from mail, not who
//! wrote it. Keeps the signatures of the top header and never a body; whatever strangers wrote, the answer is data.

use super::dkim_body::{Body, Done};
use super::dkim_tags::{self, Form, Signature, Wanted};
use super::header::name;
use crate::model::limits::{BODY_HASHES_MAX, SIGNATURE_MAX, SIGNATURES_MAX};
use crate::model::{Agrees, Signed, Span};
use memchr::memchr;

const FIELDS: [&[u8]; 2] = [b"DKIM-Signature", b"ARC-Message-Signature"];

/// Compares one copy's body with its signatures, window by window.
#[derive(Debug)]
pub struct BodyProof {
    state: State,
    offset: u64,
    signatures: Vec<Signature>,
    header: Option<[u8; 16]>,
    body: u64,
}

#[derive(Debug)]
enum State {
    Header(Box<Header>),
    /// The canonical forms that are wanted.
    Body(Vec<Body>),
    /// Bytes are missing from here on.
    Cut(Vec<Body>),
}

/// The header as it streams by.
#[derive(Debug, Default)]
struct Header {
    exact: blake3::Hasher,
    /// A line that is not complete yet, as far as it is kept.
    carry: Vec<u8>,
    /// The value of the signature in hand.
    open: Option<Vec<u8>>,
    found: Vec<Vec<u8>>,
}

impl Default for BodyProof {
    fn default() -> BodyProof {
        BodyProof::new()
    }
}

impl BodyProof {
    pub fn new() -> BodyProof {
        let state = State::Header(Box::default());
        BodyProof { state, offset: 0, signatures: Vec::new(), header: None, body: 0 }
    }

    /// Takes the next bytes of the message.
    pub fn feed(&mut self, mut window: &[u8]) {
        if let State::Header(header) = &mut self.state {
            let (used, ended) = header.feed(window);
            self.offset += used as u64;
            window = &window[used..];
            if !ended {
                return;
            }
            self.begin_body();
        }
        if let State::Body(forms) = &mut self.state {
            forms.iter_mut().for_each(|form| form.feed(window));
            self.offset += window.len() as u64;
        }
    }

    /// The medium did not give `span`, which continues where the last bytes ended. Nothing behind it can be compared.
    pub fn hole(&mut self, span: Span) {
        self.offset = span.end().max(self.offset);
        self.state = match std::mem::replace(&mut self.state, State::Cut(Vec::new())) {
            State::Header(header) => {
                self.signatures = header.found.iter().filter_map(|value| dkim_tags::parse(value)).collect();
                State::Cut(Vec::new())
            }
            State::Body(forms) | State::Cut(forms) => State::Cut(forms),
        };
    }

    /// The header is all there: which hashes are wanted?
    fn begin_body(&mut self) {
        let State::Header(mut header) = std::mem::replace(&mut self.state, State::Body(Vec::new())) else { return };
        header.close();
        let mut short = [0; 16];
        short.copy_from_slice(&header.exact.finalize().as_bytes()[..16]);
        (self.header, self.body) = (Some(short), self.offset);
        let mut wanted: Vec<Wanted> = Vec::new();
        for signature in header.found.iter().filter_map(|value| dkim_tags::parse(value)) {
            let known = wanted.contains(&signature.wanted);
            if known || wanted.len() < BODY_HASHES_MAX {
                wanted.extend((!known).then_some(signature.wanted));
                self.signatures.push(signature);
            }
        }
        let forms = [Form::Simple, Form::Relaxed].into_iter().filter(|&form| wanted.iter().any(|w| w.form == form));
        self.state = State::Body(forms.map(|form| Body::new(form, wanted.iter().copied(), self.offset)).collect());
    }

    /// No more bytes come. `None` where the message carries no signature that says anything of its body.
    pub fn finish(mut self) -> Option<Signed> {
        if matches!(self.state, State::Header(_)) {
            // Fields only: a message without a body.
            self.finish_header();
        }
        let (forms, whole) = match self.state {
            State::Body(forms) => (forms, true),
            State::Cut(forms) => (forms, false),
            State::Header(_) => return None,
        };
        let first = self.signatures.first()?.domain.clone();
        let hashes: Vec<Done> = forms.into_iter().flat_map(|form| form.finish(whole)).collect();
        let agreeing = |signature: &&Signature| {
            let done = hashes.iter().find(|done| done.wanted == signature.wanted)?;
            (done.hash == signature.hash).then_some(done.end.unwrap_or(u64::MAX))
        };
        let best = self.signatures.iter().filter_map(|s| Some((agreeing(&s)?, s))).max_by_key(|(end, _)| *end);
        let (agrees, domain) = match best {
            Some((u64::MAX, signature)) => (Agrees::Whole, signature.domain.clone()),
            Some((end, signature)) => (Agrees::UpTo(end), signature.domain.clone()),
            None if whole => (Agrees::No, first),
            None => (Agrees::Unread, first),
        };
        Some(Signed { domain, agrees, header: self.header, body: self.body })
    }

    fn finish_header(&mut self) {
        if let State::Header(header) = &mut self.state {
            let carry = std::mem::take(&mut header.carry);
            header.line(&carry);
        }
        self.begin_body();
    }
}

impl Header {
    /// Takes bytes up to the empty line; how many, and whether it came.
    fn feed(&mut self, window: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < window.len() {
            let end = memchr(b'\n', &window[at..]).map(|lf| at + lf);
            let piece = &window[at..end.unwrap_or(window.len())];
            at += piece.len() + usize::from(end.is_some());
            if end.is_some() && self.carry.is_empty() {
                if self.line(piece) {
                    self.exact.update(&window[..at]);
                    return (at, true);
                }
                continue;
            }
            let room = (SIGNATURE_MAX + 2).saturating_sub(self.carry.len()).min(piece.len());
            self.carry.extend_from_slice(&piece[..room]);
            if end.is_some() {
                let carry = std::mem::take(&mut self.carry);
                if self.line(&carry) {
                    self.exact.update(&window[..at]);
                    return (at, true);
                }
            }
        }
        self.exact.update(window);
        (at, false)
    }

    /// One line without its LF; true where it is the empty one that ends the header.
    fn line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line.first(), Some(b' ' | b'\t')) {
            // One that is too long is no signature: half of it could say anything.
            self.open = self.open.take().filter(|value| value.len() + line.len() <= SIGNATURE_MAX).map(|mut value| {
                value.extend_from_slice(line);
                value
            });
            return false;
        }
        self.close();
        let signs = name(line).is_some_and(|name| FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name)));
        if signs && line.len() <= SIGNATURE_MAX && self.found.len() < SIGNATURES_MAX {
            self.open = memchr(b':', line).map(|colon| line[colon + 1..].to_vec());
        }
        line.is_empty()
    }

    /// The field in hand is complete.
    fn close(&mut self) {
        self.found.extend(self.open.take());
    }
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
