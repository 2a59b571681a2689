//! Clients at work in the mailboxes while they are repaired.

use crate::common::bench::Bench;
use crate::common::{Answer, spec};
use crate::imap::Imap;
use crate::kit;
use crate::server::{Dovecot, give};
use mailmend::drill::{Repair, Undecided, copy};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const USERS: [&str; 2] = ["ann", "bob"];
const MAILBOXES: [&str; 2] = ["INBOX", "Archive"];
/// Messages of each user at the start; what comes later has higher numbers.
const MESSAGES: u64 = 240;
const FIRST_NEW: u64 = 10_000;
const CLIENTS: u64 = 2;
const SIZE: usize = 6000;

/// What a user knows of a message.
#[derive(Debug, Clone)]
struct Known {
    mailbox: usize,
    flags: BTreeSet<String>,
    /// By this user, so that it stands under another key since.
    moved: bool,
}

/// What one client did.
#[derive(Default)]
struct Ledger {
    there: BTreeMap<u64, Known>,
    expunged: BTreeSet<u64>,
    operations: u64,
}

/// A user's program: everything that programs do with mail, one after the other.
struct Client {
    imap: Imap,
    ledger: Ledger,
    dice: fastrand::Rng,
    next: u64,
    /// Messages of the start that may still be moved or expunged.
    spare: u32,
    selected: Option<usize>,
}

impl Client {
    fn select(&mut self, mailbox: usize) {
        if self.selected != Some(mailbox) {
            self.imap.must(&format!("SELECT {}", MAILBOXES[mailbox]));
            self.selected = Some(mailbox);
        }
    }

    fn work(mut self, end: &AtomicBool) -> Ledger {
        while !end.load(Ordering::Relaxed) {
            self.ledger.operations += 1;
            if self.dice.u8(0..20) == 0 {
                self.deliver();
                continue;
            }
            let Some((&number, known)) = self.dice.choice(self.ledger.there.iter().collect::<Vec<_>>()) else {
                return self.ledger;
            };
            let known = known.clone();
            self.select(known.mailbox);
            let found = self.imap.search(&format!("HEADER Message-ID <{number}@example.org>"));
            let [uid] = found[..] else { panic!("message {number} is there {} times", found.len()) };
            // A mailbox that loses much at once would be taken for a victim: old messages leave it rarely.
            let may_leave = number >= FIRST_NEW || self.spare > 0;
            match self.dice.u8(0..100) {
                0..50 => drop(self.imap.must(&format!("UID FETCH {uid} (BODY.PEEK[])"))),
                50..90 => self.flag(number, uid),
                90..95 if may_leave => self.shift(number, uid, known.mailbox),
                95.. if may_leave => self.expunge(number, uid),
                _ => {}
            }
            if self.ledger.there.get(&number).is_none_or(|now| now.moved != known.moved) && number < FIRST_NEW {
                self.spare -= 1;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.ledger
    }

    fn deliver(&mut self) {
        let number = self.next;
        self.next += CLIENTS;
        self.imap.append(MAILBOXES[0], "", &kit::letter(number, SIZE));
        self.ledger.there.insert(number, Known { mailbox: 0, flags: BTreeSet::new(), moved: true });
    }

    fn flag(&mut self, number: u64, uid: u64) {
        let flag = ["\\Flagged", "\\Answered", "\\Seen", "\\Draft"][self.dice.usize(0..4)];
        let known = self.ledger.there.get_mut(&number).expect("it was chosen");
        let sign = if known.flags.remove(flag) { '-' } else { '+' };
        if sign == '+' {
            known.flags.insert(flag.to_owned());
        }
        self.imap.must(&format!("UID STORE {uid} {sign}FLAGS ({flag})"));
    }

    fn shift(&mut self, number: u64, uid: u64, from: usize) {
        let known = self.ledger.there.get_mut(&number).expect("it was chosen");
        (known.mailbox, known.moved) = (1 - from, true);
        self.imap.must(&format!("UID MOVE {uid} {}", MAILBOXES[1 - from]));
    }

    fn expunge(&mut self, number: u64, uid: u64) {
        self.ledger.there.remove(&number);
        self.ledger.expunged.insert(number);
        self.imap.must(&format!("UID STORE {uid} +FLAGS (\\Deleted)"));
        self.imap.must(&format!("UID EXPUNGE {uid}"));
    }
}

fn maildir(bench: &Bench, user: &str) -> PathBuf {
    bench.store.join(user).join("Maildir")
}

/// A store that Dovecot knows, with its replica and catalog.
fn world() -> (Bench, Dovecot) {
    let bench = kit::empty();
    for user in USERS {
        let inbox = kit::mailbox(&maildir(&bench, user));
        let archive = kit::mailbox(&inbox.join(".Archive"));
        fs::write(archive.join("maildirfolder"), "").expect("a subfolder");
        for number in 0..MESSAGES {
            kit::deliver(&inbox, number, SIZE);
        }
    }
    give(&bench.store);
    let server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    for user in USERS {
        let mut imap = server.imap(user);
        for mailbox in MAILBOXES {
            imap.must(&format!("SELECT {mailbox}"));
        }
    }
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a replica");
    (bench, server)
}

/// Flips a bit in the middle of a message, in place, without a trace in its attributes. Not where that would
/// change how long the server finds it.
fn flip(path: &Path) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let (mtime, middle) = (file.metadata()?.modified()?, file.metadata()?.len() / 2);
    let mut bytes = [0; 64];
    file.read_exact_at(&mut bytes, middle)?;
    let at = bytes.iter().position(u8::is_ascii_hexdigit).unwrap_or(0);
    file.write_all_at(&[bytes[at] ^ 1], middle + at as u64)?;
    file.set_modified(mtime)
}

/// Damages some of the messages that were there at the start and still have their names.
fn damage(bench: &Bench, dice: &mut fastrand::Rng) -> u64 {
    let mut damaged = 0;
    for user in USERS {
        let cur = maildir(bench, user).join("cur");
        let mut names: Vec<_> = fs::read_dir(&cur).expect("a mailbox").flatten().map(|entry| entry.path()).collect();
        names.retain(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"1700000000.M")));
        dice.shuffle(&mut names);
        // One that is renamed in this moment is lucky.
        damaged += names.iter().take(12).filter(|path| flip(path).is_ok()).count() as u64;
    }
    damaged
}

fn repair(bench: &Bench) -> Answer {
    let repair = Repair { sources: vec![spec(&bench.replica)], apply: true, undecided: Undecided::Report };
    bench.tool.repair(&bench.store, &repair)
}

fn clients(server: &Dovecot, user: &'static str) -> Vec<Client> {
    let client = |nth: u64| {
        let read = Known { mailbox: 0, flags: ["\\Seen".to_owned()].into(), moved: false };
        let there = (0..MESSAGES).filter(|n| n % CLIENTS == nth).map(|n| (n, read.clone())).collect();
        let ledger = Ledger { there, ..Ledger::default() };
        let dice = fastrand::Rng::with_seed(nth + user.len() as u64 * 7 + u64::from(user.as_bytes()[0]));
        Client { imap: server.imap(user), ledger, dice, next: FIRST_NEW + nth, spare: 3, selected: None }
    };
    (0..CLIENTS).map(client).collect()
}

/// Clients go home, also where the test fails.
struct AtLast<'a>(&'a AtomicBool);

impl Drop for AtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_doubled_or_given_back_under_the_hands_of_clients() {
    if !kit::can("repair under a live server", true, &["dovecot", "doveadm"]) {
        return;
    }
    let (bench, server) = world();
    let before = USERS.map(|user| server.imap(user).golden("INBOX"));
    let end = AtomicBool::new(false);
    let time = Duration::from_secs(if crate::common::long() { 120 } else { 12 });
    let mut dice = fastrand::Rng::with_seed(1);
    let (mut runs, mut damaged, mut repaired) = (0, 0, 0);
    let ledgers: Vec<Vec<Ledger>> = std::thread::scope(|scope| {
        let end = &end;
        let _end = AtLast(end);
        let start =
            |user| clients(&server, user).into_iter().map(|c| scope.spawn(move || c.work(end))).collect::<Vec<_>>();
        let working = USERS.map(start);
        let begun = Instant::now();
        while begun.elapsed() < time && working.iter().flatten().all(|client| !client.is_finished()) {
            damaged += damage(&bench, &mut dice);
            let answer = repair(&bench);
            assert_eq!(answer.status & !(1 | 4), 0, "{answer}");
            (runs, repaired) = (runs + 1, repaired + answer.count("repaired"));
        }
        end.store(true, Ordering::Relaxed);
        working.into_iter().map(|users| users.into_iter().map(|c| c.join().expect("a client")).collect()).collect()
    });
    repair(&bench);
    repair(&bench).expect(0);
    assert!(runs > 2 && repaired * 10 > damaged * 7, "{runs} runs repaired {repaired} of {damaged}");
    let operations: u64 = ledgers.iter().flatten().map(|ledger| ledger.operations).sum();
    for ((user, golden), ledgers) in USERS.iter().zip(&before).zip(&ledgers) {
        let mut imap = server.imap(user);
        let seen = MAILBOXES.map(|mailbox| imap.golden(mailbox));
        assert_eq!(seen[0].uidvalidity, golden.uidvalidity);
        assert!(seen[0].modseq >= golden.modseq);
        judge(user, &seen, golden, ledgers);
    }
    // The one that two moving clients provoke without anybody else.
    let complaints: Vec<String> =
        server.complaints().into_iter().filter(|line| !line.contains("Duplicate file entry")).collect();
    assert_eq!(complaints, Vec::<String>::new());
    println!("{runs} repairs of {damaged} damages beside {operations} operations of clients: nothing lost or doubled");
}

/// Every message is where its user left it, once, as it was, under its old UID; and no other is there.
fn judge(user: &str, seen: &[crate::imap::Golden; 2], golden: &crate::imap::Golden, ledgers: &[Ledger]) {
    let id = |number: &u64| format!("<{number}@example.org>");
    let mut left: BTreeMap<(usize, String), Vec<u64>> = BTreeMap::new();
    for (mailbox, golden) in seen.iter().enumerate() {
        for (uid, message) in &golden.messages {
            left.entry((mailbox, message.message_id.clone())).or_default().push(*uid);
        }
    }
    for (number, known) in ledgers.iter().flat_map(|ledger| &ledger.there) {
        let uids = left.remove(&(known.mailbox, id(number))).unwrap_or_default();
        let [uid] = uids[..] else { panic!("{user}: message {number} is in its mailbox {} times", uids.len()) };
        let message = &seen[known.mailbox].messages[&uid];
        assert_eq!(message.flags, known.flags, "{user}: flags of message {number}");
        if !known.moved {
            let was = golden.messages.get(&uid).unwrap_or_else(|| panic!("{user}: message {number} got a new UID"));
            assert_eq!(
                (&was.message_id, was.body, &was.received),
                (&message.message_id, message.body, &message.received)
            );
        }
    }
    assert!(left.is_empty(), "{user}: doubled or given back: {left:?}");
}
