//! Compares what a step relies on with what is there now: do it, done already, or leave it alone.
//!
//! Reads only. What cannot be told apart from somebody's edit is a conflict.

use super::fault::words;
use super::mailbox::Mailboxes;
use super::supply::Prover;
use crate::model::journal::Outcome;
use crate::model::plan::{Action, Fingerprint, Step};
use crate::model::{Digest, RelPath, Stat};
use crate::sys::fs::{Fs, Kind, Tree};
use std::io;

/// What is to be done about a step.
#[derive(Debug)]
pub(super) enum Judged {
    /// Replace the file, which may have another name by now.
    Replace {
        at: RelPath,
        old: Stat,
    },
    /// Put a file where nothing is.
    Fresh,
    /// Give the file its name.
    Carry {
        moved: Stat,
    },
    /// Move the file aside.
    Take {
        at: RelPath,
        old: Stat,
    },
    MakeFolder,
    /// Nothing.
    Over(Outcome, String),
}

impl Judged {
    fn conflict(text: impl Into<String>) -> Judged {
        Judged::Over(Outcome::Conflict, text.into())
    }

    fn already(at: &RelPath, step: &Step) -> Judged {
        let text = if *at == step.target { "whole already".to_owned() } else { format!("whole already, as {at}") };
        Judged::Over(Outcome::Already, text)
    }
}

/// The content that a step is about.
struct Wanted {
    content: Digest,
    length: u64,
}

type Candidates = Vec<(RelPath, Kind, Stat)>;

/// Looks at the store for one step.
pub(super) fn judge(fs: &dyn Fs, boxes: &mut Mailboxes, prover: &mut dyn Prover, step: &Step) -> Judged {
    let judged = match &step.action {
        Action::Report => Ok(Judged::Over(Outcome::Skipped, "nothing to be done".to_owned())),
        Action::MakeFolder { .. } => folder(fs, step),
        Action::Rename { from, inode, content, length } => {
            rename(fs, boxes, prover, step, (from, inode), &Wanted { content: *content, length: *length })
        }
        Action::Quarantine => aside(fs, step),
        Action::Restore { .. } | Action::Write { .. } | Action::Rebuild { .. } | Action::Splice { .. } => {
            match step.action.content() {
                Some((content, length)) => restore(fs, boxes, prover, step, &Wanted { content, length }),
                None => Ok(Judged::conflict("the step does not say what it writes")),
            }
        }
    };
    judged.unwrap_or_else(|error| Judged::Over(Outcome::Failed, words("looking at the target", &error, 0, None)))
}

fn folder(fs: &dyn Fs, step: &Step) -> io::Result<Judged> {
    Ok(match fs.stat(Tree::Base, &step.target)? {
        None => Judged::MakeFolder,
        Some((Kind::Directory, _)) => Judged::Over(Outcome::Already, "the folder is there".to_owned()),
        Some(_) => Judged::conflict("something that is no folder stands there"),
    })
}

/// A server's file that is moved aside: the server writes to it all the time, so only what it is counts, not whether it
/// grew since.
fn aside(fs: &dyn Fs, step: &Step) -> io::Result<Judged> {
    let Fingerprint::Inode(expected) = &step.before else {
        return Ok(Judged::conflict("a file is only moved aside if the plan saw it"));
    };
    Ok(match fs.stat(Tree::Base, &step.target)? {
        None => Judged::Over(Outcome::Already, "it is not there".to_owned()),
        Some((Kind::File, now)) if now.ino == expected.ino => Judged::Take { at: step.target.clone(), old: now },
        Some(_) => Judged::conflict("another file stands there since the plan"),
    })
}

fn restore(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    prover: &mut dyn Prover,
    step: &Step,
    wanted: &Wanted,
) -> io::Result<Judged> {
    if let Fingerprint::Inode(expected) = &step.before
        && let Some((Kind::File, now)) = fs.stat(Tree::Base, &step.target)?
        && now.untouched(expected)
    {
        return Ok(Judged::Replace { at: step.target.clone(), old: now });
    }
    let found = boxes.candidates(fs, &step.target)?;
    if let Some((at, ..)) = whole(prover, &found, wanted) {
        return Ok(Judged::already(at, step));
    }
    let replaceable = match &step.before {
        Fingerprint::Nothing if found.is_empty() => return Ok(Judged::Fresh),
        Fingerprint::Nothing => None,
        // Renamed, linked or its attributes changed; the bytes are those that were judged.
        Fingerprint::Inode(expected) => files(&found).find(|(_, _, stat)| stat.same_file(expected)),
        Fingerprint::Content { digest, length } => whole(prover, &found, &Wanted { content: *digest, length: *length }),
    };
    Ok(match (replaceable, found.first()) {
        (Some((at, _, old)), _) => Judged::Replace { at: at.clone(), old: *old },
        (None, None) => Judged::conflict("gone since the plan: its owner deleted or moved it"),
        (None, Some((at, Kind::File, _))) if step.before == Fingerprint::Nothing => {
            Judged::conflict(format!("already there under {at}, with other content"))
        }
        (None, Some((_, Kind::File, _))) => Judged::conflict("changed since the plan"),
        (None, Some(_)) => Judged::conflict("something that is no regular file stands there"),
    })
}

fn rename(
    fs: &dyn Fs,
    boxes: &mut Mailboxes,
    prover: &mut dyn Prover,
    step: &Step,
    (from, inode): (&RelPath, &Stat),
    wanted: &Wanted,
) -> io::Result<Judged> {
    if step.before != Fingerprint::Nothing {
        return Ok(Judged::conflict("a file gets its name back only where nothing stands"));
    }
    let mut found = boxes.candidates(fs, &step.target)?;
    found.retain(|(path, ..)| path != from);
    if let Some((at, ..)) = whole(prover, &found, wanted) {
        return Ok(Judged::already(at, step));
    }
    if let Some((at, ..)) = found.first() {
        return Ok(Judged::conflict(format!("already there under {at}, with other content")));
    }
    Ok(match fs.stat(Tree::Base, from)? {
        Some((Kind::File, now)) if now.same_file(inode) => match prover.digest(Tree::Base, from) {
            Ok(proof) if proof == (wanted.content, wanted.length) => Judged::Carry { moved: now },
            Ok(_) => Judged::conflict("the file's content is not what the plan says"),
            Err(text) => Judged::Over(Outcome::Failed, format!("reading {from}: {text}")),
        },
        Some(_) => Judged::conflict("the file changed since the plan"),
        None => Judged::conflict("the file is gone since the plan"),
    })
}

fn files(found: &Candidates) -> impl Iterator<Item = &(RelPath, Kind, Stat)> {
    found.iter().filter(|(_, kind, _)| *kind == Kind::File)
}

/// The first of the files that reads back as the wanted content.
fn whole<'a>(prover: &mut dyn Prover, found: &'a Candidates, wanted: &Wanted) -> Option<&'a (RelPath, Kind, Stat)> {
    files(found).find(|(path, ..)| prover.digest(Tree::Base, path) == Ok((wanted.content, wanted.length)))
}
