//! `catalog`: the health of what mailmend remembers, copies of it, and its way out and in.

use super::args::CatalogCommand;
use super::session::{Session, check_store};
use super::values::StoreArg;
use crate::catalog::{Catalog, CatalogError, Kept, Kind, Rebuilt, StoreId, generations, rebuild};
use crate::engine::account::EngineError;
use crate::model::path;
use crate::report::{b3sum, json, sanitise, words};
use crate::sys::clock;
use crate::sys::links::open_named;
use anyhow::Context;
use serde_json::json;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Troubles that are named; the rest is counted.
const NAMED: u64 = 50;

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, command: &CatalogCommand) -> anyhow::Result<u8> {
    match command {
        // Its output is the export itself, and no report about it.
        CatalogCommand::Export { store, b3sum } => export(session, store.as_ref(), *b3sum),
        CatalogCommand::Import { file } => {
            let status = import(session, file)?;
            session.end("catalog", status);
            Ok(status)
        }
        CatalogCommand::Backup(_) => {
            let status = backup(session)?;
            session.end("catalog", status);
            Ok(status)
        }
        CatalogCommand::Check { repair } => {
            let status = check(session, *repair)?;
            session.end("catalog", status);
            Ok(status)
        }
    }
}

fn existing(session: &Session) -> anyhow::Result<Catalog> {
    let path = &session.settings.catalog;
    let catalog = Catalog::open_existing_read_only(path)?;
    catalog.ok_or_else(|| EngineError::Usage(format!("there is no catalog at {}", path.display())).into())
}

/// Standard output, and the first error that it gave.
struct Out {
    to: BufWriter<std::io::StdoutLock<'static>>,
    error: Option<std::io::Error>,
}

impl Out {
    fn put(&mut self, text: &str) -> bool {
        if self.error.is_none() {
            self.error = self.to.write_all(text.as_bytes()).err();
        }
        self.error.is_none()
    }

    fn end(mut self) -> anyhow::Result<()> {
        if self.error.is_none() {
            self.error = self.to.flush().err();
        }
        match self.error {
            // The reader's decision.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(error).context("cannot write the export"),
            None => Ok(()),
        }
    }
}

fn export(session: &mut Session, store: Option<&StoreArg>, sums: bool) -> anyhow::Result<u8> {
    let catalog = existing(session)?;
    let mut out = Out { to: BufWriter::with_capacity(1 << 16, std::io::stdout().lock()), error: None };
    if !sums {
        catalog.export(&mut |line| out.put(&format!("{}\n", sanitise::json(line.to_owned()))))?;
        out.end()?;
        return Ok(0);
    }
    let mut without = 0;
    catalog.stored_digests(
        one_store(&catalog, store)?,
        &mut |file, digest| match b3sum::line(file.as_bytes(), &digest) {
            Some(line) => {
                out.put(&line);
            }
            None => without += 1,
        },
    )?;
    out.end()?;
    if without == 0 {
        return Ok(0);
    }
    let what = format!("{} left out: b3sum has no form for names that are not UTF-8", words::count(without, "file"));
    std::io::stderr().write_all(format!("error: {what}\n").as_bytes()).ok();
    Ok(8)
}

fn one_store(catalog: &Catalog, wanted: Option<&StoreArg>) -> anyhow::Result<StoreId> {
    let stores = catalog.stores()?;
    let Some(wanted) = wanted else {
        return match &stores[..] {
            [only] => Ok(only.id),
            [] => Err(EngineError::Usage("the catalog knows no store".to_owned()).into()),
            _ => Err(EngineError::Usage(format!("the catalog knows {} stores: name one", stores.len())).into()),
        };
    };
    check_store(wanted)?;
    let bytes = std::fs::canonicalize(&wanted.path).unwrap_or_else(|_| wanted.path.clone());
    let found = stores.iter().find(|store| store.path == bytes.as_os_str().as_bytes());
    let unknown =
        || EngineError::Usage(format!("the store {} was never looked at", path::escape(bytes.as_os_str().as_bytes())));
    Ok(found.ok_or_else(unknown)?.id)
}

fn import(session: &mut Session, file: &Path) -> anyhow::Result<u8> {
    let mut lines: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let opened = open_named(file).with_context(|| format!("cannot open {}", file.display()))?;
        Box::new(BufReader::with_capacity(1 << 16, opened))
    };
    let mut catalog = Catalog::open(&session.settings.catalog)?;
    let (mut named, mut refused) = (0, Vec::new());
    let done = catalog
        .import(&mut lines, &mut |words| {
            named += 1;
            if named <= NAMED {
                refused.push(words);
            }
        })
        .with_context(|| format!("nothing was taken from {}", file.display()))?;
    catalog.sync()?;
    let status = if done.refused > 0 { 8 } else { 0 };
    if session.settings.json {
        session.screen.emit(&json!({
            "schema": json::SCHEMA, "run": session.run, "type": "import", "added": done.added, "known": done.known,
            "completed": done.completed, "refused": done.refused, "named": refused,
        }));
        return Ok(status);
    }
    let mut text = String::new();
    for words in refused {
        text.push_str(&format!("refused: {words}\n"));
    }
    if done.refused > NAMED {
        text.push_str(&format!("refused: and {} more\n", words::number(done.refused - NAMED)));
    }
    if !session.settings.quiet || done.refused > 0 {
        let added: Vec<String> = done.added.iter().map(|(table, n)| format!("{table} {}", words::number(*n))).collect();
        let added = if added.is_empty() { "nothing".to_owned() } else { added.join(", ") };
        text.push_str(&format!(
            "added: {added}; completed: {}; known before: {}; refused: {}\n",
            words::number(done.completed),
            words::number(done.known),
            words::number(done.refused)
        ));
    }
    session.screen.print(&sanitise::block(&text));
    Ok(status)
}

fn backup(session: &mut Session) -> anyhow::Result<u8> {
    let catalog = existing(session)?;
    let kept = catalog.keep_generation(session.settings.backups, false, clock::now())?;
    let (status, text) = tell(&kept);
    if session.settings.json {
        let (made, removed) = match &kept {
            Kept::Made { copy, removed } => (Some(copy.display().to_string()), removed.len()),
            _ => (None, 0),
        };
        session.screen.emit(&json!({
            "schema": json::SCHEMA, "run": session.run, "type": "backup", "path": made, "removed": removed, "text": text,
        }));
    } else if status != 0 || !session.settings.quiet {
        session.screen.print(&sanitise::block(&text));
    }
    Ok(status)
}

fn tell(kept: &Kept) -> (u8, String) {
    match kept {
        Kept::Made { copy, removed } => {
            let gone = if removed.is_empty() { String::new() } else { format!("; {} let go", removed.len()) };
            (0, format!("copied to {}{gone}\n", copy.display()))
        }
        Kept::NotDue { newest } => (0, format!("there is a copy of today: {}\n", newest.display())),
        Kept::Refused { newest, regress } => (
            8,
            format!(
                "no copy was made: since {} the catalog has lost digests ({} no longer on record, {} changed)\n  {}\n  \
                 'mailmend catalog check' says more; with --repair that copy takes its place\n",
                newest.display(),
                words::number(regress.vanished),
                words::number(regress.changed),
                regress.named.join("\n  ")
            ),
        ),
    }
}

/// The copy of the day at the end of a verify. What goes wrong is told; it is no reason to forget what was verified.
pub fn daily(session: &mut Session, catalog: &Catalog) -> Option<String> {
    if session.settings.backups == 0 {
        return None;
    }
    match catalog.keep_generation(session.settings.backups, true, clock::now()) {
        Ok(kept @ Kept::Refused { .. }) => Some(tell(&kept).1.trim_end().to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("no backup of the catalog was made: {error}")),
    }
}

fn check(session: &mut Session, repair: bool) -> anyhow::Result<u8> {
    let path = session.settings.catalog.clone();
    let mut troubles = Vec::new();
    let count = match look(&path, &mut troubles) {
        Ok(Some(count)) => count,
        Ok(None) => return Err(EngineError::Usage(format!("there is no catalog at {}", path.display())).into()),
        Err(error) if matches!(error.kind, Kind::Corrupt | Kind::BadRow | Kind::NotOurs) => {
            troubles.push(error.detail);
            troubles.len() as u64
        }
        Err(error) => return Err(error.into()),
    };
    let rebuilt = if repair && count > 0 { rebuild(&path, clock::now())? } else { None };
    let status = match (&rebuilt, count) {
        (_, 0) => 0,
        (Some(_), _) => 1,
        (None, _) => 4,
    };
    if session.settings.json {
        session.screen.emit(&json!({
            "schema": json::SCHEMA, "run": session.run, "type": "catalog", "path": path.display().to_string(),
            "troubles": count, "named": troubles,
            "rebuilt": rebuilt.as_ref().map(|rebuilt| json!({
                "from": rebuilt.from.path.display().to_string(), "recorded_until": clock::rfc3339(rebuilt.from.at),
                "aside": rebuilt.aside.display().to_string(), "runs_lost": rebuilt.runs_lost,
            })),
        }));
        return Ok(status);
    }
    let mut text: String = troubles.iter().map(|trouble| format!("{trouble}\n")).collect();
    if count > troubles.len() as u64 {
        text.push_str(&format!("and {} more\n", words::number(count - troubles.len() as u64)));
    }
    match (&rebuilt, count) {
        (_, 0) if session.settings.quiet => {}
        (_, 0) => text.push_str(&format!("{} is sound\n", path.display())),
        (Some(rebuilt), _) => text.push_str(&told(rebuilt)),
        (None, _) => text.push_str(&next(&path, repair)?),
    }
    session.screen.print(&sanitise::block(&text));
    Ok(status)
}

/// Everything that is wrong with the catalog, as far as it is named; `None` where none is there.
fn look(path: &Path, troubles: &mut Vec<String>) -> Result<Option<u64>, CatalogError> {
    let Some(catalog) = Catalog::open_existing_read_only(path)? else { return Ok(None) };
    let mut count = catalog.examine(&mut |trouble| {
        if (troubles.len() as u64) < NAMED {
            troubles.push(trouble);
        }
    })?;
    // Where rows cannot be read there is nothing to hold against a copy.
    if count == 0
        && let Some((copy, regress)) = catalog.regress(&generations(path)?, clock::now())?
    {
        count = regress.vanished + regress.changed;
        troubles.extend(regress.named.iter().map(|name| format!("{name} (against {})", copy.display())));
    }
    Ok(Some(count))
}

fn told(rebuilt: &Rebuilt) -> String {
    let mut text = String::new();
    for copy in &rebuilt.passed_over {
        text.push_str(&format!("{} is damaged too and was passed over\n", copy.display()));
    }
    let since = clock::for_people(rebuilt.from.at);
    text.push_str(&format!(
        "rebuilt from {}\n\
         the damaged file is {}\n\
         lost: what was recorded after {since} UTC",
        rebuilt.from.path.display(),
        rebuilt.aside.display()
    ));
    if !rebuilt.runs_lost.is_empty() {
        text.push_str(&format!(" (runs {})", rebuilt.runs_lost.join(", ")));
    }
    text.push_str(
        "\nThe next 'mailmend verify' records the messages that came since as it finds them; damage and losses among\n\
         these that happened before it cannot be told any more, nor what was accepted since.\n",
    );
    text
}

fn next(path: &Path, repair: bool) -> anyhow::Result<String> {
    let copies = generations(path)?;
    Ok(match copies.first() {
        Some(newest) if !repair => format!(
            "the catalog is damaged; 'mailmend catalog check --repair' puts a sound copy in its place (the newest is of {} \
             UTC) and keeps the damaged file\n",
            clock::for_people(newest.at)
        ),
        _ => format!(
            "the catalog is damaged, and there is no sound copy beside it; nothing was changed\n  put one from elsewhere \
             in its place; or move {} away with its '-wal' file: the next verify starts a new catalog, which knows \
             nothing of what was whole before\n",
            path.display()
        ),
    })
}
