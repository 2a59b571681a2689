//! `check`: answers a monitoring system from the records. Its exit status has the plugins' codes, not ours.
//!
//! May not touch a store: the plugin must answer when the disk does not.

use super::args::{self, Check};
use super::session::{Session, told};
use super::values::{Span, StoreArg};
use crate::catalog::{Catalog, RunRow, StoreRow};
use crate::model::{Stamp, path};
use crate::report::check::{Age, Facts, Judged, Limit, Limits, Status, judge, line};
use crate::report::sanitise;
use crate::sys::{clock, health};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Ages that are still well where none are given: a night that failed, and three. Seconds.
const WARN_AGE: u64 = 36 * 3600;
const CRIT_AGE: u64 = 3 * 86_400;

/// Runs the command; returns the plugin's status.
pub fn run(session: &mut Session, check: &Check) -> u8 {
    let limits = limits(check);
    let alone = check.stores.len() == 1;
    let catalog = Catalog::open_existing_read_only(&session.settings.catalog);
    let mut all: Vec<(Facts, Judged)> = Vec::new();
    for store in &check.stores {
        let found = match &catalog {
            Ok(Some(catalog)) => facts(catalog, store).unwrap_or_else(|error| unread(store, &told(&error))),
            Ok(None) => unread(store, "never verified: there is no catalog"),
            Err(error) => unread(store, &error.to_string()),
        };
        let judged = judge(&found, &limits, alone);
        all.push((found, judged));
    }
    let judged: Vec<Judged> = all.iter().map(|(_, judged)| judged.clone()).collect();
    let (status, text) = line(&judged);
    if session.settings.json {
        for (facts, judged) in &all {
            emit(session, facts, judged);
        }
        session.end("check", status.code());
    } else {
        session.screen.print(&format!("{}\n", sanitise::block(&text)));
    }
    status.code()
}

/// Whether the first word that is neither an option nor its value is this command.
pub fn is_meant(args: impl Iterator<Item = OsString>) -> bool {
    let command = args::command();
    let valued = |word: &OsStr| {
        let name = word.to_str().and_then(|word| word.strip_prefix("--"));
        let known = command.get_arguments().find(|argument| argument.get_long() == name && name.is_some());
        known.is_some_and(|argument| argument.get_action().takes_values())
    };
    let mut words = args.skip(1);
    while let Some(word) = words.next() {
        if valued(&word) {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return word == "check";
        }
    }
    false
}

/// The answer where the command line or the settings are wrong.
pub fn unknown(text: &str) -> u8 {
    let first = text.lines().map(|line| line.trim_start_matches("error: ").trim()).find(|line| !line.is_empty());
    let text = first.unwrap_or("mailmend failed").replace('|', "/");
    // A closed pipe is the reader's decision.
    writeln!(std::io::stdout(), "MAILMEND {} - {text}", Status::Unknown.name()).ok();
    Status::Unknown.code()
}

fn limits(check: &Check) -> Limits {
    let of = |warn: super::values::Most, crit: super::values::Most| Limit { warn: warn.0, crit: crit.0 };
    let age = |given: Option<Span>, default| Age {
        at: given.unwrap_or(Span(Some(default))).0,
        follows_promise: given.is_none(),
    };
    Limits {
        warn_age: age(check.warn_age, WARN_AGE),
        crit_age: age(check.crit_age, CRIT_AGE),
        damaged: of(check.warn_damaged, check.crit_damaged),
        lost: of(check.warn_lost, check.crit_lost),
        undecided: of(check.warn_undecided, check.crit_undecided),
        not_checked: of(check.warn_not_checked, check.crit_not_checked),
        device_errors: of(check.warn_device_errors, check.crit_device_errors),
    }
}

fn unread(store: &StoreArg, why: &str) -> Facts {
    let store = path::escape(store.path.as_os_str().as_bytes());
    Facts { store, unknown: Some(why.to_owned()), ..Facts::default() }
}

fn facts(catalog: &Catalog, wanted: &StoreArg) -> anyhow::Result<Facts> {
    let Some(store) = find(catalog, &wanted.path)? else {
        return Ok(unread(wanted, "never verified: the catalog does not know it"));
    };
    let now = clock::now();
    // A clock that was set back makes nothing younger than now.
    let since = |at: Stamp| u64::try_from(now.sec.saturating_sub(at.sec)).unwrap_or(0);
    let (proof, harm) = (catalog.proof(store.id)?, catalog.harm_counts(store.id)?);
    let whole = catalog.last_whole_verify(store.id)?;
    let newest = catalog.newest_verify(store.id)?;
    let ended = |run: &RunRow| run.ended.filter(|_| proof.oldest.is_some() || proof.messages == 0);
    let age = whole.as_ref().and_then(ended).map(|at| since(proof.oldest.map_or(at, |oldest| oldest.min(at))));
    let trying = match age {
        None => catalog.first_verify(store.id)?.map(|run| since(run.began)),
        Some(_) => None,
    };
    let of_all = |run: &RunRow| run.ended.is_some() && run.tally.as_ref().is_some_and(|tally| !tally.partial);
    let last = match &newest {
        Some(run) if of_all(run) => newest.clone(),
        _ => catalog.latest_run(store.id)?.filter(|run| run.command == "verify" && of_all(run)).or(whole.clone()),
    };
    let tally = last.and_then(|run| run.tally).unwrap_or_default();
    let kernel = health::recorded_errors(Path::new(OsStr::from_bytes(&store.path))).unwrap_or(0);
    Ok(Facts {
        store: path::escape(&store.path),
        age,
        ended: whole.as_ref().and_then(|run| run.ended).map(since),
        promise: whole.and_then(|run| run.tally).map_or(0, |tally| tally.promise),
        trying,
        running: newest.filter(|run| run.ended.is_none()).map(|run| since(run.began)),
        messages: proof.messages,
        damaged: harm.damaged + harm.unreadable + tally.companions_lost,
        lost: harm.lost,
        undecided: harm.undecided,
        not_checked: tally.not_checked,
        device_errors: tally.read_errors.saturating_add(kernel),
        failed: tally.own_errors > 0,
        unknown: None,
    })
}

/// The path as it stands in the records. Only one that does not is looked up, for that can hang on a dead disk.
fn find(catalog: &Catalog, wanted: &Path) -> anyhow::Result<Option<StoreRow>> {
    let stores = catalog.stores()?;
    let absolute: std::path::PathBuf = std::path::absolute(wanted)?.components().collect();
    let of = |path: &Path| stores.iter().find(|store| store.path == path.as_os_str().as_bytes()).cloned();
    Ok(of(&absolute).or_else(|| of(&std::fs::canonicalize(wanted).ok()?)))
}

fn emit(session: &mut Session, facts: &Facts, judged: &Judged) {
    session.screen.emit(&json!({
        "schema": crate::report::json::SCHEMA, "run": session.run, "type": "check", "store": facts.store,
        "status": judged.status.name(), "text": judged.text, "age_s": facts.age, "ended_s": facts.ended, "promise_s": facts.promise, "running_s": facts.running,
        "messages": facts.messages, "damaged": facts.damaged, "lost": facts.lost, "undecided": facts.undecided,
        "not_checked": facts.not_checked, "device_errors": facts.device_errors,
    }));
}
