//! A disk that nobody looked at before, and no backup: what the server's own list and index hold is missed all the same.
//! The server's files are those that real Dovecot wrote (testdata/dovecot): it holds UIDs 1, 2, 3 and 6; 4, 5 and 8 were
//! deleted by clients, 7 was lost and the server noticed.

use crate::common::{Answer, Mailmend, words};
use std::fs;
use std::path::{Path, PathBuf};

struct House {
    _dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = dir.path().join("store");
    let tool = Mailmend::with_state(dir.path().join("state"));
    House { _dir: dir, store, tool }
}

impl House {
    fn run(&self, verb: &str) -> Answer {
        self.tool.run(words(&[verb]).chain([self.store.clone().into()]))
    }
}

fn server(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dovecot").join(file)).expect("test data")
}

fn server_files(folder: &Path, list: bool) {
    fs::write(folder.join("dovecot.index"), server("index")).expect("an index");
    fs::write(folder.join("dovecot.index.log"), server("index.log")).expect("a log");
    if list {
        fs::write(folder.join("dovecot-uidlist"), server("uidlist")).expect("a list");
    }
}

/// 85 bytes, six lines: what the names in the list say.
fn letter(uid: usize) -> String {
    let head = format!("From: a@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {uid}\n\n");
    let rest = 85 - head.len() - "x\n\n".len() + 1;
    format!("{head}{}\n\n", "x".repeat(rest))
}

#[test]
fn messages_that_only_the_server_knows_of_are_missed_in_a_maildir() {
    let house = house();
    let inbox = house.store.join("ann/Maildir");
    ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(inbox.join(sub)).expect("a mailbox"));
    server_files(&inbox, true);
    let list = String::from_utf8(server("uidlist")).expect("text");
    let names: Vec<&str> = list.lines().skip(1).map(|line| line.split_once(':').expect("a name").1).collect();
    assert_eq!((names.len(), letter(1).len(), letter(1).matches('\n').count()), (4, 85, 6));
    names.iter().enumerate().for_each(|(nth, name)| {
        fs::write(inbox.join("cur").join(format!("{name}:2,S")), letter(nth)).expect("a message");
    });
    assert_eq!(house.run("audit").expect(0).count("messages"), 4, "deleted mail is not missed");
    fs::remove_file(inbox.join("cur").join(format!("{}:2,S", names[1]))).expect("a loss");
    for verb in ["audit", "verify", "verify"] {
        let answer = house.run(verb).expect(4);
        assert_eq!((answer.count("messages"), answer.count("missing.lost")), (3, 1), "{answer}");
        assert!(answer.mentions(names[1].split(',').next().expect("a key")), "{answer}");
        assert!(answer.mentions("the server still lists it"), "{answer}");
    }
    // In another mailbox of the account it is not lost but moved.
    let other = inbox.join(".Work");
    ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(other.join(sub)).expect("a mailbox"));
    fs::write(other.join("cur").join(format!("{}:2,S", names[1])), letter(1)).expect("a message");
    assert_eq!(house.run("audit").expect(0).count("missing.lost"), 0);
}

#[test]
fn messages_that_only_the_server_knows_of_are_missed_in_an_sdbox() {
    let house = house();
    let mails = house.store.join("ann/sdbox/mailboxes/INBOX/dbox-Mails");
    fs::create_dir_all(&mails).expect("a mailbox");
    server_files(&mails, false);
    for uid in [1, 2, 3, 6] {
        fs::write(mails.join(format!("u.{uid}")), super::sdbox::frame(&letter(uid))).expect("a message");
    }
    assert_eq!(house.run("audit").expect(0).count("messages"), 4);
    fs::remove_file(mails.join("u.6")).expect("a loss");
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("messages"), answer.count("missing.lost")), (3, 1), "{answer}");
    assert!(answer.mentions("u.6"), "{answer}");
}
