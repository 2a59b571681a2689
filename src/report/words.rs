//! Numbers, sizes, times and commands as people read and type them.
//!
//! Pure: no locale, no time zone but UTC.

use crate::model::Stamp;
use crate::model::path::is_invisible;

/// `1234567` as `1,234,567`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`, `3 mailboxes`, `4 copies`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{} {}", number(n), plural(noun)) }
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with(['x', 's']) => format!("{noun}es"),
        None => format!("{noun}s"),
    }
}

/// Bytes in powers of ten.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A span of time, in the two largest units.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, whole / 3600) {
        (0, 0) => format!("{minutes} min {} s", whole % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// RFC 3339 in UTC; `None` where the stamp is outside the calendar (a damaged inode says anything).
pub fn rfc3339(stamp: Stamp) -> Option<String> {
    timestamp(stamp).map(|time| time.to_string())
}

/// `2026-03-01 04:05`, UTC.
pub fn minute(stamp: Stamp) -> Option<String> {
    timestamp(stamp).map(|time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

fn timestamp(stamp: Stamp) -> Option<jiff::Timestamp> {
    let nanos = i128::from(stamp.sec) * 1_000_000_000 + i128::from(stamp.nsec);
    jiff::Timestamp::from_nanosecond(nanos).ok()
}

/// The exit status in words.
pub fn exit(status: u8) -> String {
    const BITS: [(u8, &str); 5] = [
        (1, "damage found and all of it repaired"),
        (4, "damage, loss or undecided messages remain"),
        (8, "not everything could be checked or done"),
        (16, "usage or configuration error, nothing done"),
        (32, "interrupted"),
    ];
    if status == 0 {
        return "all whole".into();
    }
    let words: Vec<&str> = BITS.iter().filter(|(bit, _)| status & bit != 0).map(|&(_, words)| words).collect();
    words.join("; ")
}

/// One argument as a shell takes it: bare where it may be, else quoted, so that no pattern expands and no
/// control character reaches a terminal.
pub fn quote(argument: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !argument.is_empty() && argument.chars().all(bare) {
        return argument.to_owned();
    }
    if !argument.chars().any(|c| c.is_control() || is_invisible(c)) {
        return format!("'{}'", argument.replace('\'', r"'\''"));
    }
    let mut text = String::from("$'");
    for c in argument.chars() {
        if c.is_control() || is_invisible(c) {
            let mut buffer = [0; 4];
            c.encode_utf8(&mut buffer).bytes().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        } else {
            if matches!(c, '\'' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nouns() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, u64::MAX].map(number),
            ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"].map(String::from)
        );
        assert_eq!(count(1, "message"), "1 message");
        assert_eq!(count(0, "message"), "0 messages");
        assert_eq!(count(2000, "mailbox"), "2,000 mailboxes");
        assert_eq!(count(2, "copy"), "2 copies");
    }

    #[test]
    fn sizes_and_spans() {
        assert_eq!(
            [0, 999, 1000, 612_340_000, 999_960, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "612.3 MB", "1.0 MB", "18.4 EB"].map(String::from)
        );
        assert_eq!(
            [0.04, 59.96, 243.2, 7500.0, 100_000.0, f64::NAN].map(duration),
            ["0.0 s", "1 min 0 s", "4 min 3 s", "2 h 5 min", "1 d 3 h", "?"].map(String::from)
        );
    }

    #[test]
    fn times_are_utc_and_impossible_ones_are_none() {
        let stamp = Stamp { sec: 1_772_323_200, nsec: 500_000_000 };
        assert_eq!(rfc3339(stamp).as_deref(), Some("2026-03-01T00:00:00.5Z"));
        assert_eq!(minute(stamp).as_deref(), Some("2026-03-01 00:00"));
        assert_eq!(rfc3339(Stamp { sec: i64::MAX, nsec: u32::MAX }), None);
        assert_eq!(rfc3339(Stamp { sec: i64::MIN, nsec: 0 }), None);
    }

    #[test]
    fn every_status_has_words() {
        assert_eq!(exit(0), "all whole");
        assert_eq!(exit(12), "damage, loss or undecided messages remain; not everything could be checked or done");
        assert_eq!(exit(33), "damage found and all of it repaired; interrupted");
    }

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(quote("/backup/daily.0"), "/backup/daily.0");
        assert_eq!(quote("/backup/daily.*"), "'/backup/daily.*'");
        assert_eq!(quote("a'b"), r"'a'\''b'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a\u{1b}[2J'"), r"$'a\x1b[2J\''");
    }
}
