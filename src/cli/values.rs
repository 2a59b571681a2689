//! What single arguments say: a store, a source, an owner, a time, a run. The configuration file uses the
//! same forms.
//!
//! Pure: text in, value or error out. May not look whether anything exists.

use crate::model::{Format, Stamp};
use crate::plan::budget::Budget;
use jiff::tz::TimeZone;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

/// Why an argument is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("the path is empty")]
    EmptyPath,
    #[error("format '{0}' is known, not supported yet")]
    UnsupportedFormat(String),
    #[error("'{0}' is no time: give 2026-03-01 or 2026-03-01T04:00:00Z")]
    Time(String),
    #[error("'{0}' is no USER:GROUP")]
    Owner(String),
    #[error("'{0}' is no ACCOUNTSxMESSAGES such as 20x200")]
    Size(String),
    #[error("'{0}' is no name of a run")]
    Run(String),
    #[error("'{0}' is no time such as 90m, 36h or 8d, nor 'off'")]
    Span(String),
    #[error("'{0}' is no budget such as 2h, 20% or 50GB")]
    Budget(String),
    #[error("'{0}' is no rate such as 500k, 20M or 1.5G (bytes a second)")]
    Rate(String),
    #[error("'{0}' is none of normal, idle")]
    IoClass(String),
    #[error("'{0}' is none of auto, flash, spindle")]
    Disk(String),
    #[error("'{0}' is neither disk nor cache")]
    ReadFrom(String),
    #[error("'{0}' is no number, nor 'off'")]
    Most(String),
    #[error("'{0}' is none of report, restore, folder")]
    Undecided(String),
}

/// Formats that are recognised by name, to be refused by name.
const UNSUPPORTED: [&str; 2] = ["dbox", "cyrus"];

/// A length of time, in seconds; `None` for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Option<u64>);

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Span, BadValue> {
        let bad = || BadValue::Span(text.to_owned());
        if text == "off" {
            return Ok(Span(None));
        }
        let (digits, unit) = match text.char_indices().last() {
            Some((at, unit)) if !unit.is_ascii_digit() => (&text[..at], unit),
            _ => return Err(bad()),
        };
        let unit = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return Err(bad()),
        };
        let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        number.checked_mul(unit).map(|seconds| Span(Some(seconds))).ok_or_else(bad)
    }
}

impl FromStr for Budget {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Budget, BadValue> {
        let bad = || BadValue::Budget(text.to_owned());
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (digits, unit) = text.split_at(at);
        let number: f64 = digits.parse().ok().filter(|n| *n > 0.0 && *n < 1e12).ok_or_else(bad)?;
        // A part of a second, of a byte or of a thousandth would be a budget of nothing.
        let of = |unit: f64| (number * unit).ceil();
        Ok(match unit {
            "s" | "m" | "h" | "d" => {
                let unit = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)].into_iter().find(|u| u.0 == unit);
                Budget::Time(of(unit.ok_or_else(bad)?.1) as u64)
            }
            "%" if number <= 100.0 => Budget::Share(of(10.0) as u32),
            "B" => Budget::Bytes(of(1.0) as u64),
            "kB" | "KB" => Budget::Bytes(of(1e3) as u64),
            "MB" => Budget::Bytes(of(1e6) as u64),
            "GB" => Budget::Bytes(of(1e9) as u64),
            "TB" => Budget::Bytes(of(1e12) as u64),
            _ => return Err(bad()),
        })
    }
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Rate, BadValue> {
        let bad = || BadValue::Rate(text.to_owned());
        // 20M, 20MB and 20MB/s are one; a bare number could be meant in rsync's kilobytes, and is refused.
        let text = text.strip_suffix("/s").unwrap_or(text);
        let text = text.strip_suffix('B').unwrap_or(text);
        let (digits, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
        let unit = match unit {
            "k" | "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            _ => return Err(bad()),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = Some(digits).filter(|_| plain).and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let rate = number * unit;
        if (1.0..=1e15).contains(&rate) { Ok(Rate(rate as u64)) } else { Err(bad()) }
    }
}

/// Where the bytes of messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReadFrom {
    /// Past the cache, so that the disk is tested and the server's cache stays as it is
    Disk,
    /// Through the cache, which answers for what it holds
    Cache,
}

impl FromStr for ReadFrom {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<ReadFrom, BadValue> {
        match text {
            "disk" => Ok(ReadFrom::Disk),
            "cache" => Ok(ReadFrom::Cache),
            _ => Err(BadValue::ReadFrom(text.to_owned())),
        }
    }
}

/// How much the disks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum IoClass {
    /// As fast as they go
    Normal,
    /// In the idle I/O class, and slower while others move data on the store's disks
    Idle,
}

impl FromStr for IoClass {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<IoClass, BadValue> {
        match text {
            "normal" => Ok(IoClass::Normal),
            "idle" => Ok(IoClass::Idle),
            _ => Err(BadValue::IoClass(text.to_owned())),
        }
    }
}

/// What the store's disk is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Disk {
    /// Measured: by how long reads take here and there
    #[default]
    Auto,
    /// Several readers, in the order of the mailboxes
    Flash,
    /// One reader, in the order in which messages lie on the disk
    Spindle,
}

impl FromStr for Disk {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Disk, BadValue> {
        match text {
            "auto" => Ok(Disk::Auto),
            "flash" => Ok(Disk::Flash),
            "spindle" => Ok(Disk::Spindle),
            _ => Err(BadValue::Disk(text.to_owned())),
        }
    }
}

/// The highest number that is still well; `None` for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most(pub Option<u64>);

impl FromStr for Most {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Most, BadValue> {
        if text == "off" {
            return Ok(Most(None));
        }
        text.parse().map(|number| Most(Some(number))).map_err(|_| BadValue::Most(text.to_owned()))
    }
}

/// `[FORMAT:]PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreArg {
    /// `None`: to be detected.
    pub format: Option<Format>,
    pub path: PathBuf,
    /// As typed.
    pub given: OsString,
}

impl StoreArg {
    /// What stands before the first colon counts as a format only if it is the name of one.
    pub fn parse(text: &OsStr) -> Result<StoreArg, BadValue> {
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|&b| b == b':');
        let (prefix, rest) = match colon {
            Some(at) => (&bytes[..at], &bytes[at + 1..]),
            None => (&b""[..], bytes),
        };
        let prefix = std::str::from_utf8(prefix).unwrap_or("").to_ascii_lowercase();
        if UNSUPPORTED.contains(&prefix.as_str()) {
            return Err(BadValue::UnsupportedFormat(prefix));
        }
        let format = Format::ALL.into_iter().find(|format| format.name() == prefix);
        let path = if format.is_some() { rest } else { bytes };
        if path.is_empty() {
            return Err(BadValue::EmptyPath);
        }
        Ok(StoreArg { format, path: PathBuf::from(OsStr::from_bytes(path)), given: text.to_owned() })
    }
}

/// `[NAME[@TIME]=]LOCATION`: where copies can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: Option<String>,
    /// When the content was taken, if it was said.
    pub time: Option<Stamp>,
    /// Bytes of a path or a pattern; `{account}` in it is still to be replaced.
    pub location: OsString,
    /// The location holds `*`, `?` or `[`.
    pub pattern: bool,
    /// As typed.
    pub given: OsString,
}

impl Spec {
    /// NAME is letters, digits, `_`, `.` and `-`; whatever else stands before a `=` belongs to LOCATION
    /// (`./a=b` names the file `a=b`).
    pub fn parse(text: &OsStr) -> Result<Spec, BadValue> {
        let bytes = text.as_bytes();
        let (name, time, location) = match split_name(bytes) {
            Some((name, time, rest)) => (Some(name.to_owned()), time.map(parse_time).transpose()?, rest),
            None => (None, None, bytes),
        };
        if location.is_empty() {
            return Err(BadValue::EmptyPath);
        }
        Ok(Spec {
            name,
            time,
            location: OsString::from_vec(location.to_vec()),
            pattern: location.iter().any(|b| b"*?[".contains(b)),
            given: text.to_owned(),
        })
    }
}

/// Splits `NAME[@TIME]=REST`; `None` where no NAME stands before the first `=`.
fn split_name(bytes: &[u8]) -> Option<(&str, Option<&str>, &[u8])> {
    let equals = bytes.iter().position(|&b| b == b'=')?;
    let before = std::str::from_utf8(&bytes[..equals]).ok()?;
    let (name, time) = match before.split_once('@') {
        Some((name, time)) => (name, Some(time)),
        None => (before, None),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let is_time = time.is_none_or(|time| !time.contains('/'));
    (is_name && is_time).then(|| (name, time, &bytes[equals + 1..]))
}

/// A date or a time; UTC unless it carries an offset.
pub fn parse_time(text: &str) -> Result<Stamp, BadValue> {
    let bad = || BadValue::Time(text.to_owned());
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let civil: jiff::civil::DateTime = text.parse().map_err(|_| bad())?;
            civil.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp()
        }
    };
    // Nanoseconds count forward in a Stamp, also before 1970.
    let nanos = time.as_nanosecond();
    let sec = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| bad())?;
    let nsec = u32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(|_| bad())?;
    Ok(Stamp { sec, nsec })
}

/// What becomes of messages of which nothing tells whether they were lost or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Undecided {
    /// Name them and leave them
    #[default]
    Report,
    /// Put them back where they were
    Restore,
    /// Put them into a new mailbox Recovered.DATE
    Folder,
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Undecided::Report => "report",
            Undecided::Restore => "restore",
            Undecided::Folder => "folder",
        })
    }
}

impl FromStr for Undecided {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Undecided, BadValue> {
        match text {
            "report" => Ok(Undecided::Report),
            "restore" => Ok(Undecided::Restore),
            "folder" => Ok(Undecided::Folder),
            _ => Err(BadValue::Undecided(text.to_owned())),
        }
    }
}

/// A user or a group, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Number(u32),
    Name(String),
}

/// `USER:GROUP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub user: Id,
    pub group: Id,
}

impl FromStr for Owner {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Owner, BadValue> {
        let bad = || BadValue::Owner(text.to_owned());
        let (user, group) = text.split_once(':').ok_or_else(bad)?;
        Ok(Owner { user: id(user).ok_or_else(bad)?, group: id(group).ok_or_else(bad)? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Name(name) => f.write_str(name),
        }
    }
}

/// A number that chown would take as "leave it" is no owner.
fn id(text: &str) -> Option<Id> {
    if text.is_empty() || text.contains([':', '/']) || text.chars().any(char::is_control) {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|&n| n != u32::MAX).map(Id::Number);
    }
    Some(Id::Name(text.to_owned()))
}

/// `ACCOUNTSxMESSAGES`: how much the drill builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub accounts: u32,
    /// In each account.
    pub messages: u32,
}

impl FromStr for Size {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Size, BadValue> {
        let parts = text.split_once('x').and_then(|(a, m)| Some((a.parse().ok()?, m.parse().ok()?)));
        match parts {
            Some((accounts, messages)) if (1..=100_000).contains(&accounts) && (1..=10_000_000).contains(&messages) => {
                Ok(Size { accounts, messages })
            }
            _ => Err(BadValue::Size(text.to_owned())),
        }
    }
}

/// The name of a run: a plain file name, for it becomes one in the state folder.
pub fn run_id(text: &str) -> Result<String, BadValue> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if plain && (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) {
        Ok(text.to_owned())
    } else {
        Err(BadValue::Run(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<Spec, BadValue> {
        Spec::parse(OsStr::new(text))
    }

    #[test]
    fn a_source_has_a_name_a_time_and_a_location() {
        let plain = spec("/backup/daily.0").unwrap();
        assert_eq!((plain.name, plain.time, plain.pattern), (None, None, false));
        let named = spec("replica=/mnt/replica").unwrap();
        assert_eq!((named.name.as_deref(), named.location.to_str()), (Some("replica"), Some("/mnt/replica")));
        let timed = spec("old@2026-03-01=/mnt/old").unwrap();
        assert_eq!(timed.time, Some(Stamp { sec: 1_772_323_200, nsec: 0 }));
        assert_eq!(timed.name.as_deref(), Some("old"));
        assert!(spec("/backup/daily.*").unwrap().pattern);
        assert!(spec("x=/backup/[0-9]").unwrap().pattern);
        assert!(!spec("/backup/{account}/daily").unwrap().pattern);
    }

    #[test]
    fn rates_have_a_unit() {
        for (text, rate) in [("20M", 20_000_000), ("500k", 500_000), ("1.5G", 1_500_000_000), ("2MB/s", 2_000_000)] {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        for text in ["", "20", "M", "0M", "-1M", "20 M", "1e3M", "20Q", "M20", "0.0001k", "99999999G", "20µ", "infM"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn budgets_are_times_shares_or_bytes() {
        for (text, budget) in [
            ("2h", Budget::Time(7200)),
            ("90m", Budget::Time(5400)),
            ("20%", Budget::Share(200)),
            ("2.5%", Budget::Share(25)),
            ("0.01%", Budget::Share(1)),
            ("50GB", Budget::Bytes(50_000_000_000)),
            ("1.5TB", Budget::Bytes(1_500_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(budget), "{text}");
        }
        for bad in ["", "2", "0h", "101%", "50G", "-1h", "h", "1.2.3h", "2 h", "off", "1e3h"] {
            assert_eq!(bad.parse::<Budget>(), Err(BadValue::Budget(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn an_equals_sign_in_a_location_stays_there() {
        for (text, location) in
            [("/backup/a=b", "/backup/a=b"), ("./a=b", "./a=b"), ("x=/a=b/c", "/a=b/c"), ("a b=/c", "a b=/c")]
        {
            assert_eq!(spec(text).unwrap().location.to_str(), Some(location), "{text}");
        }
        assert_eq!(spec("x="), Err(BadValue::EmptyPath));
        assert_eq!(spec(""), Err(BadValue::EmptyPath));
        assert_eq!(spec("x@yesterday=/b"), Err(BadValue::Time("yesterday".into())));
        let raw = OsStr::from_bytes(b"n=/b/\xff");
        assert_eq!(Spec::parse(raw).unwrap().location.as_bytes(), b"/b/\xff");
    }

    #[test]
    fn formats_are_detected_forced_or_refused_by_name() {
        let store = |text: &str| StoreArg::parse(OsStr::new(text));
        assert_eq!(store("/var/vmail").unwrap().format, None);
        let forced = store("maildir:/var/vmail").unwrap();
        assert_eq!((forced.format, forced.path), (Some(Format::Maildir), PathBuf::from("/var/vmail")));
        assert_eq!(store("/var/a:b").unwrap().path, PathBuf::from("/var/a:b"));
        assert_eq!(store("dbox:/m"), Err(BadValue::UnsupportedFormat("dbox".into())));
        assert_eq!(
            store("CYRUS:/m").unwrap_err().to_string(),
            "format 'cyrus' is known, not supported yet",
            "refused by name, whatever its case"
        );
        assert_eq!(store("maildir:"), Err(BadValue::EmptyPath));
    }

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        assert_eq!(parse_time("1970-01-02").unwrap(), Stamp { sec: 86_400, nsec: 0 });
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00").unwrap(), Stamp { sec: 0, nsec: 0 });
        assert_eq!(parse_time("1970-01-01 00:00:01").unwrap(), Stamp { sec: 1, nsec: 0 });
        assert_eq!(parse_time("1969-12-31T23:59:59.5Z").unwrap(), Stamp { sec: -1, nsec: 500_000_000 });
        assert!(parse_time("tomorrow").is_err());
    }

    #[test]
    fn owners_sizes_and_runs() {
        assert_eq!(
            "vmail:5000".parse::<Owner>(),
            Ok(Owner { user: Id::Name("vmail".into()), group: Id::Number(5000) })
        );
        for bad in ["vmail", "vmail:", ":5", "4294967295:0", "99999999999:1", "a:b:c"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
        assert_eq!("20x200".parse::<Size>(), Ok(Size { accounts: 20, messages: 200 }));
        assert!("0x5".parse::<Size>().is_err() && "20".parse::<Size>().is_err());
        assert!(run_id("20260301T040000Z-1a2b").is_ok());
        for bad in ["", "../x", "a/b", ".hidden", "-x", "a b"] {
            assert!(run_id(bad).is_err(), "{bad}");
        }
    }
}
