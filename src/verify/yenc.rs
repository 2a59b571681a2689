//! Where yEnc begins and ends within text: it holds almost any byte, and no header declares it.
//!
//! May not judge what it holds. Keeps a few bytes, to find a line that two windows share.

use memchr::memmem::Finder;
use std::sync::LazyLock;

const BEGIN: &[u8] = b"\n=ybegin ";
const END: &[u8] = b"\n=yend ";

static BEGINS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGIN));
static ENDS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));

/// One part's text.
#[derive(Debug)]
pub(super) struct Yenc {
    inside: bool,
    /// The last bytes, fewer than what is looked for.
    tail: Vec<u8>,
}

impl Yenc {
    /// The text begins with a line.
    pub(super) fn new() -> Yenc {
        Yenc { inside: false, tail: b"\n".to_vec() }
    }

    /// Takes the next bytes and tells each offset from which on they are yEnc, or are no longer.
    pub(super) fn feed(&mut self, mut offset: u64, mut bytes: &[u8], mut turn: impl FnMut(u64, bool)) {
        while let Some(used) = self.find(bytes) {
            self.inside = !self.inside;
            self.tail.clear();
            offset += used as u64;
            bytes = &bytes[used..];
            turn(offset, self.inside);
        }
        let keep = BEGIN.len() - 1;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(keep)..]);
        let excess = self.tail.len().saturating_sub(keep);
        self.tail.drain(..excess);
    }

    /// How many of the bytes belong to what is looked for and what precedes it.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let (finder, length) = if self.inside { (&*ENDS, END.len()) } else { (&*BEGINS, BEGIN.len()) };
        if !self.tail.is_empty() {
            let mut joint = [0; 2 * BEGIN.len()];
            let head = bytes.len().min(BEGIN.len());
            let joint = &mut joint[..self.tail.len() + head];
            joint[..self.tail.len()].copy_from_slice(&self.tail);
            joint[self.tail.len()..].copy_from_slice(&bytes[..head]);
            if let Some(at) = finder.find(joint)
                && let Some(used) = (at + length).checked_sub(self.tail.len())
            {
                return Some(used);
            }
        }
        finder.find(bytes).map(|at| at + length)
    }
}
