//! A set of step numbers that stays small when they are dense, as they are in a journal.
//!
//! Pure.

/// Sorted, disjoint, non-adjacent ranges, both ends included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<(u64, u64)>);

impl Numbers {
    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= number);
        after > 0 && number <= self.0[after - 1].1
    }

    /// Adds a number; false if it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= number);
        if after > 0 && number <= self.0[after - 1].1 {
            return false;
        }
        let joins_left = after > 0 && self.0[after - 1].1.checked_add(1) == Some(number);
        let joins_right = after < self.0.len() && number.checked_add(1) == Some(self.0[after].0);
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[after - 1].1 = self.0[after].1;
                self.0.remove(after);
            }
            (true, false) => self.0[after - 1].1 = number,
            (false, true) => self.0[after].0 = number,
            (false, false) => self.0.insert(after, (number, number)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(numbers in proptest::collection::vec(prop_oneof![0u64..40, Just(u64::MAX)], 0..60)) {
            let (mut ours, mut theirs) = (Numbers::default(), BTreeSet::new());
            for &number in &numbers {
                prop_assert_eq!(ours.insert(number), theirs.insert(number));
            }
            for number in 0..41 {
                prop_assert_eq!(ours.contains(number), theirs.contains(&number));
            }
            prop_assert!(ours.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "ranges neither touch nor overlap");
        }
    }
}
