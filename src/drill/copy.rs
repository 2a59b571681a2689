//! Copies of a store: replicas and snapshots, as the usual tools make them.
//!
//! Reads `from`, and writes only below `to`, which must not exist.

use super::disk::{self, Dress, DrillError, Result};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A plain copy with times, owners and modes; a file with two names becomes two files.
pub fn plain(from: &Path, to: &Path) -> Result<()> {
    tree(from, to, None)
}

/// A snapshot in which every file that is unchanged since `previous` (size and mtime, as rsync judges)
/// is another name of the file there.
pub fn linked(from: &Path, to: &Path, previous: &Path) -> Result<()> {
    tree(from, to, Some(previous))
}

fn tree(from: &Path, to: &Path, previous: Option<&Path>) -> Result<()> {
    if to.exists() {
        return Err(DrillError::Setup(format!("{} exists already", to.display())));
    }
    if let Some(parent) = to.parent() {
        disk::make_dirs(parent, Dress { owner: None, mode: 0o755 })?;
    }
    let mut folders = Vec::new();
    for found in walkdir::WalkDir::new(from) {
        let found = found.map_err(|e| DrillError::Setup(format!("copying: {e}")))?;
        let below = found.path().strip_prefix(from).unwrap_or(found.path());
        let target = if below.as_os_str().is_empty() { to.to_path_buf() } else { to.join(below) };
        let meta = disk::stat(found.path())?;
        if meta.is_dir() {
            disk::at("create folder", &target, std::fs::create_dir(&target))?;
            folders.push((target, meta));
        } else if meta.is_file() {
            file(found.path(), &meta, &target, previous.map(|p| p.join(below)).as_deref())?;
        }
    }
    // Last: creating files changes their folders' times.
    for (target, meta) in folders.iter().rev() {
        disk::put_on(target, dress(meta))?;
        disk::set_mtime(target, disk::mtime_of(meta))?;
    }
    Ok(())
}

fn file(from: &Path, meta: &Metadata, to: &Path, previous: Option<&Path>) -> Result<()> {
    if let Some(previous) = previous
        && let Ok(old) = disk::stat(previous)
        && old.is_file()
        && (old.size(), disk::mtime_of(&old)) == (meta.size(), disk::mtime_of(meta))
    {
        return disk::link(previous, to);
    }
    disk::create(to, &disk::read(from)?, dress(meta), disk::mtime_of(meta))
}

fn dress(meta: &Metadata) -> Dress {
    Dress { owner: Some((meta.uid(), meta.gid())), mode: meta.mode() & 0o7777 }
}

#[cfg(test)]
mod tests {
    use super::super::truth::{Snapshot, Strictness};
    use super::*;
    use std::fs;

    #[test]
    fn copies_equal_the_original_and_share_only_what_is_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let [from, first, second] = ["from", "first", "second"].map(|n| dir.path().join(n));
        fs::create_dir_all(from.join("u/cur")).unwrap();
        fs::write(from.join("u/cur/a"), "a").unwrap();
        fs::write(from.join("u/cur/b"), "b").unwrap();
        plain(&from, &first).unwrap();
        let differences =
            |to: &Path, how| Snapshot::take(&from).unwrap().differences(&Snapshot::take(to).unwrap(), how);
        assert_eq!(differences(&first, Strictness::Healed), vec![]);
        assert_eq!(differences(&first, Strictness::Untouched).len(), 2, "other inodes");
        fs::write(from.join("u/cur/b"), "longer").unwrap();
        linked(&from, &second, &first).unwrap();
        assert_eq!(differences(&second, Strictness::Healed), vec![]);
        let ino = |p: &Path| fs::metadata(p).unwrap().ino();
        assert_eq!(ino(&first.join("u/cur/a")), ino(&second.join("u/cur/a")));
        assert_ne!(ino(&first.join("u/cur/b")), ino(&second.join("u/cur/b")));
        assert!(plain(&from, &first).is_err(), "never into what exists");
    }
}
