//! Copies of the mail server's own files, taken into the run's folder before a run changes anything.
//!
//! The server rewrites its lists and indexes the moment it looks, and with them all evidence of what was there. May not
//! write anywhere but in the run's folder.

use super::account::EngineError;
use super::job::state_error;
use super::lane::Lane;
use super::planfile::PlanReader;
use super::runs::RunFolder;
use crate::model::RelPath;
use crate::model::event::{Event, Observer};
use crate::model::form::Form;
use crate::model::limits::SERVER_FILE_MAX;
use crate::store::{self, maildir::companion};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Files that are kept of each mailbox.
const FILES: [&[u8]; 8] = [
    companion::INDEX[0],
    companion::INDEX[1],
    companion::INDEX[2],
    companion::INDEX[3],
    b"dovecot-uidlist",
    b"dovecot-keywords",
    b"dovecot.mailbox.log",
    b"dovecot.mailbox.log.2",
];

/// Copies them for every mailbox that the plan changes; answers how many files there are now.
///
/// # Errors
/// The state folder's. What cannot be read is told, and ends nothing.
pub fn keep(
    plan: &Path,
    folder: &RunFolder,
    (lane, root): (&mut Lane, u32),
    observer: &mut dyn Observer,
) -> Result<u64, EngineError> {
    let to = folder.path.join("server");
    let mut kept = 0;
    for mailbox in mailboxes(plan)? {
        for file in FILES {
            let Ok(path) = mailbox.join(file) else { continue };
            let place = to.join(path.as_path());
            match copy(lane, root, &path, &place) {
                Ok(Some(())) => kept += 1,
                Ok(None) => {}
                Err(Failed::Here(source)) => return Err(state_error("cannot write", &place)(source)),
                Err(Failed::There(text)) => observer.event(Event::Error {
                    path: path.to_string(),
                    what: format!("no copy of the server's file was kept: {text}"),
                    hint: None,
                }),
                Err(Failed::Lane(error)) => return Err(error),
            }
        }
    }
    Ok(kept)
}

/// Mailbox folders that a plan changes.
fn mailboxes(plan: &Path) -> Result<BTreeSet<RelPath>, EngineError> {
    let mut dirs = BTreeSet::new();
    for step in PlanReader::open(plan)? {
        let Ok(step) = step else { continue };
        let dir = store::split_message_path(&step.target).map(|(_, dir, _)| dir).or_else(|| step.target.parent());
        dirs.extend(dir.filter(|_| step.action.writes()));
    }
    Ok(dirs)
}

enum Failed {
    Here(io::Error),
    There(String),
    Lane(EngineError),
}

/// Copies one file; `None` where there is none.
fn copy(lane: &mut Lane, root: u32, path: &RelPath, place: &Path) -> Result<Option<()>, Failed> {
    match lane.stat(root, path).map_err(|e| Failed::Lane(e.into()))? {
        Ok(found) if found.stat.size <= SERVER_FILE_MAX => {}
        Ok(_) => return Err(Failed::There("it is too large".to_owned())),
        Err(trouble) if matches!(trouble.errno, Some(2 | 20)) => return Ok(None),
        Err(trouble) => return Err(Failed::There(trouble.detail)),
    }
    if let Some(above) = place.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(Failed::Here)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place).map_err(Failed::Here)?;
    let mut failed = None;
    let fetched = lane.fetch(root, path, (&Form::default(), None), &mut |bytes| {
        file.write_all(bytes).inspect_err(|error| failed = Some((error.raw_os_error(), error.kind())))
    });
    if let Some((number, kind)) = failed {
        return Err(Failed::Here(number.map_or_else(|| kind.into(), io::Error::from_raw_os_error)));
    }
    match fetched.map_err(|e| Failed::Lane(e.into()))? {
        Ok(_) => file.sync_all().map(Some).map_err(Failed::Here),
        // What was read of it stays: it is evidence, too.
        Err(trouble) if matches!(trouble.errno, Some(2)) => {
            fs::remove_file(place).ok();
            Ok(None)
        }
        Err(trouble) => Err(Failed::There(trouble.detail)),
    }
}
