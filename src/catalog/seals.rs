//! Seals: mailboxes in which a verify that was to read nothing had nothing to do.
//!
//! A seal holds for one listing and for the records as they stood: whoever changes a message breaks it ([`unseal`]), and a
//! listing that is another does not match it. May not say of a message that it was proven.

use super::Catalog;
use super::error::{Fail, Result};
use super::rows::Cells;
use super::types::{MailboxId, StoreId};
use crate::model::{Digest, RelPath};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

impl Catalog {
    /// The digests of the sealed listings of an account.
    pub fn seals(&self, store: StoreId, account: &RelPath) -> Result<HashMap<MailboxId, Digest>> {
        self.read(|conn| {
            let sql = "SELECT seal.mailbox, seal.listing FROM account JOIN mailbox ON mailbox.account = account.id
                       JOIN seal ON seal.mailbox = mailbox.id WHERE account.store = ?1 AND account.dir = ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![store.0, account.as_bytes()])?;
            let mut seals = HashMap::new();
            while let Some(row) = rows.next()? {
                let mut cells = Cells::new(row);
                let mailbox = MailboxId(cells.int("mailbox").map_err(|bad| bad.of("a seal"))?);
                let named = |bad: super::rows::Bad| bad.of(format_args!("the seal of mailbox {}", mailbox.0));
                seals.insert(mailbox, cells.digest("listing").map_err(named)?);
            }
            Ok(seals)
        })
    }

    /// Seals a mailbox with this listing. Nothing happens where the records changed by another hand since `seen`, which
    /// [`Catalog::changes_by_others`] gave before they were read, or where harm is on record.
    pub fn seal(&mut self, mailbox: MailboxId, listing: &Digest, seen: i64) -> Result<()> {
        self.write(|tx| {
            let there = "SELECT 1 FROM seal WHERE mailbox = ?1 AND listing = ?2";
            if changes_by_others(tx)? != seen || tx.prepare_cached(there)?.exists(params![mailbox.0, listing.0])? {
                return Ok(());
            }
            let harmed = "SELECT 1 FROM message WHERE mailbox = ?1 AND state IN (1, 2, 3, 4) LIMIT 1";
            if tx.prepare_cached(harmed)?.query_row([mailbox.0], |_| Ok(())).optional()?.is_some() {
                return Err(Fail::misuse("a mailbox with harm is not sealed"));
            }
            let sql = "INSERT OR REPLACE INTO seal (mailbox, listing, messages, bytes)
                       SELECT ?1, ?2, count(*), coalesce(sum(max(size, 1)), 0) FROM message
                       WHERE mailbox = ?1 AND state = 0 AND verified IS NULL";
            tx.prepare_cached(sql)?.execute(params![mailbox.0, listing.0])?;
            Ok(())
        })
    }

    /// A number that is another one after somebody else wrote to the catalog.
    pub fn changes_by_others(&self) -> Result<i64> {
        self.read(|conn| Ok(changes_by_others(conn)?))
    }
}

/// Breaks the seal of a mailbox of which a message changes.
pub(super) fn unseal(conn: &rusqlite::Connection, mailbox: MailboxId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM seal WHERE mailbox = ?1")?.execute([mailbox.0]).map(drop)
}

fn changes_by_others(conn: &rusqlite::Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "data_version", |row| row.get(0))
}
