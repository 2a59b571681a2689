//! Messages on record: reading them, finding them by content, forgetting those that their owners deleted.
//!
//! May not add or change a message; that is `record`'s.

use super::error::{Fail, Inner, Result};
use super::rows::{Bad, Cells};
use super::types::{HarmCounts, HarmedRow, HistoryRow, MailboxId, MessageRow, State, StoreId};
use super::{Catalog, mailboxes};
use crate::model::{Digest, Envelope, Key, Missing, RelPath, Stamp};
use rusqlite::{Connection, params};

/// Every column of `message` but the mailbox, in the order in which [`message_row`] reads them.
macro_rules! columns {
    () => {
        "key, place, name, state, accepted, suspect, digest, stored, canonical, length, size, encoding,
        uid, gid, mode, mtime, mtime_ns, xattrs, message_id, sender, date, subject,
        first_seen, first_seen_ns, last_seen, last_seen_ns, verified, verified_ns"
    };
}
pub(super) const ALL: &str = concat!("SELECT ", columns!(), " FROM message WHERE mailbox = ?1 ORDER BY key");
const OPEN: &str = concat!("SELECT ", columns!(), " FROM message WHERE mailbox = ?1 AND state < 5 ORDER BY key");
const FIND: &str = concat!("SELECT ", columns!(), " FROM message WHERE mailbox = ?1 AND key = ?2");
/// Adds a message or puts it in the place of the one with its key.
pub(super) const PUT: &str = concat!(
    "INSERT OR REPLACE INTO message (mailbox, ",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
    ?23, ?24, ?25, ?26, ?27, ?28, ?29)"
);

// The planner would rather read every message than an index that lacks a column.
pub(super) const HARMED: &str = "SELECT message.mailbox, account.dir, mailbox.dir, message.key,
    message.state, message.accepted FROM mailbox JOIN account ON account.id = mailbox.account
    CROSS JOIN message INDEXED BY message_harmed ON message.mailbox = mailbox.id
    WHERE mailbox.store = ?1 AND message.state IN (1, 2, 3, 4)
    ORDER BY account.dir, mailbox.dir, message.key";
pub(super) const HARM_COUNTS: &str = "SELECT message.state, message.accepted, count(*)
    FROM mailbox CROSS JOIN message INDEXED BY message_harmed ON message.mailbox = mailbox.id
    WHERE mailbox.store = ?1 AND message.state IN (1, 2, 3, 4)
    GROUP BY message.state, message.accepted";

/// Copies of one content that [`Catalog::by_digest`] returns; more would tell nothing new.
const COPIES_MAX: i64 = 1000;

/// Which messages [`Catalog::messages`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What is there, and what is missing without its owner's doing.
    Open,
    /// Those that were deleted or moved too.
    All,
}

impl Catalog {
    /// Calls `each` for the messages of a mailbox, by key. A row that holds what mailmend never writes
    /// comes as an error that names it, and the next rows follow.
    pub fn messages(&self, mailbox: MailboxId, which: Which, each: &mut dyn FnMut(Result<MessageRow>)) -> Result<()> {
        self.read(|conn| {
            // One snapshot for the epochs and the rows that refer to them.
            let tx = conn.unchecked_transaction()?;
            let Some(epochs) = mailboxes::epochs(&tx, mailbox)? else {
                return Err(Fail::misuse(format!("there is no mailbox {}", mailbox.0)));
            };
            let mut statement = tx.prepare_cached(if which == Which::Open { OPEN } else { ALL })?;
            let mut rows = statement.query([mailbox.0])?;
            while let Some(row) = rows.next()? {
                let message = message_row(&mut Cells::new(row), mailbox, epochs);
                each(message.map(|(message, _)| message).map_err(|fail| fail.at(&self.path)));
            }
            Ok(())
        })
    }

    /// One message, whatever its state.
    pub fn message(&self, mailbox: MailboxId, key: &Key) -> Result<Option<MessageRow>> {
        self.read(|conn| {
            let Some(epochs) = mailboxes::epochs(conn, mailbox)? else { return Ok(None) };
            Ok(find(conn, mailbox, key, epochs)?.map(|(message, _)| message))
        })
    }

    /// Where in an account this content is, as far as is known: present messages only.
    pub fn by_digest(&self, store: StoreId, account: &RelPath, digest: &Digest) -> Result<Vec<(MailboxId, Key)>> {
        self.read(|conn| {
            let sql = "SELECT message.mailbox, message.key FROM message
                       JOIN mailbox ON mailbox.id = message.mailbox JOIN account ON account.id = mailbox.account
                       WHERE substr(message.digest, 1, 8) = substr(?1, 1, 8) AND message.digest = ?1
                       AND message.state = 0 AND account.store = ?2 AND account.dir = ?3
                       ORDER BY message.mailbox, message.key LIMIT ?4";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![digest.0, store.0, account.as_bytes(), COPIES_MAX])?;
            let mut copies = Vec::new();
            while let Some(row) = rows.next()? {
                let mut cells = Cells::new(row);
                let named = |bad: Bad| bad.of(format_args!("a message with digest {digest}"));
                copies.push((MailboxId(cells.int("mailbox").map_err(named)?), cells.key("key").map_err(named)?));
            }
            Ok(copies)
        })
    }

    /// Other contents that were once under this key, oldest first.
    pub fn history(&self, mailbox: MailboxId, key: &Key) -> Result<Vec<HistoryRow>> {
        self.read(|conn| {
            let sql = "SELECT digest, length, at, at_ns, replaced, why FROM history
                       WHERE mailbox = ?1 AND key = ?2 ORDER BY at, at_ns";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![mailbox.0, key.0])?;
            let mut history = Vec::new();
            while let Some(row) = rows.next()? {
                let named = |bad: Bad| bad.of(format_args!("history of message {key} of mailbox {}", mailbox.0));
                history.push(history_row(&mut Cells::new(row)).map_err(named)?);
            }
            Ok(history)
        })
    }

    /// Calls `each` for every message whose harm is on record, accepted or not, by account, mailbox and key.
    pub fn harmed(&self, store: StoreId, each: &mut dyn FnMut(Result<HarmedRow>)) -> Result<()> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(HARMED)?;
            let mut rows = statement.query([store.0])?;
            while let Some(row) = rows.next()? {
                let harmed = harmed_row(&mut Cells::new(row));
                each(harmed.map_err(|bad| bad.of("a harmed message").at(&self.path)));
            }
            Ok(())
        })
    }

    /// How many messages have harm on record.
    pub fn harm_counts(&self, store: StoreId) -> Result<HarmCounts> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(HARM_COUNTS)?;
            let mut rows = statement.query([store.0])?;
            let mut counts = HarmCounts::default();
            while let Some(row) = rows.next()? {
                let mut cells = Cells::new(row);
                let named = |bad: Bad| bad.of("a harmed message");
                let (state, accepted) = (cells.state("state").map_err(named)?, cells.flag("accepted").map_err(named)?);
                *counts.slot(state, accepted) += cells.count("count").map_err(named)?;
            }
            Ok(counts)
        })
    }

    /// Forgets messages that their owners deleted or moved and that nobody saw since `before`. Returns
    /// how many. What is harmed or there is never forgotten.
    pub fn forget_deleted(&mut self, store: StoreId, before: Stamp) -> Result<u64> {
        self.write(|tx| {
            let sql = "DELETE FROM message INDEXED BY message_deleted WHERE state IN (5, 6, 7)
                       AND (last_seen < ?2 OR (last_seen = ?2 AND last_seen_ns < ?3))
                       AND mailbox IN (SELECT id FROM mailbox WHERE store = ?1)";
            Ok(tx.execute(sql, params![store.0, before.sec, before.nsec])? as u64)
        })
    }
}

impl HarmCounts {
    fn slot(&mut self, state: State, accepted: bool) -> &mut u64 {
        match state {
            _ if accepted => &mut self.accepted,
            State::Damaged => &mut self.damaged,
            State::Unreadable => &mut self.unreadable,
            State::Missing(Missing::Lost) => &mut self.lost,
            // The statement leaves nothing else.
            _ => &mut self.undecided,
        }
    }
}

fn history_row(cells: &mut Cells<'_, '_>) -> std::result::Result<HistoryRow, Bad> {
    Ok(HistoryRow {
        digest: cells.digest("digest")?,
        length: cells.count("length")?,
        at: cells.stamp("at")?,
        replaced: cells.flag("replaced")?,
        why: cells.text("why")?,
    })
}

/// Reads every earlier content of a mailbox's messages.
pub(super) fn read_history(conn: &Connection, mailbox: MailboxId) -> Inner<()> {
    let sql = "SELECT digest, length, at, at_ns, replaced, why, key FROM history WHERE mailbox = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([mailbox.0])?;
    while let Some(row) = rows.next()? {
        let mut cells = Cells::new(row);
        let read = history_row(&mut cells).and_then(|_| cells.key("key"));
        read.map_err(|bad| bad.of(format_args!("history of a message of mailbox {}", mailbox.0)))?;
    }
    Ok(())
}

fn harmed_row(cells: &mut Cells<'_, '_>) -> std::result::Result<HarmedRow, Bad> {
    Ok(HarmedRow {
        mailbox: MailboxId(cells.int("mailbox")?),
        account: cells.path("account")?,
        dir: cells.path("dir")?,
        key: cells.key("key")?,
        state: cells.state("state")?,
        accepted: cells.flag("accepted")?,
    })
}

/// The times of a message as they stand in its row: `None` refers to the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnTimes {
    pub last_seen: Option<Stamp>,
    pub verified: Option<Stamp>,
}

/// What stands in `message.verified` for "never".
pub(super) const NEVER: Stamp = Stamp { sec: 0, nsec: 0 };

/// A mailbox's `listed` and `verified`.
pub(super) type Epochs = (Option<Stamp>, Option<Stamp>);

pub(super) fn find(
    conn: &Connection,
    mailbox: MailboxId,
    key: &Key,
    epochs: Epochs,
) -> Inner<Option<(MessageRow, OwnTimes)>> {
    let mut statement = conn.prepare_cached(FIND)?;
    let mut rows = statement.query(params![mailbox.0, key.0])?;
    rows.next()?.map(|row| message_row(&mut Cells::new(row), mailbox, epochs)).transpose()
}

pub(super) fn message_row(
    cells: &mut Cells<'_, '_>,
    mailbox: MailboxId,
    epochs: Epochs,
) -> Inner<(MessageRow, OwnTimes)> {
    let key = cells.key("key").map_err(|bad| bad.of(format_args!("a message of mailbox {}", mailbox.0)))?;
    let named = key.clone();
    rest_of_row(key, cells, epochs).map_err(|bad| bad.of(format_args!("message {named} of mailbox {}", mailbox.0)))
}

fn rest_of_row(
    key: Key,
    cells: &mut Cells<'_, '_>,
    (listed, epoch): Epochs,
) -> std::result::Result<(MessageRow, OwnTimes), Bad> {
    let mut row = MessageRow {
        key,
        place: cells.place("place")?,
        name: cells.file_name("name")?,
        state: cells.state("state")?,
        accepted: cells.flag("accepted")?,
        suspect: cells.flag("suspect")?,
        digest: cells.maybe_digest("digest")?,
        stored: cells.maybe_digest("stored")?,
        canonical: cells.maybe_digest("canonical")?,
        length: cells.count("length")?,
        size: cells.count("size")?,
        encoding: cells.encoding("encoding")?,
        attrs: cells.attrs()?,
        envelope: envelope(cells)?,
        first_seen: cells.stamp("first_seen")?,
        last_seen: Stamp::default(),
        verified: None,
    };
    let own = OwnTimes { last_seen: cells.maybe_stamp("last_seen")?, verified: cells.maybe_stamp("verified")? };
    row.last_seen = own.last_seen.or(listed).unwrap_or(row.first_seen);
    row.verified = own.verified.or(epoch).filter(|&at| at != NEVER);
    Ok((row, own))
}

fn envelope(cells: &mut Cells<'_, '_>) -> std::result::Result<Option<Envelope>, Bad> {
    let envelope = Envelope {
        message_id: cells.maybe_text("message_id")?,
        from: cells.maybe_text("sender")?,
        date: cells.maybe_int("date")?,
        subject: cells.maybe_text("subject")?,
    };
    Ok(Some(envelope).filter(|e| *e != Envelope::default()))
}
