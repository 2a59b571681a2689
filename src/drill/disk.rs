//! The few file operations that the drill needs, with errors that name operation and path.
//!
//! Knows no mail. Writes only where its callers say; they stay below the folder that they were given.

use crate::model::{RelPath, Stamp};
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a drill could not go on. Never the score: a bad score is a result.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Setup(String),
    /// The tool under test did not answer as a tool should.
    #[error("{0}")]
    Tool(String),
}

pub type Result<T> = std::result::Result<T, DrillError>;

/// Attaches operation and path to a system error.
pub fn at<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| DrillError::Io { operation, path: path.to_path_buf(), source })
}

/// Owner and permissions that a tree of mail has; `owner` is `None` where we may not choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dress {
    pub owner: Option<(u32, u32)>,
    pub mode: u32,
}

pub fn read(path: &Path) -> Result<Vec<u8>> {
    at("read", path, fs::read(path))
}

/// `lstat`.
pub fn stat(path: &Path) -> Result<Metadata> {
    at("stat", path, fs::symlink_metadata(path))
}

/// A new file with contents, owner, mode and mtime; it must not exist yet.
pub fn create(path: &Path, bytes: &[u8], dress: Dress, mtime: Stamp) -> Result<()> {
    let mut file = at("create", path, File::create_new(path))?;
    at("write", path, io::Write::write_all(&mut file, bytes))?;
    drop(file);
    put_on(path, dress)?;
    set_mtime(path, mtime)
}

/// Changes a file's bytes in place (the same inode), as a failing disk or a careless program would.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = at("open", path, File::options().write(true).truncate(true).open(path))?;
    at("write", path, io::Write::write_all(&mut file, bytes))
}

/// Appends to a file, made first where it is absent.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = at("open", path, File::options().append(true).create(true).open(path))?;
    at("append to", path, io::Write::write_all(&mut file, bytes))
}

/// A folder and whatever is missing above it, each new one dressed.
pub fn make_dirs(path: &Path, dress: Dress) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(parent, dress)?;
    }
    at("create folder", path, fs::create_dir(path))?;
    put_on(path, dress)
}

/// Owner first: changing it may clear mode bits.
pub fn put_on(path: &Path, dress: Dress) -> Result<()> {
    if let Some((uid, gid)) = dress.owner {
        at("change the owner of", path, std::os::unix::fs::lchown(path, Some(uid), Some(gid)))?;
    }
    at("change the mode of", path, fs::set_permissions(path, Permissions::from_mode(dress.mode)))
}

/// Works on files and folders alike.
pub fn set_mtime(path: &Path, mtime: Stamp) -> Result<()> {
    let file = at("open", path, File::open(path))?;
    at("set the time of", path, file.set_times(FileTimes::new().set_modified(system_time(mtime))))
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    at("rename", from, fs::rename(from, to))
}

pub fn link(from: &Path, to: &Path) -> Result<()> {
    at("link", from, fs::hard_link(from, to))
}

pub fn remove_file(path: &Path) -> Result<()> {
    at("remove", path, fs::remove_file(path))
}

pub fn remove_tree(path: &Path) -> Result<()> {
    at("remove", path, fs::remove_dir_all(path))
}

/// Empties a folder and keeps it.
pub fn clear(path: &Path) -> Result<()> {
    for entry in at("list", path, fs::read_dir(path))? {
        let entry = at("list", path, entry)?;
        let child = entry.path();
        if at("stat", &child, entry.file_type())?.is_dir() { remove_tree(&child)? } else { remove_file(&child)? }
    }
    Ok(())
}

pub fn mtime_of(meta: &Metadata) -> Stamp {
    Stamp { sec: meta.mtime(), nsec: u32::try_from(meta.mtime_nsec()).unwrap_or_default() }
}

/// The path of `path` below `root`, as the model names it.
pub fn relative(root: &Path, path: &Path) -> Result<RelPath> {
    use std::os::unix::ffi::OsStrExt;
    let below = path.strip_prefix(root).unwrap_or(path);
    RelPath::new(below.as_os_str().as_bytes()).map_err(|e| DrillError::Setup(format!("{}: {e}", path.display())))
}

fn system_time(stamp: Stamp) -> SystemTime {
    let whole = Duration::from_secs(stamp.sec.unsigned_abs());
    let start = if stamp.sec < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    start + Duration::from_nanos(u64::from(stamp.nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_exactly_the_time_and_mode_that_they_were_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mtime = Stamp { sec: 1_700_000_000, nsec: 123_456_789 };
        create(&path, b"x", Dress { owner: None, mode: 0o640 }, mtime).unwrap();
        let meta = stat(&path).unwrap();
        assert_eq!((mtime_of(&meta), meta.mode() & 0o7777), (mtime, 0o640));
        let again = create(&path, b"y", Dress { owner: None, mode: 0o640 }, mtime).unwrap_err();
        assert!(again.to_string().starts_with("cannot create "), "{again}");
        clear(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
