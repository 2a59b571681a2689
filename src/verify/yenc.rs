//! Where yEnc begins and ends within text: it holds almost any byte, and no header declares it.
//!
//! May not judge what it holds. Keeps a few bytes, to find a line that two windows share.

use memchr::memmem::Finder;
use std::sync::LazyLock;

const BEGIN: &[u8] = b"\n=ybegin ";
const END: &[u8] = b"\n=yend ";

/// Bytes kept: one fewer than what is looked for.
const KEPT: usize = BEGIN.len() - 1;

static BEGINS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGIN));
static ENDS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));

/// One part's text.
#[derive(Debug)]
pub(super) struct Yenc {
    inside: bool,
    /// The last bytes, and how many of them there are.
    tail: [u8; KEPT],
    held: usize,
}

impl Yenc {
    /// The text begins with a line.
    pub(super) fn new() -> Yenc {
        Yenc { inside: false, tail: [b'\n'; KEPT], held: 1 }
    }

    /// Takes the next bytes and tells each offset from which on they are yEnc, or are no longer.
    pub(super) fn feed(&mut self, mut offset: u64, mut bytes: &[u8], mut turn: impl FnMut(u64, bool)) {
        while let Some(used) = self.find(bytes) {
            self.inside = !self.inside;
            self.held = 0;
            offset += used as u64;
            bytes = &bytes[used..];
            turn(offset, self.inside);
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let new = bytes.len().min(KEPT);
        let old = self.held.min(KEPT - new);
        self.tail.copy_within(self.held - old..self.held, 0);
        self.tail[old..old + new].copy_from_slice(&bytes[bytes.len() - new..]);
        self.held = old + new;
    }

    /// How many of the bytes belong to what is looked for and what precedes it.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let (finder, length) = if self.inside { (&*ENDS, END.len()) } else { (&*BEGINS, BEGIN.len()) };
        if self.held > 0 {
            let mut joint = [0; KEPT + BEGIN.len()];
            let head = bytes.len().min(BEGIN.len());
            let joint = &mut joint[..self.held + head];
            joint[..self.held].copy_from_slice(&self.tail[..self.held]);
            joint[self.held..].copy_from_slice(&bytes[..head]);
            if let Some(at) = finder.find(joint)
                && let Some(used) = (at + length).checked_sub(self.held)
            {
                return Some(used);
            }
        }
        finder.find(bytes).map(|at| at + length)
    }
}
