//! Some nights on a real Dovecot: by day clients, a cron job and a sync change the mail, every night a verify says what
//! is true. No deletion is called lost or undecided, clean nights are silent, harm is told the night it happens.

use crate::account::{ANN, Account, Make, PARTNER, Replica, Time};
use crate::common::{Answer, Mailmend, must, spec, words};
use crate::kit;
use mailmend::drill::disk;
use mailmend::drill::{Repair, Undecided};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// What left the mailboxes by day: deleted for good, and moved to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    deleted: u64,
    moved: u64,
}

const NOTHING: Left = Left { deleted: 0, moved: 0 };

struct Nights {
    account: Account,
    passed: u32,
    left: Left,
}

impl Nights {
    /// A night in which all is well: nothing is said, and what left is known for what it is.
    #[track_caller]
    fn clean(&mut self, left: Left) {
        self.passed += 1;
        self.account.quiet();
        self.silent();
        let answer = self.account.tool().verify(&self.account.store).expect(0);
        let count = |names: &[&str]| names.iter().map(|name| answer.count(name)).sum::<u64>();
        assert_eq!(count(&["missing.lost", "missing.undecided", "damaged", "suspect"]), 0, "{}: {answer}", self.passed);
        let told = Left { deleted: count(&["deleted", "presumed_deleted"]), moved: answer.count("moved") };
        assert_eq!(told, left, "night {}: {answer}", self.passed);
        self.left.deleted += left.deleted;
        self.left.moved += left.moved;
    }

    /// The same night as cron would see it, with records of its own.
    #[track_caller]
    fn silent(&self) {
        let tool = self.account.tool();
        let state = tool.state.with_file_name("state-of-cron");
        must("cp", &["-a", &spec(&tool.state), &spec(&state)]);
        let mut command = Mailmend::with_state(state.clone()).command();
        command.arg("--state").arg(&state).args(words(&["verify", "--quiet"])).arg(&self.account.store);
        let output = command.output().expect("the binary");
        let silent = output.status.success() && output.stdout.is_empty() && output.stderr.is_empty();
        assert!(silent, "night {}: {output:?}", self.passed);
        fs::remove_dir_all(state).expect("its records");
    }

    /// A night that must raise the alarm, about so many lost and damaged messages and nothing else; then it is healed.
    #[track_caller]
    fn alarm(&mut self, lost: u64, damaged: u64) {
        self.passed += 1;
        self.account.quiet();
        let answer = self.account.tool().verify(&self.account.store).expect(4);
        let told = ["missing.lost", "damaged", "missing.undecided"].map(|name| answer.count(name));
        assert_eq!(told, [lost, damaged, 0], "night {}: {answer}", self.passed);
        let healed = self.heal();
        assert_eq!(healed.count("repaired"), lost + damaged, "night {}: {healed}", self.passed);
    }

    /// A night after a sync brought deletions: alone it asks, for a sync brings losses, too. The partner's own log tells:
    /// an audit with the partner hears it, and a night with `--against` hears and records it.
    #[track_caller]
    fn asked(&mut self, deleted: u64) {
        self.passed += 1;
        self.account.quiet();
        let tool = self.account.tool();
        let told = |answer: &Answer| ["missing.lost", "missing.undecided", "deleted"].map(|name| answer.count(name));
        let alone = tool.verify(&self.account.store).expect(4);
        assert_eq!(told(&alone), [0, deleted, 0], "night {}: {alone}", self.passed);
        for line in [["audit", "--from"], ["verify", "--against"]] {
            let places = [&self.account.replica, &self.account.store].map(|place| place.clone().into());
            let both = tool.run(words(&line).chain(places)).expect(0);
            assert_eq!(told(&both), [0, 0, deleted], "night {}: {both}", self.passed);
        }
        self.left.deleted += deleted;
    }

    fn heal(&self) -> Answer {
        let sources = vec![spec(&self.account.replica)];
        let repair = Repair { sources, apply: true, undecided: Undecided::Report };
        self.account.tool().repair(&self.account.store, &repair).expect(1)
    }

    /// Somebody's session: these commands, one after the other.
    #[track_caller]
    fn client(&self, user: &str, commands: &[&str]) {
        let mut imap = self.account.server.imap(user);
        for command in commands {
            imap.must(command);
        }
        imap.must("LOGOUT");
    }

    #[track_caller]
    fn deliver(&self, user: &str, numbers: std::ops::Range<u64>) {
        let mut imap = self.account.server.imap(user);
        numbers.for_each(|number| imap.append("INBOX", "", &kit::letter(number, 2500)));
        imap.must("LOGOUT");
    }

    fn sync(&self) {
        self.account.quiet();
        self.account.succeed(&["sync", "-u", ANN, &self.account.partner()]);
    }
}

/// Flips one bit in the middle of a file, where it stands.
fn flip(path: &std::path::Path) {
    let (bytes, meta) = (fs::read(path).expect("a message"), fs::metadata(path).expect("a message"));
    let mut rotten = bytes.clone();
    rotten[bytes.len() / 2] ^= 0x10;
    disk::overwrite(path, &rotten).expect("rot");
    fs::File::options().write(true).open(path).and_then(|f| f.set_modified(meta.modified()?)).expect("its time");
    assert_eq!(fs::metadata(path).expect("a message").ino(), meta.ino(), "the file is the same");
}

#[test]
fn nights_on_a_real_dovecot_are_silent_until_something_is_lost_or_rots() {
    if !kit::can("nights on a real Dovecot", true, &["dovecot", "doveadm"]) {
        return;
    }
    let began = Instant::now();
    let mut nights = Nights { account: Account::build(Make::Plain), passed: 0, left: NOTHING };
    // The server made its replica of hard links, which would rot with the store.
    nights.account.restore(Time::NextDay, Replica::Backup);
    days_of_clients(&mut nights);
    days_of_jobs(&mut nights);
    days_of_a_sync(&mut nights);
    let file = nights.account.file("Archive", 10);
    kit::lose(&file);
    nights.alarm(1, 0);
    nights.deliver(ANN, 8000..8003);
    nights.clean(NOTHING);
    flip(&nights.account.file("Archive.2023", 30));
    nights.alarm(0, 1);
    // Harm and deletions on one day are told apart.
    kit::lose(&nights.account.file("Archive.2023", 40));
    flip(&nights.account.file("INBOX", 130));
    nights.client(ANN, &["SELECT Sent", "UID STORE 8:9 +FLAGS (\\Deleted)", "UID EXPUNGE 8:9"]);
    nights.alarm(1, 1);
    nights.client(ANN, &["SELECT INBOX", "UID STORE 131 +FLAGS (\\Deleted)", "UID EXPUNGE 131"]);
    nights.clean(Left { deleted: 1, moved: 0 });
    nights.clean(NOTHING);
    assert_eq!(nights.account.server.complaints(), Vec::<String>::new());
    println!("{} nights in {:.0} s: {:?}", nights.passed, began.elapsed().as_secs_f64(), nights.left);
}

/// Deliveries, flags, moves, expunges, a folder that is deleted.
fn days_of_clients(nights: &mut Nights) {
    // What the account did by day: see there.
    nights.clean(Left { deleted: 2, moved: 1 });
    nights.clean(NOTHING);
    nights.deliver(ANN, 7000..7010);
    nights
        .client(ANN, &["SELECT INBOX", "UID STORE 30:60 +FLAGS (\\Flagged urgent)", "UID STORE 61:70 -FLAGS (\\Seen)"]);
    nights.clean(NOTHING);
    let moves =
        ["CREATE Trash", "SELECT INBOX", "UID MOVE 80:109 Trash", "SELECT Archive", "UID MOVE 15:17 Archive.2023"];
    nights.client(ANN, &moves);
    nights.clean(Left { deleted: 0, moved: 33 });
    nights.client(ANN, &["SELECT INBOX", "UID STORE 31:34 +FLAGS (\\Deleted)", "EXPUNGE"]);
    nights.clean(Left { deleted: 4, moved: 0 });
    // Seven of its ten are left: three were expunged before the first night.
    nights.client(ANN, &["UNSUBSCRIBE Old", "DELETE Old"]);
    nights.clean(Left { deleted: 7, moved: 0 });
}

/// What cron does with old mail.
fn days_of_jobs(nights: &mut Nights) {
    nights.account.quiet();
    nights.account.succeed(&["expunge", "-u", ANN, "mailbox", "Trash", "all"]);
    nights.clean(Left { deleted: 30, moved: 0 });
    nights.account.succeed(&["expunge", "-u", ANN, "mailbox", "INBOX", "uid", "40:47"]);
    nights.account.succeed(&["move", "-u", ANN, "Archive", "mailbox", "INBOX", "uid", "50:54"]);
    nights.clean(Left { deleted: 8, moved: 5 });
}

/// The replica's own clients work, too, and both sides become one.
fn days_of_a_sync(nights: &mut Nights) {
    nights.sync();
    nights.clean(NOTHING);
    nights.deliver(PARTNER, 7500..7503);
    nights.client(PARTNER, &["SELECT INBOX", "UID STORE 70:73 +FLAGS (\\Deleted)", "UID EXPUNGE 70:73"]);
    nights.client(PARTNER, &["SELECT INBOX", "UID STORE 74:76 +FLAGS (\\Flagged)", "UID MOVE 77:78 Archive"]);
    nights.sync();
    nights.asked(4);
    nights.sync();
    nights.clean(NOTHING);
}
