//! `audit` and `verify`: scan, report, and for verify record.

use super::args::{Cli, Command, Verify};
use super::session::{Scan, Session, check_store, exit_of, loss_report, spec, told};
use super::trend::Early;
use super::values::StoreArg;
use crate::catalog::{Catalog, StoreId};
use crate::engine::account::EngineError;
use crate::engine::job::Mode;
use crate::engine::run::Scanned;
use crate::model::Stamp;
use crate::model::event::{Event, Observer};
use crate::model::tally::Tally;
use crate::report::metrics;
use crate::source::Spec as Replica;
use crate::sys::clock;
use std::path::PathBuf;

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, cli: &Cli) -> anyhow::Result<u8> {
    let (mode, stores, save) = match &cli.command {
        Command::Audit(audit) => (Mode::Audit, &audit.stores, audit.save_plan.clone()),
        Command::Verify(verify) => (Mode::Verify, &verify.stores, None),
        other => return Err(EngineError::Usage(format!("{} does not scan", other.name())).into()),
    };
    if save.is_some() && stores.len() > 1 {
        return Err(EngineError::Usage("a plan is for one store: --save-plan takes one STORE".to_owned()).into());
    }
    for path in save.as_deref().into_iter().chain(loss_report(cli)) {
        refuse_existing(path)?;
    }
    let against = match &cli.command {
        Command::Verify(verify) => replica(verify)?,
        _ => None,
    };
    let (mut catalog, record) = session.catalog(mode == Mode::Verify)?;
    let mut tally = Tally { own_errors: u64::from(!record), ..Tally::default() };
    let (mut plan, mut looked, mut seen) = (None, Vec::new(), Vec::new());
    for (number, store) in stores.iter().enumerate() {
        let began = clock::now();
        let scanned = match one(session, mode, store, against.clone(), catalog.as_mut(), record, save.clone()) {
            Ok(scanned) => scanned,
            // What was found in the stores before it is not thrown away.
            Err(error) if number > 0 => {
                exit_of(error).print();
                tally.own_errors += 1;
                tally.not_checked += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        tally.add(&scanned.tally);
        seen.extend(scanned.store.and_then(|store| store.id));
        if !record && session.settings.metrics.is_some() {
            looked.push(unrecorded(store, began, &scanned.tally));
        }
        plan = plan.or(scanned.plan);
        if tally.interrupted {
            break;
        }
    }
    session.nothing_selected(&mut tally);
    if mode == Mode::Verify && tally.exit() != 0 {
        early(session, catalog.as_ref(), &seen, &mut tally);
    }
    afterwards(session, mode, catalog.as_ref(), record, &mut tally, looked);
    session.tell_losses(loss_report(cli), &mut tally);
    let status = tally.exit();
    session.screen.event(Event::Summary {
        command: mode.name().to_owned(),
        tally: Box::new(tally),
        elapsed_s: session.elapsed(),
        plan: plan.map(|p: PathBuf| p.display().to_string()),
    });
    Ok(status)
}

/// What the nights together say of the stores' devices: a verify that has nothing to say does not say this either.
fn early(session: &mut Session, catalog: Option<&Catalog>, seen: &[StoreId], tally: &mut Tally) {
    let Some(catalog) = catalog else { return };
    let lines = || -> crate::catalog::Result<Vec<String>> {
        let rows = catalog.stores()?.into_iter().filter(|row| seen.contains(&row.id));
        let signs = rows.filter_map(|row| Early::of(catalog, &row, clock::now()).transpose());
        signs.map(|early| Ok(format!("early sign: {}", early?.line()))).collect()
    };
    match lines() {
        Ok(lines) => lines.into_iter().for_each(|text| session.screen.event(Event::Note { text })),
        Err(error) => {
            tally.own_errors += 1;
            session.screen.event(Event::Error { path: String::new(), what: error.to_string(), hint: None });
        }
    }
}

/// What follows the look at the stores: the catalog's backup of the day, and the metrics.
fn afterwards(
    session: &mut Session,
    mode: Mode,
    catalog: Option<&Catalog>,
    record: bool,
    tally: &mut Tally,
    looked: Vec<metrics::Store>,
) {
    let mut failed = Vec::new();
    if let (Mode::Verify, Some(catalog), true) = (mode, catalog, record) {
        failed.extend(super::catalog::daily(session, catalog));
    }
    failed.extend(super::metrics::write(session, catalog, looked).err().map(|error| told(&error)));
    for what in failed {
        tally.own_errors += 1;
        session.screen.event(Event::Error { path: String::new(), what, hint: None });
    }
}

/// A run that no catalog took down.
fn unrecorded(store: &StoreArg, began: Stamp, tally: &Tally) -> metrics::Store {
    let path = std::fs::canonicalize(&store.path).unwrap_or_else(|_| store.path.clone());
    let run = metrics::Run { began, ended: clock::now(), exit: tally.exit(), tally: tally.clone() };
    metrics::Store { run: Some(run), ..super::metrics::known(&path) }
}

fn one(
    session: &mut Session,
    mode: Mode,
    store: &StoreArg,
    against: Option<Replica>,
    catalog: Option<&mut Catalog>,
    record: bool,
    plan: Option<PathBuf>,
) -> anyhow::Result<Scanned> {
    let settings = session.settings.store(&store.path);
    check_store(store)?;
    let mut options = session.options(mode, &settings)?;
    // A verify looks at the store alone: what it records must not depend on which backup was mounted.
    let mut sources = if mode == Mode::Verify { Vec::new() } else { settings.from.iter().map(spec).collect() };
    if let Some(replica) = against {
        // A part of the store compares with nothing: whatever the settings give a night, this reads both sides.
        if options.budget.is_some() {
            let text = "--against reads both sides whole, without a budget".to_owned();
            session.screen.event(Event::Note { text });
        }
        (options.against, options.budget) = (true, None);
        sources.push(Replica { partner: true, ..replica });
    }
    let scan = Scan { store: store.path.clone(), options, sources, plan, elsewhere: false, lock: false };
    session.scan(scan, catalog, record)
}

/// What follows `--against`.
fn replica(verify: &Verify) -> anyhow::Result<Option<Replica>> {
    let Some(given) = &verify.against else { return Ok(None) };
    let usage = |text: &str| Err(EngineError::Usage(text.to_owned()).into());
    if verify.stores.len() > 1 {
        return usage("--against compares one store: name one STORE");
    }
    if given.pattern {
        return usage("--against compares with one replica: a pattern of snapshots is none");
    }
    Ok(Some(spec(given)))
}

/// Neither a plan nor a report overwrites a file.
pub fn refuse_existing(path: &std::path::Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => {
            Err(EngineError::Usage(format!("{} exists; no plan and no report overwrites a file", path.display()))
                .into())
        }
        Err(_) => Ok(()),
    }
}
