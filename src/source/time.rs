//! When a generation was taken: the date in its name, else rsnapshot's number, else its folder's mtime.

use crate::model::Stamp;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a generation's time comes from, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Given,
    Name,
    Mtime,
}

impl Origin {
    pub fn words(self) -> &'static str {
        match self {
            Origin::Given => "given",
            Origin::Name => "from its name",
            Origin::Mtime => "from its folder's modification time",
        }
    }
}

/// The first ISO date in a folder name, with the time of day where one follows:
/// `2026-11-21`, `20261121`, `2026-11-21T0300`, `2026-11-21_03-00-15`, `GMT-2026.11.21-03.00.15`. UTC.
pub fn in_name(name: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(name).ok()?;
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|&at| at == 0 || !bytes[at - 1].is_ascii_digit()).find_map(|at| date_at(&bytes[at..]))
}

fn date_at(bytes: &[u8]) -> Option<Stamp> {
    let mut rest = bytes;
    let year = digits(&mut rest, 4)?;
    let separated = skip(&mut rest, b"-._");
    let month = digits(&mut rest, 2)?;
    if separated && !skip(&mut rest, b"-._") {
        return None;
    }
    let day = digits(&mut rest, 2)?;
    if !(1990..2200).contains(&year) {
        return None;
    }
    let mut clock = rest;
    let time = skip(&mut clock, b"T_- @").then(|| time_of_day(clock)).flatten();
    if time.is_none() && rest.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (hour, minute, second) = time.unwrap_or_default();
    let date = jiff::civil::date(year as i16, 1, 1).with().month(month as i8).day(day as i8).build().ok()?;
    let when = date.at(hour as i8, minute as i8, second as i8, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Stamp { sec: when.timestamp().as_second(), nsec: 0 })
}

fn time_of_day(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut rest = bytes;
    let hour = digits(&mut rest, 2).filter(|&h| h < 24)?;
    skip(&mut rest, b":.-_h");
    let minute = digits(&mut rest, 2).filter(|&m| m < 60)?;
    skip(&mut rest, b":.-_m");
    let second = digits(&mut rest, 2).filter(|&s| s < 60).unwrap_or(0);
    Some((hour, minute, second))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(count)?;
    let value = head.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))?;
    *rest = tail;
    Some(value)
}

fn skip(rest: &mut &[u8], any_of: &[u8]) -> bool {
    match rest.split_first() {
        Some((first, tail)) if any_of.contains(first) => {
            *rest = tail;
            true
        }
        _ => false,
    }
}

/// rsnapshot's interval and number (`daily.0` is the newest): seconds to take off the time of the newest.
pub fn rotation_age(name: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(name).ok()?;
    let (interval, number) = text.rsplit_once('.')?;
    let number: i64 = number.parse().ok().filter(|n| (0..10_000).contains(n))?;
    let (seconds, offset) = match interval {
        "hourly" | "alpha" => (3_600, 0),
        "daily" | "beta" => (86_400, 0),
        "weekly" | "gamma" => (604_800, 604_800),
        "monthly" | "delta" => (2_592_000, 2_592_000),
        "yearly" => (31_536_000, 31_536_000),
        _ => return None,
    };
    Some(number * seconds + offset)
}

/// The time of the generation whose folder is called `name` in the location and has this mtime. `newest` is
/// the newest mtime among its siblings: rotation numbers order, but do not date.
pub fn of_generation(names: &[&[u8]], mtime: Stamp, newest: Stamp) -> (Stamp, Origin) {
    if let Some(stamp) = names.iter().rev().find_map(|name| in_name(name)) {
        return (stamp, Origin::Name);
    }
    if let Some(age) = names.iter().rev().find_map(|name| rotation_age(name)) {
        return (Stamp { sec: newest.sec - age, nsec: 0 }, Origin::Name);
    }
    (mtime, Origin::Mtime)
}

/// The names in an exact path that can tell a time: its own, and a date above it, for restic and borg keep whole paths
/// below their snapshots (`snapshots/2026-11-21T03:00:00Z/var/vmail`).
pub fn telling(path: &Path) -> Vec<&[u8]> {
    let names = || path.components().rev().map(|c| c.as_os_str().as_bytes());
    let dated = names().find(|name| in_name(name).is_some());
    dated.into_iter().chain(names().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(name: &str) -> Option<String> {
        in_name(name.as_bytes()).map(|s| jiff::Timestamp::from_second(s.sec).unwrap().to_string())
    }

    #[test]
    fn dates_in_all_the_usual_spellings() {
        assert_eq!(iso("2026-11-21").unwrap(), "2026-11-21T00:00:00Z");
        assert_eq!(iso("mail-20261121").unwrap(), "2026-11-21T00:00:00Z");
        assert_eq!(iso("2026-11-21T0300").unwrap(), "2026-11-21T03:00:00Z");
        assert_eq!(iso("backup_2026-11-21_03-00-15").unwrap(), "2026-11-21T03:00:15Z");
        assert_eq!(iso("@GMT-2026.11.21-03.00.15").unwrap(), "2026-11-21T03:00:15Z");
        assert_eq!(iso("zfs-auto-snap_daily-2026-11-21-0625").unwrap(), "2026-11-21T06:25:00Z");
        assert_eq!(iso("2026-13-40"), None);
        assert_eq!(iso("daily.0"), None);
        assert_eq!(iso("12345678901"), None);
    }

    #[test]
    fn rotation_numbers_order_what_has_no_date() {
        let (mtime, newest) = (Stamp { sec: 5, nsec: 1 }, Stamp { sec: 1_000_000, nsec: 0 });
        let time = |name: &[u8]| of_generation(&[name], mtime, newest).0.sec;
        assert!(time(b"daily.0") > time(b"daily.1") && time(b"daily.6") > time(b"weekly.0"));
        assert_eq!(of_generation(&[b"replica"], mtime, newest), (mtime, Origin::Mtime));
        assert_eq!(of_generation(&[b"daily.1", b"mail"], mtime, newest).0.sec, 1_000_000 - 86_400);
    }
    #[test]
    fn an_exact_path_tells_by_a_date_above_it_but_by_no_number() {
        let time = |path: &str| {
            of_generation(&telling(Path::new(path)), Stamp { sec: 7, nsec: 0 }, Stamp { sec: 1_000_000, nsec: 0 })
        };
        let night = Stamp { sec: 1_795_230_000, nsec: 0 };
        assert_eq!(iso("2026-11-21T03:00:00Z").unwrap(), "2026-11-21T03:00:00Z");
        assert_eq!(time("/mnt/snapshots/2026-11-21T03:00:00Z/var/vmail"), (night, Origin::Name));
        assert_eq!(time("/mnt/2020-01-01/2026-11-21T03:00:00Z/vmail").0, night, "the nearest");
        assert_eq!(time("/backup/daily.1/vmail"), (Stamp { sec: 7, nsec: 0 }, Origin::Mtime));
        assert_eq!(time("/backup/daily.1").1, Origin::Name);
    }
}
