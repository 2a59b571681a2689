//! Ranges of bytes: what a check blames, what the medium did not give.

use serde::{Deserialize, Serialize};

/// `length` bytes from `offset`. A length of zero marks a place (a missing boundary).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    pub offset: u64,
    pub length: u64,
}

impl Span {
    pub fn new(offset: u64, length: u64) -> Span {
        Span { offset, length }
    }

    /// One past the last byte; saturates, so that no crafted length overflows.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The part of `other` that lies in this one; of no length, and at one of the ends, where there is none.
    pub fn clipped(self, other: Span) -> Span {
        let from = other.offset.clamp(self.offset, self.end());
        let to = other.end().clamp(self.offset, self.end());
        Span::new(from, to - from)
    }

    /// Whether all of `other`, or the place that it marks, lies within.
    pub fn holds(self, other: Span) -> bool {
        self.offset <= other.offset && other.end() <= self.end()
    }

    /// Whether the two have at least one byte in common.
    pub fn overlaps(self, other: Span) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn overlap_is_symmetric_and_exact() {
        let a = Span::new(10, 5);
        assert!(a.overlaps(Span::new(14, 1)) && Span::new(14, 1).overlaps(a));
        assert!(!a.overlaps(Span::new(15, 1)));
        assert!(!a.overlaps(Span::new(12, 0)) || a.overlaps(Span::new(12, 1)));
        assert!(a.holds(a) && a.holds(Span::new(15, 0)) && !a.holds(Span::new(14, 2)) && !a.holds(Span::new(9, 2)));
        assert_eq!(Span::new(u64::MAX, 9).end(), u64::MAX);
    }
}
