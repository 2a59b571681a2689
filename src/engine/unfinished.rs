//! Runs that were cut off: before another run works on the same tree, each step that they had begun is settled,
//! and what they had planned and not come to is not forgotten.

use super::account::EngineError;
use super::job::state_error;
use super::planfile::PlanReader;
use super::runs::{self, RunFolder, RunNote};
use crate::apply::{FileLog, Line, Log, recover};
use crate::model::event::{Event, Observer};
use crate::model::journal::{Outcome, Record};
use crate::model::plan::{Action, Step};
use crate::model::{Key, Missing, RelPath, Verdict};
use crate::store::{self, target::lawful};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Messages and folders that the last repair of a store had planned to put back and did not come to, or failed to:
/// what it did put back makes the store look as if its owners had only deleted the rest.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    messages: HashMap<(RelPath, Key), Missing>,
    /// Folders and companion files.
    others: HashSet<RelPath>,
}

impl Resumed {
    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.others.is_empty()
    }

    /// As what this message of the mailbox in `dir` is still owed.
    pub fn of(&self, dir: &RelPath, key: &Key) -> Option<Missing> {
        if self.messages.is_empty() { None } else { self.messages.get(&(dir.clone(), key.clone())).copied() }
    }

    /// Whether this folder or companion file is still owed.
    pub fn owes(&self, path: &RelPath) -> bool {
        self.others.contains(path)
    }
}

/// What the last repair of `base` still owes, if nobody took it back.
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
    let past = Past::read(&folder.journal())?;
    let mut resumed = Resumed::default();
    if past.complete && past.failed.is_empty() {
        return Ok(resumed);
    }
    for step in PlanReader::open(&folder.plan())? {
        for step in step?.each() {
            owe(&past, step, &mut resumed);
        }
    }
    Ok(resumed)
}

/// Notes what a step was to bring back and did not.
fn owe(past: &Past, step: Step, resumed: &mut Resumed) {
    let missing = match step.verdict {
        Verdict::Missing(Missing::Lost) => Missing::Lost,
        // Whoever ran it wanted what nothing tells; whoever runs this says anew.
        Verdict::Missing(Missing::Undecided) if step.action.writes() => Missing::Undecided,
        _ => return,
    };
    if !past.owes(step.number) {
        return;
    }
    match (&step.action, step.key.clone(), store::split_message_path(&step.target)) {
        (_, Some(key), Some((_, dir, _))) => drop(resumed.messages.insert((dir, key), missing)),
        (Action::Report, ..) | (_, Some(_), None) => {}
        (_, None, _) => drop(resumed.others.insert(step.target)),
    }
}

/// What a journal says of the steps of its run, by their numbers.
#[derive(Default)]
struct Past {
    done: HashSet<u64>,
    /// Tried in vain.
    failed: HashSet<u64>,
    /// The run went through its whole plan.
    complete: bool,
}

impl Past {
    fn read(path: &Path) -> Result<Past, EngineError> {
        let log = FileLog::open_existing(path).map_err(state_error("cannot read", path))?.checked(lawful);
        let mut past = Past::default();
        for line in log.forward().map_err(state_error("cannot read", path))? {
            let Line::Record(record) = line.map_err(state_error("cannot read", path))? else { continue };
            match *record {
                Record::Done { number, outcome: Outcome::Done | Outcome::Already | Outcome::Conflict, .. } => {
                    past.failed.remove(&number);
                    past.done.insert(number);
                }
                Record::Done { number, outcome: Outcome::Failed | Outcome::Held, .. } => {
                    past.failed.insert(number);
                }
                Record::Close { complete } => past.complete = complete,
                _ => {}
            }
        }
        Ok(past)
    }

    fn owes(&self, number: u64) -> bool {
        if self.complete { self.failed.contains(&number) } else { !self.done.contains(&number) }
    }
}

/// Settles every unfinished run on `base`, and says so. To be called under the lock of `base`. A run whose files cannot be
/// opened any more (its quarantine was removed) is left as it is: nothing of it can be in the way.
///
/// # Errors
/// Where a journal cannot be read or completed: working on would make it unreadable what happened.
pub fn settle(state: &Path, base: &Path, own: &str, observer: &mut dyn Observer) -> Result<(), EngineError> {
    let (mut runs, mut made, mut not_made) = (0, 0, 0);
    for note in runs::all(state)?.into_iter().filter(|n| n.base == base && n.run != own) {
        let path = RunFolder::named(state, &note.run)?.journal();
        if !path.exists() || !note.quarantine.is_dir() {
            continue;
        }
        if ended(&path)? {
            continue;
        }
        let recovered = one(&note, &path)?;
        runs += u64::from(recovered.made + recovered.not_made + recovered.removed > 0);
        made += recovered.made;
        not_made += recovered.not_made;
    }
    if runs > 0 {
        let text =
            format!("an earlier run was cut off; what it had begun is settled: {made} done, {not_made} not done");
        observer.event(Event::Note { text });
    }
    Ok(())
}

/// Whether the journal's last record says that the run came to its end: one that stopped before, say because the
/// disk turned read-only, may have been kept from clearing away what it had staged.
fn ended(path: &Path) -> Result<bool, EngineError> {
    let log = FileLog::open_existing(path).map_err(state_error("cannot read", path))?.checked(lawful);
    let mut lines = log.backward().map_err(state_error("cannot read", path))?;
    match lines.next().transpose().map_err(state_error("cannot read", path))? {
        Some(Line::Record(record)) => Ok(matches!(*record, Record::Close { complete: true })),
        Some(Line::Damaged) => Ok(false),
        None => Ok(true),
    }
}

fn one(note: &RunNote, path: &Path) -> Result<crate::apply::Recovered, EngineError> {
    let fs = super::execute::quarantine_fs(note)?;
    let mut log = FileLog::open(path).map_err(state_error("cannot open", path))?.checked(lawful);
    Ok(recover(&fs, &mut log)?)
}
