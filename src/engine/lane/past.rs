//! One open file, read past the page cache: what is asked for at any place and of any length is read in whole pages at
//! aligned places, and what was read is not asked of the medium again.
//!
//! Runs in the lane only. May not decide what a failed read means: where the medium fails, so does the read.

use super::gentle::Paced;
use crate::model::limits::WINDOW;
use crate::read::Medium;
use crate::sys::direct::{ALIGN, AlignedBuf};
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
    /// Reading the file at once failed with this: nothing larger than a page is tried again.
    failed: Cell<Option<i32>>,
}

/// A file of `size` bytes that was opened past the cache, by the reader whose `window` this is.
pub struct Past<'a> {
    pub medium: Paced<'a>,
    pub size: u64,
    pub window: &'a Window,
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
        if small && self.window.failed.get().is_none() && self.load(0, WINDOW).is_ok() {
            return Ok(self.held(buffer, offset).unwrap_or(0));
        }
        if let Some(errno) = self.window.failed.get()
            && buffer.len() > ALIGN
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if is_aligned(buffer, offset) {
            return self.medium.read_at(buffer, offset);
        }
        let start = offset - offset % ALIGN as u64;
        if small || self.load(start, WINDOW).is_err() {
            self.load(start, ALIGN)?;
        }
        Ok(self.held(buffer, offset).unwrap_or(0))
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

    fn load(&self, start: u64, most: usize) -> io::Result<()> {
        self.window.length.set(0);
        let got = PAGES.with_borrow_mut(|pages| self.medium.read_at(&mut pages.bytes_mut()[..most], start));
        if let Err(error) = &got
            && self.size <= WINDOW as u64
            && most > ALIGN
        {
            self.window.failed.set(Some(error.raw_os_error().unwrap_or_default()));
        }
        self.window.start.set(start);
        self.window.length.set(got?);
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
            let past = Past { medium, size: size as u64, window: &window };
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
