//! The wall clock, times as text, and names of runs.
//!
//! May not be asked by anything pure: those get the time as an argument.

use crate::model::Stamp;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;
use std::io;

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

/// A name for a run that starts at `start`: `YYYYMMDDThhmmssZ-xxxx`, which sorts by time.
pub fn run_id(start: Stamp) -> io::Result<String> {
    let mut random = [0u8; 2];
    let got = rustix::rand::getrandom(&mut random[..], GetRandomFlags::empty())?;
    let time = timestamp(start).filter(|_| got == random.len());
    let time = time.ok_or_else(|| io::Error::other("no usable clock or no randomness for the name of a run"))?;
    let text = time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
    Ok(format!("{text}-{:04x}", u16::from_be_bytes(random)))
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
        let id = run_id(Stamp { sec: 1_770_091_506, nsec: 9 }).unwrap();
        assert!(id.starts_with("20260203T040506Z-") && id.len() == 21, "{id}");
        assert!(run_id(Stamp { sec: i64::MAX, nsec: 0 }).is_err());
        assert!(now().sec > 1_700_000_000);
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
