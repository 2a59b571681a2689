//! What is particular about mailboxes in one file: whether a key is the same message's in another copy of the file, whose
//! account they are, and whether a file is one at all. Plans nothing.

use super::account::Mailbox;
use super::lanes::Lanes;
use crate::catalog::MessageRow;
use crate::model::wire::{Entry, FoundMailbox, Place};
use crate::model::{Format, RelPath, container};
use crate::plan::Undecided;
use crate::store::mbox::{Named, is_altered};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Of ten messages that two copies of a file without UIDs could share, so many must stand at the same place in both, for
/// the place to say which message it is.
const ALIKE: usize = 9;

/// How the messages of one mailbox are numbered.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// UIDVALIDITY, where there is one.
    validity: Option<u32>,
    /// Places and lengths of messages without a UID.
    places: HashSet<(u64, u64)>,
    /// The same as they are on record, where the file still stands as it stood then but for harm.
    recorded: HashSet<(u64, u64)>,
    /// UIDs and lengths of the others.
    uids: HashSet<(u32, u64)>,
    any: bool,
}

impl Numbers {
    /// From the names of messages.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Numbers {
        let mut numbers = Numbers::default();
        for named in names.into_iter().filter_map(Named::parse) {
            numbers.any = true;
            numbers.validity = numbers.validity.or(named.validity);
            match named.uid {
                Some(uid) => numbers.uids.insert((uid, named.message.length)),
                None => numbers.places.insert((named.line.offset, named.message.length)),
            };
        }
        numbers
    }

    /// Of a listing.
    pub fn listed(entries: &[Entry]) -> Numbers {
        Numbers::of(entries.iter().map(|entry| &entry.name[..]))
    }

    /// The same, with the UIDVALIDITY that is on record where the messages are those that are: the number stands in the
    /// file once, and may be harmed. And with the places on record, where every message begins at one of them: harm makes
    /// messages longer or shorter, or lets them disappear, and in a small file that soon meets more than it leaves.
    pub fn believing(mut self, recorded: &Numbers) -> Numbers {
        let began: HashSet<u64> = recorded.places.iter().map(|(place, _)| *place).collect();
        let there = self.places.iter().all(|(place, _)| began.contains(place));
        if there && !self.places.is_disjoint(&recorded.places) {
            self.recorded.clone_from(&recorded.places);
        }
        if recorded.validity.is_some() && alike(&self.uids, &recorded.uids) {
            self.validity = recorded.validity;
        }
        self
    }

    /// Whether a key means the same message in both. Where one of them holds nothing, no key can mean another.
    pub fn agree(&self, other: &Numbers) -> bool {
        if !self.any || !other.any {
            return true;
        }
        match (self.validity, other.validity) {
            (Some(one), Some(other)) => one == other,
            (None, None) => alike(&self.places, &other.places) || alike(&self.recorded, &other.places),
            _ => false,
        }
    }
}

fn alike<T: Eq + std::hash::Hash>(one: &HashSet<T>, other: &HashSet<T>) -> bool {
    let least = one.len().min(other.len());
    let shared = one.intersection(other).count();
    shared * 10 >= least * ALIKE && shared > 0
}

/// Whether the line before a message, or the UIDVALIDITY of its file, is no longer what is on record: no server changes
/// either while the message is there.
pub fn altered(mailbox: &Mailbox, row: &MessageRow, name: &[u8]) -> bool {
    let pair = || Some((Named::parse(&row.name)?, Named::parse(name)?));
    mailbox.format == Format::Mbox && pair().is_some_and(|(then, now)| is_altered(&then, &now))
}

/// Where accounts of mbox files begin. Nothing marks such a folder but a file that is a mailbox, and that may be emptied or
/// lost: then what lies below it still belongs to the account that the catalog, a source or the folder above knows.
#[derive(Debug, Default)]
pub struct Homes {
    /// Accounts on record.
    pub known: BTreeSet<RelPath>,
    /// Accounts of mbox files, wherever they were seen.
    seen: BTreeSet<RelPath>,
}

impl Homes {
    pub fn see(&mut self, mailbox: &FoundMailbox) {
        if mailbox.format == Format::Mbox {
            self.seen.insert(mailbox.account.clone());
        }
    }

    /// The account that a folder belongs to, if that begins further up.
    fn above(&self, account: &RelPath) -> Option<RelPath> {
        let mut above = account.parent();
        let mut home = None;
        while let Some(dir) = above {
            above = dir.parent();
            home = Some(dir).filter(|dir| self.known.contains(dir) || self.seen.contains(dir)).or(home);
        }
        home
    }

    /// Gives every mailbox to the outermost account that it lies in.
    pub fn settle(&self, mut accounts: BTreeMap<RelPath, Vec<FoundMailbox>>) -> BTreeMap<RelPath, Vec<FoundMailbox>> {
        for account in self.seen.iter().filter(|account| !self.known.contains(*account)) {
            let Some(home) = self.above(account) else { continue };
            let Some(mailboxes) = accounts.remove(account) else { continue };
            let here = accounts.entry(home.clone()).or_default();
            here.extend(mailboxes.into_iter().map(|mailbox| FoundMailbox { account: home.clone(), ..mailbox }));
        }
        accounts
    }
}

/// Makes sure that the file at `target` is an mbox before anything is put into its place: at least one message in it begins
/// as one does.
///
/// # Errors
/// Words for people.
pub fn holds_messages(lanes: &mut Lanes, (lane, root): (usize, u32), target: &RelPath) -> Result<(), String> {
    let listing = lanes.lanes[lane].list(root, &container::mailbox_in(target), Format::Mbox, false);
    let listing = listing.map_err(|error| error.to_string())?;
    let begins = |name: &[u8]| Named::parse(name).is_some_and(|named| named.check.is_some());
    let size = listing.dirs.iter().find(|(place, _)| *place == Place::Top).map_or(0, |(_, stat)| stat.size);
    match size == 0 || listing.entries.iter().any(|entry| begins(&entry.name)) {
        true => Ok(()),
        false => Err("nothing in the file shows that it is an mbox".to_owned()),
    }
}

/// Why a missing message cannot be brought back to where it was.
pub fn holds_back(mailbox: &Mailbox, undecided: Undecided) -> Option<&'static str> {
    let folder = mailbox.format == Format::Mbox && undecided == Undecided::Folder;
    folder.then_some("held: a new folder for undecided messages cannot be made of mbox files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_the_same_only_in_copies_of_one_file() {
        let numbers = |names: &[&str]| Numbers::of(names.iter().map(|name| name.as_bytes()));
        let (one, same) = (numbers(&["u.1,f=0+9,m=5,v=7"]), numbers(&["u.2,f=0+9,m=5,v=7"]));
        assert!(one.agree(&same) && !one.agree(&numbers(&["u.1,f=0+9,m=5,v=8"])));
        let archive = numbers(&["o.0,f=0+9,m=5", "o.14,f=14+9,m=50"]);
        assert!(archive.agree(&numbers(&["o.0,f=0+9,m=5", "o.14,f=14+9,m=50", "o.90,f=90+9,m=1"])), "it grew");
        assert!(!archive.agree(&numbers(&["o.0,f=0+9,m=50", "o.59,f=59+9,m=5"])) && !archive.agree(&one));
        assert!(archive.agree(&numbers(&[])) && numbers(&[]).agree(&one));
    }

    #[test]
    fn harm_makes_no_other_file_of_a_small_one() {
        let numbers = |names: &[&str]| Numbers::of(names.iter().map(|name| name.as_bytes()));
        let three = ["o.0,f=0+9,m=5", "o.14,f=14+9,m=50", "o.73,f=73+9,m=7"];
        let recorded = numbers(&three);
        for harmed in [&["o.0,f=0+9,m=5", "o.14,f=14+9,m=66"][..], &["o.0,f=0+9,m=5", "o.14,f=14+9,m=30"]] {
            assert!(!numbers(harmed).agree(&recorded) && numbers(harmed).believing(&recorded).agree(&recorded));
        }
        let taken = numbers(&["o.0,f=0+9,m=5", "o.16,f=16+9,m=7"]).believing(&recorded);
        assert!(!taken.agree(&recorded), "what lies behind a message that was taken out lies elsewhere");
    }
}
