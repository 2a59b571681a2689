//! What is particular about mailboxes in one file: whether a key is the same message's in another copy of the file, and
//! what is not done to such files yet. Plans nothing.

use super::account::Mailbox;
use crate::model::wire::{Entry, FoundMailbox};
use crate::model::{Format, RelPath};
use crate::store::mbox::Named;
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
    any: bool,
}

impl Numbers {
    /// From the names of messages.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Numbers {
        let mut numbers = Numbers::default();
        for named in names.into_iter().filter_map(Named::parse) {
            numbers.any = true;
            numbers.validity = numbers.validity.or(named.validity);
            if named.uid.is_none() {
                numbers.places.insert((named.line.offset, named.message.length));
            }
        }
        numbers
    }

    /// Of a listing.
    pub fn listed(entries: &[Entry]) -> Numbers {
        Numbers::of(entries.iter().map(|entry| &entry.name[..]))
    }

    /// Whether a key means the same message in both. Where one of them holds nothing, no key can mean another.
    pub fn agree(&self, other: &Numbers) -> bool {
        if !self.any || !other.any {
            return true;
        }
        match (self.validity, other.validity) {
            (Some(one), Some(other)) => one == other,
            (None, None) => {
                let least = self.places.len().min(other.places.len());
                let shared = self.places.intersection(&other.places).count();
                shared * 10 >= least * ALIKE && shared > 0
            }
            _ => false,
        }
    }
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

/// Why nothing of a mailbox can be put right now.
pub fn holds_back(mailbox: &Mailbox) -> Option<&'static str> {
    match mailbox.format {
        Format::Mbox => {
            Some("held: nothing is written into an mbox file yet; the copy can be taken out of the source by hand")
        }
        Format::Mdbox => Some(
            "held: nothing is written into the storage of an mdbox yet; stop the server and bring the whole account back \
             from one copy, or take the message out of the source with the server's own tools",
        ),
        _ => None,
    }
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
}
