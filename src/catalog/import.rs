//! Takes in what an export told, row by row. What is on record stays; a digest is added where there is none.
//!
//! May not replace a recorded digest, whatever the lines say, and keeps nothing of an import that failed.

use super::error::{Fail, Inner, Result};
use super::export::{Column, FORMAT, Form, columns};
use super::messages::{Epochs, NEVER, find};
use super::types::MailboxId;
use super::{Catalog, health, schema, seals};
use crate::model::{Digest, Key, Stamp, path};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, Read};

/// Longer than any line of an export. Bytes.
const LINE_MAX: u64 = 32 << 20;
/// Rows that are checked and found wrong, of which so many are named.
const NAMED: usize = 5;

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Rows that were added, by table.
    pub added: BTreeMap<&'static str, u64>,
    /// Messages that had no digest and have one now.
    pub completed: u64,
    /// Rows that are on record already.
    pub known: u64,
    /// Messages on record with another digest, which stays.
    pub refused: u64,
}

impl Catalog {
    /// Reads the lines of an export; calls `refused` with the words for every message whose recorded digest is another.
    /// All of it is kept or nothing.
    pub fn import(&mut self, lines: &mut dyn BufRead, refused: &mut dyn FnMut(String)) -> Result<Imported> {
        self.write(|tx| {
            let mut reader = Reader::new(tx, refused)?;
            reader.read(lines)?;
            reader.settle()?;
            Ok(reader.done)
        })
    }
}

struct Reader<'a> {
    conn: &'a Connection,
    refused: &'a mut dyn FnMut(String),
    tables: HashMap<&'static str, Vec<Column>>,
    /// From the numbers of the lines to those of this catalog.
    stores: HashMap<i64, i64>,
    accounts: HashMap<i64, i64>,
    mailboxes: HashMap<i64, Mailbox>,
    /// Only those that were not on record: the findings of the others are.
    runs: HashMap<i64, i64>,
    touched: BTreeSet<i64>,
    done: Imported,
}

#[derive(Debug, Clone, Copy)]
struct Mailbox {
    id: i64,
    /// Of the lines, and of this catalog.
    theirs: Epochs,
    ours: Epochs,
}

/// One line: its columns.
struct Line {
    table: &'static str,
    values: Vec<(Column, Value)>,
}

impl Line {
    fn get(&self, column: &str) -> &Value {
        self.values.iter().find(|(known, _)| known.name == column).map_or(&Value::Null, |(_, value)| value)
    }

    fn number(&self, column: &str) -> Inner<i64> {
        match self.get(column) {
            Value::Integer(number) => Ok(*number),
            _ => Err(Fail::bad_row(format!("{} has no {column}", self.table))),
        }
    }

    fn bytes(&self, column: &str) -> Inner<Vec<u8>> {
        match self.get(column) {
            Value::Blob(bytes) => Ok(bytes.clone()),
            _ => Err(Fail::bad_row(format!("{} has no {column}", self.table))),
        }
    }

    fn digest(&self) -> Option<Digest> {
        match self.get("digest") {
            Value::Blob(bytes) => bytes.as_slice().try_into().ok().map(Digest),
            _ => None,
        }
    }

    fn stamp(&self, column: &str) -> Option<Stamp> {
        let nanoseconds = self.get(&format!("{column}_ns"));
        match (self.get(column), nanoseconds) {
            (Value::Integer(sec), Value::Integer(nsec)) => Some(Stamp { sec: *sec, nsec: u32::try_from(*nsec).ok()? }),
            _ => None,
        }
    }

    fn set(&mut self, column: &str, value: Value) {
        if let Some((_, old)) = self.values.iter_mut().find(|(known, _)| known.name == column) {
            *old = value;
        }
    }

    fn set_stamp(&mut self, column: &str, stamp: Option<Stamp>) {
        let [sec, nsec] = super::rows::stamp_values(stamp);
        self.set(column, sec);
        self.set(&format!("{column}_ns"), nsec);
    }
}

impl<'a> Reader<'a> {
    fn new(conn: &'a Connection, refused: &'a mut dyn FnMut(String)) -> Inner<Reader<'a>> {
        let mut tables = HashMap::new();
        for (table, _) in schema::TABLES {
            tables.insert(table, columns(conn, table)?);
        }
        Ok(Reader {
            conn,
            refused,
            tables,
            stores: HashMap::new(),
            accounts: HashMap::new(),
            mailboxes: HashMap::new(),
            runs: HashMap::new(),
            touched: BTreeSet::new(),
            done: Imported::default(),
        })
    }

    fn read(&mut self, lines: &mut dyn BufRead) -> Inner<()> {
        let (mut number, mut told) = (0u64, None);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = lines.take(LINE_MAX).read_until(b'\n', &mut bytes);
            if read.map_err(Fail::os("cannot read the lines"))? == 0 {
                break;
            }
            number += 1;
            let wrong = |why: String| Fail::bad_row(format!("line {number}: {why}"));
            if told.is_some() {
                return Err(wrong("there is more after the end".into()));
            }
            let object: Map<String, serde_json::Value> =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            match (number, object.get("type").and_then(|kind| kind.as_str())) {
                (1, Some("catalog")) => head(&object).map_err(wrong)?,
                (1, _) => return Err(wrong("this is no export of a catalog".into())),
                (_, Some("end")) => told = Some(object.get("lines").and_then(serde_json::Value::as_u64)),
                (_, kind) => {
                    let line = self.parse(kind.unwrap_or(""), &object).map_err(wrong)?;
                    self.take(line).map_err(|fail| match fail {
                        Fail::Other(kind, detail) => Fail::Other(kind, format!("line {number}: {detail}")),
                        Fail::Sql(error) if fail_is_row(&error) => wrong(error.to_string()),
                        fail => fail,
                    })?;
                }
            }
        }
        match told {
            Some(Some(count)) if count + 2 == number => Ok(()),
            Some(_) => Err(Fail::bad_row("the end tells of another number of lines: some are missing")),
            None => Err(Fail::bad_row("the lines end before their end: the file is cut short")),
        }
    }

    fn parse(&self, table: &str, object: &Map<String, serde_json::Value>) -> std::result::Result<Line, String> {
        let (table, columns) = self.tables.get_key_value(table).ok_or_else(|| format!("unknown type '{table}'"))?;
        if let Some(odd) = object.keys().find(|key| *key != "type" && !columns.iter().any(|c| c.name == **key)) {
            return Err(format!("{table} has no column '{odd}'"));
        }
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let value = match object.get(&column.name) {
                None => Value::Null,
                Some(value) => value_of(value, column.form).ok_or_else(|| format!("{} is no value", column.name))?,
            };
            values.push((column.clone(), value));
        }
        Ok(Line { table, values })
    }

    fn take(&mut self, mut line: Line) -> Inner<()> {
        match line.table {
            "store" => {
                let path = line.bytes("path")?;
                let known = self.id("SELECT id FROM store WHERE path = ?1", params![path])?;
                let id = self.known_or_new(known, &mut line)?;
                self.stores.insert(id.0, id.1);
            }
            "account" => {
                let store = self.refer(&mut line, "store")?;
                let dir = line.bytes("dir")?;
                let known = self.id("SELECT id FROM account WHERE store = ?1 AND dir = ?2", params![store, dir])?;
                let id = self.known_or_new(known, &mut line)?;
                self.accounts.insert(id.0, id.1);
            }
            "mailbox" => self.mailbox(line)?,
            "message" => self.message(line)?,
            "history" => {
                self.in_mailbox(&mut line)?;
                self.insert(&line, "OR IGNORE")?;
            }
            "companion" => self.companion(line)?,
            "run" => self.run(line)?,
            "finding" => match self.runs.get(&line.number("run")?) {
                Some(&run) => {
                    line.set("run", Value::Integer(run));
                    self.insert(&line, "")?;
                }
                None => self.done.known += 1,
            },
            _ => {
                self.refer(&mut line, "store")?;
                self.insert(&line, "OR IGNORE")?;
            }
        }
        Ok(())
    }

    fn id(&self, sql: &str, params: impl rusqlite::Params) -> Inner<Option<i64>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?)
    }

    /// The number in the lines, and that in this catalog.
    fn known_or_new(&mut self, known: Option<i64>, line: &mut Line) -> Inner<(i64, i64)> {
        let theirs = line.number("id")?;
        if let Some(known) = known {
            self.done.known += 1;
            return Ok((theirs, known));
        }
        line.set("id", Value::Null);
        self.insert(line, "")?;
        Ok((theirs, self.conn.last_insert_rowid()))
    }

    /// Puts this catalog's number of a store or account in the place of the lines'.
    fn refer(&self, line: &mut Line, column: &'static str) -> Inner<i64> {
        let theirs = line.number(column)?;
        let map = if column == "store" { &self.stores } else { &self.accounts };
        let ours = map.get(&theirs).copied();
        // A run that concerned no one store.
        let ours = ours.or((column == "store" && theirs == 0).then_some(0));
        let ours = ours.ok_or_else(|| Fail::bad_row(format!("{} of an unknown {column}", line.table)))?;
        line.set(column, Value::Integer(ours));
        Ok(ours)
    }

    fn in_mailbox(&mut self, line: &mut Line) -> Inner<Mailbox> {
        let found = self.mailboxes.get(&line.number("mailbox")?).copied();
        let mailbox = found.ok_or_else(|| Fail::bad_row(format!("{} of an unknown mailbox", line.table)))?;
        line.set("mailbox", Value::Integer(mailbox.id));
        self.touched.insert(mailbox.id);
        Ok(mailbox)
    }

    fn mailbox(&mut self, mut line: Line) -> Inner<()> {
        let theirs = (line.stamp("listed"), line.stamp("verified"));
        let store = self.refer(&mut line, "store")?;
        self.refer(&mut line, "account")?;
        let dir = line.bytes("dir")?;
        let known = self.id("SELECT id FROM mailbox WHERE store = ?1 AND dir = ?2", params![store, dir])?;
        // Counted when all of its messages are there.
        line.set("messages", Value::Integer(0));
        let (number, id) = self.known_or_new(known, &mut line)?;
        let ours = super::mailboxes::epochs(self.conn, MailboxId(id))?.unwrap_or_default();
        self.touched.insert(id);
        self.mailboxes.insert(number, Mailbox { id, theirs, ours });
        Ok(())
    }

    fn message(&mut self, mut line: Line) -> Inner<()> {
        let mailbox = self.in_mailbox(&mut line)?;
        let key = Key(line.bytes("key")?);
        let Some((known, _)) = find(self.conn, MailboxId(mailbox.id), &key, mailbox.ours)? else {
            own_times(&mut line, mailbox);
            return self.insert(&line, "");
        };
        match (known.digest, line.digest()) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                let sql = "SELECT 1 FROM history WHERE mailbox = ?1 AND key = ?2 AND digest = ?3 AND replaced = 1";
                if self.conn.prepare_cached(sql)?.exists(params![mailbox.id, key.0, theirs.0])? {
                    self.done.known += 1;
                } else {
                    self.done.refused += 1;
                    (self.refused)(format!(
                        "message {key} is recorded as {ours}, and given as {theirs}: the record stays"
                    ));
                }
            }
            (None, Some(_)) => self.complete(&line, mailbox, &key)?,
            _ => self.done.known += 1,
        }
        Ok(())
    }

    /// Adds the content's description to a message that has none.
    fn complete(&mut self, line: &Line, mailbox: Mailbox, key: &Key) -> Inner<()> {
        let sql = "UPDATE message SET digest = ?3, stored = ?4, canonical = ?5, length = ?6, size = ?7, encoding = ?8,
                   suspect = ?9 WHERE mailbox = ?1 AND key = ?2 AND digest IS NULL";
        let mut values = vec![Value::Integer(mailbox.id), Value::Blob(key.0.clone())];
        let names = ["digest", "stored", "canonical", "length", "size", "encoding", "suspect"];
        values.extend(names.map(|name| line.get(name).clone()));
        self.conn.prepare_cached(sql)?.execute(params_from_iter(values))?;
        self.done.completed += 1;
        Ok(())
    }

    /// No law holds what a server rewrites: the newer look counts.
    fn companion(&mut self, mut line: Line) -> Inner<()> {
        let account = self.refer(&mut line, "account")?;
        let sql = "SELECT 1 FROM companion WHERE account = ?1 AND path = ?2 AND (seen, seen_ns) >= (?3, ?4)";
        let values = [line.get("path").clone(), line.get("seen").clone(), line.get("seen_ns").clone()];
        let values = [Value::Integer(account)].into_iter().chain(values);
        if self.conn.prepare_cached(sql)?.exists(params_from_iter(values))? {
            self.done.known += 1;
            return Ok(());
        }
        self.insert(&line, "OR REPLACE")
    }

    fn run(&mut self, mut line: Line) -> Inner<()> {
        let store = self.refer(&mut line, "store")?;
        let sql = "SELECT id FROM run WHERE run = ?1 AND store = ?2";
        let known = self.id(sql, params_from_iter([line.get("run").clone(), Value::Integer(store)]))?;
        let (theirs, ours) = self.known_or_new(known, &mut line)?;
        if known.is_none() {
            self.runs.insert(theirs, ours);
        }
        Ok(())
    }

    fn insert(&mut self, line: &Line, how: &str) -> Inner<()> {
        let names: Vec<&str> = line.values.iter().map(|(column, _)| column.name.as_str()).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT {how} INTO {} ({}) VALUES ({marks})", line.table, names.join(", "));
        let values = line.values.iter().map(|(_, value)| value);
        match self.conn.prepare_cached(&sql)?.execute(params_from_iter(values))? {
            0 => self.done.known += 1,
            _ => *self.done.added.entry(line.table).or_default() += 1,
        }
        Ok(())
    }

    /// Counts the messages of the mailboxes, then reads everything as it will be read.
    fn settle(&mut self) -> Inner<()> {
        let sql = "UPDATE mailbox SET messages = (SELECT count(*) FROM message WHERE mailbox = ?1 AND state < 3)
                   WHERE id = ?1";
        for mailbox in &self.touched {
            self.conn.prepare_cached(sql)?.execute([mailbox])?;
            seals::unseal(self.conn, MailboxId(*mailbox))?;
        }
        let mut wrong = Vec::new();
        health::laws(self.conn, &mut |trouble| wrong.push(trouble))?;
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.truncate(NAMED);
        Err(Fail::bad_row(format!("nothing was taken: {}", wrong.join("; "))))
    }
}

/// A row that refers to the epochs of its mailbox must not be dated by those of another.
fn own_times(line: &mut Line, mailbox: Mailbox) {
    let resolve = |own: Option<Stamp>, theirs: Option<Stamp>, ours: Option<Stamp>| {
        let at = own.or(theirs);
        if at == ours { None } else { at }
    };
    let seen = resolve(line.stamp("last_seen"), mailbox.theirs.0, mailbox.ours.0);
    let verified = line.stamp("verified").or(mailbox.theirs.1).unwrap_or(NEVER);
    let verified =
        Some(verified).filter(|at| Some(*at) != mailbox.ours.1 && (*at != NEVER || mailbox.ours.1.is_some()));
    let on_disk = matches!(line.get("state"), Value::Integer(0..=2));
    let seen = seen.or(if on_disk { None } else { line.stamp("last_seen").or(mailbox.theirs.0) });
    line.set_stamp("last_seen", seen);
    line.set_stamp("verified", verified);
}

fn head(object: &Map<String, serde_json::Value>) -> std::result::Result<(), String> {
    let format = object.get("format").and_then(|format| format.as_str()).unwrap_or("");
    let version = object.get("version").and_then(serde_json::Value::as_i64);
    match version {
        _ if format != FORMAT => Err(format!("the format is '{}', not {FORMAT}", path::escape(format.as_bytes()))),
        Some(version) if version <= schema::VERSION => Ok(()),
        _ => Err("written by a newer mailmend".to_owned()),
    }
}

fn value_of(value: &serde_json::Value, form: Form) -> Option<Value> {
    Some(match (value, form) {
        (serde_json::Value::Null, _) => Value::Null,
        (value, Form::Number) => Value::Integer(value.as_i64()?),
        (value, Form::Text) => Value::Text(value.as_str()?.to_owned()),
        (value, Form::Digest) => Value::Blob(Digest::from_hex(value.as_str()?)?.0.to_vec()),
        (value, Form::Bytes) => Value::Blob(path::unescape(value.as_str()?)?),
    })
}

/// The row breaks a rule of the table.
fn fail_is_row(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(rusqlite::ErrorCode::ConstraintViolation | rusqlite::ErrorCode::TypeMismatch))
}
