//! The catalog as JSON lines, and the digests that `b3sum -c` needs.
//!
//! May not change anything, and does not write files: lines go to whoever asked.

use super::error::{Fail, Inner, Result};
use super::types::{State, StoreId};
use super::{Catalog, Which, schema};
use crate::model::wire::Place;
use crate::model::{Digest, Missing, RelPath, path};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::Value;

/// What the first line says that the others are.
pub(super) const FORMAT: &str = "mailmend-catalog/1";

/// How the value of a column stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Text,
    /// Hexadecimal.
    Digest,
    /// As UTF-8 with percent escapes.
    Bytes,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub form: Form,
}

/// The columns that a table has in this file, in their order.
pub(super) fn columns(conn: &Connection, table: &str) -> Inner<Vec<Column>> {
    let mut statement = conn.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
    let mut rows = statement.query([table])?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let form = match kind.as_str() {
            "INTEGER" => Form::Number,
            "TEXT" => Form::Text,
            _ if ["digest", "stored", "canonical"].contains(&name.as_str()) => Form::Digest,
            _ => Form::Bytes,
        };
        columns.push(Column { name, form });
    }
    Ok(columns)
}

impl Catalog {
    /// Calls `line` for every row as JSON, one object each, without line ends: a head, the tables in an order in which
    /// nothing is named before it was told, and an end with their number. Stops where `line` says `false`.
    pub fn export(&self, line: &mut dyn FnMut(&str) -> bool) -> Result<()> {
        self.read(|conn| {
            let tx = conn.unchecked_transaction()?;
            let head = format!(r#"{{"type":"catalog","format":"{FORMAT}","version":{}}}"#, schema::VERSION);
            if !line(&head) {
                return Ok(());
            }
            let mut count: u64 = 0;
            for (table, _) in schema::TABLES {
                if !export_table(&tx, table, &mut count, line)? {
                    return Ok(());
                }
            }
            line(&format!(r#"{{"type":"end","lines":{count}}}"#));
            Ok(())
        })
    }

    /// Calls `each` with the path, below the store, and the digest of the stored bytes of every message that is there
    /// or should be; whatever a human accepted as lost is left out.
    pub fn stored_digests(&self, store: StoreId, each: &mut dyn FnMut(&RelPath, Digest)) -> Result<()> {
        for account in self.accounts(store)? {
            for mailbox in self.mailboxes(store, &account.dir)? {
                let mut bad = None;
                self.messages(mailbox.id, Which::Open, &mut |row| match row {
                    Ok(row) => {
                        let wanted = row.state.on_disk() || matches!(row.state, State::Missing(Missing::Lost));
                        let place: &[u8] = if row.place == Place::New { b"new" } else { b"cur" };
                        let file = mailbox.dir.join(place).and_then(|folder| folder.join(&row.name));
                        if let (true, false, Some(digest), Ok(file)) =
                            (wanted, row.accepted, row.stored.or(row.digest), file)
                        {
                            each(&file, digest);
                        }
                    }
                    Err(error) => {
                        bad.get_or_insert(error);
                    }
                })?;
                if let Some(error) = bad {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// `false`: nobody wants more.
fn export_table(conn: &Connection, table: &str, count: &mut u64, line: &mut dyn FnMut(&str) -> bool) -> Inner<bool> {
    let columns = columns(conn, table)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut statement = conn.prepare(&format!("SELECT {} FROM {table}", names.join(", ")))?;
    let mut rows = statement.query([])?;
    let mut text = String::new();
    while let Some(row) = rows.next()? {
        text.clear();
        text.push_str(&format!(r#"{{"type":"{table}""#));
        for (at, column) in columns.iter().enumerate() {
            cell(&mut text, row, at, column).map_err(|why| Fail::bad_row(format!("a row of {table}: {why}")))?;
        }
        text.push('}');
        *count += 1;
        if !line(&text) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds one value; what is empty is left out.
fn cell(text: &mut String, row: &Row<'_>, at: usize, column: &Column) -> std::result::Result<(), String> {
    let name = &column.name;
    let value = match (row.get_ref(at).map_err(|error| error.to_string())?, column.form) {
        (ValueRef::Null, _) => return Ok(()),
        (ValueRef::Integer(number), Form::Number) => Value::from(number),
        (ValueRef::Text(bytes), Form::Text) => {
            Value::from(std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?)
        }
        (ValueRef::Blob(bytes), Form::Digest) => {
            let bytes = bytes.try_into().map_err(|_| format!("{name} has {} bytes instead of 32", bytes.len()))?;
            Value::from(Digest(bytes).to_string())
        }
        (ValueRef::Blob(bytes), Form::Bytes) => Value::from(path::escape(bytes)),
        _ => return Err(format!("{name} has a value of another type")),
    };
    text.push_str(&format!(r#","{name}":{value}"#));
    Ok(())
}
