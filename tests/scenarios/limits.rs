//! A disk that stops answering, and what is left to say when a run is over.

use crate::common::bench::Bench;
use crate::common::device::HangingDisk;
use crate::common::{absent, is_root, skip, spec};
use mailmend::drill::Undecided;
use mailmend::drill::damage::DamageOptions;
use std::time::{Duration, Instant};

/// A read that hangs in the kernel keeps no run from ending.
#[test]
fn a_disk_that_hangs_does_not_keep_the_run_from_ending() {
    let test = "a hanging disk";
    if !is_root() {
        return skip(test, "needs root");
    }
    let missing = absent(&["nbdkit", "nbdfuse", "losetup", "mkfs.ext4", "kill"]);
    if !missing.is_empty() || !std::path::Path::new("/dev/fuse").exists() {
        return skip(test, &format!("not installed: {} (or no /dev/fuse)", missing.join(", ")));
    }
    let bench = Bench::small();
    let disk = HangingDisk::holding(&bench.store, bench.dir.path());
    bench.tool.verify(&disk.store()).expect(0);
    disk.hang();
    let start = Instant::now();
    // The run ends by itself although the disk still hangs; else the test would not end either.
    let waker = wake_after(&disk, Duration::from_secs(280));
    let answer = bench.tool.verify(&disk.store());
    let took = start.elapsed();
    waker.stop();
    disk.go_on();
    assert!(took < Duration::from_secs(270), "the run took {took:?}: {answer}");
    assert!(answer.status & (4 | 8) != 0, "a disk that hangs is not clean: {answer}");
    assert_eq!(answer.count("missing.lost") + answer.count("missing.undecided"), 0, "unread is not absent: {answer}");
    let unseen = answer.count("unreadable") + answer.count("not_checked");
    assert!(unseen > 0, "what did not answer is counted: {answer}");
}

/// Wakes the disk at the latest after `limit`, so that a run that does hang fails the test and ends.
fn wake_after(disk: &HangingDisk, limit: Duration) -> Waker {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let server = disk.server();
    let thread = std::thread::spawn(move || {
        if stopped.recv_timeout(limit).is_err() {
            drop(std::process::Command::new("kill").args(["-CONT", &server.to_string()]).status());
        }
    });
    Waker { stop, thread }
}

struct Waker {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Waker {
    fn stop(self) {
        // Where nobody listens any more the thread has ended already.
        let listening = self.stop.send(()).is_ok();
        self.thread.join().unwrap_or_else(|_| panic!("the waker failed (listening: {listening})"));
    }
}

/// What a repair moved aside can be listed, and `status` knows the runs.
#[test]
fn quarantine_and_status_tell_what_happened() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    bench.inflict(&[], &DamageOptions { seed: 1, mix: 10, ..DamageOptions::default() });
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(1);
    let run = answer.run_name();
    let list = bench.tool.run(["quarantine", "list"]).expect(0);
    assert!(list.mentions(&run), "the run's quarantine is listed: {list}");
    let status = bench.tool.run(["status".to_string(), spec(&bench.store)]);
    assert!(status.mentions(&run), "status knows the run: {status}");
}

/// A purge never takes the only whole copy, and changes nothing without `--apply`.
#[test]
fn a_purge_needs_to_be_told_to_apply() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 1, mix: 10, ..DamageOptions::default() });
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(1);
    bench.tool.run(["quarantine", "purge"]);
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "after a purge without --apply undo still works");
}
