//! Opening files and directories in trees that strangers can write to.
//!
//! Every path is a [`RelPath`] or a single name, resolved below an open directory. No symbolic link is
//! followed, nothing outside is reached, nothing but a regular file is ever handed out for reading, and
//! a FIFO never blocks. Where openat2 is missing, components are opened one by one with the same
//! result. May not create, change or remove anything.

use super::attr::{convert, fstat, irregular, kind_of};
use super::fs::Kind;
use crate::model::message::Xattr;
use crate::model::{RelPath, Stat, path};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Longest path that is given to the kernel as a whole; longer ones go component by component.
const WHOLE_PATH: usize = 4000;
/// Bytes of directory entries fetched at a time.
const LISTING: usize = 64 << 10;

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NOCTTY);

/// Called with name, type and inode number of a directory entry; an error of its own ends the listing.
pub type EachEntry<'a> = dyn FnMut(&[u8], Kind, u64) -> io::Result<()> + 'a;

/// What this kernel and these privileges turned out to allow, remembered for a whole tree.
#[derive(Debug)]
struct Means {
    openat2: AtomicBool,
    noatime: AtomicBool,
}

/// The top of a tree, or a single file: an open directory and its canonical path.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    path: PathBuf,
    /// The root is this file of the directory, and nothing else of that is reached.
    only: Option<Vec<u8>>,
}

impl Root {
    /// Opens a directory. Links in `path` itself are followed, for whoever runs the program chose it; root follows
    /// its own only ([`super::links`]).
    pub fn open(path: &Path) -> io::Result<Root> {
        match Root::open_with(path, false)? {
            root if root.is_file() => Err(Errno::NOTDIR.into()),
            root => Ok(root),
        }
    }

    /// As [`Root::open`], or a file; `without_openat2` pretends that the kernel has no such call.
    pub fn open_with(path: &Path, without_openat2: bool) -> io::Result<Root> {
        let path = super::links::resolve(path)?;
        let only = match std::fs::symlink_metadata(&path)?.is_file() {
            true => path.file_name().map(|name| name.as_encoded_bytes().to_vec()),
            false => None,
        };
        let top = path.parent().filter(|_| only.is_some()).unwrap_or(&path);
        let means = Means { openat2: AtomicBool::new(!without_openat2), noatime: AtomicBool::new(true) };
        let fd = if without_openat2 { Err(Errno::NOSYS) } else { open_unlinked(top) };
        let fd = match fd {
            Err(Errno::NOSYS | Errno::PERM) => open_unlinked_stepwise(top)?,
            result => result?,
        };
        Ok(Root { dir: Dir { fd, means: Arc::new(means) }, path, only })
    }

    /// The canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The top directory itself; for a file the one that it lies in.
    pub fn top(&self) -> &Dir {
        &self.dir
    }

    /// Opens a directory below the root; the empty path is the root itself.
    pub fn open_dir(&self, path: &RelPath) -> io::Result<Dir> {
        match self.only {
            None => self.dir.open_below(path.as_bytes()),
            Some(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// Where a file lies below the directory that is open.
    fn place<'p>(&'p self, path: &'p RelPath) -> io::Result<&'p [u8]> {
        match &self.only {
            None => Ok(path.as_bytes()),
            Some(name) if path.is_root() => Ok(name),
            Some(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// Whether the root is a single file.
    pub fn is_file(&self) -> bool {
        self.only.is_some()
    }

    /// Opens a regular file for reading; anything else is refused.
    pub fn open_file(&self, path: &RelPath) -> io::Result<File> {
        self.dir.open_regular(self.place(path)?, OFlags::empty())
    }

    /// Opens a regular file so that it can be locked against writers: for writing too, where we may.
    pub fn open_to_lock(&self, path: &RelPath) -> io::Result<File> {
        let place = self.place(path)?;
        match self.dir.open_regular(place, OFlags::RDWR) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                self.dir.open_regular(place, OFlags::empty())
            }
            opened => opened,
        }
    }

    /// As [`Root::open_file`], past the cache; `None` where the file system cannot.
    pub fn open_direct(&self, path: &RelPath) -> io::Result<Option<File>> {
        none_if_refused(self.dir.open_regular(self.place(path)?, OFlags::DIRECT))
    }

    /// Type and `lstat`; `None` where nothing is.
    pub fn stat(&self, path: &RelPath) -> io::Result<Option<(Kind, Stat)>> {
        if let Some(name) = &self.only {
            return if path.is_root() { self.dir.stat(name) } else { Ok(None) };
        }
        let Some(parent) = path.parent() else {
            return self.dir.stat_self().map(|stat| Some((Kind::Directory, stat)));
        };
        match self.open_dir(&parent) {
            Ok(dir) => dir.stat(path.name()),
            Err(error) if nothing_there(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An open directory. Operations on its entries cost one system call each, however deep it lies.
#[derive(Debug)]
pub struct Dir {
    /// Opened with O_PATH, so that search permission is enough for reaching what lies below.
    fd: OwnedFd,
    means: Arc<Means>,
}

impl Dir {
    /// Opens a regular file of this directory for reading; anything else is refused.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        self.open_regular(one_name(name)?, OFlags::empty())
    }

    /// As [`Dir::open_file`], past the cache; `None` where the file system cannot.
    pub fn open_direct(&self, name: &[u8]) -> io::Result<Option<File>> {
        none_if_refused(self.open_regular(one_name(name)?, OFlags::DIRECT))
    }

    /// Opens a directory in this directory.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Dir> {
        self.open_below(one_name(name)?)
    }

    /// Calls `each` for every entry but `.` and `..`, unsorted.
    /// An error in the middle is an error, not an end: only `Ok` means that the listing is complete.
    pub fn entries(&self, each: &mut EachEntry<'_>) -> io::Result<()> {
        let reading = self.reopen()?;
        let mut buffer = Vec::with_capacity(LISTING);
        let mut listing = RawDir::new(&reading, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match self.stat(name)? {
                    Some((kind, _)) => kind,
                    None => continue,
                },
                known => kind_of(known),
            };
            each(name, kind, entry.ino())?;
        }
        Ok(())
    }

    /// Type and `lstat` of an entry; `None` where nothing is.
    pub fn stat(&self, name: &[u8]) -> io::Result<Option<(Kind, Stat)>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statat(&self.fd, one_name(name)?, flags) {
            Ok(stat) => {
                let (file_type, stat) = convert(&stat);
                Ok(Some((kind_of(file_type), stat)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `fstat` of the directory itself.
    pub fn stat_self(&self) -> io::Result<Stat> {
        fstat(&self.fd).map(|(_, stat)| stat)
    }

    /// `user.*` and POSIX ACL attributes of the directory itself, sorted.
    pub fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        super::attr::xattrs(self.reopen()?)
    }

    /// A descriptor of its own on this directory that can list and sync; the one in here can only search.
    pub fn reopen(&self) -> io::Result<OwnedFd> {
        Ok(self.open_reading(b".", OFlags::DIRECTORY)?)
    }

    fn open_below(&self, path: &[u8]) -> io::Result<Dir> {
        let fd = open_inside(self.fd.as_fd(), path, STEP, &self.means)?;
        Ok(Dir { fd, means: self.means.clone() })
    }

    fn open_regular(&self, path: &[u8], more: OFlags) -> io::Result<File> {
        let fd = match self.open_reading(path, more) {
            Ok(fd) => fd,
            // The answer for sockets and for devices without a driver.
            Err(Errno::NXIO) => return Err(irregular_at(self.fd.as_fd(), path).unwrap_or(Errno::NXIO.into())),
            Err(error) => return Err(error.into()),
        };
        match fstat(&fd)?.0 {
            FileType::RegularFile => Ok(File::from(fd)),
            other => Err(irregular(other)),
        }
    }

    /// Opens for reading, without leaving an access time where we may.
    fn open_reading(&self, path: &[u8], more: OFlags) -> Result<OwnedFd, Errno> {
        let (at, flags) = (self.fd.as_fd(), READ | more);
        if self.means.noatime.load(Relaxed) {
            match open_inside(at, path, flags | OFlags::NOATIME, &self.means) {
                Err(Errno::PERM) => {}
                result => return result,
            }
        }
        let result = open_inside(at, path, flags, &self.means);
        if result.is_ok() {
            self.means.noatime.store(false, Relaxed);
        }
        result
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether an error of resolving a path proves that nothing lies there.
pub fn nothing_there(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}

/// A name that is one component, or an error.
pub(super) fn one_name(name: &[u8]) -> io::Result<&[u8]> {
    match path::check_name(name) {
        Ok(()) => Ok(name),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

fn none_if_refused(result: io::Result<File>) -> io::Result<Option<File>> {
    match result {
        Ok(file) => Ok(Some(file)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::OPNOTSUPP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Opens a canonical path. It holds no link; one that appears in it meanwhile is refused.
fn open_unlinked(path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(CWD, path, STEP - OFlags::NOFOLLOW, Mode::empty(), resolve)
}

fn open_unlinked_stepwise(path: &Path) -> Result<OwnedFd, Errno> {
    let top = rustix::fs::open("/", STEP, Mode::empty())?;
    match path.as_os_str().as_encoded_bytes().strip_prefix(b"/") {
        None | Some(b"") => Ok(top),
        Some(below) => open_stepwise(top.as_fd(), below, STEP),
    }
}

/// Opens `path` below `at` without following any link. The empty path is `at` itself.
fn open_inside(at: BorrowedFd<'_>, path: &[u8], flags: OFlags, means: &Means) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    if !means.openat2.load(Relaxed) || path.len() > WHOLE_PATH {
        return open_stepwise(at, path, flags);
    }
    // Without O_NOFOLLOW: the resolve flags refuse a link at the end too, and with one and the same error.
    match rustix::fs::openat2(at, path, flags - OFlags::NOFOLLOW, Mode::empty(), INSIDE) {
        Err(Errno::NOSYS) => {
            means.openat2.store(false, Relaxed);
            open_stepwise(at, path, flags)
        }
        // Old container run-times forbid the call itself; a file that is forbidden stays so.
        Err(Errno::PERM) => {
            let result = open_stepwise(at, path, flags);
            if result.is_ok() {
                means.openat2.store(false, Relaxed);
            }
            result
        }
        result => result,
    }
}

fn open_stepwise(at: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut reached: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let here = reached.as_ref().map_or(at, |fd| fd.as_fd());
        let Some(slash) = rest.iter().position(|&b| b == b'/') else {
            return open_one(here, rest, flags | OFlags::NOFOLLOW);
        };
        let next = open_one(here, &rest[..slash], STEP)?;
        rest = &rest[slash + 1..];
        reached = Some(next);
    }
}

/// Opens one component. A link where a directory should be is ELOOP, as openat2 says, and not ENOTDIR.
fn open_one(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) if is_link(at, name) => Err(Errno::LOOP),
        result => result,
    }
}

fn is_link(at: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Words for what stands at a path that open(2) refused with an unhelpful number.
fn irregular_at(at: BorrowedFd<'_>, path: &[u8]) -> Option<io::Error> {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let file_type = FileType::from_raw_mode(stat.st_mode);
    (file_type != FileType::RegularFile).then(|| irregular(file_type))
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
