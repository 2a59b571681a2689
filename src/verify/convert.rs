//! Turns a message's bytes into the form in which a server of another format keeps them, window by window: line ends, and
//! the header fields that mbox software rewrites.
//!
//! May not keep more of the message than the first bytes of one line.

use super::hashing::{Start, start_of_line};
use crate::model::form::{Ends, Form};
use memchr::memchr;
use std::io::{self, Read};

/// Converts what it is fed.
#[derive(Debug, Default)]
pub struct Converter {
    ends: Ends,
    bare: bool,
    state: State,
    /// Bytes that cannot be judged before the next window.
    held: Vec<u8>,
    /// The last byte that was passed on to the line ends was a CR, which is held back with [`Ends::Lf`].
    cr: bool,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart { drops: bool },
    InLine { drops: bool },
    Body,
}

impl Default for State {
    fn default() -> State {
        State::LineStart { drops: false }
    }
}

impl Converter {
    pub fn new(form: &Form) -> Converter {
        let state = if form.bare { State::default() } else { State::Body };
        Converter { ends: form.ends, bare: form.bare, state, ..Converter::default() }
    }

    /// Takes the next bytes; what they become is added to `out`.
    pub fn feed(&mut self, window: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            self.step(window, false, out);
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(window);
            self.step(&joined, false, out);
        }
    }

    /// No more bytes come.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.step(&held, true, out);
        if std::mem::take(&mut self.cr) && self.ends == Ends::Lf {
            out.push(b'\r');
        }
    }

    fn step(&mut self, data: &[u8], last: bool, out: &mut Vec<u8>) {
        debug_assert!(self.bare || self.state == State::Body);
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            match self.state {
                State::LineStart { drops } => match start_of_line(rest, drops, last) {
                    Start::Undecided => break,
                    Start::End => self.state = State::Body,
                    Start::Field(drops) => self.state = State::InLine { drops },
                },
                State::InLine { drops } => {
                    let line = memchr(b'\n', rest).map_or(rest, |lf| &rest[..=lf]);
                    if line.ends_with(b"\n") {
                        self.state = State::LineStart { drops };
                    }
                    if !drops {
                        self.pass(line, out);
                    }
                    at += line.len();
                }
                State::Body => {
                    self.pass(rest, out);
                    at = data.len();
                }
            }
        }
        self.held.extend_from_slice(&data[at..]);
    }

    /// Turns line ends.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.ends == Ends::Kept {
            return out.extend_from_slice(bytes);
        }
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let Some(text) = piece.strip_suffix(b"\n") else {
                self.text(piece, out);
                continue;
            };
            self.text(text, out);
            // With `Lf` a CR before it was held back, and goes; with `Crlf` it was written.
            if self.ends == Ends::Crlf && !self.cr {
                out.push(b'\r');
            }
            self.cr = false;
            out.push(b'\n');
        }
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let Some((&last, body)) = text.split_last() else { return };
        if self.ends == Ends::Lf && std::mem::take(&mut self.cr) {
            out.push(b'\r');
        }
        self.cr = last == b'\r';
        out.extend_from_slice(if self.cr && self.ends == Ends::Lf { body } else { text });
    }
}

/// Converts what another reader gives.
pub struct Converting<R> {
    inner: R,
    converter: Converter,
    /// Converted and not yet given: from `at` on.
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Bytes that are read and converted at a time.
const PIECE: usize = 64 << 10;

impl<R: Read> Converting<R> {
    pub fn new(form: &Form, inner: R) -> Converting<R> {
        Converting { inner, converter: Converter::new(form), ready: Vec::new(), at: 0, ended: false }
    }
}

impl<R: Read> Read for Converting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.ended {
            let mut window = vec![0; PIECE];
            let got = self.inner.read(&mut window)?;
            (self.at, self.ended) = (0, got == 0);
            self.ready.clear();
            match got {
                0 => self.converter.finish(&mut self.ready),
                got => self.converter.feed(&window[..got], &mut self.ready),
            }
        }
        let given = buffer.len().min(self.ready.len() - self.at);
        buffer[..given].copy_from_slice(&self.ready[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::hashing::Hashing;
    use proptest::prelude::*;

    /// The same of a whole message, written for clearness.
    fn expected(message: &[u8], form: &Form) -> Vec<u8> {
        let (mut out, mut header, mut drops) = (Vec::new(), form.bare, false);
        let mutable = ["status:", "x-status:", "x-uid:", "x-keywords:", "x-imap:", "x-imapbase:", "content-length:"];
        for line in message.split_inclusive(|&b| b == b'\n') {
            if header && (line == b"\n" || line == b"\r\n") {
                header = false;
            } else if header {
                if !matches!(line[0], b' ' | b'\t') {
                    let lower = line.to_ascii_lowercase();
                    drops = mutable.iter().any(|name| lower.starts_with(name.as_bytes()));
                }
                if drops {
                    continue;
                }
            }
            let text = line.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
            match (form.ends, text) {
                (Ends::Lf, Some(text)) => out.extend([text, b"\n"].concat()),
                (Ends::Crlf, Some(text)) => out.extend([text, b"\r\n"].concat()),
                _ => out.extend_from_slice(line),
            }
        }
        out
    }

    fn converted(message: &[u8], form: &Form, size: usize) -> Vec<u8> {
        let (mut converter, mut out) = (Converter::new(form), Vec::new());
        message.chunks(size).for_each(|window| converter.feed(window, &mut out));
        converter.finish(&mut out);
        let mut read = Vec::new();
        Converting::new(form, message).read_to_end(&mut read).unwrap();
        assert_eq!(read, out);
        out
    }

    fn forms() -> impl Strategy<Value = Form> {
        let ends = prop::sample::select(vec![Ends::Kept, Ends::Lf, Ends::Crlf]);
        (ends, any::<bool>()).prop_map(|(ends, bare)| Form { ends, bare, frame: None })
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let pieces =
            ["Status: RO", "x-uid:1", "Subject: s", " folded", "\n", "\r\n", "\r", "\n\n", "X-IMAP", "base: 1"];
        let piece = prop::sample::select(pieces.to_vec());
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn whole_or_in_windows_it_is_the_same(message in message(), form in forms(), size in 1usize..20) {
            prop_assert_eq!(converted(&message, &form, size), expected(&message, &form));
        }

        #[test]
        fn no_form_changes_what_the_message_is(message in message(), form in forms()) {
            let canonical = |bytes: &[u8]| {
                let mut hashing = Hashing::new();
                hashing.feed(bytes);
                let hashes = hashing.finish();
                hashes.canonical.unwrap_or(hashes.digest)
            };
            // A lone CR before a line end that another end takes is the one thing that cannot be told apart.
            prop_assume!(!message.windows(2).any(|pair| pair == b"\r\r"));
            prop_assert_eq!(canonical(&converted(&message, &form, 7)), canonical(&message));
        }

        #[test]
        fn there_and_back_is_the_same(message in message()) {
            let lf = Form { ends: Ends::Lf, ..Form::default() };
            let crlf = Form { ends: Ends::Crlf, ..Form::default() };
            let plain = converted(&message, &lf, 5);
            prop_assume!(!plain.contains(&b'\r'));
            prop_assert_eq!(converted(&converted(&plain, &crlf, 5), &lf, 3), plain);
        }
    }
}
