//! A mailbox as Dovecot knows it: its index with all later changes of its logs.

use super::flag;
use super::index::{Index, has_bit};
use super::log::{Change, Event, KeywordChange, Log, Uids};
use std::collections::BTreeMap;

/// Keywords of one mailbox; more are nobody's work.
const KEYWORDS_MAX: usize = 1024;
/// Messages changed by all events together: a log of a megabyte could ask for billions.
const CHANGES_MAX: u64 = 1 << 28;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// 0 where it is not known.
    pub uid_validity: u32,
    pub next_uid: u32,
    pub highest_modseq: u64,
    pub keywords: Vec<Vec<u8>>,
    pub messages: BTreeMap<u32, Message>,
    /// Messages that were expunged, as they were.
    pub gone: BTreeMap<u32, Message>,
    /// The mailbox was deleted.
    pub deleted: bool,
    /// Whether nothing is missing between the index and the end of the last log.
    pub complete: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// See [`super::flag`].
    pub flags: u8,
    /// A bit for each number of a keyword, the lowest first.
    pub keywords: Vec<u8>,
    /// 0 where messages have no counter of their own: clients see the mailbox's.
    pub modseq: u64,
}

impl State {
    pub fn keywords_of<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a [u8]> {
        let names = self.keywords.iter().enumerate();
        names.filter(|(number, _)| has_bit(&message.keywords, *number)).map(|(_, name)| name.as_slice())
    }

    /// Whether a message has the keyword of that number.
    pub fn has_keyword(&self, message: &Message, number: usize) -> bool {
        has_bit(&message.keywords, number)
    }

    /// What clients see.
    pub fn modseq_of(&self, message: &Message) -> u64 {
        if message.modseq == 0 { self.highest_modseq } else { message.modseq }
    }
}

/// Puts an index, if there is one, and the logs (oldest first) together.
pub fn replay(index: Option<&Index>, logs: &[&Log]) -> State {
    let index = index.filter(|index| index.header.indexid != 0);
    let mut replay =
        Replay { state: State { next_uid: 1, complete: true, ..State::default() }, enabled: false, work: 0 };
    let Line { logs: line, complete, anew } = line_up(index, logs);
    if let Some(index) = index.filter(|_| !anew) {
        replay.start(index);
    }
    replay.state.complete &= complete;
    line.into_iter().for_each(|(log, start)| replay.apply(logs[log], start));
    replay.state
}

/// Which of the logs (oldest first) tell what an index does not.
pub(super) struct Line {
    /// Each with the offset from which on.
    pub logs: Vec<(usize, u32)>,
    /// Nothing is missing between them.
    pub complete: bool,
    /// The first of them follows none: the server began anew with it, and what stands in the index is no more.
    pub anew: bool,
}

pub(super) fn line_up(index: Option<&Index>, logs: &[&Log]) -> Line {
    let mut from = index.map(|index| (index.header.log_file_seq, index.header.log_head_offset));
    let known: Vec<usize> = (0..logs.len()).filter(|&log| belongs(logs[log], index)).collect();
    let mut complete = known.len() == logs.len() && !(known.is_empty() && index.is_none());
    let (mut line, mut anew) = (Vec::new(), false);
    for log in known {
        let Some(header) = &logs[log].header else { continue };
        let start = match from {
            Some((seq, _)) if header.file_seq < seq => continue,
            Some((seq, offset)) if header.file_seq == seq => offset,
            Some(_) if header.prev_file_seq == 0 => {
                line.clear();
                anew = true;
                0
            }
            Some((seq, offset)) => {
                complete &= header.prev_file_seq == seq && header.prev_file_offset <= offset;
                0
            }
            // What was before the first log that there is, nobody knows.
            None => {
                complete &= header.prev_file_seq == 0;
                0
            }
        };
        line.push((log, start));
        from = Some((header.file_seq, u32::try_from(logs[log].committed).unwrap_or(u32::MAX)));
    }
    Line { logs: line, complete, anew }
}

fn belongs(log: &Log, index: Option<&Index>) -> bool {
    log.header.as_ref().is_some_and(|header| index.is_none_or(|index| index.header.indexid == header.indexid))
}

struct Replay {
    state: State,
    /// Whether messages have counters of their own.
    enabled: bool,
    work: u64,
}

impl Replay {
    fn start(&mut self, index: &Index) {
        let state = &mut self.state;
        state.uid_validity = index.header.uid_validity;
        state.next_uid = index.header.next_uid;
        state.keywords = index.keywords.clone();
        state.highest_modseq = index.modseq.map_or(0, |modseq| modseq.highest);
        state.complete = index.faults.is_empty();
        self.enabled = index.modseq.is_some();
        let message = |message: &super::index::Message| Message {
            flags: message.flags,
            keywords: message.keywords.clone(),
            modseq: message.modseq,
        };
        state.messages = index.messages.iter().map(|read| (read.uid, message(read))).collect();
    }

    fn apply(&mut self, log: &Log, start: u32) {
        self.state.complete &= log.faults.is_empty();
        for event in log.committed_events().filter(|event| event.offset >= u64::from(start)) {
            self.event(event);
        }
        self.state.highest_modseq = self.state.highest_modseq.max(log.modseq);
    }

    fn event(&mut self, event: &Event) {
        let own = if self.enabled { event.modseq } else { 0 };
        match &event.change {
            Change::Append(entries) => {
                for &(uid, flags) in entries {
                    self.state.messages.insert(uid, Message { flags, keywords: Vec::new(), modseq: own });
                    self.state.next_uid = self.state.next_uid.max(uid.saturating_add(1));
                }
            }
            Change::Expunge(entries) if event.origin.is_done() => {
                for entry in entries {
                    let gone: Vec<u32> = self.state.messages.range(entry.uids.clone()).map(|(uid, _)| *uid).collect();
                    let State { messages, gone: left, .. } = &mut self.state;
                    left.extend(gone.iter().filter_map(|uid| messages.remove_entry(uid)));
                }
            }
            Change::Flags(changes) => {
                for change in changes {
                    let own = if change.is_internal() { 0 } else { own };
                    self.each(&change.uids, own, |message| message.flags = message.flags & !change.remove | change.add);
                }
            }
            Change::Keyword { name, how, uids } => self.keyword(name, *how, uids, own),
            Change::KeywordReset(uids) => {
                uids.iter().for_each(|uids| self.each(uids, own, |message| message.keywords.clear()));
            }
            Change::Header { uid_validity, next_uid } => {
                self.state.uid_validity = uid_validity.unwrap_or(self.state.uid_validity);
                self.state.next_uid = self.state.next_uid.max(next_uid.unwrap_or(0));
            }
            Change::Modseq(entries) => {
                for (uid, modseq) in entries {
                    if let Some(message) = self.state.messages.get_mut(uid) {
                        message.modseq = message.modseq.max(*modseq);
                    }
                }
            }
            Change::ModseqEnabled => self.enable(event.modseq),
            Change::Deleted => self.state.deleted = true,
            Change::Undeleted => self.state.deleted = false,
            Change::Expunge(_) | Change::Attributes => {}
        }
    }

    /// Messages get counters of their own, which begin at the mailbox's.
    fn enable(&mut self, modseq: u64) {
        self.enabled = true;
        for message in self.state.messages.values_mut().filter(|message| message.modseq == 0) {
            message.modseq = modseq;
        }
    }

    fn keyword(&mut self, name: &[u8], how: KeywordChange, uids: &[Uids], own: u64) {
        // Looking for the name is work too.
        self.work += self.state.keywords.len() as u64 / 8;
        if self.work > CHANGES_MAX {
            self.state.complete = false;
            return;
        }
        let known = self.state.keywords.iter().position(|known| known == name);
        let number = match known {
            Some(number) => number,
            None if self.state.keywords.len() < KEYWORDS_MAX => {
                self.state.keywords.push(name.to_vec());
                self.state.keywords.len() - 1
            }
            None => {
                self.state.complete = false;
                return;
            }
        };
        let (byte, bit) = (number / 8, 1u8 << (number % 8));
        for uids in uids {
            self.each(uids, own, |message| {
                if how == KeywordChange::Replace {
                    message.keywords.clear();
                }
                if how == KeywordChange::Remove {
                    message.keywords.get_mut(byte).into_iter().for_each(|bits| *bits &= !bit);
                } else {
                    message.keywords.resize(message.keywords.len().max(byte + 1), 0);
                    message.keywords[byte] |= bit;
                }
            });
        }
    }

    /// Changes the messages that are there; `own` is their counter from now on, 0 if it stays.
    fn each(&mut self, uids: &Uids, own: u64, mut change: impl FnMut(&mut Message)) {
        for (_, message) in self.state.messages.range_mut(uids.clone()) {
            self.work += 1;
            if self.work > CHANGES_MAX {
                self.state.complete = false;
                return;
            }
            change(message);
            message.modseq = message.modseq.max(own);
        }
    }
}

/// Flags that clients see.
pub fn visible(flags: u8) -> u8 {
    flags & flag::VISIBLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::{index, log};

    const INDEX: &[u8] = include_bytes!("../../../testdata/dovecot/index");
    const LOG: &[u8] = include_bytes!("../../../testdata/dovecot/index.log");

    #[test]
    fn the_log_alone_and_the_index_tell_the_same() {
        let (index, log) = (index::parse(INDEX), log::parse(LOG));
        assert!(log.faults.is_empty(), "{:?}", log.faults);
        let [full, alone, bare] = [replay(Some(&index), &[&log]), replay(None, &[&log]), replay(Some(&index), &[])];
        assert!(full.complete && alone.complete && bare.complete);
        assert_eq!(full.messages, bare.messages);
        assert_eq!((full.next_uid, full.uid_validity, full.highest_modseq), (9, index.header.uid_validity, 25));
        assert_eq!((alone.next_uid, alone.uid_validity, alone.highest_modseq), (9, full.uid_validity, 25));
        for (uid, message) in &full.messages {
            let other = &alone.messages[uid];
            assert_eq!(visible(message.flags), visible(other.flags));
            assert_eq!(message.modseq, other.modseq, "UID {uid}");
            assert!(full.keywords_of(message).eq(alone.keywords_of(other)));
        }
        assert_eq!(full.messages.len(), alone.messages.len());
    }

    #[test]
    fn a_gap_is_told() {
        let (index, log) = (index::parse(INDEX), log::parse(LOG));
        let mut later = log.clone();
        let header = later.header.as_mut().unwrap();
        (header.file_seq, header.prev_file_seq) = (9, 8);
        assert!(!replay(Some(&index), &[&later]).complete);
        assert!(!replay(None, &[&later]).complete);
        let mut other = log.clone();
        other.header.as_mut().unwrap().indexid = 1;
        let state = replay(Some(&index), &[&other]);
        assert!(!state.complete && state.messages.len() == 4);
        assert!(!replay(None, &[]).complete);
    }

    /// Regression 1: what was written anew for a mailbox counted as unreadable for as long as the old index lay beside it.
    #[test]
    fn a_log_that_follows_none_is_all_that_there_is() {
        let (index, log) = (index::parse(INDEX), log::parse(LOG));
        let mut fresh = log::parse(&LOG[..312]);
        fresh.faults = log.faults.clone();
        let header = fresh.header.as_mut().unwrap();
        (header.file_seq, header.prev_file_seq) = (9, 0);
        let state = replay(Some(&index), &[&log, &fresh]);
        assert!(state.complete && state.messages.is_empty(), "{:?}", state.messages);
        fresh.header.as_mut().unwrap().file_seq = 1;
        assert_eq!(replay(Some(&index), &[&fresh]).messages.len(), 4, "older than the index");
    }

    #[test]
    fn an_unfinished_transaction_did_not_happen() {
        let cut = log::parse(&LOG[..400]);
        // The transaction that appends UID 1 spans the bytes from 312 to 432.
        assert_eq!((cut.committed, cut.faults.first[0].what), (312, "a transaction was not finished"));
        assert_eq!(cut.events.iter().filter(|event| matches!(event.change, Change::Append(_))).count(), 1);
        assert!(replay(None, &[&cut]).messages.is_empty());
    }
}
