//! Alarms by an account's own history: what goes every week is a habit, what never went is a loss until somebody knows.

use crate::common::{Answer, Mailmend, words};
use std::fs;
use std::path::PathBuf;

/// A store with one account of one mailbox, and nights that pass by making the records older.
struct Place {
    _dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
    /// The oldest message that is left, and the next one that comes.
    first: u32,
    next: u32,
}

impl Place {
    fn new(messages: u32) -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, state) = (dir.path().join("store"), dir.path().join("state"));
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(store.join("ann").join(sub)).expect("a mailbox");
        }
        let mut place = Place { _dir: dir, store, tool: Mailmend::with_state(state), first: 0, next: 0 };
        place.deliver(messages);
        place
    }

    fn message(&self, n: u32) -> PathBuf {
        self.store.join(format!("ann/cur/17000{n:05}.M{n}P1.mx:2,S"))
    }

    fn deliver(&mut self, number: u32) {
        for n in self.next..self.next + number {
            let text = format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\nbody {n}\n");
            fs::write(self.message(n), text).expect("a message");
        }
        self.next += number;
    }

    fn delete(&mut self, number: u32) {
        for n in self.first..self.first + number {
            fs::remove_file(self.message(n)).expect("a deletion");
        }
        self.first += number;
    }

    /// A day later.
    fn night(&self) -> Answer {
        let records = rusqlite::Connection::open(self.tool.state.join("catalog.db")).expect("the catalog");
        // The first night makes the tables.
        if records.table_exists(None, "run").expect("the catalog") {
            let older = "UPDATE mailbox SET listed = listed - 86400, verified = verified - 86400;
                UPDATE message SET first_seen = first_seen - 86400, last_seen = last_seen - 86400;
                UPDATE message SET verified = verified - 86400 WHERE verified <> 0;
                UPDATE run SET began = began - 86400, ended = ended - 86400;";
            records.execute_batch(older).expect("older records");
        }
        drop(records);
        self.tool.run(words(&["verify"]).chain([self.store.clone().into()]))
    }

    /// Nights in which nothing happens.
    fn quiet(&self, nights: u32) {
        (0..nights).for_each(|_| drop(self.night().expect(0)));
    }
}

#[test]
fn a_weekly_clean_up_is_no_alarm_once_it_is_the_accounts_history() {
    let mut place = Place::new(400);
    place.tool.verify(&place.store).expect(0);
    place.quiet(6);
    // What nobody has seen before is asked about, and is a habit after the second time that somebody answered.
    for _ in 0..2 {
        place.delete(60);
        place.deliver(60);
        let night = place.night().expect(4);
        assert_eq!(night.count("missing.undecided"), 60, "{night}");
        let accept = ["accept", &night.run_name(), "--reason", "the weekly clean-up"];
        place.tool.run(words(&accept)).expect(0);
        place.quiet(6);
    }
    for _ in 0..2 {
        place.delete(60);
        place.deliver(60);
        assert_eq!(place.night().expect(0).count("presumed_deleted"), 60);
        place.quiet(6);
    }
    place.delete(121);
    let night = place.night().expect(4);
    assert_eq!(night.count("missing.undecided"), 121, "more than twice as many: {night}");
}

#[test]
fn an_account_that_never_deletes_and_loses_forty_at_once_is_asked_about() {
    let mut place = Place::new(1_000);
    place.tool.verify(&place.store).expect(0);
    place.quiet(6);
    // A twentieth of the mailbox, which would pass in an account that is new.
    place.delete(40);
    let night = place.night().expect(4);
    assert_eq!(night.count("missing.undecided"), 40, "{night}");
    assert!(night.mentions("far above its own history"), "{night}");
}

#[test]
fn the_same_forty_of_a_new_account_pass_for_deletions() {
    let mut place = Place::new(1_000);
    place.tool.verify(&place.store).expect(0);
    place.quiet(3);
    place.delete(40);
    assert_eq!(place.night().expect(0).count("presumed_deleted"), 40);
}
