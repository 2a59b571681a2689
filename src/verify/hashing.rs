//! The digest of a message's exact bytes and, where they differ, of its canonical form: CRLF as LF, without
//! the header fields that mbox software rewrites (DESIGN.md section 3).
//!
//! May not keep more of the message than the first bytes of one line: memory does not grow with its size.

use crate::model::Digest;
use memchr::{memchr, memchr_iter};

/// Fields that change while the message does not, with the colon that must follow.
const MUTABLE: [&[u8]; 10] = [
    b"status:",
    b"x-status:",
    b"x-uid:",
    b"x-keywords:",
    b"x-imap:",
    b"x-imapbase:",
    b"content-length:",
    b"x-mozilla-status:",
    b"x-mozilla-status2:",
    b"x-mozilla-keys:",
];

/// What hashing one message gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// Of the exact bytes.
    pub digest: Digest,
    /// Of the canonical form, only where it differs.
    pub canonical: Option<Digest>,
    /// Bytes that were fed.
    pub length: u64,
}

/// Hashes one message, window by window. One hasher works until the canonical form first differs; from there
/// on two do.
#[derive(Debug, Default)]
pub struct Hashing {
    exact: blake3::Hasher,
    canonical: Option<blake3::Hasher>,
    length: u64,
    state: State,
    /// Bytes that cannot be judged before the next window: a CR, or a line that may become a mutable field.
    held: Vec<u8>,
    /// Canonical bytes of the window in hand, hashed in one go.
    kept: Vec<u8>,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line of the top header block; `drops` is what happened to the field before.
    LineStart { drops: bool },
    /// Inside a line of the top header block.
    InLine { drops: bool },
    /// Behind the header.
    Body,
}

impl Default for State {
    fn default() -> State {
        State::LineStart { drops: false }
    }
}

/// What the start of a header line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// More bytes are needed.
    Undecided,
    /// The empty line.
    End,
    /// A line of a field; `true` where it is dropped.
    Field(bool),
}

impl Hashing {
    pub fn new() -> Hashing {
        Hashing::default()
    }

    /// Takes the next bytes of the message, in whatever pieces they come.
    pub fn feed(&mut self, window: &[u8]) {
        self.length += window.len() as u64;
        if self.held.is_empty() {
            self.step(window, false);
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(window);
            self.step(&joined, false);
        }
    }

    /// No more bytes come.
    pub fn finish(mut self) -> Hashes {
        let held = std::mem::take(&mut self.held);
        self.step(&held, true);
        Hashes {
            digest: Digest(*self.exact.finalize().as_bytes()),
            canonical: self.canonical.map(|hasher| Digest(*hasher.finalize().as_bytes())),
            length: self.length,
        }
    }

    /// Works through `data` and holds back the few bytes at its end that cannot be judged yet.
    fn step(&mut self, data: &[u8], last: bool) {
        let mut pass = Pass { data, at: 0 };
        while pass.at < data.len() && self.advance(&mut pass, last) {}
        self.exact.update(&data[..pass.at]);
        if let Some(canonical) = &mut self.canonical {
            canonical.update(&self.kept);
            self.kept.clear();
        }
        self.held.extend_from_slice(&data[pass.at..]);
    }

    /// One line start, line or body; false where the next window is needed.
    fn advance(&mut self, pass: &mut Pass<'_>, last: bool) -> bool {
        let rest = &pass.data[pass.at..];
        match self.state {
            State::LineStart { drops } => match start_of_line(rest, drops, last) {
                Start::Undecided => return false,
                Start::End => self.state = State::Body,
                Start::Field(drops) => self.state = State::InLine { drops },
            },
            State::InLine { drops } => {
                let line = memchr(b'\n', rest).map_or(rest, |lf| &rest[..=lf]);
                if line.ends_with(b"\n") {
                    self.state = State::LineStart { drops };
                }
                if drops {
                    self.drop_bytes(pass, line.len());
                } else {
                    return self.keep_text(pass, line.len(), last);
                }
            }
            State::Body => return self.keep_text(pass, rest.len(), last),
        }
        true
    }

    /// Keeps the next `length` bytes with CRLF as LF; false where a final CR waits for what follows it.
    fn keep_text(&mut self, pass: &mut Pass<'_>, length: usize, last: bool) -> bool {
        let (data, start, end) = (pass.data, pass.at, pass.at + length);
        for found in memchr_iter(b'\r', &data[start..end]) {
            let cr = start + found;
            match data.get(cr + 1) {
                Some(b'\n') => {
                    self.keep_bytes(pass, cr - pass.at);
                    self.drop_bytes(pass, 1);
                }
                None if !last => {
                    self.keep_bytes(pass, cr - pass.at);
                    return false;
                }
                _ => {}
            }
        }
        self.keep_bytes(pass, end - pass.at);
        true
    }

    fn keep_bytes(&mut self, pass: &mut Pass<'_>, length: usize) {
        if self.canonical.is_some() {
            self.kept.extend_from_slice(&pass.data[pass.at..pass.at + length]);
        }
        pass.at += length;
    }

    /// Leaves bytes out of the canonical form; the first time, this is the window where the two hashers part.
    fn drop_bytes(&mut self, pass: &mut Pass<'_>, length: usize) {
        if self.canonical.is_none() {
            // The exact hasher takes windows whole: cut elsewhere, BLAKE3 loses its lanes.
            self.canonical = Some(self.exact.clone());
            self.kept.reserve(pass.data.len());
            self.kept.extend_from_slice(&pass.data[..pass.at]);
        }
        pass.at += length;
    }
}

/// One window in work: `at` is the next byte to judge.
struct Pass<'a> {
    data: &'a [u8],
    at: usize,
}

/// Judges a header line by its first bytes: whether it is of a field that mbox software rewrites. `drops` says so of the
/// line before, which this one may continue; `last` that no more bytes come.
pub fn start_of_line(rest: &[u8], drops: bool, last: bool) -> Start {
    match rest {
        [b'\n', ..] | [b'\r', b'\n', ..] => Start::End,
        [b'\r'] if !last => Start::Undecided,
        [b' ' | b'\t', ..] => Start::Field(drops),
        _ => {
            let matches = |name: &[u8]| {
                let length = name.len().min(rest.len());
                rest[..length].eq_ignore_ascii_case(&name[..length])
            };
            match MUTABLE.iter().find(|name| matches(name)) {
                None => Start::Field(false),
                Some(name) if rest.len() >= name.len() => Start::Field(true),
                Some(_) if last => Start::Field(false),
                Some(_) => Start::Undecided,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The canonical form of a whole message, written for clearness.
    fn canonical(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (mut header, mut drops) = (true, false);
        for line in message.split_inclusive(|&b| b == b'\n') {
            if header {
                if line == b"\n" || line == b"\r\n" {
                    header = false;
                } else if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                    let lower = line.to_ascii_lowercase();
                    drops = MUTABLE.iter().any(|name| lower.starts_with(name));
                }
                if header && drops {
                    continue;
                }
            }
            match line.strip_suffix(b"\r\n") {
                Some(text) => out.extend([text, b"\n"].concat()),
                None => out.extend_from_slice(line),
            }
        }
        out
    }

    fn expected(message: &[u8]) -> Hashes {
        let form = canonical(message);
        Hashes {
            digest: Digest::of(message),
            canonical: (form != message).then(|| Digest::of(&form)),
            length: message.len() as u64,
        }
    }

    fn hashed(message: &[u8], sizes: &[usize]) -> Hashes {
        let mut hashing = Hashing::new();
        let (mut rest, mut sizes) = (message, sizes.iter().cycle());
        while !rest.is_empty() {
            let (window, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
            hashing.feed(window);
            rest = tail;
        }
        hashing.finish()
    }

    #[test]
    fn mbox_rewrites_and_line_ends_leave_the_canonical_digest_alone() {
        let plain = b"From: a\nSubject: b\n\nStatus: stays in the body\n";
        let mbox = b"From: a\r\nstatus: RO\r\nX-Keywords: a\r\n\t b\r\nSubject: b\r\nX-UID: 7\r\n\r\nStatus: stays in the body\r\n";
        assert_eq!(hashed(plain, &[64]).canonical, None);
        assert_eq!(hashed(mbox, &[7]).canonical, Some(hashed(plain, &[3]).digest));
    }

    #[test]
    fn a_field_that_only_begins_alike_is_kept() {
        for text in [&b"Statuses: x\n\n"[..], b"X-IMAPbas", b"Status", b"\rStatus: x", b"a\r\r\nb", b"\r", b"a: b\r"] {
            assert_eq!(hashed(text, &[1]), expected(text));
        }
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let pieces: [&[u8]; 13] = [
            b"Status: RO",
            b"x-uid:1",
            b"Content-Length: 5",
            b"Subject: s",
            b" folded",
            b"\tfolded",
            b"\n",
            b"\r\n",
            b"\r",
            b"\n\n",
            b"X-IMAP",
            b"base: 1",
            b"body",
        ];
        let piece = prop::sample::select(pieces.to_vec());
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn windows_do_not_matter(message in message(), sizes in prop::collection::vec(1usize..20, 1..6)) {
            prop_assert_eq!(hashed(&message, &sizes), expected(&message));
        }
    }
}
