//! Runs that were killed: before another run works on the same tree, each step that they had begun is settled.

use super::account::EngineError;
use super::job::state_error;
use super::runs::{self, RunFolder, RunNote};
use crate::apply::{FileLog, Line, Log, recover};
use crate::model::journal::Record;
use std::path::Path;

/// What settling found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    pub runs: u64,
    /// Steps that had been begun and turned out to be made, and not to be.
    pub made: u64,
    pub not_made: u64,
}

/// Settles every unfinished run on `base`. To be called under the lock of `base`. A run whose files cannot be
/// opened any more (its quarantine was removed) is left as it is: nothing of it can be in the way.
///
/// # Errors
/// Where a journal cannot be read or completed: working on would make it unreadable what happened.
pub fn settle(state: &Path, base: &Path, own: &str) -> Result<Settled, EngineError> {
    let mut settled = Settled::default();
    for note in runs::all(state)?.into_iter().filter(|n| n.base == base && n.run != own) {
        let path = RunFolder::named(state, &note.run)?.journal();
        if !path.exists() || !note.quarantine.is_dir() {
            continue;
        }
        if ended(&path)? {
            continue;
        }
        let recovered = one(&note, &path)?;
        settled.runs += 1;
        settled.made += recovered.made;
        settled.not_made += recovered.not_made;
    }
    Ok(settled)
}

/// Whether the journal's last record says that the run ended by itself.
fn ended(path: &Path) -> Result<bool, EngineError> {
    let log = FileLog::open_existing(path).map_err(state_error("cannot read", path))?;
    let mut lines = log.backward().map_err(state_error("cannot read", path))?;
    match lines.next().transpose().map_err(state_error("cannot read", path))? {
        Some(Line::Record(record)) => Ok(matches!(*record, Record::Close { .. })),
        Some(Line::Damaged) => Ok(false),
        None => Ok(true),
    }
}

fn one(note: &RunNote, path: &Path) -> Result<crate::apply::Recovered, EngineError> {
    let fs = super::execute::quarantine_fs(note)?;
    let mut log = FileLog::open(path).map_err(state_error("cannot open", path))?;
    Ok(recover(&fs, &mut log)?)
}
