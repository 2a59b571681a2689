//! What a run tells while it runs. The engine emits these; the command line turns them into people's
//! text, JSON lines or bars. `report` knows both forms.

use super::evidence::{Assurance, Fault, Missing, Outcome, Verdict};
use super::message::{Key, Stamp};
use super::path::RelPath;
use super::tally::Tally;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First event of a run.
    Start { command: String, store: String, sources: Vec<(String, Stamp)> },
    /// Something the user should know that is no damage: the sandbox in force, a poor source, a fall-back.
    Note { text: String },
    /// The same for those who ask for more (`-v`).
    Detail { text: String },
    /// One message, folder or companion file that is not intact.
    Finding(Box<Finding>),
    /// One message in which a store and its replica differ. `there`: the replica's path.
    Difference { there: String, difference: Box<super::sides::Difference> },
    /// An account was finished.
    Account { account: String, tally: Box<Tally> },
    /// How far the run is. `total` counts what is known so far.
    Progress { phase: Phase, done: u64, total: u64, bytes: u64 },
    /// Something could not be done: `what` says which operation, `path` where.
    Error { path: String, what: String, hint: Option<String> },
    /// Last event of a run. `run` names it for `undo` and `accept`.
    Summary { command: String, tally: Box<Tally>, elapsed_s: f64, plan: Option<String> },
}

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for accounts and mailboxes.
    Discover,
    /// Reading and checking messages.
    Verify,
    /// Executing steps.
    Repair,
    /// Taking steps back.
    Undo,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Discover => "discover",
            Phase::Verify => "verify",
            Phase::Repair => "repair",
            Phase::Undo => "undo",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Message,
    /// A file that belongs to nobody: `#12345`, odd names, stale `tmp`.
    Stray,
    /// A file that the server keeps beside the mail (uidlist, subscriptions, sieve).
    Companion,
    /// A mailbox's folder.
    Folder,
}

impl Subject {
    pub fn name(self) -> &'static str {
        match self {
            Subject::Message => "message",
            Subject::Stray => "stray",
            Subject::Companion => "companion",
            Subject::Folder => "folder",
        }
    }
}

/// One message (or folder, companion, stray file) that is not intact, and what is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub subject: Subject,
    pub store: String,
    pub account: String,
    pub mailbox: String,
    pub key: Option<Key>,
    pub uid: Option<u32>,
    pub guid: Option<String>,
    /// Below `store`; where the message is or was.
    pub path: RelPath,
    pub size: Option<u64>,
    /// `major:minor` of the file system.
    pub device: Option<String>,
    pub internal_date: Option<Stamp>,
    pub verdict: Verdict,
    pub checks: Vec<(&'static str, Outcome)>,
    pub faults: Vec<Fault>,
    /// What the signatures in its header say of its body.
    pub signed: Option<super::signed::Signed>,
    /// Words of a verdict that has no fault: why it counts as lost, deleted, moved, stray.
    pub reason: String,
    /// From, Date and Subject as known, for people.
    pub envelope: Option<super::message::Envelope>,
    pub action: Option<ActionSummary>,
    pub outcome: Option<(super::journal::Outcome, String)>,
    /// A human accepted this loss earlier: it sets no exit status.
    pub accepted: bool,
}

impl Finding {
    /// About a file that is no message, or not known to be one: nothing but where it lies and what is wrong.
    pub fn of_file(subject: Subject, store: &str, path: RelPath, verdict: Verdict, reason: String) -> Finding {
        Finding {
            subject,
            store: store.to_owned(),
            account: String::new(),
            mailbox: String::new(),
            key: None,
            uid: None,
            guid: None,
            path,
            size: None,
            device: None,
            internal_date: None,
            verdict,
            checks: Vec::new(),
            faults: Vec::new(),
            signed: None,
            reason,
            envelope: None,
            action: None,
            outcome: None,
            accepted: false,
        }
    }
}

impl Finding {
    pub fn missing(&self) -> Option<Missing> {
        match self.verdict {
            Verdict::Missing(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A step as a finding shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSummary {
    /// `restore splice rename quarantine report`.
    pub kind: String,
    /// Name of the source, with the time of its generation.
    pub source: Option<String>,
    pub assurance: Option<Assurance>,
    pub why: String,
}

/// Receives events. Implementations: bars and text, JSON lines, silent, and the tests' recorder.
pub trait Observer {
    fn event(&mut self, event: Event);
}

/// Hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event) {}
}

impl Observer for Vec<Event> {
    fn event(&mut self, event: Event) {
        self.push(event);
    }
}
