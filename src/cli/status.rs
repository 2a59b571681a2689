//! `status`: what is known, without looking at any store.

use super::ages::Proven;
use super::args::Status;
use super::quarantine;
use super::session::Session;
use super::trend::Early;
use crate::catalog::{Catalog, StoreRow};
use crate::engine::account::EngineError;
use crate::model::path;
use crate::report::sanitise::{FIELD, SENTENCE, inline};
use crate::report::words;
use crate::sys::clock;
use serde_json::json;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// Runs of a store that are shown.
const RUNS: u32 = 10;
/// Accepted losses of a store that are shown.
const ACCEPTED: u64 = 20;

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, status: &Status) -> anyhow::Result<u8> {
    let catalog_path = session.settings.catalog.clone();
    let Some(catalog) = Catalog::open_existing_read_only(&catalog_path)? else {
        let text = format!("no catalog yet at {}; mailmend verify makes it\n", catalog_path.display());
        session.screen.print(&crate::report::sanitise::block(&text));
        session.end("status", 0);
        return Ok(0);
    };
    let stores = catalog.stores()?;
    let wanted: Vec<Vec<u8>> = status
        .stores
        .iter()
        .map(|s| std::fs::canonicalize(&s.path).unwrap_or(s.path.clone()).as_os_str().as_bytes().to_vec())
        .collect();
    for path in &wanted {
        if !stores.iter().any(|s| s.path == *path) {
            let text = format!("the store {} was never looked at", path::escape(path));
            return Err(EngineError::Usage(text).into());
        }
    }
    super::metrics::write(session, Some(&catalog), Vec::new())?;
    let mut text = String::new();
    for store in stores.iter().filter(|s| wanted.is_empty() || wanted.contains(&s.path)) {
        one_store(session, &catalog, store, &mut text)?;
    }
    let moved = quarantine::overview(session)?;
    if session.settings.json {
        session.screen.emit(&json!({
            "schema": crate::report::json::SCHEMA, "run": session.run, "type": "quarantine",
            "runs": moved.runs, "files": moved.files, "bytes": moved.bytes,
        }));
        session.end("status", 0);
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Catalog       {} ({})", catalog_path.display(), words::bytes(catalog.size_bytes()?));
    let _ = writeln!(text, "Quarantine    {}", moved.words());
    session.screen.print(&crate::report::sanitise::block(&text));
    Ok(0)
}

fn one_store(session: &mut Session, catalog: &Catalog, store: &StoreRow, text: &mut String) -> anyhow::Result<()> {
    let select = session.settings.selection.clone();
    let accounts: Vec<_> =
        catalog.accounts(store.id)?.into_iter().filter(|a| select.account_at(&a.name, &a.dir)).collect();
    let messages: u64 = accounts.iter().map(|a| a.messages).sum();
    let coverage = catalog.coverage(store.id)?;
    let never: u64 = coverage.iter().map(|c| c.never).sum();
    let oldest = coverage.iter().filter_map(|c| c.oldest).min();
    let proven = Proven::of(catalog, store.id, &select, clock::now())?;
    let harm = catalog.harm_counts(store.id)?;
    let early = Early::of(catalog, store, clock::now())?;
    let runs = catalog.runs(Some(store.id), RUNS)?;
    let path = path::escape(&store.path);
    if session.settings.json {
        let (ages, covered) = proven.json();
        session.screen.emit(&json!({
            "schema": crate::report::json::SCHEMA, "run": session.run, "type": "store", "store": path,
            "accounts": accounts.len(), "messages": messages, "never_verified": never,
            "oldest_verified": oldest.map(clock::rfc3339), "ages": ages, "covered_by": covered,
            "damaged": harm.damaged, "unreadable": harm.unreadable,
            "missing": { "lost": harm.lost, "undecided": harm.undecided }, "accepted": harm.accepted,
            "early_signs": early.map(|early| early.json()),
            "runs": runs.iter().map(|r| json!({
                "run": r.run, "command": r.command, "began": clock::rfc3339(r.began),
                "ended": r.ended.map(clock::rfc3339), "exit": r.exit,
            })).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Store         {path}");
    let _ = writeln!(
        text,
        "Known         {}, {}",
        words::count(accounts.len() as u64, "account"),
        words::count(messages, "message")
    );
    let verified = match (oldest, never) {
        (Some(oldest), 0) => format!("all since {}", clock::for_people(oldest)),
        (Some(oldest), never) => {
            format!("{} never; the others since {}", words::number(never), clock::for_people(oldest))
        }
        (None, _) if messages == 0 => "nothing is known yet; mailmend verify makes a start".to_owned(),
        (None, _) => "never".to_owned(),
    };
    let _ = writeln!(text, "Verified      {verified}");
    proven.write(text);
    let open: Vec<String> = [
        (harm.damaged, "damaged"),
        (harm.unreadable, "unreadable"),
        (harm.lost, "lost"),
        (harm.undecided, "lost or deleted (undecided)"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{} {what}", words::number(*n)))
    .collect();
    let open = match (open.is_empty(), messages) {
        (false, _) => open.join(", "),
        // An audit leaves no records of messages: silence would not mean that all is whole.
        (true, 0) => "not known before mailmend verify; see the exit statuses of the runs".to_owned(),
        (true, _) => "nothing".to_owned(),
    };
    let _ = writeln!(text, "Open          {open}");
    if let Some(early) = early {
        let _ = writeln!(text, "Early sign    {}", early.line());
    }
    accepted(catalog, store, text)?;
    let mut label = "Runs";
    for run in runs {
        let end = match (run.exit, run.ended) {
            (Some(exit), Some(_)) => format!("exit {exit}"),
            _ => "did not end".to_owned(),
        };
        let _ = writeln!(text, "{label:<14}{}  {}  {:<7} {end}", run.run, clock::for_people(run.began), run.command);
        label = "";
    }
    text.push('\n');
    Ok(())
}

/// Losses that were accepted stay visible, with who, when and why.
fn accepted(catalog: &Catalog, store: &StoreRow, text: &mut String) -> anyhow::Result<()> {
    let (mut bad, mut shown) = (None, 0u64);
    catalog.accepted(store.id, &mut |row| match row {
        Ok(row) if row.ended.is_none() => {
            shown += 1;
            if shown > ACCEPTED {
                return;
            }
            let path = match &row.key {
                Some(key) => format!("{}  {key}", row.mailbox_dir),
                None => row.mailbox_dir.to_string(),
            };
            let label = if shown == 1 { "Accepted" } else { "" };
            let verdict = match row.verdict {
                crate::model::Verdict::Missing(missing) => missing.name(),
                verdict => verdict.name(),
            };
            let (who, why) = (inline(&row.who, FIELD), inline(&row.why, SENTENCE));
            let at = clock::for_people(row.at);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label:<14}{path}: {verdict}; by {who}, {at}: {why}");
        }
        Ok(_) => {}
        Err(error) => drop(bad.get_or_insert(error)),
    })?;
    if shown > ACCEPTED {
        let _ = writeln!(text, "{:14}and {} more", "", words::number(shown - ACCEPTED));
    }
    match bad {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
