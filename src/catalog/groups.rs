//! Chaining values of the groups of contents: what proves a part of a message by itself.
//!
//! Kept by digest, for contents of more than one group. No record of the store: whoever uses them proves first that they
//! are those of the digest. May not say of a message that it was proven.

use super::Catalog;
use super::error::Result;
use super::rows::Cells;
use crate::model::Digest;
use crate::model::groups::Value;
use rusqlite::{OptionalExtension, params};

impl Catalog {
    /// The values on record for a content, if there are any.
    pub fn groups(&self, digest: &Digest) -> Result<Option<Vec<Value>>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT chaining FROM groups WHERE digest = ?1")?;
            let found = statement.query_row([digest.0], |row| {
                let mut cells = Cells::new(row);
                Ok(cells.blob("chaining").map(<[u8]>::to_vec).unwrap_or_default())
            });
            let bytes = found.optional()?;
            Ok(bytes.map(|bytes| bytes.as_chunks().0.to_vec()))
        })
    }

    /// Keeps the values of contents.
    pub fn record_groups(&mut self, all: &[(Digest, Vec<Value>)]) -> Result<()> {
        self.write(|tx| {
            let mut statement = tx.prepare_cached("INSERT OR IGNORE INTO groups (digest, chaining) VALUES (?1, ?2)")?;
            for (digest, values) in all {
                statement.execute(params![digest.0, values.as_flattened()])?;
            }
            Ok(())
        })
    }

    /// Forgets the values of contents that no message on record has. Returns how many.
    pub fn forget_groups(&mut self) -> Result<u64> {
        self.write(|tx| {
            let sql = "DELETE FROM groups WHERE NOT EXISTS (SELECT 1 FROM message
                       WHERE substr(message.digest, 1, 8) = substr(groups.digest, 1, 8) AND message.digest = groups.digest)";
            Ok(tx.execute(sql, [])? as u64)
        })
    }
}
