//! The tables, and the proof that a file holds exactly them. `man/mailmend-catalog.5` explains every column.
//!
//! May not touch files by itself; runs on a connection that `open` made.

use super::error::{Fail, Inner, Kind};
use rusqlite::Connection;

/// `mmnd`: tells our databases from others.
pub(super) const APPLICATION_ID: i64 = 0x6d6d_6e64;
/// Grows with every change of the tables.
pub(super) const VERSION: i64 = 1;
pub(super) const PAGE_SIZE: i64 = 16384;

// STRICT and CHECK keep an edit by hand from putting in what a reader would have to refuse. A reader
// checks all the same: constraints can be switched off, and a disk knows none.
pub(super) const TABLES: [(&str, &str); 9] = [
    (
        "store",
        "CREATE TABLE store (
  id INTEGER PRIMARY KEY,
  path BLOB NOT NULL UNIQUE CHECK (length(path) BETWEEN 1 AND 4096),
  added INTEGER NOT NULL, added_ns INTEGER NOT NULL,
  mount_point INTEGER CHECK (mount_point IN (0, 1)),
  fs_type TEXT
) STRICT",
    ),
    (
        "account",
        "CREATE TABLE account (
  id INTEGER PRIMARY KEY,
  store INTEGER NOT NULL REFERENCES store (id),
  dir BLOB NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (store, dir)
) STRICT",
    ),
    (
        "mailbox",
        "CREATE TABLE mailbox (
  id INTEGER PRIMARY KEY,
  store INTEGER NOT NULL REFERENCES store (id),
  account INTEGER NOT NULL REFERENCES account (id),
  dir BLOB NOT NULL,
  uid INTEGER, gid INTEGER, mode INTEGER,
  new_mtime INTEGER, new_mtime_ns INTEGER, new_ctime INTEGER, new_ctime_ns INTEGER,
  cur_mtime INTEGER, cur_mtime_ns INTEGER, cur_ctime INTEGER, cur_ctime_ns INTEGER,
  listed INTEGER, listed_ns INTEGER,
  verified INTEGER, verified_ns INTEGER,
  messages INTEGER NOT NULL CHECK (messages >= 0),
  gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
  marker INTEGER NOT NULL CHECK (marker IN (0, 1)),
  UNIQUE (store, dir)
) STRICT",
    ),
    (
        "message",
        "CREATE TABLE message (
  mailbox INTEGER NOT NULL,
  key BLOB NOT NULL CHECK (length(key) <= 255),
  place INTEGER NOT NULL CHECK (place IN (0, 1)),
  name BLOB NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7),
  accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
  suspect INTEGER NOT NULL CHECK (suspect IN (0, 1)),
  digest BLOB CHECK (length(digest) = 32),
  stored BLOB CHECK (length(stored) = 32),
  canonical BLOB CHECK (length(canonical) = 32),
  length INTEGER NOT NULL CHECK (length >= 0),
  size INTEGER NOT NULL CHECK (size >= 0),
  encoding INTEGER NOT NULL CHECK (encoding BETWEEN 0 AND 8),
  uid INTEGER NOT NULL, gid INTEGER NOT NULL, mode INTEGER NOT NULL,
  mtime INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  xattrs TEXT,
  message_id TEXT, sender TEXT, date INTEGER, subject TEXT,
  first_seen INTEGER NOT NULL, first_seen_ns INTEGER NOT NULL,
  last_seen INTEGER, last_seen_ns INTEGER,
  verified INTEGER, verified_ns INTEGER,
  PRIMARY KEY (mailbox, key)
) STRICT, WITHOUT ROWID",
    ),
    (
        "history",
        "CREATE TABLE history (
  mailbox INTEGER NOT NULL,
  key BLOB NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  length INTEGER NOT NULL CHECK (length >= 0),
  at INTEGER NOT NULL, at_ns INTEGER NOT NULL,
  replaced INTEGER NOT NULL CHECK (replaced IN (0, 1)),
  why TEXT NOT NULL,
  PRIMARY KEY (mailbox, key, digest)
) STRICT, WITHOUT ROWID",
    ),
    (
        "companion",
        "CREATE TABLE companion (
  account INTEGER NOT NULL,
  path BLOB NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  size INTEGER NOT NULL CHECK (size >= 0),
  uid INTEGER NOT NULL, gid INTEGER NOT NULL, mode INTEGER NOT NULL,
  mtime INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  xattrs TEXT,
  seen INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
  gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
  PRIMARY KEY (account, path)
) STRICT, WITHOUT ROWID",
    ),
    (
        "run",
        "CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  run TEXT NOT NULL,
  store INTEGER NOT NULL,
  command TEXT NOT NULL,
  began INTEGER NOT NULL, began_ns INTEGER NOT NULL,
  ended INTEGER, ended_ns INTEGER,
  exit INTEGER CHECK (exit BETWEEN 0 AND 255),
  tally TEXT,
  UNIQUE (run, store)
) STRICT",
    ),
    (
        "finding",
        "CREATE TABLE finding (
  run INTEGER NOT NULL,
  number INTEGER NOT NULL,
  subject TEXT NOT NULL,
  account TEXT NOT NULL,
  mailbox TEXT NOT NULL,
  mailbox_dir BLOB NOT NULL,
  key BLOB,
  verdict TEXT NOT NULL,
  reason TEXT,
  digest BLOB CHECK (length(digest) = 32),
  open INTEGER NOT NULL CHECK (open IN (0, 1)),
  json TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID",
    ),
    (
        "accepted",
        "CREATE TABLE accepted (
  store INTEGER NOT NULL,
  mailbox_dir BLOB NOT NULL,
  subject TEXT NOT NULL,
  key BLOB NOT NULL,
  at INTEGER NOT NULL, at_ns INTEGER NOT NULL,
  account TEXT NOT NULL,
  run TEXT NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT,
  who TEXT NOT NULL,
  why TEXT NOT NULL,
  ended INTEGER, ended_ns INTEGER,
  PRIMARY KEY (store, mailbox_dir, subject, key, at, at_ns)
) STRICT, WITHOUT ROWID",
    ),
];

/// What [`super::seals`] keeps. No record of the store but a short cut through it, so it is neither exported nor imported.
pub(super) const SEAL: (&str, &str) = (
    "seal",
    "CREATE TABLE seal (
  mailbox INTEGER PRIMARY KEY,
  listing BLOB NOT NULL CHECK (length(listing) = 32),
  messages INTEGER NOT NULL CHECK (messages >= 0),
  bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT",
);

/// What [`super::groups`] keeps. It can be had again by reading the mail, so it is neither exported nor imported.
pub(super) const GROUPS: (&str, &str) = (
    "groups",
    "CREATE TABLE groups (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  chaining BLOB NOT NULL CHECK (length(chaining) BETWEEN 64 AND 131072 AND length(chaining) % 32 = 0)
) STRICT, WITHOUT ROWID",
);

// Eight bytes of a digest find its row; more would only make the index larger. The others hold
// rows for exceptions only.
const INDEXES: [&str; 5] = [
    "CREATE INDEX mailbox_account ON mailbox (account, dir)",
    "CREATE INDEX message_digest ON message (substr(digest, 1, 8))",
    "CREATE INDEX message_harmed ON message (mailbox, state) WHERE state IN (1, 2, 3, 4)",
    "CREATE INDEX message_deleted ON message (mailbox, state) WHERE state IN (5, 6, 7)",
    "CREATE INDEX message_exception ON message (mailbox, state, verified, verified_ns) WHERE verified IS NOT NULL",
];

/// Makes the tables in a new, empty file.
pub(super) fn create(conn: &mut Connection) -> Inner<()> {
    conn.pragma_update(None, "page_size", PAGE_SIZE)?;
    let tx = conn.transaction()?;
    for (_, sql) in TABLES.into_iter().chain([SEAL, GROUPS]) {
        tx.execute_batch(sql)?;
    }
    for sql in INDEXES {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(())
}

/// Refuses a file whose tables are not exactly ours. Further tables and indexes do no harm.
pub(super) fn check(conn: &Connection) -> Inner<()> {
    let id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != APPLICATION_ID {
        return Err(Fail::Other(Kind::NotOurs, "this is a database of another program".into()));
    }
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        let detail = format!("written by a newer mailmend (schema {found}; this one knows {VERSION})");
        return Err(Fail::Other(Kind::TooNew { found }, detail));
    }
    if found != VERSION {
        return Err(Fail::corrupt(format!("there is no schema version {found}")));
    }
    let mut statement = conn.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    for (name, expected) in TABLES.into_iter().chain([SEAL, GROUPS]) {
        let sql = statement.query_map([name], |row| row.get::<_, Option<String>>(0))?.next().transpose()?.flatten();
        match sql {
            Some(sql) if sql == expected => {}
            Some(_) => return Err(Fail::corrupt(format!("table {name} is not as mailmend made it"))),
            None => return Err(Fail::corrupt(format!("table {name} is gone"))),
        }
    }
    Ok(())
}
