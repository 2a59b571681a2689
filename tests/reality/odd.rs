//! Stores as they really are: strange names, thousands of folders, things that are no mail.

use crate::common::bench::assert_same;
use crate::common::{must, spec};
use crate::kit;
use mailmend::drill::disk;
use mailmend::drill::truth::Snapshot;
use mailmend::model::Stamp;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn names_without_flags_and_without_sizes_are_mail() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let names: [&[u8]; 7] = [
        b"cur/1700000000.M1P1.mx",
        b"cur/1700000000.M2P1.mx:2,",
        b"cur/1700000000.M3P1.mx:2,FSTab",
        b"cur/1700000000_4.5.host,U=17,FMD5=abc:2,S",
        b"cur/1700000000.M5P1.mx,W=9999",
        b"new/1700000000.M6P1.mx\\057x",
        b"cur/1700000000.M7P1.m\xffx:2,S",
    ];
    for (number, name) in (1..).zip(names.iter().filter(|n| !n.ends_with(b"W=9999"))) {
        kit::put(&account.join(OsStr::from_bytes(name)), &kit::letter(number, 6000));
    }
    let first = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(first.count("messages"), 6, "{first}");
    bench.replicate();
    let truth = bench.tree();
    for (path, _) in truth.messages().step_by(2) {
        kit::damage(&bench.store.join(path.as_path()), 100);
    }
    for (path, _) in truth.messages().skip(1).step_by(2) {
        fs::remove_file(bench.store.join(path.as_path())).expect("a loss");
    }
    let answer = kit::heal(&bench).expect(1);
    assert_same(&truth, &bench.tree(), &answer.to_string());
}

#[test]
fn thousands_of_empty_folders_take_seconds() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    let folders = if crate::common::long() { 3000 } else { 1000 };
    for number in 0..folders {
        kit::mailbox(&account.join(format!(".Archive.{number:04}")));
    }
    kit::deliver(&account, 1, 5000);
    bench.replicate();
    let start = Instant::now();
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(answer.count("mailboxes"), folders + 1, "{answer}");
    let again = bench.tool.repair(&bench.store, &kit::from(&bench.replica)).expect(0);
    assert_eq!(again.steps(), Vec::<String>::new());
    assert!(start.elapsed() < Duration::from_secs(20), "verify and repair took {:?}", start.elapsed());
    // All of them are back on a blank disk.
    let truth = bench.tree();
    disk::clear(&bench.store).expect("a blank disk");
    let answer = kit::heal(&bench);
    assert_same(&truth, &bench.tree(), &answer.to_string());
}

#[test]
fn both_layouts_and_both_alphabets_are_read_and_shown() {
    let bench = kit::empty();
    let plus = bench.store.join("plus/Maildir");
    let nested = bench.store.join("nested/mail");
    let mailboxes = [
        (kit::mailbox(&plus), "INBOX"),
        (kit::mailbox(&plus.join(".Entw&APw-rfe")), "Entwürfe"),
        (kit::mailbox(&plus.join(".Папка.Вложенная")), "Папка.Вложенная"),
        (kit::mailbox(&nested), "INBOX"),
        (kit::mailbox(&nested.join("Gel&APY-scht/2024")), "Gelöscht/2024"),
        (kit::mailbox(&nested.join("受信/古い")), "受信/古い"),
        (kit::mailbox(&nested.join("with space & \u{1b}[31mred")), "with space"),
    ];
    for (number, (dir, _)) in (1..).zip(&mailboxes) {
        let path = kit::deliver(dir, number, 6000);
        kit::deliver(dir, number + 100, 6000);
        bench.replica.parent().expect("a folder");
        assert!(path.exists());
    }
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let truth = bench.tree();
    for (number, (dir, _)) in (1..).zip(&mailboxes) {
        kit::damage(&dir.join("cur").join(kit::name(number, kit::letter(number, 6000).len())), 50);
    }
    let answer = bench.tool.verify(&bench.store).expect(4);
    let shown: Vec<&str> = answer.findings().filter_map(|f| f["mailbox"].as_str()).collect();
    for (_, name) in &mailboxes {
        assert!(shown.iter().any(|s| s.contains(name)), "{name} is not among {shown:?}");
    }
    assert!(!answer.stdout.contains('\u{1b}'), "no escape sequence is printed");
    kit::heal(&bench).expect(1);
    assert_same(&truth, &bench.tree(), "both layouts");
}

/// Everything below a Maildir++ whose name begins with a dot is a mailbox to its server.
fn dotted(account: &Path) -> Vec<String> {
    let entries = fs::read_dir(account).expect("a folder").map(|e| e.expect("an entry"));
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with('.'));
    names.sort();
    names
}

/// STORE is an account itself, or one mailbox in it: nothing that the repair leaves may look like a mailbox.
#[test]
fn no_quarantine_shows_up_as_a_mailbox() {
    let bench = kit::empty();
    let home = bench.store.join("ann");
    for (store, sealed) in [("ann/Maildir", false), ("ann/Maildir", true), ("ann/Maildir/.Sent", false)] {
        disk::clear(&bench.store).expect("a new start");
        let account = kit::mailbox(&home.join("Maildir"));
        let sent = kit::mailbox(&account.join(".Sent"));
        let broken = [kit::deliver(&account, 1, 6000), kit::deliver(&sent, 2, 6000)];
        kit::deliver(&sent, 3, 6000);
        let store = bench.store.join(store);
        let replica = bench.dir.path().join(format!("replica {}", fastrand::u32(..)));
        mailmend::drill::copy::plain(&store, &replica).expect("a replica");
        bench.tool.verify(&store).expect(0);
        let good = broken.each_ref().map(|path| fs::read(path).expect("a message"));
        broken.iter().for_each(|path| kit::damage(path, 60));
        if sealed {
            // Whatever stands there already: the place beside the store cannot be had.
            fs::write(home.join(".mailmend"), "taken").expect("a file");
        }
        let answer = bench.tool.repair(&store, &kit::from(&replica)).expect(1);
        assert_eq!(fs::read(&broken[1]).expect("a message"), good[1], "{answer}");
        assert_eq!(dotted(&account), [".Sent"], "{answer}");
        assert_eq!(dotted(&sent), Vec::<String>::new(), "{answer}");
        let again = bench.tool.verify(&home);
        assert_eq!(again.count("mailboxes"), 2, "our own folder is no mailbox: {again}");
        bench.tool.undo(&answer.run_name()).expect(0);
        assert_ne!(fs::read(&broken[1]).expect("a message"), good[1]);
    }
}

/// A delivery that was interrupted between `new` and `cur` leaves two names of one message.
#[test]
fn one_base_name_in_new_and_cur_loses_nothing() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let path = kit::deliver(&account, 1, 6000);
    kit::deliver(&account, 2, 6000);
    let twin = account.join("new/1700000000.M1P1.mx");
    fs::copy(&path, &twin).expect("a twin");
    let other = account.join("new/1700000000.M2P1.mx");
    kit::put(&other, &kit::letter(77, 6000));
    bench.tool.verify(&bench.store);
    bench.replicate();
    let was = bench.tree();
    let answer = bench.tool.repair(&bench.store, &kit::from(&bench.replica));
    assert_same(&was, &bench.tree(), &answer.to_string());
    assert_eq!(answer.count("messages"), 4, "{answer}");
    // The damaged name of a message that is whole under its other one is shown, and the whole one left alone.
    kit::damage(&path, 100);
    let answer = kit::heal(&bench).expect_bits(4);
    assert_eq!(fs::read(&twin).expect("a message"), kit::letter(1, 6000), "{answer}");
    assert_eq!(fs::read(&other).expect("a message"), kit::letter(77, 6000), "{answer}");
}

#[test]
fn stale_temporaries_are_reported_and_never_used() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let lost = kit::deliver(&account, 1, 6000);
    kit::deliver(&account, 2, 6000);
    bench.tool.verify(&bench.store).expect(0);
    let old = account.join("tmp").join(lost.file_name().expect("a name"));
    fs::rename(&lost, &old).expect("a stale file");
    let fresh = account.join("tmp/1700000000.M9P1.mx");
    fs::write(&fresh, kit::letter(9, 6000)).expect("a delivery");
    let empty = bench.dir.path().join("empty");
    kit::mailbox(&empty.join("ann"));
    let answer = bench.tool.repair(&bench.store, &kit::from(&empty));
    assert!(old.exists() && fresh.exists() && !lost.exists(), "tmp is never used: {answer}");
    assert!(answer.mentions("tmp/1700000000.M1P1"), "the stale one is reported: {answer}");
    assert!(!answer.mentions("tmp/1700000000.M9P1"), "the fresh one is a delivery: {answer}");
    let now = Stamp { sec: 1_700_000_000 + 3600, nsec: 0 };
    disk::set_mtime(&old, now).expect("a date");
}

#[test]
fn files_that_lost_their_names_are_recognised() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let paths: Vec<_> = (1..6).map(|number| kit::deliver(&account, number, 6000)).collect();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let truth = bench.tree();
    fs::rename(&paths[0], account.join("cur/#12345")).expect("a stray");
    fs::rename(&paths[1], account.join("new/#777")).expect("a stray");
    let answer = kit::heal(&bench).expect(1);
    let after = Snapshot::take(&bench.store).expect("a tree");
    for path in &paths[..2] {
        assert!(path.exists(), "{answer}");
    }
    assert!(answer.mentions("#12345"), "{answer}");
    assert_same(&truth, &after, "both have their names again");
}

/// Where messages belong lie a folder, a FIFO, a socket, a device, links out of the store: counted, never touched.
#[test]
fn what_is_no_file_is_counted_and_hangs_nothing() {
    if !kit::can("odd files", false, &["mkfifo"]) {
        return;
    }
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    kit::deliver(&account, 1, 6000);
    let secret = bench.dir.path().join("secret");
    kit::put(&secret, &kit::letter(42, 6000));
    let at = |number: u64| account.join("cur").join(format!("1700000000.M{number}P2.mx:2,S"));
    fs::create_dir(at(1)).expect("a folder");
    must("mkfifo", &[&spec(&at(2))]);
    let socket = UnixListener::bind(at(3)).expect("a socket");
    std::os::unix::fs::symlink(&secret, at(4)).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", at(5)).expect("a link");
    std::os::unix::fs::symlink("nowhere", at(6)).expect("a link");
    std::os::unix::fs::symlink("/proc/self/mem", account.join("dovecot-uidlist")).expect("a link");
    let odd = 6;
    let start = Instant::now();
    let answer = bench.tool.verify(&bench.store).expect_bits(8);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(answer.count("messages"), 1, "no link is followed: {answer}");
    assert_eq!(answer.count("not_checked"), odd, "{answer}");
    assert_eq!(answer.count("damaged"), 0, "{answer}");

    // The same in a source: nothing of it is taken for mail, and the lost messages stay lost.
    mailmend::drill::copy::plain(&bench.store, &bench.replica).expect("a replica");
    let other = kit::mailbox(&bench.dir.path().join("other/ann"));
    let lost = kit::deliver(&account, 7, 6000);
    bench.tool.verify(&bench.store);
    std::os::unix::fs::symlink(&secret, other.join("cur").join(lost.file_name().expect("a name"))).expect("a link");
    fs::remove_file(&lost).expect("a loss");
    let answer = bench.tool.repair(&bench.store, &kit::from(&bench.dir.path().join("other")));
    assert!(!lost.exists(), "{answer}");
    drop(socket);
}

/// A user keeps a message in two folders: losing it in one is a loss, not a move to the other.
#[test]
fn a_second_copy_hides_no_loss() {
    for lost in 0..2 {
        let bench = kit::empty();
        let inbox = kit::mailbox(&bench.store.join("ann"));
        let work = kit::mailbox(&inbox.join(".Work"));
        let files = [&inbox, &work].map(|mailbox| kit::deliver(mailbox, 7, 6000));
        kit::deliver(&inbox, 8, 6000);
        kit::deliver(&work, 9, 6000);
        bench.tool.verify(&bench.store).expect(0);
        bench.replicate();
        kit::lose(&files[lost]);
        let answer = kit::heal(&bench).expect(1);
        assert_eq!((answer.count("moved"), answer.count("repaired")), (0, 1), "{answer}");
        assert!(files[lost].exists());
    }
}
