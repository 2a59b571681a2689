//! The block device under a mounted file system, for reading what lies next to each other in one go.
//!
//! Opens it for reading only, past the cache, and only where its blocks hold what the files have: ext4 and XFS whose data
//! goes neither through a journal nor to another device. Decides nothing about what is read.

use super::mounts::Mount;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// An open device.
#[derive(Debug)]
pub struct Device {
    pub file: File,
    /// `st_dev` of the files on it.
    pub dev: u64,
    /// Nothing can be on its way to it.
    pub settled: bool,
}

impl Device {
    /// The device under this mount.
    ///
    /// # Errors
    /// Where there is none that could be read so, or we may not.
    pub fn open(sys: &Path, mount: &Mount) -> io::Result<Device> {
        let other = |why: &str| io::Error::new(io::ErrorKind::Unsupported, why.to_owned());
        if !matches!(&mount.fs_type[..], "ext2" | "ext3" | "ext4" | "xfs") || mount.dev.0 == 0 {
            return Err(other("its blocks are not what its files have"));
        }
        let mut options = mount.super_options.split(',');
        if options.any(|option| option == "data=journal" || option.starts_with("rtdev=") || option.starts_with("dax")) {
            return Err(other("its data does not go straight to its blocks"));
        }
        let event = fs::read_to_string(sys.join(format!("dev/block/{}:{}/uevent", mount.dev.0, mount.dev.1)))?;
        let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        let name = name.filter(|name| !name.split('/').any(|part| part.is_empty() || part == ".."));
        let path = Path::new("/dev").join(name.ok_or_else(|| other("the kernel does not tell its name"))?);
        let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
        let about = file.metadata()?;
        let dev = rustix::fs::makedev(mount.dev.0, mount.dev.1);
        if !about.file_type().is_block_device() || about.rdev() != dev {
            return Err(other("another device has its name"));
        }
        let settled = mount.super_options.split(',').any(|option| option == "ro");
        Ok(Device { file, dev, settled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mounts::Mounts;

    #[test]
    fn only_where_blocks_are_what_files_have() {
        let sys = tempfile::tempdir().unwrap();
        for (line, why) in [
            ("1 0 8:1 / / rw - btrfs /dev/sda1 rw", "not what its files have"),
            ("1 0 0:31 / / rw - ext4 none rw", "not what its files have"),
            ("1 0 8:1 / / rw - ext4 /dev/sda1 rw,data=journal", "not go straight"),
            ("1 0 8:1 / / rw - xfs /dev/sda1 rw,rtdev=/dev/sdb", "not go straight"),
            ("1 0 8:1 / / rw - ext4 /dev/sda1 rw", "os error 2"),
            ("1 0 8:2 / / rw - ext4 /dev/sda2 rw", "not tell its name"),
            ("1 0 8:3 / / rw - ext4 /dev/sda3 rw", ""),
        ] {
            for (number, name) in [("8:2", "../etc/passwd"), ("8:3", "null")] {
                let at = sys.path().join("dev/block").join(number);
                fs::create_dir_all(&at).unwrap();
                fs::write(at.join("uevent"), format!("MAJOR=8\nDEVNAME={name}\n")).unwrap();
            }
            let mounts = Mounts::parse(line.as_bytes());
            let error = Device::open(sys.path(), mounts.of(Path::new("/")).unwrap()).unwrap_err();
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
