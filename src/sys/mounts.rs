//! Which file system a path lies on, from the kernel's table of mounts alone.
//!
//! May not touch the path itself: a look at a dead network mount or a failing disk can hang for ever.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub mount_point: PathBuf,
    /// As in /proc/mounts (`ext4`, `fuse.sshfs`).
    pub fs_type: String,
    /// What is mounted there, as the file system names it (`/dev/sda1`, `server:/export`).
    pub source: OsString,
    /// Major and minor number. Not always `st_dev`: btrfs gives each subvolume one of its own.
    pub dev: (u32, u32),
    pub read_only: bool,
    /// The mount's own options, comma-separated (`rw,nosuid,relatime`).
    pub options: String,
    /// The file system's own options (`rw,data=ordered`).
    pub super_options: String,
}

/// The table of mounts at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads this process's own table.
    pub fn read() -> io::Result<Mounts> {
        Ok(Mounts::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Parses the contents of /proc/PID/mountinfo. Lines that are none are left out.
    pub fn parse(table: &[u8]) -> Mounts {
        Mounts(table.split(|&b| b == b'\n').filter_map(parse_line).collect())
    }

    /// In the kernel's order: what lies above something else comes later.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// The mount that an absolute, canonical path lies on: the longest mount point above it, the last one
    /// where several are stacked. `None` for a relative path.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
            return None;
        }
        // `max_by_key` gives the last of equals.
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.mount_point))
            .max_by_key(|mount| mount.mount_point.as_os_str().len())
    }

    /// Whether something is mounted exactly there.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.mount_point == path)
    }
}

/// The mount that an absolute, canonical path lies on now.
pub fn mount_of(path: &Path) -> io::Result<Mount> {
    match Mounts::read()?.of(path) {
        Some(mount) => Ok(mount.clone()),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "on no file system that the kernel lists")),
    }
}

/// `major:minor`.
pub fn device_name(dev: (u32, u32)) -> String {
    format!("{}:{}", dev.0, dev.1)
}

/// Major and minor number of `st_dev`.
pub fn device_numbers(st_dev: u64) -> (u32, u32) {
    (rustix::fs::major(st_dev), rustix::fs::minor(st_dev))
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER_OPTIONS`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let mount_point = unescape(fields.nth(1)?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    let mut rest = fields.skip_while(|&field| field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(&unescape(rest.next()?)).into_owned();
    let source = OsString::from_vec(unescape(rest.next().unwrap_or_default()));
    let super_options = String::from_utf8_lossy(rest.next().unwrap_or_default()).into_owned();
    let read_only = [&options, &super_options].iter().any(|options| options.split(',').any(|o| o == "ro"));
    Some(Mount {
        mount_point: PathBuf::from(OsString::from_vec(mount_point)),
        fs_type,
        source,
        dev: (major.parse().ok()?, minor.parse().ok()?),
        read_only,
        options,
        super_options,
    })
}

/// Undoes the kernel's `\ooo` for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, octal(tail)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    let value = digits.iter().try_fold(0u32, |value, &digit| match digit {
        b'0'..=b'7' => Some(value * 8 + u32::from(digit - b'0')),
        _ => None,
    })?;
    u8::try_from(value).ok()
}

impl Mount {
    /// The mount point's bytes.
    pub fn mount_point_bytes(&self) -> &[u8] {
        self.mount_point.as_os_str().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[u8] = b"\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 0:25 / /srv/my\\040mail\\134x rw,nosuid shared:2 master:3 - fuse.sshfs backup:/mail rw
29 27 8:1 / /var/vmail rw - xfs /dev/sda1 rw
30 29 8:17 / /var/vmail ro,relatime - btrfs /dev/sdb1 rw
31 27 8:33 / /srv/ro rw - ext4 /dev/sdc1 ro,errors=remount-ro
garbage
32 27 x:y / /bad rw - ext4 a b
33 27 8:1";

    #[test]
    fn finds_the_mount_by_path_alone() {
        let mounts = Mounts::parse(TABLE);
        assert_eq!(mounts.iter().count(), 5);
        let of = |path: &str| mounts.of(Path::new(path)).unwrap();
        assert_eq!(of("/var/vmailx").fs_type, "ext4");
        let stacked = of("/var/vmail/example.org");
        assert_eq!((stacked.fs_type.as_str(), stacked.read_only, stacked.dev), ("btrfs", true, (8, 17)));
        assert_eq!(of("/srv/my mail\\x/a").source, "backup:/mail");
        assert!(of("/srv/ro").read_only && !of("/").read_only);
        assert_eq!(mounts.of(Path::new("relative")), None);
        assert_eq!(mounts.of(Path::new("/a/../b")), None);
        assert!(mounts.is_mount_point(Path::new("/srv/ro/")) && !mounts.is_mount_point(Path::new("/srv")));
        assert_eq!(device_name(of("/var/vmail").dev), "8:17");
        assert_eq!(of("/srv/ro").mount_point_bytes(), b"/srv/ro");
    }

    #[test]
    fn knows_this_machine() {
        let mount = mount_of(Path::new("/")).unwrap();
        assert_eq!(mount.mount_point, Path::new("/"));
        let st_dev = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata("/proc").unwrap());
        assert_eq!(mount_of(Path::new("/proc/self")).unwrap().dev, device_numbers(st_dev));
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(table in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mounts = Mounts::parse(&table);
            prop_assert!(mounts.iter().count() <= 200);
        }

        #[test]
        fn escapes_round_trip(name in proptest::collection::vec(1u8..=255, 1..40)) {
            let escaped: Vec<u8> = name.iter().flat_map(|&b| match b {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{b:03o}").into_bytes(),
                _ => vec![b],
            }).collect();
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
