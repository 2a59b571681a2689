//! What an error of the operating system means for the rest of a run, and how people are told.
//!
//! Pure: judges an error value and touches nothing.

use crate::model::limits::FREE_RESERVE;
use std::io;

/// How far an error reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// This step only.
    Step,
    /// Every step of the same account would fail likewise.
    Account,
    /// Every step would.
    Run,
}

pub(super) fn reach(error: &io::Error) -> Reach {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => Reach::Run,
        io::ErrorKind::QuotaExceeded => Reach::Account,
        _ => Reach::Step,
    }
}

/// What was being done, what the system said, and what helps. `need` is what the step wants to write,
/// `free` what the file system has left, where it tells. Bytes.
pub(super) fn words(doing: &str, error: &io::Error, need: u64, free: Option<u64>) -> String {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => {
            let short = need.saturating_add(FREE_RESERVE).saturating_sub(free.unwrap_or(0));
            format!("; free at least {} MiB there and run again", short.div_ceil(1 << 20).max(1))
        }
        io::ErrorKind::QuotaExceeded => "; raise the account's quota or free space in it, and run again".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "; see the kernel log why, and run again when it is writable".to_owned(),
        io::ErrorKind::CrossesDevices => {
            "; the quarantine must be on the file system of the mail: name one there with --quarantine".to_owned()
        }
        _ => String::new(),
    };
    format!("{doing}: {error}{hint}")
}

/// Whether the file system cannot do what was asked at all.
pub(super) fn unsupported(error: &io::Error) -> bool {
    // EINVAL is what several file systems answer to a rename flag that they do not know.
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn errno(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn tells_how_far_an_error_reaches() {
        assert_eq!(reach(&errno(Errno::NOSPC)), Reach::Run);
        assert_eq!(reach(&errno(Errno::ROFS)), Reach::Run);
        assert_eq!(reach(&errno(Errno::DQUOT)), Reach::Account);
        assert_eq!(reach(&errno(Errno::IO)), Reach::Step);
        assert_eq!(reach(&errno(Errno::MFILE)), Reach::Step);
    }

    #[test]
    fn a_full_disk_says_how_much_to_free() {
        let text = words("writing", &errno(Errno::NOSPC), 3 << 20, Some(1 << 20));
        assert!(text.contains("No space left on device") && text.contains("free at least 34 MiB"), "{text}");
        assert!(!words("writing", &errno(Errno::IO), 1, None).contains("free"));
    }
}
