//! A bare walk: getdents for every folder, one look at every entry, nothing else. What nobody who looks at everything can
//! do without.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat, statx};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is done with an entry of a folder; gives the bytes that it read.
pub type Look = fn(BorrowedFd<'_>, &CStr, FileType, &mut [u8]) -> io::Result<u64>;

/// Asks for the metadata.
pub fn stat(dir: BorrowedFd<'_>, name: &CStr, _: FileType, _: &mut [u8]) -> io::Result<u64> {
    let stat = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    std::hint::black_box(stat.stx_mtime.tv_sec);
    Ok(0)
}

/// Walks the tree with so many threads and looks at everything; returns how many files it saw and bytes it read.
pub fn walk(top: &Path, threads: usize, look: Look) -> io::Result<(u64, u64)> {
    let top = CString::new(top.as_os_str().as_bytes())?;
    let (files, bytes, open) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(1));
    let todo = Mutex::new(vec![top]);
    let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let work = || {
            let (mut names, mut content) = (Vec::with_capacity(64 << 10), vec![0; 256 << 10]);
            while open.load(Ordering::Acquire) > 0 {
                let next = todo.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(folder) = next else {
                    std::thread::yield_now();
                    continue;
                };
                let (seen, read, inside) = one(&folder, look, &mut names, &mut content)?;
                files.fetch_add(seen, Ordering::Relaxed);
                bytes.fetch_add(read, Ordering::Relaxed);
                open.fetch_add(inside.len(), Ordering::AcqRel);
                todo.lock().unwrap_or_else(PoisonError::into_inner).extend(inside);
                open.fetch_sub(1, Ordering::AcqRel);
            }
            Ok(())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    results.into_iter().collect::<io::Result<()>>()?;
    Ok((files.into_inner(), bytes.into_inner()))
}

fn one(folder: &CString, look: Look, names: &mut Vec<u8>, content: &mut [u8]) -> io::Result<(u64, u64, Vec<CString>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = openat(CWD, folder, flags, Mode::empty())?;
    let (mut seen, mut read, mut inside) = (0, 0, Vec::new());
    let mut listing = RawDir::new(&dir, names.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        read += look(dir.as_fd(), name, entry.file_type(), content)?;
        if entry.file_type() == FileType::Directory {
            inside.push(CString::new([folder.to_bytes(), b"/", name.to_bytes()].concat())?);
        } else {
            seen += 1;
        }
    }
    Ok((seen, read, inside))
}
