//! Runs that were cut off: before another run works on the same tree, each step that they had begun is settled,
//! and what they had planned and not come to is not forgotten.

use super::account::EngineError;
use super::job::state_error;
use super::planfile::PlanReader;
use super::runs::{self, RunFolder, RunNote};
use crate::apply::{FileLog, Line, Log, recover};
use crate::model::journal::{Outcome, Record};
use crate::model::plan::Action;
use crate::model::{Key, Missing, RelPath, Verdict};
use crate::store::maildir::{self, target::lawful};
use std::collections::HashSet;
use std::path::Path;

/// Messages and folders that the last repair of a store had planned to put back as lost and did not come to: what
/// it did come to makes the store look as if its owners had only deleted the rest.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    messages: HashSet<(RelPath, Key)>,
    /// Folders and companion files.
    others: HashSet<RelPath>,
}

impl Resumed {
    /// Whether this message of the mailbox in `dir` is still owed.
    pub fn holds(&self, dir: &RelPath, key: &Key) -> bool {
        !self.messages.is_empty() && self.messages.contains(&(dir.clone(), key.clone()))
    }

    /// Whether this folder or companion file is still owed.
    pub fn owes(&self, path: &RelPath) -> bool {
        self.others.contains(path)
    }
}

/// What the last repair of `base` still owes, if it was cut off and nobody took it back.
///
/// # Errors
/// Where its journal or its plan cannot be read.
pub fn owed(state: &Path, base: &Path) -> Result<Resumed, EngineError> {
    let notes: Vec<RunNote> = runs::all(state)?.into_iter().filter(|n| n.base == base).collect();
    let Some(last) = notes.iter().rev().find(|n| n.undoes.is_none()) else { return Ok(Resumed::default()) };
    let folder = RunFolder::named(state, &last.run)?;
    let undone = notes.iter().any(|n| n.undoes.as_ref() == Some(&last.run));
    if undone || !folder.plan().exists() || !folder.journal().exists() {
        return Ok(Resumed::default());
    }
    let Some(done) = done_of_unfinished(&folder.journal())? else { return Ok(Resumed::default()) };
    let mut resumed = Resumed::default();
    for step in PlanReader::open(&folder.plan())? {
        let step = step?;
        if step.verdict != Verdict::Missing(Missing::Lost) || done.contains(&step.number) {
            continue;
        }
        match (&step.action, step.key.clone(), maildir::split_message_path(&step.target)) {
            (_, Some(key), Some((dir, _))) => drop(resumed.messages.insert((dir, key))),
            (Action::Report, ..) | (_, Some(_), None) => {}
            (_, None, _) => drop(resumed.others.insert(step.target)),
        }
    }
    Ok(resumed)
}

/// Numbers of the steps that a run did; `None` where it went through its whole plan.
fn done_of_unfinished(path: &Path) -> Result<Option<HashSet<u64>>, EngineError> {
    let log = FileLog::open_existing(path).map_err(state_error("cannot read", path))?.checked(lawful);
    let mut done = HashSet::new();
    for line in log.forward().map_err(state_error("cannot read", path))? {
        let Line::Record(record) = line.map_err(state_error("cannot read", path))? else { continue };
        match *record {
            Record::Done { number, outcome: Outcome::Done | Outcome::Already | Outcome::Conflict, .. } => {
                done.insert(number);
            }
            Record::Close { complete: true } => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(done))
}

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
    let log = FileLog::open_existing(path).map_err(state_error("cannot read", path))?.checked(lawful);
    let mut lines = log.backward().map_err(state_error("cannot read", path))?;
    match lines.next().transpose().map_err(state_error("cannot read", path))? {
        Some(Line::Record(record)) => Ok(matches!(*record, Record::Close { .. })),
        Some(Line::Damaged) => Ok(false),
        None => Ok(true),
    }
}

fn one(note: &RunNote, path: &Path) -> Result<crate::apply::Recovered, EngineError> {
    let fs = super::execute::quarantine_fs(note)?;
    let mut log = FileLog::open(path).map_err(state_error("cannot open", path))?.checked(lawful);
    Ok(recover(&fs, &mut log)?)
}
