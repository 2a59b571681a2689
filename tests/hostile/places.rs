//! Places that a user can turn elsewhere between two runs, or while one works: the store's own path, a source's,
//! the quarantine's.

use crate::common::spec;
use crate::kit;
use crate::trap::{GROUP, Trap, USER, give_away, tree};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// A home that belongs to the user, with a mailbox in it, and its replica. Returns the mailbox and the replica's.
fn home(trap: &mut Trap) -> (PathBuf, PathBuf) {
    let mailbox = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    (1..4).for_each(|number| drop(kit::deliver(&mailbox, number, 3000)));
    fs::write(mailbox.join("subscriptions"), "eve ALL=(ALL) NOPASSWD: ALL\n").expect("a companion");
    give_away(&trap.bench.store);
    trap.bench.tool.verify(&mailbox).expect(0);
    trap.bench.replicate();
    let replica = trap.bench.replica.join("eve/Maildir");
    (mailbox, replica)
}

/// A link of the user's, as only the user can have made it.
fn plant(target: &Path, at: &Path) {
    symlink(target, at).expect("a link");
    lchown(at, Some(USER), Some(GROUP)).expect("chown");
}

/// The mail folder is a link to a folder of the system: a repair would put the user's files there, as root.
#[test]
fn a_store_that_its_user_turned_elsewhere_is_refused() {
    if !kit::can("a store turned elsewhere", true, &[]) {
        return;
    }
    let mut trap = Trap::new();
    let (mailbox, replica) = home(&mut trap);
    fs::create_dir(trap.outside.join("sudoers.d")).expect("a folder");
    fs::rename(&mailbox, trap.bench.dir.path().join("attic")).expect("room");
    plant(&trap.outside.join("sudoers.d"), &mailbox);
    trap.arm();
    let (store, replica) = (spec(&mailbox), spec(&replica));
    let repair = ["repair", &store, "--from", &replica, "--undecided", "restore", "--apply"];
    for args in [&repair[..], &["verify", &store], &["audit", &store, "--from", &replica]] {
        let heard = trap.run(args);
        assert_eq!(heard.status, 16, "{heard}");
        assert!(heard.mentions("symbolic link"), "{heard}");
        trap.assert_untouched(&heard.to_string());
    }
    // Nor one on the way, nor the folder that the result is to go to.
    plant(&trap.outside, &trap.bench.store.join("eve/way"));
    let inside = spec(&trap.bench.store.join("eve/way/eve/Maildir"));
    let heard = trap.run(&["verify", &inside]);
    assert_eq!(heard.status, 16, "{heard}");
    let attic = spec(&trap.bench.dir.path().join("attic"));
    trap.bench.tool.verify(&trap.bench.dir.path().join("attic")).expect(0);
    kit::damage(&trap.bench.dir.path().join("attic/cur").join(kit::name(1, kit::letter(1, 3000).len())), 50);
    let into = spec(&trap.bench.store.join("eve/way/new"));
    let heard = trap.run(&["repair", &attic, "--from", &replica, "--into", &into, "--apply"]);
    assert_ne!(heard.status & 24, 0, "{heard}");
    trap.assert_untouched(&heard.to_string());
    // Links of the administrator's are followed.
    let alias = trap.bench.store.join("alias");
    lchown(&trap.bench.store, Some(0), Some(0)).expect("chown");
    symlink(trap.bench.dir.path().join("attic"), &alias).expect("a link");
    assert_eq!(trap.run(&["verify", &spec(&alias)]).status & 24, 0);
}

/// A snapshot holds the user's link as it was: followed, it would hand out another user's mail.
#[test]
fn a_source_behind_a_users_link_is_refused() {
    if !kit::can("a source turned elsewhere", true, &[]) {
        return;
    }
    let mut trap = Trap::new();
    let (mailbox, replica) = home(&mut trap);
    fs::remove_dir_all(&replica).expect("room");
    plant(&trap.outside.join("eve/Maildir"), &replica);
    trap.arm();
    let before = tree(&mailbox);
    let pattern = spec(&trap.bench.dir.path().join("repl*/eve/Maildir"));
    for source in [spec(&replica), pattern] {
        let repair = ["repair", &spec(&mailbox), "--from", &source, "--undecided", "restore", "--apply"];
        let heard = trap.run(&repair);
        assert_ne!(heard.status & 24, 0, "{heard}");
        trap.assert_untouched(&heard.to_string());
        assert_eq!(tree(&mailbox), before, "{heard}");
    }
}

/// The quarantine of one user's mail lies in that user's home. Between repair and undo the user puts something
/// else there, which root would list, export, put back or tidy up.
#[test]
fn a_quarantine_that_was_exchanged_is_refused() {
    if !kit::can("a quarantine turned elsewhere", true, &[]) {
        return;
    }
    let mut trap = Trap::new();
    let (mailbox, replica) = home(&mut trap);
    kit::damage(&mailbox.join("cur").join(kit::name(1, kit::letter(1, 3000).len())), 50);
    let store = spec(&mailbox);
    let heard = trap.run(&["repair", &store, "--from", &spec(&replica), "--apply"]);
    assert_eq!(heard.status, 1, "{heard}");
    let run = heard.run_name().expect("a run");
    let place = trap.bench.store.join("eve/.mailmend");
    assert!(place.join(&run).is_dir(), "the quarantine is beside the mail");
    let healed = tree(&mailbox);
    fs::rename(&place, trap.bench.dir.path().join("attic")).expect("room");
    // A link to a folder with files named as ours; a folder of the user's own; a link in one.
    let own = |place: &Path| {
        fs::create_dir(place).expect("a folder");
        fs::set_permissions(place, PermissionsExt::from_mode(0o700)).expect("chmod");
    };
    fs::create_dir(trap.outside.join(&run)).expect("a folder");
    fs::set_permissions(trap.outside.join(&run), PermissionsExt::from_mode(0o700)).expect("chmod");
    fs::write(trap.outside.join(&run).join("4711"), "a file of root's").expect("a file");
    trap.arm();
    let export = spec(&trap.bench.dir.path().join("export"));
    for attack in 0..3 {
        match attack {
            0 => plant(&trap.outside, &place),
            1 => {
                own(&place);
                plant(&trap.outside.join(&run), &place.join(&run));
            }
            _ => {
                own(&place);
                own(&place.join(&run));
                fs::write(place.join(&run).join("1"), "forged").expect("a file");
                give_away(&place);
            }
        }
        let commands: [&[&str]; 6] = [
            &["quarantine", "list"],
            &["quarantine", "show", &run],
            &["quarantine", "export", &run, "--into", &export],
            &["quarantine", "purge", &run, "--apply"],
            &["undo", &run, "--apply"],
            &["status"],
        ];
        for args in commands {
            let heard = trap.run(args);
            trap.assert_untouched(&heard.to_string());
            assert!(args == ["status"] || heard.status & 24 != 0, "attack {attack}: {heard}");
            assert_eq!(tree(&mailbox), healed, "attack {attack}: {heard}");
        }
        assert_eq!(fs::read_dir(&export).map(Iterator::count).unwrap_or(0), 0, "attack {attack}: nothing is exported");
        // A new repair takes another place, or says that it has none.
        kit::damage(&mailbox.join("cur").join(kit::name(2, kit::letter(2, 3000).len())), 50);
        let heard = trap.run(&["repair", &store, "--from", &spec(&replica), "--apply"]);
        trap.assert_untouched(&heard.to_string());
        assert_ne!(heard.status, 0, "{heard}");
        if fs::symlink_metadata(&place).expect("the plant").is_symlink() {
            fs::remove_file(&place).expect("weeding");
        } else {
            fs::remove_dir_all(&place).expect("weeding");
        }
        trap.run(&["repair", &store, "--from", &spec(&replica), "--apply"]);
        fs::remove_dir_all(&place).ok();
        fs::remove_dir_all(mailbox.join("mailmend.quarantine")).ok();
        assert_eq!(shape(&tree(&mailbox)), shape(&healed));
    }
    fs::rename(trap.bench.dir.path().join("attic"), &place).expect("its own quarantine again");
    let heard = trap.run(&["undo", &run, "--apply"]);
    assert_eq!(heard.status & 24, 0, "{heard}");
}

/// Names and owners only: files that were repaired twice are others.
fn shape(tree: &std::collections::BTreeMap<PathBuf, String>) -> Vec<(&Path, &str)> {
    tree.iter().map(|(path, is)| (path.as_path(), is.split(' ').nth(1).unwrap_or_default())).collect()
}
