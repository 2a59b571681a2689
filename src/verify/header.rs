//! Is the top header block one?
//!
//! May not condemn odd names, 8-bit bytes or a stray line: mail software wrote all of these.

use crate::model::{Check, Evidence, Fault, FaultKind, Span};
use memchr::memchr;

/// A longer field name is a sentence with a colon in it.
const NAME_MAX: usize = 128;

/// Counts the lines of the top header block.
#[derive(Debug, Default)]
pub(super) struct Header {
    lines: u64,
    named: u64,
    /// Lines that are neither a field nor a continuation of one.
    junk: u64,
    first_is_junk: bool,
    /// Where the last line begins, and whether a line end follows it.
    last: u64,
    unended: bool,
}

impl Header {
    /// One line without its end; `ended` is false where the message breaks off in it.
    pub(super) fn line(&mut self, offset: u64, line: &[u8], ended: bool) {
        let separator = self.lines == 0 && (line.starts_with(b"From ") || line.starts_with(b">From "));
        let folded = matches!(line.first(), Some(b' ' | b'\t')) && self.named > 0;
        if name(line).is_some() {
            self.named += 1;
        } else if !folded && !separator {
            self.junk += 1;
            self.first_is_junk |= self.lines == 0;
        }
        self.lines += 1;
        self.last = offset;
        self.unended |= !ended;
    }

    /// The block ends at `end`: at an empty line, or (`closed` false) with the message.
    pub(super) fn finish(&self, end: u64, closed: bool, evidence: &mut Evidence) {
        let mut blame = |kind, span| evidence.blame(Fault { check: Check::Header, kind, span, errno: None });
        if self.named == 0 || (self.first_is_junk && self.junk >= self.named) {
            blame(FaultKind::NotAHeader, Span::new(0, end));
        } else if !closed && (self.unended || self.junk > 0) {
            // Fields only, each with its line end, are a whole message without a body.
            blame(FaultKind::HeaderUnended, Span::new(self.last, end.saturating_sub(self.last)));
        }
    }
}

/// The field name of a line that begins a field.
pub(super) fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', &line[..line.len().min(NAME_MAX)])?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != 0x7F)).then_some(name)
}
