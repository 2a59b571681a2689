//! base64 and quoted-printable, checked as they stream by. Nothing is decoded or kept.
//!
//! May not condemn what whole mail does (FIELD.md section 4): text that list software appends behind the
//! data, a base64 label on plain text, and quoted-printable by software that never quoted anything.

use crate::model::{Check, Evidence, Fault, FaultKind, Span};
use memchr::{memchr, memchr_iter};

/// A line of at least this many base64 characters and nothing else is data, whatever stood before it.
const DATA_LINE: u64 = 60;
/// Good sequences in a row after which it is sure that a part's software quotes.
const QUOTES: u64 = 16;
/// Stretches of lines of another length that one region of foreign data can make.
const ODD_STRETCHES: u32 = 2;
/// Lines blamed within one part before the whole stretch is blamed as one.
const NEAR: u64 = 1024;

fn blame(evidence: &mut Evidence, kind: FaultKind, span: Span) {
    evidence.blame(Fault { check: Check::Encoding, kind, span, errno: None });
}

/// The body of one base64 part.
#[derive(Debug)]
pub(super) struct Base64 {
    state: State,
    /// Characters since the last complete group of four, and at the start of the line.
    quad: u8,
    quad_at_line: u8,
    pads: u8,
    line: Line,
    /// Where the last line that holds data begins.
    last: u64,
    /// What may be text behind the data, or damage within it.
    text: Text,
    widths: Widths,
    broken: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    /// A padded group closed the data.
    Ended,
    /// Something else stands here. Data that resumes shows that it does not belong.
    Text,
}

/// The line in hand.
#[derive(Debug, Default)]
struct Line {
    start: u64,
    characters: u64,
    foreign: bool,
    /// White space was seen after characters of this line.
    blank: bool,
}

#[derive(Debug, Default)]
struct Text {
    start: u64,
    blanks: bool,
}

/// Software breaks base64 into lines of one length, but for the last. Some breaks it now and then elsewhere, all
/// the way: only what is odd once or twice was not so from the beginning.
#[derive(Debug, Default)]
struct Widths {
    /// Of the first line.
    usual: u64,
    /// Lines that were longer or shorter, the last line but for the one in hand.
    odd: Option<Span>,
    stretches: u32,
    /// Whether the last line was odd, and where; it may be the last of all.
    pending: Option<Span>,
    in_stretch: bool,
}

impl Widths {
    fn line(&mut self, span: Span, characters: u64) {
        if let Some(odd) = self.pending.take() {
            let start = self.odd.map_or(odd.offset, |before| before.offset);
            self.odd = Some(Span::new(start, odd.end() - start));
            self.stretches += u32::from(!std::mem::replace(&mut self.in_stretch, true));
        } else {
            self.in_stretch = false;
        }
        match self.usual {
            0 => self.usual = characters,
            usual if usual != characters => self.pending = Some(span),
            _ => {}
        }
    }

    fn odd(&self) -> Option<Span> {
        self.odd.filter(|_| self.stretches <= ODD_STRETCHES)
    }
}

impl Base64 {
    pub(super) fn new(offset: u64) -> Base64 {
        Base64 {
            state: State::Data,
            quad: 0,
            quad_at_line: 0,
            pads: 0,
            line: Line { start: offset, ..Line::default() },
            last: offset,
            text: Text::default(),
            widths: Widths::default(),
            broken: None,
        }
    }

    pub(super) fn feed(&mut self, mut offset: u64, mut bytes: &[u8], evidence: &mut Evidence) {
        while !bytes.is_empty() {
            let run = if self.plain() { data_prefix(bytes) } else { 0 };
            if run > 0 {
                self.data(offset, &bytes[..run]);
            } else {
                self.byte(offset, bytes[0], evidence);
            }
            let step = run.max(1);
            offset += step as u64;
            bytes = &bytes[step..];
        }
    }

    /// The part ends at `end`.
    pub(super) fn finish(mut self, end: u64, evidence: &mut Evidence) {
        self.end_line(end, evidence);
        match self.state {
            // A footer has words; what holds no blank at all was data once.
            State::Text if !self.text.blanks => {
                self.mark(Span::new(self.text.start, end - self.text.start), evidence);
            }
            State::Data if self.quad != 0 => {
                let start = self.last;
                self.mark(Span::new(start, end - start), evidence);
            }
            _ => {}
        }
        if let Some(span) = self.widths.odd() {
            self.mark(span, evidence);
        }
        if let Some(span) = self.broken {
            blame(evidence, FaultKind::BrokenBase64, span);
        }
    }

    /// Whether plain data can be counted without looking at each byte.
    fn plain(&self) -> bool {
        self.state == State::Data && self.pads == 0 && !self.line.blank
    }

    /// A stretch of characters and line ends.
    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let mut start = 0;
        for lf in memchr_iter(b'\n', bytes) {
            self.characters(&bytes[start..lf]);
            self.next_line(offset + lf as u64 + 1);
            start = lf + 1;
        }
        self.characters(&bytes[start..]);
    }

    /// Characters of one line, and CRs.
    fn characters(&mut self, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let count = (bytes.len() - memchr_iter(b'\r', bytes).count()) as u64;
        self.line.characters += count;
        self.quad = ((u64::from(self.quad) + count) % 4) as u8;
    }

    /// The data is complete, and its end marked.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Ended
    }

    fn byte(&mut self, offset: u64, byte: u8, evidence: &mut Evidence) {
        match byte {
            b'\n' => self.end_line(offset + 1, evidence),
            b'\r' => {}
            b' ' | b'\t' => {
                self.line.blank |= self.line.characters > 0;
                self.text.blanks |= self.state == State::Text;
            }
            b'=' if self.state != State::Text => self.pad(offset, evidence),
            _ if self.line.blank && self.state != State::Text => {
                self.foreign(offset, evidence);
                self.text.blanks = true;
                self.line.characters += 1;
            }
            _ if !is_base64(byte) => self.foreign(offset, evidence),
            _ => self.character(offset, evidence),
        }
    }

    fn character(&mut self, offset: u64, evidence: &mut Evidence) {
        self.line.characters += 1;
        match self.state {
            State::Data if self.pads > 0 => self.foreign(offset, evidence),
            State::Data => self.quad = (self.quad + 1) % 4,
            State::Ended => self.begin_text(self.line.start),
            State::Text => {}
        }
    }

    fn pad(&mut self, offset: u64, evidence: &mut Evidence) {
        match (self.state, self.quad) {
            (State::Ended, _) => {}
            (_, 2 | 3) => {
                self.pads += 1;
                if self.quad + self.pads == 4 {
                    (self.state, self.quad, self.pads) = (State::Ended, 0, 0);
                }
            }
            _ => self.foreign(offset, evidence),
        }
    }

    /// A byte that is none of base64's. In a line that began between groups it may be the first of a text.
    fn foreign(&mut self, offset: u64, evidence: &mut Evidence) {
        self.line.foreign = true;
        match self.state {
            State::Text => {}
            State::Data if self.quad_at_line != 0 => {
                self.mark(Span::new(self.line.start, offset + 1 - self.line.start), evidence);
                self.begin_text(self.line.start);
            }
            State::Data | State::Ended => self.begin_text(self.line.start),
        }
    }

    fn begin_text(&mut self, start: u64) {
        self.state = State::Text;
        self.text = Text { start, blanks: self.line.blank };
        (self.quad, self.pads) = (0, 0);
    }

    /// A line ends before `next`; one that is all data ends a text and shows that the text was damage.
    fn end_line(&mut self, next: u64, evidence: &mut Evidence) {
        let line = &self.line;
        if self.state == State::Text && line.characters >= DATA_LINE && !line.foreign && !line.blank {
            let span = Span::new(self.text.start, line.start - self.text.start);
            let characters = line.characters;
            if span.length > 0 {
                self.mark(span, evidence);
            }
            self.state = State::Data;
            self.quad = (characters % 4) as u8;
        }
        self.next_line(next);
    }

    fn next_line(&mut self, next: u64) {
        if self.line.characters > 0 {
            self.last = self.line.start;
            if self.state == State::Data {
                self.widths.line(Span::new(self.line.start, next - self.line.start), self.line.characters);
            }
        }
        self.quad_at_line = self.quad;
        self.line = Line { start: next, ..Line::default() };
    }

    /// Joins what lies close together; reports the rest one by one.
    fn mark(&mut self, span: Span, evidence: &mut Evidence) {
        match &mut self.broken {
            Some(open) if span.offset <= open.end().saturating_add(NEAR) => {
                open.length = open.end().max(span.end()) - open.offset;
            }
            Some(open) => {
                blame(evidence, FaultKind::BrokenBase64, *open);
                *open = span;
            }
            None => self.broken = Some(span),
        }
    }
}

/// Length of the longest prefix of characters and line ends.
fn data_prefix(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<64>();
    let is_data = |byte: u8| is_base64(byte) | (byte == b'\n') | (byte == b'\r');
    let mut length = 0;
    for chunk in chunks {
        // All 64 without a branch: the compiler does them in vectors.
        let mut all = true;
        for &byte in chunk {
            all &= is_data(byte);
        }
        if !all {
            break;
        }
        length += chunk.len();
    }
    let rest = &bytes[length..];
    length + rest.iter().position(|&byte| !is_data(byte)).unwrap_or(rest.len())
}

fn is_base64(byte: u8) -> bool {
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10) | (byte == b'+') | (byte == b'/')
}

/// The body of one quoted-printable part.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    /// What followed the last `=` so far.
    pending: Option<Pending>,
    good: u64,
    bad: u64,
    /// Good ones before the first that was broken.
    good_first: u64,
    broken: Option<Span>,
    /// Bytes that should have been quoted.
    raw: u64,
    raw_span: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
enum Pending {
    /// `=`
    Equals,
    /// `=` and one hexadecimal digit
    Digit,
    /// `=` and white space: a soft line break that some gateway padded
    Blank,
}

impl Quoted {
    pub(super) fn feed(&mut self, mut offset: u64, mut bytes: &[u8]) {
        self.raw(offset, bytes);
        while !bytes.is_empty() {
            let step = if self.pending.is_some() {
                self.follow(offset, bytes[0]);
                1
            } else {
                let equals = memchr(b'=', bytes);
                self.pending = equals.map(|_| Pending::Equals);
                equals.map_or(bytes.len(), |at| at + 1)
            };
            offset += step as u64;
            bytes = &bytes[step..];
        }
    }

    fn raw(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_ascii() {
            return;
        }
        for (at, _) in (offset..).zip(bytes).filter(|(_, byte)| !byte.is_ascii()) {
            self.raw += 1;
            let start = self.raw_span.map_or(at, |span| span.offset);
            self.raw_span = Some(Span::new(start, at + 1 - start));
        }
    }

    /// One byte behind an `=`.
    fn follow(&mut self, offset: u64, byte: u8) {
        self.pending = match (self.pending, byte) {
            (Some(Pending::Equals), b) if b.is_ascii_hexdigit() => Some(Pending::Digit),
            (Some(Pending::Equals | Pending::Blank), b' ' | b'\t' | b'\r') => Some(Pending::Blank),
            (Some(Pending::Equals | Pending::Blank), b'\n') => None,
            (Some(Pending::Digit), b) if b.is_ascii_hexdigit() => {
                self.good += 1;
                None
            }
            (_, b) => {
                if self.bad == 0 {
                    self.good_first = self.good;
                }
                self.bad += 1;
                let start = self.broken.map_or(offset.saturating_sub(2), |span| span.offset);
                self.broken = Some(Span::new(start, offset + 1 - start));
                (b == b'=').then_some(Pending::Equals)
            }
        };
    }

    /// The part ends. Software that quotes does so throughout; where broken sequences are as common as good
    /// ones from the beginning, it never did, and nothing is wrong.
    pub(super) fn finish(self, evidence: &mut Evidence) {
        if let Some(span) = self.broken
            && (self.bad.saturating_mul(4) <= self.good || self.good_first >= QUOTES)
        {
            blame(evidence, FaultKind::BrokenQuotedPrintable, span);
        }
        if let Some(span) = self.raw_span
            && self.good >= 4
            && self.raw.saturating_mul(4) <= self.good
        {
            blame(evidence, FaultKind::BrokenQuotedPrintable, span);
        }
    }
}
