//! The line that begins each message of an mbox: `From SENDER  DATE`, the date as `asctime` writes it.
//!
//! Pure. Takes what mail software of forty years wrote, and no sentence that merely begins with "From".

use crate::model::Zone;

/// A longer line is none.
pub const LINE_MAX: usize = 1024;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// When the message was received, as the line says it. Netscape's lines say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Seconds since 1970, as if the clock that wrote it showed UTC.
    pub local: Option<i64>,
    /// Seconds east of UTC, where the line says so.
    pub zone: Option<i64>,
}

impl Received {
    /// Seconds since 1970; `zone` is the clock's that wrote it, where the line does not tell.
    pub fn at(self, zone: &Zone) -> Option<i64> {
        let local = self.local?;
        Some(self.zone.map_or_else(|| zone.to_utc(local), |zone| local - zone))
    }
}

/// Reads a line, with or without its end; `None` where it is no such line.
pub fn parse(line: &[u8]) -> Option<Received> {
    let rest = line.strip_prefix(b"From ")?;
    if rest.trim_ascii() == b"-" {
        return Some(Received { local: None, zone: None });
    }
    date(rest)
}

/// Whom a line names as the sender.
pub fn sender(line: &[u8]) -> Option<&[u8]> {
    parse(line)?;
    let rest = line.strip_prefix(b"From ")?;
    let dated = |day: &&str| memchr::memmem::rfind(rest, &[b" ", day.as_bytes()].concat());
    let at = DAYS.iter().filter_map(dated).max()?;
    Some(rest[..at].trim_ascii()).filter(|sender| !sender.is_empty())
}

/// Whether the sender that a line names is one: an address, or what stands for none.
pub fn names_sender(line: &[u8]) -> bool {
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).skip(1);
    let sender = words.next().unwrap_or_default();
    let then = words.next().unwrap_or_default();
    let dated = DAYS.iter().any(|day| then.starts_with(day.as_bytes()));
    dated && (sender == b"-" || sender == b"MAILER-DAEMON" || sender.contains(&b'@'))
}

/// Whether a line looks as if it had been one, and a few of its bytes were changed: a date where none belongs, or the
/// first word before what may have been one. Proves nothing by itself.
pub fn resembles(line: &[u8]) -> bool {
    let close = |word: &[u8]| word.iter().zip(b"From ").filter(|(a, b)| a != b).count() <= 2;
    match line.split_at_checked(5) {
        Some((word, rest)) => close(word) && (word == b"From " || date(rest).is_some()),
        None => false,
    }
}

/// The date at the end of a line, behind whatever stands for the sender.
fn date(rest: &[u8]) -> Option<Received> {
    if rest.len() > LINE_MAX {
        return None;
    }
    let rest = rest.trim_ascii_end();
    let words: Vec<&str> = rest
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        // What is no ASCII is somebody's name.
        .map(|word| if word.is_ascii() { std::str::from_utf8(word).unwrap_or("?") } else { "?" })
        .collect();
    (0..words.len()).rev().find_map(|at| dated(&words[at..]))
}

/// A date that begins with the day of the week and ends the line: `Mon Jan  1 00:00:00 2024`, with a zone on either side
/// of the year or none, or `remote from HOST` behind it.
fn dated(words: &[&str]) -> Option<Received> {
    let day_name = words.first()?.trim_end_matches(',');
    DAYS.iter().find(|day| day.eq_ignore_ascii_case(day_name))?;
    let [first, second, time, rest @ ..] = words.get(1..)? else { return None };
    // Some wrote the month behind the day.
    let (month, day) = match month(first) {
        Some(month) => (month, *second),
        None => (month(second)?, *first),
    };
    let day = number(day, 2).filter(|day| (1..=31).contains(day))?;
    let (seconds, rest) = match clock(time) {
        Some(seconds) => (seconds, rest),
        // `Mon, 1 Jan 2024 00:00:00 +0000`
        None => {
            let [time, rest @ ..] = rest else { return None };
            return finish(year(words.get(3)?)?, month, day, clock(time)?, rest);
        }
    };
    let at = rest.iter().position(|word| year(word).is_some())?;
    let (before, after) = (&rest[..at], &rest[at + 1..]);
    let zones = [before, after].concat();
    finish(year(rest[at])?, month, day, seconds, &zones)
}

/// `rest`: the words that are neither day nor time.
fn finish(year: i64, month: i64, day: i64, seconds: i64, rest: &[&str]) -> Option<Received> {
    let rest = match rest.iter().position(|word| *word == "remote") {
        Some(at) if rest.get(at + 1) == Some(&"from") => &rest[..at],
        _ => rest,
    };
    if rest.len() > 2 || !rest.iter().all(|word| zone_like(word)) {
        return None;
    }
    let zone = rest.iter().find_map(|word| offset(word));
    Some(Received { local: Some(days(year, month, day) * 86_400 + seconds), zone })
}

fn month(word: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(word))?;
    Some(at as i64 + 1)
}

fn number(word: &str, most: usize) -> Option<i64> {
    let digits = !word.is_empty() && word.len() <= most && word.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten()
}

fn year(word: &str) -> Option<i64> {
    number(word, 4).filter(|year| word.len() == 4 && (1970..=2200).contains(year))
}

/// `hh:mm` or `hh:mm:ss`, in seconds.
fn clock(word: &str) -> Option<i64> {
    let mut parts = word.split(':').map(|part| number(part, 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    let sound = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    sound.then_some(hour * 3600 + minute * 60 + second)
}

fn zone_like(word: &str) -> bool {
    let name = word.trim_matches(['(', ')']);
    let named = !name.is_empty() && name.len() <= 5 && name.bytes().all(|byte| byte.is_ascii_uppercase());
    named || offset(word).is_some()
}

/// Seconds east of UTC of `+hhmm`, and of the names that mean UTC.
fn offset(word: &str) -> Option<i64> {
    if matches!(word, "UTC" | "GMT" | "UT" | "Z") {
        return Some(0);
    }
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = number(digits, 4).filter(|_| digits.len() == 4)?;
    let (hours, minutes) = (digits / 100, digits % 100);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The line for a message received at `local` seconds since 1970 on the clock of whoever reads it.
pub fn write(sender: &[u8], local: i64) -> Vec<u8> {
    let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month_day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = years + era * 400 + i64::from(month < 2);
    let text = format!(
        "  {} {} {month_day:2} {:02}:{:02}:{:02} {year}\n",
        DAYS[(day + 4).rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    [b"From ", sender, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_forty_years_are_read() {
        let at = Some(Received { local: Some(1_704_067_199), zone: None });
        for line in [
            "From ann@example.org  Sun Dec 31 23:59:59 2023\n",
            "From ann at example.org  Sun Dec 31 23:59:59 2023\r\n",
            "From - Sun Dec 31 23:59:59 2023",
            "From MAILER-DAEMON Sun Dec 31 23:59:59 EST 2023",
            "From a!b!c Sun Dec 31 23:59:59 2023 remote from host",
            "From \"B\u{e4}rbel M\" Sun Dec 31 23:59:59 MET DST 2023",
        ] {
            assert_eq!(parse(line.as_bytes()), at, "{line}");
        }
        let zoned = parse(b"From x@y Sun Dec 31 23:59:59 2023 +0130\n").unwrap();
        let (utc, east) = (Zone::utc(), Zone::new("+02:00", 7200, Vec::new()));
        assert_eq!([&utc, &east].map(|zone| zoned.at(zone)), [Some(1_704_067_199 - 5400); 2]);
        let greenwich = parse(b"From x@y Sun, 31 Dec 2023 23:59:59 GMT");
        assert_eq!(greenwich.and_then(|r| r.at(&east)), Some(1_704_067_199));
        let first = parse(b"From x@y Thu Jan  1 00:00 1970").unwrap();
        assert_eq!([&utc, &east].map(|zone| first.at(zone)), [Some(0), Some(-7200)]);
    }

    #[test]
    fn sentences_are_none() {
        for line in [
            "From now on, Mon Jan 1 is a holiday",
            "From ann@example.org",
            "From x Mon Jan 32 00:00:00 2024",
            "From x Mon Jan 1 24:00:00 2024",
            "From x Mon Jan 1 10:00:00 2024 I was away",
            "from x Mon Jan  1 00:00:00 2024",
            ">From x Mon Jan  1 00:00:00 2024",
            "From: x Mon Jan  1 00:00:00 2024",
            "",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn lines_that_were_one_resemble_it() {
        let line = b"From ann@example.org  Sun Dec 31 23:59:59 2023";
        for bit in 0..line.len() * 8 {
            let mut harmed = line.to_vec();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert!(resembles(&harmed), "{:?}", String::from_utf8_lossy(&harmed));
        }
        assert!(!resembles(b"Subject: Sun Dec 31 23:59:59 2023") && !resembles(b"") && !resembles(b"Tomb x y"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(local in 0i64..7_000_000_000) {
            let line = write(b"ann@example.org", local);
            prop_assert_eq!(parse(&line), Some(Received { local: Some(local), zone: None }));
            prop_assert_eq!(sender(&line), Some(&b"ann@example.org"[..]));
        }

        #[test]
        fn nothing_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&[b"From ", &line[..]].concat());
            resembles(&line);
        }
    }
}
