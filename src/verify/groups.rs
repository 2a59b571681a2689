//! Computes the chaining value of each group of a content as it streams by.
//!
//! May not keep bytes: memory grows with the number of groups, and that is limited.

use crate::model::groups::{Cut, Value};
use blake3::hazmat::HasherExt;

/// Hashes group by group.
#[derive(Debug)]
pub struct Grouper {
    cut: Cut,
    offset: u64,
    /// Bytes of the group in hand that are still to come, and whether one of it is missing.
    left: u64,
    holed: bool,
    hasher: blake3::Hasher,
    values: Vec<Option<Value>>,
}

impl Grouper {
    /// For a content of `length` bytes: what comes behind them is not looked at.
    pub fn new(length: u64) -> Grouper {
        let cut = Cut::new(length);
        let values = Vec::with_capacity(cut.count());
        let left = cut.span(0).length;
        Grouper { cut, offset: 0, left, holed: false, hasher: blake3::Hasher::new(), values }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut window: &[u8]) {
        while !window.is_empty() && self.left > 0 {
            let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(window.len());
            self.hasher.update(&window[..room]);
            self.advance(room as u64);
            window = &window[room..];
        }
    }

    /// The medium did not give the next `length` bytes.
    pub fn hole(&mut self, mut length: u64) {
        while length > 0 && self.left > 0 {
            let room = self.left.min(length);
            self.holed = true;
            self.advance(room);
            length -= room;
        }
    }

    fn advance(&mut self, length: u64) {
        self.offset += length;
        self.left -= length;
        if self.left == 0 {
            self.close();
        }
    }

    fn close(&mut self) {
        let value = match self.cut.count() {
            _ if self.holed => None,
            1 => Some(*self.hasher.finalize().as_bytes()),
            _ => Some(self.hasher.finalize_non_root()),
        };
        self.values.push(value);
        self.holed = false;
        self.left = self.cut.span(self.values.len()).length;
        // A new one: one that is reset still believes that its input begins where it did.
        self.hasher = blake3::Hasher::new();
        if self.left > 0 {
            self.hasher.set_input_offset(self.offset);
        }
    }

    /// No more bytes come: groups that are not whole have no value.
    pub fn finish(mut self) -> Vec<Option<Value>> {
        if self.cut.length == 0 {
            self.close();
        }
        self.values.resize(self.cut.count(), None);
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use crate::model::groups::GROUP;
    use proptest::prelude::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 31 % 251) as u8).collect()
    }

    fn grouped(bytes: &[u8], length: u64, window: usize) -> Vec<Option<Value>> {
        let mut grouper = Grouper::new(length);
        bytes.chunks(window).for_each(|part| grouper.feed(part));
        grouper.finish()
    }

    #[test]
    fn the_groups_of_a_large_content_are_larger() {
        let bytes = content(70 << 20);
        let values: Option<Vec<Value>> = grouped(&bytes, bytes.len() as u64, 1 << 18).into_iter().collect();
        let cut = Cut::new(bytes.len() as u64);
        assert_eq!((cut.size(), cut.root(&values.unwrap())), (2 * GROUP, Some(Digest::of(&bytes))));
    }

    proptest! {
        #[test]
        fn the_values_are_those_of_the_digest(length in 0usize..200_000, window in 1usize..70_000) {
            let bytes = content(length);
            let values = grouped(&bytes, length as u64, window);
            let whole: Vec<Value> = values.iter().map(|value| value.unwrap()).collect();
            let cut = Cut::new(length as u64);
            prop_assert_eq!(cut.root(&whole), Some(Digest::of(&bytes)));
            for (number, value) in values.iter().enumerate() {
                let span = cut.span(number);
                prop_assert_eq!(*value, cut.value(number, &bytes[span.offset as usize..span.end() as usize]));
            }
            // More bytes than there should be change nothing; fewer leave groups without a value.
            let longer = [&bytes[..], b"more"].concat();
            prop_assert_eq!(&grouped(&longer, length as u64, window), &values);
            if length > 0 {
                prop_assert_eq!(*grouped(&bytes[..length - 1], length as u64, window).last().unwrap(), None);
            }
        }

        #[test]
        fn a_hole_costs_the_groups_that_it_touches(length in 1usize..200_000, at in 0usize..200_000, hole in 1usize..40_000) {
            let bytes = content(length);
            let (at, end) = (at.min(length - 1), (at.min(length - 1) + hole).min(length));
            let mut grouper = Grouper::new(length as u64);
            grouper.feed(&bytes[..at]);
            grouper.hole((end - at) as u64);
            grouper.feed(&bytes[end..]);
            let whole = grouped(&bytes, length as u64, 4096);
            for (number, value) in grouper.finish().into_iter().enumerate() {
                let span = Cut::new(length as u64).span(number);
                let touched = span.offset < end as u64 && (at as u64) < span.end();
                prop_assert_eq!(value, if touched { None } else { whole[number] });
            }
        }
    }
}
