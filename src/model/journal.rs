//! Records of the journal: what a run intended and what it did, append-only, one JSON object a line.
//!
//! A `Begin` is on the disk before the file system changes, a `Done` after the change itself was synced.

use super::message::Stat;
use super::path::RelPath;
use super::plan::Step;
use serde::{Deserialize, Serialize};

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done now.
    Done,
    /// Was so already.
    Already,
    /// The operating system refused; nothing changed.
    Failed,
    /// The target changed since the plan; left alone.
    Conflict,
    /// Right, but must not be done now.
    Held,
    /// Nothing to do for a repair (a report).
    Skipped,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done | Outcome::Already => "done",
            Outcome::Failed => "failed",
            Outcome::Conflict => "conflict",
            Outcome::Held => "held",
            Outcome::Skipped => "skipped",
        }
    }
}

/// How the names of the store and of the quarantine change. Every kind is undone by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Change {
    /// The file in the slot and the one at the target trade places.
    Exchange,
    /// The file in the slot moves to the target, where nothing is.
    Put,
    /// The file at the target moves into the slot, where nothing is.
    Take,
    /// A file of the store moves to the target, where nothing is.
    Carry { from: RelPath },
    /// A folder is made at the target.
    MakeFolder,
    /// An empty folder at the target is removed.
    RemoveFolder,
}

impl Change {
    /// The name in machine output.
    pub fn name(&self) -> &'static str {
        match self {
            Change::Exchange => "exchange",
            Change::Put => "put",
            Change::Take => "take",
            Change::Carry { .. } => "carry",
            Change::MakeFolder => "make_folder",
            Change::RemoveFolder => "remove_folder",
        }
    }
}

/// One change that is about to be made, with all that it takes to tell later whether it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub step: Step,
    pub change: Change,
    /// Where it is made: the step's target, or the name that the message has by now.
    pub at: RelPath,
    /// The file in the quarantine folder.
    pub slot: Option<String>,
    /// The file that will be at `at` afterwards.
    pub staged: Option<Stat>,
    /// The file or folder that is at `at` before.
    pub replaced: Option<Stat>,
}

/// One line of `journal.jsonl` in the run's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// First line. `quarantine` is the absolute path of the quarantine folder, `base` the absolute path
    /// under which targets lie. `undoes` names the run that this one takes back; the two share the folder.
    Open { schema: String, run: String, base: String, quarantine: String, undoes: Option<String> },
    /// About to execute. One without a later `Done` of its number is open: only the disk knows.
    Begin(Box<Intent>),
    /// Executed and synced, or looked at and left alone (then often without a `Begin`). `placed` is the file
    /// now at the target, `saved` the one now in the slot. `at` is where the change really happened (the
    /// name may have got other flags since the plan).
    Done {
        number: u64,
        outcome: Outcome,
        detail: String,
        at: Option<RelPath>,
        placed: Option<Stat>,
        saved: Option<Stat>,
    },
    /// The run ended by itself; `complete` says whether every step was looked at.
    Close { complete: bool },
}
