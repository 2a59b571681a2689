//! The message without the header fields that mail servers and programs keep in it for themselves: flags, UIDs, lengths.
//! What is left is what clients see, and equals the copy in any other format; flags may change as they like.
//!
//! Pure, fed by windows of any size; keeps no more than one such field.

use super::scan::number;
use crate::model::container::OwnField;
use crate::verify::{Start, start_of_line};
use memchr::memchr;

/// Bytes of a field that are looked at.
const FIELD_MAX: usize = 4096;

/// Takes a message as it stands in the file, and passes on what belongs to it.
#[derive(Debug, Default)]
pub struct Unframe {
    state: State,
    /// The beginning of a line that may become a field to leave out.
    held: Vec<u8>,
    field: Vec<u8>,
    /// Where that begins.
    field_at: u64,
    /// Bytes taken so far, and passed on.
    taken: u64,
    passed: u64,
    /// Whether fields are kept, those that were, and the bytes of the message before them.
    keeps: bool,
    pub fields: Vec<OwnField>,
    field_out: u64,
    /// Bytes of the message before the empty line that ends its header.
    pub head: Option<u64>,
    /// Where a field begins that no software wrote so.
    pub harmed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a header line; `drops` is what happened to the field before.
    Start {
        drops: bool,
    },
    /// In a header line.
    Line {
        drops: bool,
    },
    Body,
}

impl Default for State {
    fn default() -> State {
        State::Start { drops: false }
    }
}

impl Unframe {
    pub fn new() -> Unframe {
        Unframe::default()
    }

    /// One that also keeps what it leaves out.
    pub fn keeping() -> Unframe {
        Unframe { keeps: true, ..Unframe::default() }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        if self.state == State::Body {
            self.taken += bytes.len() as u64;
            self.passed += bytes.len() as u64;
            return each(bytes);
        }
        if self.held.is_empty() {
            return self.step(bytes, false, each);
        }
        let joined = [&std::mem::take(&mut self.held)[..], bytes].concat();
        self.step(&joined, false, each);
    }

    /// The medium did not give the next `length` bytes: whatever they were, the line goes on behind them.
    pub fn hole(&mut self, length: u64, each: &mut dyn FnMut(&[u8])) {
        self.finish(each);
        self.taken += length;
        if self.state != State::Body {
            self.state = State::Line { drops: false };
        }
    }

    /// No more bytes come.
    pub fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        self.step(&held, true, each);
        self.judge();
    }

    fn step(&mut self, data: &[u8], last: bool, each: &mut dyn FnMut(&[u8])) {
        // Bytes from `kept` on are passed on in one go.
        let (mut at, mut kept) = (0, 0);
        while at < data.len() {
            let rest = &data[at..];
            match self.state {
                State::Start { drops } => match start_of_line(rest, drops, last) {
                    Start::Undecided => break,
                    Start::End => {
                        self.judge();
                        self.head = Some(self.passed + (at - kept) as u64);
                        self.state = State::Body;
                    }
                    Start::Field(drops) => {
                        if !matches!(rest.first(), Some(b' ' | b'\t')) {
                            self.judge();
                        }
                        self.state = State::Line { drops };
                    }
                },
                State::Line { drops } => {
                    let length = memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
                    if rest[..length].ends_with(b"\n") {
                        self.state = State::Start { drops };
                    }
                    if drops {
                        self.passed += (at - kept) as u64;
                        each(&data[kept..at]);
                        if self.field.is_empty() {
                            self.field_at = self.taken + at as u64;
                            self.field_out = self.passed;
                        }
                        let room = FIELD_MAX.saturating_sub(self.field.len()).min(length);
                        self.field.extend_from_slice(&rest[..room]);
                        kept = at + length;
                    }
                    at += length;
                }
                State::Body => at = data.len(),
            }
        }
        self.passed += at.saturating_sub(kept) as u64;
        each(&data[kept.min(at)..at]);
        self.taken += at as u64;
        self.held.extend_from_slice(&data[at..]);
    }

    /// Looks at the field that just ended.
    fn judge(&mut self) {
        let field = std::mem::take(&mut self.field);
        if field.is_empty() {
            return;
        }
        let sound = field.len() >= FIELD_MAX || is_sound(&field);
        if !sound && self.harmed.is_none() {
            self.harmed = Some(self.field_at);
        }
        if self.keeps {
            let sound = sound && field.len() < FIELD_MAX;
            self.fields.push(OwnField { at: self.field_out, text: field, sound });
        }
    }
}

/// Whether a field of its own may have been written so by some software.
fn is_sound(field: &[u8]) -> bool {
    let Some(colon) = memchr(b':', field) else { return false };
    let (name, value) = (field[..colon].to_ascii_lowercase(), field[colon + 1..].trim_ascii());
    match &name[..] {
        b"x-uid" | b"content-length" => value.is_empty() || number(value).is_some(),
        b"status" => value.iter().all(|byte| b"RONUD \t".contains(byte)),
        b"x-status" => value.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_whitespace()),
        b"x-imapbase" => {
            let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            [words.next(), words.next()].into_iter().all(|word| word.is_some_and(|word| number(word).is_some()))
        }
        _ => !value.contains(&0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unframed(message: &[u8], sizes: &[usize]) -> (Vec<u8>, Option<u64>) {
        let (mut out, mut unframe) = (Vec::new(), Unframe::new());
        let (mut rest, mut sizes) = (message, sizes.iter().cycle());
        while !rest.is_empty() {
            let (window, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
            unframe.feed(window, &mut |bytes| out.extend_from_slice(bytes));
            rest = tail;
        }
        unframe.finish(&mut |bytes| out.extend_from_slice(bytes));
        (out, unframe.harmed)
    }

    const STORED: &[u8] = b"From: a\nX-IMAPbase: 5 0000000007 one\n two\nStatus: RO\nX-UID: 7\nSubject: b\n c\n\
        Content-Length: 12         \n\nStatus: RO\n\n";

    #[test]
    fn what_the_server_keeps_is_no_part_of_the_message() {
        assert_eq!(unframed(STORED, &[9]), (b"From: a\nSubject: b\n c\n\nStatus: RO\n\n".to_vec(), None));
    }

    #[test]
    fn fields_that_are_kept_stand_where_they_stood() {
        for size in [1, 7, 1000] {
            let (mut out, mut unframe) = (Vec::new(), Unframe::keeping());
            STORED.chunks(size).for_each(|bytes| unframe.feed(bytes, &mut |bytes| out.extend_from_slice(bytes)));
            unframe.finish(&mut |bytes| out.extend_from_slice(bytes));
            assert_eq!(unframe.head, Some(out.windows(2).position(|two| two == b"\n\n").unwrap() as u64 + 1));
            let mut again = out.clone();
            for field in unframe.fields.iter().rev() {
                again.splice(field.at as usize..field.at as usize, field.text.iter().copied());
            }
            assert_eq!(again, STORED);
        }
    }

    #[test]
    fn a_field_that_no_server_wrote_so_is_seen() {
        for (from, to) in
            [("X-UID: 7", "X-UID: w"), ("RO\nX", "R\x0f\nX"), ("5 0000000007", "5 00000p0007"), ("12  ", "1r  ")]
        {
            let harmed = String::from_utf8(STORED.to_vec()).unwrap().replace(from, to);
            let (_, place) = unframed(harmed.as_bytes(), &[5]);
            let line = harmed[..harmed.find(to).unwrap()].rfind('\n').unwrap() as u64 + 1;
            assert!(place == Some(line), "{to}: {place:?} {line}");
        }
    }

    proptest! {
        #[test]
        fn windows_of_any_size_give_the_same(sizes in proptest::collection::vec(1usize..40, 1..5), cut in 0usize..200) {
            let message = &STORED[..cut.min(STORED.len())];
            prop_assert_eq!(unframed(message, &sizes), unframed(message, &[1000]));
        }
    }
}
