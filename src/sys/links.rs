//! Paths that whoever runs the program names: which symbolic links in them may be followed.
//!
//! Root that follows a link which a mail user made works wherever that user likes. So root follows only links
//! of root in folders of root; anybody else follows what the system lets them. May only look, never change.

use super::attr::fstat;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links followed in one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// The path from the root with every link resolved.
///
/// # Errors
/// The system's, and `PermissionDenied` at a link that root must not follow. Whoever opens the result has to
/// refuse links altogether: by then a folder can have been replaced by one.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let trusted = rustix::process::geteuid().is_root().then_some(0);
    resolve_for(path, trusted)
}

/// `trusted` is the only user whose links are followed; `None` for anybody's.
fn resolve_for(path: &Path, trusted: Option<u32>) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let mut reached = PathBuf::from("/");
    let mut rest = components(&std::path::absolute(path)?);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&name);
        let found = fs::symlink_metadata(&next)?;
        if !found.is_symlink() {
            if !found.is_dir() && !rest.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotADirectory));
            }
            reached = next;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::from(rustix::io::Errno::LOOP));
        }
        let folder = fs::symlink_metadata(&reached)?;
        if let Some(stranger) = [found.uid(), folder.uid()].into_iter().find(|&uid| trusted.is_some_and(|t| t != uid)) {
            return Err(refusal(&next, stranger));
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        let mut further = components(&target);
        further.append(&mut rest);
        rest = further;
    }
    Ok(reached)
}

fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

fn refusal(link: &Path, uid: u32) -> io::Error {
    let link = crate::model::path::escape(link.as_os_str().as_encoded_bytes());
    let text = format!("{link} is a symbolic link that user {uid} can turn elsewhere; name the folder itself");
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Insists that an open folder is ours alone: our own, and closed to everybody else.
///
/// # Errors
/// `PermissionDenied` where it is not.
pub fn ours_alone(folder: impl std::os::fd::AsFd) -> io::Result<()> {
    let (_, stat) = fstat(folder)?;
    if stat.uid == rustix::process::geteuid().as_raw() && stat.mode & 0o077 == 0 {
        return Ok(());
    }
    let text = "is there already and is not a folder of our own with mode 0700";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn resolves_as_the_system_does() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b/c")).unwrap();
        symlink("b/c", base.join("a/relative")).unwrap();
        symlink(base.join("a"), base.join("absolute")).unwrap();
        symlink("../a/relative/..", base.join("a/climbing")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        for path in ["", "a", "a/./b/../b", "a/relative", "absolute/relative", "absolute/climbing", "a/b/../../file"] {
            let path = base.join(path);
            assert_eq!(resolve_for(&path, None).unwrap(), path.canonicalize().unwrap(), "{}", path.display());
        }
        for path in ["nothing", "loop", "file/x", "a/nothing/b"] {
            let path = base.join(path);
            let wanted = path.canonicalize().unwrap_err().raw_os_error();
            let found = resolve_for(&path, None).unwrap_err();
            assert!(found.raw_os_error().is_none() || found.raw_os_error() == wanted, "{found}");
        }
    }

    #[test]
    fn a_strangers_link_is_refused_and_a_strangers_folder_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        let stranger = Some(fs::metadata(&base).unwrap().uid() + 1);
        assert_eq!(resolve_for(&base.join("real"), stranger).unwrap(), base.join("real"));
        let refused = resolve_for(&base.join("link"), stranger).unwrap_err();
        assert!(refused.to_string().contains("link is a symbolic link"), "{refused}");
        assert!(resolve_for(&base.join("link"), Some(fs::metadata(&base).unwrap().uid())).is_ok());
    }
}
