//! A file seen through a window that moves forward: flat memory, however large the file.
//!
//! Reads through `read`, so that a range that the medium does not give is a hole and no end; there it shows zeros.

use crate::model::Span;
use crate::read::{self, Medium, Piece};

/// Windows with a hole before the rest is given up unread: each failed read may cost the disk 30 seconds.
const FAILED_MAX: u32 = 16;

/// Part of a file, in memory.
pub struct Window<'a> {
    medium: &'a dyn Medium,
    /// Where the file ends, or is given up.
    size: u64,
    /// Bytes read at a time.
    width: usize,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    /// Where the buffer stands.
    at: u64,
    failed: u32,
    holes: Vec<(Span, Option<i32>)>,
    tick: &'a dyn Fn(),
}

/// What reads past the cache start at.
const ALIGN: u64 = 4096;

impl<'a> Window<'a> {
    /// `width` is what is read at a time; `tick` is called before each read.
    pub fn new(medium: &'a dyn Medium, size: u64, width: usize, tick: &'a dyn Fn()) -> Window<'a> {
        let (buffer, scratch, holes) = (Vec::new(), Vec::new(), Vec::new());
        Window { medium, size, width, buffer, scratch, at: 0, failed: 0, holes, tick }
    }

    /// Where the file ends.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the medium did not give of all that was looked at.
    pub fn holes(&self) -> &[(Span, Option<i32>)] {
        &self.holes
    }

    /// The bytes from `offset` on: at least `least` of them, or all up to the end.
    pub fn view(&mut self, offset: u64, least: usize) -> &[u8] {
        let enough = offset.saturating_add(least as u64).min(self.size);
        if offset < self.at || enough > self.at + self.buffer.len() as u64 {
            self.fill(offset, least);
        }
        let from = usize::try_from(offset.saturating_sub(self.at)).unwrap_or(usize::MAX).min(self.buffer.len());
        &self.buffer[from..]
    }

    fn fill(&mut self, offset: u64, least: usize) {
        let start = offset.min(self.size) / ALIGN * ALIGN;
        let want = (least as u64 + (offset - start)).max(self.width as u64).min(self.size - start);
        self.buffer.clear();
        self.at = start;
        self.scratch.resize((want as usize).next_multiple_of(ALIGN as usize).max(ALIGN as usize), 0);
        let (buffer, holes, tick) = (&mut self.buffer, &mut self.holes, self.tick);
        let before = holes.len();
        let behind = read::Behind(self.medium, start);
        let done = read::stream(&behind, want, &mut self.scratch, &mut || tick(), &mut |piece| match piece {
            Piece::Bytes(bytes) => buffer.extend_from_slice(bytes),
            Piece::Hole(span, errno) => {
                buffer.resize(span.end() as usize, 0);
                note(holes, Span::new(start + span.offset, span.length), errno);
            }
        });
        if done.length < want {
            // It shrank under the reader, who is told by its times.
            self.size = start + done.length;
        }
        if done.holes > 0 {
            self.failed += 1;
            if self.failed > FAILED_MAX {
                let rest = Span::new(start + want, self.size - start - want);
                let errno = self.holes.get(before).or(self.holes.last()).and_then(|(_, errno)| *errno);
                note(&mut self.holes, rest, errno);
                self.size = rest.offset;
            }
        }
    }
}

/// Adds a hole to those that are known; what was looked at twice is one hole.
fn note(holes: &mut Vec<(Span, Option<i32>)>, span: Span, errno: Option<i32>) {
    if span.length > 0 && !holes.iter().any(|(known, _)| known.holds(span)) {
        holes.push((span, errno));
    }
}
