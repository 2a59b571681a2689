//! mbox without a server: files as Dovecot, Thunderbird and archives make them, whole and harmed.

use crate::common::{Answer, Mailmend, words};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

struct House {
    dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

fn letter(name: &str, number: usize) -> String {
    let head = format!("From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {number} of {name}\n");
    let lines = format!("line {number}\nFrom here on nothing is quoted.\n\n").repeat(60);
    format!("{head}\n{lines}")
}

/// As Dovecot stores it.
fn stored(number: usize, message: &str) -> String {
    let (head, body) = message.split_once("\n\n").expect("a message");
    let base = if number == 1 { "X-IMAPbase: 1700000000 0000000020\n" } else { "" };
    let own = format!("X-UID: {number}\nStatus: RO\nX-Keywords:          \nContent-Length: {}\n", body.len());
    format!("From ann@example.org  Mon Jan  1 00:00:{number:02} 2024\n{base}{own}{head}\n\n{body}\n")
}

/// As an archive has it.
fn archived(number: usize, message: &str) -> String {
    let quoted = message.replace("\nFrom ", "\n>From ");
    format!("From ann at example.org  Mon Jan  1 00:00:{number:02} 2024\n{quoted}\n")
}

fn mbox(name: &str, form: fn(usize, &str) -> String) -> Vec<u8> {
    (1..=12).map(|number| form(number, &letter(name, number))).collect::<String>().into_bytes()
}

/// An account with folders of Dovecot's, an archive and a folder of Thunderbird's.
fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = dir.path().join("store");
    let mail = store.join("ann/mail");
    for folder in ["lists", "Old.sbd", ".imap/INBOX"] {
        fs::create_dir_all(mail.join(folder)).expect("a folder");
    }
    fs::write(mail.join("inbox"), mbox("inbox", stored)).expect("a mailbox");
    fs::write(mail.join("lists/2024.mbox"), mbox("lists", archived)).expect("an archive");
    let thunderbird = String::from_utf8(mbox("old", archived)).expect("text").replace('\n', "\r\n");
    let thunderbird =
        thunderbird.replace("Subject:", "X-Mozilla-Status: 0001\r\nX-Mozilla-Status2: 00000000\r\nSubject:");
    fs::write(mail.join("Old.sbd/2023"), thunderbird).expect("a folder of Thunderbird's");
    fs::write(mail.join("Old.sbd/2023.msf"), "// <!-- <mdb:mork:z v=\"1.4\"/> -->\n").expect("its index");
    fs::write(mail.join("notes.txt"), "From here on, no mail\n").expect("something else");
    let tool = Mailmend::with_state(dir.path().join("state"));
    House { dir, store, tool }
}

impl House {
    fn run(&self, verb: &str) -> Answer {
        self.on(verb, &self.store)
    }

    fn on(&self, verb: &str, store: &Path) -> Answer {
        self.tool.run(words(&[verb]).chain([store.to_owned().into()]))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store.join("ann/mail").join(name)
    }

    /// Changes a text of one file for another of the same length.
    fn change(&self, name: &str, from: &str, to: &str) {
        let bytes = fs::read(self.file(name)).expect("a mailbox");
        let at = memchr::memmem::find(&bytes, from.as_bytes()).expect("what is to be changed");
        let file = fs::OpenOptions::new().write(true).open(self.file(name)).expect("a mailbox");
        file.write_all_at(to.as_bytes(), at as u64).expect("a change");
    }
}

#[test]
fn whole_files_are_whole_and_a_second_night_knows_them() {
    let house = house();
    let answer = house.run("audit").expect(0);
    assert_eq!((answer.count("accounts"), answer.count("mailboxes"), answer.count("messages")), (1, 3, 36), "{answer}");
    house.run("verify").expect(0);
    let answer = house.run("verify").expect(0);
    assert_eq!(answer.count("intact.identical"), 36, "{answer}");
    house.run("status").expect(0);
    // Flags come and go, mail is delivered at the end, and nothing of that is damage.
    house.change("inbox", "Status: RO", "Status: O ");
    house.change("inbox", "X-Keywords:          ", "X-Keywords: important");
    house.change("Old.sbd/2023", "X-Mozilla-Status: 0001", "X-Mozilla-Status: 0003");
    let mut inbox = fs::read(house.file("inbox")).expect("a mailbox");
    inbox.extend(stored(13, &letter("new", 13)).into_bytes());
    fs::write(house.file("inbox"), inbox).expect("a delivery");
    let answer = house.run("verify").expect(0);
    assert_eq!((answer.count("intact.identical"), answer.count("messages")), (36, 37), "{answer}");
    let answer = house.tool.run(words(&["verify", "--budget", "1%"]).chain([house.store.clone().into()])).expect(0);
    assert!(answer.count("deferred") > 0, "{answer}");
}

#[test]
fn each_harm_is_found_where_it_is_and_nowhere_else() {
    let line = "From ann@example.org  Mon Jan  1 00:00:07 2024";
    let harms: [(&str, &str, &str); 8] = [
        ("inbox", "\nline 7\n", "\nline \u{37}\u{0}"),
        ("inbox", "Subject: 7", "Rubject: 7"),
        ("inbox", line, "Grom ann@example.org  Mon Jan  1 00:00:07 2024"),
        ("inbox", line, "From ann@example.org  Mon Jan  1 00:00:07 20r4"),
        ("inbox", "X-UID: 7", "X-UID: w"),
        ("inbox", "X-UID: 7", "X-UID: 5"),
        ("inbox", "X-IMAPbase: 17", "X-IMAPbase: q7"),
        ("lists/2024.mbox", "line 7\n>From", "line 7\n>Fro\u{0}"),
    ];
    for (nth, (file, from, to)) in harms.into_iter().enumerate() {
        let house = house();
        house.run("verify");
        house.change(file, from, to);
        let answer = house.run("audit");
        assert_eq!(answer.status, 4, "harm {nth}: {answer}");
        assert_eq!(answer.count("damaged"), 1, "harm {nth}: {answer}");
        assert_eq!(answer.count("missing.lost") + answer.count("missing.undecided"), 0, "harm {nth}: {answer}");
        let key = if nth == 6 {
            "u.1"
        } else if file == "inbox" {
            "u.7"
        } else {
            "o."
        };
        assert!(answer.lines.iter().any(|l| l["key"].as_str().is_some_and(|k| k.starts_with(key))), "{nth}: {answer}");
    }
}

#[test]
fn regions_and_tails_that_are_gone_are_told() {
    let zeroed = |house: &House, name: &str, at: &str, length: usize| {
        let bytes = fs::read(house.file(name)).expect("a mailbox");
        let at = memchr::memmem::find(&bytes, at.as_bytes()).expect("the place");
        let file = fs::OpenOptions::new().write(true).open(house.file(name)).expect("a mailbox");
        file.write_all_at(&vec![0; length], at as u64).expect("zeros");
    };
    // Over the beginning of one message: those around it are as they were.
    let house = house();
    house.run("verify");
    zeroed(&house, "inbox", "From ann@example.org  Mon Jan  1 00:00:07", 300);
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("damaged"), answer.count("intact.identical")), (1, 35), "{answer}");
    // In an archive nothing tells where the next begins: it is missed, and the one before it is not what it was.
    zeroed(&house, "lists/2024.mbox", "From ann at example.org  Mon Jan  1 00:00:07", 60);
    let answer = house.run("audit").expect(4);
    let missing = answer.count("missing.lost") + answer.count("missing.undecided");
    assert_eq!((answer.count("damaged"), missing, answer.count("intact.identical")), (2, 1, 33), "{answer}");
    // Cut off in the middle.
    let half = fs::metadata(house.file("Old.sbd/2023")).expect("a file").size() / 2;
    fs::OpenOptions::new().write(true).open(house.file("Old.sbd/2023")).and_then(|f| f.set_len(half)).expect("a cut");
    let answer = house.run("audit").expect(4);
    assert!(answer.count("missing.lost") + answer.count("missing.undecided") >= 6, "{answer}");
    // Emptied, and gone.
    fs::write(house.file("inbox"), "").expect("nothing");
    fs::remove_file(house.file("lists/2024.mbox")).expect("it was there");
    let answer = house.run("audit").expect(4);
    let missing = ["missing.lost", "missing.undecided", "presumed_deleted"].map(|name| answer.count(name));
    assert_eq!(missing.iter().sum::<u64>(), 12 + 12 + 5, "{answer}");
    assert_eq!(answer.count("not_checked"), 0, "{answer}");
}

#[test]
fn one_file_is_a_store_and_others_beside_it_are_not_read() {
    let house = house();
    let answer = house.on("verify", &house.file("inbox")).expect(0);
    assert_eq!((answer.count("mailboxes"), answer.count("messages")), (1, 12), "{answer}");
    assert_eq!(house.on("verify", &house.file("inbox")).expect(0).count("intact.identical"), 12);
    house.on("audit", &house.file("notes.txt")).expect(16);
}

/// A house with a copy of its store as it was, and a record of that.
fn kept() -> (House, PathBuf) {
    let house = house();
    let backup = house.copied();
    house.run("verify");
    (house, backup)
}

impl House {
    fn copied(&self) -> PathBuf {
        let backup = self.dir.path().join("backup");
        let copied = std::process::Command::new("cp").arg("-a").arg(&self.store).arg(&backup).status();
        assert!(copied.expect("cp").success());
        backup
    }

    fn repair(&self, backup: &Path, more: &[&str]) -> Answer {
        let line = words(&["repair"]).chain([self.store.clone().into(), "--from".into(), backup.to_owned().into()]);
        self.tool.run(line.chain(words(more)))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("a mailbox")
    }

    fn zero(&self, name: &str, at: &str, length: usize) {
        let bytes = self.bytes(name);
        let at = memchr::memmem::find(&bytes, at.as_bytes()).expect("the place");
        let file = fs::OpenOptions::new().write(true).open(self.file(name)).expect("a mailbox");
        file.write_all_at(&vec![0; length], at as u64).expect("zeros");
    }
}

#[test]
fn a_store_that_is_one_file_is_healed_in_its_folder() {
    for known in [true, false] {
        let house = house();
        let spool = house.dir.path().join("var/mail");
        let file = spool.join("ann");
        fs::create_dir_all(&spool).expect("a spool");
        fs::write(&file, house.bytes("inbox")).expect("a mailbox");
        fs::write(spool.join("bob"), house.bytes("inbox")).expect("somebody else's");
        if known {
            house.on("verify", &file).expect(0);
        }
        let whole = fs::read(&file).expect("a mailbox");
        let at = memchr::memmem::find(&whole, b"Subject: 7").expect("a subject");
        let mut harmed = [&whole[..at + 400], &[0; 64], &whole[at + 464..]].concat();
        if known {
            // One is lost altogether.
            let place = |text: &str| memchr::memmem::find(&harmed, text.as_bytes()).expect("a message");
            harmed.drain(
                place("From ann@example.org  Mon Jan  1 00:00:04")..place("From ann@example.org  Mon Jan  1 00:00:05"),
            );
        }
        fs::write(&file, &harmed).expect("damage");
        let repair = |from: PathBuf| {
            let line = words(&["repair"]).chain([file.clone().into(), "--from".into(), from.into()]);
            house.tool.run(line.chain(words(&["--undecided", "restore", "--apply"])))
        };
        let answer = repair(house.file("inbox")).expect(1);
        assert_eq!(answer.count("repaired"), 1 + u64::from(known), "known {known}: {answer}");
        assert!(fs::read(&file).expect("a mailbox") == whole, "known {known}");
        assert!(answer.lines.iter().any(|line| line["mailbox"] == "INBOX"), "{answer}");
        house.on("verify", &file).expect(0);
        house.tool.undo(answer.lines[0]["run"].as_str().expect("a run")).expect(0);
        assert!(fs::read(&file).expect("a mailbox") == harmed, "known {known}: undone");
        let names: Vec<_> = fs::read_dir(&spool).expect("a spool").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), 2, "nothing else comes to lie in the spool: {names:?}");
    }
}

const LINE: &str = "From ann@example.org  Mon Jan  1 00:00:07 2024";

#[test]
fn each_harm_is_healed_to_the_byte_and_the_repair_is_undone_to_the_byte() {
    let harms: [(&str, &str, &str); 12] = [
        ("inbox", "\nline 7\n", "\nline 8\n"),
        ("inbox", "Subject: 7", "Rubject: 7"),
        ("inbox", LINE, "Grom ann@example.org  Mon Jan  1 00:00:07 2024"),
        ("inbox", LINE, "From ann@example.org  Mon Jan  1 00:00:07 20r4"),
        ("inbox", LINE, "From ann@example.org  Mon Jan  1 00:00:07 2025"),
        ("inbox", LINE, "From anm@example.org  Mon Jan  1 00:00:07 2024"),
        ("inbox", "X-UID: 7", "X-UID: w"),
        ("inbox", "X-UID: 7", "X-UID: 5"),
        ("inbox", "X-IMAPbase: 17", "X-IMAPbase: q7"),
        ("inbox", "X-IMAPbase: 17", "X-IMAPbase: 16"),
        ("inbox", "Status: RO", "Status: SO"),
        ("lists/2024.mbox", "line 7\n>From", "line 7\n>Fro\u{0}"),
    ];
    for (nth, (file, from, to)) in harms.into_iter().enumerate() {
        let (house, backup) = kept();
        let whole = house.bytes(file);
        let before = fs::metadata(house.file(file)).expect("a file");
        house.change(file, from, to);
        fs::File::open(house.file(file)).and_then(|f| f.set_modified(before.modified()?)).expect("the date");
        let harmed = house.bytes(file);
        let answer = house.repair(&backup, &["--apply"]);
        assert_eq!((answer.status, answer.count("repaired")), (1, 1), "harm {nth}: {answer}");
        assert!(house.bytes(file) == whole, "harm {nth}: the file is not as it was");
        let after = fs::metadata(house.file(file)).expect("a file");
        assert_eq!((after.mode(), after.uid(), after.mtime()), (before.mode(), before.uid(), before.mtime()), "{nth}");
        assert_eq!(house.run("verify").expect(0).count("intact.identical"), 36, "harm {nth}");
        house.tool.undo(answer.lines[0]["run"].as_str().expect("a run")).expect(0);
        assert!(house.bytes(file) == harmed, "harm {nth}: undone");
    }
}

#[test]
fn flags_that_came_since_the_copy_stay() {
    let (house, backup) = kept();
    house.change("inbox", "X-UID: 7\nStatus: RO\nX-Keywords:          ", "X-UID: 7\nStatus: O \nX-Keywords: important");
    house.run("verify");
    let whole = house.bytes("inbox");
    house.change("inbox", "\nline 7\n", "\nline 8\n");
    house.change("inbox", "Subject: 9", "\u{0}ubject: 9");
    let answer = house.repair(&backup, &["--apply"]).expect(1);
    assert_eq!(answer.count("repaired"), 2, "{answer}");
    assert!(house.bytes("inbox") == whole);
}

#[test]
fn flags_that_went_since_the_copy_do_not_come_back() {
    let house = house();
    let file = String::from_utf8(house.bytes("inbox")).expect("text");
    let flagged = file.replace("X-UID: 7\nStatus: RO\n", "X-UID: 7\nStatus: RO\nX-Status: AF\n");
    fs::write(house.file("inbox"), flagged).expect("flags");
    house.run("verify");
    let backup = house.copied();
    // Some programs take an empty field out.
    fs::write(house.file("inbox"), file).expect("no flags");
    house.run("verify").expect(0);
    let whole = house.bytes("inbox");
    house.change("inbox", "\nline 7\n", "\nline 8\n");
    house.repair(&backup, &["--apply"]).expect(1);
    assert!(house.bytes("inbox") == whole);
}

#[test]
fn a_short_message_that_lost_its_line_is_not_thrown_away_with_the_one_before_it() {
    let (house, backup) = kept();
    let mut archive = house.bytes("lists/2024.mbox");
    let precious =
        "From bob at example.org  Mon Jan  1 00:00:13 2024\nFrom: bob@example.org\nSubject: precious\n\nyes\n\n";
    archive.extend(precious.as_bytes());
    fs::write(house.file("lists/2024.mbox"), archive).expect("a delivery");
    house.zero("lists/2024.mbox", "From bob at example.org", 30);
    let before = house.bytes("lists/2024.mbox");
    let answer = house.repair(&backup, &["--apply", "--undecided", "restore"]).expect(4);
    assert_eq!((answer.count("repaired"), answer.count("held")), (0, 1), "{answer}");
    assert!(house.bytes("lists/2024.mbox") == before);
}

#[test]
fn zeroed_and_cut_files_and_lost_ones_come_back() {
    // Over the beginning of a message, its line included.
    let (house, backup) = kept();
    let whole = ["inbox", "lists/2024.mbox"].map(|name| house.bytes(name));
    house.zero("inbox", LINE, 900);
    house.repair(&backup, &["--apply"]).expect(1);
    assert!(house.bytes("inbox") == whole[0]);
    // Two messages of an archive became one: neither is touched before both can come back.
    house.zero("lists/2024.mbox", "From ann at example.org  Mon Jan  1 00:00:07", 60);
    let merged = house.bytes("lists/2024.mbox");
    let answer = house.repair(&backup, &["--apply"]).expect(4);
    assert_eq!((answer.count("repaired"), answer.count("held")), (0, 1), "{answer}");
    assert!(house.bytes("lists/2024.mbox") == merged);
    house.repair(&backup, &["--apply", "--undecided", "restore"]).expect(1);
    assert!(house.bytes("lists/2024.mbox") == whole[1]);
    // Cut in the middle of a message, which is harm without any doubt; what lay behind is missing.
    let half = whole[0].len() as u64 / 2;
    fs::OpenOptions::new().write(true).open(house.file("inbox")).and_then(|f| f.set_len(half)).expect("a cut");
    let answer = house.repair(&backup, &["--apply", "--undecided", "restore"]).expect(1);
    assert!(house.bytes("inbox") == whole[0], "{answer}");
    // Gone as a whole.
    fs::remove_file(house.file("inbox")).expect("it was there");
    let answer = house.repair(&backup, &["--apply", "--undecided", "restore"]).expect(1);
    assert!(house.bytes("inbox") == whole[0], "{answer}");
    house.run("verify").expect(0);
}

#[test]
fn a_file_in_use_is_left_alone_and_a_plan_cannot_name_another() {
    let (house, backup) = kept();
    house.change("inbox", "\nline 7\n", "\nline 8\n");
    let harmed = house.bytes("inbox");
    let lock = house.file("inbox.lock");
    fs::write(&lock, format!("{}\n", std::process::id())).expect("a lock");
    let answer = house.repair(&backup, &["--apply"]).expect(4);
    assert_eq!((answer.count("held"), answer.count("repaired")), (1, 0), "{answer}");
    fs::remove_file(&lock).expect("the lock");
    let session = fs::File::open(house.file("inbox")).expect("a session");
    assert_eq!(house.repair(&backup, &["--apply"]).expect(4).count("held"), 1);
    drop(session);
    assert!(house.bytes("inbox") == harmed && !lock.exists());
    // The plan as a file: edited, it puts nothing together that is no mbox.
    let plan = house.dir.path().join("plan");
    let line = words(&["audit", "--save-plan"]).chain([plan.clone().into(), house.store.clone().into()]);
    house.tool.run(line.chain(["--from".into(), backup.clone().into()])).expect(4);
    let text = fs::read_to_string(&plan).expect("a plan");
    assert!(text.contains("\"ann/mail/inbox\""), "{text}");
    for (name, content) in [("notes.txt", None), (".forward", Some("x"))] {
        content.into_iter().for_each(|content| fs::write(house.file(name), content).expect("a file"));
        let before = house.bytes(name);
        let edited = house.dir.path().join(format!("plan{name}"));
        let stat = fs::metadata(house.file("inbox")).expect("a file").ino().to_string();
        let other = fs::metadata(house.file(name)).expect("a file").ino().to_string();
        fs::write(&edited, text.replace("ann/mail/inbox\"", &format!("ann/mail/{name}\"")).replace(&stat, &other))
            .expect("a plan");
        let line = words(&["repair", "--apply", "--plan"]).chain([edited.into(), house.store.clone().into()]);
        let answer = house.tool.run(line);
        assert!(answer.status != 0 && (answer.lines.is_empty() || answer.count("repaired") == 0), "{name}: {answer}");
        assert!(house.bytes(name) == before, "{name}");
    }
    let line = words(&["repair", "--apply", "--plan"]).chain([plan.into(), house.store.clone().into()]);
    assert_eq!(house.tool.run(line).expect(1).count("repaired"), 1);
}

#[test]
fn files_of_several_users_in_one_folder_are_accounts() {
    if !rustix::process::geteuid().is_root() {
        return crate::common::skip("a spool of several users", "only root can give files away");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (user, name) in [(1001, "ann"), (1002, "bob")] {
        fs::write(dir.path().join(name), mbox(name, stored)).expect("a mailbox");
        std::os::unix::fs::chown(dir.path().join(name), Some(user), Some(user)).expect("root may");
    }
    let answer = Mailmend::with_state(dir.path().join("state")).run(words(&["audit"]).chain([dir.path().into()]));
    assert_eq!((answer.count("accounts"), answer.count("messages")), (2, 24), "{answer}");
}
