//! Decisions with reasons, as data: what `plan` makes, a plan file holds and `apply` executes.
//!
//! A plan file is JSON lines: one [`Header`], then one [`Step`] a line. It can be read, edited and
//! applied later, and is not trusted: every path in it is a [`RelPath`], resolved beneath the store again.

use super::digest::Digest;
use super::evidence::{Assurance, Evidence, Missing, Verdict};
use super::form::Form;
use super::message::{Attrs, Encoding, Envelope, Key, Stamp, Stat};
use super::path::RelPath;
use super::span::Span;
use serde::{Deserialize, Serialize};

/// The schema that every plan and journal line carries.
pub const SCHEMA: &str = "mailmend-plan/1";

/// The first line of a plan file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub schema: String,
    pub run: String,
    /// Canonical path of the store.
    pub store: String,
    /// The sources, in the order of trust; `Location::source` counts in here.
    pub sources: Vec<PlanSource>,
}

/// One generation of one source as the plan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSource {
    /// What messages to people call it.
    pub name: String,
    /// Canonical path.
    pub path: String,
    /// When its content was taken.
    pub time: Stamp,
}

/// Where a copy lies: a path below one generation of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Index into [`Header::sources`]; `None` is the store itself.
    pub source: Option<u32>,
    pub path: RelPath,
    /// What it becomes on the way, where the source keeps mail in another format.
    #[serde(default, skip_serializing_if = "Form::is_kept")]
    pub form: Form,
}

/// The state of a file that a step relies on or leaves behind. What is `None` was not recorded and is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fingerprint {
    /// No file of this key in the mailbox.
    Nothing,
    /// The very inode that was judged, unchanged since.
    Inode(Stat),
    /// A file with these bytes after decompression.
    Content { digest: Digest, length: u64 },
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Put a whole copy at the target: in place of the damaged file, or where nothing is.
    Restore { from: Location, stored_as: Encoding, attrs: Attrs, content: Digest, length: u64 },
    /// Give a file that belongs to nobody its name back.
    Rename { from: RelPath, inode: Stat, content: Digest, length: u64 },
    /// Put down a server's small file that the plan made from its witnesses: the plan itself holds its bytes.
    Write {
        #[serde(with = "super::path::bytes_text")]
        bytes: Vec<u8>,
        attrs: Attrs,
    },
    /// Put a file that holds many messages together anew: what stays as it is, and messages from copies.
    Rebuild { parts: Vec<Slice>, attrs: Attrs, content: Digest, length: u64, heals: Vec<Heal> },
    /// Put one message together from parts of copies of which none is whole.
    Splice { parts: Vec<Graft>, attrs: Attrs, content: Digest, length: u64 },
    /// Move a server's file aside, which it makes again.
    Quarantine,
    /// Make a folder (a mailbox and its `cur`, `new`, `tmp`).
    MakeFolder { attrs: Attrs },
    /// Nothing can be done; say so.
    Report,
}

impl Action {
    /// The name in machine output.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Restore { .. } => "restore",
            Action::Rename { .. } => "rename",
            Action::Write { .. } => "write",
            Action::Rebuild { .. } => "rebuild",
            Action::Splice { .. } => "splice",
            Action::Quarantine => "quarantine",
            Action::MakeFolder { .. } => "make_folder",
            Action::Report => "report",
        }
    }

    /// Whether executing the step changes the store.
    pub fn writes(&self) -> bool {
        !matches!(self, Action::Report)
    }

    /// The digest and the length of what the step puts into place, after decompression.
    pub fn content(&self) -> Option<(Digest, u64)> {
        match self {
            Action::Restore { content, length, .. }
            | Action::Rename { content, length, .. }
            | Action::Rebuild { content, length, .. }
            | Action::Splice { content, length, .. } => Some((*content, *length)),
            Action::Write { bytes, .. } => Some((Digest::of(bytes), bytes.len() as u64)),
            Action::Quarantine | Action::MakeFolder { .. } | Action::Report => None,
        }
    }

    /// Bytes that the step needs on the target before anything that it replaces is gone; 0 for one that writes none.
    pub fn length(&self) -> u64 {
        match self {
            Action::Restore { length, .. } | Action::Rebuild { length, .. } | Action::Splice { length, .. } => *length,
            Action::Write { bytes, .. } => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// A part of a file that is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Slice {
    /// Bytes of the file as it stands.
    Keep { span: Span },
    /// What the plan made: lines and fields around a message.
    Made {
        #[serde(with = "super::path::bytes_text")]
        bytes: Vec<u8>,
    },
    /// Bytes of a message of a source, after decompression.
    Copy { from: Location, span: Span },
}

/// Bytes of one copy, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graft {
    pub from: Location,
    pub span: Span,
}

/// One message that is whole once its file is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heal {
    pub key: Key,
    /// Where it stands now, or stood.
    pub place: RelPath,
    pub verdict: Verdict,
    pub assurance: Assurance,
    pub why: String,
    #[serde(default)]
    pub details: Details,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Number in the plan, from 1.
    pub number: u64,
    /// Account, as shown.
    pub account: String,
    /// Mailbox, as shown.
    pub mailbox: String,
    /// `None` for folders and companion files.
    pub key: Option<Key>,
    pub verdict: Verdict,
    /// The file, below the store.
    pub target: RelPath,
    /// `before == now`: do it; the content of `action` is there already: done; else: conflict.
    pub before: Fingerprint,
    pub action: Action,
    pub assurance: Option<Assurance>,
    /// For people: where from, and what proves it.
    pub why: String,
    /// Numbers of steps of this plan that must have been done before; else this one is held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<u64>,
    /// What else a report says of the message; the executor does not look at it.
    #[serde(default)]
    pub details: Details,
}

/// What a finding shows beside the step: kept in the plan, so that it can be read alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Why the message counts as it does.
    pub reason: String,
    /// What the source is called, with the time of its generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What the server knows the message by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_date: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Step {
    /// Whether it is done only so that others can be: no healing of its own, and of interest to nobody unless it fails.
    pub fn is_means(&self) -> bool {
        match self.action {
            Action::MakeFolder { .. } => true,
            Action::Write { .. } | Action::Quarantine => self.verdict != Verdict::Damaged,
            Action::Restore { .. } | Action::Rename { .. } | Action::Rebuild { .. } | Action::Splice { .. } => false,
            Action::Report => false,
        }
    }

    /// The messages that the step is about, each as if it had a step of its own.
    pub fn each(&self) -> Vec<Step> {
        let Action::Rebuild { attrs, content, length, heals, .. } = &self.action else { return vec![self.clone()] };
        let action = || Action::Rebuild {
            parts: Vec::new(),
            attrs: attrs.clone(),
            content: *content,
            length: *length,
            heals: Vec::new(),
        };
        let one = |heal: &Heal| Step {
            key: Some(heal.key.clone()),
            verdict: heal.verdict,
            target: heal.place.clone(),
            before: self.before.clone(),
            action: action(),
            assurance: Some(heal.assurance),
            why: heal.why.clone(),
            details: heal.details.clone(),
            number: self.number,
            account: self.account.clone(),
            mailbox: self.mailbox.clone(),
            needs: self.needs.clone(),
        };
        heals.iter().map(one).collect()
    }

    /// Why the message was missing, if it was.
    pub fn missing(&self) -> Option<Missing> {
        match self.verdict {
            Verdict::Missing(reason) => Some(reason),
            _ => None,
        }
    }
}
