//! What became of a message that is gone, by Dovecot's own logs.
//!
//! A client that deletes leaves a request and then its fulfilment; a partner's deletion that dsync brings leaves a
//! request marked as such; a file that Dovecot did not find leaves a fulfilment that nobody asked for. The log only
//! ends and another begins when all requests are met, so both halves stand in one file.

use super::hash::Guid;
use super::log::{Change, Expunged, Log, Origin};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// A client deleted or moved it here.
    ByUser,
    /// Dovecot found that its file was gone: lost, or taken by a program that works on the files.
    NoticedLoss,
    /// dsync deleted it because it was gone at a partner, whose log knows why.
    BySync,
}

/// What is known half way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nobody,
    Partner,
    User,
    /// Somebody asked for another message under the same UID: one of both is garbled.
    Unclear,
}

/// What the logs say of one message; `logs` oldest first (`.log.2`, `.log`). `None` if they do not say that it is
/// gone, or contradict themselves. A log that is not of one line with the last one is left out. `era`: the UIDVALIDITY under
/// which the message had its UID, where that is known: what happened under others is of others.
pub fn fate(logs: &[&Log], uid: u32, guid: Option<Guid>, era: Option<u32>) -> Option<Fate> {
    let (mut asked, mut fate, mut uid_validity) = (Asked::Nobody, None, None);
    for event in line(logs).iter().flat_map(|log| &log.events) {
        match &event.change {
            Change::Header { uid_validity: Some(now), .. } => {
                // From here on the UID is another message's.
                if era.is_none() && uid_validity.is_some_and(|was| was != *now) {
                    (asked, fate) = (Asked::Nobody, None);
                }
                uid_validity = Some(*now);
            }
            _ if era.is_some() && uid_validity.is_some() && uid_validity != era => {}
            Change::Append(entries) if entries.iter().any(|(appended, _)| *appended == uid) => {
                (asked, fate) = (Asked::Nobody, None);
            }
            Change::Expunge(entries) => {
                let Some(entry) = find(entries, uid) else { continue };
                if event.origin.is_done() {
                    fate = match asked {
                        Asked::Nobody if event.origin == Origin::SyncExternal => Some(Fate::BySync),
                        Asked::Nobody => Some(Fate::NoticedLoss),
                        Asked::Partner => Some(Fate::BySync),
                        Asked::User => Some(Fate::ByUser),
                        Asked::Unclear => None,
                    };
                } else {
                    asked = asked_now(asked, entry, event.origin, guid);
                }
            }
            _ => {}
        }
    }
    // The file goes before the fulfilment is written: a request may be all that there is.
    fate.or(match asked {
        Asked::User => Some(Fate::ByUser),
        Asked::Partner => Some(Fate::BySync),
        Asked::Nobody | Asked::Unclear => None,
    })
}

/// UIDs of all messages that the server found gone, and nobody had asked for that; at most `most` of them. Those that it
/// gave away since a client last did something before the first was found gone are left out: while it makes a list anew
/// it changes its mind.
pub fn noticed(logs: &[&Log], most: usize) -> BTreeSet<u32> {
    let (mut asked, mut late, mut noticed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in line(logs).iter().flat_map(|log| &log.events) {
        if noticed.is_empty() && !event.origin.is_done() {
            late.clear();
        }
        let uids: Vec<u32> = match &event.change {
            Change::Append(entries) => {
                late.extend(entries.iter().map(|(uid, _)| *uid));
                continue;
            }
            // A range may be longer than any mailbox.
            Change::Expunge(entries) => entries.iter().flat_map(|entry| entry.uids.clone()).take(most + 1).collect(),
            _ => continue,
        };
        if asked.len() + noticed.len() + late.len() + uids.len() > most {
            break;
        }
        if !event.origin.is_done() {
            asked.extend(uids);
        } else if event.origin != Origin::SyncExternal {
            noticed.extend(uids.into_iter().filter(|uid| !asked.contains(uid) && !late.contains(uid)));
        }
    }
    noticed
}

/// UIDs that the server gave away, as far back as the logs go: an index of garbage has others.
pub fn appended(logs: &[&Log]) -> BTreeSet<u32> {
    let entries = line(logs).iter().flat_map(|log| &log.events).filter_map(|event| match &event.change {
        Change::Append(entries) => Some(entries),
        _ => None,
    });
    entries.flatten().map(|(uid, _)| *uid).collect()
}

/// The logs at the end that follow each other.
fn line<'a, 'b>(logs: &'a [&'b Log]) -> &'a [&'b Log] {
    let gap = logs.windows(2).rposition(|pair| !pair[0].precedes(pair[1]));
    &logs[gap.map_or(0, |gap| gap + 1)..]
}

/// Since when the logs tell what happened, without a gap; `logs` oldest first. Seconds since 1970.
pub fn since(logs: &[&Log]) -> Option<u32> {
    line(logs).first()?.header.as_ref().map(|header| header.created)
}

fn find(entries: &[Expunged], uid: u32) -> Option<&Expunged> {
    // Ranges ascend.
    let place = entries.partition_point(|entry| *entry.uids.end() < uid);
    entries.get(place).filter(|entry| entry.uids.contains(&uid))
}

fn asked_now(asked: Asked, entry: &Expunged, origin: Origin, guid: Option<Guid>) -> Asked {
    let other = guid.is_some() && entry.guid.is_some() && guid != entry.guid;
    match (asked, origin) {
        (Asked::User, _) => Asked::User,
        // Dovecot does not meet a request for another GUID.
        (Asked::Nobody, _) if other => Asked::Unclear,
        _ if other => asked,
        (_, Origin::Sync) => Asked::Partner,
        _ => Asked::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::log::{Event, Header, parse};
    use crate::store::dovecot::message_guid;

    const PRIMARY: &[u8] = include_bytes!("../../../testdata/dovecot/index.log");
    const REPLICA: &[u8] = include_bytes!("../../../testdata/dovecot/replica.index.log");

    fn expunge(origin: Origin, uid: u32, guid: Option<Guid>) -> Event {
        Event { offset: 0, modseq: 0, origin, change: Change::Expunge(vec![Expunged { uids: uid..=uid, guid }]) }
    }

    fn log(seq: u32, prev: u32, events: Vec<Event>) -> Log {
        let header = Header {
            minor: 3,
            indexid: 1,
            file_seq: seq,
            prev_file_seq: prev,
            prev_file_offset: 0,
            created: 0,
            initial_modseq: 1,
        };
        Log { header: Some(header), events, ..Log::default() }
    }

    #[test]
    fn real_logs_tell_deletion_loss_and_what_a_partner_did() {
        let (primary, replica) = (parse(PRIMARY), parse(REPLICA));
        let of = |log: &Log, uid| fate(&[log], uid, None, None);
        // Expunged, moved, its file removed, expunged before a sync, and one that is there.
        let fates = [4, 5, 7, 8, 1].map(|uid| of(&primary, uid));
        assert_eq!(fates, [Some(Fate::ByUser), Some(Fate::ByUser), Some(Fate::NoticedLoss), Some(Fate::ByUser), None]);
        assert_eq!([8, 7, 1].map(|uid| of(&replica, uid)), [Some(Fate::BySync), None, None]);
        assert_eq!(noticed(&[&primary], 100), BTreeSet::from([7]));
        assert_eq!(noticed(&[&primary], 0), BTreeSet::new());
        assert_eq!(appended(&[&primary]), (1..=8).collect());
    }

    #[test]
    fn a_request_for_another_guid_is_not_taken_for_this_message() {
        let guids = [b"one", b"two"].map(|name| message_guid(name));
        let events = vec![expunge(Origin::Request, 4, Some(guids[0])), expunge(Origin::External, 4, None)];
        let log = log(1, 0, events);
        assert_eq!(fate(&[&log], 4, Some(guids[0]), None), Some(Fate::ByUser));
        assert_eq!(fate(&[&log], 4, None, None), Some(Fate::ByUser));
        assert_eq!(fate(&[&log], 4, Some(guids[1]), None), None);
    }

    #[test]
    fn a_new_uidvalidity_or_a_new_message_ends_the_story() {
        let header = |uid_validity| Event {
            offset: 0,
            modseq: 0,
            origin: Origin::External,
            change: Change::Header { uid_validity: Some(uid_validity), next_uid: None },
        };
        let gone = expunge(Origin::External, 4, None);
        let with = |last: Event| fate(&[&log(1, 0, vec![header(7), gone.clone(), last])], 4, None, None);
        assert_eq!(with(header(7)), Some(Fate::NoticedLoss));
        assert_eq!(with(header(8)), None);
        let story = log(
            1,
            0,
            vec![header(7), gone.clone(), header(8), Event { change: Change::Append(vec![(4, 0)]), ..header(8) }],
        );
        assert_eq!(fate(&[&story], 4, None, Some(7)), Some(Fate::NoticedLoss), "it is asked for as it was then");
        assert_eq!(fate(&[&story], 4, None, Some(8)), None);
        assert_eq!(with(Event { change: Change::Append(vec![(4, 0)]), ..header(7) }), None);
    }

    #[test]
    fn only_logs_of_one_line_count() {
        let old = log(1, 0, vec![expunge(Origin::Request, 4, None), expunge(Origin::External, 4, None)]);
        let next = log(2, 1, vec![expunge(Origin::Request, 5, None)]);
        let fresh = log(3, 0, vec![]);
        assert_eq!(fate(&[&old, &next], 4, None, None), Some(Fate::ByUser));
        assert_eq!(fate(&[&old, &next], 5, None, None), Some(Fate::ByUser));
        assert_eq!(fate(&[&old, &fresh], 4, None, None), None);
        assert_eq!(fate(&[], 4, None, None), None);
    }
}
