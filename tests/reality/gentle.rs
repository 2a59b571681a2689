//! Beside others: a verify steps back for somebody else's reads of its disk, and not for its own; reads the medium and
//! leaves the cache as it is.

use crate::common::bench::Bench;
use crate::common::device;
use crate::common::{must, spec, words};
use crate::kit;
use mailmend::sys::direct::AlignedBuf;
use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const MESSAGES: u64 = 60;
const O_DIRECT: i32 = 0o40000;

/// A disk of its own, mounted read-only: nothing but the test moves data on it.
struct Disk {
    image: PathBuf,
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
        let disk = Disk { image, device, mountpoint: bench.dir.path().join("disk") };
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

/// Bytes of a file that lie in the cache.
fn resident(path: &Path) -> u64 {
    must("fincore", &["--bytes", "--noheadings", "--output", "RES", &spec(path)]).parse().expect("bytes")
}

fn files(disk: &Disk) -> Vec<PathBuf> {
    let cur = disk.mountpoint.join("store/ann/Maildir/cur");
    let mut files: Vec<_> = fs::read_dir(cur).expect("mail").map(|entry| entry.expect("mail").path()).collect();
    files.sort();
    files
}

/// Rot below a file that the cache still holds whole is found, and what the cache held stays there: the rest of the mail
/// does not come in.
#[test]
fn a_verify_reads_the_medium_and_leaves_the_cache_alone() {
    let needs = ["losetup", "mkfs.ext4", "mount", "fincore"];
    if !kit::can("a_verify_reads_the_medium_and_leaves_the_cache_alone", true, &needs) {
        return;
    }
    let bench = kit::empty();
    let disk = Disk::holding(&bench);
    let store = disk.mountpoint.join("store");
    let verify = || bench.tool.run(words(&["verify"]).chain([store.clone().into()]).chain(words(&["--backups", "0"])));
    verify().expect(0);
    let files = files(&disk);
    let held: Vec<Vec<u8>> = files.iter().step_by(2).map(|file| fs::read(file).expect("mail")).collect();
    let before: Vec<u64> = files.iter().map(|file| resident(file)).collect();
    assert!(before[0] > 0 && before[1] == 0, "the first verify leaves nothing behind: {before:?}");
    let image = fs::File::options().read(true).write(true).open(&disk.image).expect("the image");
    let bytes = fs::read(&disk.image).expect("the image");
    let at = memchr::memmem::find(&bytes, &held[0][300..800]).expect("the first message on its disk");
    image.write_all_at(b"ROT", at as u64 + 100).expect("rot");
    let answer = verify().expect(4);
    assert_eq!(answer.found().len(), 1, "{answer}");
    assert!(answer.mentions(&files[0].file_name().expect("a name").to_string_lossy()[..20]), "{answer}");
    assert_eq!(fs::read(&files[0]).expect("mail"), held[0], "whoever reads through the cache sees nothing of it");
    // The kernel may take a page or two for itself meanwhile.
    let stays = |(file, before): (&PathBuf, &u64)| (before / 2..=*before).contains(&resident(file));
    assert!(files.iter().zip(&before).all(stays), "{before:?}");
    assert!(!answer.mentions("medium not tested"), "{answer}");
}

/// Where the cache is all there is, the run says so.
#[test]
fn a_file_system_without_a_medium_is_told() {
    if !kit::can("a_file_system_without_a_medium_is_told", true, &["mount"]) {
        return;
    }
    let bench = kit::empty();
    let disk = device::SmallDisk::mount(bench.dir.path().join("memory"), 4096);
    let inbox = kit::mailbox(&disk.path.join("ann/Maildir"));
    (0..3).for_each(|number| drop(kit::deliver(&inbox, number, 5000)));
    let file = fs::read_dir(inbox.join("cur")).expect("mail").next().expect("one").expect("one").path();
    let refused = fs::File::options().read(true).custom_flags(O_DIRECT).open(file).is_err();
    let answer = bench.tool.run(words(&["verify"]).chain([disk.path.clone().into()])).expect(0);
    assert_eq!(answer.count("messages"), 3);
    // Since Linux 6.6 a tmpfs takes the flag, for it has no other medium.
    assert_eq!(answer.mentions("medium not tested"), refused, "{answer}");
}
