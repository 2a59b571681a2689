//! Metrics in Prometheus' text format, for node_exporter's textfile collector.
//!
//! Pure. Labels are the store and its device, never an account or an address: names of people do not belong into
//! a monitoring system, and their number has no bound.

use crate::model::tally::Tally;
use crate::model::{Assurance, Stamp};
use std::fmt::Write as _;

/// What is known of one store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Store {
    pub path: String,
    /// What the kernel calls the file system's device.
    pub device: String,
    /// Of the last run that looked at it and ended.
    pub run: Option<Run>,
    /// When the last verify ended that looked at everything it was asked for.
    pub verified: Option<Stamp>,
    /// The oldest proof of a message that is there.
    pub oldest: Option<Stamp>,
    pub never_verified: Option<u64>,
    /// Harm on record that nobody accepted: damaged, unreadable, lost, undecided; and what was accepted.
    pub open: Option<[u64; 4]>,
    pub accepted: Option<u64>,
    /// Of all runs on record.
    pub runs_total: u64,
    pub read_errors_total: u64,
    pub read_bytes_total: u64,
    pub filesystem_errors: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    pub began: Stamp,
    pub ended: Stamp,
    pub exit: u8,
    pub tally: Tally,
}

/// What is known of the catalog itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    pub bytes: Option<u64>,
    /// Of the newest copy beside it.
    pub backup: Option<Stamp>,
}

/// One metric: its name without the prefix, type, help, and a line for each store that has it.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

/// The whole file.
pub fn text(stores: &[Store], catalog: &Catalog) -> String {
    let mut families = Vec::new();
    from_runs(stores, &mut families);
    from_records(stores, &mut families);
    let mut single = |name, help, value: Option<f64>| {
        let samples = value.map(|value| (String::new(), value)).into_iter().collect();
        families.push(Family { name, kind: "gauge", help, samples });
    };
    single("catalog_size_bytes", "Size of the catalog.", catalog.bytes.map(|bytes| bytes as f64));
    single(
        "catalog_backup_timestamp_seconds",
        "Time of the newest backup of the catalog.",
        catalog.backup.map(seconds),
    );
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP mailmend_{} {}", family.name, family.help);
        let _ = writeln!(text, "# TYPE mailmend_{} {}", family.name, family.kind);
        for (labels, value) in &family.samples {
            let _ = writeln!(text, "mailmend_{}{labels} {value}", family.name);
        }
    }
    text
}

fn seconds(stamp: Stamp) -> f64 {
    stamp.sec as f64 + f64::from(stamp.nsec) / 1e9
}

fn from_runs(stores: &[Store], families: &mut Vec<Family>) {
    let mut gauge = |name, help, value: &dyn Fn(&Run) -> f64| {
        let samples = stores.iter().filter_map(|s| s.run.as_ref().map(|run| (labels(s, &[]), value(run)))).collect();
        families.push(Family { name, kind: "gauge", help, samples });
    };
    gauge("run_start_timestamp_seconds", "When the last run began.", &|run| seconds(run.began));
    gauge("run_end_timestamp_seconds", "When the last run ended.", &|run| seconds(run.ended));
    gauge("run_exit_status", "Exit status of the last run: 0 is well, its bits are in mailmend(1).", &|run| {
        f64::from(run.exit)
    });
    gauge("accounts", "Accounts that the last run looked at.", &|run| run.tally.accounts as f64);
    gauge("accounts_affected", "Accounts with damage or loss in the last run.", &|run| {
        run.tally.accounts_affected as f64
    });
    gauge("mailboxes", "Mailboxes that the last run looked at.", &|run| run.tally.mailboxes as f64);
    gauge("messages", "Messages that the last run looked at.", &|run| run.tally.messages as f64);
    gauge("read_bytes", "Bytes of messages that the last run read.", &|run| run.tally.bytes as f64);
    gauge("suspect_messages", "Messages that are odd without proof of damage.", &|run| run.tally.suspect as f64);
    gauge("undetermined_messages", "Messages that could not be judged.", &|run| run.tally.undetermined as f64);
    gauge("not_checked", "What should have been checked and could not be.", &|run| run.tally.not_checked as f64);
    gauge("deferred_messages", "Messages left for a later night.", &|run| run.tally.deferred as f64);
    gauge("server_files_lost", "Files of the mail server that are lost or broken.", &|run| {
        run.tally.companions_lost as f64
    });
    gauge("own_errors", "Errors of mailmend itself.", &|run| run.tally.own_errors as f64);
    let intact = |store: &Store| {
        let run = store.run.as_ref()?;
        let each = Assurance::ALL.into_iter().zip(run.tally.intact);
        Some(each.map(|(how, n)| (labels(store, &[("assurance", how.name())]), n as f64)).collect::<Vec<_>>())
    };
    let samples = stores.iter().filter_map(intact).flatten().collect();
    let help = "Whole messages, by how surely.";
    families.push(Family { name: "intact_messages", kind: "gauge", help, samples });
}

fn from_records(stores: &[Store], families: &mut Vec<Family>) {
    let mut add = |name, kind, help, value: &dyn Fn(&Store) -> Option<f64>, device: bool| {
        let labels = |s: &Store| {
            if device && !s.device.is_empty() { labels(s, &[("device", &s.device)]) } else { labels(s, &[]) }
        };
        let samples = stores.iter().filter_map(|s| value(s).map(|value| (labels(s), value))).collect();
        families.push(Family { name, kind, help, samples });
    };
    let count = |n: Option<u64>| n.map(|n| n as f64);
    add(
        "verified_timestamp_seconds",
        "gauge",
        "When the last complete verify ended.",
        &|s| s.verified.map(seconds),
        false,
    );
    add(
        "oldest_verified_timestamp_seconds",
        "gauge",
        "Every message on record was proven whole since.",
        &|s| s.oldest.map(seconds),
        false,
    );
    add("never_verified_messages", "gauge", "Messages never proven whole.", &|s| count(s.never_verified), false);
    let kinds = [
        ("damaged_messages", "Messages that are damaged, by the records."),
        ("unreadable_messages", "Messages that the medium does not give, by the records."),
        ("lost_messages", "Messages that are lost, by the records."),
        ("undecided_messages", "Messages that are lost or deleted, by the records."),
    ];
    for (at, (name, help)) in kinds.into_iter().enumerate() {
        add(name, "gauge", help, &|s| s.open.map(|open| open[at] as f64), false);
    }
    add("accepted_messages", "gauge", "Damage and losses that were accepted as final.", &|s| count(s.accepted), false);
    add("runs_total", "counter", "Runs that looked at the store and ended.", &|s| Some(s.runs_total as f64), false);
    add("read_bytes_total", "counter", "Bytes read by all runs.", &|s| Some(s.read_bytes_total as f64), false);
    let help = "Read errors of the device in all runs.";
    add("read_errors_total", "counter", help, &|s| Some(s.read_errors_total as f64), true);
    let help = "Errors that the file system has on record.";
    add("filesystem_errors", "gauge", help, &|s| count(s.filesystem_errors), true);
}

fn labels(store: &Store, more: &[(&str, &str)]) -> String {
    let mut text = format!("{{store=\"{}\"", escape(&store.path));
    for (name, value) in more {
        // Writing to a String cannot fail.
        let _ = write!(text, ",{name}=\"{}\"", escape(value));
    }
    text.push('}');
    text
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    pub fn full() -> Vec<Store> {
        let at = Stamp { sec: 1_780_000_000, nsec: 500_000_000 };
        let run = Run { began: at, ended: at, exit: 4, tally: Tally::default() };
        let odd = Store {
            path: "/srv/\"a\\b\n".into(),
            device: "/dev/sda1".into(),
            run: Some(run),
            verified: Some(at),
            oldest: Some(at),
            never_verified: Some(0),
            open: Some([1, 2, 3, 4]),
            accepted: Some(5),
            runs_total: 3,
            read_errors_total: 2,
            read_bytes_total: 1 << 50,
            filesystem_errors: Some(0),
        };
        vec![odd, Store { path: "/var/vmail".into(), ..Store::default() }]
    }

    /// The rules of the exposition format that promtool checks, and ours.
    #[test]
    fn every_line_follows_the_format() {
        let text = text(&full(), &Catalog { bytes: Some(7), backup: Some(Stamp { sec: 1, nsec: 0 }) });
        let (mut seen, mut current, mut samples) = (BTreeSet::new(), (String::new(), String::new()), BTreeSet::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(seen.insert(name.to_owned()) && words.ends_with('.'), "{line}");
                current.0 = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!((name, name.ends_with("_total")), (current.0.as_str(), kind == "counter"), "{line}");
                current.1 = kind.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert!(name == current.0 && name.starts_with("mailmend_"), "{line}");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                assert!(value.parse::<f64>().is_ok_and(|v| v.is_finite() && v >= 0.0), "{line}");
                assert!(samples.insert(series.to_owned()), "twice: {line}");
            }
        }
        assert!(text.contains("mailmend_lost_messages{store=\"/srv/\\\"a\\\\b\\n\"} 3\n"), "{text}");
        assert!(text.contains("mailmend_run_start_timestamp_seconds{store=\"/srv/\\\"a\\\\b\\n\"} 1780000000.5\n"));
        assert!(text.contains("mailmend_read_errors_total{store=\"/srv/\\\"a\\\\b\\n\",device=\"/dev/sda1\"} 2\n"));
        assert!(!text.contains("mailmend_lost_messages{store=\"/var/vmail\"}"), "what is not known has no sample");
    }
}
