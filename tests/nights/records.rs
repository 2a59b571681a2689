//! Time and size of the records: nights pass by making them older, and what they weigh is measured.

use crate::common::{Mailmend, words};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

fn open(tool: &Mailmend) -> Connection {
    open_in(&tool.state)
}

pub fn open_in(state: &Path) -> Connection {
    Connection::open(state.join("catalog.db")).expect("the catalog")
}

/// Lets days pass, for the records. The store's own times stay.
pub fn pass(tool: &Mailmend, days: u32) {
    older(&open(tool), days * 86_400);
}

/// Everything on record was seen so much earlier.
pub fn older(catalog: &Connection, seconds: u32) {
    let sql = format!(
        "BEGIN; UPDATE mailbox SET listed = listed - {seconds}, verified = verified - {seconds};
         UPDATE message SET first_seen = first_seen - {seconds}, last_seen = last_seen - {seconds};
         UPDATE message SET verified = verified - {seconds} WHERE verified <> 0;
         UPDATE companion SET seen = seen - {seconds};
         UPDATE run SET began = began - {seconds}, ended = ended - {seconds}; COMMIT;"
    );
    catalog.execute_batch(&sql).expect("older records");
}

pub fn ask(tool: &Mailmend, sql: &str) -> i64 {
    open(tool).query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).expect(sql).unwrap_or(0)
}

/// Full days since the message that waits longest was proven.
pub fn longest_wait(tool: &Mailmend) -> i64 {
    ask(
        tool,
        "SELECT max(unixepoch() - coalesce(message.verified, mailbox.verified)) / 86400
         FROM message JOIN mailbox ON mailbox.id = message.mailbox WHERE state = 0",
    )
}

/// Bytes of the catalog, with what SQLite keeps beside it.
pub fn size(tool: &Mailmend) -> u64 {
    let bytes = |name: &str| fs::metadata(tool.state.join(name)).map_or(0, |meta| meta.len());
    bytes("catalog.db") + bytes("catalog.db-wal")
}

/// The most memory in KiB that a process and its children had, as far as the kernel tells while they run.
pub fn memory(pid: u32) -> u64 {
    let own = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = own.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).map(memory).sum::<u64>();
    peak.unwrap_or(0) + below
}

/// What owners deleted is remembered for a season, and then leaves the records.
#[test]
fn what_was_deleted_long_ago_is_forgotten_and_harm_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (store, tool) = (dir.path().join("store"), Mailmend::with_state(dir.path().join("state")));
    let message = |n: u32| store.join(format!("ann/cur/1700000{n:03}.M{n}P1.mx:2,S"));
    ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(store.join("ann").join(sub)).expect("a mailbox"));
    for n in 0..40 {
        fs::write(message(n), format!("From: a@example.org\nSubject: {n}\n\nbody {n}\n")).expect("a message");
    }
    let verify = || tool.run(words(&["verify"]).chain([store.clone().into()]));
    verify().expect(0);
    fs::remove_file(message(1)).expect("a deletion");
    assert_eq!(verify().expect(0).count("presumed_deleted"), 1);
    let keep = fs::metadata(store.join("ann/cur")).and_then(|meta| meta.modified()).expect("a time");
    fs::remove_file(message(2)).expect("a loss");
    set_time(&store.join("ann/cur"), keep);
    assert_eq!(verify().expect(4).count("missing.lost"), 1);
    pass(&tool, 80);
    verify().expect(4);
    assert_eq!(ask(&tool, "SELECT count(*) FROM message"), 40, "80 days later");
    pass(&tool, 20);
    verify().expect(4);
    assert_eq!(ask(&tool, "SELECT count(*) FROM message"), 39, "100 days later");
    assert_eq!(ask(&tool, "SELECT count(*) FROM message WHERE state = 3"), 1, "a loss is never forgotten");
}

fn set_time(folder: &Path, time: std::time::SystemTime) {
    fs::File::open(folder).and_then(|folder| folder.set_modified(time)).expect("a time");
}
