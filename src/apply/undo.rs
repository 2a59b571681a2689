//! Takes back what a run changed, newest change first, as a run of its own that can be taken back too.
//!
//! May not remove bytes: what it takes out of the store goes into the slot of the run that it undoes.

use super::batch::{Applied, ApplyError, Entry, Report, Session, Stop};
use super::change::slot_of;
use super::executor::Options;
use super::fault::words;
use super::log::{Line, Lines, Log};
use super::mailbox::Mailboxes;
use super::recover::recover;
use crate::model::journal::{Change, Intent, Outcome, Record};
use crate::model::{RelPath, Stat};
use crate::sys::fs::{Fs, Kind, Tree};
use std::collections::HashMap;
use std::io;

/// The change that takes another one back. `at` is where that one happened.
pub type UndoStep = Intent;

/// What undoing the run of `log` would do, newest change first. Touches no store.
pub fn plan_undo(log: &dyn Log) -> Result<Undo<'_>, ApplyError> {
    let lines = log.backward().map_err(ApplyError::journal("reading"))?;
    Ok(Undo { lines, done: HashMap::new(), damaged_lines: 0 })
}

/// The steps of an undo.
pub struct Undo<'a> {
    lines: Lines<'a>,
    /// Met, while their `Begin` is still ahead: at most a batch of them.
    done: HashMap<u64, Changes>,
    /// Lines that are no records: what they told of cannot be taken back.
    pub damaged_lines: u64,
}

/// What a `Done` says of the files.
struct Changes {
    at: Option<RelPath>,
    placed: Option<Stat>,
    saved: Option<Stat>,
}

impl Iterator for Undo<'_> {
    type Item = Result<UndoStep, ApplyError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.lines.next()? {
                Err(error) => return Some(Err(ApplyError::journal("reading")(error))),
                Ok(Line::Damaged) => {
                    self.damaged_lines += 1;
                    continue;
                }
                Ok(Line::Record(record)) => *record,
            };
            match record {
                Record::Done { number, outcome: Outcome::Done, at, placed, saved, .. } => {
                    self.done.insert(number, Changes { at, placed, saved });
                }
                Record::Begin(intent) => {
                    if let Some(changes) = self.done.remove(&intent.step.number) {
                        return Some(Ok(inverse(*intent, changes)));
                    }
                }
                _ => {}
            }
        }
    }
}

fn inverse(intent: Intent, changes: Changes) -> UndoStep {
    let Intent { step, change, at, slot, .. } = intent;
    let Changes { at: happened, placed, saved } = changes;
    let at = happened.unwrap_or(at);
    let (change, at, staged, replaced) = match change {
        Change::Exchange => (Change::Exchange, at, saved, placed),
        Change::Put => (Change::Take, at, None, placed),
        Change::Take => (Change::Put, at, saved, None),
        Change::Carry { from } => (Change::Carry { from: at }, from, placed, None),
        Change::MakeFolder => (Change::RemoveFolder, at, None, placed),
        Change::RemoveFolder => (Change::MakeFolder, at, None, None),
    };
    Intent { step, change, at, slot, staged, replaced }
}

/// Takes back the run that `undone` is the journal of. `log` is the undo's own journal; `fs` and `options`
/// name the same quarantine folder that the undone run used.
pub fn undo(
    fs: &dyn Fs,
    undone: &mut dyn Log,
    log: &mut dyn Log,
    options: &Options<'_>,
    report: Report<'_>,
) -> Result<Applied, ApplyError> {
    let run = same_place(undone, options)?;
    recover(fs, undone)?;
    let mut session = Session::open(fs, log, report, options, Some(run))?;
    let mut steps = plan_undo(undone)?;
    let mut batch = Vec::new();
    for step in steps.by_ref() {
        let step = step?;
        if session.applied.stop.is_some() {
            session.applied.left += 1;
            continue;
        }
        batch.push(prepare(&mut session, step));
        if (options.interrupt)() {
            session.applied.stop.get_or_insert(Stop::Interrupted);
        }
        if batch.len() >= options.batch || session.applied.stop.is_some() {
            session.boxes.refresh();
            session.commit(std::mem::take(&mut batch))?;
        }
    }
    session.applied.damaged_lines = steps.damaged_lines;
    if !batch.is_empty() {
        session.boxes.refresh();
        session.commit(batch)?;
    }
    session.close()
}

/// The name of the run to be undone, if its files are where we work.
fn same_place(undone: &dyn Log, options: &Options<'_>) -> Result<String, ApplyError> {
    let first = undone.forward().map_err(ApplyError::journal("reading"))?.next();
    match first.transpose().map_err(ApplyError::journal("reading"))? {
        Some(Line::Record(record)) => match *record {
            Record::Open { run, base, quarantine, .. } if base == options.base && quarantine == options.quarantine => {
                Ok(run)
            }
            other => Err(ApplyError::Foreign(format!("{other:?}"))),
        },
        _ => Err(ApplyError::Foreign("it has no first line".to_owned())),
    }
}

fn prepare(session: &mut Session<'_>, step: UndoStep) -> Entry {
    if session.earlier.contains(step.step.number) {
        return Entry::unrecorded(step.step, Outcome::Already, "done earlier in this run");
    }
    match look(session.fs, &mut session.boxes, &step) {
        Ok(Look::Go { at, replaced }) => {
            Entry::Ready { intent: Box::new(Intent { at, replaced, ..step }), note: String::new() }
        }
        Ok(Look::Already(text)) => Entry::over(step.step, Outcome::Already, text),
        Ok(Look::Conflict(text)) => Entry::over(step.step, Outcome::Conflict, text),
        Err(error) => Entry::over(step.step, Outcome::Failed, words("looking at the file", &error, 0, None)),
    }
}

/// Whether a change can be taken back.
enum Look {
    Go { at: RelPath, replaced: Option<Stat> },
    Already(&'static str),
    Conflict(&'static str),
}

const TAKEN_BACK: Look = Look::Already("taken back already");
const EDITED: Look = Look::Conflict("the file changed or went away since; left alone");
const PURGED: Look = Look::Conflict("the quarantine holds the bytes no more");

fn look(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep) -> io::Result<Look> {
    match &step.change {
        Change::Exchange => exchange(fs, boxes, step),
        Change::Take => take(fs, boxes, step),
        Change::Put => put(fs, boxes, step),
        Change::Carry { from } => carry(fs, boxes, step, from),
        Change::RemoveFolder => Ok(match (fs.stat(Tree::Base, &step.at)?, &step.replaced) {
            (None, _) => TAKEN_BACK,
            (Some((Kind::Directory, now)), Some(made)) if now.ino == made.ino => go(step, step.at.clone()),
            _ => Look::Conflict("another folder stands there; left alone"),
        }),
        Change::MakeFolder => Ok(match fs.stat(Tree::Base, &step.at)? {
            None => go(step, step.at.clone()),
            Some((Kind::Directory, _)) => TAKEN_BACK,
            Some(_) => Look::Conflict("something that is no folder stands there"),
        }),
    }
}

fn go(step: &UndoStep, at: RelPath) -> Look {
    Look::Go { at, replaced: step.replaced }
}

/// What a slot holds now.
fn held(fs: &dyn Fs, step: &UndoStep) -> io::Result<Option<Stat>> {
    let found = fs.stat(Tree::Quarantine, &slot_of(step)?)?;
    Ok(found.filter(|(kind, _)| *kind == Kind::File).map(|(_, stat)| stat))
}

fn same(found: Option<&Stat>, wanted: Option<&Stat>) -> bool {
    matches!((found, wanted), (Some(found), Some(wanted)) if found.same_file(wanted))
}

fn exchange(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep) -> io::Result<Look> {
    let in_slot = held(fs, step)?;
    if same(in_slot.as_ref(), step.replaced.as_ref()) {
        return Ok(TAKEN_BACK);
    }
    if !same(in_slot.as_ref(), step.staged.as_ref()) {
        return Ok(PURGED);
    }
    standing(fs, boxes, step)
}

/// The file that we placed, under its present name.
fn standing(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep) -> io::Result<Look> {
    let Some(placed) = &step.replaced else { return Ok(EDITED) };
    let found = boxes.locate(fs, &step.at, placed)?;
    Ok(found.map_or(EDITED, |(at, stat)| Look::Go { at, replaced: Some(stat) }))
}

fn take(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep) -> io::Result<Look> {
    match held(fs, step)? {
        Some(in_slot) if same(Some(&in_slot), step.replaced.as_ref()) => Ok(TAKEN_BACK),
        Some(_) => Ok(Look::Conflict("the quarantine slot is taken")),
        None if boxes.candidates(fs, &step.at)?.is_empty() => Ok(Look::Already("gone: its owner deleted it since")),
        None => standing(fs, boxes, step),
    }
}

fn put(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep) -> io::Result<Look> {
    if same(held(fs, step)?.as_ref(), step.staged.as_ref()) {
        return Ok(go(step, step.at.clone()));
    }
    let Some(staged) = &step.staged else { return Ok(PURGED) };
    Ok(if boxes.locate(fs, &step.at, staged)?.is_some() { TAKEN_BACK } else { PURGED })
}

fn carry(fs: &dyn Fs, boxes: &mut Mailboxes, step: &UndoStep, from: &RelPath) -> io::Result<Look> {
    let Some(moved) = &step.staged else { return Ok(EDITED) };
    if let Some((Kind::File, now)) = fs.stat(Tree::Base, &step.at)? {
        return Ok(if now.same_file(moved) { TAKEN_BACK } else { Look::Conflict("another file stands there") });
    }
    Ok(if boxes.locate(fs, from, moved)?.is_some() { go(step, step.at.clone()) } else { EDITED })
}
