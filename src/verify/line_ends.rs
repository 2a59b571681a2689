//! Mail whose lines end with a CR alone: the structure checks see each of these as a LF, at the same offset.
//!
//! May not change any other byte, and decides once, at the end of the first line. Holds one CR, and a copy of
//! the window where lines end so.

use memchr::memchr2;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Ends {
    #[default]
    Unknown,
    /// The last window ended with the CR of the first line.
    HeldCr,
    Lf,
    Cr,
}

#[derive(Debug, Default)]
pub(super) struct LineEnds {
    ends: Ends,
    copy: Vec<u8>,
}

impl LineEnds {
    /// Hands a window on, in one or two pieces.
    pub(super) fn feed(&mut self, window: &[u8], mut take: impl FnMut(&[u8])) {
        if self.ends == Ends::HeldCr {
            let Some(&next) = window.first() else { return };
            self.ends = decide(next);
            take(if self.ends == Ends::Cr { b"\n" } else { b"\r" });
        }
        if self.ends == Ends::Unknown {
            match memchr2(b'\r', b'\n', window) {
                Some(at) if window[at] == b'\n' => self.ends = Ends::Lf,
                Some(at) if at + 1 < window.len() => self.ends = decide(window[at + 1]),
                Some(at) => {
                    self.ends = Ends::HeldCr;
                    return take(&window[..at]);
                }
                None => {}
            }
        }
        if self.ends == Ends::Cr {
            self.copy.clear();
            self.copy.extend(window.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }));
            take(&self.copy);
        } else {
            take(window);
        }
    }

    /// No more bytes come, or some are missing.
    pub(super) fn interrupt(&mut self, take: impl FnOnce(&[u8])) {
        if self.ends == Ends::HeldCr {
            self.ends = Ends::Lf;
            take(b"\r");
        }
    }
}

/// What follows the CR of the first line: only the start of another header line shows that lines end so.
fn decide(next: u8) -> Ends {
    if next.is_ascii_alphanumeric() || matches!(next, b' ' | b'\t') { Ends::Cr } else { Ends::Lf }
}
