//! Who holds a lock file of a mail server, and whether the holder is dead.
//!
//! The convention of Dovecot's dotlocks (FORMATS.md, `lib/file-dotlock.c`): the file holds `pid:host`. May not
//! touch the file: that is `apply`'s.

use super::clock;
use crate::model::Stat;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use rustix::time::ClockId;

/// A lock file of nobody in particular that nobody touched for so long is left over. Seconds; Dovecot's own figure.
const STALE_AFTER: i64 = 120;
/// Longer files are no locks.
pub const TEXT_MAX: u64 = 512;

/// Whoever made a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process of this machine that lives.
    Alive(u32),
    /// It died, or the machine was restarted since.
    Gone,
    /// It does not say, or is on another machine.
    Unknown,
}

/// What this process writes into its lock files.
pub fn text() -> Vec<u8> {
    [std::process::id().to_string().as_bytes(), b":", &host()].concat()
}

fn host() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

/// Judges a lock file by its text and attributes. One that names this very process is a predecessor's with the
/// same number: whoever asks does not hold it.
pub fn of(text: &[u8], stat: &Stat) -> Holder {
    let written = stat.mtime.max(stat.ctime).sec;
    let now = clock::now().sec;
    match local(text) {
        Some(pid) if written < now.saturating_sub(uptime()) || pid == std::process::id() || !alive(pid) => Holder::Gone,
        Some(pid) => Holder::Alive(pid),
        None if written < now.saturating_sub(STALE_AFTER) => Holder::Gone,
        None => Holder::Unknown,
    }
}

/// The process that a text names, if it is one of this machine.
fn local(text: &[u8]) -> Option<u32> {
    let (pid, at) = std::str::from_utf8(text).ok()?.trim_end().split_once(':')?;
    (at.as_bytes() == host()).then(|| pid.parse().ok())?
}

/// Seconds since this machine was started, asleep or not.
fn uptime() -> i64 {
    rustix::time::clock_gettime(ClockId::Boottime).tv_sec
}

fn alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Not being allowed to signal it is a sign of life, too.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;

    fn at(sec: i64) -> Stat {
        Stat { mtime: Stamp { sec, nsec: 0 }, ..Stat::default() }
    }

    fn by(pid: u32) -> Vec<u8> {
        [pid.to_string().as_bytes(), b":", &host()].concat()
    }

    #[test]
    fn the_living_keep_their_locks_and_the_dead_do_not() {
        let now = at(clock::now().sec);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(of(&by(child.id()), &now), Holder::Alive(child.id()));
        assert_eq!(of(&by(child.id()), &at(clock::now().sec - uptime() - 5)), Holder::Gone, "before the restart");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of(&by(child.id()), &now), Holder::Gone);
        assert_eq!(of(&text(), &now), Holder::Gone, "a predecessor of the same number");
        assert_eq!(of(&by(1), &now), Holder::Alive(1));
    }

    #[test]
    fn strangers_keep_theirs_for_two_minutes() {
        let (now, old) = (at(clock::now().sec), at(clock::now().sec - STALE_AFTER - 5));
        for text in [&b"1:another.example.org"[..], b"", b"-1:", b"99999999999999999999:x", b"\xff\x00:\n", b"0"] {
            assert_eq!(of(text, &now), Holder::Unknown, "{}", text.escape_ascii());
            assert_eq!(of(text, &old), Holder::Gone, "{}", text.escape_ascii());
        }
        assert_eq!(of(&[&b"4294967295:"[..], &host()].concat(), &now), Holder::Gone, "no such process can be");
    }
}
