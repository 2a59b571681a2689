//! The tool under test as the drill sees it: three verbs, and what they report.
//!
//! Pure data and one trait. Implemented by the engine in-process and, in the tests, by the binary.

use super::disk::Result;
use crate::model::event::Finding;
use crate::model::{Missing, RelPath, Verdict};
use std::path::Path;

/// What to do with messages of which nothing tells whether they were lost or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undecided {
    #[default]
    Report,
    Restore,
    Folder,
}

impl Undecided {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Undecided::Report => "report",
            Undecided::Restore => "restore",
            Undecided::Folder => "folder",
        }
    }
}

/// One call of `repair`.
#[derive(Debug, Clone, Default)]
pub struct Repair {
    /// Each as after `--from`, in the order of trust.
    pub sources: Vec<String>,
    pub apply: bool,
    pub undecided: Undecided,
}

/// One finding, as far as the drill judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Below the store: where the message is or was.
    pub path: RelPath,
    pub verdict: Verdict,
    /// `restore splice rename make_folder quarantine report`.
    pub action: Option<String>,
    /// `done failed conflict held skipped`, after a repair.
    pub outcome: Option<String>,
}

impl Found {
    pub fn missing(&self) -> Option<Missing> {
        match self.verdict {
            Verdict::Missing(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the step of this finding changes the store.
    pub fn writes(&self) -> bool {
        self.action.as_deref().is_some_and(|kind| kind != "report")
    }
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Found {
        Found {
            path: finding.path.clone(),
            verdict: finding.verdict,
            action: finding.action.as_ref().map(|a| a.kind.clone()),
            outcome: finding.outcome.as_ref().map(|(outcome, _)| outcome.name().to_string()),
        }
    }
}

/// What one run reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Names the run for `undo`.
    pub run: String,
    /// The exit status.
    pub exit: u8,
    pub found: Vec<Found>,
}

/// What is drilled. State (catalog, runs) is the implementation's own and lasts from call to call.
pub trait Tool {
    /// Checks the store and records it in the catalog.
    fn verify(&mut self, store: &Path) -> Result<Heard>;
    /// Plans a repair, and executes it with `apply`.
    fn repair(&mut self, store: &Path, repair: &Repair) -> Result<Heard>;
    /// Takes back what the run changed.
    fn undo(&mut self, run: &str) -> Result<Heard>;
}
