//! Another message that begins in the middle of a line, at a sector's edge: what is left where a sector of one
//! file was written into another.
//!
//! Knows no MIME. May not judge what begins at the start of a line: messages quote each other whole. Keeps the
//! first bytes of one sector.

use crate::model::{Check, Evidence, Fault, FaultKind, Span};

/// Disks lose whole sectors. Bytes.
const SECTOR: u64 = 512;
/// Bytes of a sector that are looked at.
const HEAD: usize = 24;

/// What messages in stores begin with: delivery agents put their own fields first.
const STARTS: [&[u8]; 17] = [
    b"Return-Path: <",
    b"Return-path: <",
    b"Received: from ",
    b"Received: by ",
    b"Received: (qmail ",
    b"Delivered-To: ",
    b"X-Original-To: ",
    b"Envelope-to: ",
    b"Message-ID: <",
    b"Message-Id: <",
    b"DKIM-Signature: ",
    b"ARC-Seal: ",
    b"Authentication-Results: ",
    b"X-Sieve: ",
    b"X-Mozilla-",
    b"X-Account-Key: ",
    b"X-Spam-",
];

#[derive(Debug, Default)]
pub(super) struct Sectors {
    /// The byte before the next.
    previous: u8,
    /// The first bytes of the sector that begins at `start`, while they are gathered.
    head: Vec<u8>,
    start: u64,
    found: Evidence,
}

impl Sectors {
    /// Takes bytes at `offset`, which continue the last ones unless `interrupt` was called.
    pub(super) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        self.gather(bytes);
        let mut edge = offset.next_multiple_of(SECTOR);
        while edge < offset + bytes.len() as u64 {
            let at = (edge - offset) as usize;
            let previous = if at == 0 { self.previous } else { bytes[at - 1] };
            if is_within_text(previous) && matches!(bytes[at], b'R' | b'D' | b'X' | b'E' | b'M' | b'A') {
                self.start = edge;
                self.head.clear();
                self.gather_from(&bytes[at..]);
            }
            edge += SECTOR;
        }
        self.previous = last;
    }

    /// Bytes are missing here, or are binary by declaration.
    pub(super) fn interrupt(&mut self) {
        self.head.clear();
        self.previous = 0;
    }

    /// No more bytes come.
    pub(super) fn finish(self, evidence: &mut Evidence) {
        evidence.merge(self.found);
    }

    fn gather(&mut self, bytes: &[u8]) {
        if !self.head.is_empty() {
            self.gather_from(bytes);
        }
    }

    fn gather_from(&mut self, bytes: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.head.len() == HEAD {
            if STARTS.iter().any(|start| self.head.starts_with(start)) {
                let span = Span::new(self.start, HEAD as u64);
                let kind = FaultKind::ForeignSector;
                self.found.blame(Fault { check: Check::Pattern, kind, span, errno: None });
            }
            self.head.clear();
        }
    }
}

/// Whether a line that goes on behind this byte cannot begin a field there: quoted headers stand behind signs and
/// white space, and names hold hyphens.
fn is_within_text(previous: u8) -> bool {
    previous.is_ascii_alphanumeric() || matches!(previous, b'.' | b',' | b';' | b'!' | b'?' | b')' | b'/' | b'+' | b'=')
}
