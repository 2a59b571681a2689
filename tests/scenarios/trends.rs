//! The early warning: nights on record that get worse are told of in one line, calm ones are not.

use crate::common::{Mailmend, words};
use mailmend::model::tally::Tally;
use rusqlite::params;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const DAY: i64 = 86_400;

/// A store of one whole message, verified once, and the nights before that.
struct Place {
    _dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

impl Place {
    /// Night by age in days, from 1 to 30: seconds that it took, and what it counted.
    fn new(night: impl Fn(i64) -> (i64, Tally)) -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, state) = (dir.path().join("store"), dir.path().join("state"));
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(store.join("ann").join(sub)).expect("a mailbox");
        }
        let place = Place { _dir: dir, store, tool: Mailmend::with_state(state) };
        fs::write(place.message(), "From: a@example.org\nSubject: 1\nMessage-ID: <1@example.org>\n\nbody\n")
            .expect("a message");
        place.tool.verify(&place.store).expect(0);
        let records = rusqlite::Connection::open(place.tool.state.join("catalog.db")).expect("the catalog");
        for age in 1..=30 {
            let (seconds, tally) = night(age);
            let sql = "INSERT INTO run (run, store, command, began, began_ns, ended, ended_ns, exit, tally)
                       SELECT ?1, store, command, began - ?2, 0, began - ?2 + ?3, 0, 0, ?4 FROM run WHERE id = 1";
            let tally = serde_json::to_string(&tally).expect("JSON");
            records.execute(sql, params![format!("night-{age}"), age * DAY, seconds, tally]).expect("a night");
        }
        place
    }

    fn message(&self) -> PathBuf {
        self.store.join("ann/cur/1700000001.M1P1.mx:2,S")
    }

    fn text(&self, command: &str) -> String {
        let mut line = self.tool.command();
        let output = line.arg("--state").arg(&self.tool.state).arg(command).arg(&self.store).output();
        let output = output.expect("the binary");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8")
    }

    /// The device of the store and its path, as the line begins.
    fn named(&self) -> String {
        let device = fs::metadata(&self.store).expect("the store").dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        format!("{} ({device}): ", fs::canonicalize(&self.store).expect("the store").display())
    }

    fn early_signs(&self) -> serde_json::Value {
        let answer = self.tool.run(words(&["status"]).chain([self.store.clone().into()])).expect(0);
        answer.lines.iter().find(|line| line["type"] == "store").expect("the store")["early_signs"].clone()
    }
}

#[test]
fn calm_nights_are_silent() {
    let place = Place::new(|_| (40, Tally { bytes: 4 << 30, ..Tally::default() }));
    assert!(place.early_signs().is_null());
    assert!(!place.text("status").to_lowercase().contains("early sign"));
}

#[test]
fn read_errors_that_are_new_are_an_early_sign() {
    let place = Place::new(|age| (40, Tally { read_errors: u64::from(age < 4), ..Tally::default() }));
    let line = format!(
        "{}3 read errors in the last 7 days, none in the 24 runs before: plan the disk's replacement, and run mailmend \
         triage ",
        place.named()
    );
    let status = place.text("status");
    assert!(status.contains(&format!("Early sign    {line}")), "{status}");
    let signs = place.early_signs();
    assert_eq!(signs["read_errors"], serde_json::json!({ "recent": 3, "before": 0, "runs_before": 24 }), "{signs}");
    assert!(signs["newly_damaged"].is_null() && signs["bytes_per_second"].is_null(), "{signs}");
    assert!(!place.text("verify").contains("early sign"), "a verify that has nothing to say is silent");
    let rotten = fs::read_to_string(place.message()).expect("a message").replace("body", "bxdy");
    fs::write(place.message(), rotten).expect("rot");
    let verify = place.text("verify");
    assert!(verify.contains(&format!("early sign: {line}")), "{verify}");
}

#[test]
fn a_pace_that_fell_to_less_than_half_is_an_early_sign() {
    let tally = |gib: u64| Tally { bytes: gib << 30, ..Tally::default() };
    let place = Place::new(|age| if age < 6 { (100, tally(4)) } else { (40, tally(4)) });
    let signs = place.early_signs();
    let pace = serde_json::json!({ "recent": (4u64 << 30) / 100, "before": (4u64 << 30) / 40 });
    assert_eq!(signs["bytes_per_second"], pace, "{signs}");
    assert!(place.text("status").contains("tells whether it is the disk"));
}

#[test]
fn damage_counts_as_new_once_and_only_where_the_message_was_known() {
    let place = Place::new(|_| (1, Tally::default()));
    let newly = || -> u64 {
        let records = rusqlite::Connection::open(place.tool.state.join("catalog.db")).expect("the catalog");
        let tally = "SELECT tally FROM run WHERE run NOT LIKE 'night-%' ORDER BY id DESC LIMIT 1";
        let tally: String = records.query_row(tally, [], |row| row.get(0)).expect("a tally");
        let tally: Tally = serde_json::from_str(&tally).expect("a tally");
        assert_eq!(tally.device, fs::metadata(&place.store).expect("the store").dev());
        tally.newly_harmed
    };
    assert_eq!(newly(), 0);
    let rotten = fs::read_to_string(place.message()).expect("a message").replace("body", "bxdy");
    fs::write(place.message(), rotten).expect("rot");
    for expected in [1, 0] {
        assert_eq!(place.tool.verify(&place.store).expect(4).count("damaged"), 1);
        assert_eq!(newly(), expected);
    }
}
