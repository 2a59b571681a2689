//! Reads all that a mail server's own files say of one mailbox. Runs in the lane: strangers may have written them.
//!
//! Reads whole files up to a limit, and judges nothing but whether each is whole.

use super::serve::trouble;
use super::witness::{Files, LIST, NAME_MAX};
use crate::model::server::{Ledger, Line, Recalled, Shown, Whole};
use crate::model::wire::Trouble;
use crate::model::{RelPath, Stat, container};
use crate::store::dovecot::mailbox_log::{self, Deed};
use crate::store::dovecot::{extras, fate, fresh, index, keywords, log, state, uidlist};
use crate::store::maildir::{companion, name};
use crate::store::sdbox;
use crate::sys::dir::{Dir, Root};
use crate::sys::fs::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

const KEYWORDS: &[u8] = b"dovecot-keywords";
const INDEXES: [&[u8]; 3] = [b"dovecot.index", b"dovecot.index.log.2", companion::INDEX_LOG];
const LOGS: [&[u8]; 2] = [b"dovecot.index.log.2", companion::INDEX_LOG];

/// UIDs and keywords of one mailbox that are told; more are too many to be anybody's work.
const UIDS_MAX: usize = 1 << 20;
const KEYWORDS_MAX: usize = 64;
const MAILBOX_LOGS: [&[u8]; 2] = [b"dovecot.mailbox.log.2", b"dovecot.mailbox.log"];

/// Looks at files that a server may be writing to right now, before they count as damaged, and the time between.
const LOOKS: u32 = 3;
const LOOKS_AT_BUSY: u32 = 20;
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
        let steady = damaged(&ledger).is_empty() || {
            let now = files(&open).map_err(|e| fail("stat", &e))?;
            let same = |file: &&[u8]| stat_of(&now, file) == stat_of(&ledger.files, file);
            look >= LOOKS && damaged(&ledger).iter().all(same)
        };
        if steady {
            return Ok(ledger);
        }
        if look >= LOOKS_AT_BUSY {
            return Err(fail("read the server's files", &io::Error::other("a server keeps writing them")));
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(Ledger::default())
}

/// The files that the ledger says are damaged.
fn damaged(ledger: &Ledger) -> Vec<&'static [u8]> {
    let files = [(ledger.list, &[LIST][..]), (ledger.keywords, &[KEYWORDS]), (ledger.index, &INDEXES)];
    files.iter().filter(|(whole, _)| *whole == Whole::Damaged).flat_map(|(_, files)| files.iter().copied()).collect()
}

fn stat_of<'a>(files: &'a [(Vec<u8>, Stat)], file: &[u8]) -> Option<&'a Stat> {
    files.iter().find(|(name, _)| name == file).map(|(_, stat)| stat)
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
    let mut raw = extras::Files { index: files.read(b"dovecot.index")?, logs: Vec::new() };
    for file in LOGS {
        raw.logs.extend(files.read(file)?);
    }
    let index = raw.index.as_ref().map(|data| index::parse(data));
    let logs: Vec<log::Log> = raw.logs.iter().map(|data| log::parse(data)).collect();
    if index.is_none() && logs.is_empty() {
        return Ok(());
    }
    let state = state::replay(index.as_ref(), &logs.iter().collect::<Vec<_>>());
    let lacking = unlisted(ledger, &state);
    if !lacking.is_empty() {
        add_since(ledger, &lacking, files)?;
    }
    let whole = index.as_ref().is_none_or(|index| index.faults.is_empty())
        && logs.iter().all(|log| log.faults.is_empty())
        && unlisted(ledger, &state).is_empty();
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
        *ledger.recalled = recalled(&state, index.is_some().then(|| state::replay(None, &all)), &ledger.noticed);
    }
    ledger.highest_modseq = state.highest_modseq;
    let newest = logs.last().and_then(|log| log.header.as_ref());
    ledger.log_seq = newest.map_or(0, |header| header.file_seq);
    ledger.begun = newest.map_or(0, |header| header.indexid);
    if files.path.name() == sdbox::MAILS {
        register(ledger, &raw, &state, logs.last());
    }
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
    Ok(fresh::guid_of_file(&extras::read(&all, &[fresh::MBOX]).heads[0]))
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

/// What the index of an sdbox or mdbox mailbox alone knows.
fn register(ledger: &mut Ledger, raw: &extras::Files, state: &state::State, newest: Option<&log::Log>) {
    let read = extras::read(raw, &[extras::DBOX, extras::MDBOX, extras::NUMBERS, extras::GUIDS]);
    let ([dbox, mdbox, ..], [_, _, numbers, guids]) = (&read.heads[..], &read.values[..]) else { return };
    let word = |bytes: &[u8], at: usize| bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
    if mdbox.len() >= 4 {
        ledger.map_validity = word(mdbox, 0);
        let shown = |&uid: &u32| {
            let value = numbers.get(&uid).copied().unwrap_or_default();
            let guid = guids.get(&uid).copied().unwrap_or_default();
            Shown { uid, number: word(&value, 0), saved: word(&value, 4), guid }
        };
        ledger.shown = state.messages.keys().map(shown).collect();
    }
    let head = if mdbox.is_empty() { dbox } else { mdbox };
    let guid = head.get(extras::GUID_AT..extras::GUID_AT + 16).and_then(|guid| guid.try_into().ok());
    ledger.mailbox_guid = guid.filter(|guid| *guid != [0; 16]);
    ledger.flags = state.messages.iter().map(|(uid, message)| (*uid, message.flags)).collect();
    let Some(log) = newest else { return };
    let Some(header) = log.header.as_ref().filter(|header| header.prev_file_seq == 0) else { return };
    let mut taken_over: BTreeSet<u32> = BTreeSet::new();
    for event in log.committed_events() {
        match &event.change {
            log::Change::Append(entries) if taken_over.is_empty() => {
                taken_over = entries.iter().map(|(uid, _)| *uid).filter(|u| state.messages.contains_key(u)).collect();
            }
            log::Change::Flags(changes) => {
                for change in changes.iter().filter(|change| !change.is_internal()) {
                    taken_over.extract_if(change.uids.clone(), |_| true).for_each(drop);
                }
            }
            _ => {}
        }
    }
    (ledger.reset, ledger.unsaid) = (header.created, taken_over.into_iter().collect());
}

/// Messages of the index for which a list that is whole has no line: the server writes the list first.
fn unlisted(ledger: &Ledger, state: &state::State) -> Vec<u32> {
    if ledger.list != Whole::Sound || Some(state.uid_validity) != ledger.uid_validity {
        return Vec::new();
    }
    let known = |uid: &u32| ledger.lines.binary_search_by_key(uid, |line| line.uid).is_ok();
    state.messages.keys().copied().filter(|uid| !known(uid)).collect()
}

/// Lines of messages that came between the reading of the list and that of the index.
fn add_since(ledger: &mut Ledger, uids: &[u32], files: &Files<'_>) -> Result<(), Trouble> {
    let Some(now) = files.read(LIST)?.map(|text| uidlist::parse(&text)) else { return Ok(()) };
    if !(now.sound() && now.complete()) || Some(now.list.uidvalidity) != ledger.uid_validity {
        return Ok(());
    }
    ledger.next_uid = ledger.next_uid.max(now.list.next_uid());
    let since = now.list.records.into_iter().filter(|record| uids.binary_search(&record.uid).is_ok());
    ledger.lines.extend(since.filter_map(line));
    ledger.lines.sort_by_key(|line| line.uid);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/dovecot");

    fn mailbox() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (from, to) in [("uidlist", "dovecot-uidlist"), ("index.log", "dovecot.index.log")] {
            fs::copy(Path::new(TESTDATA).join(from), dir.path().join(to)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn look(root: &Root) -> Ledger {
        let open = root.open_dir(&RelPath::default()).unwrap();
        let mut ledger = Ledger::default();
        look_at(&Files { root: 0, path: &RelPath::default(), dir: &open }, &mut ledger).unwrap();
        ledger
    }

    /// Delivers as Dovecot does: a line of the list, then an entry of the log.
    fn deliver(list: &mut File, log: &mut File, uid: u32) {
        list.write_all(format!("{uid} :1795352700.M{uid}P1.mx\n").as_bytes()).unwrap();
        // Four words, of kind APPEND and external: UID, flags.
        let mut record = vec![0x80, 0x80, 0x80, 0x84];
        record.extend(0x1000_0002_u32.to_le_bytes());
        record.extend([uid, 0].map(u32::to_le_bytes).concat());
        log.write_all(&record).unwrap();
    }

    #[test]
    fn a_message_that_comes_between_two_reads_is_no_damage() {
        let (dir, root) = mailbox();
        assert_eq!(look(&root).index, Whole::Sound);
        let open = |file: &str| File::options().append(true).open(dir.path().join(file)).unwrap();
        let (mut list, mut log) = (open("dovecot-uidlist"), open("dovecot.index.log"));
        deliver(&mut list, &mut log, 9);
        let one = look(&root);
        assert!(one.held.contains(&9) && one.index == Whole::Sound, "{one:?}");
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for uid in 10..6000 {
                    deliver(&mut list, &mut log, uid);
                }
                end.store(true, Ordering::Relaxed);
            });
            while !end.load(Ordering::Relaxed) {
                let ledger = look(&root);
                // A read may end within a line; that is for another look to tell.
                assert!(ledger.index != Whole::Damaged || ledger.list == Whole::Damaged);
            }
        });
        assert_eq!(look(&root).lines.last().map(|line| line.uid), Some(5999));
    }

    #[test]
    fn a_list_that_lacks_a_message_of_the_index_is_damage() {
        let (dir, root) = mailbox();
        let log = dir.path().join("dovecot.index.log");
        let mut nowhere = File::create(dir.path().join("elsewhere")).unwrap();
        deliver(&mut nowhere, &mut File::options().append(true).open(log).unwrap(), 9);
        assert_eq!(look(&root).index, Whole::Damaged);
    }
}
