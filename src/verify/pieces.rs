//! Cuts a content into pieces as it streams by, and keeps a short digest of each.
//!
//! May not keep bytes: memory grows with the number of pieces, and that is limited.

use crate::model::limits::BLOCKS_MAX;
use crate::model::pieces::{Cuts, Pieces};

/// Hashes piece by piece.
#[derive(Debug)]
pub struct Piecer<'a> {
    cuts: &'a Cuts,
    offset: u64,
    /// Where the piece in hand ends, whether any byte of it came, and whether one is missing.
    end: u64,
    begun: bool,
    holed: bool,
    hasher: blake3::Hasher,
    digests: Vec<Option<[u8; 16]>>,
}

impl Piecer<'_> {
    pub fn new(cuts: &Cuts) -> Piecer<'_> {
        let hasher = blake3::Hasher::new();
        let end = cuts.end(0);
        Piecer { cuts, offset: 0, end, begun: false, holed: false, hasher, digests: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut window: &[u8]) {
        while !window.is_empty() && self.has_room() {
            let room = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(window.len());
            self.hasher.update(&window[..room]);
            self.advance(room as u64);
            window = &window[room..];
        }
        // Pieces that are not kept count as missing.
        self.offset += window.len() as u64;
    }

    /// The medium did not give the next `length` bytes.
    pub fn hole(&mut self, mut length: u64) {
        while length > 0 && self.has_room() {
            let room = (self.end - self.offset).min(length);
            self.holed = true;
            self.advance(room);
            length -= room;
        }
        self.offset += length;
    }

    fn has_room(&self) -> bool {
        self.digests.len() < BLOCKS_MAX
    }

    fn advance(&mut self, length: u64) {
        self.offset += length;
        self.begun = true;
        if self.offset == self.end {
            self.close();
        }
    }

    fn close(&mut self) {
        let mut short = [0; 16];
        short.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        self.digests.push((!self.holed).then_some(short));
        self.hasher.reset();
        (self.begun, self.holed, self.end) = (false, false, self.cuts.end(self.offset));
    }

    /// No more bytes come.
    pub fn finish(mut self) -> Pieces {
        if self.begun && self.has_room() {
            self.close();
        }
        Pieces { length: self.offset, digests: self.digests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_do_not_matter_and_holes_blank_what_they_touch() {
        let bytes: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        let cuts = Cuts::new([100, 9000]);
        let pieces = |sizes: &[usize]| {
            let (mut piecer, mut rest) = (Piecer::new(&cuts), &bytes[..]);
            for size in sizes.iter().cycle() {
                let (window, tail) = rest.split_at(rest.len().min(*size));
                piecer.feed(window);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            piecer.finish()
        };
        let once = pieces(&[usize::MAX]);
        assert_eq!((once.length, once.digests.len()), (10_000, 5));
        assert_eq!(pieces(&[7, 4096, 1]), once);
        let mut piecer = Piecer::new(&cuts);
        piecer.feed(&bytes[..4000]);
        piecer.hole(96 + 10);
        piecer.feed(&bytes[4106..]);
        let holed = piecer.finish();
        let kept: Vec<bool> = holed.digests.iter().map(Option::is_some).collect();
        assert_eq!(kept, [true, false, false, true, true]);
        assert_eq!((holed.digests[0], holed.digests[4]), (once.digests[0], once.digests[4]));
    }
}
