//! Is the top header block one?
//!
//! May not condemn odd names, 8-bit bytes or a stray line: mail software wrote all of these.

use crate::model::{Check, Evidence, Fault, FaultKind, Span};
use memchr::memchr;

/// A longer field name is a sentence with a colon in it.
const NAME_MAX: usize = 128;

/// A stray line is some software's mistake; more than one came from elsewhere. 0 of 12,173 real messages have any.
const STRAY: u64 = 1;
/// Who or when: mail that lacks both was never sent, nor kept by any software that sends.
const ESSENTIAL: [&[u8]; 6] = [b"from", b"date", b"sender", b"resent-from", b"resent-date", b"return-path"];

/// Counts the lines of the top header block.
#[derive(Debug, Default)]
pub(super) struct Header {
    lines: u64,
    named: u64,
    /// Lines that are neither a field nor a continuation of one.
    junk: u64,
    first_is_junk: bool,
    /// From the first such line to the end of the last.
    junk_span: Option<Span>,
    /// A sender or a date is named.
    told: bool,
    /// Where the last line begins.
    last: u64,
}

impl Header {
    /// One line without its end.
    pub(super) fn line(&mut self, offset: u64, line: &[u8]) {
        let separator = self.lines == 0 && (line.starts_with(b"From ") || line.starts_with(b">From "));
        let folded = matches!(line.first(), Some(b' ' | b'\t')) && self.named > 0;
        if let Some(name) = name(line) {
            self.named += 1;
            self.told = self.told || ESSENTIAL.iter().any(|field| name.eq_ignore_ascii_case(field));
        } else if !folded && !separator {
            self.junk += 1;
            self.first_is_junk |= self.lines == 0;
            let start = self.junk_span.map_or(offset, |span| span.offset);
            self.junk_span = Some(Span::new(start, offset + line.len() as u64 - start));
        }
        self.lines += 1;
        self.last = offset;
    }

    /// The block ends at `end`: at an empty line, or (`closed` false) with the message.
    pub(super) fn finish(&self, end: u64, closed: bool, evidence: &mut Evidence) {
        let mut blame = |kind, span| evidence.blame(Fault { check: Check::Header, kind, span, errno: None });
        if self.named == 0 || (self.first_is_junk && self.junk >= self.named) {
            blame(FaultKind::NotAHeader, Span::new(0, end));
        } else if !closed {
            // Fields only are no message: of 12,173 real ones, and all that a server keeps, each has its empty line.
            blame(FaultKind::HeaderUnended, Span::new(self.last, end.saturating_sub(self.last)));
        } else if let Some(span) = self.junk_span.filter(|_| self.junk > STRAY) {
            blame(FaultKind::BrokenHeader, span);
        } else if !self.told {
            blame(FaultKind::BareHeader, Span::new(0, end));
        }
    }
}

/// The field name of a line that begins a field.
pub fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', &line[..line.len().min(NAME_MAX)])?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != 0x7F)).then_some(name)
}
