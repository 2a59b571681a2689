//! Dovecot's single-dbox without a server: frames made by hand, and no index that would tell what is there but where a
//! test makes one.

use crate::common::{Answer, Mailmend, must, spec, words};
use mailmend::store::dovecot::fresh::{self, Marks, Register};
use mailmend::store::dovecot::{flag, log, state};
use std::fs;
use std::path::{Path, PathBuf};

struct House {
    dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

fn mails(store: &Path, mailbox: &str) -> PathBuf {
    store.join("ann/sdbox/mailboxes").join(mailbox).join("dbox-Mails")
}

pub fn frame(text: &str) -> Vec<u8> {
    let crlf = text.len() + text.matches('\n').count();
    let head = format!("2 M1e C6560a1b2\n\x01\x02N          {:016X}\n", text.len());
    let tail = format!("\n\x01\x03\nR6560a1b1\nV{crlf:x}\nG0123456789abcdef0123456789abcdef\n\n");
    [head, text.to_owned(), tail].concat().into_bytes()
}

fn letter(mailbox: &str, uid: u32) -> String {
    let head = format!("From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {uid} in {mailbox}\n\n");
    head + &format!("line {uid}\n").repeat(300)
}

/// INBOX and Work, ten messages each under the same UIDs.
fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = dir.path().join("store");
    for mailbox in ["INBOX", "Work"] {
        let folder = mails(&store, mailbox);
        fs::create_dir_all(&folder).expect("a mailbox");
        for uid in 1..=10 {
            fs::write(folder.join(format!("u.{uid}")), frame(&letter(mailbox, uid))).expect("a message");
        }
    }
    let tool = Mailmend::with_state(dir.path().join("state"));
    House { dir, store, tool }
}

impl House {
    fn run(&self, verb: &str) -> Answer {
        self.tool.run(words(&[verb]).chain([self.store.clone().into()]))
    }
}

#[test]
fn a_mailbox_without_its_index_is_never_called_whole() {
    let house = house();
    for verb in ["audit", "verify"] {
        let answer = house.run(verb).expect(4);
        assert_eq!((answer.count("messages"), answer.count("companions_lost")), (20, 2), "{answer}");
        assert!(answer.mentions("alone know flags"), "{answer}");
        assert_eq!(answer.count("damaged") + answer.count("suspect") + answer.count("undetermined"), 0, "{answer}");
    }
    assert_eq!(house.run("verify").count("intact.identical"), 20);
}

#[test]
fn a_uid_is_no_key_in_another_mailbox() {
    let house = house();
    house.run("verify");
    // The same name stands in INBOX: another message.
    fs::remove_file(mails(&house.store, "Work").join("u.3")).expect("a loss");
    let answer = house.run("verify").expect(4);
    assert_eq!((answer.count("moved"), answer.count("missing.undecided")), (0, 1), "{answer}");
    // The file itself, under the next UID of the other mailbox, was moved.
    fs::write(mails(&house.store, "INBOX").join("u.11"), frame(&letter("Work", 3))).expect("a move");
    assert_eq!(house.run("verify").count("moved"), 1);
}

#[test]
fn every_part_of_a_file_is_checked_with_and_without_a_catalog() {
    let sound = frame(&letter("INBOX", 5));
    let flip = |at: usize| {
        let mut harmed = sound.clone();
        harmed[at] ^= 1;
        harmed
    };
    let zeroed = [&sound[..1000], &[0; 600], &sound[1600..]].concat();
    let harms = [flip(0), flip(17), flip(40), flip(sound.len() - 20), sound[..900].to_vec(), Vec::new(), zeroed];
    for (nth, harmed) in harms.into_iter().enumerate() {
        for known in [false, true] {
            let house = house();
            if known {
                house.run("verify");
            }
            fs::write(mails(&house.store, "INBOX").join("u.5"), &harmed).expect("damage");
            let answer = house.run("audit").expect(4);
            // A digit of the GUID that became another is the one thing that cannot be seen.
            assert_eq!(answer.count("damaged"), u64::from(nth != 3), "harm {nth}, known {known}: {answer}");
            // What is broken around the recorded content is recorded too, and ends no run.
            for _ in 0..2 {
                let answer = house.run("verify").expect(4);
                assert_eq!(answer.count("damaged"), u64::from(nth != 3), "harm {nth}, known {known}: {answer}");
            }
        }
    }
}

#[test]
fn a_copy_of_nobody_knows_which_time_is_not_taken_by_its_name() {
    let house = house();
    let backup = house.dir.path().join("backup");
    let copied = std::process::Command::new("cp").args(["-a", &spec(&house.store), &spec(&backup)]).status();
    assert!(copied.expect("cp").success());
    let place = mails(&house.store, "INBOX").join("u.5");
    fs::write(&place, &frame(&letter("INBOX", 5))[..900]).expect("damage");
    let line = words(&["repair"]).chain([house.store.clone().into(), "--from".into(), backup.into(), "--apply".into()]);
    let answer = house.tool.run(line).expect(4);
    assert_eq!(answer.count("repaired"), 0, "without an index nothing says that u.5 is the same message: {answer}");
    assert_eq!(fs::metadata(&place).expect("the file").len(), 900);
}

const FIRST: u32 = 1_700_000_000;

/// An index as a log alone, of the time `validity`: every second message is seen.
fn index(validity: u32, uids: impl Iterator<Item = u32>) -> Vec<u8> {
    let marks: Vec<Marks> = uids
        .map(|uid| Marks { uid, flags: if uid % 2 == 0 { flag::SEEN } else { 0 }, keywords: vec![b"work".to_vec()] })
        .collect();
    let next_uid = marks.last().map_or(1, |last| last.uid + 1);
    let register = Register {
        indexid: validity,
        file_seq: 2,
        modseq: 30,
        uid_validity: validity,
        next_uid,
        mailbox_guid: [7; 16],
    };
    fresh::register(&register, validity, &marks, None)
}

const LOG: &str = "dovecot.index.log";

/// The house with indexes, known to the catalog, and a backup of it.
fn indexed() -> (House, PathBuf) {
    let house = house();
    for mailbox in ["INBOX", "Work"] {
        fs::write(mails(&house.store, mailbox).join(LOG), index(FIRST, 1..11)).expect("an index");
    }
    house.run("verify").expect(0);
    let backup = house.dir.path().join("backup");
    must("cp", &["-a", &spec(&house.store), &spec(&backup)]);
    (house, backup)
}

impl House {
    fn repair(&self, backup: &Path, more: &[&str]) -> Answer {
        let line = words(&["repair"]).chain([self.store.clone().into(), "--from".into(), backup.into()]);
        self.tool.run(line.chain(words(&["--apply"])).chain(words(more)))
    }

    fn state(&self, mailbox: &str) -> state::State {
        let log = log::parse(&fs::read(mails(&self.store, mailbox).join(LOG)).expect("an index"));
        state::replay(None, &[&log])
    }
}

#[test]
fn an_index_that_is_gone_is_made_again_from_a_copy() {
    let (house, backup) = indexed();
    fs::remove_file(mails(&house.store, "INBOX").join(LOG)).expect("a loss");
    fs::remove_file(mails(&house.store, "INBOX").join("u.3")).expect("another");
    let answer = house.repair(&backup, &["--undecided", "restore"]).expect(1);
    assert_eq!((answer.count("repaired"), answer.count("companions_lost")), (1, 1), "{answer}");
    assert!(answer.mentions("flags and UIDs"), "{answer}");
    let state = house.state("INBOX");
    assert_eq!((state.uid_validity, state.messages.len()), (FIRST, 10));
    assert!(state.next_uid > 1000, "numbers that may have been given since: {}", state.next_uid);
    let flags: Vec<u8> = state.messages.values().map(|message| message.flags).collect();
    assert_eq!(flags, [0, flag::SEEN].repeat(5));
    assert!(state.messages.values().all(|message| state.keywords_of(message).eq([b"work".as_slice()])));
    house.run("audit").expect(0);
    // The lost index is nobody's: undoing takes the new one away again.
    let run = answer.run_name();
    house.tool.undo(&run).expect(0);
    assert!(!mails(&house.store, "INBOX").join(LOG).exists());
}

#[test]
fn a_folder_comes_back_with_its_index() {
    let (house, backup) = indexed();
    fs::remove_dir_all(house.store.join("ann/sdbox/mailboxes/Work")).expect("a loss");
    house.repair(&backup, &["--undecided", "restore"]).expect(1);
    let state = house.state("Work");
    assert_eq!((state.uid_validity, state.messages.len()), (FIRST, 10));
    house.run("audit").expect(0);
}

#[test]
fn a_mailbox_that_was_begun_anew_gets_its_old_time_back() {
    let (house, backup) = indexed();
    let folder = mails(&house.store, "INBOX");
    fs::write(folder.join(LOG), index(FIRST + 500, 0..0)).expect("a new index");
    let answer = house.repair(&backup, &[]).expect(1);
    assert!(answer.mentions("began the mailbox anew"), "{answer}");
    let state = house.state("INBOX");
    assert_eq!((state.uid_validity, state.messages.len()), (FIRST, 10));
    house.run("audit").expect(0);
}

#[test]
fn new_mail_under_an_old_number_is_never_taken_for_the_old_one() {
    for known in [true, false] {
        let (mut house, backup) = indexed();
        if !known {
            house.tool = Mailmend::with_state(house.dir.path().join("another"));
        }
        let folder = mails(&house.store, "INBOX");
        (1..=10).for_each(|uid| fs::remove_file(folder.join(format!("u.{uid}"))).expect("a loss"));
        let fresh = frame(&letter("another mailbox", 77));
        fs::write(folder.join("u.1"), &fresh).expect("new mail");
        fs::write(folder.join(LOG), index(FIRST + 500, 1..2)).expect("a new index");
        house.repair(&backup, &["--undecided", "restore"]);
        assert_eq!(fs::read(folder.join("u.1")).expect("the new mail"), fresh, "known: {known}");
        assert_eq!(house.state("INBOX").uid_validity, FIRST + 500, "known: {known}");
    }
}

#[test]
fn lists_of_subscriptions_above_the_mailboxes_are_missed_and_come_back() {
    let house = house();
    let list = house.store.join("ann/sdbox/subscriptions");
    for mailbox in ["INBOX", "Work"] {
        fs::write(mails(&house.store, mailbox).join(LOG), index(FIRST, 1..11)).expect("an index");
    }
    fs::write(&list, "V\t2\n\nWork\n").expect("a list");
    house.run("verify").expect(0);
    let backup = house.dir.path().join("backup");
    must("cp", &["-a", &spec(&house.store), &spec(&backup)]);
    fs::remove_file(&list).expect("a loss");
    for known in [true, false] {
        let tool = if known { house.tool.state.clone() } else { house.dir.path().join("another") };
        let tool = Mailmend::with_state(tool);
        let line = words(&["audit"]).chain([house.store.clone().into(), "--from".into(), backup.clone().into()]);
        let answer = tool.run(line).expect(4);
        assert!(answer.mentions("list of subscriptions"), "known: {known}: {answer}");
    }
    house.repair(&backup, &[]).expect(1);
    assert_eq!(fs::read_to_string(&list).expect("the list"), "V\t2\n\nWork\n");
    house.run("audit").expect(0);
}

#[test]
fn what_lies_in_the_alternative_storage_is_never_called_lost() {
    let (house, backup) = indexed();
    let folder = mails(&house.store, "INBOX");
    let mut state: Vec<Marks> = Vec::new();
    for (uid, message) in house.state("INBOX").messages {
        let apart = if uid == 3 { flag::BACKEND } else { 0 };
        state.push(Marks { uid, flags: message.flags | apart, keywords: Vec::new() });
    }
    let register =
        Register { indexid: FIRST, file_seq: 3, modseq: 40, uid_validity: FIRST, next_uid: 11, mailbox_guid: [7; 16] };
    fs::write(folder.join(LOG), fresh::register(&register, FIRST + 9, &state, None)).expect("an index");
    // As `doveadm altmove` does it.
    fs::rename(folder.join("u.3"), house.dir.path().join("u.3")).expect("a move");
    for known in [true, false] {
        let tool = if known { house.tool.state.clone() } else { house.dir.path().join("another") };
        let line = words(&["audit"]).chain([house.store.clone().into(), "--from".into(), backup.clone().into()]);
        let answer = Mailmend::with_state(tool).run(line).expect(8);
        assert_eq!((answer.count("not_checked"), answer.count("missing.lost")), (1, 0), "known: {known}: {answer}");
        assert!(answer.mentions("alternative storage"), "{answer}");
    }
    assert_eq!(house.repair(&backup, &["--undecided", "restore"]).count("repaired"), 0);
    assert!(!folder.join("u.3").exists());
}
