//! Carries out a batch of changes between its two journal records: `Begin` before, `Done` after the sync.
//!
//! May not judge or stage; what reaches it was proven (a repair) or placed by an earlier run (an undo).

use super::change::{Changed, Refusal, perform, slot_of};
use super::claim;
use super::dotlock::{self, Locks, Patience, Unlocked};
use super::executor::Options;
use super::log::{Line, Log};
use super::mailbox::Mailboxes;
use super::numbers::Numbers;
use super::recover::recover;
use crate::model::journal::{Change, Intent, Outcome, Record};
use crate::model::plan::Step;
use crate::model::{RelPath, Stat};
use crate::sys::dir::nothing_there;
use crate::sys::fs::{Fs, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Hears what came of each step, once that is on the disk.
pub type Report<'a> = &'a mut dyn FnMut(&Step, Outcome, &str);

/// What a run did. Counts steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    pub done: u64,
    pub already: u64,
    pub failed: u64,
    pub conflicts: u64,
    pub held: u64,
    pub skipped: u64,
    /// Not looked at, because the run stopped before.
    pub left: u64,
    /// Stored bytes that were put into place.
    pub bytes: u64,
    /// Lines of the journal of an undone run that are no records: what they told of was not taken back.
    pub damaged_lines: u64,
    /// Why the run stopped before its end.
    pub stop: Option<Stop>,
}

/// Why a run stopped before its end. Running it again goes on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Interrupted,
    /// The file system takes no more: full, read-only, or a sync failed. In words, with what helps.
    FileSystem(String),
}

/// What keeps a run from working at all.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{doing} the journal: {source}")]
    Journal { doing: &'static str, source: io::Error },
    #[error("the journal belongs to another run or folder ({0})")]
    Foreign(String),
    #[error("the plan cannot be read: {0}")]
    Plan(String),
    #[error("{doing}: {source}")]
    FileSystem { doing: String, source: io::Error },
}

impl ApplyError {
    pub(super) fn journal(doing: &'static str) -> impl FnOnce(io::Error) -> ApplyError {
        move |source| ApplyError::Journal { doing, source }
    }
}

/// A step on its way through a batch.
pub(super) enum Entry {
    /// To be carried out. `note` says what could not be carried over.
    Ready { intent: Box<Intent>, note: String },
    /// Nothing more to do. `record` says whether the journal should know.
    Over { step: Box<Step>, outcome: Outcome, detail: String, record: bool },
}

impl Entry {
    pub(super) fn over(step: Step, outcome: Outcome, detail: impl Into<String>) -> Entry {
        Entry::Over { step: Box::new(step), outcome, detail: detail.into(), record: true }
    }

    /// One that the journal need not know of.
    pub(super) fn unrecorded(step: Step, outcome: Outcome, detail: impl Into<String>) -> Entry {
        Entry::Over { step: Box::new(step), outcome, detail: detail.into(), record: false }
    }

    /// Where a step that is to be carried out changes something.
    pub(super) fn target(&self) -> Option<&RelPath> {
        match self {
            Entry::Ready { intent, .. } => Some(&intent.at),
            Entry::Over { .. } => None,
        }
    }
}

/// An entry and, if it was to be carried out, what came of it.
type Tried = (Entry, Option<Result<Changed, Refusal>>);

/// Directories that could not be synced, with the reason.
type Unsynced = BTreeMap<(Tree, RelPath), String>;

/// One open run: what repair and undo share.
pub(super) struct Session<'a> {
    pub fs: &'a dyn Fs,
    pub log: &'a mut dyn Log,
    pub report: Report<'a>,
    pub boxes: Mailboxes,
    pub applied: Applied,
    /// Steps that this run carried out earlier, before it was interrupted.
    pub earlier: Numbers,
    /// Whether staged bytes that were not placed may be removed: they are ours in a repair, and what an
    /// undo puts back is the only copy of it.
    pub owns_slots: bool,
    locks: Locks<'a>,
    /// Steps that were not done.
    undone: BTreeSet<u64>,
    /// Changes of which only the disk knows whether they were made.
    unknown: u64,
    /// Staged bytes that were not placed could not be removed; recovery will, if the journal says that it must.
    litter: bool,
}

impl<'a> Session<'a> {
    /// Opens the journal: writes its first line, or settles what an earlier attempt left.
    pub(super) fn open(
        fs: &'a dyn Fs,
        log: &'a mut dyn Log,
        report: Report<'a>,
        options: &Options<'a>,
        undoes: Option<String>,
    ) -> Result<Session<'a>, ApplyError> {
        let open = options.open(undoes);
        let first = log.forward().map_err(ApplyError::journal("reading"))?.next();
        match first.transpose().map_err(ApplyError::journal("reading"))? {
            None => log.append(std::slice::from_ref(&open)).map_err(ApplyError::journal("starting"))?,
            Some(Line::Record(found)) if *found == open => {}
            Some(found) => return Err(ApplyError::Foreign(format!("{found:?}"))),
        }
        let recovered = recover(fs, log)?;
        Ok(Session {
            fs,
            log,
            report,
            boxes: Mailboxes::default(),
            applied: Applied::default(),
            earlier: recovered.done,
            owns_slots: matches!(open, Record::Open { undoes: None, .. }),
            locks: Locks::new(Patience { pause: options.pause, interrupt: options.interrupt }),
            undone: BTreeSet::new(),
            unknown: 0,
            litter: false,
        })
    }

    /// Carries out what is ready, records and reports everything, in order.
    pub(super) fn commit(&mut self, batch: Vec<Entry>) -> Result<(), ApplyError> {
        let begins: Vec<Record> = batch
            .iter()
            .filter_map(|entry| match entry {
                Entry::Ready { intent, .. } => Some(Record::Begin(intent.clone())),
                Entry::Over { .. } => None,
            })
            .collect();
        if !begins.is_empty() {
            self.log.append(&begins).map_err(ApplyError::journal("writing"))?;
        }
        drop(begins);
        let mut results: Vec<Tried> = Vec::with_capacity(batch.len());
        for entry in batch {
            let result = match &entry {
                Entry::Ready { intent, .. } => Some(self.under_lock(intent)),
                Entry::Over { .. } => None,
            };
            self.note_undone(&entry, result.as_ref());
            results.push((entry, result));
        }
        self.locks.release(self.fs);
        self.leave_stuck_open(&mut results);
        let unsynced = self.sync(&results);
        for (entry, result) in &mut results {
            if let Some(result) = result
                && let Some(late) = claim::told_late(self.fs, entry, result)
            {
                *result = Err(late);
            }
        }
        let unplaced = unplaced(&results, &unsynced);
        self.record(results, &unsynced)?;
        // Only now: an empty slot of an open change would look as if its file had been placed.
        unplaced.iter().for_each(|(slot, staged)| self.drop_staged(slot, staged));
        Ok(())
    }

    /// Remembers a step that others may need and that was not done.
    fn note_undone(&mut self, entry: &Entry, result: Option<&Result<Changed, Refusal>>) {
        let (step, done) = match entry {
            Entry::Ready { intent, .. } => (&intent.step, matches!(result, Some(Ok(_) | Err(Refusal::Already(_))))),
            Entry::Over { step, outcome, .. } => (&**step, matches!(outcome, Outcome::Done | Outcome::Already)),
        };
        // No step needs a message.
        if !done && step.key.is_none() {
            self.undone.insert(step.number);
        }
    }

    /// Makes one change, alone in its mailbox where it has to be.
    fn under_lock(&mut self, intent: &Intent) -> Result<Changed, Refusal> {
        if intent.step.needs.iter().any(|number| self.undone.contains(number)) {
            return Err(Refusal::Busy("a step that comes first was not done".to_owned()));
        }
        match self.locks.hold(self.fs, dotlock::lock_of(intent)) {
            Ok(waited) => {
                if waited {
                    self.boxes.refresh();
                }
                if claim::is_needed(intent) {
                    return claim::perform_alone(self.fs, &mut self.boxes, &mut self.locks, intent);
                }
                self.nobody_in(intent)?;
                perform(self.fs, &mut self.boxes, intent)
            }
            Err(Unlocked::Busy(text)) => Err(Refusal::Busy(text)),
            Err(Unlocked::Failed(text)) => Err(Refusal::Failed(text)),
        }
    }

    /// Whether a change to the indexes of a mailbox meets no session in it.
    fn nobody_in(&self, intent: &Intent) -> Result<(), Refusal> {
        let Some(log) = dotlock::session_of(intent) else { return Ok(()) };
        match self.fs.is_idle(Tree::Base, &log) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Busy(format!("a client or another program has this mailbox open ({log})"))),
            Err(error) => Err(Refusal::Busy(format!("whether a client has this mailbox open is not known ({error})"))),
        }
    }

    /// Changes under a lock that could not be given back stay open, so that the next run finds and removes it.
    fn leave_stuck_open(&mut self, results: &mut [Tried]) {
        for (lock, text) in std::mem::take(&mut self.locks.stuck) {
            for (entry, result) in results.iter_mut() {
                if matches!(entry, Entry::Ready { intent, .. } if dotlock::lock_of(intent).as_ref() == Some(&lock)) {
                    *result = Some(Err(Refusal::Unknown(text.clone())));
                }
            }
        }
    }

    /// Removes staged bytes that found no place. What cannot be removed now is removed by the next recovery.
    fn drop_staged(&mut self, slot: &RelPath, staged: &Stat) {
        if !self.owns_slots {
            return;
        }
        if let Ok(Some((_, found))) = self.fs.stat(Tree::Quarantine, slot)
            && found.same_file(staged)
        {
            self.litter |= self.fs.unlink_quarantine(slot).is_err();
        }
    }

    /// Syncs every directory that a change touched; answers those that could not be, with the reason.
    /// A refused change counts too: it may have been made and taken back, and only half of that be there
    /// after a power cut.
    fn sync(&self, results: &[Tried]) -> Unsynced {
        let dirs: BTreeSet<(Tree, RelPath)> = results.iter().flat_map(reached).collect();
        let mut failed = Unsynced::new();
        for (tree, dir) in dirs {
            if let Err(error) = sync_standing(self.fs, tree, &dir) {
                let place = if tree == Tree::Base { dir.to_string() } else { "quarantine".to_owned() };
                failed.insert((tree, dir), format!("syncing {place}: {error}"));
            }
        }
        failed
    }

    /// Appends what became of the batch, then tells it.
    fn record(&mut self, results: Vec<Tried>, unsynced: &Unsynced) -> Result<(), ApplyError> {
        let mut records = Vec::new();
        let mut told = Vec::new();
        for tried in results {
            let (record, step, outcome, detail) = self.conclude(tried, unsynced);
            records.extend(record);
            told.push((step, outcome, detail));
        }
        let written = if records.is_empty() { Ok(()) } else { self.log.append(&records) };
        for (step, outcome, detail) in told {
            match (&written, outcome) {
                (Err(error), Outcome::Done) => {
                    let detail = format!("{detail}; but the journal could not be written ({error}): run again");
                    self.tell(&step, Outcome::Failed, &detail);
                }
                _ => self.tell(&step, outcome, &detail),
            }
        }
        written.map_err(ApplyError::journal("writing"))
    }

    /// The record and the words for one entry.
    fn conclude(&mut self, tried: Tried, unsynced: &Unsynced) -> (Option<Record>, Step, Outcome, String) {
        let trouble = reached(&tried).iter().find_map(|dir| unsynced.get(dir));
        let (intent, note, result) = match tried {
            (Entry::Over { step, outcome, detail, record }, _) => {
                let record = record.then(|| done(step.number, outcome, &detail, None));
                return (record, *step, outcome, detail);
            }
            (Entry::Ready { intent, note }, Some(result)) => (intent, note, result),
            (Entry::Ready { intent, note }, None) => (intent, note, Err(Refusal::Failed("not carried out".to_owned()))),
        };
        let (outcome, detail, changed) = match (result, trouble) {
            (Err(Refusal::Unknown(text)), _) => return self.leave_open(*intent, text, false),
            // No `Done`: what of it is on the medium is for the next run to settle.
            (_, Some(text)) => return self.leave_open(*intent, text.clone(), true),
            (Ok(changed), None) => {
                self.applied.bytes += staged_bytes(&intent);
                (Outcome::Done, describe(&intent, &changed, &note), Some(changed))
            }
            (Err(Refusal::Stranded(text, saved)), None) => {
                let kept = Changed { at: intent.at.clone(), placed: None, saved: Some(saved) };
                (Outcome::Conflict, text, Some(kept))
            }
            (Err(Refusal::Conflict(text)), None) => (Outcome::Conflict, text, None),
            (Err(Refusal::Already(text)), None) => (Outcome::Already, text, None),
            (Err(Refusal::Failed(text)), None) => (Outcome::Failed, text, None),
            (Err(Refusal::Busy(text)), None) => (Outcome::Held, format!("{text}; run again"), None),
        };
        (Some(done(intent.step.number, outcome, &detail, changed.as_ref())), intent.step, outcome, detail)
    }

    fn leave_open(&mut self, intent: Intent, text: String, stop: bool) -> (Option<Record>, Step, Outcome, String) {
        self.unknown += 1;
        if stop {
            self.applied.stop.get_or_insert_with(|| Stop::FileSystem(text.clone()));
        }
        (None, intent.step, Outcome::Failed, format!("not known to be on the disk: {text}; run again to settle it"))
    }

    fn tell(&mut self, step: &Step, outcome: Outcome, detail: &str) {
        let counter = match outcome {
            Outcome::Done => &mut self.applied.done,
            Outcome::Already => &mut self.applied.already,
            Outcome::Failed => &mut self.applied.failed,
            Outcome::Conflict => &mut self.applied.conflicts,
            Outcome::Held => &mut self.applied.held,
            Outcome::Skipped => &mut self.applied.skipped,
        };
        *counter += 1;
        (self.report)(step, outcome, detail);
    }

    /// Writes the last line.
    pub(super) fn close(self) -> Result<Applied, ApplyError> {
        let clean = self.locks.end(self.fs) && !self.litter;
        let complete = self.applied.stop.is_none() && self.unknown == 0 && clean;
        self.log.append(&[Record::Close { complete }]).map_err(ApplyError::journal("closing"))?;
        Ok(self.applied)
    }
}

/// A `Done` record.
pub(super) fn done(number: u64, outcome: Outcome, detail: &str, changed: Option<&Changed>) -> Record {
    Record::Done {
        number,
        outcome,
        detail: detail.to_owned(),
        at: changed.map(|c| c.at.clone()),
        placed: changed.and_then(|c| c.placed),
        saved: changed.and_then(|c| c.saved),
    }
}

/// Slots of changes that were refused for certain, with the new bytes that they hold.
fn unplaced(results: &[Tried], unsynced: &Unsynced) -> Vec<(RelPath, Stat)> {
    let refused = |(_, result): &&Tried| {
        matches!(result, Some(Err(Refusal::Conflict(_) | Refusal::Failed(_) | Refusal::Already(_) | Refusal::Busy(_))))
    };
    let slot = |tried: &Tried| match &tried.0 {
        Entry::Ready { intent, .. } if matches!(intent.change, Change::Exchange | Change::Put) => {
            let certain = !reached(tried).iter().any(|dir| unsynced.contains_key(dir));
            if certain { Some((slot_of(intent).ok()?, intent.staged?)) } else { None }
        }
        _ => None,
    };
    results.iter().filter(refused).filter_map(slot).collect()
}

/// Syncs a directory; where it was removed since, by this batch or its owner, or is none any more, the nearest one above it that
/// stands, for what went with it shows only there.
pub(super) fn sync_standing(fs: &dyn Fs, tree: Tree, dir: &RelPath) -> io::Result<()> {
    match (fs.sync_dir(tree, dir), dir.parent()) {
        (Err(error), Some(above)) if nothing_there(&error) => sync_standing(fs, tree, &above),
        (synced, _) => synced,
    }
}

/// The directories that trying a change may have touched.
fn reached((entry, result): &Tried) -> Vec<(Tree, RelPath)> {
    match (entry, result) {
        (Entry::Ready { intent, .. }, Some(Ok(changed))) => touched(intent, &changed.at),
        (Entry::Ready { intent, .. }, Some(Err(_))) => touched(intent, &intent.at),
        _ => Vec::new(),
    }
}

/// The directories whose names a change touches: its own, and the one that its lock lay in.
pub(super) fn touched(intent: &Intent, at: &RelPath) -> Vec<(Tree, RelPath)> {
    let parent = |path: &RelPath| (Tree::Base, path.parent().unwrap_or_default());
    let quarantine = (Tree::Quarantine, RelPath::root());
    let mut dirs = match &intent.change {
        Change::Exchange | Change::Put | Change::Take => vec![parent(at), quarantine],
        // Where a move is link and unlink, a name too many goes by way of the quarantine.
        Change::Carry { from } => vec![parent(at), parent(from), quarantine],
        // The folder itself too: its owner and mode are its own.
        Change::MakeFolder => vec![parent(at), (Tree::Base, at.clone())],
        Change::RemoveFolder => vec![parent(at)],
    };
    dirs.extend(dotlock::lock_of(intent).as_ref().map(parent));
    dirs
}

fn staged_bytes(intent: &Intent) -> u64 {
    match intent.change {
        Change::Exchange | Change::Put => intent.staged.map_or(0, |stat| stat.size),
        _ => 0,
    }
}

fn describe(intent: &Intent, changed: &Changed, note: &str) -> String {
    let slot = intent.slot.as_deref().unwrap_or_default();
    let mut text = match &intent.change {
        Change::Exchange => format!("replaced; the old bytes are in quarantine as {slot}"),
        Change::Put => "put into place".to_owned(),
        Change::Take => format!("moved to quarantine as {slot}"),
        Change::Carry { from } => format!("renamed from {from}"),
        Change::MakeFolder => "folder made".to_owned(),
        Change::RemoveFolder => "folder removed".to_owned(),
    };
    if changed.at != intent.step.target && !matches!(intent.change, Change::Carry { .. }) {
        text.push_str(&format!(" (it is called {} now)", changed.at));
    }
    if !note.is_empty() {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}
