//! The guards on a real machine: each stops what it must, and the honest recovery passes.

use crate::common::{must, spec};
use crate::kit;
use mailmend::drill::{Repair, Undecided, copy};
use std::fs;
use std::path::Path;

/// A new ext4 of 96 MiB, mounted at `at`.
fn mount_new(image: &Path, at: &Path) -> kit::Mounted {
    fs::File::create(image).and_then(|file| file.set_len(96 << 20)).expect("an image");
    must("mkfs.ext4", &["-q", "-F", &spec(image)]);
    fs::create_dir_all(at).expect("a mount point");
    must("mount", &["-o", "loop,errors=continue", &spec(image), &spec(at)]);
    kit::Mounted { path: at.to_owned() }
}

fn possible(test: &str) -> bool {
    kit::can(test, true, &["mkfs.ext4", "mount", "losetup"])
}

#[test]
fn a_file_system_with_errors_on_record_is_written_to_only_by_who_insists() {
    if !possible("a file system with errors on record") {
        return;
    }
    let bench = kit::empty();
    let disk = mount_new(&bench.dir.path().join("image"), &bench.store);
    let file = kit::deliver(&kit::mailbox(&bench.store.join("mail/ann")), 1, 6000);
    let store = bench.store.join("mail");
    bench.tool.verify(&store).expect(0);
    copy::plain(&store, &bench.replica).expect("a replica");
    kit::damage(&file, 100);
    let damaged = fs::read(&file).expect("a message");
    let device = must("findmnt", &["-n", "-o", "SOURCE", &spec(&disk.path)]);
    let name = Path::new(&device).file_name().expect("a device").to_owned();
    let sysfs = Path::new("/sys/fs/ext4").join(name);
    fs::write(sysfs.join("trigger_fs_error"), "mailmend").expect("an error on record");
    let args = ["repair".to_owned(), spec(&store), "--from".into(), spec(&bench.replica), "--apply".into()];
    let answer = bench.tool.run(args.iter()).expect_bits(8);
    assert!(answer.mentions("1 file-system error(s) on record"), "{answer}");
    assert!(answer.mentions("--write-to-sick-device"), "{answer}");
    assert_eq!(fs::read(&file).expect("a message"), damaged, "nothing was written");
    let dry = bench.tool.repair(&store, &Repair { apply: false, ..kit::from(&bench.replica) }).expect(4);
    assert_eq!(dry.count("repairable"), 1, "a dry run is no risk: {dry}");
    bench.tool.run(args.iter().map(String::as_str).chain(["--write-to-sick-device"])).expect(1);
    assert_eq!(fs::read(&file).expect("a message"), kit::letter(1, 6000));
}

/// The whole way of a replaced disk: first nothing is mounted, then an empty file system.
#[test]
fn an_unmounted_disk_stops_and_a_new_one_is_filled() {
    if !possible("a replaced disk") {
        return;
    }
    let bench = kit::empty();
    let disk = mount_new(&bench.dir.path().join("old"), &bench.store);
    let account = kit::mailbox(&bench.store.join("ann"));
    let files: Vec<_> = (0..5).map(|number| kit::deliver(&account, number, 6000)).collect();
    fs::remove_dir(bench.store.join("lost+found")).expect("an ordinary folder");
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a replica");
    drop(disk);
    let repair = kit::from(&bench.replica);
    let answer = bench.tool.repair(&bench.store, &repair).expect_bits(8);
    assert!(answer.mentions("was a mount point"), "{answer}");
    assert!(bench.store.read_dir().expect("a folder").next().is_none(), "nothing was written below the mount point");
    let _disk = mount_new(&bench.dir.path().join("new"), &bench.store);
    let answer = bench.tool.repair(&bench.store, &repair).expect(1);
    assert!(answer.mentions("taken for the replaced disk"), "{answer}");
    assert_eq!(answer.count("repaired"), 5, "{answer}");
    assert!(files.iter().all(|file| file.exists()));
}

#[test]
fn a_mailbox_that_the_sources_do_not_explain_is_held() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let other = kit::mailbox(&bench.store.join("bob"));
    let files: Vec<_> = (0..40).map(|number| kit::deliver(&account, number, 6000)).collect();
    let single = kit::deliver(&other, 50, 6000);
    kit::deliver(&other, 51, 6000);
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    files[10..].iter().for_each(|file| kit::lose(file));
    kit::lose(&single);
    // A replica of everything explains it.
    let dry = Repair { apply: false, undecided: Undecided::Report, ..kit::from(&bench.replica) };
    assert_eq!(bench.tool.repair(&bench.store, &dry).expect(4).count("repairable"), 31);
    // One that lacks the same messages but for a few does not.
    for file in &files[13..] {
        let name = file.strip_prefix(&bench.store).expect("a file of the store");
        fs::remove_file(bench.replica.join(name)).expect("a poor replica");
    }
    let default = Repair { undecided: Undecided::Report, ..kit::from(&bench.replica) };
    let answer = bench.tool.repair(&bench.store, &default).expect(4);
    assert_eq!((answer.count("held"), answer.count("repaired")), (3, 1), "the other mailbox is healed: {answer}");
    assert!(answer.mentions("30 of 40 messages of this mailbox are gone, and the sources hold only 3"), "{answer}");
    assert!(single.exists() && !files[10].exists());
    let answer = bench.tool.repair(&bench.store, &kit::from(&bench.replica)).expect(4);
    assert_eq!((answer.count("held"), answer.count("repaired")), (0, 3), "who insists gets them: {answer}");
}
