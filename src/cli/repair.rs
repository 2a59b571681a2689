//! `repair`: plan, print the plan, and with `--apply` execute it.

use super::args::Repair;
use super::scan::refuse_existing;
use super::session::{Scan, Session, check_store, partner, spec};
use crate::engine::account::EngineError;
use crate::engine::execute::{self, Execution};
use crate::engine::job::Mode;
use crate::engine::planfile::{self, PlanReader};
use crate::engine::runs::RunFolder;
use crate::model::event::{Event, Observer};
use crate::model::path;
use crate::model::plan::{Action, Step};
use crate::model::tally::Tally;
use crate::plan::guards::{self, Ailing};
use crate::source::Spec;
use crate::sys::health;
use crate::sys::links;
use crate::sys::lock::Lock;
use anyhow::Context;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What is to be executed, and where.
struct Planned {
    tally: Tally,
    plan: PathBuf,
    /// Canonical path of the store.
    store: PathBuf,
    /// Bytes, files, steps that change anything.
    need: (u64, u64, u64),
    store_errors: u64,
    /// Held since before the scan.
    lock: Option<Lock>,
}

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, repair: &Repair) -> anyhow::Result<u8> {
    let Some(peer) = &repair.peer else { return Ok(one_side(session, repair, &Sync::default())?.0) };
    check_store(peer)?;
    // The other side first: while it still counts a message as deleted, the next sync would delete it here again.
    session.another_run(peer)?;
    // One report tells of both sides.
    let loss_report = None;
    let theirs = Repair { store: peer.clone(), quarantine: None, peer: None, loss_report, ..repair.clone() };
    let sync = Sync { partner: Some(partner(&repair.store, true)), both_sides: false };
    let (status, clean) = one_side(session, &theirs, &sync)?;
    session.another_run(&repair.store)?;
    let sync = Sync { partner: Some(partner(peer, false)), both_sides: clean };
    let (own, _) = one_side(session, repair, &sync)?;
    Ok(status | own)
}

/// What is known of the other side of a sync.
#[derive(Default)]
struct Sync {
    partner: Option<Spec>,
    /// It has back what it deleted, or will have with its plan.
    both_sides: bool,
}

/// Repairs one store; the exit status, and whether nothing was held, refused or left.
fn one_side(session: &mut Session, repair: &Repair, sync: &Sync) -> anyhow::Result<(u8, bool)> {
    check_store(&repair.store)?;
    if let Some(dir) = &repair.into {
        refuse_inside(dir, &repair.store.path)?;
    }
    for path in [&repair.save_plan, &repair.loss_report].into_iter().flatten() {
        refuse_existing(path)?;
    }
    let folder = RunFolder::create(&session.settings.state, &session.run)?;
    let mut planned = match &repair.plan {
        Some(file) => from_file(session, repair, file)?,
        None => scan(session, repair, sync, &folder)?,
    };
    if let Some(path) = &repair.save_plan {
        copy_plan(&planned.plan, path)?;
    }
    let shown = repair.save_plan.as_ref().or(repair.plan.as_ref()).unwrap_or(&planned.plan).display().to_string();
    let works = planned.need.2 > 0 && !planned.tally.interrupted;
    if repair.apply && works {
        let lock = planned.lock.take();
        let done = apply(session, repair, folder, &planned, lock)?;
        planned.tally.add(&done);
    } else if !repair.apply && planned.need.2 == 0 && repair.save_plan.is_none() && repair.plan.is_none() {
        // Nothing to do leaves nothing behind.
        fs::remove_dir_all(&folder.path).ok();
    }
    if repair.plan.is_none() {
        session.nothing_selected(&mut planned.tally);
    }
    session.tell_losses(repair.loss_report.as_deref(), &mut planned.tally);
    let status = planned.tally.exit();
    let clean = status & !1 == 0 || (!repair.apply && planned.tally.harmed() == planned.tally.repairable);
    session.screen.event(Event::Summary {
        command: "repair".to_owned(),
        tally: Box::new(planned.tally),
        elapsed_s: session.elapsed(),
        plan: works.then_some(shown),
    });
    Ok((status, clean))
}

/// Scans the store and writes the plan into the run's folder.
fn scan(session: &mut Session, repair: &Repair, sync: &Sync, folder: &RunFolder) -> anyhow::Result<Planned> {
    let settings = session.settings.store(&repair.store.path);
    let (mut catalog, record) = session.catalog(false)?;
    let mut options = session.options(Mode::Repair, &settings)?;
    options.hold_findings = repair.apply;
    options.both_sides = sync.both_sides;
    let elsewhere = repair.into.is_some();
    let scan = Scan {
        store: repair.store.path.clone(),
        options,
        sources: settings.from.iter().map(spec).chain(sync.partner.clone()).collect(),
        plan: Some(folder.plan()),
        elsewhere,
        lock: repair.apply && !elsewhere,
    };
    let scanned = session.scan(scan, catalog.as_mut(), record)?;
    let store = scanned.store.ok_or_else(|| EngineError::Refused("the store was not opened".to_owned()))?;
    let mut tally = scanned.tally;
    tally.own_errors += u64::from(!record);
    Ok(Planned {
        tally,
        plan: folder.plan(),
        store: store.path,
        need: scanned.need,
        store_errors: scanned.store_errors,
        lock: scanned.lock,
    })
}

/// Checks a plan file and shows its steps.
fn from_file(session: &mut Session, repair: &Repair, file: &Path) -> anyhow::Result<Planned> {
    let header = PlanReader::open(file).map_err(EngineError::from)?.header;
    let store = links::resolve(&repair.store.path)
        .map_err(|e| EngineError::Usage(format!("cannot open {}: {e}", repair.store.path.display())))?;
    if path::escape(store.as_os_str().as_encoded_bytes()) != header.store {
        let text = format!("the plan {} is for {}, not for {}", file.display(), header.store, store.display());
        return Err(EngineError::Usage(text).into());
    }
    planfile::check(file, &store).map_err(EngineError::from)?;
    let (command, text) = ("repair".to_owned(), header.store.clone());
    let sources = header.sources.iter().map(|s| (s.name.clone(), s.time)).collect();
    session.screen.event(Event::Start { command, store: text, sources });
    let mut planned =
        Planned { tally: Tally::default(), plan: file.to_owned(), store, need: (0, 0, 0), store_errors: 0, lock: None };
    for step in PlanReader::open(file).map_err(EngineError::from)? {
        let step = step.map_err(EngineError::from)?;
        count(&mut planned, &step);
        let findings = step.each().into_iter().filter_map(|one| execute::finding(&one, &header.store, None));
        for finding in findings.filter(|_| !repair.apply) {
            session.screen.event(Event::Finding(Box::new(finding)));
        }
    }
    Ok(planned)
}

fn count(planned: &mut Planned, step: &Step) {
    let (bytes, files, writing) = &mut planned.need;
    *writing += u64::from(step.action.writes());
    if step.action.content().is_some() {
        let length = step.action.length();
        *bytes = bytes.saturating_add(length.checked_next_multiple_of(4096).unwrap_or(length));
        *files += 1;
    }
    for one in step.each() {
        match (&one.key, &one.action) {
            (_, Action::MakeFolder { .. }) => return,
            (Some(_), _) => planned.tally.count(one.verdict),
            (None, _) => planned.tally.companions_lost += 1,
        }
        planned.tally.repairable += u64::from(one.action.writes());
    }
}

fn copy_plan(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(to)?;
        std::io::copy(&mut links::open_named(from)?, &mut file)?;
        file.sync_all()
    };
    copy().with_context(|| format!("cannot write the plan to {}", to.display()))
}

/// Executes the plan.
fn apply(
    session: &mut Session,
    repair: &Repair,
    folder: RunFolder,
    planned: &Planned,
    lock: Option<Lock>,
) -> anyhow::Result<Tally> {
    let insisted = repair.write_to_sick_device || repair.into.is_some();
    let ailing = Ailing { read_errors: planned.store_errors, recorded: health::recorded_errors(&planned.store) };
    if let Some(text) = guards::sick(ailing, insisted) {
        return Err(EngineError::Refused(text).into());
    }
    let base = match &repair.into {
        Some(dir) => elsewhere(dir, planned)?,
        None => planned.store.clone(),
    };
    let settings = session.settings.store(&repair.store.path);
    let (run, state, lane) = (session.run.clone(), session.settings.state.clone(), session.lane(&settings));
    let (plan, need) = (planned.plan.clone(), (planned.need.0, planned.need.1));
    let (tally, _) = session.with(|observer, stop, _| {
        execute::execute(Execution {
            run,
            command: "repair".to_owned(),
            folder,
            plan,
            base_is_mailbox: base.join("cur").is_dir(),
            base,
            elsewhere: repair.into.is_some(),
            quarantine: settings.quarantine,
            state,
            lane,
            lock,
            need,
            observer,
            stop,
        })
    })?;
    Ok(tally)
}

/// The folder of `--into`, made where it is not there. It may touch neither the store nor a source, and where it
/// would, nothing is made.
fn elsewhere(dir: &Path, planned: &Planned) -> anyhow::Result<PathBuf> {
    let header = PlanReader::open(&planned.plan).map_err(EngineError::from)?.header;
    let sources = header.sources.iter().filter_map(|s| path::unescape(&s.path));
    let mut others: Vec<PathBuf> = sources.map(|bytes| PathBuf::from(OsString::from_vec(bytes))).collect();
    others.push(planned.store.clone());
    let absolute = std::path::absolute(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    // As far as it is there already, links resolved; the rest is about to be made.
    let there = absolute.ancestors().find(|a| a.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let opened = links::resolve(there).with_context(|| format!("cannot open {}", there.display()))?;
    let wanted = opened.join(absolute.strip_prefix(there).unwrap_or(Path::new("")));
    if let Some(other) = others.iter().find(|other| wanted.starts_with(other) || other.starts_with(&wanted)) {
        let what = if *other == planned.store { "store" } else { "source" };
        let text = format!("--into {} and the {what} {} touch", dir.display(), other.display());
        return Err(EngineError::Usage(text).into());
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    links::resolve(dir).with_context(|| format!("cannot open {}", dir.display()))
}

fn apart(dir: &Path, store: &Path) -> Result<(), EngineError> {
    match dir.starts_with(store) || store.starts_with(dir) {
        true => Err(EngineError::Usage(format!("--into {} and the store {} touch", dir.display(), store.display()))),
        false => Ok(()),
    }
}

/// Refuses a folder of `--into` inside the store before anything is scanned or made.
fn refuse_inside(dir: &Path, store: &Path) -> anyhow::Result<()> {
    let Ok(store) = links::resolve(store) else { return Ok(()) };
    let there = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    match links::resolve(there) {
        Ok(there) if there.starts_with(&store) => Ok(apart(&there, &store)?),
        _ => Ok(()),
    }
}
