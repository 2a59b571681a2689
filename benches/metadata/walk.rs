//! A bare walk: getdents for every folder, statx for every entry, nothing else. What nobody who looks at all
//! metadata can do without.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat, statx};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Walks the tree with so many threads; returns how many files it saw.
pub fn walk(top: &Path, threads: usize) -> io::Result<u64> {
    let top = CString::new(top.as_os_str().as_bytes())?;
    let (files, open) = (AtomicU64::new(0), AtomicUsize::new(1));
    let todo = Mutex::new(vec![top]);
    let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let work = || {
            let mut buffer = Vec::with_capacity(64 << 10);
            while open.load(Ordering::Acquire) > 0 {
                let next = todo.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(folder) = next else {
                    std::thread::yield_now();
                    continue;
                };
                let (seen, inside) = one(&folder, &mut buffer)?;
                files.fetch_add(seen, Ordering::Relaxed);
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
    Ok(files.into_inner())
}

fn one(folder: &CString, buffer: &mut Vec<u8>) -> io::Result<(u64, Vec<CString>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = openat(CWD, folder, flags, Mode::empty())?;
    let (mut seen, mut inside) = (0, Vec::new());
    let mut listing = RawDir::new(&dir, buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statx(&dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
        std::hint::black_box(stat.stx_mtime.tv_sec);
        if entry.file_type() == FileType::Directory {
            inside.push(CString::new([folder.to_bytes(), b"/", name.to_bytes()].concat())?);
        } else {
            seen += 1;
        }
    }
    Ok((seen, inside))
}
