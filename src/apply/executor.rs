//! Executes a plan: judges each step against the store, stages and proves its bytes, commits in batches.
//!
//! May never hold the whole plan, nor go on after the file system refused for good.

use super::batch::{Applied, ApplyError, Entry, Report, Session, Stop};
use super::fault::Reach;
use super::judge::{Judged, judge};
use super::log::Log;
use super::numbers::Numbers;
use super::stage;
use super::supply::{Prover, Supply};
use crate::model::journal::{Change, Intent, Outcome, Record};
use crate::model::limits::{APPLY_BATCH, APPLY_BATCH_BYTES};
use crate::model::plan::{Action, SCHEMA, Step};
use crate::model::{RelPath, Stat};
use crate::sys::fs::Fs;
use std::collections::HashSet;
use std::time::Duration;

/// What a run is called, where it works, and how much it does at a time.
#[derive(Clone)]
pub struct Options<'a> {
    pub run: String,
    /// Absolute path of the tree that targets lie in.
    pub base: String,
    /// Absolute path of the quarantine folder that the `Fs` was opened on.
    pub quarantine: String,
    /// Steps that are written, synced and renamed together.
    pub batch: usize,
    /// Polled after every step; once true, the batch in hand is finished and the run ends.
    pub interrupt: &'a dyn Fn() -> bool,
    /// Lets so much time pass.
    pub pause: &'a dyn Fn(Duration),
}

impl<'a> Options<'a> {
    /// Never interrupted, with batches of the usual size.
    pub fn new(run: &str, base: &str, quarantine: &str) -> Options<'a> {
        Options {
            run: run.to_owned(),
            base: base.to_owned(),
            quarantine: quarantine.to_owned(),
            batch: APPLY_BATCH,
            interrupt: &|| false,
            pause: &std::thread::sleep,
        }
    }

    pub(super) fn open(&self, undoes: Option<String>) -> Record {
        Record::Open {
            schema: SCHEMA.to_owned(),
            run: self.run.clone(),
            base: self.base.clone(),
            quarantine: self.quarantine.clone(),
            undoes,
        }
    }
}

/// Carries out the steps of one plan.
pub struct Executor<'a> {
    fs: &'a dyn Fs,
    log: &'a mut dyn Log,
    supply: &'a mut dyn Supply,
    prover: &'a mut dyn Prover,
    options: Options<'a>,
}

impl<'a> Executor<'a> {
    pub fn new(
        fs: &'a dyn Fs,
        log: &'a mut dyn Log,
        supply: &'a mut dyn Supply,
        prover: &'a mut dyn Prover,
        options: Options<'a>,
    ) -> Executor<'a> {
        Executor { fs, log, supply, prover, options }
    }

    /// Settles what an interrupted attempt of this run left, then executes the steps. Steps that this run
    /// did before are recognised by their numbers; a run must always be given the same plan.
    pub fn run(
        self,
        steps: &mut dyn Iterator<Item = Result<Step, String>>,
        report: Report<'_>,
    ) -> Result<Applied, ApplyError> {
        let session = Session::open(self.fs, self.log, report, &self.options, None)?;
        let mut work = Work {
            session,
            supply: self.supply,
            prover: self.prover,
            options: self.options,
            seen: Numbers::default(),
            full: HashSet::new(),
            batch: Vec::new(),
            batch_bytes: 0,
        };
        for step in steps {
            match step {
                Err(text) => {
                    work.flush()?;
                    return Err(ApplyError::Plan(text));
                }
                Ok(_) if work.session.applied.stop.is_some() => work.session.applied.left += 1,
                Ok(step) => work.take(step)?,
            }
        }
        work.flush()?;
        work.session.close()
    }
}

/// A plan half-way through.
struct Work<'s> {
    session: Session<'s>,
    supply: &'s mut dyn Supply,
    prover: &'s mut dyn Prover,
    options: Options<'s>,
    /// Numbers that the plan used so far.
    seen: Numbers,
    /// Accounts whose quota is exhausted.
    full: HashSet<String>,
    batch: Vec<Entry>,
    batch_bytes: u64,
}

impl Work<'_> {
    /// Prepares one step, and commits when the batch is full or the run is to end.
    fn take(&mut self, step: Step) -> Result<(), ApplyError> {
        let entry = self.prepare(step);
        self.batch.push(entry);
        if (self.options.interrupt)() {
            self.session.applied.stop.get_or_insert(Stop::Interrupted);
        }
        let full = self.batch.len() >= self.options.batch || self.batch_bytes >= APPLY_BATCH_BYTES;
        if full || self.session.applied.stop.is_some() { self.flush() } else { Ok(()) }
    }

    fn prepare(&mut self, step: Step) -> Entry {
        if !self.seen.insert(step.number) {
            return Entry::unrecorded(step, Outcome::Failed, "another step of the plan has the same number");
        }
        if self.session.earlier.contains(step.number) {
            return Entry::unrecorded(step, Outcome::Already, "done earlier in this run");
        }
        if self.full.contains(&step.account) {
            return Entry::over(step, Outcome::Held, "not tried: the account's quota is exhausted");
        }
        let judged = judge(self.session.fs, &mut self.session.boxes, self.prover, &step);
        match judged {
            Judged::Over(outcome, text) => Entry::over(step, outcome, text),
            Judged::MakeFolder => ready(step, Change::MakeFolder, None),
            Judged::Carry { moved } => {
                let from = match &step.action {
                    Action::Rename { from, .. } => from.clone(),
                    _ => step.target.clone(),
                };
                ready(step, Change::Carry { from }, Some(moved))
            }
            Judged::Take { at, old } => {
                let slot = Some(step.number.to_string());
                let intent = Intent { step, change: Change::Take, at, slot, staged: None, replaced: Some(old) };
                Entry::Ready { intent: Box::new(intent), note: String::new() }
            }
            Judged::Fresh => {
                let at = step.target.clone();
                self.stage(step, at, None)
            }
            Judged::Replace { at, old } => self.stage(step, at, Some(old)),
        }
    }

    fn stage(&mut self, step: Step, at: RelPath, old: Option<Stat>) -> Entry {
        let length = step.action.length();
        let fs = self.session.fs;
        let staged = match stage::room(fs, length) {
            Ok(()) => stage::stage(fs, self.supply, step, at, old),
            Err(unstaged) => Err((Box::new(step), unstaged)),
        };
        match staged {
            Ok(entry) => {
                self.batch_bytes = self.batch_bytes.saturating_add(length);
                entry
            }
            Err((step, unstaged)) => {
                match unstaged.reach {
                    Reach::Step => {}
                    Reach::Account => {
                        self.full.insert(step.account.clone());
                    }
                    Reach::Run => self.stop(unstaged.text.clone()),
                }
                Entry::over(*step, Outcome::Failed, unstaged.text)
            }
        }
    }

    fn stop(&mut self, text: String) {
        self.session.applied.stop.get_or_insert(Stop::FileSystem(text));
    }

    /// Syncs, proves and commits what was prepared.
    fn flush(&mut self) -> Result<(), ApplyError> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(text) = stage::sync(self.session.fs, &mut batch) {
            self.stop(text);
        }
        stage::prove(self.session.fs, self.prover, &mut batch);
        let last = batch.iter().rev().find_map(Entry::target).cloned();
        // What was listed to choose what to stage is too old to move files by.
        self.session.boxes.refresh();
        self.session.commit(batch)?;
        self.session.boxes.keep_only(last.as_ref());
        Ok(())
    }
}

fn ready(step: Step, change: Change, staged: Option<Stat>) -> Entry {
    let at = step.target.clone();
    Entry::Ready {
        intent: Box::new(Intent { step, change, at, slot: None, staged, replaced: None }),
        note: String::new(),
    }
}
