//! `audit` and `verify`: scan, report, and for verify record.

use super::args::{Cli, Command};
use super::session::{Scan, Session, check_store, exit_of, spec};
use super::values::StoreArg;
use crate::engine::account::EngineError;
use crate::engine::job::Mode;
use crate::engine::run::Scanned;
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
    for (number, store) in stores.iter().enumerate() {
        let scanned = match one(session, mode, store, catalog.as_mut(), record, save.clone()) {
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
) -> anyhow::Result<Scanned> {
    let settings = session.settings.store(&store.path);
    check_store(store)?;
    let options = session.options(mode, &settings)?;
    // A verify looks at the store alone: what it records must not depend on which backup was mounted.
    let sources = if mode == Mode::Verify { Vec::new() } else { settings.from.iter().map(spec).collect() };
    let scan = Scan { store: store.path.clone(), options, sources, plan, elsewhere: false, lock: false };
    session.scan(scan, catalog, record)
}

/// A plan never overwrites a file.
pub fn refuse_existing(path: &std::path::Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(EngineError::Usage(format!("{} exists; a plan never overwrites a file", path.display())).into()),
        Err(_) => Ok(()),
    }
}
