//! Companion files: what a server keeps beside the mail (uidlist, subscriptions, sieve scripts).
//!
//! Servers and users rewrite them at any time, so a digest here is the last one seen and no law holds it.

use super::error::{Inner, Result};
use super::rows::{Bad, Cells, number, xattrs_text};
use super::types::{CompanionRow, StoreId};
use super::{Catalog, stores};
use crate::model::RelPath;
use rusqlite::{Connection, params};

impl Catalog {
    /// Records companions as they are now, or (`gone`) that they are no more.
    pub fn record_companions(
        &mut self,
        store: StoreId,
        account: &RelPath,
        account_name: &str,
        companions: &mut dyn Iterator<Item = CompanionRow>,
    ) -> Result<()> {
        self.write(|tx| {
            let account = stores::account_id(tx, store, account, account_name)?;
            for companion in companions {
                put(tx, account, &companion)?;
            }
            Ok(())
        })
    }

    /// The companions on record of one account, by path; those that are gone too.
    pub fn companions(&self, store: StoreId, account: &RelPath) -> Result<Vec<CompanionRow>> {
        self.read(|conn| {
            let Some(account) = stores::find_account(conn, store, account)? else { return Ok(Vec::new()) };
            of_account(conn, account)
        })
    }
}

fn of_account(conn: &Connection, account: i64) -> Inner<Vec<CompanionRow>> {
    let sql = "SELECT path, digest, size, uid, gid, mode, mtime, mtime_ns, xattrs, seen, seen_ns, gone
               FROM companion WHERE account = ?1 ORDER BY path";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([account])?;
    let mut companions = Vec::new();
    while let Some(row) = rows.next()? {
        let mut cells = Cells::new(row);
        let path = cells.path("path").map_err(|bad| bad.of(format_args!("a companion of account {account}")))?;
        let row = rest_of_row(path.clone(), &mut cells);
        companions.push(row.map_err(|bad| bad.of(format_args!("companion {path}")))?);
    }
    Ok(companions)
}

/// Reads every companion of an account.
pub(super) fn read_all(conn: &Connection, account: i64) -> Inner<()> {
    of_account(conn, account).map(drop)
}

fn rest_of_row(path: RelPath, cells: &mut Cells<'_, '_>) -> std::result::Result<CompanionRow, Bad> {
    Ok(CompanionRow {
        path,
        digest: cells.digest("digest")?,
        size: cells.count("size")?,
        attrs: cells.attrs()?,
        seen: cells.stamp("seen")?,
        gone: cells.flag("gone")?,
    })
}

fn put(conn: &Connection, account: i64, companion: &CompanionRow) -> Inner<()> {
    let sql = "INSERT OR REPLACE INTO companion
               (account, path, digest, size, uid, gid, mode, mtime, mtime_ns, xattrs, seen, seen_ns, gone)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    conn.prepare_cached(sql)?.execute(params![
        account,
        companion.path.as_bytes(),
        companion.digest.0,
        number(companion.size)?,
        companion.attrs.uid,
        companion.attrs.gid,
        companion.attrs.mode & 0o7777,
        companion.attrs.mtime.sec,
        companion.attrs.mtime.nsec,
        xattrs_text(&companion.attrs.xattrs)?,
        companion.seen.sec,
        companion.seen.nsec,
        companion.gone,
    ])?;
    Ok(())
}
