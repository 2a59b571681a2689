//! Losses that a human accepted: who, when and why. They stay on record for good.
//!
//! May not accept anything that is whole again, and carries no acceptance over to worse harm.

use super::error::{Inner, Result};
use super::rows::{Bad, Cells, reason_of};
use super::types::{Acceptance, AcceptedRow, StoreId, harm_rank};
use super::{Catalog, rows};
use crate::model::event::Subject;
use crate::model::{Key, RelPath, Stamp, Verdict};
use rusqlite::{Connection, OptionalExtension, params};

/// Findings that are harm, with the store of their run.
const HARM: &str = "SELECT run.store, run.run, finding.number, finding.subject, finding.account, finding.mailbox_dir,
    finding.key, finding.verdict, finding.reason FROM run JOIN finding ON finding.run = run.id
    WHERE finding.open = 1 AND (finding.verdict IN ('damaged', 'unreadable')
        OR (finding.verdict = 'missing' AND finding.reason IN ('lost', 'undecided')))";

impl Catalog {
    /// Accepts everything that a run found damaged, unreadable, lost or undecided and that is not whole
    /// by now. Returns how many were accepted that were not before.
    pub fn accept_run(&mut self, run: &str, by: Acceptance<'_>) -> Result<u64> {
        let sql = format!("{HARM} AND run.run = ?1");
        self.write(|tx| accept(tx, &sql, &[&run], by))
    }

    /// The same for one account, as shown, from the last run that found harm there.
    pub fn accept_account(&mut self, store: StoreId, account: &str, by: Acceptance<'_>) -> Result<u64> {
        let sql = format!(
            "{HARM} AND finding.account = ?2 AND run.id = (SELECT max(run.id) FROM run
             JOIN finding ON finding.run = run.id WHERE run.store = ?1 AND finding.account = ?2)"
        );
        self.write(|tx| accept(tx, &sql, &[&store.0, &account], by))
    }

    /// The same for one key, from the last run that found harm there.
    pub fn accept_key(&mut self, store: StoreId, key: &Key, by: Acceptance<'_>) -> Result<u64> {
        let sql = format!(
            "{HARM} AND finding.key = ?2 AND run.id = (SELECT max(run.id) FROM run
             JOIN finding ON finding.run = run.id WHERE run.store = ?1 AND finding.key = ?2)"
        );
        self.write(|tx| accept(tx, &sql, &[&store.0, &key.0], by))
    }

    /// The acceptance in force for a message (with its key), a mailbox's folder (without) or another file.
    /// Whether it is about the harm at hand says [`AcceptedRow::covers`].
    pub fn is_accepted(
        &self,
        store: StoreId,
        subject: Subject,
        mailbox_dir: &RelPath,
        key: Option<&Key>,
    ) -> Result<Option<AcceptedRow>> {
        self.read(|conn| in_force(conn, store, subject, mailbox_dir, key))
    }

    /// Everything that was ever accepted in a store, in force or not, by mailbox and key.
    pub fn accepted(&self, store: StoreId, each: &mut dyn FnMut(Result<AcceptedRow>)) -> Result<()> {
        self.read(|conn| each_accepted(conn, store, &mut |row| each(row.map_err(|fail| fail.at(&self.path)))))
    }
}

/// Reads everything that was ever accepted in a store.
pub(super) fn read_all(conn: &Connection, store: StoreId) -> Inner<()> {
    let mut bad = None;
    each_accepted(conn, store, &mut |row| {
        if let Err(fail) = row {
            bad.get_or_insert(fail);
        }
    })?;
    bad.map_or(Ok(()), Err)
}

fn each_accepted(conn: &Connection, store: StoreId, each: &mut dyn FnMut(Inner<AcceptedRow>)) -> Inner<()> {
    let sql = "SELECT mailbox_dir, subject, key, at, at_ns, account, run, verdict, reason, who, why, ended,
               ended_ns FROM accepted WHERE store = ?1 ORDER BY mailbox_dir, subject, key, at, at_ns";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([store.0])?;
    while let Some(row) = rows.next()? {
        each(accepted_row(&mut Cells::new(row)).map_err(|bad| bad.of("an acceptance")));
    }
    Ok(())
}

/// One finding that may be accepted.
struct Harm {
    store: StoreId,
    run: String,
    subject: Subject,
    account: String,
    dir: RelPath,
    key: Option<Key>,
    verdict: Verdict,
}

fn accept(conn: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql], by: Acceptance<'_>) -> Inner<u64> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let harm = harm(&mut Cells::new(row)).map_err(|bad| bad.of("a finding"))?;
        count += u64::from(mark(conn, &harm, by)?);
    }
    Ok(count)
}

fn harm(cells: &mut Cells<'_, '_>) -> std::result::Result<Harm, Bad> {
    let (store, run) = (StoreId(cells.int("store")?), cells.text("run")?);
    cells.int("number")?;
    let (subject, account) = (cells.subject("subject")?, cells.text("account")?);
    let (dir, key) = (cells.path("mailbox_dir")?, cells.maybe_key("key")?);
    Ok(Harm { store, run, subject, account, dir, key, verdict: cells.verdict()? })
}

/// Whether the harm was accepted now and not before.
fn mark(conn: &Connection, harm: &Harm, by: Acceptance<'_>) -> Inner<bool> {
    let key = harm.key.as_ref();
    let message = key.filter(|_| harm.subject == Subject::Message);
    if let Some(key) = message
        && is_whole(conn, harm.store, &harm.dir, key)?
    {
        return Ok(false);
    }
    if let Some(before) = in_force(conn, harm.store, harm.subject, &harm.dir, key)? {
        if before.covers(harm.verdict) {
            return Ok(false);
        }
        close(conn, harm.store, harm.subject, &harm.dir, key, by.at)?;
    }
    let sql = "INSERT OR REPLACE INTO accepted (store, mailbox_dir, subject, key, at, at_ns, account, run, verdict,
               reason, who, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    conn.prepare_cached(sql)?.execute(params![
        harm.store.0,
        harm.dir.as_bytes(),
        harm.subject.name(),
        key_bytes(key),
        by.at.sec,
        by.at.nsec,
        harm.account,
        harm.run,
        harm.verdict.name(),
        reason_of(harm.verdict),
        by.who,
        by.why,
    ])?;
    if let Some(key) = message {
        let sql = "UPDATE message SET accepted = 1 WHERE key = ?3 AND state IN (1, 2, 3, 4)
                   AND mailbox = (SELECT id FROM mailbox WHERE store = ?1 AND dir = ?2)";
        conn.prepare_cached(sql)?.execute(params![harm.store.0, harm.dir.as_bytes(), key.0])?;
    }
    Ok(true)
}

/// Whether the message is on record as one without harm by now.
fn is_whole(conn: &Connection, store: StoreId, dir: &RelPath, key: &Key) -> Inner<bool> {
    let sql = "SELECT state NOT IN (1, 2, 3, 4) FROM message WHERE key = ?3
               AND mailbox = (SELECT id FROM mailbox WHERE store = ?1 AND dir = ?2)";
    let whole = conn.prepare_cached(sql)?.query_row(params![store.0, dir.as_bytes(), key.0], |row| row.get(0));
    Ok(whole.optional()?.unwrap_or(false))
}

/// What stands for the folder itself is the empty key.
fn key_bytes(key: Option<&Key>) -> &[u8] {
    key.map_or(&[], |key| &key.0)
}

fn in_force(
    conn: &Connection,
    store: StoreId,
    subject: Subject,
    dir: &RelPath,
    key: Option<&Key>,
) -> Inner<Option<AcceptedRow>> {
    let sql = "SELECT mailbox_dir, subject, key, at, at_ns, account, run, verdict, reason, who, why, ended, ended_ns
               FROM accepted WHERE store = ?1 AND mailbox_dir = ?2 AND subject = ?3 AND key = ?4 AND ended IS NULL
               ORDER BY at DESC, at_ns DESC LIMIT 1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![store.0, dir.as_bytes(), subject.name(), key_bytes(key)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    accepted_row(&mut rows::Cells::new(row)).map(Some).map_err(|bad| bad.of(format_args!("an acceptance in {dir}")))
}

fn accepted_row(cells: &mut Cells<'_, '_>) -> std::result::Result<AcceptedRow, Bad> {
    let (mailbox_dir, subject, key) = (cells.path("mailbox_dir")?, cells.subject("subject")?, cells.key("key")?);
    let (at, account, run) = (cells.stamp("at")?, cells.text("account")?, cells.text("run")?);
    let verdict = cells.verdict()?;
    Ok(AcceptedRow {
        mailbox_dir,
        subject,
        key: Some(key).filter(|key| subject == Subject::Message || !key.0.is_empty()),
        at,
        account,
        run,
        verdict,
        who: cells.text("who")?,
        why: cells.text("why")?,
        ended: cells.maybe_stamp("ended")?,
    })
}

/// Whether what was accepted for a message is as bad as `verdict` or worse.
pub(super) fn covered(conn: &Connection, store: StoreId, dir: &RelPath, key: &Key, verdict: Verdict) -> Inner<bool> {
    let accepted = in_force(conn, store, Subject::Message, dir, Some(key))?;
    Ok(accepted.is_some_and(|accepted| harm_rank(verdict) <= harm_rank(accepted.verdict)))
}

/// The message is whole again, or came to worse harm.
pub(super) fn end(conn: &Connection, store: StoreId, dir: &RelPath, key: &Key, at: Stamp) -> Inner<()> {
    close(conn, store, Subject::Message, dir, Some(key), at)
}

fn close(
    conn: &Connection,
    store: StoreId,
    subject: Subject,
    dir: &RelPath,
    key: Option<&Key>,
    at: Stamp,
) -> Inner<()> {
    let sql = "UPDATE accepted SET ended = ?5, ended_ns = ?6
               WHERE store = ?1 AND mailbox_dir = ?2 AND subject = ?3 AND key = ?4 AND ended IS NULL";
    let values = params![store.0, dir.as_bytes(), subject.name(), key_bytes(key), at.sec, at.nsec];
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
