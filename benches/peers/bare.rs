//! What is compared with inside this program: bare readers over the same walk, and the bare writing of files.

use mail_parser::MessageParser;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat, syncfs};
use rustix::io::read;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The floor: opens, stats, reads and closes every file.
pub fn read_all(dir: BorrowedFd<'_>, name: &CStr, kind: FileType, buffer: &mut [u8]) -> io::Result<u64> {
    each(dir, name, kind, buffer, &mut |_| ())
}

/// And hashes it, in pieces, with no record of anything.
pub fn hash(dir: BorrowedFd<'_>, name: &CStr, kind: FileType, buffer: &mut [u8]) -> io::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    let size = each(dir, name, kind, buffer, &mut |piece| {
        hasher.update(piece);
    })?;
    std::hint::black_box(hasher.finalize());
    Ok(size)
}

/// Hashes it and has mail-parser take it apart.
pub fn parse(dir: BorrowedFd<'_>, name: &CStr, kind: FileType, buffer: &mut [u8]) -> io::Result<u64> {
    let mut whole = Vec::new();
    let size = each(dir, name, kind, buffer, &mut |piece| whole.extend_from_slice(piece))?;
    std::hint::black_box((blake3::hash(&whole), MessageParser::default().parse(&whole).is_some()));
    Ok(size)
}

fn each(
    dir: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    buffer: &mut [u8],
    piece: &mut dyn FnMut(&[u8]),
) -> io::Result<u64> {
    if kind != FileType::RegularFile {
        return Ok(0);
    }
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    std::hint::black_box(fstat(&file)?.st_size);
    let mut size = 0;
    loop {
        let n = read(&file, &mut *buffer)?;
        if n == 0 {
            return Ok(size);
        }
        piece(&buffer[..n]);
        size += n as u64;
    }
}

/// Writes these files of `from` anew in `to`, syncs them together, and gives them their names: the least that anybody does
/// who restores them without a window in which half of one is seen.
pub fn write(from: &Path, to: &Path, files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        fs::write(to.join(file).with_extension("tmp-of-bench"), fs::read(from.join(file))?)?;
    }
    syncfs(File::open(to)?)?;
    for file in files {
        fs::rename(to.join(file).with_extension("tmp-of-bench"), to.join(file))?;
    }
    Ok(syncfs(File::open(to)?)?)
}
