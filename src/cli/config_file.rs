//! The configuration file: TOML with the names of the long options, tables `[store."/path"]` for one store.
//!
//! Pure: text in, values or one error with its line out. May not read files or fill in defaults.

use super::values::{Disk, IoClass, Owner, Rate, ReadFrom, Span, Spec, Undecided};
use crate::plan::budget::Budget;
use crate::source::layout::Layout;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What may be set for all stores and again for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreKeys {
    pub from: Option<Vec<Spec>>,
    pub undecided: Option<Undecided>,
    pub read_timeout: Option<Duration>,
    pub owner: Option<Owner>,
    pub quarantine: Option<PathBuf>,
    pub deep: Option<bool>,
    pub layout: Option<Layout>,
    pub attachments: Option<PathBuf>,
    pub budget: Option<Budget>,
    pub max_age: Option<Span>,
    pub bwlimit: Option<Rate>,
    pub io_class: Option<IoClass>,
    pub disk: Option<Disk>,
    pub read_from: Option<ReadFrom>,
}

/// A parsed file. `None` is what it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    pub json: Option<bool>,
    pub quiet: Option<bool>,
    pub verbose: Option<u8>,
    pub threads: Option<u16>,
    pub catalog: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub accounts: Option<Vec<String>>,
    pub accounts_file: Option<PathBuf>,
    pub mailbox: Option<Vec<String>>,
    pub backups: Option<u16>,
    pub metrics: Option<PathBuf>,
    /// For every store without a table of its own, or whose table does not say.
    pub every: StoreKeys,
    pub stores: BTreeMap<PathBuf, StoreKeys>,
}

const STORE_KEYS: [&str; 14] = [
    "from",
    "undecided",
    "read-timeout",
    "owner",
    "quarantine",
    "deep",
    "layout",
    "attachments",
    "budget",
    "max-age",
    "bwlimit",
    "io-class",
    "disk",
    "read-from",
];
const TOP_KEYS: [&str; 12] = [
    "json",
    "quiet",
    "verbose",
    "threads",
    "catalog",
    "state",
    "accounts",
    "accounts-file",
    "mailbox",
    "backups",
    "metrics",
    "store",
];
/// Options that only a person may give, at the time.
const NEVER: [&str; 9] =
    ["apply", "plan", "save-plan", "into", "write-to-sick-device", "since", "config", "reason", "older-than"];

/// A mistake and the byte of the text where it is.
struct Mistake {
    at: usize,
    what: String,
}

impl File {
    /// Parses a whole file. The error has the line and, for a name that is none, the likely one.
    pub fn parse(text: &str) -> Result<File, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            on_line(text, &Mistake { at, what: error.message().to_owned() })
        })?;
        let mut file = File::default();
        for (key, value) in table.get_ref().iter() {
            let at = key.span().start;
            let done = match key.get_ref().as_ref() {
                "store" => file.store_tables(value.get_ref(), at),
                name => file.top(name, value.get_ref()).map_err(|what| Mistake { at, what }),
            };
            done.map_err(|mistake| on_line(text, &mistake))?;
        }
        Ok(file)
    }

    fn top(&mut self, name: &str, value: &DeValue<'_>) -> Result<(), String> {
        let wrong = |what: String| format!("{name}: {what}");
        match name {
            "json" => self.json = Some(flag(value).map_err(wrong)?),
            "quiet" => self.quiet = Some(flag(value).map_err(wrong)?),
            "verbose" => self.verbose = Some(whole(value, 0, 9).map_err(wrong)? as u8),
            "threads" => self.threads = Some(whole(value, 1, 1024).map_err(wrong)? as u16),
            "catalog" => self.catalog = Some(path(value).map_err(wrong)?),
            "state" => self.state = Some(path(value).map_err(wrong)?),
            "accounts" => self.accounts = Some(list(value).map_err(wrong)?),
            "accounts-file" => self.accounts_file = Some(path(value).map_err(wrong)?),
            "backups" => self.backups = Some(whole(value, 0, 1000).map_err(wrong)? as u16),
            "metrics" => self.metrics = Some(path(value).map_err(wrong)?),
            "mailbox" => self.mailbox = Some(list(value).map_err(wrong)?),
            name => {
                if !self.every.set(name, value).map_err(wrong)? {
                    return Err(unknown(name, &[&TOP_KEYS[..], &STORE_KEYS[..]].concat()));
                }
            }
        }
        Ok(())
    }

    fn store_tables(&mut self, value: &DeValue<'_>, at: usize) -> Result<(), Mistake> {
        let wrong = |at, what: &str| Mistake { at, what: what.to_owned() };
        let DeValue::Table(tables) = value else {
            return Err(wrong(at, "store: write a table for each store, [store.\"/path\"]"));
        };
        for (store, keys) in tables.iter() {
            let at = store.span().start;
            let store = Path::new(store.get_ref().as_ref());
            let DeValue::Table(keys) = keys.get_ref() else {
                return Err(wrong(at, "store: write a table for each store, [store.\"/path\"]"));
            };
            if !store.is_absolute() {
                return Err(wrong(at, "store: give an absolute path, [store.\"/path\"]"));
            }
            let mut set = StoreKeys::default();
            for (key, value) in keys.iter() {
                let (name, at) = (key.get_ref().as_ref(), key.span().start);
                match set.set(name, value.get_ref()) {
                    Ok(true) => {}
                    Ok(false) => return Err(wrong(at, &unknown(name, &STORE_KEYS))),
                    Err(what) => return Err(wrong(at, &format!("{name}: {what}"))),
                }
            }
            // Components drop a trailing slash, so that the path compares as it was meant.
            self.stores.insert(store.components().collect(), set);
        }
        Ok(())
    }
}

impl StoreKeys {
    /// Sets one key; `false` if it is none of ours.
    fn set(&mut self, name: &str, value: &DeValue<'_>) -> Result<bool, String> {
        match name {
            "from" => self.from = Some(list(value)?.iter().map(|text| source(text)).collect::<Result<_, _>>()?),
            "undecided" => self.undecided = Some(parsed(value)?),
            "read-timeout" => self.read_timeout = Some(Duration::from_secs(whole(value, 1, 86_400)?)),
            "owner" => self.owner = Some(parsed(value)?),
            "quarantine" => self.quarantine = Some(path(value)?),
            "deep" => self.deep = Some(flag(value)?),
            "layout" => self.layout = Some(Layout::parse(&string(value)?)?),
            "attachments" => self.attachments = Some(path(value)?),
            "budget" => self.budget = Some(parsed(value)?),
            "bwlimit" => self.bwlimit = Some(parsed(value)?),
            "io-class" => self.io_class = Some(parsed(value)?),
            "disk" => self.disk = Some(parsed(value)?),
            "read-from" => self.read_from = Some(parsed(value)?),
            "max-age" => self.max_age = Some(parsed(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn string(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err("give a text in quotes".into()),
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(value: &DeValue<'_>) -> Result<T, String> {
    string(value)?.parse().map_err(|error: T::Err| error.to_string())
}

fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        _ => Err("give true or false".into()),
    }
}

fn whole(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let number = match value {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => None,
    };
    number.filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("give a number from {least} to {most}"))
}

/// One text, or a list of texts. An empty list is refused: it would read as "all" or as "none".
fn list(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let texts = match value {
        DeValue::Array(items) => items.iter().map(|item| string(item.get_ref())).collect::<Result<Vec<_>, _>>(),
        single => string(single).map(|text| vec![text]),
    };
    texts.ok().filter(|texts| !texts.is_empty()).ok_or_else(|| "give a text or a list of texts in quotes".into())
}

/// A file that every command and every cron job reads must not depend on where they were started.
fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = PathBuf::from(string(value)?);
    if path.is_absolute() { Ok(path) } else { Err("give an absolute path".into()) }
}

fn source(text: &str) -> Result<Spec, String> {
    let spec = Spec::parse(OsStr::new(text)).map_err(|error| error.to_string())?;
    if Path::new(&spec.location).is_absolute() { Ok(spec) } else { Err(format!("'{text}': give an absolute path")) }
}

fn unknown(name: &str, known: &[&str]) -> String {
    if NEVER.contains(&name) {
        return format!("'{name}' is for the command line only");
    }
    let wanted = name.replace('_', "-").to_ascii_lowercase();
    if TOP_KEYS.contains(&wanted.as_str()) && !known.contains(&wanted.as_str()) {
        return format!("'{name}' is for all stores: write it above the first [store] table");
    }
    let near = known.iter().map(|key| (distance(&wanted, key), key)).min().filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, key)) => format!("unknown key '{name}', did you mean '{key}'?"),
        None => format!("unknown key '{name}', known are {}", known.join(", ")),
    }
}

/// Edit distance: how many letters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn on_line(text: &str, mistake: &Mistake) -> String {
    let before = text.get(..mistake.at).unwrap_or(text);
    format!("line {}: {}", before.matches('\n').count() + 1, mistake.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file() {
        let file = File::parse(
            "# mail\nstate = \"/srv/state\"\nthreads = 4\nquiet = true\naccounts = [\"*@example.org\"]\n\
             from = \"/backup/daily.*\"\nread-timeout = 30\n\
             [store.\"/var/vmail/\"]\nfrom = [\"replica=/mnt/replica\", \"/backup/vmail\"]\nundecided = \"folder\"\n\
             owner = \"vmail:vmail\"\n",
        )
        .unwrap();
        assert_eq!((file.threads, file.quiet, file.json), (Some(4), Some(true), None));
        assert_eq!(file.every.from.as_ref().map(Vec::len), Some(1));
        assert_eq!(file.every.read_timeout, Some(Duration::from_secs(30)));
        let store = &file.stores[Path::new("/var/vmail")];
        assert_eq!(store.from.as_ref().map(Vec::len), Some(2));
        assert_eq!(store.undecided, Some(Undecided::Folder));
        assert_eq!(File::parse(""), Ok(File::default()));
    }

    #[test]
    fn mistakes_have_a_line_and_a_hint() {
        for (text, error) in [
            ("\n\nacounts = \"x\"", "line 3: unknown key 'acounts', did you mean 'accounts'?"),
            ("read_timeout = 3", "line 1: unknown key 'read_timeout', did you mean 'read-timeout'?"),
            ("threads = 1\napply = true", "line 2: 'apply' is for the command line only"),
            ("threads = 0", "line 1: threads: give a number from 1 to 1024"),
            ("threads = \"4\"", "line 1: threads: give a number from 1 to 1024"),
            ("quiet = 1", "line 1: quiet: give true or false"),
            ("state = \"state\"", "line 1: state: give an absolute path"),
            ("accounts = []", "line 1: accounts: give a text or a list of texts in quotes"),
            ("from = \"backup\"", "line 1: from: 'backup': give an absolute path"),
            (
                "[store.\"/m\"]\n\nundecided = \"guess\"",
                "line 3: undecided: 'guess' is none of report, restore, folder",
            ),
            (
                "[store.\"/m\"]\nthreads = 1",
                "line 2: 'threads' is for all stores: write it above the first [store] table",
            ),
            ("[store.m]\ndeep = true", "line 1: store: give an absolute path, [store.\"/path\"]"),
            ("store = 3", "line 1: store: write a table for each store, [store.\"/path\"]"),
        ] {
            assert_eq!(File::parse(text), Err(error.into()), "{text}");
        }
        assert!(File::parse("a = \n").unwrap_err().starts_with("line 1: "));
        assert!(File::parse("xyzzyplugh = 1").unwrap_err().contains("known are json, quiet"));
    }

    #[test]
    fn distances() {
        assert_eq!([distance("", "abc"), distance("abc", "abc"), distance("acounts", "accounts")], [3, 0, 1]);
    }
}
