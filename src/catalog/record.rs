//! Recording one look at one mailbox, in one transaction.
//!
//! May not replace a digest by content that nothing legitimate explains, nor take a message for missing
//! after an incomplete listing, nor date forward when a message was last verified that was not named.

use super::error::{Fail, Inner, Result};
use super::messages::{self, Epochs, NEVER, OwnTimes, PUT};
use super::rows::{encoding_code, is_file_name, is_key, number, place_code, stamp_values, state_code, xattrs_text};
use super::types::{MailboxId, MailboxUpdate, MessageChange, MessageRow, State, StoreId};
use super::{Catalog, accept, seals, stores};
use crate::model::{Digest, Envelope, Key, RelPath, Stamp, Verdict};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

impl Catalog {
    /// Records a look at a mailbox and what was learned of its messages. All of it is kept or nothing.
    pub fn record_mailbox(
        &mut self,
        store: StoreId,
        update: &MailboxUpdate,
        changes: &mut dyn Iterator<Item = MessageChange>,
    ) -> Result<MailboxId> {
        self.write(|tx| {
            let mut pen = Pen::new(tx, store, update)?;
            for change in changes {
                pen.pass(change.key())?;
                pen.apply(change)?;
            }
            pen.finish()?;
            Ok(pen.mailbox)
        })
    }

    /// Records that mailboxes were listed completely and that all of them is as it was. One without messages has nothing
    /// that is older than this look.
    pub fn record_unchanged(&mut self, mailboxes: &[MailboxId], listed: Stamp) -> Result<()> {
        let sql = "UPDATE mailbox SET listed = ?2, listed_ns = ?3,
                   verified = CASE messages WHEN 0 THEN ?2 ELSE verified END,
                   verified_ns = CASE messages WHEN 0 THEN ?3 ELSE verified_ns END WHERE id = ?1";
        self.write(|tx| {
            let mut statement = tx.prepare_cached(sql)?;
            for mailbox in mailboxes {
                statement.execute(params![mailbox.0, listed.sec, listed.nsec])?;
            }
            Ok(())
        })
    }
}

/// The state of one recording.
struct Pen<'a> {
    conn: &'a Connection,
    store: StoreId,
    update: &'a MailboxUpdate,
    mailbox: MailboxId,
    /// No row of it can be on record.
    fresh: bool,
    before: Epochs,
    after: Epochs,
    /// The lowest key that the next change may have.
    from: Vec<u8>,
    /// Files of messages that came or went.
    delta: i64,
    /// Whether a row was written.
    changed: bool,
}

impl<'a> Pen<'a> {
    fn new(conn: &'a Connection, store: StoreId, update: &'a MailboxUpdate) -> Inner<Pen<'a>> {
        let account = stores::account_id(conn, store, &update.account, &update.account_name)?;
        let (mailbox, fresh) = mailbox_id(conn, store, account, &update.dir)?;
        let before = super::mailboxes::epochs(conn, mailbox)?.unwrap_or_default();
        let listed = if update.complete { Some(update.listed) } else { before.0 };
        let after = (listed, update.verified.or(before.1));
        Ok(Pen { conn, store, update, mailbox, fresh, before, after, from: Vec::new(), delta: 0, changed: false })
    }

    /// Goes on to `key`. Messages between the one before and this one were not named: a new epoch does
    /// not hold for them.
    fn pass(&mut self, key: &Key) -> Inner<()> {
        if !is_key(&key.0) {
            return Err(Fail::misuse(format!("'{key}' is no key")));
        }
        if key.0 < self.from {
            return Err(Fail::misuse(format!("message {key} is out of order")));
        }
        self.hold_back(&key.0)?;
        self.from.clear();
        self.from.extend_from_slice(&key.0);
        self.from.push(0);
        Ok(())
    }

    fn hold_back(&mut self, until: &[u8]) -> Inner<()> {
        if self.fresh || self.before.1 == self.after.1 {
            return Ok(());
        }
        let at = self.before.1.unwrap_or(NEVER);
        let sql = "UPDATE message SET verified = ?4, verified_ns = ?5
                   WHERE mailbox = ?1 AND key >= ?2 AND key < ?3 AND verified IS NULL";
        let mut statement = self.conn.prepare_cached(sql)?;
        self.changed |= statement.execute(params![self.mailbox.0, self.from, until, at.sec, at.nsec])? > 0;
        Ok(())
    }

    fn find(&self, key: &Key) -> Inner<Option<(MessageRow, OwnTimes)>> {
        if self.fresh { Ok(None) } else { messages::find(self.conn, self.mailbox, key, self.before) }
    }

    fn apply(&mut self, change: MessageChange) -> Inner<()> {
        let known = self.find(change.key())?;
        match (change, known) {
            (MessageChange::Seen(row), None) => self.add(row),
            (MessageChange::Seen(row), Some(known)) => self.see(row, known),
            (MessageChange::Harmed { state, .. }, known) => match (state, known) {
                (State::Damaged | State::Unreadable, Some(known)) => self.harm(known, state),
                (State::Damaged | State::Unreadable, None) => Ok(()),
                _ => Err(Fail::misuse("harmed means damaged or unreadable")),
            },
            (MessageChange::Gone { .. }, _) if !self.update.complete => {
                Err(Fail::misuse("only a complete listing makes a message missing"))
            }
            (MessageChange::Gone { .. } | MessageChange::Missed { .. }, None) => Ok(()),
            (MessageChange::Gone { missing, .. } | MessageChange::Missed { missing, .. }, Some(known)) => {
                self.harm(known, State::Missing(missing))
            }
            (MessageChange::Changed { key, .. }, None)
            | (MessageChange::Replaced { row: MessageRow { key, .. }, .. }, None) => {
                Err(Fail::misuse(format!("message {key} is not on record")))
            }
            (MessageChange::Changed { digest, length, .. }, Some(known)) => self.change(known, digest, length),
            (MessageChange::Replaced { row, why }, Some(known)) => self.replace(row, known, &why),
            (MessageChange::Renamed { row }, None) => self.add(row),
            (MessageChange::Renamed { row }, Some(known)) => self.rename(row, known),
        }
    }

    fn add(&mut self, mut row: MessageRow) -> Inner<()> {
        row.accepted = false;
        self.put(&row, None)
    }

    fn see(&mut self, row: MessageRow, (known, own): (MessageRow, OwnTimes)) -> Inner<()> {
        if let (Some(recorded), Some(found)) = (known.digest, row.digest)
            && recorded != found
        {
            return Err(Fail::conflict(&row.key, recorded, found));
        }
        let next = merged(row, &known);
        self.settle(next, (known, own))
    }

    fn harm(&mut self, known: (MessageRow, OwnTimes), state: State) -> Inner<()> {
        let mut next = known.0.clone();
        next.state = state;
        if state.on_disk() {
            next.last_seen = next.last_seen.max(self.update.listed);
        }
        self.settle(next, known)
    }

    fn change(&mut self, known: (MessageRow, OwnTimes), digest: Digest, length: u64) -> Inner<()> {
        if known.0.digest == Some(digest) {
            return Err(Fail::misuse(format!("message {} has the recorded content", known.0.key)));
        }
        self.remember(&known.0.key, digest, length, None)?;
        self.harm(known, State::Damaged)
    }

    fn replace(&mut self, row: MessageRow, known: (MessageRow, OwnTimes), why: &str) -> Inner<()> {
        let old = &known.0;
        if let (Some(recorded), Some(found)) = (old.digest, row.digest)
            && recorded != found
        {
            if !old.suspect && !old.accepted {
                return Err(Fail::conflict(&row.key, recorded, found));
            }
            self.remember(&row.key, recorded, old.length, Some(why))?;
        }
        if row.digest.is_none() {
            return Err(Fail::misuse(format!("message {} cannot be replaced by nothing", row.key)));
        }
        let mut next = row;
        next.first_seen = old.first_seen;
        self.settle(next, known)
    }

    fn rename(&mut self, mut row: MessageRow, known: (MessageRow, OwnTimes)) -> Inner<()> {
        if let Some(recorded) = known.0.digest.filter(|&recorded| row.digest != Some(recorded)) {
            self.remember(&row.key, recorded, known.0.length, Some("another message has its name now"))?;
        }
        row.accepted = false;
        self.settle(row, known)
    }

    /// Keeps other content in the history; `replaced` tells why it was the recorded one until now.
    fn remember(&self, key: &Key, digest: Digest, length: u64, replaced: Option<&str>) -> Inner<()> {
        let at = self.update.listed;
        let sql = "INSERT INTO history (mailbox, key, digest, length, at, at_ns, replaced, why)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                   ON CONFLICT DO UPDATE SET replaced = 1, at = excluded.at, at_ns = excluded.at_ns, why = excluded.why
                   WHERE excluded.replaced = 1 AND history.replaced = 0";
        let why = replaced.unwrap_or("");
        let params =
            params![self.mailbox.0, key.0, digest.0, number(length)?, at.sec, at.nsec, replaced.is_some(), why];
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// Carries an acceptance on or ends it, then writes what differs.
    fn settle(&mut self, mut next: MessageRow, (known, own): (MessageRow, OwnTimes)) -> Inner<()> {
        next.accepted = known.accepted
            && next.state.is_harm()
            && accept::covered(self.conn, self.store, &self.update.dir, &next.key, verdict_of(next.state))?;
        if known.accepted && !next.accepted {
            accept::end(self.conn, self.store, &self.update.dir, &next.key, self.update.listed)?;
        }
        self.put(&next, Some((&known, own)))
    }

    fn put(&mut self, row: &MessageRow, known: Option<(&MessageRow, OwnTimes)>) -> Inner<()> {
        let own = self.own_times(row);
        let was_there = known.is_some_and(|(known, _)| known.state.on_disk());
        self.delta += i64::from(row.state.on_disk()) - i64::from(was_there);
        if let Some((known, before)) = known
            && own == before
            && *known == (MessageRow { last_seen: known.last_seen, verified: known.verified, ..row.clone() })
        {
            return Ok(());
        }
        self.changed = true;
        write_row(self.conn, self.mailbox, row, own)
    }

    /// What of a message's times has to stand in its own row.
    fn own_times(&self, row: &MessageRow) -> OwnTimes {
        // What is missing was not seen in the last listing, so it cannot refer to it.
        let current = row.state.on_disk() && self.update.complete && row.last_seen >= self.update.listed;
        let last_seen = if current { None } else { Some(row.last_seen) };
        let verified = if row.verified == self.after.1 { None } else { Some(row.verified.unwrap_or(NEVER)) };
        OwnTimes { last_seen, verified }
    }

    fn finish(&mut self) -> Inner<()> {
        // Longer and higher than any key.
        self.hold_back(&[0xff; 256])?;
        if self.changed {
            seals::unseal(self.conn, self.mailbox)?;
        }
        let update = self.update;
        if update.complete {
            let sql = "UPDATE mailbox SET listed = ?2, listed_ns = ?3, new_mtime = ?4, new_mtime_ns = ?5,
                       new_ctime = ?6, new_ctime_ns = ?7, cur_mtime = ?8, cur_mtime_ns = ?9, cur_ctime = ?10,
                       cur_ctime_ns = ?11 WHERE id = ?1";
            let times = update.dir_times.map(|t| [t.new_mtime, t.new_ctime, t.cur_mtime, t.cur_ctime]);
            let times = times.map_or([None; 4], |times| times.map(Some));
            let values = [&[Some(update.listed)][..], &times].concat().into_iter().flat_map(stamp_values);
            let id = [rusqlite::types::Value::Integer(self.mailbox.0)];
            self.conn.prepare_cached(sql)?.execute(params_from_iter(id.into_iter().chain(values)))?;
        }
        if let Some(folder) = update.folder {
            let sql = "UPDATE mailbox SET uid = ?2, gid = ?3, mode = ?4 WHERE id = ?1";
            let mode = folder.mode & 0o7777;
            self.conn.prepare_cached(sql)?.execute(params![self.mailbox.0, folder.uid, folder.gid, mode])?;
        }
        let [verified, verified_ns] = stamp_values(self.after.1);
        let sql = "UPDATE mailbox SET messages = max(messages + ?2, 0), gone = ?3, marker = ?4, verified = ?5,
                   verified_ns = ?6 WHERE id = ?1";
        let values = params![self.mailbox.0, self.delta, update.gone, update.marker, verified, verified_ns];
        self.conn.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

/// What is on record after a known message was seen again.
fn merged(row: MessageRow, known: &MessageRow) -> MessageRow {
    let mut next = row;
    if next.state != State::Present {
        // The content is what harm left, and the attributes may have come with the harm.
        next.attrs = known.attrs.clone();
        next.digest = None;
        next.verified = None;
    }
    if next.digest.is_none() {
        (next.stored, next.canonical, next.suspect) = (known.stored, known.canonical, known.suspect);
        (next.length, next.size, next.encoding) = (known.length, known.size, known.encoding);
    }
    next.digest = known.digest.or(next.digest);
    next.envelope = next.envelope.filter(|e| *e != Envelope::default()).or_else(|| known.envelope.clone());
    next.first_seen = known.first_seen;
    next.last_seen = next.last_seen.max(known.last_seen);
    next.verified = next.verified.max(known.verified);
    next
}

pub(super) fn verdict_of(state: State) -> Verdict {
    match state {
        State::Present => Verdict::Suspect,
        State::Damaged => Verdict::Damaged,
        State::Unreadable => Verdict::Unreadable,
        State::Missing(missing) => Verdict::Missing(missing),
    }
}

/// The number of a mailbox, and whether it is new. One that belongs to another account now goes over to it.
fn mailbox_id(conn: &Connection, store: StoreId, account: i64, dir: &RelPath) -> Inner<(MailboxId, bool)> {
    let sql = "SELECT id, account FROM mailbox WHERE store = ?1 AND dir = ?2";
    let known: Option<(i64, i64)> = conn
        .prepare_cached(sql)?
        .query_row(params![store.0, dir.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, before)) = known {
        if before != account {
            conn.execute("UPDATE mailbox SET account = ?2 WHERE id = ?1", params![id, account])?;
        }
        return Ok((MailboxId(id), false));
    }
    let sql = "INSERT INTO mailbox (store, account, dir, messages, gone, marker) VALUES (?1, ?2, ?3, 0, 0, 0)";
    conn.execute(sql, params![store.0, account, dir.as_bytes()])?;
    let id = conn.last_insert_rowid();
    // A number can come back after an edit by hand, and with it the rows of the mailbox that had it.
    let mut orphans = conn.prepare_cached("SELECT 1 FROM message WHERE mailbox = ?1 LIMIT 1")?;
    Ok((MailboxId(id), !orphans.exists([id])?))
}

fn write_row(conn: &Connection, mailbox: MailboxId, row: &MessageRow, own: OwnTimes) -> Inner<()> {
    if !is_file_name(&row.name) {
        return Err(Fail::misuse(format!("message {} has no file name", row.key)));
    }
    let envelope = row.envelope.as_ref();
    let [last_seen, last_seen_ns] = stamp_values(own.last_seen);
    let [verified, verified_ns] = stamp_values(own.verified);
    conn.prepare_cached(PUT)?.execute(params![
        mailbox.0,
        row.key.0,
        place_code(row.place)?,
        row.name,
        state_code(row.state),
        row.accepted,
        row.suspect,
        row.digest.as_ref().map(|d| &d.0[..]),
        row.stored.as_ref().map(|d| &d.0[..]),
        row.canonical.as_ref().map(|d| &d.0[..]),
        number(row.length)?,
        number(row.size)?,
        encoding_code(row.encoding),
        row.attrs.uid,
        row.attrs.gid,
        row.attrs.mode & 0o7777,
        row.attrs.mtime.sec,
        row.attrs.mtime.nsec,
        xattrs_text(&row.attrs.xattrs)?,
        envelope.and_then(|e| e.message_id.as_deref()),
        envelope.and_then(|e| e.from.as_deref()),
        envelope.and_then(|e| e.date),
        envelope.and_then(|e| e.subject.as_deref()),
        row.first_seen.sec,
        row.first_seen.nsec,
        last_seen,
        last_seen_ns,
        verified,
        verified_ns,
    ])?;
    Ok(())
}
