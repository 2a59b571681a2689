//! Whose files are that a repair makes, and with which rights, whatever the sources, the catalog and the damaged
//! files say.

use crate::common::{is_root, skip, spec};
use crate::kit;
use crate::trap::{GROUP, Trap, USER, give_away};
use mailmend::drill::disk;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A store of the mail user's, verified; its replica belongs to root and has every right there is.
fn store(trap: &mut Trap) {
    let home = trap.bench.store.join("example.org/eve");
    let account = kit::mailbox(&home.join("Maildir"));
    let sent = kit::mailbox(&account.join(".Sent"));
    for number in 1..6 {
        kit::deliver(&account, number, 3000);
        kit::deliver(&sent, number + 10, 3000);
    }
    fs::write(account.join("dovecot-uidlist"), "3 V1 N9\n").expect("a companion");
    fs::write(account.join("subscriptions"), "Sent\n").expect("a companion");
    fs::create_dir(home.join("sieve")).expect("a folder");
    fs::write(home.join("sieve/x.sieve"), "keep;\n").expect("a companion");
    for entry in walkdir::WalkDir::new(&trap.bench.store) {
        let entry = entry.expect("a readable tree");
        mode(entry.path(), if entry.file_type().is_dir() { 0o700 } else { 0o600 });
    }
    give_away(&trap.bench.store);
}

fn hostile_replica(trap: &Trap) {
    trap.bench.replicate();
    for entry in walkdir::WalkDir::new(&trap.bench.replica) {
        let entry = entry.expect("a readable tree");
        chown(entry.path(), Some(0), Some(0)).expect("chown");
        mode(entry.path(), if entry.file_type().is_dir() { 0o7777 } else { 0o6777 });
    }
}

/// All below `top` is the user's, without any right beyond those of mail.
#[track_caller]
fn assert_plain(top: &Path, why: &str) {
    for entry in walkdir::WalkDir::new(top) {
        let entry = entry.expect("a readable tree");
        let (path, stat) = (entry.path(), fs::symlink_metadata(entry.path()).expect("what lies there"));
        if path.iter().any(|c| c.as_encoded_bytes().starts_with(b".mailmend")) {
            continue;
        }
        assert_eq!((stat.uid(), stat.gid()), (USER, GROUP), "owner of {}: {why}", path.display());
        let allowed = if entry.file_type().is_dir() { 0o2777 } else { 0o666 };
        assert_eq!(stat.mode() & 0o7777 & !allowed, 0, "mode {:o} of {}: {why}", stat.mode(), path.display());
    }
}

/// Every file and folder with the mode that it had.
#[track_caller]
fn assert_modes(top: &Path, why: &str) {
    for entry in walkdir::WalkDir::new(top) {
        let entry = entry.expect("a readable tree");
        let want = if entry.file_type().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(entry.metadata().expect("a stat").mode() & 0o7777, want, "{}: {why}", entry.path().display());
    }
}

#[test]
fn what_a_repair_makes_belongs_to_the_mailbox() {
    if !is_root() {
        return skip("owners of repaired mail", "needs root");
    }
    let mut trap = Trap::new();
    store(&mut trap);
    let (top, account) = (trap.bench.store.join("example.org"), trap.bench.store.join("example.org/eve/Maildir"));
    trap.bench.tool.verify(&trap.bench.store).expect(0);
    hostile_replica(&trap);
    let message = |number| account.join("cur").join(kit::name(number, kit::letter(number, 3000).len()));
    // Damaged, of root and set-id; lost; lost with their folder; lost companions.
    kit::damage(&message(1), 60);
    chown(message(1), Some(0), Some(0)).expect("chown");
    mode(&message(1), 0o6755);
    kit::damage(&message(2), 60);
    fs::remove_file(message(3)).expect("a loss");
    fs::remove_dir_all(account.join(".Sent")).expect("a loss");
    fs::remove_file(account.join("dovecot-uidlist")).expect("a loss");
    fs::remove_file(account.join("subscriptions")).expect("a loss");
    fs::remove_dir_all(top.join("eve/sieve")).expect("a loss");
    let answer = trap.bench.tool.repair(&trap.bench.store, &kit::from(&trap.bench.replica)).expect_bits(1);
    assert!(message(3).exists() && account.join(".Sent/cur").is_dir(), "{answer}");
    assert!(top.join("eve/sieve/x.sieve").exists() && account.join("subscriptions").exists(), "{answer}");
    assert_plain(&top, &answer.to_string());
    let quarantine = trap.bench.dir.path().join(".mailmend");
    let stat = fs::metadata(&quarantine).expect("the quarantine");
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (0, 0o700), "nobody reads what was moved aside");
}

/// A blank disk: nothing in the store tells an owner, but the catalog does.
#[test]
fn a_blank_disk_gets_its_owners_from_the_catalog() {
    if !is_root() {
        return skip("owners on a blank disk", "needs root");
    }
    let mut trap = Trap::new();
    store(&mut trap);
    trap.bench.tool.verify(&trap.bench.store).expect(0);
    hostile_replica(&trap);
    disk::clear(&trap.bench.store).expect("a blank disk");
    chown(&trap.bench.store, Some(USER), Some(GROUP)).expect("chown");
    let answer = kit::heal(&trap.bench);
    let account = trap.bench.store.join("example.org/eve/Maildir");
    assert!(account.join(".Sent/cur").is_dir(), "{answer}");
    assert_plain(&account, &answer.to_string());
    assert_modes(&account, &answer.to_string());
}

/// `--into` and `--undecided folder` make folders that never were.
#[test]
fn new_folders_and_other_places_get_the_mailboxes_owner_too() {
    if !is_root() {
        return skip("owners of new folders", "needs root");
    }
    let mut trap = Trap::new();
    store(&mut trap);
    trap.bench.tool.verify(&trap.bench.store).expect(0);
    hostile_replica(&trap);
    let account = trap.bench.store.join("example.org/eve/Maildir");
    kit::damage(&account.join("cur").join(kit::name(5, kit::letter(5, 3000).len())), 60);
    for number in [1, 2] {
        fs::remove_file(account.join("cur").join(kit::name(number, kit::letter(number, 3000).len()))).expect("a loss");
    }
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let into = trap.bench.dir.path().join("attic");
    let to = spec(&into);
    let args = ["repair", &store, "--from", &replica, "--undecided", "restore", "--apply", "--into", &to];
    let answer = trap.bench.tool.run(args);
    assert!(into.join("example.org/eve/Maildir/cur").is_dir(), "{answer}");
    assert_plain(&into.join("example.org/eve/Maildir"), &answer.to_string());
    let answer = trap.bench.tool.run(["repair", &store, "--from", &replica, "--undecided", "folder", "--apply"]);
    let recovered = fs::read_dir(&account).expect("the account").flatten();
    let recovered: Vec<_> = recovered.filter(|e| e.file_name().to_string_lossy().starts_with(".Recovered.")).collect();
    assert_eq!(recovered.len(), 1, "{answer}");
    assert_plain(&account, &answer.to_string());
}

/// A hard link to a file of somebody else's is damaged, healed and taken back: the other name keeps everything.
#[test]
fn the_other_name_of_a_hard_link_is_never_written() {
    if !is_root() {
        return skip("hard links", "needs root");
    }
    let mut trap = Trap::new();
    store(&mut trap);
    let account = trap.bench.store.join("example.org/eve/Maildir");
    trap.bench.tool.verify(&trap.bench.store).expect(0);
    trap.bench.replicate();
    let other = trap.bench.dir.path().join("attic");
    fs::write(&other, "root:$6$hash:19000:0:99999:7:::\n").expect("a secret");
    mode(&other, 0o4640);
    let was = fs::metadata(&other).expect("a stat");
    let message = account.join("cur").join(kit::name(1, kit::letter(1, 3000).len()));
    fs::remove_file(&message).expect("room");
    fs::hard_link(&other, &message).expect("a hard link");
    let answer = kit::heal(&trap.bench).expect(1);
    let same = || {
        let is = fs::metadata(&other).expect("a stat");
        assert_eq!((is.uid(), is.gid(), is.mode(), is.mtime()), (was.uid(), was.gid(), was.mode(), was.mtime()));
        assert_eq!(fs::read(&other).expect("a file"), b"root:$6$hash:19000:0:99999:7:::\n");
    };
    same();
    assert_eq!(fs::read(&message).expect("a message"), kit::letter(1, 3000), "{answer}");
    assert_plain(&account, &answer.to_string());
    trap.bench.tool.undo(&answer.run_name()).expect(0);
    same();
    assert_eq!(fs::metadata(&message).expect("a stat").ino(), was.ino(), "the very file is back");
}

/// A repair that was cut off has made a folder and not given it away: no plan makes its mail root's.
#[test]
fn a_half_made_folder_makes_nothing_roots() {
    if !is_root() {
        return skip("half-made folders", "needs root");
    }
    for (lost, recorded) in [(".Sent", true), (".Sent", false), ("", true), ("", false)] {
        let mut trap = Trap::new();
        store(&mut trap);
        if recorded {
            trap.bench.tool.verify(&trap.bench.store).expect(0);
        }
        // Only where others tell may the source know nothing.
        if lost.is_empty() && !recorded {
            trap.bench.replicate();
            give_away(&trap.bench.replica);
        } else {
            hostile_replica(&trap);
        }
        let folder = trap.bench.store.join("example.org/eve/Maildir").join(lost);
        fs::remove_dir_all(&folder).expect("a loss");
        fs::create_dir(&folder).expect("a half-made folder");
        mode(&folder, 0o700);
        let plan = trap.bench.dir.path().join("attic");
        let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
        let args = ["audit", &store, "--from", &replica, "--undecided", "restore", "--save-plan", &spec(&plan)];
        let answer = trap.bench.tool.run(args);
        let text = fs::read_to_string(&plan).unwrap_or_else(|e| panic!("{e}: {answer}"));
        let steps: Vec<serde_json::Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(steps.len() >= 5, "'{lost}', recorded: {recorded}: {answer}");
        for step in steps.iter().filter(|step| !step["action"]["attrs"].is_null()) {
            let owner = (step["action"]["attrs"]["uid"].as_u64(), step["action"]["attrs"]["gid"].as_u64());
            let wanted = (Some(u64::from(USER)), Some(u64::from(GROUP)));
            assert_eq!(owner, wanted, "'{lost}', recorded: {recorded}: {step}");
        }
    }
}
