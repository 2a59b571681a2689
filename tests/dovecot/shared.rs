//! mdbox as real Dovecot writes it: copies, moves, expunges and purges are no damage, a storage file that is gone is loss.

use crate::common::bench::Bench;
use crate::common::spec;
use crate::kit;
use crate::server::{Dovecot, give};
use mailmend::drill::{Repair, Undecided, copy};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Letters, which fill some files of the storage.
const LETTERS: u32 = 24;

fn letter(number: u32) -> String {
    let head = format!("From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {number}\n\n");
    head + &format!("line {number}\n").repeat(60)
}

/// An account with mail in small storage files, and its server.
fn world() -> (Bench, Dovecot) {
    let bench = kit::empty();
    fs::create_dir_all(bench.store.join("ann/mdbox")).expect("a home");
    give(&bench.store);
    let dir = bench.dir.path().join("dovecot");
    let place = bench.store.to_str().expect("a plain path");
    let settings = format!("mail_location = mdbox:{place}/%u/mdbox\nmdbox_rotate_size = 4k\n");
    let mut server = Dovecot::with(&dir, &bench.store, &settings);
    server.go();
    (1..=LETTERS).for_each(|number| server.save(&letter(number)));
    (bench, server)
}

/// Storage files in order.
fn files(bench: &Bench) -> Vec<PathBuf> {
    let storage = fs::read_dir(bench.store.join("ann/mdbox/storage")).expect("a storage");
    let mut files: Vec<_> = storage.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("m.")));
    files.sort();
    files
}

#[test]
fn a_storage_of_a_real_server_is_read_as_the_server_shows_it() {
    if !kit::can("mdbox of a real server", true, &["dovecot", "doveadm"]) {
        return;
    }
    let (bench, mut server) = world();
    let must = |args: &[&str]| server.must(args);
    must(&["mailbox", "create", "-u", "ann", "Work"]);
    must(&["copy", "-u", "ann", "Work", "mailbox", "INBOX", "uid", "1:3"]);
    must(&["move", "-u", "ann", "Work", "mailbox", "INBOX", "uid", "5:6"]);
    must(&["expunge", "-u", "ann", "mailbox", "INBOX", "uid", "2,7"]);
    must(&["flags", "add", "-u", "ann", "\\Flagged work", "mailbox", "INBOX", "uid", "8:12"]);
    // Expunged, moved and copied ones: 24 - 4 and 5.
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!((answer.count("messages"), answer.count("mailboxes")), (25, 2), "{answer}");
    must(&["expunge", "-u", "ann", "mailbox", "INBOX", "uid", "3,9"]);
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!((answer.count("intact.identical"), answer.count("deleted")), (23, 2), "{answer}");
    // Nothing is left where it was, and it is the same mail.
    must(&["purge", "-u", "ann"]);
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!((answer.count("intact.identical"), answer.count("damaged")), (23, 0), "{answer}");

    server.stop();
    let files = files(&bench);
    assert!(files.len() > 2, "{files:?}");
    fs::remove_file(&files[0]).expect("a loss");
    let answer = bench.tool.verify(&bench.store).expect(4);
    let lost = answer.count("missing.lost");
    assert!(lost > 0, "{answer}");
    assert_eq!((lost + answer.count("messages"), answer.count("damaged")), (23, 0), "{answer}");
}

#[test]
fn a_real_server_finds_nothing_amiss_in_a_storage_that_was_put_together_anew() {
    if !kit::can("a repaired mdbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let (bench, server) = world();
    let must = |args: &[&str]| server.must(args);
    must(&["mailbox", "create", "-u", "ann", "Work"]);
    must(&["copy", "-u", "ann", "Work", "mailbox", "INBOX", "uid", "1:3"]);
    must(&["expunge", "-u", "ann", "mailbox", "INBOX", "uid", "2,5,24"]);
    must(&["expunge", "-u", "ann", "mailbox", "Work", "uid", "2"]);
    let before = server.shown();
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a copy");
    let files = files(&bench);
    fs::remove_file(&files[0]).expect("a loss");
    // A client that reads keeps the map open.
    let mut imap = server.imap("ann");
    ["SELECT INBOX", "UID FETCH 17 (BODY.PEEK[])"].iter().for_each(|line| drop(imap.must(line)));
    let repair = Repair { sources: vec![spec(&bench.replica)], apply: true, undecided: Undecided::Report };
    let answer = bench.tool.repair(&bench.store, &repair).expect(4);
    assert!(answer.count("repaired") == 0 && answer.count("held") > 0, "{answer}");
    assert!(answer.mentions("has this mailbox open"), "{answer}");
    assert!(!files[0].exists());
    imap.must("LOGOUT");
    drop(imap);
    // Cut within a message; and the last one, to which the server would append.
    let bytes = fs::read(&files[1]).expect("a storage file");
    fs::write(&files[1], &bytes[..bytes.len() / 3]).expect("damage");
    fs::write(files.last().expect("a file"), b"").expect("damage");
    kit::wait_for("the end of the session", Duration::from_secs(20), || {
        let answer = bench.tool.repair(&bench.store, &repair);
        (answer.status != 4).then(|| drop(answer.expect(1)))
    });
    assert!(server.shown() == before, "{}", server.shown());
    // Appending, purging and a rebuild go by the lengths of all that lies there, deleted or not.
    server.save(&letter(LETTERS + 1));
    let more = server.shown();
    must(&["purge", "-u", "ann"]);
    assert!(server.shown() == more, "after purge: {}", server.shown());
    must(&["force-resync", "-u", "ann", "*"]);
    assert!(server.shown() == more, "after force-resync: {}", server.shown());
    assert_eq!(server.complaints(), Vec::<String>::new());
    bench.tool.verify(&bench.store).expect(0);
}
