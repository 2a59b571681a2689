//! `quarantine`: what repairs and undos moved aside; listing, copying out, letting go.

use super::args::{Purge, Quarantine};
use super::session::Session;
use crate::apply::quarantine::{Item, Purged, export, inventory, purge};
use crate::apply::{FileLog, Prover};
use crate::engine::account::EngineError;
use crate::engine::execute;
use crate::engine::runs::{self, RunFolder, RunNote};
use crate::model::Digest;
use crate::report::words;
use crate::store::target::lawful;
use crate::sys::clock;
use crate::sys::dir::Root;
use crate::sys::fs::Tree;
use anyhow::Context;
use serde_json::json;
use std::path::Path;

/// How much lies in quarantine.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    pub runs: u64,
    pub files: u64,
    pub bytes: u64,
    /// Runs whose folder cannot be looked at.
    pub unknown: u64,
}

impl Overview {
    pub fn words(&self) -> String {
        let unknown = if self.unknown > 0 {
            format!("; {} cannot be looked at", words::count(self.unknown, "run"))
        } else {
            String::new()
        };
        match self.files {
            0 => format!("empty{unknown}"),
            _ => format!(
                "{}, {}, from {}{unknown}",
                words::count(self.files, "file"),
                words::bytes(self.bytes),
                words::count(self.runs, "run")
            ),
        }
    }
}

/// Counts what all runs moved aside.
pub fn overview(session: &Session) -> anyhow::Result<Overview> {
    let mut overview = Overview::default();
    for note in repairs(session)? {
        match items(session, &note) {
            Ok(items) if items.is_empty() => {}
            Ok(items) => {
                overview.runs += 1;
                overview.files += items.len() as u64;
                overview.bytes += items.iter().map(|i| i.stat.size).sum::<u64>();
            }
            Err(_) => overview.unknown += 1,
        }
    }
    Ok(overview)
}

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, command: &Quarantine) -> anyhow::Result<u8> {
    let status = match command {
        Quarantine::List => list(session),
        Quarantine::Show { run } => show(session, run),
        Quarantine::Export { run, into } => copy_out(session, run, into),
        Quarantine::Purge(purge) => let_go(session, purge),
    }?;
    session.end("quarantine", status);
    Ok(status)
}

/// Runs with a quarantine folder of their own; undos share that of the run that they took back.
fn repairs(session: &Session) -> anyhow::Result<Vec<RunNote>> {
    Ok(runs::all(&session.settings.state)?.into_iter().filter(|n| n.undoes.is_none()).collect())
}

fn repair_note(session: &Session, run: &str) -> anyhow::Result<RunNote> {
    let note = RunFolder::named(&session.settings.state, run)?.read_note()?;
    Ok(match &note.undoes {
        Some(undone) => RunFolder::named(&session.settings.state, undone)?.read_note()?,
        None => note,
    })
}

fn items(session: &Session, note: &RunNote) -> anyhow::Result<Vec<Item>> {
    let fs = execute::quarantine_fs(note)?;
    let journal = RunFolder::named(&session.settings.state, &note.run)?.journal();
    let log = FileLog::open_existing(&journal).with_context(|| format!("cannot read {}", journal.display()))?;
    Ok(inventory(&fs, &log.checked(lawful)).map_err(EngineError::from)?)
}

fn list(session: &mut Session) -> anyhow::Result<u8> {
    let (mut status, mut any) = (0, false);
    for note in repairs(session)? {
        match items(session, &note) {
            Ok(items) => {
                any |= !items.is_empty();
                let bytes = items.iter().map(|i| i.stat.size).sum::<u64>();
                let since = items.iter().map(Item::since).min();
                if session.settings.json {
                    session.screen.emit(&json!({
                        "schema": crate::report::json::SCHEMA, "run": session.run, "type": "quarantine",
                        "of": note.run, "files": items.len(), "bytes": bytes,
                        "since": since.map(clock::rfc3339), "path": note.quarantine.display().to_string(),
                    }));
                } else if !items.is_empty() {
                    let since = since.map(clock::for_people).unwrap_or_default();
                    let (files, size) = (words::count(items.len() as u64, "file"), words::bytes(bytes));
                    let line = format!(
                        "{}  {files:>10}  {size:>10}  since {since}  {}\n",
                        note.run,
                        note.quarantine.display()
                    );
                    session.screen.print(&crate::report::sanitise::block(&line));
                }
            }
            Err(error) => {
                status = 8;
                super::session::exit_of(error.context(format!("run {}", note.run))).print();
            }
        }
    }
    if !any && status == 0 && !session.settings.quiet {
        session.screen.print("the quarantine is empty\n");
    }
    Ok(status)
}

fn show(session: &mut Session, run: &str) -> anyhow::Result<u8> {
    let note = repair_note(session, run)?;
    for item in items(session, &note)? {
        let origin = item.origin.as_ref();
        if session.settings.json {
            session.screen.emit(&json!({
                "schema": crate::report::json::SCHEMA, "run": session.run, "type": "quarantined", "of": note.run,
                "file": item.slot.to_string(), "what": item.what.name(), "size": item.stat.size,
                "since": clock::rfc3339(item.since()), "account": origin.map(|o| o.account.clone()),
                "mailbox": origin.map(|o| o.mailbox.clone()), "path": origin.map(|o| o.path.to_string()),
            }));
        } else {
            let place =
                origin.map_or("no journal tells where from".to_owned(), |o| format!("{}: {}", o.account, o.path));
            let line =
                format!("{:>8}  {:<9} {:>10}  {place}\n", item.slot, item.what.name(), words::bytes(item.stat.size));
            session.screen.print(&crate::report::sanitise::block(&line));
        }
    }
    Ok(0)
}

fn copy_out(session: &mut Session, run: &str, into: &Path) -> anyhow::Result<u8> {
    let note = repair_note(session, run)?;
    let fs = execute::quarantine_fs(&note)?;
    let items = items(session, &note)?;
    std::fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    if std::fs::read_dir(into).with_context(|| format!("cannot list {}", into.display()))?.next().is_some() {
        return Err(EngineError::Usage(format!("{} is not empty", into.display())).into());
    }
    let folder = Root::open(into).with_context(|| format!("cannot open {}", into.display()))?;
    let mut bytes = 0;
    for item in &items {
        bytes += export(&fs, item, folder.top())
            .with_context(|| format!("cannot copy {} to {}", item.slot, into.display()))?;
    }
    let text = format!(
        "{} ({}) copied to {}\n",
        words::count(items.len() as u64, "file"),
        words::bytes(bytes),
        into.display()
    );
    session.screen.print(&crate::report::sanitise::block(&text));
    Ok(0)
}

fn let_go(session: &mut Session, which: &Purge) -> anyhow::Result<u8> {
    let limit = which.older_than.map(|days| clock::now().sec - i64::from(days) * 86_400);
    let notes = match &which.run {
        Some(run) => vec![repair_note(session, run)?],
        None => repairs(session)?,
    };
    let (mut status, mut any) = (0, false);
    for note in notes {
        let chosen: Vec<Item> =
            items(session, &note)?.into_iter().filter(|i| limit.is_none_or(|l| i.since().sec < l)).collect();
        if chosen.is_empty() {
            continue;
        }
        any = true;
        let bytes: u64 = chosen.iter().map(|i| i.stat.size).sum();
        if !which.apply {
            let text = format!(
                "{}: would remove {} ({}); no undo can bring them back then; nothing was changed\n",
                note.run,
                words::count(chosen.len() as u64, "file"),
                words::bytes(bytes)
            );
            session.screen.print(&text);
            continue;
        }
        status |= one_run(session, &note, &chosen)?;
    }
    if !any && !session.settings.quiet {
        session.screen.print("nothing to remove\n");
    }
    Ok(status)
}

fn one_run(session: &mut Session, note: &RunNote, chosen: &[Item]) -> anyhow::Result<u8> {
    let fs = execute::quarantine_fs(note)?;
    let settings = session.settings.store(&note.base);
    let mut prover = execute::prover(&note.base, &note.quarantine, &session.lane(&settings))?;
    let mut another = execute::prover(&note.base, &note.quarantine, &session.lane(&settings))?;
    let (mut gone, mut kept) = (0, 0);
    for item in chosen {
        let done = purge(&fs, &mut prover, item, &mut |item, digest| stands(&mut another, &fs, item, digest));
        match done.with_context(|| format!("cannot remove {} of run {}", item.slot, note.run))? {
            Purged::Gone => gone += 1,
            Purged::Kept(why) => {
                kept += 1;
                let line = format!("{} kept: {why}\n", item.slot);
                session.screen.print(&crate::report::sanitise::block(&line));
            }
        }
    }
    session.screen.print(&format!(
        "{}: removed {}, kept {}\n",
        note.run,
        words::count(gone, "file"),
        words::number(kept)
    ));
    Ok(if kept > 0 { 4 } else { 0 })
}

/// Whether the message stands whole in the store, read now: under its path, or under its key with other flags.
fn stands(prover: &mut dyn Prover, fs: &dyn crate::sys::fs::Fs, item: &Item, digest: &Digest) -> Result<bool, String> {
    let Some(origin) = &item.origin else { return Ok(false) };
    if crate::model::container::storage_number(&origin.path).is_some() {
        return Ok(prover.stored(Tree::Base, &origin.path).is_ok_and(|(found, _)| found == *digest));
    }
    let Some((mailbox, name)) = crate::store::maildir::split_message_path(&origin.path) else {
        return Ok(prover.digest(Tree::Base, &origin.path).is_ok_and(|(found, _)| found == *digest));
    };
    let key = crate::store::maildir::name::key(name);
    for place in [&b"cur"[..], b"new"] {
        let folder = mailbox.join(place).map_err(|e| e.to_string())?;
        let names = match fs.list(Tree::Base, &folder) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.to_string()),
        };
        for name in names.iter().filter(|n| crate::store::maildir::name::key(n) == key) {
            let path = folder.join(name).map_err(|e| e.to_string())?;
            if prover.digest(Tree::Base, &path).is_ok_and(|(found, _)| found == *digest) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
