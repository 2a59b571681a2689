//! One open file, read past the page cache: what is asked for at any place and of any length is read in whole pages at
//! aligned places, and what was read is not asked of the medium again.
//!
//! Runs in the lane only. May not decide what a failed read means: where the medium fails, so does the read.

use super::gentle::Paced;
use crate::model::Span;
use crate::model::limits::WINDOW;
use crate::model::wire::Effort;
use crate::read::{Medium, SECTOR};
use crate::sys::direct::{ALIGN, AlignedBuf};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::io;

thread_local! {
    /// Each reader's window onto the file that it has in hand.
    static PAGES: RefCell<AlignedBuf> = RefCell::new(AlignedBuf::new(WINDOW));
}

/// What of a file lies in its reader's window.
#[derive(Default)]
pub struct Window {
    start: Cell<u64>,
    length: Cell<usize>,
    /// Reading this as a whole failed last: nothing larger than a unit of it is tried again.
    failed: Cell<Option<(Span, i32)>>,
    /// So did this unit: it is not tried again at all.
    lost: Cell<Option<(u64, i32)>>,
    /// The medium's sectors are pages.
    coarse: Cell<bool>,
}

/// A file of `size` bytes that was opened past the cache, by the reader whose `window` this is.
pub struct Past<'a> {
    pub medium: Paced<'a>,
    pub size: u64,
    pub window: &'a Window,
    pub effort: &'a Effort,
}

impl Medium for Past<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if let Some(got) = self.held(buffer, offset) {
            return Ok(got);
        }
        let small = self.size <= WINDOW as u64;
        if let Some(errno) = self.is_lacking(offset) {
            // A page of what failed is asked for as such.
            let whole = small || is_aligned(buffer, offset);
            if *self.effort == Effort::Swift || *self.effort == Effort::Pages && buffer.len() > ALIGN && whole {
                return Err(io::Error::from_raw_os_error(errno));
            }
            return self.units(buffer, offset);
        }
        if buffer.len() >= WINDOW && !small && is_aligned(buffer, offset) {
            let got = self.medium.read_at(buffer, offset);
            if let Err(error) = &got {
                self.failed(Span::new(offset, buffer.len() as u64), error);
            }
            return got;
        }
        let start = if small { 0 } else { offset - offset % ALIGN as u64 };
        if let Err(error) = self.load(start, WINDOW) {
            self.failed(Span::new(start, WINDOW as u64), &error);
            return self.read_at(buffer, offset);
        }
        Ok(self.held(buffer, offset).unwrap_or(0))
    }

    fn unit_end(&self, offset: u64) -> Option<u64> {
        let unit = self.unit();
        (*self.effort != Effort::Swift).then_some((offset / unit + 1) * unit)
    }
}

impl Past<'_> {
    /// What lies in the window, from `offset` on.
    fn held(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let (start, length) = (self.window.start.get(), self.window.length.get());
        let skipped = usize::try_from(offset.checked_sub(start)?).ok().filter(|&skipped| skipped < length)?;
        let got = buffer.len().min(length - skipped);
        PAGES.with_borrow(|pages| buffer[..got].copy_from_slice(&pages.bytes()[skipped..skipped + got]));
        Some(got)
    }

    /// The least that is read of what was not given as a whole. Bytes.
    fn unit(&self) -> u64 {
        match self.effort {
            Effort::Closely(_) if !self.window.coarse.get() => SECTOR as u64,
            _ => ALIGN as u64,
        }
    }

    /// The error with which this place was not given before.
    fn is_lacking(&self, offset: u64) -> Option<i32> {
        let failed = self.window.failed.get().filter(|(span, _)| span.overlaps(Span::new(offset, 1)));
        let known = match self.effort {
            Effort::Closely(known) => known.iter().any(|span| span.overlaps(Span::new(offset, 1))),
            _ => false,
        };
        failed.map(|(_, errno)| errno).or(known.then_some(Errno::IO.raw_os_error()))
    }

    fn failed(&self, span: Span, error: &io::Error) {
        self.window.failed.set(Some((span, error.raw_os_error().unwrap_or_default())));
    }

    /// Reads what was not given as a whole unit by unit, up to the first that is not given: whoever wants a few bytes gets
    /// them all, wherever units end.
    fn units(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() && offset + (got as u64) < self.size {
            match self.one_unit(&mut buffer[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if got == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(got)
    }

    /// Reads no more than one unit of what was not given as a whole.
    fn one_unit(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let unit = self.unit();
        let start = offset - offset % unit;
        if let Some((_, errno)) = self.window.lost.get().filter(|&(at, _)| at == start) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if let Err(error) = self.load(start, unit as usize) {
            if Errno::from_io_error(&error) == Some(Errno::INVAL) && unit < ALIGN as u64 {
                self.window.coarse.set(true);
                return self.one_unit(buffer, offset);
            }
            self.window.lost.set(Some((start, error.raw_os_error().unwrap_or_default())));
            return Err(error);
        }
        Ok(self.held(buffer, offset).unwrap_or(0))
    }

    fn load(&self, start: u64, most: usize) -> io::Result<()> {
        self.window.length.set(0);
        let got = PAGES.with_borrow_mut(|pages| self.medium.read_at(&mut pages.bytes_mut()[..most], start))?;
        self.window.start.set(start);
        self.window.length.set(got);
        Ok(())
    }
}

fn is_aligned(buffer: &[u8], offset: u64) -> bool {
    let whole = |n: usize| n.is_multiple_of(ALIGN);
    whole(buffer.as_ptr().addr()) && whole(buffer.len()) && offset.is_multiple_of(ALIGN as u64)
}

#[cfg(test)]
mod tests {
    use super::super::gentle::Gentle;
    use super::*;
    use crate::sys::dir::Root;

    #[test]
    fn any_place_and_length_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let pace = Gentle::not();
        for size in [1, 511, 4096, 5000, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 777] {
            let content: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
            std::fs::write(folder.path().join("m"), &content).unwrap();
            let file = match root.top().open_direct(b"m").unwrap() {
                Some(file) => file,
                None => root.top().open_file(b"m").unwrap(),
            };
            let window = Window::default();
            let medium = Paced { file: &file, pace: &pace, tick: &|_| () };
            let effort = [Effort::Pages, Effort::Swift, Effort::Closely(vec![Span::new(5000, 3000)])];
            let effort = &effort[size % 3];
            let past = Past { medium, size: size as u64, window: &window, effort };
            let mut rng = fastrand::Rng::with_seed(size as u64);
            for _ in 0..200 {
                let offset = rng.usize(..size + 10);
                let mut buffer = AlignedBuf::new(rng.usize(1..2 * WINDOW));
                let length = rng.usize(1..=buffer.bytes().len());
                let skew = if rng.bool() { 0 } else { rng.usize(..length) };
                let buffer = &mut buffer.bytes_mut()[skew..length];
                let got = past.read_at(buffer, offset as u64).unwrap();
                assert_eq!(got == 0, offset >= size || buffer.is_empty(), "{got} of {} at {offset}", buffer.len());
                assert!(buffer[..got] == content[offset.min(size)..offset.min(size) + got]);
            }
        }
    }
}
