//! The file system as `apply` sees it: a small trait with two implementations, the real one and the
//! simulated one. Every path is a [`RelPath`] below a base directory, resolved component by component
//! without following any symbolic link and without leaving the base.

use crate::model::message::Xattr;
use crate::model::{RelPath, Stamp, Stat};
use std::io;

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// Owner, permissions and times to give to a file that was just written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress<'a> {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub mtime: Stamp,
    pub xattrs: &'a [Xattr],
}

/// One of the two trees that an executor works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// Where the mail is (the store, or the folder of `--into`).
    Base,
    /// The run's quarantine folder, on the same file system.
    Quarantine,
}

/// What `apply` needs of a file system. Errors are the operating system's; nothing is retried in here.
///
/// Crash model: contents reach the medium by `sync_file` or `sync_all`; names by `sync_dir` of the
/// directory that holds them (or `sync_all`). Renames and exchanges are atomic.
pub trait Fs {
    /// Type and `lstat` of a path; `None` where nothing is.
    fn stat(&self, tree: Tree, path: &RelPath) -> io::Result<Option<(Kind, Stat)>>;
    /// Names in a directory, unsorted, without `.` and `..`.
    fn list(&self, tree: Tree, dir: &RelPath) -> io::Result<Vec<Vec<u8>>>;
    /// Creates a new file (fails with `AlreadyExists`), mode 0600, and writes everything that `fill` hands to its sink.
    fn create(&self, tree: Tree, path: &RelPath, fill: &mut Fill<'_>) -> io::Result<Stat>;
    /// Sets owner, xattrs, mode and mtime of a file that we created, in that order.
    fn dress(&self, tree: Tree, path: &RelPath, dress: &Dress<'_>) -> io::Result<Stat>;
    /// Attributes of a file that a replacement must keep (`user.*`, POSIX ACLs), sorted by name.
    fn xattrs(&self, tree: Tree, path: &RelPath) -> io::Result<Vec<Xattr>>;
    /// Reads a file from the medium where that is possible, else from the cache, in windows.
    fn read(&self, tree: Tree, path: &RelPath, window: &mut dyn FnMut(&[u8])) -> io::Result<Stat>;
    fn make_dir(&self, tree: Tree, path: &RelPath, mode: u32) -> io::Result<()>;
    /// Sets owner and mode of a directory that we created.
    fn dress_dir(&self, tree: Tree, path: &RelPath, uid: u32, gid: u32, mode: u32) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, tree: Tree, path: &RelPath) -> io::Result<()>;
    /// Moves a file to a name that must be free (`AlreadyExists` otherwise).
    fn rename_new(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()>;
    /// Atomically exchanges two files. `Unsupported` where the file system cannot.
    fn exchange(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()>;
    /// Gives a file a second name that must be free.
    fn link(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()>;
    /// Moves a file over another one.
    fn rename_over(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()>;
    /// Removes a file of the quarantine; the base has no such operation.
    fn unlink_quarantine(&self, path: &RelPath) -> io::Result<()>;
    /// A file's contents and attributes are on the medium.
    fn sync_file(&self, tree: Tree, path: &RelPath) -> io::Result<()>;
    /// A directory's names are on the medium.
    fn sync_dir(&self, tree: Tree, dir: &RelPath) -> io::Result<()>;
    /// Everything written to the file system so far is on the medium (syncfs).
    fn sync_all(&self) -> io::Result<()>;
    /// Whether no process has the file open; what is not there, nobody has. `Unsupported` where the file system does not
    /// tell.
    fn is_idle(&self, tree: Tree, path: &RelPath) -> io::Result<bool>;
    /// Keeps everybody else out of a file until what this answers is dropped: with the lock of `fcntl` that mail servers
    /// take, and so that nobody opens it unseen. `None` if somebody has it open or locked; errors as [`Fs::is_idle`].
    fn hold<'f>(&'f self, tree: Tree, path: &RelPath) -> io::Result<Option<Box<dyn Hold + 'f>>>;
    /// Bytes and inodes that are free to us on the file system.
    fn free(&self) -> io::Result<(u64, u64)>;
}

/// Hands the bytes of a new file to the sink that it is given, and stops at the sink's first error.
pub type Fill<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> + 'a;

/// A file that nobody else had open when this was made.
pub trait Hold {
    /// The file that it is.
    fn stat(&self) -> Stat;
    /// Whether nobody has tried to open it since. Whoever does waits until this is dropped, but not for ever.
    fn undisturbed(&self) -> bool;
}
