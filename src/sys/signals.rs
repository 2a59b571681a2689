//! Signals as flags that loops look at.
//!
//! The first SIGINT or SIGTERM asks for an orderly end, the second ends the process at once with status 32.
//! SIGUSR1 asks for progress. SIGPIPE needs nothing: the run-time ignores it, so a closed pipe is an error of
//! the write. SIGHUP keeps its meaning, so that nohup works. May do nothing inside a handler but set flags.

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Exit status of an interrupted run.
pub const INTERRUPTED: i32 = 32;

/// The flags. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers; once, by the command line.
    pub fn install() -> io::Result<Signals> {
        let signals = Signals::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the shutdown looks at the flag before the same signal sets it.
            flag::register_conditional_shutdown(signal, INTERRUPTED, signals.stop.clone())?;
            flag::register(signal, signals.stop.clone())?;
        }
        flag::register(SIGUSR1, signals.progress.clone())?;
        Ok(signals)
    }

    /// Whether an orderly end was asked for.
    pub fn stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// The flag behind [`Signals::stopped`], for those that need no more.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether progress was asked for since the last call.
    pub fn take_progress(&self) -> bool {
        self.progress.swap(false, SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::process::Command;

    const CHILD: &str = "MAILMEND_TEST_SIGNALS";

    /// Signals go to a whole process, so the test runs in one of its own.
    #[test]
    fn first_sets_the_flag_second_exits() {
        if std::env::var_os(CHILD).is_some() {
            return child();
        }
        let test = "sys::signals::tests::first_sets_the_flag_second_exits";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("still here") && !text.contains("too late"), "{text}");
        assert_eq!(output.status.code(), Some(INTERRUPTED));
    }

    fn child() {
        let signals = Signals::install().unwrap();
        assert!(!signals.stopped() && !signals.take_progress());
        kill_process(getpid(), Signal::USR1).unwrap();
        wait_for(|| signals.take_progress());
        assert!(!signals.take_progress() && !signals.stopped());
        kill_process(getpid(), Signal::TERM).unwrap();
        wait_for(|| signals.stopped());
        assert!(signals.stop_flag().load(SeqCst));
        println!("still here");
        kill_process(getpid(), Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(5));
        println!("too late");
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let started = std::time::Instant::now();
        while !condition() {
            assert!(started.elapsed().as_secs() < 5);
            std::thread::yield_now();
        }
    }
}
