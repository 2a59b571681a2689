//! A content in groups of bytes, each with its BLAKE3 chaining value: one group is proven by itself, and all of them
//! together by the content's digest.
//!
//! The groups are subtrees of BLAKE3's tree (section 2.1 of its paper), so that they cost no digest of their own.

use super::digest::Digest;
use super::span::Span;
use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

/// Bytes of a group; of one that is short, up to the end of the content.
pub const GROUP: u64 = 16 << 10;
/// Groups of one content: those of longer ones are larger.
pub const GROUPS_MAX: u64 = 4096;

/// Chaining value of a group; of the only group of a content, its digest.
pub type Value = [u8; 32];

/// How a content of a known length is cut. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub length: u64,
}

impl Cut {
    pub fn new(length: u64) -> Cut {
        Cut { length }
    }

    /// Bytes of every group but the last.
    pub fn size(self) -> u64 {
        let mut size = GROUP;
        while self.length.div_ceil(size) > GROUPS_MAX {
            size *= 2;
        }
        size
    }

    /// How many groups there are; an empty content is one.
    pub fn count(self) -> usize {
        usize::try_from(self.length.div_ceil(self.size())).unwrap_or(usize::MAX).max(1)
    }

    /// Where a group lies.
    pub fn span(self, number: usize) -> Span {
        let offset = (number as u64).saturating_mul(self.size()).min(self.length);
        Span::new(offset, self.size().min(self.length - offset))
    }

    /// The value of one group; `None` where these are not as many bytes as it has.
    pub fn value(self, number: usize, bytes: &[u8]) -> Option<Value> {
        let span = self.span(number);
        if bytes.len() as u64 != span.length {
            return None;
        }
        if self.count() == 1 {
            return Some(*blake3::hash(bytes).as_bytes());
        }
        Some(blake3::Hasher::new().set_input_offset(span.offset).update(bytes).finalize_non_root())
    }

    /// The digest of the content whose groups have these values; `None` where they are not as many as there are groups.
    pub fn root(self, values: &[Value]) -> Option<Digest> {
        match values {
            _ if values.len() != self.count() => None,
            [only] => Some(Digest(*only)),
            _ => {
                let (left, right) = self.halves(values, self.length);
                Some(Digest(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
            }
        }
    }

    /// Values of the two subtrees of one that has `length` bytes and more than one group.
    fn halves(self, values: &[Value], length: u64) -> (Value, Value) {
        let left = left_subtree_len(length);
        let (first, second) = values.split_at(usize::try_from(left / self.size()).unwrap_or(1));
        (self.subtree(first, left), self.subtree(second, length - left))
    }

    fn subtree(self, values: &[Value], length: u64) -> Value {
        if let [only] = values {
            return *only;
        }
        let (left, right) = self.halves(values, length);
        merge_subtrees_non_root(&left, &right, Mode::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_content_and_are_not_too_many() {
        for length in [0, 1, GROUP - 1, GROUP, GROUP + 1, 100_000, GROUP * GROUPS_MAX, GROUP * GROUPS_MAX + 1, 2 << 30]
        {
            let cut = Cut::new(length);
            assert!(cut.count() as u64 <= GROUPS_MAX && cut.size().is_power_of_two());
            let mut at = 0;
            for number in 0..cut.count() {
                assert_eq!(cut.span(number).offset, at);
                at = cut.span(number).end();
            }
            assert_eq!(at, length);
            assert!(cut.root(&vec![[0; 32]; cut.count() + 1]).is_none());
        }
    }
}
