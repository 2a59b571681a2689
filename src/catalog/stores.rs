//! Stores and the accounts in them.
//!
//! May not touch messages.

use super::error::{Fail, Inner, Result};
use super::rows::{Cells, stamp_values};
use super::types::{AccountRow, StoreId, StoreRow};
use super::{Catalog, mailboxes};
use crate::model::{RelPath, Stamp};
use rusqlite::{Connection, OptionalExtension, params};

impl Catalog {
    /// The store at this canonical, absolute path; recorded if it is new.
    pub fn store(&mut self, canonical_path: &[u8], at: Stamp) -> Result<StoreId> {
        if let Some(known) = self.find_store(canonical_path)? {
            return Ok(known);
        }
        self.write(|tx| {
            if canonical_path.first() != Some(&b'/') || canonical_path.contains(&0) {
                return Err(Fail::misuse("a store's path is absolute"));
            }
            let [added, added_ns] = stamp_values(Some(at));
            let sql = "INSERT INTO store (path, added, added_ns) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            tx.execute(sql, params![canonical_path, added, added_ns])?;
            find(tx, canonical_path)?.ok_or_else(|| Fail::corrupt("a store vanished"))
        })
    }

    pub fn find_store(&self, canonical_path: &[u8]) -> Result<Option<StoreId>> {
        self.read(|conn| find(conn, canonical_path))
    }

    pub fn stores(&self) -> Result<Vec<StoreRow>> {
        self.read(all)
    }

    /// Remembers whether the store is a mount point, and of what: a store that was one and is none has
    /// not been mounted.
    pub fn set_store_mount(&mut self, store: StoreId, mount_point: bool, fs_type: &str) -> Result<()> {
        self.write(|tx| {
            let sql = "UPDATE store SET mount_point = ?2, fs_type = ?3 WHERE id = ?1";
            match tx.execute(sql, params![store.0, mount_point, fs_type])? {
                1 => Ok(()),
                _ => Err(unknown(store)),
            }
        })
    }

    /// The accounts on record, by folder.
    pub fn accounts(&self, store: StoreId) -> Result<Vec<AccountRow>> {
        self.read(|conn| accounts(conn, store))
    }
}

fn all(conn: &Connection) -> Inner<Vec<StoreRow>> {
    let sql = "SELECT id, path, added, added_ns, mount_point, fs_type FROM store ORDER BY path";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut stores = Vec::new();
    while let Some(row) = rows.next()? {
        stores.push(store_row(&mut Cells::new(row))?);
    }
    Ok(stores)
}

/// Reads every store.
pub(super) fn read_all(conn: &Connection) -> Inner<()> {
    all(conn).map(drop)
}

/// Reads every account of a store, with its mailboxes.
pub(super) fn read_accounts(conn: &Connection, store: StoreId) -> Inner<()> {
    accounts(conn, store).map(drop)
}

fn find(conn: &Connection, path: &[u8]) -> Inner<Option<StoreId>> {
    let sql = "SELECT id FROM store WHERE path = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([path], |row| row.get(0)).optional()?.map(StoreId))
}

pub(super) fn unknown(store: StoreId) -> Fail {
    Fail::misuse(format!("there is no store {}", store.0))
}

fn store_row(cells: &mut Cells<'_, '_>) -> Inner<StoreRow> {
    let id = cells.int("id").map_err(|bad| bad.of("a store"))?;
    let mut rest = || {
        Ok(StoreRow {
            id: StoreId(id),
            path: cells.blob("path")?.to_vec(),
            added: cells.stamp("added")?,
            mount_point: cells.maybe_flag("mount_point")?,
            fs_type: cells.maybe_text("fs_type")?,
        })
    };
    let row = rest().map_err(|bad: super::rows::Bad| bad.of(format_args!("store {id}")))?;
    if row.path.first() != Some(&b'/') || row.path.contains(&0) {
        return Err(Fail::bad_row(format!("store {id}: path is not absolute")));
    }
    Ok(row)
}

fn accounts(conn: &Connection, store: StoreId) -> Inner<Vec<AccountRow>> {
    let mut statement = conn.prepare_cached("SELECT id, dir, name FROM account WHERE store = ?1 ORDER BY dir")?;
    let mut rows = statement.query([store.0])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        let mut cells = Cells::new(row);
        let id = cells.int("id").map_err(|bad| bad.of("an account"))?;
        let named = |bad: super::rows::Bad| bad.of(format_args!("account {id}"));
        let (dir, name) = (cells.path("dir").map_err(named)?, cells.text("name").map_err(named)?);
        let mut account = AccountRow { dir, name, mailboxes: 0, messages: 0, last_verified: None, last_listed: None };
        let mut oldest: Option<(Option<Stamp>, Option<Stamp>)> = None;
        mailboxes::each_of_account(conn, id, &mut |mailbox| {
            if !mailbox.gone {
                account.mailboxes += 1;
                account.messages = account.messages.saturating_add(mailbox.messages);
                // `None`, never verified, is older than any time.
                let own = (mailbox.verified, mailbox.listed);
                oldest = Some(oldest.map_or(own, |before| (before.0.min(own.0), before.1.min(own.1))));
            }
            Ok(())
        })?;
        (account.last_verified, account.last_listed) = oldest.unwrap_or_default();
        accounts.push(account);
    }
    Ok(accounts)
}

/// The number of an account; recorded if it is new, renamed if it is shown by another name now.
pub(super) fn account_id(conn: &Connection, store: StoreId, dir: &RelPath, name: &str) -> Inner<i64> {
    let known = "SELECT id FROM account WHERE store = ?1 AND dir = ?2 AND name = ?3";
    let params = params![store.0, dir.as_bytes(), name];
    if let Some(id) = conn.prepare_cached(known)?.query_row(params, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let exists = "SELECT 1 FROM store WHERE id = ?1";
    if conn.prepare_cached(exists)?.query_row([store.0], |_| Ok(())).optional()?.is_none() {
        return Err(unknown(store));
    }
    let sql = "INSERT INTO account (store, dir, name) VALUES (?1, ?2, ?3)
               ON CONFLICT (store, dir) DO UPDATE SET name = excluded.name RETURNING id";
    Ok(conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}

/// The number of an account that is on record.
pub(super) fn find_account(conn: &Connection, store: StoreId, dir: &RelPath) -> Inner<Option<i64>> {
    let sql = "SELECT id FROM account WHERE store = ?1 AND dir = ?2";
    Ok(conn.prepare_cached(sql)?.query_row(params![store.0, dir.as_bytes()], |row| row.get(0)).optional()?)
}
