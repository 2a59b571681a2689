//! Time zones by name, from the system's database.
//!
//! May not be asked by anything pure: that gets a table.

use crate::model::Zone;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// The years that a table covers: before them nobody wrote mail, behind them rules may have changed.
const FROM: i64 = 0;
const TO: i64 = 4_102_444_800;

/// The zone that this system is set to; UTC where that cannot be known.
pub fn local() -> Zone {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let name = zone.iana_name().unwrap_or("local").to_owned();
    table(&name, &zone)
}

/// An IANA name, `+hh:mm` or `local`.
pub fn named(text: &str) -> Option<Zone> {
    if text == "local" {
        return Some(local());
    }
    if let Some(offset) = offset(text) {
        return Some(Zone::new(text, offset.seconds(), Vec::new()));
    }
    TimeZone::get(text).ok().map(|zone| table(text, &zone))
}

/// `+hh:mm` or `-hh:mm`.
fn offset(text: &str) -> Option<Offset> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let number = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u8>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)).ok()
}

fn table(name: &str, zone: &TimeZone) -> Zone {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
    let first = zone.to_offset(at(FROM)).seconds();
    let changes = zone.following(at(FROM)).map(|change| (change.timestamp().as_second(), change.offset().seconds()));
    Zone::new(name, first, changes.take_while(|(from, _)| *from < TO).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_offset() {
        assert_eq!(named("+05:30").map(|zone| zone.to_utc(19_800)), Some(0));
        assert_eq!(named("-01:00").map(|zone| zone.to_utc(0)), Some(3600));
        for odd in ["Europe/Atlantis", "", "+5", "+05:99", "+99:00", "+0a:00", "+é:00", "05:30"] {
            assert_eq!(named(odd), None, "{odd}");
        }
        assert!(named("local").is_some_and(|zone| !zone.name.is_empty()));
    }

    #[test]
    fn summers_have_their_own_hour() {
        let Some(berlin) = named("Europe/Berlin") else {
            assert!(std::env::var_os("CI").is_none(), "no database of time zones here: install tzdata");
            eprintln!("not tested: no database of time zones here (tzdata)");
            return;
        };
        // 2024-01-01 12:00 and 2024-07-01 12:00 by the clock of Berlin.
        assert_eq!((berlin.to_utc(1_704_110_400), berlin.to_utc(1_719_835_200)), (1_704_106_800, 1_719_828_000));
        assert_eq!(berlin.name, "Europe/Berlin");
    }
}
