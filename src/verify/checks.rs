//! The cheap tier: everything that one pass over a message's bytes can show without any outside knowledge
//! but the sizes that the store claims.
//!
//! Windows may come in any size; the evidence is the same. A hole is an event: what cannot be judged for
//! want of its bytes is unknown, what is proven elsewhere stays.

use super::mime::Mime;
use super::pattern::Pattern;
use super::sector::Sectors;
use crate::model::{Check, Envelope, Evidence, Fault, FaultKind, Outcome, Span};
use memchr::{memchr, memchr_iter};

/// Sizes that the store recorded beside the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claims {
    /// Bytes (Maildir `S=`).
    pub size: Option<u64>,
    /// Bytes with every line end as CRLF (Maildir `W=`).
    pub crlf: Option<u64>,
}

/// Judges one copy of one message.
#[derive(Debug)]
pub struct Checks {
    claims: Claims,
    evidence: Evidence,
    offset: u64,
    /// LFs without a CR before them.
    bare_lf: u64,
    after_cr: bool,
    holed: bool,
    content: Option<Content>,
}

/// What is judged unless the content is opaque.
#[derive(Debug)]
struct Content {
    mime: Mime,
    pattern: Pattern,
    sectors: Sectors,
    /// What `pattern` said: kept apart, so that the order of faults does not depend on the windows.
    patterns: Evidence,
    binary: bool,
}

impl Checks {
    pub fn new(claims: Claims) -> Checks {
        let content = Content {
            mime: Mime::new(),
            pattern: Pattern::default(),
            sectors: Sectors::default(),
            patterns: Evidence::default(),
            binary: false,
        };
        Checks { content: Some(content), ..Checks::opaque(claims) }
    }

    /// For encrypted content: only whether it could be read is judged. Its sizes are those of the plain text,
    /// so that the claims say nothing either.
    pub fn opaque(claims: Claims) -> Checks {
        Checks {
            claims,
            evidence: Evidence::default(),
            offset: 0,
            bare_lf: 0,
            after_cr: false,
            holed: false,
            content: None,
        }
    }

    /// Takes the next bytes of the message.
    pub fn feed(&mut self, window: &[u8]) {
        if let (Some(content), false) = (&mut self.content, window.is_empty()) {
            content.feed(self.offset, window, &mut self.evidence);
            if self.claims.crlf.is_some() {
                self.bare_lf += bare_line_ends(self.after_cr, window);
                self.after_cr = window.ends_with(b"\r");
            }
        }
        self.offset += window.len() as u64;
    }

    /// The medium did not give `span`. It continues where the last bytes ended; only its end counts.
    pub fn hole(&mut self, span: Span, kind: FaultKind, errno: Option<i32>) {
        self.evidence.blame(Fault { check: Check::Read, kind, span, errno });
        self.offset = span.end().max(self.offset);
        (self.holed, self.after_cr) = (true, false);
        if let Some(content) = &mut self.content {
            content.mime.hole(self.offset);
            content.interrupt();
        }
    }

    /// `span`, which continues where the last bytes ended, is known to be zeros without having been read: mail holds
    /// no such run. False, and nothing is judged, where bytes may be anything by declaration.
    pub fn zeros(&mut self, span: Span) -> bool {
        let Some(content) = self.content.as_mut().filter(|content| !content.binary) else { return false };
        content.interrupt();
        content.patterns.blame(Fault { check: Check::Pattern, kind: FaultKind::NulRun, span, errno: None });
        content.mime.hole(span.end());
        (self.offset, self.holed, self.after_cr) = (span.end(), true, false);
        true
    }

    /// No more bytes come.
    pub fn finish(mut self) -> (Evidence, Option<Envelope>) {
        self.evidence.set(Check::Read, Outcome::Pass);
        let Some(mut content) = self.content.take() else {
            self.evidence.opaque = true;
            return (self.evidence, None);
        };
        self.sizes();
        if self.offset == 0 {
            let span = Span::new(0, 0);
            self.evidence.blame(Fault { check: Check::Header, kind: FaultKind::Empty, span, errno: None });
            return (self.evidence, None);
        }
        let envelope = content.mime.finish(&mut self.evidence);
        content.pattern.finish(self.offset, &mut content.patterns);
        self.evidence.merge(content.patterns);
        content.sectors.finish(&mut self.evidence);
        self.evidence.set(Check::Pattern, if self.holed { Outcome::Unknown } else { Outcome::Pass });
        (self.evidence, envelope)
    }

    /// Compares the claims with what came. Stores with CRLF on disk claim the same number twice.
    fn sizes(&mut self) {
        let crlf = self.offset.saturating_add(self.bare_lf);
        let virtual_agrees = self.claims.crlf.map(|claim| claim == crlf).filter(|_| !self.holed);
        let mut blame = |kind, span| {
            self.evidence.blame(Fault { check: Check::NativeSize, kind, span, errno: None });
        };
        match (self.claims.size, virtual_agrees) {
            (None, None) if self.claims.crlf.is_some() => self.evidence.set(Check::NativeSize, Outcome::Unknown),
            (None, None) => {}
            (Some(size), Some(true)) if size != self.offset => {
                // The exact count of every line end proves the content whole: it is `S=` that is wrong.
                blame(FaultKind::VirtualSizeMismatch, Span::new(0, self.offset));
            }
            (Some(size), _) if size > self.offset => {
                blame(FaultKind::TooShort, Span::new(self.offset, size - self.offset));
            }
            (Some(size), _) if size < self.offset => {
                blame(FaultKind::TooLong, Span::new(size, self.offset - size));
            }
            (_, Some(false)) => blame(FaultKind::VirtualSizeMismatch, Span::new(0, self.offset)),
            _ => self.evidence.set(Check::NativeSize, Outcome::Pass),
        }
    }
}

impl Content {
    /// The structure goes first: it knows which stretches of the window are binary by declaration.
    fn feed(&mut self, offset: u64, window: &[u8], evidence: &mut Evidence) {
        self.mime.feed(window, evidence);
        let (mut at, end) = (offset, offset + window.len() as u64);
        for (turn, binary) in self.mime.take_turns() {
            let turn = turn.clamp(at, end);
            self.stretch(offset, window, at, turn);
            (self.binary, at) = (binary, turn);
            self.interrupt();
        }
        self.stretch(offset, window, at, end);
    }

    fn stretch(&mut self, offset: u64, window: &[u8], from: u64, to: u64) {
        if !self.binary {
            let bytes = &window[(from - offset) as usize..(to - offset) as usize];
            self.pattern.feed(from, bytes, &mut self.patterns);
            self.sectors.feed(from, bytes);
        }
    }

    /// What follows does not continue what came.
    fn interrupt(&mut self) {
        self.pattern.interrupt(&mut self.patterns);
        self.sectors.interrupt();
    }
}

/// Counts LFs that no CR precedes.
fn bare_line_ends(after_cr: bool, window: &[u8]) -> u64 {
    let all = memchr_iter(b'\n', window).count() as u64;
    let first = u64::from(after_cr && window.starts_with(b"\n"));
    if memchr(b'\r', window).is_none() {
        return all - first;
    }
    let pairs = window.iter().zip(&window[1..]).filter(|&(&a, &b)| (a == b'\r') & (b == b'\n')).count() as u64;
    all - first - pairs
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
