//! Verify with a budget, night after night. Nights pass by making the records older.

use crate::common::{Answer, Mailmend, words};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the sections below read from the records.
const PROVEN: &str = "coalesce(message.verified, mailbox.verified)";

struct Place {
    _dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

impl Place {
    /// A store of so many accounts with two mailboxes of so many messages each.
    fn new(accounts: u32, messages: u32) -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, state) = (dir.path().join("store"), dir.path().join("state"));
        let place = Place { _dir: dir, store, tool: Mailmend::with_state(state) };
        for account in 0..accounts {
            for folder in ["", ".Archive"] {
                let mailbox = place.store.join(format!("user{account}")).join(folder);
                ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(mailbox.join(sub)).expect("a mailbox"));
                (0..messages).for_each(|n| deliver(&mailbox, n));
            }
        }
        place
    }

    fn inbox(&self, account: u32) -> PathBuf {
        self.store.join(format!("user{account}"))
    }

    fn archive(&self, account: u32) -> PathBuf {
        self.inbox(account).join(".Archive")
    }

    fn verify(&self, more: &[&str]) -> Answer {
        self.tool.run(words(&["verify"]).chain([self.store.clone().into()]).chain(words(more)))
    }

    fn catalog(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.tool.state.join("catalog.db")).expect("the catalog")
    }

    fn ask<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.catalog().query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    /// Lets a number of days pass.
    fn pass(&self, days: u32) {
        let seconds = days * 86_400;
        let sql = format!(
            "UPDATE mailbox SET listed = listed - {seconds}, verified = verified - {seconds};
             UPDATE message SET first_seen = first_seen - {seconds}, last_seen = last_seen - {seconds};
             UPDATE message SET verified = verified - {seconds} WHERE verified <> 0;
             UPDATE run SET began = began - {seconds}, ended = ended - {seconds};"
        );
        self.catalog().execute_batch(&sql).expect("older records");
    }

    /// Full days since the message that waits longest was read.
    fn longest_wait(&self) -> i64 {
        self.ask(&format!(
            "SELECT max(unixepoch() - {PROVEN}) / 86400 FROM message JOIN mailbox ON mailbox.id = message.mailbox
             WHERE state = 0"
        ))
    }

    /// Messages on record as there, by key.
    fn there(&self) -> u64 {
        self.ask::<i64>("SELECT count(*) FROM message WHERE state < 3").unsigned_abs()
    }
}

fn message(mailbox: &Path, n: u32) -> PathBuf {
    mailbox.join(format!("cur/1700000{n:03}.M{n}P1.mx:2,S"))
}

fn deliver(mailbox: &Path, n: u32) {
    let fill = "all work and no play\n".repeat(n as usize % 40);
    let text =
        format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@{}>\n\nbody {n}\n{fill}", mailbox.display());
    fs::write(message(mailbox, n), text).expect("a message");
}

/// Flips a bit of the body as a disk does: neither size nor time changes.
fn rot(path: &Path) {
    let time = fs::metadata(path).and_then(|m| m.modified()).expect("a time");
    let mut data = fs::read(path).expect("a message");
    let at = data.len() - 3;
    data[at] ^= 1;
    fs::write(path, data).expect("rot");
    set_time(path, time);
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
}

/// Time that is over in the middle: what was read is proven, the rest is deferred, and nothing is wrong.
#[test]
fn time_that_is_over_leaves_the_rest_for_later() {
    let place = Place::new(3, 30);
    let first = place.verify(&[]).expect(0);
    assert_eq!(first.count("messages"), 180);
    place.pass(1);
    // At this rate it takes much longer than the budget. What earlier runs read in a moment promised otherwise, so that
    // only the clock can end it.
    let night = place.verify(&["--budget", "2s", "--bwlimit", "10k"]).expect(0);
    let (read, deferred) = (night.count("messages"), night.count("deferred"));
    assert_eq!((read + deferred, night.count("not_checked")), (180, 0), "{}", night.summary());
    assert!(read >= 16 && deferred >= 16, "{}", night.summary());
    assert_eq!((place.longest_wait(), place.there()), (1, 180));
    let proven = format!(
        "SELECT count(*) FROM message JOIN mailbox ON mailbox.id = message.mailbox WHERE unixepoch() - {PROVEN} < 3600"
    );
    assert_eq!(place.ask::<i64>(&proven).unsigned_abs(), read, "exactly what was read is proven");
    // What waits longest comes first the next time.
    let next = place.verify(&["--budget", "1h"]).expect(0);
    assert!(next.count("messages") >= deferred && place.longest_wait() == 0, "{}", next.summary());
}

/// A living store on a 30 % budget: nobody waits longer than four nights, and everything that owners do is recognised
/// without reading what is not due.
#[test]
fn a_living_store_is_covered_every_four_nights() {
    let place = Place::new(3, 30);
    let first = place.verify(&["--budget", "30%"]).expect(0);
    assert_eq!((first.count("messages"), first.count("deferred")), (180, 0), "all is new: {first}");
    assert!(first.mentions("whatever the budget"), "{first}");
    for night in 1..=9u32 {
        place.pass(1);
        deliver(&place.inbox(night % 3), 100 + night);
        deliver(&place.archive((night + 1) % 3), 100 + night);
        fs::remove_file(message(&place.inbox(0), night)).expect("a deletion");
        fs::rename(message(&place.inbox(1), night), message(&place.archive(1), 200 + night)).expect("a move");
        let flagged = PathBuf::from(message(&place.inbox(2), night).to_string_lossy().replace(":2,S", ":2,FS"));
        fs::rename(message(&place.inbox(2), night), &flagged).expect("a flag");
        let answer = place.verify(&["--budget", "30%"]).expect(0);
        assert_eq!((answer.count("moved"), answer.count("presumed_deleted")), (1, 1), "{answer}");
        assert_eq!((answer.count("missing.lost"), answer.count("missing.undecided")), (0, 0), "{answer}");
        let (read, left) = (answer.count("messages"), answer.count("deferred"));
        assert_eq!(read + left, place.there(), "each is read or deferred: {answer}");
        assert_eq!(answer.count("intact.identical") + 3, read, "what is new was read: {answer}");
        assert!(left > read, "the budget holds: {answer}");
        assert!(place.longest_wait() < 4, "night {night}: {}", place.longest_wait());
        let name = flagged.file_name().expect("a name").to_string_lossy().into_owned();
        let known = format!("SELECT count(*) FROM message WHERE CAST(name AS TEXT) = '{name}'");
        assert_eq!(place.ask::<i64>(&known), 1, "the flag is on record");
        assert_eq!(place.ask::<i64>("SELECT count(*) FROM mailbox WHERE verified IS NULL"), 0);
    }
    let status = place.tool.run(words(&["status"]).chain([place.store.clone().into()])).expect(0);
    let known = status.lines.iter().find(|line| line["type"] == "store").expect("the store");
    let ages: Vec<u64> = (0..9).map(|n| known["ages"][n]["messages"].as_u64().expect("a number")).collect();
    assert!(ages[..4].iter().all(|&messages| messages > 10), "{ages:?}");
    assert_eq!((ages[4..].iter().sum::<u64>(), ages.iter().sum::<u64>()), (0, place.there()), "{ages:?}");
    let covered = known["covered_by"].as_str().expect("a day");
    let days: i64 = place.ask(&format!("SELECT (unixepoch('{covered}') - unixepoch()) / 86400"));
    assert!((2..=4).contains(&days), "30 % a night: {covered}");
    // The mailboxes' own times move on with their messages: what status and check speak of is the real age.
    let oldest: i64 = place.ask("SELECT (unixepoch() - min(verified)) / 86400 FROM mailbox");
    assert!(oldest < 5, "{oldest}");
}

#[test]
fn rot_is_found_within_the_promise_and_then_every_night() {
    let place = Place::new(2, 40);
    place.verify(&[]).expect(0);
    let rotten = [(0, 0), (0, 39), (1, 0), (1, 20), (1, 39)];
    rotten.iter().for_each(|&(account, n)| rot(&message(&place.inbox(account), n)));
    rot(&message(&place.archive(0), 11));
    let mut found: HashSet<String> = HashSet::new();
    for night in 1..=6 {
        place.pass(1);
        let answer = place.verify(&["--budget", "30%"]);
        let tonight: HashSet<String> = answer.findings().map(|f| f["path"].to_string()).collect();
        assert!(found.is_subset(&tonight), "what was found once is read again: {answer}");
        assert_eq!(answer.count("damaged"), tonight.len() as u64, "{answer}");
        found = tonight;
        if night >= 4 {
            assert_eq!(found.len(), 6, "night {night}: {found:?}");
        }
        let lost = answer.count("missing.lost") + answer.count("missing.undecided");
        assert_eq!((lost, answer.count("not_checked")), (0, 0), "{answer}");
        answer.expect(if found.is_empty() { 0 } else { 4 });
    }
}

#[test]
fn what_looks_changed_is_read_whatever_the_budget() {
    let place = Place::new(1, 30);
    place.verify(&[]).expect(0);
    place.pass(1);
    let (longer, touched) = (message(&place.archive(0), 29), message(&place.archive(0), 28));
    let time = fs::metadata(&longer).and_then(|m| m.modified()).expect("a time");
    fs::write(&longer, [&fs::read(&longer).expect("a message")[..], b"x\n"].concat()).expect("an edit");
    set_time(&longer, time);
    set_time(&touched, SystemTime::now() + std::time::Duration::from_secs(5));
    let answer = place.verify(&["--budget", "1B"]).expect(4);
    // One that is due, and these two.
    assert_eq!((answer.count("messages"), answer.count("deferred")), (3, 57), "{answer}");
    assert_eq!((answer.count("damaged"), answer.count("intact.identical")), (1, 2), "{answer}");
}

#[test]
fn what_waits_longer_than_the_greatest_age_is_not_checked() {
    let place = Place::new(1, 10);
    place.verify(&[]).expect(0);
    place.pass(3);
    let healthy = place.verify(&["--budget", "1B", "--max-age", "4d"]).expect(0);
    assert_eq!((healthy.count("deferred"), healthy.count("not_checked")), (19, 0), "{healthy}");
    assert!(healthy.mentions("the whole store takes") && healthy.mentions("raise the budget to"), "{healthy}");
    place.pass(2);
    let late = place.verify(&["--budget", "1B", "--max-age", "4d"]).expect(8);
    assert_eq!((late.count("deferred"), late.count("not_checked")), (1, 18), "{late}");
    assert!(late.mentions("18 messages were last read more than 4 days ago"), "{late}");
    let lost = late.count("missing.lost") + late.count("missing.undecided") + late.count("damaged");
    assert_eq!((lost, late.count("messages"), late.count("intact.identical")), (0, 1, 1), "{late}");
    let off = place.verify(&["--budget", "1B", "--max-age", "off"]).expect(0);
    assert_eq!((off.count("deferred"), off.count("not_checked")), (19, 0), "{off}");
    let all = place.verify(&[]).expect(0);
    assert_eq!((all.count("messages"), all.count("deferred")), (20, 0), "no budget reads everything: {all}");
}

#[test]
fn a_time_is_turned_into_bytes_at_the_pace_of_the_last_runs() {
    let place = Place::new(1, 20);
    place.verify(&[]).expect(0);
    place.pass(1);
    let hour = place.verify(&["--budget", "1h"]).expect(0);
    assert_eq!((hour.count("messages"), hour.count("deferred")), (40, 0), "an hour is enough: {hour}");
    // As if these runs had taken ten hours each.
    place.catalog().execute_batch("UPDATE run SET ended = began + 36000").expect("a slow disk");
    let slow = place.verify(&["--budget", "1h"]).expect(0);
    assert!(slow.count("deferred") > 30 && slow.count("messages") > 0, "{slow}");
    assert_eq!((slow.count("messages") + slow.count("deferred"), slow.count("not_checked")), (40, 0), "{slow}");
}

#[test]
fn a_budget_that_is_none_is_refused() {
    let place = Place::new(1, 1);
    for bad in ["2", "0%", "200%", "50G"] {
        place.verify(&["--budget", bad]).expect_refusal("no budget such as 2h, 20% or 50GB");
    }
}
