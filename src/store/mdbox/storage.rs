//! Finds the messages in a storage file `m.N` by what stands around each: for when nothing else knows their places.
//!
//! Reads through its window only. A header whose trailer is not where it says does not hide the messages behind it.

use super::super::mbox::window::Window;
use super::super::sdbox::frame::{self, Frame, HEADER, MAGIC, MAGIC_POST, TAIL};

/// Headers without a trailer after which no more trailers are looked for ahead, so that a file that is full of them does
/// not have all of itself read for each.
const FAILED_MAX: u32 = 4096;

/// A message in a storage file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub offset: u64,
    /// From its header to the empty line behind its trailer; where that is not found, to the next header.
    pub size: u64,
    pub frame: Frame,
    /// `B`: the mailbox into which it was delivered.
    pub mailbox: Option<Vec<u8>>,
}

impl Part {
    /// Whether all that stands around it is as it should be.
    pub fn is_sound(&self) -> bool {
        self.frame.broken.is_empty() && self.frame.short_of.is_none()
    }
}

/// Messages one after the other.
pub struct Scanner<'w> {
    /// Where the scan is, and where it looks ahead.
    here: Window<'w>,
    ahead: Window<'w>,
    at: u64,
    failed: u32,
}

impl<'w> Scanner<'w> {
    pub fn new(here: Window<'w>, ahead: Window<'w>) -> Scanner<'w> {
        Scanner { here, ahead, at: 0, failed: 0 }
    }

    /// What the medium did not give: messages may lie there.
    pub fn holes(&self) -> impl Iterator<Item = &(crate::model::Span, Option<i32>)> {
        self.here.holes().iter().chain(self.ahead.holes())
    }

    /// The next header from `from` on.
    fn header_from(&mut self, mut from: u64) -> Option<u64> {
        loop {
            let view = self.here.view(from, MAGIC.len());
            if view.len() < MAGIC.len() {
                return None;
            }
            if let Some(at) = memchr::memmem::find(view, MAGIC) {
                return Some(from + at as u64);
            }
            // One may begin in what is left.
            from += (view.len() - (MAGIC.len() - 1)) as u64;
        }
    }

    /// The length of the message that begins at `at`, if a trailer stands where its header says.
    fn sound(&mut self, at: u64) -> Option<u64> {
        let length = frame::size_in(self.here.view(at, HEADER))?;
        let end = at.checked_add(HEADER as u64)?.checked_add(length)?;
        if self.failed >= FAILED_MAX || end >= self.here.size() {
            return None;
        }
        let behind = self.ahead.view(end, TAIL);
        let behind = &behind[..behind.len().min(TAIL)];
        let lines = behind.strip_prefix(MAGIC_POST)?;
        let last = memchr::memmem::find(lines, b"\n\n")?;
        if memchr::memmem::find(&lines[..last], MAGIC).is_some() {
            // That is the end of the next message's.
            return None;
        }
        Some(end - at + (MAGIC_POST.len() + last + 2) as u64)
    }

    /// What stands around the message of `size` bytes at `offset`.
    fn part(&mut self, offset: u64, size: u64) -> Part {
        let clip = |view: &[u8], most: u64| view[..view.len().min(usize::try_from(most).unwrap_or(TAIL))].to_vec();
        let head = clip(self.here.view(offset, HEADER), size.min(HEADER as u64));
        let skipped = size.saturating_sub(TAIL as u64);
        let tail = clip(self.ahead.view(offset + skipped, TAIL), size - skipped);
        let mailbox = memchr::memmem::rfind(&tail, MAGIC_POST).and_then(|at| {
            let mut lines = tail[at + MAGIC_POST.len()..].split(|&byte| byte == b'\n');
            lines.find_map(|line| line.strip_prefix(b"B")).map(<[u8]>::to_vec)
        });
        Part { offset, size, frame: frame::read_one(&head, &tail, skipped + tail.len() as u64), mailbox }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let at = self.header_from(self.at)?;
        let size = self.sound(at).unwrap_or_else(|| {
            self.failed += 1;
            let next = self.header_from(at + MAGIC.len() as u64);
            next.unwrap_or(self.here.size()).saturating_sub(at)
        });
        self.at = at + size.max(1);
        Some(self.part(at, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Medium;
    use proptest::prelude::*;
    use std::io;

    const REAL: &[u8] = include_bytes!("../../../testdata/mdbox/m.1");

    struct Bytes<'a>(&'a [u8]);

    impl Medium for Bytes<'_> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
            let got = rest.len().min(buffer.len());
            buffer[..got].copy_from_slice(&rest[..got]);
            Ok(got)
        }
    }

    fn parts(bytes: &[u8], width: usize) -> Vec<Part> {
        let medium = Bytes(bytes);
        let window = |width| Window::new(&medium, bytes.len() as u64, width, &|| ());
        Scanner::new(window(width), window(4096)).collect()
    }

    fn sound(part: &Part) -> bool {
        part.frame.broken.is_empty() && part.frame.short_of.is_none()
    }

    #[test]
    fn a_real_file_is_taken_apart_as_the_map_says() {
        for width in [4096, 1 << 20] {
            let found = parts(REAL, width);
            let places: Vec<_> = found.iter().map(|part| (part.offset, part.size)).collect();
            assert_eq!(places, [16, 673, 1330, 1987, 2644, 3301].map(|at| (at, 657)));
            assert!(found.iter().all(|part| sound(part) && part.mailbox.as_deref() == Some(b"INBOX")), "{found:?}");
        }
    }

    #[test]
    fn a_harmed_message_does_not_hide_the_others() {
        // A digit of the size, the magic of the trailer, the end of it, and the line of the file.
        for (at, lost) in [(673 + 28, 1), (673 + 30 + 0x236 + 1, 1), (1329, 1), (3, 0)] {
            let mut harmed = REAL.to_vec();
            harmed[at] ^= 1;
            let found = parts(&harmed, 4096);
            assert_eq!((found.len(), found.iter().filter(|part| !sound(part)).count()), (6, lost), "harm at {at}");
            assert_eq!(found[2].offset, 1330);
        }
        // Without its header nothing tells it from what stands before it.
        let mut harmed = REAL.to_vec();
        harmed[673] = 0;
        assert_eq!(parts(&harmed, 4096).iter().filter(|part| sound(part)).count(), 5);
        assert_eq!(parts(&REAL[..700], 4096).len(), 2);
        assert!(parts(b"", 4096).is_empty() && parts(&[0; 9000], 4096).is_empty());
    }

    #[test]
    fn a_message_that_holds_a_storage_file_is_one_message() {
        let inner = REAL;
        let head = format!("2 M1e C6560a1b2\n\x01\x02N          {:016X}\n", inner.len());
        let tail = "\n\x01\x03\nR6560a1b1\nV100\nG0123456789abcdef0123456789abcdef\nBWork\n\n";
        let file = [head.as_bytes(), inner, tail.as_bytes()].concat();
        let found = parts(&file, 4096);
        assert_eq!((found.len(), found[0].frame.message.length), (1, inner.len() as u64));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_their_end(
            bytes in proptest::collection::vec(prop_oneof![Just(1u8), Just(2), Just(b'N'), Just(b' '), Just(b'\n'), any::<u8>()], 0..2000),
            copies in 0usize..40,
        ) {
            let file = [bytes, MAGIC.repeat(copies), REAL[..400].to_vec()].concat();
            let mut at = 0;
            for part in parts(&file, 4096) {
                prop_assert!(part.offset >= at && part.offset + part.size <= file.len() as u64);
                at = part.offset + part.size;
            }
        }
    }
}
