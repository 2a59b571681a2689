//! The clock of a place, as far as turning its times into UTC needs it: a table of its offsets, that any process may be
//! handed without a database of its own.
//!
//! May not look up names or ask which zone is the system's.

use serde::{Deserialize, Serialize};

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// As people call it.
    pub name: String,
    /// Seconds east of UTC before the first change.
    first: i32,
    /// Seconds since 1970 from which on another offset holds; ascending.
    changes: Vec<(i64, i32)>,
}

impl Zone {
    pub fn new(name: &str, first: i32, changes: Vec<(i64, i32)>) -> Zone {
        debug_assert!(changes.is_sorted_by_key(|(from, _)| *from));
        Zone { name: name.to_owned(), first, changes }
    }

    pub fn utc() -> Zone {
        Zone::new("UTC", 0, Vec::new())
    }

    /// Seconds east of UTC at a time.
    pub fn offset_at(&self, utc: i64) -> i64 {
        let before = self.changes.partition_point(|(from, _)| *from <= utc);
        self.offset(before)
    }

    /// The time at which a clock there showed `local`: of two the earlier, and in an hour that was left out by the offset
    /// before it.
    pub fn to_utc(&self, local: i64) -> i64 {
        let ends = self.changes.iter().map(|(from, _)| *from).chain([i64::MAX]);
        let period =
            ends.enumerate().position(|(nth, end)| local - self.offset(nth) < end).unwrap_or(self.changes.len());
        let began = period.checked_sub(1).map_or(i64::MIN, |nth| self.changes[nth].0);
        let skipped = local - self.offset(period) < began;
        local - self.offset(period - usize::from(skipped))
    }

    /// In the period behind so many changes.
    fn offset(&self, changes: usize) -> i64 {
        changes.checked_sub(1).map_or(self.first, |nth| self.changes[nth].1).into()
    }
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::utc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One hour forward at 10,000 and back at 50,000.
    fn zone() -> Zone {
        Zone::new("x", 3600, vec![(10_000, 7200), (50_000, 3600)])
    }

    #[test]
    fn clocks_that_jump_are_read() {
        let zone = zone();
        assert_eq!([0, 9_999, 10_000, 49_999, 50_000].map(|utc| zone.offset_at(utc)), [3600, 3600, 7200, 7200, 3600]);
        assert_eq!(zone.to_utc(13_599), 9_999);
        assert_eq!((zone.to_utc(13_600), zone.to_utc(17_199)), (10_000, 13_599), "no clock showed these");
        assert_eq!(zone.to_utc(17_200), 10_000);
        assert_eq!((zone.to_utc(55_000), zone.to_utc(57_200)), (47_800, 53_600), "shown twice, and once");
        assert_eq!((Zone::utc().to_utc(5), Zone::utc().offset_at(5)), (5, 0));
    }

    proptest! {
        #[test]
        fn what_a_clock_shows_is_read_as_it_was(utc in -100_000i64..100_000) {
            let zone = zone();
            let again = zone.to_utc(utc + zone.offset_at(utc));
            let twice = (50_000..53_600).contains(&utc);
            prop_assert_eq!(again, if twice { utc - 3600 } else { utc });
        }
    }
}
