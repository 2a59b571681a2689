//! `audit` and `verify`: scan, report, and for verify record.

use super::args::{Cli, Command};
use super::session::{Session, check_store, spec};
use super::values::StoreArg;
use crate::engine::account::EngineError;
use crate::engine::job::Mode;
use crate::engine::run::{Invocation, scan_stores};
use crate::model::event::{Event, Observer};
use crate::model::tally::Tally;
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
    if let Some(path) = &save {
        refuse_existing(path)?;
    }
    let (mut catalog, record) = session.catalog(mode == Mode::Verify)?;
    let mut tally = Tally { own_errors: u64::from(!record), ..Tally::default() };
    let mut plan = None;
    for store in stores {
        let scanned = one(session, mode, store, catalog.as_mut(), record, save.clone())?;
        tally.add(&scanned.tally);
        plan = plan.or(scanned.plan);
        if tally.interrupted {
            break;
        }
    }
    session.nothing_selected(&mut tally);
    let status = tally.exit();
    session.screen.event(Event::Summary {
        command: mode.name().to_owned(),
        tally: Box::new(tally),
        elapsed_s: session.elapsed(),
        plan: plan.map(|p: PathBuf| p.display().to_string()),
    });
    Ok(status)
}

fn one(
    session: &mut Session,
    mode: Mode,
    store: &StoreArg,
    catalog: Option<&mut crate::catalog::Catalog>,
    record: bool,
    plan: Option<PathBuf>,
) -> anyhow::Result<crate::engine::run::Scanned> {
    let settings = session.settings.store(&store.path);
    check_store(store)?;
    let options = session.options(mode, &settings)?;
    let (run, lane) = (session.run.clone(), session.lane(&settings));
    // A verify looks at the store alone: what it records must not depend on which backup was mounted.
    let sources = if mode == Mode::Verify { Vec::new() } else { settings.from.iter().map(spec).collect() };
    let (stores, state) = (vec![store.path.clone()], Some(session.settings.state.clone()));
    let scanned = session.with(|observer, stop, describe| {
        let elsewhere = false;
        scan_stores(Invocation {
            run,
            stores,
            sources,
            options,
            lane,
            catalog,
            record,
            observer,
            stop,
            describe,
            state,
            lock: false,
            plan,
            elsewhere,
        })
    })?;
    Ok(scanned)
}

/// A plan never overwrites a file.
pub fn refuse_existing(path: &std::path::Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(EngineError::Usage(format!("{} exists; a plan never overwrites a file", path.display())).into()),
        Err(_) => Ok(()),
    }
}
