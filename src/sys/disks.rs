//! Which disks lie below a file system, and what the kernel counts and says of each.
//!
//! Reads /sys only (given as an argument, so that tests bring their own); never opens a device, and never touches
//! the file system that is asked about: it may hang. What cannot be read there is unknown, not an error.

use super::mounts::{Mount, Mounts, device_name, mount_of};
use crate::model::triage::{Activity, Array, Disk, Kind};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the kernel shows its devices.
pub const SYS: &str = "/sys";
/// Devices upon devices that are followed; more is a loop.
const LEVELS: usize = 16;
/// Bytes of any one attribute.
const ATTRIBUTE: u64 = 4096;
const SECTOR: u64 = 512;

/// What lies below one file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below {
    pub kind: Kind,
    /// Names of the disks at the bottom, sorted; none where the kernel does not tell.
    pub disks: Vec<String>,
    /// Volumes and arrays between file system and disks, by the names that administrators give them.
    pub between: Vec<String>,
    /// Names of arrays among them.
    pub arrays: Vec<String>,
}

/// What the kernel tells of a mounted file system's devices.
pub fn below(sys: &Path, mount: &Mount) -> Below {
    if let Some(kind) = without_disks(&mount.fs_type) {
        return Below { kind, ..Below::default() };
    }
    let mut walk = Walk::default();
    for device in devices(sys, mount) {
        walk.follow(&device, 0);
    }
    let mut below = walk.below;
    below.disks = walk.disks.into_iter().collect();
    let rotating = below.disks.iter().map(|name| disk(sys, name).rotating);
    below.kind = match rotating.reduce(|a, b| if a == b { a } else { None }).flatten() {
        Some(true) => Kind::Rotating,
        Some(false) => Kind::Flash,
        None => Kind::Unknown,
    };
    below
}

/// What a file system lies on in the end: names of disks, under loop devices those of the files behind them; where there
/// are none, the file system's own number.
pub fn bottom(sys: &Path, table: &Mounts, mount: &Mount) -> BTreeSet<String> {
    let (mut names, mut todo, mut left) = (BTreeSet::new(), vec![mount.clone()], LEVELS);
    while let Some(mount) = todo.pop() {
        let disks = below(sys, &mount).disks;
        if disks.is_empty() {
            names.insert(device_name(mount.dev));
        }
        for name in disks {
            let backing = disk(sys, &name).backing.filter(|_| left > 0);
            match backing.and_then(|file| table.of(Path::new(&file)).cloned()) {
                Some(under) => {
                    left -= 1;
                    todo.push(under);
                }
                None => drop(names.insert(name)),
            }
        }
    }
    names
}

/// Whether a path lies on disks of this machine, as far as is known.
pub fn is_local(path: &Path) -> bool {
    mount_of(path).is_ok_and(|mount| without_disks(&mount.fs_type).is_none())
}

/// The kind of a file system that is on no disk of this machine's.
fn without_disks(fs_type: &str) -> Option<Kind> {
    match fs_type {
        "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "ceph" | "9p" | "afs" | "glusterfs" | "lustre" | "ocfs2" => {
            Some(Kind::Network)
        }
        "virtiofs" | "fuse" => Some(Kind::Fuse),
        "tmpfs" | "ramfs" | "zram" => Some(Kind::Memory),
        // fuseblk is a program, too, but one on a disk that can be looked at.
        other if other.starts_with("fuse.") => Some(Kind::Fuse),
        _ => None,
    }
}

/// Folders below /sys of the devices that a file system names.
fn devices(sys: &Path, mount: &Mount) -> Vec<PathBuf> {
    if mount.fs_type == "btrfs" {
        let all = btrfs(sys, mount);
        if !all.is_empty() {
            return all;
        }
    }
    let number = sys.join(format!("dev/block/{}:{}", mount.dev.0, mount.dev.1));
    let named = || Some(sys.join("class/block").join(plain(Path::new(&mount.source).file_name()?)?));
    let first = if mount.dev.0 != 0 { Some(number) } else { named() };
    first.and_then(|path| fs::canonicalize(path).ok()).into_iter().collect()
}

/// All devices of a btrfs of which the mount names one.
fn btrfs(sys: &Path, mount: &Mount) -> Vec<PathBuf> {
    let Some(name) = Path::new(&mount.source).file_name().and_then(plain) else { return Vec::new() };
    let own = entries(&sys.join("fs/btrfs")).find(|path| path.join("devices").join(name).exists());
    let members = own.map(|path| entries(&path.join("devices")).collect::<Vec<_>>()).unwrap_or_default();
    members.iter().filter_map(|path| fs::canonicalize(path).ok()).collect()
}

/// A name that is one component.
fn plain(name: &OsStr) -> Option<&OsStr> {
    let bytes = name.as_bytes();
    (!bytes.is_empty() && !bytes.contains(&b'/') && bytes != b"." && bytes != b"..").then_some(name)
}

#[derive(Default)]
struct Walk {
    below: Below,
    disks: BTreeSet<String>,
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn follow(&mut self, device: &Path, level: usize) {
        if level > LEVELS || !self.seen.insert(device.to_owned()) {
            return;
        }
        if device.join("partition").exists()
            && let Some(disk) = device.parent()
        {
            return self.follow(disk, level + 1);
        }
        let Some(name) = device.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
        let slaves: Vec<PathBuf> = entries(&device.join("slaves")).filter_map(|s| fs::canonicalize(s).ok()).collect();
        if slaves.is_empty() {
            self.disks.insert(name);
            return;
        }
        if device.join("md").is_dir() {
            self.below.arrays.push(name.clone());
        }
        self.below.between.push(text(&device.join("dm/name")).unwrap_or(name));
        for slave in slaves {
            self.follow(&slave, level + 1);
        }
    }
}

/// What the kernel says of one disk.
pub fn disk(sys: &Path, name: &str) -> Disk {
    let at = sys.join("block").join(name);
    Disk {
        name: name.to_owned(),
        model: text(&at.join("device/model")).unwrap_or_default(),
        bytes: number(&at.join("size")).unwrap_or(0).saturating_mul(SECTOR),
        rotating: number(&at.join("queue/rotational")).map(|n| n != 0),
        state: text(&at.join("device/state")),
        backing: text(&at.join("loop/backing_file")),
        smart: None,
    }
}

/// What the kernel says of an array.
pub fn array(sys: &Path, name: &str) -> Array {
    let at = sys.join("block").join(name).join("md");
    let members = entries(&at).filter(|path| path.file_name().is_some_and(|n| n.as_bytes().starts_with(b"dev-")));
    let bad = members.filter(|member| {
        let faulty = text(&member.join("state")).is_some_and(|state| state.contains("faulty"));
        faulty || number(&member.join("errors")).is_some_and(|errors| errors > 0)
    });
    let mut bad_members: Vec<String> = bad
        .filter_map(|path| path.file_name().map(|n| n.to_string_lossy().trim_start_matches("dev-").to_owned()))
        .collect();
    bad_members.sort();
    Array {
        name: name.to_owned(),
        state: text(&at.join("array_state")).unwrap_or_default(),
        degraded: number(&at.join("degraded")).unwrap_or(0),
        mismatches: number(&at.join("mismatch_cnt")).unwrap_or(0),
        action: text(&at.join("sync_action")).unwrap_or_default(),
        bad_members,
    }
}

/// What a disk did since the machine started; compare two.
pub fn activity(sys: &Path, name: &str) -> Activity {
    let at = sys.join("block").join(name);
    let stat = text(&at.join("stat")).map(|stat| counters(&stat)).unwrap_or_default();
    let hex = text(&at.join("device/ioerr_cnt"));
    let failed = hex.and_then(|hex| u64::from_str_radix(hex.strip_prefix("0x")?, 16).ok()).unwrap_or(0);
    Activity { failed, ..stat }
}

/// Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged, sectors, ms, in flight, ...
fn counters(stat: &str) -> Activity {
    let numbers: Vec<u64> = stat.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    Activity { requests: at(0).saturating_add(at(4)), in_flight: at(8), failed: 0 }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.into_iter()
}

/// One attribute, without the blanks around it; `None` where there is none or it says nothing.
fn text(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(ATTRIBUTE).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn number(file: &Path) -> Option<u64> {
    text(file)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    /// A machine: sda with two partitions, sdb, an array of sda2 and sdb with a volume on it, a loop, a btrfs on two disks.
    fn machine() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let put = |path: &str, value: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        let link = |to: &str, at: &str| {
            let (to, at) = (sys.path().join(to), sys.path().join(at));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(to, at).unwrap();
        };
        for (disk, rotating) in [("sda", "1\n"), ("sdb", "1\n"), ("loop0", "0\n"), ("sdc", "0\n"), ("sdd", "0\n")] {
            put(&format!("devices/{disk}/queue/rotational"), rotating);
            put(&format!("devices/{disk}/size"), "2048\n");
            put(&format!("devices/{disk}/stat"), " 10 0 80 5 7 0 56 3 2 8 8\n");
            link(&format!("devices/{disk}"), &format!("block/{disk}"));
        }
        put("devices/sda/device/model", "WDC WD40   \n");
        put("devices/sda/device/state", "running\n");
        put("devices/sda/device/ioerr_cnt", "0x1f\n");
        put("devices/sda/sda1/partition", "1\n");
        put("devices/sda/sda2/partition", "2\n");
        put("devices/loop0/loop/backing_file", "/srv/disk.img\n");
        put("devices/md0/md/array_state", "clean\n");
        put("devices/md0/md/degraded", "1\n");
        put("devices/md0/md/dev-sdb/state", "faulty,blocked\n");
        put("devices/md0/md/dev-sda2/state", "in_sync\n");
        put("devices/md0/md/dev-sda2/errors", "0\n");
        link("devices/md0", "block/md0");
        link("devices/sda/sda2", "devices/md0/slaves/sda2");
        link("devices/sdb", "devices/md0/slaves/sdb");
        put("devices/dm-0/dm/name", "vg-mail\n");
        link("devices/md0", "devices/dm-0/slaves/md0");
        // No kernel makes one, but nothing may hang on it.
        link("devices/dm-0", "devices/dm-0/slaves/dm-0");
        for (number, device) in [("8:1", "sda/sda1"), ("253:0", "dm-0"), ("7:0", "loop0"), ("9:0", "md0")] {
            link(&format!("devices/{device}"), &format!("dev/block/{number}"));
        }
        link("devices/sdc", "class/block/sdc");
        for disk in ["sdc", "sdd"] {
            link(&format!("devices/{disk}"), &format!("fs/btrfs/uuid/devices/{disk}"));
        }
        sys
    }

    fn mount(device: &str, fs_type: &str, source: &str) -> Mount {
        let line = format!("29 27 {device} / /m rw - {fs_type} {source} rw");
        Mounts::parse(line.as_bytes()).iter().next().unwrap().clone()
    }

    #[test]
    fn what_lies_on_one_disk_in_the_end_is_known_as_such() {
        let sys = machine();
        let table =
            b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 7:0 / /m rw - ext4 /dev/loop0 rw\n3 1 0:40 / /n rw - nfs x:/ rw";
        let table = Mounts::parse(table);
        let of = |path: &str| bottom(sys.path(), &table, table.of(Path::new(path)).unwrap());
        assert_eq!(of("/m"), of("/"), "the image of the loop device lies on /");
        assert_eq!(of("/"), BTreeSet::from(["sda".to_owned()]));
        assert_eq!(of("/n"), BTreeSet::from(["0:40".to_owned()]));
    }

    #[test]
    fn disks_are_found_through_partitions_volumes_arrays_and_loops() {
        let sys = machine();
        let found = |device: &str, fs_type: &str, source: &str| {
            let below = below(sys.path(), &mount(device, fs_type, source));
            (below.kind, below.disks.join(" "), below.between.join(" "), below.arrays.join(" "))
        };
        let is = |kind, disks: &str, between: &str, arrays: &str| {
            (kind, disks.to_owned(), between.to_owned(), arrays.to_owned())
        };
        assert_eq!(found("8:1", "ext4", "/dev/sda1"), is(Kind::Rotating, "sda", "", ""));
        assert_eq!(found("253:0", "xfs", "/dev/mapper/vg-mail"), is(Kind::Rotating, "sda sdb", "vg-mail md0", "md0"));
        assert_eq!(found("7:0", "ext4", "/dev/loop0"), is(Kind::Flash, "loop0", "", ""));
        assert_eq!(found("0:42", "btrfs", "/dev/sdc"), is(Kind::Flash, "sdc sdd", "", ""));
        assert_eq!(found("0:43", "nfs4", "filer:/mail"), is(Kind::Network, "", "", ""));
        assert_eq!(found("0:44", "fuse.sshfs", "b:/"), is(Kind::Fuse, "", "", ""));
        assert_eq!(found("0:45", "zfs", "tank/mail"), is(Kind::Unknown, "", "", ""));
        assert_eq!(found("0:46", "btrfs", ".."), is(Kind::Unknown, "", "", ""));
        assert_eq!(found("99:9", "ext4", "/dev/gone"), is(Kind::Unknown, "", "", ""));
    }

    #[test]
    fn attributes_of_disks_and_arrays() {
        let sys = machine();
        let sda = disk(sys.path(), "sda");
        assert_eq!((sda.model.as_str(), sda.bytes, sda.rotating), ("WDC WD40", 1 << 20, Some(true)));
        assert_eq!((sda.state.as_deref(), sda.backing), (Some("running"), None));
        assert_eq!(disk(sys.path(), "loop0").backing.as_deref(), Some("/srv/disk.img"));
        assert_eq!(activity(sys.path(), "sda"), Activity { requests: 17, in_flight: 2, failed: 31 });
        let md0 = array(sys.path(), "md0");
        assert_eq!((md0.state.as_str(), md0.degraded, md0.bad_members), ("clean", 1, vec!["sdb".to_owned()]));
        assert_eq!(disk(sys.path(), "absent"), Disk { name: "absent".into(), ..Disk::default() });
        assert_eq!(activity(sys.path(), "absent"), Activity::default());
        assert_eq!(array(sys.path(), "absent").bad_members.len(), 0);
    }

    #[test]
    fn this_machine_has_disks() {
        let mounts = Mounts::read().unwrap();
        mounts.iter().for_each(|mount| drop(below(Path::new(SYS), mount)));
    }

    proptest! {
        #[test]
        fn any_counters_are_taken(text in "[ -~\\n]{0,80}", numbers in proptest::collection::vec(any::<u64>(), 0..12)) {
            counters(&text);
            let line: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let is = counters(&line.join(" "));
            prop_assert_eq!(is.in_flight, numbers.get(8).copied().unwrap_or(0));
        }
    }
}
