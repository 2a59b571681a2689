//! `undo`: shows what taking a run back would do, and with `--apply` does it.

use super::args::Undo;
use super::session::Session;
use crate::apply::{FileLog, plan_undo};
use crate::engine::execute::{self, Undoing};
use crate::engine::runs::RunFolder;
use crate::model::event::{ActionSummary, Event, Finding, Observer, Subject};
use crate::model::journal::{Change, Intent};
use crate::model::tally::Tally;
use crate::store::target::lawful;
use anyhow::Context;

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, undo: &Undo) -> anyhow::Result<u8> {
    let folder = RunFolder::named(&session.settings.state, &undo.run)?;
    let note = folder.read_note_of_change()?;
    let store = note.base.display().to_string();
    session.screen.event(Event::Start { command: "undo".to_owned(), store: store.clone(), sources: Vec::new() });
    let tally = if undo.apply {
        let (run, state) = (session.run.clone(), session.settings.state.clone());
        let (tally, _) =
            session.with(|observer, stop, _| execute::undo(Undoing { run, state, undone: note, observer, stop }))?;
        tally
    } else {
        show(session, &folder, &store)?
    };
    let status = tally.exit();
    session.screen.event(Event::Summary {
        command: "undo".to_owned(),
        tally: Box::new(tally),
        elapsed_s: session.elapsed(),
        plan: None,
    });
    Ok(status)
}

/// Prints every step of the undo.
fn show(session: &mut Session, folder: &RunFolder, store: &str) -> anyhow::Result<Tally> {
    let path = folder.journal();
    let log = FileLog::open_existing(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let log = log.checked(lawful);
    let mut steps = plan_undo(&log).map_err(crate::engine::account::EngineError::from)?;
    let mut changes = 0;
    for step in steps.by_ref() {
        changes += 1;
        let step = step.map_err(crate::engine::account::EngineError::from)?;
        session.screen.event(Event::Finding(Box::new(finding(&step, store))));
    }
    Ok(Tally { own_errors: steps.damaged_lines, repairable: changes, ..Tally::default() })
}

/// An undo's step as machines and people see it.
fn finding(intent: &Intent, store: &str) -> Finding {
    let (kind, why) = match &intent.change {
        Change::Exchange => ("restore", "the bytes that stood there before come back from quarantine"),
        Change::Put => ("restore", "the file comes back from quarantine"),
        Change::Take => ("quarantine", "nothing stood there before: the file goes to quarantine"),
        Change::Carry { .. } => ("rename", "the file gets its former name"),
        Change::MakeFolder => ("make_folder", "the folder comes back"),
        Change::RemoveFolder => ("remove_folder", "the folder goes, if it is empty"),
    };
    // Of a file that holds many, the first stands for all.
    let each = intent.step.each();
    let step = each.first().unwrap_or(&intent.step);
    let folder = matches!(intent.change, Change::MakeFolder | Change::RemoveFolder);
    let mut finding = execute::finding(step, store, None).unwrap_or_else(|| Finding {
        subject: Subject::Folder,
        store: store.to_owned(),
        account: step.account.clone(),
        mailbox: step.mailbox.clone(),
        key: None,
        uid: None,
        guid: None,
        path: intent.at.clone(),
        size: None,
        device: None,
        internal_date: None,
        verdict: step.verdict,
        checks: Vec::new(),
        faults: Vec::new(),
        signed: None,
        reason: String::new(),
        envelope: None,
        action: None,
        outcome: None,
        accepted: false,
    });
    if folder {
        finding.subject = Subject::Folder;
    }
    finding.path = intent.at.clone();
    // What was wrong before the repair is not what an undo is about.
    finding.faults.clear();
    finding.reason.clear();
    finding.action = Some(ActionSummary { kind: kind.to_owned(), source: None, assurance: None, why: why.to_owned() });
    finding
}
