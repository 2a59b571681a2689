//! Reading a sick medium: windows of bytes, and holes where the medium gave none.
//!
//! Never writes, never decides what a hole means, never reads a failing place twice.

mod close;

pub use close::{SECTOR, closely};

use crate::model::Span;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Smallest range that is given up at once. Through the page cache a bad sector costs its whole page. Bytes.
const PAGE: usize = 4096;
/// Bytes of one file that are lost before its rest is given up unread: each failed read may cost the disk 30 seconds.
const LOST_MAX: u64 = 64 * PAGE as u64;
/// Shorter gaps of a file are read like its other bytes. Bytes.
const GAP_MIN: u64 = 64 << 10;
/// What lies behind so many gaps is read.
const GAPS_MAX: usize = 16 << 10;

/// Bytes at offsets: a file, or a file of a simulated sick disk.
pub trait Medium {
    /// As `pread`: 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Where the unit ends that is lost at once with this place; `None` where a window that failed is not read again.
    fn unit_end(&self, offset: u64) -> Option<u64> {
        Some((offset / PAGE as u64 + 1) * PAGE as u64)
    }
}

impl Medium for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Medium for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

/// What lies behind `offset`.
pub struct Behind<'a>(pub &'a dyn Medium, pub u64);

impl Medium for Behind<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, self.1 + offset)
    }

    fn unit_end(&self, offset: u64) -> Option<u64> {
        self.0.unit_end(self.1 + offset).map(|end| end - self.1)
    }
}

/// Long ranges within the first `size` bytes that no block of the disk stands for, in order: they read as zeros. None
/// where the file system does not tell.
pub fn gaps(file: &File, size: u64) -> Vec<Span> {
    let (mut gaps, mut at) = (Vec::new(), 0);
    while at < size && gaps.len() < GAPS_MAX {
        let Ok(start) = rustix::fs::seek(file, SeekFrom::Hole(at)) else { break };
        let end = match rustix::fs::seek(file, SeekFrom::Data(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => size,
            Err(_) => break,
        };
        if end.saturating_sub(start) >= GAP_MIN {
            gaps.push(Span::new(start, end - start));
        }
        at = end.max(at + 1);
    }
    gaps
}

/// What reading gave, in order of offset.
#[derive(Debug)]
pub enum Piece<'a> {
    Bytes(&'a [u8]),
    /// The medium did not give this range.
    Hole(Span, Option<i32>),
}

/// What a whole reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Offset at which the file ended, or up to which it was read.
    pub length: u64,
    pub holes: u64,
}

/// Reads `size` bytes in windows of `buffer`'s length and hands them on. Holes end at bounds of the medium's unit, and are as
/// long as a window where it has none.
/// A file that ends before `size` ends the reading. `tick` is called before each read.
pub fn stream(
    medium: &dyn Medium,
    size: u64,
    buffer: &mut [u8],
    tick: &mut dyn FnMut(),
    each: &mut dyn FnMut(Piece<'_>),
) -> Done {
    let mut done = Done::default();
    let mut lost = 0;
    while done.length < size {
        let want = whole_pages(size - done.length).min(buffer.len());
        tick();
        match fill(medium, &mut buffer[..want], done.length) {
            Ok(0) => return done,
            Ok(got) => {
                let got = cut(got, size - done.length);
                each(Piece::Bytes(&buffer[..got]));
                done.length += got as u64;
            }
            Err(error) => {
                let window = Span::new(done.length, cut(want, size - done.length) as u64);
                let rest = Span::new(done.length, size - done.length);
                let given_up = match medium.unit_end(done.length) {
                    Some(_) if lost < LOST_MAX => {
                        if !by_unit(medium, window, buffer, &mut lost, &mut done, tick, each) {
                            return done;
                        }
                        continue;
                    }
                    Some(_) => rest,
                    None => window,
                };
                each(Piece::Hole(given_up, error.raw_os_error()));
                done.holes += given_up.length;
                done.length = given_up.end();
            }
        }
    }
    done
}

/// Reads a window that failed as a whole unit by unit. False where the file ended inside it.
fn by_unit(
    medium: &dyn Medium,
    window: Span,
    buffer: &mut [u8],
    lost: &mut u64,
    done: &mut Done,
    tick: &mut dyn FnMut(),
    each: &mut dyn FnMut(Piece<'_>),
) -> bool {
    let mut hole: Option<(Span, Option<i32>)> = None;
    while done.length < window.end() && *lost < LOST_MAX {
        let Some(unit_end) = medium.unit_end(done.length) else { break };
        let want = (unit_end.min(window.end()) - done.length) as usize;
        let asked = ((unit_end - done.length) as usize).min(buffer.len());
        tick();
        match fill(medium, &mut buffer[..asked], done.length).map(|got| got.min(want)) {
            Ok(got) => {
                if let Some((span, errno)) = hole.take() {
                    each(Piece::Hole(span, errno));
                }
                if got == 0 {
                    return false;
                }
                each(Piece::Bytes(&buffer[..got]));
                done.length += got as u64;
            }
            Err(error) => {
                *lost += want as u64;
                let start = hole.map_or(done.length, |(span, _)| span.offset);
                done.length += want as u64;
                done.holes += want as u64;
                hole = Some((Span::new(start, done.length - start), error.raw_os_error()));
            }
        }
    }
    if let Some((span, errno)) = hole {
        each(Piece::Hole(span, errno));
    }
    true
}

/// A length rounded up to whole pages: reads past the cache take no other.
fn whole_pages(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX / 2).next_multiple_of(PAGE)
}

/// What of `got` bytes still belongs to the file as it was when the reading began.
fn cut(got: usize, left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(got)
}

/// Fills `buffer` as far as the file goes.
pub fn fill(medium: &dyn Medium, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match medium.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What came before the error is good; the next call starts at the error.
            Err(_) if got > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// The same medium as a plain reader: the first hole is the medium's error, unchanged. For decoders,
/// which cannot go on behind a hole. Calls `raw` with all bytes that it passes on.
pub struct Sequential<'a> {
    medium: &'a dyn Medium,
    offset: u64,
    size: u64,
    raw: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Sequential<'a> {
    /// Reads at most `size` bytes from the start.
    pub fn new(medium: &'a dyn Medium, size: u64, raw: &'a mut dyn FnMut(&[u8])) -> Sequential<'a> {
        Sequential { medium, offset: 0, size, raw }
    }
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let got = fill(self.medium, &mut buffer[..want], self.offset)?;
        (self.raw)(&buffer[..got]);
        self.offset += got as u64;
        Ok(got)
    }
}

/// The same, for whoever does not listen to what is read.
pub struct Quiet<'a> {
    medium: &'a dyn Medium,
    offset: u64,
    size: u64,
}

impl<'a> Quiet<'a> {
    /// Reads at most `size` bytes from the start.
    pub fn new(medium: &'a dyn Medium, size: u64) -> Quiet<'a> {
        Quiet { medium, offset: 0, size }
    }
}

impl Read for Quiet<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let got = fill(self.medium, &mut buffer[..want], self.offset)?;
        self.offset += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file whose bad bytes give EIO.
    pub struct Sick {
        pub bytes: Vec<u8>,
        pub bad: Vec<Span>,
    }

    impl Medium for Sick {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = (offset + buffer.len() as u64).min(self.bytes.len() as u64);
            if offset >= end {
                return Ok(0);
            }
            let wanted = Span::new(offset, end - offset);
            if self.bad.iter().any(|b| b.overlaps(wanted)) {
                return Err(io::Error::from_raw_os_error(5));
            }
            buffer[..wanted.length as usize].copy_from_slice(&self.bytes[offset as usize..end as usize]);
            Ok(wanted.length as usize)
        }
    }

    fn collect(sick: &Sick, size: u64, window: usize) -> (Vec<u8>, Vec<Span>, Done) {
        let (mut bytes, mut holes) = (Vec::new(), Vec::new());
        let done = stream(sick, size, &mut vec![0; window], &mut || (), &mut |piece| match piece {
            Piece::Bytes(b) => bytes.extend_from_slice(b),
            Piece::Hole(span, errno) => {
                assert_eq!(errno, Some(5));
                bytes.resize(span.end() as usize, b'?');
                holes.push(span);
            }
        });
        (bytes, holes, done)
    }

    #[test]
    fn one_bad_byte_costs_one_page() {
        let sick = Sick { bytes: vec![b'x'; 20_000], bad: vec![Span::new(9000, 1)] };
        let (bytes, holes, done) = collect(&sick, 20_000, 16_384);
        assert_eq!(holes, vec![Span::new(8192, 4096)]);
        assert_eq!(bytes.len(), 20_000);
        assert_eq!(done, Done { length: 20_000, holes: 4096 });
    }

    #[test]
    fn a_dead_file_is_given_up_after_a_bounded_number_of_reads() {
        let size = 64 << 20;
        let sick = Sick { bytes: vec![0; size], bad: vec![Span::new(0, size as u64)] };
        let mut reads = 0;
        let mut holes = 0;
        let done = stream(&sick, size as u64, &mut vec![0; 1 << 18], &mut || reads += 1, &mut |p| {
            if let Piece::Hole(span, _) = p {
                holes += span.length;
            }
        });
        assert!(reads < 80, "{reads}");
        assert_eq!((done.length, holes), (size as u64, size as u64));
    }

    #[test]
    fn a_file_that_shrank_ends_the_reading() {
        let sick = Sick { bytes: vec![b'x'; 5000], bad: vec![] };
        assert_eq!(collect(&sick, 9000, 4096).2, Done { length: 5000, holes: 0 });
    }

    #[test]
    fn gaps_are_found_without_reading() {
        let file = tempfile::tempfile().unwrap();
        let size = 3 << 20;
        file.set_len(size).unwrap();
        file.write_at(b"From: x", 0).unwrap();
        file.write_at(&[b'y'; 4096], 1 << 20).unwrap();
        file.write_at(&[b'z'; 4096], (1 << 20) + (32 << 10)).unwrap();
        file.sync_all().unwrap();
        let found = gaps(&file, size);
        if found.is_empty() {
            return eprintln!("NOT TESTED: this file system does not tell where its files have gaps");
        }
        let mut bytes = vec![1; size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(found.iter().all(|gap| bytes[gap.offset as usize..gap.end() as usize].iter().all(|&b| b == 0)));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().map(|gap| gap.length).sum::<u64>() > size - (256 << 10), "{found:?}");
        assert_eq!(found.last().unwrap().end(), size);
        assert!(gaps(&file, 4096).is_empty());
        let mut tail = [0; 4];
        Behind(&file, 5).read_at(&mut tail, 1).unwrap();
        assert_eq!(&tail, b"x\0\0\0");
    }

    proptest! {
        #[test]
        fn good_pages_all_come_through(
            size in 0usize..60_000, window in 1usize..5, bad in proptest::collection::vec((0u64..60_000, 1u64..9000), 0..4)
        ) {
            let sick = Sick {
                bytes: (0..size).map(|i| (i % 251) as u8).collect(),
                bad: bad.iter().map(|&(o, l)| Span::new(o, l)).collect(),
            };
            let (bytes, holes, done) = collect(&sick, size as u64, window * 4096);
            prop_assert_eq!(done.length, size as u64);
            for (page, (got, good)) in bytes.chunks(PAGE).zip(sick.bytes.chunks(PAGE)).enumerate() {
                let span = Span::new((page * PAGE) as u64, good.len() as u64);
                let hurt = sick.bad.iter().any(|b| b.overlaps(span));
                prop_assert_eq!(holes.iter().any(|h| h.overlaps(span)), hurt);
                prop_assert!(hurt || got == good);
            }
        }
    }
}
