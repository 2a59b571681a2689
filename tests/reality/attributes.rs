//! Owner, mode, ACLs, user attributes and dates to the nanosecond, through repair and undo.

use crate::common::bench::Bench;
use crate::common::{must, skip};
use crate::kit;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Everything but the bytes that a file has.
#[derive(Debug, PartialEq, Eq)]
struct Dress {
    owner: (u32, u32),
    mode: u32,
    mtime: (i64, i64),
    acl: String,
    xattrs: String,
}

fn dress(path: &Path) -> Dress {
    let meta = fs::symlink_metadata(path).expect("a file");
    let text = path.to_str().expect("UTF-8");
    Dress {
        owner: (meta.uid(), meta.gid()),
        mode: meta.mode() & 0o7777,
        mtime: (meta.mtime(), meta.mtime_nsec()),
        acl: must("getfacl", &["--omit-header", "--numeric", "--absolute-names", text]),
        xattrs: must("getfattr", &["--absolute-names", "--dump", "-e", "hex", text]).replace(text, ""),
    }
}

fn decorate(path: &Path, acl: &str, value: &str) {
    let text = path.to_str().expect("UTF-8");
    fs::set_permissions(path, PermissionsExt::from_mode(0o640)).expect("chmod");
    must("setfacl", &["-m", acl, text]);
    must("setfattr", &["-n", "user.label", "-v", value, text]);
    must("setfattr", &["-n", "user.binary", "-v", "0x00ff0a", text]);
}

/// One account with owners and modes of its own, a damaged message to be and one to be lost.
fn account(bench: &Bench) -> (PathBuf, PathBuf) {
    let account = kit::mailbox(&bench.store.join("example.org/ann/Maildir"));
    for sub in ["", "cur", "new", "tmp"] {
        chown(account.join(sub), Some(20_001), Some(20_002)).expect("chown");
    }
    let damaged = kit::deliver(&account, 1, 9000);
    let lost = kit::deliver(&account, 2, 9000);
    for number in 3..20 {
        kit::deliver(&account, number, 3000);
    }
    (damaged, lost)
}

#[test]
fn a_repair_keeps_owner_mode_acl_attributes_and_date() {
    if !kit::can("attributes", true, &["setfacl", "getfacl", "setfattr", "getfattr"]) {
        return;
    }
    let bench = kit::empty();
    let (damaged, lost) = account(&bench);
    chown(&damaged, Some(20_007), Some(20_008)).expect("chown");
    decorate(&damaged, "u:1234:r", "mine");
    decorate(&lost, "g:4321:r", "theirs");
    bench.tool.verify(&bench.store).expect(0);
    must("cp", &["-a", bench.store.to_str().expect("UTF-8"), bench.replica.to_str().expect("UTF-8")]);
    let (was, other) = (dress(&damaged), dress(&lost));
    assert!(was.acl.contains("user:1234:r") && was.xattrs.contains("user.binary"), "{was:?}");

    let good = fs::read(&damaged).expect("the message");
    kit::damage(&damaged, 300);
    let bad = fs::read(&damaged).expect("the message");
    // The damaged file was labelled anew since the replica was made: its own label counts.
    must("setfattr", &["-n", "user.label", "-v", "newer", damaged.to_str().expect("UTF-8")]);
    let was_damaged = dress(&damaged);
    fs::remove_file(&lost).expect("a loss");

    let answer = kit::heal(&bench).expect(1);
    assert_eq!(fs::read(&damaged).expect("the message"), good, "{answer}");
    assert_eq!(dress(&damaged), was_damaged, "{answer}");
    let back = dress(&lost);
    assert_eq!(back.owner, (20_001, 20_002), "the folder's owner: {answer}");
    assert_eq!((&back.acl, &back.xattrs, back.mtime, back.mode), (&other.acl, &other.xattrs, other.mtime, other.mode));

    bench.tool.undo(&answer.run_name()).expect(0);
    assert_eq!(fs::read(&damaged).expect("the message"), bad);
    assert_eq!(dress(&damaged), was_damaged, "undo gives back the old file with its own");
    assert!(!lost.exists(), "undo takes back what was restored");
}

/// ext2 mounted without attributes and ACLs refuses both, as many network file systems do.
#[test]
fn a_file_system_without_attributes_is_repaired_too() {
    if !kit::can("a poor file system", true, &["mount", "setfattr"]) {
        return;
    }
    let outer = tempfile::tempdir().expect("a folder");
    let poor = kit::Mounted::bare(outer.path().join("bare"));
    let probe = poor.path.join("probe");
    fs::write(&probe, "").expect("a file");
    let refused = std::process::Command::new("setfattr").args(["-n", "user.x", "-v", "y"]).arg(&probe).output();
    if refused.expect("setfattr").status.success() {
        return skip("a poor file system", "this kernel gives ramfs attributes");
    }
    let mut bench = kit::empty();
    bench.store = poor.path.join("store");
    let account = kit::mailbox(&bench.store.join("ann"));
    let flat = |number: u64| account.join("cur").join(format!("1700000000.M{number}P1.mx,S=9000"));
    for number in 1..9 {
        let mut bytes = kit::letter(number, 9000);
        bytes.truncate(9000);
        kit::put(&flat(number), &bytes);
    }
    bench.tool.verify(&bench.store).expect(0);
    must("cp", &["-r", bench.store.to_str().expect("UTF-8"), bench.replica.to_str().expect("UTF-8")]);
    for entry in walkdir::WalkDir::new(&bench.replica).into_iter().flatten().filter(|e| e.file_type().is_file()) {
        must("setfattr", &["-n", "user.label", "-v", "kept where it can be", &entry.path().display().to_string()]);
    }
    let good = fs::read(flat(1)).expect("a message");
    kit::damage(&flat(1), 200);
    let bad = fs::read(flat(1)).expect("a message");
    fs::remove_file(flat(2)).expect("a loss");
    let answer = kit::heal(&bench).expect(1);
    assert_eq!(fs::read(flat(1)).expect("a message"), good, "{answer}");
    assert!(flat(2).exists(), "{answer}");
    bench.tool.undo(&answer.run_name()).expect(0);
    assert_eq!(fs::read(flat(1)).expect("a message"), bad);
    assert!(!flat(2).exists());
}
