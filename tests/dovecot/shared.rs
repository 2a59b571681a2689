//! mdbox as real Dovecot writes it: copies, moves, expunges and purges are no damage, a storage file that is gone is loss.

use crate::kit;
use crate::server::{Dovecot, give};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Letters, which fill some files of the storage.
const LETTERS: u32 = 24;

fn save(dir: &Path, number: u32) {
    let mut command = Command::new("doveadm");
    command.arg("-c").arg(dir.join("dovecot.conf")).args(["save", "-u", "ann", "-m", "INBOX"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("doveadm");
    let head = format!("From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {number}\n\n");
    let text = head + &format!("line {number}\n").repeat(60);
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("a letter");
    assert!(child.wait().expect("doveadm").success());
}

#[test]
fn a_storage_of_a_real_server_is_read_as_the_server_shows_it() {
    if !kit::can("mdbox of a real server", true, &["dovecot", "doveadm"]) {
        return;
    }
    let bench = kit::empty();
    fs::create_dir_all(bench.store.join("ann/mdbox")).expect("a home");
    give(&bench.store);
    let dir = bench.dir.path().join("dovecot");
    let place = bench.store.to_str().expect("a plain path");
    let settings = format!("mail_location = mdbox:{place}/%u/mdbox\nmdbox_rotate_size = 4k\n");
    let mut server = Dovecot::with(&dir, &bench.store, &settings);
    server.go();
    (1..=LETTERS).for_each(|number| save(&dir, number));
    let must = |args: &[&str]| {
        let done = server.doveadm(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
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
    let storage = bench.store.join("ann/mdbox/storage");
    let mut files: Vec<_> = fs::read_dir(&storage).expect("a storage").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("m.")));
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    fs::remove_file(&files[0]).expect("a loss");
    let answer = bench.tool.verify(&bench.store).expect(4);
    let lost = answer.count("missing.lost");
    assert!(lost > 0, "{answer}");
    assert_eq!((lost + answer.count("messages"), answer.count("damaged")), (23, 0), "{answer}");
}
