//! A system-call filter for processes that only read: whatever changes a file system, opens for writing,
//! starts programs, reaches the network or other processes fails with EPERM.
//!
//! It closes what Landlock leaves open (times, modes, owners, extended attributes, inode flags) without any
//! privilege, and holds alone where there is neither Landlock nor a mount namespace. Here is the policy as
//! data and the program built from it; `raw` installs it. May not make a call that is needed for reading fail.

use super::raw::Instruction;

/// AUDIT_ARCH_* of this architecture and the denied calls' numbers; `None` where nobody wrote the table.
struct Table {
    audit_arch: u32,
    /// Numbers from here on belong to another ABI of the same machine.
    foreign_from: Option<u32>,
    denied: &'static [u32],
    /// Number and the index of the argument that holds the flags.
    opens: &'static [(u32, u32)],
    openat2: u32,
    ioctl: u32,
}

#[cfg(target_arch = "x86_64")]
const TABLE: Option<Table> = Some(Table {
    audit_arch: 0xC000_003E,
    foreign_from: Some(0x4000_0000),
    denied: &[
        76, 77, 285, // truncate ftruncate fallocate
        82, 264, 316, 86, 265, 88, 266, // rename* link* symlink*
        87, 263, 84, 83, 258, 133, 259, 85, // unlink* rmdir mkdir* mknod* creat
        90, 91, 268, 452, 92, 93, 94, 260, // chmod* chown*
        132, 235, 261, 280, // utime*
        188, 189, 190, 463, 197, 198, 199, 466, 469, // *setxattr* *removexattr* file_setattr
        73,  // flock
        165, 166, 155, 161, 428, 429, 430, 431, 432, 433, 442, 467, // mounts, chroot
        272, 308, 167, 168, 179, 443, 163, // unshare setns swap* quotactl* acct
        175, 313, 176, 246, 320, 169, 321, 298, 323, // modules kexec reboot bpf perf_event_open userfaultfd
        304, 425, 426, 427, // open_by_handle_at io_uring_*
        101, 310, 311, 62, 424, 438,
        440, // ptrace process_vm_* kill pidfd_send_signal pidfd_getfd process_madvise
        59, 322, 41, 49, 42, 50, // execve* socket bind connect listen
    ],
    opens: &[(2, 1), (257, 2)],
    openat2: 437,
    ioctl: 16,
});

#[cfg(target_arch = "aarch64")]
const TABLE: Option<Table> = Some(Table {
    audit_arch: 0xC000_00B7,
    foreign_from: None,
    denied: &[
        45, 46, 47, // truncate ftruncate fallocate
        38, 276, 37, 36, 35, 34, 33, // renameat* linkat symlinkat unlinkat mkdirat mknodat
        52, 53, 452, 54, 55, 88, // fchmod* fchown* utimensat
        5, 6, 7, 463, 14, 15, 16, 466, 469, // *setxattr* *removexattr* file_setattr
        32,  // flock
        39, 40, 41, 51, 428, 429, 430, 431, 432, 433, 442, 467, // mounts, chroot
        97, 268, 224, 225, 60, 443, 89, // unshare setns swap* quotactl* acct
        105, 273, 106, 104, 294, 142, 280, 241, 282, // modules kexec reboot bpf perf_event_open userfaultfd
        265, 425, 426, 427, // open_by_handle_at io_uring_*
        117, 270, 271, 129, 424, 438,
        440, // ptrace process_vm_* kill pidfd_send_signal pidfd_getfd process_madvise
        221, 281, 198, 200, 203, 201, // execve* socket bind connect listen
    ],
    opens: &[(56, 2)],
    openat2: 437,
    ioctl: 29,
});

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TABLE: Option<Table> = None;

/// O_WRONLY, O_RDWR, O_CREAT and O_TRUNC, the same on both architectures. O_TMPFILE needs one of the first two.
const WRITING: u32 = 0o1 | 0o2 | 0o100 | 0o1000;
/// FIBMAP FIGETBSZ FIONREAD FIONBIO FIOCLEX FIONCLEX TCGETS TIOCGWINSZ FS_IOC_GETFLAGS FS_IOC_FIEMAP BLKSSZGET.
const HARMLESS_IOCTLS: [u32; 11] =
    [1, 2, 0x541B, 0x5421, 0x5451, 0x5450, 0x5401, 0x5413, 0x8008_6601, 0xC020_660B, 0x1268];

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const IF_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const ALLOW: u32 = 0x7FFF_0000;
const DENY: u32 = 0x0005_0000 | 1; // EPERM
const MISSING: u32 = 0x0005_0000 | 38; // ENOSYS

/// Offsets in `struct seccomp_data`. Arguments are 64 bits wide; all that is looked at lies in the low half,
/// and both architectures are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The program for this architecture, `None` where there is none. With `hide_openat2` that call seems not to
/// exist: its flags lie in memory, where a filter cannot look, so it is allowed only under Landlock.
pub fn program(hide_openat2: bool) -> Option<Vec<Instruction>> {
    let table = TABLE?;
    let mut code = vec![step(LOAD, ARCHITECTURE)];
    code.extend([test(IF_EQUAL, table.audit_arch, 1, 0), step(RETURN, DENY), step(LOAD, NUMBER)]);
    if let Some(first) = table.foreign_from {
        code.extend([test(IF_AT_LEAST, first, 0, 1), step(RETURN, DENY)]);
    }
    for &number in table.denied {
        code.extend([test(IF_EQUAL, number, 0, 1), step(RETURN, DENY)]);
    }
    if hide_openat2 {
        code.extend([test(IF_EQUAL, table.openat2, 0, 1), step(RETURN, MISSING)]);
    }
    for &(number, argument) in table.opens {
        code.extend([test(IF_EQUAL, number, 0, 4), step(LOAD, ARGUMENTS + 8 * argument)]);
        code.extend([test(IF_ANY_BIT, WRITING, 0, 1), step(RETURN, DENY), step(RETURN, ALLOW)]);
    }
    let count = HARMLESS_IOCTLS.len() as u8;
    code.extend([test(IF_EQUAL, table.ioctl, 0, count * 2 + 2), step(LOAD, ARGUMENTS + 8)]);
    for request in HARMLESS_IOCTLS {
        code.extend([test(IF_EQUAL, request, 0, 1), step(RETURN, ALLOW)]);
    }
    code.extend([step(RETURN, DENY), step(RETURN, ALLOW)]);
    Some(code)
}

fn step(code: u16, value: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, value }
}

fn test(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer, by running the program as the kernel does.
    fn answer(code: &[Instruction], architecture: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code: operation, jump_true, jump_false, value } = code[at];
            at += 1;
            let holds = match operation {
                RETURN => return value,
                LOAD => {
                    loaded = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => arguments[((value - ARGUMENTS) / 8) as usize],
                    };
                    continue;
                }
                IF_EQUAL => loaded == value,
                IF_AT_LEAST => loaded >= value,
                IF_ANY_BIT => loaded & value != 0,
                _ => panic!("unknown operation {operation:#x}"),
            };
            at += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    #[test]
    fn answers_as_intended() {
        let (Some(table), Some(code)) = (TABLE, program(false)) else {
            return eprintln!("NOT TESTED: no system-call filter on this architecture");
        };
        let ask = |number, arguments| answer(&code, table.audit_arch, number, arguments);
        for &number in table.denied {
            assert_eq!(ask(number, [0; 3]), DENY, "{number}");
        }
        for &(number, argument) in table.opens {
            for (flags, expected) in [(0o2004000, ALLOW), (0o1, DENY), (0o2, DENY), (0o102, DENY), (0o1000, DENY)] {
                let mut arguments = [0; 3];
                arguments[argument as usize] = flags;
                assert_eq!(ask(number, arguments), expected, "{number} {flags:o}");
            }
        }
        assert_eq!(ask(table.ioctl, [0, 0x4008_6602, 0]), DENY, "FS_IOC_SETFLAGS");
        for request in HARMLESS_IOCTLS {
            assert_eq!(ask(table.ioctl, [9, request, 0]), ALLOW, "{request:#x}");
        }
        assert_eq!(ask(table.openat2, [0; 3]), ALLOW);
        assert_eq!(ask(100_000, [0; 3]), ALLOW);
        assert_eq!(answer(&code, 0x4000_0003, 1, [0; 3]), DENY, "32-bit calls on a 64-bit machine");
        let hiding = program(true).unwrap();
        assert_eq!(answer(&hiding, table.audit_arch, table.openat2, [0; 3]), MISSING);
        if let Some(first) = table.foreign_from {
            assert_eq!(ask(first, [0; 3]), DENY);
        }
    }

    #[test]
    fn no_call_is_listed_twice() {
        if let Some(table) = TABLE {
            let mut sorted = table.denied.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), table.denied.len());
        }
    }
}
