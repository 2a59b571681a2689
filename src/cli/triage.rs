//! `triage`: is it the disk, which one, and who is hit?

use super::args::Triage;
use super::scan::refuse_existing;
use super::session::{Session, check_store};
use crate::catalog::Catalog;
use crate::engine::account::EngineError;
use crate::engine::lanes::absolute;
use crate::engine::triage::{self, Call, Triaged};
use crate::model::event::{Event, Observer};
use crate::model::triage::Health;
use crate::report::{json, triage as text};
use anyhow::Context;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(25);
/// A read that takes longer is no slow one any more.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, args: &Triage) -> anyhow::Result<u8> {
    for store in &args.stores {
        check_store(store)?;
    }
    if let Some(file) = &args.save_accounts {
        refuse_existing(file)?;
        refuse_inside(file, args)?;
    }
    let stores: Vec<PathBuf> = args.stores.iter().map(|store| store.path.clone()).collect();
    let given: Vec<String> = args.stores.iter().map(|store| store.given.to_string_lossy().into_owned()).collect();
    let start = Event::Start { command: "triage".to_owned(), store: given.join(" "), sources: Vec::new() };
    session.screen.event(start);
    let (catalog, mut failures) = catalog(session);
    let mut lane = session.lane(&session.settings.store(&stores[0]));
    // One reader: what a read takes must not depend on the other reads.
    lane.readers = 1;
    lane.bwlimit = None;
    lane.read_timeout = args.read_timeout.map_or(READ_TIMEOUT, |s| Duration::from_secs(s.into()));
    let within = args.within.map_or(WITHIN, |seconds| Duration::from_secs(seconds.into()));
    let signals = session.signals.clone();
    let seed = crate::sys::clock::now();
    let triaged = triage::run(&Call {
        stores,
        lane,
        within,
        catalog: catalog.as_ref(),
        stop: &|| signals.stopped(),
        seed: u64::from(seed.nsec) ^ seed.sec.unsigned_abs().rotate_left(32),
    });
    let mut saved = None;
    if let Some(file) = &args.save_accounts {
        match save(file, &triaged) {
            Ok(()) => saved = Some(file.display().to_string()),
            Err(error) => {
                failures += 1;
                let path = file.display().to_string();
                session.screen.event(Event::Error { path, what: format!("{error:#}"), hint: None });
            }
        }
    }
    let exit = exit(&triaged, failures);
    show(session, &triaged, given, saved, exit);
    Ok(exit)
}

/// Without a catalog nothing is recorded that could be compared; that is told, and no reason to stop.
fn catalog(session: &mut Session) -> (Option<Catalog>, u64) {
    match Catalog::open_existing_read_only(&session.settings.catalog) {
        Ok(catalog) => (catalog, 0),
        Err(error) => {
            let (what, hint) = (format!("goes on without the catalog: {error}"), Some(error.hint().to_owned()));
            session.screen.event(Event::Error { path: String::new(), what, hint });
            (None, 1)
        }
    }
}

/// A file in a store would be written to what is perhaps dying.
fn refuse_inside(file: &Path, args: &Triage) -> anyhow::Result<()> {
    let file = absolute(file);
    match args.stores.iter().find(|store| file.starts_with(absolute(&store.path))) {
        Some(store) => {
            let text = format!("--save-accounts {}: nothing is written below {}", file.display(), store.path.display());
            Err(EngineError::Usage(text).into())
        }
        None => Ok(()),
    }
}

/// One name a line, as `--accounts-file` takes them. What it could not take is left out, and said.
fn save(file: &Path, triaged: &Triaged) -> anyhow::Result<()> {
    let mut names: Vec<&str> = text::affected(&triaged.devices).into_iter().map(|hit| hit.account.as_str()).collect();
    names.dedup();
    let takes = |name: &&str| !name.contains(['#', '\n', '\r']) && name.trim() == *name && !name.is_empty();
    let mut lines: String = "# accounts on devices that fail, as mailmend triage found them\n".to_owned();
    names.iter().filter(|name| takes(name)).for_each(|name| lines.extend([name, "\n"]));
    let mut to = OpenOptions::new().write(true).create_new(true).open(file).context("cannot be written")?;
    to.write_all(lines.as_bytes()).and_then(|()| to.sync_all()).context("cannot be written")?;
    match names.iter().filter(|name| !takes(name)).count() {
        0 => Ok(()),
        n => Err(anyhow::anyhow!("{n} accounts have names that such a file cannot hold; --json names them")),
    }
}

fn exit(triaged: &Triaged, failures: u64) -> u8 {
    let found = triaged.devices.iter().any(|d| d.health >= Health::NotTheDisk || d.sample.damaged > 0);
    let unknown = triaged.devices.iter().any(|d| d.health == Health::Unknown);
    let unchecked = unknown || triaged.not_checked + triaged.own_errors + failures > 0 || triaged.devices.is_empty();
    [(found, 4), (unchecked, 8), (triaged.interrupted, 32)].iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum()
}

fn show(session: &mut Session, triaged: &Triaged, stores: Vec<String>, saved: Option<String>, exit: u8) {
    for (path, what) in &triaged.errors {
        session.screen.event(Event::Error { path: path.clone(), what: what.clone(), hint: None });
    }
    for note in &triaged.notes {
        session.screen.event(Event::Note { text: note.clone() });
    }
    for finding in &triaged.findings {
        session.screen.event(Event::Finding(Box::new(finding.clone())));
    }
    let quiet = session.settings.quiet && exit == 0;
    for device in &triaged.devices {
        session.screen.emit(&text::device_json(&session.run, device));
        if !quiet {
            session.screen.print(&text::device(device, session.settings.verbose > 0));
        }
    }
    let typed = text::Typed { stores, general: session.general.clone(), saved };
    let elapsed_s = session.elapsed();
    if !quiet {
        session.screen.print(&text::end(&triaged.devices, &typed, exit, elapsed_s));
    }
    let count = |health: Health| triaged.devices.iter().filter(|d| d.health == health).count();
    let sum = |of: fn(&crate::model::triage::DeviceReport) -> u64| triaged.devices.iter().map(of).sum::<u64>();
    let mut accounts: Vec<_> = triaged.devices.iter().flat_map(|d| &d.accounts).collect();
    accounts.sort();
    accounts.dedup();
    session.screen.emit(&json!({
        "schema": json::SCHEMA, "run": session.run, "type": "summary", "command": "triage",
        "devices": {
            "healthy": count(Health::Healthy), "unknown": count(Health::Unknown),
            "not_the_disk": count(Health::NotTheDisk), "degrading": count(Health::Degrading),
            "failing": count(Health::Failing), "gone": count(Health::Gone),
        },
        "accounts": accounts.len(), "accounts_affected": text::affected(&triaged.devices).len(),
        "messages": sum(|d| d.sample.checked), "damaged": sum(|d| d.sample.damaged),
        "read_errors": sum(|d| d.signs.read_errors), "not_checked": triaged.not_checked,
        "own_errors": triaged.own_errors, "interrupted": triaged.interrupted, "elapsed_s": elapsed_s, "exit": exit,
    }));
}
