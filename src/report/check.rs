//! The monitoring plugin's answer: facts and thresholds in, one line and a status out.
//!
//! Pure. The line follows the Monitoring Plugins guidelines: text, then performance data after `|`.

use super::sanitise::inline;
use super::words::{count, duration, number};

/// As much of a store's name as stands in the line.
const NAME: usize = 200;
/// As much of it as stands in a label, which has to differ from those of other stores: no path is longer.
const LABEL: usize = 4096;

/// The answer for a store, or for all; ordered by how loudly it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Unknown => "UNKNOWN",
            Status::Warning => "WARNING",
            Status::Critical => "CRITICAL",
        }
    }

    /// The exit status of a plugin.
    pub fn code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        }
    }
}

/// More than this raises it; `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    pub warn: Option<u64>,
    pub crit: Option<u64>,
}

impl Limits {
    /// Of the oldest proof, where a budget reads everything once within `promise` seconds.
    fn age(&self, promise: u64) -> Limit {
        Limit { warn: self.warn_age.with(promise), crit: self.crit_age.with(promise) }
    }

    /// Of the last complete verify: a job that runs every night.
    fn run(&self) -> Limit {
        self.age(0)
    }
}

impl Limit {
    fn status(self, value: u64) -> Status {
        match (self.warn, self.crit) {
            (_, Some(crit)) if value > crit => Status::Critical,
            (Some(warn), _) if value > warn => Status::Warning,
            _ => Status::Ok,
        }
    }
}

/// The longest age that is still well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Age {
    /// Seconds; `None`: any.
    pub at: Option<u64>,
    /// Nobody gave it: what a budget promises to have read by a later night is not late before.
    pub follows_promise: bool,
}

impl Age {
    fn with(self, promise: u64) -> Option<u64> {
        self.at.map(|at| at.saturating_add(if self.follows_promise { promise } else { 0 }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    pub warn_age: Age,
    pub crit_age: Age,
    pub damaged: Limit,
    pub lost: Limit,
    pub undecided: Limit,
    pub not_checked: Limit,
    pub device_errors: Limit,
}

/// What the records say of one store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub store: String,
    /// Seconds since everything on record was last proven; `None`: it never was.
    pub age: Option<u64>,
    /// Seconds since the last complete verify ended.
    pub ended: Option<u64>,
    /// Seconds within which its budget reads everything once; 0 where it had none.
    pub promise: u64,
    /// Seconds since the first verify of a store began that was never verified as a whole.
    pub trying: Option<u64>,
    /// Seconds since a verify began that has not ended.
    pub running: Option<u64>,
    pub messages: u64,
    /// Damaged or unreadable, and files of the server.
    pub damaged: u64,
    pub lost: u64,
    pub undecided: u64,
    /// By the last verify that ended.
    pub not_checked: u64,
    /// Read errors of the last verify that ended, and errors that the file system has on record.
    pub device_errors: u64,
    /// The last verify could not do its own work: catalog, state folder.
    pub failed: bool,
    /// The store is not on record at all, or the records cannot be read.
    pub unknown: Option<String>,
}

/// What one store is and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub status: Status,
    pub text: String,
    pub perfdata: Vec<String>,
}

/// Judges one store. `alone`: its name need not stand in the labels.
pub fn judge(facts: &Facts, limits: &Limits, alone: bool) -> Judged {
    let store = inline(&facts.store, NAME);
    if let Some(why) = &facts.unknown {
        return Judged {
            status: Status::Unknown,
            text: format!("{store}: {}", inline(why, NAME)),
            perfdata: Vec::new(),
        };
    }
    let mut status = Status::Ok;
    let mut said = Vec::new();
    let counts = [
        (facts.damaged, limits.damaged, "damaged"),
        (facts.lost, limits.lost, "lost"),
        (facts.undecided, limits.undecided, "undecided"),
        (facts.not_checked, limits.not_checked, "not checked"),
    ];
    for (value, limit, what) in counts {
        status = status.max(limit.status(value));
        if value > 0 {
            said.push(format!("{} {what}", number(value)));
        }
    }
    status = status.max(limits.device_errors.status(facts.device_errors));
    if facts.device_errors > 0 {
        said.push(count(facts.device_errors, "device error"));
    }
    if facts.failed {
        status = status.max(Status::Warning);
        said.push("the last verify could not do its own work".to_owned());
    }
    status = status.max(aged(facts, limits, &mut said));
    Judged { status, text: format!("{store}: {}", said.join(", ")), perfdata: perfdata(facts, limits, alone) }
}

/// A job that hangs, or fails every night, is known by its age alone.
fn aged(facts: &Facts, limits: &Limits, said: &mut Vec<String>) -> Status {
    let limit = limits.age(facts.promise);
    let words = |seconds: u64| duration(seconds as f64);
    if let Some(running) = facts.running {
        said.push(format!("a verify that began {} ago has not ended", words(running)));
    }
    match (facts.age, facts.trying) {
        (Some(age), _) => {
            said.push(format!("{} all verified {} ago", count(facts.messages, "message"), words(age)));
            // Behind a budget's promise a job that no longer runs would hide for as many nights.
            let late = facts.ended.map_or(Status::Ok, |ended| limits.run().status(ended));
            if let (Some(ended), true) = (facts.ended, late > Status::Ok && facts.promise > 0) {
                said.push(format!("the last verify ended {} ago", words(ended)));
            }
            limit.status(age).max(late)
        }
        (None, trying) => {
            said.push("never verified as a whole".to_owned());
            limits.run().status(trying.unwrap_or(0)).max(Status::Unknown)
        }
    }
}

fn perfdata(facts: &Facts, limits: &Limits, alone: bool) -> Vec<String> {
    let limit = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
    let item = |name: &str, value: Option<u64>, unit: &str, of: Limit| {
        let label = if alone { name.to_owned() } else { format!("{} {name}", facts.store) };
        // A quote is doubled; '=' ends a label, and '|' ended the text.
        let label = inline(&label, LABEL).replace(['=', '|'], "_").replace('\'', "''");
        let value = value.map_or("U".to_owned(), |value| format!("{value}{unit}"));
        format!("'{label}'={value};{};{};0", limit(of.warn), limit(of.crit))
    };
    vec![
        item("age", facts.age, "s", limits.age(facts.promise)),
        item("damaged", Some(facts.damaged), "", limits.damaged),
        item("lost", Some(facts.lost), "", limits.lost),
        item("undecided", Some(facts.undecided), "", limits.undecided),
        item("not_checked", Some(facts.not_checked), "", limits.not_checked),
        item("device_errors", Some(facts.device_errors), "", limits.device_errors),
        item("messages", Some(facts.messages), "", Limit::default()),
    ]
}

/// The one line, without its end; what speaks loudest comes first.
pub fn line(judged: &[Judged]) -> (Status, String) {
    let status = judged.iter().map(|j| j.status).max().unwrap_or(Status::Unknown);
    let mut order: Vec<&Judged> = judged.iter().collect();
    order.sort_by_key(|j| std::cmp::Reverse(j.status));
    let texts: Vec<String> = order.iter().map(|j| j.text.replace('|', "/")).collect();
    let perfdata: Vec<&str> = judged.iter().flat_map(|j| &j.perfdata).map(String::as_str).collect();
    let next = if status == Status::Ok { "" } else { "; see mailmend status" };
    let bar = if perfdata.is_empty() { String::new() } else { format!(" | {}", perfdata.join(" ")) };
    (status, format!("MAILMEND {} - {}{next}{bar}", status.name(), texts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let warn = Limit { warn: Some(0), crit: None };
        let crit = Limit { warn: None, crit: Some(0) };
        let age = |at| Age { at: Some(at), follows_promise: true };
        Limits {
            warn_age: age(100),
            crit_age: age(1000),
            damaged: crit,
            lost: crit,
            undecided: warn,
            not_checked: warn,
            device_errors: crit,
        }
    }

    fn well() -> Facts {
        Facts { store: "/var/vmail".into(), age: Some(100), messages: 7, ..Facts::default() }
    }

    fn status(facts: Facts) -> Status {
        judge(&facts, &limits(), true).status
    }

    #[test]
    fn thresholds_are_the_highest_values_that_are_still_well() {
        assert_eq!(status(well()), Status::Ok);
        assert_eq!(status(Facts { age: Some(101), ..well() }), Status::Warning);
        assert_eq!(status(Facts { age: Some(1001), ..well() }), Status::Critical);
        assert_eq!(status(Facts { damaged: 1, ..well() }), Status::Critical);
        assert_eq!(status(Facts { lost: 1, ..well() }), Status::Critical);
        assert_eq!(status(Facts { undecided: 1, ..well() }), Status::Warning);
        assert_eq!(status(Facts { not_checked: 1, ..well() }), Status::Warning);
        assert_eq!(status(Facts { device_errors: 1, ..well() }), Status::Critical);
        assert_eq!(status(Facts { failed: true, ..well() }), Status::Warning);
        let off = Limits::default();
        assert_eq!(judge(&Facts { age: Some(u64::MAX), damaged: u64::MAX, ..well() }, &off, true).status, Status::Ok);
    }

    #[test]
    fn what_a_budget_leaves_for_later_nights_is_late_after_its_promise_and_a_job_that_died_at_once() {
        let kept = Facts { age: Some(10_000), ended: Some(90), promise: 10_000, ..well() };
        assert_eq!(status(kept.clone()), Status::Ok);
        assert_eq!(status(Facts { age: Some(10_101), ..kept.clone() }), Status::Warning);
        assert_eq!(status(Facts { age: Some(11_001), ..kept.clone() }), Status::Critical);
        assert_eq!(status(Facts { ended: Some(101), ..kept.clone() }), Status::Warning);
        let dead = judge(&Facts { ended: Some(1001), ..kept.clone() }, &limits(), true);
        assert!(dead.status == Status::Critical && dead.text.contains("the last verify ended"), "{dead:?}");
        assert_eq!(dead.perfdata[0], "'age'=10000s;10100;11000;0");
        let given = Limits { crit_age: Age { at: Some(5000), follows_promise: false }, ..limits() };
        assert_eq!(judge(&kept, &given, true).status, Status::Critical, "what the administrator says counts");
    }

    #[test]
    fn what_was_never_verified_is_unknown_and_critical_in_time() {
        let never = Facts { age: None, ..well() };
        assert_eq!(status(never.clone()), Status::Unknown);
        assert_eq!(status(Facts { trying: Some(50), ..never.clone() }), Status::Unknown);
        assert_eq!(status(Facts { trying: Some(2000), ..never }), Status::Critical);
        assert_eq!(status(Facts { unknown: Some("no record".into()), ..well() }), Status::Unknown);
    }

    #[test]
    fn one_line_with_performance_data() {
        let bad = Facts { lost: 1234, running: Some(60), ..well() };
        let (status, text) = line(&[judge(&bad, &limits(), true)]);
        assert_eq!(status.code(), 2);
        assert_eq!(
            text,
            "MAILMEND CRITICAL - /var/vmail: 1,234 lost, a verify that began 1 min 0 s ago has not ended, 7 messages all \
             verified 1 min 40 s ago; see mailmend status | 'age'=100s;100;1000;0 'damaged'=0;;0;0 'lost'=1234;;0;0 \
             'undecided'=0;0;;0 'not_checked'=0;0;;0 'device_errors'=0;;0;0 'messages'=7;;;0"
        );
    }

    #[test]
    fn several_stores_are_one_line_and_the_worst_comes_first() {
        let odd = Facts { store: "/a|b='x'\n".into(), lost: 1, ..well() };
        let judged = [judge(&well(), &limits(), false), judge(&odd, &limits(), false)];
        let (status, text) = line(&judged);
        assert_eq!((status, text.matches('|').count(), text.lines().count()), (Status::Critical, 1, 1), "{text}");
        assert!(text.starts_with("MAILMEND CRITICAL - /a/b"), "{text}");
        assert!(text.contains("'/a_b_''x''") && text.contains("'/var/vmail age'=100s"), "{text}");
        assert_eq!(line(&[]).0, Status::Unknown);
    }
}
