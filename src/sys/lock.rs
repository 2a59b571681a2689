//! Locks that the kernel keeps: on files of our own state folder, for one run at a time, and on a file that holds
//! many messages, for as long as another takes its place.
//!
//! The kernel gives a dead process's lock back, so a file that was left behind needs nobody's hand. The
//! text in one of ours only tells people who holds the lock; nothing is decided by it. May not wait.

use super::attr::{fstat, irregular};
use super::clock;
use super::fs::Hold;
use super::raw;
use crate::model::Stat;
use crate::model::path::escape;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes kept of a holder's record.
const RECORD_MAX: usize = 4096;

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back as soon as this is dropped"]
pub struct Lock {
    file: File,
    /// The record is ours alone to clear.
    exclusive: bool,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it; `text` is that process's record, safe to print.
    #[error("{} is in use by {text}", path.display())]
    Held { path: PathBuf, pid: Option<u32>, text: String },
    #[error("cannot lock {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl Lock {
    /// Takes the lock alone, or says at once who has it. The file is made if need be and stays.
    pub fn exclusive(path: &Path) -> Result<Lock, LockError> {
        Lock::take(path, FlockOperation::NonBlockingLockExclusive, true)
    }

    /// Takes the lock together with others that share it.
    pub fn shared(path: &Path) -> Result<Lock, LockError> {
        Lock::take(path, FlockOperation::NonBlockingLockShared, false)
    }

    fn take(path: &Path, operation: FlockOperation, exclusive: bool) -> Result<Lock, LockError> {
        let failed = |error: io::Error| LockError::Io { path: path.to_owned(), error };
        let file = open(path).map_err(failed)?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let (pid, text) = holder(&file);
                return Err(LockError::Held { path: path.to_owned(), pid, text });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The lock is what counts; a full disk must not keep it from us, only the record from others.
        let record = record();
        file.set_len(0).and_then(|()| file.write_all_at(record.as_bytes(), 0)).ok();
        Ok(Lock { file, exclusive })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            self.file.set_len(0).ok();
        }
    }
}

/// A file of mail that we alone have open, with the lock of `fcntl` by which mail servers keep each other out. Given back
/// when this is dropped, or by the kernel. Closing the file anywhere else in this process gives that lock back too.
#[derive(Debug)]
pub struct Sole {
    file: File,
    stat: Stat,
}

impl Sole {
    /// `None` if somebody else has it open or locked. Where it is open for reading only, nobody is kept out who has it
    /// open already; but then nobody has.
    pub fn take(file: File) -> io::Result<Option<Sole>> {
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::BADF) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(io::Error::new(io::ErrorKind::Unsupported, error)),
        }
        if !raw::take_lease(file.as_fd())? {
            return Ok(None);
        }
        let stat = fstat(&file)?.1;
        Ok(Some(Sole { file, stat }))
    }
}

impl Hold for Sole {
    fn stat(&self) -> Stat {
        self.stat
    }

    fn undisturbed(&self) -> bool {
        raw::lease_stands(self.file.as_fd())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    match fstat(&file)?.0 {
        FileType::RegularFile => Ok(file),
        other => Err(irregular(other)),
    }
}

/// Three lines: process id, command line, start.
fn record() -> String {
    let arguments: Vec<String> = std::env::args_os().map(|argument| escape(argument.as_bytes())).collect();
    let mut command = arguments.join(" ");
    command.truncate(command.floor_char_boundary(RECORD_MAX - 100));
    format!("{}\n{command}\n{}\n", std::process::id(), clock::rfc3339(clock::now()))
}

/// Whose record stands in the file, as (process, words). The file may hold anything.
fn holder(file: &File) -> (Option<u32>, String) {
    let mut bytes = vec![0; RECORD_MAX];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    let mut lines = bytes[..length].split(|&b| b == b'\n').map(escape);
    let pid = lines.next().and_then(|line| line.parse().ok());
    match (pid, lines.next(), lines.next()) {
        (Some(pid), Some(command), Some(since)) => (Some(pid), format!("process {pid} since {since}: {command}")),
        _ => (None, "another process".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::exclusive(&path).unwrap();
        match Lock::exclusive(&path) {
            Err(LockError::Held { pid, text, .. }) => {
                assert_eq!(pid, Some(std::process::id()));
                assert!(text.contains("since 20"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(Lock::shared(&path), Err(LockError::Held { .. })));
        drop(first);
        let again = Lock::exclusive(&path).unwrap();
        drop(again);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn readers_share_and_keep_a_writer_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let one = Lock::shared(&path).unwrap();
        let two = Lock::shared(&path).unwrap();
        drop(one);
        assert!(matches!(Lock::exclusive(&path), Err(LockError::Held { pid: Some(_), .. })));
        drop(two);
        let alone = Lock::exclusive(&path).unwrap();
        drop(alone);
    }

    #[test]
    fn what_the_dead_left_behind_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, b"4000000000\nmailmend\x1b[2J repair\n2026\n").unwrap();
        let lock = Lock::exclusive(&path).unwrap();
        drop(lock);
        std::os::unix::fs::symlink("elsewhere", dir.path().join("link")).unwrap();
        assert!(matches!(Lock::exclusive(&dir.path().join("link")), Err(LockError::Io { .. })));
        assert!(matches!(Lock::exclusive(dir.path()), Err(LockError::Io { .. })));
    }

    #[test]
    fn a_crafted_record_is_safe_to_print() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"12\n\x1b[2J\xff\nnow\n", 0).unwrap();
        assert_eq!(holder(&file), (Some(12), "process 12 since now: %1B[2J%FF".to_owned()));
        file.set_len(0).unwrap();
        assert_eq!(holder(&file), (None, "another process".to_owned()));
    }
}
