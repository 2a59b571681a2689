//! What the index of an sdbox mailbox has to be, so that clients find every message as they knew it. It alone knows which
//! messages there are, and their flags; told from the server's files as they are here, and as the sources have them.
//!
//! Pure. May not decide which messages come back, nor whether a source counts UIDs as this store does: whoever asks has
//! made sure of that.

use super::ledger::GAP;
use crate::model::server::{Ledger, Whole};
use std::collections::{BTreeMap, BTreeSet};

/// One mailbox, and everything that tells of it.
#[derive(Debug, Default)]
pub struct Shelves {
    pub own: Ledger,
    /// Of sources in which a UID is the same message's, the newest first.
    pub theirs: Vec<Ledger>,
    /// UIDs of the messages that are there.
    pub here: BTreeSet<u32>,
    /// Of those that come back.
    pub returning: BTreeSet<u32>,
    /// The index counts a message that comes back as gone for good.
    pub expunged: bool,
    /// It is to be made anew as it is: what else it knows of messages is no longer so.
    pub renew: bool,
    /// For a count of changes that nothing tells: more than any mailbox reaches. Unix seconds.
    pub now: u64,
}

/// An index to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    pub uid_validity: u32,
    pub next_uid: u32,
    pub mailbox_guid: [u8; 16],
    /// The count of changes goes on from here.
    pub modseq: u64,
    /// By ascending UID.
    pub messages: Vec<Marked>,
    /// What is wrong with the index as it is, whether or not a message comes back; in words.
    pub troubles: Vec<String>,
    /// The mailbox gets back the UIDVALIDITY that it had, or is made again altogether.
    pub reborn: bool,
}

/// A message with its flags and keywords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marked {
    pub uid: u32,
    pub flags: u8,
    pub keywords: Vec<Vec<u8>>,
}

/// What clients see of flags in an index.
const VISIBLE: u8 = 0x1f;

/// Tells whether the index has to be made anew, and as what; `None` also where nobody knows enough for that.
pub fn register(shelves: &Shelves) -> Option<Register> {
    match shelves.own.index {
        Whole::Damaged => None,
        Whole::Absent => again(shelves, None),
        Whole::Sound => match restarted(shelves) {
            Some(older) => again(shelves, Some(older)),
            None => mended(shelves),
        },
    }
}

/// The UIDVALIDITY that the mailbox had before the server began it anew, where a source is still of that time and holds
/// what is here.
fn restarted(shelves: &Shelves) -> Option<u32> {
    let own = shelves.own.uid_validity?;
    let of_before = |theirs: &&Ledger| {
        let known = |uid: &u32| shelves.here.contains(uid) || shelves.returning.contains(uid);
        theirs.uid_validity.is_some_and(|theirs| theirs < own) && theirs.held.iter().any(known)
    };
    let older = shelves.theirs.iter().find(of_before)?;
    // A number that the server has given since to a message that the source does not know under it may be another's.
    let held: BTreeSet<u32> = older.held.iter().copied().collect();
    let is_new = |uid: &&u32| **uid < older.next_uid && !held.contains(uid);
    if shelves.own.held.iter().any(|uid| is_new(&uid)) { None } else { older.uid_validity }
}

/// An index that is gone, or was begun anew without what is there: all comes from the files and the sources.
fn again(shelves: &Shelves, older: Option<u32>) -> Option<Register> {
    let sound = |theirs: &&Ledger| theirs.index == Whole::Sound && theirs.uid_validity.is_some();
    let validity = older.or_else(|| shelves.theirs.iter().find(sound)?.uid_validity)?;
    let same: Vec<&Ledger> =
        shelves.theirs.iter().filter(sound).filter(|theirs| theirs.uid_validity == Some(validity)).collect();
    let all: BTreeSet<u32> = shelves.here.union(&shelves.returning).copied().collect();
    let known = |uid: &u32| same.iter().any(|theirs| theirs.held.binary_search(uid).is_ok());
    if !all.iter().any(known) {
        return None;
    }
    let (own, witnesses) = (Flags::of(&shelves.own), same.iter().map(|theirs| Flags::of(theirs)).collect::<Vec<_>>());
    let marked = |uid: u32| {
        let since = own.get(uid).filter(|marked| marked.flags & VISIBLE != 0 || !marked.keywords.is_empty());
        since
            .or_else(|| witnesses.iter().find_map(|flags| flags.get(uid)))
            .unwrap_or(Marked { uid, ..Marked::default() })
    };
    let unknown = all.iter().filter(|uid| !known(uid)).count();
    let mut troubles = Vec::new();
    if let Some(older) = older {
        let now = shelves.own.uid_validity.unwrap_or_default();
        troubles.push(format!(
            "the server began the mailbox anew: UIDVALIDITY is {now} and was {older}, so that clients would download \
             everything again; flags come back as the source has them"
        ));
    } else if !shelves.here.is_empty() {
        troubles.push(
            "the indexes are gone, which alone know flags and UIDs: the server would begin the mailbox anew, empty; they come \
             back as the source has them"
                .to_owned(),
        );
    }
    if let (Some(last), true) = (troubles.last_mut(), unknown > 0) {
        last.push_str(&format!(", except for {unknown} message(s) that it does not know, which have none"));
    }
    let above = all.last().map_or(1, |last| last.saturating_add(1));
    let next_uid = same.iter().map(|theirs| theirs.next_uid).fold(above, u32::max).max(shelves.own.next_uid);
    let modseq = same.iter().map(|theirs| theirs.highest_modseq).fold(shelves.own.highest_modseq, u64::max);
    Some(Register {
        uid_validity: validity,
        // Numbers that were given away since the source was made must not be given again.
        next_uid: next_uid.saturating_add(GAP),
        mailbox_guid: same.iter().find_map(|theirs| theirs.mailbox_guid)?,
        modseq: if modseq == 0 { shelves.now } else { modseq.saturating_add(u64::from(GAP)) },
        messages: all.into_iter().map(marked).collect(),
        troubles,
        reborn: true,
    })
}

/// An index that is there: it takes in what comes back, and says once more which flags are ours.
fn mended(shelves: &Shelves) -> Option<Register> {
    let own = &shelves.own;
    let same: Vec<&Ledger> = shelves.theirs.iter().filter(|theirs| theirs.uid_validity == own.uid_validity).collect();
    let yielding = yielding(own, &same);
    let back = shelves.expunged && !shelves.returning.is_empty();
    if !back && yielding == 0 && !shelves.renew {
        return None;
    }
    let (ours, witnesses) = (Flags::of(own), same.iter().map(|theirs| Flags::of(theirs)).collect::<Vec<_>>());
    let returning = shelves.returning.iter().filter(|_| back).copied();
    let all: BTreeSet<u32> = own.held.iter().copied().chain(returning).collect();
    let marked = |uid: u32| {
        let all = std::iter::once(&ours).chain(&witnesses);
        all.into_iter().find_map(|flags| flags.get(uid)).unwrap_or(Marked { uid, ..Marked::default() })
    };
    let troubles = (yielding > 0).then(|| {
        format!(
            "the server began its index anew, and forgot when flags were set: the next sync (dsync) would take those of \
             {yielding} message(s) from the other side"
        )
    });
    let above = all.last().map_or(1, |last| last.saturating_add(1));
    let theirs = same.iter().map(|theirs| theirs.highest_modseq).max().unwrap_or(0);
    Some(Register {
        uid_validity: own.uid_validity?,
        next_uid: own.next_uid.max(above),
        mailbox_guid: own.mailbox_guid?,
        modseq: own.highest_modseq.max(theirs),
        messages: all.into_iter().map(marked).collect(),
        troubles: troubles.into_iter().collect(),
        reborn: false,
    })
}

/// How many messages would get a partner's flags at the next sync though ours may be newer: the server began our index
/// anew after the partner last changed anything. A plain copy of our files is no partner.
fn yielding(own: &Ledger, theirs: &[&Ledger]) -> usize {
    let unsaid: BTreeSet<u32> = own.unsaid.iter().copied().collect();
    let Some(partner) = theirs.iter().find(|theirs| theirs.index == Whole::Sound && theirs.begun != own.begun) else {
        return 0;
    };
    let index = |(name, _): &&(Vec<u8>, crate::model::Stat)| name.starts_with(b"dovecot.index");
    let last = partner.files.iter().filter(index).map(|(_, stat)| stat.mtime.sec).max();
    if unsaid.is_empty() || last.is_none_or(|last| i64::from(own.reset) <= last) {
        return 0;
    }
    let flags: BTreeMap<u32, u8> = partner.flags.iter().copied().collect();
    let other = |(uid, ours): &&(u32, u8)| flags.get(uid).is_some_and(|theirs| (ours ^ theirs) & VISIBLE != 0);
    own.flags.iter().filter(|(uid, _)| unsaid.contains(uid)).filter(other).count()
}

/// What an index says of each message.
struct Flags<'a> {
    flags: BTreeMap<u32, u8>,
    keywords: Vec<(&'a [u8], BTreeSet<u32>)>,
}

impl<'a> Flags<'a> {
    fn of(ledger: &'a Ledger) -> Flags<'a> {
        let keywords = ledger.marked.iter().map(|(name, uids)| (&name[..], uids.iter().copied().collect()));
        Flags { flags: ledger.flags.iter().copied().collect(), keywords: keywords.collect() }
    }

    fn get(&self, uid: u32) -> Option<Marked> {
        let flags = *self.flags.get(&uid)?;
        let has = self.keywords.iter().filter(|(_, uids)| uids.contains(&uid));
        Some(Marked { uid, flags, keywords: has.map(|(name, _)| name.to_vec()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Stamp, Stat};

    const SEEN: u8 = 8;

    fn ledger(uid_validity: u32, messages: &[(u32, u8)]) -> Ledger {
        Ledger {
            index: Whole::Sound,
            uid_validity: Some(uid_validity),
            next_uid: messages.last().map_or(1, |(uid, _)| uid + 1),
            mailbox_guid: Some([7; 16]),
            begun: uid_validity,
            highest_modseq: 40,
            held: messages.iter().map(|(uid, _)| *uid).collect(),
            flags: messages.to_vec(),
            ..Ledger::default()
        }
    }

    fn uids(uids: &[u32]) -> BTreeSet<u32> {
        uids.iter().copied().collect()
    }

    fn flags(register: &Register) -> Vec<(u32, u8)> {
        register.messages.iter().map(|marked| (marked.uid, marked.flags)).collect()
    }

    #[test]
    fn nothing_is_made_where_nothing_is_needed() {
        let own = ledger(7, &[(1, 0), (2, SEEN)]);
        let theirs = vec![ledger(7, &[(1, SEEN), (2, SEEN), (3, 0)])];
        let shelves = Shelves { own: own.clone(), theirs, here: uids(&[1, 2]), ..Shelves::default() };
        assert_eq!(register(&shelves), None);
        // A loss that was not noticed needs no more than its file.
        assert_eq!(register(&Shelves { here: uids(&[1]), returning: uids(&[2]), ..shelves }), None);
        // Unless somebody says so: then it is what it was.
        let renewed = Shelves { own: own.clone(), here: uids(&[1, 2]), renew: true, ..Shelves::default() };
        let made = register(&renewed).expect("the same once more");
        assert_eq!((flags(&made), made.troubles.len(), made.reborn), (vec![(1, 0), (2, SEEN)], 0, false));
        assert_eq!(register(&Shelves { own: Ledger::default(), here: uids(&[1]), ..Shelves::default() }), None);
        let damaged = Ledger { index: Whole::Damaged, ..own };
        assert_eq!(register(&Shelves { own: damaged, ..Shelves::default() }), None);
    }

    #[test]
    fn a_noticed_loss_comes_back_with_the_flags_of_the_source() {
        let own = Ledger { next_uid: 9, ..ledger(7, &[(1, 0), (3, SEEN)]) };
        let marked = vec![(b"work".to_vec(), vec![2])];
        let theirs = vec![Ledger { marked, highest_modseq: 50, ..ledger(7, &[(1, SEEN), (2, SEEN), (3, 0)]) }];
        let (here, returning) = (uids(&[1, 3]), uids(&[2]));
        let made = register(&Shelves { own, theirs, here, returning, expunged: true, ..Shelves::default() }).unwrap();
        assert_eq!(flags(&made), [(1, 0), (2, SEEN), (3, SEEN)]);
        assert_eq!(made.messages[1].keywords, [b"work".to_vec()]);
        assert_eq!((made.uid_validity, made.next_uid, made.modseq, made.reborn), (7, 9, 50, false));
        assert!(made.troubles.is_empty());
    }

    #[test]
    fn flags_that_a_sync_would_take_away_are_said_again() {
        let at = |sec| Stat { mtime: Stamp { sec, nsec: 0 }, ..Stat::default() };
        let own = Ledger { reset: 2000, unsaid: vec![1, 2, 3], ..ledger(7, &[(1, 0), (2, SEEN), (3, SEEN)]) };
        let files = vec![(b"dovecot.index.log".to_vec(), at(1000))];
        let partner = Ledger { begun: 5, files, ..ledger(7, &[(1, 0), (2, 0), (3, SEEN), (4, 0)]) };
        let shelves = |own: &Ledger, partner: &Ledger| Shelves {
            own: own.clone(),
            theirs: vec![partner.clone()],
            here: uids(&[1, 2, 3]),
            ..Shelves::default()
        };
        let made = register(&shelves(&own, &partner)).unwrap();
        assert_eq!(flags(&made), [(1, 0), (2, SEEN), (3, SEEN)]);
        assert!(made.troubles[0].contains("of 1 message(s)"), "{:?}", made.troubles);
        // Said already, a plain copy of the files, or changed at the partner since.
        assert_eq!(register(&shelves(&Ledger { unsaid: vec![], ..own.clone() }, &partner)), None);
        assert_eq!(register(&shelves(&own, &Ledger { begun: own.begun, ..partner.clone() })), None);
        let later = vec![(b"dovecot.index.log".to_vec(), at(2000))];
        assert_eq!(register(&shelves(&own, &Ledger { files: later, ..partner })), None);
    }

    #[test]
    fn an_index_that_is_gone_comes_from_the_source_and_counts_on() {
        let theirs = vec![ledger(7, &[(1, SEEN), (2, 0), (3, SEEN)])];
        let shelves = Shelves { theirs, here: uids(&[1, 3, 8]), now: 5, ..Shelves::default() };
        let made = register(&shelves).unwrap();
        assert_eq!(flags(&made), [(1, SEEN), (3, SEEN), (8, 0)]);
        assert_eq!((made.uid_validity, made.next_uid, made.modseq), (7, 9 + GAP, 40 + u64::from(GAP)));
        assert!(made.troubles[0].contains("except for 1 message(s)"), "{:?}", made.troubles);
        // A folder that comes back as a whole had nothing wrong with an index.
        let back = Shelves { here: uids(&[]), returning: uids(&[1, 2, 3]), ..shelves };
        assert_eq!((register(&back).unwrap().troubles, register(&back).unwrap().messages.len()), (vec![], 3));
    }

    #[test]
    fn a_mailbox_that_began_anew_gets_its_old_time_back_unless_numbers_may_be_others() {
        let theirs = vec![ledger(7, &[(1, SEEN), (2, 0), (3, SEEN)])];
        let own = Ledger { next_uid: 5, ..ledger(9, &[(3, 2), (4, 0)]) };
        let shelves = Shelves { own, theirs, here: uids(&[1, 2, 3, 4]), ..Shelves::default() };
        let made = register(&shelves).unwrap();
        assert_eq!((made.uid_validity, flags(&made)), (7, vec![(1, SEEN), (2, 0), (3, 2), (4, 0)]));
        assert!(made.troubles[0].contains("UIDVALIDITY is 9 and was 7"), "{:?}", made.troubles);
        let taken = vec![ledger(7, &[(1, SEEN), (3, SEEN), (6, 0)])];
        assert_eq!(register(&Shelves { theirs: taken, ..shelves }), None, "UID 4 was another message's");
    }
}
