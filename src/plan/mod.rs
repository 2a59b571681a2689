//! From a case to a decision with its reason: which copy heals a message, and whether a missing one was
//! lost or deleted.
//!
//! Pure: no files, no clock, no randomness, and nothing here knows where a copy lies.

pub mod against;
pub mod attrs;
pub mod budget;
pub mod compare;
pub mod decide;
pub mod gentle;
pub mod guards;
pub mod ledger;
pub mod map;
pub mod missing;
pub mod rate;
pub mod register;
pub mod splice;
pub mod trend;
pub mod triage;

pub use decide::{Candidate, Case, Choice, Identity, decide};
pub use missing::{Absence, Fate, classify};

/// What to do with messages of which nothing tells whether they were lost or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undecided {
    /// List them.
    #[default]
    Report,
    /// Put them back where they were.
    Restore,
    /// Put them into a new mailbox `Recovered.DATE`.
    Folder,
}
