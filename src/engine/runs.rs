//! Run folders in the state folder: plan, journal and a note of what the run was, and the quarantine that goes
//! with it on the target's own file system.

use super::account::EngineError;
use super::job::state_error;
use crate::apply::{FileLog, Log};
use crate::store::maildir;
use crate::sys::dir::{Dir, Root};
use crate::sys::links;
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `run.json`: what a run that changes a store was, for `undo`, `quarantine` and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    pub run: String,
    pub command: String,
    /// Canonical path of the tree that the steps' targets lie in.
    pub base: PathBuf,
    /// Folder of this run's slots. An undo shares that of the run that it takes back.
    pub quarantine: PathBuf,
    pub undoes: Option<String>,
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    pub path: PathBuf,
}

impl RunFolder {
    /// # Errors
    /// Words for the user where the name is no run's: it becomes part of a path.
    pub fn named(state: &Path, run: &str) -> Result<RunFolder, EngineError> {
        let plain = !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match plain {
            true => Ok(RunFolder { path: state.join("runs").join(run) }),
            false => Err(EngineError::Usage(format!("'{run}' is not the name of a run; see mailmend status"))),
        }
    }

    /// Makes the folder, readable by its owner only.
    ///
    /// # Errors
    /// The state folder's, and where another run has the name.
    pub fn create(state: &Path, run: &str) -> Result<RunFolder, EngineError> {
        let folder = RunFolder::named(state, run)?;
        let above = DirBuilder::new().recursive(true).mode(0o700).create(state.join("runs"));
        let made = above.and_then(|()| DirBuilder::new().mode(0o700).create(&folder.path));
        made.map_err(state_error("cannot make the run's folder", &folder.path))?;
        Ok(folder)
    }

    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.jsonl")
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Writes the note, synced.
    ///
    /// # Errors
    /// The state folder's.
    pub fn write_note(&self, note: &RunNote) -> Result<(), EngineError> {
        let path = self.path.join("run.json");
        let write = || -> io::Result<()> {
            let temporary = self.path.join("run.json.new");
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(note)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.path)?.sync_all()
        };
        write().map_err(state_error("cannot write", &path))
    }

    /// # Errors
    /// Where there is no such run, or its note cannot be read.
    pub fn read_note(&self) -> Result<RunNote, EngineError> {
        let path = self.path.join("run.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| EngineError::State {
                what: "cannot read",
                path: path.display().to_string(),
                source: e.into(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.unknown(if self.path.is_dir() { "changed nothing" } else { "is not known here" }))
            }
            Err(error) => Err(state_error("cannot read", &path)(error)),
        }
    }

    /// The note of a run that came as far as its journal's first line: before that, nothing is changed.
    ///
    /// # Errors
    /// Those of [`RunFolder::read_note`], and where the run was cut off before that line.
    pub fn read_note_of_change(&self) -> Result<RunNote, EngineError> {
        let (note, path) = (self.read_note()?, self.journal());
        match FileLog::open_existing(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.unknown("changed nothing")),
            Err(error) => Err(state_error("cannot read", &path)(error)),
            Ok(log) => match log.forward().map_err(state_error("cannot read", &path))?.next() {
                None => Err(self.unknown("changed nothing")),
                Some(_) => Ok(note),
            },
        }
    }

    fn unknown(&self, known: &str) -> EngineError {
        let run = self.path.file_name().unwrap_or_default().to_string_lossy();
        EngineError::Usage(format!("the run {run} {known}; mailmend status lists the runs"))
    }
}

/// All runs in the state folder that changed a store, oldest first.
///
/// # Errors
/// The state folder's; a run whose note is damaged is left out.
pub fn all(state: &Path) -> Result<Vec<RunNote>, EngineError> {
    let runs = state.join("runs");
    let entries = match fs::read_dir(&runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(state_error("cannot list", &runs)(error)),
    };
    let mut notes: Vec<RunNote> =
        entries.flatten().filter_map(|e| RunFolder { path: e.path() }.read_note().ok()).collect();
    notes.sort_by(|a, b| a.run.cmp(&b.run));
    Ok(notes)
}

/// Makes this run's folder in the quarantine: on the target's file system, ours alone, outside every tree that a
/// mail server lists.
///
/// # Errors
/// Where no such place can be had, or the one that is there belongs to somebody else.
pub fn quarantine(
    configured: Option<&Path>,
    base: &Path,
    base_is_mailbox: bool,
    run: &str,
) -> Result<PathBuf, EngineError> {
    let dev = fs::metadata(base).map_err(state_error("cannot look at", base))?.dev();
    let mut refused = String::new();
    for place in places(configured, base, base_is_mailbox) {
        match make(&place, dev, run) {
            Ok(path) => return Ok(path),
            Err(error) => refused.push_str(&format!("\n  {}: {error}", place.display())),
        }
    }
    Err(EngineError::Refused(format!(
        "no place for the quarantine on the file system of {}; name one with --quarantine:{refused}",
        base.display()
    )))
}

/// Where the quarantine may be: as configured, beside the store, else in it where no server looks.
fn places(configured: Option<&Path>, base: &Path, base_is_mailbox: bool) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path.to_owned()];
    }
    // Beside a folder of a Maildir++ a leading dot would make it a folder too.
    let dotted = base.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let beside = if base_is_mailbox && dotted { maildir::QUARANTINE } else { ".mailmend" };
    let mut places: Vec<PathBuf> = base.parent().map(|p| p.join(beside)).into_iter().collect();
    if base_is_mailbox {
        // A leading dot would make it a folder of the account.
        places.push(base.join(maildir::QUARANTINE));
    } else {
        places.push(base.join(".mailmend"));
    }
    places
}

/// Users may be able to write where the place is: everything is done by descriptors, and what was opened is looked
/// at, so that nothing that comes to stand there meanwhile is taken for ours.
fn make(place: &Path, dev: u64, run: &str) -> io::Result<PathBuf> {
    let (Some(above), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let above = Root::open(above)?;
    let here = own_folder(above.top(), name.as_encoded_bytes())?;
    if here.stat_self()?.dev != dev {
        return Err(io::Error::other("lies on another file system than the mail"));
    }
    own_folder(&here, run.as_bytes())?;
    rustix::fs::fsync(here.reopen()?)?;
    Ok(above.path().join(name).join(run))
}

/// Makes a folder that is ours alone, or opens the one that is there.
fn own_folder(at: &Dir, name: &[u8]) -> io::Result<Dir> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        Err(error) if error != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let folder = at.open_dir(name).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR | Errno::LOOP) => io::Error::other("is there already and is no folder"),
        _ => error,
    })?;
    links::ours_alone(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_stay_below_the_state_folder() {
        let state = Path::new("/state");
        assert!(RunFolder::named(state, "20261122T090000Z-ab12").is_ok());
        for bad in ["", "../x", "a/b", ".", "a b"] {
            assert!(RunFolder::named(state, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_runs_have_two_folders() {
        let state = tempfile::tempdir().unwrap();
        let run = "20261122T090000Z-ab12";
        let folder = RunFolder::create(state.path(), run).unwrap();
        assert_eq!(fs::metadata(&folder.path).unwrap().mode() & 0o777, 0o700);
        assert!(RunFolder::create(state.path(), run).is_err());
        assert!(RunFolder::create(state.path(), "20261122T090000Z-ab13").is_ok());
    }

    #[test]
    fn the_quarantine_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        fs::create_dir(&store).unwrap();
        let made = quarantine(None, &store, false, "r1").unwrap();
        assert_eq!(made, folder.path().canonicalize().unwrap().join(".mailmend/r1"));
        assert_eq!(fs::metadata(folder.path().join(".mailmend")).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(folder.path().join(".mailmend"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let second = quarantine(None, &store, false, "r2").unwrap();
        assert!(second.starts_with(store.canonicalize().unwrap()), "open to others: the next place is taken");
    }
}
