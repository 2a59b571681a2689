//! The embedded SQLite database of digests, and of what was seen, found and accepted when.
//!
//! Writes its own file and the folder that holds it, and nothing else: no mail, no state of other
//! modules. Takes every time as a parameter. May import only `model`.
//!
//! Two laws are kept here, whoever calls: a recorded digest is never overwritten by content that nothing
//! legitimate explains, and only a complete listing makes a message missing.

mod accept;
mod ages;
mod companions;
mod error;
mod export;
mod generations;
mod groups;
mod health;
mod import;
mod mailboxes;
mod messages;
mod open;
mod record;
mod rows;
mod runs;
mod schema;
mod seals;
mod stores;
mod types;

#[cfg(test)]
mod tests;

pub use error::{CatalogError, DigestConflict, Kind, Result};
pub use generations::{Generation, Kept, Rebuilt, generations, rebuild};
pub use health::Regress;
pub use import::Imported;
pub use messages::Which;
pub use types::{
    Acceptance, AcceptedRow, AccountRow, AgeRow, CompanionRow, Coverage, DirTimes, FindingRow, Folder, HarmCounts,
    HarmedRow, HistoryRow, MailboxId, MailboxRow, MailboxUpdate, MessageChange, MessageRow, Proof, RunId, RunRow,
    State, StoreId, StoreRow,
};

use error::{Fail, Inner};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};

/// An open catalog. One process writes at a time; any number read meanwhile.
#[derive(Debug)]
pub struct Catalog {
    conn: Connection,
    path: PathBuf,
}

impl Catalog {
    /// Opens the catalog at `path` for reading and writing; makes it, and the folder that is to hold
    /// it, where there is none.
    pub fn open(path: &Path) -> Result<Catalog> {
        open::read_write(path).map_err(|fail| fail.at(path))
    }

    /// Opens the catalog at `path` for reading; `None` where no file is there. Works in a folder that
    /// cannot be written.
    pub fn open_existing_read_only(path: &Path) -> Result<Option<Catalog>> {
        open::read_only(path).map_err(|fail| fail.at(path))
    }

    /// The catalog's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file and checks its structure; [`Catalog::examine`] looks closer.
    pub fn quick_check(&self) -> Result<()> {
        self.read(|conn| match open::quick_check(conn)? {
            None => schema::check(conn),
            Some(detail) => Err(Fail::corrupt(detail)),
        })
    }

    /// Bytes on the disk, with what is not yet merged into the file.
    pub fn size_bytes(&self) -> Result<u64> {
        let size = open::size(&self.path).map_err(|fail| fail.at(&self.path))?;
        Ok(size + open::size(&open::wal_path(&self.path)).unwrap_or(0))
    }

    /// Writes a copy of the catalog to `target`, which must not exist.
    pub fn backup(&self, target: &Path) -> Result<()> {
        open::backup(&self.conn, target).map_err(|fail| fail.at(target))
    }

    /// Brings everything recorded so far onto the medium.
    pub fn sync(&mut self) -> Result<()> {
        self.read(open::checkpoint).map(|_whole| ())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Inner<T>) -> Result<T> {
        work(&self.conn).map_err(|fail| fail.at(&self.path))
    }

    /// Runs `work` in one transaction; nothing of it remains if it fails.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Inner<T>) -> Result<T> {
        write(&mut self.conn, work).map_err(|fail| fail.at(&self.path))
    }
}

fn write<T>(conn: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Inner<T>) -> Inner<T> {
    // Immediate: a transaction that reads first and then has to wait for another writer would fail at once.
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&tx)?;
    tx.commit()?;
    Ok(result)
}
