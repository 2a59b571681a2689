//! The wall clock, times as text, and names of runs.
//!
//! May not be asked by anything pure: those get the time as an argument.

use crate::model::Stamp;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::ClockId;
use std::io;

/// Into so many parts the names of runs divide a second.
const TICKS: i64 = 1 << 16;
const NAMES_TRIED: usize = 1000;

/// The time now. The clock may jump: durations come from `std::time::Instant`.
pub fn now() -> Stamp {
    let time = rustix::time::clock_gettime(ClockId::Realtime);
    Stamp { sec: time.tv_sec, nsec: u32::try_from(time.tv_nsec).unwrap_or(0) }
}

/// RFC 3339 in UTC (`2026-02-03T04:05:06Z`, with a fraction where there is one). A time that no calendar
/// reaches, as a damaged inode may have, is `@` and its seconds.
pub fn rfc3339(stamp: Stamp) -> String {
    match timestamp(stamp) {
        Some(time) => time.to_string(),
        None => format!("@{}", stamp.sec),
    }
}

/// Date and time to the second in UTC, as people read it (`2026-02-03 04:05:06`).
pub fn for_people(stamp: Stamp) -> String {
    match timestamp(stamp) {
        Some(time) => time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("@{}", stamp.sec),
    }
}

/// The inverse of [`rfc3339`]; any offset is accepted.
pub fn parse_rfc3339(text: &str) -> Option<Stamp> {
    if let Some(seconds) = text.strip_prefix('@') {
        return Some(Stamp { sec: seconds.parse().ok()?, nsec: 0 });
    }
    let nanoseconds = text.parse::<Timestamp>().ok()?.as_nanosecond();
    let sec = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    Some(Stamp { sec, nsec: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()? })
}

/// A name for a run that starts at `start`: `YYYYMMDDThhmmssZ-xxxx`, the last four digits 65,536ths of the second, so
/// that names sort by time. Where one is taken, it is the next that is not.
pub fn run_id(start: Stamp, taken: impl Fn(&str) -> bool) -> io::Result<String> {
    let unusable = || io::Error::other("no usable clock for the name of a run");
    let ticks = i64::from(start.nsec) * TICKS / 1_000_000_000;
    let first = start.sec.checked_mul(TICKS).and_then(|t| t.checked_add(ticks)).ok_or_else(unusable)?;
    for tick in (first..).take(NAMES_TRIED) {
        let time = timestamp(Stamp { sec: tick.div_euclid(TICKS), nsec: 0 }).ok_or_else(unusable)?;
        let text = time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        let name = format!("{text}-{:04x}", tick.rem_euclid(TICKS));
        if !taken(&name) {
            return Ok(name);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many runs began within this second"))
}

/// Jiff counts nanoseconds of a negative time downwards, the file system always upwards.
fn timestamp(stamp: Stamp) -> Option<Timestamp> {
    let nanoseconds = i128::from(stamp.sec) * 1_000_000_000 + i128::from(stamp.nsec);
    Timestamp::from_nanosecond(nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_as_text() {
        let stamp = Stamp { sec: 1_770_091_506, nsec: 0 };
        assert_eq!(rfc3339(stamp), "2026-02-03T04:05:06Z");
        assert_eq!(rfc3339(Stamp { nsec: 500_000_000, ..stamp }), "2026-02-03T04:05:06.5Z");
        assert_eq!(rfc3339(Stamp { sec: -1, nsec: 0 }), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(Stamp { sec: i64::MAX, nsec: 0 }), "@9223372036854775807");
        assert_eq!(for_people(stamp), "2026-02-03 04:05:06");
        assert_eq!(parse_rfc3339("2026-02-03T05:05:06+01:00"), Some(stamp));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn run_names_sort_and_are_valid_file_names() {
        let id = |nsec| run_id(Stamp { sec: 1_770_091_506, nsec }, |_| false).unwrap();
        assert_eq!(id(0), "20260203T040506Z-0000");
        assert_eq!(id(999_999_999), "20260203T040506Z-ffff");
        let names: Vec<String> = (0..1000).map(|n| id(n * 1_000_000)).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "a millisecond later is another name, and a later one");
        assert!(run_id(Stamp { sec: i64::MAX, nsec: 0 }, |_| false).is_err());
        assert!(now().sec > 1_700_000_000);
    }

    #[test]
    fn a_taken_name_is_followed_by_the_next() {
        let stamp = Stamp { sec: 1_770_091_506, nsec: 999_999_999 };
        let taken = ["20260203T040506Z-ffff", "20260203T040507Z-0000"];
        assert_eq!(run_id(stamp, |name| taken.contains(&name)).unwrap(), "20260203T040507Z-0001");
        assert!(run_id(stamp, |_| true).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(sec in -60_000_000_000i64..250_000_000_000, nsec in 0u32..1_000_000_000) {
            let stamp = Stamp { sec, nsec };
            prop_assert_eq!(parse_rfc3339(&rfc3339(stamp)), Some(stamp));
        }

        #[test]
        fn any_stamp_has_a_text(sec: i64, nsec: u32) {
            let stamp = Stamp { sec, nsec };
            prop_assert!(!rfc3339(stamp).is_empty() && !for_people(stamp).is_empty());
        }
    }
}
