//! The only file with unsafe code: seven system calls that no dependency offers safely.
//!
//! `mount_setattr` (every mount read-only in one step, without walking into any of them), `unshare` (safe
//! unless descriptors are unshared, which is not offered here), the installation of a system-call filter, and
//! `close_range` (only ever to mark descriptors, which closes none), `fcntl` for a lease, `ioprio_set` for the calling
//! thread alone, and the `ioctl` that asks where a file lies on its device.
//! Audited: each call passes only integers and pointers to values that outlive the call, of the sizes that
//! the kernel is told; none hands memory to the kernel for longer. Beside them a mapping of shared memory that cannot shrink,
//! reached by atomic operations only. May hold no logic and no policy.
#![allow(unsafe_code)]

use rustix::fs::SealFlags;
use rustix::ioctl::{Updater, ioctl};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::UnshareFlags;
use std::ffi::c_void;
use std::ffi::{c_int, c_long, c_ulong};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn prctl(option: c_int, ...) -> c_int;
    fn fcntl(file: c_int, command: c_int, ...) -> c_int;
}

/// The same number on every architecture that Rust's Linux targets have, but for MIPS.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
const MOUNT_SETATTR: c_long = 442;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
const MOUNT_SETATTR: c_long = -1;

#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
const CLOSE_RANGE: c_long = 436;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
const CLOSE_RANGE: c_long = -1;
const CLOSE_RANGE_CLOEXEC: c_int = 4;

/// `ioprio_set`; `ioprio_get` is the next number.
#[cfg(target_arch = "x86_64")]
const IOPRIO_SET: c_long = 251;
#[cfg(target_arch = "x86")]
const IOPRIO_SET: c_long = 289;
#[cfg(target_arch = "arm")]
const IOPRIO_SET: c_long = 314;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"))]
const IOPRIO_SET: c_long = 30;
#[cfg(any(target_arch = "powerpc64", target_arch = "powerpc"))]
const IOPRIO_SET: c_long = 273;
#[cfg(target_arch = "s390x")]
const IOPRIO_SET: c_long = 282;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "arm",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "powerpc64",
    target_arch = "powerpc",
    target_arch = "s390x"
)))]
const IOPRIO_SET: c_long = -1;
const IOPRIO_WHO_PROCESS: c_int = 1;
const IOPRIO_CLASS_IDLE: c_int = 3;
const IOPRIO_CLASS_SHIFT: c_int = 13;

const F_SETSIG: c_int = 10;
const F_SETLEASE: c_int = 1024;
const F_GETLEASE: c_int = 1025;
const F_WRLCK: c_int = 1;
const F_UNLCK: c_int = 2;

const AT_FDCWD: c_int = -100;
const AT_RECURSIVE: c_int = 0x8000;
const PR_SET_SECCOMP: c_int = 22;
const SECCOMP_MODE_FILTER: c_ulong = 2;

/// `MOUNT_ATTR_*` for [`mount_setattr`].
pub const RDONLY: u64 = 1;
pub const NOSUID: u64 = 2;
pub const NODEV: u64 = 4;
pub const NOEXEC: u64 = 8;

/// `struct mount_attr` of linux/mount.h, version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets attributes of every mount from the root of this mount namespace down.
pub fn mount_setattr_all(set: u64) -> io::Result<()> {
    let attr = MountAttr { set, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is NUL-terminated and static; `attr` lives through the call and has the layout and the
    // size that are passed; the kernel reads it only.
    let result = unsafe {
        syscall(
            MOUNT_SETATTR,
            AT_FDCWD,
            c"/".as_ptr(),
            AT_RECURSIVE,
            std::ptr::from_ref(&attr),
            std::mem::size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives this thread a mount namespace of its own, and with `user` first a user namespace in which it may.
pub fn unshare_mounts(user: bool) -> io::Result<()> {
    let flags = if user { UnshareFlags::NEWNS | UnshareFlags::NEWUSER } else { UnshareFlags::NEWNS };
    // SAFETY: the one hazard of this call is CLONE_FILES, which is never passed.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// One instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Installs a system-call filter on this thread and those that it starts, for good.
pub fn install_filter(instructions: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: `program` and the slice that it points to live through the call; the kernel copies and checks
    // both, and a filter can only refuse calls. The unused arguments are zero.
    let result =
        unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, std::ptr::from_ref(&program), 0 as c_ulong, 0 as c_ulong) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a write lease on this file, which the kernel grants only while nobody else has it open; it goes with the
/// descriptor. False if somebody has it open, `Unsupported` where the file system grants none, or the file is another
/// user's.
pub fn take_lease(file: BorrowedFd<'_>) -> io::Result<bool> {
    // Whoever opens the file makes the kernel send a signal: one that does nothing, instead of one that kills.
    let signal = rustix::process::Signal::URG.as_raw();
    // SAFETY: integers only; both are properties of the open file, and no memory is involved.
    let taken =
        unsafe { fcntl(file.as_raw_fd(), F_SETSIG, signal) == 0 && fcntl(file.as_raw_fd(), F_SETLEASE, F_WRLCK) == 0 };
    if taken {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(io::Error::new(io::ErrorKind::Unsupported, error)),
    }
}

/// Whether nobody has tried to open this file since the lease on it was taken.
pub fn lease_stands(file: BorrowedFd<'_>) -> bool {
    // SAFETY: two integers; the kernel answers with a third.
    (unsafe { fcntl(file.as_raw_fd(), F_GETLEASE) }) == F_WRLCK
}

/// Gives a lease back.
pub fn end_lease(file: BorrowedFd<'_>) {
    // SAFETY: three integers; there is nothing to be done where it fails, for the lease ends with the descriptor.
    let _ = unsafe { fcntl(file.as_raw_fd(), F_SETLEASE, F_UNLCK) };
}

/// Whether nobody else has this file open. `Unsupported` as with [`take_lease`].
pub fn sole_opener(file: BorrowedFd<'_>) -> io::Result<bool> {
    let alone = take_lease(file)?;
    if alone {
        end_lease(file);
    }
    Ok(alone)
}

/// Marks every descriptor but the first three to be closed when another program is executed.
pub fn inherit_nothing() -> io::Result<()> {
    // SAFETY: three integers; with this flag no descriptor is closed, so that none can be reused under its owner.
    let result = unsafe { syscall(CLOSE_RANGE, 3 as c_int, c_int::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Memory that several processes share: numbers, each read and written as a whole.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<AtomicU64>,
    numbers: usize,
}

// SAFETY: the mapping belongs to the value alone, lives until it is dropped, and is reached by atomic operations only.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Maps so many numbers from the start of a memory file. One that could become shorter is refused: a look at what it no
/// longer has would end the process.
pub fn share(file: BorrowedFd<'_>, numbers: usize) -> io::Result<Shared> {
    let length = numbers * size_of::<AtomicU64>();
    let there = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    let sealed = rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK);
    if numbers == 0 || !sealed || there < length as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not the shared memory that was expected"));
    }
    // SAFETY: a new mapping, placed by the kernel, of bytes that the file has and, being sealed, keeps.
    let start =
        unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0) }?;
    let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Shared { start, numbers })
}

impl Deref for Shared {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: mapped with this length for as long as the value lives, at the start of a page; any bits are a number.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.numbers) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: unmaps what was mapped with this length; every reference into it has ended.
        let _gone = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.numbers * size_of::<AtomicU64>()) };
    }
}

/// Extents that one question about a file is answered with.
pub const EXTENTS: usize = 32;

/// `struct fiemap_extent` of linux/fiemap.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FiemapExtent {
    pub logical: u64,
    pub physical: u64,
    pub length: u64,
    reserved64: [u64; 2],
    pub flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` of linux/fiemap.h, with room for its extents.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Fiemap {
    pub start: u64,
    pub length: u64,
    flags: u32,
    pub mapped: u32,
    count: u32,
    reserved: u32,
    pub extents: [FiemapExtent; EXTENTS],
}

/// The first extents of a file. Nothing is written back for it.
pub fn fiemap(file: BorrowedFd<'_>) -> io::Result<Fiemap> {
    let mut map = Fiemap { length: u64::MAX, count: EXTENTS as u32, ..Fiemap::default() };
    // SAFETY: FS_IOC_FIEMAP reads and writes the header and at most `count` extents behind it, for which `map` has room; it
    // lives through the call, and any bit pattern is a value of it.
    unsafe { ioctl(file, Updater::<0xC020_660B, Fiemap>::new(&mut map)) }?;
    Ok(map)
}

/// Puts this thread into the idle I/O class.
pub fn ioprio_set_idle() -> io::Result<()> {
    // SAFETY: integers only; 0 is the calling thread, and the call changes nothing but its priority.
    let result =
        unsafe { syscall(IOPRIO_SET, IOPRIO_WHO_PROCESS, 0 as c_int, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The I/O class of this thread.
#[cfg(test)]
pub fn ioprio_get_class() -> io::Result<c_long> {
    // SAFETY: integers only, and nothing is changed.
    let result = unsafe { syscall(IOPRIO_SET + 1, IOPRIO_WHO_PROCESS, 0 as c_int) };
    if result >= 0 { Ok(result >> IOPRIO_CLASS_SHIFT) } else { Err(io::Error::last_os_error()) }
}
