//! How long ago the messages of a store were proven, as counts.
//!
//! May not change anything.

use super::Catalog;
use super::error::Result;
use super::rows::{Bad, Cells};
use super::types::{AgeRow, StoreId};

const UNSEALED: &str = "SELECT account.dir, account.name, mailbox.dir,
    coalesce(message.verified, mailbox.verified, 0) AS proven, count(*), sum(max(message.size, 1))
    FROM mailbox JOIN account ON account.id = mailbox.account
    CROSS JOIN message ON message.mailbox = mailbox.id
    WHERE mailbox.store = ?1 AND mailbox.gone = 0 AND message.state = 0
    AND NOT EXISTS (SELECT 1 FROM seal WHERE seal.mailbox = mailbox.id)
    GROUP BY mailbox.id, proven";
// Of a sealed mailbox those that share its time are counted already; the others are in an index.
const SEALED: &str = "SELECT account.dir, account.name, mailbox.dir, coalesce(mailbox.verified, 0),
    seal.messages, seal.bytes
    FROM mailbox JOIN account ON account.id = mailbox.account JOIN seal ON seal.mailbox = mailbox.id
    WHERE mailbox.store = ?1 AND mailbox.gone = 0 AND seal.messages > 0";
const EXCEPTIONS: &str = "SELECT account.dir, account.name, mailbox.dir,
    message.verified AS proven, count(*), sum(max(message.size, 1))
    FROM mailbox JOIN account ON account.id = mailbox.account JOIN seal ON seal.mailbox = mailbox.id
    CROSS JOIN message INDEXED BY message_exception ON message.mailbox = mailbox.id
    WHERE mailbox.store = ?1 AND mailbox.gone = 0 AND message.state = 0 AND message.verified IS NOT NULL
    GROUP BY mailbox.id, proven";

impl Catalog {
    /// Calls `each` for every mailbox and every time at which messages of it were last proven: those that count as
    /// present and whole. A run stamps everything with one time, so these are few.
    pub fn ages(&self, store: StoreId, each: &mut dyn FnMut(AgeRow)) -> Result<()> {
        self.read(|conn| {
            // One snapshot for all three.
            let tx = conn.unchecked_transaction()?;
            for sql in [UNSEALED, SEALED, EXCEPTIONS] {
                let mut statement = tx.prepare_cached(sql)?;
                let mut rows = statement.query([store.0])?;
                while let Some(row) = rows.next()? {
                    let row = age_row(&mut Cells::new(row));
                    each(row.map_err(|bad| bad.of("the messages of a mailbox"))?);
                }
            }
            Ok(())
        })
    }
}

fn age_row(cells: &mut Cells<'_, '_>) -> std::result::Result<AgeRow, Bad> {
    Ok(AgeRow {
        account: cells.path("account")?,
        account_name: cells.text("name")?,
        dir: cells.path("dir")?,
        verified: Some(cells.int("verified")?).filter(|&sec| sec != 0),
        messages: cells.count("messages")?,
        bytes: cells.count("bytes")?,
    })
}
