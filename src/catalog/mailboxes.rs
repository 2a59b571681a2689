//! Mailboxes: what is on record about the folders, and how well each is covered.
//!
//! May not change anything.

use super::error::{Inner, Result};
use super::rows::{Bad, Cells};
use super::types::{Coverage, DirTimes, Folder, MailboxId, MailboxRow, Proof, StoreId};
use super::{Catalog, stores};
use crate::model::{RelPath, Stamp};
use rusqlite::{Connection, OptionalExtension, params};

const COLUMNS: &str = "mailbox.id, account.dir, mailbox.dir, mailbox.uid, mailbox.gid, mailbox.mode,
    new_mtime, new_mtime_ns, new_ctime, new_ctime_ns, cur_mtime, cur_mtime_ns, cur_ctime, cur_ctime_ns,
    listed, listed_ns, verified, verified_ns, messages, gone, marker
    FROM mailbox JOIN account ON account.id = mailbox.account";

impl Catalog {
    /// The mailboxes of one account, by folder; those that are gone too.
    pub fn mailboxes(&self, store: StoreId, account: &RelPath) -> Result<Vec<MailboxRow>> {
        self.read(|conn| {
            let mut mailboxes = Vec::new();
            if let Some(id) = stores::find_account(conn, store, account)? {
                each_of_account(conn, id, &mut |mailbox| {
                    mailboxes.push(mailbox);
                    Ok(())
                })?;
            }
            Ok(mailboxes)
        })
    }

    /// The mailbox with this folder.
    pub fn find_mailbox(&self, store: StoreId, dir: &RelPath) -> Result<Option<MailboxRow>> {
        self.read(|conn| {
            let sql = format!("SELECT {COLUMNS} WHERE mailbox.store = ?1 AND mailbox.dir = ?2");
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query(params![store.0, dir.as_bytes()])?;
            rows.next()?.map(|row| mailbox_row(&mut Cells::new(row))).transpose()
        })
    }

    /// When the messages of every mailbox that is there were last verified, by account and folder.
    pub fn coverage(&self, store: StoreId) -> Result<Vec<Coverage>> {
        self.read(|conn| {
            let mut all = Vec::new();
            let each = &mut |mailbox: MailboxRow| {
                if !mailbox.gone {
                    all.push(coverage(conn, mailbox)?);
                }
                Ok(())
            };
            let sql = format!("SELECT {COLUMNS} WHERE mailbox.store = ?1 ORDER BY account.dir, mailbox.dir");
            for_each(conn, &sql, store.0, each)?;
            Ok(all)
        })
    }
}

impl Catalog {
    /// How long ago everything of a store was proven, without looking at every mailbox's rows.
    pub fn proof(&self, store: StoreId) -> Result<Proof> {
        self.read(|conn| {
            // The oldest exception of a mailbox, and those never proven, are at the start of an index.
            let sql = "SELECT messages, verified, verified_ns,
                (SELECT count(*) FROM message WHERE mailbox = m.id AND state = 0 AND verified = 0 AND verified_ns = 0),
                (SELECT verified FROM message WHERE mailbox = m.id AND state = 0 AND verified IS NOT NULL
                 AND (verified, verified_ns) > (0, 0) ORDER BY verified, verified_ns LIMIT 1)
                FROM mailbox m WHERE store = ?1 AND gone = 0 AND messages > 0";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([store.0])?;
            let mut proof = Proof::default();
            while let Some(row) = rows.next()? {
                let mut cells = Cells::new(row);
                let named = |bad: Bad| bad.of("a mailbox");
                let messages = cells.count("messages").map_err(named)?;
                let epoch = cells.maybe_stamp("verified").map_err(named)?;
                let never = cells.count("never").map_err(named)?;
                let exception = cells.maybe_int("oldest").map_err(named)?.map(|sec| Stamp { sec, nsec: 0 });
                proof.messages = proof.messages.saturating_add(messages);
                proof.never += if epoch.is_none() { messages } else { never };
                let oldest = [proof.oldest, epoch, exception].into_iter().flatten().min();
                proof.oldest = oldest;
            }
            Ok(proof)
        })
    }
}

/// Calls `each` for every mailbox of an account, by folder.
pub(super) fn each_of_account(
    conn: &Connection,
    account: i64,
    each: &mut dyn FnMut(MailboxRow) -> Inner<()>,
) -> Inner<()> {
    let sql = format!("SELECT {COLUMNS} WHERE mailbox.account = ?1 ORDER BY mailbox.dir");
    for_each(conn, &sql, account, each)
}

fn for_each(conn: &Connection, sql: &str, id: i64, each: &mut dyn FnMut(MailboxRow) -> Inner<()>) -> Inner<()> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        each(mailbox_row(&mut Cells::new(row))?)?;
    }
    Ok(())
}

fn mailbox_row(cells: &mut Cells<'_, '_>) -> Inner<MailboxRow> {
    let id = cells.int("id").map_err(|bad| bad.of("a mailbox"))?;
    rest_of_row(MailboxId(id), cells).map_err(|bad| bad.of(format_args!("mailbox {id}")))
}

fn rest_of_row(id: MailboxId, cells: &mut Cells<'_, '_>) -> std::result::Result<MailboxRow, Bad> {
    Ok(MailboxRow {
        id,
        account: cells.path("account")?,
        dir: cells.path("dir")?,
        folder: match (cells.maybe_small("uid")?, cells.maybe_small("gid")?, cells.maybe_small("mode")?) {
            (Some(uid), Some(gid), Some(mode)) => Some(Folder { uid, gid, mode: mode & 0o7777 }),
            _ => None,
        },
        dir_times: match (
            cells.maybe_stamp("new_mtime")?,
            cells.maybe_stamp("new_ctime")?,
            cells.maybe_stamp("cur_mtime")?,
            cells.maybe_stamp("cur_ctime")?,
        ) {
            (Some(new_mtime), Some(new_ctime), Some(cur_mtime), Some(cur_ctime)) => {
                Some(DirTimes { new_mtime, new_ctime, cur_mtime, cur_ctime })
            }
            _ => None,
        },
        listed: cells.maybe_stamp("listed")?,
        verified: cells.maybe_stamp("verified")?,
        messages: cells.count("messages")?,
        gone: cells.flag("gone")?,
        marker: cells.flag("marker")?,
    })
}

/// The epochs of a mailbox that messages without a time of their own refer to: last listed, last verified.
pub(super) fn epochs(conn: &Connection, mailbox: MailboxId) -> Inner<Option<(Option<Stamp>, Option<Stamp>)>> {
    let sql = "SELECT listed, listed_ns, verified, verified_ns FROM mailbox WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([mailbox.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut cells = Cells::new(row);
    let named = |bad: Bad| bad.of(format_args!("mailbox {}", mailbox.0));
    Ok(Some((cells.maybe_stamp("listed").map_err(named)?, cells.maybe_stamp("verified").map_err(named)?)))
}

fn coverage(conn: &Connection, mailbox: MailboxRow) -> Inner<Coverage> {
    // Both counts come from indexes that hold only exceptions.
    let harmed = "SELECT count(*) FROM message WHERE mailbox = ?1 AND state IN (1, 2, 3, 4) AND state IN (1, 2)";
    let harmed: i64 = conn.prepare_cached(harmed)?.query_row([mailbox.id.0], |row| row.get(0))?;
    let own = "SELECT count(*), coalesce(sum(verified = 0 AND verified_ns = 0), 0) FROM message
               WHERE mailbox = ?1 AND state = 0 AND verified IS NOT NULL";
    let (own, own_never): (i64, i64) =
        conn.prepare_cached(own)?.query_row([mailbox.id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let messages = mailbox.messages.saturating_sub(harmed.unsigned_abs());
    let at_epoch = messages.saturating_sub(own.unsigned_abs());
    let epoch = mailbox.verified.filter(|_| at_epoch > 0);
    let oldest = extreme(conn, mailbox.id, "ASC")?;
    let newest = extreme(conn, mailbox.id, "DESC")?;
    Ok(Coverage {
        mailbox: mailbox.id,
        account: mailbox.account,
        dir: mailbox.dir,
        messages,
        never: own_never.unsigned_abs() + if mailbox.verified.is_none() { at_epoch } else { 0 },
        oldest: [oldest, epoch].into_iter().flatten().min(),
        newest: [newest, epoch].into_iter().flatten().max(),
        listed: mailbox.listed,
    })
}

/// The first or last time among those that differ from the epoch.
fn extreme(conn: &Connection, mailbox: MailboxId, order: &str) -> Inner<Option<Stamp>> {
    let sql = format!(
        "SELECT verified, verified_ns FROM message
         WHERE mailbox = ?1 AND state = 0 AND verified IS NOT NULL AND NOT (verified = 0 AND verified_ns = 0)
         ORDER BY verified {order}, verified_ns {order} LIMIT 1"
    );
    let found = conn.prepare_cached(&sql)?.query_row([mailbox.0], |row| Ok(Cells::new(row).stamp("verified")));
    let Some(found) = found.optional()? else { return Ok(None) };
    found.map(Some).map_err(|bad| bad.of(format_args!("a message of mailbox {}", mailbox.0)))
}
