//! Reading a file from the medium and not from the cache, where the file system lets us.
//!
//! May not write, and may not decide what a failed read means: errors go to the caller as they are.

use super::attr::fstat;
use super::dir::Dir;
use crate::model::Stat;
use crate::model::limits::WINDOW;
use rustix::fs::Advice;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Alignment of addresses, offsets and lengths that every medium accepts. Bytes.
pub const ALIGN: usize = 4096;

/// A buffer whose first byte lies on an [`ALIGN`] boundary, as O_DIRECT wants it.
#[derive(Debug)]
pub struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuf {
    /// Zeroed, of at least `length` bytes: rounded up to whole [`ALIGN`] units.
    pub fn new(length: usize) -> AlignedBuf {
        let length = length.max(1).next_multiple_of(ALIGN);
        let bytes = vec![0; length + ALIGN];
        let past = bytes.as_ptr().addr() % ALIGN;
        AlignedBuf { bytes, start: (ALIGN - past) % ALIGN, length }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// Reads a regular file in windows of at most [`WINDOW`] bytes. Returns its `fstat` after the last window, and
/// whether every byte came past the cache, so that the medium was tested.
pub fn read_file(dir: &Dir, name: &[u8], window: &mut dyn FnMut(&[u8])) -> io::Result<(Stat, bool)> {
    let mut buffer = AlignedBuf::new(WINDOW);
    let mut offset = 0;
    if let Some(file) = dir.open_direct(name)?
        && read_past_cache(&file, buffer.bytes_mut(), &mut offset, window)?
    {
        return Ok((fstat(&file)?.1, true));
    }
    let file = dir.open_file(name)?;
    // A hint only: where it is not taken, the cache answers and the result says so.
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).ok();
    loop {
        let got = read_at(&file, buffer.bytes_mut(), offset)?;
        if got == 0 {
            return Ok((fstat(&file)?.1, false));
        }
        window(&buffer.bytes()[..got]);
        offset += got as u64;
    }
}

/// Reads by O_DIRECT from `offset` on; false where the file system refuses after all, with `offset` at the place.
fn read_past_cache(
    file: &File,
    buffer: &mut [u8],
    offset: &mut u64,
    window: &mut dyn FnMut(&[u8]),
) -> io::Result<bool> {
    loop {
        let got = match read_at(file, buffer, *offset) {
            Ok(got) => got,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error),
        };
        if got > 0 {
            window(&buffer[..got]);
        }
        *offset += got as u64;
        if got == 0 {
            return Ok(true);
        }
        // Only the end of the file gives a count that leaves the next offset unaligned.
        if !offset.is_multiple_of(ALIGN as u64) {
            return Ok(*offset >= fstat(file)?.1.size);
        }
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir::Root;

    #[test]
    fn buffers_are_aligned_and_whole() {
        for length in [0, 1, 512, 4096, 4097, WINDOW] {
            let mut buffer = AlignedBuf::new(length);
            assert_eq!(buffer.bytes().as_ptr().addr() % ALIGN, 0);
            assert!(buffer.bytes_mut().len() >= length && buffer.bytes().len().is_multiple_of(ALIGN));
        }
    }

    #[test]
    fn gives_every_byte_whatever_the_length() {
        // Once where O_DIRECT usually works, once on a memory file system.
        let places = [tempfile::tempdir().ok(), tempfile::tempdir_in("/dev/shm").ok()];
        for dir in places.into_iter().flatten() {
            let root = Root::open(dir.path()).unwrap();
            for length in [0, 1, 511, 512, 4095, 4096, 4097, 4608, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 700] {
                let content: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
                std::fs::write(dir.path().join("m"), &content).unwrap();
                let mut seen = Vec::new();
                let (stat, _) = read_file(root.top(), b"m", &mut |bytes| seen.extend_from_slice(bytes)).unwrap();
                assert!(seen == content && stat.size == length as u64, "{length} bytes in {:?}", dir.path());
            }
        }
    }

    #[test]
    fn refuses_what_is_not_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert!(read_file(root.top(), b"d", &mut |_| {}).is_err());
        assert!(read_file(root.top(), b"absent", &mut |_| {}).is_err());
    }
}
