//! Runs and what they found.
//!
//! May not judge: which findings count as harm is decided where they are made or accepted.

use super::error::{Fail, Inner, Result};
use super::rows::{Bad, Cells, is_key, reason_of, stamp_values};
use super::types::{FindingRow, RunId, RunRow, StoreId};
use super::{Catalog, open, write};
use crate::model::Stamp;
use crate::model::tally::Tally;
use rusqlite::{Connection, OptionalExtension, params};

/// Commands whose findings say how a store is.
const LOOKS: &str = "command IN ('audit', 'verify', 'repair')";

impl Catalog {
    /// Records that a run began. An execution over several stores begins once for each, under one name; one that is
    /// resumed begins again under its old one.
    pub fn begin_run(&mut self, run: &str, command: &str, store: Option<StoreId>, at: Stamp) -> Result<RunId> {
        self.write(|tx| {
            let [began, began_ns] = stamp_values(Some(at));
            let sql = "INSERT INTO run (run, store, command, began, began_ns) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (run, store) DO UPDATE SET ended = NULL, ended_ns = NULL, exit = NULL, tally = NULL
                       RETURNING id";
            let store = store.map_or(0, |store| store.0);
            let id = tx.query_row(sql, params![run, store, command, began, began_ns], |row| row.get(0))?;
            Ok(RunId(id))
        })
    }

    /// Records how a run ended, and returns when that and everything before it is on the medium.
    pub fn end_run(&mut self, run: RunId, tally: &Tally, exit: u8, at: Stamp) -> Result<()> {
        let ended = |conn: &mut Connection| {
            write(conn, |tx| {
                let tally = serde_json::to_string(tally).map_err(|error| Fail::misuse(error.to_string()))?;
                let [ended, ended_ns] = stamp_values(Some(at));
                let sql = "UPDATE run SET ended = ?2, ended_ns = ?3, exit = ?4, tally = ?5 WHERE id = ?1";
                match tx.execute(sql, params![run.0, ended, ended_ns, exit, tally])? {
                    1 => Ok(()),
                    _ => Err(Fail::misuse(format!("there is no run {}", run.0))),
                }
            })
        };
        // A checkpoint syncs the log before and the file after: the commit need not do so by itself.
        ended(&mut self.conn).map_err(|fail| fail.at(&self.path))?;
        if self.read(open::checkpoint)? {
            return Ok(());
        }
        // Somebody reads an old state.
        open::durably(&mut self.conn, ended).map_err(|fail| fail.at(&self.path))
    }

    /// The newest runs, newest first; of one store or of all.
    pub fn runs(&self, store: Option<StoreId>, limit: u32) -> Result<Vec<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE ?1 IS NULL OR store = ?1 ORDER BY id DESC LIMIT ?2";
            collect(conn, sql, params![store.map(|store| store.0), limit])
        })
    }

    /// The records of the run with this name: one for each store that it concerned.
    pub fn find_run(&self, run: &str) -> Result<Vec<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE run = ?1 ORDER BY id";
            collect(conn, sql, params![run])
        })
    }

    /// The last run on a store that looked at mail and ended by itself: what `status` and `check` speak of.
    pub fn latest_run(&self, store: StoreId) -> Result<Option<RunRow>> {
        self.read(|conn| {
            let sql = format!(
                "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                 WHERE store = ?1 AND ended IS NOT NULL AND {LOOKS} ORDER BY id DESC LIMIT 1"
            );
            Ok(collect(conn, &sql, params![store.0])?.pop())
        })
    }

    /// The last verify of a whole store that ended by itself: not interrupted, and without a failure of its own.
    pub fn last_whole_verify(&self, store: StoreId) -> Result<Option<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE store = ?1 AND command = 'verify' AND ended IS NOT NULL AND exit & 48 = 0
                       ORDER BY id DESC";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([store.0])?;
            while let Some(row) = rows.next()? {
                let mut cells = Cells::new(row);
                let id = cells.int("id").map_err(|bad| bad.of("a run"))?;
                let run = run_row(RunId(id), &mut cells)?;
                if run.tally.as_ref().is_some_and(|tally| tally.own_errors == 0 && !tally.partial) {
                    return Ok(Some(run));
                }
            }
            Ok(None)
        })
    }

    /// The first verify of a store, however it went.
    pub fn first_verify(&self, store: StoreId) -> Result<Option<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE store = ?1 AND command = 'verify' ORDER BY id LIMIT 1";
            Ok(collect(conn, sql, params![store.0])?.pop())
        })
    }

    /// The verifies of a store that ended by themselves and began since then (Unix seconds).
    pub fn verifies(&self, store: StoreId, since: i64) -> Result<Vec<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE store = ?1 AND command = 'verify' AND ended IS NOT NULL AND began >= ?2 ORDER BY id";
            collect(conn, sql, params![store.0, since])
        })
    }

    /// When the verifies of a store that ended by themselves began, since then. Unix seconds.
    pub fn nights(&self, store: StoreId, since: i64) -> Result<Vec<i64>> {
        self.read(|conn| {
            let sql =
                "SELECT began FROM run WHERE store = ?1 AND command = 'verify' AND ended IS NOT NULL AND began >= ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![store.0, since])?;
            let mut nights = Vec::new();
            while let Some(row) = rows.next()? {
                nights.push(Cells::new(row).int("began").map_err(|bad| bad.of("a run"))?);
            }
            Ok(nights)
        })
    }

    /// The newest verify of a store, however it went.
    pub fn newest_verify(&self, store: StoreId) -> Result<Option<RunRow>> {
        self.read(|conn| {
            let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run
                       WHERE store = ?1 AND command = 'verify' ORDER BY id DESC LIMIT 1";
            Ok(collect(conn, sql, params![store.0])?.pop())
        })
    }

    /// Adds to what a run found.
    pub fn record_findings(&mut self, run: RunId, findings: &[FindingRow]) -> Result<()> {
        self.write(|tx| {
            let exists = tx.prepare_cached("SELECT 1 FROM run WHERE id = ?1")?.exists([run.0])?;
            if !exists {
                return Err(Fail::misuse(format!("there is no run {}", run.0)));
            }
            let sql = "SELECT coalesce(max(number), 0) FROM finding WHERE run = ?1";
            let mut number: i64 = tx.prepare_cached(sql)?.query_row([run.0], |row| row.get(0))?;
            for finding in findings {
                number = number.saturating_add(1);
                put(tx, run, number, finding)?;
            }
            Ok(())
        })
    }

    /// Takes back everything that a run found, for one that begins again.
    pub fn clear_findings(&mut self, run: RunId) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM finding WHERE run = ?1", [run.0])?;
            Ok(())
        })
    }

    /// Calls `each` for what a run found, in the order in which it was recorded.
    pub fn findings(&self, run: RunId, each: &mut dyn FnMut(Result<FindingRow>)) -> Result<()> {
        self.read(|conn| each_finding(conn, run, &mut |row| each(row.map_err(|fail| fail.at(&self.path)))))
    }

    /// Drops the findings of all but the newest `keep` runs of a store; the runs themselves stay.
    pub fn prune_findings(&mut self, store: StoreId, keep: u32) -> Result<()> {
        self.write(|tx| {
            let sql = "SELECT id FROM run WHERE store = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
            let newest: Option<i64> = tx.query_row(sql, params![store.0, keep], |row| row.get(0)).optional()?;
            if let Some(newest) = newest {
                let sql = "DELETE FROM finding WHERE run IN (SELECT id FROM run WHERE store = ?1 AND id <= ?2)";
                tx.execute(sql, params![store.0, newest])?;
            }
            Ok(())
        })
    }
}

/// Reads every run.
pub(super) fn read_all(conn: &Connection) -> Inner<()> {
    let sql = "SELECT id, run, store, command, began, began_ns, ended, ended_ns, exit, tally FROM run";
    collect(conn, sql, []).map(drop)
}

/// Reads everything that a run found.
pub(super) fn read_findings(conn: &Connection, run: RunId) -> Inner<()> {
    let mut bad = None;
    each_finding(conn, run, &mut |row| {
        if let Err(fail) = row {
            bad.get_or_insert(fail);
        }
    })?;
    bad.map_or(Ok(()), Err)
}

fn each_finding(conn: &Connection, run: RunId, each: &mut dyn FnMut(Inner<FindingRow>)) -> Inner<()> {
    let sql = "SELECT number, subject, account, mailbox, mailbox_dir, key, verdict, reason, digest, open, json
               FROM finding WHERE run = ?1 ORDER BY number";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([run.0])?;
    while let Some(row) = rows.next()? {
        each(finding_row(run, &mut Cells::new(row)));
    }
    Ok(())
}

fn collect(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Inner<Vec<RunRow>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let mut cells = Cells::new(row);
        let id = cells.int("id").map_err(|bad| bad.of("a run"))?;
        runs.push(run_row(RunId(id), &mut cells)?);
    }
    Ok(runs)
}

fn run_row(id: RunId, cells: &mut Cells<'_, '_>) -> Inner<RunRow> {
    let mut rest = || {
        let row = RunRow {
            id,
            run: cells.text("run")?,
            store: Some(cells.int("store")?).filter(|&store| store != 0).map(StoreId),
            command: cells.text("command")?,
            began: cells.stamp("began")?,
            ended: cells.maybe_stamp("ended")?,
            exit: cells.maybe_exit("exit")?,
            tally: None,
        };
        Ok((row, cells.maybe_text("tally")?))
    };
    let named = |bad: Bad| bad.of(format_args!("run {}", id.0));
    let (mut row, tally) = rest().map_err(named)?;
    let tally = tally.map(|json| serde_json::from_str(&json)).transpose();
    row.tally = tally.map_err(|error| Fail::bad_row(format!("run {}: tally cannot be read: {error}", id.0)))?;
    Ok(row)
}

fn finding_row(run: RunId, cells: &mut Cells<'_, '_>) -> Inner<FindingRow> {
    let number = cells.int("number").map_err(|bad| bad.of(format_args!("a finding of run {}", run.0)))?;
    let mut rest = || {
        Ok(FindingRow {
            subject: cells.subject("subject")?,
            account: cells.text("account")?,
            mailbox: cells.text("mailbox")?,
            mailbox_dir: cells.path("mailbox_dir")?,
            key: cells.maybe_key("key")?,
            verdict: cells.verdict()?,
            digest: cells.maybe_digest("digest")?,
            open: cells.flag("open")?,
            json: cells.text("json")?,
        })
    };
    rest().map_err(|bad: Bad| bad.of(format_args!("finding {number} of run {}", run.0)))
}

fn put(conn: &Connection, run: RunId, number: i64, finding: &FindingRow) -> Inner<()> {
    if !finding.key.as_ref().is_none_or(|key| is_key(&key.0)) {
        return Err(Fail::misuse("a finding's key is none"));
    }
    let sql = "INSERT INTO finding
               (run, number, subject, account, mailbox, mailbox_dir, key, verdict, reason, digest, open, json)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    conn.prepare_cached(sql)?.execute(params![
        run.0,
        number,
        finding.subject.name(),
        finding.account,
        finding.mailbox,
        finding.mailbox_dir.as_bytes(),
        finding.key.as_ref().map(|key| &key.0),
        finding.verdict.name(),
        reason_of(finding.verdict),
        finding.digest.as_ref().map(|digest| &digest.0[..]),
        finding.open,
        finding.json,
    ])?;
    Ok(())
}
