//! Reads all that a mail server's own files say of one mailbox. Runs in the lane: strangers may have written them.
//!
//! Reads whole files up to a limit, and judges nothing but whether each is whole.

use super::serve::trouble;
use super::witness::{Files, LIST, NAME_MAX};
use crate::model::server::{Ledger, Line, Recalled, Whole};
use crate::model::wire::Trouble;
use crate::model::{RelPath, Stat, container};
use crate::store::dovecot::mailbox_log::{self, Deed};
use crate::store::dovecot::{extras, fate, fresh, index, keywords, log, state, uidlist};
use crate::store::maildir::{companion, name};
use crate::sys::dir::{Dir, Root};
use crate::sys::fs::Kind;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

const KEYWORDS: &[u8] = b"dovecot-keywords";
const LOGS: [&[u8]; 2] = [b"dovecot.index.log.2", companion::INDEX_LOG];

/// UIDs and keywords of one mailbox that are told; more are too many to be anybody's work.
const UIDS_MAX: usize = 1 << 20;
const KEYWORDS_MAX: usize = 64;
const MAILBOX_LOGS: [&[u8]; 2] = [b"dovecot.mailbox.log.2", b"dovecot.mailbox.log"];

/// Looks at files that a server may be writing to right now, before they count as damaged, and the time between.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(60);

/// What the server's files in the mailbox `dir` say. One look may fall between two writes of a server.
pub fn ledger(root: &Root, number: u32, dir: &RelPath) -> Result<Ledger, Trouble> {
    let dir = &container::folder(dir);
    let fail = |operation: &str, error: &io::Error| trouble(number, dir.as_bytes(), operation, error);
    let open = root.open_dir(dir).map_err(|e| fail("open folder", &e))?;
    for look in 1.. {
        let read = Files { root: number, path: dir, dir: &open };
        let mut ledger = Ledger { files: files(&open).map_err(|e| fail("stat", &e))?, ..Ledger::default() };
        look_at(&read, &mut ledger)?;
        let damaged = [ledger.list, ledger.keywords, ledger.index].contains(&Whole::Damaged);
        let steady = !damaged || files(&open).map_err(|e| fail("stat", &e))? == ledger.files;
        if !damaged || (look >= LOOKS && steady) {
            return Ok(ledger);
        }
        if look >= 2 * LOOKS {
            return Err(fail("read the server's files", &io::Error::other("a server keeps writing them")));
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(Ledger::default())
}

fn look_at(files: &Files<'_>, ledger: &mut Ledger) -> Result<(), Trouble> {
    if let Some(text) = files.read(LIST)? {
        list(ledger, uidlist::parse(&text));
    }
    if let Some(text) = files.read(KEYWORDS)? {
        let parsed = keywords::parse(&text);
        // Nothing tells a table that was cut between two lines from a whole one: the caller compares it with its like.
        ledger.keywords = if parsed.faults.is_empty() { Whole::Sound } else { Whole::Damaged };
        ledger.letters = parsed.keywords.names;
    }
    for file in MAILBOX_LOGS {
        let Some(data) = files.read(file)? else { continue };
        let (records, faults) = mailbox_log::parse(&data);
        let whole = faults.is_empty() && ledger.mailbox_log != Whole::Damaged;
        ledger.mailbox_log = if whole { Whole::Sound } else { Whole::Damaged };
        let gone = |deed: Deed| matches!(deed, Deed::DeletedMailbox | Deed::DeletedFolder);
        ledger.deleted.extend(records.iter().filter(|r| gone(r.deed)).map(|r| (r.guid, r.time)));
    }
    indexes(ledger, files)
}

fn list(ledger: &mut Ledger, parsed: uidlist::Parsed) {
    let whole = parsed.sound() && parsed.complete();
    ledger.list = if whole { Whole::Sound } else { Whole::Damaged };
    ledger.uid_validity = Some(parsed.list.uidvalidity).filter(|&number| number != 0);
    ledger.next_uid = parsed.list.next_uid();
    ledger.mailbox_guid = parsed.list.mailbox_guid;
    ledger.lines = parsed.list.records.into_iter().filter_map(line).collect();
    ledger.head = parsed.list.extra;
}

fn line(record: uidlist::Record) -> Option<Line> {
    let guid = record.field(b'G').filter(|guid| name::goes_by(guid) && guid.len() <= NAME_MAX);
    let key = name::key(guid.unwrap_or(&record.name));
    let uidlist::Record { uid, fields, name: file } = record;
    (file.len() <= NAME_MAX).then_some(Line { uid, key, file, fields })
}

/// What indexes and logs say, and whether they are whole.
fn indexes(ledger: &mut Ledger, files: &Files<'_>) -> Result<(), Trouble> {
    let index = files.read(b"dovecot.index")?.map(|data| index::parse(&data));
    let mut logs = Vec::new();
    for file in LOGS {
        logs.extend(files.read(file)?.map(|data| log::parse(&data)));
    }
    if index.is_none() && logs.is_empty() {
        return Ok(());
    }
    let state = state::replay(index.as_ref(), &logs.iter().collect::<Vec<_>>());
    let whole = index.as_ref().is_none_or(|index| index.faults.is_empty())
        && logs.iter().all(|log| log.faults.is_empty())
        && listed(ledger, &state);
    ledger.index = if whole { Whole::Sound } else { Whole::Damaged };
    ledger.uid_validity = ledger.uid_validity.or(Some(state.uid_validity).filter(|&number| number != 0));
    if Some(state.uid_validity) == ledger.uid_validity {
        ledger.next_uid = ledger.next_uid.max(state.next_uid);
    }
    let all: Vec<&log::Log> = logs.iter().collect();
    let given = fate::appended(&all);
    ledger.indexed = state.messages.keys().copied().filter(|uid| given.contains(uid)).collect();
    if whole {
        ledger.held = state.messages.keys().copied().collect();
    }
    ledger.noticed = fate::noticed(&all, UIDS_MAX).into_iter().filter(|uid| given.contains(uid)).collect();
    ledger.marked = state.keywords.iter().take(KEYWORDS_MAX).map(|name| (name.clone(), Vec::new())).collect();
    for (uid, message) in &state.messages {
        let having = ledger.marked.iter_mut().enumerate().filter(|(number, _)| state.has_keyword(message, *number));
        having.for_each(|(_, (_, uids))| uids.push(*uid));
    }
    if files.path.parent().is_some_and(|above| above.name() == BESIDE_FILES) && ledger.list == Whole::Absent {
        ledger.mailbox_guid = file_guid(files)?;
        ledger.recalled = recalled(&state, index.is_some().then(|| state::replay(None, &all)), &ledger.noticed);
    }
    ledger.highest_modseq = state.highest_modseq;
    let newest = logs.last().and_then(|log| log.header.as_ref());
    ledger.log_seq = newest.map_or(0, |header| header.file_seq);
    ledger.begun = newest.map_or(0, |header| header.indexid);
    Ok(())
}

/// Where a server keeps the indexes of mbox files.
const BESIDE_FILES: &[u8] = b".imap";
const RECALLED_MAX: usize = 1 << 18;

/// What partners of a sync know a mailbox by.
fn file_guid(files: &Files<'_>) -> Result<Option<[u8; 16]>, Trouble> {
    let mut all = extras::Files { index: files.read(b"dovecot.index")?, logs: Vec::new() };
    for file in LOGS {
        all.logs.extend(files.read(file)?);
    }
    Ok(fresh::guid_of_file(&extras::read(&all, &[fresh::MBOX]).headers[0]))
}

/// What the server knows of flags. An index that was written since forgets what the logs still tell.
fn recalled(state: &state::State, alone: Option<state::State>, noticed: &[u32]) -> Recalled {
    let alone = alone.filter(|alone| alone.complete && alone.uid_validity == state.uid_validity);
    let mut told = Recalled::default();
    let mut flags: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    let mut keywords: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    let left = |uid: &u32| {
        let logged = alone.as_ref().and_then(|alone| Some((alone, alone.gone.get(uid)?)));
        state.gone.get(uid).map(|message| (state, message)).or(logged)
    };
    let there = state.messages.iter().map(|(uid, message)| (*uid, (state, message)));
    let gone = noticed.iter().filter_map(|uid| Some((*uid, left(uid)?)));
    let mut all: Vec<(u32, (&state::State, &state::Message))> = there.chain(gone).take(RECALLED_MAX).collect();
    all.sort_by_key(|(uid, _)| *uid);
    for (uid, (state, message)) in all {
        told.uids.push(uid);
        for flag in (0..8).map(|bit| 1u8 << bit).filter(|flag| state::visible(message.flags) & flag != 0) {
            flags.entry(flag).or_default().push(uid);
        }
        for name in state.keywords_of(message).take(KEYWORDS_MAX) {
            keywords.entry(name.to_vec()).or_default().push(uid);
        }
    }
    (told.flags, told.keywords) = (flags.into_iter().collect(), keywords.into_iter().collect());
    told
}

/// Whether a list that is whole has a line for every message of the index: the server writes the list first.
fn listed(ledger: &Ledger, state: &state::State) -> bool {
    let known = |uid: &u32| ledger.lines.binary_search_by_key(uid, |line| line.uid).is_ok();
    ledger.list != Whole::Sound || Some(state.uid_validity) != ledger.uid_validity || state.messages.keys().all(known)
}

/// The server's files that are there.
fn files(dir: &Dir) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut there = Vec::new();
    for file in companion::INDEX.into_iter().chain([LIST, KEYWORDS]) {
        if let Some((Kind::File, stat)) = dir.stat(file)? {
            there.push((file.to_vec(), stat));
        }
    }
    Ok(there)
}
