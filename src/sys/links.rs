//! Paths that whoever runs the program names: which symbolic links in them may be followed.
//!
//! Root that follows a link which a mail user made works wherever that user likes. So root follows only links
//! of root in folders of root; anybody else follows what the system lets them. May only look, never change.

use super::attr::{fstat, irregular};
use rustix::fs::{FileType, Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
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

/// Opens a file for reading that whoever runs the program names: a plan, a list. A FIFO would keep us waiting, and a
/// device never ends.
///
/// # Errors
/// The system's, and words where it is no regular file.
pub fn open_named(path: &Path) -> io::Result<File> {
    // Looked at first, for opening some devices does something; the open file is what counts.
    let irregular_kind = |file_type| match file_type {
        FileType::RegularFile => Ok(()),
        other => Err(irregular(other)),
    };
    irregular_kind(FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    irregular_kind(fstat(&file)?.0)?;
    Ok(file)
}

/// The text of a file that [`open_named`] opens, if it has no more than `max` bytes.
///
/// # Errors
/// Those of opening and reading it, and words where it is longer or no UTF-8.
pub fn read_named(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = open_named(path)?.take(max + 1).read_to_string(&mut text)?;
    if read as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {} MiB", max >> 20)));
    }
    Ok(text)
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
    fn only_regular_files_are_read_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("list"), "ann\n").unwrap();
        symlink("list", at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        fs::write(at("bytes"), [0xff]).unwrap();
        File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_named(&at("list"), 4).unwrap(), "ann\n");
        assert_eq!(read_named(&at("link"), 100).unwrap(), "ann\n");
        for (path, words) in
            [("fifo", "FIFO"), ("folder", "directory"), ("/dev/zero", "device"), ("nothing", "No such")]
        {
            let error = read_named(&at(path), 100).unwrap_err().to_string();
            assert!(error.contains(words), "{path}: {error}");
        }
        assert!(read_named(&at("list"), 3).is_err() && read_named(&at("bytes"), 100).is_err());
        assert!(read_named(&at("huge"), 1 << 20).unwrap_err().to_string().contains("1 MiB"));
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
