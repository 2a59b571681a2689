//! What the file system says of an object besides its bytes: type, `stat`, extended attributes.
//!
//! May not open or change anything: works on descriptors that others opened safely.

use super::fs::Kind;
use crate::model::message::{Xattr, is_kept};
use crate::model::{Stamp, Stat};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

/// Attributes that one object may have before it is refused.
const XATTRS_MAX: usize = 64;
/// Bytes of the list of names and of one value: the kernel's own limits.
const XATTR_BYTES: usize = 64 << 10;

/// The coarse type of a file.
pub fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// Words for a type, as errors show it.
pub fn type_words(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of unknown type",
    }
}

/// The error for an object that should be a regular file and is not.
pub fn irregular(file_type: FileType) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not a regular file but {}", type_words(file_type)))
}

/// Type and `stat` in the model's terms. Field widths differ between architectures, hence the casts.
#[allow(clippy::unnecessary_cast)]
pub fn convert(stat: &rustix::fs::Stat) -> (FileType, Stat) {
    let converted = Stat {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        nlink: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: Stamp { sec: stat.st_mtime as i64, nsec: stat.st_mtime_nsec as u32 },
        ctime: Stamp { sec: stat.st_ctime as i64, nsec: stat.st_ctime_nsec as u32 },
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode as u32 & 0o7777,
    };
    (FileType::from_raw_mode(stat.st_mode), converted)
}

/// `fstat` in the model's terms.
pub fn fstat(fd: impl AsFd) -> io::Result<(FileType, Stat)> {
    Ok(convert(&rustix::fs::fstat(fd)?))
}

/// The attributes that a replacement must keep: `user.*` and POSIX ACLs, sorted by name. Empty where the
/// file system has none. More than 64 of them, which no mail server makes, are an error and not cut short.
pub fn xattrs(fd: impl AsFd) -> io::Result<Vec<Xattr>> {
    let fd = fd.as_fd();
    let mut list = vec![0u8; XATTR_BYTES];
    let length = match rustix::fs::flistxattr(fd, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    let mut value = Vec::new();
    for name in list[..length].split(|&b| b == 0).filter(|name| is_kept(name)) {
        if found.len() == XATTRS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more than 64 extended attributes"));
        }
        value.resize(XATTR_BYTES, 0);
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(length) => found.push(Xattr { name: name.to_vec(), value: value[..length].to_vec() }),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::XattrFlags;

    #[test]
    fn lists_what_a_replacement_keeps_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a")).unwrap();
        for name in ["user.b", "user.a"] {
            match rustix::fs::fsetxattr(&file, name, name.as_bytes(), XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => return eprintln!("NOT TESTED: no user xattrs on this file system"),
                result => result.unwrap(),
            }
        }
        let names: Vec<_> = xattrs(&file).unwrap().into_iter().map(|x| (x.name, x.value)).collect();
        assert_eq!(names, [(b"user.a".to_vec(), b"user.a".to_vec()), (b"user.b".to_vec(), b"user.b".to_vec())]);
        assert_eq!(xattrs(std::fs::File::open("/proc/self/stat").unwrap()).unwrap(), []);
    }

    #[test]
    fn too_many_attributes_are_refused_not_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a")).unwrap();
        for number in 0..65 {
            if rustix::fs::fsetxattr(&file, format!("user.{number}"), b"", XattrFlags::empty()).is_err() {
                return eprintln!("NOT TESTED: no room for 65 user xattrs on this file system");
            }
        }
        assert_eq!(xattrs(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn stat_keeps_permission_bits_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a")).unwrap();
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o2640)).unwrap();
        let (file_type, stat) = fstat(&file).unwrap();
        assert_eq!((file_type, stat.mode, stat.nlink, stat.size), (FileType::RegularFile, 0o2640, 1, 0));
    }
}
