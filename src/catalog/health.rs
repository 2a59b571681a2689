//! Whether a catalog is sound: its structure by SQLite's own check, then every row by the rules that reading has, then
//! the laws that hold between rows; and whether it still has every digest that an older copy has.
//!
//! May not change anything.

use super::error::{Fail, Inner, Result};
use super::messages::{self, message_row};
use super::rows::Cells;
use super::types::{MailboxId, RunId, StoreId};
use super::{Catalog, schema};
use crate::model::{Digest, path};
use rusqlite::{Connection, OptionalExtension, params};

/// Lines of SQLite's own check.
const LINES: u32 = 100;
/// Cases that are named; the rest is counted.
const NAMED: usize = 20;
/// A message that an owner deleted may be forgotten after so long: against an older copy it says nothing. Seconds.
const FORGOTTEN: i64 = 30 * 86_400;

/// Laws between rows: what is wrong, and a statement that names the offenders and what it counts.
const LAWS: [(&str, &str); 10] = [
    (
        "mailbox belongs to no account of its store",
        "SELECT 'mailbox ' || m.id FROM mailbox m
         WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = m.account AND a.store = m.store)",
    ),
    ("account belongs to no store", "SELECT 'account ' || id FROM account WHERE store NOT IN (SELECT id FROM store)"),
    (
        "messages belong to no mailbox",
        "SELECT 'mailbox ' || mailbox FROM message WHERE mailbox NOT IN (SELECT id FROM mailbox) GROUP BY mailbox",
    ),
    (
        "earlier contents belong to no mailbox",
        "SELECT 'mailbox ' || mailbox FROM history WHERE mailbox NOT IN (SELECT id FROM mailbox) GROUP BY mailbox",
    ),
    (
        "server files belong to no account",
        "SELECT 'account ' || account FROM companion WHERE account NOT IN (SELECT id FROM account) GROUP BY account",
    ),
    (
        "findings belong to no run",
        "SELECT 'run ' || run FROM finding WHERE run NOT IN (SELECT id FROM run) GROUP BY run",
    ),
    (
        "the number of messages is not that of the rows",
        "SELECT 'mailbox ' || id FROM mailbox m
         WHERE messages <> (SELECT count(*) FROM message WHERE mailbox = m.id AND state < 3)",
    ),
    (
        "accepted, but no harm is on record",
        "SELECT 'a message of mailbox ' || mailbox FROM message WHERE accepted = 1 AND state NOT IN (1, 2, 3, 4)",
    ),
    (
        "digests of other forms, but none of the content",
        "SELECT 'a message of mailbox ' || mailbox FROM message
         WHERE digest IS NULL AND (stored IS NOT NULL OR canonical IS NOT NULL)",
    ),
    (
        "sealed, but the rows are others",
        "SELECT 'mailbox ' || s.mailbox FROM seal s WHERE s.mailbox NOT IN (SELECT id FROM mailbox)
         OR (s.messages, s.bytes) <> (SELECT count(*), coalesce(sum(max(size, 1)), 0) FROM message
                                      WHERE mailbox = s.mailbox AND state = 0 AND verified IS NULL)
         OR EXISTS (SELECT 1 FROM message WHERE mailbox = s.mailbox AND state IN (1, 2, 3, 4))",
    ),
];

/// Digests that an older copy has and the catalog has not, though nothing legitimate explains it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regress {
    /// Messages that are no longer on record.
    pub vanished: u64,
    /// Messages whose digest is another one, or none.
    pub changed: u64,
    /// The first of them, for people.
    pub named: Vec<String>,
}

impl Regress {
    pub fn any(&self) -> bool {
        self.vanished + self.changed > 0
    }

    fn name(&mut self, text: String) {
        if self.named.len() < NAMED {
            self.named.push(text);
        }
    }
}

impl Catalog {
    /// Reads everything and calls `each` for what is not as mailmend leaves it; returns how many there are.
    ///
    /// # Errors
    /// What kept it from being looked at. Damage is no error here.
    pub fn examine(&self, each: &mut dyn FnMut(String)) -> Result<u64> {
        self.read(|conn| examine(conn, each))
    }
}

fn examine(conn: &Connection, each: &mut dyn FnMut(String)) -> Inner<u64> {
    let tx = conn.unchecked_transaction()?;
    let mut troubles = 0;
    let mut tell = |text: String| {
        troubles += 1;
        each(text);
    };
    structure(&tx, &mut tell)?;
    laws(&tx, &mut tell)?;
    Ok(troubles)
}

/// The rows and what holds between them, without SQLite's own check.
pub(super) fn laws(conn: &Connection, tell: &mut dyn FnMut(String)) -> Inner<()> {
    damage_is_told(rows(conn, tell), tell)?;
    for (what, sql) in LAWS {
        damage_is_told(law(conn, what, sql, tell), tell)?;
    }
    Ok(())
}

/// Damage is what is looked for; only other failures end the look.
fn damage_is_told(result: Inner<()>, tell: &mut dyn FnMut(String)) -> Inner<()> {
    match result {
        Err(fail) if is_damage(&fail) => {
            tell(fail.words());
            Ok(())
        }
        result => result,
    }
}

fn is_damage(fail: &Fail) -> bool {
    matches!(fail.kind(), super::Kind::Corrupt | super::Kind::NotOurs | super::Kind::BadRow)
}

fn structure(conn: &Connection, tell: &mut dyn FnMut(String)) -> Inner<()> {
    let mut check = || -> Inner<()> {
        let mut statement = conn.prepare(&format!("PRAGMA integrity_check({LINES})"))?;
        let mut lines = statement.query([])?;
        while let Some(line) = lines.next()? {
            let line: String = line.get(0)?;
            if line != "ok" {
                tell(line);
            }
        }
        schema::check(conn)
    };
    let checked = check();
    damage_is_told(checked, tell)
}

fn law(conn: &Connection, what: &str, sql: &str, tell: &mut dyn FnMut(String)) -> Inner<()> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if count <= NAMED {
            let name: String = row.get(0)?;
            tell(format!("{name}: {what}"));
        }
    }
    if count > NAMED {
        tell(format!("and {} more: {what}", count - NAMED));
    }
    Ok(())
}

/// Reads every row as the rest of the program does.
fn rows(conn: &Connection, tell: &mut dyn FnMut(String)) -> Inner<()> {
    let numbers = |sql: &str| -> Inner<Vec<i64>> {
        Ok(conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?)
    };
    damage_is_told(super::stores::read_all(conn), tell)?;
    for store in numbers("SELECT id FROM store")? {
        damage_is_told(super::stores::read_accounts(conn, StoreId(store)), tell)?;
        damage_is_told(super::accept::read_all(conn, StoreId(store)), tell)?;
    }
    for account in numbers("SELECT id FROM account")? {
        damage_is_told(super::companions::read_all(conn, account), tell)?;
    }
    for mailbox in numbers("SELECT id FROM mailbox")? {
        damage_is_told(read_messages(conn, MailboxId(mailbox), tell), tell)?;
    }
    damage_is_told(super::runs::read_all(conn), tell)?;
    for run in numbers("SELECT id FROM run")? {
        damage_is_told(super::runs::read_findings(conn, RunId(run)), tell)?;
    }
    Ok(())
}

fn read_messages(conn: &Connection, mailbox: MailboxId, tell: &mut dyn FnMut(String)) -> Inner<()> {
    let epochs = super::mailboxes::epochs(conn, mailbox)?.unwrap_or_default();
    let mut statement = conn.prepare_cached(messages::ALL)?;
    let mut rows = statement.query([mailbox.0])?;
    while let Some(row) = rows.next()? {
        if let Err(fail) = message_row(&mut Cells::new(row), mailbox, epochs) {
            tell(fail.words());
        }
    }
    messages::read_history(conn, mailbox)
}

/// Holds the digests of `now` against those of `older`, which was made `age` seconds ago.
pub(super) fn regress(now: &Connection, older: &Connection, age: i64) -> Inner<Regress> {
    let (now, older) = (now.unchecked_transaction()?, older.unchecked_transaction()?);
    let mut found = Regress::default();
    let sql = "SELECT mailbox.id, store.path, mailbox.dir FROM mailbox JOIN store ON store.id = mailbox.store";
    let mut mailboxes = older.prepare(sql)?;
    let mut rows = mailboxes.query([])?;
    while let Some(row) = rows.next()? {
        let (before, store, dir): (i64, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let sql = "SELECT mailbox.id FROM mailbox JOIN store ON store.id = mailbox.store
                   WHERE store.path = ?1 AND mailbox.dir = ?2";
        let today: Option<i64> =
            now.prepare_cached(sql)?.query_row(params![store, dir], |row| row.get(0)).optional()?;
        // A mailbox is never forgotten as a whole, and -1 has no messages.
        let pair = Pair { now: &now, older: &older, mailbox: today.unwrap_or(-1), before, forgotten: age > FORGOTTEN };
        pair.compare(&mut |case, key| {
            let (count, what) = match case {
                Case::Vanished => (&mut found.vanished, "is no longer on record"),
                Case::Changed => (&mut found.changed, "has another digest"),
            };
            *count += 1;
            found.name(format!(
                "{}/{}: message {} {what}",
                path::escape(&store),
                path::escape(&dir),
                path::escape(key)
            ));
        })?;
    }
    Ok(found)
}

enum Case {
    Vanished,
    Changed,
}

/// One mailbox in both.
struct Pair<'a> {
    now: &'a Connection,
    older: &'a Connection,
    mailbox: i64,
    before: i64,
    forgotten: bool,
}

impl Pair<'_> {
    /// Walks both in the order of keys.
    fn compare(&self, each: &mut dyn FnMut(Case, &[u8])) -> Inner<()> {
        const ROWS: &str = "SELECT key, digest, state FROM message WHERE mailbox = ?1 ORDER BY key";
        let (mut first, mut second) = (self.older.prepare_cached(ROWS)?, self.now.prepare_cached(ROWS)?);
        let (mut older, mut now) = (first.query([self.before])?, second.query([self.mailbox])?);
        let mut current = next(&mut now)?;
        while let Some((key, digest, state)) = next(&mut older)? {
            while current.as_ref().is_some_and(|(other, ..)| *other < key) {
                current = next(&mut now)?;
            }
            let Some(digest) = digest else { continue };
            match current.as_ref().filter(|(other, ..)| *other == key) {
                Some((_, today, _)) if today.as_ref() == Some(&digest) => {}
                Some(_) if self.was_replaced(&key, &digest)? => {}
                Some(_) => each(Case::Changed, &key),
                // Deleted by its owner, and forgotten since.
                None if state > 4 || self.forgotten => {}
                None => each(Case::Vanished, &key),
            }
        }
        Ok(())
    }

    fn was_replaced(&self, key: &[u8], digest: &[u8]) -> Inner<bool> {
        let sql = "SELECT 1 FROM history WHERE mailbox = ?1 AND key = ?2 AND digest = ?3 AND replaced = 1";
        Ok(self.now.prepare_cached(sql)?.exists(params![self.mailbox, key, digest])?)
    }
}

type Brief = (Vec<u8>, Option<Vec<u8>>, i64);

fn next(rows: &mut rusqlite::Rows<'_>) -> Inner<Option<Brief>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let digest: Option<Vec<u8>> = row.get(1)?;
    Ok(Some((row.get(0)?, digest.filter(|bytes| bytes.len() == size_of::<Digest>()), row.get(2)?)))
}
