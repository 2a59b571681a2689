//! [`Fs`] over two real directory trees.
//!
//! The only code outside tests that changes mail. It does single operations as it is told and knows no
//! order, no retry and no journal: those are `apply`'s. Every operation is relative to a directory that was
//! opened without following a link; none follows one itself, and what is dressed is what was created here.

use super::attr::{fstat, irregular};
use super::dir::{Dir, Root};
use super::direct::read_file;
use super::fs::{Dress, Fill, Fs, Hold, Kind, Tree};
use crate::model::message::{Xattr, is_kept};
use crate::model::{RelPath, Stat};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Objects created here whose identity is remembered until they are renamed.
const CREATED_MAX: usize = 16 << 10;

/// The real file system.
#[derive(Debug)]
pub struct OsFs {
    base: Root,
    quarantine: Root,
    /// Open since the start: syncfs tells of errors since its descriptor was opened.
    base_sync: OwnedFd,
    quarantine_sync: Option<OwnedFd>,
    /// Device and inode of what was created here: users can write to mail directories, and whatever they put
    /// in the place of our temporary file must not be given away to them.
    created: Mutex<HashMap<(Tree, RelPath), (u64, u64)>>,
}

impl OsFs {
    /// Works on `base`, with `quarantine` on the same file system (else renames fail with EXDEV).
    pub fn new(base: Root, quarantine: Root) -> io::Result<OsFs> {
        let base_sync = base.top().reopen()?;
        let same = base.top().stat_self()?.dev == quarantine.top().stat_self()?.dev;
        let quarantine_sync = if same { None } else { Some(quarantine.top().reopen()?) };
        Ok(OsFs { base, quarantine, base_sync, quarantine_sync, created: Mutex::default() })
    }

    fn root(&self, tree: Tree) -> &Root {
        match tree {
            Tree::Base => &self.base,
            Tree::Quarantine => &self.quarantine,
        }
    }

    /// The directory that holds `path`, and the last component.
    fn parent<'p>(&self, tree: Tree, path: &'p RelPath) -> io::Result<(Dir, &'p [u8])> {
        match path.parent() {
            Some(parent) => Ok((self.root(tree).open_dir(&parent)?, path.name())),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the root itself cannot be changed")),
        }
    }

    fn remember(&self, tree: Tree, path: &RelPath, stat: &Stat) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        if created.len() >= CREATED_MAX {
            created.clear();
        }
        created.insert((tree, path.clone()), (stat.dev, stat.ino));
    }

    fn forget(&self, at: (Tree, &RelPath)) {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).remove(&(at.0, at.1.clone()));
    }

    /// Refuses to give away an object that is not the one we created: another inode than remembered, one with
    /// further names, or (where nothing is remembered, after a restart) one that belongs to somebody else.
    fn check_ours(&self, tree: Tree, path: &RelPath, fd: BorrowedFd<'_>, owner: (u32, u32)) -> io::Result<Stat> {
        let (file_type, stat) = fstat(fd)?;
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = match created.get(&(tree, path.clone())) {
            Some(&identity) => identity == (stat.dev, stat.ino),
            None => stat.uid == rustix::process::geteuid().as_raw() || (stat.uid, stat.gid) == owner,
        };
        if !ours || (file_type == FileType::RegularFile && stat.nlink != 1) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not the file that was created here"));
        }
        Ok(stat)
    }
}

impl Fs for OsFs {
    fn stat(&self, tree: Tree, path: &RelPath) -> io::Result<Option<(Kind, Stat)>> {
        self.root(tree).stat(path)
    }

    fn list(&self, tree: Tree, dir: &RelPath) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.root(tree).open_dir(dir)?.entries(&mut |name, _, _| {
            names.push(name.to_vec());
            Ok(())
        })?;
        Ok(names)
    }

    /// Where writing fails, the file stays as far as it came, under its name.
    fn create(&self, tree: Tree, path: &RelPath, fill: &mut Fill<'_>) -> io::Result<Stat> {
        let (dir, name) = self.parent(tree, path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?);
        self.remember(tree, path, &fstat(&file)?.1);
        fill(&mut |bytes| file.write_all(bytes))?;
        fstat(&file).map(|(_, stat)| stat)
    }

    fn dress(&self, tree: Tree, path: &RelPath, dress: &Dress<'_>) -> io::Result<Stat> {
        let file = self.root(tree).open_file(path)?;
        let stat = self.check_ours(tree, path, file.as_fd(), (dress.uid, dress.gid))?;
        if dress.xattrs.iter().any(|xattr| !is_kept(&xattr.name)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an extended attribute that no mail has"));
        }
        change_owner(file.as_fd(), &stat, dress.uid, dress.gid)?;
        for xattr in dress.xattrs {
            rustix::fs::fsetxattr(&file, &xattr.name[..], &xattr.value, XattrFlags::empty())?;
        }
        rustix::fs::fchmod(&file, permissions(dress.mode))?;
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: dress.mtime.sec, tv_nsec: dress.mtime.nsec.into() };
        rustix::fs::futimens(&file, &Timestamps { last_access, last_modification })?;
        fstat(&file).map(|(_, stat)| stat)
    }

    fn xattrs(&self, tree: Tree, path: &RelPath) -> io::Result<Vec<Xattr>> {
        match self.root(tree).stat(path)? {
            Some((Kind::Directory, _)) => self.root(tree).open_dir(path)?.xattrs(),
            _ => super::attr::xattrs(self.root(tree).open_file(path)?),
        }
    }

    fn read(&self, tree: Tree, path: &RelPath, window: &mut dyn FnMut(&[u8])) -> io::Result<Stat> {
        let (dir, name) = self.parent(tree, path)?;
        read_file(&dir, name, window).map(|(stat, _)| stat)
    }

    fn make_dir(&self, tree: Tree, path: &RelPath, mode: u32) -> io::Result<()> {
        let (dir, name) = self.parent(tree, path)?;
        rustix::fs::mkdirat(&dir, name, permissions(mode))?;
        self.remember(tree, path, &dir.open_dir(name)?.stat_self()?);
        Ok(())
    }

    fn dress_dir(&self, tree: Tree, path: &RelPath, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        let folder = self.root(tree).open_dir(path)?;
        let dir = folder.reopen()?;
        let stat = self.check_ours(tree, path, dir.as_fd(), (uid, gid))?;
        // Whoever can write above it can move another folder of ours to its name. What we made is empty as long
        // as it is ours; only that may be given away.
        folder.entries(&mut |_, _, _| Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty)))?;
        change_owner(dir.as_fd(), &stat, uid, gid)?;
        Ok(rustix::fs::fchmod(&dir, permissions(mode))?)
    }

    fn remove_dir(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        let (dir, name) = self.parent(tree, path)?;
        self.forget((tree, path));
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?)
    }

    /// Where the file system cannot rename without replacing: a link and then an unlink, so that between the
    /// two, and where the second fails, the file has both names.
    fn rename_new(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from.0, from.1)?;
        let (to_dir, to_name) = self.parent(to.0, to.1)?;
        self.forget(from);
        match rustix::fs::renameat_with(&from_dir, from_name, &to_dir, to_name, RenameFlags::NOREPLACE) {
            Err(error) if unsupported(error) => rename_by_link(&from_dir, from_name, &to_dir, to_name),
            result => Ok(result?),
        }
    }

    fn exchange(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()> {
        let (a_dir, a_name) = self.parent(a.0, a.1)?;
        let (b_dir, b_name) = self.parent(b.0, b.1)?;
        self.forget(a);
        self.forget(b);
        match rustix::fs::renameat_with(&a_dir, a_name, &b_dir, b_name, RenameFlags::EXCHANGE) {
            Err(error) if unsupported(error) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the file system cannot exchange two names ({error})"),
            )),
            result => Ok(result?),
        }
    }

    fn link(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from.0, from.1)?;
        let (to_dir, to_name) = self.parent(to.0, to.1)?;
        link_file(&from_dir, from_name, &to_dir, to_name)
    }

    fn rename_over(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from.0, from.1)?;
        let (to_dir, to_name) = self.parent(to.0, to.1)?;
        self.forget(from);
        self.forget(to);
        Ok(rustix::fs::renameat(&from_dir, from_name, &to_dir, to_name)?)
    }

    fn unlink_quarantine(&self, path: &RelPath) -> io::Result<()> {
        let (dir, name) = self.parent(Tree::Quarantine, path)?;
        self.forget((Tree::Quarantine, path));
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::empty())?)
    }

    fn sync_file(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.root(tree).open_file(path)?)?)
    }

    fn sync_dir(&self, tree: Tree, dir: &RelPath) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.root(tree).open_dir(dir)?.reopen()?)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.base_sync)?;
        if let Some(quarantine) = &self.quarantine_sync {
            rustix::fs::syncfs(quarantine)?;
        }
        Ok(())
    }

    fn is_idle(&self, tree: Tree, path: &RelPath) -> io::Result<bool> {
        match self.root(tree).open_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            file => super::raw::sole_opener(file?.as_fd()),
        }
    }

    fn hold<'f>(&'f self, tree: Tree, path: &RelPath) -> io::Result<Option<Box<dyn Hold + 'f>>> {
        Ok(super::lock::Sole::take(self.root(tree).open_to_lock(path)?)?.map(|sole| Box::new(sole) as Box<dyn Hold>))
    }

    fn free(&self) -> io::Result<(u64, u64)> {
        free(self.base_sync.as_fd())
    }
}

/// Bytes and inodes that are free on the file system of an open file or folder.
pub fn free(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let room = rustix::fs::fstatvfs(fd)?;
    // One that reports no size at all (ramfs, some FUSE mounts) does not know what is free: it will say.
    let bytes = if room.f_blocks == 0 { u64::MAX } else { room.f_bavail.saturating_mul(room.f_frsize) };
    // File systems that allot inodes as they go (btrfs, many network ones) report none at all.
    let inodes = if room.f_files == 0 { u64::MAX } else { room.f_favail };
    Ok((bytes, inodes))
}

/// Changes what differs, before the mode: a change of owner clears the set-id bits.
fn change_owner(fd: BorrowedFd<'_>, now: &Stat, uid: u32, gid: u32) -> io::Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "4294967295 is no user or group"));
    }
    let user = (now.uid != uid).then(|| Uid::from_raw(uid));
    let group = (now.gid != gid).then(|| Gid::from_raw(gid));
    if user.is_some() || group.is_some() {
        rustix::fs::fchown(fd, user, group)?;
    }
    Ok(())
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

/// The answers of file systems and kernels that lack an option of renameat2.
fn unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn rename_by_link(from: &Dir, from_name: &[u8], to: &Dir, to_name: &[u8]) -> io::Result<()> {
    match link_file(from, from_name, to, to_name) {
        // EPERM is what a file system without hard links says.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::OPNOTSUPP)) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the file system cannot rename without replacing"))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(rustix::fs::unlinkat(from, from_name, AtFlags::empty())?),
    }
}

fn link_file(from: &Dir, from_name: &[u8], to: &Dir, to_name: &[u8]) -> io::Result<()> {
    let stat = rustix::fs::statat(from, from_name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(rustix::fs::linkat(from, from_name, to, to_name, AtFlags::empty())?),
        other => Err(irregular(other)),
    }
}

#[cfg(test)]
#[path = "osfs_tests.rs"]
mod tests;
