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

/// One line of `journal.jsonl` in the run's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// First line. `quarantine` is the absolute path of this run's quarantine folder, `base` the
    /// absolute path under which targets lie. `undoes` names the run that this one takes back.
    Open { schema: String, run: String, base: String, quarantine: String, undoes: Option<String> },
    /// About to execute. `slot` is the file in the quarantine folder that holds the new bytes before
    /// the exchange and the old bytes after it.
    Begin { step: Box<Step>, slot: Option<String>, staged: Option<Stat> },
    /// Executed and synced. `placed` is the file now at the target, `saved` the one now in the slot.
    /// `at` is where the change really happened (the name may have got other flags since the plan).
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
