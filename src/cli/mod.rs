//! The command line: arguments, settings, screens, one file per command.
//!
//! The only module that knows a terminal, the environment and the configuration file.

pub mod accept;
mod ages;
pub mod args;
pub mod catalog;
pub mod check;
pub mod complete;
pub mod config;
pub mod config_file;
pub mod drill;
pub mod man;
pub mod metrics;
pub mod quarantine;
pub mod repair;
pub mod scan;
pub mod screen;
pub mod session;
pub mod status;
mod trend;
pub mod triage;
pub mod undo;
pub mod values;

use crate::model::event::{Event, Observer};
use crate::model::tally::Tally;
use args::{Cli, Command, Exit};
use session::Session;
use std::io::Write;

/// Runs the program; returns its exit status.
pub fn main() -> u8 {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        // A monitoring system takes other codes, and reads standard output only.
        Err(exit) if exit.status != 0 && check::is_meant(std::env::args_os()) => return check::unknown(&exit.text),
        Err(exit) => return exit.print(),
    };
    match &cli.command {
        Command::Check(_) => run(&cli).unwrap_or_else(|exit| check::unknown(&exit.text)),
        // A lane has no terminal to complain to: its parent sees the socket close.
        Command::Lane => u8::from(crate::engine::lane::lane_main().is_err()) * 8,
        Command::Completions(completions) => {
            // A closed pipe is the reader's decision.
            std::io::stdout().write_all(&complete::script(completions.shell)).ok();
            0
        }
        _ => run(&cli).unwrap_or_else(|exit| exit.print()),
    }
}

/// A run that failed as a whole still ends with its summary: whoever waits for the last line gets it, and it
/// says that nothing was checked. Usage errors, where nothing was begun, have none.
fn failed(session: &mut Session, cli: &Cli, error: anyhow::Error) -> Result<u8, Exit> {
    let exit = session::exit_of(error);
    let runs = matches!(cli.command, Command::Audit(_) | Command::Verify(_) | Command::Repair(_) | Command::Undo(_));
    if exit.status == args::USAGE || !runs {
        return Err(exit);
    }
    exit.print();
    let tally = Tally { own_errors: 1, not_checked: 1, ..Tally::default() };
    let status = tally.exit() | exit.status;
    session.screen.event(Event::Summary {
        command: cli.command.name().to_owned(),
        tally: Box::new(tally),
        elapsed_s: session.elapsed(),
        plan: None,
    });
    Ok(status)
}

fn run(cli: &Cli) -> Result<u8, Exit> {
    let mut session = Session::open(cli)?;
    let result = match &cli.command {
        Command::Audit(_) | Command::Verify(_) => scan::run(&mut session, cli),
        Command::Repair(repair) => repair::run(&mut session, repair),
        Command::Triage(triage) => triage::run(&mut session, triage),
        Command::Undo(undo) => undo::run(&mut session, undo),
        Command::Check(check) => return Ok(check::run(&mut session, check)),
        Command::Status(status) => status::run(&mut session, status),
        Command::Catalog(catalog) => catalog::run(&mut session, catalog),
        Command::Quarantine(quarantine) => quarantine::run(&mut session, quarantine),
        Command::Accept(accept) => accept::run(&mut session, accept),
        Command::Drill(drill) => drill::run(&mut session, drill),
        Command::Completions(_) | Command::Lane => Ok(0),
    };
    let status = match result {
        Ok(status) => status,
        Err(error) => failed(&mut session, cli, error)?,
    };
    match session.screen.failure() {
        Some(error) => {
            Exit { status: 8, text: format!("error: cannot write the report: {error}\n") }.print();
            Ok(status | 8)
        }
        None => Ok(status),
    }
}
