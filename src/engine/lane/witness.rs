//! Asks a mail server's own files about messages that are gone. Runs in the lane: strangers may have written them.
//!
//! Reads whole files up to a limit; what is damaged says what is left of it, and what cannot be read is a trouble.

use super::serve::trouble;
use crate::model::limits::SERVER_FILE_MAX;
use crate::model::server::{Guids, Question, Says, Witness, Witnessed};
use crate::model::wire::Trouble;
use crate::model::{RelPath, Stat, container};
use crate::store::dovecot::fate::{self, fate};
use crate::store::dovecot::{Fate, Guid, flag, index, log, message_guid, state, uidlist};
use crate::store::maildir::{companion, name};
use crate::store::{self, sdbox};
use crate::sys::dir::{Dir, Root};
use crate::sys::direct::read_file;
use crate::sys::fs::Kind;
use std::collections::HashMap;
use std::io;

/// What the server's files of the mailbox `dir` say of these messages.
pub fn witness(root: &Root, number: u32, dir: &RelPath, asked: &[Question]) -> Result<Witness, Trouble> {
    let dir = &container::folder(dir);
    let fail = |operation: &str, error: &io::Error| trouble(number, dir.as_bytes(), operation, error);
    let open = root.open_dir(dir).map_err(|e| fail("open folder", &e))?;
    let files = Files { root: number, path: dir, dir: &open };
    let list = files.read(LIST)?.map(|text| uidlist::parse(&text).list);
    let index = files.read(b"dovecot.index")?.map(|data| index::parse(&data));
    let (mut logs, mut unread) = (Vec::new(), Vec::new());
    for file in [b"dovecot.index.log.2".as_slice(), companion::INDEX_LOG] {
        let Some(data) = files.read(file)? else { continue };
        let log = log::parse(&data);
        if !log.faults.is_empty() {
            unread.push(data);
        }
        logs.push(log);
    }
    let known = Known { state: state::replay(index.as_ref(), &logs.iter().collect::<Vec<_>>()), list, logs, unread };
    let listed = known.listed();
    let messages = asked.iter().map(|one| known.say(listed.get(&name::key(&one.name).0).copied(), one));
    Ok(Witness {
        messages: messages.collect(),
        uid_validity: known.uid_validity(dir),
        highest_modseq: known.state.highest_modseq,
        log_seq: known.logs.last().and_then(|log| log.header.as_ref()).map_or(0, |header| header.file_seq),
        indexes: indexes(&open).map_err(|e| fail("stat", &e))?,
    })
}

pub(super) const LIST: &[u8] = b"dovecot-uidlist";

/// Everything that the server's files say, put together.
struct Known {
    list: Option<uidlist::Uidlist>,
    logs: Vec<log::Log>,
    /// Logs that could not be read to their ends.
    unread: Vec<Vec<u8>>,
    state: state::State,
}

impl Known {
    /// By the list; in the formats of dbox, which have none, by the index.
    fn uid_validity(&self, dir: &RelPath) -> Option<u32> {
        let listed = || self.list.as_ref().map(|list| list.uidvalidity);
        let number = if dir.name() == sdbox::MAILS { Some(self.state.uid_validity) } else { listed() };
        number.filter(|&number| number != 0)
    }

    /// The lines of the list by the keys of their messages.
    fn listed(&self) -> HashMap<Vec<u8>, &uidlist::Record> {
        let records = self.list.iter().flat_map(|list| &list.records);
        let called = |record: &uidlist::Record| record.field(b'G').filter(|guid| name::goes_by(guid)).map(name::key);
        records.map(|record| (called(record).unwrap_or_else(|| name::key(&record.name)).0, record)).collect()
    }

    /// What is said of one message: by its UID, or, where no list has it, by its GUID, which a client's request names.
    fn say(&self, record: Option<&uidlist::Record>, asked: &Question) -> Witnessed {
        let logs: Vec<&log::Log> = self.logs.iter().collect();
        let file = &asked.name[..];
        if let Some(uid) = store::uid(file) {
            return self.say_of(&logs, uid, None, (true, asked.era));
        }
        let guid = message_guid(record.map_or(name::base(file), uidlist::Record::guid));
        let given = asked.uid.filter(|&uid| self.is_free(uid));
        // Without its line nobody knows whether the GUID had the sizes in it: of compressed mail it has not.
        let short = message_guid(name::parse(file).key);
        let asked = || asked_for(&logs, &guid).or_else(|| asked_for(&logs, &short));
        let guid = if record.is_none() && asked_for(&logs, &short).is_some() { short } else { guid };
        let Some(uid) = record.map(|record| record.uid).or(given).or_else(asked) else {
            return Witnessed::default();
        };
        // A UID that only a request names is no more than that.
        let named = record.map(|record| record.uid).or(given);
        Witnessed { uid: named, ..self.say_of(&logs, uid, Some(guid), (record.is_some(), None)) }
    }

    /// What is said of the message with a UID: requests for it name its GUID, where a list gives it one.
    /// `era`: the UIDVALIDITY under which it had that.
    fn say_of(
        &self,
        logs: &[&log::Log],
        uid: u32,
        guid: Option<Guid>,
        (listed, era): (bool, Option<u32>),
    ) -> Witnessed {
        let known = self.state.messages.get(&uid);
        let there = known.is_some();
        // Of Maildir the bit says something else, and its files lie nowhere else.
        let apart = guid.is_none() && known.is_some_and(|message| message.flags & flag::BACKEND != 0);
        let says = match fate(logs, uid, guid, era) {
            Some(Fate::ByUser) => Says::DeletedByUser,
            Some(Fate::NoticedLoss) => Says::LossNoticed,
            Some(Fate::BySync) => Says::DeletedBySync,
            // Asked for, and not done yet, is as good as done.
            None if requests(logs).any(|asked| asked.uids.contains(&uid)) => Says::DeletedByUser,
            None if guid.is_some_and(|guid| self.was_asked_for(uid, &guid)) => Says::DeletedByUser,
            None if there && listed && apart => Says::Apart,
            None if there && listed => Says::Listed,
            None => Says::Nothing,
        };
        let expunged = uid < self.state.next_uid && !there;
        let since = fate::since(logs);
        Witnessed { uid: Some(uid), unlisted: !listed, says, expunged, since, deleted_at_partner: false }
    }

    /// Whether a request for a message stands behind the fault of a log: UID and GUID together stand nowhere by chance.
    fn was_asked_for(&self, uid: u32, guid: &Guid) -> bool {
        let entry = [&uid.to_le_bytes()[..], guid].concat();
        self.unread.iter().any(|data| memchr::memmem::find(data, &entry).is_some())
    }

    /// Whether a UID was given away and is nobody's now.
    fn is_free(&self, uid: u32) -> bool {
        // Where the list is kept elsewhere, whoever asks has looked there.
        self.list.as_ref().is_none_or(|list| uid < list.next_uid() && list.get(uid).is_none())
    }
}

/// Files that the server knows by another name than their own, as dsync leaves them (`G` in the list of UIDs).
pub fn guids(root: &Root, dir: &RelPath) -> Guids {
    let text = root.open_dir(dir).and_then(|open| contents(&open, LIST)).ok().flatten().unwrap_or_default();
    // The first line always has one, of the mailbox. Most lists have no other, and need not be parsed.
    let lines = memchr::memchr(b'\n', &text).map_or(&text[..0], |end| &text[end..]);
    if memchr::memmem::find(lines, b" G").is_none() {
        return Guids::new();
    }
    let named = |record: uidlist::Record| {
        let guid = record.field(b'G').filter(|guid| guid.len() <= NAME_MAX)?.to_vec();
        (guid != record.name && record.name.len() <= NAME_MAX).then_some((record.name, guid))
    };
    uidlist::parse(&text).list.records.into_iter().filter_map(named).collect()
}

/// Longest name of a file. Bytes.
pub(super) const NAME_MAX: usize = 255;

/// Messages that somebody asked to have deleted.
fn requests<'l>(logs: &'l [&log::Log]) -> impl Iterator<Item = &'l log::Expunged> {
    let asked = logs.iter().flat_map(|log| log.committed_events()).filter(|event| !event.origin.is_done());
    asked.flat_map(|event| match &event.change {
        log::Change::Expunge(entries) => entries.as_slice(),
        _ => &[],
    })
}

/// The UID of the message with this GUID, if somebody asked to have it deleted.
fn asked_for(logs: &[&log::Log], guid: &Guid) -> Option<u32> {
    requests(logs).find(|asked| asked.guid.as_ref() == Some(guid)).map(|asked| *asked.uids.start())
}

/// What is said of a link, a folder or a device where a server's file belongs.
pub const NOT_A_FILE: &str = "not a file that a server writes";

/// The server's files of one mailbox, by the path below their root that a trouble names.
pub(super) struct Files<'a> {
    pub root: u32,
    pub path: &'a RelPath,
    pub dir: &'a Dir,
}

impl Files<'_> {
    /// A file's bytes; `None` where there is none.
    pub fn read(&self, file: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let path = || [self.path.as_bytes(), b"/", file].concat();
        contents(self.dir, file).map_err(|error| trouble(self.root, &path(), "read", &error))
    }
}

/// A file's bytes; `None` where there is none.
fn contents(dir: &Dir, file: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match dir.stat(file)? {
        None => return Ok(None),
        Some((Kind::File, stat)) if stat.size <= SERVER_FILE_MAX => {}
        Some((Kind::File, _)) => {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too long for a file that a server writes"));
        }
        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, NOT_A_FILE)),
    }
    let mut bytes = Vec::new();
    // One that grows meanwhile is cut where it became too long.
    let read = read_file(dir, file, &mut |window| {
        if bytes.len() as u64 <= SERVER_FILE_MAX {
            bytes.extend_from_slice(window);
        }
    });
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The indexes that are there.
fn indexes(dir: &Dir) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut there = Vec::new();
    for file in companion::INDEX {
        if let Some((Kind::File, stat)) = dir.stat(file)? {
            there.push((file.to_vec(), stat));
        }
    }
    Ok(there)
}
