//! Reading so that no more is lost than the medium itself cannot give: what fails as a window is read page by page, what
//! fails as a page sector by sector.
//!
//! Never writes. For messages that no copy can prove whole, and for nobody else: every failed read may cost the disk 30
//! seconds, and may be its last.

use super::{Medium, PAGE, Piece, fill};
use crate::model::Span;
use rustix::io::Errno;
use std::io;

/// The smallest unit of media: a logical sector. Bytes.
pub const SECTOR: usize = 512;
/// Failed reads of one range before its rest is given up.
const FAILURES_MAX: u32 = 2048;

/// Reads `span`, which may begin and end anywhere, and hands it on in order; holes end at bounds of `grain`, which is
/// [`SECTOR`] where the medium was opened past the cache, else a page. Ends where the medium ends. `tick` is called before
/// each read.
pub fn closely(
    medium: &dyn Medium,
    span: Span,
    grain: usize,
    buffer: &mut [u8],
    tick: &mut dyn FnMut(),
    each: &mut dyn FnMut(Piece<'_>),
) {
    let start = span.offset - span.offset % PAGE as u64;
    let mut reading = Reading { medium, span, grain, failures: 0, hole: None, tick, each };
    let mut at = start;
    while at < span.end() {
        let most = usize::try_from(span.end() - at).unwrap_or(usize::MAX / 2).next_multiple_of(PAGE).min(buffer.len());
        let end = reading.range(at, &mut buffer[..most]);
        if end < at + most as u64 {
            break;
        }
        at = end;
    }
    reading.give_hole();
}

struct Reading<'a> {
    medium: &'a dyn Medium,
    span: Span,
    grain: usize,
    failures: u32,
    /// Not handed on yet: it may grow.
    hole: Option<(Span, Option<i32>)>,
    tick: &'a mut dyn FnMut(),
    each: &'a mut dyn FnMut(Piece<'_>),
}

impl Reading<'_> {
    /// Reads from `at` on, in ever smaller units. Where the medium ended, or the range did.
    fn range(&mut self, at: u64, buffer: &mut [u8]) -> u64 {
        let length = buffer.len();
        let error = match self.read(at, buffer) {
            Ok(got) => return self.bytes(at, &buffer[..got]),
            Err(error) => error,
        };
        let mut unit = if length > PAGE { PAGE } else { self.grain };
        if Errno::from_io_error(&error) == Some(Errno::INVAL) && length == self.grain && length < PAGE {
            // Its sectors are larger than most.
            self.grain = PAGE;
            unit = PAGE;
        }
        if unit >= length || self.failures >= FAILURES_MAX {
            return self.lost(Span::new(at, length as u64), error.raw_os_error());
        }
        let mut done = at;
        for part in buffer.chunks_mut(unit) {
            let end = done + part.len() as u64;
            done = self.range(done, part);
            if done < end {
                break;
            }
        }
        done
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (self.tick)();
        let got = fill(self.medium, buffer, at);
        self.failures += u32::from(got.is_err());
        got
    }

    fn bytes(&mut self, at: u64, bytes: &[u8]) -> u64 {
        let wanted = Span::new(at, bytes.len() as u64).clipped(self.span);
        if wanted.length > 0 {
            self.give_hole();
            let skipped = usize::try_from(wanted.offset - at).unwrap_or(0);
            (self.each)(Piece::Bytes(&bytes[skipped..skipped + wanted.length as usize]));
        }
        at + bytes.len() as u64
    }

    fn lost(&mut self, range: Span, errno: Option<i32>) -> u64 {
        let wanted = range.clipped(self.span);
        match &mut self.hole {
            _ if wanted.length == 0 => {}
            Some((hole, _)) => hole.length = wanted.end() - hole.offset,
            None => self.hole = Some((wanted, errno)),
        }
        range.end()
    }

    fn give_hole(&mut self) {
        if let Some((span, errno)) = self.hole.take() {
            (self.each)(Piece::Hole(span, errno));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Sick;
    use super::*;
    use proptest::prelude::*;

    fn collect(sick: &Sick, span: Span, grain: usize, window: usize) -> (Vec<u8>, Vec<Span>, u32) {
        let (mut bytes, mut holes, mut reads) = (Vec::new(), Vec::new(), 0);
        closely(sick, span, grain, &mut vec![0; window], &mut || reads += 1, &mut |piece| match piece {
            Piece::Bytes(got) => bytes.extend_from_slice(got),
            Piece::Hole(hole, errno) => {
                assert_eq!((errno, hole.offset - span.offset), (Some(5), bytes.len() as u64));
                bytes.resize((hole.end() - span.offset) as usize, b'?');
                holes.push(hole);
            }
        });
        (bytes, holes, reads)
    }

    #[test]
    fn one_bad_sector_costs_one_sector() {
        let sick = Sick { bytes: vec![b'x'; 100_000], bad: vec![Span::new(9217, 1)] };
        let (bytes, holes, reads) = collect(&sick, Span::new(0, 100_000), SECTOR, 65_536);
        assert_eq!((holes, bytes.len()), (vec![Span::new(9216, 512)], 100_000));
        // A window, its pages, and the sectors of one.
        assert!(reads <= 1 + 16 + 8 + 1, "{reads}");
        let within = collect(&sick, Span::new(9300, 1000), SECTOR, 65_536);
        assert_eq!((within.1, within.0.len()), (vec![Span::new(9300, 428)], 1000));
    }

    #[test]
    fn a_dead_range_is_given_up() {
        let size = 64 << 20;
        let sick = Sick { bytes: vec![0; size as usize], bad: vec![Span::new(0, size)] };
        let (_, holes, reads) = collect(&sick, Span::new(0, size), SECTOR, 1 << 18);
        assert_eq!(holes, [Span::new(0, size)]);
        assert!(reads < 2 * FAILURES_MAX, "{reads}");
    }

    proptest! {
        #[test]
        fn all_but_the_bad_sectors_comes(
            size in 1usize..60_000, at in 0u64..60_000, length in 0u64..60_000, pages in 1usize..5, grain in 0usize..2,
            bad in prop::collection::vec((0u64..60_000, 1u64..9000), 0..4)
        ) {
            let grain = [SECTOR, PAGE][grain];
            let sick = Sick {
                bytes: (0..size).map(|n| (n % 251) as u8).collect(),
                bad: bad.iter().map(|&(at, length)| Span::new(at, length)).collect(),
            };
            let (bytes, holes, _) = collect(&sick, Span::new(at, length), grain, pages * PAGE);
            let unit = |at: u64| Span::new(at - at % grain as u64, grain as u64);
            let given = |at: u64| !sick.bad.iter().any(|bad| bad.overlaps(unit(at)) && bad.offset < size as u64);
            for (place, byte) in bytes.iter().enumerate() {
                let place = at + place as u64;
                if place < size as u64 && given(place) {
                    prop_assert_eq!(*byte, sick.bytes[place as usize], "at {}", place);
                    prop_assert!(!holes.iter().any(|hole| hole.overlaps(Span::new(place, 1))));
                }
            }
            let there = (size as u64).clamp(at, at + length) - at;
            prop_assert!(bytes.len() as u64 >= there);
        }
    }
}
