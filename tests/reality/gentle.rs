//! Beside others: a verify steps back for somebody else's reads of its disk, and not for its own.

use crate::common::bench::Bench;
use crate::common::device;
use crate::common::{must, spec, words};
use crate::kit;
use mailmend::sys::direct::AlignedBuf;
use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const MESSAGES: u64 = 60;
const O_DIRECT: i32 = 0o40000;

/// A disk of its own, mounted read-only: nothing but the test moves data on it.
struct Disk {
    device: String,
    mountpoint: PathBuf,
}

impl Disk {
    fn holding(bench: &Bench) -> Disk {
        let content = bench.dir.path().join("content");
        let inbox = kit::mailbox(&content.join("ann/Maildir"));
        (0..MESSAGES).for_each(|number| drop(kit::deliver(&inbox, number, 100_000)));
        let image = device::image(&content, bench.dir.path(), |_| ());
        let device = must("losetup", &["--find", "--show", "--read-only", &spec(&image)]);
        let disk = Disk { device, mountpoint: bench.dir.path().join("disk") };
        fs::create_dir(&disk.mountpoint).expect("a mount point");
        must("mount", &["-o", "ro,noload", &disk.device, &spec(&disk.mountpoint)]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.mountpoint).status());
        drop(Command::new("losetup").args(["--detach", &self.device]).status());
    }
}

/// Seconds for which readers paused, as the run tells it; `None` where they did not.
fn paused(bench: &Bench, disk: &Disk, options: &[&str]) -> Option<String> {
    let store = disk.mountpoint.join("store");
    // Long enough for some looks at the counters.
    let pace = ["--bwlimit", "4M", "--backups", "0"];
    let answer =
        bench.tool.run(words(&["verify"]).chain([store.into()]).chain(words(&pace)).chain(words(options))).expect(0);
    assert_eq!(answer.count("messages"), MESSAGES);
    let unable = answer.lines.iter().any(|line| line["text"].as_str().is_some_and(|t| t.contains("does not back off")));
    assert!(!unable, "{answer}");
    let told = answer.lines.iter().find_map(|line| line["text"].as_str().filter(|text| text.contains("paused for")));
    told.map(str::to_owned)
}

#[test]
fn a_verify_steps_back_for_others_and_not_for_itself() {
    if !kit::can("a_verify_steps_back_for_others_and_not_for_itself", true, &["losetup", "mkfs.ext4", "mount"]) {
        return;
    }
    let bench = kit::empty();
    let disk = Disk::holding(&bench);
    assert_eq!(paused(&bench, &disk, &[]), None, "alone on its disk");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = fs::File::options().read(true).custom_flags(O_DIRECT).open(&disk.device).expect("the device");
        let over = &over;
        scope.spawn(move || {
            let mut buffer = AlignedBuf::new(256 << 10);
            let mut offset = 0;
            while !over.load(Relaxed) {
                let got = other.read_at(buffer.bytes_mut(), offset).unwrap_or(0);
                offset = if got == 0 { 0 } else { offset + got as u64 };
                // Leaves the machine something to work with.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let beside = paused(&bench, &disk, &[]);
        let at_once = paused(&bench, &disk, &["--io-class", "normal"]);
        over.store(true, Relaxed);
        assert!(beside.is_some(), "beside somebody who reads 50 MB a second");
        assert_eq!(at_once, None, "somebody is waiting for this one");
    });
}
