//! Disks that take no more: full, over quota, turned read-only, failing. The run says so, and the next one is done.

use crate::common::device::DyingDisk;
use crate::common::{Mailmend, must, spec};
use crate::ground::{Ground, NEEDS, break_it, brief};
use crate::kit;
use crate::locks::{Halted, rename};
use crate::trace::Call;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a filler");
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![b'x'; size]).is_err() {
            size /= 2;
        }
    }
}

#[test]
fn a_disk_with_too_little_room_is_told_in_numbers_before_the_first_write() {
    if !kit::can("a full disk", true, &NEEDS) {
        return;
    }
    let ground = Ground::on("ext4", 96, &["-b", "4096"], true);
    let (room, filler) = (ground.disk.path.join("room"), ground.disk.path.join("filler"));
    // A little, and nothing at all: not even a folder could be made.
    for left in [512 << 10, 0] {
        fs::write(&room, vec![b'x'; left]).expect("room");
        fill(&filler);
        fs::remove_file(&room).expect("room");
        let before = ground.tree();
        let answer = ground.tool.run(ground.typed());
        assert!(answer.status & 8 != 0 && answer.status & 1 == 0, "{left} left: {}", brief(&answer));
        assert!(answer.mentions("too little space") && answer.mentions("MiB"), "{left} left: {}", brief(&answer));
        assert_eq!(before, ground.tree(), "{left} left: nothing was written");
        fs::remove_file(&filler).expect("room");
    }
    ground.finish("with room again");
}

/// Another process fills the disk between two of our writes.
#[test]
fn a_disk_that_fills_half_way_stops_the_run_and_the_next_one_finishes_it() {
    if !kit::can("a filling disk", true, &NEEDS) {
        return;
    }
    let mut ground = Ground::new();
    ground.tracer.listening(&ground.tool).run(ground.typed()).expect(1);
    let staging: Vec<Call> = ground.calls().into_iter().filter(|c| c.name == "fchmod").collect();
    ground.go_back("damaged");
    let call = &staging[staging.len() / 2];
    let halted = Halted::at(&ground, call, ground.typed());
    let filler = ground.disk.path.join("filler");
    fill(&filler);
    let answer = halted.go_on();
    assert!(answer.status & (4 | 8) != 0, "{}", brief(&answer));
    assert!(answer.mentions("No space left on device"), "{}", brief(&answer));
    ground.assert_none_lost(&ground.damaged_copies, "filled half-way");
    fs::remove_file(filler).expect("room");
    ground.finish("with room again");
    ground.take_all_back("with room again");
}

/// What a process without the right to exceed quotas is told when it gives a file to a user whose quota is exhausted.
/// (Kernels of test machines often have no quotas, so the answer is given by strace.)
#[test]
fn an_account_over_its_quota_ends_and_the_others_are_healed() {
    if !kit::can("an exhausted quota", true, &NEEDS) {
        return;
    }
    let mut ground = Ground::new();
    ground.tracer.listening(&ground.tool).run(ground.typed()).expect(1);
    let calls = ground.calls();
    let slots = |c: &&Call| c.name == "fchown" && c.text.contains("/.mailmend/") && c.text.contains("61001");
    let of_ann: Vec<&Call> = calls.iter().filter(slots).collect();
    let (first, last) = (of_ann.first().expect("a file for ann").nth, of_ann.last().expect("a file for ann").nth);
    assert!(first < last, "several of ann's files are to come back");
    ground.go_back("damaged");
    // Once: all others of the account are not tried any more, so what comes next is somebody else's.
    let call = Call { name: "fchown".into(), nth: first, text: String::new() };
    let answer = ground.tracer.at(&ground.tool, &call, "error=EDQUOT").run(ground.typed());
    assert!(answer.status & (4 | 8) != 0, "{}", brief(&answer));
    assert!(answer.mentions("quota") && answer.mentions("raise the account's quota"), "{}", brief(&answer));
    assert!(answer.mentions("not tried: the account's quota is exhausted"), "{}", brief(&answer));
    let tree = ground.tree();
    for (path, was) in ground.truth.files().filter(|(path, _)| !path.as_bytes().starts_with(b"ann/")) {
        let is = tree.get(path).unwrap_or_else(|| panic!("{path} is not healed: {}", brief(&answer)));
        // An index tells the same by other bytes.
        let same = is.digest == was.digest || (was.register.is_some() && is.register == was.register);
        assert!(same, "{path} is not healed");
    }
    ground.assert_none_lost(&ground.damaged_copies, "over quota");
    ground.finish("with a quota again");
}

#[test]
fn a_disk_that_turns_read_only_half_way_is_told_and_the_next_run_finishes_it() {
    if !kit::can("a disk turned read-only", true, &NEEDS) {
        return;
    }
    let mut ground = Ground::on("ext4", 96, &["-b", "4096"], true);
    for (name, nth) in [("renameat2", 2), ("renameat2", 5), ("fchmod", 7), ("fsync", 8)] {
        ground.go_back("damaged");
        let at = format!("read-only at {name} {nth}");
        let halted = Halted::at(&ground, &Call { name: name.into(), nth, text: String::new() }, ground.typed());
        ground.disk.remount("ro");
        let answer = halted.go_on();
        assert!(answer.status & (4 | 8) != 0, "{at}: {}", brief(&answer));
        assert!(answer.mentions("Read-only file system"), "{at}: {}", brief(&answer));
        ground.disk.remount("rw");
        ground.assert_none_lost(&ground.damaged_copies, &at);
        ground.finish(&at);
        ground.take_all_back(&at);
    }
}

/// A disk whose writes fail from some moment on: reads go on for a while, what is cached is lost.
#[test]
fn a_disk_whose_writes_fail_half_way_is_told_and_nothing_is_lost_on_it() {
    let needs = [&NEEDS[..], &["nbdkit", "nbdfuse", "losetup"]].concat();
    if !kit::can("a disk whose writes fail", true, &needs) || !Path::new("/dev/fuse").exists() {
        return;
    }
    let ground = Ground::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut disk = DyingDisk::holding(&ground.replica, dir.path());
    let tool = Mailmend::with_state(dir.path().join("state"));
    let (store, replica) = (disk.path.join("store"), spec(&ground.replica));
    tool.verify(&store).expect(0);
    break_it(&store);
    must("sync", &["-f", &spec(&store)]);
    let typed = ["repair", &spec(&store), "--from", &replica, "--undecided", "restore", "--apply"].map(str::to_owned);
    let run = ground.tracer.at(&tool, &rename(2), "signal=STOP");
    let halted = Halted::of(run.start(typed.to_vec()));
    disk.fail_writes();
    let answer = halted.go_on();
    assert!(answer.status & (4 | 8) != 0 && answer.status >= 0, "{}", brief(&answer));
    assert!(!answer.mentions("panicked"), "{}", brief(&answer));
    let told = ["Input/output error", "Read-only file system"].iter().any(|words| answer.mentions(words));
    assert!(told, "{}", brief(&answer));
    disk.recover();
    let again = tool.run(typed.to_vec());
    assert!(matches!(again.status, 0 | 1), "on the mended disk: {}", brief(&again));
    let tree = mailmend::drill::truth::Snapshot::take(&store).expect("the store");
    for (path, was) in ground.truth.files() {
        let is = tree.get(path).unwrap_or_else(|| panic!("{path} is not healed: {}", brief(&again)));
        // An index tells the same by other bytes.
        let same = is.digest == was.digest || (was.register.is_some() && is.register == was.register);
        assert!(same, "{path} is not healed");
    }
}
