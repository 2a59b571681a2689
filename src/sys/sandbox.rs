//! Giving up everything but reading, before the first byte of strangers' mail is looked at.
//!
//! A lane calls [`enter`] before its first thread, and opens its roots **after** it: a directory that was
//! opened before refers to the old, writable mounts and would carry the right to write along. What stays usable
//! are descriptors that are no way to the file system: the lane's socket, its shared memory, standard error, the
//! kernel's counters of its disks, and (only of a disk with an arm) the block device, opened for reading.
//!
//! Four layers, each without need of the others, and each that cannot be had is named:
//! read-only mounts in a mount namespace of its own (needs privilege) · Landlock (reading below the given
//! paths only) · a system-call filter · no capability but reading. Whatever else a lane wants to know of
//! /proc or /sys it must ask before. Not limited: file sizes (RLIMIT_FSIZE would kill a process whose standard
//! error is a long log file). May not fail: a layer less is a note, for the caller to judge.

use super::mounts::{Mount, Mounts};
use super::{raw, seccomp};
use crate::model::path::escape;
use crate::model::wire::Sandbox;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Which layers to try. All but the user namespace by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A mount namespace in which every mount is read-only, where the privilege is there.
    pub mounts: bool,
    /// Without that privilege: get it from a user namespace. Off by default, because in there every owner but
    /// oneself is shown as `nobody`, which must never reach a catalog or a plan.
    pub user_namespace: bool,
    pub landlock: bool,
    pub syscall_filter: bool,
    /// Pretend that mount_setattr does not exist: the fall-back under test.
    pub without_mount_setattr: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            mounts: true,
            user_namespace: false,
            landlock: true,
            syscall_filter: true,
            without_mount_setattr: false,
        }
    }
}

/// Confines the calling thread, and every thread and process that it starts, to reading below `readable`
/// (directories or files; links in these paths are followed). There is no way back.
pub fn enter(readable: &[PathBuf], options: Options) -> Sandbox {
    let mut notes = Vec::new();
    let read_only_mounts = options.mounts && attempt(&mut notes, "read-only mounts", || private_mounts(options));
    note_failure(&mut notes, "no new privileges", rustix::thread::set_no_new_privs(true));
    note_failure(&mut notes, "no core dumps", no_dumps());
    let landlock_abi = if options.landlock { landlock(readable, &mut notes) } else { 0 };
    let capabilities_dropped = attempt(&mut notes, "dropping capabilities", drop_capabilities);
    let filtered = options.syscall_filter && attempt(&mut notes, "system-call filter", || filter(landlock_abi == 0));
    if !read_only_mounts && landlock_abi == 0 && !filtered {
        notes.push("no sandbox at all: nothing but this program's own code keeps it from writing".to_owned());
    }
    Sandbox { read_only_mounts, landlock_abi, syscall_filter: filtered, capabilities_dropped, notes }
}

/// Keeps every program that is executed from now on from getting more than the first three descriptors.
///
/// # Errors
/// Before Linux 5.11, which cannot do it in one call.
pub fn inherit_nothing() -> io::Result<()> {
    raw::inherit_nothing()
}

fn attempt(notes: &mut Vec<String>, layer: &str, action: impl FnOnce() -> io::Result<()>) -> bool {
    let result = action();
    let done = result.is_ok();
    note_failure(notes, layer, result);
    done
}

fn note_failure(notes: &mut Vec<String>, layer: &str, result: Result<(), impl Into<io::Error>>) {
    if let Err(error) = result {
        notes.push(format!("{layer}: {}", error.into()));
    }
}

/// A mount namespace of our own, cut off from the outside, in which nothing can be written.
fn private_mounts(options: Options) -> io::Result<()> {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match raw::unshare_mounts(false) {
        Err(error) if options.user_namespace && Errno::from_io_error(&error) == Some(Errno::PERM) => {
            raw::unshare_mounts(true)?;
            map_own_ids(ids)?;
        }
        result => result?,
    }
    match mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE) {
        Err(Errno::INVAL) => return Err(io::Error::other("the root directory is no mount point (a chroot)")),
        result => result?,
    }
    if options.without_mount_setattr {
        return remount_each();
    }
    match raw::mount_setattr_all(raw::RDONLY | raw::NOSUID | raw::NODEV | raw::NOEXEC) {
        // Before Linux 5.12, or forbidden by an old container run-time.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => remount_each(),
        result => result,
    }
}

/// Keeps one's own user and group what they are inside the new user namespace.
fn map_own_ids((uid, gid): (u32, u32)) -> io::Result<()> {
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// What a remount of each mount sets: as [`raw::mount_setattr_all`] does above.
const CONFINED: MountFlags = MountFlags::BIND
    .union(MountFlags::RDONLY)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOSUID)
    .union(MountFlags::NOEXEC);

/// The slow way: one mount after the other, innermost first so that one of them can hide no other.
fn remount_each() -> io::Result<()> {
    let mounts = Mounts::read()?;
    let mut points: Vec<&Mount> = mounts.iter().collect();
    points.reverse();
    for mount in points {
        let flags = CONFINED | kept_flags(mount);
        match mount_remount(&mount.mount_point, flags, c"") {
            // Below another mount: nobody can reach it by any path.
            Err(Errno::INVAL | Errno::NOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Options that a remount would clear if it did not name them, which the kernel refuses for inherited mounts.
fn kept_flags(mount: &Mount) -> MountFlags {
    let flag = |option: &str| match option {
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        "nosymfollow" => MountFlags::NOSYMFOLLOW,
        _ => MountFlags::empty(),
    };
    mount.options.split(',').fold(MountFlags::empty(), |flags, option| flags | flag(option))
}

/// Neither core files with strangers' mail in them nor a look from other processes.
fn no_dumps() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The ABI in force, 0 for none.
fn landlock(readable: &[PathBuf], notes: &mut Vec<String>) -> u32 {
    match restrict(readable, notes) {
        Ok(abi) => abi,
        Err(error) => {
            notes.push(format!("Landlock: {error}"));
            0
        }
    }
}

fn restrict(readable: &[PathBuf], notes: &mut Vec<String>) -> Result<u32, RulesetError> {
    let newest = ABI::V9;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    for path in readable {
        match PathFd::new(path) {
            Ok(fd) => ruleset = ruleset.add_rule(PathBeneath::new(fd, reading(path)))?,
            Err(error) => notes.push(format!("not readable: {}: {error}", escape(path.as_os_str().as_bytes()))),
        }
    }
    let status = ruleset.restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => abi_number(effective_abi),
        _ => 0,
    };
    if status.ruleset == RulesetStatus::NotEnforced || abi == 0 {
        notes.push("Landlock: this kernel has none or it is switched off".to_owned());
        return Ok(0);
    }
    Ok(abi)
}

/// A rule on a file cannot speak of listing directories.
fn reading(path: &Path) -> landlock::BitFlags<AccessFs> {
    match path.is_dir() {
        true => AccessFs::ReadFile | AccessFs::ReadDir,
        false => AccessFs::ReadFile.into(),
    }
}

fn abi_number(abi: ABI) -> u32 {
    let all = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, ABI::V7, ABI::V8, ABI::V9];
    all.iter().filter(|&&known| known <= abi).count() as u32
}

/// Keeps, of the capabilities that are there, only the one for reading what others own.
fn drop_capabilities() -> io::Result<()> {
    let before = rustix::thread::capabilities(None)?;
    let kept = before.permitted & CapabilitySet::DAC_READ_SEARCH;
    if before.effective.contains(CapabilitySet::SETPCAP) {
        for bit in (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            match rustix::thread::capability_is_in_bounding_set(bit) {
                Ok(true) if bit != CapabilitySet::DAC_READ_SEARCH => {
                    rustix::thread::remove_capability_from_bounding_set(bit)?;
                }
                Ok(_) => {}
                // Past the last one that this kernel knows.
                Err(_) => break,
            }
        }
    }
    match rustix::thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there was no such set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let after = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, after)?;
    match rustix::thread::capabilities(None)? == after {
        true => Ok(()),
        false => Err(io::Error::other("the kernel kept more than it was asked to")),
    }
}

fn filter(hide_openat2: bool) -> io::Result<()> {
    match seccomp::program(hide_openat2) {
        Some(program) => raw::install_filter(&program),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, "not written for this architecture")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landlock_versions_are_numbered() {
        assert_eq!((abi_number(ABI::Unsupported), abi_number(ABI::V1), abi_number(ABI::V7)), (0, 1, 7));
    }

    #[test]
    fn a_remount_keeps_what_was_locked() {
        let table = Mounts::parse(b"1 0 8:1 / /x rw,nosuid,nodev,noatime,nodiratime,unknown - ext4 /dev/sda1 rw");
        let flags = table.iter().map(kept_flags).next().unwrap();
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::NODIRATIME);
    }
}
